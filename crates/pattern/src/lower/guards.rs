//! Conditions and constant expressions; constants are folded.

use super::{Frame, Lowerer};
use crate::ast::{self, Guard, GuardKind, Literal};
use crate::core::{ExprKind, Kind};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::{Parameter, builtin, is_dtype, names};
use crate::gexpr::{BinaryOp, CompareOp, Function, GExpr, GExprKind};
use crate::similar::closest;

impl<'a> Lowerer<'a> {
    pub(super) fn guard(&mut self, frame: &mut Frame<'a>, guard: &'a Guard) -> GExpr {
        let span = guard.span;
        let kind = match &guard.kind {
            GuardKind::Number(Literal::Int(value)) => GExprKind::Int(*value),
            GuardKind::Number(Literal::Float(value)) => GExprKind::Float(*value),
            GuardKind::String(text) => GExprKind::String(text.clone()),
            GuardKind::Bool(value) => GExprKind::Bool(*value),
            GuardKind::None => GExprKind::None,
            GuardKind::Name(name) => self.guard_name(frame, name, span),
            GuardKind::List(items) => GExprKind::List(self.guards(frame, items)),
            GuardKind::Negate(inner) => GExprKind::Negate(self.guard(frame, inner).into()),
            GuardKind::Not(inner) => GExprKind::Not(self.guard(frame, inner).into()),
            GuardKind::And(items) => GExprKind::And(self.guards(frame, items)),
            GuardKind::Or(items) => GExprKind::Or(self.guards(frame, items)),
            GuardKind::Binary(operator, left, right) => {
                let (left, right) = (self.guard(frame, left), self.guard(frame, right));
                GExprKind::Binary(*operator, left.into(), right.into())
            }
            GuardKind::Compare(first, rest) => {
                let first = self.guard(frame, first).into();
                let rest = rest.iter().map(|(sign, right)| (*sign, self.guard(frame, right)));
                GExprKind::Compare { first, rest: rest.collect() }
            }
            GuardKind::Index(base, at) => {
                let (base, at) = (self.guard(frame, base), self.guard(frame, at));
                GExprKind::Index(base.into(), at.into())
            }
            GuardKind::Slice(base, from, to) => {
                let base = self.guard(frame, base).into();
                let mut end = |end: &'a Option<Box<Guard>>| {
                    end.as_ref().map(|end| Box::new(self.guard(frame, end)))
                };
                GExprKind::Slice(base, end(from), end(to))
            }
            GuardKind::Call(name, args) => self.guard_call(frame, name, args, span),
            GuardKind::Is(value, negated, branch) => {
                let GuardKind::Name(name) = &value.kind else {
                    self.unsupported(value.span, "`is` needs a variable on its left", None);
                    return GExpr { kind: GExprKind::Bool(false), span };
                };
                let known = frame.names.knows(name);
                let GExprKind::Var(var) = self.guard_name(frame, name, value.span) else {
                    if known {
                        self.unsupported(value.span, "`is` needs a value on its left", None);
                    }
                    return GExpr { kind: GExprKind::Bool(false), span };
                };
                let pattern = self.branch_expr(frame, branch, span);
                GExprKind::Is { var, negated: *negated, pattern }
            }
        };
        fold(GExpr { kind, span })
    }

    pub(super) fn guards(&mut self, frame: &mut Frame<'a>, guards: &'a [Guard]) -> Vec<GExpr> {
        guards.iter().map(|guard| self.guard(frame, guard)).collect()
    }

    pub(super) fn guard_name(
        &mut self,
        frame: &mut Frame<'a>,
        name: &str,
        span: crate::Span,
    ) -> GExprKind {
        if frame.vars.contains_key(name) || frame.names.knows(name) && !is_dtype(name) {
            return GExprKind::Var(self.lookup(frame, name, span));
        }
        if is_dtype(name) {
            return GExprKind::Dtype(name.to_owned());
        }
        if name == "pi" {
            return GExprKind::Float(std::f64::consts::PI);
        }
        let known = frame.vars.keys().map(String::as_str).chain(frame.names.all());
        let help = closest(name, known).map(|name| format!("did you mean `{name}`?"));
        let fact = format!("nothing binds `{name}`");
        self.error(Diagnostic::new(Code::UnknownName, span, fact).help_maybe(help));
        GExprKind::None
    }

    fn guard_call(
        &mut self,
        frame: &mut Frame<'a>,
        name: &ast::Name,
        args: &'a [Guard],
        span: crate::Span,
    ) -> GExprKind {
        let Some(function) = builtin(&name.text) else {
            let help = closest(&name.text, names()).map(|name| format!("did you mean `{name}`?"));
            let fact = format!("there is no function `{}`", name.text);
            self.error(Diagnostic::new(Code::UnknownName, name.span, fact).help_maybe(help));
            return GExprKind::None;
        };
        if !function.arity.contains(&args.len()) {
            let (low, high) = (*function.arity.start(), *function.arity.end());
            let takes = match high {
                usize::MAX => format!("{low} or more arguments"),
                _ if low == high && low == 1 => "1 argument".to_owned(),
                _ if low == high => format!("{low} arguments"),
                _ => format!("{low} to {high} arguments"),
            };
            let fact = format!("`{}` takes {takes}, not {}", name.text, args.len());
            self.error(Diagnostic::new(Code::InputCount, span, fact));
        }
        for (at, arg) in args.iter().enumerate() {
            let GuardKind::Name(text) = &arg.kind else {
                let value = function.parameter(at) == Parameter::Value;
                let computed = !matches!(arg.kind, GuardKind::Index(..) | GuardKind::Call(..));
                if value && computed {
                    let fact = format!("`{}` needs a value of the graph here", name.text);
                    self.error(Diagnostic::new(Code::AmbiguousKind, arg.span, fact));
                }
                continue;
            };
            if function.parameter(at) == Parameter::Value && frame.names.knows(text) {
                let var = self.lookup(frame, text, arg.span);
                if self.pattern.var(var).kind != Kind::Value {
                    let fact =
                        format!("`{text}` is no value of the graph, which `{}` needs", name.text);
                    self.error(Diagnostic::new(Code::AmbiguousKind, arg.span, fact));
                }
            }
        }
        GExprKind::Call(function.function, self.guards(frame, args))
    }

    /// The expression of a branch with its `with` and `if`.
    pub(super) fn branch_expr(
        &mut self,
        frame: &mut Frame<'a>,
        branch: &'a ast::Branch,
        span: crate::Span,
    ) -> crate::core::ExprId {
        if branch.with.is_empty() && branch.guard.is_none() {
            return self.expr(frame, &branch.expr);
        }
        let branch = self.branch(frame, branch, &[]);
        self.new_expr(ExprKind::Alt(crate::core::Alt { branches: vec![branch] }), span)
    }
}

