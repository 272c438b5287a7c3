//! Conditions and computed numbers, as soon as their variables are bound.

use marquetry_pattern::core::{ExprId, VarId};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

use super::{Goal, Reason, Search, State};
use crate::compute::World;
use crate::datum::Datum;
use crate::index::{Index, ValueRow};
use crate::plan::Constraint;

impl Search<'_, '_, '_> {
    /// Looks at one constraint; `false` if it fails.
    pub(super) fn check(&mut self, at: usize) -> bool {
        match self.constraint(at) {
            Constraint::Guard { condition, soft } => match self.evaluate(condition) {
                Datum::Bool(true) => {
                    self.set_state(at, State::Settled);
                    true
                }
                Datum::Unbound => true,
                Datum::Bool(false) => self.fail_at(Reason::Guard, condition.span, None),
                _ if soft => {
                    self.set_state(at, State::Settled);
                    true
                }
                _ => self.fail_at(Reason::Guard, condition.span, None),
            },
            Constraint::Let(binding) => match self.evaluate(&binding.value) {
                Datum::Unbound => true,
                value => {
                    self.set_state(at, State::Settled);
                    let known = if value == Datum::Unknown { Datum::None } else { value };
                    self.unify(binding.var, known)
                        || self.fail_at(Reason::Number(binding.var), binding.value.span, None)
                }
            },
            Constraint::Given(var, value) => self.check_given(at, var, value),
        }
    }

    /// The variable of a definition and what its caller gave for it are one.
    fn check_given(&mut self, at: usize, var: VarId, value: &GExpr) -> bool {
        let Some(own) = self.binding(var).cloned() else { return true };
        if let GExprKind::Var(outer) = value.kind
            && self.look_up(outer) == Datum::Unbound
        {
            self.set_state(at, State::Settled);
            return self.unify(outer, own);
        }
        match self.evaluate(value) {
            Datum::Unbound => true,
            given => {
                self.set_state(at, State::Settled);
                given.equals(&own, true) == Datum::Bool(true)
                    || self.fail_at(Reason::Number(var), value.span, None)
            }
        }
    }
}

impl World for Search<'_, '_, '_> {
    /// What it is bound to, or what its caller gave for it.
    fn look_up(&self, var: VarId) -> Datum {
        if let Some(bound) = self.binding(var) {
            return bound.clone();
        }
        match &self.pattern().var(var).value {
            Some(given) => self.evaluate(given),
            None if self.finishing => Datum::None,
            None => Datum::Unbound,
        }
    }

    fn index(&self) -> Option<&Index<'_>> {
        Some(self.index)
    }

    fn same_value(&self, a: ValueRow, b: ValueRow) -> bool {
        self.is_same(a, b)
    }

    /// Under the bindings so far, in a search of its own: what it binds stays there.
    fn matches(&self, pattern: ExprId, at: Option<ValueRow>) -> Option<bool> {
        let mut inner = Search::new(self.index, self.plan);
        inner.bindings.clone_from(&self.bindings);
        inner.holds.clone_from(&self.holds);
        inner.chosen.clone_from(&self.chosen);
        inner.home = self.home;
        inner.place = self.place;
        inner.steps = self.steps;
        inner.push(Goal::Expr { expr: pattern, at, reader: None });
        inner.solve_all().ok()
    }
}
