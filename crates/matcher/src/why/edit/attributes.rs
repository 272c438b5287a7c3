//! Changes of attributes.

use marquetry_pattern::Span;
use marquetry_pattern::core::{AttributePattern, ExprKind, Others};
use marquetry_pattern::gexpr::GExpr;

use super::Editor;
use super::build::literal;
use crate::search::datum;
use crate::why::lines::one_line;

impl Editor<'_, '_, '_> {
    pub(super) fn attribute(&mut self, at: usize) {
        let Some((node, expr)) = self.last_op() else { return };
        let ExprKind::Op(op) = &self.pattern().expr(expr).kind else { return };
        let attribute = op.attributes[at].clone();
        let view = self.describe.index.view(node);
        let found = view.attribute(&attribute.name).map(|found| datum(&attribute.name, &found));
        let mut offers = Vec::new();
        if let Some(found) = &found
            && let Some(kind) = literal(found)
        {
            let value = GExpr { kind, span: attribute.span };
            offers.push((AttributePattern::Value(value), self.describe.datum(found)));
        }
        offers.push((AttributePattern::Any, "_".to_owned()));
        for (changed, shown) in offers {
            let mut pattern = self.pattern().clone();
            if let ExprKind::Op(op) = &mut pattern.exprs[expr.index()].kind {
                op.attributes[at].pattern = changed;
            }
            let with = format!("{} = {shown}", attribute.name);
            let span = self.whole_attribute(attribute.span);
            let written = one_line(self.text(span));
            let change = format!("write `{with}` instead of `{written}`");
            self.offer(pattern, change, span, with);
        }
    }

    /// `axis = -1` from the place of its name.
    pub(super) fn whole_attribute(&self, span: Span) -> Span {
        let text = &self.why.sources.get(span.source).text[span.start as usize..];
        let mut depth = 0_usize;
        let end = text.find(|c: char| {
            match c {
                '[' | '(' | '{' => depth += 1,
                ']' | ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, ',' | '>')
        });
        let length = text[..end.unwrap_or(0)].trim_end().len();
        let end = span.start + u32::try_from(length).unwrap_or(0);
        Span { end: end.max(span.end), ..span }
    }

    pub(super) fn other_attributes(&mut self) {
        let Some((_, expr)) = self.last_op() else { return };
        let span = self.pattern().expr(expr).span;
        let mut pattern = self.pattern().clone();
        let ExprKind::Op(op) = &mut pattern.exprs[expr.index()].kind else { return };
        op.others = Others::Any;
        let bare = op.attributes.is_empty();
        let text = one_line(self.text(span));
        let with = match (bare, text.find('<'), text.find('('), text.find('>')) {
            (false, Some(_), _, Some(end)) => format!("{}, ...{}", &text[..end], &text[end..]),
            (true, _, Some(open), _) => format!("{}<...>{}", &text[..open], &text[open..]),
            _ => return,
        };
        self.offer(pattern, format!("allow other attributes: `{with}`"), span, with);
    }
}
