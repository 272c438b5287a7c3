//! What the checker asks about operators. This crate knows no schema; the caller does.

use crate::core::{Operator, OpsetRange};
use crate::description::Description;

/// Facts about operators.
///
/// ```
/// use marquetry_pattern::{Facts, NoOperators, Operators};
///
/// let relu = marquetry_pattern::core::Operator { domain: String::new(), name: "Relu".to_owned() };
/// assert!(matches!(NoOperators.facts(&relu, &[]), Facts::Unchecked));
/// ```
pub trait Operators {
    /// Returns what is known of an operator over all versions that the opset ranges admit (all
    /// versions, where no range names its domain).
    fn facts(&self, operator: &Operator, opsets: &[OpsetRange]) -> Facts;

    /// Returns what a node of this operator weighs: where a rewrite leaves as many nodes as it
    /// found, it must make them lighter (see [`measure`](crate::measure)).
    fn weight(&self, operator: &Operator) -> u32 {
        let _ = operator;
        1
    }

    /// Returns the names of the standard operators, for suggestions.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the operators of all domains that the opset ranges admit, sorted by domain and name:
    /// what an editor proposes.
    fn admitted(&self, _opsets: &[OpsetRange]) -> Vec<Operator> {
        Vec::new()
    }

    /// Returns what there is to read about an operator, where the ranges admit it.
    fn describe(&self, _operator: &Operator, _opsets: &[OpsetRange]) -> Option<Description> {
        None
    }
}

/// What is known of an operator.
#[derive(Clone, Debug)]
pub enum Facts {
    /// Nothing is known of its domain: it is accepted as it is written.
    Unchecked,
    /// There is no such operator in the domain.
    Unknown,
    /// It exists, but in no version of the range.
    OutOfRange {
        /// The first version that has it.
        since: u32,
    },
    /// What its versions have in common.
    Known(Signature),
}

/// Inputs and attributes of an operator, over several versions.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// Names of the inputs, in order.
    pub inputs: Vec<String>,
    /// The least number of inputs that a version requires.
    pub min_inputs: usize,
    /// The greatest number that a version allows; `None` is any number.
    pub max_inputs: Option<usize>,
    /// Attributes of any version, and inputs that were attributes once (`axes`): a pattern
    /// spells both as attributes.
    pub attributes: Vec<AttributeFacts>,
    /// Inputs may be exchanged.
    pub commutative: bool,
}

/// An attribute in the schema.
#[derive(Clone, Debug)]
pub struct AttributeFacts {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: AttributeKind,
    /// All versions of the range require it. To be false for an attribute that only restates the
    /// element type of the output, such as `to` of Cast: not to write it assumes nothing.
    pub required: bool,
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// `int`.
    Int,
    /// `ints`.
    Ints,
    /// `float`.
    Float,
    /// `floats`.
    Floats,
    /// `string`.
    String,
    /// `strings`.
    Strings,
    /// `tensor`, `graph`, types and their lists, and inputs that were attributes once: content
    /// is not checked.
    Other,
}

/// Knows no operator: everything is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOperators;

impl Operators for NoOperators {
    fn facts(&self, _: &Operator, _: &[OpsetRange]) -> Facts {
        Facts::Unchecked
    }
}
