//! Quantization of slices: to integers, back, and both at once.

use half::{bf16, f16};

use crate::encoding::Encoding;
use crate::grid::Grid;
use crate::points::Points;
use crate::{DType, NumericError};

/// What happens half way between two grid points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the even integer before the zero point is added: QuantizeLinear of ONNX.
    HalfEven,
    /// Upwards, after the shift to the unsigned grid in single precision: the simulation of
    /// AIMET. The shift loses bits, so 0.49999997 rounds to 1.
    HalfUpShifted,
}

/// The four numbers that the simulation works with, in single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The lowest grid point.
    pub min: f32,
    /// The highest grid point.
    pub max: f32,
    /// The step.
    pub scale: f32,
    /// Minus the index of zero; not an integer where the grid is shifted by half a step.
    pub offset: f32,
}

impl Limits {
    /// The limits of one cell.
    pub fn of(encoding: &Encoding, cell: usize) -> Limits {
        Limits {
            min: encoding.min(cell) as f32,
            max: encoding.max(cell) as f32,
            scale: encoding.cells[cell].scale as f32,
            offset: encoding.cells[cell].offset as f32,
        }
    }

    /// The value `x` becomes in AIMET's simulation; NaN becomes the lowest grid point.
    pub fn simulate(&self, x: f32) -> f32 {
        // NaN fails both comparisons of `max`, which then gives its argument.
        let clamped = x.max(self.min).min(self.max);
        let q = (clamped / self.scale - self.offset).round();
        self.scale * (q + self.offset)
    }
}

/// The stored integer of `x` as QuantizeLinear of ONNX defines it; NaN becomes the zero point.
pub fn quantize_one(x: f32, scale: f32, zero_point: i64, lowest: i64, highest: i64) -> i64 {
    // The conversion saturates, and 2⁶² leaves room for the zero point.
    let q = (x / scale).round_ties_even().clamp(-(2f32.powi(62)), 2f32.powi(62)) as i64;
    (q + zero_point).clamp(lowest, highest)
}

/// The stored integers of a tensor of shape `dims`, by the rules of ONNX; for 8-bit floats, their
/// codes.
///
/// The scale is narrowed to single precision first, as the exported model holds it.
///
/// # Errors
///
/// `Length` where `data` does not fit `dims`, `GridMismatch` where the encoding does not,
/// `NotAnInteger` where quantizing is a cast, `Shifted` where zero is no grid point.
pub fn quantize(
    data: &[f32],
    dims: &[usize],
    encoding: &Encoding,
) -> Result<Vec<i64>, NumericError> {
    let grid = grid_for(data.len(), dims, encoding)?;
    let mut out = Vec::with_capacity(data.len());
    if let Some(format) = encoding.dtype.float8() {
        grid.runs(|cell, run| {
            let scale = encoding.cells[cell].scale as f32;
            out.extend(data[run].iter().map(|&x| i64::from(format.encode(x / scale, true))));
        });
        return Ok(out);
    }
    if encoding.is_shifted() {
        return Err(NumericError::Shifted);
    }
    let (lowest, highest) = (encoding.lowest(), encoding.highest());
    grid.runs(|cell, run| {
        let scale = encoding.cells[cell].scale as f32;
        let zero_point = encoding.zero_point(cell);
        out.extend(data[run].iter().map(|&x| quantize_one(x, scale, zero_point, lowest, highest)));
    });
    Ok(out)
}

/// The values of stored integers, by the rules of ONNX.
///
/// # Errors
///
/// As [`quantize`].
pub fn dequantize(
    stored: &[i64],
    dims: &[usize],
    encoding: &Encoding,
) -> Result<Vec<f32>, NumericError> {
    let grid = grid_for(stored.len(), dims, encoding)?;
    let mut out = Vec::with_capacity(stored.len());
    if let Some(format) = encoding.dtype.float8() {
        grid.runs(|cell, run| {
            let scale = encoding.cells[cell].scale as f32;
            // Codes are bytes.
            out.extend(stored[run].iter().map(|&code| format.decode(code as u8) * scale));
        });
        return Ok(out);
    }
    if encoding.is_shifted() {
        return Err(NumericError::Shifted);
    }
    grid.runs(|cell, run| {
        let scale = encoding.cells[cell].scale as f32;
        let zero_point = encoding.zero_point(cell);
        out.extend(stored[run].iter().map(|&q| q.saturating_sub(zero_point) as f32 * scale));
    });
    Ok(out)
}

