//! Runs a pipeline over a model: reads what it needs, shows progress, writes what it made.

mod bars;
mod failures;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use marquetry_engine::{Engine, EngineError, Input, SampleOptions, Samples};
use marquetry_ir::{Model, inline};
use marquetry_pattern::Library;
use marquetry_quant::forecast::Forecast;
use marquetry_quant::journal::Folder;
use marquetry_quant::pass::{Content, Context, Paused, Progress};
use marquetry_quant::report::{Decisions, Distance, File, Measured};
use marquetry_quant::{PassError, Pipeline, Report, State};
use serde_json::{Value, json};

pub(crate) use self::bars::Bars;
pub(crate) use self::failures::{engine_failure, pass_failure, sample_failure};
use super::answer::{Answer, bytes};
use super::args::{self, Cli};
use super::failure::{Exit, Failure};
use super::finder::Finder;
use super::interrupt::{INTERRUPTED, Stop};
use super::pipeline::Told;
use super::{compare, engine, journal, load, outputs, report};

/// Samples on which the quantized model is compared with the float one.
pub(crate) const COMPARED_SAMPLES: usize = 8;

/// A pipeline's work on one model.
pub(crate) struct Job<'a> {
    /// The float model.
    pub(crate) model: &'a Path,
    pub(crate) samples: &'a args::Samples,
    /// Whether there is nothing to do without samples.
    pub(crate) samples_needed: bool,
    /// Pattern files instead of the shipped library.
    pub(crate) patterns: &'a [PathBuf],
    /// The pipeline as its file has it, where there is one.
    pub(crate) pipeline: Option<&'a Told<'a>>,
    /// Further files that are read, such as the pipeline.
    pub(crate) reads: Vec<&'a Path>,
    /// Files that will be written, as far as they are known before the run.
    pub(crate) outputs: Vec<&'a Path>,
    /// Where reports go, and the text of the pipeline, if any are wanted.
    pub(crate) report: Option<(&'a [PathBuf], &'a str)>,
    /// Where what takes long is kept, so that a run that was killed can go on.
    pub(crate) journal: Option<&'a journal::Place>,
    /// The engine that the pipeline names.
    pub(crate) engine: Option<&'a engine::Named>,
    /// Where passes keep what they decided, so that the same command goes on.
    pub(crate) checkpoints: Option<&'a Path>,
}

/// What a pipeline left.
pub(crate) struct Ran {
    pub(crate) state: State,
    pub(crate) engine: Box<dyn Engine>,
    /// The samples that the command line names, if it names any.
    pub(crate) samples: Option<Samples>,
    /// Every file that was read.
    inputs: Vec<PathBuf>,
    journal: Option<Folder>,
    /// What the user should know, one line each.
    pub(crate) notes: Vec<String>,
    /// The patterns that groups were found by.
    library: Library,
    /// The float model as it was read, where a report is to tell of it.
    float: Option<File>,
}

