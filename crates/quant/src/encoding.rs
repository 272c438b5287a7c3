//! What a quantizer became: a scale and an offset for every cell of the scale grid.

use serde::{Deserialize, Serialize};

use crate::{DType, Granularity, NumericError, Spec, lpbq};

/// The scale and the offset of one cell: `x ≈ scale · (q + offset)` with `q` in `0..=steps`.
///
/// This is the unsigned grid of AIMET, in which `offset` is an integer not above zero, and −1.5 where
/// a grid of two bits is shifted by half a step.
/// The stored integers of ONNX are `q` shifted by [`Encoding::lowest`].
/// An 8-bit float is `x ≈ scale · q`, and its offset is zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The distance of two neighbouring grid points, above zero.
    pub scale: f64,
    /// Minus the index of the grid point at zero.
    pub offset: f64,
}

/// The encoding of a whole tensor.
///
/// ```
/// use marquetry_quant::{DType, Encoding, Spec, qdq, range};
///
/// let spec = Spec::activation(DType::UInt8);
/// let cell = range::grid_of_range(&spec, -1.0, 3.0);
/// let encoding = Encoding::new(&spec, vec![], vec![cell]);
/// let numbers = [-1.0, 0.0, 1.5, 9.0];
/// let stored = qdq::quantize(&numbers, &[4], &encoding)?;
/// assert_eq!(stored, [0, 64, 160, 255]);
/// let back = qdq::dequantize(&stored, &[4], &encoding)?;
/// assert!((back[2] - 1.5).abs() <= cell.scale as f32 / 2.0);
/// # Ok::<(), marquetry_quant::NumericError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// The stored type.
    pub dtype: DType,
    /// Whether zero is in the middle of the grid.
    pub symmetric: bool,
    /// Whether one step is given up so that both sides have as many.
    pub strict: bool,
    /// How many elements share a cell.
    pub granularity: Granularity,
    /// The shape of the scale grid: the tensor's rank, and empty for one cell of a tensor whose
    /// rank varies.
    pub shape: Vec<usize>,
    /// The cells in C order of `shape`; none where quantizing is a cast.
    pub cells: Vec<Cell>,
    /// Low-power blocks only: the float scale of every channel, of which the scales of its blocks
    /// are small integer multiples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_scales: Vec<f64>,
}

impl Encoding {
    /// An encoding of `spec` with the given grid.
    pub fn new(spec: &Spec, shape: Vec<usize>, cells: Vec<Cell>) -> Encoding {
        Encoding {
            dtype: spec.dtype,
            symmetric: spec.symmetric,
            strict: spec.symmetric && spec.strict,
            granularity: spec.granularity,
            shape,
            cells,
            channel_scales: Vec::new(),
        }
    }

    /// The encoding of a cast to float16 or bfloat16, which has no cells.
    pub fn cast(spec: &Spec) -> Encoding {
        let granularity = Granularity::PerTensor;
        Encoding::new(&Spec { granularity, ..*spec }, Vec::new(), Vec::new())
    }

    /// The encoding of `spec`, whose cells are those of a grid; the scales of low-power blocks are
    /// put on their integer grid.
    ///
    /// # Errors
    ///
    /// `BadBlock` where the widths of low-power blocks make no sense.
    pub(crate) fn finished(
        spec: &Spec,
        shape: Vec<usize>,
        cells: Vec<Cell>,
    ) -> Result<Encoding, NumericError> {
        let mut encoding = Encoding::new(spec, shape, cells);
        if let Granularity::Lpbq { channel, .. } = spec.granularity {
            lpbq::compress(&mut encoding, channel)?;
        }
        Ok(encoding)
    }

    /// The number of steps of the grid, one less than its points.
    pub fn steps(&self) -> f64 {
        steps(self.dtype.bits(), self.strict)
    }

    /// The smallest value of a cell's grid.
    pub fn min(&self, cell: usize) -> f64 {
        let Cell { scale, offset } = self.cells[cell];
        match self.dtype.float8() {
            Some(format) => -scale * f64::from(format.max()),
            None => scale * offset,
        }
    }

    /// The largest value of a cell's grid.
    pub fn max(&self, cell: usize) -> f64 {
        let Cell { scale, offset } = self.cells[cell];
        match self.dtype.float8() {
            Some(format) => scale * f64::from(format.max()),
            None => scale * (offset + self.steps()),
        }
    }

    /// The stored integer of the lowest grid point: 0 for unsigned types, −2ᵇ⁻¹ for signed ones,
    /// one more where the grid is strictly symmetric.
    pub fn lowest(&self) -> i64 {
        if !self.dtype.is_signed() || !self.dtype.is_integer() {
            return 0;
        }
        -(1 << (self.dtype.bits() - 1)) + i64::from(self.strict)
    }

    /// The stored integer of the highest grid point.
    pub fn highest(&self) -> i64 {
        // At most 2³² − 1, so the conversion is exact.
        self.lowest() + self.steps() as i64
    }

    /// Whether zero lies between two grid points, which no zero point can say.
    pub fn is_shifted(&self) -> bool {
        self.cells.iter().any(|cell| cell.offset.fract() != 0.0)
    }

    /// The stored integer that means zero.
    pub fn zero_point(&self, cell: usize) -> i64 {
        if !self.dtype.is_integer() {
            return 0;
        }
        // Offsets are integers of at most 32 bits; a saturating conversion keeps others harmless.
        self.lowest().saturating_sub(self.cells[cell].offset as i64)
    }

    /// Whether there is one cell for the whole tensor.
    pub fn is_per_tensor(&self) -> bool {
        self.granularity == Granularity::PerTensor
    }
}

/// 2ᵇ − 1 steps, one fewer for strictly symmetric grids.
pub(crate) fn steps(bits: u32, strict: bool) -> f64 {
    ((1u64 << bits) - 1 - u64::from(strict)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zero_point(dtype: DType, strict: bool, offset: f64) -> i64 {
        let spec = Spec { symmetric: true, strict, ..Spec::activation(dtype) };
        Encoding::new(&spec, vec![], vec![Cell { scale: 1.0, offset }]).zero_point(0)
    }

    #[test]
    fn symmetric_signed_grids_have_zero_point_zero() {
        assert_eq!(zero_point(DType::Int8, false, -128.0), 0);
        assert_eq!(zero_point(DType::Int8, true, -127.0), 0);
        assert_eq!(zero_point(DType::Int4, false, -8.0), 0);
        assert_eq!(zero_point(DType::Int32, false, -2147483648.0), 0);
        assert_eq!(zero_point(DType::UInt8, false, -128.0), 128);
    }
}
