//! Counts on a grid of a power of two, anchored at zero.
//!
//! The width of a bin is 2ᵉ, where e follows from the largest magnitude seen and from nothing else.
//! Widening the grid adds up pairs of bins, which is what counting on the wider grid would have
//! given. So the counts do not depend on the order of tensors, and merging is exact.

use serde::{Deserialize, Serialize};

use super::min_max::{CellRange, MinMax};
use super::{Observer, View};
use crate::scheme::{self, Distribution};
use crate::{Encoding, Granularity, NumericError, Spec};

/// Bins on either side of zero: between 2048 and 4096 are used.
const BINS: i32 = 1 << LOG_BINS;
const LOG_BINS: i32 = 12;
/// Bins are never narrower, so that the reciprocal of their width is a normal number.
const NARROWEST: i32 = -100;
/// From here on, elements are counted in narrow tables first.
const MANY: usize = 4096;

/// What was counted of one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// The width of a bin is two to this power; nothing before the first number that is not zero.
    exponent: Option<i32>,
    /// How many numbers lie in `(-(i+1)·w, -i·w]`, without zeros.
    negative: Vec<u64>,
    /// How many numbers lie in `[i·w, (i+1)·w)`, without zeros.
    positive: Vec<u64>,
}

/// Minimum, maximum and a histogram for every cell; merging is exact in any order.
///
/// NaN and infinities are counted apart. Memory is at most 64 KiB for each cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    range: MinMax,
    bins: Vec<Bins>,
}

impl Histogram {
    /// An observer that has seen nothing.
    pub fn new(granularity: Granularity) -> Histogram {
        Histogram { range: MinMax::new(granularity), bins: Vec::new() }
    }

    /// The smallest and the largest value, with the counts of oddities.
    pub fn range(&self) -> &MinMax {
        &self.range
    }

    /// The bins of every cell, in C order of the scale grid.
    pub fn bins(&self) -> &[Bins] {
        &self.bins
    }
}

impl Observer for Histogram {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        let bins = &mut self.bins;
        self.range.update_and(tensor, |cell, data, seen| {
            if bins.len() <= cell {
                bins.resize(cell + 1, Bins::default());
            }
            bins[cell].add(data, seen);
        })?;
        self.bins.resize(self.range.cells().len(), Bins::default());
        Ok(())
    }

    fn merge(&mut self, other: Histogram) -> Result<(), NumericError> {
        self.range.merge(other.range)?;
        self.bins.resize(self.range.cells().len(), Bins::default());
        self.bins.iter_mut().zip(other.bins).for_each(|(ours, theirs)| ours.merge(theirs));
        Ok(())
    }

    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError> {
        self.range.encoding(spec, |at, cell| {
            scheme::cell(spec, cell, || Distribution::of_bins(&self.bins[at], cell))
        })
    }
}

impl Bins {
    /// The width of a bin; nothing where only zeros were seen.
    pub fn width(&self) -> Option<f64> {
        self.exponent.map(|exponent| 2f64.powi(exponent))
    }

    /// Bins that hold something, from the lowest on: the end nearer to −∞ and the count.
    pub fn held(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let width = self.width().unwrap_or(0.0);
        let negative = self.negative.iter().enumerate().rev();
        let negative = negative.map(move |(at, &count)| (-(at as f64 + 1.0) * width, count));
        let positive = self.positive.iter().enumerate();
        let positive = positive.map(move |(at, &count)| (at as f64 * width, count));
        negative.chain(positive).filter(|(_, count)| *count > 0)
    }

    /// One cell's counts of a slice that is in no histogram.
    pub(crate) fn of(data: &[f32]) -> (CellRange, Bins) {
        let seen = super::min_max::scan(data);
        let mut bins = Bins::default();
        bins.add(data, &seen);
        (seen, bins)
    }

    fn add(&mut self, data: &[f32], seen: &CellRange) {
        let numbers = seen.count - seen.nan - seen.infinite - seen.zero;
        if numbers == 0 {
            return;
        }
        if seen.nan > 0 || seen.infinite > 0 {
            let finite: Vec<f32> = data.iter().copied().filter(|x| x.is_finite()).collect();
            let seen = super::min_max::scan(&finite);
            return self.add(&finite, &seen);
        }
        let largest = seen.min.abs().max(seen.max.abs());
        self.widen(exponent_for(largest));
        let exponent = self.exponent.expect("widening sets it");
        // A power of two, so the product is exact; what underflows belongs into the first bin
        // on its side, where it is counted.
        let inverse = 2f32.powi(-exponent);
        let bin = |x: f32| (x.abs() * inverse) as usize;
        if seen.min < 0.0 {
            grow(&mut self.negative, bin(seen.min));
        }
        if seen.max > 0.0 {
            grow(&mut self.positive, bin(seen.max));
        }
        if data.len() < MANY {
            for &x in data.iter().filter(|&&x| x != 0.0) {
                let side = if x < 0.0 { &mut self.negative } else { &mut self.positive };
                side[bin(x)] += 1;
            }
            return;
        }
        for piece in data.chunks(1 << 30) {
            self.add_many(piece, inverse);
        }
        // Zeros were counted with the first positive bin; they have a count of their own.
        if let Some(first) = self.positive.first_mut() {
            *first -= seen.zero;
        }
    }

