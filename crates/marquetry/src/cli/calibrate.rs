//! `marquetry calibrate`: what samples show, as a file.

use std::path::{Path, PathBuf};

use marquetry_quant::Standard;
use marquetry_quant::pass::Observe;
use marquetry_quant::recipe::Step;
use marquetry_quant::statistics::Shard;

use super::answer::Answer;
use super::args::{Calibrate, Cli};
use super::failure::{Exit, Failure};
use super::job::Job;
use super::pipeline::foretold;
use super::{engine, quantize};

/// Runs the passes of `quantize` up to the calibration, and writes what was observed.
pub(crate) fn run(args: &Calibrate, cli: &Cli) -> Result<Answer, Failure> {
    let shard = args.shard.as_deref().map(shard).transpose()?;
    if args.numbers.compat.is_some() {
        return Err(Failure::new(
            Exit::Unsupported,
            "compat_needs_order",
            "AIMET's histogram depends on the order of samples, so it is in no file",
        )
        .hint("run `quantize --compat aimet --calib ..` on all samples at once"));
    }
    // Parts that see other samples must observe the same model.
    // Only what would be done can do without a place for it.
    let output = args.output.as_deref().unwrap_or(Path::new("FILE"));
    let standard = quantize::standard(&args.numbers, &args.samples, output)?;
    let mut recipe = Standard { equalize: false, ..standard }.recipe();
    let observe = Observe {
        statistics: output.to_owned(),
        shard,
        samples: args.samples.samples,
        nan: Default::default(),
    };
    let calibrate = recipe.passes.iter().position(|step| matches!(step, Step::Calibrate(_)));
    recipe.passes.truncate(calibrate.unwrap_or(recipe.passes.len()));
    recipe.passes.push(Step::Observe(observe));
    let pipeline =
        recipe.pipeline().map_err(|error| Failure::new(Exit::Invalid, error.code(), &error))?;
    let job = Job {
        model: &args.model,
        samples: &args.samples,
        samples_needed: true,
        patterns: &args.patterns.files,
        reads: Vec::new(),
        outputs: vec![output],
        report: None,
        journal: None,
        pipeline: None,
        engine: None,
        checkpoints: None,
    };
    if args.dry_run {
        let forecast = job.forecast(&pipeline, cli)?;
        let files: Vec<&Path> = args.output.iter().map(PathBuf::as_path).collect();
        return Ok(foretold(&forecast, engine::name(cli, None), &files, None));
    }
    job.run(&pipeline, cli)
}

/// A part of the samples, such as `3/16`.
pub(crate) fn shard(text: &str) -> Result<Shard, Failure> {
    Shard::parse(text).ok_or_else(|| {
        Failure::new(Exit::Usage, "bad_shard", format!("`{text}` is no part of anything"))
            .hint("write `3/16` for the third of sixteen parts")
    })
}
