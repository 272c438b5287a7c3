//! What is reached from where: variables of an expression, also through definitions.

use std::collections::BTreeSet;

use crate::core::{Arg, AttributePattern, ExprId, ExprKind, Others, Output, Pattern, VarId};

/// Calls `visit` with each variable that an expression itself meets, and `child` with each of its
/// direct children.
pub(crate) fn visit(
    pattern: &Pattern,
    expr: ExprId,
    mut visit: impl FnMut(VarId),
    mut child: impl FnMut(ExprId),
) {
    match &pattern.expr(expr).kind {
        ExprKind::Any | ExprKind::AnyOrAbsent | ExprKind::Absent | ExprKind::Constant { .. } => {}
        ExprKind::Var(var) | ExprKind::Scalar(var) => visit(*var),
        ExprKind::Full(inner) | ExprKind::Scoped(_, inner) => child(*inner),
        ExprKind::Optional(optional) => child(optional.present),
        ExprKind::Op(op) => {
            op.bind.iter().for_each(|var| visit(*var));
            for attribute in &op.attributes {
                attribute_vars(&attribute.pattern, &mut visit);
            }
            if let Others::Rest(var) = op.others {
                visit(var);
            }
            if let Output::Bind(vars) = &op.output {
                vars.iter().for_each(|var| visit(*var));
            }
            for arg in &op.args {
                match arg {
                    Arg::One(expr) | Arg::Each { expr, .. } => child(*expr),
                }
            }
        }
        ExprKind::Chain(chain) => {
            chain.operands.iter().for_each(|operand| child(*operand));
            chain.rest.iter().for_each(|var| visit(*var));
        }
        ExprKind::Alt(alt) => {
            for branch in &alt.branches {
                child(branch.expr);
                branch.with.iter().for_each(|item| visit(item.var));
            }
        }
        ExprKind::Repeat(repeat) => {
            child(repeat.step);
            child(repeat.last);
        }
    }
}

fn attribute_vars(attribute: &AttributePattern, visit: &mut impl FnMut(VarId)) {
    match attribute {
        AttributePattern::Any | AttributePattern::Value(_) => {}
        AttributePattern::Bind(var) => visit(*var),
        AttributePattern::List(items) | AttributePattern::OneOf(items) => {
            items.iter().for_each(|item| attribute_vars(item, visit));
        }
        AttributePattern::Graph(graph) => graph.outputs.iter().for_each(|var| visit(*var)),
    }
}

/// How often each variable is met anywhere; an expression that is shared by several parents
/// counts once, and a name that was only looked up (the argument of a call that is inlined) does not.
pub(crate) fn occurrences(pattern: &Pattern) -> Vec<usize> {
    let ids = || (0..pattern.exprs.len()).map(|at| ExprId(at as u32));
    let mut used = vec![false; pattern.exprs.len()];
    for expr in ids() {
        visit(pattern, expr, |_| {}, |child| used[child.index()] = true);
    }
    let definitions = pattern.vars.iter().flat_map(|var| &var.definitions);
    definitions.for_each(|definition| used[definition.expr.index()] = true);
    let equations = pattern.scopes.iter().flat_map(|scope| &scope.equations);
    equations.for_each(|equation| used[equation.expr.index()] = true);
    let mut counts = vec![0; pattern.vars.len()];
    for expr in ids() {
        let name = matches!(pattern.expr(expr).kind, ExprKind::Var(_) | ExprKind::Scalar(_));
        if used[expr.index()] || !name {
            visit(pattern, expr, |var| counts[var.index()] += 1, |_| {});
        }
    }
    counts
}

/// Adds how often each variable is met below an expression, through definitions too.
pub(crate) fn count(pattern: &Pattern, expr: ExprId, counts: &mut [usize]) {
    // Each start of a command does this for every alternative of every shipped pattern.
    let mut seen = vec![false; pattern.exprs.len()];
    let mut waiting = vec![expr];
    let mut met = Vec::new();
    while let Some(expr) = waiting.pop() {
        if std::mem::replace(&mut seen[expr.index()], true) {
            continue;
        }
        visit(pattern, expr, |var| met.push(var), |child| waiting.push(child));
        for var in met.drain(..) {
            counts[var.index()] += 1;
            waiting.extend(pattern.var(var).definitions.iter().map(|definition| definition.expr));
        }
    }
}

/// The variables that are met below a variable, itself included.
pub(crate) fn below(pattern: &Pattern, var: VarId) -> BTreeSet<VarId> {
    let mut found = BTreeSet::from([var]);
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<ExprId> = pattern.var(var).definitions.iter().map(|d| d.expr).collect();
    while let Some(expr) = waiting.pop() {
        if !seen.insert(expr) {
            continue;
        }
        let mut met = Vec::new();
        visit(pattern, expr, |var| met.push(var), |child| waiting.push(child));
        for var in met {
            if found.insert(var) {
                waiting.extend(pattern.var(var).definitions.iter().map(|d| d.expr));
            }
        }
    }
    found
}

/// The outputs from which matching starts: those that no other output reaches.
pub(crate) fn roots(pattern: &Pattern) -> Vec<VarId> {
    let reached: Vec<BTreeSet<VarId>> =
        pattern.outputs.iter().map(|output| below(pattern, *output)).collect();
    let mut roots = Vec::new();
    for (at, output) in pattern.outputs.iter().enumerate() {
        let hidden = (0..pattern.outputs.len()).any(|other| {
            let mutual = reached[at].contains(&pattern.outputs[other]);
            other != at && reached[other].contains(output) && (!mutual || other < at)
        });
        if !hidden {
            roots.push(*output);
        }
    }
    roots
}
