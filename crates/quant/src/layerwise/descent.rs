//! Refinement of rounded weights: element by element and scale by scale, whatever lowers the loss.
//!
//! With the errors d = w − ŵ of an output, its loss is d·G·dᵀ. As a function of one element alone that
//! is a parabola around ŵₖ + (d·G)ₖ / Gₖₖ, so that the grid point nearest to there is best (Behdin et
//! al., "QuantEase: Optimization-based Quantization for Language Models", 2023). As a function of one
//! scale alone, all integers kept, it is a parabola as well: for the elements c of a cell its minimum is
//! at the scale times 1 + (c·G·dᵀ) / (c·G·cᵀ).

use marquetry_engine::{Panel, multiply};
use ndarray::{Array1, Array2, s};
use rayon::prelude::*;

use super::{Gram, Layer};
use crate::points::Points;
use crate::qdq::Rounding;
use crate::{Encoding, NumericError};

/// Outputs that are refined side by side.
const ROWS: usize = 64;

/// How often all elements are looked at before scales are.
const SWEEPS: usize = 4;

/// A scale does not change by more than this factor at once: beyond, integers would no longer fit.
const MOST: f32 = 1.5;

/// What refining needs of the inputs of a layer: for each group, G with something added to its diagonal.
pub(crate) struct Descent {
    groups: Vec<Array2<f32>>,
}

impl Descent {
    /// `damping` is added to the diagonal of each matrix as a part of its mean.
    pub(crate) fn new(gram: &Gram, damping: f64) -> Descent {
        let groups = (0..gram.blocks()).into_par_iter().map(|at| {
            let mut h = gram.block(at);
            let mean = h.diag().sum() / h.nrows().max(1) as f64;
            let floor = if mean > 0.0 { damping * mean } else { 1.0 };
            h.diag_mut().mapv_inplace(|energy| energy + floor);
            h.mapv(|element| element as f32)
        });
        Descent { groups: groups.collect() }
    }

    /// Lowers the loss of `rows`, which are on the grid of `encoding`, in some rounds over all elements,
    /// between which scales are fitted if they may.
    pub(crate) fn refine(
        &self,
        layer: &Layer,
        wanted: &[f32],
        mut rows: Vec<f32>,
        mut encoding: Encoding,
        rounds: u32,
        scales: bool,
    ) -> Result<(Encoding, Vec<f32>), NumericError> {
        let depth = layer.depth;
        let cells = layer.cells(encoding.granularity)?;
        let of_group = layer.outputs / layer.groups.max(1);
        if depth == 0 || of_group == 0 {
            return Ok((encoding, rows));
        }
        for round in 0..rounds {
            let points = Points::of(&encoding, Rounding::HalfEven)?;
            let fit = scales && round + 1 < rounds;
            let strips =
                rows.par_chunks_mut(of_group * depth).enumerate().flat_map(|(at, rows)| {
                    let first = at * of_group;
                    rows.par_chunks_mut(ROWS * depth)
                        .enumerate()
                        .map(move |(strip, rows)| (at, (first + strip * ROWS) * depth, rows))
                });
            let points = &points;
            let cells = &cells;
            let fits: Vec<(bool, Vec<Fit>)> = strips
                .map(|(group, from, rows)| {
                    let part = from..from + rows.len();
                    let strip = Strip {
                        matrix: &self.groups[group],
                        wanted: &wanted[part.clone()],
                        cells: &cells[part],
                        points,
                    };
                    strip.refine(rows, fit)
                })
                .collect();
            if !fit {
                if fits.iter().all(|(moved, _)| !moved) {
                    break;
                }
                continue;
            }
            let mut sums = vec![(0.0, 0.0); encoding.cells.len()];
            for Fit { cell, gain, energy } in fits.into_iter().flat_map(|(_, fits)| fits) {
                sums[cell as usize].0 += gain;
                sums[cell as usize].1 += energy;
            }
            for (cell, (gain, energy)) in encoding.cells.iter_mut().zip(sums) {
                let factor = (1.0 + gain / energy) as f32;
                if energy > 0.0 && factor.is_finite() {
                    let scale = cell.scale as f32 * factor.clamp(1.0 / MOST, MOST);
                    if scale.is_normal() {
                        cell.scale = f64::from(scale);
                    }
                }
            }
            let fitted = Points::of(&encoding, Rounding::HalfEven)?;
            for (row, &cell) in rows.iter_mut().zip(cells) {
                *row = points[cell as usize].on(*row, fitted[cell as usize]);
            }
        }
        Ok((encoding, rows))
    }
}

/// What a cell asks of its scale.
struct Fit {
    cell: u32,
    /// c·G·dᵀ
    gain: f64,
    /// c·G·cᵀ
    energy: f64,
}

