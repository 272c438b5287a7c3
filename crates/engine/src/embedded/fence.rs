//! Which nodes the embedded runtime is trusted with: operators, versions, attributes and types that the
//! operators' own tests pass with. That a model loads proves nothing, so nothing else gets through.

use marquetry_ir::{DType, schema};

use crate::native;
use crate::piece::{Piece, Step};

/// Who runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The embedded runtime.
    Runtime,
    /// An operator of ours.
    Native,
    /// A body of the node, compiled like any other graph.
    Control,
}

/// Inputs that hold data, and so must be real numbers; the others are indices, lengths or conditions.
enum Data {
    All,
    Only(&'static [usize]),
    /// 8-bit integers with their zero points.
    Bytes,
}

use Data::{All, Bytes, Only};

/// Operator, first opset, inputs that hold data. Sorted by name.
const TRUSTED: &[(&str, i64, Data)] = &[
    ("Abs", 6, All),
    ("Acos", 7, All),
    ("Acosh", 9, All),
    ("Add", 7, All),
    ("Asin", 7, All),
    ("Asinh", 9, All),
    ("Atan", 7, All),
    ("Atanh", 9, All),
    ("Attention", 23, Only(&[0, 1, 2, 4, 5])),
    ("AveragePool", 1, All),
    ("BatchNormalization", 9, All),
    ("Ceil", 6, All),
    ("Clip", 6, All),
    ("Concat", 4, All),
    ("Conv", 1, All),
    ("ConvInteger", 10, Bytes),
    ("ConvTranspose", 1, All),
    ("Cos", 7, All),
    ("Cosh", 9, All),
    ("DepthToSpace", 11, All),
    ("Div", 7, All),
    ("Einsum", 12, All),
    ("Elu", 6, All),
    ("Equal", 11, All),
    ("Erf", 9, All),
    ("Exp", 6, All),
    ("Expand", 8, Only(&[0])),
    ("Flatten", 1, All),
    ("Floor", 6, All),
    ("GRU", 7, Only(&[0, 1, 2, 3, 5])),
    ("Gather", 1, Only(&[0])),
    ("Gelu", 20, All),
    ("Gemm", 7, All),
    ("GlobalAveragePool", 1, All),
    ("GlobalMaxPool", 1, All),
    ("Greater", 9, All),
    ("GreaterOrEqual", 12, All),
    ("GridSample", 16, All),
    ("HardSigmoid", 6, All),
    ("HardSwish", 14, All),
    ("InstanceNormalization", 6, All),
    ("LSTM", 7, Only(&[0, 1, 2, 3, 5, 6, 7])),
    ("LayerNormalization", 17, All),
    ("LeakyRelu", 6, All),
    ("Less", 9, All),
    ("LessOrEqual", 12, All),
    ("Log", 6, All),
    ("LogSoftmax", 13, All),
    ("MatMul", 1, All),
    ("Max", 8, All),
    ("MaxPool", 1, All),
    ("Mean", 8, All),
    ("Min", 8, All),
    ("Mul", 7, All),
    ("Neg", 6, All),
    ("PRelu", 9, All),
    ("Pad", 11, Only(&[0, 2])),
    ("Pow", 12, All),
    ("RMSNormalization", 23, All),
    ("Reciprocal", 6, All),
    ("ReduceL1", 1, Only(&[0])),
    ("ReduceL2", 1, Only(&[0])),
    ("ReduceLogSum", 1, Only(&[0])),
    ("ReduceLogSumExp", 1, Only(&[0])),
    ("ReduceMax", 1, Only(&[0])),
    ("ReduceMean", 1, Only(&[0])),
    ("ReduceMin", 1, Only(&[0])),
    ("ReduceProd", 1, Only(&[0])),
    ("ReduceSum", 1, Only(&[0])),
    ("ReduceSumSquare", 1, Only(&[0])),
    ("Relu", 6, All),
    ("Reshape", 5, Only(&[0])),
    ("Resize", 11, Only(&[0])),
    ("RotaryEmbedding", 23, Only(&[0, 1, 2])),
    ("Round", 11, All),
    ("Sigmoid", 6, All),
    ("Sin", 7, All),
    ("Sinh", 9, All),
    ("Slice", 1, Only(&[0])),
    ("Softmax", 13, All),
    ("Softplus", 1, All),
    ("Softsign", 1, All),
    ("Split", 2, Only(&[0])),
    ("Sqrt", 6, All),
    ("Squeeze", 1, Only(&[0])),
    ("Sub", 7, All),
    ("Sum", 8, All),
    ("Tan", 7, All),
    ("Tanh", 6, All),
    ("Tile", 6, Only(&[0])),
    ("Transpose", 1, All),
    ("Unsqueeze", 1, Only(&[0])),
    ("Where", 9, Only(&[1, 2])),
];

/// Who runs a step, or why nobody does.
pub(super) fn place(piece: &Piece, step: &Step, types: &[Option<DType>]) -> Result<Place, String> {
    let standard = matches!(step.content.domain.as_str(), "" | "ai.onnx");
    match step.content.op_type.as_str() {
        "Scan" if standard && step.opset < 9 => {
            return Err("before opset 9 it has a batch, which is not known here".to_owned());
        }
        "If" | "Loop" | "Scan" if standard => return Ok(Place::Control),
        _ => {}
    }
    let native = native::lookup(&step.content.domain, &step.content.op_type).is_some();
    // Only native operators compute in double precision.
    let double = step.outputs.iter().flatten().any(|&value| types[value] == Some(DType::Double));
    match trusted(piece, step, types) {
        Ok(()) if native && double => Ok(Place::Native),
        Ok(()) => Ok(Place::Runtime),
        Err(_) if native => Ok(Place::Native),
        Err(reason) => Err(reason),
    }
}

fn trusted(piece: &Piece, step: &Step, types: &[Option<DType>]) -> Result<(), String> {
    let op = step.content.op_type.as_str();
    if !matches!(step.content.domain.as_str(), "" | "ai.onnx") {
        return Err("operators of its domain are not known here".to_owned());
    }
    let Ok(at) = TRUSTED.binary_search_by(|(name, ..)| name.cmp(&op)) else {
        return Err("there is no implementation of it".to_owned());
    };
    let (_, since, data) = &TRUSTED[at];
    if step.opset < *since || step.opset > schema::newest_opset() {
        return Err(format!("it is known from opset {since} to {}", schema::newest_opset()));
    }
    for (slot, input) in step.inputs.iter().enumerate() {
        let Some(input) = *input else { continue };
        let Some(dtype) = types[input] else {
            return Err(format!("the type of `{}` is not known", piece.values[input].name));
        };
        let fits = match data {
            Bytes => matches!(dtype, DType::Uint8 | DType::Int8),
            All => is_real(dtype),
            Only(slots) if slots.contains(&slot) => is_real(dtype),
            Only(_) => is_real(dtype) || matches!(dtype, DType::Int32 | DType::Int64 | DType::Bool),
        };
        if !fits {
            return Err(format!("input {slot} is `{dtype}`"));
        }
    }
    attributes(piece, step)
}

fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::Float | DType::Double | DType::Float16 | DType::BFloat16)
}

