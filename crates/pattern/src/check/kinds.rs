//! P026: conditions and computed numbers are about what they can be about. A comparison of things
//! that are never equal would only ever say that nothing matches.

use crate::core::{ExprKind, Pattern};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::parameter;
use crate::gexpr::{BinaryOp, CompareOp, GExpr, GExprKind};
use crate::operators::Operators;
use crate::quant::HintKind;
use crate::replacement::{BuildExpr, BuildKind, BuildStatement};
use crate::sort::{Sort, Sorts, refused};

struct Kinds<'c> {
    sorts: Sorts,
    errors: &'c mut Vec<Diagnostic>,
}

/// Adds what does not fit to `errors`.
pub(super) fn check(pattern: &Pattern, operators: &dyn Operators, errors: &mut Vec<Diagnostic>) {
    let mut kinds = Kinds { sorts: Sorts::new(pattern, operators), errors };
    for scope in &pattern.scopes {
        scope.guards.iter().for_each(|guard| kinds.condition(&guard.condition));
        scope.lets.iter().for_each(|item| kinds.expr(&item.value));
    }
    for expr in &pattern.exprs {
        match &expr.kind {
            ExprKind::Alt(alt) => {
                for branch in &alt.branches {
                    branch.with.iter().for_each(|item| kinds.expr(&item.value));
                    branch.guard.iter().for_each(|guard| kinds.condition(guard));
                }
            }
            ExprKind::Constant { value, .. } => kinds.expr(value),
            _ => {}
        }
    }
    for side in pattern.replacement.iter().chain(&pattern.equals) {
        for statement in &side.statements {
            match statement {
                BuildStatement::Let(_, value) => kinds.expr(value),
                BuildStatement::Equation { expr, .. } => kinds.build(expr),
            }
        }
    }
    for hint in &pattern.hints {
        hint.when.iter().for_each(|condition| kinds.condition(condition));
        match &hint.kind {
            HintKind::PerChannel(_, axis) => kinds.number(axis),
            HintKind::Range(_, low, high) => {
                kinds.number(low);
                kinds.number(high);
            }
            _ => {}
        }
    }
}

impl Kinds<'_> {
    fn error(&mut self, at: &GExpr, fact: String, help: Option<&str>) {
        let error = Diagnostic::new(Code::KindMismatch, at.span, fact);
        self.errors.push(error.help_maybe(help.map(str::to_owned)));
    }

    fn condition(&mut self, expr: &GExpr) {
        self.expr(expr);
        let sort = self.sorts.of(expr);
        if !sort.is_truth() {
            let help = match sort {
                Sort::Number => "compare it: `… == 1`",
                Sort::Value => "`x is P` asks whether a value matches",
                _ => "compare it with something",
            };
            self.error(expr, format!("this is {sort}; a condition is needed here"), Some(help));
        }
    }

    fn number(&mut self, expr: &GExpr) {
        self.expr(expr);
        let sort = self.sorts.of(expr);
        if !sort.is_number() {
            self.error(expr, format!("this is {sort}; a number is needed here"), None);
        }
    }

    fn list(&mut self, expr: &GExpr) {
        self.expr(expr);
        let sort = self.sorts.of(expr);
        if !sort.is_list() {
            let help = (sort == Sort::Value).then_some("`shape(x)` is the list of its dimensions");
            self.error(expr, format!("this is {sort}; a list is needed here"), help);
        }
    }

    fn expr(&mut self, expr: &GExpr) {
        match &expr.kind {
            GExprKind::List(items) => items.iter().for_each(|item| self.expr(item)),
            GExprKind::And(items) | GExprKind::Or(items) => {
                items.iter().for_each(|item| self.condition(item));
            }
            GExprKind::Not(inner) => self.condition(inner),
            GExprKind::Negate(inner) => self.number(inner),
            GExprKind::Binary(BinaryOp::Concat, left, right) => {
                self.list(left);
                self.list(right);
            }
            GExprKind::Binary(_, left, right) => {
                self.number(left);
                self.number(right);
            }
            GExprKind::Compare { first, rest } => {
                self.expr(first);
                let mut left = &**first;
                for (sign, right) in rest {
                    self.expr(right);
                    self.comparison(*sign, left, right);
                    left = right;
                }
            }
            GExprKind::Index(base, at) => {
                self.list(base);
                self.number(at);
            }
            GExprKind::Slice(base, from, to) => {
                self.list(base);
                from.iter().chain(to).for_each(|bound| self.number(bound));
            }
            GExprKind::Call(function, args) => {
                for (at, arg) in args.iter().enumerate() {
                    self.expr(arg);
                    let sort = self.sorts.of(arg);
                    if let Some(wanted) = refused(parameter(*function, at), &sort) {
                        let fact =
                            format!("this is {sort}; `{}` needs {wanted} here", function.name());
                        self.error(arg, fact, None);
                    }
                }
            }
            _ => {}
        }
    }

    fn comparison(&mut self, sign: CompareOp, left: &GExpr, right: &GExpr) {
        let (a, b) = (self.sorts.of(left), self.sorts.of(right));
        let fits = match sign {
            CompareOp::Eq | CompareOp::Ne | CompareOp::Near => a.meets(&b),
            CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => {
                a.is_number() && b.is_number()
            }
            CompareOp::In | CompareOp::NotIn => match &b {
                Sort::List(item) => a.meets(item),
                // The elements of a constant.
                Sort::Value => a.is_number(),
                other => *other == Sort::Any,
            },
        };
        if fits {
            return;
        }
        let help = match (&a, &b) {
            (Sort::Value, Sort::Number) | (Sort::Number, Sort::Value) => {
                Some("`item(x)` is the number of a constant")
            }
            (Sort::Dtype, _) | (_, Sort::Dtype) => {
                Some("element types are written `float`, `float16`, `int8`, …")
            }
            (Sort::List(_), Sort::Number) => Some("one element of a list is `xs[0]`"),
            _ => None,
        };
        let fact = match sign {
            CompareOp::In | CompareOp::NotIn => format!("{a} is never in {b}"),
            CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => {
                format!("{a} and {b} have no order")
            }
            _ => format!("{a} is never equal to {b}"),
        };
        let span = left.span.join(right.span);
        self.errors.push(
            Diagnostic::new(Code::KindMismatch, span, fact).help_maybe(help.map(str::to_owned)),
        );
    }

    fn build(&mut self, expr: &BuildExpr) {
        match &expr.kind {
            BuildKind::Constant { value, shape, .. } => {
                self.expr(value);
                shape.iter().for_each(|shape| self.list(shape));
            }
            BuildKind::Op(op) => {
                op.attributes.iter().for_each(|attribute| self.expr(&attribute.value));
                op.args.iter().for_each(|arg| self.build(arg));
            }
            BuildKind::Coalesce(items) => items.iter().for_each(|item| self.build(item)),
            BuildKind::If(condition, yes, no) => {
                self.condition(condition);
                self.build(yes);
                self.build(no);
            }
            BuildKind::Var(_) | BuildKind::Values(_) | BuildKind::Absent => {}
        }
    }
}
