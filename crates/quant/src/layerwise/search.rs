//! The range of a weight that costs the outputs of its layer least.

mod settle;

use std::io;
use std::ops::Range;

use rayon::prelude::*;

pub(crate) use self::settle::Outputs;
use super::Layer;
use crate::points::Points;
use crate::qdq::Rounding;
use crate::range::grid_of_range;
use crate::{Cell, Compat, Encoding, Granularity, NumericError, Spec, lpbq};

/// Why no choice was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// A weight or a grid that has no numbers.
    #[error(transparent)]
    Numeric(#[from] NumericError),
    /// Rows that were kept in a file, and cannot be read.
    #[error(transparent)]
    Kept(#[from] io::Error),
}

/// What a weight costs that is off.
pub(crate) trait Cost: Sync {
    /// The losses for errors of these outputs, which are of one group. `error` holds a row for each of
    /// them, and then for each of them again, as often as there are candidates; the loss of each block
    /// of each row is what comes out, row by row.
    fn of(&self, outputs: Range<usize>, error: &[f32]) -> io::Result<Vec<f64>>;
}

/// Rows of errors that are judged at once: enough for a product to be worth its overhead.
const ROWS: usize = 256;

/// Bits of integer scales of which all are tried once more for whole outputs.
const MOST_BITS: u32 = 8;

/// The outputs, those of one group and at most [`ROWS`] at a time.
pub(crate) fn strips(layer: &Layer) -> Vec<Range<usize>> {
    let of_group = layer.outputs / layer.groups.max(1);
    let groups = (0..layer.groups).map(|group| (group * of_group, (group + 1) * of_group));
    let strips = groups
        .flat_map(|(from, to)| (from..to).step_by(ROWS).map(move |from| from..to.min(from + ROWS)));
    strips.collect()
}

/// How the search goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// How many parts of the whole range are tried.
    pub(crate) candidates: u32,
    /// How many more are tried between the neighbours of the best one.
    pub(crate) refine: u32,
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
    /// The loss of the whole range and that of what was chosen, of all cells together.
    pub(crate) off: (f64, f64),
}

