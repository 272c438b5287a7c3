//! The options of verbs about the command itself: what codes mean, what shells need.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ExplainTensor;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Explain {
    #[command(subcommand)]
    pub(crate) what: Option<Explained>,
    /// The code, such as P007 of pattern files or V012 of models.
    #[arg(required = true)]
    pub(crate) code: Option<String>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Explained {
    /// Why a tensor of a model is quantized as it is, or why it is not.
    Tensor(Box<ExplainTensor>),
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
    /// Prints one JSON object, with the script in it.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ManPages {
    /// A folder that gets a page for each verb; it is made where it is missing.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
