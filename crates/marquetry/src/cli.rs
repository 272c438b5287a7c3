//! The command: reads the command line, lets a verb answer, prints, and chooses the exit code.
//!
//! Nothing else prints. A verb returns an [`Answer`] or a [`Failure`].
#![allow(clippy::print_stdout, reason = "this is the one place that prints")]

mod analyze;
mod answer;
mod args;
mod calibrate;
mod check;
mod compare;
mod diff;
mod draw;
mod encodings;
mod engine;
mod explain;
mod failure;
mod finder;
mod inspect;
mod interrupt;
mod job;
mod journal;
mod load;
mod lsp;
mod match_;
mod outputs;
mod pattern;
mod pipeline;
mod print;
mod quantize;
mod report;
mod rewrite;
mod select;
mod shell;
mod stats;
mod watch;
mod why;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _};

use self::answer::{Answer, harmless};
use self::args::{Cli, Color, Verb};
use self::failure::Failure;

/// Bytes of stack of each thread, as many as the first one has.
const STACK: usize = 8 << 20;

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    marquetry::engine::keep_freed_pages();
    let words: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command().color(choice_of_colour(&words));
    let parsed = command.try_get_matches_from(&words);
    let cli = match parsed.and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &words),
    };
    interrupt::survive_full_quota();
    // Matching and arithmetic work in the pool of the process; it is fixed before anything else uses it.
    let threads = cli.threads.unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK);
    let _ = pool.build_global();
    match cli.verb.watched() {
        // What was read once from a pipe is not read again.
        Some(paths) if paths.iter().any(|path| outputs::is_standard(path)) => {
            refused(&cli, &load::is_file(Path::new("-")).expect_err("this is standard input"))
        }
        Some(paths) => watch::forever(&paths, || once(&cli)),
        // Whoever is in the pool already hands work to it without waiting for another thread to wake.
        None if cli.verb.computes() => rayon::scope(|_| once(&cli)),
        None => once(&cli),
    }
}

/// The words of a command line that may be options.
fn options(words: &[OsString]) -> impl Iterator<Item = &str> {
    let words = words.iter().skip(1).take_while(|word| *word != "--");
    words.map(|word| word.to_str().unwrap_or_default())
}

