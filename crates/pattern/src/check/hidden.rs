//! What can never be the first match, because something before it matches all of the same.

use std::collections::BTreeSet;

use crate::core::{Branch, ExprId, ExprKind, Pattern, Scope, VarId};
use crate::cover::Cover;
use crate::diagnostic::{Code, Diagnostic};
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
        let mut inside = vec![0; pattern.vars.len()];
        reach::count(pattern, ExprId(at as u32), &mut inside);
        let free = |var: VarId| {
            let known = pattern.var(var);
            known.definitions.is_empty()
                && known.types.is_empty()
                && known.value.is_none()
                && !guarded.contains(&var)
                && inside[var.index()] == met[var.index()]
        };
        let mut cover = Cover::new(pattern, pattern, &free);
        let plain = |branch: &Branch| branch.guard.is_none() && branch.with.is_empty();
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
    let size = |rule: &Pattern| measure::before(rule, &NoOperators).nodes;
    for (at, special) in rules.iter().enumerate() {
        let hides = |general: &&Pattern| {
            general.priority == special.priority
                && general.family == special.family
                && (general.opsets.is_empty() || general.opsets == special.opsets)
                && general.span.source == special.span.source
                && size(general) == size(special)
                && includes(general, special)
        };
        let Some(general) = rules[..at].iter().find(hides) else { continue };
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
