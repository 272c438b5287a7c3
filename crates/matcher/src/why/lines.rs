//! An attempt in terms of the lines of a pattern.

use marquetry_pattern::Span;
use marquetry_pattern::core::{Alt, ExprId, ExprKind, Kind, Pattern, Role, ScopeId, VarId};

use super::describe::Describe;
use super::{Alternative, Line, Near, State};
use crate::datum::Datum;
use crate::plan::{Constraint, Plan, children};
use crate::search::{Attempt, Reason, Tried};

/// Alternatives that are listed.
const LISTED: usize = 6;

/// Which line each expression belongs to.
pub(super) struct Layout {
    equations: Vec<Equation>,
    /// By expression: position among the equations.
    owner: Vec<Option<usize>>,
    /// By expression: the one it stands in.
    parent: Vec<Option<ExprId>>,
    /// The scopes of the pattern's own text that take part.
    scopes: Vec<ScopeId>,
}

struct Equation {
    expr: ExprId,
    span: Span,
    results: Vec<VarId>,
}

impl Layout {
    pub(super) fn new(pattern: &Pattern, attempt: &Attempt) -> Self {
        let mut layout = Self {
            equations: Vec::new(),
            owner: vec![None; pattern.exprs.len()],
            parent: vec![None; pattern.exprs.len()],
            scopes: vec![Pattern::ROOT],
        };
        let mut at = 0;
        while let Some(&scope) = layout.scopes.get(at) {
            for &choice in &pattern.scope(scope).choices {
                let branches = &pattern.choice(choice).branches;
                let taken = branches.iter().find(|branch| attempt.holds[branch.index()]);
                layout.scopes.extend(taken);
            }
            at += 1;
        }
        for &scope in &layout.scopes {
            for equation in &pattern.scope(scope).equations {
                layout.equations.push(Equation {
                    expr: equation.expr,
                    span: equation.span,
                    results: equation.results.clone(),
                });
            }
        }
        layout.equations.sort_by_key(|equation| equation.span);
        for at in 0..layout.equations.len() {
            layout.own(pattern, layout.equations[at].expr, at);
            // `a, b = f(x)`: each result has a definition of its own.
            for result in layout.equations[at].results.clone() {
                for definition in &pattern.var(result).definitions {
                    if layout.scopes.contains(&definition.scope) {
                        layout.own(pattern, definition.expr, at);
                    }
                }
            }
        }
        // The second and later uses of a `dup` line are of that line.
        for (_, declared) in pattern.vars() {
            let Some(original) = declared.copy_of else { continue };
            let line = layout.equations.iter().position(|line| line.results.contains(&original));
            let Some(line) = line else { continue };
            for definition in &declared.definitions {
                layout.own(pattern, definition.expr, line);
            }
        }
        layout
    }

    fn own(&mut self, pattern: &Pattern, expr: ExprId, line: usize) {
        let mut waiting = vec![(expr, None)];
        while let Some((expr, parent)) = waiting.pop() {
            if self.owner[expr.index()].is_some() {
                continue;
            }
            self.owner[expr.index()] = Some(line);
            self.parent[expr.index()] = parent;
            let kind = &pattern.expr(expr).kind;
            let mut inner = Vec::new();
            children(kind, |child| inner.push(child));
            if let ExprKind::Var(var) = kind {
                let declared = pattern.var(*var);
                if declared.role == Role::Inlined && declared.copy_of.is_none() {
                    inner.extend(declared.definitions.iter().map(|definition| definition.expr));
                }
            }
            waiting.extend(inner.into_iter().rev().map(|child| (child, Some(expr))));
        }
    }

    /// The expression that a stop is about.
    fn stopped(attempt: &Attempt) -> Option<ExprId> {
        match attempt.stop.reason {
            Reason::Attribute(_) | Reason::OtherAttribute => {
                attempt.stop.last.map(|(_, expr)| expr)
            }
            _ => attempt.stop.expr,
        }
    }

    /// Where an attempt stopped: exactly, and in the pattern's own text.
    pub(super) fn place(&self, pattern: &Pattern, attempt: &Attempt) -> (Span, Span) {
        let span = attempt.stop.span;
        let own = |span: Span| {
            span.source == pattern.span.source
                && self.equations.iter().any(|line| within(span, line.span))
        };
        if own(span) || span.source == pattern.span.source && Self::stopped(attempt).is_none() {
            return (span, span);
        }
        let mut at = Self::stopped(attempt);
        while let Some(expr) = at {
            if own(pattern.expr(expr).span) {
                return (span, pattern.expr(expr).span);
            }
            at = self.parent[expr.index()];
        }
        (span, self.line_of(attempt).map_or(span, |line| self.equations[line].span))
    }

