//! Changes of operators and their inputs.

use marquetry_pattern::Span;
use marquetry_pattern::core::{Arg, Expr, ExprId, ExprKind, Optional};

use super::Editor;
use super::build::{copy, either, open, vars_below};
use crate::index::NodeRow;
use crate::why::lines::one_line;

impl Editor<'_, '_, '_> {
    pub(super) fn operator(&mut self, expr: ExprId) {
        let span = self.pattern().expr(expr).span;
        let text = one_line(self.text(span));
        let producer = self.stop.value.and_then(|at| self.describe.index.producer(at));
        let found = producer
            .map(|(node, _)| self.describe.index.operator_name(self.describe.index.operator(node)));
        if let Some(("", name @ ("Cast" | "CastLike"))) = found {
            let mut pattern = self.pattern().clone();
            let inner = copy(&mut pattern, expr);
            let mut args = vec![Arg::One(inner)];
            if name == "CastLike" {
                let any = pattern.add_expr(Expr { kind: ExprKind::Any, span });
                args.push(Arg::One(any));
            }
            let cast = pattern.add_expr(Expr { kind: ExprKind::Op(open(name, args)), span });
            pattern.exprs[expr.index()].kind = either(&[cast, inner], &[]);
            let with = match name {
                "Cast" => format!("Cast?<...>({text})"),
                _ => format!("CastLike?<...>({text}, _)"),
            };
            self.offer(pattern, format!("allow a cast: `{with}`"), span, with);
        }
        let ExprKind::Op(op) = &self.pattern().expr(expr).kind else { return };
        let args: Vec<ExprId> = op
            .args
            .iter()
            .filter_map(|arg| match arg {
                Arg::One(expr) => Some(*expr),
                Arg::Each { .. } => None,
            })
            .collect();
        let called = op.operators.iter().any(|operator| text.starts_with(&operator.name));
        let name = op.operators.first().map_or(String::new(), |operator| operator.name.clone());
        for (at, &kept) in args.iter().enumerate().take(2) {
            let with = match at {
                0 if called => Some(text.replacen(&name, &format!("{name}?"), 1)),
                0 => self.infix(span, args.first(), args.get(1)),
                // What is left out is the first operand, which has no short form.
                _ => None,
            };
            let Some(with) = with else { continue };
            let mut pattern = self.pattern().clone();
            let dropped: Vec<ExprId> = args.iter().copied().filter(|arg| *arg != kept).collect();
            let absent = vars_below(&pattern, &dropped, kept);
            for var in &absent {
                pattern.vars[var.index()].optional = true;
            }
            let present = copy(&mut pattern, expr);
            pattern.exprs[expr.index()].kind = either(&[present, kept], &absent);
            self.offer(pattern, format!("make it optional: `{with}`"), span, with);
        }
    }

    /// `a + b` as `a +? b`.
    pub(super) fn infix(
        &self,
        span: Span,
        left: Option<&ExprId>,
        right: Option<&ExprId>,
    ) -> Option<String> {
        let (left, right) = (self.pattern().expr(*left?).span, self.pattern().expr(*right?).span);
        let inside = |other: Span| {
            other.source == span.source && other.start >= span.start && other.end <= span.end
        };
        if !inside(left) || !inside(right) || left.end >= right.start {
            return None;
        }
        let between = self.text(Span { start: left.end, end: right.start, ..span });
        let symbol = between.trim().trim_start_matches(')').trim_end_matches('(').trim();
        if !matches!(symbol, "+" | "-" | "*" | "/" | "@") {
            return None;
        }
        let marked = between.replacen(symbol, &format!("{symbol}?"), 1);
        let before = self.text(Span { end: left.end, ..span });
        let after = self.text(Span { start: right.start, ..span });
        Some(one_line(&format!("{before}{marked}{after}")))
    }

    pub(super) fn missing(&mut self, expr: ExprId) {
        let span = self.pattern().expr(expr).span;
        let mut pattern = self.pattern().clone();
        let absent = vars_below(&pattern, &[expr], expr);
        let mut all = absent;
        if let ExprKind::Var(var) = pattern.expr(expr).kind {
            all.push(var);
        }
        for var in &all {
            pattern.vars[var.index()].optional = true;
        }
        let present = copy(&mut pattern, expr);
        pattern.exprs[expr.index()].kind = ExprKind::Optional(Optional { present, absent: all });
        let with = format!("{}?", one_line(self.text(span)));
        self.offer(pattern, format!("make the input optional: `{with}`"), span, with);
    }

    /// The operator that was matched last.
    pub(super) fn last_op(&self) -> Option<(NodeRow, ExprId)> {
        let (node, expr) = self.stop.last?;
        matches!(self.pattern().expr(expr).kind, ExprKind::Op(_)).then_some((node, expr))
    }

    pub(super) fn further_inputs(&mut self) {
        let Some((_, expr)) = self.last_op() else { return };
        let span = self.pattern().expr(expr).span;
        let text = one_line(self.text(span));
        let Some(before) = text.strip_suffix(')') else { return };
        let with = format!("{before}, ...)");
        let mut pattern = self.pattern().clone();
        if let ExprKind::Op(op) = &mut pattern.exprs[expr.index()].kind {
            op.open = true;
        }
        self.offer(pattern, format!("allow further inputs: `{with}`"), span, with);
    }
}
