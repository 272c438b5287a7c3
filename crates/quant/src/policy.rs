//! Policies: what a target wants to be quantized, as data.

use serde::{Deserialize, Serialize};

use crate::DType;
use crate::recipe::RecipeError;

/// What a target wants to be quantized. Read from RON; the shipped ones are in `policies/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name of the target.
    pub name: String,
    /// The types that activations may have.
    pub activations: Vec<DType>,
    /// The types that weights may have.
    pub weights: Vec<DType>,
    /// Operators with integer kernels, whose inputs are quantized.
    pub kernels: Vec<Kernel>,
    /// Operators that keep integers between kernels: their outputs are quantized where all data
    /// inputs come from integers and a kernel reads on.
    pub chains: Vec<String>,
    /// Operators that a kernel's output passes before it is quantized, because the grid of the
    /// result does their work.
    pub absorbed: Vec<String>,
    /// Whether products of two activations are quantized.
    pub dynamic_products: bool,
}

/// An operator with an integer kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// `Conv`, `ConvTranspose`, `MatMul` or `Gemm`.
    pub op: String,
    /// Whether it runs on integers without a quantized output.
    pub output: KernelOutput,
}

/// What a kernel asks of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelOutput {
    /// Integers only, so the output is quantized wherever another kernel reads on.
    Needed,
    /// Float will do.
    Free,
}

/// Shipped policies: name and text.
const PRESETS: &[(&str, &str)] = &[("ort-cpu", include_str!("../policies/ort-cpu.ron"))];

impl Policy {
    /// The shipped policy of this name.
    ///
    /// # Errors
    ///
    /// `UnknownName` with the closest name there is.
    pub fn preset(name: &str) -> Result<Policy, RecipeError> {
        let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some((_, text)) => Policy::parse(text),
            None => Err(RecipeError::unknown_name("target", name, &known)),
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place of what could not be read.
    pub fn parse(text: &str) -> Result<Policy, RecipeError> {
        let policy: Policy = ron::from_str(text).map_err(RecipeError::from_ron)?;
        let known = ["Conv", "ConvTranspose", "MatMul", "Gemm"];
        match policy.kernels.iter().find(|kernel| !known.contains(&kernel.op.as_str())) {
            Some(kernel) => Err(RecipeError::unknown_name("kernel", &kernel.op, &known)),
            None => Ok(policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_has_its_name() {
        for (name, _) in PRESETS {
            assert_eq!(Policy::preset(name).unwrap().name, *name);
        }
        let error = Policy::preset("ort-cpi").unwrap_err();
        assert!(error.hint().unwrap().contains("`ort-cpu`"), "{error}");
    }
}
