//! `marquetry report`: reports of runs, drawn and compared. The verbs that run something write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry::library;
use marquetry_engine::{Engine, Samples};
use marquetry_ir::{Model, infer};
use marquetry_matcher::why::{NearMiss, NearestOf, Verdict, Why};
use marquetry_pattern::Library;
use marquetry_quant::export::qdq;
use marquetry_quant::pass::{Context, Progress, lowered_plan};
use marquetry_quant::report::{
    self, About, File, Measured, NearMisses, Place, ReportError, SCHEMA, diff, html,
};
use marquetry_quant::statistics::fingerprint;
use marquetry_quant::{Report, State};
use serde_json::json;

use super::answer::{Answer, bytes};
use super::args::{self, Cli};
use super::compare::measure_failure;
use super::failure::{Exit, Failure};
use super::finder::Finder;
use super::interrupt::Stop;
use super::job::{self, Bars};
use super::match_::node_label;
use super::{load, outputs};

/// Kinds of near misses that are told of each pattern, and of all together.
const KINDS: usize = 2;
const MISSES: usize = 40;

pub(crate) fn run(args: &args::Report) -> Result<Answer, Failure> {
    match args {
        args::Report::Html { report, output, .. } => draw(report, output),
        args::Report::Diff { a, b, .. } => compare(a, b),
        args::Report::Schema => {
            let json = serde_json::from_str(SCHEMA).expect("the schema is JSON");
            Ok(Answer::new(SCHEMA.to_owned(), json))
        }
    }
}

/// The report in a file.
pub(crate) fn read(path: &Path) -> Result<Report, Failure> {
    let text = load::text(path, load::MOST_MADE)?;
    Report::parse(&text).map_err(|error| {
        let exit = match error {
            ReportError::Version { .. } => Exit::Unsupported,
            _ => Exit::Invalid,
        };
        Failure::new(exit, error.code(), &error).at(load::shown(path).display()).hint(error.hint())
    })
}

fn draw(path: &Path, output: &Path) -> Result<Answer, Failure> {
    outputs::writable(output)?;
    outputs::apart(&[output], &[path.to_owned()])?;
    let page = html::page(&read(path)?);
    let size = page.len() as u64;
    let json = json!({
        "schema_version": 1, "bytes": size, "written": [output.display().to_string()],
    });
    let mut answer = Answer::new(format!("{}: {}\n", output.display(), bytes(size)), json);
    if outputs::is_standard(output) {
        answer.file = Some(page.into_bytes());
        return Ok(answer);
    }
    outputs::write_text(output, &page).map_err(|error| Failure::writing(output, &error))?;
    Ok(answer)
}

fn compare(a: &Path, b: &Path) -> Result<Answer, Failure> {
    let changes = diff::of(&read(a)?, &read(b)?);
    let json = serde_json::to_value(&changes).expect("changes are plain data");
    let mut answer = Answer::new(changes.to_string(), json);
    answer.found = changes.changed.then_some(Exit::Found);
    Ok(answer)
}

/// Refuses names that do not say what to write.
pub(crate) fn known(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        outputs::is_file(path)?;
        if !is_page(path) && path.extension().is_none_or(|end| end != "json") {
            return Err(Failure::new(
                Exit::Usage,
                "unknown_report",
                "a report is a page or JSON, and the name says which",
            )
            .at(path.display())
            .hint("end the name in `.html` or `.json`; `--report` may be given twice"));
        }
    }
    Ok(())
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "html" || end == "htm")
}

/// Writes a report to files.
pub(crate) fn write(report: &Report, paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        let text = if is_page(path) { html::page(report) } else { report.to_json() };
        outputs::write_text(path, &text).map_err(|error| Failure::writing(path, &error))?;
    }
    Ok(())
}

/// What a model in a file is.
pub(crate) fn file(path: &Path, model: &Model) -> Result<File, Failure> {
    let size = |path: &Path| fs::metadata(path).map(|found| found.len());
    let bytes = outputs::size(path, model)?;
    // Where data lie elsewhere, what is named and not there was written under another name.
    let beside: u64 =
        outputs::sidecars(path, model).iter().filter_map(|path| size(path).ok()).sum();
    Ok(File {
        path: path.display().to_string(),
        bytes: bytes + beside,
        fingerprint: fingerprint(model),
        nodes: model.graph.nodes().count(),
    })
}

