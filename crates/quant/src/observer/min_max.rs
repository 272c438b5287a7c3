//! The smallest and the largest value of every cell.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};
use serde::{Deserialize, Serialize};

use super::{Observer, View};
use crate::grid::Grid;
use crate::range::grid_of_range;
use crate::{Cell, Encoding, Granularity, NumericError, Spec};

/// What was seen of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRange {
    /// The smallest value that is not NaN; the largest float where there was none.
    #[serde(with = "super::any_float")]
    pub min: f32,
    /// The largest value that is not NaN; the lowest float where there was none.
    #[serde(with = "super::any_float")]
    pub max: f32,
    /// Elements seen, NaN included.
    pub count: u64,
    /// How many of them were NaN.
    pub nan: u64,
    /// How many of them were infinite.
    pub infinite: u64,
    /// How many of them were zero.
    pub zero: u64,
}

impl CellRange {
    pub(super) const EMPTY: CellRange =
        CellRange { min: f32::MAX, max: f32::MIN, count: 0, nan: 0, infinite: 0, zero: 0 };

    /// The smallest and the largest value; zero where no number was seen.
    pub fn ends(&self) -> (f32, f32) {
        if self.count == self.nan { (0.0, 0.0) } else { (self.min, self.max) }
    }

    fn merge(&mut self, other: &CellRange) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.zero += other.zero;
    }
}

/// Running minimum and maximum; merging is exact in any order.
///
/// NaN is skipped and counted; what to do about it is the caller's decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinMax {
    granularity: Granularity,
    shape: Option<Vec<usize>>,
    cells: Vec<CellRange>,
}

impl MinMax {
    /// An observer that has seen nothing.
    pub fn new(granularity: Granularity) -> MinMax {
        MinMax { granularity, shape: None, cells: Vec::new() }
    }

    /// The cells in C order of the scale grid; empty before the first update.
    pub fn cells(&self) -> &[CellRange] {
        &self.cells
    }

    /// The range over all cells, or nothing where no number was seen.
    pub fn range(&self) -> Option<(f32, f32)> {
        let mut whole = CellRange::EMPTY;
        self.cells.iter().for_each(|cell| whole.merge(cell));
        (whole.count > whole.nan).then_some((whole.min, whole.max))
    }

    /// How many NaN and how many infinities were seen.
    pub fn oddities(&self) -> (u64, u64) {
        self.cells.iter().fold((0, 0), |(nan, inf), cell| (nan + cell.nan, inf + cell.infinite))
    }
}

impl MinMax {
    /// The shape of the scale grid, once something was seen; empty for one scale.
    pub fn shape(&self) -> Option<&[usize]> {
        self.shape.as_deref()
    }

    /// How many elements share a cell.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Takes a tensor into account and hands on every run of elements with its cell and what was
    /// seen in it, so that whoever wants to know more need not look twice.
    pub(super) fn update_and(
        &mut self,
        tensor: View<'_>,
        mut see: impl FnMut(usize, &[f32], &CellRange),
    ) -> Result<(), NumericError> {
        let grid = Grid::new(tensor.dims, self.granularity)?;
        grid.check(tensor.data.len())?;
        // One scale for the whole tensor does not care about its shape.
        let shape = match self.granularity {
            Granularity::PerTensor => Vec::new(),
            _ => grid.shape().to_vec(),
        };
        match &self.shape {
            None => {
                self.shape = Some(shape);
                self.cells = vec![CellRange::EMPTY; grid.cells()];
            }
            Some(found) if *found != shape => {
                return Err(NumericError::GridMismatch { expected: shape, found: found.clone() });
            }
            Some(_) => {}
        }
        grid.runs(|cell, run| {
            let data = &tensor.data[run];
            let seen = scan(data);
            self.cells[cell].merge(&seen);
            see(cell, data, &seen);
        });
        Ok(())
    }

