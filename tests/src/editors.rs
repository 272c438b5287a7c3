//! What editors read of the language says the same as the grammar.

use std::path::{Path, PathBuf};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn json(path: &str) -> Value {
    let path = repository().join("examples/editors/vscode").join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All strings at keys of this name, with the names of the rules around them.
fn strings<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => strings(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_extension_names_its_files() {
    let package = json("package.json");
    let folder = repository().join("examples/editors/vscode");
    let mut paths = Vec::new();
    for key in ["path", "configuration", "main"] {
        strings(&package, key, &mut paths);
    }
    assert!(paths.len() >= 3, "{paths:?}");
    for path in paths {
        assert!(folder.join(path).is_file(), "{path}");
    }
    json("language-configuration.json");
}

#[test]
fn every_part_of_the_colours_exists_and_is_balanced() {
    let grammar = json("syntaxes/pat.tmLanguage.json");
    let (mut includes, mut regexes) = (Vec::new(), Vec::new());
    strings(&grammar, "include", &mut includes);
    for key in ["match", "begin", "end"] {
        strings(&grammar, key, &mut regexes);
    }
    for include in includes {
        let name = include.strip_prefix('#').unwrap();
        assert!(grammar["repository"][name].is_object(), "{include}");
    }
    assert!(regexes.len() > 30);
    for regex in regexes {
        let (mut open, mut class, mut escaped) = (0i32, false, false);
        for c in regex.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => class = true,
                ']' => class = false,
                '(' if !class => open += 1,
                ')' if !class => open -= 1,
                _ => {}
            }
            assert!(open >= 0, "{regex}");
        }
        assert!(open == 0 && !class && !escaped, "{regex}");
    }
}

/// A keyword that is added to the language gets a colour.
#[test]
fn every_keyword_has_a_colour() {
    let pest = repository().join("crates/pattern/src/pattern.pest");
    let pest = std::fs::read_to_string(pest).unwrap();
    let grammar = json("syntaxes/pat.tmLanguage.json");
    let mut regexes = Vec::new();
    strings(&grammar, "match", &mut regexes);
    strings(&grammar, "begin", &mut regexes);
    let words = |regex: &&str| {
        let separate = |c: char| !(c.is_alphanumeric() || c == '_');
        let plain = regex.replace("\\b", " ").replace("\\s", " ");
        plain.split(separate).map(str::to_owned).collect::<Vec<_>>()
    };
    let known: Vec<String> = regexes.iter().flat_map(words).collect();
    let keywords: Vec<&str> = pest
        .lines()
        .filter(|line| line.starts_with("k_"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(keywords.len() > 40);
    for keyword in keywords {
        assert!(known.iter().any(|word| word == keyword), "`{keyword}` has no colour");
    }
}