impl Job<'_> {
    pub(crate) fn run(&self, pipeline: &Pipeline, cli: &Cli) -> Result<Answer, Failure> {
        // Whatever can be refused at once is, before anything long runs.
        pipeline.check().map_err(|error| self.pass_failure(&error))?;
        let reports = self.report.map_or(&[][..], |(paths, _)| paths);
        report::known(reports)?;
        let outputs = self.outputs.iter().copied();
        let outputs: Vec<&Path> = outputs.chain(reports.iter().map(PathBuf::as_path)).collect();
        outputs.iter().try_for_each(|output| outputs::writable(output))?;
        let stop = Stop::listen()?;
        let model = load::model(self.model, cli)?;
        let mut ran = self.prepared(model, pipeline, cli, &outputs, Some(&stop))?;
        let Ran { state, engine, samples, inputs, journal, notes, library, float } = &mut ran;
        if let Some(paused) = &state.paused {
            return Ok(shared(paused));
        }
        // Passes may write files that nobody knew of before.
        let written = state.outputs.iter().map(|output| output.path.as_path());
        let written: Vec<&Path> = written.chain(reports.iter().map(PathBuf::as_path)).collect();
        outputs::apart(&written, inputs)?;
        let measured = match (self.report, &*samples) {
            (Some(_), Some(samples)) => {
                let measured = report::measured(&**engine, state, samples, cli, &stop);
                measured.map_err(|failure| match failure.is_interruption() {
                    true => self.interrupted(journal.take()),
                    false => failure,
                })?
            }
            _ => Measured::default(),
        };
        let distances = match (self.report, &*samples) {
            (None, Some(samples)) => &distances(&**engine, state, samples)?,
            _ => &measured.outputs,
        };
        // From here on it takes no longer to finish than to stop.
        if stop.asked() {
            return Err(self.interrupted(journal.take()));
        }
        let file = outputs::write(&state.outputs)?;
        let sizes = Sizes::of(self.model, state)?;
        let mut answer =
            Answer::new(self.text(state, &sizes, distances), self.json(state, &sizes, distances));
        if let (Some((paths, pipeline)), Some(float)) = (self.report, float.take()) {
            let about = report::about(state, library, float, pipeline, notes)?;
            let report =
                Report::of(state, &measured, about).map_err(|error| self.pass_failure(&error))?;
            report::write(&report, paths)?;
            let paths = paths.iter().map(|path| json!(path.display().to_string()));
            if let Some(written) = answer.json["written"].as_array_mut() {
                written.extend(paths);
            }
        }
        notes.drain(..).for_each(|note| answer.note(note));
        // Only now is there nothing left to go on with: whoever is killed before it writes all of this again.
        if let (Some(place), Some(folder)) = (self.journal, journal.take()) {
            place.finish(folder)?;
        }
        Ok(Answer { file, ..answer })
    }

    /// Runs the pipeline and writes nothing.
    pub(crate) fn ran(&self, pipeline: &Pipeline, cli: &Cli) -> Result<Ran, Failure> {
        self.ran_on(load::model(self.model, cli)?, pipeline, cli)
    }

    /// Runs the pipeline on the model, which was read already, and writes nothing.
    pub(crate) fn ran_on(
        &self,
        model: Model,
        pipeline: &Pipeline,
        cli: &Cli,
    ) -> Result<Ran, Failure> {
        self.prepared(model, pipeline, cli, &[], None)
    }

    /// What the pipeline would do, without samples.
    pub(crate) fn forecast(&self, pipeline: &Pipeline, cli: &Cli) -> Result<Forecast, Failure> {
        let mut model = load::model(self.model, cli)?;
        inline::functions(&mut model);
        // No sample is run, and those that are named are looked for.
        if self.samples.calib.is_some() {
            samples(self.samples, &model)?;
        }
        let library = self.library(cli)?;
        let engine = engine::reference(cli, self.engine)?;
        self.forecast_of(model, pipeline, &library, &*engine)
    }

    fn forecast_of(
        &self,
        model: Model,
        pipeline: &Pipeline,
        library: &Library,
        engine: &dyn Engine,
    ) -> Result<Forecast, Failure> {
        let finder = Finder(library);
        let none: Vec<Vec<marquetry_ir::Tensor>> = Vec::new();
        let context = Context::new(engine, &none, &finder, &|_| {});
        pipeline.forecast(model, &context).map_err(|error| self.pass_failure(&error))
    }

    /// The patterns, among which are those that the pipeline names.
    fn library(&self, cli: &Cli) -> Result<Library, Failure> {
        let library = load::library(self.patterns, cli)?;
        if let Some(told) = self.pipeline {
            told.names(&library)?;
        }
        Ok(library)
    }

    /// Runs the pipeline, unless one of the outputs is something that it reads.
    fn prepared(
        &self,
        mut model: Model,
        pipeline: &Pipeline,
        cli: &Cli,
        outputs: &[&Path],
        stop: Option<&Stop>,
    ) -> Result<Ran, Failure> {
        let mut float = match self.report {
            Some(_) => Some(report::file(self.model, &model)?),
            None => None,
        };
        let inlined = inline::functions(&mut model);
        if let Some(float) = &mut float {
            float.nodes = model.graph.nodes().count();
        }
        let inputs = self.inputs(&model);
        outputs::apart(outputs, &inputs)?;
        let library = self.library(cli)?;
        let engine = engine::reference(cli, self.engine)?;
        if self.pipeline.is_some() && self.samples_needed {
            // What samples do not tell is known before any is run.
            self.forecast_of(model.clone(), pipeline, &library, &*engine)?;
        }
        let samples = match self.samples_needed || self.samples.calib.is_some() {
            true => Some(samples(self.samples, &model)?),
            false => None,
        };
        let none = Vec::new();
        let given: &dyn marquetry_quant::pass::Samples = match &samples {
            Some(samples) => samples,
            None => &none,
        };
        if samples.is_some() {
            refusals(&*engine, &model, self.model)?;
        }

        let bars = Bars::new(cli);
        let finder = Finder(&library);
        let progress = |progress: Progress<'_>| bars.show(progress);
        let asked = || stop.is_some_and(Stop::asked);
        let context = Context::new(&*engine, given, &finder, &progress);
        let mut context = context.with_memory(cli.memory).with_stop(&asked);
        let journal = match self.journal {
            Some(place) => {
                let read = [vec![self.model.to_owned()], outputs::sidecars(self.model, &model)];
                let read = read.concat();
                Some(place.open(pipeline, &read, self.samples, self.patterns, &*engine)?)
            }
            None => None,
        };
        if let Some(journal) = &journal {
            context = context.with_journal(journal);
        }
        let ran = pipeline.run(model, &context).map_err(|error| self.pass_failure(&error));
        bars.finish();
        let state = match ran {
            Ok(state) => state,
            Err(failure) if failure.is_interruption() => return Err(self.interrupted(journal)),
            Err(failure) => return Err(abandoned(failure, journal)),
        };
        let mut notes: Vec<String> = journal.iter().flat_map(journal::taken).collect();
        if inlined.calls > 0 {
            notes.push(format!("{} calls of functions became their bodies", inlined.calls));
        }
        notes.extend(inlined.left.iter().map(|left| format!("calls stay as they are: {left}")));
        notes.extend(samples.iter().flat_map(Samples::notes).cloned());
        let of_passes = state.summaries.iter().flat_map(|summary| {
            summary.notes.iter().map(|note| format!("{}: {note}", summary.pass))
        });
        notes.extend(of_passes);
        Ok(Ran { state, engine, samples, inputs, journal, notes, library, float })
    }

    /// Every file that the run reads, so that none of them is written over.
    fn inputs(&self, model: &Model) -> Vec<PathBuf> {
        let mut inputs = vec![self.model.to_owned()];
        inputs.extend(self.reads.iter().map(|path| (*path).to_owned()));
        inputs.extend(self.samples.calib.clone());
        inputs.extend_from_slice(self.patterns);
        inputs.extend(outputs::sidecars(self.model, model));
        inputs
    }

    fn text(&self, state: &State, sizes: &Sizes, distances: &[Distance]) -> String {
        let mut text = String::new();
        let width = state.summaries.iter().map(|summary| summary.pass.len()).max().unwrap_or(0);
        for summary in &state.summaries {
            writeln!(text, "{:width$}  {}", summary.pass, summary.done)
                .expect("a string takes any text");
        }
        if !distances.is_empty() {
            text.push_str("\ncompared with the float model:\n");
            text.push_str(&compare::table(distances));
        }
        if let Some((path, size)) = &sizes.quantized {
            let (before, after) = (sizes.float.max(1) as f64, (*size).max(1) as f64);
            // What quantizers add can be more than what small weights lose.
            let change = match before < after {
                true => format!("{:.2} times larger", after / before),
                false => format!("{:.2} times smaller", before / after),
            };
            writeln!(
                text,
                "\n{}: {}, {change} than {} ({})",
                path.display(),
                bytes(*size),
                self.model.display(),
                bytes(sizes.float),
            )
            .expect("a string takes any text");
        }
        text
    }

    fn json(&self, state: &State, sizes: &Sizes, distances: &[Distance]) -> Value {
        let mut json =
            serde_json::to_value(Decisions::of(state)).expect("decisions are plain data");
        let outputs: Vec<_> =
            state.outputs.iter().map(|output| output.path.display().to_string()).collect();
        json["model"] = json!({ "path": self.model.display().to_string(), "bytes": sizes.float });
        if let Some((path, size)) = &sizes.quantized {
            json["quantized"] = json!({ "path": path.display().to_string(), "bytes": size });
        }
        json["written"] = json!(outputs);
        json["compared"] = compare::json(distances);
        json
    }
}

