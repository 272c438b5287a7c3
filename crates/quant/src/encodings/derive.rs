//! Entries that follow from others: what only moves elements keeps their encoding, and the bias of a
//! kernel has the scale of its products.

use std::borrow::Cow;
use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, NodeId, ValueId};

use crate::encoding::Cell;
use crate::kernel::{BIAS, DATA, WEIGHT};
use crate::plan::{Plan, Role};
use crate::range::bias_cell;
use crate::{DType, Encoding, Granularity, Spec};

/// Values with their roles and encodings.
pub(super) type Known<'a> = BTreeMap<ValueId, (Role, Cow<'a, Encoding>)>;

/// Operators whose outputs hold elements of their inputs, or bounds of them.
const MOVEMENT: &[&str] = &[
    "Clip",
    "Col2Im",
    "Compress",
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Max",
    "MaxPool",
    "MaxRoiPool",
    "Min",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Reshape",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Operators of which only the first input holds elements.
const FIRST_ONLY: &[&str] = &["Pad", "Gather", "GatherElements", "GatherND", "Tile", "Expand"];

/// Norms with a weight and a bias.
const NORMS: &[&str] =
    &["BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"];

/// The least scale of an int32 that is no product of scales.
const LEAST: f64 = 0.01 / 4_294_967_295.0;

/// Adds to `known` what follows; the values that movement gave an encoding, in the order they got it.
pub(super) fn follow(
    graph: &Graph,
    types: &Types,
    plan: &Plan,
    known: &mut Known<'_>,
) -> Vec<ValueId> {
    let moved = movement(graph, types, known);
    biases(graph, types, plan, known);
    moved
}

fn movement(graph: &Graph, types: &Types, known: &mut Known<'_>) -> Vec<ValueId> {
    let mut moved = Vec::new();
    let nodes: Vec<NodeId> = graph.nodes().collect();
    for &node in nodes.iter().chain(nodes.iter().rev()) {
        let content = graph.node(node);
        if !MOVEMENT.iter().any(|op| content.is_onnx(op)) {
            continue;
        }
        let float = |value: &ValueId| types.dtype(*value).is_none_or(|dtype| dtype.is_float());
        let outputs: Vec<ValueId> =
            graph.outputs(node).into_iter().flatten().filter(float).collect();
        let inputs: Vec<ValueId> = graph.inputs(node).into_iter().flatten().filter(float).collect();
        let inputs = match FIRST_ONLY.contains(&content.op_type.as_str()) {
            true => inputs.into_iter().take(1).collect(),
            false => inputs,
        };
        let mut give = |known: &mut Known<'_>, value: ValueId, encoding: &Encoding| {
            known.insert(value, (Role::Activation, Cow::Owned(encoding.clone())));
            moved.push(value);
        };
        if let Some(encoding) = common(known, &outputs) {
            for &value in &inputs {
                let alone = graph.use_count(value) == 1 && !graph.is_output(value);
                if alone && !known.contains_key(&value) && !types.is_constant(value) {
                    give(known, value, &encoding);
                }
            }
        }
        if let Some(encoding) = common(known, &inputs) {
            for &value in &outputs {
                if !known.contains_key(&value) {
                    give(known, value, &encoding);
                }
            }
        }
    }
    moved
}

/// The encoding for a whole tensor that all of these have.
fn common(known: &Known<'_>, values: &[ValueId]) -> Option<Encoding> {
    let (_, first) = known.get(values.first()?)?;
    let same = values.iter().all(|value| {
        known.get(value).is_some_and(|(_, other)| {
            other.cells == first.cells && other.dtype.bits() == first.dtype.bits()
        })
    });
    let fits = first.is_per_tensor() && first.dtype.is_integer() && first.dtype.bits() < 32;
    (same && fits).then(|| first.clone().into_owned())
}

/// Encodings of biases: int32 on the grid of the products they are added to.
fn biases(graph: &Graph, types: &Types, plan: &Plan, known: &mut Known<'_>) {
    for node in graph.nodes() {
        let content = graph.node(node);
        let input = |slot| graph.input(node, slot);
        let kernel = ["Conv", "ConvTranspose", "Gemm"].iter().any(|op| content.is_onnx(op));
        let norm = NORMS.iter().any(|op| content.is_onnx(op));
        let found = match (kernel, norm, content.op_type.as_str()) {
            (true, ..) => kernel_bias(types, known, input(DATA), input(WEIGHT), input(BIAS)),
            (_, true, _) => input(DATA)
                .filter(|data| known.contains_key(data))
                .and_then(|data| norm_bias(types, known, data, input(WEIGHT), input(BIAS))),
            (.., "RNN" | "LSTM" | "GRU") => input(DATA)
                .filter(|data| known.contains_key(data))
                .and_then(|data| norm_bias(types, known, data, input(WEIGHT), input(3))),
            (.., "Add") => added_bias(graph, types, known, node),
            _ => None,
        };
        let Some((bias, role, encoding)) = found else { continue };
        // One that does not fit 32 bits stays in float.
        let constant = types.constant(bias).and_then(|bias| bias.to_f32s());
        let constant = constant.is_some_and(|bias| {
            bias.iter().enumerate().all(|(at, &x)| {
                let cell = encoding.cells[at % encoding.cells.len()];
                f64::from(x).abs() / cell.scale <= 2f64.powi(31)
            })
        });
        let taken = known.contains_key(&bias) || plan.get(bias).is_some_and(|site| site.enabled);
        if constant && !taken {
            known.insert(bias, (role, Cow::Owned(encoding)));
        }
    }
}