    /// The equation where an attempt stopped.
    fn line_of(&self, attempt: &Attempt) -> Option<usize> {
        if let Some(expr) = Self::stopped(attempt) {
            return self.owner[expr.index()];
        }
        let whole = [Reason::Escapes, Reason::NotConvex, Reason::SameOutput, Reason::NoNode];
        if whole.contains(&attempt.stop.reason) {
            return None;
        }
        self.equations.iter().position(|line| within(attempt.stop.span, line.span))
    }

    pub(super) fn lines(
        &self,
        plan: &Plan<'_>,
        attempt: &Attempt,
        describe: &Describe<'_, '_, '_>,
    ) -> Vec<Line> {
        let stopped = self.line_of(attempt);
        let mut lines: Vec<Line> = Vec::new();
        let mut mentioned = Vec::new();
        for (at, equation) in self.equations.iter().enumerate() {
            let begun = attempt.nodes.iter().any(|(_, expr)| self.owner[expr.index()] == Some(at));
            let holds = attempt.satisfied.contains(&equation.expr)
                || same(plan.pattern, &equation.results).any(|var| {
                    let definitions = &plan.pattern.var(var).definitions;
                    definitions.iter().any(|found| attempt.satisfied.contains(&found.expr))
                });
            let state = match () {
                () if stopped == Some(at) => State::Stopped,
                () if holds => State::Satisfied,
                () if begun => State::Begun,
                () => State::NotReached,
            };
            let notes = match state {
                State::NotReached => Vec::new(),
                _ => self.notes(at, plan.pattern, attempt, describe, &mut mentioned),
            };
            lines.push(Line { span: equation.span, state, notes, equation: true });
        }
        for &scope in &self.scopes {
            for at in plan.of_scope(scope) {
                let (span, note) = match plan.constraints[at] {
                    Constraint::Guard { condition, .. } => (condition.span, None),
                    Constraint::Let(binding) => {
                        let name = &plan.pattern.var(binding.var).name;
                        let bound = attempt.binding(binding.var);
                        let note = bound.map(|datum| format!("{name} = {}", describe.datum(datum)));
                        (binding.value.span, note)
                    }
                    Constraint::Given(..) => continue,
                };
                let state = match () {
                    () if span == attempt.stop.span => State::Stopped,
                    () if attempt.settled[at] => State::Satisfied,
                    () => State::NotReached,
                };
                let notes = note.filter(|_| state != State::NotReached).into_iter().collect();
                lines.push(Line { span, state, notes, equation: false });
            }
        }
        lines.sort_by_key(|line| line.span);
        lines
    }