    /// Counts in four tables in turn, because neighbours often fall into one bin and a counter
    /// that was just written is slow to read.
    fn add_many(&mut self, data: &[f32], inverse: f32) {
        const TABLES: usize = 4;
        const LANES: usize = 64;
        let below = self.negative.len();
        // Zero is counted on the positive side, which may have no bin yet.
        let length = below + self.positive.len().max(1);
        let mut tables = vec![0u32; TABLES * length];
        let base = below as i32;
        let index = |x: f32| base + (x * inverse) as i32 - i32::from(x < 0.0);
        let mut bins = [0i32; LANES];
        let (chunks, rest) = data.as_chunks::<LANES>();
        let (a, others) = tables.split_at_mut(length);
        let (b, others) = others.split_at_mut(length);
        let (c, d) = others.split_at_mut(length);
        for chunk in chunks {
            bins.iter_mut().zip(chunk).for_each(|(bin, &x)| *bin = index(x));
            for four in bins.as_chunks::<TABLES>().0 {
                a[four[0] as usize] += 1;
                b[four[1] as usize] += 1;
                c[four[2] as usize] += 1;
                d[four[3] as usize] += 1;
            }
        }
        rest.iter().for_each(|&x| a[index(x) as usize] += 1);
        let sum =
            |at: usize| [&*a, &*b, &*c, &*d].iter().map(|table| u64::from(table[at])).sum::<u64>();
        for (at, count) in self.negative.iter_mut().enumerate() {
            *count += sum(below - 1 - at);
        }
        for (at, count) in self.positive.iter_mut().enumerate() {
            *count += sum(below + at);
        }
    }

    fn merge(&mut self, other: Bins) {
        let Some(exponent) = other.exponent else { return };
        let mut other = other;
        self.widen(exponent);
        other.widen(self.exponent.expect("widening sets it"));
        for (ours, theirs) in
            [(&mut self.negative, other.negative), (&mut self.positive, other.positive)]
        {
            ours.resize(ours.len().max(theirs.len()), 0);
            ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }

    /// Makes bins at least 2ᵉ wide.
    fn widen(&mut self, exponent: i32) {
        let halvings = exponent - *self.exponent.get_or_insert(exponent);
        if halvings <= 0 {
            return;
        }
        for side in [&mut self.negative, &mut self.positive] {
            // 2³¹ bins are one bin: there are never more.
            let pairs = 1usize << halvings.min(LOG_BINS + 1);
            *side = side.chunks(pairs).map(|chunk| chunk.iter().sum()).collect();
        }
        self.exponent = Some(exponent);
    }
}

/// The narrowest bins that hold a magnitude.
fn exponent_for(largest: f32) -> i32 {
    // A single is a normal double, so its exponent stands in the bits.
    let exponent = (f64::from(largest).to_bits() >> 52) as i32 - 1023;
    (exponent + 1 - LOG_BINS).max(NARROWEST)
}

fn grow(side: &mut Vec<u64>, bin: usize) {
    debug_assert!(bin < BINS as usize, "the grid was widened");
    if side.len() <= bin {
        side.resize(bin + 1, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(batches: &[&[f32]]) -> Histogram {
        let mut observer = Histogram::new(Granularity::PerTensor);
        for data in batches {
            observer.update(View { dims: &[data.len()], data }).unwrap();
        }
        observer
    }

    /// Values of many magnitudes, zeros, subnormal numbers and oddities.
    fn data() -> Vec<f32> {
        let odd = [0.0, -0.0, 1e-45, -1e-45, 3e38, -7.5, f32::NAN, f32::INFINITY, 1.0];
        let spread = |i: i32| ((i * 7919 % 2003) as f32 - 1000.0) * 2f32.powi(i % 60 - 30);
        odd.into_iter().chain((0..9000).map(spread)).collect()
    }

    #[test]
    fn every_number_is_counted_once() {
        let data = data();
        let seen = observe(&[&data]);
        let counted: u64 = seen.bins()[0].held().map(|(_, count)| count).sum();
        let cell = seen.range().cells()[0];
        assert_eq!(counted + cell.nan + cell.infinite + cell.zero, data.len() as u64);
        let width = seen.bins()[0].width().unwrap();
        let inside = |lo: f64| {
            data.iter()
                .filter(|&&x| x != 0.0 && x.is_finite())
                .filter(|&&x| {
                    let x = f64::from(x);
                    if lo < 0.0 { x > lo && x <= lo + width } else { x >= lo && x < lo + width }
                })
                .filter(|&&x| (x < 0.0) == (lo < 0.0))
                .count()
        };
        for (lo, count) in seen.bins()[0].held() {
            assert_eq!(inside(lo) as u64, count, "{lo}");
        }
    }

    #[test]
    fn any_partition_in_any_order_gives_the_same_bytes() {
        let data = data();
        let bytes = |seen: &Histogram| serde_json::to_string(seen).unwrap();
        let whole = bytes(&observe(&[&data]));
        for parts in [2, 3, 7, 40] {
            let pieces: Vec<Histogram> =
                data.chunks(data.len() / parts + 1).map(|piece| observe(&[piece])).collect();
            let mut merged = Histogram::new(Granularity::PerTensor);
            pieces.iter().rev().for_each(|piece| merged.merge(piece.clone()).unwrap());
            assert_eq!(bytes(&merged), whole);
            let batches: Vec<&[f32]> = data.chunks(data.len() / parts + 1).collect();
            assert_eq!(bytes(&observe(&batches)), whole);
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let seen = observe(&[&data(), &[f32::NEG_INFINITY]]);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), seen);
    }

    #[test]
    fn cells_have_their_own_bins() {
        let mut seen = Histogram::new(Granularity::PerChannel(0));
        seen.update(View { dims: &[2, 2], data: &[1.0, 2.0, 1000.0, 0.0] }).unwrap();
        assert_eq!(seen.bins()[0].held().count(), 2);
        assert_eq!(seen.bins()[1].held().map(|(lo, _)| lo).collect::<Vec<_>>(), [1000.0]);
    }
}
