//! The options of verbs about pipelines from files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PatternFiles, Samples};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The pipeline, in RON, or in JSON where its name ends in `.json`; `-` reads standard input.
    pub(crate) pipeline: PathBuf,
    /// The float model; `-` reads standard input, which leaves no journal.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) samples: Samples,
    #[command(flatten)]
    pub(crate) destination: Destination,
    /// Goes on with the journal of a run that was killed, if there is one. What comes out is the same, to
    /// the byte. A pipeline that was changed goes on behind the steps that are as they were.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Where the journal is while the pipeline runs; by default beside the output, with `.journal` behind
    /// its name.
    #[arg(long, value_name = "DIR", conflicts_with = "no_journal")]
    pub(crate) journal: Option<PathBuf>,
    /// Leaves the journal there when all is done.
    #[arg(long, conflicts_with = "no_journal")]
    pub(crate) keep_journal: bool,
    /// Says what would be done, as `plan` does: runs no sample, and writes nothing.
    #[arg(long, conflicts_with_all = ["resume", "keep_journal"])]
    pub(crate) dry_run: bool,
    /// Keeps no journal.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) no_journal: bool,
    /// How often what a step has found so far is saved, in seconds; 0 is behind every sample.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) save_every: u64,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Also writes a report: a page, or JSON. May be given twice.
    #[arg(long, value_name = "FILE.html|FILE.json")]
    pub(crate) report: Vec<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the files of a pipeline are.
#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// Where the quantized model goes, instead of where the pipeline says; `-` is standard output.
    #[arg(short, long, value_name = "FILE.onnx")]
    pub(crate) output: Option<PathBuf>,
    /// The folder below which the pipeline's own paths are; the current folder by default. They may not
    /// lead out of it.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// The folder below which the files are that the pipeline reads: patterns, statistics, a policy. By
    /// default that of its own file. They may not lead out of it.
    #[arg(long, value_name = "DIR")]
    pub(crate) input_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The pipeline, in RON, or in JSON where its name ends in `.json`; `-` reads standard input.
    pub(crate) pipeline: PathBuf,
    /// The float model; `-` reads standard input.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) destination: Destination,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
    /// Prints one JSON object, with the names of all values.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Prints the JSON schema of pipelines in JSON, for editors.
    Schema,
    /// Writes a pipeline in the other form: RON becomes JSON, and the other way round.
    Convert {
        /// The pipeline, a `.ron` or `.json` file; `-` reads standard input.
        from: PathBuf,
        /// Where it goes, a `.ron` or `.json` file; `-` writes the other form to standard output.
        to: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}
