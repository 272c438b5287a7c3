//! Puts a report together.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Model, Slot, Use, ValueId};
use marquetry_matcher::{Group, PlaceId};

use super::distance::Distance;
use super::tensors::{self, Seen};
use super::{
    Bars, Completeness, Counts, Curve, FORMAT, File, FloatKernel, Found, InFloat, Lacking, Layer,
    Measured, NearMisses, Pass, Place, Report, SCHEMA_VERSION, Site, Tensor, layers,
};
use crate::encodings::{self, State as Presence};
use crate::explain::overlooked;
use crate::kernel::{DATA, SUMS, WEIGHT, label};
use crate::observer::Statistics;
use crate::pass::{self, PassError, State, lowered_plan, read_constant};
use crate::plan::{Plan, Quantizer, Reason, Role};

/// How many nodes, values or tensors of one kind are named.
const NAMED: usize = 50;

/// What only the caller knows of a run.
#[derive(Debug)]
pub struct About<'a> {
    /// What writes the report, with its version.
    pub tool: String,
    /// The command line.
    pub command: Vec<String>,
    /// The pipeline, in RON.
    pub pipeline: String,
    /// The float model.
    pub float: File,
    /// The quantized model with its file, if one was written.
    pub quantized: Option<(File, &'a Model)>,
    /// Where patterns are declared.
    pub declared: BTreeMap<String, Place>,
    /// Where patterns almost match.
    pub near_misses: NearMisses,
    /// What the user should know of the run as a whole.
    pub notes: Vec<String>,
}

impl Report {
    /// The report of a run.
    ///
    /// # Errors
    ///
    /// When the graph has a cycle.
    pub fn of(state: &State, measured: &Measured, about: About<'_>) -> Result<Report, PassError> {
        let types = infer::run(&state.model);
        let plan = lowered_plan(state)?;
        let (layers, layers_left_out) = layers_of(state, &types, &plan, measured);
        let float_kernels = float_kernels(state, &types, &plan);
        let mut counts = counts(&state.model.graph, &state.plan);
        counts.layers_left_out = layers_left_out;
        counts.integer_kernels = counts.kernels - float_kernels.len();
        if let Some((_, model)) = &about.quantized {
            let graph = &model.graph;
            let of = |op: &str| graph.nodes().filter(|&node| graph.node(node).is_onnx(op)).count();
            (counts.quantize, counts.dequantize) = (of("QuantizeLinear"), of("DequantizeLinear"));
        }
        Ok(Report {
            format: FORMAT.to_owned(),
            schema_version: SCHEMA_VERSION,
            tool: about.tool,
            command: about.command,
            pipeline: about.pipeline,
            target: state.policy.name.clone(),
            float: about.float,
            quantized: about.quantized.map(|(file, _)| file),
            counts,
            samples: measured.samples,
            outputs: measured.outputs.iter().cloned().map(rounded).collect(),
            layers,
            tensors: tensors(state, &types, &infer::run(state.float()), measured),
            curves: state
                .curves
                .iter()
                .filter_map(|seen| curve(&state.model.graph, seen))
                .collect(),
            groups: groups(state, &about.declared),
            near_misses: about.near_misses,
            float_kernels,
            in_float: in_float(state),
            completeness: completeness(state, &types, &plan),
            passes: state.summaries.iter().map(pass).collect(),
            notes: about.notes,
        })
    }
}

