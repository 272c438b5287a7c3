//! The range of a weight that costs the outputs of its layer least.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::{Gram, Layer};
use crate::qdq::{Rounding, fake_quantize};
use crate::range::grid_of_range;
use crate::{Cell, Compat, Encoding, Granularity, NumericError, Spec, lpbq};

/// What a candidate costs.
pub(crate) trait Cost {
    /// The loss for every output and every block of the depth, output by output, of a weight that is
    /// off by `error`, in rows.
    fn of(&self, error: &[f32]) -> Vec<f64>;
}

/// The squared error of the outputs, from the Gram matrix of the inputs.
pub(crate) struct Squared {
    outputs: usize,
    groups: usize,
    depth: usize,
    /// One matrix for each group and block, in single precision: errors are small and formed first,
    /// so that nothing cancels.
    blocks: Vec<Array2<f32>>,
}

impl Squared {
    pub(crate) fn new(layer: &Layer, gram: &Gram) -> Squared {
        let blocks = (0..gram.blocks()).map(|at| gram.block(at).mapv(|sum| sum as f32)).collect();
        let Layer { outputs, groups, depth, .. } = *layer;
        Squared { outputs, groups, depth, blocks }
    }
}

impl Cost for Squared {
    fn of(&self, error: &[f32]) -> Vec<f64> {
        let per_group = self.blocks.len() / self.groups.max(1);
        let rows = self.outputs / self.groups.max(1);
        let Ok(all) = ArrayView2::from_shape((self.outputs, self.depth), error) else {
            return Vec::new();
        };
        // Enough rows for a product to be worth its overhead.
        let strip = rows.clamp(1, 64);
        let strips: Vec<(usize, usize)> = (0..self.groups)
            .flat_map(|group| (0..rows).step_by(strip).map(move |row| (group, row)))
            .collect();
        let parts: Vec<Vec<f64>> = strips
            .into_par_iter()
            .map(|(group, row)| {
                let from = group * rows + row;
                let to = group * rows + rows.min(row + strip);
                let mut losses = vec![0.0; (to - from) * per_group];
                let mut column = 0;
                for (at, block) in
                    self.blocks[group * per_group..(group + 1) * per_group].iter().enumerate()
                {
                    let size = block.nrows();
                    let error = all.slice(ndarray::s![from..to, column..column + size]);
                    let mut product = Array2::<f32>::zeros((to - from, size));
                    general_mat_mul(1.0, &error, block, 0.0, &mut product);
                    for (row, (d, p)) in error.rows().into_iter().zip(product.rows()).enumerate() {
                        let dot = d.iter().zip(p).map(|(&d, &p)| f64::from(d) * f64::from(p));
                        losses[row * per_group + at] = dot.sum();
                    }
                    column += size;
                }
                losses
            })
            .collect();
        parts.concat()
    }
}

/// How the search goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// How many parts of the whole range are tried.
    pub(crate) candidates: u32,
    /// Whose choices are made where there is more than one opinion.
    pub(crate) compat: Compat,
}

/// What the search chose.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) encoding: Encoding,
    /// What later layers are computed behind: for AIMET, low-power scales as they were before they were
    /// put on their integer grid.
    pub(crate) behind: Encoding,
    /// For each candidate, the loss of every cell: of the columns of AIMET, outputs or blocks.
    pub(crate) losses: Vec<Vec<f64>>,
    /// The candidate of every cell.
    pub(crate) best: Vec<usize>,
}

impl Chosen {
    /// The loss of the whole range and that of what was chosen.
    pub(crate) fn gain(&self) -> (f64, f64) {
        let whole = self.losses.last().map_or(0.0, |losses| losses.iter().sum());
        let best = self.best.iter().enumerate().map(|(cell, &at)| self.losses[at][cell]).sum();
        (whole, best)
    }
}

/// Searches for the best part of the range of a weight.
///
/// `whole` is the grid of the smallest and the largest element, without low-power scales.
pub(crate) fn search(
    layer: &Layer,
    constant: &[f32],
    spec: &Spec,
    whole: &Encoding,
    cost: &dyn Cost,
    how: Search,
) -> Result<Chosen, NumericError> {
    let rounding = match how.compat {
        Compat::Default => Rounding::HalfEven,
        Compat::Aimet => Rounding::HalfUpShifted,
    };
    let plain = Spec { granularity: plain(spec.granularity), ..*spec };
    let units = units(layer, plain.granularity)?;
    let count = whole.cells.len();
    // A tensor with one scale is judged by all of its outputs together; AIMET asks each.
    let apart = how.compat == Compat::Aimet && plain.granularity == Granularity::PerTensor;
    let slots = if apart { units.len() } else { count };
    let mut losses = Vec::new();
    for candidate in 0..how.candidates {
        let cells = (0..count).map(|cell| part(&plain, whole, cell, candidate, how.candidates));
        let encoding = Encoding::new(&plain, whole.shape.clone(), cells.collect());
        let unit = loss(layer, constant, &encoding, cost, rounding)?;
        let mut sums = vec![0.0; slots];
        for (at, loss) in unit.into_iter().enumerate() {
            sums[if apart { at } else { units[at] }] += loss;
        }
        losses.push(sums);
    }
    let mut best: Vec<usize> = (0..slots).map(|slot| first_least(&losses, slot)).collect();
    if apart {
        // Each output's choice is shown to the one quantizer, which keeps the widest.
        let widest = best.iter().copied().max().unwrap_or(0);
        best.iter_mut().for_each(|choice| *choice = widest);
    }
    let choice = |cell: usize| best.get(if apart { 0 } else { cell }).copied().unwrap_or(0);
    let cells: Vec<Cell> = (0..count)
        .map(|cell| part(&plain, whole, cell, choice(cell) as u32, how.candidates))
        .collect();
    let encoding = match (spec.granularity, how.compat) {
        (Granularity::Lpbq { channel, .. }, Compat::Default) => {
            let start = Encoding::new(spec, whole.shape.clone(), whole.cells.clone());
            low_power(layer, constant, start, channel, cost, &units, how.candidates)?
        }
        _ => Encoding::finished(spec, whole.shape.clone(), cells.clone())?,
    };
    let behind = match how.compat {
        Compat::Default => encoding.clone(),
        Compat::Aimet => Encoding::new(&plain, whole.shape.clone(), cells),
    };
    Ok(Chosen { encoding, behind, losses, best })
}

