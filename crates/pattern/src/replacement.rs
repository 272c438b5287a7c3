//! Right sides: what `~>` builds, what `equals` means, how both are verified.

use std::collections::BTreeSet;

use crate::core::{Operator, VarId};
use crate::gexpr::GExpr;
use crate::span::Span;

/// The equations of a replacement, built in order.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Lets and equations, in file order. Variables are those of the pattern; names that the
    /// replacement introduces have the role `Built`. A header output on the left is redefined.
    pub statements: Vec<BuildStatement>,
    /// The whole block.
    pub span: Span,
}

impl Replacement {
    /// The domains of the operators that it builds by name; `""` is the standard one.
    pub fn domains(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for statement in &self.statements {
            if let BuildStatement::Equation { expr, constant: false, .. } = statement {
                expr.domains(&mut found);
            }
        }
        found
    }
}

impl BuildExpr {
    fn domains<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        match &self.kind {
            BuildKind::Op(op) => {
                if let BuildOperator::Named(operator) = &op.operator {
                    found.insert(&operator.domain);
                }
                op.args.iter().for_each(|arg| arg.domains(found));
            }
            BuildKind::Coalesce(items) => items.iter().for_each(|item| item.domains(found)),
            BuildKind::If(_, yes, no) => {
                yes.domains(found);
                no.domains(found);
            }
            BuildKind::Var(_)
            | BuildKind::Values(_)
            | BuildKind::Absent
            | BuildKind::Constant { .. } => {}
        }
    }
}

/// A statement of a replacement.
#[derive(Clone, Debug)]
pub enum BuildStatement {
    /// `let k = e`.
    Let(VarId, GExpr),
    /// `a, b = F(x)`.
    Equation {
        /// The names on the left.
        results: Vec<VarId>,
        /// `const`: evaluated at rewrite time, becomes an initializer.
        constant: bool,
        /// The right side.
        expr: BuildExpr,
        /// The whole equation.
        span: Span,
    },
}

/// An expression of a replacement with its place.
#[derive(Clone, Debug)]
pub struct BuildExpr {
    /// What it builds.
    pub kind: BuildKind,
    /// Where it is written.
    pub span: Span,
}

/// What an expression of a replacement builds.
#[derive(Clone, Debug)]
pub enum BuildKind {
    /// A value that was matched, or a name of the replacement; absent if the variable is.
    Var(VarId),
    /// A list of values, `xs...`: only as an argument.
    Values(VarId),
    /// `none` or a gap between commas.
    Absent,
    /// A constant: a number in value position, `{e}`, `{e : float[1]}`.
    Constant {
        /// The number or list.
        value: GExpr,
        /// The element type, or the variable that stands for it; without it, that of the
        /// neighbours.
        dtype: Option<GExpr>,
        /// The shape, if one is written: `{1 : [dim(x, -1)]}` is filled with the number.
        shape: Option<GExpr>,
    },
    /// A node.
    Op(BuildOp),
    /// `a ?? b`: the first one that is present.
    Coalesce(Vec<BuildExpr>),
    /// `if g then a else b`.
    If(Box<GExpr>, Box<BuildExpr>, Box<BuildExpr>),
}

/// A node to build.
#[derive(Clone, Debug)]
pub struct BuildOp {
    /// The operator.
    pub operator: BuildOperator,
    /// Attributes, in file order.
    pub attributes: Vec<BuildAttribute>,
    /// `rest...`: the captured attributes, forwarded.
    pub forward: Option<VarId>,
    /// Inputs.
    pub args: Vec<BuildExpr>,
    /// `F(x)[1]`; by default 0.
    pub output: u32,
}

/// The operator of a node to build.
#[derive(Clone, Debug)]
pub enum BuildOperator {
    /// By name.
    Named(Operator),
    /// The one that was matched by an operator variable.
    Matched(VarId),
}

/// An attribute to set.
#[derive(Clone, Debug)]
pub struct BuildAttribute {
    /// Its name.
    pub name: String,
    /// Its content.
    pub value: GExpr,
}

/// How a pattern or a rule is verified.
#[derive(Clone, Debug)]
pub enum Verify {
    /// `verify off "reason"`.
    Off(String),
    /// `verify { … }`.
    On {
        /// `tol t`.
        tolerance: Option<f64>,
        /// `samples n`.
        samples: Option<u64>,
        /// `x in uniform(-3, 3)`, in file order.
        samplers: Vec<(VarId, Sampler)>,
    },
}

/// Where the samples of a variable come from.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// `uniform(a, b)`, `normal(m, s)`: a named distribution with its parameters.
    Distribution(String, Vec<f64>),
    /// `[a, b, c]`: one of these.
    OneOf(GExpr),
    /// `2..5`: an integer of the range, both ends included.
    Range(i64, i64),
}