/// Searches for the best part of the range of a weight.
///
/// `whole` is the grid of the smallest and the largest element, without low-power scales. Blocks are chosen
/// for what each loses alone, as `cost` says; `outputs`, where somebody can say what whole outputs lose,
/// has the last word.
pub(crate) fn search(
    layer: &Layer,
    constant: &[f32],
    spec: &Spec,
    whole: &Encoding,
    cost: &dyn Cost,
    outputs: Option<Outputs<'_>>,
    how: Search,
) -> Result<Chosen, SearchError> {
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
    let tried = parts(&plain, whole, how.candidates);
    let points: Result<Vec<Vec<Points>>, NumericError> =
        tried.iter().map(|encoding| Points::of(encoding, rounding)).collect();
    let block = layer.block(plain.granularity).max(1);
    let judged = Judged { layer, rows: layer.to_rows(constant), units: &units, block, cost };
    let summed = |unit: Vec<f64>| {
        let mut sums = vec![0.0; slots];
        for (at, loss) in unit.into_iter().enumerate() {
            sums[if apart { at } else { units[at] }] += loss;
        }
        sums
    };
    let alone = judged.losses(&points?)?;
    let losses: Vec<Vec<f64>> = alone.iter().cloned().map(summed).collect();
    let mut best: Vec<usize> = (0..slots).map(|slot| first_least(&losses, slot)).collect();
    if how.compat == Compat::Default {
        // What says nothing, or nothing finite, is no reason to cut a range.
        for (slot, best) in best.iter_mut().enumerate() {
            let (least, whole) = (losses[*best][slot], losses[losses.len() - 1][slot]);
            if !least.is_finite() || least >= whole {
                *best = losses.len() - 1;
            }
        }
    }
    if apart {
        // Each output's choice is shown to the one quantizer, which keeps the widest.
        let widest = best.iter().copied().max().unwrap_or(0);
        best.iter_mut().for_each(|choice| *choice = widest);
    }
    let choice = |cell: usize| best.get(if apart { 0 } else { cell }).copied().unwrap_or(0);
    let mut cells: Vec<Cell> = (0..count).map(|cell| tried[choice(cell)].cells[cell]).collect();
    let mut least: Vec<f64> = best.iter().enumerate().map(|(at, &it)| losses[it][at]).collect();
    let mut finer: Vec<Encoding> = Vec::new();
    if how.refine > 0 && how.compat == Compat::Default {
        finer = (1..=how.refine)
            .map(|at| {
                // From one neighbour to the other.
                let step = f64::from(2 * at) / f64::from(how.refine + 1) - 1.0;
                let grid = |cell: usize| {
                    let part = (choice(cell) as f64 + 1.0 + step) / f64::from(how.candidates);
                    let end = |end: f64| (end * part) as f32;
                    grid_of_range(&plain, end(whole.min(cell)), end(whole.max(cell)))
                };
                Encoding::new(&plain, whole.shape.clone(), (0..count).map(grid).collect())
            })
            .collect();
        let points: Result<Vec<Vec<Points>>, NumericError> =
            finer.iter().map(|encoding| Points::of(encoding, rounding)).collect();
        for (encoding, unit) in finer.iter().zip(judged.losses(&points?)?) {
            for (cell, loss) in summed(unit).into_iter().enumerate() {
                if loss < least[cell] {
                    (least[cell], cells[cell]) = (loss, encoding.cells[cell]);
                }
            }
        }
    }
    let all = losses.last().map_or(0.0, |losses| losses.iter().sum());
    let mut off = (all, least.iter().sum());
    let mut encoding = match (spec.granularity, how.compat) {
        (Granularity::Lpbq { channel, .. }, Compat::Default) => {
            let start = Encoding::finished(spec, whole.shape.clone(), whole.cells.clone())?;
            let (encoding, least) = low_power(&judged, start, channel, how.candidates)?;
            off.1 = least;
            encoding
        }
        _ => Encoding::finished(spec, whole.shape.clone(), cells.clone())?,
    };
    if let (Some(outputs), Compat::Default) = (outputs, how.compat) {
        let start = Encoding::finished(spec, whole.shape.clone(), whole.cells.clone())?;
        let others = |from: &Encoding| match spec.granularity {
            Granularity::Lpbq { channel, .. } => (scaled(from, channel), Vec::new()),
            _ => (tried.iter().chain(&finer).cloned().collect(), alone.clone()),
        };
        let settled = settle::settle(&judged, outputs, &start, &encoding, &others)?;
        (encoding, off) = (settled.encoding, settled.off);
        for (cell, best) in best.iter_mut().enumerate() {
            let is = |of: &Encoding| of.cells[cell] == encoding.cells[cell];
            *best = match is(&tried[*best]) {
                true => *best,
                false => tried.iter().position(is).unwrap_or(*best),
            };
        }
    }
    let behind = match how.compat {
        Compat::Default => encoding.clone(),
        Compat::Aimet => Encoding::new(&plain, whole.shape.clone(), cells),
    };
    Ok(Chosen { encoding, behind, losses, best, off })
}

/// The encoding with each block at every integer scale of its channel, where there are not too many.
fn scaled(from: &Encoding, channel: i64) -> Vec<Encoding> {
    let (bits, channels) =
        (lpbq::scale_bits(from.granularity), lpbq::channels(&from.shape, channel));
    let (Ok(bits @ ..=MOST_BITS), Ok(channels)) = (bits, channels) else { return Vec::new() };
    let of = |int: u32| {
        let mut encoding = from.clone();
        for (cell, &channel) in encoding.cells.iter_mut().zip(&channels) {
            cell.scale = f64::from(int as f32 * from.channel_scales[channel] as f32);
        }
        encoding
    };
    (1..=1 << bits).map(of).collect()
}

