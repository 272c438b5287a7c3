//! The options of verbs about reports.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// Draws a report as a page, the same that `quantize --report FILE.html` writes.
    Html {
        /// The report, in JSON.
        report: PathBuf,
        /// Where the page goes.
        #[arg(short, long, value_name = "FILE.html")]
        output: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// What got better or worse from one report to another; exit code 1 where anything did.
    Diff {
        /// The earlier report, in JSON.
        a: PathBuf,
        /// The later one.
        b: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prints the JSON Schema of reports.
    Schema,
}
