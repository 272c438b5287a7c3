//! `marquetry pattern`: works on pattern files.

mod check;
mod test;

use super::answer::Answer;
use super::args::{Cli, Pattern};
use super::failure::Failure;

pub(crate) fn run(args: &Pattern, cli: &Cli) -> Result<Answer, Failure> {
    match args {
        Pattern::Check { files, .. } => check::run(files, cli),
        Pattern::Test(args) => test::run(args, cli),
        Pattern::Lsp => Ok(super::lsp::run()),
    }
}

impl Pattern {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Check { json, .. } => *json,
            Self::Test(args) => args.json,
            Self::Lsp => false,
        }
    }
}
