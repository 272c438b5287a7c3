//! `marquetry explain tensor`: what was decided about one tensor, by whom, and who gets what of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use marquetry_ir::{Graph, Model, ValueId};
use marquetry_pattern::similar::closest;
use marquetry_quant::pass::State;
use marquetry_quant::recipe::Step;
use marquetry_quant::report::Site;
use marquetry_quant::{Explained, Policy, Reason, import};
use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::args::{Cli, ExplainTensor};
use crate::cli::failure::{Exit, Failure};
use crate::cli::job::{Job, pass_failure};
use crate::cli::{load, quantize, report};

/// How many near names are told.
const NEAR: usize = 5;

pub(crate) fn run(args: &ExplainTensor, cli: &Cli) -> Result<Answer, Failure> {
    let path = match (&args.report, &args.model) {
        (Some(report), _) => return of_report(&args.name, report),
        (None, path) => path.as_deref().expect("one of them is given"),
    };
    let model = load::model(path, cli)?;
    if model.graph.nodes().any(|node| is_quantizer(&model.graph, node)) {
        return of_quantized(&args.name, path, &model);
    }
    let calibrated = args.choices.samples.calib.is_some() || args.choices.stats.is_some();
    let mut recipe = quantize::chosen(&args.choices, Path::new("")).map(|one| one.recipe())?;
    recipe.passes.retain(|step| match step {
        Step::Export(_) => false,
        Step::Calibrate(_) | Step::QuantizeBias | Step::Check | Step::Equalize(_) => calibrated,
        Step::SeqMse(_) | Step::Gptq(_) | Step::BiasCorrection(_) => {
            args.choices.samples.calib.is_some()
        }
        _ => true,
    });
    let pipeline =
        recipe.pipeline().map_err(|error| Failure::new(Exit::Invalid, error.code(), &error))?;
    let job = Job {
        model: path,
        samples: &args.choices.samples,
        samples_needed: false,
        patterns: &args.choices.patterns.files,
        reads: Vec::new(),
        outputs: Vec::new(),
        report: None,
        journal: None,
        pipeline: None,
        engine: None,
        checkpoints: None,
    };
    let state = job.ran_on(model.clone(), &pipeline, cli)?.state;
    let mut answer = match state.model.graph.find(&args.name) {
        Some(value) => answer(&Explained::of(&state, value)),
        None if model.graph.find(&args.name).is_some() => {
            gone(&args.name, "a step before quantizers are placed folds it into another tensor")
        }
        None => return Err(unknown(&args.name, &model, path)),
    };
    if !calibrated {
        answer.note("nothing was calibrated: give `--calib` for ranges and for biases");
    }
    Ok(answer)
}

fn is_quantizer(graph: &Graph, node: marquetry_ir::NodeId) -> bool {
    matches!(graph.node(node).op_type.as_str(), "QuantizeLinear" | "DequantizeLinear")
}

/// The encodings that a quantized model says.
fn of_quantized(asked: &str, path: &Path, model: &Model) -> Result<Answer, Failure> {
    let imported = import::qdq(model).map_err(|error| pass_failure(&error).at(path.display()))?;
    // What remains is the float model; whose policy made it, nobody knows.
    let policy = Policy::open("ort-cpu").expect("the policy is shipped");
    let mut state = State::new(imported.model, policy);
    state.plan = imported.plan;
    let float = &state.model.graph;
    let found = match (float.find(asked), model.graph.find(asked)) {
        (Some(value), _) => Some(value),
        (None, Some(value)) => float_of(&model.graph, float, value),
        (None, None) => return Err(unknown(asked, model, path)),
    };
    let mut answer = match found {
        Some(value) => {
            let mut explained = Explained::of(&state, value);
            if explained.quantizer.is_none() {
                let what = "no QuantizeLinear and no DequantizeLinear stands at it";
                explained.left_alone = vec![Reason::new("the model", what)];
            }
            let mut answer = answer(&explained);
            if explained.value != asked {
                answer
                    .note(format!("`{}` belongs to the quantizer of `{}`", asked, explained.value));
            }
            answer
        }
        None => gone(asked, "it is part of quantizers"),
    };
    imported.notes.iter().for_each(|note| answer.note(note.clone()));
    Ok(answer)
}

/// The float value that a value of a quantized model stands for: itself, or that at the other side of
/// the quantizer that it belongs to.
fn float_of(quantized: &Graph, float: &Graph, asked: ValueId) -> Option<ValueId> {
    let mut waiting = vec![asked];
    let mut seen = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        if !seen.insert(value) {
            continue;
        }
        // Taking a model apart removes values and renames stored ones, and adds none.
        if float.has_value(value) {
            return Some(value);
        }
        let before = quantized.producer(value).map(|(node, _)| node);
        let behind = quantized.uses(value).into_iter().map(|reader| reader.node);
        for node in behind.chain(before).filter(|&node| is_quantizer(quantized, node)) {
            waiting.extend(quantized.output(node, 0));
            waiting.extend(quantized.input(node, 0));
        }
    }
    None
}

/// A tensor that is not there any more when quantizers are placed.
fn gone(name: &str, why: &str) -> Answer {
    let text = format!("{name}\n  has no quantizer: {why}\n");
    let json = json!({ "schema_version": 1, "value": name, "quantizer": null, "gone": why });
    Answer::new(text, json)
}

