//! What a quantizer became: a scale and an offset for every cell of the scale grid.

use serde::{Deserialize, Serialize};

use crate::{DType, Granularity, Spec};

/// The scale and the offset of one cell: `x ≈ scale · (q + offset)` with `q` in `0..=steps`.
///
/// This is the unsigned grid of AIMET, in which `offset` is an integer not above zero.
/// The stored integers of ONNX are `q` shifted by [`Encoding::lowest`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The distance of two neighbouring grid points, above zero.
    pub scale: f64,
    /// Minus the index of the grid point at zero.
    pub offset: f64,
}

/// The encoding of a whole tensor.
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
    /// The cells in C order of `shape`.
    pub cells: Vec<Cell>,
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
        }
    }

    /// The number of steps of the grid, one less than its points.
    pub fn steps(&self) -> f64 {
        steps(self.dtype.bits(), self.strict)
    }

    /// The smallest value of a cell's grid.
    pub fn min(&self, cell: usize) -> f64 {
        let Cell { scale, offset } = self.cells[cell];
        scale * offset
    }

    /// The largest value of a cell's grid.
    pub fn max(&self, cell: usize) -> f64 {
        let Cell { scale, offset } = self.cells[cell];
        scale * (offset + self.steps())
    }

    /// The stored integer of the lowest grid point: 0 for unsigned types, −2ᵇ⁻¹ for signed ones,
    /// one more where the grid is strictly symmetric.
    pub fn lowest(&self) -> i64 {
        if !self.dtype.is_signed() {
            return 0;
        }
        -(1 << (self.dtype.bits() - 1)) + i64::from(self.strict)
    }

    /// The stored integer of the highest grid point.
    pub fn highest(&self) -> i64 {
        // At most 2³² − 1, so the conversion is exact.
        self.lowest() + self.steps() as i64
    }

    /// The stored integer that means zero.
    pub fn zero_point(&self, cell: usize) -> i64 {
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
