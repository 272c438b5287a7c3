//! The patterns and rules that tests name.

use std::collections::BTreeMap;

use crate::ast::{ExpectKind, Item, Name, Test, TestKind, Way};
use crate::core::Pattern;
use crate::diagnostic::{Code, Diagnostic};
use crate::lower::{Context, items};
use crate::resolve::{Decl, Unit};
use crate::similar::closest;
use crate::span::Span;

/// What the tests of some files name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tested {
    /// By where a test names it: where it is declared.
    pub(crate) declared: BTreeMap<Span, Span>,
    /// Patterns and rules that are declared in files that the roots use.
    pub(crate) imported: Vec<Pattern>,
}

impl Tested {
    /// Resolves the names of a test.
    pub(crate) fn add(
        &mut self,
        context: Context<'_>,
        at: usize,
        test: &Test,
        errors: &mut Vec<Diagnostic>,
    ) {
        for (name, rule) in named(test) {
            let kind = if rule { "rule" } else { "pattern" };
            let known = if rule { rules(context.units, at) } else { patterns(context.units, at) };
            let Some(&decl) = known.get(name.text.as_str()) else {
                let near = closest(&name.text, known.keys().copied());
                let near = near.map(|near| format!("did you mean `{near}`?"));
                let fact = format!("no {kind} `{}` in this file or in what it uses", name.text);
                errors.push(Diagnostic::new(Code::UnknownName, name.span, fact).help_maybe(near));
                continue;
            };
            self.declared.insert(name.span, decl.span);
            let known = self.imported.iter().any(|pattern| pattern.span == decl.span);
            if !known && !context.units[decl.unit].root {
                // Its errors are reported where it is declared.
                let (pattern, _) = match &context.units[decl.unit].file.items[decl.item] {
                    Item::Pattern(pattern) => items::pattern(context, decl.unit, pattern),
                    Item::Rule(rule) => items::rule(context, decl.unit, rule),
                    _ => continue,
                };
                self.imported.push(pattern);
            }
        }
    }
}

/// The patterns that a file may name.
fn patterns(units: &[Unit], at: usize) -> BTreeMap<&str, Decl> {
    let is_pattern =
        |decl: &Decl| matches!(units[decl.unit].file.items[decl.item], Item::Pattern(_));
    let names = units[at].names.iter().filter(|(_, decl)| is_pattern(decl));
    names.map(|(name, decl)| (name.as_str(), *decl)).collect()
}

/// The rules of a file, and of the files that it uses. Nothing else can name a rule, so rules are
/// not among the names of a file.
fn rules(units: &[Unit], at: usize) -> BTreeMap<&str, Decl> {
    let mut rules = BTreeMap::new();
    for unit in std::iter::once(at).chain(units[at].imported()) {
        for (item, content) in units[unit].file.items.iter().enumerate() {
            if let Item::Rule(rule) = content {
                let decl = Decl { unit, item, span: rule.name.span };
                rules.entry(rule.name.text.as_str()).or_insert(decl);
            }
        }
    }
    rules
}

/// The names in a test, and whether each is one of a rule.
fn named(test: &Test) -> Vec<(&Name, bool)> {
    match &test.kind {
        TestKind::Counts { counts, .. } => {
            counts.iter().map(|count| (&count.pattern, false)).collect()
        }
        TestKind::Graph { expects, .. } => {
            let mut names = Vec::new();
            for expect in expects {
                match &expect.kind {
                    ExpectKind::Matches { pattern, .. } | ExpectKind::Rejects { pattern, .. } => {
                        names.push((pattern, false));
                    }
                    ExpectKind::Becomes { by, .. } => {
                        names.extend(by.iter().map(|step| (&step.name, step.way == Way::Rule)));
                    }
                }
            }
            names
        }
    }
}
