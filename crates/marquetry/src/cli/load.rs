//! Reads what verbs work on, and says what went wrong in the words of the command.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use marquetry::library;
use marquetry_ir::Model;
use marquetry_ir::onnx::{self, ReadError, ReadOptions, WriteError};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::similar::closest;
use marquetry_pattern::{Diagnostic, Library};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::{Value, json};

use super::answer::plural;
use super::args::Cli;
use super::failure::{Exit, Failure, Texts, short};
use super::outputs::is_standard;
use super::{Stream, in_colour};

/// The model in a file, or on standard input for `-`.
pub(crate) fn model(path: &Path, cli: &Cli) -> Result<Model, Failure> {
    let mut options = ReadOptions::default();
    options.strip_unknown = cli.strip_unknown;
    options.allow_newer = cli.allow_newer;
    if !is_standard(path) {
        return onnx::read_with(path, &options).map_err(|error| read_failure(path, &error));
    }
    let place = Path::new(STDIN);
    // One byte more than a model can have tells that there is too much.
    let bytes = standard_input(onnx::MOST_BYTES + 1)?;
    let read = if bytes.len() as u64 > onnx::MOST_BYTES {
        Err(ReadError::TooLarge { size: bytes.len() as u64 })
    } else {
        onnx::decode_with(bytes, &options)
    };
    read.map_err(|error| read_failure(place, &error))
}

/// What standard input is called in messages.
pub(crate) const STDIN: &str = "<stdin>";

/// What stands on standard input, up to so many bytes. It is there once.
fn standard_input(most: u64) -> Result<Vec<u8>, Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        let message = "standard input is read already, and is there once";
        return Err(Failure::new(Exit::Usage, "not_from_stdin", message)
            .at("-")
            .hint("give the path of a file; `./-` is a file of this name"));
    }
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(most);
    let read = input.read_to_end(&mut bytes);
    read.map_err(|error| Failure::reading(Path::new(STDIN), &error))?;
    Ok(bytes)
}

/// The most bytes of a text that somebody writes, such as a pipeline.
pub(crate) const MOST_WRITTEN: u64 = 16 << 20;
/// The most bytes of a text that programs write: encodings have scales for each block of a large model.
pub(crate) const MOST_MADE: u64 = 2 << 30;

