//! `marquetry quantize` and `marquetry run`: a pipeline over a model.

use std::fs;
use std::path::PathBuf;

use marquetry_quant::pass::{SchemeName, WeightGranularity};
use marquetry_quant::{DType, Pipeline, Standard};

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
    let outputs = [&args.output].into_iter().chain(&args.encodings).map(PathBuf::as_path).collect();
    let (samples, patterns) = (&args.samples, &args.patterns.files);
    Job { model: &args.model, samples, patterns, reads: Vec::new(), outputs, instead: None }
        .run(&pipeline, cli)
}

/// Runs a pipeline from a file.
pub(crate) fn run_pipeline(args: &Run, cli: &Cli) -> Result<Answer, Failure> {
    let text = fs::read_to_string(&args.pipeline)
        .map_err(|error| Failure::reading(&args.pipeline, &error))?;
    let pipeline = Pipeline::parse(&text).map_err(|error| {
        let failure = Failure::new(Exit::Invalid, error.code(), &error).at(args.pipeline.display());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let (samples, patterns) = (&args.samples, &args.patterns.files);
    let instead = args.output.as_deref();
    Job {
        model: &args.model,
        samples,
        patterns,
        reads: vec![&args.pipeline],
        outputs: Vec::new(),
        instead,
    }
    .run(&pipeline, cli)
}

/// The pipeline that the options mean, in RON.
fn recipe(args: &Quantize) -> Result<String, Failure> {
    let standard = Standard {
        activations: dtype("--activations", &args.activations)?,
        weights: dtype("--weights", &args.weights)?,
        granularity: granularity(&args.granularity)?,
        equalize: !args.no_equalize,
        scheme: scheme(&args.scheme)?,
        samples: args.samples.samples,
        encodings: args.encodings.clone(),
        ..Standard::new(&args.output)
    };
    Ok(standard.recipe().to_ron())
}

fn scheme(name: &str) -> Result<SchemeName, Failure> {
    SchemeName::parse(name).ok_or_else(|| {
        Failure::new(Exit::Usage, "unknown_scheme", format!("there is no scheme `{name}`"))
            .hint("use `min_max`, `tf_enhanced` or `percentile:99.9`")
    })
}

fn dtype(option: &str, name: &str) -> Result<DType, Failure> {
    DType::parse(name).filter(|dtype| dtype.is_integer()).ok_or_else(|| {
        let known: Vec<_> = DType::ALL
            .iter()
            .filter(|dtype| dtype.is_integer())
            .map(|dtype| dtype.name())
            .collect();
        Failure::new(Exit::Usage, "unknown_type", format!("`{name}` is no type for {option}"))
            .hint(format!("use one of {}", known.join(", ")))
    })
}

fn granularity(name: &str) -> Result<WeightGranularity, Failure> {
    WeightGranularity::parse(name).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "unknown_granularity",
            format!("there is no granularity `{name}`"),
        )
        .hint("use `tensor`, `channel` or `block:32`")
    })
}