    /// The encoding whose cells `choose` finds.
    pub(super) fn encoding(
        &self,
        spec: &Spec,
        mut choose: impl FnMut(usize, &CellRange) -> Cell,
    ) -> Result<Encoding, NumericError> {
        let Some(shape) = &self.shape else { return Err(NumericError::NothingObserved) };
        if spec.dtype.is_cast() {
            return Ok(Encoding::cast(spec));
        }
        if spec.granularity != self.granularity {
            return Err(NumericError::Unmergeable);
        }
        let cells = self.cells.iter().enumerate().map(|(at, cell)| choose(at, cell)).collect();
        Encoding::finished(spec, shape.clone(), cells)
    }
}

impl Observer for MinMax {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        self.update_and(tensor, |_, _, _| {})
    }

    fn merge(&mut self, other: MinMax) -> Result<(), NumericError> {
        if self.granularity != other.granularity {
            return Err(NumericError::Unmergeable);
        }
        match (&self.shape, &other.shape) {
            (_, None) => {}
            (None, Some(_)) => *self = other,
            (Some(ours), Some(theirs)) if ours == theirs => {
                self.cells.iter_mut().zip(&other.cells).for_each(|(a, b)| a.merge(b));
            }
            (Some(ours), Some(theirs)) => {
                return Err(NumericError::GridMismatch {
                    expected: ours.clone(),
                    found: theirs.clone(),
                });
            }
        }
        Ok(())
    }

    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError> {
        self.encoding(spec, |_, cell| {
            let (lo, hi) = cell.ends();
            grid_of_range(spec, lo, hi)
        })
    }
}

/// Vectors looked at in turn, so that no comparison waits for the one before.
const TURNS: usize = 2;
/// Elements between sums of counts: a lane counts at most one for each, so 32 bits hold them.
const PIECE: usize = 1 << 24;

/// The range of a slice, and whether it holds what is no finite number.
struct Extent<'a>(&'a [f32]);

impl SimdOp for Extent<'_> {
    type Output = (CellRange, bool);

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> Self::Output {
        let (floats, counts) = (isa.f32(), isa.i32());
        let (zero, none, one) = (floats.zero(), counts.zero(), counts.one());
        let lanes = floats.len();
        let mut min = [floats.splat(f32::MAX); TURNS];
        let mut max = [floats.splat(f32::MIN); TURNS];
        // Zero times a number is zero, and NaN where it is not finite; a sum keeps that.
        let mut odd = [zero; TURNS];
        let mut whole = CellRange::EMPTY;
        let mut rest: &[f32] = &[];
        for piece in self.0.chunks(PIECE) {
            let mut zeros = [none; TURNS];
            let mut turns = piece.chunks_exact(lanes * TURNS);
            for turn in &mut turns {
                for at in 0..TURNS {
                    let x = floats.load(&turn[at * lanes..]);
                    // Comparisons with NaN are false, so it changes neither end.
                    min[at] = floats.select(x, min[at], floats.lt(x, min[at]));
                    max[at] = floats.select(x, max[at], floats.gt(x, max[at]));
                    odd[at] = floats.mul_add(x, zero, odd[at]);
                    let seen = counts.select(one, none, floats.eq(x, zero));
                    zeros[at] = counts.add(zeros[at], seen);
                }
            }
            for zeros in zeros {
                whole.zero += zeros.to_array().into_iter().map(|count| count as u64).sum::<u64>();
            }
            // Only the last piece leaves a rest: the others are whole turns on every machine.
            rest = turns.remainder();
        }
        let mut is_odd = one_by_one(&mut whole, rest);
        for at in 0..TURNS {
            whole.min = min[at].to_array().into_iter().fold(whole.min, f32::min);
            whole.max = max[at].to_array().into_iter().fold(whole.max, f32::max);
            is_odd |= odd[at].to_array().into_iter().any(f32::is_nan);
        }
        (whole, is_odd)
    }
}

/// Takes the elements of a slice into account; whether one is no finite number.
#[inline(always)]
fn one_by_one(whole: &mut CellRange, data: &[f32]) -> bool {
    let mut is_odd = false;
    for &x in data {
        whole.min = if x < whole.min { x } else { whole.min };
        whole.max = if x > whole.max { x } else { whole.max };
        whole.zero += u64::from(x == 0.0);
        is_odd |= !x.is_finite();
    }
    is_odd
}

/// Below how many elements vectors cost more than they save: channels of a matrix that is stored the
/// other way come one element at a time.
const SHORT: usize = 32;

