//! Ranges to grids: from the smallest and the largest value to a scale and an offset.
//!
//! The arithmetic is that of AIMET-ONNX 2.42, down to the order of the operations, because two
//! tools that calibrate alike must export the same bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::encoding::{Cell, steps};
use crate::{DType, Spec};

/// The largest magnitude a range may have: 0.99 of the largest float.
const LIMIT: f64 = 0.99 * f32::MAX as f64;

/// No range of a fixed-range quantizer is narrower.
const MIN_FIXED_RANGE: f64 = 0.01;

/// A range that is known without looking, or one end of it: 0…1 behind a Softmax, 0… behind a Relu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FixedRange {
    /// The smallest value; as observed where left out.
    pub min: Option<f64>,
    /// The largest value; as observed where left out.
    pub max: Option<f64>,
}

impl FixedRange {
    /// Both ends.
    pub fn of(min: f64, max: f64) -> FixedRange {
        FixedRange { min: Some(min), max: Some(max) }
    }

    /// Whether its ends are finite and in order, with something between them.
    pub fn is_sound(self) -> bool {
        let ordered = self.known().is_none_or(|(min, max)| min < max);
        ordered && [self.min, self.max].into_iter().flatten().all(f64::is_finite)
    }

    /// Both ends, where both are known.
    pub fn known(self) -> Option<(f64, f64)> {
        self.min.zip(self.max)
    }

    /// The grid for these ends and, where one is open, that of an observed encoding.
    pub fn grid(self, spec: &Spec, observed: Option<(f64, f64)>) -> Cell {
        let (lo, hi) = observed.unwrap_or_default();
        grid_of_fixed_range(spec, self.min.unwrap_or(lo), self.max.unwrap_or(hi))
    }
}

impl fmt::Display for FixedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: Option<f64>| end.map_or("…".to_owned(), |end| end.to_string());
        write!(f, "[{}, {}]", end(self.min), end(self.max))
    }
}

/// The scale of an 8-bit float that spans `lo..=hi`.
fn grid_of_float8(largest: f32, lo: f64, hi: f64) -> Cell {
    let magnitude = hi.max(-lo);
    Cell { scale: (magnitude / f64::from(largest)).max(f32::MIN_POSITIVE.into()), offset: 0.0 }
}

/// The grid that spans `lo..=hi`, widened to hold zero.
///
/// Infinities are limited to 0.99 of the largest float; a NaN on either side counts as zero.
/// The scale is never below the smaller of the float epsilon and 0.01 ÷ steps, so a constant
/// zero has a scale, too.
pub fn grid_of_range(spec: &Spec, lo: f32, hi: f32) -> Cell {
    let steps = steps(spec.dtype.bits(), spec.symmetric && spec.strict);
    let lo = if lo < 0.0 { f64::from(lo).max(-LIMIT) } else { 0.0 };
    let hi = if hi > 0.0 { f64::from(hi).min(LIMIT) } else { 0.0 };
    if let Some(format) = spec.dtype.float8() {
        return grid_of_float8(format.max(), lo, hi);
    }
    let floor = f64::from(f32::EPSILON).min(0.01 / steps);
    if spec.symmetric && spec.shifted && spec.dtype.bits() == 2 {
        // Four points, two on either side of a zero that is none of them.
        return Cell { scale: (hi.max(-lo) / 1.5).max(floor), offset: -1.5 };
    }

    let centred = spec.symmetric && !(spec.unsigned && lo >= 0.0);
    let (mut scale, offset) = if centred {
        let positive = (steps / 2.0).floor();
        let negative = steps - positive;
        // Two bits have one positive step; using two of them for the scale clips the positive
        // side and gains the whole grid.
        let spread = if steps == 3.0 { positive + 1.0 } else { positive };
        ((hi / spread).max(-lo / negative).max(floor), -negative)
    } else {
        let scale = ((hi - lo) / steps).max(floor);
        (scale, (lo / scale).round().clamp(-steps, 0.0))
    };
    if offset < 0.0 {
        scale = scale.min(-LIMIT / offset);
    }
    if offset + steps > 0.0 {
        scale = scale.min(LIMIT / (offset + steps));
    }
    Cell { scale, offset }
}

/// The grid of a range that is known beforehand, such as 0…1 behind a Softmax.
///
/// Unlike [`grid_of_range`] it is never narrower than 0.01, and the offset rounds half to even.
pub fn grid_of_fixed_range(spec: &Spec, lo: f64, hi: f64) -> Cell {
    let lo = lo.min(0.0);
    let hi = hi.max(0.0).max(lo + MIN_FIXED_RANGE);
    if let Some(format) = spec.dtype.float8() {
        return grid_of_float8(format.max(), lo, hi);
    }
    let bits = spec.dtype.bits();
    if spec.symmetric {
        let negative = (1u64 << (bits - 1)) as f64;
        let positive = negative - 1.0;
        let scale = (hi / positive).max(lo.abs() / negative);
        return Cell { scale, offset: -(negative - f64::from(u8::from(spec.strict))) };
    }
    let scale = (hi - lo) / steps(bits, false);
    Cell { scale, offset: (lo / scale).round_ties_even() }
}

/// The grid of an int32 bias whose accumulator has the scale `scale`: zero is the middle.
pub fn bias_cell(scale: f64) -> Cell {
    Cell { scale, offset: -((1u64 << (DType::Int32.bits() - 1)) as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Granularity;

    #[test]
    fn a_fixed_tanh_range_uses_127_steps() {
        let spec = Spec::weight(DType::Int8, Granularity::PerTensor);
        let cell = grid_of_fixed_range(&spec, -1.0, 1.0);
        assert_eq!(cell, Cell { scale: 1.0 / 127.0, offset: -128.0 });
        let softmax = grid_of_fixed_range(&Spec::activation(DType::UInt8), 0.0, 1.0);
        assert_eq!(softmax, Cell { scale: 1.0 / 255.0, offset: 0.0 });
        let narrow = grid_of_fixed_range(&Spec::activation(DType::UInt8), 0.0, 0.0);
        assert_eq!(narrow.scale, 0.01 / 255.0);
    }

    #[test]
    fn any_range_gives_a_usable_grid() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-45, f32::MAX];
        for dtype in [DType::Int2, DType::UInt8, DType::Int16, DType::Int32] {
            for symmetric in [false, true] {
                for (lo, hi) in odd.iter().flat_map(|&lo| odd.map(|hi| (lo, hi))) {
                    let spec = Spec { symmetric, ..Spec::activation(dtype) };
                    let Cell { scale, offset } = grid_of_range(&spec, lo, hi);
                    assert!(scale > 0.0 && scale.is_finite(), "{dtype} {lo} {hi}");
                    assert!(offset <= 0.0 && offset.fract() == 0.0, "{dtype} {lo} {hi}");
                }
            }
        }
    }
}
