//! Observers accumulate statistics of a tensor, sample by sample.
//!
//! Memory is bounded by the statistics, never by the number of samples.

mod aimet_histogram;
mod min_max;
mod statistics;

pub use aimet_histogram::AimetHistogram;
pub use min_max::{CellRange, MinMax};
pub use statistics::Statistics;

use crate::{Encoding, NumericError, Spec};

/// A tensor of floats in C order, borrowed for one update.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The shape.
    pub dims: &'a [usize],
    /// As many elements as the shape says.
    pub data: &'a [f32],
}

/// Accumulates statistics and turns them into an encoding.
pub trait Observer: Send + Sized {
    /// Takes one tensor into account.
    ///
    /// # Errors
    ///
    /// `Length` where data and shape disagree, `GridMismatch` where the grid of scales is not
    /// that of earlier tensors.
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError>;

    /// Takes everything into account that another observer has seen.
    ///
    /// # Errors
    ///
    /// `Unmergeable` where the two have different parameters.
    fn merge(&mut self, other: Self) -> Result<(), NumericError>;

    /// The encoding of what was seen.
    ///
    /// # Errors
    ///
    /// `NothingObserved` before the first update.
    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError>;
}
