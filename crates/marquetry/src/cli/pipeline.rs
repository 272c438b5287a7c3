//! `marquetry run`, `plan` and `config`: pipelines from files.

mod files;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marquetry_quant::forecast::Forecast;
use marquetry_quant::recipe;
use marquetry_quant::{Pipeline, Recipe, RecipeError, Registry};
use serde_json::{Value, json};

use super::answer::{Answer, bytes, plural};
use super::args::{Cli, Config, Destination, Plan, Run};
use super::engine::{self, Named};
use super::failure::{Exit, Failure};
use super::job::Job;
use super::journal::Place;
use super::outputs;
use super::quantize::refused;
use files::Files;

/// Runs a pipeline from a file.
pub(crate) fn run(args: &Run, cli: &Cli) -> Result<Answer, Failure> {
    let Read { recipe, pipeline, files } = read(&args.pipeline, &args.destination)?;
    let text = recipe.to_ron();
    let engine = engine_of(&recipe, &args.pipeline)?;
    let patterns = patterns(&args.patterns.files, &recipe, &args.pipeline);
    let path = args.journal.clone().or_else(|| files.journal());
    let place = path.filter(|_| !args.no_journal).map(|path| Place {
        path,
        resume: args.resume,
        keep: args.keep_journal,
        every: Duration::from_secs(args.save_every),
    });
    let reports: Vec<PathBuf> = args.report.iter().chain(&files.reports).cloned().collect();
    Job {
        model: &args.model,
        samples: &args.samples,
        samples_needed: pipeline.passes().any(|pass| pass.runs_samples()),
        patterns: &patterns,
        reads: [args.pipeline.as_path()].into_iter().chain(pipeline.reads()).collect(),
        outputs: files.written.iter().map(PathBuf::as_path).collect(),
        report: (!reports.is_empty()).then_some((&*reports, &*text)),
        journal: place.as_ref(),
        engine: engine.as_ref(),
        checkpoints: None,
    }
    .run(&pipeline, cli)
}

/// Says what a pipeline would do.
pub(crate) fn plan(args: &Plan, cli: &Cli) -> Result<Answer, Failure> {
    let Read { recipe, pipeline, files } = read(&args.pipeline, &args.destination)?;
    let engine = engine_of(&recipe, &args.pipeline)?;
    let patterns = patterns(&args.patterns.files, &recipe, &args.pipeline);
    let samples = super::args::Samples { calib: None, samples: None, batch: 1, map: Vec::new() };
    let job = Job {
        model: &args.model,
        samples: &samples,
        samples_needed: false,
        patterns: &patterns,
        reads: vec![&args.pipeline],
        outputs: Vec::new(),
        report: None,
        journal: None,
        engine: engine.as_ref(),
        checkpoints: None,
    };
    let forecast = job.forecast(&pipeline, cli)?;
    let written = files.written.iter().chain(&files.reports).map(PathBuf::as_path);
    let written: Vec<&Path> = written.collect();
    let engine = engine::name(cli, engine.as_ref());
    Ok(foretold(&forecast, engine, &written, files.journal().as_deref()))
}

/// What a pipeline would do, as an answer.
pub(crate) fn foretold(
    forecast: &Forecast,
    engine: &str,
    first: &[&Path],
    journal: Option<&Path>,
) -> Answer {
    let mut json = serde_json::to_value(forecast).expect("a forecast is plain data");
    json["schema_version"] = Value::from(1);
    json["engine"] = Value::from(engine);
    json["memory"]["total"] = Value::from(forecast.memory.total());
    json["writes"] = json!(first.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
    json["journal"] = json!(journal.map(|path| path.display().to_string()));
    let mut answer = Answer::new(text(forecast, engine, first, journal), json);
    for step in &forecast.steps {
        step.notes.iter().for_each(|note| answer.note(format!("{}: {note}", step.pass)));
    }
    answer
}

fn text(forecast: &Forecast, engine: &str, written: &[&Path], journal: Option<&Path>) -> String {
    let mut text = format!("for {}, run by the engine `{engine}`\n", forecast.target);
    let mut line = |content: std::fmt::Arguments<'_>| {
        text.write_fmt(content).expect("a string takes any text");
    };
    let width = forecast.steps.iter().map(|step| step.pass.len()).max().unwrap_or(0);
    for (at, step) in forecast.steps.iter().enumerate() {
        let told = match &step.done {
            Some(done) => done.clone(),
            None => {
                let runs = if step.runs_samples { "runs samples, " } else { "" };
                format!("{runs}works on {}", plural(step.touches.len(), "value"))
            }
        };
        line(format_args!("{:>3}  {:width$}  {told}\n", at + 1, step.pass));
    }
    let memory = &forecast.memory;
    let bound = if memory.unknown_shapes > 0 { "at least" } else { "about" };
    line(format_args!("\nmemory: {bound} {}\n", bytes(memory.total())));
    let parts = [
        ("constants of the model", memory.model),
        ("what flows on one sample", memory.activations),
        ("statistics", memory.statistics),
        ("Gram matrices of one level", memory.gram),
    ];
    for (name, size) in parts.iter().filter(|(_, size)| *size > 0) {
        line(format_args!("  {:>9}  {name}\n", bytes(*size)));
    }
    if memory.unknown_shapes > 0 {
        let count = plural(memory.unknown_shapes, "value");
        line(format_args!("  {count} have dimensions that only samples tell: they count as one\n"));
    }
    line(format_args!("\nfiles:\n"));
    for path in written {
        line(format_args!("  {}\n", path.display()));
    }
    if let Some(path) = journal {
        line(format_args!("  {}/ while it runs\n", path.display()));
    }
    text
}

