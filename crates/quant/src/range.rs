//! Ranges to grids: from the smallest and the largest value to a scale and an offset.
//!
//! The arithmetic is that of AIMET-ONNX 2.42, down to the order of the operations, because two
//! tools that calibrate alike must export the same bytes.

use crate::encoding::{Cell, steps};
use crate::{DType, NumericError, Spec};

/// The largest magnitude a range may have: 0.99 of the largest float.
const LIMIT: f64 = 0.99 * f32::MAX as f64;

/// No range of a fixed-range quantizer is narrower.
const MIN_FIXED_RANGE: f64 = 0.01;

/// The grid that spans `lo..=hi`, widened to hold zero.
///
/// Infinities are limited to 0.99 of the largest float; a NaN on either side counts as zero.
/// The scale is never below the smaller of the float epsilon and 0.01 ÷ steps, so a constant
/// zero has a scale, too.
pub fn grid_of_range(spec: &Spec, lo: f32, hi: f32) -> Cell {
    let steps = steps(spec.dtype.bits(), spec.symmetric && spec.strict);
    let lo = if lo < 0.0 { f64::from(lo).max(-LIMIT) } else { 0.0 };
    let hi = if hi > 0.0 { f64::from(hi).min(LIMIT) } else { 0.0 };
    let floor = f64::from(f32::EPSILON).min(0.01 / steps);

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

/// What the block scales of one channel became: `scale[b] = ints[b] · channel_scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockScales {
    /// The float scale of the channel.
    pub channel_scale: f32,
    /// The integer scale of every block, from 1 to 2ᵇ.
    pub ints: Vec<u32>,
    /// Their products, the scales that blocks are quantized with.
    pub scales: Vec<f32>,
}

/// Puts the block scales of one channel on an integer grid of `bits` bits.
///
/// # Errors
///
/// `BadBlock` where there is no block or `bits` is not in 1..=16.
pub fn compress_block_scales(scales: &[f32], bits: u32) -> Result<BlockScales, NumericError> {
    if scales.is_empty() || !(1..=16).contains(&bits) {
        return Err(NumericError::BadBlock { size: scales.len() });
    }
    let levels = (1u32 << bits) as f32;
    let channel_scale = scales.iter().fold(0.0f32, |largest, &scale| largest.max(scale)) / levels;
    let ints: Vec<u32> = scales
        .iter()
        .map(|scale| (scale / channel_scale).round_ties_even().clamp(1.0, levels) as u32)
        .collect();
    let scales = ints.iter().map(|&int| int as f32 * channel_scale).collect();
    Ok(BlockScales { channel_scale, ints, scales })
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
    fn block_scales_are_never_zero() {
        let blocks = compress_block_scales(&[1.6, 0.01, 0.8], 4).unwrap();
        assert_eq!(blocks.ints, [16, 1, 8]);
        assert_eq!(blocks.scales[0], 1.6);
        assert!(compress_block_scales(&[], 4).is_err());
        assert!(compress_block_scales(&[1.0], 40).is_err());
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
