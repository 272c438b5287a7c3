//! Which QuantizeLinear a model may use.

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
