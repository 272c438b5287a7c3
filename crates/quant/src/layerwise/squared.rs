//! The squared error of outputs, from the Gram matrix of the inputs.

use std::io;
use std::ops::Range;
use std::sync::OnceLock;

use marquetry_engine::{Packed, Panel};
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::search::{Cost, strips};
use super::{Gram, Layer};

/// Columns of the product that are computed at once. G is symmetric, so that each panel needs the
/// columns of the error up to its own end only: half the work of the whole product.
const PANEL: usize = 64;

/// d·G·dᵀ for errors d.
pub(crate) struct Squared {
    /// Blocks of one group.
    per_group: usize,
    /// Outputs of one group.
    outputs: usize,
    depth: usize,
    /// For each group and block the upper triangle of G, what lies above the diagonal doubled. In
    /// single precision: errors are small and formed first, so that nothing cancels.
    blocks: Vec<Array2<f32>>,
    /// The panels of the blocks, once they were asked for: each candidate reads all of them.
    panels: OnceLock<Vec<Vec<Packed>>>,
}

impl Squared {
    pub(crate) fn new(layer: &Layer, gram: &Gram) -> Squared {
        let Layer { outputs, groups, depth, .. } = *layer;
        let (per_group, outputs) = (gram.blocks() / groups.max(1), outputs / groups.max(1));
        let blocks = (0..gram.blocks()).map(|at| gram.doubled(at)).collect();
        Squared { per_group, outputs, depth, blocks, panels: OnceLock::new() }
    }

    /// What blocks of so many elements of an output cost, each on its own, from a matrix of all of them.
    pub(crate) fn of_parts(layer: &Layer, gram: &Gram, block: usize) -> Squared {
        let whole = Squared::new(layer, gram);
        let (depth, block) = (layer.depth, block.max(1));
        if whole.per_group != 1 || block >= depth {
            return whole;
        }
        let part = |matrix: &Array2<f32>, from: usize| {
            let to = depth.min(from + block);
            matrix.slice(s![from..to, from..to]).to_owned()
        };
        let parts = |matrix: &Array2<f32>| -> Vec<Array2<f32>> {
            (0..depth).step_by(block).map(|from| part(matrix, from)).collect()
        };
        let blocks = whole.blocks.iter().flat_map(parts).collect();
        Squared { per_group: depth.div_ceil(block), blocks, ..whole }
    }
}

impl Squared {
    /// The losses of every output and block for one error of each output, in rows.
    pub(crate) fn all(&self, layer: &Layer, error: &[f32]) -> Vec<f64> {
        let parts = strips(layer).into_par_iter().map(|outputs| {
            let rows = outputs.start * layer.depth..outputs.end * layer.depth;
            self.losses(outputs, &error[rows])
        });
        parts.collect::<Vec<Vec<f64>>>().concat()
    }

    /// The same with a little more on the diagonals, as a share of their mean: elements that no sample
    /// reads cost what they are off by, instead of nothing.
    pub(crate) fn damped(mut self, damping: f32) -> Squared {
        let diagonals = self.blocks.iter().flat_map(|block| block.diag().to_vec());
        let (count, sum) = diagonals
            .fold((0_u32, 0.0_f64), |(count, sum), energy| (count + 1, sum + f64::from(energy)));
        let mean = (sum / f64::from(count.max(1))) as f32;
        let floor = if mean.is_finite() && mean > 0.0 { damping * mean } else { 1.0 };
        for block in &mut self.blocks {
            block.diag_mut().mapv_inplace(|energy| energy + floor);
        }
        self
    }
}

/// The panels of a matrix of so many columns.
fn panels(size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..size).step_by(PANEL).map(move |from| from..size.min(from + PANEL))
}

/// The columns of every panel, down to the diagonal.
fn packed(block: &Array2<f32>) -> Vec<Packed> {
    let size = block.nrows();
    let data = block.as_slice().unwrap_or_default();
    let panel = |columns: Range<usize>| {
        Packed::new(Panel::new(&data[columns.start..], [columns.end, columns.len()], size))
    };
    panels(size).map(panel).collect()
}

impl Cost for Squared {
    fn of(&self, outputs: Range<usize>, error: &[f32]) -> io::Result<Vec<f64>> {
        Ok(self.losses(outputs, error))
    }
}

impl Squared {
    /// As [`Cost::of`].
    fn losses(&self, outputs: Range<usize>, error: &[f32]) -> Vec<f64> {
        let rows = error.len() / self.depth.max(1);
        let group = outputs.start / self.outputs.max(1);
        let of_group = group * self.per_group..(group + 1) * self.per_group;
        let packed = self.panels.get_or_init(|| self.blocks.iter().map(packed).collect());
        let blocks = self.blocks[of_group.clone()].iter().zip(&packed[of_group]);
        let mut losses = vec![0.0; rows * self.per_group];
        let mut product = vec![0.0; rows * PANEL.min(self.depth)];
        let mut column = 0;
        for (at, (block, packed)) in blocks.enumerate() {
            let size = block.nrows();
            for (columns, panel) in panels(size).zip(packed) {
                let product = &mut product[..rows * columns.len()];
                let before = Panel::new(&error[column..], [rows, columns.end], self.depth);
                panel.behind(before, product);
                for (row, p) in product.chunks(columns.len()).enumerate() {
                    let here = row * self.depth + column;
                    let d = &error[here + columns.start..here + columns.end];
                    losses[row * self.per_group + at] += dot(d, p);
                }
            }
            column += size;
        }
        losses
    }
}

/// The sum of products in double precision, in four parts: a single one would wait for each addition.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; 4];
    let (fours_a, fours_b) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest = fours_a.remainder().iter().zip(fours_b.remainder());
    let rest: f64 = rest.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    for (a, b) in fours_a.zip(fours_b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
