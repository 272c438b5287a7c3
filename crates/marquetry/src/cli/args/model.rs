//! The options of verbs that look at models: what is in them, what is wrong with them, in what they differ.

use std::path::PathBuf;

use clap::Args;

use super::{PatternFiles, Samples};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Print {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Prints exactly what onnx.printer prints, with its losses.
    #[arg(long)]
    pub(crate) official: bool,
    /// Prints every tensor in full, so that the text parses back to the same model.
    #[arg(long, conflicts_with = "official")]
    pub(crate) full: bool,
    /// Prints one JSON object, with the text in it.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// What it is to run on: onnx is the standard, ort is ONNX Runtime.
    #[arg(long, default_value = "onnx", value_name = "TARGET")]
    pub(crate) target: String,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Draw {
    /// The model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Where the picture goes; `-` writes SVG to standard output.
    #[arg(short, long, value_name = "FILE.svg|FILE.html")]
    pub(crate) output: PathBuf,
    /// Draws each group as one box, where that is possible: those that `-p` finds, or the shipped library.
    #[arg(long)]
    pub(crate) groups: bool,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Draws what is around a node or value only: its name, or op:Sqrt for the only node of an operator.
    #[arg(long, value_name = "NODE")]
    pub(crate) at: Option<String>,
    /// How many nodes away from `--at`.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "at")]
    pub(crate) depth: u32,
    /// The most boxes that a picture may have.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) limit: usize,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The model that was there before; `-` reads standard input.
    pub(crate) left: PathBuf,
    /// The model that is there now; `-` reads standard input.
    pub(crate) right: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The model that is right.
    pub(crate) reference: PathBuf,
    /// The model that is judged.
    pub(crate) candidate: PathBuf,
    #[command(flatten)]
    pub(crate) samples: Samples,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
