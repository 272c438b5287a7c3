//! What is to be built, before anything of the model is touched: a graph of its own, whose inputs and
//! constants stand for values of the model.

use std::collections::BTreeMap;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType, Graph, Node, NodeId, Opsets, Tensor, TensorType, Type, ValueId};

use crate::index::ValueRow;

/// A value of the model that a sketch reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// As the graph of the match knows it.
    pub(crate) id: ValueId,
    /// In the index that was searched, where its content may be asked for.
    pub(crate) row: Option<ValueRow>,
}

/// Nodes to be built.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) graph: Graph,
    /// Values of the sketch that stand for values of the model.
    pub(crate) origins: BTreeMap<ValueId, Origin>,
    /// Operator sets that the model has to import for it.
    pub(crate) imports: Vec<(String, i64)>,
    /// Values of the model that are redefined, and what each becomes.
    pub(crate) outputs: Vec<(ValueId, ValueId)>,
    standing_for: BTreeMap<ValueId, ValueId>,
    types: Option<Types>,
}

impl Sketch {
    pub(crate) fn new(opsets: Opsets) -> Self {
        Self {
            graph: Graph::new("sketch", opsets),
            origins: BTreeMap::new(),
            imports: Vec::new(),
            outputs: Vec::new(),
            standing_for: BTreeMap::new(),
            types: None,
        }
    }

    /// The value that stands for a value of the model, whose content is given if it is known.
    pub(crate) fn existing(
        &mut self,
        origin: Origin,
        name: &str,
        ty: Option<Type>,
        content: Option<Tensor>,
    ) -> ValueId {
        if let Some(&known) = self.standing_for.get(&origin.id) {
            return known;
        }
        let value = self.new_value(name, ty);
        match content {
            Some(content) => self.graph.set_initializer(value, content),
            None => {
                self.graph.value_mut(value).kind = marquetry_ir::Kind::Input;
                self.graph.inputs.push(value);
            }
        }
        self.standing_for.insert(origin.id, value);
        self.origins.insert(value, origin);
        value
    }

    /// A new constant.
    pub(crate) fn constant(&mut self, name: &str, content: Tensor) -> ValueId {
        self.types = None;
        let value = self.new_value(name, None);
        self.graph.set_initializer(value, content);
        value
    }

    /// A new node; its results are called after `name`.
    pub(crate) fn node(
        &mut self,
        node: Node,
        inputs: &[Option<ValueId>],
        names: &[String],
    ) -> Vec<ValueId> {
        self.types = None;
        let outputs: Vec<_> = names.iter().map(|name| self.new_value(name, None)).collect();
        let slots: Vec<_> = outputs.iter().copied().map(Some).collect();
        self.graph.add_node(node, inputs, &slots).expect("the results are new values");
        outputs
    }

    /// Names the function that the only node calls.
    pub(crate) fn call(&mut self, function: &str) {
        let call = self.graph.nodes().next().expect("a call is a node");
        function.clone_into(&mut self.graph.node_mut(call).op_type);
    }

    fn new_value(&mut self, name: &str, ty: Option<Type>) -> ValueId {
        let name = self.graph.fresh_name(name);
        self.graph.add_value(&name, ty).expect("the name is fresh")
    }

    pub(crate) fn dtype(&mut self, value: ValueId) -> Option<DType> {
        if let Some(ty) = &self.graph.value(value).ty {
            return ty.as_tensor()?.dtype;
        }
        if let Some(content) = &self.graph.value(value).constant {
            return Some(content.dtype());
        }
        self.types().dtype(value)
    }

    pub(crate) fn tensor_type(&mut self, value: ValueId) -> Option<TensorType> {
        self.types().tensor(value).cloned()
    }

    /// What follows for the values of the sketch.
    fn types(&mut self) -> &Types {
        let graph = &self.graph;
        self.types.get_or_insert_with(|| infer::run_graph(graph))
    }

    /// Leaves out what no output needs.
    pub(crate) fn prune(&mut self) {
        self.graph.outputs = self.outputs.iter().map(|(_, value)| *value).collect();
        let mut needed = vec![false; self.graph.value_bound()];
        for &output in &self.graph.outputs {
            needed[output.index()] = true;
        }
        let mut dead = Vec::new();
        let nodes: Vec<NodeId> = self.graph.nodes().collect();
        // Nodes were added in the order of their results.
        for node in nodes.into_iter().rev() {
            if self.graph.outputs(node).iter().flatten().any(|output| needed[output.index()]) {
                for input in self.graph.inputs(node).into_iter().flatten() {
                    needed[input.index()] = true;
                }
            } else {
                dead.push(node);
            }
        }
        if !dead.is_empty() {
            self.graph.remove_nodes(&dead);
        }
        let unused = |value: &ValueId| !needed[value.index()];
        self.graph.inputs.retain(|value| !unused(value));
        for value in self.graph.values().filter(unused).collect::<Vec<_>>() {
            self.graph.value_mut(value).kind = marquetry_ir::Kind::Computed;
            self.origins.remove(&value);
        }
        self.graph.initializers.retain(|value| !unused(value));
        self.graph.drop_unused();
        self.types = None;
    }
}
