//! Facts about `QuantizeLinear` and `DequantizeLinear` that neither the official checker nor the
//! runtimes look at.

use super::{Fact, Found, Scope};
use crate::schema::{View, canonical_domain};
use crate::{DType, Dim, NodeId, Tensor};

pub(super) fn check(scope: &Scope<'_>, id: NodeId, found: &mut Found) {
    let node = scope.graph.node(id);
    let domain = canonical_domain(&node.domain);
    let quantizes = node.op_type == "QuantizeLinear";
    if !(quantizes || node.op_type == "DequantizeLinear") || !matches!(domain, "" | "com.microsoft")
    {
        return;
    }
    let input = |slot| scope.graph.input(id, slot);
    let types = scope.types;
    let scale = input(1).and_then(|value| types.known(value));
    let zero_point = input(2).and_then(|value| types.known(value));
    let zero_point_type = input(2).and_then(|value| types.dtype(value));
    // What is quantized: the output of one, the input of the other.
    let quantized = if quantizes {
        zero_point_type.or_else(|| types.dtype(scope.graph.output(id, 0)?))
    } else {
        input(0).and_then(|value| types.dtype(value))
    };
    let mut add = |fact| found.add(&scope.path, scope.node(id), fact);

    if let Some(bad) = scale.and_then(bad_scale) {
        add(Fact::Scale { scale: bad });
    }
    if let (Some(zero_point), Some(quantized)) = (zero_point_type, quantized)
        && zero_point != quantized
    {
        add(Fact::ZeroPointType { zero_point, quantized });
    }
    if quantized == Some(DType::Int32) && zero_point.is_some_and(is_nonzero) {
        add(Fact::ZeroPointInt32 {});
    }
    let version = scope.graph.opsets.version(&node.domain);
    if let (true, Some(version), Some(dtype)) = (domain.is_empty(), version, quantized)
        && let Some(needs) = needed_opset(dtype).filter(|&needs| version < needs)
    {
        add(Fact::QuantizedType { dtype, needs });
    }
    let shape = |slot| input(slot).and_then(|value| types.shape(value));
    if let (Some(scale), Some(zero_point)) = (shape(1), shape(2))
        && differ(scale, zero_point)
    {
        add(Fact::ZeroPointShape {});
    }
    let view = View::new(scope.graph, types, id);
    let number = |name| view.attribute(name).and_then(|value| value.as_int());
    let (Some(x), Some(scale)) = (shape(0), shape(1)) else { return };
    if let Some(fact) = granularity(x, scale, number("axis"), number("block_size").unwrap_or(0)) {
        add(fact);
    }
}

fn bad_scale(scale: &Tensor) -> Option<f64> {
    let bad = |scale: &f64| !scale.is_finite() || *scale <= 0.0;
    scale.to_f64s()?.into_iter().find(bad)
}

fn is_nonzero(tensor: &Tensor) -> bool {
    tensor.to_i64s().is_some_and(|elements| elements.iter().any(|&element| element != 0))
}

/// The first opset whose operators have this quantized type.
pub(super) fn needed_opset(dtype: DType) -> Option<i64> {
    match dtype {
        DType::Uint16 | DType::Int16 | DType::Uint4 | DType::Int4 => Some(21),
        DType::Float8E4M3Fn | DType::Float8E4M3Fnuz | DType::Float8E5M2 | DType::Float8E5M2Fnuz => {
            Some(19)
        }
        DType::Float4E2M1 => Some(23),
        DType::Uint2 | DType::Int2 => Some(25),
        DType::Float6E2M3 | DType::Float6E3M2 => Some(28),
        _ => None,
    }
}

fn differ(a: &[Dim], b: &[Dim]) -> bool {
    // A scalar and a vector of one element mean the same, and exporters mix them.
    let single = |shape: &[Dim]| shape.iter().all(|dim| *dim == Dim::Known(1));
    if single(a) && single(b) {
        return false;
    }
    let unequal = |(a, b): (&Dim, &Dim)| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b);
    a.len() != b.len() || a.iter().zip(b).any(unequal)
}

/// Whether the scale fits the axis: one number, a vector along it, or one number for each block.
fn granularity(x: &[Dim], scale: &[Dim], axis: Option<i64>, block: i64) -> Option<Fact> {
    let single = scale.iter().all(|dim| *dim == Dim::Known(1));
    if single && scale.len() <= 1 {
        return None;
    }
    let axis = axis?;
    let rank = i64::try_from(x.len()).ok()?;
    let absolute = if axis < 0 { axis + rank } else { axis };
    let Some(length) = usize::try_from(absolute).ok().and_then(|axis| x.get(axis)) else {
        return Some(Fact::Axis { axis, rank: x.len() });
    };
    let found = || shape_text(scale);
    match (length, scale) {
        (Dim::Known(length), [Dim::Known(count)]) if length != count => {
            Some(Fact::ScaleShape { expected: format!("[{length}]"), found: found() })
        }
        (_, [_]) => None,
        (_, scale) if scale.len() != x.len() => {
            Some(Fact::ScaleShape { expected: format!("rank 1 or {}", x.len()), found: found() })
        }
        (Dim::Known(length), scale) if block > 0 => {
            let mut expected = x.to_vec();
            let axis = usize::try_from(absolute).ok()?;
            expected[axis] = Dim::Known(length.checked_add(block - 1)? / block);
            differ(&expected, scale)
                .then(|| Fact::ScaleShape { expected: shape_text(&expected), found: found() })
        }
        _ => None,
    }
}

fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(","))
}
