//! AIMET's histogram, and the ranges of its `tf_enhanced` and `percentile` schemes.
//!
//! Reproduced to the bit, oddities included: the range is fixed by the first batch that is not all
//! zeros and later values outside are dropped, every batch weighs the same whatever its size, and
//! a constant that fills one bin has no cost however it is clipped.

use serde::{Deserialize, Serialize};

use super::{Observer, View};
use crate::encoding::{Cell, steps};
use crate::grid::Grid;
use crate::range::grid_of_range;
use crate::{Encoding, Granularity, NumericError, Scheme, Spec};

const BINS: usize = 1536;

/// Saturation costs this many times as much as rounding.
const SATURATION: f64 = 3.0;

/// A histogram for every cell. Merging is refused: its outcome depends on the order of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AimetHistogram {
    granularity: Granularity,
    shape: Option<Vec<usize>>,
    cells: Vec<Option<Histogram>>,
}

impl AimetHistogram {
    /// An observer that has seen nothing.
    pub fn new(granularity: Granularity) -> AimetHistogram {
        AimetHistogram { granularity, shape: None, cells: Vec::new() }
    }
}

impl Observer for AimetHistogram {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        let grid = Grid::new(tensor.dims, self.granularity)?;
        grid.check(tensor.data.len())?;
        let shape = match self.granularity {
            Granularity::PerTensor => Vec::new(),
            _ => grid.shape().to_vec(),
        };
        match &self.shape {
            None => {
                self.shape = Some(shape);
                self.cells = vec![None; grid.cells()];
            }
            Some(found) if *found != shape => {
                return Err(NumericError::GridMismatch { expected: shape, found: found.clone() });
            }
            Some(_) => {}
        }
        if grid.cells() == 1 {
            self.cells[0] = Histogram::updated(self.cells[0].take(), tensor.data);
            return Ok(());
        }
        let mut elements: Vec<Vec<f32>> = vec![Vec::new(); grid.cells()];
        grid.runs(|cell, run| elements[cell].extend_from_slice(&tensor.data[run]));
        for (histogram, data) in self.cells.iter_mut().zip(&elements) {
            *histogram = Histogram::updated(histogram.take(), data);
        }
        Ok(())
    }

    fn merge(&mut self, other: AimetHistogram) -> Result<(), NumericError> {
        match (&self.shape, &other.shape) {
            (_, None) => Ok(()),
            (None, Some(_)) if self.granularity == other.granularity => {
                *self = other;
                Ok(())
            }
            _ => Err(NumericError::Unmergeable),
        }
    }

    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError> {
        let Some(shape) = &self.shape else { return Err(NumericError::NothingObserved) };
        if spec.granularity != self.granularity {
            return Err(NumericError::Unmergeable);
        }
        if spec.dtype.is_cast() {
            return Ok(Encoding::cast(spec));
        }
        let cells = self.cells.iter().map(|histogram| match (histogram, spec.scheme) {
            (None, _) if !spec.dtype.is_integer() => grid_of_range(spec, 0.0, 0.0),
            (None, scheme) => of_zeros(spec, scheme),
            (Some(histogram), Scheme::Percentile(percentage)) => {
                let (lo, hi) = histogram.percentile(percentage);
                grid_of_range(spec, lo, hi)
            }
            (Some(histogram), Scheme::TfEnhanced) if spec.dtype.is_integer() => {
                histogram.cheapest(spec)
            }
            (Some(histogram), _) => {
                let (lo, hi) = histogram.range();
                grid_of_range(spec, lo, hi)
            }
        });
        Encoding::finished(spec, shape.clone(), cells.collect())
    }
}

/// The grid of a cell that was zero in every batch: −1…1.
fn of_zeros(spec: &Spec, scheme: Scheme) -> Cell {
    let strict = spec.symmetric && spec.strict && scheme != Scheme::TfEnhanced;
    let scale = 2.0 / steps(spec.dtype.bits(), strict);
    Cell { scale, offset: (-1.0 / scale).floor() }
}

/// The share of values in every bin. Zero is exactly a bin edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Histogram {
    /// The index of the first bin, counted from zero.
    first: f64,
    step: f64,
    shares: Vec<f64>,
    batches: u32,
}

