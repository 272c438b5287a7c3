//! What could be written at a place.

use std::collections::BTreeMap;
use std::ops::Range;

use super::context::{self, Context};
use super::hover::{attribute_line, kind_of, names_of, qualified};
use super::occurrences::{Callee, Target};
use super::{Analysis, tokens, words};
use crate::ast::Item;
use crate::functions::DTYPES;
use crate::resolve::Decl;
use crate::source::Loader;

/// What a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompletionKind {
    /// A variable of the item.
    Variable,
    /// An attribute of what is called.
    Attribute,
    /// A definition.
    Definition,
    /// A pattern.
    Pattern,
    /// A set of operators.
    OperatorSet,
    /// An operator.
    Operator,
    /// A function of conditions.
    Function,
    /// A word of the language.
    Keyword,
    /// An element type.
    Dtype,
    /// A file.
    File,
}

/// Something that could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What to write.
    pub label: String,
    /// What it is.
    pub kind: CompletionKind,
    /// One line about it.
    pub detail: String,
    /// The part of the text that it replaces: what is typed of it already.
    pub replaces: Range<usize>,
}

/// Proposals, one for each text.
struct List {
    found: BTreeMap<(CompletionKind, String), String>,
}

impl List {
    fn add(&mut self, kind: CompletionKind, label: impl Into<String>, detail: impl Into<String>) {
        self.found.entry((kind, label.into())).or_insert_with(|| detail.into());
    }

    fn words(&mut self, table: &[(&str, &str)]) {
        for (word, meaning) in table {
            self.add(CompletionKind::Keyword, *word, *meaning);
        }
    }
}

