//! Histograms and ranges of single values, small enough to be drawn.

use marquetry_ir::Tensor;

use super::{Bars, Channels};
use crate::encoding::Encoding;
use crate::grid::Grid;
use crate::observer::{Bins, CellRange, Histogram, Observer, View};
use crate::qdq::{Rounding, fake_quantize};
use crate::{Granularity, NumericError};

/// Bars of a histogram at most, and columns of channels.
const BARS: usize = 64;
const COLUMNS: usize = 96;

/// What was seen of a value, and what its encoding makes of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    encoding: Encoding,
    histogram: Histogram,
    signal: f64,
    noise: f64,
    clipped: u64,
    total: u64,
}

impl Seen {
    pub(super) fn new(encoding: Encoding) -> Seen {
        let histogram = Histogram::new(Granularity::PerTensor);
        Seen { encoding, histogram, signal: 0.0, noise: 0.0, clipped: 0, total: 0 }
    }

    /// Takes a tensor into account; one that the encoding does not fit says nothing.
    pub(super) fn add(&mut self, tensor: &Tensor) {
        if let Some(data) = tensor.f32s() {
            let _ = self.add_slice(tensor.dims(), &data);
        }
    }

    pub(super) fn add_slice(&mut self, dims: &[usize], data: &[f32]) -> Result<(), NumericError> {
        self.add_rounded(dims, data, data)
    }

    /// Takes a tensor into account of which `rounded` is quantized.
    pub(super) fn add_rounded(
        &mut self,
        dims: &[usize],
        data: &[f32],
        rounded: &[f32],
    ) -> Result<(), NumericError> {
        let back = fake_quantize(rounded, dims, &self.encoding, Rounding::HalfEven)?;
        for (&x, &y) in data.iter().zip(&back).filter(|(x, _)| x.is_finite()) {
            let (x, error) = (f64::from(x), f64::from(x) - f64::from(y));
            self.signal += x * x;
            self.noise += error * error;
        }
        self.histogram.update(View { dims, data })?;
        self.total += data.len() as u64;
        if self.encoding.cells.is_empty() {
            return Ok(());
        }
        // One cell for a tensor of any shape, as encodings of activations are.
        let grid = Grid::new(dims, self.encoding.granularity)?;
        let clipped = &mut self.clipped;
        grid.runs(|cell, run| {
            let half = self.encoding.cells[cell].scale / 2.0;
            let (low, high) = (self.encoding.min(cell) - half, self.encoding.max(cell) + half);
            let outside = |x: &&f32| f64::from(**x) < low || f64::from(**x) > high;
            *clipped += data[run].iter().filter(outside).count() as u64;
        });
        Ok(())
    }

    /// What rounding and clipping leave, in decibels.
    pub(super) fn sqnr(&self) -> Option<f64> {
        let known = self.noise > 0.0 && self.signal > 0.0;
        known.then(|| 10.0 * (self.signal / self.noise).log10())
    }

    /// The part of the elements outside of the range.
    pub(super) fn clipped(&self) -> Option<f64> {
        (self.total > 0).then(|| self.clipped as f64 / self.total as f64)
    }

    pub(super) fn bars(&self) -> Option<Bars> {
        bars(&self.histogram)
    }
}

/// The bars of a histogram of one cell: at most 64 of equal width, and one of them begins at zero.
pub(super) fn bars(histogram: &Histogram) -> Option<Bars> {
    let (bins, cell) = (histogram.bins().first()?, histogram.range().cells().first()?);
    Some(of_bins(bins, cell))
}

fn of_bins(bins: &Bins, cell: &CellRange) -> Bars {
    let not_finite = cell.nan + cell.infinite;
    let empty = Bars {
        from: 0.0,
        width: 0.0,
        counts: Vec::new(),
        zeros: cell.zero,
        not_finite,
        total: cell.count,
    };
    let Some(narrow) = bins.width() else { return empty };
    // Ends are multiples of a power of two, so that the quotients are whole numbers.
    let held: Vec<(i64, u64)> =
        bins.held().map(|(low, count)| ((low / narrow) as i64, count)).collect();
    let (Some(&(first, _)), Some(&(last, _))) = (held.first(), held.last()) else { return empty };
    let mut together = 1;
    while last.div_euclid(together) - first.div_euclid(together) >= BARS as i64 {
        together *= 2;
    }
    let from = first.div_euclid(together);
    let mut counts = vec![0; (last.div_euclid(together) - from + 1) as usize];
    for (at, count) in held {
        counts[(at.div_euclid(together) - from) as usize] += count;
    }
    let width = narrow * together as f64;
    Bars { from: from as f64 * width, width, counts, ..empty }
}

