//! What becomes of nodes: planned by reading, then written into the graph.

use std::collections::{BTreeMap, BTreeSet};

use super::{RaiseError, convert, import};
use crate::infer::Types;
use crate::{
    Attribute, AttributeValue, Function, Graph, Model, Node, NodeId, Slot, Tensor, TensorType, Use,
    ValueId,
};

/// An input of a node that is to be.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// It is absent.
    Absent,
    /// A value of the graph.
    Value(ValueId),
    /// A constant, and what it is called after.
    Constant(&'static str, Tensor),
    /// What the function is called with: what it is called after, the attribute of Constant that takes
    /// it, and the reference.
    Given(&'static str, &'static str, AttributeValue),
    /// Each element of a vector so many times in a row: what it is called after, and the vector.
    Repeated(&'static str, ValueId, i64),
}

/// What is different of a node afterwards.
struct Change {
    node: NodeId,
    op_type: String,
    inputs: Vec<Operand>,
    flattened: Option<AttributeValue>,
    set: Vec<Attribute>,
    dropped: BTreeSet<&'static str>,
    changed: bool,
}

/// A node as it is, and as it will be.
pub(super) struct Draft<'a> {
    /// The graph of the node.
    pub(super) graph: &'a Graph,
    /// What is known of its values.
    pub(super) types: &'a Types,
    node: &'a Node,
    change: Change,
}

impl<'a> Draft<'a> {
    fn new(graph: &'a Graph, types: &'a Types, id: NodeId) -> Self {
        let node = graph.node(id);
        let inputs = graph.inputs(id);
        let operand = |input: Option<ValueId>| input.map_or(Operand::Absent, Operand::Value);
        let change = Change {
            node: id,
            op_type: node.op_type.clone(),
            inputs: inputs.into_iter().map(operand).collect(),
            flattened: None,
            set: Vec::new(),
            dropped: BTreeSet::new(),
            changed: false,
        };
        Self { graph, types, node, change }
    }

    /// The operator.
    pub(super) fn op_type(&self) -> &str {
        &self.change.op_type
    }

    /// The number of results that the node gives, absent ones between them included.
    pub(super) fn output(&self, slot: usize) -> Option<ValueId> {
        self.graph.output(self.change.node, slot)
    }

    /// The number of output slots.
    pub(super) fn output_count(&self) -> usize {
        self.node.output_count()
    }

    /// The attribute as it stands now.
    pub(super) fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        let set = self.change.set.iter().find(|attribute| attribute.name == name);
        set.map(|attribute| &attribute.value)
            .or_else(|| self.node.attribute(name).filter(|_| !self.change.dropped.contains(name)))
    }

    /// Takes an attribute off.
    pub(super) fn take(&mut self, name: &'static str) -> Option<AttributeValue> {
        let value = self.attribute(name).cloned()?;
        self.change.set.retain(|attribute| attribute.name != name);
        self.change.dropped.insert(name);
        self.change.changed = true;
        Some(value)
    }

    /// Gives an attribute, in place of one of this name.
    pub(super) fn set(&mut self, name: &'static str, value: AttributeValue) {
        self.take(name);
        self.change.set.push(Attribute::new(name, value));
        self.change.changed = true;
    }

    /// Lets it be another operator.
    pub(super) fn rename(&mut self, op_type: &str) {
        op_type.clone_into(&mut self.change.op_type);
        self.change.changed = true;
    }

    /// Lets a matrix be made of the first input, from this axis on; the result gets the shape back.
    pub(super) fn flatten(&mut self, axis: AttributeValue) {
        self.change.flattened = Some(axis);
        self.change.changed = true;
    }

    /// The operand at a slot, where there is one.
    pub(super) fn operand(&self, slot: usize) -> &Operand {
        self.change.inputs.get(slot).unwrap_or(&Operand::Absent)
    }

    /// Puts an operand into a slot.
    pub(super) fn put(&mut self, slot: usize, operand: Operand) {
        let inputs = &mut self.change.inputs;
        if inputs.len() <= slot {
            inputs.resize(slot + 1, Operand::Absent);
        }
        inputs[slot] = operand;
        self.change.changed = true;
    }

    /// The type of the first input, as far as it is known.
    pub(super) fn ty(&self) -> Option<&'a TensorType> {
        self.types.tensor(self.graph.input(self.change.node, 0)?)
    }

    /// The constant at a slot, where it is one.
    pub(super) fn constant(&self, slot: usize) -> Option<&Tensor> {
        match self.operand(slot) {
            Operand::Value(value) => self.types.known(*value),
            Operand::Constant(_, tensor) => Some(tensor),
            Operand::Absent | Operand::Given(..) | Operand::Repeated(..) => None,
        }
    }
}

