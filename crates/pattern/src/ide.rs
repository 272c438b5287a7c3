//! What an editor asks about `.pat` files: what stands at a place, where it is declared and used,
//! what could be written there. Knows no protocol; places are byte offsets.
//!
//! Files need not be right: each item is parsed on its own, so that the items around a broken one
//! still answer, and completion reads tokens, not the tree.
//!
//! ```
//! use marquetry_pattern::ide::Analysis;
//! use marquetry_pattern::{Files, NoOperators};
//!
//! let text = "def square(x) = x ^ 2\npattern P (x) => (y) { y = square(x) }";
//! let files = Files(&[("a.pat", text)]);
//! let analysis = Analysis::new(&files, &["a.pat"], &NoOperators);
//! let place = analysis.definition("a.pat", text.rfind("square").unwrap()).remove(0);
//! assert_eq!(&text[place.range], "square");
//! ```

mod completion;
mod context;
mod hover;
mod occurrences;
mod rename;
mod symbols;
mod tokens;
mod words;

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::ast::Item;
use crate::core::{Operator, OpsetRange};
use crate::operators::{Facts, Operators};
use crate::resolve::{Decl, Unit, normal, resolve};
use crate::source::{Loader, Sources};
use crate::span::{SourceId, Span};

pub use completion::{Completion, CompletionKind};
pub use hover::Hover;
pub use rename::{RenameError, RenameErrorKind};
pub use symbols::{Symbol, SymbolKind};

use occurrences::{Access, Callee, Occurrence, Target};

/// A range of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path of the file, as its importers write it.
    pub path: String,
    /// The bytes.
    pub range: Range<usize>,
}

impl Place {
    fn key(&self) -> (&str, usize, usize) {
        (&self.path, self.range.start, self.range.end)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By file, then by place.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Some files with all that they use, parsed and resolved, but not checked.
pub struct Analysis<'a> {
    units: Vec<Unit>,
    sources: Sources,
    operators: &'a dyn Operators,
    /// The names of each file, collected when somebody asks.
    occurrences: Vec<OnceCell<Vec<Occurrence>>>,
}

impl<'a> Analysis<'a> {
    /// Reads the files of `roots` and all that they use.
    pub fn new(loader: &dyn Loader, roots: &[&str], operators: &'a dyn Operators) -> Self {
        let mut sources = Sources::default();
        // What is wrong is said by the checker; here what is right is enough.
        let units = resolve(loader, roots, &mut sources, &mut Vec::new());
        let occurrences = units.iter().map(|_| OnceCell::new()).collect();
        Self { units, sources, operators, occurrences }
    }

    /// All names of a file, in file order.
    fn occurrences(&self, unit: usize) -> &[Occurrence] {
        self.occurrences[unit].get_or_init(|| occurrences::of_file(self, unit))
    }

    /// Returns the text of a file.
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        let unit = self.unit(path)?;
        Some(Arc::clone(&self.sources.get(self.units[unit].source).text))
    }

    /// Returns where what stands at a place is declared: nothing for operators.
    pub fn definition(&self, path: &str, offset: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for target in self.targets(path, offset) {
            match target {
                Target::File(used) => {
                    if self.unit(&used).is_some() {
                        places.push(Place { path: used, range: 0..0 });
                    }
                }
                Target::Decl(decl) => places.push(self.place(decl.span)),
                Target::Variable(decl, _) => {
                    let all = self.occurrences(decl.unit);
                    let of_it = all.iter().filter(|one| one.target == target);
                    let declared: Vec<&Occurrence> =
                        of_it.clone().filter(|one| one.access == Access::Declare).collect();
                    // A name that only conditions and attributes mention is declared where it is met first.
                    match declared.is_empty() {
                        true => places.extend(of_it.take(1).map(|one| self.place(one.span))),
                        false => places.extend(declared.iter().map(|one| self.place(one.span))),
                    }
                }
                Target::Operator(_)
                | Target::Attribute(..)
                | Target::Function(_)
                | Target::Dtype(_) => {}
            }
        }
        places.sort();
        places.dedup();
        places
    }

    /// Returns all places of what stands at a place, in all files that were read, sorted by file and
    /// place; with the declarations, if these are asked for.
    pub fn references(&self, path: &str, offset: usize, declarations: bool) -> Vec<Place> {
        let targets = self.targets(path, offset);
        let Some(target) = targets.last() else { return Vec::new() };
        let mut places: Vec<Place> = self
            .occurrences_of(target)
            .into_iter()
            .filter(|one| declarations || one.access != Access::Declare)
            .map(|one| self.place(one.span))
            .collect();
        places.sort();
        places.dedup();
        places
    }

    fn unit(&self, path: &str) -> Option<usize> {
        let path = normal(path);
        self.units.iter().position(|unit| normal(&self.sources.get(unit.source).path) == path)
    }

    fn place(&self, span: Span) -> Place {
        Place { path: normal(&self.sources.get(span.source).path), range: span.range() }
    }

    fn source(&self, unit: usize) -> SourceId {
        self.units[unit].source
    }

    fn text_of(&self, unit: usize) -> &str {
        &self.sources.get(self.source(unit)).text
    }

    fn item(&self, decl: Decl) -> &Item {
        &self.units[decl.unit].file.items[decl.item]
    }

