//! The command line as clap reads it. What the verbs do stands in the module of each.

mod encodings;
mod groups;
mod help;
mod model;
mod pattern;
mod pipeline;
mod quantize;
mod report;
mod statistics;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::encodings::Encodings;
pub(crate) use self::groups::{Match, Outline, PatternFiles, Rewrite, VerifyHow, Why};
pub(crate) use self::help::{Completions, Explain, Explained, ManPages};
pub(crate) use self::model::{Check, Compare, Diff, Draw, Inspect, Print};
pub(crate) use self::pattern::{Lift, Pattern, PatternFmt, PatternTest, PatternVerify};
pub(crate) use self::pipeline::{Config, Destination, Plan, Run};
pub(crate) use self::quantize::{
    Analyze, By, Choices, ExplainTensor, Numbers, Quantize, Rounding, Samples,
};
pub(crate) use self::report::Report;
pub(crate) use self::statistics::{Calibrate, Select, Stats};

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

/// What a size is.
const SIZE: &str = "a whole number of bytes, or of K, M, G or T, such as `512M`";

/// Bytes, with K, M, G or T for powers of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let power = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        _ => return Err(SIZE.to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| SIZE.to_owned())?;
    count.checked_mul(1024_u64.pow(power)).ok_or_else(|| "a smaller size".to_owned())
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
