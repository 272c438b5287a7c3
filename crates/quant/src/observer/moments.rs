//! Count, mean and mean square of every cell.

use serde::{Deserialize, Serialize};

use super::exact_sum::ExactSum;
use super::{Observer, View};
use crate::grid::Grid;
use crate::{Encoding, Granularity, NumericError, Spec};

/// Sums over one cell. Each tensor is summed in double precision, the tensors exactly: so the sums
/// do not depend on the order of tensors, and merging is exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellMoments {
    /// Elements that are numbers.
    count: u64,
    /// Elements that are NaN or infinite, which the sums leave out.
    odd: u64,
    sum: ExactSum,
    squares: ExactSum,
}

impl CellMoments {
    /// How many numbers were seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many NaN and infinities were left out.
    pub fn odd(&self) -> u64 {
        self.odd
    }

    /// The mean; zero where nothing was seen.
    pub fn mean(&self) -> f64 {
        self.sum.value() / self.count.max(1) as f64
    }

    /// The variance; zero where nothing was seen.
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        (self.squares.value() / self.count.max(1) as f64 - mean * mean).max(0.0)
    }
}

/// Moments per tensor, channel or block; merging is exact in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    granularity: Granularity,
    shape: Option<Vec<usize>>,
    cells: Vec<CellMoments>,
}

impl Moments {
    /// An observer that has seen nothing.
    pub fn new(granularity: Granularity) -> Moments {
        Moments { granularity, shape: None, cells: Vec::new() }
    }

    /// The cells in C order of the scale grid; empty before the first update.
    pub fn cells(&self) -> &[CellMoments] {
        &self.cells
    }
}

impl Observer for Moments {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        let grid = Grid::new(tensor.dims, self.granularity)?;
        grid.check(tensor.data.len())?;
        let shape = match self.granularity {
            Granularity::PerTensor => Vec::new(),
            _ => grid.shape().to_vec(),
        };
        if let Some(found) = self.shape.as_ref().filter(|found| **found != shape) {
            return Err(NumericError::GridMismatch { expected: shape, found: found.clone() });
        }
        self.shape = Some(shape);
        self.cells.resize(grid.cells(), CellMoments::default());
        let mut sums = vec![(0u64, 0u64, 0.0f64, 0.0f64); grid.cells()];
        grid.runs(|cell, run| {
            let (count, odd, sum, squares) = &mut sums[cell];
            for &x in &tensor.data[run] {
                let finite = x.is_finite();
                let x = if finite { f64::from(x) } else { 0.0 };
                *count += u64::from(finite);
                *odd += u64::from(!finite);
                *sum += x;
                *squares += x * x;
            }
        });
        for (cell, (count, odd, sum, squares)) in self.cells.iter_mut().zip(sums) {
            cell.count += count;
            cell.odd += odd;
            cell.sum.add(sum);
            cell.squares.add(squares);
        }
        Ok(())
    }

    fn merge(&mut self, other: Moments) -> Result<(), NumericError> {
        if self.granularity != other.granularity {
            return Err(NumericError::Unmergeable);
        }
        match (&self.shape, other.shape) {
            (_, None) => {}
            (None, shape) => (self.shape, self.cells) = (shape, other.cells),
            (Some(ours), Some(theirs)) if *ours == theirs => {
                for (ours, theirs) in self.cells.iter_mut().zip(&other.cells) {
                    ours.count += theirs.count;
                    ours.odd += theirs.odd;
                    ours.sum.merge(&theirs.sum);
                    ours.squares.merge(&theirs.squares);
                }
            }
            (Some(ours), Some(found)) => {
                return Err(NumericError::GridMismatch { expected: ours.clone(), found });
            }
        }
        Ok(())
    }

    /// Moments have no range: this is always an error.
    fn finish(&self, _: &Spec) -> Result<Encoding, NumericError> {
        Err(NumericError::Unmergeable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_partition_of_the_tensors_gives_the_same_bytes() {
        let tensors: Vec<Vec<f32>> = (0..20)
            .map(|i| (0..6).map(|j| ((i * 31 + j * 17) % 23) as f32 * 0.1 - 1e3).collect())
            .collect();
        let observe = |tensors: &[Vec<f32>]| {
            let mut moments = Moments::new(Granularity::PerChannel(0));
            for data in tensors {
                moments.update(View { dims: &[2, 3], data }).unwrap();
            }
            moments
        };
        let bytes = |moments: &Moments| serde_json::to_string(moments).unwrap();
        let whole = observe(&tensors);
        for cut in 0..=tensors.len() {
            let (left, right) = tensors.split_at(cut);
            let mut merged = observe(right);
            merged.merge(observe(left)).unwrap();
            assert_eq!(bytes(&merged), bytes(&whole));
        }
        let first: Vec<f64> =
            tensors.iter().flat_map(|data| &data[..3]).map(|&x| f64::from(x)).collect();
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        assert!((whole.cells()[0].mean() - mean).abs() < 1e-9);
        let variance =
            first.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / first.len() as f64;
        assert!((whole.cells()[0].variance() - variance).abs() < 1e-6);
    }
}
