//! The options of verbs that find groups in models, and replace them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Match {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Looks for these patterns only.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) only: Vec<String>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Runs again whenever the model or a pattern file is saved, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The name of the pattern or rule.
    pub(crate) pattern: String,
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// A node or value that should be part of a match: its name, or op:Sqrt for the only node of an
    /// operator.
    #[arg(long, value_name = "NODE", conflicts_with = "near")]
    pub(crate) at: Option<String>,
    /// The places where the pattern almost matches; the default.
    #[arg(long)]
    pub(crate) near: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rewrite {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Where the rewritten model goes.
    #[arg(short, long, value_name = "FILE.onnx", required_unless_present_any = ["dry_run", "in_place"])]
    pub(crate) output: Option<PathBuf>,
    /// Replaces the file of the model by what it becomes.
    #[arg(long, conflicts_with_all = ["output", "dry_run"])]
    pub(crate) in_place: bool,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Applies these rules; `all` stands for all. Where nothing is named, all are applied but those of
    /// the shipped library that build operators of one runtime.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) rules: Vec<String>,
    /// Replaces matches of these patterns by their `equals`.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) fuse: Vec<String>,
    /// Replaces matches of these patterns by the call of a function of the model.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) outline: Vec<String>,
    /// Writes the operator that is the `equals` of these patterns out, and calls of functions that
    /// `--outline` made of them.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) expand: Vec<String>,
    /// First brings the model and its functions to a newer opset, where it computes the same: operators
    /// such as LayerNormalization exist from some opset on only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) raise_opset: Option<i64>,
    /// Matches nothing that was built.
    #[arg(long, conflicts_with = "fixpoint")]
    pub(crate) once: bool,
    /// Goes on until nothing matches any more: the default.
    #[arg(long)]
    pub(crate) fixpoint: bool,
    /// Says what would be done, and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Runs each match and what replaces it on small random inputs, with the constants and shapes of
    /// the model; where they differ, nothing is replaced. What cannot be run is replaced and counted,
    /// or with `=strict` is not replaced.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "lenient"
    )]
    pub(crate) verify_each: Option<VerifyHow>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What becomes of a place that could not be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyHow {
    /// It is replaced, and counted.
    Lenient,
    /// It is refused.
    Strict,
}

#[derive(Debug, Args)]
pub(crate) struct Outline {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Where the model with functions goes.
    #[arg(short, long, value_name = "FILE.onnx", required_unless_present_any = ["dry_run", "in_place"])]
    pub(crate) output: Option<PathBuf>,
    /// Replaces the file of the model by what it becomes.
    #[arg(long, conflicts_with_all = ["output", "dry_run"])]
    pub(crate) in_place: bool,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Outlines these patterns only.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) only: Vec<String>,
    /// Says what would be done, and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PatternFiles {
    /// Pattern files or folders of them, instead of the shipped library, which they may `use`;
    /// `std` is the shipped library. May be repeated.
    #[arg(short = 'p', long = "patterns", value_name = "FILE.pat|DIR|std")]
    pub(crate) files: Vec<PathBuf>,
}
