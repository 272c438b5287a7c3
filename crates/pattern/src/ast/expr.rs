//! Expressions: of values, of right sides, of conditions and numbers.

use super::{Body, Dimension, Left, Name, Param};
use crate::core::Tolerance;
use crate::gexpr::{BinaryOp, CompareOp};
use crate::span::Span;

/// A pattern expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is written.
    pub span: Span,
}

/// What a pattern expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `3`, `0.5 ± 1%`.
    Number(Number),
    /// `-x`.
    Negate(Box<Expr>),
    /// `a + b -? c`: operators with their right operands, from left to right.
    Infix(Box<Expr>, Vec<(Infix, Expr)>),
    /// `a ?? b`.
    Coalesce(Vec<Expr>),
    /// `a ^ b`.
    Power(Box<Expr>, Box<Expr>),
    /// `F<…>(…)`, `F{…}`.
    Call(Call),
    /// `{e : t}`.
    Constant(Constant),
    /// `(name = e)`.
    Naming(Name, Box<Expr>),
    /// `const w`.
    Const(Name),
    /// `_?`.
    AnyOrAbsent,
    /// `none`.
    Absent,
    /// `_`.
    Any,
    /// A name.
    Name(Name),
    /// `( … )`.
    Group(Box<Expr>),
    /// `e[1]`.
    Index(Box<Expr>, u32),
    /// `p | q`; also one branch alone with `with` or `if`.
    Alt(Vec<Branch>),
}

/// A literal number of a pattern.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// Its value.
    pub value: Literal,
    /// `± t`.
    pub tolerance: Option<Tolerance>,
}

/// An integer or a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// Written without a point.
    Int(i64),
    /// Written with a point or an exponent.
    Float(f64),
}

/// An infix operator with its place.
#[derive(Clone, Copy, Debug)]
pub struct Infix {
    /// `Add`, `Sub`, `Mul`, `Div`, `MatMul`.
    pub operator: &'static str,
    /// `+?`.
    pub optional: bool,
    /// The operator.
    pub span: Span,
}

/// `{e : t}`.
#[derive(Clone, Debug)]
pub struct Constant {
    /// What is computed.
    pub value: Guard,
    /// The dtype.
    pub dtype: Option<Name>,
    /// The shape.
    pub shape: Option<Guard>,
    /// `± t`.
    pub tolerance: Option<Tolerance>,
}

/// A branch of an alternative.
#[derive(Clone, Debug)]
pub struct Branch {
    /// What must match.
    pub expr: Expr,
    /// `with k = e`.
    pub with: Vec<(Name, Guard)>,
    /// `if g`.
    pub guard: Option<Guard>,
}

/// A call of an operator, a pattern or a definition.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name, with its domain (`com.microsoft.Gelu`) if one is written; for `(Set as v)` the set.
    pub callee: Name,
    /// `v` of `(Set as v)`.
    pub bind: Option<Name>,
    /// `?`, `*`, `+` or `!`.
    pub mark: Option<Mark>,
    /// What is between `<` and `>`.
    pub attributes: Vec<Attr>,
    /// The arguments; a lone gap means none.
    pub args: Vec<Arg>,
    /// `Add{…}`.
    pub braces: bool,
}

/// A mark after a callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `F?`.
    Maybe,
    /// `F*`.
    Star,
    /// `F+`.
    Plus,
    /// `F!`.
    Exact,
}

/// An attribute of a call.
#[derive(Clone, Debug)]
pub enum Attr {
    /// `...`.
    Open(Span),
    /// `rest...`.
    Rest(Name),
    /// `a`, `a = v`, `a = v | w`.
    Named(Name, Vec<AttrValue>),
}

/// The content of an attribute.
#[derive(Clone, Debug)]
pub enum AttrValue {
    /// `_`.
    Any,
    /// A number, list, string or name.
    Expr(Guard),
    /// A nested graph: params, results, body.
    Graph(Vec<Param>, Vec<Param>, Body),
    /// A tensor literal, as ONNX's printer writes it: `float {0.5}`, `int64[2] {0, -1}`.
    Tensor(TensorLiteral),
}

/// A tensor literal.
#[derive(Clone, Debug)]
pub struct TensorLiteral {
    /// The whole literal.
    pub span: Span,
    /// The element type.
    pub dtype: Name,
    /// The dimensions as written; none for a scalar.
    pub dims: Vec<Dimension>,
    /// The elements, in C order.
    pub elements: Vec<Literal>,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Arg {
    /// `...`.
    Open(Span),
    /// A gap between commas.
    Gap(Span),
    /// `e`.
    One(Expr),
    /// `e?`.
    Maybe(Expr),
    /// `e...`.
    Each(Expr),
}

/// `{ … }` of a replacement or of `equals`.
#[derive(Clone, Debug)]
pub struct Build {
    /// The statements, in order.
    pub statements: Vec<BuildStatement>,
    /// The braces and what is between.
    pub span: Span,
}

/// A statement of a replacement.
#[derive(Clone, Debug)]
pub enum BuildStatement {
    /// `let k = e`.
    Let(Name, Guard),
    /// `a, b = …`.
    Equation {
        /// `const`.
        constant: bool,
        /// The names on the left.
        left: Vec<Left>,
        /// The right side.
        right: BuildExpr,
        /// The whole equation.
        span: Span,
    },
}

/// The right side of an equation of a replacement.
#[derive(Clone, Debug)]
pub enum BuildExpr {
    /// `if g then a else b`.
    If(Box<Guard>, Box<BuildExpr>, Box<BuildExpr>, Span),
    /// An expression.
    Expr(Expr),
}

/// A guard or constant expression.
#[derive(Clone, Debug)]
pub struct Guard {
    /// What it is.
    pub kind: GuardKind,
    /// Where it is written.
    pub span: Span,
}

/// What a guard expression is.
#[derive(Clone, Debug)]
pub enum GuardKind {
    /// A number.
    Number(Literal),
    /// `"…"`.
    String(String),
    /// `true`, `false`.
    Bool(bool),
    /// `none`.
    None,
    /// A name.
    Name(String),
    /// `[a, b]`.
    List(Vec<Guard>),
    /// `-a`.
    Negate(Box<Guard>),
    /// `not a`.
    Not(Box<Guard>),
    /// `a and b`.
    And(Vec<Guard>),
    /// `a or b`.
    Or(Vec<Guard>),
    /// `a + b`.
    Binary(BinaryOp, Box<Guard>, Box<Guard>),
    /// `a < b < c`.
    Compare(Box<Guard>, Vec<(CompareOp, Guard)>),
    /// `a[i]`.
    Index(Box<Guard>, Box<Guard>),
    /// `a[i:j]`.
    Slice(Box<Guard>, Option<Box<Guard>>, Option<Box<Guard>>),
    /// `f(a)`.
    Call(Name, Vec<Guard>),
    /// `x is P`, `x is not P`.
    Is(Box<Guard>, bool, Box<Branch>),
}
