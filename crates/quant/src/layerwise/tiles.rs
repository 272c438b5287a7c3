//! Products of columns of rows, Σ yᵀ·x, in tiles that are summed so that the order of rows does not matter.

use std::ops::Range;

use marquetry_engine::{Panel, Square};
use ndarray::Array2;
use rayon::prelude::*;

use super::exact::Sums;

/// Rows that are multiplied at once: enough for the product to be worth its overhead, few enough for
/// a sum in single precision.
pub(crate) const CHUNK: usize = 1024;

/// Columns of a strip: of a symmetric product, only the tiles at and above the diagonal are computed.
/// Narrow strips waste less there and in the last one; wide ones cost less to fetch.
pub(crate) const STRIP: usize = 64;

/// The numbers of sums, for a file.
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

/// A square product of columns.
#[derive(Clone, Debug)]
pub(crate) struct Tiles {
    /// The first column.
    pub(crate) from: usize,
    pub(crate) size: usize,
    tiles: Vec<Tile>,
}

/// The product of two strips.
#[derive(Clone, Debug)]
struct Tile {
    /// The strip of its rows, and that of its columns.
    strips: (usize, usize),
    dim: (usize, usize),
    sums: Sums,
}

impl Tiles {
    /// Of columns with themselves: the upper half.
    pub(crate) fn upper(from: usize, size: usize) -> Tiles {
        Tiles::new(from, size, |i, j| i <= j)
    }

    /// Of columns with others.
    pub(crate) fn all(from: usize, size: usize) -> Tiles {
        Tiles::new(from, size, |_, _| true)
    }

    fn new(from: usize, size: usize, wanted: impl Fn(usize, usize) -> bool) -> Tiles {
        let count = size.div_ceil(STRIP);
        let of = |strip: usize| STRIP.min(size - strip * STRIP);
        let strips = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
        let tiles = strips.filter(|&(i, j)| wanted(i, j)).map(|strips| {
            let dim = (of(strips.0), of(strips.1));
            Tile { strips, dim, sums: Sums::new(dim.0 * dim.1) }
        });
        Tiles { from, size, tiles: tiles.collect() }
    }

    /// The strips of these columns in some rows, each `width` long.
    pub(crate) fn strips(&self, rows: &[f32], many: usize, width: usize) -> Vec<Square> {
        let strips = (0..self.size.div_ceil(STRIP)).into_par_iter().map(|strip| {
            let at = strip * STRIP;
            let columns = STRIP.min(self.size - at);
            Square::new(Panel::new(&rows[self.from + at..], [many, columns], width))
        });
        strips.collect()
    }

    /// Adds the products of strips.
    pub(crate) fn add(&mut self, left: &[Square], right: &[Square]) {
        self.tiles.par_iter_mut().for_each_init(Vec::new, |product, tile| {
            product.resize(tile.dim.0 * tile.dim.1, 0.0);
            left[tile.strips.0].multiply(&right[tile.strips.1], product);
            tile.sums.add(product);
        });
    }

    /// Makes all sums NaN.
    pub(crate) fn spoil(&mut self) {
        for tile in &mut self.tiles {
            tile.sums.add(&vec![f32::NAN; tile.dim.0 * tile.dim.1]);
        }
    }

    /// Visits the tiles, with the rows and columns that they are of.
    pub(crate) fn visit(&self, mut visit: impl FnMut([Range<usize>; 2], &Array2<f64>)) {
        for tile in &self.tiles {
            let sums = tile.sums.iter().collect();
            let sums = Array2::from_shape_vec(tile.dim, sums).expect("a tile has its dimensions");
            let [row, column] = [tile.strips.0, tile.strips.1].map(|strip| strip * STRIP);
            visit([row..row + tile.dim.0, column..column + tile.dim.1], &sums);
        }
    }
}

/// Sums over rows that other processes have a part of.
pub(crate) trait Shared {
    /// Rows that were added.
    fn rows(&self) -> u64;

    fn rows_mut(&mut self) -> &mut u64;

    fn parts(&self) -> &[Tiles];

    fn parts_mut(&mut self) -> &mut [Tiles];
}

/// What sums hold, tile by tile.
pub(crate) fn numbers(of: &dyn Shared) -> Numbers {
    let mut numbers = Numbers::default();
    let tiles = of.parts().iter().flat_map(|part| &part.tiles);
    tiles.for_each(|tile| tile.sums.numbers(&mut numbers));
    if numbers.odd.iter().all(|&odd| odd == 0.0) {
        numbers.odd.clear();
    }
    numbers
}

/// Adds the rows of others of the same columns.
pub(crate) fn merge(to: &mut dyn Shared, other: &dyn Shared) {
    let others = other.parts().iter().flat_map(|part| &part.tiles);
    let tiles = to.parts_mut().iter_mut().flat_map(|part| &mut part.tiles);
    tiles.zip(others).for_each(|(tile, other)| tile.sums.merge(&other.sums));
    *to.rows_mut() += other.rows();
}

/// Adds what others of the same columns hold; `None` if it cannot be of these.
pub(crate) fn merge_numbers(to: &mut dyn Shared, numbers: &Numbers, rows: u64) -> Option<()> {
    let tiles = || to.parts().iter().flat_map(|part| &part.tiles);
    let len: usize = tiles().map(|tile| tile.dim.0 * tile.dim.1).sum();
    let Numbers { upper, lower, odd, exponents } = numbers;
    let fits = upper.len() == len && lower.len() == len && exponents.len() == tiles().count();
    if !fits || !(odd.is_empty() || odd.len() == len) {
        return None;
    }
    let mut at = 0;
    let tiles = to.parts_mut().iter_mut().flat_map(|part| &mut part.tiles);
    for (tile, &exponent) in tiles.zip(exponents) {
        let part = at..at + tile.dim.0 * tile.dim.1;
        at = part.end;
        tile.sums.merge(&Sums::from_numbers(numbers, part, exponent)?);
    }
    *to.rows_mut() += rows;
    Some(())
}
