//! `marquetry pattern test`: runs the tests that stand in pattern files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry::library;
use marquetry_engine::Native;
use marquetry_ir::{Model, onnx};
use marquetry_matcher::testing::{self, Failure as Unmet, Ran, Setting};
use marquetry_pattern::ast::Test;
use marquetry_pattern::{Files, Library, Remark};
use serde_json::{Value, json};

use super::super::Stream;
use super::super::answer::{Answer, plural};
use super::super::args::{Cli, PatternTest};
use super::super::failure::{Exit, Failure};
use super::super::{load, outputs};

/// A pattern file that is tested.
struct Suite {
    /// The folder that `use` and models are relative to; `None` for a shipped file.
    folder: Option<PathBuf>,
    /// The path in that folder.
    file: String,
    library: Library,
}

/// Folders that are searched where a suite came from standard input.
const HERE: &str = ".";

pub(super) fn run(args: &PatternTest, cli: &Cli) -> Result<Answer, Failure> {
    if args.bless && args.files.is_empty() {
        let message = "the shipped patterns are part of the command and cannot be changed";
        let failure = Failure::new(Exit::Usage, "bless_shipped", message);
        return Err(failure.hint("give the files that are to be changed"));
    }
    if args.bless {
        args.files.iter().try_for_each(|path| load::is_file(path))?;
    }
    let mut suites = suites(&args.files, cli)?;
    let mut blessed = Vec::new();
    if args.bless {
        for suite in &mut suites {
            if bless(suite, args)? {
                *suite = self::suite(suite.folder.take(), &suite.file, cli)?;
                blessed.push(suite.shown());
            }
        }
    }
    answer(&suites, &blessed, args, cli)
}

/// The files to test, each a library of its own: what one file declares, no other sees.
fn suites(files: &[PathBuf], cli: &Cli) -> Result<Vec<Suite>, Failure> {
    if files.is_empty() {
        return library::FILES.iter().map(|(path, _)| suite(None, path, cli)).collect();
    }
    let mut suites = Vec::new();
    for path in files {
        if outputs::is_standard(path) {
            let library = load::library(std::slice::from_ref(path), cli)?;
            let (folder, file) = (Some(PathBuf::from(HERE)), load::STDIN.to_owned());
            suites.push(Suite { folder, file, library });
        } else if path.is_dir() {
            let found = load::pattern_files_below(path)?;
            for file in found {
                suites.push(suite(Some(path.clone()), &file, cli)?);
            }
        } else {
            fs::metadata(path).map_err(|error| Failure::reading(path, &error))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).to_owned();
            let name = path.file_name().expect("a path that is no folder ends in a name");
            suites.push(suite(Some(folder), &name.to_string_lossy(), cli)?);
        }
    }
    Ok(suites)
}

fn suite(folder: Option<PathBuf>, file: &str, cli: &Cli) -> Result<Suite, Failure> {
    let library = match &folder {
        Some(folder) => library::load(vec![folder.clone()], &[file]),
        None => Library::load(&Files(library::FILES), &[file], &marquetry_matcher::Schemas),
    };
    let library = library.map_err(|errors| load::pattern_failure(&errors, cli))?;
    Ok(Suite { folder, file: file.to_owned(), library })
}

impl Suite {
    /// The path as the user would write it.
    fn shown(&self) -> String {
        match &self.folder {
            Some(folder) if folder != Path::new(".") => {
                folder.join(&self.file).display().to_string()
            }
            _ => self.file.clone(),
        }
    }

    fn tests(&self, args: &PatternTest) -> Vec<&Test> {
        let wanted = |test: &&Test| {
            args.only.as_ref().is_none_or(|text| test.title.text.contains(text.as_str()))
        };
        self.library.tests().iter().filter(wanted).collect()
    }

    fn run(&self, args: &PatternTest) -> Vec<Ran<'_>> {
        let read = |file: &str, model: &str| self.model(file, model);
        let native = Native;
        let setting = Setting { read: Some(&read), evaluate: Some(&native) };
        let tests = self.tests(args).into_iter();
        tests.map(|test| testing::run(&self.library, test, &setting)).collect()
    }

    /// A model that a test names, relative to the folder of the file.
    fn model(&self, file: &str, model: &str) -> Result<Model, String> {
        let Some(folder) = &self.folder else {
            return Err("shipped files bring no models along".to_owned());
        };
        let folder = folder.join(Path::new(file).parent().unwrap_or(Path::new("")));
        onnx::read(folder.join(model)).map_err(|error| error.to_string())
    }
}