/// Folds an expression whose operands are literal numbers; everything else is left as it is.
pub(super) fn fold(expr: GExpr) -> GExpr {
    let number = |expr: &GExpr| match expr.kind {
        GExprKind::Int(value) => Some(value as f64),
        GExprKind::Float(value) => Some(value),
        _ => None,
    };
    let folded = match &expr.kind {
        GExprKind::Negate(inner) => match inner.kind {
            GExprKind::Int(value) => value.checked_neg().map(GExprKind::Int),
            GExprKind::Float(value) => Some(GExprKind::Float(-value)),
            _ => None,
        },
        GExprKind::Binary(operator, left, right) => match (&left.kind, &right.kind) {
            (GExprKind::Int(a), GExprKind::Int(b)) => integers(*operator, *a, *b),
            _ => match (number(left), number(right)) {
                (Some(a), Some(b)) => floats(*operator, a, b),
                _ => None,
            },
        },
        GExprKind::Call(function, args) => match (function, args.first().and_then(number)) {
            (Function::Sqrt, Some(value)) if value >= 0.0 => Some(GExprKind::Float(value.sqrt())),
            (Function::Exp, Some(value)) => Some(GExprKind::Float(value.exp())),
            (Function::Log, Some(value)) if value > 0.0 => Some(GExprKind::Float(value.ln())),
            _ => None,
        },
        _ => None,
    };
    match folded {
        Some(kind) => GExpr { kind, span: expr.span },
        None => expr,
    }
}

fn integers(operator: BinaryOp, a: i64, b: i64) -> Option<GExprKind> {
    let value = match operator {
        BinaryOp::Add => a.checked_add(b)?,
        BinaryOp::Sub => a.checked_sub(b)?,
        BinaryOp::Mul => a.checked_mul(b)?,
        BinaryOp::Div if b != 0 && a.checked_rem(b)? == 0 => a / b,
        BinaryOp::Div if b != 0 => return Some(GExprKind::Float(a as f64 / b as f64)),
        BinaryOp::Pow if b >= 0 => a.checked_pow(u32::try_from(b).ok()?)?,
        BinaryOp::Pow => return floats(operator, a as f64, b as f64),
        _ => return None,
    };
    Some(GExprKind::Int(value))
}

fn floats(operator: BinaryOp, a: f64, b: f64) -> Option<GExprKind> {
    let value = match operator {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div if b != 0.0 => a / b,
        BinaryOp::Pow => a.powf(b),
        _ => return None,
    };
    value.is_finite().then_some(GExprKind::Float(value))
}

/// Is the condition a comparison for equality of a variable with something?
pub(super) fn equates(condition: &GExpr) -> Option<(crate::core::VarId, &GExpr)> {
    let GExprKind::Compare { first, rest } = &condition.kind else { return None };
    match (&first.kind, &rest[..]) {
        (GExprKind::Var(var), [(CompareOp::Eq, right)]) => Some((*var, right)),
        _ => None,
    }
}
