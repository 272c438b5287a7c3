//! Which QuantizeLinear a model may use.

use crate::plan::Role;
use crate::{DType, Encoding, Granularity};

/// The domain of ONNX Runtime's own operators, which know 16 and 4 bits in every opset.
pub(super) const CONTRIB: &str = "com.microsoft";

/// The first opset whose QuantizeLinear and DequantizeLinear can express an encoding.
pub(super) fn needed(encoding: &Encoding) -> i64 {
    let granularity = match encoding.granularity {
        Granularity::PerTensor => 10,
        Granularity::PerChannel(_) => 13,
        Granularity::PerBlock { .. } | Granularity::Lpbq { .. } => 21,
    };
    if encoding.dtype.is_cast() {
        return if encoding.dtype == DType::BFloat16 { 13 } else { 10 };
    }
    let width = match encoding.dtype.bits() {
        _ if encoding.dtype.float8().is_some() => 19,
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