/// Low-power scales: for each channel the step of its integer scales, for each block the integer.
fn low_power(
    layer: &Layer,
    constant: &[f32],
    mut encoding: Encoding,
    channel: i64,
    cost: &dyn Cost,
    units: &[usize],
    candidates: u32,
) -> Result<Encoding, NumericError> {
    let levels = 1_u32 << lpbq::scale_bits(encoding.granularity)?.min(16);
    let channels = lpbq::channels(&encoding.shape, channel)?;
    let count = channels.iter().max().map_or(0, |last| last + 1);
    let mut widest = vec![0.0_f64; count];
    for (cell, &channel) in channels.iter().enumerate() {
        widest[channel] = widest[channel].max(encoding.cells[cell].scale);
    }
    let mut best: Vec<(f64, f32, Vec<u32>)> = vec![(f64::INFINITY, 0.0, Vec::new()); count];
    for candidate in 0..candidates {
        let part = f64::from(candidate + 1) / f64::from(candidates);
        let steps: Vec<f32> =
            widest.iter().map(|widest| (widest * part / f64::from(levels)) as f32).collect();
        let mut least = vec![(f64::INFINITY, 1_u32); channels.len()];
        for int in 1..=levels {
            for (cell, &channel) in channels.iter().enumerate() {
                encoding.cells[cell].scale = f64::from(int as f32 * steps[channel]);
            }
            let unit = loss(layer, constant, &encoding, cost, Rounding::HalfEven)?;
            let mut sums = vec![0.0; channels.len()];
            unit.into_iter().enumerate().for_each(|(at, loss)| sums[units[at]] += loss);
            for (least, sum) in least.iter_mut().zip(sums) {
                if sum < least.0 {
                    *least = (sum, int);
                }
            }
        }
        for (at, best) in best.iter_mut().enumerate() {
            let of = || (0..channels.len()).filter(|&cell| channels[cell] == at);
            let sum: f64 = of().map(|cell| least[cell].0).sum();
            if sum < best.0 {
                *best = (sum, steps[at], of().map(|cell| least[cell].1).collect());
            }
        }
    }
    encoding.channel_scales = best.iter().map(|(_, step, _)| f64::from(*step)).collect();
    let mut met = vec![0; count];
    for (cell, &channel) in channels.iter().enumerate() {
        let (_, step, ints) = &best[channel];
        let int = ints.get(met[channel]).copied().unwrap_or(1);
        encoding.cells[cell].scale = f64::from(int as f32 * step);
        met[channel] += 1;
    }
    Ok(encoding)
}

/// The granularity without low-power scales.
pub(crate) fn plain(granularity: Granularity) -> Granularity {
    match granularity {
        Granularity::Lpbq { axis, size, channel, .. } => {
            Granularity::PerBlock { axis, size, channel }
        }
        other => other,
    }
}

/// The grid of a part of the whole range: `(candidate + 1) / candidates` of it, in single precision
/// as AIMET computes it.
fn part(spec: &Spec, whole: &Encoding, cell: usize, candidate: u32, candidates: u32) -> Cell {
    let end = |end: f64| end as f32 / candidates as f32 * (candidate + 1) as f32;
    grid_of_range(spec, end(whole.min(cell)), end(whole.max(cell)))
}

fn loss(
    layer: &Layer,
    constant: &[f32],
    encoding: &Encoding,
    cost: &dyn Cost,
    rounding: Rounding,
) -> Result<Vec<f64>, NumericError> {
    let back = fake_quantize(constant, &layer.dims, encoding, rounding)?;
    let error: Vec<f32> = constant.iter().zip(back).map(|(w, back)| w - back).collect();
    Ok(cost.of(&layer.to_rows(&error)))
}

/// The cell of every output and block, output by output.
fn units(layer: &Layer, granularity: Granularity) -> Result<Vec<usize>, NumericError> {
    let cells = layer.cells(granularity)?;
    let block = layer.block(granularity).max(1);
    let rows = cells.chunks(layer.depth.max(1));
    Ok(rows.flat_map(|row| row.iter().step_by(block).map(|&cell| cell as usize)).collect())
}

/// The first of the least.
fn first_least(losses: &[Vec<f64>], slot: usize) -> usize {
    let mut best = 0;
    for (at, losses_at) in losses.iter().enumerate() {
        if losses_at[slot] < losses[best][slot] {
            best = at;
        }
    }
    best
}
