//! What parameters of passes may be, whatever the model.

use std::fmt::Display;
use std::ops::RangeBounds;

use super::{PassError, WeightGranularity};
use crate::DType;

/// Refuses a number that is not within bounds; `allowed` completes "give `parameter` …".
pub(super) fn within<T: PartialOrd + Display>(
    pass: &'static str,
    parameter: &'static str,
    value: T,
    bounds: impl RangeBounds<T>,
    allowed: &'static str,
) -> Result<(), PassError> {
    match bounds.contains(&value) {
        true => Ok(()),
        false => Err(PassError::Parameter { pass, parameter, value: value.to_string(), allowed }),
    }
}

/// Refuses a pass that is to run no sample at all.
pub(super) fn samples(pass: &'static str, samples: Option<usize>) -> Result<(), PassError> {
    match samples {
        Some(samples) => within(pass, "samples", samples, 1.., "a number from 1, or leave it out"),
        None => Ok(()),
    }
}

/// Refuses blocks of no element, and low-power blocks of what has too many bits for them. `dtype` and
/// `symmetric` are those of the weights, where they are known.
pub(super) fn granularity(
    pass: &'static str,
    parameter: &'static str,
    granularity: WeightGranularity,
    dtype: Option<DType>,
    symmetric: Option<bool>,
) -> Result<(), PassError> {
    if let WeightGranularity::PerBlock(size) | WeightGranularity::Lpbq(size) = granularity {
        within(pass, parameter, size, 1.., "blocks of one element or more, such as 32")?;
    }
    let few = |dtype| matches!(dtype, DType::Int4 | DType::Int2) && symmetric.unwrap_or(true);
    match (granularity, dtype) {
        (WeightGranularity::Lpbq(_), Some(dtype)) if !few(dtype) => Err(PassError::Granularity {
            granularity: "in low-power blocks".to_owned(),
            dtype,
            what: "their scales are made for few bits around zero",
        }),
        _ => Ok(()),
    }
}

/// Refuses a type that a target has no kernels for.
pub(super) fn dtype(
    target: &str,
    kind: &'static str,
    dtype: DType,
    allowed: &[DType],
) -> Result<(), PassError> {
    match allowed.contains(&dtype) {
        true => Ok(()),
        false => {
            let (target, allowed) = (target.to_owned(), allowed.to_vec());
            Err(PassError::Type { target, kind, dtype, allowed })
        }
    }
}
