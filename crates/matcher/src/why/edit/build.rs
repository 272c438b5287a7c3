//! Parts of changed patterns.

use marquetry_pattern::Span;
use marquetry_pattern::core::{
    Alt, Arg, Branch, ExprId, ExprKind, Op, Operator, Others, Output, Pattern, VarId,
};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

use crate::datum::Datum;
use crate::plan::children;

pub(super) fn copy(pattern: &mut Pattern, expr: ExprId) -> ExprId {
    let copied = pattern.expr(expr).clone();
    pattern.add_expr(copied)
}

pub(super) fn open(name: &str, args: Vec<Arg>) -> Op {
    Op {
        operators: vec![Operator { domain: String::new(), name: name.to_owned() }],
        bind: None,
        attributes: Vec::new(),
        others: Others::Any,
        args,
        open: false,
        exact: false,
        output: Output::Index(0),
    }
}

/// The first, or the second without what `absent` names.
pub(super) fn either(exprs: &[ExprId; 2], absent: &[VarId]) -> ExprKind {
    let branch =
        |expr: ExprId, absent: Vec<VarId>| Branch { expr, with: Vec::new(), guard: None, absent };
    ExprKind::Alt(Alt {
        branches: vec![branch(exprs[0], Vec::new()), branch(exprs[1], absent.to_vec())],
    })
}

/// The variables that only the dropped expressions mention.
pub(super) fn vars_below(pattern: &Pattern, dropped: &[ExprId], kept: ExprId) -> Vec<VarId> {
    let collect = |start: &[ExprId]| {
        let (mut found, mut waiting) = (Vec::new(), start.to_vec());
        let mut seen = vec![false; pattern.exprs.len()];
        while let Some(expr) = waiting.pop() {
            if std::mem::replace(&mut seen[expr.index()], true) {
                continue;
            }
            let kind = &pattern.expr(expr).kind;
            if let ExprKind::Var(var) | ExprKind::Scalar(var) = kind {
                found.push(*var);
                waiting.extend(pattern.var(*var).definitions.iter().map(|at| at.expr));
            }
            children(kind, |child| waiting.push(child));
        }
        found
    };
    let kept = if dropped.contains(&kept) { Vec::new() } else { collect(&[kept]) };
    let mut vars = collect(dropped);
    vars.retain(|var| !kept.contains(var));
    vars.sort_unstable();
    vars.dedup();
    vars
}

/// A datum as an expression of the language, where it is a number, a list, or a name.
pub(super) fn literal(datum: &Datum) -> Option<GExprKind> {
    let span = Span::default();
    match datum {
        Datum::Int(number) => Some(GExprKind::Int(*number)),
        Datum::Axis(axis) => Some(GExprKind::Int(axis.written())),
        Datum::Float(float) => Some(GExprKind::Float(float.number)),
        Datum::Bool(truth) => Some(GExprKind::Bool(*truth)),
        Datum::Text(text) => Some(GExprKind::String(text.clone())),
        Datum::Dtype(dtype) => Some(GExprKind::Dtype(dtype.name()?.to_owned())),
        Datum::Tensor(tensor) if tensor.items.len() == 1 => literal(&tensor.items[0]),
        Datum::List(items) => {
            let items = items.iter().map(|item| Some(GExpr { kind: literal(item)?, span }));
            Some(GExprKind::List(items.collect::<Option<_>>()?))
        }
        _ => None,
    }
}