type Found = Option<(ValueId, Role, Encoding)>;

fn kernel_bias(
    types: &Types,
    known: &Known<'_>,
    data: Option<ValueId>,
    weight: Option<ValueId>,
    bias: Option<ValueId>,
) -> Found {
    let (input, weight, bias) = (data?, weight?, bias?);
    let (_, x) = known.get(&input)?;
    let (_, w) = known.get(&weight).filter(|(role, _)| *role == Role::Weight)?;
    let single = x.is_per_tensor() && x.dtype.is_integer() && w.dtype.is_integer();
    if !single || w.cells.is_empty() {
        return None;
    }
    let x = x.cells[0].scale;
    // Kernels multiply the scales they read, which are single; those of low-power blocks are never
    // read as such.
    let product = |scale: f64| f64::from(scale as f32 * x as f32);
    let scales: Vec<f64> = match w.granularity {
        Granularity::PerTensor | Granularity::PerChannel(_) => {
            w.cells.iter().map(|cell| product(cell.scale)).collect()
        }
        Granularity::Lpbq { .. } => {
            w.channel_scales.iter().map(|&scale| scale * f64::from(x as f32)).collect()
        }
        Granularity::PerBlock { channel, .. } => {
            let channels = crate::lpbq::channels(&w.shape, channel).ok()?;
            let mut largest = vec![0.0f64; channels.iter().max()? + 1];
            for (cell, &channel) in w.cells.iter().zip(&channels) {
                largest[channel] = largest[channel].max(product(cell.scale));
            }
            largest
        }
    };
    // The bias of a Gemm may have further axes, and lies along the last one; or one element for all channels.
    let dims = types.constant(bias)?.dims();
    let (granularity, shape) = match (w.granularity, dims.split_last()) {
        (Granularity::PerTensor, _) => (Granularity::PerTensor, Vec::new()),
        (_, Some((&last, before))) if last == scales.len() => {
            let shape = before.iter().map(|_| 1).chain([last]).collect();
            (Granularity::PerChannel(before.len() as i64), shape)
        }
        _ => return None,
    };
    let cells: Vec<Cell> = scales.into_iter().map(bias_cell).collect();
    let spec = Spec::weight(DType::Int32, granularity);
    Some((bias, Role::Bias { input, weight }, Encoding::new(&spec, shape, cells)))
}

fn norm_bias(
    types: &Types,
    known: &Known<'_>,
    input: ValueId,
    weight: Option<ValueId>,
    bias: Option<ValueId>,
) -> Found {
    let (weight, bias) = (weight?, bias?);
    known.get(&weight)?;
    let content = types.constant(bias)?.to_f32s()?;
    let largest = content.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = (f64::from(largest) / 2f64.powi(31)).max(LEAST);
    let spec = Spec::weight(DType::Int32, Granularity::PerTensor);
    let encoding = Encoding::new(&spec, vec![], vec![bias_cell(scale)]);
    Some((bias, Role::Bias { input, weight }, encoding))
}

/// The constant that is added to a product, or to a norm that is spelt out.
fn added_bias(graph: &Graph, types: &Types, known: &Known<'_>, add: NodeId) -> Found {
    let (a, b) = (graph.input(add, 0)?, graph.input(add, 1)?);
    let (sum, bias) = if types.is_constant(b) { (a, b) } else { (b, a) };
    let interior = !known.contains_key(&sum) && graph.use_count(sum) == 1;
    if types.rank(bias) != Some(1) || !interior || graph.is_output(sum) {
        return None;
    }
    let (node, _) = graph.producer(sum)?;
    let (first, second) = (graph.input(node, 0)?, graph.input(node, 1)?);
    match graph.node(node).op_type.as_str() {
        "MatMul" => kernel_bias(types, known, Some(first), Some(second), Some(bias)),
        "Mul" => {
            let (data, weight) =
                if types.is_constant(second) { (first, second) } else { (second, first) };
            let param = known.get(&weight).is_some_and(|(role, _)| *role == Role::Weight);
            param.then(|| norm_bias(types, known, data, Some(weight), Some(bias)))?
        }
        _ => None,
    }
}
