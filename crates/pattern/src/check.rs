//! Checks of a whole pattern, after its parts are known to be right.

mod alternatives;
mod hidden;
mod kinds;

use std::collections::BTreeSet;

use crate::ast::{self, Body};
use crate::core::{DimPattern, ExprId, ExprKind, Kind, Pattern, Role, TypePattern, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::{Function, GExprKind};
use crate::measure::Measures;
use crate::names::Names;
use crate::operators::Operators;
use crate::reach;
use crate::replacement::{BuildKind, BuildStatement};
use crate::span::Span;

pub(crate) use hidden::hidden_rules;

/// Adds what is wrong with a pattern to `errors`.
pub(crate) fn check(
    pattern: &Pattern,
    names: &Names,
    signature: Option<&ast::Signature>,
    body: Option<&Body>,
    operators: &dyn Operators,
    errors: &mut Vec<Diagnostic>,
) {
    if let (Some(signature), Some(body)) = (signature, body) {
        alternatives::check(names, signature, body, errors);
        header(pattern, errors);
        unused(pattern, errors);
    }
    kinds::check(pattern, operators, errors);
    if errors.is_empty() {
        has_node(pattern, errors);
    }
    if errors.is_empty() {
        connected(pattern, errors);
        hidden::alternatives(pattern, errors);
        circular(pattern, errors);
    }
    if errors.is_empty() {
        unknown(pattern, errors);
    }
}

/// P013: a rule makes the graph smaller, or says how often it may be applied.
pub(crate) fn terminates(rule: &Pattern, operators: &dyn Operators) -> Option<Diagnostic> {
    let replacement = rule.replacement.as_ref().filter(|_| rule.bounded.is_none())?;
    let measures = Measures::new(rule, replacement, operators);
    if measures.decreases() {
        return None;
    }
    let written = rule.scope(Pattern::ROOT).equations.iter().map(|equation| equation.span);
    let left = written.reduce(Span::join).unwrap_or(rule.span);
    let error = Diagnostic::new(Code::Nontermination, rule.span, "may be applied without end")
        .label(left, format!("removes {} at least", measures.before))
        .label(replacement.span, format!("builds {} at most", measures.after));
    let help = format!(
        "turn it round, or say how often it may be applied to what it built: `rule {} bounded 10`",
        rule.name
    );
    Some(error.help(help))
}

/// P017: what the header promises the body must bind.
fn header(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let met = reach::occurrences(pattern);
    let let_bound = |var: VarId| {
        pattern.scopes.iter().any(|scope| scope.lets.iter().any(|item| item.var == var))
    };
    let inner_lets = |var: VarId| {
        pattern.exprs.iter().any(|expr| match &expr.kind {
            ExprKind::Alt(alt) => {
                alt.branches.iter().any(|branch| branch.with.iter().any(|item| item.var == var))
            }
            _ => false,
        })
    };
    let mut report = |var: VarId, what: &str, help: &str| {
        let known = pattern.var(var);
        let fact = format!("the {what} `{}` does not occur in the body", known.name);
        errors.push(Diagnostic::new(Code::HeaderUnbound, known.span, fact).help(help));
    };
    for var in &pattern.attributes {
        if met[var.index()] == 0 && !let_bound(*var) && !inner_lets(*var) {
            report(
                *var,
                "attribute",
                "bind it (`v + eps`, `<axes>`), compute it with `let`, or remove it",
            );
        }
    }
    for var in &pattern.inputs {
        if met[var.index()] == 0 && !pattern.var(*var).name.starts_with('_') {
            report(*var, "input", "use it in an equation, or remove it");
        }
    }
    for var in &pattern.outputs {
        if pattern.var(*var).definitions.is_empty() && !pattern.inputs.contains(var) {
            report(*var, "output", "write an equation for it");
        }
    }
}

/// P014: equations that no output needs.
fn unused(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let mut needed: BTreeSet<VarId> = BTreeSet::new();
    for output in &pattern.outputs {
        needed.extend(reach::below(pattern, *output));
    }
    for equation in pattern.scopes.iter().flat_map(|scope| &scope.equations) {
        let idle = |var: &VarId| {
            let known = pattern.var(*var);
            known.role != Role::Inlined && !known.name.starts_with('_') && !needed.contains(var)
        };
        if equation.results.iter().all(idle) {
            let names: Vec<String> = equation
                .results
                .iter()
                .map(|var| format!("`{}`", pattern.var(*var).name))
                .collect();
            let fact = format!("no output needs {}", names.join(", "));
            let help =
                "use it, make it an output, or remove it; a condition on a value is `where x is P`";
            errors.push(Diagnostic::new(Code::UnusedEquation, equation.span, fact).help(help));
        }
    }
}

/// P027: something must be there to be found.
fn has_node(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let mut waiting: Vec<ExprId> = Vec::new();
    let mut seen: BTreeSet<ExprId> = BTreeSet::new();
    let definitions = |var: VarId| pattern.var(var).definitions.iter().map(|it| it.expr);
    waiting.extend(pattern.outputs.iter().flat_map(|output| definitions(*output)));
    while let Some(expr) = waiting.pop() {
        if !seen.insert(expr) {
            continue;
        }
        if matches!(pattern.expr(expr).kind, ExprKind::Op(_) | ExprKind::Chain(_)) {
            return;
        }
        let mut met = Vec::new();
        reach::visit(pattern, expr, |var| met.push(var), |child| waiting.push(child));
        waiting.extend(met.into_iter().flat_map(definitions));
    }
    let fact = format!("`{}` names no operator, so there is nothing to find", pattern.name);
    let help = "write the operators that make the outputs: `y = Relu(x)`";
    errors.push(Diagnostic::new(Code::NoNode, pattern.span, fact).help(help));
}

/// P008: all inputs and outputs are connected through values.
fn connected(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let mut group: Vec<usize> = (0..pattern.vars.len()).collect();
    fn find(group: &mut [usize], mut at: usize) -> usize {
        while group[at] != at {
            group[at] = group[group[at]];
            at = group[at];
        }
        at
    }
    for (var, known) in pattern.vars() {
        for definition in &known.definitions {
            let mut waiting = vec![definition.expr];
            let mut seen: BTreeSet<ExprId> = BTreeSet::new();
            let mut met = Vec::new();
            while let Some(expr) = waiting.pop() {
                if seen.insert(expr) {
                    reach::visit(pattern, expr, |var| met.push(var), |child| waiting.push(child));
                }
            }
            for other in met {
                if pattern.var(other).kind == Kind::Value {
                    let (a, b) = (find(&mut group, var.index()), find(&mut group, other.index()));
                    group[a.max(b)] = a.min(b);
                }
            }
        }
    }
    let Some(first) = pattern.outputs.first() else { return };
    let main = find(&mut group, first.index());
    for output in &pattern.outputs[1..] {
        if find(&mut group, output.index()) == main {
            continue;
        }
        let known = pattern.var(*output);
        let fact = format!("`{}` shares no value with `{}`", known.name, pattern.var(*first).name);
        let place = pattern
            .scopes
            .iter()
            .flat_map(|scope| &scope.equations)
            .find(|equation| equation.results.contains(output))
            .map_or(known.span, |equation| equation.span);
        let help = "matching every pair would be quadratic and tie unrelated nodes together: make two patterns, or share an input";
        let error = Diagnostic::new(Code::Disconnected, place, fact);
        errors.push(error.label(pattern.var(*first).span, "the first output").help(help));
        return;
    }
}

/// P018: conditions that need a shape which the header says need not be known.
fn unknown(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let softly = |var: VarId| {
        let known = pattern.var(var);
        let mut shapes = known.types.iter().filter(|declared| declared.shape.is_some()).peekable();
        shapes.peek().is_some() && shapes.all(|declared| declared.soft) && !known.constant
    };
    let binds = |declared: &TypePattern, dim: VarId| {
        declared.shape.iter().flatten().any(|known| *known == DimPattern::Var(dim))
    };
    let bound_softly = |dim: VarId| {
        let types = pattern.vars.iter().flat_map(|var| &var.types);
        let mut types = types.filter(|declared| binds(declared, dim)).peekable();
        types.peek().is_some() && types.all(|declared| declared.soft)
    };
    let guards = pattern.scopes.iter().flat_map(|scope| &scope.guards);
    for guard in guards.filter(|guard| !guard.soft) {
        let mut culprit = None;
        guard.condition.walk(&mut |part| {
            let found = match &part.kind {
                GExprKind::Var(var) if pattern.var(*var).kind == Kind::Dim => {
                    bound_softly(*var).then_some(*var)
                }
                GExprKind::Call(
                    Function::Rank
                    | Function::Dim
                    | Function::Shape
                    | Function::Numel
                    | Function::Broadcasts,
                    args,
                ) => args.iter().find_map(|arg| match arg.kind {
                    GExprKind::Var(var) => softly(var).then_some(var),
                    _ => None,
                }),
                _ => None,
            };
            culprit = culprit.or(found);
        });
        if let Some(var) = culprit {
            let known = pattern.var(var);
            let fact = format!("unknown, and so not fulfilled, where `{}` is", known.name);
            let warning = Diagnostic::new(Code::AlwaysUnknown, guard.condition.span, fact)
                .label(known.span, "the `?` of the type accepts an unknown shape");
            let help = "`where? …` accepts it too; or write the type without `?`";
            errors.push(warning.help(help));
        }
    }
}

/// P019: outputs that a right side uses before it redefines them.
fn circular(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    for side in pattern.replacement.iter().chain(&pattern.equals) {
        let mut waiting: BTreeSet<VarId> = pattern.outputs.iter().copied().collect();
        waiting.retain(|output| !pattern.inputs.contains(output));
        for statement in &side.statements {
            let BuildStatement::Equation { results, expr, .. } = statement else { continue };
            let mut parts = vec![expr];
            while let Some(part) = parts.pop() {
                match &part.kind {
                    BuildKind::Var(var) | BuildKind::Values(var) if waiting.contains(var) => {
                        let known = pattern.var(*var);
                        let name = &known.name;
                        let fact = format!("`{name}` would depend on itself");
                        let error = Diagnostic::new(Code::NotConvex, part.span, fact)
                            .label(known.span, "an output, which the right side redefines");
                        let help = format!(
                            "build it from the inputs, or define `{name}` before it is used"
                        );
                        errors.push(error.help(help));
                    }
                    BuildKind::Op(op) => parts.extend(&op.args),
                    BuildKind::Coalesce(items) => parts.extend(items),
                    BuildKind::If(_, left, right) => parts.extend([&**left, &**right]),
                    _ => {}
                }
            }
            results.iter().for_each(|result| {
                waiting.remove(result);
            });
        }
    }
}
