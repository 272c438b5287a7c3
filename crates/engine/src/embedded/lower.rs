//! Nodes written out as the embedded runtime reads them: with every default that it does not know.

use marquetry_ir::{AttributeValue, Node};

use super::fence::spatial;
use crate::piece::{Piece, Step};

/// The node of a step with its defaults written out, and domain and metadata left out.
pub(super) fn lowered(piece: &Piece, step: &Step) -> Node {
    let mut node = Node::new("", &step.content.op_type);
    node.name = step.name.clone();
    node.attributes = step.content.attributes.clone();
    match node.op_type.as_str() {
        "Conv" | "ConvInteger" | "ConvTranspose" | "MaxPool" | "AveragePool" => {
            window(&mut node, spatial(piece, step).unwrap_or(0), kernel(piece, step));
        }
        "LayerNormalization" | "InstanceNormalization" => {
            default(&mut node, "epsilon", AttributeValue::Float(1e-5));
        }
        // Unlimited, as the fence has made sure.
        "Attention" => {
            node.attributes.retain(|attribute| !attribute.name.ends_with("_window_size"));
        }
        _ => {}
    }
    node
}

/// The spatial lengths of constant weights.
fn kernel(piece: &Piece, step: &Step) -> Option<Vec<i64>> {
    let weights = step.inputs.get(1).copied().flatten()?;
    let dims = piece.values[weights].constant.as_ref()?.dims();
    Some(dims.get(2..)?.iter().map(|&dim| dim as i64).collect())
}

fn window(node: &mut Node, axes: usize, kernel: Option<Vec<i64>>) {
    let auto = node.attribute("auto_pad").and_then(AttributeValue::as_str).unwrap_or("NOTSET");
    let same = auto.starts_with("SAME");
    if auto == "VALID" {
        node.attributes.retain(|attribute| attribute.name != "pads");
    }
    if let Some(kernel) = kernel {
        default(node, "kernel_shape", AttributeValue::Ints(kernel));
    }
    default(node, "strides", AttributeValue::Ints(vec![1; axes]));
    if !node.op_type.ends_with("Pool") {
        default(node, "dilations", AttributeValue::Ints(vec![1; axes]));
    }
    if !same {
        default(node, "pads", AttributeValue::Ints(vec![0; 2 * axes]));
    }
}

fn default(node: &mut Node, name: &str, value: AttributeValue) {
    if node.attribute(name).is_none() {
        *node = std::mem::take(node).with(name, value);
    }
}
