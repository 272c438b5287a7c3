//! Nodes and values, and the wiring between them.
//!
//! The wiring is a bipartite `StableDiGraph`: an edge from a value to a node carries the input slot,
//! an edge from a node to a value the output slot. What is wired stands in two arenas, so the wiring
//! stays compact. petgraph's edges have no order: every query here sorts by slot or by id.
#![allow(clippy::disallowed_types, reason = "the name index is only looked up, never iterated")]

mod edit;
mod order;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use petgraph::Direction::{Incoming, Outgoing};
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

pub use self::edit::GraphError;
pub use self::order::Cycle;
use crate::{Attribute, AttributeValue, Metadata, Opsets, SparseTensor, Tensor, TensorType, Type};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            /// The position in the arena: dense, in order of creation, never reused.
            pub fn index(self) -> usize {
                self.0 as usize
            }

            fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("an arena holds fewer than 2^32 entries"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_type! {
    /// An operator of a [`Graph`]; printed as `n7`.
    NodeId, "n"
}
id_type! {
    /// A tensor that flows in a [`Graph`]; printed as `v7`.
    ValueId, "v"
}

/// A graph of operators: the main graph of a model, the body of a function, or the body of an `If`,
/// `Loop` or `Scan`.
///
/// ```
/// use marquetry_ir::{Opsets, text};
///
/// let graph = text::parse_graph("g (float[4] x) => (float[4] y) { a = Neg (x) y = Relu (a) }", &Opsets::onnx(17))?;
/// let y = graph.outputs[0];
/// let (relu, slot) = graph.producer(y).expect("a node computes it");
/// assert_eq!((graph.node(relu).op_type.as_str(), slot), ("Relu", 0));
/// let a = graph.input(relu, 0).expect("it reads one value");
/// assert_eq!((graph.value(a).name(), graph.use_count(a)), ("a", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The name; empty if there is none.
    pub name: String,
    /// The documentation; empty if there is none.
    pub doc: String,
    /// Key-value pairs of the graph.
    pub metadata: Metadata,
    /// The operator sets that the nodes are written for; the same for a graph and its subgraphs.
    pub opsets: Opsets,
    /// Inputs in order. An input may also hold a constant: its default.
    pub inputs: Vec<ValueId>,
    /// Outputs in order; a value may stand here more than once.
    pub outputs: Vec<ValueId>,
    /// Values that hold a constant, in file order.
    pub initializers: Vec<ValueId>,
    /// Values other than inputs and outputs whose type the file declares, in file order.
    pub declared: Vec<ValueId>,
    /// Quantization annotations: a tensor's name, then key-value pairs whose values name tensors.
    pub annotations: Vec<(String, Metadata)>,
    wiring: StableDiGraph<Vertex, Slot>,
    nodes: Vec<Option<Entry<Node>>>,
    values: Vec<Option<Entry<Value>>>,
    names: HashMap<Arc<str>, ValueId>,
}

/// What stands at a vertex of the wiring.
#[derive(Clone, Copy, Debug)]
enum Vertex {
    Node(NodeId),
    Value(ValueId),
}

/// Where an edge meets its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The value is input number `.0`.
    Input(u32),
    /// The value is read by name inside a body that the node holds.
    Capture,
    /// The value is output number `.0`.
    Output(u32),
}

/// An arena entry with its vertex in the wiring.
#[derive(Clone, Debug)]
struct Entry<T> {
    vertex: NodeIndex<u32>,
    /// Edges on the reading side: uses of a value, 0 for a node. Counted, because walking the edges of
    /// a constant that everybody reads would cost its degree.
    uses: u32,
    content: T,
}

/// An operator of a graph.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The name; empty if there is none.
    pub name: String,
    /// The domain of the operator as written; empty for ONNX's own.
    pub domain: String,
    /// The operator.
    pub op_type: String,
    /// Which overload of a function is called; empty for the only one.
    pub overload: String,
    /// The attributes in file order. Bodies of control flow are changed through the graph
    /// ([`Graph::edit_bodies`]), which keeps track of what they capture.
    pub attributes: Vec<Attribute>,
    /// The documentation; empty if there is none.
    pub doc: String,
    /// Key-value pairs of the node.
    pub metadata: Metadata,
    /// Encoded device configurations, kept as they are.
    pub device_configurations: Vec<Bytes>,
    arity: (u32, u32),
}

