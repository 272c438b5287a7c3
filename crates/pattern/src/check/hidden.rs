//! What can never be the first match, because something before it matches all of the same.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::core::{Arg, Branch, ExprId, ExprKind, Operator, Pattern, Scope, VarId};
use crate::cover::Cover;
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::{GExpr, GExprKind};
use crate::lower::meaning::mentioned;
use crate::operators::NoOperators;
use crate::span::Span;
use crate::{measure, reach};

/// P005: an alternative after one that matches all that it matches.
pub(super) fn alternatives(pattern: &Pattern, errors: &mut Vec<Diagnostic>) {
    let met = reach::occurrences(pattern);
    let mut guarded: BTreeSet<VarId> = BTreeSet::new();
    for scope in &pattern.scopes {
        scope.guards.iter().for_each(|guard| guarded.extend(mentioned(&guard.condition)));
        scope.lets.iter().for_each(|item| guarded.extend(mentioned(&item.value)));
    }
    for at in 0..pattern.exprs.len() {
        let ExprKind::Alt(alt) = &pattern.exprs[at].kind else { continue };
        if alt.branches.len() < 2 {
            continue;
        }
        let plain = |branch: &Branch| branch.guard.is_none() && branch.with.is_empty();
        let last = alt.branches.len() - 1;
        if !alt.branches[..last].iter().any(plain) {
            continue;
        }
        // Few alternatives ask for it, and each start of a command checks all that are shipped.
        let inside = OnceCell::new();
        let inside = || {
            inside.get_or_init(|| {
                let mut counts = vec![0; pattern.vars.len()];
                reach::count(pattern, ExprId(at as u32), &mut counts);
                counts
            })
        };
        let free = |var: VarId| {
            let known = pattern.var(var);
            known.definitions.is_empty()
                && known.types.is_empty()
                && known.value.is_none()
                && !guarded.contains(&var)
                && inside()[var.index()] == met[var.index()]
        };
        let mut cover = Cover::new(pattern, pattern, &free);
        let hides = |(general, special): &(&Branch, &Branch)| {
            // What is left out for `F?` and `+?` is written once, and said once.
            plain(general) && special.absent.is_empty() && cover.covers(general.expr, special.expr)
        };
        let later = |at: usize| alt.branches[at + 1..].iter();
        let pairs = alt.branches.iter().enumerate();
        let mut pairs = pairs.flat_map(|(at, one)| later(at).map(move |other| (one, other)));
        if let Some((general, hidden)) = pairs.find(hides) {
            let spans = (pattern.expr(hidden.expr).span, pattern.expr(general.expr).span);
            let error = Diagnostic::new(Code::Unreachable, spans.0, "can never be the first match");
            let error = error.label(spans.1, "this matches all of that already");
            errors.push(error.help("put the general case last"));
        }
    }
}

/// P016: rules that an earlier one of the same priority and size hides.
pub(crate) fn hidden_rules(rules: &[Pattern]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let sizes: Vec<u64> =
        rules.iter().map(|rule| measure::before(rule, &NoOperators).nodes).collect();
    let parts: Vec<BTreeSet<Part>> = rules.iter().map(all_parts).collect();
    // A rule can only hide one that has all of its parts: it is looked for at the rarest of them.
    let mut counts: BTreeMap<&Part, usize> = BTreeMap::new();
    parts.iter().flatten().for_each(|part| *counts.entry(part).or_default() += 1);
    let mut by_part: BTreeMap<Option<Part>, Vec<usize>> = BTreeMap::new();
    for (at, special) in rules.iter().enumerate() {
        let keys = parts[at].iter().cloned().map(Some).chain([None]);
        let mut candidates: Vec<usize> =
            keys.filter_map(|key| by_part.get(&key)).flatten().copied().collect();
        candidates.sort_unstable();
        let hides = |general: &Pattern| {
            general.priority == special.priority
                && general.family == special.family
                && (general.opsets.is_empty() || general.opsets == special.opsets)
                && general.span.source == special.span.source
        };
        let mut earlier = candidates.into_iter();
        let general = earlier.find(|&earlier| {
            sizes[earlier] == sizes[at]
                && hides(&rules[earlier])
                && includes(&rules[earlier], special)
        });
        let rarest = needed_parts(special).into_iter().min_by_key(|part| counts.get(part).copied());
        by_part.entry(rarest).or_default().push(at);
        let Some(general) = general.map(|earlier| &rules[earlier]) else { continue };
        let fact = format!("never applied: `{}` matches all that this matches", general.name);
        let left = special.scope(Pattern::ROOT).equations.iter().map(|equation| equation.span);
        let example = left.reduce(Span::join).unwrap_or(special.span);
        let warning = Diagnostic::new(Code::SamePriority, special.span, fact)
            .label(example, format!("`{}` matches this, for example", general.name))
            .label(general.span, "declared before, with the same priority");
        let help = format!("let the special rule win: `rule {} priority 1`", special.name);
        found.push(warning.help(help));
    }
    found
}

/// An operator or a number on a left side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Operator(Operator),
    Number(u64),
}

fn number(value: &GExpr) -> Option<Part> {
    let number = match value.kind {
        GExprKind::Int(number) => number as f64,
        GExprKind::Float(number) => number,
        _ => return None,
    };
    // Both zeros are one number.
    Some(Part::Number((number + 0.0).to_bits()))
}

/// All parts of a rule.
fn all_parts(rule: &Pattern) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    for expr in &rule.exprs {
        match &expr.kind {
            ExprKind::Op(op) => parts.extend(op.operators.iter().cloned().map(Part::Operator)),
            ExprKind::Chain(chain) => {
                parts.insert(Part::Operator(chain.operator.clone()));
            }
            ExprKind::Constant { value, .. } => parts.extend(number(value)),
            _ => {}
        }
    }
    parts
}

/// Parts that each rule must have that this one hides.
fn needed_parts(rule: &Pattern) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    let roots = rule.roots.iter().flat_map(|root| &rule.var(*root).definitions);
    let mut waiting: Vec<ExprId> = roots.map(|definition| definition.expr).collect();
    while let Some(expr) = waiting.pop() {
        match &rule.expr(expr).kind {
            ExprKind::Op(op) => {
                if let [operator] = &op.operators[..] {
                    parts.insert(Part::Operator(operator.clone()));
                }
                waiting.extend(op.args.iter().filter_map(|arg| match arg {
                    Arg::One(expr) => Some(*expr),
                    Arg::Each { .. } => None,
                }));
            }
            ExprKind::Chain(chain) => {
                parts.insert(Part::Operator(chain.operator.clone()));
                waiting.extend(&chain.operands);
            }
            ExprKind::Constant { value, .. } => parts.extend(number(value)),
            _ => {}
        }
    }
    parts
}

/// Whether the left side of `general` matches all that the one of `special` matches, by form.
fn includes(general: &Pattern, special: &Pattern) -> bool {
    let open = |scope: &Scope| {
        scope.guards.is_empty() && scope.lets.is_empty() && scope.choices.is_empty()
    };
    let ([a], [b]) = (&general.roots[..], &special.roots[..]) else { return false };
    let ([a], [b]) = (&general.var(*a).definitions[..], &special.var(*b).definitions[..]) else {
        return false;
    };
    if !general.scopes.iter().all(open) || !special.choices.is_empty() {
        return false;
    }
    let met = reach::occurrences(general);
    let free = |var: VarId| {
        let known = general.var(var);
        let plain = known.definitions.is_empty() && known.types.is_empty();
        plain && known.value.is_none() && met[var.index()] == 1
    };
    Cover::new(general, special, &free).covers(a.expr, b.expr)
}
