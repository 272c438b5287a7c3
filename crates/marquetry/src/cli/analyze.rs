//! `marquetry analyze`: which layers lose most, by what the outputs lose when one alone is quantized,
//! and what they gain when all but one are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use marquetry_engine::{Engine, Flow, Samples, Sweep, SweepOptions};
use marquetry_ir::{Model, Tensor, ValueId};
use marquetry_quant::export::qdq;
use marquetry_quant::pass::{Progress, lowered_plan};
use marquetry_quant::recipe::Step;
use marquetry_quant::report::Tally;
use marquetry_quant::{Plan, sensitivity};
use serde_json::{Value, json};

use super::answer::{Answer, plural};
use super::args::{Analyze, By, Cli};
use super::failure::{Exit, Failure};
use super::job::{Bars, Job, engine_failure, pass_failure, sample_failure};
use super::quantize;

/// Bytes of outputs of the float model that are kept; what is beyond is computed again each time.
const KEPT: usize = 64 << 20;

pub(crate) fn run(args: &Analyze, cli: &Cli) -> Result<Answer, Failure> {
    let mut recipe = quantize::chosen(&args.choices, Path::new(""))?.recipe();
    recipe.passes.retain(|step| !matches!(step, Step::Export(_)));
    let pipeline =
        recipe.pipeline().map_err(|error| Failure::new(Exit::Invalid, error.code(), &error))?;
    let job = Job {
        model: &args.model,
        samples: &args.choices.samples,
        samples_needed: true,
        patterns: &args.choices.patterns.files,
        reads: Vec::new(),
        outputs: Vec::new(),
        report: None,
        journal: None,
        pipeline: None,
        engine: None,
        checkpoints: None,
    };
    let ran = job.ran(&pipeline, cli)?;
    let failed = |error| pass_failure(&error).at_default(&args.model);
    let state = &ran.state;
    let plan = lowered_plan(state).map_err(failed)?;
    let by = match args.by {
        By::Layer => sensitivity::By::Layer,
        By::Tensor => sensitivity::By::Tensor,
    };
    let parts = sensitivity::parts(state, &plan, by);
    let samples = ran.samples.as_ref().expect("the job needs samples");
    let mut outputs = Outputs::new(&*ran.engine, state.float(), samples, args.limit)?;
    let bars = Bars::new(cli);
    let total = 2 * parts.len() + 1;
    let mut done = 0;
    let mut measure = |plan: &Plan| -> Result<Option<Loss>, Failure> {
        let lowered = qdq::lower(&sensitivity::model(state, plan), plan).map_err(failed)?;
        let loss = outputs.loss(&lowered.model)?;
        done += 1;
        bars.show(Progress { pass: "analyze", done, total: Some(total) });
        Ok(loss)
    };
    let all = measure(&plan)?;
    let mut rows = Vec::new();
    for part in &parts {
        let on = measure(&part.alone(&plan))?;
        let off = measure(&part.left_out(&plan))?;
        let name = |value| state.model.graph.value(value).name().to_owned();
        rows.push(Row { name: &part.name, tensors: part.values().map(name).collect(), on, off });
    }
    bars.finish();
    // The sort is stable: equal rows stay in the order of the model.
    rows.sort_by(|a, b| worse(&a.on, &b.on).then_with(|| worse(&b.off, &a.off)));
    let count = args.limit.min(samples.len());
    let mut answer =
        Answer::new(text(&rows, &all, count, args.by), json(&rows, &all, count, args.by));
    ran.notes.into_iter().for_each(|note| answer.note(note));
    Ok(answer)
}

/// What one measurement found: the output that lost most.
struct Loss {
    output: String,
    /// Decibels.
    sqnr: f64,
}

/// A part, with what is lost when it is quantized alone, and what when all the others are; nothing
/// where the outputs stay equal.
struct Row<'a> {
    name: &'a str,
    tensors: Vec<String>,
    on: Option<Loss>,
    off: Option<Loss>,
}

/// Whether one loss is worse than another: fewer decibels come first, no loss last.
fn worse(a: &Option<Loss>, b: &Option<Loss>) -> Ordering {
    let decibels = |loss: &Option<Loss>| loss.as_ref().map_or(f64::INFINITY, |loss| loss.sqnr);
    decibels(a).total_cmp(&decibels(b))
}

/// The outputs of the float model, to measure other models by.
struct Outputs<'a> {
    engine: &'a dyn Engine,
    samples: &'a Samples,
    count: usize,
    names: Vec<String>,
    rows: BTreeMap<ValueId, usize>,
    sweep: Sweep,
    /// What the first samples give, as far as it is small.
    kept: Vec<BTreeMap<usize, Tensor>>,
    bytes: usize,
}

