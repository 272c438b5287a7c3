//! `marquetry run`, `plan` and `config`: pipelines from files.

mod files;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marquetry_pattern::Library;
use marquetry_quant::forecast::Forecast;
use marquetry_quant::pass::{Content, Output};
use marquetry_quant::recipe::Part::{self, At, Field};
use marquetry_quant::recipe::{self, Step};
use marquetry_quant::select::SelectError;
use marquetry_quant::{PassError, Pipeline, Recipe, RecipeError, Registry};
use serde_json::{Value, json};

use super::answer::{Answer, bytes, plural};
use super::args::{Cli, Config, Destination, PatternFiles, Plan, Run};
use super::engine::{self, Named};
use super::failure::{Exit, Failure};
use super::finder::Finder;
use super::job::Job;
use super::journal::Place;
use super::quantize::refused;
use super::{load, outputs, report};
use files::Files;

/// Runs a pipeline from a file.
pub(crate) fn run(args: &Run, cli: &Cli) -> Result<Answer, Failure> {
    load::one_standard_input(&[&args.pipeline, &args.model])?;
    if args.dry_run {
        let Run { pipeline, model, samples, patterns, destination, report, .. } = args;
        report::known(report)?;
        return foreseen(pipeline, model, samples, patterns, destination, report, cli);
    }
    let source = Source::read(&args.pipeline)?;
    let Read { recipe, pipeline, patterns, files } = source.pipeline(&args.destination)?;
    let text = recipe.to_ron();
    let engine = source.engine(&recipe);
    let patterns = given_or(&args.patterns.files, patterns);
    files.written.iter().try_for_each(|path| outputs::not_a_terminal(path))?;
    // A journal knows the model by its file.
    if args.journal.is_some() || args.resume || args.keep_journal {
        load::is_file(&args.model)?;
    }
    let journal = files.journal().filter(|_| !outputs::is_standard(&args.model));
    let path = args.journal.clone().or(journal);
    let place = path.filter(|_| !args.no_journal).map(|path| Place {
        path,
        resume: args.resume,
        keep: args.keep_journal,
        every: Duration::from_secs(args.save_every),
    });
    let reports: Vec<PathBuf> = args.report.iter().chain(&files.reports).cloned().collect();
    let nothing = (files.is_nothing() && reports.is_empty()).then_some(NOTHING);
    let told = Told { source: &source, recipe: &recipe };
    let answer = Job {
        model: &args.model,
        samples: &args.samples,
        samples_needed: pipeline.passes().any(|pass| pass.runs_samples()),
        patterns: &patterns,
        reads: [args.pipeline.as_path()].into_iter().chain(pipeline.reads()).collect(),
        outputs: files.written.iter().map(PathBuf::as_path).collect(),
        report: (!reports.is_empty()).then_some((&*reports, &*text)),
        journal: place.as_ref(),
        pipeline: Some(&told),
        engine: engine.as_ref(),
        checkpoints: None,
    }
    .run(&pipeline, cli)?;
    Ok(noted(answer, nothing))
}

/// Where no step writes anything.
const NOTHING: &str =
    "no step writes a file, so that nothing is left: add `Export(qdq: \"out.onnx\")` in the end";

fn noted(mut answer: Answer, note: Option<&str>) -> Answer {
    note.into_iter().for_each(|note| answer.note(note));
    answer
}

/// Says what a pipeline would do.
pub(crate) fn plan(args: &Plan, cli: &Cli) -> Result<Answer, Failure> {
    load::one_standard_input(&[&args.pipeline, &args.model])?;
    let samples = super::args::Samples { calib: None, samples: None, batch: 1, map: Vec::new() };
    foreseen(&args.pipeline, &args.model, &samples, &args.patterns, &args.destination, &[], cli)
}

/// What a pipeline would do to a model; further reports are some that the pipeline does not name.
fn foreseen(
    file: &Path,
    model: &Path,
    samples: &super::args::Samples,
    given: &PatternFiles,
    destination: &Destination,
    further: &[PathBuf],
    cli: &Cli,
) -> Result<Answer, Failure> {
    let source = Source::read(file)?;
    let Read { recipe, pipeline, patterns, files } = source.pipeline(destination)?;
    let engine = source.engine(&recipe);
    let patterns = given_or(&given.files, patterns);
    let told = Told { source: &source, recipe: &recipe };
    let job = Job {
        model,
        samples,
        samples_needed: false,
        patterns: &patterns,
        reads: vec![file],
        outputs: Vec::new(),
        report: None,
        journal: None,
        pipeline: Some(&told),
        engine: engine.as_ref(),
        checkpoints: None,
    };
    let forecast = job.forecast(&pipeline, cli)?;
    let written = files.written.iter().chain(further).chain(&files.reports).map(PathBuf::as_path);
    let written: Vec<&Path> = written.collect();
    let journal = files.journal().filter(|_| !outputs::is_standard(model));
    let engine = engine::name(cli, engine.as_ref());
    let nothing = (files.is_nothing() && further.is_empty()).then_some(NOTHING);
    Ok(noted(foretold(&forecast, engine, &written, journal.as_deref()), nothing))
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
    if !written.is_empty() || journal.is_some() {
        line(format_args!("\nfiles:\n"));
    }
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
            outputs::apart(&[to], std::slice::from_ref(from))?;
            let source = Source::read(from)?;
            // Where it goes to a pipe, it is the other form.
            let to_json = if outputs::is_standard(to) { !source.json } else { is_json(to)? };
            let recipe = source.recipe()?;
            let text = match to_json {
                true => {
                    let mut text = serde_json::to_string_pretty(&recipe.to_json())
                        .expect("a recipe is plain data");
                    text.push('\n');
                    text
                }
                false => recipe.to_ron(),
            };
            let file =
                outputs::write(&[Output { path: to.clone(), content: Content::Text(text) }])?;
            let count = recipe.passes.len();
            let said = format!("{}: {}\n", to.display(), plural(count, "step"));
            let json = json!({
                "schema_version": 1,
                "output": to.display().to_string(),
                "steps": count,
            });
            Ok(Answer { file, ..Answer::new(said, json) })
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

/// A pipeline from a file.
struct Read {
    /// As the file has it.
    recipe: Recipe,
    /// With its files where they are.
    pipeline: Pipeline,
    /// Its pattern files, where they are.
    patterns: Vec<PathBuf>,
    files: Files,
}

/// A pipeline as its file has it, for errors and for what is known of it before it runs.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    source: &'a Source<'a>,
    recipe: &'a Recipe,
}

