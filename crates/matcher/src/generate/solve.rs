//! Numbers and lists that conditions ask for: equations are turned around, the rest is drawn and
//! rejected.

use std::borrow::Cow;

use marquetry_ir::{DType, Dim, Tensor};
use marquetry_pattern::core::{ExprId, ExprKind, VarId};
use marquetry_pattern::gexpr::{BinaryOp, CompareOp, Function, GExpr, GExprKind};

use super::Stuck;
use super::fill::Fill;
use super::sketch::{Instance, Scene};
use crate::compute::World;
use crate::datum::Datum;
use crate::index::ValueRow;
use crate::plan::Constraint;

/// What is chosen so far, seen from one scene.
pub(super) struct Sight<'f, 'a, 'p> {
    pub(super) fill: &'f Fill<'a, 'p>,
    pub(super) scene: &'f Scene,
    /// Whether variables that are unbound are absent.
    pub(super) finished: bool,
}

impl World for Sight<'_, '_, '_> {
    fn look_up(&self, var: VarId) -> Datum {
        let at = self.scene[var.index()];
        if let Some(bound) = &self.fill.bound[at] {
            return bound.clone();
        }
        if let Some(each) = self.fill.sketch.lists.get(&at) {
            let items: Option<Vec<Datum>> =
                each.iter().map(|&at| self.fill.bound[at].clone()).collect();
            return items.map_or(Datum::Unbound, Datum::List);
        }
        match &self.fill.sketch.pattern.var(var).value {
            Some(given) => self.evaluate(given),
            None if self.finished => Datum::None,
            None => Datum::Unbound,
        }
    }

    fn dtype(&self, value: ValueRow) -> Option<DType> {
        Some(self.fill.fact(value)?.0)
    }

    fn shape(&self, value: ValueRow) -> Option<Cow<'_, [Dim]>> {
        let dims = self.fill.fact(value)?.1.iter();
        Some(Cow::Owned(dims.map(|&dim| Dim::from(dim)).collect()))
    }

    fn known(&self, value: ValueRow) -> Option<&Tensor> {
        self.fill.constant[value.index()].then(|| self.fill.tensors[value.index()].as_ref())?
    }

    fn is_constant(&self, value: ValueRow) -> bool {
        self.fill.constant[value.index()]
    }

    fn same_value(&self, a: ValueRow, b: ValueRow) -> bool {
        a == b || matches!((self.known(a), self.known(b)), (Some(a), Some(b)) if a == b)
    }

    fn uses(&self, _value: ValueRow) -> Option<usize> {
        None
    }

    fn matches(&self, pattern: ExprId, at: Option<ValueRow>) -> Option<bool> {
        match self.fill.sketch.pattern.expr(pattern).kind {
            ExprKind::Absent => Some(at.is_none()),
            _ => None,
        }
    }
}

