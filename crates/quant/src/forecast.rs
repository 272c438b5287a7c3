//! What a pipeline would do to a model, without running a sample.
//!
//! Steps that only look at the model are done, in memory; those that run samples, and those that need
//! what samples show, are asked what they would work on.

use std::collections::BTreeSet;
use std::path::PathBuf;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Dim, Graph, Model, ValueId};
use serde::Serialize;

use crate::export::raise::foreseen;
use crate::flat::Flat;
use crate::layerwise::{Drift, Gram, Layer, levels};
use crate::pass::{Context, Fact, PassError, State};
use crate::select::known_nodes;
use crate::{Granularity, Pipeline};

/// What a pipeline would do to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The policy.
    pub target: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// How much memory it takes.
    pub memory: Memory,
}

/// What a step would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The pass.
    pub pass: String,
    /// Whether it will run samples.
    pub runs_samples: bool,
    /// What it did, where that takes no sample.
    pub done: Option<String>,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
    /// The values that it will work on, where it was left out; those whose quantizers it changed, where
    /// it was done.
    pub touches: Vec<String>,
    /// Files that it reads.
    pub reads: Vec<PathBuf>,
    /// Files that are written for it in the end.
    pub writes: Vec<PathBuf>,
}

/// Bytes that are alive at the same time, as far as shapes are known: dimensions that are not count as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Constants of the model, most of which are mapped and not read at once.
    pub model: u64,
    /// What flows on one sample, where most is alive.
    pub activations: u64,
    /// Statistics of all observed values.
    pub statistics: u64,
    /// Gram matrices of one level of layers, for `SeqMse` and `Gptq`.
    pub gram: u64,
    /// Values whose shape is not known in full, which makes the figures lower bounds.
    pub unknown_shapes: usize,
}

impl Memory {
    /// All together.
    pub fn total(&self) -> u64 {
        let Memory { model, activations, statistics, gram, .. } = *self;
        [model, activations, statistics, gram].into_iter().fold(0, u64::saturating_add)
    }
}

/// Bytes of the statistics of one value: a histogram is the largest of them.
const STATISTICS: u64 = 4096 * 8 + 256;

impl Pipeline {
    /// What the pipeline would do to a model.
    ///
    /// # Errors
    ///
    /// That of the first pass that was done and failed; `InStep` for parameters that
    /// make no sense, and for a selector that selects nothing.
    pub fn forecast(&self, model: Model, cx: &Context<'_>) -> Result<Forecast, PassError> {
        self.check()?;
        let mut state = State::new(model, self.policy().clone());
        let mut left: BTreeSet<Fact> = BTreeSet::new();
        let mut steps = Vec::new();
        let mut memory = Memory::default();
        for (at, pass) in self.passes().enumerate() {
            let ready = pass.requires().iter().all(|fact| left.contains(fact));
            let owned =
                |paths: Vec<&std::path::Path>| paths.into_iter().map(PathBuf::from).collect();
            let mut step = Step {
                pass: pass.name().to_owned(),
                runs_samples: pass.runs_samples(),
                done: None,
                notes: Vec::new(),
                touches: Vec::new(),
                reads: owned(pass.reads()),
                writes: owned(pass.writes()),
            };
            let name = |state: &State, value| state.model.graph.value(value).name().to_owned();
            if ready && !pass.runs_samples() && pass.reads().is_empty() {
                let before = state.plan.clone();
                let summary = pass.run(&mut state, cx).map_err(|error| self.located(at, error))?;
                let changed = state.plan.sites().filter(|(value, site)| {
                    before.get(*value).is_none_or(|old| {
                        (old.enabled, old.because.len()) != (site.enabled, site.because.len())
                    })
                });
                step.touches = changed.map(|(value, _)| name(&state, value)).collect();
                (step.done, step.notes) = (Some(summary.done), summary.notes);
                left.extend(pass.provides());
            } else {
                let touched = pass.touches(&state);
                known_nodes(&state.model.graph, pass.exclude())
                    .map_err(|error| self.located(at, PassError::Select(error)))?;
                if let Some(select) = pass.select().filter(|_| left.contains(&Fact::Sites)) {
                    let selected =
                        select.of(&state).and_then(|selection| selection.enough(touched.len()));
                    selected.map_err(|error| self.located(at, PassError::Select(error)))?;
                }
                match pass.name() {
                    "Calibrate" | "Observe" => {
                        memory.statistics =
                            memory.statistics.max(touched.len() as u64 * STATISTICS);
                    }
                    "SeqMse" | "Gptq" => {
                        let whole = pass.name() == "Gptq";
                        memory.gram = memory.gram.max(gram(&state, &touched, whole));
                    }
                    "Export" => {
                        let types = infer::run(&state.model);
                        step.notes.extend(foreseen(&state.model, &types, &state.plan));
                    }
                    _ => {}
                }
                step.touches = touched.into_iter().map(|value| name(&state, value)).collect();
            }
            steps.push(step);
        }
        let types = infer::run(&state.model);
        memory.model = constants(&state.model.graph);
        (memory.activations, memory.unknown_shapes) = flowing(&state.model.graph, &types);
        Ok(Forecast { target: self.policy().name.clone(), steps, memory })
    }
}