fn pass(summary: &pass::Summary) -> Pass {
    Pass {
        pass: summary.pass.clone(),
        done: summary.done.clone(),
        notes: summary.notes.clone(),
        seconds: (summary.took.as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

fn counts(graph: &Graph, plan: &Plan) -> Counts {
    let sums = |node: &marquetry_ir::NodeId| SUMS.iter().any(|op| graph.node(*node).is_onnx(op));
    let mut counts = Counts { kernels: graph.nodes().filter(sums).count(), ..Counts::default() };
    for (_, site) in plan.enabled() {
        match site.role {
            Role::Activation => counts.activations += 1,
            Role::Weight => counts.weights += 1,
            Role::Bias { .. } => counts.biases += 1,
        }
    }
    counts
}

/// Layers by what they add, and how many could not be compared.
fn layers_of(
    state: &State,
    types: &Types,
    plan: &Plan,
    measured: &Measured,
) -> (Vec<Layer>, usize) {
    let mut left_out = 0;
    let worst = |values: &[ValueId]| {
        let known = values.iter().filter_map(|value| measured.values.get(value));
        // The first of equal ones.
        known.reduce(|a, b| if b.noise() > a.noise() { b } else { a })
    };
    let mut found = Vec::new();
    for layer in layers::of(state, types, plan) {
        let Some(output) = worst(&layer.outputs) else {
            left_out +=
                usize::from(layer.outputs.iter().any(|output| measured.left_out.contains(output)));
            continue;
        };
        let input = worst(&layer.inputs);
        let before = input.map_or(0.0, Distance::noise);
        found.push(Layer {
            name: layer.name,
            pattern: layer.pattern,
            position: layer.position,
            nodes: layer.nodes,
            input_sqnr_db: input.and_then(|input| input.sqnr_db).map(decibels),
            added: significant((output.noise() - before).max(0.0), 4),
            output: rounded(output.clone()),
        });
    }
    found.sort_by(|a, b| b.added.total_cmp(&a.added).then(a.position.cmp(&b.position)));
    (found, left_out)
}

fn tensors(state: &State, types: &Types, float: &Types, measured: &Measured) -> Vec<Tensor> {
    let sites = state.plan.enabled();
    sites
        .filter_map(|(value, quantizer)| {
            let site = Site::of(state, value)?;
            let range = quantizer.encoding.as_ref().and_then(|encoding| {
                let cells = 0..encoding.cells.len();
                let low = cells.clone().map(|cell| encoding.min(cell)).reduce(f64::min)?;
                let high = cells.map(|cell| encoding.max(cell)).reduce(f64::max)?;
                Some((significant(low, 6), significant(high, 6)))
            });
            let tensor = Tensor {
                site,
                shape: Vec::new(),
                range,
                own_sqnr_db: None,
                clipped: None,
                histogram: None,
                channels: None,
            };
            Some(match quantizer.role {
                Role::Activation => activation(tensor, state, value, measured),
                Role::Weight | Role::Bias { .. } => {
                    constant(tensor, state, (types, float), value, quantizer)
                }
            })
        })
        .collect()
}

fn activation(tensor: Tensor, state: &State, value: ValueId, measured: &Measured) -> Tensor {
    let seen = measured.seen.get(&value);
    // Calibration has seen all samples.
    let calibrated = match state.statistics.get(&value) {
        Some(Statistics::Histogram(histogram)) => tensors::bars(histogram),
        _ => None,
    };
    Tensor { histogram: calibrated.or_else(|| seen.and_then(Seen::bars)), ..costs(tensor, seen) }
}

fn constant(
    tensor: Tensor,
    state: &State,
    (types, float): (&Types, &Types),
    value: ValueId,
    quantizer: &Quantizer,
) -> Tensor {
    let (Some(encoding), Ok((dims, rounded))) =
        (&quantizer.encoding, read_constant(&state.model.graph, types, value))
    else {
        return tensor;
    };
    // What it was before a pass rounded it for its layer.
    let before = || {
        let graph = &state.original.as_ref()?.graph;
        let value = graph.find(state.model.graph.value(value).name())?;
        let (same, data) = read_constant(graph, float, value).ok()?;
        (same == dims).then_some(data)
    };
    let before = before();
    let data: &[f32] = before.as_deref().unwrap_or(&rounded);
    let mut seen = Seen::new(encoding.clone());
    let fits = seen.add_rounded(&dims, data, &rounded).is_ok();
    let channels = match quantizer.role {
        Role::Weight => tensors::channels(&dims, data, encoding).ok().flatten(),
        _ => None,
    };
    let channels = channels.map(|mut channels| {
        let ends = [&mut channels.min, &mut channels.max, &mut channels.low, &mut channels.high];
        ends.into_iter().flatten().for_each(|end| *end = significant(*end, 5));
        channels
    });
    let histogram: Option<Bars> = if quantizer.role == Role::Weight { seen.bars() } else { None };
    let tensor = Tensor { shape: dims, channels, histogram, ..tensor };
    costs(tensor, fits.then_some(&seen))
}

fn costs(tensor: Tensor, seen: Option<&Seen>) -> Tensor {
    Tensor {
        own_sqnr_db: seen.and_then(Seen::sqnr).map(decibels),
        clipped: seen.and_then(Seen::clipped).map(|share| significant(share, 4)),
        ..tensor
    }
}

/// Losses over all scales; nothing where they are no finite numbers.
fn curve(graph: &Graph, seen: &pass::Curve) -> Option<Curve> {
    let losses: Vec<f64> = seen.losses.iter().map(|losses| losses.iter().sum()).collect();
    if losses.is_empty() || losses.iter().any(|loss: &f64| !loss.is_finite()) {
        return None;
    }
    let whole = losses[losses.len() - 1];
    let relative = whole > 0.0 && losses.iter().all(|&loss| loss >= 0.0);
    let unit = if relative { whole } else { 1.0 };
    let mut chosen = vec![0; losses.len()];
    seen.best.iter().for_each(|&best| {
        if let Some(count) = chosen.get_mut(best) {
            *count += 1;
        }
    });
    Some(Curve {
        weight: graph.value(seen.weight).name().to_owned(),
        losses: losses.iter().map(|loss| significant(loss / unit, 5)).collect(),
        relative,
        chosen,
    })
}

fn groups(state: &State, declared: &BTreeMap<String, Place>) -> Vec<Found> {
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    for group in &state.groups.groups {
        let entry = found.entry(&group.pattern).or_insert_with(|| Found {
            pattern: group.pattern.clone(),
            declared: declared.get(&group.pattern).cloned(),
            count: 0,
            nested: 0,
            nodes: 0,
            at: Vec::new(),
        });
        entry.count += 1;
        entry.nested += usize::from(group.parent.is_some());
        entry.nodes += group.nodes.len();
        if entry.at.len() < NAMED {
            let graph = state.groups.graph(&state.model, group.place);
            entry.at.push(label(graph, group.anchor));
        }
    }
    found.into_values().collect()
}

/// Kernels that read one of their factors in float, with the reasons of the first such factor.
fn float_kernels(state: &State, types: &Types, plan: &Plan) -> Vec<FloatKernel> {
    let graph = &state.model.graph;
    let quantized: BTreeSet<Use> =
        plan.enabled().flat_map(|(_, site)| site.readers.iter().copied()).collect();
    let mut kernels = Vec::new();
    for node in graph.nodes().filter(|&node| SUMS.iter().any(|op| graph.node(node).is_onnx(op))) {
        let float = [DATA, WEIGHT].into_iter().find_map(|slot| {
            let slot_id = Slot::Input(u32::try_from(slot).ok()?);
            let reader = Use { node, slot: slot_id };
            if quantized.contains(&reader) { None } else { graph.input(node, slot) }
        });
        if let Some(value) = float {
            kernels.push(FloatKernel {
                node: label(graph, node),
                value: graph.value(value).name().to_owned(),
                because: because(state, types, value),
            });
        }
    }
    kernels
}

/// Why a value is as it is.
fn because(state: &State, types: &Types, value: ValueId) -> Vec<Reason> {
    let reasons: Vec<Reason> = state.plan.explain(value).into_iter().cloned().collect();
    if reasons.is_empty() { vec![overlooked(state, types, value)] } else { reasons }
}

/// Reasons without the place of a group, so that those of many groups are the same.
pub(super) fn general(reasons: &[Reason]) -> Vec<Reason> {
    let one = |reason: &Reason| match reason.source.split_once(" at ") {
        Some((source, _)) if source.starts_with("group ") => Reason::new(source, &reason.what),
        _ => reason.clone(),
    };
    reasons.iter().map(one).collect()
}

fn in_float(state: &State) -> Vec<InFloat> {
    let graph = &state.model.graph;
    let name = |value: ValueId| graph.value(value).name().to_owned();
    let mut by_reason: BTreeMap<Vec<Reason>, Vec<String>> = BTreeMap::new();
    for (value, reasons) in state.plan.left_alone() {
        by_reason.entry(general(reasons)).or_default().push(name(value));
    }
    for (value, site) in state.plan.sites().filter(|(_, site)| !site.enabled) {
        by_reason.entry(general(&site.because)).or_default().push(name(value));
    }
    let mut found: Vec<InFloat> = by_reason
        .into_iter()
        .map(|(because, mut values)| {
            let count = values.len();
            values.truncate(NAMED);
            InFloat { because, count, values }
        })
        .collect();
    // The sort is stable: equal counts stay in order of the reasons.
    found.sort_by_key(|one| std::cmp::Reverse(one.count));
    found
}

fn completeness(state: &State, types: &Types, plan: &Plan) -> Option<Completeness> {
    let rules = state.policy.everywhere()?;
    let graph = &state.model.graph;
    let found = encodings::completeness(graph, types, plan);
    let one_operator =
        |group: &&Group| rules.groups.iter().any(|rule| rule.pattern == group.pattern);
    let inside: BTreeSet<ValueId> = state
        .groups
        .within(PlaceId::MAIN)
        .filter(one_operator)
        .flat_map(|group| group.interior.iter().copied())
        .collect();
    let without = found.tensors.iter().filter(|tensor| tensor.state == Presence::Missing);
    let without = without.filter_map(|tensor| Some((tensor, graph.find(&tensor.name)?)));
    let missing: Vec<_> = without.filter(|(_, value)| !inside.contains(value)).collect();
    let lacking = missing.iter().take(NAMED).map(|&(tensor, value)| Lacking {
        value: tensor.name.clone(),
        role: tensor.role.to_owned(),
        because: because(state, types, value),
    });
    Some(Completeness {
        present: found.count(Presence::Present),
        derived: found.count(Presence::Derived),
        inside: found.count(Presence::Missing) - missing.len(),
        missing: missing.len(),
        lacking: lacking.collect(),
    })
}

/// More digits say nothing about so few samples.
fn decibels(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn rounded(distance: Distance) -> Distance {
    Distance {
        sqnr_db: distance.sqnr_db.map(decibels),
        max_error: significant(distance.max_error, 6),
        cosine: distance.cosine.map(|cosine| (cosine * 1e7).round() / 1e7),
        ..distance
    }
}

/// A number with so many significant digits.
fn significant(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits - 1).parse().unwrap_or(x)
}
