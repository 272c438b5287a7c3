//! The options of verbs about statistics, and about which values are meant.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Numbers, PatternFiles, Samples};

#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    /// The float model; `-` reads standard input.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) samples: Samples,
    /// Where the statistics go; `-` is standard output.
    #[arg(short, long, value_name = "FILE", required_unless_present = "dry_run")]
    pub(crate) output: Option<PathBuf>,
    /// Runs part I of N of the samples; `stats merge` puts the parts together.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Says what would be done: the steps, what each works on, memory and files. Runs no sample, and
    /// writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) numbers: Numbers,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stats {
    /// Puts the parts of a calibration together; the bytes are those of one run over all samples.
    Merge {
        /// Files that `calibrate --shard` wrote, in any order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the statistics go.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Merges what there is, although parts are missing.
        #[arg(long)]
        allow_partial: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// What is in a file of statistics.
    Show {
        /// The file.
        file: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Select {
    /// The selector, such as "op:Conv", "group:Attention and role:weight", "not name:/head/*",
    /// "from:A..to:B".
    pub(crate) selector: String,
    /// The float model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Whose places there are: a shipped policy, a policy in RON, or a configuration of AIMET in JSON.
    #[arg(long, default_value = "ort-cpu", value_name = "NAME|FILE.ron|FILE.json")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
