//! `marquetry pattern`: works on pattern files.

use serde_json::json;

use super::answer::{Answer, plural};
use super::args::{Cli, Pattern};
use super::failure::Failure;
use super::load;

pub(crate) fn run(args: &Pattern, cli: &Cli) -> Result<Answer, Failure> {
    let Pattern::Check { files, .. } = args;
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
