//! `marquetry compare`: how far the tensors of two models are apart on the same samples.

use std::fmt::Write as _;

use marquetry_engine::{Engine, Numerics, Samples};
use marquetry_ir::{Graph, Kind, Model, ValueId, inline};
use marquetry_quant::PassError;
use marquetry_quant::report::{Distance, Tally, distances};
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::{Cli, Compare};
use super::failure::{Exit, Failure};
use super::job::{self, engine_failure, pass_failure, sample_failure};
use super::{engine, load};

pub(crate) fn run(args: &Compare, cli: &Cli) -> Result<Answer, Failure> {
    load::one_standard_input(&[&args.reference, &args.candidate])?;
    let [reference, candidate] = [&args.reference, &args.candidate].map(|path| {
        // What functions compute has names only where they are written out.
        load::model(path, cli).map(|mut model| {
            inline::functions(&mut model);
            model
        })
    });
    let (reference, candidate) = (reference?, candidate?);
    let mut names = common(&reference.graph, &candidate.graph);
    if names.is_empty() {
        return Err(Failure::new(
            Exit::Invalid,
            "nothing_in_common",
            "the models have no tensor of the same name",
        )
        .at(args.candidate.display())
        .hint("compare a model with one that was made from it"));
    }
    let engine = engine::any(cli)?;
    if engine.numerics() == Numerics::Deployed {
        // What is inside is fused away there, and would not be if it were asked for.
        names.retain(|name| is_output(&reference.graph, name));
    }
    job::refusals(&*engine, &reference, &args.reference)?;
    job::refusals(&*engine, &candidate, &args.candidate)?;
    let samples = job::samples(&args.samples, &reference)?;
    let distances = measure(&*engine, &reference, &candidate, &samples, samples.len(), &names)?;
    let json =
        json!({ "schema_version": 1, "samples": samples.len(), "tensors": json(&distances) });
    let mut answer = Answer::new(table(&distances), json);
    for note in samples.notes() {
        answer.note(note.clone());
    }
    Ok(answer)
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
    let mut names = common(graph, &candidate.graph);
    names.retain(|name| is_output(graph, name));
    measure(engine, reference, candidate, samples, count, &names)
}

fn is_output(graph: &Graph, name: &str) -> bool {
    graph.find(name).is_some_and(|value| graph.is_output(value))
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
    let found = distances(engine, &reference.graph, &candidate.graph, samples, count, names);
    let found = found.map_err(|error| measure_failure(&error))?;
    Ok(found.iter().filter(|tally| !tally.is_blank()).map(Tally::distance).collect())
}

/// Why two models could not be compared.
pub(crate) fn measure_failure(error: &PassError) -> Failure {
    match error {
        PassError::Sample(error) => sample_failure(error),
        PassError::Engine { source, .. } => engine_failure(source),
        error => pass_failure(error),
    }
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
        let sqnr = match distance.sqnr_db {
            _ if distance.shapes_differ => "shape".to_owned(),
            _ if distance.not_finite > 0 => "not finite".to_owned(),
            Some(sqnr) => format!("{sqnr:.1} dB"),
            None if distance.is_equal() => "equal".to_owned(),
            None => "from zero".to_owned(),
        };
        let kind = if distance.output { "  output" } else { "" };
        writeln!(text, "{:width$}  {sqnr:>10}  {:>12.3e}{kind}", distance.name, distance.max_error)
            .expect("a string takes any text");
    }
    text
}

/// The distances for programs: `sqnr_db` is null where the tensors are equal.
pub(crate) fn json(distances: &[Distance]) -> Value {
    serde_json::to_value(distances).expect("distances are plain data")
}