/// Some outputs of one group.
struct Strip<'a> {
    matrix: &'a Array2<f32>,
    wanted: &'a [f32],
    cells: &'a [u32],
    points: &'a [Points],
}

impl Strip<'_> {
    /// Goes over all elements, and says if any changed and, if asked, what scales would gain.
    fn refine(&self, rows: &mut [f32], fit: bool) -> (bool, Vec<Fit>) {
        let depth = self.matrix.nrows();
        let outputs = rows.len() / depth;
        let lost: Vec<f32> = self.wanted.iter().zip(&*rows).map(|(w, back)| w - back).collect();
        let mut pulls = product(&lost, self.matrix);
        let mut changed = false;
        for output in 0..outputs {
            let part = output * depth..(output + 1) * depth;
            let (row, cells) = (&mut rows[part.clone()], &self.cells[part]);
            let mut pull = pulls.row_mut(output);
            for _ in 0..SWEEPS {
                let mut moved = false;
                for at in 0..depth {
                    let aim = row[at] + pull[at] / self.matrix[[at, at]];
                    let nearest = self.points[cells[at] as usize].nearest(aim);
                    if nearest != row[at] {
                        pull.scaled_add(row[at] - nearest, &self.matrix.row(at));
                        row[at] = nearest;
                        moved = true;
                    }
                }
                changed |= moved;
                if !moved {
                    break;
                }
            }
        }
        if !fit {
            return (changed, Vec::new());
        }
        (changed, self.fits(rows, pulls.as_slice().unwrap_or_default()))
    }

    /// What the scale of each cell of each output would gain by.
    fn fits(&self, rows: &[f32], pulls: &[f32]) -> Vec<Fit> {
        let depth = self.matrix.nrows();
        let energies = self.energies(rows);
        let mut fits = Vec::new();
        // Where an output has several cells, how far to go when all of them change at once.
        let mut ways = Vec::with_capacity(rows.len());
        let mut ends = Vec::new();
        for output in 0..rows.len() / depth {
            let mut from = output * depth;
            for run in self.cells[from..from + depth].chunk_by(|a, b| a == b) {
                let part = from..from + run.len();
                let row = &rows[part.clone()];
                let (gain, energy) = (dot(row, &pulls[part.clone()]), dot(row, &energies[part]));
                let way = if energy > 0.0 { (gain / energy) as f32 } else { 0.0 };
                ways.extend(row.iter().map(|element| element * way));
                fits.push(Fit { cell: run[0], gain, energy });
                from += run.len();
            }
            ends.push(fits.len());
        }
        if fits.len() == ends.len() {
            return fits;
        }
        let along = product(&ways, self.matrix);
        let along = along.as_slice().unwrap_or_default();
        let mut first = 0;
        for (end, part) in ends.into_iter().zip((0..rows.len()).step_by(depth)) {
            let part = part..part + depth;
            let (gain, energy) = (
                dot(&ways[part.clone()], &pulls[part.clone()]),
                dot(&ways[part.clone()], &along[part]),
            );
            let far = if energy > 0.0 { gain / energy } else { 0.0 };
            fits[first..end].iter_mut().for_each(|fit| fit.gain *= far);
            first = end;
        }
        fits
    }

    /// For each element what its cell, alone, adds to the outputs: rows of G times the rest of the cell.
    fn energies(&self, rows: &[f32]) -> Vec<f32> {
        let depth = self.matrix.nrows();
        let Some(first) = self.cells.chunk_by(|a, b| a == b).next().map(<[u32]>::len) else {
            return Vec::new();
        };
        // All elements of an output, or of all outputs, share a cell.
        if first >= depth {
            return product(rows, self.matrix).into_raw_vec_and_offset().0;
        }
        let mut energies = Vec::with_capacity(rows.len());
        for (row, cells) in rows.chunks(depth).zip(self.cells.chunks(depth)) {
            let mut from = 0;
            for run in cells.chunk_by(|a, b| a == b) {
                let to = from + run.len();
                let own = Array1::from_vec(row[from..to].to_vec());
                energies.extend(self.matrix.slice(s![from..to, from..to]).dot(&own));
                from = to;
            }
        }
        energies
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Rows times a symmetric matrix.
fn product(rows: &[f32], matrix: &Array2<f32>) -> Array2<f32> {
    let depth = matrix.nrows();
    let count = rows.len() / depth.max(1);
    let mut product = Array2::zeros((count, depth));
    let (matrix, out) = (matrix.as_slice(), product.as_slice_mut());
    if let (Some(matrix), Some(out)) = (matrix, out) {
        let matrix = Panel::new(matrix, [depth, depth], depth);
        multiply(Panel::new(rows, [count, depth], depth), matrix, out);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, DType, Granularity, Spec};

    const DEPTH: usize = 6;

    fn number(seed: usize) -> f32 {
        ((seed * 7919 + 104_729) % 1009) as f32 / 504.5 - 1.0
    }

    /// Inputs that depend on each other.
    fn gram() -> Gram {
        let rows: Vec<f32> = (0..40)
            .flat_map(|row| {
                let common = number(row * 31);
                (0..DEPTH).map(move |at| common + 0.6 * number(row * DEPTH + at))
            })
            .collect();
        let mut gram = Gram::new(1, DEPTH, DEPTH);
        gram.add(&rows);
        gram
    }

    fn loss(gram: &Gram, wanted: &[f32], rows: &[f32]) -> f64 {
        let d: Vec<f64> = wanted.iter().zip(rows).map(|(a, b)| f64::from(a - b)).collect();
        let g = gram.block(0);
        (0..DEPTH)
            .flat_map(|a| (0..DEPTH).map(move |b| (a, b)))
            .map(|(a, b)| d[a] * g[[a, b]] * d[b])
            .sum()
    }

    fn encoding(granularity: Granularity, shape: Vec<usize>, scale: f64) -> Encoding {
        let spec = Spec::weight(DType::Int2, granularity);
        let cells = vec![Cell { scale, offset: -2.0 }; shape.iter().product()];
        Encoding::new(&spec, shape, cells)
    }

    fn nearest(layer: &Layer, wanted: &[f32], encoding: &Encoding) -> Vec<f32> {
        let points = Points::of(encoding, Rounding::HalfEven).unwrap();
        let cells = layer.cells(encoding.granularity).unwrap();
        wanted.iter().zip(cells).map(|(&w, cell)| points[cell as usize].nearest(w)).collect()
    }

    /// With every other choice of grid points tried: refining stops where no single element is better
    /// elsewhere, and near the best of all.
    #[test]
    fn no_single_element_is_better_elsewhere() {
        let (gram, layer) = (gram(), Layer::of_matrix(1, DEPTH));
        let descent = Descent::new(&gram, 1e-9);
        let grid = encoding(Granularity::PerChannel(0), vec![1, 1], 0.4);
        let mut lower = 0;
        for seed in 0..20 {
            let wanted: Vec<f32> = (0..DEPTH).map(|at| number(seed * 100 + at) * 0.7).collect();
            let start = nearest(&layer, &wanted, &grid);
            let before = loss(&gram, &wanted, &start);
            let (same, found) =
                descent.refine(&layer, &wanted, start, grid.clone(), 3, false).unwrap();
            assert_eq!(same, grid, "scales may not change");
            let after = loss(&gram, &wanted, &found);
            assert!(after <= before * (1.0 + 1e-5), "{after} after {before}");
            lower += usize::from(after < before * 0.9);
            for at in 0..DEPTH {
                for step in -2..=1 {
                    let mut other = found.clone();
                    other[at] = step as f32 * 0.4;
                    let other = loss(&gram, &wanted, &other);
                    assert!(after <= other * (1.0 + 1e-4) + 1e-6, "{after}, element {at}: {other}");
                }
            }
        }
        assert!(lower > 5, "nothing to refine in these weights");
    }

    /// A weight that is on a grid of other scales is found again, and then nothing is lost.
    #[test]
    fn scales_are_found_again() {
        let (gram, layer) = (gram(), Layer::of_matrix(2, DEPTH));
        let descent = Descent::new(&gram, 1e-9);
        let integers = [1.0, -2.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1.0, -2.0, 0.0, 1.0, 1.0];
        let block = Granularity::PerBlock { axis: 1, size: 3, channel: 0 };
        for (granularity, shape, scales) in [
            (Granularity::PerTensor, vec![], vec![0.5]),
            (Granularity::PerChannel(0), vec![2, 1], vec![0.5, 0.7]),
            (block, vec![2, 2], vec![0.5, 0.6, 0.45, 0.7]),
        ] {
            let grid = encoding(granularity, shape, 0.55);
            let cells = layer.cells(granularity).unwrap();
            let pairs = || integers.iter().zip(&cells);
            let wanted: Vec<f32> =
                pairs().map(|(int, &cell)| int * scales[cell as usize]).collect();
            let start: Vec<f32> = integers.iter().map(|int| int * 0.55).collect();
            let before =
                loss(&gram, &wanted, &start) + loss(&gram, &wanted[DEPTH..], &start[DEPTH..]);
            let (found, rows) = descent.refine(&layer, &wanted, start, grid, 60, true).unwrap();
            let after = loss(&gram, &wanted, &rows) + loss(&gram, &wanted[DEPTH..], &rows[DEPTH..]);
            assert!(after < 1e-3 * before, "{granularity}: {after} of {before}");
            for (cell, scale) in found.cells.iter().zip(scales) {
                assert!(
                    (cell.scale - f64::from(scale)).abs() < 0.02,
                    "{granularity}: {} for {scale}",
                    cell.scale
                );
            }
        }
    }
}
