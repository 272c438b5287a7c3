//! What a scheme needs to know of a value, whatever the scheme.

use serde::{Deserialize, Serialize};

use super::{AimetHistogram, MinMax, Observer, View};
use crate::{Encoding, Granularity, NumericError, Scheme, Spec};

/// The range of a value, and a histogram where the scheme asks for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Always there: it counts NaN and infinities, and reports want the range.
    range: MinMax,
    histogram: Option<AimetHistogram>,
}

impl Statistics {
    /// Statistics that have seen nothing.
    pub fn new(scheme: Scheme, granularity: Granularity) -> Statistics {
        let histogram = match scheme {
            Scheme::MinMax => None,
            Scheme::TfEnhanced | Scheme::Percentile(_) => Some(AimetHistogram::new(granularity)),
        };
        Statistics { range: MinMax::new(granularity), histogram }
    }

    /// The smallest and the largest value, with the counts of oddities.
    pub fn range(&self) -> &MinMax {
        &self.range
    }
}

impl Observer for Statistics {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        self.range.update(tensor)?;
        self.histogram.as_mut().map_or(Ok(()), |histogram| histogram.update(tensor))
    }

    fn merge(&mut self, other: Statistics) -> Result<(), NumericError> {
        match (&mut self.histogram, other.histogram) {
            (Some(ours), Some(theirs)) => ours.merge(theirs)?,
            (None, None) => {}
            _ => return Err(NumericError::Unmergeable),
        }
        self.range.merge(other.range)
    }

    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError> {
        match (spec.scheme, &self.histogram) {
            (Scheme::MinMax, _) => self.range.finish(spec),
            (_, Some(histogram)) => histogram.finish(spec),
            (_, None) => Err(NumericError::Unmergeable),
        }
    }
}