    /// What a line matched and bound.
    fn notes(
        &self,
        line: usize,
        pattern: &Pattern,
        attempt: &Attempt,
        describe: &Describe<'_, '_, '_>,
        mentioned: &mut Vec<VarId>,
    ) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for &(node, expr) in &attempt.nodes {
            if self.owner[expr.index()] == Some(line) && !rows.contains(&node) {
                rows.push(node);
            }
        }
        rows.sort_unstable();
        notes.extend(rows.iter().map(|row| describe.node(*row)));
        let equation = &self.equations[line];
        let stopped = self.line_of(attempt) == Some(line);
        if let Some(taken) = self.alternative(pattern, attempt, equation.expr).filter(|_| !stopped)
        {
            let text = one_line(describe.sources.text(taken));
            notes.insert(0, format!("as `{}`:", shortened(&text, 40)));
        }
        // What is bound here for the first time, in the order of the text.
        let mut vars = Vec::new();
        for (at, expr) in pattern.exprs.iter().enumerate() {
            if self.owner[at] != Some(line) {
                continue;
            }
            match &expr.kind {
                ExprKind::Var(var) | ExprKind::Scalar(var) => vars.push((expr.span, *var)),
                ExprKind::Op(op) => {
                    for attribute in &op.attributes {
                        if let marquetry_pattern::core::AttributePattern::Bind(var) =
                            attribute.pattern
                        {
                            vars.push((attribute.span, var));
                        }
                    }
                }
                _ => {}
            }
        }
        vars.sort_unstable();
        for (_, var) in vars {
            let declared = pattern.var(var);
            let own = matches!(declared.role, Role::Header | Role::Local);
            let input = declared.kind != Kind::Value || pattern.inputs.contains(&var);
            if !own || !input || mentioned.contains(&var) || declared.name.starts_with('_') {
                continue;
            }
            if let Some(bound) = attempt.binding(var).filter(|bound| **bound != Datum::None) {
                mentioned.push(var);
                notes.push(format!("{} = {}", declared.name, describe.datum(bound)));
            }
        }
        if rows.is_empty() && !stopped {
            for result in &equation.results {
                let mut bound = same(pattern, std::slice::from_ref(result));
                let bound = bound.find_map(|var| match attempt.binding(var) {
                    Some(Datum::Value(value)) => Some(*value),
                    _ => None,
                });
                if let Some(value) = bound {
                    let name = &pattern.var(*result).name;
                    notes.push(format!("{name} = “{}”", describe.name(value)));
                }
            }
        }
        notes
    }

    /// The alternative that was taken, where a line consists of some.
    fn alternative(&self, pattern: &Pattern, attempt: &Attempt, expr: ExprId) -> Option<Span> {
        let ExprKind::Alt(alt) = &pattern.expr(expr).kind else { return None };
        let branch = attempt.taken.iter().rev().find_map(|tried| match tried {
            Tried::Branch { alt, branch, .. } if *alt == expr => Some(*branch),
            _ => None,
        })?;
        let taken = &alt.branches[branch];
        let plain = matches!(pattern.expr(taken.expr).kind, ExprKind::Var(_));
        let span = pattern.expr(taken.expr).span;
        // The body of a definition says nothing here; what it matched follows.
        (!plain && !is_optional(pattern, alt) && within(span, pattern.expr(expr).span))
            .then_some(span)
    }

    /// The other alternatives around the place where an attempt stopped.
    pub(super) fn alternatives(
        &self,
        near: &Near,
        describe: &Describe<'_, '_, '_>,
    ) -> Vec<Alternative> {
        let Near { attempt, trace } = near;
        let pattern = describe.plan.pattern;
        let mut found: Vec<Alternative> = Vec::new();
        let mut at = Self::stopped(attempt);
        while let Some(expr) = at {
            if let ExprKind::Alt(alt) = &pattern.expr(expr).kind
                && !is_optional(pattern, alt)
            {
                let taken = attempt.taken.iter().rev().find_map(|tried| match tried {
                    Tried::Branch { alt, at, branch } if *alt == expr => Some((*at, *branch)),
                    _ => None,
                });
                for (branch, other) in alt.branches.iter().enumerate() {
                    let Some((value, taken)) = taken else { break };
                    if branch == taken {
                        continue;
                    }
                    let tried = Tried::Branch { alt: expr, at: value, branch };
                    let Some(nearest) = trace.tried.get(&tried) else { continue };
                    let stop = &nearest.stop;
                    let repeated = *stop == attempt.stop || attempt.others.contains(stop);
                    if !repeated {
                        let message = describe.of(nearest).message(stop, &[]);
                        found.push(Alternative { span: pattern.expr(other.expr).span, message });
                    }
                }
            }
            at = self.parent[expr.index()];
        }
        for &scope in &self.scopes {
            for &choice in &pattern.scope(scope).choices {
                let branches = &pattern.choice(choice).branches;
                for (branch, &other) in branches.iter().enumerate() {
                    if attempt.holds[other.index()] {
                        continue;
                    }
                    let tried = Tried::Scope { choice, branch };
                    if let Some(nearest) = trace.tried.get(&tried)
                        && nearest.rank.nodes > 0
                    {
                        let message = describe.of(nearest).message(&nearest.stop, &[]);
                        found.push(Alternative { span: pattern.scope(other).span, message });
                    }
                }
            }
        }
        let mut unique: Vec<Alternative> = Vec::new();
        for other in found {
            if unique.iter().all(|known| known.span != other.span) {
                unique.push(other);
            }
        }
        unique.truncate(LISTED);
        unique
    }
}

/// Variables, and the copies that `dup` makes of them for later uses.
fn same<'a>(pattern: &'a Pattern, vars: &'a [VarId]) -> impl Iterator<Item = VarId> + 'a {
    let each = pattern.vars().filter(|(var, declared)| {
        vars.contains(var) || declared.copy_of.is_some_and(|original| vars.contains(&original))
    });
    each.map(|(var, _)| var)
}

/// Whether an alternative stands for `F?(x)` or `a +? b`: the second branch is a part of the first.
fn is_optional(pattern: &Pattern, alt: &Alt) -> bool {
    let [present, absent] = &alt.branches[..] else { return false };
    let mut part = false;
    children(&pattern.expr(present.expr).kind, |child| part |= child == absent.expr);
    part
}

fn within(inner: Span, outer: Span) -> bool {
    inner.source == outer.source && inner.start >= outer.start && inner.end <= outer.end
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

/// A text with its white space made single blanks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
