//! `marquetry pattern`: works on pattern files.

mod check;
pub(crate) mod fmt;
mod lift;
mod test;
mod verify;

use std::path::PathBuf;

use super::answer::Answer;
use super::args::{Cli, Pattern};
use super::failure::Failure;

pub(crate) fn run(args: &Pattern, cli: &Cli) -> Result<Answer, Failure> {
    match args {
        Pattern::Check { files, deny_warnings, .. } => check::run(files, *deny_warnings, cli),
        Pattern::Fmt(args) => fmt::run(args, cli),
        Pattern::Test(args) => test::run(args, cli),
        Pattern::Lsp => Ok(super::lsp::run()),
        Pattern::Lift(args) => lift::run(args, cli),
        Pattern::Verify(args) => verify::run(args, cli),
    }
}

impl Pattern {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Check { json, .. } => *json,
            Self::Fmt(args) => args.json,
            Self::Test(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Lsp => false,
            Self::Lift(args) => args.json,
        }
    }

    /// The files that are watched, if that was asked for.
    pub(crate) fn watched(&self) -> Option<Vec<PathBuf>> {
        match self {
            Self::Test(args) if args.watch => Some(args.files.clone()),
            _ => None,
        }
    }
}
