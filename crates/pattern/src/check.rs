//! Checks of a whole pattern, after its parts are known to be right.

use std::collections::BTreeSet;

use crate::ast::{self, Arg, Body, Branch as AstBranch, ExprKind as Ast, Statement};
use crate::core::{ExprId, ExprKind, Kind, Pattern, Role, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::lower::meaning::mentioned;
use crate::measure::Measures;
use crate::names::Names;
use crate::operators::Operators;
use crate::reach;
use crate::span::Span;

/// Adds what is wrong with a pattern to `errors`.
pub(crate) fn check(
    pattern: &Pattern,
    names: &Names,
    signature: Option<&ast::Signature>,
    body: Option<&Body>,
    errors: &mut Vec<Diagnostic>,
) {
    if let (Some(signature), Some(body)) = (signature, body) {
        let mut alternatives = Alternatives { names, signature, errors };
        alternatives.body(body);
        header(pattern, errors);
        unused(pattern, errors);
    }
    if errors.is_empty() {
        connected(pattern, errors);
        unreachable(pattern, errors);
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

/// P005: an alternative after one that matches every value.
fn unreachable(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let met = reach::occurrences(pattern);
    let mut guarded: BTreeSet<VarId> = BTreeSet::new();
    for scope in &pattern.scopes {
        scope.guards.iter().for_each(|guard| guarded.extend(mentioned(&guard.condition)));
        scope.lets.iter().for_each(|item| guarded.extend(mentioned(&item.value)));
    }
    for at in 0..pattern.exprs.len() {
        let ExprKind::Alt(alt) = &pattern.exprs[at].kind else { continue };
        let mut inside = vec![0; pattern.vars.len()];
        reach::count(pattern, ExprId(at as u32), &mut inside);
        let free = |var: VarId| {
            let known = pattern.var(var);
            known.definitions.is_empty()
                && known.types.is_empty()
                && !known.constant
                && !guarded.contains(&var)
                && inside[var.index()] == met[var.index()]
        };
        let general = alt.branches.iter().position(|branch| {
            branch.guard.is_none()
                && branch.with.is_empty()
                && matches_all(pattern, branch.expr, &free)
        });
        if let Some(general) = general
            && let Some(hidden) = alt.branches.get(general + 1)
        {
            let spans =
                (pattern.expr(hidden.expr).span, pattern.expr(alt.branches[general].expr).span);
            let error = Diagnostic::new(Code::Unreachable, spans.0, "can never be the first match");
            let error = error.label(spans.1, "this matches every value already");
            errors.push(error.help("put the general case last"));
        }
    }
}

fn matches_all(pattern: &Pattern, expr: ExprId, free: &impl Fn(VarId) -> bool) -> bool {
    match &pattern.expr(expr).kind {
        ExprKind::Any | ExprKind::AnyOrAbsent => true,
        ExprKind::Var(var) => free(*var),
        ExprKind::Alt(alt) => alt.branches.iter().any(|branch| {
            branch.guard.is_none()
                && branch.with.is_empty()
                && matches_all(pattern, branch.expr, free)
        }),
        _ => false,
    }
}

/// P004: alternatives must bind the same names, as far as these are used elsewhere.
struct Alternatives<'c> {
    names: &'c Names,
    signature: &'c ast::Signature,
    errors: &'c mut Vec<Diagnostic>,
}

impl Alternatives<'_> {
    fn body(&mut self, body: &Body) {
        for statement in &body.statements {
            match statement {
                Statement::Equation(equation) => self.expr(&equation.right),
                Statement::Either(branches) => {
                    let sides = branches.iter().map(|branch| {
                        let mut names = Names::default();
                        names.declare(branch);
                        names.body(branch);
                        (names, branch.span)
                    });
                    let sides: Vec<(Names, Span)> = sides.collect();
                    self.compare(&sides, true);
                    branches.iter().for_each(|branch| self.body(branch));
                }
                Statement::Where(_) | Statement::Let(..) => {}
            }
        }
    }

    fn expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            Ast::Alt(branches) => {
                let side = |branch: &AstBranch| {
                    let mut names = Names::default();
                    names.branch(branch);
                    (names, branch.expr.span)
                };
                let sides: Vec<(Names, Span)> = branches.iter().map(side).collect();
                self.compare(&sides, false);
                branches.iter().for_each(|branch| self.expr(&branch.expr));
            }
            Ast::Call(call) => {
                for arg in &call.args {
                    if let Arg::One(expr) | Arg::Maybe(expr) | Arg::Each(expr) = arg {
                        self.expr(expr);
                    }
                }
            }
            Ast::Infix(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, expr)| self.expr(expr));
            }
            Ast::Power(left, right) => {
                self.expr(left);
                self.expr(right);
            }
            Ast::Negate(inner)
            | Ast::Group(inner)
            | Ast::Index(inner, _)
            | Ast::Naming(_, inner) => {
                self.expr(inner);
            }
            _ => {}
        }
    }

    fn compare(&mut self, sides: &[(Names, Span)], equations: bool) {
        let all: BTreeSet<&String> = sides
            .iter()
            .flat_map(|(side, _)| {
                side.bindings.keys().chain(side.declared.keys().filter(|_| equations))
            })
            .collect();
        for name in all {
            let binds = |side: &Names| {
                side.bindings.contains_key(name) || equations && side.declared.contains_key(name)
            };
            let Some((_, without)) = sides.iter().find(|(side, _)| !binds(side)) else { continue };
            let Some((_, with)) = sides.iter().find(|(side, _)| binds(side)) else { continue };
            let param = self.signature.params.iter().find(|param| param.name.text == *name);
            if param.is_some_and(|param| param.optional || param.list) || name.starts_with('_') {
                continue;
            }
            let defined = self.names.declared.contains_key(name) && param.is_none();
            let here = sides.iter().any(|(side, _)| side.declared.contains_key(name));
            if defined && !here {
                // An equation elsewhere binds it.
                continue;
            }
            let inside = |count: fn(&Names) -> &std::collections::BTreeMap<String, usize>| {
                sides
                    .iter()
                    .map(|(side, _)| count(side).get(name).copied().unwrap_or(0))
                    .sum::<usize>()
            };
            let bound_outside =
                self.names.bindings.get(name).copied().unwrap_or(0) > inside(|side| &side.bindings);
            let used_outside =
                self.names.uses.get(name).copied().unwrap_or(0) > inside(|side| &side.uses);
            let header = param.is_some()
                || self.signature.attributes.iter().any(|attribute| attribute.name.text == *name);
            if bound_outside && !equations || !(used_outside || header) || bound_outside && !here {
                continue;
            }
            let error = Diagnostic::new(
                Code::UnevenAlternatives,
                *without,
                format!("does not bind `{name}`"),
            );
            let used =
                if used_outside { ", which is used elsewhere" } else { ", which the header names" };
            let help = match param {
                Some(_) => format!("declare the input as optional, `{name}?`, or use it in both"),
                None => format!("give it a value here: `… with {name} = …`"),
            };
            self.errors.push(error.label(*with, format!("binds `{name}`{used}")).help(help));
        }
    }
}
