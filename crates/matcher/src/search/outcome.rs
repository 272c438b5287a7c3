//! Why the search at an anchor came to nothing.

use marquetry_pattern::Span;
use marquetry_pattern::core::{ExprId, ExprKind, Pattern, VarId};

use super::{Search, Stop};
use crate::found::Match;
use crate::index::{NodeRow, ValueRow};

/// The end of a search at one anchor.
pub(crate) enum Outcome {
    Hit(Box<Match>),
    /// With the failure that came after the most had been matched.
    Miss(Option<Failure>),
    Exhausted,
}

/// Where a search failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) span: Span,
    pub(crate) value: Option<ValueRow>,
    pub(crate) node: Option<NodeRow>,
    /// Nodes matched and steps on the way: the larger, the nearer the miss.
    pub(crate) depth: (usize, usize),
}

/// What was not as the pattern asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An input that the pattern needs is absent.
    Missing(ExprId),
    /// An input that must be absent is there.
    NotAbsent,
    /// The producer is another operator, or there is none.
    Operator(ExprId),
    /// It is another result of the node.
    Result,
    /// The node has inputs that the pattern does not name.
    Inputs,
    /// An attribute, by its position in the pattern.
    Attribute(usize),
    /// An attribute that the pattern does not name is not at its default.
    OtherAttribute,
    /// The tree of this operator has another number of leaves.
    Leaves(usize),
    /// The variable is bound to another value.
    Different(VarId),
    /// The value does not have the type of the variable, or is no constant.
    Type(VarId),
    /// Not a constant scalar that keeps the rank.
    NotScalar,
    /// Another number than the variable's.
    Number(VarId),
    /// Another number or list than the literal.
    OtherConstant,
    /// A condition is false, or not known to be true.
    Guard,
    /// A header variable is not bound.
    Unbound(VarId),
    /// An interior value is used outside the match, or is an output of the graph.
    Escapes,
    /// A path leaves the match and comes back.
    NotConvex,
    /// An input of the header is computed inside the match.
    InputInside(VarId),
    /// Two outputs are the same value.
    SameOutput,
    /// Everything that is optional is absent, and nothing else is asked for.
    NoNode,
}

impl Reason {
    /// The reason in words, with the names of the pattern.
    /// A stable name of the kind of reason.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Missing(_) => "missing_input",
            Self::NotAbsent => "unwanted_input",
            Self::Operator(_) => "operator",
            Self::Result => "other_result",
            Self::Inputs => "more_inputs",
            Self::Attribute(_) => "attribute",
            Self::OtherAttribute => "other_attribute",
            Self::Leaves(_) => "operand_count",
            Self::Different(_) => "other_value",
            Self::Type(_) => "type",
            Self::NotScalar => "not_a_number",
            Self::Number(_) => "other_number",
            Self::OtherConstant => "other_constant",
            Self::Guard => "condition",
            Self::Unbound(_) => "unbound",
            Self::Escapes => "escapes",
            Self::NotConvex => "not_convex",
            Self::InputInside(_) => "input_inside",
            Self::SameOutput => "same_output",
            Self::NoNode => "no_node",
        }
    }

    pub(crate) fn text(self, pattern: &Pattern) -> String {
        let name = |var: VarId| pattern.var(var).name.as_str();
        match self {
            Self::Missing(_) => "the input is absent".to_owned(),
            Self::NotAbsent => "the input must be absent".to_owned(),
            Self::Operator(expr) => {
                let operators = match &pattern.expr(expr).kind {
                    ExprKind::Op(op) => op.operators.iter().map(|op| op.name.as_str()).collect(),
                    ExprKind::Chain(chain) => vec![chain.operator.name.as_str()],
                    _ => Vec::new(),
                };
                format!("not computed by `{}`", operators.join("` or `"))
            }
            Self::Result => "another result of the node".to_owned(),
            Self::Inputs => "the node has inputs that the pattern does not name".to_owned(),
            Self::Attribute(_) => "the attribute is another one".to_owned(),
            Self::OtherAttribute => {
                "an attribute that the pattern does not name is not at its default".to_owned()
            }
            Self::Leaves(_) => "another number of operands".to_owned(),
            Self::Different(var) => format!("`{}` is another value", name(var)),
            Self::Type(var) => format!("not of the type of `{}`, or not constant", name(var)),
            Self::NotScalar => "not a constant scalar of at most the rank of the result".to_owned(),
            Self::Number(var) => format!("`{}` is another number", name(var)),
            Self::OtherConstant => "another constant".to_owned(),
            Self::Guard => "the condition is not known to hold".to_owned(),
            Self::Unbound(var) => format!("`{}` is not bound", name(var)),
            Self::Escapes => "an interior value is used outside the match".to_owned(),
            Self::NotConvex => "a path leaves the match and comes back".to_owned(),
            Self::InputInside(var) => format!("`{}` is computed inside the match", name(var)),
            Self::SameOutput => "two outputs are the same value".to_owned(),
            Self::NoNode => "no node is left to be matched".to_owned(),
        }
    }
}

impl Search<'_, '_, '_> {
    /// Records a failure at an expression; always `false`.
    pub(super) fn fail(&mut self, reason: Reason, expr: ExprId, at: Option<ValueRow>) -> bool {
        let span = self.pattern().expr(expr).span;
        if self.trace.is_some() {
            self.trace_failure(Stop { reason, expr: Some(expr), span, value: at, last: None });
        }
        self.record(reason, span, at)
    }

    /// Records a failure; always `false`.
    pub(super) fn fail_at(&mut self, reason: Reason, span: Span, at: Option<ValueRow>) -> bool {
        if self.trace.is_some() {
            self.trace_failure(Stop { reason, expr: None, span, value: at, last: None });
        }
        self.record(reason, span, at)
    }

    fn record(&mut self, reason: Reason, span: Span, at: Option<ValueRow>) -> bool {
        let depth = (self.nodes.len(), self.trail.len());
        if self.deepest.as_ref().is_none_or(|deepest| depth > deepest.depth) {
            let node = self.nodes.last().copied();
            self.deepest = Some(Failure { reason, span, value: at, node, depth });
        }
        false
    }
}
