//! What the errors of the blocks of an output do to each other.

use std::ops::Range;

use marquetry_engine::{Panel, multiply};
use ndarray::Array2;

use super::{Gram, Layer};

/// G of whole outputs.
pub(crate) struct Cross {
    /// Outputs of one group.
    outputs: usize,
    depth: usize,
    /// G of each group.
    groups: Vec<Array2<f32>>,
}

impl Cross {
    /// From the matrices of whole groups, with a little more on their diagonals, as
    /// [`super::Squared::damped`]; `None` where there are blocks of them only.
    pub(crate) fn new(layer: &Layer, gram: &Gram, damping: f32) -> Option<Cross> {
        let Layer { outputs, groups: count, depth, .. } = *layer;
        if gram.blocks() != count || count == 0 {
            return None;
        }
        let mut groups: Vec<Array2<f32>> = (0..count).map(|at| both_halves(gram, at)).collect();
        let diagonals = || groups.iter().flat_map(|group| group.diag().to_vec());
        let sum: f64 = diagonals().map(f64::from).sum();
        let mean = (sum / (count * depth).max(1) as f64) as f32;
        let floor = if mean.is_finite() && mean > 0.0 { damping * mean } else { 1.0 };
        for group in &mut groups {
            group.diag_mut().mapv_inplace(|energy| energy + floor);
        }
        Some(Cross { outputs: outputs / count, depth, groups })
    }

    /// G of the group that some outputs are of.
    fn matrix(&self, outputs: &Range<usize>) -> &[f32] {
        self.groups[outputs.start / self.outputs.max(1)].as_slice().unwrap_or_default()
    }

    /// For the errors of some outputs of one group, in rows, what those outside of a block come to there:
    /// e·G without the rows of the block, at its columns.
    pub(crate) fn pulls(
        &self,
        outputs: &Range<usize>,
        error: &[f32],
        block: Range<usize>,
        pulls: &mut Vec<f32>,
    ) {
        let (depth, rows, size) = (self.depth, outputs.len(), block.len());
        let matrix = self.matrix(outputs);
        pulls.clear();
        pulls.resize(rows * size, 0.0);
        let mut part = vec![0.0; rows * size];
        for outside in [0..block.start, block.end..depth] {
            if outside.is_empty() || part.is_empty() {
                continue;
            }
            let of = Panel::new(&error[outside.start..], [rows, outside.len()], depth);
            let to = &matrix[outside.start * depth + block.start..];
            multiply(of, Panel::new(to, [outside.len(), size], depth), &mut part);
            pulls.iter_mut().zip(&part).for_each(|(pull, part)| *pull += part);
        }
    }
}

/// A block in single precision, from its upper half, so that nothing larger is made on the way.
fn both_halves(gram: &Gram, at: usize) -> Array2<f32> {
    let mut block = gram.doubled(at);
    for row in 0..block.nrows() {
        for column in row + 1..block.ncols() {
            let sum = block[[row, column]] / 2.0;
            (block[[row, column]], block[[column, row]]) = (sum, sum);
        }
    }
    block
}
