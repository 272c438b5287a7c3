//! Changes of conditions and constants.

use marquetry_pattern::Span;
use marquetry_pattern::core::{ExprKind, Tolerance, VarId};

use super::build::{copy, literal};
use super::{Editor, WIDTHS};
use crate::datum::Datum;
use crate::plan::Constraint;
use crate::search::uniform;
use crate::why::describe::relative;
use crate::why::lines::one_line;

impl Editor<'_, '_, '_> {
    pub(super) fn condition(&mut self) {
        let span = self.stop.span;
        let mut pattern = self.pattern().clone();
        for scope in &mut pattern.scopes {
            scope.guards.retain(|guard| guard.condition.span != span);
        }
        for expr in &mut pattern.exprs {
            if let ExprKind::Alt(alt) = &mut expr.kind {
                let guarded = alt
                    .branches
                    .iter_mut()
                    .filter(|branch| branch.guard.as_ref().is_some_and(|guard| guard.span == span));
                guarded.for_each(|branch| branch.guard = None);
            }
        }
        let text = one_line(self.text(span));
        let with_comma = self.with_comma(span);
        self.offer(pattern, format!("drop the condition `{text}`"), with_comma, String::new());
        let mut pattern = self.pattern().clone();
        let mut hard = false;
        for guard in pattern.scopes.iter_mut().flat_map(|scope| &mut scope.guards) {
            if guard.condition.span == span && !guard.soft {
                guard.soft = true;
                hard = true;
            }
        }
        if hard {
            let change = format!("ask for `{text}` with `where?`: only what is known counts");
            self.offer(pattern, change, span, text);
        }
    }

    /// A condition with the comma that separates it from the next, or with its `where`.
    pub(super) fn with_comma(&self, span: Span) -> Span {
        let text = &self.why.sources.get(span.source).text;
        let before = text[..span.start as usize].trim_end();
        let after = &text[span.end as usize..];
        let from = |rest: &str| u32::try_from(rest.trim_end().len()).unwrap_or(span.start);
        if let Some(rest) = before.strip_suffix(',') {
            return Span { start: from(rest), ..span };
        }
        if after.trim_start().starts_with(',') {
            let comma = after.find(',').map_or(0, |at| at + 1);
            let blanks = after[comma..].len() - after[comma..].trim_start().len();
            let end = span.end as usize + comma + blanks;
            return Span { end: u32::try_from(end).unwrap_or(span.end), ..span };
        }
        let rest = before.strip_suffix('?').unwrap_or(before);
        rest.strip_suffix("where").map_or(span, |rest| Span { start: from(rest), ..span })
    }

    pub(super) fn constant(&mut self) {
        let Some(expr) = self.stop.expr else { return };
        let Some(found) = self.stop.value.and_then(|at| self.describe.index.known(at)) else {
            return;
        };
        let (inner, item) = match &self.pattern().expr(expr).kind {
            ExprKind::Full(inner) => (*inner, uniform(found)),
            _ => (expr, Datum::item(found).or_else(|| Datum::elements(found))),
        };
        let (Some(item), ExprKind::Constant { value, .. }) =
            (item, &self.pattern().expr(inner).kind)
        else {
            return;
        };
        let wanted = crate::compute::World::evaluate(&self.describe, value);
        let span = self.pattern().expr(inner).span;
        let written = self.text(span).split('±').next().unwrap_or_default().trim().to_owned();
        let width = relative(&item, &wanted)
            .and_then(|error| WIDTHS.into_iter().find(|width| error <= *width));
        if let Some(width) = width {
            let with = format!("{written} ± {}%", width * 100.0);
            let mut pattern = self.pattern().clone();
            if let ExprKind::Constant { tolerance, .. } = &mut pattern.exprs[inner.index()].kind {
                *tolerance = Some(Tolerance::Relative(width));
            }
            self.offer(pattern, format!("widen the tolerance: `{with}`"), span, with);
        }
        if let Some(kind) = literal(&item) {
            let with = self.describe.datum(&item);
            let mut pattern = self.pattern().clone();
            if let ExprKind::Constant { value, .. } = &mut pattern.exprs[inner.index()].kind {
                value.kind = kind;
            }
            self.offer(pattern, format!("write `{with}` instead of `{written}`"), span, with);
        }
    }

    pub(super) fn full(&mut self) {
        let Some(expr) = self.stop.expr else { return };
        let known = self.stop.value.and_then(|at| self.describe.index.known(at));
        let simple = matches!(
            self.pattern().expr(expr).kind,
            ExprKind::Scalar(_) | ExprKind::Constant { .. }
        );
        if !simple || known.and_then(uniform).is_none() {
            return;
        }
        let span = self.pattern().expr(expr).span;
        let with = format!("full({})", one_line(self.text(span)));
        let mut pattern = self.pattern().clone();
        let inner = copy(&mut pattern, expr);
        pattern.exprs[expr.index()].kind = ExprKind::Full(inner);
        let change = format!("accept any shape with equal elements: `{with}`");
        self.offer(pattern, change, span, with);
    }

    /// What a caller gave for an attribute of a definition.
    pub(super) fn given(&mut self, var: VarId) {
        let Some(bound) = self.describe.attempt.and_then(|attempt| attempt.binding(var)) else {
            return;
        };
        let bound = bound.clone();
        let span = self.stop.span;
        let given = self.describe.plan.constraints.iter().any(|constraint| {
            matches!(constraint, Constraint::Given(given, value) if *given == var && value.span == span)
        });
        let Some(kind) = literal(&bound).filter(|_| given) else { return };
        let mut pattern = self.pattern().clone();
        if let Some(value) = &mut pattern.vars[var.index()].value {
            value.kind = kind;
        }
        let with = self.describe.datum(&bound);
        let written = one_line(self.text(span));
        self.offer(pattern, format!("write `{with}` instead of `{written}`"), span, with);
    }
}
