//! Parts of a plan that can be on alone, or off alone: what a ranking by sensitivity measures.

use std::collections::BTreeMap;

use marquetry_ir::{Graph, Model, NodeId, Use, ValueId};
use marquetry_matcher::{Groups, PlaceId};

use crate::Plan;
use crate::kernel::label;
use crate::pass::State;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What one group, or one operator outside of groups, gets quantized.
    Layer,
    /// One value, with all its readers.
    Tensor,
}

/// A part of a plan.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is called: a group and its anchor, an operator, or a value.
    pub name: String,
    /// Who reads which value quantized.
    readers: BTreeMap<ValueId, Vec<Use>>,
    /// The outputs of the graph that it quantizes.
    outputs: Vec<ValueId>,
}

impl Part {
    fn new(name: String) -> Part {
        Part { name, readers: BTreeMap::new(), outputs: Vec::new() }
    }

    /// The values that the part quantizes for one reader at least, in order.
    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        let mut values: Vec<ValueId> = self.readers.keys().copied().collect();
        values.extend(&self.outputs);
        values.sort_unstable();
        values.dedup();
        values.into_iter()
    }

    /// The plan with this part alone.
    pub fn alone(&self, plan: &Plan) -> Plan {
        self.kept(plan, true)
    }

    /// The plan without this part.
    pub fn left_out(&self, plan: &Plan) -> Plan {
        self.kept(plan, false)
    }

    fn kept(&self, plan: &Plan, mine: bool) -> Plan {
        let mut plan = plan.clone();
        for (value, site) in plan.sites_mut() {
            let own = self.readers.get(&value);
            site.readers.retain(|one| own.is_some_and(|own| own.contains(one)) == mine);
            site.output &= self.outputs.contains(&value) == mine;
            site.enabled &= site.output || !site.readers.is_empty();
        }
        plan
    }
}

/// The model of a state as it would be if only what the plan quantizes were: weights that are rounded, and
/// biases that make up for it, are what they were where the plan has their weights in float.
pub fn model(state: &State, plan: &Plan) -> Model {
    let mut model = state.model.clone();
    // What was changed twice was first what the first change found.
    for changed in state.changed.iter().rev() {
        if !plan.get(changed.weight).is_some_and(|site| site.enabled) {
            changed.undo(&mut model.graph);
        }
    }
    model
}

/// The parts of a plan, in order of the nodes or of the values.
///
/// A layer has what its nodes read quantized, and the outputs of the graph that they compute: the
/// same value is quantized for one reader, and as it is for another.
pub fn parts(state: &State, plan: &Plan, by: By) -> Vec<Part> {
    let graph = &state.model.graph;
    let layers = Layers::of(&state.groups, graph);
    // By the first node of a layer, or by the value; an input that is an output has no node.
    let mut parts: BTreeMap<(bool, usize), Part> = BTreeMap::new();
    let start = |key: Key| match key {
        Key::Value(value) => ((true, value.index()), graph.value(value).name().to_owned()),
        Key::Node(node) => {
            let (first, name) = layers.name(graph, node);
            ((false, first), name)
        }
    };
    for (value, site) in plan.enabled() {
        for &reader in &site.readers {
            let key = match by {
                By::Layer => Key::Node(reader.node),
                By::Tensor => Key::Value(value),
            };
            let (at, name) = start(key);
            let part = parts.entry(at).or_insert_with(|| Part::new(name));
            part.readers.entry(value).or_default().push(reader);
        }
        if site.output {
            let key = match (by, graph.producer(value)) {
                (By::Layer, Some((node, _))) => Key::Node(node),
                _ => Key::Value(value),
            };
            let (at, name) = start(key);
            parts.entry(at).or_insert_with(|| Part::new(name)).outputs.push(value);
        }
    }
    parts.into_values().collect()
}

enum Key {
    Node(NodeId),
    Value(ValueId),
}

/// The outermost group of every node.
pub(crate) struct Layers {
    names: Vec<(usize, String)>,
    of_node: Vec<Option<usize>>,
}

impl Layers {
    pub(crate) fn of(groups: &Groups, graph: &Graph) -> Layers {
        let mut layers = Layers { names: Vec::new(), of_node: vec![None; graph.node_bound()] };
        // Outer groups come first.
        for group in groups.within(PlaceId::MAIN) {
            let first = group.nodes.iter().map(|node| node.index()).min().unwrap_or_default();
            let name = format!("{} at {}", group.pattern, label(graph, group.anchor));
            for node in &group.nodes {
                layers.of_node[node.index()].get_or_insert(layers.names.len());
            }
            layers.names.push((first, name));
        }
        layers
    }

    /// The number of the outermost group of a node, in the order of the groups.
    pub(crate) fn group(&self, node: NodeId) -> Option<usize> {
        self.of_node[node.index()]
    }

    /// The number by which a layer is ordered, and its name.
    pub(crate) fn name(&self, graph: &Graph, node: NodeId) -> (usize, String) {
        match self.of_node[node.index()] {
            Some(at) => self.names[at].clone(),
            None => (node.index(), label(graph, node)),
        }
    }
}
