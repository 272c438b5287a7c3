//! Policies: what a target wants to be quantized, as data.
//!
//! There are two styles. A target whose kernels take integers and give floats, such as ONNX Runtime
//! on a CPU, is served by [`Kernels`]: what feeds an integer kernel is quantized, and nothing else.
//! A target that computes everything in integers, such as a Hexagon processor, is served by
//! [`Everywhere`]: every tensor is quantized unless a rule says otherwise.
//!
//! A policy is written in RON; AIMET's configurations in JSON are read as the same thing.

mod aimet;
mod everywhere;

use std::path::Path;

use marquetry_ir::Node;
use serde::{Deserialize, Serialize};

use crate::kernel::SUMS;
use crate::recipe::{self, RecipeError};
use crate::{DType, params};

pub(crate) use everywhere::keeps_grid;
pub use everywhere::{
    Activations, Everywhere, GroupRule, Movement, OpRule, Override, Params, Precision, Select,
    SupportedKernel,
};

/// What a target wants to be quantized. Read from RON; the shipped ones are in `policies/`.
///
/// ```
/// use marquetry_quant::{DType, Policy};
///
/// let policy = Policy::open("qnn-htp-v75")?;
/// assert_eq!(policy.activations[0], DType::UInt8);
/// assert!(policy.everywhere().is_some());
/// let slip = Policy::open("qnn-htp-v57").unwrap_err();
/// assert_eq!(slip.code(), "unknown_name");
/// # Ok::<(), marquetry_quant::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name of the target.
    pub name: String,
    /// The types that activations may have; the first is what they get unless another is asked for.
    pub activations: Vec<DType>,
    /// The types that weights may have, likewise.
    pub weights: Vec<DType>,
    /// What becomes of biases.
    #[serde(default)]
    pub biases: Biases,
    /// Which values carry a quantizer.
    pub placement: Placement,
}

/// What becomes of the biases of quantized kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Biases {
    /// They are int32 on the grid of the products they are added to.
    #[default]
    Int32,
    /// They stay as they are.
    Float,
}

/// Which values carry a quantizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Placement {
    /// What integer kernels read.
    Kernels(Kernels),
    /// Everything, unless a rule says otherwise.
    Everywhere(Box<Everywhere>),
}

/// Placement by integer kernels: what feeds one is quantized, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
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
    /// Whether zero is in the middle of the grids of activations.
    #[serde(default)]
    pub symmetric_activations: bool,
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
const PRESETS: &[(&str, &str)] = &[
    ("aimet-default", include_str!("../policies/aimet-default.ron")),
    ("openvino", include_str!("../policies/openvino.ron")),
    ("ort-cpu", include_str!("../policies/ort-cpu.ron")),
    ("ort-cpu-avx2", include_str!("../policies/ort-cpu-avx2.ron")),
    ("ort-qnn", include_str!("../policies/ort-qnn.ron")),
    ("qnn-htp-v66", include_str!("../policies/qnn-htp-v66.ron")),
    ("qnn-htp-v68", include_str!("../policies/qnn-htp-v68.ron")),
    ("qnn-htp-v69", include_str!("../policies/qnn-htp-v69.ron")),
    ("qnn-htp-v73", include_str!("../policies/qnn-htp-v73.ron")),
    ("qnn-htp-v75", include_str!("../policies/qnn-htp-v75.ron")),
    ("qnn-htp-v79", include_str!("../policies/qnn-htp-v79.ron")),
    ("qnn-htp-v81", include_str!("../policies/qnn-htp-v81.ron")),
    ("tensorrt", include_str!("../policies/tensorrt.ron")),
];

/// Further names of shipped policies.
const ALIASES: &[(&str, &str)] = &[("qnn-htp", "qnn-htp-v81")];

