//! Guard and constant expressions: numbers, lists, strings, dims, dtypes and conditions.
//!
//! They are evaluated by the matcher, in three-valued logic: what depends on an unknown rank, dim
//! or dtype is unknown. Division is exact, `//` rounds down, `%` has the sign of the divisor.

use crate::core::{ExprId, VarId};
use crate::span::Span;

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct GExpr {
    /// What it computes.
    pub kind: GExprKind,
    /// Where it is written.
    pub span: Span,
}

/// What a guard expression computes.
#[derive(Clone, Debug, PartialEq)]
pub enum GExprKind {
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    String(String),
    /// `true` or `false`.
    Bool(bool),
    /// `none`.
    None,
    /// An element type by its ONNX text name, `float16`.
    Dtype(String),
    /// A variable: the content of an attribute, the size of a dim, a dtype; a value variable stands
    /// for the value itself (`a != b`, `mask is not none`) or is the argument of a function.
    Var(VarId),
    /// `[a, b]`.
    List(Vec<GExpr>),
    /// A tensor as ONNX's printer writes it, `int64[2] {0, -1}`: the content of an attribute.
    Tensor(Box<Tensor>),
    /// `-a`.
    Negate(Box<GExpr>),
    /// `not a`.
    Not(Box<GExpr>),
    /// `a and b and …`.
    And(Vec<GExpr>),
    /// `a or b or …`.
    Or(Vec<GExpr>),
    /// `a + b`.
    Binary(BinaryOp, Box<GExpr>, Box<GExpr>),
    /// `0 < eps < 0.1`: each neighbouring pair must hold.
    Compare {
        /// The leftmost operand.
        first: Box<GExpr>,
        /// Comparisons, each with its right operand.
        rest: Vec<(CompareOp, GExpr)>,
    },
    /// `xs[i]`; negative from the end.
    Index(Box<GExpr>, Box<GExpr>),
    /// `xs[a:b]`; negative from the end.
    Slice(Box<GExpr>, Option<Box<GExpr>>, Option<Box<GExpr>>),
    /// A builtin function; the number of arguments is checked.
    Call(Function, Vec<GExpr>),
    /// `x is P`, `x is not P`: the value of a variable does or does not match a pattern.
    /// No captures escape a `not`.
    Is {
        /// The value variable.
        var: VarId,
        /// `is not`.
        negated: bool,
        /// The pattern; `Absent` for `none`.
        pattern: ExprId,
    },
}

/// A tensor literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The element type by its ONNX text name.
    pub dtype: String,
    /// The lengths of the axes; none for a scalar.
    pub dims: Vec<usize>,
    /// As many numbers as the dims ask for, in C order.
    pub elements: Vec<GExpr>,
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`: exact division, a float unless both are integers that divide.
    Div,
    /// `//`: rounds down.
    FloorDiv,
    /// `%`: the remainder of `//`.
    Mod,
    /// `**`.
    Pow,
    /// `++`: concatenation of lists.
    Concat,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
    /// `~=`: equal up to the constant tolerance.
    Near,
    /// `in`: element of a list.
    In,
    /// `not in`.
    NotIn,
}

