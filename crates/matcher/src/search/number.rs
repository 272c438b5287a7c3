//! Constants: scalars, literals, lists.

use marquetry_ir::Tensor;
use marquetry_pattern::core::{ExprId, ExprKind, Tolerance, VarId};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

use super::{Deferred, Reason, Search, Undo};
use crate::compute::World;
use crate::datum::{Datum, near};
use crate::index::{NodeRow, ValueRow};

impl<'p> Search<'_, '_, 'p> {
    /// A variable in value position: a neutral constant scalar.
    pub(super) fn scalar(
        &mut self,
        var: VarId,
        value: ValueRow,
        reader: Option<NodeRow>,
        expr: ExprId,
    ) -> bool {
        match self.neutral_item(value, reader) {
            Some(number) => self.meet_number(var, number, expr, value),
            None => self.fail(Reason::NotScalar, expr, Some(value)),
        }
    }

    fn meet_number(&mut self, var: VarId, number: Datum, expr: ExprId, value: ValueRow) -> bool {
        self.unify(var, number) || self.fail(Reason::Number(var), expr, Some(value))
    }

    /// The number of a constant whose dims are all 1 and which does not raise the rank of what its
    /// reader computes.
    fn neutral_item(&self, value: ValueRow, reader: Option<NodeRow>) -> Option<Datum> {
        // Asked first, because a large constant may only be computed when its content is.
        let shape = self.index.shape(value).unwrap_or_default();
        if shape.iter().any(|dim| dim.known().is_some_and(|length| length != 1)) {
            return None;
        }
        let tensor = self.index.known(value)?;
        (tensor.len() == 1 && self.is_neutral(tensor, value, reader))
            .then(|| Datum::item(tensor))?
    }

    fn is_neutral(&self, tensor: &Tensor, value: ValueRow, reader: Option<NodeRow>) -> bool {
        let rank = tensor.dims().len();
        if rank <= 1 {
            return true;
        }
        let Some(reader) = reader else { return false };
        let others = self.index.inputs(reader).iter().flatten().filter(|other| **other != value);
        let ranks: Option<Vec<_>> = others.map(|other| self.index.rank(*other)).collect();
        // Without another input the constant is all there is, and its rank is that of the result.
        ranks.is_some_and(|ranks| ranks.into_iter().max().is_none_or(|other| rank <= other))
    }

    /// A literal: a neutral scalar equal to a number, or a rank-1 constant equal to a list.
    pub(super) fn constant(
        &mut self,
        literal: &'p GExpr,
        tolerance: Option<Tolerance>,
        value: ValueRow,
        reader: Option<NodeRow>,
        expr: ExprId,
    ) -> bool {
        let list = matches!(literal.kind, GExprKind::List(_));
        let found = if list {
            self.index.known(value).and_then(Datum::elements)
        } else {
            self.neutral_item(value, reader).or_else(|| {
                // A computed list, such as `{swap(4, 2, 3)}`.
                let wants_list = matches!(self.evaluate(literal), Datum::List(_));
                wants_list.then(|| self.index.known(value).and_then(Datum::elements))?
            })
        };
        let Some(found) = found else { return self.fail(Reason::NotScalar, expr, Some(value)) };
        self.compare(literal, found, tolerance)
            || self.fail(Reason::OtherConstant, expr, Some(value))
    }

    /// A constant of any shape: all its elements are the number, or in C order those of the list.
    pub(super) fn full(&mut self, inner: ExprId, value: ValueRow, expr: ExprId) -> bool {
        let known = self.index.known(value);
        let (literal, tolerance) = match &self.pattern().expr(inner).kind {
            ExprKind::Scalar(var) => {
                return match known.and_then(uniform) {
                    Some(item) => self.meet_number(*var, item, expr, value),
                    None => self.fail(Reason::NotScalar, expr, Some(value)),
                };
            }
            ExprKind::Constant { value: literal, tolerance } => (literal, *tolerance),
            other => unreachable!("`full` holds a number, not {other:?}"),
        };
        let list = matches!(literal.kind, GExprKind::List(_))
            || matches!(self.evaluate(literal), Datum::List(_));
        let found =
            known.and_then(|tensor| if list { Datum::flat(tensor) } else { uniform(tensor) });
        let Some(found) = found else { return self.fail(Reason::NotScalar, expr, Some(value)) };
        self.compare(literal, found, tolerance)
            || self.fail(Reason::OtherConstant, expr, Some(value))
    }

    /// Compares what was found with an expression, now or as soon as its variables are bound.
    pub(super) fn compare(
        &mut self,
        wanted: &'p GExpr,
        found: Datum,
        tolerance: Option<Tolerance>,
    ) -> bool {
        let mut deferred = Deferred { value: wanted, found, tolerance, settled: false };
        match self.agrees(&deferred) {
            Datum::Bool(equal) => {
                deferred.settled = true;
                equal
            }
            Datum::Unbound => {
                self.deferred.push(deferred);
                self.trail.push(Undo::AddedDeferred);
                true
            }
            _ => false,
        }
    }

    fn agrees(&self, deferred: &Deferred<'_>) -> Datum {
        let wanted = self.evaluate(deferred.value);
        match deferred.tolerance {
            None => wanted.equals(&deferred.found, true),
            Some(_) if wanted.is_open() => wanted,
            Some(tolerance) => match (wanted.as_float(), deferred.found.as_float()) {
                (Some(wanted), Some(found)) => Datum::Bool(
                    match tolerance {
                        Tolerance::Absolute(t) => (found.number - wanted.number).abs() <= t,
                        Tolerance::Relative(p) => {
                            (found.number - wanted.number).abs() <= p * wanted.number.abs()
                        }
                    } || near(wanted, found),
                ),
                _ => Datum::Bool(false),
            },
        }
    }

    /// Looks again at the comparisons that wait for a variable.
    pub(super) fn check_deferred(&mut self) -> bool {
        for at in 0..self.deferred.len() {
            if self.deferred[at].settled {
                continue;
            }
            match self.agrees(&self.deferred[at]) {
                Datum::Bool(true) => {
                    self.deferred[at].settled = true;
                    self.trail.push(Undo::Deferred(at, false));
                }
                Datum::Unbound => {}
                _ => {
                    let span = self.deferred[at].value.span;
                    return self.fail_at(Reason::OtherConstant, span, None);
                }
            }
        }
        true
    }
}

/// The element that all elements are equal to.
pub(crate) fn uniform(tensor: &Tensor) -> Option<Datum> {
    if tensor.is_empty() {
        return None;
    }
    let bytes = tensor.dtype().bits().filter(|bits| bits % 8 == 0)? as usize / 8;
    let mut elements = tensor.bytes().chunks(bytes);
    let first = elements.next()?;
    if !elements.all(|element| element == first) {
        return None;
    }
    let item = Tensor::new(tensor.dtype(), [], first.to_vec()).ok()?;
    Datum::item(&item)
}
