//! Texts that are almost patterns: nothing panics, and formatting keeps the meaning. The example
//! `fuzz` of the crate `pattern` does the same for as long as one likes.

use std::path::Path;

use marquetry_pattern::fmt;

#[path = "../../crates/pattern/examples/fuzz/mutate.rs"]
mod mutate;
#[path = "../../crates/pattern/examples/fuzz/read.rs"]
mod read;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How many texts are tried each time.
const TEXTS: u64 = 300;

/// The texts of all pattern files of the project, and of the cases, with a name for each.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let folders = ["patterns", "tests/fixtures/patterns", "tests/cases", "examples"];
    let mut waiting: Vec<_> = folders.iter().map(|folder| Path::new(ROOT).join(folder)).collect();
    while let Some(path) = waiting.pop() {
        let name = path.display().to_string();
        if path.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if name.ends_with(".pat") {
            texts.push((name, std::fs::read_to_string(&path).unwrap()));
        } else if name.ends_with(".case") {
            let case = std::fs::read_to_string(&path).unwrap();
            for (head, body) in crate::case::sections(&case) {
                if head.starts_with("pattern") || head.ends_with(".pat") {
                    texts.push((name.clone(), body.to_owned()));
                }
            }
        }
    }
    texts.sort();
    texts
}

#[test]
fn known_texts_keep_their_meaning_when_formatted() {
    let texts = texts();
    assert!(texts.len() > 100, "{}", texts.len());
    for (name, text) in texts {
        let read = std::panic::catch_unwind(|| read::read(&text));
        assert!(read.is_ok(), "{name}");
    }
}

#[test]
fn mutated_texts_do_not_panic() {
    let seeds: Vec<String> = texts().into_iter().map(|(_, text)| text).collect();
    for number in 0..TEXTS {
        let text = mutate::mutated(&seeds, &mut mutate::Random::new(7, number));
        let read = std::panic::catch_unwind(|| read::read(&text));
        assert!(read.is_ok(), "text {number}:\n{text}");
    }
}

#[test]
fn pattern_files_are_formatted() {
    let files = texts().into_iter().filter(|(name, _)| name.ends_with(".pat"));
    let wrong: Vec<String> = files
        .filter(|(_, text)| fmt::format(text).is_ok_and(|formatted| formatted != *text))
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "run `marquetry pattern fmt` on {}", wrong.join(", "));
}
