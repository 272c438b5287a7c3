//! Parameters of operators: which inputs are weights and biases, and where they have channels.

use marquetry_ir::{AttributeValue, Node};

/// What parameters are to their operators.
pub(crate) const KINDS: [&str; 6] =
    ["weight", "bias", "running_mean", "running_var", "weight_x", "weight_r"];

/// Operators, and their parameters from slot 1 on.
const SLOTS: &[(&[&str], &[&str])] = &[
    (
        &[
            "Conv",
            "ConvTranspose",
            "Gemm",
            "GroupNormalization",
            "InstanceNormalization",
            "LayerNormalization",
        ],
        &["weight", "bias"],
    ),
    (&["MatMul", "RMSNormalization", "SimplifiedLayerNormalization"], &["weight"]),
    (&["BatchNormalization"], &["weight", "bias", "running_mean", "running_var"]),
    (&["RNN", "LSTM", "GRU"], &["weight_x", "weight_r", "bias"]),
];

/// What the input at a slot is to its operator, if it is a parameter where it is constant.
pub(crate) fn kind(op_type: &str, slot: usize) -> Option<&'static str> {
    let (_, kinds) = SLOTS.iter().find(|(ops, _)| ops.contains(&op_type))?;
    kinds.get(slot.checked_sub(1)?).copied()
}

/// The axes of channels and of blocks of a parameter of this rank.
pub(crate) fn axes(node: &Node, slot: usize, rank: usize) -> Option<(i64, i64)> {
    kind(&node.op_type, slot)?;
    Some(match (node.op_type.as_str(), slot) {
        ("MatMul", _) if rank < 2 => return None,
        ("MatMul", _) => (-1, -2),
        ("Conv", 1) if rank > 1 => (0, 1),
        ("ConvTranspose", 1) if rank > 1 => (1, 0),
        ("Gemm", 1) if rank > 1 && transposed(node) => (0, 1),
        ("Gemm", 1) if rank > 1 => (1, 0),
        _ => (0, 0),
    })
}

fn transposed(node: &Node) -> bool {
    node.attribute("transB").and_then(AttributeValue::as_int).unwrap_or(0) != 0
}
