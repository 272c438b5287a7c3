//! The smallest and the largest value of every cell.

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

/// Lanes keep the loop free of a chain of dependent comparisons.
const LANES: usize = 16;

struct Lanes {
    min: [f32; LANES],
    max: [f32; LANES],
    zero: [u32; LANES],
    /// The bits of the largest magnitude: above those of infinity for NaN.
    magnitude: [u32; LANES],
}

impl Lanes {
    #[inline]
    fn see(&mut self, chunk: &[f32; LANES]) {
        for (lane, &x) in chunk.iter().enumerate() {
            // Comparisons with NaN are false, so it changes neither end.
            self.min[lane] = if x < self.min[lane] { x } else { self.min[lane] };
            self.max[lane] = if x > self.max[lane] { x } else { self.max[lane] };
            self.zero[lane] += u32::from(x == 0.0);
            self.magnitude[lane] = self.magnitude[lane].max(x.to_bits() & 0x7fff_ffff);
        }
    }
}

/// The range of a slice.
pub(super) fn scan(data: &[f32]) -> CellRange {
    let mut whole = CellRange::EMPTY;
    let mut lanes = Lanes {
        min: [f32::MAX; LANES],
        max: [f32::MIN; LANES],
        zero: [0; LANES],
        magnitude: [0; LANES],
    };
    // A lane counts at most one per chunk, so 2³¹ chunks cannot overflow it.
    for piece in data.chunks(LANES << 20) {
        let (chunks, rest) = piece.as_chunks::<LANES>();
        chunks.iter().for_each(|chunk| lanes.see(chunk));
        if let Some(&first) = rest.first() {
            // Repeating an element changes no end; zeros are counted apart.
            let mut last = [first; LANES];
            last[..rest.len()].copy_from_slice(rest);
            let zero = lanes.zero;
            lanes.see(&last);
            lanes.zero = zero;
            whole.zero += rest.iter().filter(|&&x| x == 0.0).count() as u64;
        }
        whole.zero += lanes.zero.iter().map(|&n| u64::from(n)).sum::<u64>();
        lanes.zero = [0; LANES];
    }
    // Hardly any tensor holds what is no finite number, so only those are looked at twice.
    if lanes.magnitude.iter().any(|&bits| bits >= f32::INFINITY.to_bits()) {
        whole.nan = data.iter().filter(|x| x.is_nan()).count() as u64;
        whole.infinite = data.iter().filter(|x| x.is_infinite()).count() as u64;
    }
    whole.count = data.len() as u64;
    // Adding zero turns −0 into +0, so the result does not depend on which zero came first.
    whole.min = lanes.min.into_iter().fold(f32::MAX, f32::min) + 0.0;
    whole.max = lanes.max.into_iter().fold(f32::MIN, f32::max) + 0.0;
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
