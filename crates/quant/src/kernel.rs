//! What integer kernels read: the roles of their inputs.

use marquetry_ir::{AttributeValue, Graph, Node, NodeId};

use crate::Granularity;

/// The slot of the activation of every kernel.
pub(crate) const DATA: usize = 0;
/// The slot of the weight of every kernel.
pub(crate) const WEIGHT: usize = 1;
/// The slot of the bias, where the kernel has one.
pub(crate) const BIAS: usize = 2;

/// Operators that sum products of activations and weights.
pub(crate) const SUMS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Whether a node sums products and adds a bias to them.
pub(crate) fn has_bias(node: &Node) -> bool {
    SUMS.contains(&node.op_type.as_str()) && node.op_type != "MatMul"
}

/// The granularity of one scale per output channel of a weight of this rank, or why there is none.
pub(crate) fn per_channel(node: &Node, rank: usize) -> Result<Granularity, &'static str> {
    let int = |name: &str, default| {
        node.attribute(name).and_then(AttributeValue::as_int).unwrap_or(default)
    };
    match node.op_type.as_str() {
        "Conv" => Ok(Granularity::PerChannel(0)),
        "ConvTranspose" if int("group", 1) != 1 => {
            Err("output channels of a grouped transposed convolution lie on no axis")
        }
        "ConvTranspose" => Ok(Granularity::PerChannel(1)),
        "Gemm" if int("transB", 0) != 0 => Ok(Granularity::PerChannel(0)),
        "Gemm" => Ok(Granularity::PerChannel(1)),
        _ if rank == 2 => Ok(Granularity::PerChannel(1)),
        _ => Err("a stacked matrix has no single axis of output channels"),
    }
}

/// The axis that a block runs along, the one that is summed over, for a weight with channels.
pub(crate) fn block_axis(node: &Node, channel: i64) -> i64 {
    match node.op_type.as_str() {
        "ConvTranspose" => 0,
        "Conv" => 1,
        _ => 1 - channel,
    }
}

/// Whether products and bias are added as they are: `alpha` and `beta` of a Gemm are one.
pub(crate) fn adds_bias_unscaled(node: &Node) -> bool {
    let one = |name: &str| {
        node.attribute(name).and_then(AttributeValue::as_float).is_none_or(|scale| scale == 1.0)
    };
    one("alpha") && one("beta")
}

/// How a node is called in reasons: its name, or its operator and number.
pub(crate) fn label(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    if node.name.is_empty() {
        return format!("{} {id}", node.op_type);
    }
    format!("{} `{}`", node.op_type, node.name)
}