impl Analysis<'_> {
    /// Returns what could be written at a place, sorted by kind, what is nearest first. `files` are the
    /// paths that could be imported; `loader` reads the one whose names are asked for.
    pub fn complete(
        &self,
        path: &str,
        offset: usize,
        files: &[String],
        loader: &dyn Loader,
    ) -> Vec<Completion> {
        let Some(unit) = self.unit(path) else { return Vec::new() };
        let text = self.text_of(unit);
        if !text.is_char_boundary(offset) {
            return Vec::new();
        }
        let (context, replaces) = context::at(text, offset);
        let mut list = List { found: BTreeMap::new() };
        self.propose(unit, offset, &context, files, loader, &mut list);
        let proposal = |((kind, label), detail): ((CompletionKind, String), String)| Completion {
            label,
            kind,
            detail,
            replaces: replaces.clone(),
        };
        list.found.into_iter().map(proposal).collect()
    }

    fn propose(
        &self,
        unit: usize,
        offset: usize,
        context: &Context,
        files: &[String],
        loader: &dyn Loader,
        list: &mut List,
    ) {
        match context {
            Context::Nothing => {}
            Context::Item => list.words(words::ITEMS),
            Context::Path => {
                for file in files {
                    list.add(CompletionKind::File, file, "");
                }
            }
            Context::NamesOf(used) => self.names_of_file(used, loader, list),
            Context::Attribute(callee, written) => {
                self.attributes_of(unit, offset, callee, written, list);
            }
            Context::AttributeValue(..) => {
                self.variables(unit, offset, list);
                list.words(&[("true", "true"), ("false", "false")]);
                self.functions(list);
                DTYPES
                    .iter()
                    .for_each(|dtype| list.add(CompletionKind::Dtype, *dtype, "element type"));
            }
            Context::Statement => {
                list.words(words::STATEMENTS);
                list.words(words::EXPRESSIONS);
                self.variables(unit, offset, list);
                self.callables(unit, offset, list);
            }
            Context::Expression => {
                list.words(words::EXPRESSIONS);
                self.variables(unit, offset, list);
                self.callables(unit, offset, list);
            }
            Context::Condition => {
                list.words(words::CONDITIONS);
                self.variables(unit, offset, list);
                self.functions(list);
                DTYPES
                    .iter()
                    .for_each(|dtype| list.add(CompletionKind::Dtype, *dtype, "element type"));
            }
            Context::Block => {
                list.words(words::BLOCKS);
                list.words(words::ITEMS);
            }
            Context::Hint => list.words(words::HINTS),
            Context::HintTarget => {
                list.words(words::TARGETS);
                self.variables(unit, offset, list);
            }
            Context::Clause => {
                list.words(words::CLAUSES);
                self.variables(unit, offset, list);
            }
            Context::Expectation => list.words(words::EXPECTATIONS),
            Context::Pattern => self.patterns(unit, list),
            Context::Step => {
                for item in &self.units[unit].file.items {
                    if let Item::Rule(rule) = item {
                        list.add(CompletionKind::Definition, &rule.name.text, "rule");
                    }
                }
                self.patterns(unit, list);
                list.words(words::WAYS);
            }
            Context::Binding(pattern) => {
                let decl = self.units[unit].names.get(pattern);
                if let Some(Item::Pattern(pattern)) = decl.map(|decl| self.item(*decl)) {
                    let signature = &pattern.signature;
                    for attribute in &signature.attributes {
                        list.add(CompletionKind::Variable, &attribute.name.text, "attribute");
                    }
                    for param in signature.params.iter().chain(&signature.results) {
                        list.add(CompletionKind::Variable, &param.name.text, "value");
                    }
                }
            }
            Context::Operator => self.operators(unit, offset, list),
        }
    }

    fn names_of_file(&self, used: &str, loader: &dyn Loader, list: &mut List) {
        let other;
        let analysis = match self.unit(used) {
            Some(_) => self,
            // The import does not parse yet, so that the file has not been read.
            None => {
                other = Analysis::new(loader, &[used], self.operators);
                &other
            }
        };
        let Some(unit) = analysis.unit(used) else { return };
        for item in 0..analysis.units[unit].file.items.len() {
            analysis.declared(analysis.decl(unit, item), list);
        }
    }

    fn declared(&self, decl: Decl, list: &mut List) {
        let (name, kind) = match self.item(decl) {
            Item::Def(def) => (&def.name, CompletionKind::Definition),
            Item::Pattern(pattern) => (&pattern.name, CompletionKind::Pattern),
            Item::Ops(ops) => (&ops.name, CompletionKind::OperatorSet),
            _ => return,
        };
        let signature = self.signature(decl);
        list.add(kind, &name.text, signature.lines().next().unwrap_or(""));
    }

    fn callables(&self, unit: usize, offset: usize, list: &mut List) {
        self.units[unit].names.values().for_each(|decl| self.declared(*decl, list));
        self.operators(unit, offset, list);
        list.add(CompletionKind::Function, "full", "a constant of any shape");
    }

    fn patterns(&self, unit: usize, list: &mut List) {
        for decl in self.units[unit].names.values() {
            if matches!(self.item(*decl), Item::Pattern(_)) {
                self.declared(*decl, list);
            }
        }
    }

    fn operators(&self, unit: usize, offset: usize, list: &mut List) {
        let opsets = self.opsets(unit, self.decl_around(unit, offset));
        for operator in self.operators.admitted(&opsets) {
            let Some(known) = self.operators.describe(&operator, &opsets) else { continue };
            let shown = |formals: &[crate::description::Formal]| {
                formals.iter().map(|formal| formal.written()).collect::<Vec<_>>().join(", ")
            };
            let detail = format!("({}) => ({})", shown(&known.inputs), shown(&known.outputs));
            list.add(CompletionKind::Operator, qualified(&operator), detail);
        }
    }

    fn attributes_of(
        &self,
        unit: usize,
        offset: usize,
        callee: &str,
        written: &[String],
        list: &mut List,
    ) {
        let around = self.decl_around(unit, offset);
        match self.callee(unit, callee, around) {
            Callee::Item(decl) => {
                let attributes = match self.item(decl) {
                    Item::Def(def) => &def.attributes[..],
                    Item::Pattern(pattern) => &pattern.signature.attributes[..],
                    _ => &[],
                };
                let of = format!("attribute of `{callee}`");
                let missing = attributes.iter().filter(|known| !written.contains(&known.name.text));
                missing
                    .for_each(|known| list.add(CompletionKind::Attribute, &known.name.text, &of));
            }
            Callee::Operator(operator) => {
                let opsets = self.opsets(unit, around);
                let known = self.operators.describe(&operator, &opsets).unwrap_or_default();
                for known in known.attributes.iter().filter(|known| !written.contains(&known.name))
                {
                    let line = attribute_line(known).replace('`', "");
                    list.add(CompletionKind::Attribute, &known.name, line);
                }
                list.add(CompletionKind::Keyword, "...", "other attributes do not matter");
            }
            Callee::Full | Callee::Unknown => {}
        }
    }

    fn functions(&self, list: &mut List) {
        for (name, parameters, meaning) in words::FUNCTIONS.iter().filter(|entry| entry.0 != "full")
        {
            list.add(CompletionKind::Function, *name, format!("({parameters}): {meaning}"));
        }
    }

    /// The variables of the item around; by its tokens, if it does not parse.
    fn variables(&self, unit: usize, offset: usize, list: &mut List) {
        let text = self.text_of(unit);
        if let Some(decl) = self.decl_around(unit, offset) {
            let names = names_of(self.item(decl));
            for one in self.occurrences(unit) {
                if let Target::Variable(of, name) = &one.target
                    && *of == decl
                    && !one.span.range().contains(&offset.saturating_sub(1))
                {
                    list.add(CompletionKind::Variable, name, kind_of(&names, name));
                }
            }
            return;
        }
        let pieces = crate::parse::pieces(text);
        let Some(piece) = pieces.into_iter().rfind(|piece| piece.start <= offset) else { return };
        let base = piece.start;
        let found = tokens::tokens(&text[piece.clone()]);
        let word = |at: usize| found.get(at).map_or("", |token| token.text(&text[piece.clone()]));
        for (at, token) in found.iter().enumerate().skip(2) {
            let name = word(at);
            let called = matches!(word(at + 1), "(" | "<" | "{")
                || matches!(word(at + 1), "?" | "!") && matches!(word(at + 2), "(" | "<");
            let here = base + token.range.end == offset;
            let known = words::meaning(name).is_some() || DTYPES.contains(&name);
            let value = token.kind == tokens::Kind::Word && !name.contains('.');
            if value && !called && !here && !known && !self.units[unit].names.contains_key(name) {
                list.add(CompletionKind::Variable, name, "");
            }
        }
    }
}
