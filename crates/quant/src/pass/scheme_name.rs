//! Schemes as they are written.

use serde::{Deserialize, Serialize};

use super::PassError;
use crate::Scheme;

/// A scheme as it is written, older names included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum SchemeName {
    /// The smallest and the largest value seen.
    #[default]
    #[serde(alias = "min_max")]
    MinMax,
    /// An older name of `MinMax`.
    #[serde(alias = "post_training_tf")]
    PostTrainingTf,
    /// An older name of `MinMax`.
    #[serde(alias = "tf")]
    Tf,
    /// The range of the best signal to quantization noise.
    #[serde(alias = "tf_enhanced")]
    TfEnhanced,
    /// The range that holds this percentage of the values.
    #[serde(alias = "percentile")]
    Percentile(f64),
    /// The range of the least squared error.
    #[serde(alias = "mse")]
    Mse,
    /// The range whose quantized distribution tells most about the original one.
    #[serde(alias = "entropy")]
    Entropy,
}

impl SchemeName {
    /// The names as the command line writes them.
    pub const KNOWN: [&str; 5] = ["min_max", "tf_enhanced", "percentile:99.9", "mse", "entropy"];

    /// Reads a name as the command line writes it: `min_max`, `percentile:99.9`.
    pub fn parse(name: &str) -> Option<SchemeName> {
        match name.split_once(':') {
            Some(("percentile", percentage)) => percentage.parse().ok().map(SchemeName::Percentile),
            Some(_) => None,
            None => match name {
                "min_max" => Some(SchemeName::MinMax),
                "post_training_tf" => Some(SchemeName::PostTrainingTf),
                "tf" => Some(SchemeName::Tf),
                "tf_enhanced" => Some(SchemeName::TfEnhanced),
                "mse" => Some(SchemeName::Mse),
                "entropy" => Some(SchemeName::Entropy),
                _ => None,
            },
        }
    }

    /// The scheme it means, with a note where the name is an older one.
    pub fn resolve(self) -> (Scheme, Option<String>) {
        let older = |name: &str| Some(format!("`{name}` is an older name of `min_max`"));
        match self {
            SchemeName::MinMax => (Scheme::MinMax, None),
            SchemeName::PostTrainingTf => (Scheme::MinMax, older("post_training_tf")),
            SchemeName::Tf => (Scheme::MinMax, older("tf")),
            SchemeName::TfEnhanced => (Scheme::TfEnhanced, None),
            SchemeName::Percentile(percentage) => (Scheme::Percentile(percentage), None),
            SchemeName::Mse => (Scheme::Mse, None),
            SchemeName::Entropy => (Scheme::Entropy, None),
        }
    }
}

/// The scheme that a name means, with a note where the name is an older one; `parameter` is the field
/// it stands in.
///
/// # Errors
///
/// `bad_scheme` for a percentage that makes no sense.
pub(super) fn checked(
    parameter: &'static str,
    name: SchemeName,
) -> Result<(Scheme, Option<String>), PassError> {
    let (scheme, note) = name.resolve();
    match scheme {
        Scheme::Percentile(percentage) if !(percentage > 50.0 && percentage <= 100.0) => {
            Err(PassError::Scheme { parameter, scheme: scheme.to_string() })
        }
        _ => Ok((scheme, note)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_scheme_names_come_with_a_note() {
        let (scheme, note) = SchemeName::parse("post_training_tf").unwrap().resolve();
        assert_eq!(scheme, Scheme::MinMax);
        assert!(note.unwrap().contains("`min_max`"));
        assert_eq!(SchemeName::parse("percentile:99.9"), Some(SchemeName::Percentile(99.9)));
        assert_eq!(SchemeName::parse("mimmax"), None);
    }
}
