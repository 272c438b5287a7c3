//! The syntax tree: what is written, with the place of each part; nothing is resolved yet.

mod expr;
mod test;

use crate::core::OpsetRange;
use crate::span::Span;

pub use expr::*;
pub use test::*;

/// A name as written (without quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The text.
    pub text: String,
    /// Where it is written.
    pub span: Span,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Items, in order; broken ones are left out.
    pub items: Vec<Item>,
}

/// A top-level item.
#[derive(Clone, Debug)]
pub enum Item {
    /// `use "std/math.pat" { square }`.
    Use(Use),
    /// `opset "" 11..`.
    Opset(OpsetRange),
    /// `ops Unary = Relu, Sigmoid`.
    Ops(Ops),
    /// `def square(x) = x ^ 2`.
    Def(Def),
    /// `pattern Gelu (x) => (y) { … }`.
    Pattern(Box<PatternItem>),
    /// `rule double_neg: Neg(Neg(x)) ~> x`.
    Rule(Box<Rule>),
    /// `test "…" …`.
    Test(Test),
}

/// An import.
#[derive(Clone, Debug)]
pub struct Use {
    /// The path as written.
    pub path: Name,
    /// The names to take; all of them if there is no list.
    pub names: Option<Vec<Name>>,
    /// The whole item.
    pub span: Span,
}

/// A named set of operators.
#[derive(Clone, Debug)]
pub struct Ops {
    /// The name of the set.
    pub name: Name,
    /// Its operators, with domain if one is written.
    pub operators: Vec<Name>,
}

/// A definition.
#[derive(Clone, Debug)]
pub struct Def {
    /// The name, lower case.
    pub name: Name,
    /// What is between `<` and `>`.
    pub attributes: Vec<SigAttr>,
    /// The parameters.
    pub params: Vec<Param>,
    /// What it stands for.
    pub body: DefBody,
}

/// What a definition stands for.
#[derive(Clone, Debug)]
pub enum DefBody {
    /// `= expr`.
    Short(Expr),
    /// `=> (results) { … }`.
    Block(Vec<Param>, Body),
}

/// A pattern.
#[derive(Clone, Debug)]
pub struct PatternItem {
    /// The name, capitalised.
    pub name: Name,
    /// Family, priority, opsets.
    pub meta: Meta,
    /// What is matched.
    pub signature: Signature,
    /// The equations.
    pub body: Body,
    /// `equals { … }`.
    pub equals: Option<Build>,
    /// `quant { … }`.
    pub quant: Vec<Hint>,
    /// `verify …`.
    pub verify: Option<Verify>,
}

/// `<attributes> (params) => (results)`.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// What is between `<` and `>`.
    pub attributes: Vec<SigAttr>,
    /// The inputs.
    pub params: Vec<Param>,
    /// The outputs.
    pub results: Vec<Param>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name, lower case.
    pub name: Name,
    /// Family, priority, opsets.
    pub meta: Meta,
    /// Both sides.
    pub kind: RuleKind,
    /// `verify …`.
    pub verify: Option<Verify>,
}

/// Both sides of a rule.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// With a header and blocks.
    Block(Signature, Body, Build),
    /// `: lhs ~> rhs where …`.
    Short {
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<BuildExpr>,
        /// The conditions.
        guards: Vec<Where>,
    },
}

/// Family, priority, opsets.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// `in fam`.
    pub family: Option<Name>,
    /// `priority n`.
    pub priority: i64,
    /// `bounded n`; rules only.
    pub bounded: Option<u32>,
    /// `opset "" 13..18`.
    pub opsets: Vec<OpsetRange>,
}

/// An attribute of a header.
#[derive(Clone, Debug)]
pub struct SigAttr {
    /// The name.
    pub name: Name,
    /// `rest...`.
    pub rest: bool,
    /// `= e`.
    pub default: Option<Guard>,
}

/// A parameter or a result of a header.
#[derive(Clone, Debug)]
pub struct Param {
    /// The name.
    pub name: Name,
    /// `const`.
    pub constant: bool,
    /// The type before the name.
    pub value_type: Option<ValueType>,
    /// `xs...`.
    pub list: bool,
    /// `x?`.
    pub optional: bool,
}

/// `float16[B, S, D]?`.
#[derive(Clone, Debug)]
pub struct ValueType {
    /// The element type.
    pub dtype: Option<Name>,
    /// The dimensions.
    pub shape: Option<Vec<Dimension>>,
    /// Trailing `?`.
    pub soft: bool,
    /// The whole type.
    pub span: Span,
}

/// A dimension.
#[derive(Clone, Debug)]
pub enum Dimension {
    /// `...`.
    Prefix,
    /// `?`, `_`.
    Any,
    /// A number.
    Size(i64),
    /// `B`.
    Var(Name),
    /// `"batch"`.
    Named(String),
}

/// `{ … }` of a pattern or definition.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// The braces and what is between.
    pub span: Span,
}

/// A statement of a body.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `where …`.
    Where(Where),
    /// `let k = e`.
    Let(Name, Guard),
    /// `either … or …`.
    Either(Vec<Body>),
    /// `a, b = …`.
    Equation(Equation),
}

/// `where …` or `where? …`.
#[derive(Clone, Debug)]
pub struct Where {
    /// `where?`.
    pub soft: bool,
    /// The conditions between commas.
    pub conditions: Vec<Guard>,
}

/// `a, b = …`.
#[derive(Clone, Debug)]
pub struct Equation {
    /// `shared`.
    pub shared: bool,
    /// `dup`.
    pub dup: bool,
    /// `const`.
    pub constant: bool,
    /// The names on the left.
    pub left: Vec<Left>,
    /// The right side.
    pub right: Expr,
    /// The whole equation.
    pub span: Span,
}

/// A name on the left of an equation.
#[derive(Clone, Debug)]
pub struct Left {
    /// The name.
    pub name: Name,
    /// The type before it.
    pub value_type: Option<ValueType>,
    /// `xs...`.
    pub list: bool,
}

/// A quantization hint.
#[derive(Clone, Debug)]
pub struct Hint {
    /// What it says.
    pub kind: HintKind,
    /// `when g`.
    pub when: Option<Guard>,
    /// Where it is written.
    pub span: Span,
}

/// What a hint says.
#[derive(Clone, Debug)]
pub enum HintKind {
    /// `skip a, b`.
    Skip(Vec<Name>),
    /// `quantize a, b`.
    Quantize(Vec<Name>),
    /// `share a, b`.
    Share(Vec<Name>),
    /// `symmetric a, b`.
    Symmetric(Vec<Name>),
    /// `per_channel w axis k`.
    PerChannel(Name, Guard),
    /// `bias b of x, w`.
    Bias(Name, Vec<Name>),
    /// `range v [lo, hi]`.
    Range(Name, Guard, Guard),
    /// `tag v: key = e`.
    Tag(Name, Name, Guard),
    /// A hint that does not exist.
    Unknown(Name),
}

/// How to verify.
#[derive(Clone, Debug)]
pub enum Verify {
    /// `verify off "reason"`.
    Off(String),
    /// `verify { … }`.
    On(Vec<VerifyClause>),
}

/// A clause of `verify`.
#[derive(Clone, Debug)]
pub enum VerifyClause {
    /// `tol t`.
    Tolerance(f64),
    /// `samples n`.
    Samples(u64),
    /// `x in uniform(a, b)`.
    Distribution(Name, Name, Vec<Guard>),
    /// `x in [a, b]`.
    OneOf(Name, Guard),
    /// `x in 1..5`.
    Range(Name, i64, i64),
}
