//! `marquetry compare`: how far the tensors of two models are apart on the same samples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use marquetry_engine::{Engine, Flow, Samples, Sweep, SweepOptions};
use marquetry_ir::{Graph, Kind, Model, Tensor, ValueId};
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::{Cli, Compare};
use super::failure::{Exit, Failure};
use super::job::{self, engine_failure, sample_failure};
use super::load;

pub(crate) fn run(args: &Compare, cli: &Cli) -> Result<Answer, Failure> {
    load::one_standard_input(&[&args.reference, &args.candidate])?;
    let reference = load::model(&args.reference, cli)?;
    let candidate = load::model(&args.candidate, cli)?;
    let names = common(&reference.graph, &candidate.graph);
    if names.is_empty() {
        return Err(Failure::new(
            Exit::Invalid,
            "nothing_in_common",
            "the models have no tensor of the same name",
        )
        .at(args.candidate.display())
        .hint("compare a model with one that was made from it"));
    }
    let engine = job::engine(cli);
    job::refusals(&engine, &reference, &args.reference)?;
    job::refusals(&engine, &candidate, &args.candidate)?;
    let samples = job::samples(&args.samples, &reference)?;
    let distances = measure(&engine, &reference, &candidate, &samples, samples.len(), &names)?;
    let json =
        json!({ "schema_version": 1, "samples": samples.len(), "tensors": json(&distances) });
    let mut answer = Answer::new(table(&distances), json);
    for note in samples.notes() {
        answer.note(note.clone());
    }
    Ok(answer)
}

/// How far one tensor of the candidate is from that of the reference, over all samples.
#[derive(Debug)]
pub(crate) struct Distance {
    name: String,
    output: bool,
    /// Σ x², x the reference.
    signal: f64,
    /// Σ (x − y)², y the candidate.
    noise: f64,
    /// max |x − y|.
    largest: f64,
    /// Set where the shapes differ: nothing else can be said then.
    shapes_differ: bool,
}

impl Distance {
    /// The distance of a tensor before the first sample.
    pub(crate) fn new(name: &str, output: bool) -> Self {
        let name = name.to_owned();
        Self { name, output, signal: 0.0, noise: 0.0, largest: 0.0, shapes_differ: false }
    }

