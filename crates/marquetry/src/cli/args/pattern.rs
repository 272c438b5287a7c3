//! The options of verbs about pattern files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Pattern {
    /// Says what is wrong with pattern files, all at once.
    Check {
        /// Pattern files or folders of them; without any, the shipped library.
        files: Vec<PathBuf>,
        /// Fails where there are warnings too.
        #[arg(long)]
        deny_warnings: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Lays pattern files out in the one way; no meaning changes.
    Fmt(PatternFmt),
    /// Runs the tests that stand in pattern files.
    Test(PatternTest),
    /// Runs bodies and meanings, and both sides of rules, on samples.
    Verify(PatternVerify),
    /// Serves editors: the language server protocol on standard input and output.
    Lsp,
    /// Turns a piece of a model into a pattern that finds it, with a test that it passes.
    Lift(Lift),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("piece").required(true).args(["nodes", "at", "outputs"]))]
pub(crate) struct Lift {
    /// The model.
    pub(crate) model: PathBuf,
    /// From one node to another: what is on the paths between them, and what only serves these.
    /// Nodes have the names of the model, or those of what they compute.
    #[arg(long, value_name = "A..B")]
    pub(crate) nodes: Option<String>,
    /// One node and what it is computed from.
    #[arg(long, value_name = "NODE")]
    pub(crate) at: Option<String>,
    /// How many nodes away from `--at`.
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with_all = ["nodes", "outputs"])]
    pub(crate) depth: u32,
    /// What computes these values.
    #[arg(long, value_delimiter = ',', value_name = "VALUE,..")]
    pub(crate) outputs: Vec<String>,
    /// Where that begins; by default at the inputs of the model.
    #[arg(long, value_delimiter = ',', value_name = "VALUE,..", requires = "outputs")]
    pub(crate) inputs: Vec<String>,
    /// The name of the pattern.
    #[arg(long, default_value = "Lifted")]
    pub(crate) name: String,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PatternFmt {
    /// Pattern files, or folders that are searched for them; `-` reads standard input and
    /// writes standard output.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Changes nothing, and says which files would be changed.
    #[arg(long)]
    pub(crate) check: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PatternTest {
    /// Pattern files, or folders that are searched for them; without any, the shipped library.
    pub(crate) files: Vec<PathBuf>,
    /// Writes what is found into the files, in place of what their tests expect.
    #[arg(long)]
    pub(crate) bless: bool,
    /// Runs the tests whose title contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Runs them again whenever a file is saved.
    #[arg(long, conflicts_with = "bless", requires = "files")]
    pub(crate) watch: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PatternVerify {
    /// Pattern files or folders of them; without any, the shipped library.
    pub(crate) files: Vec<PathBuf>,
    /// Verifies these patterns and rules only.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) only: Vec<String>,
    /// Samples for each pattern, at least, instead of what it says itself.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) samples: Option<u64>,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
