//! D = Σ dᵀx over the rows x that a layer reads, and what they are off by.

use ndarray::{Array2, s};
use rayon::prelude::*;

use super::tiles::{CHUNK, Shared, Tiles};

/// The products of what rows are off by with the rows, for each group of columns; in any order of rows the
/// same bits.
#[derive(Clone, Debug)]
pub(crate) struct Drift {
    width: usize,
    rows: u64,
    groups: Vec<Tiles>,
}

impl Drift {
    /// Of no rows yet, for `groups` independent parts of `depth` columns.
    pub(crate) fn new(groups: usize, depth: usize) -> Drift {
        let of_each = (0..groups).map(|group| Tiles::all(group * depth, depth));
        Drift { width: groups * depth, rows: 0, groups: of_each.collect() }
    }

    /// Bytes that it takes: two numbers of eight bytes for each product.
    pub(crate) fn bytes(groups: usize, depth: usize) -> u64 {
        let [groups, depth] = [groups, depth].map(|n| n as u64);
        groups * depth * depth * 16
    }

    /// Adds rows, and what each is off by.
    pub(crate) fn add(&mut self, off: &[f32], rows: &[f32]) {
        let count = rows.len().min(off.len()) / self.width.max(1);
        self.rows += count as u64;
        for from in (0..count).step_by(CHUNK) {
            let (width, many) = (self.width, CHUNK.min(count - from));
            let (off, rows) = (&off[from * width..], &rows[from * width..]);
            self.groups.par_iter_mut().for_each(|group| {
                let left = group.strips(off, many, width);
                group.add(&left, &group.strips(rows, many, width));
            });
        }
    }

    /// Makes it say nothing, here and wherever it is merged: rows were seen that have no counterparts.
    pub(crate) fn spoil(&mut self) {
        self.groups.iter_mut().for_each(Tiles::spoil);
    }

    /// That of a group.
    pub(crate) fn group(&self, at: usize) -> Array2<f64> {
        let mut whole = Array2::zeros((self.groups[at].size, self.groups[at].size));
        self.groups[at]
            .visit(|[rows, columns], tile| whole.slice_mut(s![rows, columns]).assign(tile));
        whole
    }
}

impl Shared for Drift {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn rows_mut(&mut self) -> &mut u64 {
        &mut self.rows
    }

    fn parts(&self) -> &[Tiles] {
        &self.groups
    }

    fn parts_mut(&mut self) -> &mut [Tiles] {
        &mut self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layerwise::tiles::{merge, merge_numbers, numbers};

    fn rows(count: usize, width: usize, step: usize) -> Vec<f32> {
        (0..count * width).map(|at| ((at * step % 101) as f32 - 50.0) / 50.0).collect()
    }

    #[test]
    fn it_is_the_product_whatever_parts_rows_come_in() {
        let (groups, depth, count) = (3, 70, 1100);
        let width = groups * depth;
        let (off, x) = (rows(count, width, 29), rows(count, width, 37));
        let mut whole = Drift::new(groups, depth);
        whole.add(&off, &x);
        for group in 0..groups {
            let of = |rows: &[f32]| {
                let rows = Array2::from_shape_vec((count, width), rows.to_vec()).unwrap();
                let part = rows.slice(s![.., group * depth..(group + 1) * depth]);
                part.mapv(f64::from)
            };
            let expected = of(&off).t().dot(&of(&x));
            let worst = (&whole.group(group) - &expected).mapv(f64::abs);
            assert!(worst.iter().all(|&off| off < 1e-3));
        }
        let part = |from: usize, to: usize| {
            let mut part = Drift::new(groups, depth);
            part.add(&off[from * width..to * width], &x[from * width..to * width]);
            part
        };
        let mut merged = part(1024, 1100);
        merge(&mut merged, &part(0, 1024));
        assert_eq!(merged.group(1), whole.group(1));
        let mut read = Drift::new(groups, depth);
        merge_numbers(&mut read, &numbers(&merged), merged.rows()).unwrap();
        assert_eq!((read.group(2), read.rows()), (whole.group(2), 1100));
        assert!(merge_numbers(&mut read, &numbers(&Drift::new(groups, 8)), 0).is_none());
        let mut spoiled = part(0, 9);
        spoiled.spoil();
        merge(&mut merged, &spoiled);
        assert!(merged.group(0).iter().all(|sum| sum.is_nan()));
    }
}
