//! `marquetry explain` knows every code that a crate gives an error, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn every_code_is_explained_and_emitted() {
    let explained = std::fs::read_to_string(format!("{ROOT}/crates/marquetry/src/cli/codes.md"));
    let explained = explained.unwrap();
    let mut told = BTreeSet::new();
    let mut last = "";
    for section in explained.trim_start_matches("# ").split("\n# ") {
        let (code, about) = section.split_once('\n').unwrap();
        assert!(last < code, "`{code}` is not behind `{last}` in the order of letters");
        assert!(about.trim().lines().count() >= 2, "`{code}` says what it is and what to do");
        told.insert(code);
        last = code;
    }
    let emitted = emitted();
    let missing: Vec<_> = emitted.iter().filter(|(code, _)| !told.contains(&***code)).collect();
    assert!(missing.is_empty(), "not in codes.md: {missing:#?}");
    let needless: Vec<_> = told.iter().filter(|code| !emitted.contains_key(**code)).collect();
    assert!(needless.is_empty(), "no error has these codes: {needless:?}");
}

/// Codes in the source of all crates, each with a file: what functions `code` return, and what the
/// command line gives its failures.
fn emitted() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for crate_ in Path::new(ROOT).join("crates").read_dir().unwrap() {
        let mut waiting = vec![crate_.unwrap().path().join("src")];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for code in functions(&text).into_iter().chain(failures(&text)) {
                    codes.insert(code.to_owned(), path.display().to_string());
                }
            }
        }
    }
    assert!(codes.len() > 150, "{codes:?}");
    codes
}

/// The texts in functions that are called `code`.
fn functions(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("fn code(") {
        let indent = text[..start].rfind('\n').map_or(0, |line| start - line - 1);
        let indent = text[start - indent..].chars().take_while(|c| *c == ' ').count();
        let end = format!("\n{}}}", " ".repeat(indent));
        let body = &text[start..];
        let body = &body[..body.find(&end).expect("a function ends")];
        // What a text is compared with is no result.
        let texts: Vec<&str> = body.split('"').collect();
        let results = texts.windows(2).step_by(2).filter(|pair| !pair[0].ends_with("== "));
        found.extend(results.map(|pair| pair[1]).filter(|text| is_code(text)));
    }
    found
}

/// The second argument of `Failure::new` and `Self::new`, where it is a text.
fn failures(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for call in ["Failure::new(", "Self::new("] {
        for (start, _) in text.match_indices(call) {
            let arguments = text[start + call.len()..].trim_start();
            let Some((exit, rest)) = arguments.split_once(',') else { continue };
            let code = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            if exit.starts_with("Exit::") {
                found.extend(code.filter(|code| is_code(code)));
            }
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
