//! `marquetry select`: what a selector means in a model, before a pipeline or `--select` has it.

use std::fmt::Write as _;
use std::path::Path;

use marquetry_ir::{Graph, ValueId};
use marquetry_quant::pass::Only;
use marquetry_quant::recipe::Step;
use marquetry_quant::report::Site;
use marquetry_quant::{PassError, Pipeline, Recipe, Selector, Standard, State};
use serde_json::{Value, json};

use super::answer::{Answer, plural};
use super::args::{Cli, Samples, Select};
use super::failure::{Exit, Failure};
use super::job::{Job, pass_failure};
use super::match_::node_label;
use super::{load, quantize};

/// Places quantizers as the target has them, and says at which of them the selector stands.
pub(crate) fn run(args: &Select, cli: &Cli) -> Result<Answer, Failure> {
    let selector = Selector::parse(&args.selector).map_err(|error| {
        Failure::new(Exit::Usage, "bad_selector", format!("in `{}`, {error}", args.selector))
            .hint(error.hint)
    })?;
    let standard = quantize::of_target(&args.target, Path::new(""))?;
    // Whether ranges were brought together changes nothing of what there is.
    let mut recipe = Standard { equalize: false, ..standard }.recipe();
    let place = recipe.passes.iter().position(|step| matches!(step, Step::Place(_)));
    recipe.passes.truncate(place.map_or(recipe.passes.len(), |at| at + 1));
    let pipeline = pipeline_of(recipe.clone())?;
    let job = Job {
        model: &args.model,
        samples: &Samples { calib: None, samples: None, batch: 1, map: Vec::new() },
        samples_needed: false,
        patterns: &args.patterns.files,
        pipeline: None,
        reads: Vec::new(),
        outputs: Vec::new(),
        report: None,
        journal: None,
        engine: None,
        checkpoints: None,
    };
    let model = load::model(&args.model, cli)?;
    let state = job.ran_on(model.clone(), &pipeline, cli)?.state;
    let selection = selector.of(&state).and_then(|selection| selection.sites());
    let selected = selection
        .map_err(|error| pass_failure(&PassError::Select(error)).at(args.model.display()))?;
    // What operators read is not what they give: `Only` keeps the one, most steps work on the other.
    recipe.passes.push(Step::Only(Only { select: selector }));
    let only = pipeline_of(recipe)?;
    let kept = match job.ran_on(model, &only, cli) {
        Ok(ran) => Some(ran.state),
        Err(failure) if failure.code == "selects_nothing" => None,
        Err(failure) => return Err(failure),
    };
    let kept: Vec<String> = kept.iter().flat_map(enabled).collect();
    Ok(answer(args, &state, &selected, &kept))
}

fn pipeline_of(recipe: Recipe) -> Result<Pipeline, Failure> {
    recipe.pipeline().map_err(|error| Failure::new(Exit::Invalid, error.code(), &error))
}

/// The names of the values that are quantized.
fn enabled(state: &State) -> Vec<String> {
    let name = |value| state.model.graph.value(value).name().to_owned();
    state.plan.enabled().map(|(value, _)| name(value)).collect()
}

/// How many names are told.
const TOLD: usize = 8;

/// Some names and how many more there are.
fn some(names: &[String]) -> String {
    let told = names.iter().take(TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let more = names.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", told.join(", "))
}

/// A site of a selection.
struct Row {
    value: String,
    role: String,
    dtype: String,
    /// What computes it, or the first of those that read it.
    node: Option<String>,
}

impl Row {
    fn of(state: &State, value: ValueId) -> Option<Row> {
        let Site { value: name, role, dtype, .. } = Site::of(state, value)?;
        let node = node(&state.model.graph, value);
        Some(Row { value: name, role, dtype, node })
    }
}

fn node(graph: &Graph, value: ValueId) -> Option<String> {
    let producer = graph.producer(value).map(|(node, _)| node);
    let reader = || graph.uses(value).first().map(|reader| reader.node);
    producer.or_else(reader).map(|node| node_label(graph, node))
}

fn answer(args: &Select, state: &State, selected: &[ValueId], kept: &[String]) -> Answer {
    let rows: Vec<Row> = selected.iter().filter_map(|&value| Row::of(state, value)).collect();
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let names = width(|row| &row.value).unwrap_or(0);
    let types = width(|row| &row.dtype).unwrap_or(0);
    let mut text = String::new();
    for Row { value, role, dtype, node } in &rows {
        let node = node.as_deref().unwrap_or("input of the model");
        writeln!(text, "{role:10}  {dtype:types$}  {value:names$}  {node}")
            .expect("a string takes any text");
    }
    let all = state.plan.sites().count();
    writeln!(text, "{} of {} for {}", rows.len(), plural(all, "site"), state.policy.name)
        .expect("a string takes any text");
    let only = match kept {
        [] => "nothing".to_owned(),
        names => format!("{}, {}", plural(names.len(), "site"), some(names)),
    };
    writeln!(text, "`Only` and `quantize --select` keep what it reads: {only}")
        .expect("a string takes any text");
    let object = |row: &Row| -> Value {
        json!({ "value": row.value, "role": row.role, "dtype": row.dtype, "node": row.node })
    };
    let json = json!({
        "schema_version": 1,
        "selector": args.selector,
        "target": state.policy.name,
        "sites": rows.iter().map(object).collect::<Vec<_>>(),
        "of": all,
        "only": kept,
    });
    Answer::new(text, json)
}