impl Told<'_> {
    /// The place of something in the file: `p.ron:3:5`.
    pub(crate) fn place(&self, way: &[Part<'_>]) -> String {
        self.source.place(way)
    }

    /// The place of what an error of a step is about, which is known in RON; in JSON it is looked up.
    pub(crate) fn blamed(
        &self,
        step: usize,
        place: Option<(usize, usize)>,
        error: &PassError,
    ) -> String {
        let own = [Field("passes"), At(step)];
        if let PassError::Select(SelectError::NoNode { at, .. }) = error {
            return self.place(&[own[0], own[1], Field("exclude"), At(*at)]);
        }
        let found = place.or_else(|| {
            error.blames().iter().find_map(|field| {
                let keys = field.split('.').filter(|key| !key.is_empty()).map(Field);
                let way: Vec<Part<'_>> = own.into_iter().chain(keys).collect();
                Recipe::place(&self.source.text, &way)
            })
        });
        match found {
            Some((line, column)) => format!("{}:{line}:{column}", self.source.path.display()),
            None => self.place(&own),
        }
    }

    /// Refuses patterns and rules that no pattern file declares.
    pub(crate) fn names(&self, library: &Library) -> Result<(), Failure> {
        let finder = Finder(library);
        for (at, step) in self.recipe.passes.iter().enumerate() {
            let (field, names) = match step {
                Step::Group(group) => ("patterns", &group.patterns),
                Step::Rewrite(rewrite) => ("rules", &rewrite.rules),
                _ => continue,
            };
            for (number, name) in names.iter().enumerate() {
                let known = match step {
                    Step::Group(_) => finder.pattern(name),
                    _ => finder.rule(name),
                };
                known.map_err(|failure| {
                    let way = [Field("passes"), At(at), Field(field), At(number)];
                    Failure { exit: Exit::Invalid, ..failure }.at(self.place(&way))
                })?;
            }
        }
        Ok(())
    }
}

/// The text of a pipeline, and where it stands.
struct Source<'a> {
    path: &'a Path,
    text: String,
    json: bool,
}

impl<'a> Source<'a> {
    fn read(path: &'a Path) -> Result<Self, Failure> {
        let text = load::text(path, load::MOST_WRITTEN)?;
        // What comes from a pipe has no name that tells; RON has names or brackets of other kinds there.
        let json = match outputs::is_standard(path) {
            true => text.trim_start().starts_with('{'),
            false => path.extension().is_some_and(|extension| extension == "json"),
        };
        Ok(Self { path: load::shown(path), text, json })
    }

    fn recipe(&self) -> Result<Recipe, Failure> {
        let recipe = match self.json {
            true => Recipe::from_json(&self.text, &Registry::builtin()),
            false => Recipe::parse(&self.text),
        };
        recipe.map_err(|error| self.located(error))
    }

    /// The recipe, and its pipeline with the files where they are.
    fn pipeline(&self, destination: &Destination) -> Result<Read, Failure> {
        let recipe = self.recipe()?;
        let mut placed = recipe.clone();
        let files = Files::place(&mut placed, destination, self)?;
        let patterns = placed.patterns.iter().map(PathBuf::from).collect();
        let pipeline = placed.pipeline_of(&self.text).map_err(|error| match error {
            // What is wrong in another file has its place there.
            error @ RecipeError::InFile { .. } => refused(Exit::Invalid, &error),
            error => self.located(error),
        })?;
        let pipeline = if self.json { pipeline } else { pipeline.told_from(&self.text) };
        Ok(Read { recipe, pipeline, patterns, files })
    }

    /// The folder below which the files are that the pipeline reads.
    fn reads_below(&self, destination: &Destination) -> PathBuf {
        // What comes from a pipe is in no folder.
        let beside = || self.path.is_file().then(|| self.path.parent()).flatten();
        let given = destination.input_dir.as_deref().or_else(beside);
        given.unwrap_or(Path::new("")).to_owned()
    }

    /// The place of something in the file: `p.ron:3:5`; where that is not known, the file.
    fn place(&self, way: &[Part<'_>]) -> String {
        match Recipe::place(&self.text, way) {
            Some((line, column)) => format!("{}:{line}:{column}", self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    /// An error with its file, line and column.
    fn located(&self, error: RecipeError) -> Failure {
        match error {
            RecipeError::InFile { .. } => refused(Exit::Invalid, &error),
            error => refused(Exit::Invalid, &error.in_file(&self.path.display().to_string())),
        }
    }

    /// The engine that the recipe names, with its place in the file.
    fn engine(&self, recipe: &Recipe) -> Option<Named> {
        let engine = recipe.engine?;
        let place = self.place(&[Field("engine")]);
        Some(Named { engine, place })
    }
}

/// The pattern files: those of the command line, or those of the pipeline.
fn given_or(given: &[PathBuf], own: Vec<PathBuf>) -> Vec<PathBuf> {
    if given.is_empty() { own } else { given.to_vec() }
}