impl<'a> Outputs<'a> {
    fn new(
        engine: &'a dyn Engine,
        model: &Model,
        samples: &'a Samples,
        limit: usize,
    ) -> Result<Self, Failure> {
        let graph = &model.graph;
        let rows: BTreeMap<ValueId, usize> = graph.outputs.iter().copied().zip(0..).collect();
        let names = graph.outputs.iter().map(|&output| graph.value(output).name().to_owned());
        let sweep = swept(engine, model, &rows)?;
        let (count, names) = (limit.min(samples.len()), names.collect());
        Ok(Self { engine, samples, count, names, rows, sweep, kept: Vec::new(), bytes: 0 })
    }

    /// How far the outputs of a model are from those of the float one; nothing where they are equal.
    fn loss(&mut self, candidate: &Model) -> Result<Option<Loss>, Failure> {
        let mut tallies: Vec<Tally> =
            self.names.iter().map(|name| Tally::new(name, true)).collect();
        let found = self.names.iter().map(|name| candidate.graph.find(name)).zip(0..);
        let rows: BTreeMap<ValueId, usize> =
            found.filter_map(|(value, row)| Some((value?, row))).collect();
        let mut sweep = swept(self.engine, candidate, &rows)?;
        for index in 0..self.count {
            let sample = self.samples.get(index).map_err(|error| sample_failure(&error))?;
            if index == self.kept.len() && self.bytes < KEPT {
                let seen = outputs(&mut self.sweep, &self.rows, &sample.tensors)?;
                self.bytes += seen.values().map(|tensor| tensor.bytes().len()).sum::<usize>();
                self.kept.push(seen);
            }
            let again;
            let expected = match self.kept.get(index) {
                Some(seen) => seen,
                None => {
                    again = outputs(&mut self.sweep, &self.rows, &sample.tensors)?;
                    &again
                }
            };
            for (row, tensor) in outputs(&mut sweep, &rows, &sample.tensors)? {
                if let Some(expected) = expected.get(&row) {
                    tallies[row].add(expected, &tensor);
                }
            }
        }
        let losses = tallies.iter().map(Tally::distance).filter(|found| !found.is_equal());
        let losses = losses.map(|found| Loss {
            sqnr: found.sqnr_db.unwrap_or(f64::NEG_INFINITY),
            output: found.name,
        });
        Ok(losses.min_by(|a, b| a.sqnr.total_cmp(&b.sqnr)))
    }
}

fn swept(
    engine: &dyn Engine,
    model: &Model,
    rows: &BTreeMap<ValueId, usize>,
) -> Result<Sweep, Failure> {
    let wanted: BTreeSet<ValueId> = rows.keys().copied().collect();
    Sweep::new(engine, &model.graph, &wanted, &SweepOptions::default())
        .map_err(|error| engine_failure(&error))
}

/// The float outputs on one sample.
fn outputs(
    sweep: &mut Sweep,
    rows: &BTreeMap<ValueId, usize>,
    sample: &[Tensor],
) -> Result<BTreeMap<usize, Tensor>, Failure> {
    let mut seen = BTreeMap::new();
    let mut keep = |value: ValueId, tensor: &Tensor| {
        if tensor.dtype().is_float() {
            seen.insert(rows[&value], tensor.clone());
        }
        Flow::Continue
    };
    sweep.run(sample, &mut keep).map_err(|error| engine_failure(&error))?;
    Ok(seen)
}

fn text(rows: &[Row<'_>], all: &Option<Loss>, samples: usize, by: By) -> String {
    let shown = |loss: &Option<Loss>| match loss {
        Some(loss) => format!("{:.1} dB", loss.sqnr),
        None => "equal".to_owned(),
    };
    if rows.is_empty() {
        return "nothing is quantized\n".to_owned();
    }
    let noun = if by == By::Layer { "layer" } else { "tensor" };
    let mut text = format!(
        "{} on {}; all quantized: {}\n\n",
        plural(rows.len(), noun),
        plural(samples, "sample"),
        shown(all)
    );
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(6);
    writeln!(text, "{noun:width$}  {:>10}  {:>10}", "alone", "all others")
        .expect("a string takes any text");
    for row in rows {
        writeln!(text, "{:width$}  {:>10}  {:>10}", row.name, shown(&row.on), shown(&row.off))
            .expect("a string takes any text");
    }
    text
}

/// For programs: a null stands where the outputs are equal.
fn json(rows: &[Row<'_>], all: &Option<Loss>, samples: usize, by: By) -> Value {
    let loss = |loss: &Option<Loss>| match loss {
        // More digits than that say nothing about so few samples.
        Some(loss) => {
            json!({ "sqnr_db": (loss.sqnr * 100.0).round() / 100.0, "output": loss.output })
        }
        None => Value::Null,
    };
    let row = |row: &Row<'_>| {
        json!({
            "name": row.name,
            "tensors": row.tensors,
            "alone": loss(&row.on),
            "all_others": loss(&row.off),
        })
    };
    json!({
        "schema_version": 1,
        "by": if by == By::Layer { "layer" } else { "tensor" },
        "samples": samples,
        "all": loss(all),
        "ranking": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
