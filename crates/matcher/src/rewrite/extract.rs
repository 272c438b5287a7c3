//! The nodes of a match as a graph of their own.

use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Graph, Kind, Node, NodeId, Tensor, Type, ValueId};

use super::sketch::Sketch;

/// Constants of more elements than this are not looked into, unless they are initializers.
pub(crate) const SMALL: usize = 4096;

/// How an extract holds constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constants {
    Initializers,
    /// As nodes: the body of a function has nothing else.
    Nodes,
}

/// Nodes of a graph, copied.
pub(crate) struct Extract {
    pub(crate) graph: Graph,
    /// By value of the graph they come from.
    pub(crate) values: BTreeMap<ValueId, ValueId>,
    constants: Constants,
}

/// Copies nodes, which are in topological order. What they read is an input of the copy, unless
/// `content` gives it a constant; `outputs` are its outputs. Names stay.
pub(crate) fn extract(
    graph: &Graph,
    types: &Types,
    nodes: &[NodeId],
    outputs: &[ValueId],
    constants: Constants,
    content: &dyn Fn(ValueId) -> Option<Tensor>,
) -> Extract {
    let mut copy =
        Extract { graph: Graph::new("", graph.opsets.clone()), values: BTreeMap::new(), constants };
    for &node in nodes {
        let inputs = graph.inputs(node);
        for &value in inputs.iter().flatten().chain(&graph.captures(node)) {
            copy.read(graph, types, value, content);
        }
        let inputs: Vec<_> = inputs.iter().map(|input| input.map(|id| copy.values[&id])).collect();
        let results: Vec<_> = graph
            .outputs(node)
            .into_iter()
            .map(|output| output.map(|id| copy.new_value(graph, types, id)))
            .collect();
        copy.graph
            .add_node(graph.node(node).clone(), &inputs, &results)
            .expect("each result is defined once");
    }
    for output in outputs {
        let value = match copy.values.get(output) {
            Some(value) => *value,
            None => copy.new_value(graph, types, *output),
        };
        copy.graph.outputs.push(value);
    }
    copy
}

impl Extract {
    fn new_value(&mut self, graph: &Graph, types: &Types, id: ValueId) -> ValueId {
        let value = self.graph.value_named(graph.value(id).name());
        self.graph.value_mut(value).ty = types.ty(id).cloned();
        self.values.insert(id, value);
        value
    }

    fn read(
        &mut self,
        graph: &Graph,
        types: &Types,
        id: ValueId,
        content: &dyn Fn(ValueId) -> Option<Tensor>,
    ) {
        if self.values.contains_key(&id) {
            return;
        }
        let value = self.new_value(graph, types, id);
        match content(id) {
            Some(content) if self.constants == Constants::Nodes => {
                let node = Node::new("", "Constant").with("value", AttributeValue::Tensor(content));
                self.graph.add_node(node, &[], &[Some(value)]).expect("the value is new");
            }
            Some(content) => self.graph.set_initializer(value, content),
            None => self.add_input(value),
        }
    }

    fn add_input(&mut self, value: ValueId) {
        self.graph.value_mut(value).kind = Kind::Input;
        self.graph.inputs.push(value);
    }
}

/// The content of a value, if it is the same in every run and at hand.
pub(crate) fn content(graph: &Graph, types: &Types, id: ValueId) -> Option<Tensor> {
    if let Some(content) = graph.initializer(id) {
        return Some(content.clone());
    }
    let mut lengths = types.shape(id)?.iter().map(marquetry_ir::Dim::known);
    let length = lengths.try_fold(1_usize, |product, dim| product.checked_mul(dim?))?;
    if length <= SMALL { types.known(id).cloned() } else { None }
}

/// What a match computes and what is to replace it, with the same inputs and outputs in the same order.
pub(crate) fn both(
    graph: &Graph,
    types: &Types,
    nodes: &[NodeId],
    sketch: &Sketch,
) -> (Graph, Graph) {
    let outputs: Vec<ValueId> = sketch.outputs.iter().map(|(home, _)| *home).collect();
    let mut before = extract(graph, types, nodes, &outputs, Constants::Initializers, &|id| {
        content(graph, types, id)
    });
    let mut after = sketch.graph.clone();
    for (value, origin) in &sketch.origins {
        if sketch.graph.value(*value).kind == Kind::Input && !before.values.contains_key(&origin.id)
        {
            let value = before.new_value(graph, types, origin.id);
            before.add_input(value);
        }
    }
    let standing: BTreeMap<ValueId, ValueId> =
        sketch.origins.iter().map(|(value, origin)| (origin.id, *value)).collect();
    let homes: BTreeMap<ValueId, ValueId> =
        before.values.iter().map(|(home, value)| (*value, *home)).collect();
    after.inputs.clear();
    for input in before.graph.inputs.clone() {
        let home = homes[&input];
        let value = standing.get(&home).copied().unwrap_or_else(|| {
            let name = after.fresh_name(graph.value(home).name());
            let ty: Option<Type> = types.ty(home).cloned();
            after.add_value(&name, ty).expect("the name is fresh")
        });
        after.value_mut(value).kind = Kind::Input;
        after.inputs.push(value);
    }
    (before.graph, after)
}