/// What other processes have to know of a pass that is shared with them.
fn shared(paused: &Paused) -> Answer {
    let next = match paused.decided {
        true => "run again without `--shard` to write the model",
        false => "go on when the other parts have been looked at",
    };
    let json = json!({
        "schema_version": 1,
        "pass": paused.pass,
        "level": paused.level,
        "levels": paused.levels,
        "decided": paused.decided,
    });
    Answer::new(format!("{}: {paused}; {next}\n", paused.pass), json)
}

impl Job<'_> {
    /// Says what is left of a run that was interrupted, and how to go on.
    fn interrupted(&self, journal: Option<Folder>) -> Failure {
        let journal = journal.map(|folder| match folder.is_empty() {
            // Whoever goes on without a journal begins anew, with the same result.
            true => folder.remove().is_err(),
            false => true,
        });
        let (exit, hint) = match (journal, self.checkpoints) {
            (Some(true), _) => (
                Exit::Resumable,
                "the same command with `--resume` goes on with what was found so far".to_owned(),
            ),
            (Some(false), _) => (
                Exit::Resumable,
                "nothing was found so far: give the same command again, with or without `--resume`"
                    .to_owned(),
            ),
            (None, Some(folder)) if folder.exists() => (
                Exit::Resumable,
                format!("the same command goes on behind the levels in `{}`", folder.display()),
            ),
            (None, _) => (
                Exit::Interrupted,
                "give the command again; `run` with a journal, or `--checkpoints DIR`, keep what \
                 was found"
                    .to_owned(),
            ),
        };
        let message = "interrupted; no output was touched";
        Failure::new(exit, INTERRUPTED, message).at(self.model.display()).hint(hint)
    }
}

