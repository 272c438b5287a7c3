//! Rules of targets that compute everything in integers.

use std::collections::BTreeMap;
use std::fmt;

use marquetry_ir::schema;
use serde::{Deserialize, Serialize};

use crate::recipe::RecipeError;
use crate::{DType, FixedRange, params};

/// Placement of targets that compute everything in integers: every tensor is quantized, unless a
/// rule says otherwise.
///
/// Later rules override earlier ones: defaults, kinds of parameters, types of operators, chains,
/// inputs and outputs of the model, precisions that were asked for, overrides. What is left out
/// says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Everywhere {
    /// Activations of all operators.
    pub activations: Activations,
    /// Parameters of all operators.
    pub params: Params,
    /// Whether symmetric grids give up one step, so that both sides have as many.
    pub strict: bool,
    /// Whether symmetric grids without a negative value use all steps above zero.
    pub unsigned: bool,
    /// Whether parameters have one scale per channel, where they have channels.
    pub per_channel: bool,
    /// Parameters by what they are to their operators: `weight`, `bias`, `running_mean`, …
    pub param_kinds: BTreeMap<String, Params>,
    /// Rules by operator. Operators that keep the grid of their input and are not listed have no
    /// quantizer of their own on their outputs.
    pub operators: BTreeMap<String, OpRule>,
    /// Operators in a row that the target runs as one: only what the last one gives is quantized.
    pub chains: Vec<Vec<String>>,
    /// Patterns whose matches the target runs as one operator.
    pub groups: Vec<GroupRule>,
    /// Whether inputs of the model are quantized.
    pub inputs: Option<bool>,
    /// Whether constants that are no parameters are quantized, such as the other side of an `Add`.
    pub constants: Option<bool>,
    /// Whether outputs of the model are quantized.
    pub outputs: Option<bool>,
    /// What becomes of outputs of operators that only move elements.
    pub movement: Movement,
    /// The generation of the hardware, such as `V73`, where rules depend on it.
    pub hardware: Option<String>,
    /// Pairs of precisions that the target has kernels for; where none fits, a note says so.
    pub supported_kernels: Vec<SupportedKernel>,
    /// The last word about single values, in order.
    pub overrides: Vec<Override>,
}

/// What is said of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Activations {
    /// Whether results are quantized.
    pub outputs: Option<bool>,
    /// Whether zero is in the middle of the grid.
    pub symmetric: Option<bool>,
}

/// What is said of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Whether they are quantized.
    pub quantized: Option<bool>,
    /// Whether zero is in the middle of the grid.
    pub symmetric: Option<bool>,
}

/// What is said of an operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpRule {
    /// Whether inputs of the model and constants that it reads are quantized.
    pub inputs: Option<bool>,
    /// Whether its results are quantized.
    pub outputs: Option<bool>,
    /// Whether zero is in the middle of the grids of what it reads and gives.
    pub symmetric: Option<bool>,
    /// Its parameters, by what they are to it.
    pub params: BTreeMap<String, Params>,
    /// Whether its parameters have one scale per channel.
    pub per_channel: Option<bool>,
    /// The range of its results, or one end of it, whatever is observed.
    pub range: Option<FixedRange>,
    /// Pairs of precisions that the target has kernels for; where none fits, a note says so.
    pub supported_kernels: Vec<SupportedKernel>,
}

/// A pattern whose matches the target runs as one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    /// The name of the pattern.
    pub pattern: String,
    /// The operator whose rules hold for the whole.
    pub operator: String,
    /// Parameters of the operator, by the variables of the pattern that they are bound to.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

/// What becomes of outputs of operators that only move elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Movement {
    /// They have no quantizer: who reads them gets the grid of what was moved.
    #[default]
    Through,
    /// They have a quantizer, with the encoding of what was moved.
    Same,
}

/// Precisions of an activation and a parameter that a kernel takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportedKernel {
    /// Of the activation.
    pub activation: Precision,
    /// Of the parameter, for operators that have one.
    #[serde(default)]
    pub param: Option<Precision>,
}

/// A width, and whether it is that of a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Width.
    pub bits: u32,
    /// Whether it is a float.
    #[serde(default)]
    pub float: bool,
}

/// What is said of selected values, after everything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Which values.
    pub select: Select,
    /// Whether they are quantized.
    #[serde(default)]
    pub quantized: Option<bool>,
    /// Their type.
    #[serde(default)]
    pub dtype: Option<DType>,
    /// Whether zero is in the middle of the grid.
    #[serde(default)]
    pub symmetric: Option<bool>,
    /// Their range, or one end of it.
    #[serde(default)]
    pub range: Option<FixedRange>,
}

/// Which values are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// By name; `*` stands for any characters.
    Name(String),
    /// What operators of this type give.
    Op(String),
    /// Parameters of this kind.
    Param(String),
}

impl Everywhere {
    /// What is said of a kind of parameters of an operator; the most special rule has the last word.
    pub(crate) fn param(&self, operator: &str, kind: &str) -> Params {
        let kinds = self.param_kinds.get(kind);
        let own = self.operators.get(operator).and_then(|rule| rule.params.get(kind));
        let said = [own, kinds, Some(&self.params)];
        let said = || said.into_iter().flatten();
        Params {
            quantized: said().find_map(|params| params.quantized),
            symmetric: said().find_map(|params| params.symmetric),
        }
    }

    /// Whether parameters of an operator have one scale per channel.
    pub(crate) fn per_channel(&self, operator: &str) -> bool {
        let own = self.operators.get(operator).and_then(|rule| rule.per_channel);
        own.unwrap_or(self.per_channel)
    }

    /// Refuses what can never have an effect, because it is misspelt more often than meant.
    pub(crate) fn check(&self) -> Result<(), RecipeError> {
        for (at, chain) in self.chains.iter().enumerate() {
            if chain.len() < 2 {
                return Err(RecipeError::BadRule {
                    place: format!("chains[{at}]"),
                    what: "a chain of fewer than two operators is none".to_owned(),
                    hint: "list the operators in the order in which they run".to_owned(),
                });
            }
        }
        let kinds = self.param_kinds.keys().map(|kind| ("param_kinds".to_owned(), kind));
        let own = self.operators.iter().flat_map(|(op, rule)| {
            rule.params.keys().map(move |kind| (format!("operators.{op}.params"), kind))
        });
        let groups = self.groups.iter().enumerate().flat_map(|(at, group)| {
            group.params.keys().map(move |kind| (format!("groups[{at}].params"), kind))
        });
        for (place, kind) in kinds.chain(own).chain(groups) {
            if !params::KINDS.contains(&kind.as_str()) {
                let hint = crate::suggest::hint(kind, &params::KINDS);
                let what = format!("there is no kind of parameters `{kind}`");
                return Err(RecipeError::BadRule { place, what, hint });
            }
        }
        for (op, rule) in &self.operators {
            if let Some((low, high)) = rule.range.and_then(FixedRange::known)
                && (low.is_nan() || high.is_nan() || low >= high)
            {
                return Err(RecipeError::BadRule {
                    place: format!("operators.{op}.range"),
                    what: format!("no value lies between {low} and {high}"),
                    hint: "give the smaller end as `min`".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Whether an operator of ONNX keeps the grid of its first input.
pub(crate) fn keeps_grid(op_type: &str) -> bool {
    // Facts hold for every version.
    schema::versions("", op_type).first().is_some_and(|schema| schema.facts.grid())
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Select::Name(pattern) => write!(f, "`{pattern}`"),
            Select::Op(op) => write!(f, "what {op} gives"),
            Select::Param(kind) => write!(f, "every {kind}"),
        }
    }
}
