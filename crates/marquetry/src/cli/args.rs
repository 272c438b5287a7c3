//! The command line as clap reads it. What the verbs do stands in the module of each.

mod pipeline;
mod quantize;
mod report;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::pipeline::{Config, Destination, Plan, Run};
pub(crate) use self::quantize::{
    Analyze, By, Choices, ExplainTensor, Numbers, Quantize, Rounding, Samples,
};
pub(crate) use self::report::Report;

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the check found something, or every rewrite was refused
  2  wrong usage
  3  invalid model, pattern or pipeline
  4  not supported
  5  a problem with the calibration data
  6  reading or writing failed
  7  a limit was exceeded
  8  interrupted; the command can go on where it was
130  interrupted";

/// Finds meaning in ONNX graphs with patterns written as text, and quantizes what it found.
#[derive(Debug, Parser)]
#[command(name = "marquetry", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,

    /// Says nothing but what was asked for, and errors: no notes, and where files are written, no summary.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Threads to compute with, at most 1024; by default one per core. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,

    /// What runs models: the embedded engine, or ONNX Runtime where it is installed. By default the one
    /// that the pipeline names, or the embedded one.
    #[arg(long, global = true, value_enum, help_heading = "Engine")]
    pub(crate) engine: Option<Engine>,

    /// The library of ONNX Runtime, or a folder with it. By default that of ORT_DYLIB_PATH, of `.ort`, or
    /// of the Python environment that is active.
    #[arg(long, global = true, value_name = "PATH", help_heading = "Engine")]
    pub(crate) ort_library: Option<PathBuf>,

    /// What of the samples may be kept in memory between layers, such as 512M or 2G; the rest goes to
    /// temporary files.
    #[arg(long, global = true, value_name = "SIZE", default_value = "256M", value_parser = size)]
    pub(crate) memory: u64,

    /// Reads models with fields that this version does not know, and drops them.
    #[arg(long, global = true)]
    pub(crate) strip_unknown: bool,

    /// Reads models of a newer version of the format.
    #[arg(long, global = true)]
    pub(crate) allow_newer: bool,

    /// How to say how far it is.
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// When to draw in colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// More threads than any machine has use for; each takes memory before it does anything.
const MOST_THREADS: usize = 1024;

/// How many threads.
fn threads(text: &str) -> Result<usize, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = super::answer::plural(cores, "core");
    match text.parse::<usize>() {
        Ok(count @ 1..=MOST_THREADS) => Ok(count),
        _ => Err(format!("a number from 1 to {MOST_THREADS}; this machine has {cores}")),
    }
}

/// Bytes, with K, M, G or T for powers of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let power = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        _ => return Err("a size is a whole number of bytes, or of K, M, G or T".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "a size is a whole number".to_owned())?;
    count.checked_mul(1024_u64.pow(power)).ok_or_else(|| "that is too much".to_owned())
}

/// What runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The one that is built in.
    Embedded,
    /// ONNX Runtime, with what it optimizes turned off: what is measured is what the model says.
    Ort,
    /// ONNX Runtime with its own defaults, as it runs models elsewhere; `compare` only.
    OrtDeployed,
}

/// How it is said how far a verb is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar for each step, where standard error is a terminal.
    Auto,
    /// A line of JSON on standard error for each sample or level: `pass`, `done` and `total`.
    Json,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Where it goes to a terminal, unless NO_COLOR is set and not empty.
    Auto,
    Always,
    Never,
}

