//! What a model is to run on.

use super::{Fact, Severity};

/// What a model is to run on: it decides how bad a violation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The standard.
    #[default]
    Onnx,
    /// ONNX Runtime.
    Ort,
}

/// Codes of facts that are errors for ONNX Runtime, which refuses to load the model.
const ORT_REFUSES: &[&str] = &["V004", "V009", "V010"];

impl Target {
    /// The target of this name, as the command line spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "onnx" => Some(Self::Onnx),
            "ort" => Some(Self::Ort),
            _ => None,
        }
    }

    /// Names of all targets.
    pub const NAMES: &'static [&'static str] = &["onnx", "ort"];

    /// How bad a fact is for the target.
    pub fn severity(self, fact: &Fact) -> Severity {
        let refused = match self {
            Self::Onnx => &[][..],
            Self::Ort => ORT_REFUSES,
        };
        if refused.contains(&fact.code()) { Severity::Error } else { fact.severity() }
    }
}
