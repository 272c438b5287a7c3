//! `marquetry pattern verify`: whether patterns are what their meaning says, and rules right.

use std::fmt::Write as _;

use marquetry_matcher::verify::{Status, Verdict, VerifyOptions, verify_all};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::{Library, Span};
use serde_json::{Value, json};

use crate::cli::answer::{Answer, plural};
use crate::cli::args::{Cli, PatternVerify};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{engine, load};

pub(crate) fn run(args: &PatternVerify, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(&args.files, cli)?;
    let all: Vec<Pattern> = library.patterns().iter().chain(library.rules()).cloned().collect();
    let chosen = load::only(&all, &args.only)?;
    let chosen: Vec<&Pattern> = chosen.iter().collect();
    let options = VerifyOptions { samples: args.samples, seed: args.seed, mutants: true };
    let operators = engine::operators(cli)?;
    let mut verdicts = verify_all(&chosen, &*operators, &options);
    verdicts.retain(|verdict| verdict.status != Status::Nothing);
    let json = json!({
        "schema_version": 1,
        "seed": args.seed,
        "patterns": verdicts.iter().map(|verdict| object(verdict, &library)).collect::<Vec<_>>(),
    });
    let mut answer = Answer::new(table(&verdicts, &library, args.seed), json);
    // What could not be verified was asked for as well.
    let good = |status: &Status| matches!(status, Status::Verified | Status::Off(_));
    if !verdicts.iter().all(|verdict| good(&verdict.status)) {
        answer.found = Some(Exit::Found);
    }
    Ok(answer)
}

/// One row for each pattern, then what has to be said about single ones.
fn table(verdicts: &[Verdict], library: &Library, seed: u64) -> String {
    if verdicts.is_empty() {
        return "no pattern has an `equals`, and there is no rule\n".to_owned();
    }
    let head =
        ["pattern", "", "variants", "samples", "algebra", "native", "mutants", "not reached"];
    let mut rows: Vec<[String; 8]> = vec![head.map(str::to_owned)];
    for verdict in verdicts {
        let measured = !matches!(verdict.status, Status::Off(_));
        let cell = |text: String| if measured { text } else { String::new() };
        let count = |(done, all): (usize, usize)| cell(format!("{done}/{all}"));
        rows.push([
            verdict.pattern.clone(),
            word(&verdict.status).to_owned(),
            count(verdict.variants),
            cell(verdict.samples.to_string()),
            cell(error(verdict.algebra)),
            cell(error(verdict.native)),
            count(verdict.mutants),
            cell(verdict.not_reached.len().to_string()),
        ]);
    }
    let mut text = String::new();
    let widths: Vec<usize> = (0..head.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(
                |(at, (cell, &width))| {
                    if at < 2 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        writeln!(text, "{}", cells.join("  ").trim_end()).expect("a string takes any text");
    }
    for verdict in verdicts {
        details(&mut text, verdict, library);
    }
    let wrong = verdicts.iter().filter(|verdict| verdict.status == Status::Wrong).count();
    let good = verdicts.iter().filter(|verdict| verdict.status == Status::Verified).count();
    let off = verdicts.iter().filter(|verdict| matches!(verdict.status, Status::Off(_))).count();
    writeln!(
        text,
        "\n{} verified, {wrong} wrong, {} not verified{} (seed {seed}); samples are no proof",
        plural(good, "pattern"),
        verdicts.len() - wrong - good - off,
        if off > 0 { format!(", {off} off") } else { String::new() },
    )
    .expect("a string takes any text");
    text
}

fn details(text: &mut String, verdict: &Verdict, library: &Library) {
    let name = &verdict.pattern;
    let mut line = |line: String| {
        writeln!(text, "{line}").expect("a string takes any text");
    };
    match &verdict.status {
        Status::Off(reason) => line(format!("\n{name}: not verified: {reason} (`verify off`)")),
        Status::NotVerified(reason) => line(format!("\n{name}: not verified: {reason}")),
        _ => {}
    }
    if let Some(found) = &verdict.counterexample {
        let (failed, all) = found.failed;
        line(format!("\n{name}: {failed} of {all} samples differ: {}", found.difference));
        if let Some(suggestion) = &found.suggestion {
            line(format!("  missing condition?  `where {suggestion}` removes all of them"));
        }
        line(String::new());
        line(found.test.trim_end().to_owned());
    }
    for missed in &verdict.not_reached {
        line(format!("{name}: not reached: {} of `{}`", missed.what, brief(library, missed.span)));
    }
    for (reason, count) in &verdict.skipped {
        line(format!("{name}: {} not compared: {reason}", plural(as_usize(*count), "sample")));
    }
    for (span, what) in &verdict.survivors {
        line(format!(
            "{name}: note: `{}` {what} makes no difference: under-tested or superfluous",
            brief(library, *span)
        ));
    }
}

fn as_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A part of a pattern on one line.
fn brief(library: &Library, span: Span) -> String {
    let words: Vec<&str> = library.sources().text(span).split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn word(status: &Status) -> &'static str {
    match status {
        Status::Verified => "verified",
        Status::Wrong => "WRONG",
        Status::NotVerified(_) => "not verified",
        Status::Off(_) => "off",
        Status::Nothing => "nothing to verify",
    }
}

fn error((count, worst): (u64, f64)) -> String {
    if count == 0 { "–".to_owned() } else { format!("{worst:.0e}") }
}

fn object(verdict: &Verdict, library: &Library) -> Value {
    let reason = match &verdict.status {
        Status::Off(reason) | Status::NotVerified(reason) => Some(reason.as_str()),
        _ => None,
    };
    let missed = verdict.not_reached.iter();
    let missed =
        missed.map(|missed| json!({ "at": brief(library, missed.span), "what": missed.what }));
    let survivors = verdict.survivors.iter();
    let survivors =
        survivors.map(|(span, what)| json!({ "at": brief(library, *span), "what": what }));
    json!({
        "pattern": verdict.pattern,
        "status": word(&verdict.status).to_lowercase().replace(' ', "_"),
        "reason": reason,
        "variants": { "compared": verdict.variants.0, "tried": verdict.variants.1, "all": verdict.complete },
        "samples": verdict.samples,
        "algebra": { "comparisons": verdict.algebra.0, "error": verdict.algebra.1 },
        "native": { "comparisons": verdict.native.0, "error": verdict.native.1, "rounding": verdict.rounding },
        "mutants": { "noticed": verdict.mutants.0, "made": verdict.mutants.1 },
        "survivors": survivors.collect::<Vec<_>>(),
        "not_reached": missed.collect::<Vec<_>>(),
        "not_compared": verdict.skipped,
        "counterexample": verdict.counterexample.as_ref().map(|found| json!({
            "difference": found.difference.to_string(),
            "failed": found.failed.0,
            "samples": found.failed.1,
            "suggestion": found.suggestion,
            "test": found.test,
        })),
    })
}
