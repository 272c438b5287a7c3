//! `marquetry quantize`: the pipeline that its options mean, over a model.

use std::path::{Path, PathBuf};

use marquetry_quant::pass::{EncodingsFile, SchemeName, WeightGranularity};
use marquetry_quant::recipe::EngineName;
use marquetry_quant::select::SelectorError;
use marquetry_quant::{
    Checkpoints, Compat, DType, Pipeline, Recipe, RecipeError, Selector, Standard,
};

use super::answer::Answer;
use super::args::{Choices, Cli, Numbers, Quantize, Rounding, Samples};
use super::failure::{Exit, Failure};
use super::job::Job;
use super::pipeline::foretold;
use super::{args, calibrate, engine, load, outputs};

/// Quantizes as the options say, which is to run the pipeline that they mean.
pub(crate) fn run(args: &Quantize, cli: &Cli) -> Result<Answer, Failure> {
    let recipe = recipe(args, cli)?;
    if args.print_pipeline {
        let json = serde_json::json!({ "schema_version": 1, "pipeline": recipe });
        return Ok(Answer::new(recipe, json));
    }
    let pipeline = Pipeline::parse(&recipe).map_err(|error| refused(Exit::Usage, &error))?;
    // Whoever drives the parts would wait for ever for a level that is decided.
    let goes_by_levels = pipeline.names().any(|name| ["SeqMse", "Gptq"].contains(&name));
    if args.choices.shard.is_some() && !goes_by_levels {
        let what = "nothing goes level by level here, so that there is nothing to share";
        return Err(Failure::new(Exit::Usage, "bad_shard", what)
            .hint("add `--gptq` or `--seq-mse`, or ask for weights of four bits"));
    }
    // Not only when all is done.
    args.encodings.as_deref().map(super::encodings::target).transpose()?;
    args.choices.stats.iter().try_for_each(|stats| load::is_file(stats))?;
    if !args.dry_run {
        outputs::not_a_terminal(&args.output)?;
    }
    let encodings = encodings(args.encodings.as_deref()).map(|file| file.path);
    let outputs = [&args.output].into_iter().chain(&encodings).map(PathBuf::as_path).collect();
    let Choices { samples, patterns, stats, seq_mse, bias_correction, .. } = &args.choices;
    let again = *bias_correction == Some(true)
        || seq_mse.is_some_and(|candidates| candidates > 0)
        || gptq(&args.choices) == Some(true);
    let reads = stats.iter().map(PathBuf::as_path).collect();
    let (samples_needed, patterns) = (stats.is_none() || again, &patterns.files);
    let report = (!args.report.is_empty()).then_some((&*args.report, &*recipe));
    let job = Job {
        model: &args.model,
        samples,
        samples_needed,
        patterns,
        reads,
        outputs,
        report,
        journal: None,
        pipeline: None,
        engine: None,
        checkpoints: args.choices.checkpoints.as_deref(),
    };
    if args.dry_run {
        let forecast = job.forecast(&pipeline, cli)?;
        let reports = args.report.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = job.outputs.iter().copied().chain(reports).collect();
        return Ok(foretold(&forecast, engine::name(cli, None), &files, None));
    }
    job.run(&pipeline, cli)
}

