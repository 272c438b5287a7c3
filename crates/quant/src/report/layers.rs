//! Layers of a plan, with what goes in and out of them.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{NodeId, Slot, ValueId};
use marquetry_matcher::PlaceId;

use crate::Plan;
use crate::pass::State;
use crate::sensitivity::Layers;

/// A layer: an outermost group, or a node outside of groups, that reads or gives quantized values.
pub(super) struct Layer {
    /// The pattern or operator, and the name of the node.
    pub(super) name: String,
    /// The pattern of a group.
    pub(super) pattern: Option<String>,
    /// The place of its first node in the order of the graph.
    pub(super) position: usize,
    /// Its nodes.
    pub(super) nodes: usize,
    /// Floats that are computed elsewhere, or are given.
    pub(super) inputs: Vec<ValueId>,
    /// Floats that others read, or that are outputs of the graph.
    pub(super) outputs: Vec<ValueId>,
}

/// The layers of the main graph, in its order.
pub(super) fn of(state: &State, types: &Types, plan: &Plan) -> Vec<Layer> {
    let graph = &state.model.graph;
    let layers = Layers::of(&state.groups, graph);
    let mut touched: BTreeSet<NodeId> = BTreeSet::new();
    for (value, site) in plan.enabled() {
        touched.extend(site.readers.iter().map(|reader| reader.node));
        if site.output {
            touched.extend(graph.producer(value).map(|(node, _)| node));
        }
    }
    let groups: Vec<_> = state.groups.within(PlaceId::MAIN).collect();
    let position: BTreeMap<NodeId, usize> = graph.nodes().zip(0..).collect();
    let flows = |&value: &ValueId| {
        !types.is_constant(value) && types.dtype(value).is_none_or(|dtype| dtype.is_float())
    };
    let mut found: BTreeMap<usize, Layer> = BTreeMap::new();
    for node in touched {
        let group = layers.group(node).and_then(|at| groups.get(at));
        let nodes: BTreeSet<NodeId> = match group {
            Some(group) => group.nodes.iter().copied().collect(),
            None => BTreeSet::from([node]),
        };
        let first = nodes.iter().filter_map(|node| position.get(node)).min();
        let Some(&first) = first else { continue };
        if found.contains_key(&first) {
            continue;
        }
        let mut inputs: BTreeSet<ValueId> = BTreeSet::new();
        let mut outputs: BTreeSet<ValueId> = BTreeSet::new();
        for &node in &nodes {
            let outside = |value: &ValueId| {
                graph.producer(*value).is_none_or(|(producer, _)| !nodes.contains(&producer))
            };
            inputs.extend(graph.inputs(node).into_iter().flatten().filter(outside).filter(flows));
            let seen = |value: &ValueId| {
                let uses = graph.uses(*value);
                graph.is_output(*value)
                    || uses
                        .iter()
                        .any(|one| one.slot == Slot::Capture || !nodes.contains(&one.node))
            };
            outputs.extend(graph.outputs(node).into_iter().flatten().filter(seen).filter(flows));
        }
        let layer = Layer {
            name: layers.name(graph, node).1,
            pattern: group.map(|group| group.pattern.clone()),
            position: first,
            nodes: nodes.len(),
            inputs: inputs.into_iter().collect(),
            outputs: outputs.into_iter().collect(),
        };
        found.insert(first, layer);
    }
    found.into_values().collect()
}
