//! Which QuantizeLinear a model may use.

use marquetry_ir::DType as ElementType;

use crate::plan::Role;
use crate::{DType, Encoding, Granularity};

/// The domain of ONNX Runtime's own operators, which know 16 and 4 bits in every opset.
pub(super) const CONTRIB: &str = "com.microsoft";

/// The first opset whose QuantizeLinear and DequantizeLinear can express a type and granularity for a
/// value that the model computes in `element`.
pub(super) fn needed(dtype: DType, granularity: Granularity, element: ElementType) -> i64 {
    let granularity = match granularity {
        Granularity::PerTensor => 10,
        Granularity::PerChannel(_) => 13,
        Granularity::PerBlock { .. } | Granularity::Lpbq { .. } => 21,
    };
    if dtype.is_cast() {
        return if dtype == DType::BFloat16 { 13 } else { 10 };
    }
    let width = match dtype.bits() {
        _ if dtype.float8().is_some() => 19,
        2 => 25,
        4 | 16 => 21,
        _ => 10,
    };
    let half = if element == ElementType::Float { 10 } else { 19 };
    granularity.max(width).max(half)
}

/// Whether ONNX Runtime's own operators can express an encoding.
pub(super) fn contrib_can(encoding: &Encoding, element: ElementType) -> bool {
    element == ElementType::Float
        && matches!(encoding.granularity, Granularity::PerTensor | Granularity::PerChannel(_))
        && encoding.dtype.bits() != 2
        && encoding.dtype.is_integer()
}

/// Why no opset can express an encoding, or nothing.
pub(super) fn impossible(role: Role, encoding: &Encoding) -> Option<&'static str> {
    let dtype = encoding.dtype;
    let zero = || (0..encoding.cells.len()).all(|cell| encoding.zero_point(cell) == 0);
    match role {
        _ if encoding.is_shifted() => Some("zero lies between two points of its grid"),
        _ if dtype == DType::UInt32 => Some("DequantizeLinear does not read `uint32`"),
        Role::Activation if dtype == DType::Int32 => Some("QuantizeLinear does not write `int32`"),
        _ if dtype == DType::Int32 && !zero() => Some("the zero point of an `int32` must be 0"),
        _ => None,
    }
}
