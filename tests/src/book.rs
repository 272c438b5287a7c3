//! The book: its summary, its links, and the patterns on its pages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use marquetry::engine::Native;
use marquetry_matcher::{Schemas, testing};
use marquetry_pattern::{Files, Library};

use crate::pattern::drawn;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The pages of the book, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let folder = Path::new(ROOT).join("docs/src");
    let mut pages: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.sort();
    pages
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// What a page links to, without links of code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, block) in text.split("```").enumerate() {
        if at % 2 == 0 {
            let ends = block.split("](").skip(1);
            found.extend(ends.filter_map(|rest| rest.split(')').next()));
        }
    }
    found
}

#[test]
fn the_summary_lists_every_page() {
    let pages = pages();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let there: BTreeSet<String> =
        pages.iter().map(|(path, _)| name(path)).filter(|name| name != "SUMMARY.md").collect();
    let (_, summary) = pages.iter().find(|(path, _)| name(path) == "SUMMARY.md").unwrap();
    let listed = links(summary);
    let known: BTreeSet<String> = listed.iter().map(|link| (*link).to_owned()).collect();
    assert_eq!(known.len(), listed.len(), "a page is listed twice: {listed:?}");
    assert_eq!(known, there);
}

/// Links to files lead to files, and those to headings of the book to headings.
#[test]
fn links_lead_somewhere() {
    let mut wrong = String::new();
    let mut checked = 0;
    let mut pages = pages();
    for page in ["README.md", "crates/README.md", "patterns/README.md", "SECURITY.md"] {
        let path = Path::new(ROOT).join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        pages.push((path, text));
    }
    for (path, text) in &pages {
        let included = text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next());
        let local = links(text).into_iter().filter(|link| !link.contains("://"));
        for link in local.chain(included) {
            checked += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !target.exists() {
                writeln!(wrong, "{}: {link}", path.display()).unwrap();
            } else if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                if !text.lines().any(|line| line.starts_with('#') && anchor(line) == heading) {
                    writeln!(wrong, "{}: {link}: no such heading", path.display()).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(checked > 50, "{checked} links");
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn headings_are_called_as_browsers_do() {
    assert_eq!(anchor("## 3. What a `Conv` is: one, two"), "3-what-a-conv-is-one-two");
}

/// Patterns in the book are files of their own, laid out, without an error or a warning, and their
/// tests pass.
#[test]
fn patterns_are_right() {
    let (mut examples, mut tests) = (0, 0);
    let mut wrong = String::new();
    for (path, page) in pages() {
        let blocks = page.split("\n```pat").skip(1).filter_map(|rest| rest.split_once('\n'));
        for text in blocks.map(|(_, rest)| rest.split("```").next().unwrap()) {
            examples += 1;
            let files: Vec<(&str, &str)> =
                marquetry::library::FILES.iter().copied().chain([("case.pat", text)]).collect();
            let library = match Library::load(&Files(&files), &["case.pat"], &Schemas) {
                Ok(library) => library,
                Err(errors) => {
                    wrong.extend(errors.iter().map(drawn));
                    continue;
                }
            };
            wrong.extend(library.warnings().iter().map(drawn));
            let formatted = marquetry_pattern::fmt::format(text).unwrap();
            if formatted != text {
                writeln!(wrong, "{}: laid out, this is\n{formatted}", path.display()).unwrap();
            }
            let setting = testing::Setting { read: None, evaluate: Some(&Native) };
            for ran in testing::run_all(&library, &setting) {
                tests += 1;
                if !ran.passed() {
                    writeln!(wrong, "{}: {:?}", ran.test.title.text, ran.failures).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(examples >= 40 && tests >= 40, "{examples} examples, {tests} tests");
}