/// The ranges of the channels of a constant, at most 96 columns of them.
pub(super) fn channels(
    dims: &[usize],
    data: &[f32],
    encoding: &Encoding,
) -> Result<Option<Channels>, NumericError> {
    if encoding.cells.len() < 2 {
        return Ok(None);
    }
    let grid = Grid::new(dims, encoding.granularity)?;
    grid.check(data.len())?;
    let mut ends = vec![(f64::INFINITY, f64::NEG_INFINITY); grid.cells()];
    grid.runs(|cell, run| {
        for &x in data[run].iter().filter(|x| x.is_finite()) {
            ends[cell] = (ends[cell].0.min(x.into()), ends[cell].1.max(x.into()));
        }
    });
    if ends.len() != encoding.cells.len() {
        return Ok(None);
    }
    let per_column = ends.len().div_ceil(COLUMNS);
    let mut channels = Channels {
        scales: ends.len(),
        per_column,
        min: Vec::new(),
        max: Vec::new(),
        low: Vec::new(),
        high: Vec::new(),
    };
    for from in (0..ends.len()).step_by(per_column) {
        let cells = from..ends.len().min(from + per_column);
        let lowest =
            |of: &dyn Fn(usize) -> f64| cells.clone().map(of).fold(f64::INFINITY, f64::min);
        let highest =
            |of: &dyn Fn(usize) -> f64| cells.clone().map(of).fold(f64::NEG_INFINITY, f64::max);
        // A channel without elements has no ends.
        let known = |x: f64| if x.is_finite() { x } else { 0.0 };
        channels.min.push(known(lowest(&|cell| ends[cell].0)));
        channels.max.push(known(highest(&|cell| ends[cell].1)));
        channels.low.push(known(lowest(&|cell| encoding.min(cell))));
        channels.high.push(known(highest(&|cell| encoding.max(cell))));
    }
    Ok(Some(channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, DType, Spec};

    fn seen(scale: f64, data: &[f32]) -> Seen {
        let cells = vec![Cell { scale, offset: -128.0 }];
        let encoding = Encoding::new(&Spec::activation(DType::UInt8), Vec::new(), cells);
        let mut seen = Seen::new(encoding);
        seen.add_slice(&[data.len()], data).unwrap();
        seen
    }

    #[test]
    fn bars_count_every_number_once_and_one_begins_at_zero() {
        let data: Vec<f32> = (-700..2300).map(|i| i as f32 / 100.0).collect();
        let bars = seen(0.2, &data).bars().unwrap();
        let counted: u64 = bars.counts.iter().sum();
        assert_eq!((counted + bars.zeros, bars.total), (3000, 3000));
        assert!(bars.counts.len() <= BARS && bars.counts.len() > BARS / 4);
        assert_eq!((bars.from / bars.width).fract(), 0.0);
        assert!(bars.from <= -7.0 && bars.from + bars.width * bars.counts.len() as f64 > 22.9);
    }

    #[test]
    fn what_lies_outside_of_the_range_is_clipped() {
        // The grid goes from -128 to 127.
        let seen = seen(1.0, &[-128.4, -128.6, 127.4, 127.6, 1e9, 3.0, f32::INFINITY, f32::NAN]);
        assert_eq!(seen.clipped(), Some(4.0 / 8.0));
        assert_eq!(seen.bars().unwrap().not_finite, 2);
        assert!(seen.sqnr().unwrap() < 1.0);
    }

    #[test]
    fn what_lies_on_the_grid_loses_nothing() {
        assert_eq!(seen(0.5, &[1.0, -2.5, 0.0]).sqnr(), None);
        assert_eq!(seen(0.5, &[0.0, 0.0]).bars().unwrap().counts, Vec::<u64>::new());
    }

    #[test]
    fn many_channels_share_columns() {
        let spec = Spec::weight(DType::Int8, Granularity::PerChannel(0));
        let cells = (1..=300).map(|i| Cell { scale: f64::from(i), offset: -128.0 }).collect();
        let encoding = Encoding::new(&spec, vec![300, 1], cells);
        let data: Vec<f32> = (0..600).map(|i| i as f32).collect();
        let found = channels(&[300, 2], &data, &encoding).unwrap().unwrap();
        assert_eq!((found.scales, found.per_column, found.min.len()), (300, 4, 75));
        assert_eq!((found.min[1], found.max[1], found.high[74]), (8.0, 15.0, 300.0 * 127.0));
    }
}
