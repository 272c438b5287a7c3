//! Tests.

use super::{Literal, Name};
use crate::span::Span;

/// A test block.
#[derive(Clone, Debug)]
pub struct Test {
    /// The title.
    pub title: Name,
    /// What is tested.
    pub kind: TestKind,
    /// The whole item.
    pub span: Span,
}

/// What a test block says.
#[derive(Clone, Debug)]
pub enum TestKind {
    /// `on "model.onnx" { LayerNorm: 25 }`.
    Counts {
        /// The path of the model, relative to the folder of the file.
        model: Name,
        /// Patterns with the number of their groups.
        counts: Vec<Count>,
    },
    /// A graph and what is expected of it.
    Graph {
        /// ONNX text; not parsed here.
        graph: Name,
        /// What is expected, at least one thing.
        expects: Vec<Expect>,
    },
}

/// `LayerNorm: 25`.
#[derive(Clone, Debug)]
pub struct Count {
    /// The pattern.
    pub pattern: Name,
    /// The number of its groups.
    pub count: i64,
    /// Where the number is written.
    pub span: Span,
}

/// Something that is expected of a graph.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What.
    pub kind: ExpectKind,
    /// From its first word to its end.
    pub span: Span,
}

/// What is expected of a graph.
#[derive(Clone, Debug)]
pub enum ExpectKind {
    /// `matches P { k = v }`.
    Matches {
        /// The pattern.
        pattern: Name,
        /// What its variables are bound to, as far as that is said.
        bindings: Vec<Binding>,
    },
    /// `rejects P because "…"`.
    Rejects {
        /// The pattern.
        pattern: Name,
        /// Words of the reason.
        because: Option<Name>,
    },
    /// `by double_neg, fuse Gelu becomes g (…) => (…) { … }`.
    Becomes {
        /// What is applied; if nothing is said, the rules of the file, or the meanings of its
        /// patterns if it has no rules.
        by: Vec<Step>,
        /// The graph afterwards: ONNX text.
        graph: Name,
    },
}

/// What a test applies to its graph.
#[derive(Clone, Debug)]
pub struct Step {
    /// How.
    pub way: Way,
    /// The rule or pattern.
    pub name: Name,
}

/// How a rule or pattern is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A rule: its right side.
    Rule,
    /// `fuse P`: what it `equals`.
    Fuse,
    /// `outline P`: a call of a function of the model.
    Outline,
    /// `expand P`: the body in place of what it `equals`.
    Expand,
}

/// `eps = 1e-5`.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The variable.
    pub name: Name,
    /// What it is bound to.
    pub bound: Bound,
    /// Where the right side is written.
    pub span: Span,
}

/// What a variable is expected to be bound to.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// A number.
    Number(Literal),
    /// A list.
    List(Vec<Bound>),
    /// A value of the graph, an element type or a string.
    Value(String),
    /// Absent.
    Absent,
}