/// The range of a slice.
pub(super) fn scan(data: &[f32]) -> CellRange {
    let mut short = CellRange::EMPTY;
    let (mut whole, odd) = match data.len() < SHORT {
        true => {
            let odd = one_by_one(&mut short, data);
            (short, odd)
        }
        false => Extent(data).dispatch(),
    };
    // Hardly any tensor holds what is no finite number, so only those are looked at twice.
    if odd {
        whole.nan = data.iter().filter(|x| x.is_nan()).count() as u64;
        whole.infinite = data.iter().filter(|x| x.is_infinite()).count() as u64;
    }
    whole.count = data.len() as u64;
    // Adding zero turns −0 into +0, so the result does not depend on which zero came first.
    whole.min += 0.0;
    whole.max += 0.0;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn observe(batches: &[&[f32]]) -> MinMax {
        let mut observer = MinMax::new(Granularity::PerTensor);
        for data in batches {
            observer.update(View { dims: &[data.len()], data }).unwrap();
        }
        observer
    }

    #[test]
    fn nan_is_skipped_and_counted() {
        let seen = observe(&[&[1.0, f32::NAN, -2.0], &[f32::INFINITY, f32::NAN]]);
        assert_eq!(seen.range(), Some((-2.0, f32::INFINITY)));
        assert_eq!(seen.oddities(), (2, 1));
        assert_eq!(observe(&[&[f32::NAN]]).range(), None);
    }

    /// Whole vectors and what is left of them are looked at in different ways.
    #[test]
    fn vectors_see_what_elements_show() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e-45];
        let number = |i: usize| ((i * 7919 % 2003) as f32 - 1000.0) * 2f32.powi(i as i32 % 40 - 20);
        for length in [0, 1, 15, 16, 31, 32, 33, 64, 97, 1000] {
            for at in 0..length.min(70) {
                let mut data: Vec<f32> = (0..length).map(number).collect();
                data[at] = odd[at % odd.len()];
                let seen = scan(&data);
                let numbers = || data.iter().copied().filter(|x| !x.is_nan());
                let count =
                    |holds: fn(&f32) -> bool| data.iter().filter(|x| holds(x)).count() as u64;
                assert_eq!(seen.min, numbers().fold(f32::MAX, f32::min), "{length} {at}");
                assert_eq!(seen.max, numbers().fold(f32::MIN, f32::max), "{length} {at}");
                assert_eq!(seen.zero, count(|x| *x == 0.0));
                assert_eq!(
                    (seen.nan, seen.infinite),
                    (count(|x| x.is_nan()), count(|x| x.is_infinite()))
                );
                assert_eq!(seen.count, data.len() as u64);
            }
        }
    }

    #[test]
    fn any_partition_gives_the_same_statistics() {
        let data: Vec<f32> = (0..97).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.5).collect();
        let whole = observe(&[&data]);
        for cut in 0..=data.len() {
            let (left, right) = data.split_at(cut);
            let mut merged = observe(&[right]);
            merged.merge(observe(&[left])).unwrap();
            assert_eq!(merged, whole);
        }
    }

    #[test]
    fn the_sign_of_zero_does_not_depend_on_the_order() {
        let bits = |seen: MinMax| seen.cells()[0].min.to_bits();
        assert_eq!(bits(observe(&[&[0.0, -0.0]])), bits(observe(&[&[-0.0, 0.0]])));
    }

    #[test]
    fn a_shape_that_changes_is_refused_per_channel_only() {
        let mut channels = MinMax::new(Granularity::PerChannel(0));
        channels.update(View { dims: &[2], data: &[1.0, 2.0] }).unwrap();
        assert!(channels.update(View { dims: &[3], data: &[1.0, 2.0, 3.0] }).is_err());
        assert_eq!(observe(&[&[1.0], &[2.0, 3.0]]).cells()[0].count, 3);
    }

    #[test]
    fn nothing_observed_is_an_error() {
        let spec = Spec::activation(DType::UInt8);
        let empty = MinMax::new(Granularity::PerTensor);
        assert_eq!(empty.finish(&spec), Err(NumericError::NothingObserved));
    }
}