/// What a report says of it.
fn of_report(name: &str, path: &Path) -> Result<Answer, Failure> {
    let report = report::read(path)?;
    let because = |reasons: &[Reason]| -> String {
        let told = reasons.iter().map(|reason| format!("    {reason}\n")).collect::<String>();
        if told.is_empty() { told } else { format!("  because:\n{told}") }
    };
    if let Some(tensor) = report.tensors.iter().find(|tensor| tensor.site.value == name) {
        let site = &tensor.site;
        let mut text = format!("{name}\n  quantizer: {}\n", described(site));
        let mut line = |content: String| {
            writeln!(text, "  {content}").expect("a string takes any text");
        };
        if let Some(db) = tensor.own_sqnr_db {
            line(format!("rounding and clipping it alone leave {db:.1} dB"));
        }
        if !site.tied_to.is_empty() {
            line(format!("one encoding with: {}", site.tied_to.join(", ")));
        }
        if !site.readers.is_empty() {
            line(format!("read quantized by: {}", site.readers.join(", ")));
        }
        if site.float_readers > 0 {
            line(format!("read as it is by {} more", site.float_readers));
        }
        text += &because(&site.because);
        let quantizer = serde_json::to_value(tensor).expect("a tensor is plain data");
        let json = json!({ "schema_version": 1, "value": name, "quantizer": quantizer });
        return Ok(Answer::new(text, json));
    }
    let floats = report.in_float.iter().find(|group| group.values.iter().any(|it| it == name));
    if let Some(group) = floats {
        let text = format!("{name}\n  no quantizer\n{}", because(&group.because));
        let left_alone = serde_json::to_value(&group.because).expect("reasons are plain data");
        let json = json!({
            "schema_version": 1, "value": name, "quantizer": null, "left_alone": left_alone,
        });
        return Ok(Answer::new(text, json));
    }
    let quantized = report.tensors.iter().map(|tensor| tensor.site.value.as_str());
    let floats = report.in_float.iter().flat_map(|group| &group.values).map(String::as_str);
    let message = format!("the report says nothing of `{name}`");
    let failure = Failure::new(Exit::Usage, "unknown_tensor", message).at(path.display());
    Err(failure.hint(near(name, quantized.chain(floats).collect()).unwrap_or_else(|| {
        format!("ask the model: `marquetry explain tensor {name} {}`", report.float.path)
    })))
}

fn unknown(name: &str, model: &Model, path: &Path) -> Failure {
    let graph = &model.graph;
    let names: Vec<&str> = graph.values().map(|value| graph.value(value).name()).collect();
    let message = format!("there is no tensor `{name}`");
    let hint = near(name, names).unwrap_or_else(|| {
        format!("`marquetry print {}` shows the names there are", path.display())
    });
    Failure::new(Exit::Usage, "unknown_tensor", message).at(path.display()).hint(hint)
}

/// The names that could be meant, in a sentence.
fn near(name: &str, names: Vec<&str>) -> Option<String> {
    let lower = name.to_lowercase();
    let contains = |known: &&&str| !lower.is_empty() && known.to_lowercase().contains(&lower);
    let mut near: Vec<&str> = closest(name, names.iter().copied()).into_iter().collect();
    for known in names.iter().filter(contains) {
        if !near.contains(known) {
            near.push(known);
        }
    }
    near.truncate(NEAR);
    match near.as_slice() {
        [] => None,
        [near] => Some(format!("did you mean `{near}`?")),
        near => Some(format!("did you mean one of `{}`?", near.join("`, `"))),
    }
}

fn answer(explained: &Explained) -> Answer {
    let mut text = format!("{}: {}\n", explained.value, explained.origin);
    let mut line = |content: String| writeln!(text, "{content}").expect("a string takes any text");
    match &explained.quantizer {
        Some(site) => {
            let state = if site.enabled { "quantizer" } else { "quantizer, which is off" };
            line(format!("  {state}: {}", described(site)));
            if !site.tied_to.is_empty() {
                line(format!("  one encoding with: {}", site.tied_to.join(", ")));
            }
        }
        None => match &explained.grid_of {
            Some(source) => {
                line(format!("  no quantizer of its own: it has the encoding of `{source}`"));
            }
            None => line("  no quantizer".to_owned()),
        },
    }
    if let Some(range) = explained.fixed_range {
        line(format!("  fixed range: {range}"));
    }
    let kind = |quantized| if quantized { "quantized" } else { "as it is" };
    if !explained.readers.is_empty() || explained.output {
        line("  read by:".to_owned());
    }
    for reader in &explained.readers {
        let input = reader.input.map_or("in a body".to_owned(), |slot| format!("input {slot}"));
        line(format!("    {}, {input}: {}", reader.node, kind(reader.quantized)));
    }
    if explained.output {
        line(format!("    output of the model: {}", kind(explained.output_quantized)));
    }
    let because = explained.quantizer.iter().flat_map(|site| &site.because);
    let because: Vec<&Reason> = explained.left_alone.iter().chain(because).collect();
    if !because.is_empty() {
        line("  because:".to_owned());
    }
    because.into_iter().for_each(|reason| line(format!("    {reason}")));
    let mut json = serde_json::to_value(explained).expect("what is explained is plain data");
    json["schema_version"] = Value::from(1);
    Answer::new(text, json)
}

/// What a quantizer is, and what it became.
fn described(site: &Site) -> String {
    let symmetry = if site.symmetric { "symmetric" } else { "asymmetric" };
    let mut text =
        format!("{} of type {}, {symmetry}, {}", site.role, site.dtype, site.granularity);
    match site.scales {
        Some((low, high)) if low == high => text += &format!(", scale {low:.6e}"),
        Some((low, high)) => text += &format!(", scales {low:.6e} to {high:.6e}"),
        None => {}
    }
    if let Some(zero) = site.zero_point {
        text += &format!(", zero point {zero}");
    }
    if let Some((low, high)) = site.observed {
        text += &format!(", observed {low} to {high}");
    }
    text
}