/// What becomes of a place that could not be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyHow {
    /// It is replaced, and counted.
    Lenient,
    /// It is refused.
    Strict,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What is in a model: operators, sizes, types, groups found.
    Inspect(Inspect),
    /// A model in ONNX's textual syntax.
    Print(Print),
    /// What is wrong with a model.
    Check(Check),
    /// A picture of a model, as SVG or as a page that can be searched.
    Draw(Draw),
    /// The groups that patterns find in a model.
    Match(Match),
    /// Why a pattern does not match: at a node, or where it almost does.
    Why(Why),
    /// Replaces what rules and patterns find.
    Rewrite(Rewrite),
    /// Puts what patterns find into functions that the model brings along.
    Outline(Outline),
    /// Makes a model smaller: calibrates on samples, writes a quantized model.
    Quantize(Box<Quantize>),
    /// Runs samples and writes statistics, for `quantize --stats`; parts of it run anywhere.
    Calibrate(Box<Calibrate>),
    /// Works on files of statistics.
    #[command(subcommand)]
    Stats(Stats),
    /// Works on files of encodings: AIMET's 0.6.1, 1.0.0 and 2.0.0.
    #[command(subcommand)]
    Encodings(Encodings),
    /// What a selector means in a model: the values that steps of pipelines would work on, and those that
    /// `quantize --select` would quantize.
    Select(Select),
    /// Runs a pipeline from a file; a run that was killed goes on with `--resume`.
    Run(Run),
    /// What a pipeline would do: its steps, what each works on, memory and files. Runs no sample.
    Plan(Plan),
    /// Pipelines in RON and JSON.
    #[command(subcommand)]
    Config(Config),
    /// In what two models differ: operators, names, constants, types, opsets, metadata.
    Diff(Diff),
    /// How far the tensors of two models are apart on the same samples.
    Compare(Compare),
    /// Which layers lose most when they are quantized: each on alone, and each off alone.
    Analyze(Box<Analyze>),
    /// Draws and compares the reports that `quantize --report` writes.
    #[command(subcommand)]
    Report(Report),
    /// Works on pattern files.
    #[command(subcommand)]
    Pattern(Pattern),
    /// Lays pattern files out in the one way: the same as `pattern fmt`.
    Fmt(PatternFmt),
    /// What a code of an error or a warning means, with examples; why a tensor is quantized as it is.
    Explain(Explain),
    /// What a shell needs to complete this command.
    Completions(Completions),
    /// The manual: the page of the command, or a page for each verb in a folder.
    Man(ManPages),
}

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
pub(crate) enum Encodings {
    /// Writes the encodings of a quantized model.
    Export {
        /// The quantized model.
        model: PathBuf,
        /// Where the encodings go; versions are 0.6.1, 1.0.0 and 2.0.0.
        #[arg(short, long, value_name = "FILE[@VERSION]")]
        output: String,
        /// Also writes the model without its quantizers.
        #[arg(long, value_name = "FILE.onnx")]
        float: Option<PathBuf>,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Quantizes a float model as a file of encodings, or of ONNX Runtime's tensor overrides, says.
    Import {
        /// The float model.
        model: PathBuf,
        /// The encodings.
        encodings: PathBuf,
        /// Where the quantized model goes.
        #[arg(short, long, value_name = "FILE.onnx", required_unless_present = "dry_run")]
        output: Option<PathBuf>,
        /// Leaves out what does not fit the model, instead of refusing it.
        #[arg(long)]
        lenient: bool,
        /// Says what would be written, and writes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Writes encodings in another version of the format.
    Convert {
        /// The encodings.
        file: PathBuf,
        /// Where they go.
        #[arg(short, long, value_name = "FILE[@VERSION]")]
        output: String,
        /// The float model, which knows what the file does not say.
        #[arg(long, value_name = "FILE.onnx")]
        model: Option<PathBuf>,
        /// Leaves out what does not fit the model, instead of refusing it.
        #[arg(long)]
        lenient: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Says which tensors of a model have no encoding in a file.
    Check {
        /// The float model.
        model: PathBuf,
        /// The encodings.
        file: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_limited() {
        assert_eq!((threads("1"), threads("1024")), (Ok(1), Ok(1024)));
        for wrong in ["0", "1025", "100000", "-1", "many", ""] {
            let said = threads(wrong).unwrap_err();
            assert!(said.starts_with("a number from 1 to 1024; this machine has "), "{said}");
            assert!(said.contains(" core"), "{said}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
