//! What calibration costs over merely running the same samples: time, and memory at its peak.
//!
//! Time is that of processors, which other programs do not add to, on one thread; the best of five
//! rounds that alternate.
//!
//! `cargo run --release --example calibration_cost -- MODEL DATA SAMPLES [min_max|mse|..]`

#![allow(clippy::print_stdout, reason = "an example prints what it measured")]

use std::error::Error;
use std::num::NonZeroUsize;

use marquetry::engine::{Embedded, Engine as _, Input, Options, SampleOptions, Samples};
use marquetry::ir::{Model, onnx};
use marquetry::library;
use marquetry::matcher::Groups;
use marquetry::quant::pass::{FindGroups, MEMORY, SchemeName};
use marquetry::quant::{Context, Standard};

struct Shipped;

impl FindGroups for Shipped {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &library::standard()))
    }

    fn knows(&self, pattern: &str) -> bool {
        library::standard().patterns().iter().any(|known| known.name == pattern)
    }
}

/// Seconds that the threads of this process have been on a processor.
fn busy() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().ok_or(format!("{what} is missing"));
    let (model, data) = (next("MODEL")?, next("DATA")?);
    let samples: usize = next("SAMPLES")?.parse()?;
    let scheme = next("").unwrap_or_else(|_| "min_max".to_owned());
    let scheme = SchemeName::parse(&scheme).ok_or("there is no such scheme")?;

    let model = onnx::read(model)?;
    let inputs = Input::of(&model.graph);
    let options = SampleOptions { batch: Some(1), limit: None, non_finite: false };
    let files = Samples::open(data, &inputs, &options)?;
    // Few samples are repeated until there are enough; reading them is not what is measured.
    let all: Result<Vec<_>, _> = (0..samples.min(files.len())).map(|at| files.get(at)).collect();
    let all: Vec<_> = all?.into_iter().map(|sample| sample.tensors).collect();
    let runs: Vec<_> = (0..samples).map(|at| all[at % all.len()].clone()).collect();

    let engine = Embedded::new(&Options { threads: NonZeroUsize::new(1) });
    let graph = &model.graph;
    let mut program = engine.compile(graph, &graph.inputs, &graph.outputs)?;
    let mut plain = f64::INFINITY;
    let mut whole = f64::INFINITY;
    for _ in 0..5 {
        let start = busy();
        for run in &runs {
            program.run(run)?;
        }
        plain = plain.min(busy() - start);

        let standard = Standard { scheme, equalize: false, ..Standard::new("out.onnx") };
        let mut recipe = standard.recipe();
        recipe.passes.truncate(5);
        let pipeline = recipe.pipeline()?;
        let begin = std::cell::Cell::new(None);
        let end = std::cell::Cell::new(None);
        let progress = |progress: marquetry::quant::pass::Progress<'_>| {
            // From the end of the first sample on, so that preparing and choosing do not count.
            if progress.done == 1 {
                begin.set(Some(busy()));
            }
            if Some(progress.done) == progress.total {
                end.set(Some(busy()));
            }
        };
        let cx = Context {
            engine: &engine,
            samples: &runs,
            patterns: &Shipped,
            progress: &progress,
            memory: MEMORY,
        };
        pipeline.run(model.clone(), &cx)?;
        if let (Some(begin), Some(end)) = (begin.get(), end.get()) {
            whole = whole.min((end - begin) * samples as f64 / (samples as f64 - 1.0));
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    println!(
        "{samples} samples: plain {plain:.2} s, calibrating {whole:.2} s, ratio {:.2}; {peak}",
        whole / plain
    );
    Ok(())
}
