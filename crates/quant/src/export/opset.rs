//! Which QuantizeLinear a model may use.

use marquetry_ir::schema::lookup;
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

/// The first operator whose definition differs between two opsets, or nothing where raising the
/// import changes no operator.
pub(super) fn obstacle(model: &Model, from: i64, to: i64) -> Option<String> {
    in_graph(&model.graph, from, to)
}

fn in_graph(graph: &Graph, from: i64, to: i64) -> Option<String> {
    graph.nodes().find_map(|node| at_node(graph, node, from, to))
}

fn at_node(graph: &Graph, id: NodeId, from: i64, to: i64) -> Option<String> {
    let node = graph.node(id);
    if node.is_onnx(&node.op_type) {
        let since = |opset| lookup("", &node.op_type, opset).map(|schema| schema.since);
        if since(from) != since(to) || since(from).is_none() {
            return Some(node.op_type.clone());
        }
    }
    node.bodies().find_map(|body| in_graph(body, from, to))
}
