use std::fmt;

use marquetry_ir::{Graph, NodeId};

/// Why a node cannot run in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node.
    pub node: NodeId,
    /// Its name, or the name of its first output where it has none.
    pub name: String,
    /// Its operator, with the domain where that is not ONNX's own.
    pub op: String,
    /// The version of the operator set it is written for; 0 where the graph imports none.
    pub opset: i64,
    /// What stands in the way.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(graph: &Graph, node: NodeId, reason: impl Into<String>) -> Self {
        let content = graph.node(node);
        Self {
            node,
            name: node_name(graph, node),
            op: qualified(&content.domain, &content.op_type),
            opset: graph.opsets.version(&content.domain).unwrap_or(0),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, op, opset, reason, .. } = self;
        write!(f, "`{op}` of opset {opset} (node `{name}`) cannot run here: {reason}")
    }
}

/// Why a graph could not be compiled or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nodes that nothing here can run.
    #[error("{}", refused(.0))]
    Refused(Vec<Refusal>),
    /// A value is asked for that cannot be computed from what is fed.
    #[error("`{value}` needs `{missing}`, which is not fed")]
    NotFed {
        /// The value asked for.
        value: String,
        /// The input, or the value without an origin, that it depends on.
        missing: String,
    },
    /// The nodes of the graph wait for each other.
    #[error("the graph has a cycle through `{name}`")]
    Cycle {
        /// A node on the cycle.
        name: String,
    },
    /// The runtime did not accept a piece of the graph that it should have.
    #[error("the runtime does not load the nodes `{first}` to `{last}`: {reason}")]
    Load {
        /// The first node of the piece.
        first: String,
        /// The last node of the piece.
        last: String,
        /// What the runtime said.
        reason: String,
    },
    /// An operator failed on the tensors it was given.
    #[error("`{op}` failed at node `{name}`: {reason}")]
    Run {
        /// The node, or the first of the nodes that ran together.
        name: String,
        /// Its operator.
        op: String,
        /// What the runtime said.
        reason: String,
    },
    /// The number of tensors given is not the number of values fed.
    #[error("{expected} values are fed, {found} tensors are given")]
    Inputs {
        /// Values that the program was compiled for.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// A tensor has a type that the program cannot take for the value it is fed to.
    #[error("`{value}` is fed a `{found}` tensor, not `{expected}`")]
    Type {
        /// The value.
        value: String,
        /// The type that the graph gives the value.
        expected: String,
        /// The type of the tensor.
        found: String,
    },
}

impl EngineError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "engine_refused",
            Self::NotFed { .. } => "engine_not_fed",
            Self::Cycle { .. } => "engine_cycle",
            Self::Load { .. } => "engine_load",
            Self::Run { .. } => "engine_run",
            Self::Inputs { .. } => "engine_inputs",
            Self::Type { .. } => "engine_type",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused(_) => {
                "export the model without the operator, or cut the model before it; \
                 with `--engine ort`, ONNX Runtime runs more than the embedded engine"
            }
            Self::NotFed { .. } => {
                "feed that value too, or ask for values that do not depend on it"
            }
            Self::Cycle { .. } => "run `marquetry check` on the model",
            Self::Load { .. } => "report the model: the engine should have refused it earlier",
            Self::Run { .. } => {
                "check the shapes of the samples against the inputs with `marquetry inspect`"
            }
            Self::Inputs { .. } => "give one tensor for each value fed",
            Self::Type { .. } => "convert the tensor, or check the type that the model declares",
        };
        Some(hint.to_owned())
    }
}

fn refused(refusals: &[Refusal]) -> String {
    match refusals {
        [] => "no node is refused".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more nodes)", rest.len()),
    }
}

/// The name of a node, or of its first output where it has none.
pub(crate) fn node_name(graph: &Graph, node: NodeId) -> String {
    let name = &graph.node(node).name;
    if !name.is_empty() {
        return name.clone();
    }
    let output = graph.outputs(node).into_iter().flatten().next();
    output.map_or_else(|| node.to_string(), |value| graph.value(value).name().to_owned())
}

/// An operator with its domain, which ONNX's own goes without.
pub(crate) fn qualified(domain: &str, op_type: &str) -> String {
    match domain {
        "" | "ai.onnx" => op_type.to_owned(),
        domain => format!("{domain}::{op_type}"),
    }
}
