use std::fmt;

use marquetry_ir::{DType, Graph, Model, NodeId, ValueId};
use marquetry_pattern::Span;

use crate::datum::Datum;

/// A graph of a model; printed as `g0`. The main graph is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceId(pub(crate) u32);

impl PlaceId {
    /// The main graph.
    pub const MAIN: Self = Self(0);

    /// The position in [`Matches::places`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// Which graph of a model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The main graph.
    Main,
    /// The body of the function at this position of [`Model::functions`].
    Function(usize),
    /// A body that a node holds.
    Body {
        /// The graph of the node.
        parent: PlaceId,
        /// The node.
        node: NodeId,
        /// The position among the node's bodies.
        body: usize,
    },
}

/// What [`find`](crate::find) found.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// All graphs that were searched; a [`PlaceId`] is a position here.
    pub places: Vec<Place>,
    /// The matches by pattern, then by anchor in topological order.
    pub matches: Vec<Match>,
    /// Anchors where the search was given up.
    pub exhausted: Vec<Exhausted>,
    /// Why there is no match, if that was asked for: by pattern, then by anchor.
    pub misses: Vec<Miss>,
}

impl Matches {
    /// The graph of a place in the model that was searched.
    pub fn graph<'m>(&self, model: &'m Model, place: PlaceId) -> &'m Graph {
        graph(&self.places, model, place)
    }
}

/// The graph of a place in the model that was searched.
pub(crate) fn graph<'m>(places: &[Place], model: &'m Model, place: PlaceId) -> &'m Graph {
    let mut path = Vec::new();
    let mut at = place;
    let mut graph = loop {
        match places[at.index()] {
            Place::Main => break &model.graph,
            Place::Function(index) => break &model.functions[index].body,
            Place::Body { parent, node, body } => {
                path.push((node, body));
                at = parent;
            }
        }
    };
    while let Some((node, body)) = path.pop() {
        graph = graph.node(node).bodies().nth(body).expect("a place is a path in its model");
    }
    graph
}

/// Bindings of one pattern at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The position of the pattern among those that were searched for.
    pub pattern: usize,
    /// The graph of all the nodes.
    pub place: PlaceId,
    /// The node that computes the first output.
    pub anchor: NodeId,
    /// The position of the anchor in the topological order of its graph.
    pub order: u32,
    /// The nodes, in topological order, each once.
    pub nodes: Vec<NodeId>,
    /// The header's variables, then the body's, in the order of the text; those that were never met
    /// are absent.
    pub bindings: Vec<Binding>,
    /// How many of the bindings are the header's.
    pub header: usize,
    /// The header's outputs.
    pub outputs: Vec<ValueId>,
    /// Results of the nodes that are neither outputs nor constants: gone when the match is replaced,
    /// unless they are shared.
    pub interior: Vec<ValueId>,
    /// Interior values whose shape is read outside: whoever replaces the match must give it.
    pub measured: Vec<ValueId>,
    /// Constants that the nodes read and that are no header inputs.
    pub constants: Vec<ValueId>,
    /// Which spelling of the pattern it is.
    pub spelling: Spelling,
    /// Which alternative was taken at each choice of the search, in order.
    pub choices: Vec<u32>,
    pub(crate) hints: Vec<crate::Hint>,
    /// By variable of the pattern: what it is bound to, in the rows of the index that was searched.
    pub(crate) vars: Vec<Option<Datum>>,
}

impl Match {
    /// What a variable of the pattern's text is bound to.
    pub fn bound(&self, name: &str) -> Option<&Bound> {
        self.bindings.iter().find(|binding| binding.name == name).map(|binding| &binding.bound)
    }
}

/// Which spelling of a pattern matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The body as written.
    Body,
    /// The operator of `equals`.
    Meaning,
}

/// A variable and what it is bound to.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The name in the text of the pattern.
    pub name: String,
    /// What it is bound to.
    pub bound: Bound,
}

/// What a variable is bound to.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// Nothing: an optional input that is not there, or a variable of a branch not taken.
    Absent,
    /// A value of the graph of the match. A constant or value of a graph around it is named by the
    /// value that captures it.
    Value(ValueId),
    /// An integer: of an attribute, an integer tensor, or a dim.
    Int(i64),
    /// A floating-point number: of an attribute or a tensor.
    Float(f64),
    /// A string attribute.
    Text(String),
    /// An element type.
    Dtype(DType),
    /// A dim without a number: its name.
    Symbol(String),
    /// An operator: domain and name.
    Operator(String, String),
    /// The names of captured attributes (`<rest...>`) with what they say.
    Attributes(Vec<(String, Bound)>),
    /// A list of such.
    List(Vec<Bound>),
}

/// An anchor where a pattern was given up after [`Options::steps`](crate::Options::steps).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The position of the pattern.
    pub pattern: usize,
    /// The graph.
    pub place: PlaceId,
    /// The anchor.
    pub anchor: NodeId,
}

/// Why a pattern does not match at an anchor: the failure that came after the most had been matched.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The position of the pattern.
    pub pattern: usize,
    /// The graph.
    pub place: PlaceId,
    /// The anchor.
    pub anchor: NodeId,
    /// What was not as the pattern asks, in words.
    pub reason: String,
    /// The part of the pattern that did not match.
    pub span: Span,
    /// The value where it did not.
    pub value: Option<ValueId>,
    /// The node that was matched last.
    pub node: Option<NodeId>,
    /// How many nodes had been matched.
    pub nodes: usize,
}