    /// The name of the tensor.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// 10·log₁₀(Σ x² / Σ (x − y)²) in decibels; `None` where the tensors are equal.
    pub(crate) fn sqnr(&self) -> Option<f64> {
        (self.noise > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }

    pub(crate) fn add(&mut self, reference: &Tensor, candidate: &Tensor) {
        if reference.dims() != candidate.dims() {
            self.shapes_differ = true;
            return;
        }
        let (Some(x), Some(y)) = (reference.to_f64s(), candidate.to_f64s()) else { return };
        for (x, y) in x.into_iter().zip(y) {
            // Equal infinities, as in masks, are no distance.
            let error = if x == y { 0.0 } else { (x - y).abs() };
            self.noise += error * error;
            self.largest = self.largest.max(error);
            if x.is_finite() {
                self.signal += x * x;
            }
        }
    }
}

/// The distances of the outputs on the first samples.
pub(crate) fn outputs(
    engine: &dyn Engine,
    reference: &Model,
    candidate: &Model,
    samples: &Samples,
    count: usize,
) -> Result<Vec<Distance>, Failure> {
    let graph = &reference.graph;
    let is_output = |name: &String| graph.find(name).is_some_and(|value| graph.is_output(value));
    let names: Vec<_> = common(graph, &candidate.graph).into_iter().filter(is_output).collect();
    measure(engine, reference, candidate, samples, count, &names)
}

/// Names of computed float tensors that both graphs have, in the order of the reference.
fn common(reference: &Graph, candidate: &Graph) -> Vec<String> {
    let computed = |graph: &Graph, value: ValueId| {
        graph.value(value).kind == Kind::Computed && graph.producer(value).is_some()
    };
    let values = reference.values().filter(|&value| computed(reference, value));
    let names = values.map(|value| reference.value(value).name());
    names
        .filter(|name| candidate.find(name).is_some_and(|value| computed(candidate, value)))
        .map(str::to_owned)
        .collect()
}

fn measure(
    engine: &dyn Engine,
    reference: &Model,
    candidate: &Model,
    samples: &Samples,
    count: usize,
    names: &[String],
) -> Result<Vec<Distance>, Failure> {
    let mut distances: Vec<_> = names
        .iter()
        .map(|name| {
            let output = reference.graph.find(name);
            Distance::new(name, output.is_some_and(|value| reference.graph.is_output(value)))
        })
        .collect();
    let rows = |graph: &Graph| -> BTreeMap<ValueId, usize> {
        let found =
            names.iter().enumerate().filter_map(|(row, name)| Some((graph.find(name)?, row)));
        found.collect()
    };
    let (rows_a, rows_b) = (rows(&reference.graph), rows(&candidate.graph));
    let sweep = |model: &Model, rows: &BTreeMap<ValueId, usize>| {
        let wanted: BTreeSet<_> = rows.keys().copied().collect();
        Sweep::new(engine, &model.graph, &wanted, &SweepOptions::default())
            .map_err(|error| engine_failure(&error))
    };
    let mut sweep_a = sweep(reference, &rows_a)?;
    let mut sweep_b = sweep(candidate, &rows_b)?;
    for index in 0..count.min(samples.len()) {
        let sample = samples.get(index).map_err(|error| sample_failure(&error))?;
        let mut seen: BTreeMap<usize, Tensor> = BTreeMap::new();
        let mut keep = |value: ValueId, tensor: &Tensor| {
            if tensor.dtype().is_float() {
                seen.insert(rows_a[&value], tensor.clone());
            }
            Flow::Continue
        };
        sweep_a.run(&sample.tensors, &mut keep).map_err(|error| engine_failure(&error))?;
        let mut compare = |value: ValueId, tensor: &Tensor| {
            let row = rows_b[&value];
            if let Some(expected) = seen.remove(&row) {
                distances[row].add(&expected, tensor);
            }
            Flow::Continue
        };
        sweep_b.run(&sample.tensors, &mut compare).map_err(|error| engine_failure(&error))?;
    }
    distances
        .retain(|distance| distance.signal > 0.0 || distance.noise > 0.0 || distance.shapes_differ);
    Ok(distances)
}

/// The distances as a table, outputs last: they are what is read first on a terminal.
pub(crate) fn table(distances: &[Distance]) -> String {
    let mut text = String::new();
    let width =
        distances.iter().map(|distance| distance.name.chars().count()).max().unwrap_or(0).max(6);
    writeln!(text, "{:width$}  {:>10}  {:>12}", "tensor", "SQNR", "max error")
        .expect("a string takes any text");
    let (outputs, inner): (Vec<_>, Vec<_>) = distances.iter().partition(|distance| distance.output);
    for distance in inner.into_iter().chain(outputs) {
        let sqnr = match distance.sqnr() {
            _ if distance.shapes_differ => "shape".to_owned(),
            Some(sqnr) => format!("{sqnr:.1} dB"),
            None => "equal".to_owned(),
        };
        let kind = if distance.output { "  output" } else { "" };
        writeln!(text, "{:width$}  {sqnr:>10}  {:>12.3e}{kind}", distance.name, distance.largest)
            .expect("a string takes any text");
    }
    text
}

/// The distances for programs: `sqnr_db` is null where the tensors are equal.
pub(crate) fn json(distances: &[Distance]) -> Value {
    let row = |distance: &Distance| {
        json!({
            "name": distance.name,
            "output": distance.output,
            "sqnr_db": distance.sqnr(),
            "max_error": distance.largest,
            "shapes_differ": distance.shapes_differ,
        })
    };
    distances.iter().map(row).collect()
}
