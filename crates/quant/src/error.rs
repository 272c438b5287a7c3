//! What can be wrong with numbers, shapes and statistics.

use crate::DType;

/// A tensor, a grid or a range that cannot be worked with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NumericError {
    /// An axis outside the rank, or one that is already taken.
    #[error("axis {axis} does not fit a tensor of rank {rank}")]
    BadAxis {
        /// The axis.
        axis: i64,
        /// The rank.
        rank: usize,
    },
    /// Blocks of no elements, or no blocks.
    #[error("blocks of {size} elements cannot be quantized")]
    BadBlock {
        /// Elements per block.
        size: usize,
    },
    /// The number of elements overflows.
    #[error("a tensor of shape {dims:?} has too many elements")]
    TooLarge {
        /// The shape.
        dims: Vec<usize>,
    },
    /// Data and shape disagree.
    #[error("expected {expected} elements, found {found}")]
    Length {
        /// By the shape.
        expected: usize,
        /// In the data.
        found: usize,
    },
    /// An encoding or an observer meets a tensor of another grid.
    #[error("the scale grid is {found:?}, the tensor needs {expected:?}")]
    GridMismatch {
        /// The grid of the tensor.
        expected: Vec<usize>,
        /// The grid that was given.
        found: Vec<usize>,
    },
    /// A floating type where an integer type is needed.
    #[error("`{dtype}` is no integer type")]
    NotAnInteger {
        /// The type.
        dtype: DType,
    },
    /// An integer that its type cannot hold.
    #[error("{value} does not fit `{dtype}`")]
    OutOfRange {
        /// The integer.
        value: i64,
        /// The type.
        dtype: DType,
    },
    /// A grid that lies half a step off, which no zero point can say.
    #[error("zero lies between two points of the grid")]
    Shifted,
    /// An encoding was asked for before any tensor was seen.
    #[error("no tensor was observed")]
    NothingObserved,
    /// Two observers that collect different things were merged.
    #[error("the statistics were collected with different parameters")]
    Unmergeable,
}

impl NumericError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            NumericError::BadAxis { .. } => "bad_axis",
            NumericError::BadBlock { .. } => "bad_block",
            NumericError::TooLarge { .. } => "tensor_too_large",
            NumericError::Length { .. } => "length_mismatch",
            NumericError::GridMismatch { .. } => "grid_mismatch",
            NumericError::NotAnInteger { .. } => "not_an_integer_type",
            NumericError::OutOfRange { .. } => "integer_out_of_range",
            NumericError::Shifted => "shifted_grid",
            NumericError::NothingObserved => "nothing_observed",
            NumericError::Unmergeable => "unmergeable_statistics",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            NumericError::BadAxis { .. } => Some("axes count from 0, or from -1 for the last"),
            NumericError::BadBlock { .. } => Some("choose a block of at least one element"),
            NumericError::GridMismatch { .. } => {
                Some("use a per-tensor granularity where the shape varies")
            }
            NumericError::Shifted => Some("leave `shifted` out, or export encodings only"),
            NumericError::NothingObserved => Some("run at least one calibration sample"),
            NumericError::Unmergeable => {
                Some("collect all shards with the same model, granularity and scheme")
            }
            _ => None,
        }
    }
}
