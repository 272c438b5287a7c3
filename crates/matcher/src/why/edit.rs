//! Small changes of a pattern that make it match, each of them tried.

mod build;

use marquetry_pattern::Span;
use marquetry_pattern::core::{
    Arg, AttributePattern, Expr, ExprId, ExprKind, Optional, Others, Pattern, Tolerance, VarId,
};
use marquetry_pattern::gexpr::GExpr;

use self::build::{copy, either, literal, open, vars_below};
use super::describe::{Describe, relative};
use super::lines::one_line;
use super::near::matched_sites;
use super::{Answer, Asked, At, Explanation, Near, Why};
use crate::datum::Datum;
use crate::find;
use crate::found::{Match, Matches};
use crate::index::{Index, NodeRow, ValueRow};
use crate::plan::{Constraint, Plan};
use crate::search::{Attempt, Reason, Stop, Trace, datum, uniform};

/// Widths of a tolerance that are offered, as fractions.
const WIDTHS: [f64; 4] = [1e-4, 1e-3, 1e-2, 5e-2];

/// Changes that are tried for one miss.
const TRIED: usize = 16;

/// A change of a pattern that was tried: with it, the pattern matches at the place asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// What is changed, in words.
    pub change: String,
    /// The part of the text that is replaced.
    pub span: Span,
    /// What takes its place.
    pub with: String,
    /// The line of the text after the change.
    pub line: String,
    /// How many places match besides this one that did not before.
    pub further: usize,
}

/// A changed pattern.
struct Candidate {
    pattern: Pattern,
    change: String,
    span: Span,
    with: String,
}

impl Why<'_> {
    /// Explains a place, and changes of the pattern that make it match there: those that were tried and
    /// do, the one that matches at the fewest further places first.
    pub fn suggest(&self, pattern: &Pattern, at: At) -> (Explanation, Vec<Suggestion>) {
        let index = self.index();
        let plan = Plan::new(pattern, &index);
        let asked = Asked::new(&index, &plan, at, self.steps);
        let suggestions = match &asked.answer {
            Answer::Miss(near) => {
                let (_, focus, value) = at.rows(&index);
                let sites = self.sites(&index, &plan);
                self.changes(&index, &plan, near, focus, value, sites)
            }
            _ => Vec::new(),
        };
        (self.told(&index, &plan, asked), suggestions)
    }

    /// The changes of a pattern that match at a place, tried one by one.
    pub(super) fn changes(
        &self,
        index: &Index<'_>,
        plan: &Plan<'_>,
        near: &Near,
        focus: Option<NodeRow>,
        value: Option<ValueRow>,
        sites: usize,
    ) -> Vec<Suggestion> {
        let mut found: Vec<Suggestion> = Vec::new();
        for candidate in self.candidates(index, plan, near).into_iter().take(TRIED) {
            let changed = Plan::new(&candidate.pattern, index);
            let asked = Asked::at(index, &changed, focus, value, self.steps);
            if !matches!(asked.answer, Answer::Match(_)) {
                continue;
            }
            let after = self.sites(index, &changed);
            let suggestion = Suggestion {
                line: self.line(candidate.span, &candidate.with),
                change: candidate.change,
                span: candidate.span,
                with: candidate.with,
                further: after.saturating_sub(sites + 1),
            };
            if found.iter().all(|known| known.change != suggestion.change) {
                found.push(suggestion);
            }
        }
        found.sort_by_key(|suggestion| suggestion.further);
        found
    }

    /// At how many places a pattern matches.
    fn sites(&self, index: &Index<'_>, plan: &Plan<'_>) -> usize {
        let mut matches = Matches::default();
        find::search(index, 0, plan, &crate::Options::default(), &mut matches);
        let all: Vec<Match> = matches.matches;
        matched_sites(&all)
    }

    /// The line of a text with a part of it replaced.
    fn line(&self, span: Span, with: &str) -> String {
        let text = &self.sources.get(span.source).text;
        let (start, end) = (span.start as usize, span.end as usize);
        let first = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let last = text[end..].find('\n').map_or(text.len(), |at| end + at);
        one_line(&format!("{}{with}{}", &text[first..start], &text[end..last]))
    }

    fn candidates(&self, index: &Index<'_>, plan: &Plan<'_>, near: &Near) -> Vec<Candidate> {
        let Near { attempt, trace } = near;
        let mut stops: Vec<(Stop, &Attempt)> = vec![(attempt.stop, attempt)];
        stops.extend(attempt.others.iter().map(|stop| (*stop, attempt)));
        // Alternatives that stopped elsewhere, the nearest first.
        let mut others: Vec<&Attempt> = nearest(trace);
        others.sort_by_key(|other| std::cmp::Reverse(other.rank));
        stops.extend(others.into_iter().map(|other| (other.stop, other)));
        let mut found: Vec<Candidate> = Vec::new();
        let mut seen: Vec<Stop> = Vec::new();
        for (stop, attempt) in stops {
            if seen.contains(&stop) {
                continue;
            }
            seen.push(stop);
            let describe = Describe { index, plan, sources: self.sources, attempt: Some(attempt) };
            let mut editor = Editor { why: self, describe, stop, found: Vec::new() };
            editor.changes();
            for candidate in editor.found {
                let known = |other: &Candidate| {
                    other.span == candidate.span && other.with == candidate.with
                };
                if !found.iter().any(known) {
                    found.push(candidate);
                }
            }
        }
        found
    }
}

