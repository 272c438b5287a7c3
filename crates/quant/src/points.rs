//! The grid points of one cell of scales, for loops over many elements.

use marquetry_ir::Float8;

use crate::qdq::{Limits, Rounding, quantize_one};
use crate::{Encoding, NumericError};

/// Half-even rounding by addition: a sum with 1.5·2²³ has no bits behind the point.
const WHOLE: f32 = 12_582_912.0;

/// Grids of at most so many bits are worked on in single precision alone, where every stored integer
/// and [`WHOLE`] plus it is exact.
const EXACT_BITS: u32 = 16;

/// What an element becomes on the grid of one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Points {
    /// Half to even, from `low` to `high` steps around zero.
    Even { scale: f32, low: f32, high: f32 },
    /// The same of wide types.
    Wide { scale: f32, zero: i64, lowest: i64, highest: i64 },
    /// As AIMET simulates it.
    Shifted(Limits),
    /// An 8-bit float.
    Float { format: Float8, scale: f32 },
}

impl Points {
    /// The points of every cell of an encoding.
    ///
    /// # Errors
    ///
    /// `NotAnInteger` where quantizing is a cast.
    pub(crate) fn of(encoding: &Encoding, rounding: Rounding) -> Result<Vec<Points>, NumericError> {
        if encoding.dtype.is_cast() {
            return Err(NumericError::NotAnInteger { dtype: encoding.dtype });
        }
        let (lowest, highest) = (encoding.lowest(), encoding.highest());
        let even = rounding == Rounding::HalfEven && !encoding.is_shifted();
        let points = (0..encoding.cells.len()).map(|cell| {
            let scale = encoding.cells[cell].scale as f32;
            if let Some(format) = encoding.dtype.float8() {
                return Points::Float { format, scale };
            }
            if !even {
                return Points::Shifted(Limits::of(encoding, cell));
            }
            let zero = encoding.zero_point(cell);
            match encoding.dtype.bits() <= EXACT_BITS {
                true => {
                    let (low, high) = ((lowest - zero) as f32, (highest - zero) as f32);
                    Points::Even { scale, low, high }
                }
                false => Points::Wide { scale, zero, lowest, highest },
            }
        });
        Ok(points.collect())
    }

    /// The grid point of an element.
    pub(crate) fn nearest(self, x: f32) -> f32 {
        match self {
            Points::Even { scale, low, high } => even(x, scale, low, high),
            Points::Wide { scale, zero, lowest, highest } => {
                quantize_one(x, scale, zero, lowest, highest).saturating_sub(zero) as f32 * scale
            }
            Points::Shifted(limits) => limits.simulate(x),
            Points::Float { format, scale } => {
                format.decode(format.encode(x / scale, true)) * scale
            }
        }
    }

    /// The point of another cell that the same integer means as `x` here.
    pub(crate) fn on(self, x: f32, other: Points) -> f32 {
        match (self, other) {
            (Points::Even { scale, .. }, Points::Even { scale: to, .. })
            | (Points::Wide { scale, .. }, Points::Wide { scale: to, .. }) => {
                other.nearest(x / scale * to)
            }
            _ => other.nearest(x),
        }
    }

    /// What each element loses.
    pub(crate) fn lost(self, elements: &[f32], lost: &mut Vec<f32>) {
        match self {
            // A loop of its own, because the compiler makes vectors of it.
            Points::Even { scale, low, high } => {
                lost.extend(elements.iter().map(|&x| x - even(x, scale, low, high)));
            }
            _ => lost.extend(elements.iter().map(|&x| x - self.nearest(x))),
        }
    }
}

fn even(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    let steps = x / scale;
    // As QuantizeLinear of a number that is none: the zero point.
    let steps = if steps.is_nan() { 0.0 } else { steps };
    (steps.max(low).min(high) + WHOLE - WHOLE) * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qdq::{dequantize, quantize};
    use crate::range::grid_of_range;
    use crate::{DType, Granularity, Spec};

    /// The loop over elements against the definition.
    #[test]
    fn points_are_those_of_the_definition() {
        let elements: Vec<f32> = (-4000..4000)
            .map(|at| at as f32 * 0.0613)
            .chain([
                0.5,
                1.5,
                -0.5,
                -2.5,
                0.0,
                -0.0,
                1e30,
                -1e30,
                f32::INFINITY,
                f32::MIN_POSITIVE,
                f32::NAN,
            ])
            .collect();
        let spec = |dtype| match dtype {
            DType::UInt4 | DType::UInt8 => Spec::activation(dtype),
            _ => Spec::weight(dtype, Granularity::PerTensor),
        };
        let dtypes =
            [DType::Int2, DType::Int4, DType::UInt4, DType::Int8, DType::Int16, DType::Int32];
        for (dtype, range) in dtypes.into_iter().zip([3.0, 8.0, 0.3, 77.0, 1e3, 1e-3]) {
            for rounding in [Rounding::HalfEven, Rounding::HalfUpShifted] {
                let spec = spec(dtype);
                let cell = grid_of_range(&spec, -range / 3.0, range);
                let encoding = Encoding::new(&spec, Vec::new(), vec![cell]);
                let points = Points::of(&encoding, rounding).unwrap()[0];
                let dims = [elements.len()];
                let expected = match rounding {
                    Rounding::HalfEven => {
                        let stored = quantize(&elements, &dims, &encoding).unwrap();
                        dequantize(&stored, &dims, &encoding).unwrap()
                    }
                    Rounding::HalfUpShifted => {
                        let limits = Limits::of(&encoding, 0);
                        elements.iter().map(|&x| limits.simulate(x)).collect()
                    }
                };
                let found: Vec<f32> = elements.iter().map(|&x| points.nearest(x)).collect();
                let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                assert_eq!(bits(&found), bits(&expected), "{dtype} {rounding:?}");
                let mut lost = Vec::new();
                points.lost(&elements, &mut lost);
                let losses = elements.iter().zip(&expected).map(|(x, back)| x - back);
                assert_eq!(bits(&lost), bits(&losses.collect::<Vec<f32>>()));
            }
        }
    }
}