/// An error in what is asked for, with its next step.
pub(crate) fn refused(exit: Exit, error: &RecipeError) -> Failure {
    let failure = Failure::new(exit, error.code(), error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The pipeline that the options mean, in RON.
fn recipe(args: &Quantize, cli: &Cli) -> Result<String, Failure> {
    let encodings = encodings(args.encodings.as_deref());
    let standard = Standard { encodings, ..chosen(&args.choices, &args.output)? };
    let engine = cli.engine.map(|engine| match engine {
        args::Engine::Embedded => EngineName::Embedded,
        args::Engine::Ort | args::Engine::OrtDeployed => EngineName::Ort,
    });
    Ok(Recipe { engine, ..standard.recipe() }.to_ron())
}

/// Every choice that the options mean.
pub(crate) fn chosen(choices: &Choices, output: &Path) -> Result<Standard, Failure> {
    Ok(Standard {
        select: selector(&choices.select)?,
        equalize: choices.equalize || (!choices.no_equalize && choices.stats.is_none()),
        statistics: choices.stats.clone(),
        adjust_weights: choices.adjust_weights,
        seq_mse: choices.seq_mse,
        gptq: gptq(choices),
        bias_correction: choices.bias_correction,
        checkpoints: checkpoints(choices)?,
        ..standard(&choices.numbers, &choices.samples, output)?
    })
}

/// Where levels are kept, and the part of the samples that is looked at.
fn checkpoints(choices: &Choices) -> Result<Option<Checkpoints>, Failure> {
    let shard = choices.shard.as_deref().map(calibrate::shard).transpose()?;
    Ok(choices.checkpoints.clone().map(|folder| Checkpoints { folder, shard }))
}

/// What any of several selectors selects.
fn selector(texts: &[String]) -> Result<Option<Selector>, Failure> {
    let wrong = |text: &str, error: SelectorError| {
        Failure::new(Exit::Usage, "bad_selector", format!("in `--select \"{text}\"`, {error}"))
            .hint(error.hint)
    };
    let mut parts = Vec::new();
    let mut maybe = true;
    for text in texts {
        maybe &= Selector::parse(text).map_err(|error| wrong(text, error))?.is_maybe();
        parts.push(text.trim().strip_prefix("maybe ").unwrap_or(text).trim());
    }
    let any = match &parts[..] {
        [] => return Ok(None),
        [one] => (*one).to_owned(),
        parts => format!("({})", parts.join(") or (")),
    };
    let any = if maybe { format!("maybe {any}") } else { any };
    Selector::parse(&any).map(Some).map_err(|error| wrong(&any, error))
}

/// Whether weights are rounded with feedback, where that is said.
fn gptq(choices: &Choices) -> Option<bool> {
    let said = choices.rounding.map(|rounding| rounding == Rounding::Gptq);
    if choices.gptq { Some(true) } else { said }
}

/// What a target that the command line names wants.
pub(crate) fn of_target(target: &str, output: &Path) -> Result<Standard, Failure> {
    Standard::of_target(target, output).map_err(|error| {
        // A name that is none is a slip on the command line; a file has its own faults.
        let exit = match error {
            RecipeError::UnknownName { .. } => Exit::Usage,
            RecipeError::Unreadable { .. } => Exit::Io,
            _ => Exit::Invalid,
        };
        refused(exit, &error)
    })
}

/// The choices that `calibrate` has too.
pub(crate) fn standard(
    numbers: &Numbers,
    samples: &Samples,
    output: &Path,
) -> Result<Standard, Failure> {
    let standard = of_target(&numbers.target, output)?;
    let chosen = |option: &str, name: &Option<String>, usual: DType| match name {
        Some(name) => dtype(option, name),
        None => Ok(usual),
    };
    Ok(Standard {
        activations: chosen("--activations", &numbers.activations, standard.activations)?,
        weights: chosen("--weights", &numbers.weights, standard.weights)?,
        granularity: granularity(&numbers.granularity)?,
        scheme: scheme(&numbers.scheme)?,
        compat: compat(numbers.compat.as_deref())?,
        samples: samples.samples,
        ..standard
    })
}

/// `FILE@VERSION`; a file may have an `@` in its name where no version follows.
fn encodings(text: Option<&str>) -> Option<EncodingsFile> {
    let text = text?;
    Some(match text.rsplit_once('@') {
        Some((path, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            EncodingsFile { path: path.into(), version: version.to_owned() }
        }
        _ => EncodingsFile { path: text.into(), ..EncodingsFile::default() },
    })
}

fn compat(name: Option<&str>) -> Result<Compat, Failure> {
    match name {
        None => Ok(Compat::Default),
        Some("aimet") => Ok(Compat::Aimet),
        Some(name) => Err(Failure::new(
            Exit::Usage,
            "unknown_compat",
            format!("there is no tool `{name}` whose numbers are known"),
        )
        .hint("use `--compat aimet`, or leave it out")),
    }
}

fn scheme(name: &str) -> Result<SchemeName, Failure> {
    SchemeName::parse(name).ok_or_else(|| {
        Failure::new(Exit::Usage, "unknown_scheme", format!("there is no scheme `{name}`"))
            .hint(format!("use one of `{}`", SchemeName::KNOWN.join("`, `")))
    })
}

fn dtype(option: &str, name: &str) -> Result<DType, Failure> {
    DType::parse(name).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
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
        .hint("use `tensor`, `channel`, `block:32` or `lpbq:32`")
    })
}
