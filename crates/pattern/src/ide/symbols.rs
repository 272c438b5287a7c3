//! The outline of a file, and the kinds of its variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Analysis;
use super::hover::{kind_of, names_of};
use super::occurrences::{Access, Target};
use crate::ast::Item;
use crate::names::Names;

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// `def`.
    Definition,
    /// `pattern`.
    Pattern,
    /// `rule`.
    Rule,
    /// `ops`.
    OperatorSet,
    /// `test`.
    Test,
}

/// An item of the outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name; the title of a test.
    pub name: String,
    /// What it is.
    pub kind: SymbolKind,
    /// The first line of its header.
    pub detail: String,
    /// The whole item.
    pub range: Range<usize>,
    /// Its name.
    pub name_range: Range<usize>,
}

impl Analysis<'_> {
    /// Returns the items of a file that have names, in order.
    pub fn symbols(&self, path: &str) -> Vec<Symbol> {
        let Some(unit) = self.unit(path) else { return Vec::new() };
        let text = self.text_of(unit);
        let pieces = crate::parse::pieces(text);
        let mut symbols = Vec::new();
        for item in &self.units[unit].file.items {
            let (name, kind) = match item {
                Item::Def(def) => (&def.name, SymbolKind::Definition),
                Item::Pattern(pattern) => (&pattern.name, SymbolKind::Pattern),
                Item::Rule(rule) => (&rule.name, SymbolKind::Rule),
                Item::Ops(ops) => (&ops.name, SymbolKind::OperatorSet),
                Item::Test(test) => (&test.title, SymbolKind::Test),
                Item::Use(_) | Item::Opset(_) => continue,
            };
            let name_range = name.span.range();
            let at = pieces.partition_point(|piece| piece.end <= name_range.start);
            let Some(range) = pieces.get(at) else { continue };
            let head = text[range.clone()].lines().next().unwrap_or("");
            let detail = head.trim_end().trim_end_matches('{').trim_end().to_owned();
            symbols.push(Symbol {
                name: name.text.clone(),
                kind,
                detail,
                range: range.clone(),
                name_range,
            });
        }
        symbols
    }

    /// Returns the operands in a range of a file that are no values of the graph, each where it stands
    /// first in its item, with what it is: in `v + eps`, `eps` is a `number`, and only other places say so.
    pub fn kinds(&self, path: &str, range: &Range<usize>) -> Vec<(Range<usize>, &'static str)> {
        let Some(unit) = self.unit(path) else { return Vec::new() };
        let mut names: BTreeMap<usize, Names> = BTreeMap::new();
        let mut seen: BTreeSet<(usize, &str)> = BTreeSet::new();
        let mut hints = Vec::new();
        for one in self.occurrences(unit) {
            let Target::Variable(decl, name) = &one.target else { continue };
            if one.access != Access::Operand || !seen.insert((decl.item, name)) {
                continue;
            }
            let place = one.span.range();
            if place.start < range.start || range.end < place.end {
                continue;
            }
            let names = names.entry(decl.item).or_insert_with(|| names_of(self.item(*decl)));
            match kind_of(names, name) {
                "value" => {}
                "attribute" => hints.push((place, "number")),
                kind => hints.push((place, kind)),
            }
        }
        hints
    }
}