/// Bytes of all constants.
fn constants(graph: &Graph) -> u64 {
    let tensors = graph.values().filter_map(|value| graph.value(value).constant.as_ref());
    tensors.map(|tensor| tensor.dtype().size_of(tensor.len() as u64).unwrap_or(0)).sum()
}

/// The most bytes that flow at the same time, and how many values there are whose shape is not known.
fn flowing(graph: &Graph, types: &Types) -> (u64, usize) {
    let Ok(order) = graph.order() else { return (0, 0) };
    let mut unknown = 0;
    let mut size = |value: ValueId| -> u64 {
        let shape = types.shape(value);
        let known = |dim: &Dim| matches!(dim, Dim::Known(_));
        unknown += usize::from(!shape.is_some_and(|shape| shape.iter().all(known)));
        let length = |dim: &Dim| match dim {
            Dim::Known(length) => u64::try_from(*length).unwrap_or(0),
            _ => 1,
        };
        let count = shape.unwrap_or_default().iter().map(length).fold(1, u64::saturating_mul);
        types.dtype(value).and_then(|dtype| dtype.size_of(count)).unwrap_or(0)
    };
    let mut waiting: Vec<usize> = vec![0; graph.value_bound()];
    graph.values().for_each(|value| {
        let kept = usize::from(graph.is_output(value));
        waiting[value.index()] = graph.use_count(value) + kept;
    });
    let mut sizes: Vec<u64> = vec![0; graph.value_bound()];
    let mut alive: u64 = 0;
    for &value in graph.inputs.iter().filter(|value| graph.initializer(**value).is_none()) {
        sizes[value.index()] = size(value);
        alive = alive.saturating_add(sizes[value.index()]);
    }
    let mut most = alive;
    for node in order {
        for value in graph.outputs(node).into_iter().flatten() {
            sizes[value.index()] = size(value);
            alive = alive.saturating_add(sizes[value.index()]);
        }
        most = most.max(alive);
        for value in graph.inputs(node).into_iter().flatten() {
            let left = &mut waiting[value.index()];
            *left = left.saturating_sub(1);
            if *left == 0 {
                alive = alive.saturating_sub(std::mem::take(&mut sizes[value.index()]));
            }
        }
    }
    (most, unknown)
}

/// Bytes of the Gram matrices of the level that has most: whole ones, or the blocks that scales belong to
/// where whole ones have too many columns.
fn gram(state: &State, weights: &[ValueId], whole: bool) -> u64 {
    let (main, types) = (&state.model.graph, infer::run(&state.model));
    // Where bodies cannot be written out, what is outside of them is counted.
    let flat = Flat::of(main, &types, &state.groups, &state.plan)
        .unwrap_or_else(|_| Flat::closed(main, &types, &state.groups));
    let (graph, types) = (&*flat.graph, &*flat.types);
    let plan = flat.enter(state.plan.clone());
    let weights: BTreeSet<ValueId> = weights.iter().copied().collect();
    let layers: Vec<Layer> = graph
        .nodes()
        .filter_map(|node| Layer::of(graph, types, &plan, node)?.ok())
        .filter(|layer| weights.contains(&layer.weight))
        .collect();
    let Ok(order) = graph.order() else { return 0 };
    let nodes: Vec<_> = layers.iter().map(|layer| layer.node).collect();
    let depths = levels::depths(graph, &order, &nodes);
    let mut of_level: Vec<u64> = vec![0; depths.iter().max().map_or(0, |last| last + 1)];
    for (layer, depth) in layers.iter().zip(depths) {
        let granularity = state.plan.get(layer.weight).map(|site| site.spec.granularity);
        let block = layer.block(granularity.unwrap_or(Granularity::PerTensor));
        let block = if whole || layer.judges_whole(block) { layer.depth } else { block };
        let mut bytes = Gram::bytes(layer.groups, layer.depth, block);
        if whole {
            // Once more for samples kept apart, and behind other layers with what inputs drift by.
            let drift = if depth > 0 { Drift::bytes(layer.groups, layer.depth) } else { 0 };
            bytes = 2 * (bytes + drift);
        }
        of_level[depth] = of_level[depth].saturating_add(bytes);
    }
    of_level.into_iter().max().unwrap_or(0)
}
