//! Encodings in AIMET's format 1.0.0, which QNN and SNPE read beside a float model.

use std::collections::BTreeSet;

use marquetry_ir::{Graph, ValueId};
use serde_json::{Value, json};

use crate::plan::{Plan, Quantizer, Role};
use crate::{Encoding, Granularity};

/// The text of the file: keys sorted, tensors in the order of the graph, inputs first.
///
/// Offsets are those of the unsigned grid, whatever the stored type; biases are left to the
/// runtime, as AIMET does by default.
pub fn render(graph: &Graph, plan: &Plan) -> String {
    let (mut activations, mut params) = (Vec::new(), Vec::new());
    for value in in_graph_order(graph) {
        let Some(site) = plan.get(value).filter(|site| site.enabled) else { continue };
        let Some(encoding) = &site.encoding else { continue };
        let entry = entry(graph.value(value).name(), encoding);
        match site.role {
            Role::Activation => activations.push(entry),
            Role::Weight => params.push(entry),
            Role::Bias { .. } => {}
        }
    }
    let first = |role: Role| plan.enabled().map(|(_, site)| site).find(|site| site.role == role);
    let bits = |site: Option<&Quantizer>| site.map_or(8, |site| site.spec.dtype.bits());
    let (activation, weight) = (first(Role::Activation), first(Role::Weight));
    let file = json!({
        "activation_encodings": activations,
        "param_encodings": params,
        "producer": { "package": "marquetry", "version": env!("CARGO_PKG_VERSION") },
        "quantizer_args": {
            "activation_bitwidth": bits(activation),
            "dtype": "int",
            "is_symmetric": weight.is_some_and(|site| site.spec.symmetric),
            "param_bitwidth": bits(weight),
            "per_channel_quantization": weight
                .is_some_and(|site| site.spec.granularity != Granularity::PerTensor),
            "quant_scheme": activation.map_or_else(
                || "min_max".to_owned(),
                |site| site.spec.scheme.to_string()
            ),
        },
        "version": "1.0.0",
    });
    let mut text = serde_json::to_string_pretty(&file).expect("keys are strings");
    text.push('\n');
    text
}

fn entry(name: &str, encoding: &Encoding) -> Value {
    let cells = order(encoding);
    let scales: Vec<f64> = cells.iter().map(|&cell| encoding.cells[cell].scale).collect();
    let offsets: Vec<f64> = cells.iter().map(|&cell| encoding.cells[cell].offset).collect();
    let mut entry = json!({
        "bw": encoding.dtype.bits(),
        "dtype": "INT",
        "enc_type": match encoding.granularity {
            Granularity::PerTensor => "PER_TENSOR",
            Granularity::PerChannel(_) => "PER_CHANNEL",
            Granularity::PerBlock { .. } => "PER_BLOCK",
            Granularity::Lpbq { .. } => "LPBQ",
        },
        "is_sym": encoding.symmetric,
        "name": name,
        "offset": offsets,
        "scale": scales,
    });
    if let (Granularity::PerBlock { size, .. }, Some(fields)) =
        (encoding.granularity, entry.as_object_mut())
    {
        // Keys are sorted: before `bw`.
        fields.shift_insert(0, "block_size".to_owned(), json!(size));
    }
    entry
}

/// The cells in the order of the file: blocks of one output channel stand together.
fn order(encoding: &Encoding) -> Vec<usize> {
    let cells = 0..encoding.cells.len();
    match encoding.granularity {
        Granularity::PerBlock { channel, .. } | Granularity::Lpbq { channel, .. } => {
            // With one channel axis and one block axis, the grid is a matrix between axes of one
            // cell; it is transposed where the channel is its second axis.
            let long: Vec<usize> =
                (0..encoding.shape.len()).filter(|&axis| encoding.shape[axis] > 1).collect();
            let rank = encoding.shape.len() as i64;
            let channel = if channel < 0 { channel + rank } else { channel };
            match long[..] {
                [rows, columns] if columns as i64 == channel => {
                    let (rows, columns) = (encoding.shape[rows], encoding.shape[columns]);
                    (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).collect()
                }
                _ => cells.collect(),
            }
        }
        _ => cells.collect(),
    }
}

/// Every value once: graph inputs, then by node its inputs and its outputs.
fn in_graph_order(graph: &Graph) -> Vec<ValueId> {
    let nodes = graph.nodes().flat_map(|node| {
        let inputs = graph.inputs(node).into_iter().flatten();
        inputs.chain(graph.outputs(node).into_iter().flatten())
    });
    let mut seen = BTreeSet::new();
    graph.inputs.iter().copied().chain(nodes).filter(|&value| seen.insert(value)).collect()
}
