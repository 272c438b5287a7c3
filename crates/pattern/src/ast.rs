//! The syntax tree: what is written, with the place of each part; nothing is resolved yet.

use crate::core::{OpsetRange, Tolerance};
use crate::gexpr::{BinaryOp, CompareOp};
use crate::span::Span;

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
