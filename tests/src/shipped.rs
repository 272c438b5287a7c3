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
