//! Patterns that are wrong on purpose: a condition left out, a number off by one percent. Samples that
//! do not notice are too weak, or the condition says nothing.

use marquetry_pattern::Span;
use marquetry_pattern::core::{ExprKind, Pattern};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

/// Mutants of one pattern at most.
const MOST: usize = 24;

/// A wrong pattern.
pub(super) struct Mutant {
    pub(super) pattern: Pattern,
    /// What was changed.
    pub(super) span: Span,
    pub(super) what: &'static str,
}

/// The mutants of a pattern; what is written once and inlined often is changed once, everywhere.
pub(super) fn mutants(pattern: &Pattern) -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut seen: Vec<Span> = Vec::new();
    let guards = pattern.scopes.iter().flat_map(|scope| &scope.guards);
    let branches = pattern.exprs.iter().filter_map(|expr| match &expr.kind {
        ExprKind::Alt(alt) => Some(alt.branches.iter().filter_map(|branch| branch.guard.as_ref())),
        _ => None,
    });
    let conditions = guards.map(|guard| &guard.condition).chain(branches.flatten());
    for condition in conditions {
        if seen.contains(&condition.span) || condition.kind == GExprKind::Bool(true) {
            continue;
        }
        seen.push(condition.span);
        let mut mutant = pattern.clone();
        drop_condition(&mut mutant, condition.span);
        mutants.push(Mutant { pattern: mutant, span: condition.span, what: "left out" });
    }
    for expr in &pattern.exprs {
        let ExprKind::Constant { value, .. } = &expr.kind else { continue };
        if seen.contains(&expr.span) || number(value).is_none() {
            continue;
        }
        seen.push(expr.span);
        let mut mutant = pattern.clone();
        for other in mutant.exprs.iter_mut().filter(|other| other.span == expr.span) {
            if let ExprKind::Constant { value, .. } = &mut other.kind
                && let Some(number) = number(value)
            {
                let off = if number == 0.0 { 0.01 } else { number * 1.01 };
                value.kind = GExprKind::Float(off);
            }
        }
        mutants.push(Mutant { pattern: mutant, span: expr.span, what: "1 % off" });
    }
    mutants.truncate(MOST);
    mutants
}

fn number(value: &GExpr) -> Option<f64> {
    match value.kind {
        GExprKind::Int(number) => Some(number as f64),
        GExprKind::Float(number) if number.is_finite() => Some(number),
        _ => None,
    }
}

fn drop_condition(pattern: &mut Pattern, span: Span) {
    for scope in &mut pattern.scopes {
        scope.guards.retain(|guard| guard.condition.span != span);
    }
    for expr in &mut pattern.exprs {
        if let ExprKind::Alt(alt) = &mut expr.kind {
            for branch in &mut alt.branches {
                if branch.guard.as_ref().is_some_and(|guard| guard.span == span) {
                    branch.guard = None;
                }
            }
        }
    }
}