/// What operators of these names cannot be asked.
fn attributes(piece: &Piece, step: &Step) -> Result<(), String> {
    let node = &step.content;
    let str =
        |name: &str| node.attribute(name).and_then(|value| value.as_str()).unwrap_or_default();
    let int = |name: &str, default| {
        node.attribute(name).and_then(|value| value.as_int()).unwrap_or(default)
    };
    let rank = |slot: usize| {
        step.inputs.get(slot).copied().flatten().and_then(|value| piece.values[value].rank)
    };
    let outputs = step.outputs.iter().flatten().count();
    let require = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_owned()) };
    match node.op_type.as_str() {
        "Conv" | "ConvInteger" | "ConvTranspose" | "MaxPool" | "AveragePool" => {
            require(str("auto_pad") != "SAME_LOWER", "it pads at the lower end first")?;
            let dilated = node.attribute("dilations").and_then(|value| value.as_ints());
            let dilated = dilated.is_some_and(|dilations| dilations.iter().any(|&step| step != 1));
            let pool = node.op_type.ends_with("Pool");
            require(!pool || !dilated, "its window is dilated")?;
            require(outputs == 1, "it gives positions too")?;
            require(node.attribute("output_shape").is_none(), "its output shape is given")?;
            let padded = node.attribute("pads").and_then(|value| value.as_ints());
            let padded = padded.is_some_and(|pads| pads.iter().any(|&pad| pad != 0))
                || !matches!(str("auto_pad"), "" | "NOTSET" | "VALID");
            // Padding is zero there, not the zero point.
            require(node.op_type != "ConvInteger" || !padded, "it pads with a zero point")?;
            require(spatial(piece, step).is_some(), "its number of axes is not known")?;
            require(
                spatial(piece, step).is_none_or(|axes| axes <= 2),
                "it has more than two spatial axes",
            )
        }
        "MatMul" => require(
            rank(0).is_some_and(|rank| rank > 1) && rank(1).is_some_and(|rank| rank > 1),
            "an operand may be a vector",
        ),
        "LayerNormalization" | "BatchNormalization" | "RMSNormalization" => {
            require(outputs == 1, "it gives statistics too")?;
            require(int("training_mode", 0) == 0, "it trains")
        }
        "Resize" => {
            require(matches!(str("mode"), "" | "nearest" | "linear"), "it interpolates cubically")?;
            require(node.attribute("axes").is_none(), "it resizes named axes")?;
            require(int("antialias", 0) == 0, "it filters")?;
            let policy = str("keep_aspect_ratio_policy");
            require(matches!(policy, "" | "stretch"), "it keeps the aspect ratio")?;
            // Lengths that scales make are rounded, which aligned corners depend on.
            let sizes = step.inputs.get(3).is_some_and(Option::is_some);
            match str("coordinate_transformation_mode") {
                "" | "half_pixel" | "asymmetric" | "pytorch_half_pixel" => Ok(()),
                "align_corners" => require(sizes, "it aligns corners by scales"),
                other => Err(format!("its coordinates are `{other}`")),
            }
        }
        "GridSample" => {
            require(rank(0) == Some(4), "it does not sample images")?;
            let linear = matches!(str("mode"), "" | "linear" | "bilinear");
            require(linear, "it does not interpolate linearly")?;
            require(matches!(str("padding_mode"), "" | "zeros"), "it does not pad with zeros")
        }
        "Attention" => {
            require(outputs == 1, "it gives keys and values too")?;
            require(step.inputs.get(6).is_none_or(Option::is_none), "keys are padded")?;
            let window = int("left_window_size", -1).max(int("right_window_size", -1));
            require(window < 0, "it looks through a window")
        }
        "Squeeze" | "Unsqueeze" => {
            let attribute = step.inputs.get(1).is_none_or(Option::is_none);
            require(attribute || rank(1) == Some(1), "its axes are not known to be a vector")
        }
        "Pad" => require(step.inputs.get(3).is_none_or(Option::is_none), "it pads named axes"),
        "GRU" | "LSTM" => {
            require(int("layout", 0) == 0, "its batch comes first")?;
            let plain = ["activations", "activation_alpha", "activation_beta", "clip"];
            let plain = plain.iter().all(|name| node.attribute(name).is_none());
            require(plain, "its activations are not the usual ones")?;
            require(int("input_forget", 0) == 0, "its gates are coupled")?;
            // The runtime takes lengths of sequences, and does not look at them.
            require(step.inputs.get(4).is_none_or(Option::is_none), "sequences have lengths")?;
            require(step.inputs.get(7).is_none_or(Option::is_none), "it has peepholes")?;
            let reset = node.op_type == "LSTM" || int("linear_before_reset", 0) != 0;
            require(reset, "it resets before the product")
        }
        "Reshape" => require(int("allowzero", 0) == 0, "it takes zero as a length"),
        "Split" => require(
            step.opset >= 13 || node.attribute("split").is_some() || outputs > 0,
            "its parts are not known",
        ),
        _ => Ok(()),
    }
}

/// The number of spatial axes of a convolution or pooling.
pub(super) fn spatial(piece: &Piece, step: &Step) -> Option<usize> {
    if let Some(kernel) = step.content.attribute("kernel_shape").and_then(|value| value.as_ints()) {
        return Some(kernel.len());
    }
    let ranks = step.inputs.iter().take(2).flatten().map(|&value| piece.values[value].rank);
    ranks.flatten().next()?.checked_sub(2)
}

#[cfg(test)]
mod tests {
    use super::TRUSTED;

    #[test]
    fn the_table_can_be_searched() {
        assert!(TRUSTED.is_sorted_by_key(|(name, ..)| *name));
    }
}
