//! What ships is tested: every pattern and rule by a test in its file, every test file by running it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry::engine::Native;
use marquetry::matcher::{Schemas, testing};
use marquetry::pattern::ast::{ExpectKind, Test, TestKind};
use marquetry::pattern::{Files, Library};

fn libraries() -> Vec<(&'static str, Library)> {
    let files = marquetry::library::FILES;
    let load = |path: &'static str| Library::load(&Files(files), &[path], &Schemas).unwrap();
    files.iter().map(|(path, _)| (*path, load(path))).collect()
}

/// The patterns and rules that a test is about.
fn named(test: &Test) -> Vec<&str> {
    let TestKind::Graph { expects, .. } = &test.kind else { return Vec::new() };
    let mut names = Vec::new();
    for expect in expects {
        match &expect.kind {
            ExpectKind::Matches { pattern, .. } | ExpectKind::Rejects { pattern, .. } => {
                names.push(pattern.text.as_str());
            }
            ExpectKind::Becomes { by, .. } => {
                names.extend(by.iter().map(|step| step.name.text.as_str()));
            }
        }
    }
    names
}

/// A file shows what it finds, before and after.
#[test]
fn every_file_has_a_test() {
    for (path, library) in libraries() {
        let declares = !library.patterns().is_empty() || !library.rules().is_empty();
        assert!(!declares || !library.tests().is_empty(), "{path} has no `test` block");
    }
}

#[test]
fn shipped_tests_pass() {
    for (path, library) in libraries() {
        let setting = testing::Setting { read: None, evaluate: Some(&Native) };
        for ran in testing::run_all(&library, &setting) {
            let title = &ran.test.title.text;
            let facts: Vec<_> = ran.failures.iter().map(|failure| &failure.fact).collect();
            assert!(facts.is_empty(), "{path}: {title}: {facts:?}");
        }
    }
}

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && name != "node_modules" {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_test_is_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["crates", "tests", "examples"] {
        sources(&root.join(folder), &mut found);
    }
    assert!(found.len() > 100, "the sources are where they were");
    // Not written out, or this file would be one.
    let mark = format!("#[{}", "ignore");
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&mark), "{} ignores a test", path.display());
    }
}

/// Every pattern has a case that searches for what ships and shows it, or a test in its file.
#[test]
fn every_pattern_is_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/matching/snapshots");
    let mut shown = String::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                shown.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let found = |name: &str| {
        shown.lines().any(|line| {
            let line = line.trim_start();
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(':') || rest.starts_with(" (the operator):"))
        })
    };
    for (path, library) in libraries() {
        let tested: BTreeSet<&str> = library.tests().iter().flat_map(named).collect();
        for name in library.patterns().iter().map(|pattern| pattern.name.as_str()) {
            let shown = found(name) || tested.contains(name);
            assert!(shown, "no case and no test shows `{name}` of {path}");
        }
    }
}

/// The capitalised calls of a piece of a comment, domains left out.
fn calls(text: &str) -> Vec<&str> {
    let opens: Vec<_> = text.match_indices(['(', '<']).map(|(at, _)| at).collect();
    let call = |at: usize| {
        let name = text[..at].trim_end();
        let name = name.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
    };
    let mut calls: Vec<&str> = Vec::new();
    for at in opens {
        // `Op <a = 1> (x)` opens twice.
        let second = text[..at].trim_end().ends_with('>');
        calls.extend(call(at).filter(|_| !second));
    }
    calls
}

/// The comment at the head of a file says what it finds, why, and what it looks like before and after:
/// one of the tests in the file is about exactly these operators, and what comes after is what the
/// pattern is, means, or is replaced by.
#[test]
fn every_file_opens_with_what_its_tests_run() {
    let declares = |library: &Library| library.patterns().len() + library.rules().len() > 0;
    for (path, library) in libraries().iter().filter(|(_, library)| declares(library)) {
        let (_, text) = marquetry::library::FILES.iter().find(|(known, _)| known == path).unwrap();
        let comment = text.lines().map_while(|line| line.strip_prefix('#'));
        let comment: Vec<&str> = comment.map(str::trim).collect();
        let prose = comment.iter().position(|line| line.starts_with("before:")).unwrap_or(0);
        assert!(comment[..prose].contains(&""), "{path}: what it finds, and why, come first");
        let joined = comment[prose..].join(" ");
        let (before, after) = joined.split_once("after:").expect("`before:` and `after:`");
        let mut wanted = calls(before);
        wanted.sort_unstable();
        let run = library.tests().iter().any(|test| {
            let TestKind::Graph { graph, expects, .. } = &test.kind else { return false };
            let model = testing::model(&graph.text, &[]);
            let Ok(model) = model else { return false };
            let nodes = model.graph.nodes();
            let mut found: Vec<String> =
                nodes.map(|node| model.graph.node(node).op_type.clone()).collect();
            found.sort_unstable();
            let shows = expects.iter().any(|expect| {
                matches!(expect.kind, ExpectKind::Matches { .. } | ExpectKind::Becomes { .. })
            });
            shows && found == wanted
        });
        assert!(run, "{path}: no test is about {wanted:?}");
        let last = calls(after).last().copied().expect("something is there afterwards");
        let patterns = library.patterns().iter();
        let mut meant = patterns
            .filter_map(|pattern| pattern.equals.as_ref())
            .chain(library.rules().iter().filter_map(|rule| rule.replacement.as_ref()));
        let known = library.patterns().iter().any(|pattern| pattern.name == last)
            || meant.any(|replacement| format!("{replacement:?}").contains(&format!("{last:?}")));
        assert!(known, "{path}: nothing becomes `{last}`");
    }
}
