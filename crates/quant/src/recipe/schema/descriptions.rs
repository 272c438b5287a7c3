//! The copy of what the documentation of fields and variants says, and whether it is one:
//! `MARQUETRY_BLESS=1` writes it anew.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::{DESCRIPTIONS, Descriptions, schema};

/// The files with types of recipes.
const FILES: [&str; 18] = [
    "layerwise/checkpoint.rs",
    "layerwise/direct.rs",
    "pass/bias_correction.rs",
    "pass/calibrate.rs",
    "pass/equalize.rs",
    "pass/export.rs",
    "pass/gptq.rs",
    "pass/group.rs",
    "pass/observe.rs",
    "pass/only.rs",
    "pass/override_.rs",
    "pass/place.rs",
    "pass/rewrite.rs",
    "pass/scheme_name.rs",
    "pass/seq_mse.rs",
    "range.rs",
    "recipe.rs",
    "statistics.rs",
];

/// What is read field by field elsewhere.
const READ_ELSEWHERE: [&str; 1] = ["Recipe"];

/// The documentation of all fields and variants of the types that are read.
fn written(source: &str, into: &mut Descriptions) {
    let (mut words, mut attributes) = (String::new(), String::new());
    let mut kind: Option<String> = None;
    for line in source.lines() {
        let text = line.trim();
        if let Some(said) = text.strip_prefix("///") {
            words.push_str(said);
            words.push('\n');
            continue;
        }
        if text.starts_with("#[") {
            attributes.push_str(text);
            continue;
        }
        let indented = line.len() - line.trim_start().len();
        let declared = text.trim_start_matches("pub ");
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        let called = |name: String| match attributes.split_once("rename = \"") {
            Some((_, rest)) => rest.split('"').next().unwrap_or_default().to_owned(),
            None => name,
        };
        match (indented, &kind) {
            (0, _) if text == "}" => kind = None,
            (0, None) => {
                let head = text.strip_prefix("pub struct ").or(text.strip_prefix("pub enum "));
                let name = head.map(word).filter(|name| {
                    attributes.contains("Deserialize") || READ_ELSEWHERE.contains(&name.as_str())
                });
                // Errors of readers name a type as Rust does, whatever it is called in RON.
                kind = name.filter(|_| text.ends_with('{'));
            }
            (4, Some(kind)) if !words.is_empty() && !attributes.contains("skip)") => {
                let field = called(word(declared));
                into.entry(kind.clone()).or_default().insert(field, in_words(&words));
            }
            _ => {}
        }
        words.clear();
        attributes.clear();
    }
}

/// The first paragraph on one line, with links as what they show.
fn in_words(documentation: &str) -> String {
    let first = documentation.split("\n\n").next().unwrap_or_default();
    let mut text = first.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some((before, rest)) = text.split_once("[`") {
        let (shown, behind) = rest.split_once("`]").expect("a link is closed");
        let behind = match behind.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("a link is closed").1,
            None => behind,
        };
        let shown = shown.rsplit("::").next().unwrap_or(shown);
        text = format!("{before}`{shown}`{behind}");
    }
    text
}

#[test]
fn they_are_what_the_documentation_says() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Descriptions::new();
    for file in FILES {
        written(&fs::read_to_string(sources.join(file)).unwrap(), &mut found);
    }
    let copy = sources.join("recipe/schema/descriptions.json");
    let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
    if std::env::var_os("MARQUETRY_BLESS").is_some() {
        fs::write(copy, text).unwrap();
        return;
    }
    assert_eq!(*DESCRIPTIONS, found, "run the test with MARQUETRY_BLESS=1");
}

/// Properties without a description, with the keys on the way to them.
fn silent(schema: &Value, place: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            let none = Map::new();
            let properties = object.get("properties").and_then(Value::as_object).unwrap_or(&none);
            for (name, property) in properties {
                let words = property["description"].as_str().unwrap_or_default();
                if words.trim().is_empty() {
                    found.push(format!("{place}.{name}"));
                }
            }
            for (key, value) in object {
                silent(value, &format!("{place}.{key}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                silent(item, &format!("{place}[{at}]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_property_has_one() {
    let mut found = Vec::new();
    silent(&schema(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
    let mut found = Vec::new();
    silent(&serde_json::json!({ "properties": { "a": {} } }), "", &mut found);
    assert_eq!(found, [".a"], "one that is missing is found");
}
