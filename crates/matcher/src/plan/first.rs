//! What can produce the values that expressions and variables match.

use marquetry_pattern::core::{Choice, ExprId, ExprKind, Pattern, ScopeId, VarId};

use super::{Plan, possible};
use crate::index::Index;

/// What can produce a value that an expression matches.
#[derive(Clone, Debug, Default)]
pub(super) struct First {
    /// Anything.
    pub(super) any: bool,
    /// A constant, whatever produces it.
    pub(super) constant: bool,
    /// By operator row.
    pub(super) operators: Vec<bool>,
}

impl First {
    /// Whether anything can.
    pub(super) fn is_something(&self) -> bool {
        self.any || self.constant || self.operators.contains(&true)
    }

    fn join(&mut self, other: &Self) {
        self.any |= other.any;
        self.constant |= other.constant;
        for (mine, theirs) in self.operators.iter_mut().zip(&other.operators) {
            *mine |= theirs;
        }
    }
}

/// Computes the sets of possible producers, of variables through their definitions.
pub(super) struct Firsts<'p> {
    pattern: &'p Pattern,
    operators: usize,
    exprs: Vec<Option<First>>,
    vars: Vec<Option<First>>,
    visiting: Vec<bool>,
}

impl<'p> Firsts<'p> {
    pub(super) fn new(pattern: &'p Pattern, index: &Index<'_>) -> Self {
        Self {
            pattern,
            operators: index.operator_count(),
            exprs: vec![None; pattern.exprs.len()],
            vars: vec![None; pattern.vars.len()],
            visiting: vec![false; pattern.vars.len()],
        }
    }

    pub(super) fn fill(mut self, plan: &mut Plan<'p>) {
        for (var, _) in self.pattern.vars() {
            let first = self.var(var, plan);
            plan.first_of_var.push(first);
        }
        for at in 0..self.pattern.exprs.len() {
            let first = self.expr(at, plan);
            plan.first.push(first);
        }
    }

    fn nothing(&self) -> First {
        First { operators: vec![false; self.operators], ..First::default() }
    }

    fn expr(&mut self, at: usize, plan: &Plan<'p>) -> First {
        if let Some(known) = &self.exprs[at] {
            return known.clone();
        }
        let mut first = self.nothing();
        match &self.pattern.exprs[at].kind {
            ExprKind::Any | ExprKind::AnyOrAbsent => first.any = true,
            ExprKind::Absent => {}
            ExprKind::Var(var) => first = self.met(*var, plan.met[at].filter(|_| plan.ahead), plan),
            ExprKind::Scalar(_) | ExprKind::Constant { .. } | ExprKind::Full(_) => {
                first.constant = true;
            }
            ExprKind::Optional(optional) => first = self.expr(optional.present.index(), plan),
            ExprKind::Op(_) | ExprKind::Chain(_) => {
                // What one of its inputs needs may not be in the model at all.
                let inputs = plan.operands[at].iter();
                let possible = !plan.ahead
                    || inputs.into_iter().all(|&input| {
                        possible::may_be_absent(self.pattern, input)
                            || self.expr(input.index(), plan).is_something()
                    });
                if possible {
                    for row in &plan.operators[at] {
                        first.operators[row.index()] = true;
                    }
                }
            }
            ExprKind::Alt(alt) => {
                for branch in &alt.branches {
                    let other = self.expr(branch.expr.index(), plan);
                    first.join(&other);
                }
            }
            ExprKind::Repeat(repeat) => {
                first = self.expr(repeat.last.index(), plan);
                let step = self.expr(repeat.step.index(), plan);
                first.join(&step);
            }
            ExprKind::Scoped(_, inner) => first = self.expr(inner.index(), plan),
        }
        self.exprs[at] = Some(first.clone());
        first
    }

    /// What can produce a variable where this definition of it holds.
    fn met(&mut self, var: VarId, definition: Option<ExprId>, plan: &Plan<'p>) -> First {
        let Some(definition) = definition.filter(|_| !self.visiting[var.index()]) else {
            return self.var(var, plan);
        };
        self.visiting[var.index()] = true;
        let first = self.expr(definition.index(), plan);
        self.visiting[var.index()] = false;
        first
    }

    fn var(&mut self, var: VarId, plan: &Plan<'p>) -> First {
        if let Some(known) = &self.vars[var.index()] {
            return known.clone();
        }
        if std::mem::replace(&mut self.visiting[var.index()], true) {
            return First { any: true, ..self.nothing() };
        }
        let declared = self.pattern.var(var);
        let scopes: Vec<ScopeId> = declared.definitions.iter().map(|at| at.scope).collect();
        let first = match common(self.pattern, &scopes) {
            Some(scope) if !self.pattern.inputs.contains(&var) => self.cover(var, scope, plan),
            _ => None,
        };
        // A constant without a definition is a constant and nothing else.
        let free = First {
            any: !declared.constant || !scopes.is_empty(),
            constant: declared.constant,
            ..self.nothing()
        };
        let first = first.unwrap_or(free);
        self.visiting[var.index()] = false;
        self.vars[var.index()] = Some(first.clone());
        first
    }

    /// What can produce a variable where `scope` holds; `None` if it may be free there.
    fn cover(&mut self, var: VarId, scope: ScopeId, plan: &Plan<'p>) -> Option<First> {
        let definitions = &self.pattern.var(var).definitions;
        if let Some(definition) = definitions.iter().find(|at| at.scope == scope) {
            return Some(self.expr(definition.expr.index(), plan));
        }
        let choices = self.pattern.scope(scope).choices.iter();
        choices.map(|&choice| self.pattern.choice(choice)).find_map(|choice: &Choice| {
            let mut first = self.nothing();
            for &branch in &choice.branches {
                first.join(&self.cover(var, branch, plan)?);
            }
            Some(first)
        })
    }
}

/// The innermost scope around all of these.
pub(super) fn common(pattern: &Pattern, scopes: &[ScopeId]) -> Option<ScopeId> {
    let path = |scope: ScopeId| {
        let mut path: Vec<_> =
            std::iter::successors(Some(scope), |&scope| pattern.scope(scope).parent).collect();
        path.reverse();
        path
    };
    let paths: Vec<_> = scopes.iter().map(|&scope| path(scope)).collect();
    let shortest = paths.iter().map(Vec::len).min()?;
    let agreed = (0..shortest).take_while(|&at| paths.iter().all(|path| path[at] == paths[0][at]));
    agreed.last().map(|at| paths[0][at])
}