/// The changes of a graph and of the bodies in it.
#[derive(Default)]
pub(super) struct Plan {
    own: Vec<Change>,
    bodies: Vec<(NodeId, Vec<Plan>)>,
}

impl Plan {
    /// What has to change in a graph for another opset.
    pub(super) fn new(
        graph: &Graph,
        types: &Types,
        function: Option<&Function>,
        to: i64,
    ) -> Result<Self, RaiseError> {
        let from = graph.opsets.version("").unwrap_or(1);
        let mut plan = Self::default();
        for id in graph.nodes() {
            let node = graph.node(id);
            if node.is_onnx(&node.op_type) {
                let mut draft = Draft::new(graph, types, id);
                convert::bring(&mut draft, from, to).map_err(|why| RaiseError::Obstacle {
                    op_type: node.op_type.clone(),
                    output: first_output(graph, id),
                    function: function.map(|function| function.name.clone()),
                    from,
                    to,
                    why,
                })?;
                if draft.change.changed {
                    plan.own.push(draft.change);
                }
            }
            let unknown = Types::default();
            let bodies = node.bodies().enumerate().map(|(index, body)| {
                Self::new(body, types.body(id, index).unwrap_or(&unknown), function, to)
            });
            let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
            if !bodies.is_empty() {
                plan.bodies.push((id, bodies));
            }
        }
        Ok(plan)
    }

    /// Makes the changes, and tells which reading edges moved. In a function, constants are nodes: it has
    /// no initializers.
    pub(super) fn apply(
        self,
        graph: &mut Graph,
        names: &mut Names,
        rewritten: &mut BTreeMap<String, usize>,
        function: bool,
        to: i64,
    ) -> BTreeMap<Use, Option<Use>> {
        let mut made = BTreeMap::new();
        let mut moved = BTreeMap::new();
        for change in self.own {
            *rewritten.entry(graph.node(change.node).op_type.clone()).or_default() += 1;
            change.apply(graph, names, (&mut made, &mut moved), function, to);
        }
        if moved.values().any(Option::is_none) {
            graph.drop_unused();
        }
        for (node, bodies) in self.bodies {
            let mut bodies = bodies.into_iter();
            graph.edit_bodies(node, |body| {
                let plan = bodies.next().expect("a plan was made for every body");
                plan.apply(body, names, rewritten, function, to);
            });
        }
        import(graph, to);
        moved
    }
}

fn first_output(graph: &Graph, node: NodeId) -> String {
    let output = graph.outputs(node).into_iter().flatten().next();
    output.map_or_else(String::new, |output| graph.value(output).name().to_owned())
}