impl<'p> Fill<'_, 'p> {
    pub(super) fn evaluate(&self, expr: &GExpr, scene: &Scene) -> Datum {
        Sight { fill: self, scene, finished: false }.evaluate(expr)
    }

    /// The value of an expression; what it depends on and is free is drawn.
    pub(super) fn need(&mut self, expr: &'p GExpr, scene: &Scene) -> Result<Datum, Stuck> {
        self.settle();
        for _ in 0..8 {
            match self.evaluate(expr, scene) {
                Datum::Unbound => {}
                Datum::Unknown => return Err(Stuck::Rejected),
                known => return Ok(known),
            }
            let Some(at) = self.free(expr, scene) else { return Err(Stuck::Rejected) };
            let numbers = self.numbers();
            self.draw(at, numbers)?;
        }
        Err(Stuck::Rejected)
    }

    /// The content of a variable; drawn from the candidates if it is free.
    pub(super) fn need_var(
        &mut self,
        var: VarId,
        scene: &Scene,
        candidates: Vec<Datum>,
    ) -> Result<Datum, Stuck> {
        self.settle();
        match (Sight { fill: self, scene, finished: false }).look_up(var) {
            Datum::Unbound => {}
            Datum::Unknown | Datum::None => return Err(Stuck::Rejected),
            known => return Ok(known),
        }
        let at = self.alias(var, scene);
        if self.bound[at].is_none() {
            return self.draw(at, candidates);
        }
        Err(Stuck::Rejected)
    }

    /// The variable that a parameter passes on.
    pub(super) fn alias(&self, var: VarId, scene: &Scene) -> Instance {
        let mut var = var;
        while self.bound[scene[var.index()]].is_none()
            && let Some(given) = &self.sketch.pattern.var(var).value
            && let GExprKind::Var(outer) = given.kind
        {
            var = outer;
        }
        scene[var.index()]
    }

    /// A variable that an expression waits for.
    fn free(&self, expr: &GExpr, scene: &Scene) -> Option<Instance> {
        let mut found = Vec::new();
        crate::plan::variables(expr, &mut found);
        found.into_iter().find_map(|var| {
            let at = self.alias(var, scene);
            if self.bound[at].is_some() || self.sketch.lists.contains_key(&at) {
                return None;
            }
            match &self.sketch.pattern.var(var).value {
                Some(given) if !matches!(given.kind, GExprKind::Var(_)) => self.free(given, scene),
                _ => Some(at),
            }
        })
    }

    /// Binds a variable to the first candidate, in a random order, that no condition refuses.
    pub(super) fn draw(
        &mut self,
        at: Instance,
        mut candidates: Vec<Datum>,
    ) -> Result<Datum, Stuck> {
        self.random.shuffle(&mut candidates);
        if let Some(narrowed) = self.narrowed(at) {
            candidates = narrowed;
            self.random.shuffle(&mut candidates);
        }
        for candidate in candidates {
            self.bound[at] = Some(candidate.clone());
            if self.refused().is_none() {
                return Ok(candidate);
            }
        }
        self.bound[at] = None;
        Err(Stuck::Rejected)
    }

    /// The first condition that is known to be false.
    pub(super) fn refused(&self) -> Option<usize> {
        (0..self.sketch.constraints.len()).find(|&at| self.truth(at, false) == Some(false))
    }

    /// Whether a constraint holds: `None` while that is open.
    pub(super) fn truth(&self, at: usize, finished: bool) -> Option<bool> {
        let (constraint, scene) = &self.sketch.constraints[at];
        let sight = Sight { fill: self, scene, finished };
        let equal = |a: Datum, b: Datum| match a.equals(&b, true) {
            Datum::Bool(equal) => Some(equal),
            _ => None,
        };
        match constraint {
            Constraint::Guard { condition, soft } => match sight.evaluate(condition) {
                Datum::Bool(truth) => Some(truth),
                // What has no type yet is not known yet.
                Datum::Unknown if finished && !*soft && !asks_the_graph(condition) => Some(false),
                _ => None,
            },
            Constraint::Let(binding) => {
                if self.bound[scene[binding.var.index()]].is_none()
                    && self.sketch.pattern.var(binding.var).value.is_none()
                {
                    return None;
                }
                equal(sight.look_up(binding.var), sight.evaluate(&binding.value))
            }
            Constraint::Given(var, value) => equal(sight.look_up(*var), sight.evaluate(value)),
        }
    }

    /// Binds what equations with one unknown say, until nothing changes.
    pub(super) fn settle(&mut self) {
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for at in 0..self.sketch.constraints.len() {
                let (constraint, scene) = self.sketch.constraints[at].clone();
                match constraint {
                    Constraint::Let(binding) => {
                        changed |= self.equate_var(binding.var, &binding.value, &scene);
                    }
                    Constraint::Given(var, value) => {
                        changed |= self.equate_var(var, value, &scene);
                    }
                    Constraint::Guard { condition, .. } => {
                        changed |= self.equations(condition, &scene);
                    }
                }
            }
        }
    }

    fn equations(&mut self, condition: &'p GExpr, scene: &Scene) -> bool {
        match &condition.kind {
            GExprKind::And(items) => {
                items.iter().fold(false, |changed, item| changed | self.equations(item, scene))
            }
            GExprKind::Compare { first, rest } => match rest.as_slice() {
                [(CompareOp::Eq | CompareOp::Near, right)] => {
                    let (a, b) = (self.evaluate(first, scene), self.evaluate(right, scene));
                    match (a.is_open(), b.is_open()) {
                        (true, false) => self.assume(first, b, scene),
                        (false, true) => self.assume(right, a, scene),
                        _ => false,
                    }
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn equate_var(&mut self, var: VarId, value: &'p GExpr, scene: &Scene) -> bool {
        let sight = Sight { fill: self, scene, finished: false };
        let (own, other) = (sight.look_up(var), sight.evaluate(value));
        match (own.is_open(), other.is_open()) {
            (true, false) => {
                let at = self.alias(var, scene);
                let free = self.bound[at].is_none();
                if free {
                    self.bound[at] = Some(other);
                }
                free
            }
            (false, true) => self.assume(value, own, scene),
            _ => false,
        }
    }

    /// Makes an expression with one unknown have a value.
    fn assume(&mut self, expr: &'p GExpr, wanted: Datum, scene: &Scene) -> bool {
        match &expr.kind {
            GExprKind::Var(var) => {
                let at = self.alias(*var, scene);
                if self.bound[at].is_some() || self.sketch.lists.contains_key(&at) {
                    return false;
                }
                match &self.sketch.pattern.var(*var).value {
                    Some(given) if !matches!(given.kind, GExprKind::Var(_)) => {
                        self.assume(given, wanted, scene)
                    }
                    _ => {
                        self.bound[at] = Some(wanted);
                        true
                    }
                }
            }
            GExprKind::Negate(inner) => {
                let Some(wanted) = number(&wanted) else { return false };
                self.assume(inner, exact(-wanted), scene)
            }
            GExprKind::Call(Function::Sqrt, args) => {
                let Some(wanted) = number(&wanted) else { return false };
                self.assume(&args[0], exact(wanted * wanted), scene)
            }
            GExprKind::Binary(op, a, b) => {
                let Some(wanted) = number(&wanted) else { return false };
                let (left, right) = (self.evaluate(a, scene), self.evaluate(b, scene));
                match (number(&left), number(&right)) {
                    (Some(left), None) if right.is_open() => {
                        let right = match op {
                            BinaryOp::Add => wanted - left,
                            BinaryOp::Sub => left - wanted,
                            BinaryOp::Mul => wanted / left,
                            BinaryOp::Div => left / wanted,
                            _ => return false,
                        };
                        right.is_finite() && self.assume(b, exact(right), scene)
                    }
                    (None, Some(right)) if left.is_open() => {
                        let left = match op {
                            BinaryOp::Add => wanted - right,
                            BinaryOp::Sub => wanted + right,
                            BinaryOp::Mul => wanted / right,
                            BinaryOp::Div => wanted * right,
                            BinaryOp::Pow => wanted.powf(1.0 / right),
                            _ => return false,
                        };
                        left.is_finite() && self.assume(a, exact(left), scene)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

/// Whether a condition asks what only the finished graph can answer.
fn asks_the_graph(condition: &GExpr) -> bool {
    let mut found = false;
    condition.walk(&mut |expr| {
        let asks = matches!(expr.kind, GExprKind::Is { .. } | GExprKind::Call(Function::Uses, _));
        found |= asks;
    });
    found
}

fn number(datum: &Datum) -> Option<f64> {
    datum.as_float().map(|float| float.number)
}

/// An integer where it is one.
fn exact(number: f64) -> Datum {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Datum::Int(number as i64)
    } else {
        Datum::float(number)
    }
}
