//! `marquetry stats`: files of statistics, merged and shown.

use std::fmt::Write as _;
use std::path::Path;

use marquetry_quant::pass::{Content, Output};
use marquetry_quant::statistics::{StatisticsError, StatisticsFile};
use serde_json::json;

use super::answer::{Answer, plural};
use super::args::Stats;
use super::failure::{Exit, Failure};
use super::{load, outputs};

pub(crate) fn run(args: &Stats) -> Result<Answer, Failure> {
    match args {
        Stats::Merge { files, output, allow_partial, .. } => {
            outputs::writable(output)?;
            outputs::apart(&[output], files)?;
            let read: Result<Vec<_>, _> = files.iter().map(|file| read(file)).collect();
            let merged = StatisticsFile::merge(read?, *allow_partial).map_err(|e| failure(&e))?;
            let content = Content::Text(merged.render());
            let file = outputs::write(&[Output { path: output.clone(), content }])?;
            let text = format!(
                "{}: {} of {}{}\n",
                output.display(),
                plural(merged.tensors().len(), "value"),
                plural(merged.samples(), "sample"),
                missing(&merged),
            );
            Ok(Answer { file, ..Answer::new(text, summary(output, &merged)) })
        }
        Stats::Show { file, .. } => {
            let shown = read(file)?;
            Ok(Answer::new(table(&shown), summary(file, &shown)))
        }
    }
}

fn read(path: &Path) -> Result<StatisticsFile, Failure> {
    let read = match outputs::is_standard(path) {
        true => StatisticsFile::parse(&load::text(path, load::MOST_MADE)?),
        false => StatisticsFile::read(path),
    };
    read.map_err(|error| match error {
        StatisticsError::Unreadable { .. } => failure(&error),
        _ => failure(&error).at(load::shown(path).display()),
    })
}

pub(crate) fn failure(error: &StatisticsError) -> Failure {
    let exit = match error {
        StatisticsError::Unreadable { .. } => Exit::Io,
        _ => Exit::Samples,
    };
    Failure::new(exit, error.code(), error).hint(error.hint())
}

fn missing(file: &StatisticsFile) -> String {
    file.shards().map_or(String::new(), |(have, of)| format!(", {} of {of} shards", have.len()))
}

fn table(file: &StatisticsFile) -> String {
    let mut text = format!(
        "{} of {}{}, model {}\n\n",
        plural(file.tensors().len(), "value"),
        plural(file.samples(), "sample"),
        missing(file),
        file.model(),
    );
    let width = file.tensors().iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(5);
    writeln!(
        text,
        "{:width$}  {:>14}  {:>14}  {:>12}  {:>8}",
        "value", "min", "max", "elements", "zeros"
    )
    .expect("a string takes any text");
    for (name, statistics) in file.tensors() {
        let cells = statistics.range().cells();
        let count: u64 = cells.iter().map(|cell| cell.count).sum();
        let zeros: u64 = cells.iter().map(|cell| cell.zero).sum();
        let (min, max) = statistics.range().range().unwrap_or((f32::NAN, f32::NAN));
        let share = 100.0 * zeros as f64 / count.max(1) as f64;
        write!(text, "{name:width$}  {min:>14.4}  {max:>14.4}  {count:>12}  {share:>7.1}%")
            .expect("a string takes any text");
        let (nan, infinite) = statistics.range().oddities();
        if nan + infinite > 0 {
            write!(text, "  {nan} NaN, {infinite} infinite").expect("a string takes any text");
        }
        text.push('\n');
    }
    text
}

fn summary(path: &Path, file: &StatisticsFile) -> serde_json::Value {
    let values: Vec<_> = file
        .tensors()
        .iter()
        .map(|(name, statistics)| {
            let (nan, infinite) = statistics.range().oddities();
            let range = statistics.range().range();
            json!({
                "value": name,
                // JSON has no infinities: they are null, and counted.
                "min": range.map(|(min, _)| min),
                "max": range.map(|(_, max)| max),
                "elements": statistics.range().cells().iter().map(|cell| cell.count).sum::<u64>(),
                "zeros": statistics.range().cells().iter().map(|cell| cell.zero).sum::<u64>(),
                "nan": nan,
                "infinite": infinite,
            })
        })
        .collect();
    let shards = file.shards().map(|(have, of)| json!({ "have": have, "of": of }));
    json!({
        "schema_version": 1,
        "path": path.display().to_string(),
        "model": file.model(),
        "samples": file.samples(),
        "shards": shards,
        "values": values,
    })
}