/// A failure of a run: a journal that has something stays, and the next step says so.
fn abandoned(failure: Failure, journal: Option<Folder>) -> Failure {
    match journal {
        // Nothing is lost with it, and what went wrong first counts.
        Some(folder) if folder.is_empty() => {
            let _ = folder.remove();
            failure
        }
        Some(_) => {
            let hint = failure.hint.as_ref().map_or(String::new(), |hint| format!("{hint}; "));
            failure.hint(format!("{hint}`--resume` goes on with what was found so far"))
        }
        None => failure,
    }
}

/// The samples that the command line names, checked against the inputs of a model.
pub(crate) fn samples(args: &args::Samples, model: &Model) -> Result<Samples, Failure> {
    let inputs = Input::of(&model.graph);
    let Some(path) = &args.calib else {
        let named: Vec<_> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(Failure::new(
            Exit::Usage,
            "no_samples",
            "there are no samples to run the model on",
        )
        .hint(format!("give `--calib FILE.npz` with an array for {}", named.join(", "))));
    };
    load::is_file(path)?;
    let inputs = mapped(inputs, &args.map)?;
    let options = SampleOptions { batch: Some(args.batch), limit: args.samples, non_finite: false };
    Samples::open(path, &inputs, &options).map_err(|error| sample_failure(&error))
}

/// Inputs that read the arrays they are told to.
fn mapped(mut inputs: Vec<Input>, map: &[(String, String)]) -> Result<Vec<Input>, Failure> {
    for (name, array) in map {
        let Some(input) = inputs.iter_mut().find(|input| input.name == *name) else {
            let named: Vec<_> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
            let what = format!("`--map {name}={array}`: the model has no input `{name}`");
            return Err(Failure::new(Exit::Usage, "map_no_input", what)
                .hint(format!("its inputs are {}", named.join(", "))));
        };
        input.array = Some(array.clone());
    }
    Ok(inputs)
}

/// Refuses a model that the engine cannot run, before anything long starts.
pub(crate) fn refusals(engine: &dyn Engine, model: &Model, path: &Path) -> Result<(), Failure> {
    let refusals = engine.refusals(&model.graph);
    if refusals.is_empty() {
        return Ok(());
    }
    Err(engine_failure(&EngineError::Refused(refusals)).at(path.display()))
}

impl Job<'_> {
    /// Why a pass failed, at the model unless the samples are to blame.
    fn pass_failure(&self, error: &PassError) -> Failure {
        let failure = pass_failure(error);
        let failure = match (error, self.pipeline) {
            (PassError::InStep { step, place, source }, Some(told)) => {
                failure.at(told.blamed(*step, *place, source))
            }
            _ => failure,
        };
        if failure.exit == Exit::Samples { failure } else { failure.at_default(self.model) }
    }
}

fn distances(
    engine: &dyn Engine,
    state: &State,
    samples: &Samples,
) -> Result<Vec<Distance>, Failure> {
    let Some((_, quantized)) = quantized(state) else { return Ok(Vec::new()) };
    compare::outputs(engine, state.float(), quantized, samples, COMPARED_SAMPLES)
}

/// The quantized model and where it goes, if there is one.
pub(crate) fn quantized(state: &State) -> Option<(&Path, &Model)> {
    state.outputs.iter().find_map(|output| match &output.content {
        Content::Model(model) => Some((output.path.as_path(), &**model)),
        Content::Text(_) => None,
    })
}

/// Bytes of the files before and after.
struct Sizes {
    float: u64,
    quantized: Option<(PathBuf, u64)>,
}

impl Sizes {
    fn of(float: &Path, state: &State) -> Result<Self, Failure> {
        let quantized = match quantized(state) {
            Some((path, model)) => Some((path.to_owned(), outputs::size(path, model)?)),
            None => None,
        };
        Ok(Self { float: outputs::size(float, state.float())?, quantized })
    }
}
