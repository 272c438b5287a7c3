//! `marquetry pattern fmt`: lays pattern files out.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use marquetry_pattern::fmt;
use serde_json::json;

use super::super::answer::{Answer, plural};
use super::super::args::{Cli, PatternFmt};
use super::super::failure::{Exit, Failure};
use super::super::{load, outputs};

pub(crate) fn run(args: &PatternFmt, cli: &Cli) -> Result<Answer, Failure> {
    let (files, check) = (&args.files, args.check);
    if files.iter().any(|path| path.as_os_str() == "-") {
        return standard_input(files, check, cli);
    }
    let mut texts = Vec::new();
    for path in files {
        if path.is_dir() {
            let found = load::pattern_files_below(path)?;
            texts.extend(found.into_iter().map(|file| path.join(file)));
        } else {
            texts.push(path.clone());
        }
    }
    // All files are read before the first is written: an error changes nothing.
    let mut changes = Vec::new();
    for path in &texts {
        let bytes = fs::read(path).map_err(|error| Failure::reading(path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
        let laid_out = laid_out(&text, &path.display().to_string(), cli)?;
        if laid_out != text {
            changes.push((path, laid_out));
        }
    }
    if !check {
        for (path, text) in &changes {
            outputs::write_text(path, text).map_err(|error| Failure::writing(path, &error))?;
        }
    }
    let names: Vec<String> = changes.iter().map(|(path, _)| path.display().to_string()).collect();
    let mut text: String = names.iter().map(|name| format!("{name}\n")).collect();
    let done = if check { "to be laid out" } else { "laid out" };
    text += &format!("{} of {} {done}\n", names.len(), plural(texts.len(), "file"));
    let json = json!({
        "schema_version": 1,
        "files": texts.len(),
        "changed": names,
        "written": !check,
    });
    let mut answer = Answer::new(text, json);
    answer.found = (check && !changes.is_empty()).then_some(Exit::Found);
    Ok(answer)
}

fn standard_input(files: &[PathBuf], check: bool, cli: &Cli) -> Result<Answer, Failure> {
    if files.len() > 1 {
        let message = "`-` cannot be given together with files";
        let failure = Failure::new(Exit::Usage, "input_and_files", message);
        return Err(failure.hint("lay them out with a command of their own"));
    }
    let mut bytes = Vec::new();
    let place = Path::new("<stdin>");
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::reading(place, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| not_text(place, &error))?;
    let laid_out = laid_out(&text, "<stdin>", cli)?;
    let changed = laid_out != text;
    let json = json!({ "schema_version": 1, "changed": changed, "text": laid_out });
    let mut answer = Answer::new(if check { String::new() } else { laid_out }, json);
    answer.found = (check && changed).then_some(Exit::Found);
    Ok(answer)
}

fn laid_out(text: &str, name: &str, cli: &Cli) -> Result<String, Failure> {
    fmt::format_named(text, name).map_err(|errors| load::pattern_failure(&errors, cli))
}

fn not_text(path: &Path, error: &std::string::FromUtf8Error) -> Failure {
    let message = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
    let failure = Failure::new(Exit::Invalid, "not_text", message).at(path.display());
    failure.hint("save the file as UTF-8")
}
