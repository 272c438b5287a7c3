//! Rules and meanings are verified: the shipped ones, and wrong ones that must be caught.
//!
//! Sections of a case: `--- pattern`, and the outcome is the snapshot: status, difference, suggestion,
//! and whether the printed test fails as it says.

mod dropped;

use std::fmt::Write as _;

use marquetry::engine::Native;
use marquetry::matcher::Schemas;
use marquetry::matcher::testing::{Setting, run_all};
use marquetry::matcher::verify::{Status, Verdict, VerifyOptions, verify, verify_all};
use marquetry::pattern::Library;
use marquetry::pattern::core::Pattern;

use crate::case::sections;

#[test]
fn wrong_rules_are_caught() {
    insta::glob!("../cases/verify", "*.case", |path| {
        let src = std::fs::read_to_string(path).unwrap();
        settings().bind(|| insta::assert_snapshot!(render(&src)));
    });
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/verify"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn load(text: &str) -> Result<Library, Vec<marquetry::pattern::Diagnostic>> {
    let mut files = marquetry::library::FILES.to_vec();
    files.push(("case.pat", text));
    Library::load(&marquetry::pattern::Files(&files), &["case.pat"], &Schemas)
}

fn render(src: &str) -> String {
    let sections = sections(src);
    let (_, text) = sections.iter().find(|(name, _)| *name == "pattern").unwrap();
    let library = load(text).unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut out = String::new();
    for pattern in library.patterns().iter().chain(library.rules()) {
        let verdict = verify(pattern, &Native, &VerifyOptions::default());
        show(&mut out, &verdict, &library);
        if let Some(found) = &verdict.counterexample {
            let with_test = format!("{text}\n{}", found.test);
            writeln!(out, "  the test {}", outcome(&with_test)).unwrap();
        }
    }
    out
}

/// What becomes of the last test of a file: as long as the pattern is wrong it has to fail.
fn outcome(text: &str) -> &'static str {
    let Ok(library) = load(text) else { return "does not parse" };
    let setting = Setting { read: None, evaluate: Some(&Native) };
    match run_all(&library, &setting).last() {
        Some(ran) if ran.passed() => "passes",
        Some(_) => "fails",
        None => "is not there",
    }
}

fn show(out: &mut String, verdict: &Verdict, library: &Library) {
    let status = match &verdict.status {
        Status::Verified => "verified".to_owned(),
        Status::Wrong => "wrong".to_owned(),
        Status::NotVerified(reason) => format!("not verified: {reason}"),
        Status::Off(reason) => format!("off: {reason}"),
        Status::Nothing => "nothing to verify".to_owned(),
    };
    writeln!(out, "{}: {status}", verdict.pattern).unwrap();
    if let Some(found) = &verdict.counterexample {
        writeln!(out, "  {}", found.difference).unwrap();
        let suggestion = found.suggestion.as_deref().unwrap_or("none");
        writeln!(out, "  suggestion: {suggestion}").unwrap();
    }
    for (span, what) in &verdict.survivors {
        writeln!(out, "  makes no difference: `{}` {what}", library.sources().text(*span)).unwrap();
    }
}

/// A change of the library, of the generator or of an operator shows here: what is no longer
/// reached, and what is wrong.
#[test]
fn the_shipped_library_is_verified() {
    let library = marquetry::library::standard();
    let all: Vec<&Pattern> = library.patterns().iter().chain(library.rules()).collect();
    let options = VerifyOptions { mutants: false, ..VerifyOptions::default() };
    let mut out = String::new();
    let mut bad = Vec::new();
    for verdict in verify_all(&all, &Native, &options) {
        match verdict.status {
            Status::Nothing => continue,
            Status::Wrong | Status::NotVerified(_) => bad.push(verdict.pattern.clone()),
            Status::Verified | Status::Off(_) => {}
        }
        show(&mut out, &verdict, &library);
        for missed in &verdict.not_reached {
            let text = library.sources().text(missed.span);
            let text: Vec<&str> = text.split_whitespace().collect();
            let text: String = text.join(" ").chars().take(60).collect();
            writeln!(out, "  not reached: {} of `{text}`", missed.what).unwrap();
        }
    }
    settings().bind(|| insta::assert_snapshot!("library", out));
    assert!(bad.is_empty(), "neither verified nor off with a reason: {bad:?}");
}

#[test]
fn the_same_seed_gives_the_same_verdict() {
    let library = marquetry::library::standard();
    let pattern = library.patterns().iter().find(|pattern| pattern.name == "Mish").unwrap();
    let options = VerifyOptions { seed: 7, ..VerifyOptions::default() };
    let [one, other] = [0, 1].map(|_| verify(pattern, &Native, &options));
    assert_eq!(
        (one.samples, one.algebra, one.native),
        (other.samples, other.algebra, other.native)
    );
}