/// Low-power scales and the loss of all of them: for each channel the step of its integer scales, for each block the integer.
fn low_power(
    judged: &Judged<'_>,
    mut encoding: Encoding,
    channel: i64,
    candidates: u32,
) -> Result<(Encoding, f64), SearchError> {
    let whole = encoding.clone();
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
        let mut of_level = |int: u32| {
            for (cell, &channel) in channels.iter().enumerate() {
                encoding.cells[cell].scale = f64::from(int as f32 * steps[channel]);
            }
            Points::of(&encoding, Rounding::HalfEven)
        };
        let points: Result<Vec<Vec<Points>>, NumericError> =
            (1..=levels).map(&mut of_level).collect();
        let mut least = vec![(f64::INFINITY, 1_u32); channels.len()];
        for (int, unit) in (1..=levels).zip(judged.losses(&points?)?) {
            let mut sums = vec![0.0; channels.len()];
            unit.into_iter().enumerate().for_each(|(at, loss)| sums[judged.units[at]] += loss);
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
    let sum = best.iter().map(|(sum, ..)| sum).sum();
    for (at, (sum, ..)) in best.iter().enumerate() {
        if !sum.is_finite() {
            encoding.channel_scales[at] = whole.channel_scales[at];
        }
    }
    let mut met = vec![0; count];
    for (cell, &channel) in channels.iter().enumerate() {
        let (sum, step, ints) = &best[channel];
        // Where no loss is finite, the whole range.
        if !sum.is_finite() {
            encoding.cells[cell] = whole.cells[cell];
            continue;
        }
        let int = ints.get(met[channel]).copied().unwrap_or(1);
        encoding.cells[cell].scale = f64::from(int as f32 * step);
        met[channel] += 1;
    }
    Ok((encoding, sum))
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

/// The grids of parts of the whole range, `1/candidates` of it to all of it, in single precision as
/// AIMET computes them.
pub(crate) fn parts(spec: &Spec, whole: &Encoding, candidates: u32) -> Vec<Encoding> {
    let part = |candidate: u32| {
        let end = |end: f64| end as f32 / candidates as f32 * (candidate + 1) as f32;
        let cells = (0..whole.cells.len())
            .map(|cell| grid_of_range(spec, end(whole.min(cell)), end(whole.max(cell))));
        Encoding::new(spec, whole.shape.clone(), cells.collect())
    };
    (0..candidates).map(part).collect()
}

/// A weight whose candidates are judged.
struct Judged<'a> {
    layer: &'a Layer,
    rows: Vec<f32>,
    /// The cell of every output and block.
    units: &'a [usize],
    /// Elements of a block; the last one may have fewer.
    block: usize,
    cost: &'a dyn Cost,
}

impl Judged<'_> {
    /// For each candidate, given by its points for every cell, the loss of every output and block.
    fn losses(&self, candidates: &[Vec<Points>]) -> io::Result<Vec<Vec<f64>>> {
        let Layer { outputs, depth, .. } = *self.layer;
        let blocks = self.units.len() / outputs.max(1);
        let judge = |outputs: Range<usize>| -> io::Result<Vec<f64>> {
            let at_once = (ROWS / outputs.len().max(1)).max(1);
            let mut losses = Vec::with_capacity(candidates.len() * outputs.len() * blocks);
            let mut error = Vec::with_capacity(at_once * outputs.len() * depth);
            for points in candidates.chunks(at_once) {
                error.clear();
                for points in points {
                    self.error(outputs.clone(), points, &mut error);
                }
                losses.extend(self.cost.of(outputs.clone(), &error)?);
            }
            Ok(losses)
        };
        let strips: Vec<(Range<usize>, Vec<f64>)> = strips(self.layer)
            .into_par_iter()
            .map(|it| Ok((it.clone(), judge(it)?)))
            .collect::<io::Result<_>>()?;
        let of_candidate = |candidate: usize| {
            let parts = strips.iter().flat_map(|(outputs, losses)| {
                let len = outputs.len() * blocks;
                &losses[candidate * len..(candidate + 1) * len]
            });
            parts.copied().collect()
        };
        Ok((0..candidates.len()).map(of_candidate).collect())
    }

    /// What whole outputs lose, given the points of every cell.
    fn outputs(&self, cost: &dyn Cost, points: &[Points]) -> io::Result<Vec<f64>> {
        let judge = |outputs: Range<usize>| {
            let mut error = Vec::with_capacity(outputs.len() * self.layer.depth);
            self.error(outputs.clone(), points, &mut error);
            cost.of(outputs, &error)
        };
        let parts: io::Result<Vec<Vec<f64>>> =
            strips(self.layer).into_par_iter().map(judge).collect();
        Ok(parts?.concat())
    }

    /// Appends what the weight of some outputs is off by.
    fn error(&self, outputs: Range<usize>, points: &[Points], error: &mut Vec<f32>) {
        let Layer { depth, outputs: all, .. } = *self.layer;
        let blocks = self.units.len() / all.max(1);
        for output in outputs {
            let row = &self.rows[output * depth..(output + 1) * depth];
            for (at, part) in row.chunks(self.block).enumerate() {
                points[self.units[output * blocks + at]].lost(part, error);
            }
        }
    }
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
