//! Test blocks.

use pest::iterators::Pair;

use super::{Builder, Rule, parts};
use crate::ast::{
    Binding, Bound, Count, Expect, ExpectKind, Guard, GuardKind, Literal, Step, Test, TestKind, Way,
};
use crate::diagnostic::{Code, Diagnostic};

impl Builder {
    pub(super) fn test(&mut self, pair: Pair<'_, Rule>) -> Test {
        let span = self.tight(&pair);
        let mut quoted = Vec::new();
        let (mut graph, mut expects, mut counts) = (None, Vec::new(), Vec::new());
        for part in parts(pair) {
            match part.as_rule() {
                Rule::quoted => quoted.push(self.name(&part)),
                Rule::graph_text => graph = Some(self.name(&part)),
                Rule::expect => expects.push(self.expect(part)),
                Rule::counts => counts = self.counts(part),
                _ => {}
            }
        }
        let mut quoted = quoted.into_iter();
        let title = quoted.next().expect("a test has a title");
        let kind = match (graph, quoted.next()) {
            (Some(graph), _) => TestKind::Graph { graph, expects },
            (None, Some(model)) => TestKind::Counts { model, counts },
            (None, None) => unreachable!("a test has a graph or a model"),
        };
        Test { title, kind, span }
    }

    fn counts(&mut self, pair: Pair<'_, Rule>) -> Vec<Count> {
        let mut counts = Vec::new();
        let mut name = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::upper => name = Some(self.name(&part)),
                Rule::int => {
                    let (count, span) = (self.integer(&part), self.tight(&part));
                    counts.extend(name.take().map(|pattern| Count { pattern, count, span }));
                }
                _ => {}
            }
        }
        counts
    }

    fn expect(&mut self, pair: Pair<'_, Rule>) -> Expect {
        let span = self.tight(&pair);
        let mut word = Rule::k_matches;
        let (mut name, mut because, mut graph) = (None, None, None);
        let (mut bindings, mut by) = (Vec::new(), Vec::new());
        for part in parts(pair) {
            match part.as_rule() {
                Rule::upper => name = Some(self.name(&part)),
                Rule::quoted => because = Some(self.name(&part)),
                Rule::graph_text => graph = Some(self.name(&part)),
                Rule::bindings => bindings = parts(part).map(|part| self.binding(part)).collect(),
                Rule::step => by.push(self.step(part)),
                other @ (Rule::k_matches | Rule::k_rejects | Rule::k_becomes) => word = other,
                _ => {}
            }
        }
        let pattern = || name.expect("a pattern is named");
        let kind = match word {
            Rule::k_becomes => {
                ExpectKind::Becomes { by, graph: graph.expect("`becomes` has a graph") }
            }
            Rule::k_rejects => ExpectKind::Rejects { pattern: pattern(), because },
            _ => ExpectKind::Matches { pattern: pattern(), bindings },
        };
        Expect { kind, span }
    }

    fn step(&mut self, pair: Pair<'_, Rule>) -> Step {
        let (mut way, mut name) = (Way::Rule, None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::k_fuse => way = Way::Fuse,
                Rule::k_outline => way = Way::Outline,
                Rule::k_expand => way = Way::Expand,
                _ => name = Some(self.name(&part)),
            }
        }
        Step { way, name: name.expect("a step names a rule or pattern") }
    }

    fn binding(&mut self, pair: Pair<'_, Rule>) -> Binding {
        let mut inner = parts(pair);
        let name = self.name(&inner.next().expect("a binding has a name"));
        let value = inner.next().expect("a binding has a value");
        let span = self.tight(&value);
        let bound = match value.as_rule() {
            Rule::k_none => Bound::Absent,
            Rule::number => Bound::Number(self.number(value).value),
            Rule::list => {
                let guard = self.guard(value);
                bound(guard).unwrap_or_else(|| {
                    let fact = "expected a list of numbers or names";
                    self.errors.push(Diagnostic::new(Code::Syntax, span, fact));
                    Bound::Absent
                })
            }
            _ => Bound::Value(self.name(&value).text),
        };
        Binding { name, bound, span }
    }
}

/// A list and what it holds; nothing that would have to be computed.
fn bound(guard: Guard) -> Option<Bound> {
    Some(match guard.kind {
        GuardKind::Number(number) => Bound::Number(number),
        GuardKind::Negate(inner) => match bound(*inner)? {
            Bound::Number(Literal::Int(value)) => Bound::Number(Literal::Int(value.checked_neg()?)),
            Bound::Number(Literal::Float(value)) => Bound::Number(Literal::Float(-value)),
            _ => return None,
        },
        GuardKind::Name(name) | GuardKind::String(name) => Bound::Value(name),
        GuardKind::None => Bound::Absent,
        GuardKind::List(items) => Bound::List(items.into_iter().map(bound).collect::<Option<_>>()?),
        _ => return None,
    })
}