/// The text in a file, or on standard input for `-`, of so many bytes at most.
pub(crate) fn text(path: &Path, most: u64) -> Result<String, Failure> {
    let place = shown(path);
    // One byte more tells that there is too much.
    let bytes = if is_standard(path) {
        standard_input(most + 1)?
    } else {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
        read.map_err(|error| Failure::reading(path, &error))?;
        bytes
    };
    if bytes.len() as u64 > most {
        let message =
            format!("this has more than the {} that are read", super::answer::bytes(most));
        return Err(Failure::new(Exit::Limit, "text_too_large", message)
            .at(place.display())
            .hint("give the file that was meant"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let message =
            format!("this is no text: byte {} is no UTF-8", error.utf8_error().valid_up_to());
        Failure::new(Exit::Invalid, "not_text", message)
            .at(place.display())
            .hint("give a text file here; a model stands elsewhere on the command line")
    })?;
    // Some editors begin files with a mark that says no more than that it is UTF-8.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// What a file is called in messages.
pub(crate) fn shown(path: &Path) -> &Path {
    if is_standard(path) { Path::new(STDIN) } else { path }
}

/// Refuses standard input where something is read more than once, or known by its name.
pub(crate) fn is_file(path: &Path) -> Result<(), Failure> {
    if !is_standard(path) {
        return Ok(());
    }
    let message = "this is read from a file, and not from standard input";
    Err(Failure::new(Exit::Usage, "not_from_stdin", message)
        .at(path.display())
        .hint("give the path of a file; `./-` is a file of this name"))
}

/// Refuses to read two models from standard input.
pub(crate) fn one_standard_input(paths: &[&Path]) -> Result<(), Failure> {
    let [.., last] = paths else { return Ok(()) };
    if paths.iter().filter(|path| is_standard(path)).count() < 2 { Ok(()) } else { is_file(last) }
}

fn read_failure(path: &Path, error: &ReadError) -> Failure {
    let failure = match error {
        ReadError::Io { source, .. } => Failure::reading(path, source),
        ReadError::NotAFile { .. } => {
            Failure::new(Exit::Io, error.code(), "this is not a file").at(path.display())
        }
        _ => {
            let exit = match error.code() {
                "too_deep" | "too_many_dims" | "memory_budget" | "file_too_large" => Exit::Limit,
                "newer_ir_version" => Exit::Unsupported,
                _ => Exit::Invalid,
            };
            Failure::new(exit, error.code(), error).at(path.display())
        }
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Why a model could not be written.
pub(crate) fn write_failure(path: &Path, error: &WriteError) -> Failure {
    let failure = Failure::new(Exit::Io, error.code(), error).at(path.display());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The patterns of the user's files and folders, or the shipped ones without any.
pub(crate) fn library(files: &[PathBuf], cli: &Cli) -> Result<Library, Failure> {
    if files.is_empty() {
        return Ok(library::standard());
    }
    let mut folders = Vec::new();
    let mut roots: Vec<String> = Vec::new();
    let mut given: Vec<(&str, String)> = Vec::new();
    let mut pipes: Vec<(String, String)> = Vec::new();
    for path in files {
        if is_standard(path) {
            given.push((STDIN, text(path, MOST_WRITTEN)?));
            roots.push(STDIN.to_owned());
        } else if path.as_os_str() == "std" {
            roots.extend(library::roots().map(str::to_owned));
        } else if path.is_dir() {
            let found = pattern_files(path)?;
            if found.is_empty() {
                return Err(no_patterns(path));
            }
            folders.push(path.clone());
            roots.extend(found);
        } else {
            let about = fs::metadata(path).map_err(|error| Failure::reading(path, &error))?;
            if !about.is_file() {
                // What comes from a pipe stands in no folder: its name is only for messages.
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let number =
                    if pipes.is_empty() { String::new() } else { format!("{}:", pipes.len()) };
                pipes.push((format!("<{number}{name}>"), text(path, MOST_WRITTEN)?));
                continue;
            }
            // A link that is named is meant: it is no way out of a folder.
            let link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
            let path = &if link { fs::canonicalize(path) } else { Ok(path.clone()) }
                .map_err(|error| Failure::reading(path, &error))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folders.push(folder.unwrap_or(Path::new(".")).to_owned());
            let name = path.file_name().expect("a path that is no folder ends in a name");
            roots.push(name.to_string_lossy().into_owned());
        }
    }
    roots.extend(pipes.iter().map(|(name, _)| name.clone()));
    let roots: Vec<_> = roots.iter().map(String::as_str).collect();
    let given = given.iter().map(|(name, text)| (*name, &**text));
    let given: Vec<(&str, &str)> =
        given.chain(pipes.iter().map(|(name, text)| (&**name, &**text))).collect();
    // What comes from nowhere uses what is in the folder of whoever gives it.
    folders.extend((!given.is_empty()).then(|| PathBuf::from(".")));
    library::load_with(folders, &given, &roots).map_err(|errors| pattern_failure(&errors, cli))
}

/// The pattern files directly in a folder, sorted.
fn pattern_files(folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error: std::io::Error| Failure::reading(folder, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let (Some("pat"), Some(name)) =
            (path.extension().and_then(|end| end.to_str()), path.file_name())
        {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The pattern files in a folder and those below it, sorted, relative to it.
pub(crate) fn pattern_files_below(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(at) = folders.pop() {
        let place = folder.join(&at);
        let failed = |error: std::io::Error| Failure::reading(&place, &error);
        for entry in fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = at.join(entry.file_name());
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "pat") {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    if found.is_empty() {
        return Err(no_patterns(folder));
    }
    found.sort();
    Ok(found)
}

fn no_patterns(folder: &Path) -> Failure {
    let message = "there is no `.pat` file in this folder";
    let failure = Failure::new(Exit::Invalid, "no_patterns", message).at(folder.display());
    failure.hint("give a folder with pattern files, or one file")
}

/// A picture of something about a text, which is going to be printed there.
pub(crate) fn drawn(diagnostic: &dyn miette::Diagnostic, to: Stream, cli: &Cli) -> String {
    let theme = if in_colour(cli.color, to) {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut drawn = String::new();
    handler.render_report(&mut drawn, diagnostic).expect("a string takes any text");
    drawn
}

/// All errors of pattern files, drawn.
pub(crate) fn pattern_failure(errors: &[Diagnostic], cli: &Cli) -> Failure {
    let mut drawn: String =
        errors.iter().map(|error| self::drawn(error, Stream::Error, cli) + "\n").collect();
    let count = plural(errors.len(), "error");
    drawn.push_str(&count);
    let mut failure =
        Failure::new(Exit::Invalid, "pattern_errors", format!("{count} in pattern files"));
    let details = errors.iter().map(detail).collect();
    failure.texts = Some(Box::new(Texts { details, drawn }));
    failure
}

/// An error or a warning for programs: `labels[0]` says what is wrong.
pub(crate) fn detail(error: &Diagnostic) -> Value {
    let labels = |error: &Diagnostic| -> Vec<Value> {
        let label = |label: &marquetry_pattern::Label| {
            let lines = error.lines(label);
            json!({
                "file": error.file(),
                "line": lines.map(|[(line, _), _]| line),
                "column": lines.map(|[(_, column), _]| column),
                "end_line": lines.map(|[_, (line, _)]| line),
                "end_column": lines.map(|[_, (_, column)]| column),
                "message": label.text,
            })
        };
        error.labels.iter().map(label).collect()
    };
    let mut all = labels(error);
    all.extend(error.elsewhere().iter().flat_map(labels));
    json!({
        "code": error.code.to_string(),
        "severity": error.severity().to_string(),
        "title": error.code.title(),
        "file": error.file(),
        "line": all.first().map(|label| &label["line"]),
        "column": all.first().map(|label| &label["column"]),
        "end_line": all.first().map(|label| &label["end_line"]),
        "end_column": all.first().map(|label| &label["end_column"]),
        "start": error.span().start,
        "end": error.span().end,
        "message": error.fact(),
        "hint": error.hint(),
        "labels": all,
    })
}

/// How many names are told where none is near.
const TOLD: usize = 8;

/// Nothing of the pattern files has this name.
pub(crate) fn unknown<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    let name = &*short(name);
    let hint = match closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "the pattern files declare none".to_owned(),
        None => {
            let told: Vec<String> =
                known.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
            let more = known.len().saturating_sub(TOLD);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("the pattern files declare {}{more}", told.join(", "))
        }
    };
    Failure::new(Exit::Usage, code(noun), format!("there is no {noun} `{name}`")).hint(hint)
}

fn code(noun: &str) -> &'static str {
    if noun == "rule" { "unknown_rule" } else { "unknown_pattern" }
}

/// The patterns with these names.
pub(crate) fn only(patterns: &[Pattern], names: &[String]) -> Result<Vec<Pattern>, Failure> {
    for name in names {
        if !patterns.iter().any(|pattern| pattern.name == *name) {
            let known = patterns.iter().map(|pattern| pattern.name.as_str());
            return Err(unknown("pattern", name, known));
        }
    }
    Ok(patterns
        .iter()
        .filter(|pattern| names.is_empty() || names.contains(&pattern.name))
        .cloned()
        .collect())
}