impl Histogram {
    /// One more batch; nothing as long as all batches are zeros.
    fn updated(histogram: Option<Histogram>, data: &[f32]) -> Option<Histogram> {
        let (mut min, mut max) = (f32::MAX, f32::MIN);
        for &x in data {
            min = if x < min { x } else { min };
            max = if x > max { x } else { max };
        }
        if histogram.is_none() && (min > max || (min == 0.0 && max == 0.0)) {
            return None;
        }
        let mut histogram = histogram.unwrap_or_else(|| Histogram::spanning(min, max));
        histogram.add(data);
        Some(histogram)
    }

    /// Three times the range of the first batch.
    fn spanning(min: f32, max: f32) -> Histogram {
        let max = if min == max { max.max(min + 0.01) } else { max };
        let centre = (max + min) / 2.0;
        let from = (centre - 3.0 * (centre - min)).max(f32::MIN);
        let to = (centre + 3.0 * (max - centre)).min(f32::MAX);
        let step = (f64::from(to) - f64::from(from)) / BINS as f64;
        let first = (f64::from(from) / step).floor();
        Histogram { first, step, shares: vec![0.0; BINS], batches: 0 }
    }

    fn edge(&self, bin: usize) -> f64 {
        (self.first + bin as f64) * self.step
    }

    /// The width of a bin, as single precision sees it.
    fn width(&self) -> f32 {
        (self.edge(1) - self.edge(0)) as f32
    }

    fn add(&mut self, data: &[f32]) {
        let inverse = 1.0 / self.width();
        let mut counts = vec![0u32; BINS];
        for &x in data {
            let bin = f64::from((x * inverse).floor()) - self.first;
            // NaN and everything outside is in no bin.
            if bin >= 0.0 && bin < BINS as f64 {
                counts[bin as usize] += 1;
            }
        }
        let batches = f64::from(self.batches);
        for (share, &count) in self.shares.iter_mut().zip(&counts) {
            let new = f64::from(count) / data.len() as f64;
            *share = (*share * batches + new) / (batches + 1.0);
        }
        self.batches = self.batches.saturating_add(1);
    }

    /// From the first to the last bin that holds values, widened to hold zero.
    fn range(&self) -> (f32, f32) {
        let held = |&bin: &usize| self.shares[bin] > 0.0;
        let lo = (0..BINS).find(held).unwrap_or(0);
        let lo = self.edge(lo) as f32;
        let hi = (1..BINS).rev().find(held).map_or(0.0, |bin| self.edge(bin) as f32);
        let lo = lo.min(0.0);
        (lo, hi.max(0.0).max(lo + 0.01))
    }

    fn percentile(&self, percentage: f64) -> (f32, f32) {
        if percentage >= 100.0 {
            return self.range();
        }
        let width = f64::from(self.width());
        let below = f64::from((1.0 - percentage / 100.0) as f32);
        let above = f64::from((percentage / 100.0) as f32);
        let held = |&bin: &usize| self.shares[bin] > 0.0;
        let last = (0..BINS).rev().find(held).map_or(f32::MIN, |bin| self.edge(bin) as f32);
        let mut lo = None;
        let mut hi = self.edge(BINS - 1) + width;
        let mut sum = 0.0;
        for bin in 0..BINS {
            sum += self.shares[bin];
            let edge = self.edge(bin);
            if lo.is_none() && sum >= below {
                lo = Some(edge);
            }
            if sum < above && (edge as f32) < last {
                hi = edge + width;
            }
        }
        let lo = lo.unwrap_or(self.edge(0)) as f32;
        let hi = hi as f32;
        (lo, if lo == hi { hi + width as f32 } else { hi })
    }

    /// The candidate of least cost, the first of equals.
    fn cheapest(&self, spec: &Spec) -> Cell {
        let bits = spec.dtype.bits();
        let strict = spec.symmetric && spec.strict;
        let range = self.range();
        let candidates = match spec.symmetric {
            true => symmetric(range, steps(bits, strict), spec.unsigned),
            false => asymmetric(range, steps(bits, false)),
        };
        let all_steps = steps(bits, false) as f32;
        let mut best = (f64::INFINITY, candidates[0]);
        for &candidate in &candidates {
            let cost = self.cost(candidate.0, candidate.1, all_steps);
            if cost < best.0 {
                best = (cost, candidate);
            }
        }
        let (scale, offset) = best.1;
        Cell { scale: f64::from(scale), offset: f64::from(offset) }
    }