/// The constants that a graph got, by name and elements: equal ones are one.
type Constants = BTreeMap<(&'static str, Vec<usize>, Vec<u8>), ValueId>;

impl Change {
    /// Writes it into the graph, and notes where what was read is read now.
    fn apply(
        self,
        graph: &mut Graph,
        names: &mut Names,
        (made, moved): (&mut Constants, &mut BTreeMap<Use, Option<Use>>),
        function: bool,
        to: i64,
    ) {
        let node = graph.node_mut(self.node);
        node.op_type = self.op_type;
        node.attributes.retain(|attribute| !self.dropped.contains(attribute.name.as_str()));
        node.attributes.extend(self.set);
        let before = graph.inputs(self.node);
        let mut repeated = Vec::new();
        for (slot, operand) in self.inputs.into_iter().enumerate() {
            let value = match operand {
                Operand::Absent => None,
                Operand::Value(value) => Some(value),
                Operand::Constant(name, tensor) => {
                    Some(shared(graph, names, made, (name, tensor), function))
                }
                Operand::Repeated(name, vector, times) => {
                    let mut ints = |ints: &[i64]| {
                        let tensor = Tensor::from_i64s([ints.len()], ints)
                            .expect("as many elements as the shape asks for");
                        shared(graph, names, made, ("shape", tensor), function)
                    };
                    let (column, row, flat) = (ints(&[-1, 1]), ints(&[1, times]), ints(&[-1]));
                    let reshape = || Node::new("", "Reshape");
                    let column = add(graph, names, name, reshape(), &[vector, column]);
                    let rows = add(graph, names, name, Node::new("", "Expand"), &[column, row]);
                    let node = graph.producer(column).map(|(node, _)| node);
                    repeated.push((slot, node.expect("a node was made for it")));
                    Some(add(graph, names, name, reshape(), &[rows, flat]))
                }
                Operand::Given(name, attribute, reference) => {
                    let node = Node::new("", "Constant").with(attribute, reference);
                    Some(add(graph, names, name, node, &[]))
                }
            };
            if before.get(slot).copied() != Some(value) {
                graph.set_input(self.node, slot, value);
            }
        }
        let after = graph.inputs(self.node);
        let at = |slot: usize| Use { node: self.node, slot: input_slot(slot) };
        for (slot, value) in before.iter().enumerate().filter(|(_, value)| value.is_some()) {
            if after.get(slot) != Some(value) {
                moved.insert(at(slot), after.iter().position(|now| now == value).map(at));
            }
        }
        for (slot, node) in repeated {
            moved.insert(at(slot), Some(Use { node, slot: input_slot(0) }));
        }
        if let Some(axis) = self.flattened
            && let Some(rows) = flatten(graph, names, self.node, axis, to)
        {
            moved.insert(at(0), Some(Use { node: rows, slot: input_slot(0) }));
        }
    }
}

fn input_slot(slot: usize) -> Slot {
    Slot::Input(u32::try_from(slot).expect("operands fit into memory"))
}

/// A constant of the graph, the one that is there where an equal one is.
fn shared(
    graph: &mut Graph,
    names: &mut Names,
    made: &mut Constants,
    (name, tensor): (&'static str, Tensor),
    function: bool,
) -> ValueId {
    let key = (name, tensor.dims().to_vec(), tensor.bytes().to_vec());
    *made.entry(key).or_insert_with(|| constant(graph, names, name, tensor, function))
}

fn constant(
    graph: &mut Graph,
    names: &mut Names,
    name: &str,
    tensor: Tensor,
    function: bool,
) -> ValueId {
    if function {
        let node = Node::new("", "Constant").with("value", AttributeValue::Tensor(tensor));
        return add(graph, names, name, node, &[]);
    }
    names.initializers = true;
    graph.add_initializer(&names.fresh(name), tensor).expect("the name is fresh in the whole model")
}

/// A node with one result.
fn add(
    graph: &mut Graph,
    names: &mut Names,
    name: &str,
    node: Node,
    inputs: &[ValueId],
) -> ValueId {
    let output = names.fresh(name);
    let output = graph.add_value(&output, None).expect("the name is fresh in the whole model");
    let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
    graph.add_node(node, &inputs, &[Some(output)]).expect("its result is new");
    output
}

/// Lets a node work on a matrix: `Reshape(node(Flatten(x)), Shape(x))`. What makes the matrix reads now.
fn flatten(
    graph: &mut Graph,
    names: &mut Names,
    node: NodeId,
    axis: AttributeValue,
    to: i64,
) -> Option<NodeId> {
    let (x, y) = (graph.input(node, 0)?, graph.output(node, 0)?);
    let base = graph.value(y).name().to_owned();
    let name = |what: &str| format!("{base}_{what}");
    let shape = add(graph, names, &name("shape"), Node::new("", "Shape"), &[x]);
    let rows = Node::new("", "Flatten").with("axis", axis);
    let rows = add(graph, names, &name("rows"), rows, &[x]);
    graph.set_input(node, 0, Some(rows));
    let inner = names.fresh(&name("flat"));
    let inner = graph.add_value(&inner, None).expect("the name is fresh in the whole model");
    graph.set_output(node, 0, Some(inner));
    // A length of 0 would be copied from the matrix otherwise, which has another one there.
    let zero = if to >= 14 { vec![("allowzero", AttributeValue::Int(1))] } else { Vec::new() };
    let back = zero
        .into_iter()
        .fold(Node::new("", "Reshape"), |node, (name, value)| node.with(name, value));
    graph.add_node(back, &[Some(inner), Some(shape)], &[Some(y)]).expect("nothing computes it now");
    graph.producer(rows).map(|(node, _)| node)
}

/// The names of a model, so that none is given twice: a body must not hide what is around it.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    next: BTreeMap<String, usize>,
    initializers: bool,
}

impl Names {
    /// All names in use.
    pub(super) fn of(model: &Model) -> Self {
        let mut names = Self::default();
        names.collect(&model.graph);
        model.functions.iter().for_each(|function| names.collect(&function.body));
        names
    }

    /// Whether a graph got an initializer.
    pub(super) fn written(&self) -> bool {
        self.initializers
    }

    fn collect(&mut self, graph: &Graph) {
        self.taken.extend(graph.values().map(|value| graph.value(value).name().to_owned()));
        for node in graph.nodes() {
            graph.node(node).bodies().for_each(|body| self.collect(body));
        }
    }

    fn fresh(&mut self, base: &str) -> String {
        if self.taken.insert(base.to_owned()) {
            return base.to_owned();
        }
        let next = self.next.entry(base.to_owned()).or_insert(1);
        loop {
            let name = format!("{base}_{next}");
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