/// Says what a pipeline may be, or writes one in the other form.
pub(crate) fn config(args: &Config) -> Result<Answer, Failure> {
    match args {
        Config::Schema => {
            let schema = recipe::schema();
            let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
            text.push('\n');
            Ok(Answer::new(text, schema))
        }
        Config::Convert { from, to, .. } => {
            outputs::is_file(to)?;
            outputs::apart(&[to], std::slice::from_ref(from))?;
            let recipe = parse(from)?;
            let text = match is_json(to)? {
                true => {
                    let mut text = serde_json::to_string_pretty(&recipe.to_json())
                        .expect("a recipe is plain data");
                    text.push('\n');
                    text
                }
                false => recipe.to_ron(),
            };
            outputs::write_text(to, &text).map_err(|error| Failure::writing(to, &error))?;
            let count = recipe.passes.len();
            let said = format!("{}: {}\n", to.display(), plural(count, "step"));
            let json = json!({
                "schema_version": 1,
                "output": to.display().to_string(),
                "steps": count,
            });
            Ok(Answer::new(said, json))
        }
    }
}

/// Whether a file is one of JSON, by its name.
fn is_json(path: &Path) -> Result<bool, Failure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(true),
        Some("ron") => Ok(false),
        _ => Err(Failure::new(
            Exit::Usage,
            "unknown_form",
            "pipelines are files that end in `.ron` or `.json`",
        )
        .at(path.display())
        .hint("give it one of these names")),
    }
}

/// The recipe in a file.
fn parse(path: &Path) -> Result<Recipe, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    let recipe = match path.extension().is_some_and(|extension| extension == "json") {
        true => Recipe::from_json(&text, &Registry::builtin()),
        false => Recipe::parse(&text),
    };
    recipe.map_err(|error| located(path, error))
}

/// A pipeline from a file.
struct Read {
    /// As the file has it.
    recipe: Recipe,
    /// With its files where they go.
    pipeline: Pipeline,
    files: Files,
}

fn read(path: &Path, destination: &Destination) -> Result<Read, Failure> {
    let recipe = parse(path)?;
    let text = fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    let mut placed = recipe.clone();
    let files = Files::place(&mut placed, destination, path, &text)?;
    let pipeline = match placed.pipeline() {
        Ok(pipeline) => pipeline,
        Err(error) => {
            // The reader of RON knows the places of steps.
            let json = path.extension().is_some_and(|extension| extension == "json");
            let placed = if json { None } else { Pipeline::parse(&text).err() };
            return Err(located(path, placed.unwrap_or(error)));
        }
    };
    Ok(Read { recipe, pipeline, files })
}

/// An error with its file, line and column.
fn located(path: &Path, error: RecipeError) -> Failure {
    match error {
        RecipeError::InFile { .. } => refused(Exit::Invalid, &error),
        error => refused(Exit::Invalid, &error.in_file(&path.display().to_string())),
    }
}

/// The engine that a recipe names, with its place in the file.
fn engine_of(recipe: &Recipe, file: &Path) -> Result<Option<Named>, Failure> {
    let Some(engine) = recipe.engine else { return Ok(None) };
    let text = fs::read_to_string(file).map_err(|error| Failure::reading(file, &error))?;
    let place = match Recipe::key_place(&text, "engine") {
        Some((line, column)) => format!("{}:{line}:{column}", file.display()),
        None => file.display().to_string(),
    };
    Ok(Some(Named { engine, place }))
}

/// The pattern files: those of the command line, or those of the recipe, beside its file.
fn patterns(given: &[PathBuf], recipe: &Recipe, file: &Path) -> Vec<PathBuf> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let place = |path: &String| match path.as_str() {
        "std" => PathBuf::from(path),
        _ => folder.join(path),
    };
    recipe.patterns.iter().map(place).collect()
}
