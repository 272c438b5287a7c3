//! Small changes of a pattern that make it match, each of them tried.

mod attributes;
mod build;
mod conditions;
mod nodes;

use marquetry_pattern::Span;
use marquetry_pattern::core::{Pattern, VarId};

use super::describe::Describe;
use super::lines::one_line;
use super::near::matched_sites;
use super::{Answer, Asked, At, Explanation, Near, Why};
use crate::datum::Datum;
use crate::find;
use crate::found::{Match, Matches};
use crate::index::{Index, NodeRow, ValueRow};
use crate::plan::Plan;
use crate::search::{Attempt, Reason, Stop, Trace};

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
                let sites = self.sites(&index, &Plan::ahead(pattern, &index));
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
            let after = self.sites(index, &Plan::ahead(&candidate.pattern, index));
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
