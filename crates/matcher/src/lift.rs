//! Turns a piece of a model into a pattern that finds it, with a test that it passes.
//!
//! ```
//! use marquetry_ir::{Model, Opsets, infer, text};
//! use marquetry_matcher::lift::{Selection, lift};
//!
//! let graph = "g (float[8] a) => (float[8] b) {
//!     [first] s = Sigmoid (a)
//!     [last] b = Mul (s, a)
//! }";
//! let model = Model::new(8, text::parse_graph(graph, &Opsets::onnx(17))?);
//! let node = |name: &str| {
//!     let graph = &model.graph;
//!     graph.nodes().find(|node| graph.node(*node).name == name).unwrap()
//! };
//! let selection = Selection::Between { from: node("first"), to: node("last") };
//! let lifted = lift(&model, &infer::run(&model), &selection, "Silu").unwrap();
//! assert!(lifted.text.starts_with("\
//! pattern Silu (x) => (y) {
//!   sigmoid = Sigmoid(x)
//!   y = Mul(sigmoid, x)
//! }
//! "));
//! # Ok::<(), marquetry_ir::text::ParseError>(())
//! ```

mod constants;
mod names;
mod select;
mod write;

use std::fmt;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, Model, NodeId, ValueId};

use self::constants::Constants;
use self::write::Writer;

/// The most nodes that are lifted: a longer pattern is no pattern any more.
pub const MOST_NODES: usize = 200;

/// Which piece of the main graph.
#[derive(Clone, Debug)]
pub enum Selection {
    /// What lies on the paths from one node to another, with what stands beside and only serves it.
    Between {
        /// The first node.
        from: NodeId,
        /// The last node.
        to: NodeId,
    },
    /// A node and what it is computed from.
    At {
        /// The last node.
        node: NodeId,
        /// How many nodes away.
        depth: u32,
    },
    /// What computes some values from some others.
    Values {
        /// Where the piece begins.
        inputs: Vec<ValueId>,
        /// Where it ends.
        outputs: Vec<ValueId>,
    },
}

/// A pattern and where it came from.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// The pattern and its test: the text of a pattern file.
    pub text: String,
    /// The nodes that it describes, in topological order.
    pub nodes: Vec<NodeId>,
    /// The values that come out of them; a match begins at the first.
    pub outputs: Vec<ValueId>,
}

/// Why a piece cannot be lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiftError {
    /// The graph has no order.
    Cycle,
    /// No path leads from the first node to the last.
    Apart {
        /// The first node.
        from: String,
        /// The last node.
        to: String,
    },
    /// A value comes from outside and is none of the inputs.
    MissingInput {
        /// The value.
        value: String,
    },
    /// A value inside is used outside and is none of the outputs.
    Escapes {
        /// The value.
        value: String,
        /// Who uses it; the caller of the model where it is nobody.
        by: Option<String>,
    },
    /// A path leaves the piece and comes back.
    NotConvex {
        /// A node on the way.
        node: String,
    },
    /// There is no node in the piece.
    Empty,
    /// The piece has too many nodes.
    TooLarge {
        /// How many.
        nodes: usize,
    },
    /// A node holds a body.
    Body {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// A name that the language cannot spell.
    Unspeakable {
        /// The operator or attribute.
        name: String,
    },
}

impl LiftError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cycle => "graph_has_cycle",
            Self::Apart { .. } => "nodes_apart",
            Self::MissingInput { .. } => "input_missing",
            Self::Escapes { .. } => "value_escapes",
            Self::NotConvex { .. } => "piece_not_convex",
            Self::Empty => "piece_empty",
            Self::TooLarge { .. } => "piece_too_large",
            Self::Body { .. } => "piece_has_body",
            Self::Unspeakable { .. } => "name_unspeakable",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cycle => "run `marquetry check` on the model",
            Self::Apart { .. } => "give the first node, then one that depends on it",
            Self::MissingInput { .. } => "add it to the inputs",
            Self::Escapes { .. } => "add it to the outputs, or end before it",
            Self::NotConvex { .. } => {
                "choose inputs that do not depend on the piece, or take that node into it"
            }
            Self::Empty => "choose values that nodes compute, not constants",
            Self::TooLarge { .. } => "choose a shorter range, or a smaller depth",
            Self::Body { .. } => "lift the nodes around it, or write `<then_branch = …>` by hand",
            Self::Unspeakable { .. } => "choose a range without it",
        }
    }
}

impl fmt::Display for LiftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle => f.write_str("nodes of the graph need each other's results"),
            Self::Apart { from, to } => write!(f, "no path leads from `{from}` to `{to}`"),
            Self::MissingInput { value } => {
                write!(f, "`{value}` comes from outside and is not among the inputs")
            }
            Self::Escapes { value, by: Some(by) } => {
                write!(f, "`{value}` is used outside, by `{by}`, and is not among the outputs")
            }
            Self::Escapes { value, by: None } => {
                write!(f, "`{value}` is an output of the model and not among the outputs")
            }
            Self::NotConvex { node } => {
                write!(f, "a path leaves the piece and comes back, through `{node}`")
            }
            Self::Empty => f.write_str("no node is chosen"),
            Self::TooLarge { nodes } => {
                write!(f, "the piece has {nodes} nodes, more than {MOST_NODES}")
            }
            Self::Body { node, operator } => write!(f, "`{node}` (`{operator}`) holds a body"),
            Self::Unspeakable { name } => write!(f, "patterns have no way to write `{name}`"),
        }
    }
}

impl std::error::Error for LiftError {}

/// The pattern of a piece of the main graph, under a capitalised name.
///
/// What the piece reads becomes the header: values from elsewhere, and weights as `const`. Constants
/// of one element are written as numbers, short lists of integers as lists, attributes at their
/// default not at all. The pattern matches where it was lifted, and its test passes.
///
/// # Errors
///
/// When the piece is no piece that a pattern can describe; see [`LiftError`].
pub fn lift(
    model: &Model,
    types: &Types,
    selection: &Selection,
    name: &str,
) -> Result<Lifted, LiftError> {
    let graph = &model.graph;
    let constants = Constants::new(graph, types);
    let piece = select::select(graph, &constants, selection)?;
    if piece.nodes.is_empty() || piece.outputs.is_empty() {
        return Err(LiftError::Empty);
    }
    if piece.nodes.len() > MOST_NODES {
        return Err(LiftError::TooLarge { nodes: piece.nodes.len() });
    }
    for &node in &piece.nodes {
        if graph.node(node).bodies().next().is_some() {
            let operator = graph.node(node).op_type.clone();
            return Err(LiftError::Body { node: label(graph, node), operator });
        }
    }
    let text = Writer::new(model, types, &constants, &piece).text(name)?;
    Ok(Lifted { text, nodes: piece.nodes, outputs: piece.outputs })
}

/// The name of a node, or that of its first result where it has none.
fn label(graph: &Graph, node: NodeId) -> String {
    let name = &graph.node(node).name;
    if !name.is_empty() {
        return name.clone();
    }
    let first = graph.outputs(node).into_iter().flatten().next();
    first.map_or_else(|| node.to_string(), |value| graph.value(value).name().to_owned())
}
