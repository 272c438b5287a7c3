//! G = Σ xᵀx over the rows that a layer reads.

use std::ops::Range;

use marquetry_engine::{Panel, Square};
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::exact::Sums;

/// Rows that are multiplied at once: enough for the product to be worth its overhead, few enough for
/// a sum in single precision.
pub(crate) const CHUNK: usize = 1024;

/// Columns of a strip: G is symmetric, so that of the products of two strips, which are its tiles, only
/// those at and above the diagonal are computed. Narrow strips waste less there and in the last one;
/// wide ones cost less to fetch.
const STRIP: usize = 64;

/// The Gram matrix of rows, or its diagonal blocks: where scales belong to blocks, nothing else is
/// asked of it.
///
/// Each chunk of rows is multiplied in single precision, and chunks are added so that their order does
/// not matter: any partition of the samples gives the same bits.
#[derive(Clone, Debug)]
pub(crate) struct Gram {
    width: usize,
    /// Rows that were added.
    rows: u64,
    blocks: Vec<Block>,
}

/// The numbers of a matrix, for a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    /// The parts of all sums, tile by tile.
    pub(crate) upper: Vec<f64>,
    pub(crate) lower: Vec<f64>,
    /// Sums that are not finite; empty where there are none.
    pub(crate) odd: Vec<f64>,
    /// Where the numbers of each tile are cut.
    pub(crate) exponents: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Block {
    /// The first column.
    from: usize,
    tiles: Vec<Tile>,
    size: usize,
}

/// The product of two strips of a block.
#[derive(Clone, Debug)]
struct Tile {
    /// The strip of its rows, and that of its columns, which is no earlier one.
    strips: (usize, usize),
    dim: (usize, usize),
    sums: Sums,
}

impl Gram {
    /// The matrix of no rows yet, for `groups` independent parts of `depth` columns, each cut into
    /// blocks of `block` columns.
    pub(crate) fn new(groups: usize, depth: usize, block: usize) -> Gram {
        let mut blocks = Vec::new();
        for group in 0..groups {
            for from in (0..depth).step_by(block.max(1)) {
                let size = block.min(depth - from);
                let count = size.div_ceil(STRIP);
                let of = |strip: usize| STRIP.min(size - strip * STRIP);
                let strips = (0..count).flat_map(|i| (i..count).map(move |j| (i, j)));
                let tiles = strips.map(|strips| {
                    let dim = (of(strips.0), of(strips.1));
                    Tile { strips, dim, sums: Sums::new(dim.0 * dim.1) }
                });
                blocks.push(Block { from: group * depth + from, tiles: tiles.collect(), size });
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
                let strips: Vec<Square> = (0..block.size.div_ceil(STRIP))
                    .into_par_iter()
                    .map(|strip| {
                        let at = strip * STRIP;
                        let columns = STRIP.min(block.size - at);
                        Square::new(Panel::new(&x[block.from + at..], [many, columns], width))
                    })
                    .collect();
                block.tiles.par_iter_mut().for_each_init(Vec::new, |product, tile| {
                    product.resize(tile.dim.0 * tile.dim.1, 0.0);
                    strips[tile.strips.0].multiply(&strips[tile.strips.1], product);
                    tile.sums.add(product);
                });
            });
        }
    }

    /// Rows that were added.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// What it holds, tile by tile.
    pub(crate) fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::default();
        let tiles = || self.blocks.iter().flat_map(|block| &block.tiles);
        tiles().for_each(|tile| tile.sums.numbers(&mut numbers));
        if numbers.odd.iter().all(|&odd| odd == 0.0) {
            numbers.odd.clear();
        }
        numbers
    }

    /// Adds the rows of another one of the same columns and blocks.
    pub(crate) fn merge(&mut self, other: &Gram) {
        let tiles = self.blocks.iter_mut().flat_map(|block| &mut block.tiles);
        let others = other.blocks.iter().flat_map(|block| &block.tiles);
        tiles.zip(others).for_each(|(tile, other)| tile.sums.merge(&other.sums));
        self.rows += other.rows;
    }

    /// Adds what another one of the same columns and blocks holds; `None` if it cannot be of these.
    pub(crate) fn merge_numbers(&mut self, numbers: &Numbers, rows: u64) -> Option<()> {
        let tiles = || self.blocks.iter().flat_map(|block| &block.tiles);
        let len: usize = tiles().map(|tile| tile.dim.0 * tile.dim.1).sum();
        let Numbers { upper, lower, odd, exponents } = numbers;
        let fits = upper.len() == len && lower.len() == len && exponents.len() == tiles().count();
        if !fits || !(odd.is_empty() || odd.len() == len) {
            return None;
        }
        let mut at = 0;
        let tiles = self.blocks.iter_mut().flat_map(|block| &mut block.tiles);
        for (tile, &exponent) in tiles.zip(exponents) {
            let part = at..at + tile.dim.0 * tile.dim.1;
            at = part.end;
            tile.sums.merge(&Sums::from_numbers(numbers, part, exponent)?);
        }
        self.rows += rows;
        Some(())
    }

    /// The number of blocks, over all groups.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// A block, both of its halves.
    pub(crate) fn block(&self, at: usize) -> Array2<f64> {
        let mut whole = Array2::zeros((self.blocks[at].size, self.blocks[at].size));
        self.tiles(at, |[rows, columns], tile| {
            whole.slice_mut(s![rows.clone(), columns.clone()]).assign(tile);
            whole.slice_mut(s![columns, rows]).assign(&tile.t());
        });
        whole
    }

    /// The upper half of a block, what lies above the diagonal doubled.
    pub(crate) fn doubled(&self, at: usize) -> Array2<f32> {
        let mut upper = Array2::zeros((self.blocks[at].size, self.blocks[at].size));
        self.tiles(at, |[rows, columns], tile| {
            for ((i, j), &sum) in tile.indexed_iter() {
                let (i, j) = (rows.start + i, columns.start + j);
                if i <= j {
                    upper[[i, j]] = (if i < j { 2.0 * sum } else { sum }) as f32;
                }
            }
        });
        upper
    }

    /// Visits the tiles of a block, with the rows and columns that they are of.
    fn tiles(&self, at: usize, mut visit: impl FnMut([Range<usize>; 2], &Array2<f64>)) {
        for tile in &self.blocks[at].tiles {
            let sums = tile.sums.iter().collect();
            let sums = Array2::from_shape_vec(tile.dim, sums).expect("a tile has its dimensions");
            let [row, column] = [tile.strips.0, tile.strips.1].map(|strip| strip * STRIP);
            visit([row..row + tile.dim.0, column..column + tile.dim.1], &sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

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
            merged.merge_numbers(&part.numbers(), part.rows()).unwrap();
        }
        assert_eq!((merged.block(0), merged.rows()), (whole, 12 * 7));
        assert!(merged.merge_numbers(&Gram::new(1, width, 8).numbers(), 0).is_none());
    }
}
