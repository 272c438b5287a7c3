//! G = Σ xᵀx over the rows that a layer reads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Rows that are multiplied at once: enough for the product to be worth its overhead, few enough for
/// a sum in single precision.
pub(crate) const CHUNK: usize = 1024;

/// Columns of a tile: G is symmetric, so that only tiles on and above its diagonal are computed.
const TILE: usize = 256;

/// The Gram matrix of rows, or its diagonal blocks: where scales belong to blocks, nothing else is
/// asked of it.
///
/// Each chunk of rows is multiplied in single precision, chunks are summed in double. The blocks lie
/// one behind the other, each row by row.
#[derive(Clone, Debug)]
pub(crate) struct Gram {
    width: usize,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    /// The first column.
    from: usize,
    /// Upper tiles: row and column inside the block, and the sums.
    tiles: Vec<(usize, usize, Array2<f64>)>,
    size: usize,
}

impl Gram {
    /// The matrix of no rows yet, for `groups` independent parts of `depth` columns, each cut into
    /// blocks of `block` columns.
    pub(crate) fn new(groups: usize, depth: usize, block: usize) -> Gram {
        let mut blocks = Vec::new();
        for group in 0..groups {
            for from in (0..depth).step_by(block.max(1)) {
                let size = block.min(depth - from);
                let edges = || (0..size).step_by(TILE);
                let tiles = edges()
                    .flat_map(|row| {
                        edges().filter(move |&column| column >= row).map(move |it| (row, it))
                    })
                    .map(|(row, column)| {
                        let shape = (TILE.min(size - row), TILE.min(size - column));
                        (row, column, Array2::zeros(shape))
                    });
                blocks.push(Block { from: group * depth + from, tiles: tiles.collect(), size });
            }
        }
        Gram { width: groups * depth, blocks }
    }

    /// Adds rows; what does not fill a row is left out.
    pub(crate) fn add(&mut self, rows: &[f32]) {
        let count = rows.len() / self.width.max(1);
        let whole = &rows[..count * self.width];
        let Ok(x) = ArrayView2::from_shape((count, self.width), whole) else { return };
        for from in (0..count).step_by(CHUNK) {
            let x = x.slice(s![from..count.min(from + CHUNK), ..]);
            let tiles = self.blocks.par_iter_mut().flat_map(|block| {
                let from = block.from;
                block.tiles.par_iter_mut().map(move |tile| (from, tile))
            });
            tiles.for_each(|(from, (row, column, sums))| {
                let (height, width) = sums.dim();
                let a = x.slice(s![.., from + *row..from + *row + height]);
                let b = x.slice(s![.., from + *column..from + *column + width]);
                let mut product = Array2::<f32>::zeros((height, width));
                general_mat_mul(1.0, &a.t(), &b, 0.0, &mut product);
                sums.zip_mut_with(&product, |sum, &new| *sum += f64::from(new));
            });
        }
    }

    /// The number of blocks, over all groups.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// A block, both of its halves.
    pub(crate) fn block(&self, at: usize) -> Array2<f64> {
        let block = &self.blocks[at];
        let mut whole = Array2::zeros((block.size, block.size));
        for (row, column, sums) in &block.tiles {
            let (height, width) = sums.dim();
            whole.slice_mut(s![*row..row + height, *column..column + width]).assign(sums);
            whole.slice_mut(s![*column..column + width, *row..row + height]).assign(&sums.t());
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_whole_product() {
        let (rows, width) = (1500, 300);
        let x: Vec<f32> =
            (0..rows * width).map(|at| ((at * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let view = ArrayView2::from_shape((rows, width), &x).unwrap().mapv(f64::from);
        let expected = view.t().dot(&view);
        for block in [300, 32] {
            let mut gram = Gram::new(1, width, block);
            gram.add(&x[..700 * width]);
            gram.add(&x[700 * width..]);
            assert_eq!(gram.blocks(), width.div_ceil(block));
            for at in 0..gram.blocks() {
                let found = gram.block(at);
                let from = at * block;
                let part =
                    expected.slice(s![from..from + found.nrows(), from..from + found.nrows()]);
                let worst = (&found - &part).mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
                assert!(worst < 1e-3, "block {at} of {block}: {worst}");
            }
        }
    }
}
