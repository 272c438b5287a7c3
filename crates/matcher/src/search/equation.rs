//! Variables, definitions and alternatives: what does not look at a node.

use std::rc::Rc;

use marquetry_pattern::core::{
    Arg, DimPattern, DtypePattern, ExprId, ExprKind, ScopeId, TypePattern, VarId,
};

use super::{Alternatives, Exhaustion, Goal, Leaves, Lists, Reason, Search, State, Taken};
use crate::datum::Datum;
use crate::index::{NodeRow, ValueRow};
use crate::plan::Constraint;

impl Search<'_, '_, '_> {
    /// A variable is met at a value.
    pub(super) fn meet(
        &mut self,
        var: VarId,
        value: ValueRow,
        reader: Option<NodeRow>,
        expr: ExprId,
    ) -> bool {
        if let Some(bound) = self.binding(var) {
            let same = matches!(bound, Datum::Value(other) if self.is_same(*other, value));
            return same || self.fail(Reason::Different(var), expr, Some(value));
        }
        if !self.unify(var, Datum::Value(value)) {
            return self.fail(Reason::Type(var), expr, Some(value));
        }
        if !self.pattern().var(var).definitions.is_empty() {
            self.push(Goal::Define { var, at: value, reader, except: None });
        }
        true
    }

    /// Whether two values are one, or equal constants: exporters duplicate initializers.
    pub(super) fn is_same(&self, a: ValueRow, b: ValueRow) -> bool {
        if a == b {
            return true;
        }
        match (self.index.known(a), self.index.known(b)) {
            (Some(x), Some(y)) => x == y,
            _ => false,
        }
    }

    /// Binds a variable, or compares what it is bound to. Does not match its definition.
    pub(super) fn unify(&mut self, var: VarId, datum: Datum) -> bool {
        if let Some(bound) = self.binding(var) {
            return match (bound, &datum) {
                (Datum::Value(a), Datum::Value(b)) => self.is_same(*a, *b),
                (a, b) => a.equals(b, true) == Datum::Bool(true),
            };
        }
        let declared = self.pattern().var(var);
        if let Datum::Value(value) = datum {
            if declared.constant && !self.index.is_constant(value) {
                return false;
            }
            if !declared.types.iter().all(|ty| self.has_type(value, ty)) {
                return false;
            }
        }
        self.set(var, Some(datum));
        if let Some(given) = self.plan.of_value(var) {
            self.activate(given..given + 1);
        }
        true
    }

    fn has_type(&mut self, value: ValueRow, ty: &TypePattern) -> bool {
        let dtype = self.index.dtype(value);
        let fits = match &ty.dtype {
            None => true,
            Some(DtypePattern::Named(name)) => match dtype {
                Some(dtype) => dtype.name() == Some(name.as_str()),
                None => ty.soft,
            },
            Some(DtypePattern::Var(var)) => match dtype {
                Some(dtype) => self.unify(*var, Datum::Dtype(dtype)),
                None => ty.soft,
            },
        };
        let Some(pattern) = &ty.shape else { return fits };
        let Some(dims) = self.index.shape(value) else { return fits && ty.soft };
        let (prefix, pattern) = match pattern.split_first() {
            Some((DimPattern::Prefix, rest)) => (true, rest),
            _ => (false, pattern.as_slice()),
        };
        let Some(skipped) = dims.len().checked_sub(pattern.len()) else { return false };
        if !fits || (skipped > 0 && !prefix) {
            return false;
        }
        let dims: Vec<_> = dims[skipped..].iter().map(Datum::dim).collect();
        pattern.iter().zip(dims).all(|(pattern, dim)| {
            let wanted = match pattern {
                DimPattern::Any | DimPattern::Prefix => return true,
                DimPattern::Size(size) => Datum::Int(*size),
                DimPattern::Named(name) => Datum::Symbol(name.clone()),
                DimPattern::Var(var) => match self.binding(*var) {
                    Some(bound) => bound.clone(),
                    None if dim == Datum::Unknown => return true,
                    None => {
                        self.set(*var, Some(dim));
                        return true;
                    }
                },
            };
            match wanted.equals(&dim, false) {
                Datum::Bool(equal) => equal,
                _ => ty.soft,
            }
        })
    }

    /// Matches the definitions of a variable in the scopes that hold, after taking the choices that
    /// they stand in.
    pub(super) fn define(
        &mut self,
        var: VarId,
        at: ValueRow,
        reader: Option<NodeRow>,
        except: Option<ExprId>,
    ) -> Result<bool, Exhaustion> {
        let definitions = &self.pattern().var(var).definitions;
        for definition in definitions {
            if let Some(choice) = self.open_choice(definition.scope) {
                let choice = self
                    .pattern()
                    .scope(choice.1)
                    .choices
                    .iter()
                    .copied()
                    .find(|known| self.pattern().choice(*known).branches.contains(&choice.0));
                let Some(choice) = choice else { continue };
                let then = Box::new(Goal::Define { var, at, reader, except });
                return self.choose(Alternatives::Scopes { choice, then });
            }
        }
        let traced = self.trace.is_some();
        let holding: Vec<_> = definitions
            .iter()
            .filter(|definition| self.holds[definition.scope.index()])
            .filter(|definition| Some(definition.expr) != except)
            .flat_map(|definition| {
                let met = Goal::Expr { expr: definition.expr, at: Some(at), reader };
                [Some(met), traced.then_some(Goal::Satisfied(definition.expr))]
            })
            .flatten()
            .collect();
        self.push_all(holding);
        Ok(true)
    }

    /// The outermost branch around a scope whose choice is not taken, with the scope around it; `None`
    /// if the scope holds or cannot hold.
    fn open_choice(&self, scope: ScopeId) -> Option<(ScopeId, ScopeId)> {
        let mut open = None;
        let mut at = Some(scope);
        while let Some(scope) = at.filter(|scope| !self.holds[scope.index()]) {
            let (choice, around) = self.plan.branch_of(scope)?;
            if self.chosen[choice].is_some() {
                return None;
            }
            open = Some((scope, around));
            at = self.pattern().scope(scope).parent;
        }
        open
    }

    pub(super) fn branch(
        &self,
        alt: ExprId,
        at: Option<ValueRow>,
        reader: Option<NodeRow>,
        branch: usize,
    ) -> Taken {
        let ExprKind::Alt(alternatives) = &self.pattern().expr(alt).kind else {
            return Taken::Exhausted;
        };
        let Some(taken) = alternatives.branches.get(branch) else { return Taken::Exhausted };
        if at.is_some_and(|value| self.is_hopeless(taken.expr, value)) {
            return Taken::Skip;
        }
        let expr = Goal::Expr { expr: taken.expr, at, reader };
        if taken.with.is_empty() && taken.guard.is_none() && taken.absent.is_empty() {
            return Taken::goals([expr]);
        }
        Taken::goals([expr, Goal::Absent(alt, branch), Goal::EndBranch { alt, branch }])
    }

    /// Whether the producer of a value already says that it cannot match. What is traced is tried
    /// nevertheless, so that it fails where it can be explained.
    fn is_hopeless(&self, expr: ExprId, value: ValueRow) -> bool {
        self.trace.is_none() && self.plan.is_hopeless(self.index, expr, value)
    }

    pub(super) fn end_branch(&mut self, alt: ExprId, branch: usize) -> bool {
        self.activate(self.plan.of_branch(alt, branch));
        true
    }

    pub(super) fn leave_absent(&mut self, alt: ExprId, branch: usize) -> bool {
        let ExprKind::Alt(alternatives) = &self.pattern().expr(alt).kind else { return true };
        for &var in &alternatives.branches[branch].absent {
            if self.binding(var).is_none() {
                self.set(var, Some(Datum::None));
            }
        }
        true
    }

    /// Assigns operands to leaves: each operand tries the leaves that are left in their order, which
    /// gives the order as written first and then the permutations in lexicographic order.
    pub(super) fn assign(
        &mut self,
        parent: ExprId,
        next: usize,
        leaves: Leaves,
        used: Rc<[u32]>,
    ) -> Result<bool, Exhaustion> {
        if next < self.plan.operands(parent).len() {
            return self.choose(Alternatives::Leaves { parent, next, leaves, used });
        }
        let ExprKind::Chain(chain) = &self.pattern().expr(parent).kind else { return Ok(true) };
        let Some(rest) = chain.rest else { return Ok(true) };
        let left = leaves.iter().enumerate().filter(|(at, _)| !used.contains(&(*at as u32)));
        let left = left.filter_map(|(_, (value, _))| value.map(Datum::Value)).collect();
        Ok(self.unify(rest, Datum::List(left)) || self.fail(Reason::Different(rest), parent, None))
    }

    pub(super) fn leaf(
        &self,
        parent: ExprId,
        next: usize,
        leaves: &Leaves,
        used: &Rc<[u32]>,
        at: usize,
    ) -> Taken {
        let Some(&(value, reader)) = leaves.get(at) else { return Taken::Exhausted };
        let expr = self.plan.operands(parent)[next];
        let is_used = |leaf: usize| used.contains(&(leaf as u32));
        // The same value at an earlier free leaf has been tried.
        let repeated = (0..at).any(|leaf| !is_used(leaf) && leaves[leaf].0 == value);
        let hopeless = value.is_some_and(|value| self.is_hopeless(expr, value));
        if is_used(at) || repeated || hopeless {
            return Taken::Skip;
        }
        let used = used.iter().copied().chain([at as u32]).collect();
        Taken::goals([
            Goal::Expr { expr, at: value, reader: Some(reader) },
            Goal::Assign { parent, next: next + 1, leaves: leaves.clone(), used },
        ])
    }

    pub(super) fn each(
        &mut self,
        parent: ExprId,
        arg: usize,
        next: usize,
        inputs: Leaves,
        lists: Lists,
    ) -> bool {
        let Some((expr, _)) = self.collected(parent, arg) else { return true };
        match inputs.get(next) {
            None => self.push(Goal::Gather { parent, arg, lists }),
            Some(&(at, reader)) => self.push_all([
                Goal::Expr { expr, at, reader: Some(reader) },
                Goal::EndEach { parent, arg, next, inputs, lists },
            ]),
        }
        true
    }

    pub(super) fn end_each(
        &mut self,
        parent: ExprId,
        arg: usize,
        next: usize,
        inputs: Leaves,
        lists: Lists,
    ) -> bool {
        let Some((expr, collected)) = self.collected(parent, arg) else { return true };
        let Some(lists) = self.collect(expr, &collected, &lists) else {
            return self.fail(Reason::Guard, expr, None);
        };
        self.push(Goal::Each { parent, arg, next: next + 1, inputs, lists });
        true
    }

    /// The expression and the collected variables of an `Each` argument, or of a `Repeat`.
    fn collected(&self, parent: ExprId, arg: usize) -> Option<(ExprId, Vec<VarId>)> {
        match &self.pattern().expr(parent).kind {
            ExprKind::Op(op) => match &op.args[arg] {
                Arg::Each { expr, collected } => Some((*expr, collected.clone())),
                Arg::One(_) => None,
            },
            ExprKind::Repeat(repeat) => Some((repeat.step, repeat.collected.clone())),
            _ => None,
        }
    }

    /// Moves what the collected variables are bound to into their lists, frees them, and lets the
    /// scopes of the next time be taken anew.
    fn collect(&mut self, expr: ExprId, collected: &[VarId], lists: &Lists) -> Option<Lists> {
        let plan = self.plan;
        for &scope in plan.repeated_scopes(expr) {
            if self.holds[scope.index()] {
                for constraint in plan.of_scope(scope) {
                    // What it waits for is of this time only, or comes too late for it.
                    let soft =
                        matches!(self.constraint(constraint), Constraint::Guard { soft: true, .. });
                    if self.states[constraint] == State::Pending && !soft {
                        return None;
                    }
                    self.set_state(constraint, State::Inactive);
                }
                self.set_hold(scope, false);
            }
        }
        let mut lists = (**lists).clone();
        for (var, list) in collected.iter().zip(&mut lists) {
            list.push(self.binding(*var).cloned().unwrap_or(Datum::None));
            self.set(*var, None);
        }
        Some(Rc::new(lists))
    }

    pub(super) fn gather(&mut self, parent: ExprId, arg: usize, lists: &Lists) -> bool {
        let Some((_, collected)) = self.collected(parent, arg) else { return true };
        collected.iter().zip(lists.iter()).all(|(&var, list)| {
            // Locals of an inlined definition are private to their element.
            !self.pattern().var(var).list || self.unify(var, Datum::List(list.clone()))
        })
    }

    /// One more step first, the end after it: longest first.
    pub(super) fn step(
        &self,
        expr: ExprId,
        at: ValueRow,
        reader: Option<NodeRow>,
        (count, lists): (u32, &Lists),
        alternative: usize,
    ) -> Taken {
        let ExprKind::Repeat(repeat) = &self.pattern().expr(expr).kind else {
            return Taken::Exhausted;
        };
        match alternative {
            0 if !self.is_hopeless(repeat.step, at) => Taken::goals([
                Goal::Expr { expr: repeat.step, at: Some(at), reader },
                Goal::EndStep { expr, count, lists: lists.clone() },
            ]),
            1 if (count > 0 || !repeat.at_least_once) && !self.is_hopeless(repeat.last, at) => {
                Taken::goals([
                    Goal::Gather { parent: expr, arg: 0, lists: lists.clone() },
                    Goal::Expr { expr: repeat.last, at: Some(at), reader },
                ])
            }
            0 | 1 => Taken::Skip,
            _ => Taken::Exhausted,
        }
    }

    pub(super) fn end_step(&mut self, expr: ExprId, count: u32, lists: &Lists) -> bool {
        let ExprKind::Repeat(repeat) = &self.pattern().expr(expr).kind else { return true };
        let Some(Datum::Value(at)) = self.binding(repeat.hole).cloned() else {
            return self.fail(Reason::Unbound(repeat.hole), expr, None);
        };
        let reader = self.nodes.last().copied();
        let Some(lists) = self.collect(repeat.step, &repeat.collected, lists) else {
            return self.fail(Reason::Guard, expr, None);
        };
        self.set(repeat.hole, None);
        self.push(Goal::Repeat { expr, at, reader, count: count + 1, lists });
        true
    }
}