    /// What saturation and rounding cost on a grid.
    fn cost(&self, scale: f32, offset: f32, steps: f32) -> f64 {
        let start = self.edge(0) as f32;
        let bin_of = |x: f32| {
            let bin = (f64::from(x - start) / self.step).floor();
            // A NaN converts to zero.
            bin.clamp(0.0, (BINS - 1) as f64) as usize
        };
        let (from, to) = (bin_of(scale * offset), bin_of(scale * (offset + steps)));
        let middle = |bin: usize| self.edge(0) + bin as f64 * self.step + self.step / 2.0;
        let saturated = |bins: std::ops::Range<usize>, end: usize| -> f64 {
            let end = f64::from(middle(end) as f32);
            let squares = bins.map(|bin| self.shares[bin] * (middle(bin) - end).powi(2));
            squares.fold(0.0, |sum, square| sum + square)
        };
        let mut rounded = 0.0;
        for bin in from..to {
            if self.shares[bin] > 0.0 {
                let x = middle(bin) as f32;
                let error = f64::from(x - scale * ((x / scale - offset).round() + offset));
                rounded += self.shares[bin] * error * error;
            }
        }
        SATURATION * (saturated(0..from, from) + saturated(to..BINS, to)) + rounded
    }
}

/// Seventeen scales at twenty-one positions, clipped to the range, and the whole range last.
fn asymmetric((lo, hi): (f32, f32), steps: f64) -> Vec<(f32, f32)> {
    let n = steps as f32;
    let whole = ((f64::from(hi) - f64::from(lo)) / steps) as f32;
    let whole_offset = (lo / whole).round();
    let (lo, hi) = (whole * whole_offset, whole * (whole_offset + n));
    let mut candidates = Vec::with_capacity(17 * 21 + 1);
    for sixteenths in 1..=17u8 {
        let scale = f32::from(sixteenths) / 16.0 * whole;
        for position in 0..=20u8 {
            let offset = (-steps + steps / 20.0 * f64::from(position)).trunc() as f32;
            let (from, to) = (scale * offset, scale * (offset + n));
            if from < lo && to > hi {
                continue;
            }
            let (from, to) = (from.max(lo).min(hi), to.max(lo).min(hi));
            if from == to {
                continue;
            }
            let scale = ((f64::from(to) - f64::from(from)) / steps) as f32;
            candidates.push((scale, (from / scale).round()));
        }
    }
    candidates.push((whole, whole_offset));
    candidates
}

/// A hundred fractions of the scale that spans the range.
fn symmetric((lo, hi): (f32, f32), steps: f64, unsigned: bool) -> Vec<(f32, f32)> {
    let (largest, offset) = match unsigned && lo == 0.0 {
        true => (hi / steps as f32, 0.0),
        false => {
            let largest = f64::from(lo.abs().max(hi.abs())) / (steps / 2.0);
            (largest as f32, (-steps / 2.0).floor() as f32)
        }
    };
    let mut candidates = Vec::with_capacity(101);
    // The accumulated fraction decides how many candidates there are: it is part of the result.
    let mut fraction = 0.01f32;
    while f64::from(fraction) <= 1.01 {
        candidates.push((fraction * largest, offset));
        fraction = (f64::from(fraction) + 0.01) as f32;
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn odd_data_does_not_panic() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e-45, f32::MAX, -1.0];
        for scheme in [Scheme::TfEnhanced, Scheme::Percentile(99.0), Scheme::Percentile(100.0)] {
            for (a, b) in odd.iter().flat_map(|&a| odd.map(|b| (a, b))) {
                let mut observer = AimetHistogram::new(Granularity::PerTensor);
                observer.update(View { dims: &[2], data: &[a, b] }).unwrap();
                observer.update(View { dims: &[0], data: &[] }).unwrap();
                for symmetric in [false, true] {
                    let spec = Spec { symmetric, scheme, ..Spec::activation(DType::UInt8) };
                    observer.finish(&spec).unwrap();
                }
            }
        }
    }

    #[test]
    fn histograms_of_two_shards_do_not_merge() {
        let mut one = AimetHistogram::new(Granularity::PerTensor);
        one.update(View { dims: &[1], data: &[1.0] }).unwrap();
        assert_eq!(one.merge(one.clone()), Err(NumericError::Unmergeable));
    }
}
