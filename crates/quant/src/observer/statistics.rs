//! What a scheme needs to know of a value, whatever the scheme.

use serde::{Deserialize, Serialize};

use super::{AimetHistogram, Histogram, MinMax, Observer, View};
use crate::{Compat, Encoding, Granularity, NumericError, Scheme, Spec};

/// The range of a value, and its distribution where the scheme asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Statistics {
    /// Enough for `min_max`.
    Range(MinMax),
    /// Enough for every scheme of ours.
    Histogram(Histogram),
    /// What AIMET collects for its `tf_enhanced` and `percentile`.
    Aimet {
        /// AIMET's histogram does not know the ends of what it has dropped.
        range: MinMax,
        /// The histogram.
        histogram: AimetHistogram,
    },
}

impl Statistics {
    /// Statistics that have seen nothing.
    pub fn new(scheme: Scheme, compat: Compat, granularity: Granularity) -> Statistics {
        let range = MinMax::new(granularity);
        match (scheme, compat) {
            (Scheme::MinMax, _) => Statistics::Range(range),
            (Scheme::TfEnhanced | Scheme::Percentile(_), Compat::Aimet) => {
                Statistics::Aimet { range, histogram: AimetHistogram::new(granularity) }
            }
            _ => Statistics::Histogram(Histogram::new(granularity)),
        }
    }

    /// The smallest and the largest value, with the counts of oddities.
    pub fn range(&self) -> &MinMax {
        match self {
            Statistics::Range(range) | Statistics::Aimet { range, .. } => range,
            Statistics::Histogram(histogram) => histogram.range(),
        }
    }
}

impl Observer for Statistics {
    fn update(&mut self, tensor: View<'_>) -> Result<(), NumericError> {
        match self {
            Statistics::Range(range) => range.update(tensor),
            Statistics::Histogram(histogram) => histogram.update(tensor),
            Statistics::Aimet { range, histogram } => {
                range.update(tensor)?;
                histogram.update(tensor)
            }
        }
    }

    fn merge(&mut self, other: Statistics) -> Result<(), NumericError> {
        match (self, other) {
            (Statistics::Range(ours), Statistics::Range(theirs)) => ours.merge(theirs),
            (Statistics::Histogram(ours), Statistics::Histogram(theirs)) => ours.merge(theirs),
            (
                Statistics::Aimet { range, histogram },
                Statistics::Aimet { range: other_range, histogram: other },
            ) => {
                histogram.merge(other)?;
                range.merge(other_range)
            }
            _ => Err(NumericError::Unmergeable),
        }
    }

    fn finish(&self, spec: &Spec) -> Result<Encoding, NumericError> {
        match (spec.scheme, self) {
            (Scheme::MinMax, _) => self.range().finish(spec),
            (_, Statistics::Range(_)) => Err(NumericError::Unmergeable),
            (_, Statistics::Histogram(histogram)) => histogram.finish(spec),
            (_, Statistics::Aimet { histogram, .. }) => histogram.finish(spec),
        }
    }
}
