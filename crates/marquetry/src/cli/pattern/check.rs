//! `marquetry pattern check`: what is wrong with pattern files.

use std::path::PathBuf;

use serde_json::json;

use super::super::answer::{Answer, plural};
use super::super::args::Cli;
use super::super::failure::Failure;
use super::super::load;

pub(super) fn run(files: &[PathBuf], cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(files, cli)?;
    let names = |patterns: &[marquetry_pattern::core::Pattern]| -> Vec<String> {
        patterns.iter().map(|pattern| pattern.name.clone()).collect()
    };
    let text = format!(
        "{}, {} and {}: no error\n",
        plural(library.patterns().len(), "pattern"),
        plural(library.rules().len(), "rule"),
        plural(library.tests().len(), "test"),
    );
    let json = json!({
        "schema_version": 1,
        "patterns": names(library.patterns()),
        "rules": names(library.rules()),
        "tests": library.tests().len(),
    });
    Ok(Answer::new(text, json))
}