/// Runs both models on the first samples.
pub(crate) fn measured(
    engine: &dyn Engine,
    state: &State,
    samples: &Samples,
    cli: &Cli,
    stop: &Stop,
) -> Result<Measured, Failure> {
    let lowered;
    let model = match job::quantized(state) {
        Some((_, model)) => model,
        // Where encodings alone are exported, the model that they stand for.
        None => match lowered_plan(state).and_then(|plan| qdq::lower(&state.model, &plan)) {
            Ok(found) => {
                lowered = found;
                &lowered.model
            }
            Err(_) => return Ok(Measured::default()),
        },
    };
    let bars = Bars::new(cli);
    let progress = |progress: Progress<'_>| bars.show(progress);
    let library = library::standard();
    let patterns = Finder(&library);
    let asked = || stop.asked();
    let context = Context::new(engine, samples, &patterns, &progress);
    let context = context.with_memory(cli.memory).with_stop(&asked);
    let found = report::measure(state, model, &context, job::COMPARED_SAMPLES);
    bars.finish();
    found.map_err(|error| measure_failure(&error))
}

/// What is known of a run besides its state.
pub(crate) fn about<'a>(
    state: &'a State,
    library: &'a Library,
    float: File,
    pipeline: &str,
    notes: &[String],
) -> Result<About<'a>, Failure> {
    let quantized = match job::quantized(state) {
        Some((path, model)) => Some((file(path, model)?, model)),
        None => None,
    };
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    // Notes of passes stand with their passes.
    let of_pass = |note: &&String| {
        let mut all =
            state.summaries.iter().flat_map(|one| one.notes.iter().map(|note| (&one.pass, note)));
        all.any(|(pass, said)| {
            note.strip_prefix(pass.as_str()).and_then(|rest| rest.strip_prefix(": ")) == Some(said)
        })
    };
    Ok(About {
        tool: concat!("marquetry ", env!("CARGO_PKG_VERSION")).to_owned(),
        command: std::iter::once("marquetry".to_owned()).chain(words).collect(),
        pipeline: pipeline.to_owned(),
        float,
        quantized,
        declared: declared(library),
        near_misses: near_misses(state, library),
        notes: notes.iter().filter(|note| !of_pass(note)).cloned().collect(),
    })
}

/// Where patterns are declared.
fn declared(library: &Library) -> BTreeMap<String, Place> {
    let patterns = library.patterns().iter();
    patterns.map(|pattern| (pattern.name.clone(), place(library, pattern.span))).collect()
}

fn place(library: &Library, span: marquetry_pattern::Span) -> Place {
    let sources = library.sources();
    let line = sources.position(span).0;
    Place { file: sources.get(span.source).path.clone(), line }
}

/// Where the patterns of a library almost match a model that was quantized.
pub(crate) fn near_misses(state: &State, library: &Library) -> NearMisses {
    let model: &Model = &state.model;
    let types = infer::run(model);
    let why = Why::new(model, &types, library.sources());
    let places = marquetry_matcher::find(model, &types, [], &marquetry_matcher::Options::default());
    let patterns = library.patterns();
    let sources = library.sources();
    let told = |(pattern, miss): &(usize, NearMiss)| -> Option<report::NearMiss> {
        let Verdict::Miss(stop) = &miss.explanation.verdict else { return None };
        let graph = places.graph(model, miss.explanation.place);
        let (satisfied, equations) = miss.explanation.satisfied();
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(report::NearMiss {
            pattern: patterns[*pattern].name.clone(),
            declared: place(library, stop.span),
            at: miss.explanation.anchor.map_or_else(String::new, |at| node_label(graph, at)),
            also: miss.also.len(),
            reason: stop.message.clone(),
            text: one_line(sources.text(stop.span)),
            satisfied,
            equations,
            change: miss.suggestion.as_ref().map(|change| change.change.clone()),
        })
    };
    let NearestOf { misses, partly } = why.nearest_of(patterns, KINDS, MISSES);
    NearMisses {
        patterns: patterns.len(),
        partly,
        misses: misses.iter().filter_map(told).collect(),
    }
}