/// A tensor (or sequence, map, …) that flows in a graph.
#[derive(Clone, Debug)]
pub struct Value {
    name: Arc<str>,
    /// Where it comes from.
    pub kind: Kind,
    /// The type that the file declares; what can be inferred stands elsewhere.
    pub ty: Option<Type>,
    /// The content of an initializer, or the default of an input.
    pub constant: Option<Tensor>,
    /// The content of a sparse initializer.
    pub sparse: Option<Box<SparseTensor>>,
    /// The documentation; empty if there is none.
    pub doc: String,
    /// Key-value pairs of the value.
    pub metadata: Metadata,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node computes it; without a producer it is dangling, which the validator reports.
    Computed,
    /// It is an input of the graph.
    Input,
    /// It is a constant of the graph.
    Initializer,
    /// It belongs to an enclosing graph, where it has the same name.
    Captured,
}

/// One place where a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The reader.
    pub node: NodeId,
    /// How it reads: an input slot, or a capture by one of its bodies.
    pub slot: Slot,
}

impl Node {
    /// An operator without a name and attributes. `domain` is empty for ONNX's own.
    pub fn new(domain: impl Into<String>, op_type: impl Into<String>) -> Self {
        Self { domain: domain.into(), op_type: op_type.into(), ..Self::default() }
    }

    /// The same node with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The attribute of this name as written; defaults are the schema's business.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| &attribute.value)
    }

    /// Whether the operator is `op_type` of ONNX's own domain.
    pub fn is_onnx(&self, op_type: &str) -> bool {
        self.op_type == op_type && (self.domain.is_empty() || self.domain == "ai.onnx")
    }

    /// The bodies it holds, in attribute order.
    pub fn bodies(&self) -> impl Iterator<Item = &Graph> {
        self.attributes.iter().flat_map(|attribute| attribute.value.graphs())
    }

    /// The number of input slots, absent ones at the end included.
    pub fn input_count(&self) -> usize {
        self.arity.0 as usize
    }

    /// The number of output slots, absent ones at the end included.
    pub fn output_count(&self) -> usize {
        self.arity.1 as usize
    }
}

impl Value {
    /// The name; unique in its graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The declared tensor type, if it is a tensor.
    pub fn tensor_type(&self) -> Option<&TensorType> {
        self.ty.as_ref()?.as_tensor()
    }
}

impl Graph {
    /// An empty graph for nodes of these operator sets.
    pub fn new(name: impl Into<String>, opsets: Opsets) -> Self {
        Self { name: name.into(), opsets, ..Self::default() }
    }

