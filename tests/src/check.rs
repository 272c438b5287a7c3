//! The validator: what is wrong with a model, and that nothing is said of models that are right.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry_ir::check::{self, Fact, Severity, Target, Violation};
use marquetry_ir::{onnx, text};

use crate::case::sections;

/// The violations of a case. A line `target: NAME` of the prose names the target.
fn violations(case: &str) -> Vec<Violation> {
    let target = case.lines().find_map(|line| line.strip_prefix("target: "));
    let target = target.map_or(Target::Onnx, |name| Target::from_name(name).unwrap());
    let sections = sections(case);
    let (_, src) = sections.iter().find(|(name, _)| *name == "model").unwrap();
    let model = text::parse(src).unwrap_or_else(|error| panic!("{error}"));
    check::run_for(&model, target)
}

fn render(violations: &[Violation]) -> String {
    let mut out = String::new();
    for violation in violations {
        writeln!(out, "{violation}").unwrap();
        if let Some(hint) = violation.hint() {
            writeln!(out, "  hint: {hint}").unwrap();
        }
    }
    out
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/check")
}

#[test]
fn cases() {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots/check");
    settings.bind(|| {
        insta::glob!("../cases/check", "*.case", |path| {
            let violations = violations(&fs::read_to_string(path).unwrap());
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(name.starts_with("ok-"), violations.is_empty(), "{}", render(&violations));
            insta::assert_snapshot!(render(&violations));
        });
    });
}

/// Codes of what the text form cannot say; unit tests of the validator show them.
const NOT_IN_TEXT: [&str; 2] = ["V016", "V021"];

#[test]
fn every_code_has_a_case() {
    let mut seen = BTreeSet::from(NOT_IN_TEXT);
    for entry in fs::read_dir(folder()).unwrap() {
        let case = fs::read_to_string(entry.unwrap().path()).unwrap();
        seen.extend(violations(&case).iter().map(Violation::code));
    }
    let missing: Vec<_> = Fact::CODES.iter().filter(|code| !seen.contains(*code)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

/// Exporters' models run, so an error would be a false one.
#[test]
fn models_of_the_zoo_have_no_errors() {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo/open");
    let zoo = env::var_os("MARQUETRY_ZOO").map_or(zoo, PathBuf::from);
    let mut folders = vec![zoo.clone()];
    let mut models = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("onnx".as_ref()) {
                models.push(path);
            }
        }
    }
    if models.is_empty() {
        eprintln!("skipped: there are no models in `{}`", zoo.display());
        return;
    }
    models.sort();
    for path in models {
        let model = onnx::read(&path).unwrap();
        let mut found = check::run_for(&model, Target::Ort);
        found.retain(|violation| violation.severity == Severity::Error);
        assert!(found.is_empty(), "{}: {}", path.display(), render(&found));
    }
}
