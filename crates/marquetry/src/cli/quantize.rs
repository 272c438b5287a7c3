//! `marquetry quantize` and `marquetry run`: a pipeline over a model.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use marquetry_quant::{DType, Pipeline};

use super::answer::Answer;
use super::args::{Cli, Quantize, Run};
use super::failure::{Exit, Failure};
use super::job::Job;

/// Quantizes as the options say, which is to run the pipeline that they mean.
pub(crate) fn run(args: &Quantize, cli: &Cli) -> Result<Answer, Failure> {
    let recipe = recipe(args)?;
    if args.print_pipeline {
        let json = serde_json::json!({ "schema_version": 1, "pipeline": recipe });
        return Ok(Answer::new(recipe, json));
    }
    let pipeline = Pipeline::parse(&recipe).map_err(|error| {
        let failure = Failure::new(Exit::Usage, error.code(), &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let job = Job { model: &args.model, samples: &args.samples, patterns: &args.patterns.files, output: None };
    job.run(&pipeline, cli)
}

/// Runs a pipeline from a file.
pub(crate) fn run_pipeline(args: &Run, cli: &Cli) -> Result<Answer, Failure> {
    let text = fs::read_to_string(&args.pipeline).map_err(|error| Failure::reading(&args.pipeline, &error))?;
    let pipeline = Pipeline::parse(&text).map_err(|error| {
        let failure = Failure::new(Exit::Invalid, error.code(), &error).at(args.pipeline.display());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let job = Job {
        model: &args.model,
        samples: &args.samples,
        patterns: &args.patterns.files,
        output: args.output.as_deref(),
    };
    job.run(&pipeline, cli)
}

/// The pipeline that the options mean, in RON.
fn recipe(args: &Quantize) -> Result<String, Failure> {
    let scheme = scheme(&args.scheme)?;
    let weights = dtype("--weights", &args.weights)?;
    let activations = dtype("--activations", &args.activations)?;
    let granularity = granularity(&args.granularity)?;
    // Unsigned weights have no middle to be symmetric about.
    let symmetric = if weights.is_signed() { "" } else { ", symmetric: false" };
    let mut exports = format!("qdq: {}", ron_string(&args.output));
    if let Some(file) = &args.encodings {
        write!(exports, ", encodings: (path: {}, version: \"1.0.0\")", ron_string(file))
            .expect("a string takes any text");
    }
    let samples = args.samples.samples.map_or(String::new(), |count| format!(", samples: {count}"));
    Ok(format!(
        "Pipeline(\n    target: \"ort-cpu\",\n    passes: [\n        Group(),\n        \
         Place(activations: {}, weights: (dtype: {}, granularity: {granularity}{symmetric})),\n        \
         Calibrate(scheme: {scheme}{samples}),\n        QuantizeBias,\n        Check,\n        \
         Export({exports}),\n    ],\n)\n",
        ron_name(activations),
        ron_name(weights),
    ))
}

fn scheme(name: &str) -> Result<String, Failure> {
    match marquetry_quant::Scheme::parse(name) {
        Some((marquetry_quant::Scheme::MinMax, _)) => Ok("MinMax".to_owned()),
        Some((marquetry_quant::Scheme::TfEnhanced, _)) => Ok("TfEnhanced".to_owned()),
        Some((marquetry_quant::Scheme::Percentile(percentage), _)) => Ok(format!("Percentile({percentage:?})")),
        _ => Err(Failure::new(Exit::Usage, "unknown_scheme", format!("there is no scheme `{name}`"))
            .hint("use `min_max`, `tf_enhanced` or `percentile:99.9`")),
    }
}

fn dtype(option: &str, name: &str) -> Result<DType, Failure> {
    DType::parse(name).filter(|dtype| dtype.is_integer()).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().filter(|dtype| dtype.is_integer()).map(|dtype| dtype.name()).collect();
        Failure::new(Exit::Usage, "unknown_type", format!("`{name}` is no type for {option}"))
            .hint(format!("use one of {}", known.join(", ")))
    })
}

fn granularity(name: &str) -> Result<String, Failure> {
    match name.split_once(':') {
        None if name == "tensor" => Ok("PerTensor".to_owned()),
        None if name == "channel" => Ok("PerChannel".to_owned()),
        Some(("block", size)) if size.parse::<usize>().is_ok_and(|size| size > 0) => Ok(format!("PerBlock({size})")),
        _ => Err(Failure::new(Exit::Usage, "unknown_granularity", format!("there is no granularity `{name}`"))
            .hint("use `tensor`, `channel` or `block:32`")),
    }
}

/// The name of a type as a pipeline writes it: `Int8`, `UInt16`.
fn ron_name(dtype: DType) -> String {
    format!("{dtype:?}")
}

fn ron_string(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
