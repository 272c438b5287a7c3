//! `marquetry pattern check`: what is wrong with pattern files.

use std::path::PathBuf;

use serde_json::json;

use super::super::Stream;
use super::super::answer::{Answer, plural};
use super::super::args::Cli;
use super::super::failure::{Exit, Failure};
use super::super::load;

pub(super) fn run(files: &[PathBuf], deny_warnings: bool, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(files, cli)?;
    let names = |patterns: &[marquetry_pattern::core::Pattern]| -> Vec<String> {
        patterns.iter().map(|pattern| pattern.name.clone()).collect()
    };
    let warnings = library.warnings();
    let mut text: String =
        warnings.iter().map(|warning| load::drawn(warning, Stream::Output, cli) + "\n").collect();
    let counted = match warnings.len() {
        0 => String::new(),
        count => format!(", {}", plural(count, "warning")),
    };
    text += &format!(
        "{}, {} and {}: no error{counted}\n",
        plural(library.patterns().len(), "pattern"),
        plural(library.rules().len(), "rule"),
        plural(library.tests().len(), "test"),
    );
    let json = json!({
        "schema_version": 1,
        "patterns": names(library.patterns()),
        "rules": names(library.rules()),
        "tests": library.tests().len(),
        "warnings": warnings.iter().map(load::detail).collect::<Vec<_>>(),
    });
    let mut answer = Answer::new(text, json);
    answer.found = (deny_warnings && !warnings.is_empty()).then_some(Exit::Found);
    Ok(answer)
}
