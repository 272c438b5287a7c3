//! The scale grid: which elements of a tensor share a scale.

use std::ops::Range;

use crate::{Granularity, NumericError};

/// The cells of one tensor: a coarser tensor of the same rank, one cell per scale.
///
/// A cell spans `block[d]` elements along axis `d`. Cells are numbered in C order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    dims: Vec<usize>,
    block: Vec<usize>,
    shape: Vec<usize>,
    elements: usize,
    cells: usize,
}

impl Grid {
    /// The grid of a tensor of shape `dims`.
    ///
    /// # Errors
    ///
    /// `BadAxis` for an axis outside the rank or equal to its block's channel, `BadBlock` for
    /// blocks of no elements, `TooLarge` where the number of elements overflows.
    pub fn new(dims: &[usize], granularity: Granularity) -> Result<Grid, NumericError> {
        let elements = product(dims)?;
        let mut block: Vec<usize> = dims.iter().map(|&dim| dim.max(1)).collect();
        match granularity {
            Granularity::PerTensor => {}
            Granularity::PerChannel(axis) => block[resolve(axis, dims.len())?] = 1,
            Granularity::PerBlock { axis, size, channel }
            | Granularity::Lpbq { axis, size, channel, .. } => {
                let axis_at = resolve(axis, dims.len())?;
                let channel_at = resolve(channel, dims.len())?;
                if axis_at == channel_at {
                    return Err(NumericError::BadAxis { axis: channel, rank: dims.len() });
                }
                if size == 0 {
                    return Err(NumericError::BadBlock { size });
                }
                block[channel_at] = 1;
                block[axis_at] = size.min(block[axis_at]);
            }
        }
        let shape: Vec<usize> =
            dims.iter().zip(&block).map(|(&dim, &block)| dim.max(1).div_ceil(block)).collect();
        let cells = product(&shape)?;
        Ok(Grid { dims: dims.to_vec(), block, shape, elements, cells })
    }

    /// The number of cells along every axis; 1 where a cell spans the axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of cells.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The number of elements of the tensor.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Calls `visit` with a cell and a run of consecutive elements in it, in C order of the
    /// tensor; every element is in exactly one run.
    pub fn runs(&self, mut visit: impl FnMut(usize, Range<usize>)) {
        if self.elements == 0 {
            return;
        }
        // Axes behind `split` are spanned whole by every cell, so a run covers them and one block
        // of axis `split`.
        let split = (0..self.dims.len()).rev().find(|&axis| self.shape[axis] > 1);
        let Some(split) = split else { return visit(0, 0..self.elements) };
        let inner: usize = self.dims[split + 1..].iter().product();
        let row = self.dims[split] * inner;
        let mut index = vec![0; split];
        for start in (0..self.elements).step_by(row) {
            let outer = index
                .iter()
                .enumerate()
                .fold(0, |cell, (axis, &at)| cell * self.shape[axis] + at / self.block[axis]);
            for part in 0..self.shape[split] {
                let from = part * self.block[split];
                let to = (from + self.block[split]).min(self.dims[split]);
                visit(outer * self.shape[split] + part, start + from * inner..start + to * inner);
            }
            for axis in (0..split).rev() {
                index[axis] += 1;
                if index[axis] < self.dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }

    /// Refuses data that has not as many elements as the grid.
    pub(crate) fn check(&self, len: usize) -> Result<(), NumericError> {
        if len == self.elements {
            return Ok(());
        }
        Err(NumericError::Length { expected: self.elements, found: len })
    }
}

/// The axis counted from the first.
pub(crate) fn resolve(axis: i64, rank: usize) -> Result<usize, NumericError> {
    let bad = NumericError::BadAxis { axis, rank };
    let signed = i64::try_from(rank).map_err(|_| bad.clone())?;
    let at = if axis < 0 { axis.checked_add(signed) } else { Some(axis) };
    match at {
        Some(at) if (0..signed).contains(&at) => usize::try_from(at).map_err(|_| bad),
        _ => Err(bad),
    }
}

fn product(dims: &[usize]) -> Result<usize, NumericError> {
    dims.iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .ok_or_else(|| NumericError::TooLarge { dims: dims.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell_of_every_element(grid: &Grid) -> Vec<usize> {
        let mut cells = Vec::new();
        grid.runs(|cell, run| {
            assert_eq!(run.start, cells.len(), "runs are consecutive");
            cells.resize(run.end, cell);
        });
        cells
    }

    /// The definition, element by element.
    fn by_definition(dims: &[usize], grid: &Grid) -> Vec<usize> {
        let elements: usize = dims.iter().product();
        (0..elements)
            .map(|element| {
                let mut rest = element;
                let mut index = vec![0; dims.len()];
                for axis in (0..dims.len()).rev() {
                    index[axis] = rest % dims[axis];
                    rest /= dims[axis];
                }
                index
                    .iter()
                    .enumerate()
                    .fold(0, |cell, (axis, &at)| cell * grid.shape[axis] + at / grid.block[axis])
            })
            .collect()
    }

    #[test]
    fn runs_agree_with_the_definition() {
        let granularities = [
            Granularity::PerTensor,
            Granularity::PerChannel(0),
            Granularity::PerChannel(1),
            Granularity::PerChannel(-1),
            Granularity::PerBlock { axis: 1, size: 2, channel: 0 },
            Granularity::PerBlock { axis: 0, size: 3, channel: -1 },
            Granularity::PerBlock { axis: -1, size: 4, channel: 0 },
        ];
        for dims in [vec![5, 7], vec![6, 4, 3, 3], vec![2, 1, 5], vec![1, 1], vec![4, 9, 2]] {
            for granularity in granularities {
                let grid = Grid::new(&dims, granularity).unwrap();
                assert_eq!(
                    cell_of_every_element(&grid),
                    by_definition(&dims, &grid),
                    "{dims:?} {granularity:?}"
                );
            }
        }
    }

    #[test]
    fn empty_and_scalar_tensors_have_one_cell() {
        assert_eq!(Grid::new(&[], Granularity::PerTensor).unwrap().cells(), 1);
        let empty = Grid::new(&[0, 3], Granularity::PerTensor).unwrap();
        assert_eq!((empty.cells(), cell_of_every_element(&empty).len()), (1, 0));
    }

    #[test]
    fn hostile_grids_are_errors() {
        assert!(Grid::new(&[2], Granularity::PerChannel(1)).is_err());
        assert!(Grid::new(&[2], Granularity::PerChannel(i64::MIN)).is_err());
        assert!(Grid::new(&[usize::MAX, 2], Granularity::PerTensor).is_err());
        let same = Granularity::PerBlock { axis: 0, size: 2, channel: -1 };
        assert!(Grid::new(&[4], same).is_err());
        let none = Granularity::PerBlock { axis: 0, size: 0, channel: 1 };
        assert!(Grid::new(&[4, 4], none).is_err());
    }
}