impl Policy {
    /// The names of the shipped policies, sorted, and then their aliases.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().chain(ALIASES).map(|(name, _)| *name)
    }

    /// The shipped policy of this name.
    ///
    /// # Errors
    ///
    /// `UnknownName` with the closest name there is.
    pub fn preset(name: &str) -> Result<Policy, RecipeError> {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let wanted = alias.map_or(name, |(_, name)| *name);
        match PRESETS.iter().find(|(preset, _)| *preset == wanted) {
            Some((_, text)) => Policy::parse(text),
            None => {
                let known: Vec<&str> = Policy::presets().collect();
                Err(RecipeError::unknown_name("target", name, &known))
            }
        }
    }

    /// Whether a target names a file, and not a shipped policy.
    pub fn is_file(target: &str) -> bool {
        let extension = Path::new(target).extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("ron" | "json"))
    }

    /// The policy that a target names: a shipped one, or a file that ends in `.ron` or `.json`.
    ///
    /// # Errors
    ///
    /// `UnknownName` for a name that is none, `Unreadable` for a file that cannot be read, and what
    /// reading its text gives.
    pub fn open(target: &str) -> Result<Policy, RecipeError> {
        if !Policy::is_file(target) {
            return Policy::preset(target);
        }
        let path = Path::new(target);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let text = std::fs::read_to_string(path).map_err(|error| RecipeError::Unreadable {
            path: target.to_owned(),
            reason: error.to_string(),
        })?;
        let policy = match extension {
            Some("json") => {
                let name = path.file_stem().map_or(target.into(), |stem| stem.to_string_lossy());
                Policy::from_aimet(&name, &text)
            }
            _ => Policy::parse(&text),
        };
        policy.map_err(|error| error.in_file(target))
    }

    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place of what could not be read, `UnknownName` for an operator that has no
    /// integer kernel, `BadRule` for a rule that cannot hold.
    pub fn parse(text: &str) -> Result<Policy, RecipeError> {
        let policy: Policy = recipe::options().from_str(text).map_err(RecipeError::from_ron)?;
        policy.check()?;
        Ok(policy)
    }

    /// Reads a configuration of AIMET's quantization simulation.
    ///
    /// # Errors
    ///
    /// `Syntax` for what is no JSON, `BadRule` with the place of a key or value that has no meaning.
    pub fn from_aimet(name: &str, text: &str) -> Result<Policy, RecipeError> {
        let policy = aimet::parse(name, text)?;
        policy.check()?;
        Ok(policy)
    }

    /// The rules of a policy that quantizes everywhere.
    pub fn everywhere(&self) -> Option<&Everywhere> {
        match &self.placement {
            Placement::Everywhere(rules) => Some(rules),
            Placement::Kernels(_) => None,
        }
    }

    /// Whether a node is an operator whose constants are quantized as parameters.
    pub(crate) fn reads_weights(&self, node: &Node) -> bool {
        match &self.placement {
            Placement::Kernels(rules) => {
                rules.kernels.iter().any(|kernel| node.is_onnx(&kernel.op))
            }
            Placement::Everywhere(_) => {
                node.is_onnx(&node.op_type) && params::kind(&node.op_type, 1).is_some()
            }
        }
    }

    fn check(&self) -> Result<(), RecipeError> {
        for (place, types) in [("activations", &self.activations), ("weights", &self.weights)] {
            if types.is_empty() {
                return Err(RecipeError::BadRule {
                    place: place.to_owned(),
                    what: "there is no type".to_owned(),
                    hint: "list at least one, such as `Int8`".to_owned(),
                });
            }
        }
        match &self.placement {
            Placement::Kernels(rules) => {
                let unknown = |kernel: &&Kernel| !SUMS.contains(&kernel.op.as_str());
                match rules.kernels.iter().find(unknown) {
                    Some(kernel) => Err(RecipeError::unknown_name("kernel", &kernel.op, &SUMS)),
                    None => Ok(()),
                }
            }
            Placement::Everywhere(rules) => rules.check(),
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
        for (alias, name) in ALIASES {
            assert_eq!(Policy::preset(alias).unwrap().name, *name);
        }
        let error = Policy::preset("ort-cpi").unwrap_err();
        assert!(error.hint().unwrap().contains("`ort-cpu`"), "{error}");
    }

    #[test]
    fn a_policy_without_types_is_refused() {
        let text = include_str!("../policies/ort-cpu.ron");
        let start = text.find("activations: [").unwrap() + "activations: [".len();
        let end = start + text[start..].find(']').unwrap();
        let error = Policy::parse(&format!("{}{}", &text[..start], &text[end..])).unwrap_err();
        assert_eq!(error.code(), "bad_rule");
        assert_eq!(error.to_string(), "activations: there is no type");
    }
}
