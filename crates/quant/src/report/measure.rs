//! What only running shows: how far values are off, and how they are distributed.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_engine::Flow;
use marquetry_ir::{Graph, Kind, Model, Tensor, ValueId};

use super::distance::{Distance, Tally, failed, swept};
use super::layers;
use super::tensors::Seen;
use crate::pass::{Context, PassError, Progress, State, lowered_plan};
use crate::plan::Role;

/// Bytes of the tensors of one sample that are kept to be compared.
const KEPT: usize = 1 << 30;

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How many samples were run.
    pub samples: usize,
    /// How far the outputs are from those of the float model.
    pub outputs: Vec<Distance>,
    /// How far what layers read and give is.
    pub(super) values: BTreeMap<ValueId, Distance>,
    /// What quantized activations are in float.
    pub(super) seen: BTreeMap<ValueId, Seen>,
    /// Values that were not compared because there was no room for them.
    pub(super) left_out: BTreeSet<ValueId>,
}

/// Runs the first samples through the float model and a quantized one, and compares what every layer
/// gives.
///
/// Memory is that of the tensors between layers for one sample, 1 GiB at most; what is beyond is left
/// out and counted.
///
/// # Errors
///
/// When a sample cannot be read, or one of the models cannot be run on it.
pub fn measure(
    state: &State,
    quantized: &Model,
    cx: &Context<'_>,
    count: usize,
) -> Result<Measured, PassError> {
    // The values of a pass that rounds weights are those of the model before it.
    let graph = &state.float().graph;
    let count = count.min(cx.samples.count());
    let types = marquetry_ir::infer::run(&state.model);
    let plan = lowered_plan(state)?;
    let of_model = &state.model.graph;
    let here = |value: ValueId| graph.find(of_model.value(value).name());
    let mut seen: BTreeMap<ValueId, Seen> = BTreeMap::new();
    let main = |value: ValueId| state.plan.spot(value).is_none();
    for (value, site) in state.plan.enabled().filter(|(_, site)| site.role == Role::Activation) {
        if let (Some(encoding), Some(value), true) = (&site.encoding, here(value), main(value)) {
            seen.insert(value, Seen::new(encoding.clone()));
        }
    }
    let layers = layers::of(state, &types, &plan);
    let wanted = layers.iter().flat_map(|layer| layer.inputs.iter().chain(&layer.outputs));
    let wanted = wanted.copied().filter_map(here).chain(graph.outputs.iter().copied());
    // By the values of the quantized model: those of the float one.
    let mut pairs: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for value in wanted.filter(|&value| computed(graph, value)) {
        let same = quantized.graph.find(graph.value(value).name());
        if let Some(other) = same.filter(|&other| computed(&quantized.graph, other)) {
            pairs.insert(other, value);
        }
    }
    let mut tallies: BTreeMap<ValueId, Tally> = BTreeMap::new();
    for &value in pairs.values() {
        tallies.insert(value, Tally::new(graph.value(value).name(), graph.is_output(value)));
    }

    let float = tallies.keys().chain(seen.keys()).copied().collect();
    let mut sweep_float = swept(cx.engine, graph, float)?;
    let found = pairs.keys().copied().collect();
    let mut sweep_quantized = swept(cx.engine, &quantized.graph, found)?;
    let mut left_out: BTreeSet<ValueId> = BTreeSet::new();
    for index in 0..count {
        cx.go_on()?;
        let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
        let mut kept: BTreeMap<ValueId, Tensor> = BTreeMap::new();
        let mut bytes = 0;
        let mut keep = |value: ValueId, tensor: &Tensor| {
            if !tensor.dtype().is_float() {
                return Flow::Continue;
            }
            if let Some(seen) = seen.get_mut(&value) {
                seen.add(tensor);
            }
            if tallies.contains_key(&value) && !left_out.contains(&value) {
                bytes += tensor.bytes().len();
                if bytes <= KEPT {
                    kept.insert(value, tensor.clone());
                } else {
                    left_out.insert(value);
                }
            }
            Flow::Continue
        };
        sweep_float.run(&sample, &mut keep).map_err(|source| failed(Some(index), source))?;
        let mut compare = |value: ValueId, tensor: &Tensor| {
            if let Some((value, expected)) =
                pairs.get(&value).and_then(|value| kept.remove_entry(value))
                && let Some(tally) = tallies.get_mut(&value)
            {
                tally.add(&expected, tensor);
            }
            Flow::Continue
        };
        sweep_quantized.run(&sample, &mut compare).map_err(|source| failed(Some(index), source))?;
        (cx.progress)(Progress { pass: "report", done: index + 1, total: Some(count) });
    }
    // Values go by the model whose plan it is.
    let back: BTreeMap<ValueId, ValueId> =
        of_model.values().filter_map(|value| Some((here(value)?, value))).collect();
    let back = |value: ValueId| back.get(&value).copied();
    let outputs = graph.outputs.iter().filter_map(|output| tallies.get(output));
    Ok(Measured {
        samples: count,
        outputs: outputs.map(Tally::distance).collect(),
        values: tallies
            .iter()
            .filter(|(value, _)| !left_out.contains(value))
            .filter_map(|(&value, tally)| Some((back(value)?, tally.distance())))
            .collect(),
        left_out: left_out.iter().filter_map(|&value| back(value)).collect(),
        seen: seen.into_iter().filter_map(|(value, seen)| Some((back(value)?, seen))).collect(),
    })
}

fn computed(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).kind == Kind::Computed && graph.producer(value).is_some()
}
