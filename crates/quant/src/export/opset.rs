//! Which QuantizeLinear a model may use.

use marquetry_ir::schema::{Arity, Formal, Schema, lookup};
use marquetry_ir::{Graph, Model, NodeId};

use crate::{Encoding, Granularity};

/// The domain of ONNX Runtime's own operators, which know 16 and 4 bits in every opset.
pub(super) const CONTRIB: &str = "com.microsoft";

/// The first opset whose QuantizeLinear and DequantizeLinear can express an encoding.
pub(super) fn needed(encoding: &Encoding) -> i64 {
    let granularity = match encoding.granularity {
        Granularity::PerTensor => 10,
        Granularity::PerChannel(_) => 13,
        Granularity::PerBlock { .. } | Granularity::Lpbq { .. } => 21,
    };
    let width = match encoding.dtype.bits() {
        2 => 25,
        4 | 16 => 21,
        _ => 10,
    };
    granularity.max(width)
}

/// Whether ONNX Runtime's own operators can express an encoding.
pub(super) fn contrib_can(encoding: &Encoding) -> bool {
    matches!(encoding.granularity, Granularity::PerTensor | Granularity::PerChannel(_))
        && encoding.dtype.bits() != 2
}

/// The first version of the file format that allows an opset.
pub(super) fn ir_version(opset: i64) -> i64 {
    match opset {
        ..11 => 5,
        11 => 6,
        12..15 => 7,
        15..19 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
}

/// The first operator that means something else in another opset, or nothing where raising the
/// import changes no operator.
///
/// An operator means the same if its definition is the same, or has the same inputs, outputs and
/// attributes and admits more types. Anything else counts as a change, so this never raises too
/// far; see [`INERT`] for the additions that are known to be harmless.
pub(super) fn obstacle(model: &Model, from: i64, to: i64) -> Option<String> {
    in_graph(&model.graph, from, to)
}

/// Attributes that came later and whose absence means what the operator meant before.
const INERT: &[(&str, &str)] = &[
    ("AveragePool", "dilations"),
    ("Cast", "saturate"),
    ("Reshape", "allowzero"),
    ("ScatterElements", "reduction"),
    ("ScatterND", "reduction"),
    ("Shape", "end"),
    ("Shape", "start"),
];

fn in_graph(graph: &Graph, from: i64, to: i64) -> Option<String> {
    graph.nodes().find_map(|node| at_node(graph, node, from, to))
}

fn at_node(graph: &Graph, id: NodeId, from: i64, to: i64) -> Option<String> {
    let node = graph.node(id);
    if node.is_onnx(&node.op_type) {
        let same = match (lookup("", &node.op_type, from), lookup("", &node.op_type, to)) {
            (Some(old), Some(new)) => means_the_same(old, new),
            _ => false,
        };
        if !same {
            return Some(node.op_type.clone());
        }
    }
    node.bodies().find_map(|body| in_graph(body, from, to))
}

fn means_the_same(old: &Schema, new: &Schema) -> bool {
    if old.since == new.since {
        return true;
    }
    let inert = |name: &str| INERT.contains(&(new.name, name));
    let attributes = new.attributes.iter().all(|new| match old.attribute(new.name) {
        Some(old) => {
            old.kind == new.kind
                && old.required == new.required
                && format!("{:?}", old.default) == format!("{:?}", new.default)
        }
        None => inert(new.name),
    });
    let kept = old.attributes.iter().all(|old| new.attribute(old.name).is_some());
    !new.deprecated
        && attributes
        && kept
        && formals(&old.inputs, &new.inputs)
        && formals(&old.outputs, &new.outputs)
}

/// Whether formals are the same but for their types and for optional ones at the end.
fn formals(old: &[Formal], new: &[Formal]) -> bool {
    let same = old.iter().zip(new).all(|(old, new)| old.arity == new.arity);
    let added = new.iter().skip(old.len());
    old.len() <= new.len() && same && added.into_iter().all(|new| new.arity == Arity::Optional)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(op: &str, from: i64, to: i64) -> bool {
        means_the_same(lookup("", op, from).unwrap(), lookup("", op, to).unwrap())
    }

    #[test]
    fn wider_types_are_no_change_and_new_meanings_are() {
        assert!(same("Relu", 13, 21));
        assert!(same("Reshape", 13, 21));
        assert!(same("Gemm", 11, 13));
        assert!(same("Cast", 13, 21));
        assert!(!same("Softmax", 11, 13), "the default of `axis` changed");
        assert!(!same("Unsqueeze", 11, 13), "`axes` became an input");
        assert!(!same("GroupNormalization", 18, 21), "the shape of the scale changed");
        assert!(!same("BatchNormalization", 13, 14), "outputs went");
        assert!(!same("Resize", 10, 11), "inputs were inserted");
        assert!(!same("Upsample", 9, 10), "it is deprecated");
    }
}
