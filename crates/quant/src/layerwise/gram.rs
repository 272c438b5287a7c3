//! G = Σ xᵀx over the rows that a layer reads.

use ndarray::{Array2, s};
use rayon::prelude::*;

use super::tiles::{CHUNK, STRIP, Shared, Tiles};

/// The Gram matrix of rows, or its diagonal blocks: where scales belong to blocks, nothing else is
/// asked of it. G is symmetric, so that the upper half is summed.
///
/// Each chunk of rows is multiplied in single precision, and chunks are added so that their order does
/// not matter: any partition of the samples gives the same bits.
#[derive(Clone, Debug)]
pub(crate) struct Gram {
    width: usize,
    /// Rows that were added.
    rows: u64,
    blocks: Vec<Tiles>,
}

impl Gram {
    /// The matrix of no rows yet, for `groups` independent parts of `depth` columns, each cut into
    /// blocks of `block` columns.
    pub(crate) fn new(groups: usize, depth: usize, block: usize) -> Gram {
        let mut blocks = Vec::new();
        for group in 0..groups {
            for from in (0..depth).step_by(block.max(1)) {
                blocks.push(Tiles::upper(group * depth + from, block.min(depth - from)));
            }
        }
        Gram { width: groups * depth, rows: 0, blocks }
    }

    /// Bytes that the matrix takes, for parts, columns and blocks as in [`Gram::new`].
    pub(crate) fn bytes(groups: usize, depth: usize, block: usize) -> u64 {
        let [groups, depth, block] =
            [groups, depth, block.clamp(1, depth.max(1))].map(|n| n as u64);
        // Half of each block, rounded up to tiles, in two numbers of eight bytes.
        let half = block * (block + block.min(STRIP as u64)) / 2;
        groups * depth.div_ceil(block) * half * 16
    }

    /// Adds rows; what does not fill a row is left out.
    pub(crate) fn add(&mut self, rows: &[f32]) {
        let count = rows.len() / self.width.max(1);
        self.rows += count as u64;
        for from in (0..count).step_by(CHUNK) {
            let (width, many) = (self.width, CHUNK.min(count - from));
            let x = &rows[from * width..];
            self.blocks.par_iter_mut().for_each(|block| {
                let strips = block.strips(x, many, width);
                block.add(&strips, &strips);
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
        block.visit(|[rows, columns], tile| {
            whole.slice_mut(s![rows.clone(), columns.clone()]).assign(tile);
            whole.slice_mut(s![columns, rows]).assign(&tile.t());
        });
        whole
    }

    /// The upper half of a block, what lies above the diagonal doubled.
    pub(crate) fn doubled(&self, at: usize) -> Array2<f32> {
        let block = &self.blocks[at];
        let mut upper = Array2::zeros((block.size, block.size));
        block.visit(|[rows, columns], tile| {
            for ((i, j), &sum) in tile.indexed_iter() {
                let (i, j) = (rows.start + i, columns.start + j);
                if i <= j {
                    upper[[i, j]] = (if i < j { 2.0 * sum } else { sum }) as f32;
                }
            }
        });
        upper
    }
}

impl Shared for Gram {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn rows_mut(&mut self) -> &mut u64 {
        &mut self.rows
    }

    fn parts(&self) -> &[Tiles] {
        &self.blocks
    }

    fn parts_mut(&mut self) -> &mut [Tiles] {
        &mut self.blocks
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::*;
    use crate::layerwise::tiles::{merge_numbers, numbers};

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
                let upper = gram.doubled(at).mapv(f64::from);
                let halves = &found - &((&upper + &upper.t()) / 2.0);
                assert!(halves.iter().all(|off| off.abs() < 1e-3));
            }
        }
    }

    #[test]
    fn any_partition_gives_the_same_bits() {
        let (samples, width) = (12, 40);
        let x: Vec<Vec<f32>> = (0..samples)
            .map(|sample| {
                let size = 10_f32.powi(sample % 5 * 4 - 8);
                (0..7 * width).map(|at| ((at * 29 + sample as usize) % 83) as f32 * size).collect()
            })
            .collect();
        let of = |chosen: &[usize]| {
            let mut gram = Gram::new(1, width, width);
            chosen.iter().for_each(|&at| gram.add(&x[at]));
            gram
        };
        let whole = of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]).block(0);
        let parts = [of(&[7, 2, 11]), of(&[4]), of(&[10, 9, 0, 1]), of(&[3, 8, 6, 5])];
        let mut merged = Gram::new(1, width, width);
        for part in parts.iter().rev() {
            merge_numbers(&mut merged, &numbers(part), part.rows()).unwrap();
        }
        assert_eq!((merged.block(0), merged.rows()), (whole, 12 * 7));
        assert!(merge_numbers(&mut merged, &numbers(&Gram::new(1, width, 8)), 0).is_none());
    }
}