/// The values of a tensor after quantization and back.
///
/// # Errors
///
/// As [`quantize`].
pub fn fake_quantize(
    data: &[f32],
    dims: &[usize],
    encoding: &Encoding,
    rounding: Rounding,
) -> Result<Vec<f32>, NumericError> {
    match encoding.dtype {
        DType::Float16 => return Ok(data.iter().map(|&x| f16::from_f32(x).to_f32()).collect()),
        DType::BFloat16 => return Ok(data.iter().map(|&x| bf16::from_f32(x).to_f32()).collect()),
        _ => {}
    }
    let grid = grid_for(data.len(), dims, encoding)?;
    let points = Points::of(encoding, rounding)?;
    let mut out = Vec::with_capacity(data.len());
    grid.runs(|cell, run| out.extend(data[run].iter().map(|&x| points[cell].nearest(x))));
    Ok(out)
}

fn grid_for(len: usize, dims: &[usize], encoding: &Encoding) -> Result<Grid, NumericError> {
    if encoding.dtype.is_cast() {
        return Err(NumericError::NotAnInteger { dtype: encoding.dtype });
    }
    let grid = Grid::new(dims, encoding.granularity)?;
    grid.check(len)?;
    if grid.cells() != encoding.cells.len() {
        return Err(NumericError::GridMismatch {
            expected: grid.shape().to_vec(),
            found: encoding.shape.clone(),
        });
    }
    Ok(grid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, DType, Spec};

    fn int8(scale: f64) -> Encoding {
        let spec = Spec { symmetric: true, ..Spec::activation(DType::Int8) };
        Encoding::new(&spec, vec![], vec![Cell { scale, offset: -128.0 }])
    }

    #[test]
    fn the_two_roundings_differ_on_ties() {
        let x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.499_999_97];
        let even = fake_quantize(&x, &[7], &int8(1.0), Rounding::HalfEven).unwrap();
        assert_eq!(even, [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 0.0]);
        let up = fake_quantize(&x, &[7], &int8(1.0), Rounding::HalfUpShifted).unwrap();
        assert_eq!(up, [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 1.0]);
    }

    #[test]
    fn integers_saturate() {
        let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30, -1e30, 127.4];
        let q = quantize(&x, &[6], &int8(1.0)).unwrap();
        assert_eq!(q, [127, -128, 0, 127, -128, 127]);
    }

    #[test]
    fn floats_are_cast_or_scaled() {
        let x = [1.0, 0.3, -70000.0, 1e-9];
        let per_tensor = |dtype| Spec { symmetric: true, ..Spec::activation(dtype) };
        let half = Encoding::cast(&per_tensor(DType::Float16));
        let half = fake_quantize(&x, &[4], &half, Rounding::HalfEven).unwrap();
        assert_eq!(half, [1.0, 0.300_048_83, f32::NEG_INFINITY, 0.0]);
        let cells = vec![Cell { scale: 0.5, offset: 0.0 }];
        let fp8 = Encoding::new(&per_tensor(DType::Float8E4M3Fn), vec![], cells);
        let fp8 = fake_quantize(&x, &[4], &fp8, Rounding::HalfEven).unwrap();
        assert_eq!(fp8, [1.0, 0.3125, -224.0, 0.0]);
    }

    #[test]
    fn a_grid_without_zero_is_simulated_and_not_stored() {
        let spec = Spec { symmetric: true, shifted: true, ..Spec::activation(DType::Int2) };
        let cell = crate::range::grid_of_range(&spec, -3.0, 1.0);
        assert_eq!(cell, Cell { scale: 2.0, offset: -1.5 });
        let encoding = Encoding::new(&spec, vec![], vec![cell]);
        let x = [-9.0, -2.0, -0.1, 0.1, 9.0];
        let y = fake_quantize(&x, &[5], &encoding, Rounding::HalfUpShifted).unwrap();
        assert_eq!(y, [-3.0, -1.0, -1.0, 1.0, 3.0]);
        assert_eq!(quantize(&x, &[5], &encoding), Err(NumericError::Shifted));
    }

    #[test]
    fn a_tensor_that_does_not_fit_is_an_error() {
        assert!(quantize(&[1.0], &[2], &int8(1.0)).is_err());
        let mut encoding = int8(1.0);
        encoding.granularity = crate::Granularity::PerChannel(0);
        assert!(quantize(&[1.0, 2.0], &[2], &encoding).is_err());
    }
}
