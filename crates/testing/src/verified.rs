//! Whether the patterns of a file are what their meaning says.

use std::fmt::Write as _;
use std::path::Path;

use marquetry_engine::Native;
use marquetry_matcher::verify::{Counterexample, Status, VerifyOptions, verify};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::{Label, Library};

use crate::{drawn, suite};

/// Verifies the patterns with an `equals` and the rules of a file, as
/// [`assert_verified!`](crate::assert_verified) does with its path.
///
/// # Panics
///
/// When the file is wrong, says nothing that can be verified, or one of its patterns is not verified; the
/// message draws it.
pub fn verify_file(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let (library, _) = suite::load(path);
    if let Err(found) = verified(&library) {
        panic!("{}: {found}", path.display());
    }
}

/// What is not verified, drawn. What a file says not to verify, with a reason, counts as right.
fn verified(library: &Library) -> Result<(), String> {
    let patterns: Vec<&Pattern> = library.patterns().iter().chain(library.rules()).collect();
    // Wrong patterns made on purpose say how good the samples are, not whether the pattern is right.
    let options = VerifyOptions { mutants: false, ..VerifyOptions::default() };
    let mut pictures = String::new();
    let (mut said, mut failed) = (0, 0);
    for pattern in patterns {
        let verdict = verify(pattern, &Native, &options);
        said += usize::from(verdict.status != Status::Nothing);
        if matches!(verdict.status, Status::Nothing | Status::Off(_) | Status::Verified) {
            continue;
        }
        failed += 1;
        match (&verdict.status, &verdict.counterexample) {
            (_, Some(found)) => pictures.push_str(&counterexample(library, pattern, found)),
            (Status::NotVerified(reason), None) => {
                let title = format!("`{}` is not verified: {reason}", pattern.name);
                let label = label(pattern, "too little was compared");
                pictures.push_str(&drawn::remark(library, "not_verified", &title, &label, None));
            }
            (status, None) => unreachable!("{status:?} has a counterexample"),
        }
    }
    match (said, failed) {
        (0, _) => Err("no pattern has an `equals`, and there is no rule".to_owned()),
        (_, 0) => Ok(()),
        _ => Err(format!("{failed} of {said} are not verified\n{pictures}")),
    }
}

/// What differs, and the smallest graph on which it does, as a test that fails.
fn counterexample(library: &Library, pattern: &Pattern, found: &Counterexample) -> String {
    let (failed, all) = found.failed;
    let title = format!(
        "`{}` is wrong: {failed} of {all} samples differ: {}",
        pattern.name, found.difference
    );
    let hint = found.suggestion.as_ref();
    let hint = hint.map(|condition| format!("`where {condition}` removes all of them"));
    let label = label(pattern, "this is not what it is said to be");
    let mut text = drawn::remark(library, "wrong", &title, &label, hint.as_deref());
    writeln!(text, "\n{}", found.test.trim_end()).expect("a string takes any text");
    text
}

fn label(pattern: &Pattern, text: &str) -> [Label; 1] {
    [Label { span: pattern.span, text: text.to_owned() }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;

    #[test]
    fn a_counterexample_is_drawn() {
        let wrong = "pattern Twice (x) => (y) { y = x + x } equals { y = x * 3 }\n";
        let message = verified(&library(wrong)).unwrap_err();
        assert!(message.starts_with("1 of 1 are not verified"), "{message}");
        assert!(message.contains("`Twice` is wrong"), "{message}");
        assert!(message.contains("\ntest \""), "{message}");
    }

    #[test]
    fn what_says_nothing_is_not_verified() {
        let none = "pattern Square (x) => (y) { y = x * x }\n";
        let message = verified(&library(none)).unwrap_err();
        assert_eq!(message, "no pattern has an `equals`, and there is no rule");
    }

    #[test]
    fn what_is_right_is_verified() {
        let right = "pattern Twice (x) => (y) { y = x + x } equals { y = x * 2 }\n";
        assert_eq!(verified(&library(right)), Ok(()));
    }
}
