//! Whether one expression matches whatever another one matches: decided by form, so that `false`
//! means "not known".

use crate::core::{
    Arg, Attribute, AttributePattern, ExprId, ExprKind, Op, Others, Output, Pattern, VarId,
};
use crate::gexpr::{GExpr, GExprKind};

/// The general side: a pattern, and which of its variables stand for anything at all.
pub(crate) struct Cover<'p> {
    general: &'p Pattern,
    special: &'p Pattern,
    /// The variable of the general side may be bound to whatever it meets, to any constant if it is
    /// `const`.
    free: &'p dyn Fn(VarId) -> bool,
    /// Variables of both sides that must be the same: those of one pattern, or of two whose
    /// names are paired while they are compared.
    pairs: Vec<(VarId, VarId)>,
    /// Comparing is linear in the shorter side, but definitions are shared: this ends it.
    left: usize,
}

/// The most parts that are compared.
const MAX_PARTS: usize = 10_000;

impl<'p> Cover<'p> {
    pub(crate) fn new(
        general: &'p Pattern,
        special: &'p Pattern,
        free: &'p dyn Fn(VarId) -> bool,
    ) -> Self {
        Self { general, special, free, pairs: Vec::new(), left: MAX_PARTS }
    }

    /// Whether all that `special` matches is matched by `general`, with the same bindings.
    pub(crate) fn covers(&mut self, general: ExprId, special: ExprId) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let (a, b) = (&self.general.expr(general).kind, &self.special.expr(special).kind);
        match (a, b) {
            (ExprKind::AnyOrAbsent, _) => true,
            (_, ExprKind::AnyOrAbsent | ExprKind::Optional(_)) => false,
            (ExprKind::Absent, ExprKind::Absent) => true,
            (ExprKind::Absent, _) | (_, ExprKind::Absent) => false,
            (ExprKind::Any, _) => true,
            (ExprKind::Var(var), _) if (self.free)(*var) => {
                !self.general.var(*var).constant || self.constant(b)
            }
            (ExprKind::Var(a), ExprKind::Var(b)) | (ExprKind::Scalar(a), ExprKind::Scalar(b)) => {
                self.same(*a, *b)
            }
            (ExprKind::Scalar(var), ExprKind::Constant { .. }) => (self.free)(*var),
            (
                ExprKind::Constant { value: a, tolerance: s },
                ExprKind::Constant { value: b, tolerance: t },
            ) => s == t && self.equal(a, b),
            (ExprKind::Full(a), ExprKind::Full(b)) => self.covers(*a, *b),
            (ExprKind::Full(a), ExprKind::Constant { .. } | ExprKind::Scalar(_)) => {
                self.covers(*a, special)
            }
            (ExprKind::Op(a), ExprKind::Op(b)) => self.op(a, b),
            (ExprKind::Chain(a), ExprKind::Chain(b)) => {
                a.operator == b.operator
                    && a.rest.is_none()
                    && b.rest.is_none()
                    && a.operands.len() == b.operands.len()
                    && a.operands.iter().zip(&b.operands).all(|(a, b)| self.covers(*a, *b))
            }
            (_, ExprKind::Alt(alt)) => {
                alt.branches.iter().all(|branch| self.covers(general, branch.expr))
            }
            (ExprKind::Alt(alt), _) => alt.branches.iter().any(|branch| {
                branch.guard.is_none()
                    && branch.with.is_empty()
                    && self.attempt(|this| this.covers(branch.expr, special))
            }),
            _ => false,
        }
    }

    fn constant(&self, kind: &ExprKind) -> bool {
        match kind {
            ExprKind::Constant { .. } | ExprKind::Scalar(_) | ExprKind::Full(_) => true,
            ExprKind::Var(var) => self.special.var(*var).constant,
            _ => false,
        }
    }

    /// Undoes what was paired if it does not hold.
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> bool) -> bool {
        let paired = self.pairs.len();
        let holds = what(self);
        if !holds {
            self.pairs.truncate(paired);
        }
        holds
    }

    fn same(&mut self, a: VarId, b: VarId) -> bool {
        if std::ptr::eq(self.general, self.special) {
            return a == b;
        }
        match self.pairs.iter().find(|(known, other)| *known == a || *other == b) {
            Some(pair) => *pair == (a, b),
            None => {
                let (one, other) = (self.general.var(a), self.special.var(b));
                let plain = one.types.is_empty() && (!one.constant || other.constant);
                let defined = (one.definitions.as_slice(), other.definitions.as_slice());
                self.pairs.push((a, b));
                plain
                    && one.list == other.list
                    && match defined {
                        ([], _) => one.optional || !other.optional,
                        ([a], [b]) => self.covers(a.expr, b.expr),
                        _ => false,
                    }
            }
        }
    }

    fn op(&mut self, a: &Op, b: &Op) -> bool {
        let output = match (&a.output, &b.output) {
            (Output::Index(a), Output::Index(b)) => a == b,
            (a, b) => std::ptr::eq(self.general, self.special) && a == b,
        };
        let operators = b.operators.iter().all(|operator| a.operators.contains(operator));
        let inputs = match a.open {
            true => a.args.len() <= b.args.len(),
            false => a.args.len() == b.args.len() && !b.open,
        };
        output
            && operators
            && a.bind.is_none()
            && (!a.exact || b.exact)
            && inputs
            && self.attributes(a, b)
            && a.args.iter().zip(&b.args).all(|(a, b)| match (a, b) {
                (Arg::One(a), Arg::One(b)) => self.covers(*a, *b),
                _ => false,
            })
    }

    fn attributes(&mut self, a: &Op, b: &Op) -> bool {
        let others = match (&a.others, &b.others) {
            (Others::Any, _) => true,
            (Others::Default, Others::Default) => {
                // What only the special side names must not have its default there.
                b.attributes.iter().all(|one| a.attributes.iter().any(|two| one.name == two.name))
            }
            (Others::Rest(a), Others::Rest(b)) => {
                std::ptr::eq(self.general, self.special) && a == b
            }
            _ => false,
        };
        others && a.attributes.iter().all(|attribute| self.attribute(attribute, b))
    }

    fn attribute(&mut self, general: &Attribute, op: &Op) -> bool {
        let Some(special) = op.attributes.iter().find(|other| other.name == general.name) else {
            return matches!(general.pattern, AttributePattern::Any);
        };
        match (&general.pattern, &special.pattern) {
            (AttributePattern::Any, _) => true,
            (AttributePattern::Bind(a), AttributePattern::Bind(b)) => self.same(*a, *b),
            (AttributePattern::Bind(a), _) => (self.free)(*a),
            (AttributePattern::Value(a), AttributePattern::Value(b)) => self.equal(a, b),
            (AttributePattern::OneOf(items), AttributePattern::Value(b)) => items
                .iter()
                .any(|item| matches!(item, AttributePattern::Value(a) if self.equal(a, b))),
            _ => false,
        }
    }

    /// Equal whatever the variables are: only literals, lists of them, and the same variables.
    fn equal(&mut self, a: &GExpr, b: &GExpr) -> bool {
        match (&a.kind, &b.kind) {
            (GExprKind::Var(a), GExprKind::Var(b)) => self.same(*a, *b),
            (GExprKind::Int(a), GExprKind::Int(b)) => a == b,
            (GExprKind::Float(a), GExprKind::Float(b)) => a == b,
            (GExprKind::Int(a), GExprKind::Float(b)) | (GExprKind::Float(b), GExprKind::Int(a)) => {
                *a as f64 == *b
            }
            (GExprKind::String(a), GExprKind::String(b))
            | (GExprKind::Dtype(a), GExprKind::Dtype(b)) => a == b,
            (GExprKind::Bool(a), GExprKind::Bool(b)) => a == b,
            (GExprKind::Tensor(a), GExprKind::Tensor(b)) => {
                a.dtype == b.dtype
                    && a.dims == b.dims
                    && a.elements.iter().zip(&b.elements).all(|(a, b)| self.equal(a, b))
            }
            (GExprKind::List(a), GExprKind::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.equal(a, b))
            }
            _ => false,
        }
    }
}
