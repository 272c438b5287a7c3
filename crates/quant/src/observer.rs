//! Observers accumulate statistics of a tensor, sample by sample.
//!
//! Memory is bounded by the statistics, never by the number of samples.

mod aimet_histogram;
mod exact_sum;
mod histogram;
mod min_max;
mod moments;
mod statistics;

pub use aimet_histogram::AimetHistogram;
pub use histogram::{Bins, Histogram};
pub use min_max::{CellRange, MinMax};
pub use moments::{CellMoments, Moments};
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

/// Floats in JSON, which has no infinities: those are written as strings.
mod any_float {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(x: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if x.is_finite() {
            return serializer.serialize_f32(*x);
        }
        serializer.serialize_str(if *x > 0.0 { "inf" } else { "-inf" })
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f32),
        Word(String),
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<f32, D::Error> {
        match Written::deserialize(input)? {
            Written::Number(x) => Ok(x),
            Written::Word(word) if word == "inf" => Ok(f32::INFINITY),
            Written::Word(word) if word == "-inf" => Ok(f32::NEG_INFINITY),
            Written::Word(word) => Err(de::Error::custom(format!("`{word}` is no number"))),
        }
    }
}