    /// The node with this id.
    ///
    /// # Panics
    ///
    /// If the node has been removed, or belongs to another graph.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.node_entry(node).content
    }

    /// The node with this id, to change what it says. Inputs and outputs are changed through the graph.
    ///
    /// # Panics
    ///
    /// As [`Graph::node`].
    pub fn node_mut(&mut self, node: NodeId) -> &mut Node {
        let entry = self.nodes[node.index()].as_mut();
        &mut entry.expect("node ids in use belong to live nodes").content
    }

    /// The value with this id.
    ///
    /// # Panics
    ///
    /// If the value has been removed, or belongs to another graph.
    pub fn value(&self, value: ValueId) -> &Value {
        &self.value_entry(value).content
    }

    /// The value with this id, to change what is known of it.
    ///
    /// # Panics
    ///
    /// As [`Graph::value`].
    pub fn value_mut(&mut self, value: ValueId) -> &mut Value {
        let entry = self.values[value.index()].as_mut();
        &mut entry.expect("value ids in use belong to live values").content
    }

    /// The value of this name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// All nodes in order of creation, which is file order for what was read.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_some())
            .map(|(index, _)| NodeId::new(index))
    }

    /// All values in order of creation.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = ValueId> + '_ {
        self.values
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_some())
            .map(|(index, _)| ValueId::new(index))
    }

    /// One more than the largest index of a node: the length of a table with a row per node.
    pub fn node_bound(&self) -> usize {
        self.nodes.len()
    }

    /// One more than the largest index of a value: the length of a table with a row per value.
    pub fn value_bound(&self) -> usize {
        self.values.len()
    }

    /// Whether the node is still there.
    pub fn has_node(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(Option::is_some)
    }

    /// Whether the value is still there.
    pub fn has_value(&self, value: ValueId) -> bool {
        self.values.get(value.index()).is_some_and(Option::is_some)
    }

    /// The inputs of a node by slot, `None` where an optional one is absent.
    pub fn inputs(&self, node: NodeId) -> Vec<Option<ValueId>> {
        let entry = self.node_entry(node);
        let mut inputs = vec![None; entry.content.input_count()];
        for edge in self.wiring.edges_directed(entry.vertex, Incoming) {
            if let (Slot::Input(slot), Vertex::Value(value)) =
                (*edge.weight(), self.wiring[edge.source()])
            {
                inputs[slot as usize] = Some(value);
            }
        }
        inputs
    }

    /// The outputs of a node by slot, `None` where an optional one is absent.
    pub fn outputs(&self, node: NodeId) -> Vec<Option<ValueId>> {
        let entry = self.node_entry(node);
        let mut outputs = vec![None; entry.content.output_count()];
        for edge in self.wiring.edges_directed(entry.vertex, Outgoing) {
            if let (Slot::Output(slot), Vertex::Value(value)) =
                (*edge.weight(), self.wiring[edge.target()])
            {
                outputs[slot as usize] = Some(value);
            }
        }
        outputs
    }

    /// The input of a node at a slot, if there is one.
    pub fn input(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        let edges = self.wiring.edges_directed(self.node_entry(node).vertex, Incoming);
        edges.into_iter().find_map(|edge| match (*edge.weight(), self.wiring[edge.source()]) {
            (Slot::Input(at), Vertex::Value(value)) if at as usize == slot => Some(value),
            _ => None,
        })
    }

    /// The output of a node at a slot, if there is one.
    pub fn output(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        let edges = self.wiring.edges_directed(self.node_entry(node).vertex, Outgoing);
        edges.into_iter().find_map(|edge| match (*edge.weight(), self.wiring[edge.target()]) {
            (Slot::Output(at), Vertex::Value(value)) if at as usize == slot => Some(value),
            _ => None,
        })
    }

    /// Values of this graph that the bodies of a node read by name, in order of id.
    pub fn captures(&self, node: NodeId) -> Vec<ValueId> {
        let edges = self.wiring.edges_directed(self.node_entry(node).vertex, Incoming);
        let mut captures: Vec<_> = edges
            .filter_map(|edge| match (*edge.weight(), self.wiring[edge.source()]) {
                (Slot::Capture, Vertex::Value(value)) => Some(value),
                _ => None,
            })
            .collect();
        captures.sort_unstable();
        captures
    }

    /// The node that computes a value, and the output slot.
    pub fn producer(&self, value: ValueId) -> Option<(NodeId, usize)> {
        let mut edges = self.wiring.edges_directed(self.value_entry(value).vertex, Incoming);
        edges.find_map(|edge| match (*edge.weight(), self.wiring[edge.source()]) {
            (Slot::Output(slot), Vertex::Node(node)) => Some((node, slot as usize)),
            _ => None,
        })
    }

    /// The places where a value is read, in order of node and slot. Takes time of their number: ask
    /// [`Graph::use_count`] where that is enough.
    pub fn uses(&self, value: ValueId) -> Vec<Use> {
        let edges = self.wiring.edges_directed(self.value_entry(value).vertex, Outgoing);
        let mut uses: Vec<_> = edges
            .filter_map(|edge| match self.wiring[edge.target()] {
                Vertex::Node(node) => Some(Use { node, slot: *edge.weight() }),
                Vertex::Value(_) => None,
            })
            .collect();
        uses.sort_unstable();
        uses
    }

    /// The number of places where nodes read a value; being an output of the graph is not one.
    pub fn use_count(&self, value: ValueId) -> usize {
        self.value_entry(value).uses as usize
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }

    /// The constant that a value always is: the content of an initializer that no caller can override.
    pub fn initializer(&self, value: ValueId) -> Option<&Tensor> {
        let value = self.value(value);
        (value.kind == Kind::Initializer).then_some(value.constant.as_ref()).flatten()
    }

    fn node_entry(&self, node: NodeId) -> &Entry<Node> {
        self.nodes[node.index()].as_ref().expect("node ids in use belong to live nodes")
    }

    fn value_entry(&self, value: ValueId) -> &Entry<Value> {
        self.values[value.index()].as_ref().expect("value ids in use belong to live values")
    }
}

#[cfg(test)]
mod tests;