fn nearest(trace: &Trace) -> Vec<&Attempt> {
    trace.tried.values().map(|attempt| &**attempt).collect()
}

impl Asked {
    fn at(
        index: &Index<'_>,
        plan: &Plan<'_>,
        focus: Option<NodeRow>,
        value: Option<ValueRow>,
        steps: u32,
    ) -> Self {
        let at = match (focus, value) {
            (Some(node), _) => At::Node(index.place(node), index.id(node)),
            (None, Some(value)) => At::Value(index.value_place(value), index.value_id(value)),
            (None, None) => unreachable!("one of them was asked about"),
        };
        Self::new(index, plan, at, steps)
    }
}

/// Thinks of changes that undo one stop.
struct Editor<'a, 'm, 'p> {
    why: &'a Why<'a>,
    describe: Describe<'a, 'm, 'p>,
    stop: Stop,
    found: Vec<Candidate>,
}

impl Editor<'_, '_, '_> {
    fn changes(&mut self) {
        match self.stop.reason {
            Reason::Guard => self.condition(),
            Reason::OtherConstant => self.constant(),
            Reason::NotScalar => self.full(),
            Reason::Number(var) => self.given(var),
            Reason::Operator(expr) => self.operator(expr),
            Reason::Missing(expr) => self.missing(expr),
            Reason::Inputs => self.further_inputs(),
            Reason::Attribute(at) => self.attribute(at),
            Reason::OtherAttribute => self.other_attributes(),
            Reason::Type(var) => self.type_of(var),
            Reason::Escapes => self.share(),
            _ => {}
        }
    }

    fn pattern(&self) -> &Pattern {
        self.describe.plan.pattern
    }

    fn text(&self, span: Span) -> &str {
        self.why.sources.text(span)
    }

    fn offer(&mut self, pattern: Pattern, change: String, span: Span, with: String) {
        self.found.push(Candidate { pattern, change, span, with });
    }

    fn condition(&mut self) {
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
    fn with_comma(&self, span: Span) -> Span {
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

    fn constant(&mut self) {
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

    fn full(&mut self) {
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
    fn given(&mut self, var: VarId) {
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

    fn operator(&mut self, expr: ExprId) {
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
    fn infix(&self, span: Span, left: Option<&ExprId>, right: Option<&ExprId>) -> Option<String> {
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

    fn missing(&mut self, expr: ExprId) {
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
    fn last_op(&self) -> Option<(NodeRow, ExprId)> {
        let (node, expr) = self.stop.last?;
        matches!(self.pattern().expr(expr).kind, ExprKind::Op(_)).then_some((node, expr))
    }

    fn further_inputs(&mut self) {
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

    fn attribute(&mut self, at: usize) {
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
    fn whole_attribute(&self, span: Span) -> Span {
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

    fn other_attributes(&mut self) {
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

    fn type_of(&mut self, var: VarId) {
        let declared = self.pattern().var(var).clone();
        let constant = self.stop.value.is_some_and(|at| self.describe.index.is_constant(at));
        let name = declared.name.rsplit('.').next().unwrap_or_default().to_owned();
        if declared.constant && !constant {
            let mut pattern = self.pattern().clone();
            pattern.vars[var.index()].constant = false;
            let text = &self.why.sources.get(declared.span.source).text;
            let before = text[..declared.span.start as usize].trim_end();
            let span = match before.strip_suffix("const") {
                Some(rest) => {
                    Span { start: u32::try_from(rest.len()).unwrap_or(0), ..declared.span }
                }
                None => declared.span,
            };
            self.offer(pattern, format!("drop `const` before `{name}`"), span, name);
            return;
        }
        let Some(ty) = declared.types.first() else { return };
        let mut pattern = self.pattern().clone();
        pattern.vars[var.index()].types.clear();
        let written = one_line(self.text(ty.span));
        let blanks = self.why.sources.get(ty.span.source).text[ty.span.end as usize..].bytes();
        let blanks = blanks.take_while(u8::is_ascii_whitespace).count();
        let span = Span { end: ty.span.end + u32::try_from(blanks).unwrap_or(0), ..ty.span };
        self.offer(pattern, format!("drop the type `{written}` of `{name}`"), span, String::new());
    }

    fn share(&mut self) {
        let Some(value) = self.stop.value else { return };
        let bound = |var: VarId| {
            let attempt = self.describe.attempt?;
            matches!(attempt.binding(var), Some(Datum::Value(at)) if *at == value).then_some(())
        };
        let pattern = self.describe.plan.pattern;
        let own = |var: VarId| {
            let declared = pattern.var(var);
            !declared.name.contains('.') && declared.copy_of.is_none() && bound(var).is_some()
        };
        let Some((var, declared)) = pattern.vars().find(|(var, _)| own(*var)) else { return };
        let name = declared.name.clone();
        let mut equations = pattern.scopes.iter().flat_map(|scope| &scope.equations);
        let Some(equation) = equations.find(|equation| equation.results.contains(&var)) else {
            return;
        };
        let span = equation.span;
        let mut pattern = pattern.clone();
        pattern.vars[var.index()].shared = true;
        let text = self.text(span).to_owned();
        let with = format!("shared {text}");
        let change = format!("let `{name}` be used elsewhere: `shared {name} = …`");
        self.offer(pattern, change, span, with);
    }
}
