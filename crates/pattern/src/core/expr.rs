//! What matches a value: nodes, chains of them, alternatives, repetitions, constants.

use super::{ExprId, Let, ScopeId, VarId};
use crate::gexpr::GExpr;
use crate::span::Span;

/// An expression with the place it came from.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it matches.
    pub kind: ExprKind,
    /// Where it is written (for inlined definitions: in the definition).
    pub span: Span,
}

/// What an expression matches.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `_`: any value that is present.
    Any,
    /// `_?`: anything, absent too.
    AnyOrAbsent,
    /// `none`, or a gap between commas: the input must be absent.
    Absent,
    /// A value variable (kind [`Kind::Value`](super::Kind::Value)), present; see the module's rule 1.
    Var(VarId),
    /// A variable of kind [`Kind::Attribute`](super::Kind::Attribute) in value position: a neutral constant scalar, whose
    /// number is bound, or compared with the constant tolerance.
    Scalar(VarId),
    /// A neutral constant scalar equal to a number, or a rank-1 constant equal to a list:
    /// `3`, `0.5 ± 1%`, `{1/sqrt(2)}`, `{[0, 2, 1]}`. One with a type, `{3 : float[1]}`, is a
    /// variable of that type that it defines.
    Constant {
        /// The number or list; folded where it mentions no variable.
        value: GExpr,
        /// `±`; without it, the tolerance of the constant's dtype.
        tolerance: Option<Tolerance>,
    },
    /// `full(c)`: a constant of any shape, all elements of which are what `c` (a `Scalar` or
    /// `Constant`) says. Where `c` is a list, its elements are those of the constant in C order.
    Full(ExprId),
    /// `e?` as an argument: `e`, or absent with [`absent`](Optional::absent) set to none.
    Optional(Optional),
    /// One node.
    Op(Op),
    /// A tree of nodes of one associative, commutative operator, any bracketing, any order.
    Chain(Chain),
    /// Ordered alternatives.
    Alt(Alt),
    /// `F*(x)`, `F+(x)`.
    Repeat(Repeat),
    /// Makes a scope hold (a second time is no change), then matches the expression: the call of a
    /// definition with a block body.
    Scoped(ScopeId, ExprId),
}

/// `c ± t` or `c ± p%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// `|x − c| ≤ t`.
    Absolute(f64),
    /// `|x − c| ≤ p/100 · |c|`; the field is `p/100`.
    Relative(f64),
}

/// `e?` as an argument.
#[derive(Clone, Debug)]
pub struct Optional {
    /// What matches if the argument is present.
    pub present: ExprId,
    /// Variables that are set to none if it is absent.
    pub absent: Vec<VarId>,
}

/// One node, its attributes and its inputs.
#[derive(Clone, Debug)]
pub struct Op {
    /// The operators that are accepted, one or more.
    pub operators: Vec<Operator>,
    /// Bound to the operator that was found: `(Unary as act)(x)`.
    pub bind: Option<VarId>,
    /// Attributes by name, at most once each, in file order.
    pub attributes: Vec<Attribute>,
    /// What holds for the attributes that are not named.
    pub others: Others,
    /// Inputs, in order; at most one is [`Arg::Each`], and an `Each` takes all that the
    /// arguments after it leave.
    pub args: Vec<Arg>,
    /// `Op(x, ...)`: further inputs are unconstrained. If false, they must be absent.
    pub open: bool,
    /// `Op!`: arguments exactly in the order written, even if the operator is commutative.
    pub exact: bool,
    /// Which result of the node the value is.
    pub output: Output,
}

/// An operator: domain and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operator {
    /// The domain; `""` is the standard one.
    pub domain: String,
    /// The name, such as `MatMul`.
    pub name: String,
}

/// Which result of a node an expression matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `F(x)[1]`; by default 0.
    Index(u32),
    /// The right side of `a, b = F(x)`: binds each variable to the result of its position (the
    /// last one may be a list, which takes the rest). The value must be one of the node's
    /// results; which one follows from the variable that is met, which is bound already.
    Bind(Vec<VarId>),
}

/// One input.
#[derive(Clone, Debug)]
pub enum Arg {
    /// One input.
    One(ExprId),
    /// `F(xs)...`: zero or more inputs, each of which matches.
    Each {
        /// What each input matches.
        expr: ExprId,
        /// Variables that are fresh for each input and collected as lists; all others are the
        /// same for all inputs.
        collected: Vec<VarId>,
    },
}

/// What is required of one attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The attribute's name in the schema.
    pub name: String,
    /// What is required.
    pub pattern: AttributePattern,
    /// Where it is written.
    pub span: Span,
}

/// What is required of an attribute's content.
#[derive(Clone, Debug)]
pub enum AttributePattern {
    /// `_`.
    Any,
    /// `<a>`, `<a = p>`: binds the variable, or must be equal to what it is bound to.
    Bind(VarId),
    /// A value; all its variables are bound elsewhere (in file order, or later: then it is checked
    /// as soon as they are).
    Value(GExpr),
    /// `[0, h]` where some elements bind variables.
    List(Vec<AttributePattern>),
    /// `1 | 2`.
    OneOf(Vec<AttributePattern>),
    /// A nested graph (If, Loop, Scan).
    Graph(GraphPattern),
}

/// A pattern for the graph of an attribute. Variables of the outer pattern are values captured
/// from the outer graph.
#[derive(Clone, Debug)]
pub struct GraphPattern {
    /// Met at the inner graph's inputs.
    pub inputs: Vec<VarId>,
    /// Met at the inner graph's outputs.
    pub outputs: Vec<VarId>,
    /// Holds when the inner graph is matched.
    pub scope: ScopeId,
}

/// What holds for attributes that a pattern does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// They have the default of the schema, or are not set. One that has no default is
    /// unconstrained; the checker refuses such a pattern (P011), unless the attribute only restates
    /// the type of the output, as Cast's `to` does.
    Default,
    /// `...`: unconstrained.
    Any,
    /// `rest...`: captured; a second capture must be equal.
    Rest(VarId),
}

/// `a * b * c`, `Add{a, b, rest...}`.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The operator.
    pub operator: Operator,
    /// The leaves, in the order written.
    pub operands: Vec<ExprId>,
    /// `rest...`: takes the leaves that are left, as a list; `None` if there may be none.
    pub rest: Option<VarId>,
}

/// Ordered alternatives.
#[derive(Clone, Debug)]
pub struct Alt {
    /// The branches, in order.
    pub branches: Vec<Branch>,
}

/// One alternative.
#[derive(Clone, Debug)]
pub struct Branch {
    /// What must match.
    pub expr: ExprId,
    /// `with k = e`: binds, or checks a `k` that is bound.
    pub with: Vec<Let>,
    /// `if g`: must be true.
    pub guard: Option<GExpr>,
    /// Variables of the other branches that are set to none (for `F?` and `+?`), unless they are
    /// bound already.
    pub absent: Vec<VarId>,
}

/// `F*(x)` is `F(F*(x)) | x`, longest first; `F+` at least once.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// One step; somewhere it meets [`hole`](Self::hole).
    pub step: ExprId,
    /// Bound in each step to the value where the next step, or in the end [`last`](Self::last),
    /// is matched.
    pub hole: VarId,
    /// What matches at the end of the chain.
    pub last: ExprId,
    /// Variables that are fresh in each step and collected as lists, outermost step first.
    pub collected: Vec<VarId>,
    /// `F+`.
    pub at_least_once: bool,
}