/// Writes what is found into a file; whether there was anything to write.
fn bless(suite: &Suite, args: &PatternTest) -> Result<bool, Failure> {
    let ran = suite.run(args);
    let Some(text) = testing::bless(suite.library.sources(), &ran) else { return Ok(false) };
    let folder = suite.folder.as_deref().unwrap_or(Path::new("."));
    let path = folder.join(&suite.file);
    let now = fs::read(&path).map_err(|error| Failure::reading(&path, &error))?;
    let source = suite.library.sources().get(ran[0].test.span.source);
    let mark = now.strip_prefix("\u{feff}".as_bytes());
    if mark.unwrap_or(&now) != source.text.as_bytes() {
        let failure =
            Failure::new(Exit::Io, "file_changed", "the file changed while its tests ran");
        return Err(failure.at(path.display()).hint("run the command again"));
    }
    let text = if mark.is_some() { format!("\u{feff}{text}") } else { text };
    outputs::write_text(&path, &text).map_err(|error| Failure::writing(&path, &error))?;
    Ok(true)
}

fn answer(
    suites: &[Suite],
    blessed: &[String],
    args: &PatternTest,
    cli: &Cli,
) -> Result<Answer, Failure> {
    let (mut text, mut files) = (String::new(), Vec::new());
    let (mut passed, mut failed) = (0, 0);
    for suite in suites {
        let ran = suite.run(args);
        let unmet = ran.iter().filter(|ran| !ran.passed()).count();
        passed += ran.len() - unmet;
        failed += unmet;
        let (name, count) = (suite.shown(), plural(ran.len(), "test"));
        let line = match (ran.len(), unmet) {
            (0, _) if args.only.is_some() => String::new(),
            (0, _) => format!("none    {name}: no tests\n"),
            (_, 0) => format!("ok      {name}: {count}\n"),
            _ => format!("FAILED  {name}: {unmet} of {count}\n"),
        };
        text.push_str(&line);
        for ran in &ran {
            for unmet in &ran.failures {
                writeln!(text, "\n{}", drawn(suite, ran.test, unmet, cli))
                    .expect("a string takes any text");
            }
        }
        let tests: Vec<Value> = ran.iter().map(|ran| test_json(suite, ran)).collect();
        files.push(json!({ "file": name, "tests": tests }));
    }
    if let Some(only) = &args.only
        && passed + failed == 0
    {
        let message = format!("no test has `{only}` in its title");
        return Err(Failure::new(Exit::Usage, "no_such_test", message));
    }
    writeln!(text, "{}, {failed} failed", plural(passed, "test") + " passed")
        .expect("a string takes any text");
    let json = json!({
        "schema_version": 1,
        "passed": passed,
        "failed": failed,
        "blessed": blessed,
        "files": files,
    });
    let mut answer = Answer::new(text, json);
    for file in blessed {
        answer.note(format!("wrote what was found into {file}"));
    }
    if failed > 0 {
        answer.found = Some(Exit::Found);
    }
    Ok(answer)
}

/// A failure with its place in the file, and what differs.
fn drawn(suite: &Suite, test: &Test, unmet: &Unmet, cli: &Cli) -> String {
    let title = format!("{}: {}", test.title.text, unmet.fact);
    let sources = suite.library.sources();
    let remark = Remark::new(sources, unmet.code, &title, &unmet.labels, unmet.hint.as_deref());
    let mut text = load::drawn(&remark, Stream::Output, cli).trim_end().to_owned() + "\n";
    if !unmet.difference.is_empty() {
        text.push_str("  - expected  + found\n");
    }
    for line in &unmet.difference {
        writeln!(text, "    {line}").expect("a string takes any text");
    }
    text
}

fn test_json(suite: &Suite, ran: &Ran<'_>) -> Value {
    let sources = suite.library.sources();
    let failures: Vec<Value> = ran
        .failures
        .iter()
        .map(|unmet| {
            let (line, column) = sources.position(unmet.span());
            let difference: Vec<_> = unmet.difference.iter().map(ToString::to_string).collect();
            json!({
                "code": unmet.code,
                "message": unmet.fact,
                "line": line,
                "column": column,
                "hint": unmet.hint,
                "difference": difference,
                "blessable": !unmet.edits.is_empty(),
            })
        })
        .collect();
    let (line, _) = sources.position(ran.test.title.span);
    json!({
        "title": ran.test.title.text,
        "line": line,
        "passed": ran.passed(),
        "failures": failures,
    })
}