/// A builtin function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// `sqrt(a)`.
    Sqrt,
    /// `exp(a)`.
    Exp,
    /// `log(a)`: natural.
    Log,
    /// `abs(a)`.
    Abs,
    /// `min(a, b, …)` or of one list.
    Min,
    /// `max(a, b, …)` or of one list.
    Max,
    /// `floor(a)`.
    Floor,
    /// `ceil(a)`.
    Ceil,
    /// `sum(list)`.
    Sum,
    /// `prod(list)`.
    Prod,
    /// `len(list)`.
    Len,
    /// `range(a, b)`: the integers from `a` up to, not including, `b`; `range(n)` from 0.
    Range,
    /// `rep(a, n)`: a list of `n` times `a`.
    Rep,
    /// `sorted(list)`.
    Sorted,
    /// `reverse(list)`.
    Reverse,
    /// `rank(x)`: number of dims of a value.
    Rank,
    /// `dim(x, axis)`: one dim of a value; negative from the end.
    Dim,
    /// `shape(x)`: all dims of a value.
    Shape,
    /// `numel(x)`: product of the dims of a value.
    Numel,
    /// `dtype(x)`: element type of a value.
    Dtype,
    /// `bits(x)`: width in bits of the element type of a value or of a dtype.
    Bits,
    /// `swap(rank, i, j)`: the permutation of `rank` axes that exchanges two.
    Swap,
    /// `compose(p, q)`: the permutation that `Transpose<q>(Transpose<p>(x))` has: `p[q[i]]`.
    Compose,
    /// `is_identity(p)`: the permutation changes nothing.
    IsIdentity,
    /// `is_reshape(shape, p)`: transposing a tensor of that shape by `p` only moves axes of size 1,
    /// so that it is a reshape.
    IsReshape,
    /// `widens(a, b)`: every value of dtype `a` is exactly one of dtype `b`.
    Widens,
    /// `item(x)`: the number of a constant scalar.
    Item,
    /// `triangle(m)`: the two numbers of a constant of square matrices that holds one on and below the
    /// diagonal and the other above it; no numbers where it is another constant.
    Triangle,
    /// `is_const(x)`: the value is a compile-time constant.
    IsConst,
    /// `broadcasts(x, y)`: `x` broadcasts to the shape of `y`.
    Broadcasts,
    /// `uses(x)`: number of uses of a value.
    Uses,
}

impl GExpr {
    /// Calls `visit` with the expression and everything below it.
    pub fn walk(&self, visit: &mut impl FnMut(&GExpr)) {
        visit(self);
        match &self.kind {
            GExprKind::Int(_)
            | GExprKind::Float(_)
            | GExprKind::String(_)
            | GExprKind::Bool(_)
            | GExprKind::None
            | GExprKind::Dtype(_)
            | GExprKind::Tensor(_)
            | GExprKind::Var(_)
            | GExprKind::Is { .. } => {}
            GExprKind::List(items)
            | GExprKind::And(items)
            | GExprKind::Or(items)
            | GExprKind::Call(_, items) => items.iter().for_each(|item| item.walk(visit)),
            GExprKind::Negate(inner) | GExprKind::Not(inner) => inner.walk(visit),
            GExprKind::Binary(_, left, right) | GExprKind::Index(left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            GExprKind::Compare { first, rest } => {
                first.walk(visit);
                rest.iter().for_each(|(_, right)| right.walk(visit));
            }
            GExprKind::Slice(base, from, to) => {
                base.walk(visit);
                from.iter().chain(to).for_each(|end| end.walk(visit));
            }
        }
    }

    /// Returns the expression with each direct child replaced.
    #[must_use]
    pub(crate) fn map(self, change: &mut impl FnMut(GExpr) -> GExpr) -> GExpr {
        let mut boxed = |inner: Box<GExpr>| Box::new(change(*inner));
        let kind = match self.kind {
            GExprKind::Negate(inner) => GExprKind::Negate(boxed(inner)),
            GExprKind::Not(inner) => GExprKind::Not(boxed(inner)),
            GExprKind::Binary(op, left, right) => GExprKind::Binary(op, boxed(left), boxed(right)),
            GExprKind::Index(base, at) => GExprKind::Index(boxed(base), boxed(at)),
            GExprKind::Slice(base, from, to) => {
                GExprKind::Slice(boxed(base), from.map(&mut boxed), to.map(&mut boxed))
            }
            GExprKind::Compare { first, rest } => {
                let first = boxed(first);
                let rest = rest.into_iter().map(|(sign, right)| (sign, change(right))).collect();
                GExprKind::Compare { first, rest }
            }
            GExprKind::List(items) => GExprKind::List(items.into_iter().map(change).collect()),
            GExprKind::And(items) => GExprKind::And(items.into_iter().map(change).collect()),
            GExprKind::Or(items) => GExprKind::Or(items.into_iter().map(change).collect()),
            GExprKind::Call(function, items) => {
                GExprKind::Call(function, items.into_iter().map(change).collect())
            }
            kind => kind,
        };
        GExpr { kind, span: self.span }
    }
}