/// When help and mistakes on the command line are in colour, which is asked before it is understood.
fn choice_of_colour(words: &[OsString]) -> ColorChoice {
    let mut chosen = None;
    let mut words = options(words).peekable();
    while let Some(word) = words.next() {
        match word.strip_prefix("--color") {
            Some("") => chosen = words.peek().copied(),
            Some(rest) => chosen = rest.strip_prefix('=').or(chosen),
            None => {}
        }
    }
    match chosen {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// Prints help where that was asked for, and what is wrong with a command line elsewhere.
fn not_understood(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let own = Failure::of_value(error);
    match &own {
        Some(failure) => tell(&format!("{}\n", failure.printed(false))),
        None => {
            let _ = error.print();
        }
    }
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if options(words).any(|word| word == "--json") {
        let failure = own.unwrap_or_else(|| Failure::usage(&error.render().to_string()));
        let _ = print(pretty(&failure.json()).as_bytes());
    }
    ExitCode::from(failure::Exit::Usage as u8)
}

fn once(cli: &Cli) -> ExitCode {
    let result = match &cli.verb {
        Verb::Inspect(args) => inspect::run(args, cli),
        Verb::Print(args) => print::run(args, cli),
        Verb::Check(args) => check::run(args, cli),
        Verb::Draw(args) => draw::run(args, cli),
        Verb::Match(args) => match_::run(args, cli),
        Verb::Why(args) => why::run(args, cli),
        Verb::Rewrite(args) => rewrite::run(args, cli),
        Verb::Outline(args) => rewrite::run_outline(args, cli),
        Verb::Quantize(args) => quantize::run(args, cli),
        Verb::Calibrate(args) => calibrate::run(args, cli),
        Verb::Select(args) => select::run(args, cli),
        Verb::Stats(args) => stats::run(args),
        Verb::Encodings(args) => encodings::run(args, cli),
        Verb::Run(args) => pipeline::run(args, cli),
        Verb::Plan(args) => pipeline::plan(args, cli),
        Verb::Config(args) => pipeline::config(args),
        Verb::Diff(args) => diff::run(args, cli),
        Verb::Compare(args) => compare::run(args, cli),
        Verb::Analyze(args) => analyze::run(args, cli),
        Verb::Report(args) => report::run(args),
        Verb::Pattern(args) => pattern::run(args, cli),
        Verb::Fmt(args) => pattern::fmt::run(args, cli),
        Verb::Explain(args) => explain::run(args, cli),
        Verb::Completions(args) => Ok(shell::completions(args)),
        Verb::Man(args) => shell::man(args),
    };
    let json = cli.verb.json();
    match result {
        Ok(answer) => told(&answer, json, cli),
        Err(failure) => refused(cli, &failure),
    }
}

fn refused(cli: &Cli, failure: &Failure) -> ExitCode {
    if cli.verb.json() {
        // A program that asked for JSON gets JSON, also when it goes wrong.
        let _ = print(pretty(&failure.json()).as_bytes());
    }
    tell(&format!("{}\n", failure.printed(in_colour(cli.color, Stream::Error))));
    ExitCode::from(failure.exit as u8)
}

impl Verb {
    /// Whether most of the time goes into arithmetic on samples.
    fn computes(&self) -> bool {
        matches!(self, Self::Quantize(_) | Self::Calibrate(_) | Self::Run(_) | Self::Analyze(_))
    }

    /// The files that are watched, if that was asked for.
    fn watched(&self) -> Option<Vec<PathBuf>> {
        match self {
            Self::Match(args) if args.watch => {
                let files = args.patterns.files.iter().filter(|path| path.as_os_str() != "std");
                Some(files.chain([&args.model]).cloned().collect())
            }
            Self::Pattern(args) => args.watched(),
            _ => None,
        }
    }

    /// Whether files are what was asked for, so that what is said of them is a summary.
    fn writes(&self) -> bool {
        match self {
            Self::Quantize(args) => !args.dry_run && !args.print_pipeline,
            Self::Rewrite(args) => !args.dry_run,
            Self::Outline(args) => !args.dry_run,
            Self::Man(args) => args.output.is_some(),
            Self::Fmt(args) => !args.check,
            Self::Pattern(args::Pattern::Fmt(args)) => !args.check,
            Self::Run(args) => !args.dry_run,
            Self::Calibrate(args) => !args.dry_run,
            Self::Encodings(args::Encodings::Import { dry_run, .. }) => !dry_run,
            Self::Draw(_)
            | Self::Stats(args::Stats::Merge { .. })
            | Self::Encodings(args::Encodings::Export { .. } | args::Encodings::Convert { .. })
            | Self::Config(args::Config::Convert { .. })
            | Self::Report(args::Report::Html { .. }) => true,
            _ => false,
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Inspect(args) => args.json,
            Self::Print(args) => args.json,
            Self::Completions(args) => args.json,
            Self::Draw(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Fmt(args) => args.json,
            Self::Man(args) => args.json,
            Self::Check(args) => args.json,
            Self::Match(args) => args.json,
            Self::Why(args) => args.json,
            Self::Rewrite(args) => args.json,
            Self::Outline(args) => args.json,
            Self::Quantize(args) => args.json,
            Self::Calibrate(args) => args.json,
            Self::Select(args) => args.json,
            Self::Stats(args::Stats::Merge { json, .. } | args::Stats::Show { json, .. }) => *json,
            Self::Encodings(
                args::Encodings::Export { json, .. }
                | args::Encodings::Import { json, .. }
                | args::Encodings::Convert { json, .. }
                | args::Encodings::Check { json, .. },
            ) => *json,
            Self::Run(args) => args.json,
            Self::Plan(args) => args.json,
            Self::Config(args::Config::Schema) => false,
            Self::Config(args::Config::Convert { json, .. }) => *json,
            Self::Compare(args) => args.json,
            Self::Analyze(args) => args.json,
            Self::Report(args::Report::Html { json, .. } | args::Report::Diff { json, .. }) => {
                *json
            }
            Self::Report(args::Report::Schema) => false,
            Self::Pattern(args) => args.json(),
            Self::Explain(args) => match &args.what {
                Some(args::Explained::Tensor(args)) => args.json,
                None => args.json,
            },
        }
    }
}

fn told(answer: &Answer, json: bool, cli: &Cli) -> ExitCode {
    let quiet = cli.quiet;
    if !quiet {
        for note in &answer.notes {
            tell(&harmless(&format!("note: {note}\n"), false));
        }
    }
    let said = match json {
        true => pretty(&answer.json),
        false => harmless(&answer.text, in_colour(cli.color, Stream::Output)).into_owned(),
    };
    let written = match &answer.file {
        Some(file) => {
            if json || !quiet {
                tell(&said);
            }
            print(file)
        }
        // What a check found is no summary.
        None if quiet && !json && answer.found.is_none() && cli.verb.writes() => Ok(()),
        None => print(said.as_bytes()),
    };
    match (written, answer.found) {
        (Err(error), _) => {
            let failure = Failure::writing(Path::new("standard output"), &error)
                .hint("what arrived there is not complete: send it where there is room");
            tell(&format!("{failure}\n"));
            ExitCode::from(failure.exit as u8)
        }
        (Ok(()), Some(exit)) => ExitCode::from(exit as u8),
        (Ok(()), None) => ExitCode::SUCCESS,
    }
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("a JSON value can be written as text");
    text.push('\n');
    text
}

/// Writes to standard error. A reader that went away has seen what it wanted.
fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to standard output. A reader that went away (`| head`) has what it wanted.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Where something is printed.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Output,
    Error,
}

fn in_colour(color: Color, to: Stream) -> bool {
    let is_terminal = match to {
        Stream::Output => io::stdout().is_terminal(),
        Stream::Error => io::stderr().is_terminal(),
    };
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            is_terminal && std::env::var_os("NO_COLOR").is_none_or(|said| said.is_empty())
        }
    }
}