    /// The declaration that an item is; for items without a name, their first byte.
    fn decl(&self, unit: usize, item: usize) -> Decl {
        let span = name_span(&self.units[unit].file.items[item]);
        Decl { unit, item, span }
    }

    /// The rule of a file with this name; rules are not among the names that can be called.
    fn rule(&self, unit: usize, name: &str) -> Option<Decl> {
        let items = &self.units[unit].file.items;
        let rule = items
            .iter()
            .position(|item| matches!(item, Item::Rule(rule) if rule.name.text == name));
        rule.map(|item| self.decl(unit, item))
    }

    fn opsets(&self, unit: usize, decl: Option<Decl>) -> Vec<OpsetRange> {
        let mut opsets = self.units[unit].opsets.clone();
        match decl.map(|decl| self.item(decl)) {
            Some(Item::Pattern(pattern)) => opsets.extend(pattern.meta.opsets.iter().cloned()),
            Some(Item::Rule(rule)) => opsets.extend(rule.meta.opsets.iter().cloned()),
            _ => {}
        }
        opsets
    }

    /// What a call in a file is of, as the checker sees it.
    fn callee(&self, unit: usize, name: &str, within: Option<Decl>) -> Callee {
        let decl = self.units[unit].names.get(name).copied();
        let item = decl.map(|decl| self.item(decl));
        let declared = |wanted: bool| match decl {
            Some(decl) if wanted => Callee::Item(decl),
            _ => Callee::Unknown,
        };
        if matches!(item, Some(Item::Ops(_))) {
            return declared(true);
        }
        if name.starts_with(|c: char| !c.is_uppercase()) && !name.contains('.') {
            return match name {
                "full" if decl.is_none() => Callee::Full,
                _ => declared(matches!(item, Some(Item::Def(_)))),
            };
        }
        let operator = operator_named(name);
        let pattern = matches!(item, Some(Item::Pattern(_)));
        match self.operators.facts(&operator, &self.opsets(unit, within)) {
            Facts::Known(_) | Facts::OutOfRange { .. } => Callee::Operator(operator),
            Facts::Unchecked if !pattern => Callee::Operator(operator),
            Facts::Unchecked | Facts::Unknown => declared(pattern),
        }
    }

    /// What stands at a place: the last one is the thing itself, ones before are what else the same
    /// word is (`<axes>` is an attribute and a variable).
    fn targets(&self, path: &str, offset: usize) -> Vec<Target> {
        let Some(unit) = self.unit(path) else { return Vec::new() };
        let all = self.occurrences(unit);
        let here = |one: &&Occurrence| {
            let range = one.span.range();
            range.start <= offset && offset <= range.end
        };
        let mut found: Vec<&Occurrence> = all.iter().filter(here).collect();
        // Between two names, the one that begins here counts.
        if let Some(start) = found.iter().map(|one| one.span.start).max() {
            found.retain(|one| one.span.start == start);
        }
        if found.is_empty() {
            return self.broken_target(unit, offset).into_iter().collect();
        }
        found.into_iter().map(|one| one.target.clone()).collect()
    }

    /// The operator or declaration that a word names in an item that does not parse.
    fn broken_target(&self, unit: usize, offset: usize) -> Option<Target> {
        let word = tokens::word_at(self.text_of(unit), offset)?;
        let parsed = |(_, item): (usize, &Item)| name_span(item).range().contains(&word.start);
        if self.in_parsed_item(unit, offset)
            || self.units[unit].file.items.iter().enumerate().any(parsed)
        {
            return None;
        }
        match self.callee(unit, &self.text_of(unit)[word], None) {
            Callee::Item(decl) => Some(Target::Decl(decl)),
            Callee::Operator(operator) => Some(Target::Operator(operator)),
            Callee::Full => Some(Target::Function("full".to_owned())),
            Callee::Unknown => None,
        }
    }

    /// Whether the item around an offset is in the tree.
    fn in_parsed_item(&self, unit: usize, offset: usize) -> bool {
        let text = self.text_of(unit);
        let pieces = crate::parse::pieces(text);
        let around = pieces.iter().find(|piece| piece.start <= offset && offset <= piece.end);
        around.is_some_and(|piece| {
            let items = &self.units[unit].file.items;
            items.iter().any(|item| piece.contains(&name_span(item).range().start))
        })
    }

    fn occurrences_of(&self, target: &Target) -> Vec<Occurrence> {
        let all = (0..self.units.len()).flat_map(|unit| self.occurrences(unit));
        all.filter(|one| one.target == *target).cloned().collect()
    }
}

/// `com.microsoft.Gelu` is operator `Gelu` of domain `com.microsoft`.
fn operator_named(name: &str) -> Operator {
    let (domain, name) = name.rsplit_once('.').unwrap_or(("", name));
    Operator { domain: domain.to_owned(), name: name.to_owned() }
}

/// Where an item is named; the path of an import, the title of a test.
fn name_span(item: &Item) -> Span {
    match item {
        Item::Use(import) => import.path.span,
        Item::Opset(range) => range.span,
        Item::Ops(ops) => ops.name.span,
        Item::Def(def) => def.name.span,
        Item::Pattern(pattern) => pattern.name.span,
        Item::Rule(rule) => rule.name.span,
        Item::Test(test) => test.title.span,
    }
}

/// The number of the line of an offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}
