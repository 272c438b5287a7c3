//! What calibration costs, beside merely running the same samples: time, and memory at its peak.
//!
//! ```text
//! cargo run --release --example calibration_cost -- MODEL DATA [--batch N] [--runs N] [--scheme NAME]
//!                                                   [--target NAME] [--rounds N] [--json]
//! ```
//!
//! One thread, and rounds that alternate between the two. *Running* is a compiled program over samples
//! that it reads from their file one by one; *observing* is the same inside `Calibrate`, from the end of
//! the first on; *calibrating* the whole pass: weights, cutting into segments, compiling, reading samples from the
//! file, running, observing, choosing ranges. All are seconds on a processor, which other programs do not
//! add to; JSON also has the seconds that went by while calibrating. The best and the median of the rounds
//! are printed, and the first, which is what a process that calibrates once sees.

#![allow(clippy::print_stdout, reason = "an example prints what it measured")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Instant;

use marquetry::engine::{Embedded, Engine as _, Input, Options, SampleOptions, Samples};
use marquetry::ir::{Model, onnx};
use marquetry::library;
use marquetry::matcher::Groups;
use marquetry::pattern::Library;
use marquetry::quant::pass::{FindGroups, Pass as _, Progress, SchemeName};
use marquetry::quant::recipe::Step;
use marquetry::quant::{Context, Standard};

/// The patterns that are shipped.
struct Shipped(Library);

impl FindGroups for Shipped {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &self.0))
    }

    fn knows(&self, pattern: &str) -> bool {
        self.0.patterns().iter().any(|known| known.name == pattern)
    }
}

/// Seconds that the threads of this process have been on a processor.
fn busy() -> f64 {
    // The account of a thread that runs is some milliseconds old, until it is put aside.
    std::thread::yield_now();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// What rounds took.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> serde_json::Value {
        let first = self.0.first();
        serde_json::json!({ "first": first, "best": self.best(), "median": self.median() })
    }
}

struct Args {
    files: Vec<String>,
    batch: usize,
    runs: Option<usize>,
    scheme: SchemeName,
    target: Option<String>,
    rounds: usize,
    json: bool,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let scheme = SchemeName::parse("min_max").ok_or("there is no such scheme")?;
        let mut args = Self {
            files: Vec::new(),
            batch: 1,
            runs: None,
            scheme,
            target: None,
            rounds: 5,
            json: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
            match word.as_str() {
                "--batch" => args.batch = value()?.parse()?,
                "--runs" => args.runs = Some(value()?.parse()?),
                "--rounds" => args.rounds = value()?.parse()?,
                "--scheme" => {
                    args.scheme = SchemeName::parse(&value()?).ok_or("there is no such scheme")?;
                }
                "--target" => args.target = Some(value()?),
                "--json" => args.json = true,
                _ => args.files.push(word),
            }
        }
        Ok(args)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    marquetry::engine::keep_freed_pages();
    let args = Args::parse(std::env::args().skip(1))?;
    let [model, data] = args.files.as_slice() else {
        return Err("a model and samples are needed".into());
    };
    let model = onnx::read(model)?;
    let inputs = Input::of(&model.graph);
    let options = SampleOptions { batch: Some(args.batch), limit: args.runs, non_finite: false };
    let open = || Samples::open(data, &inputs, &options);
    let samples = open()?.len();
    let shipped = Shipped(library::standard());
    let engine = Embedded::new(&Options { threads: NonZeroUsize::new(1) });

    let mut standard =
        Standard { scheme: args.scheme, equalize: false, ..Standard::new("out.onnx") };
    standard.target = args.target.unwrap_or(standard.target);
    let mut before = standard.recipe();
    let place = before.passes.iter().position(|step| matches!(step, Step::Calibrate(_)));
    let place = place.ok_or("nothing calibrates")?;
    let Some(Step::Calibrate(calibrate)) = before.passes.get(place).cloned() else {
        return Err("nothing calibrates".into());
    };
    before.passes.truncate(place);
    let before = before.pipeline()?;

    let (mut running, mut observing) = (Times::default(), Times::default());
    let (mut calibrating, mut waiting) = (Times::default(), Times::default());
    let mut sites = 0;
    for _ in 0..args.rounds {
        let files = open()?;
        let begin = std::cell::Cell::new(None);
        let end = std::cell::Cell::new(None);
        let progress = |progress: Progress<'_>| {
            if progress.done == 1 {
                begin.set(Some(busy()));
            }
            if Some(progress.done) == progress.total {
                end.set(Some(busy()));
            }
        };
        let cx = Context::new(&engine, &files, &shipped, &progress);
        let mut state = before.run(model.clone(), &cx)?;
        let (start, on_processor) = (Instant::now(), busy());
        calibrate.run(&mut state, &cx)?;
        calibrating.0.push(busy() - on_processor);
        waiting.0.push(start.elapsed().as_secs_f64());
        if let (Some(begin), Some(end)) = (begin.get(), end.get()) {
            observing.0.push((end - begin) * samples as f64 / (samples as f64 - 1.0));
        }
        sites = state.statistics.len();

        let graph = &state.model.graph;
        let files = open()?;
        let mut program = engine.compile(graph, &graph.inputs, &graph.outputs)?;
        program.run(&files.get(0)?.tensors)?;
        let start = busy();
        for at in 0..samples {
            program.run(&files.get(at)?.tensors)?;
        }
        running.0.push(busy() - start);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("").trim();
    let ratio = observing.best() / running.best();
    if args.json {
        let row = serde_json::json!({
            "runs": samples,
            "sites": sites,
            "running": running.json(),
            "observing": observing.json(),
            "calibrating": calibrating.json(),
            "waiting": waiting.json(),
            "ratio": ratio,
            "peak": peak,
        });
        println!("{row}");
        return Ok(());
    }
    println!(
        "{samples} runs, {sites} sites: running {:.4} s, observing {:.4} s, ratio {ratio:.2}; calibrating first {:.4} s, median {:.4} s; peak {peak}",
        running.best(),
        observing.best(),
        calibrating.0.first().copied().unwrap_or(f64::NAN),
        calibrating.median(),
    );
    Ok(())
}
