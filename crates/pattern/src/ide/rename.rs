//! Renaming: definitions in all files that were read, variables in their item.

use super::occurrences::{Access, Target};
use super::{Analysis, Place, occurrences, tokens};
use crate::ast::Item;
use crate::functions::{builtin, is_dtype};
use crate::operators::Facts;
use crate::resolve::Decl;

/// Why a name is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenameError {
    /// Which kind of refusal.
    pub kind: RenameErrorKind,
    /// The fact, with names in backticks.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameErrorKind {
    /// Nothing that has a name of its own stands there.
    NoName,
    /// The new name is no name of this kind.
    NotAName,
    /// Something else has the new name already.
    Clash,
    /// A file does not parse, so that some uses could be missed.
    Broken,
}

impl RenameError {
    fn new(kind: RenameErrorKind, message: String) -> Self {
        Self { kind, message }
    }
}

impl Analysis<'_> {
    /// Returns the name at a place that can be changed.
    ///
    /// # Errors
    ///
    /// Says why there is none.
    pub fn renamable(&self, path: &str, offset: usize) -> Result<Place, RenameError> {
        let nothing = || {
            let message = "nothing with a name of its own stands here".to_owned();
            RenameError::new(RenameErrorKind::NoName, message)
        };
        let unit = self.unit(path).ok_or_else(nothing)?;
        let target = self.targets(path, offset).pop().ok_or_else(nothing)?;
        match &target {
            Target::Decl(_) | Target::Variable(..) => {}
            Target::Operator(operator) => {
                let message = format!("`{}` is an operator of ONNX", operator.name);
                return Err(RenameError::new(RenameErrorKind::NoName, message));
            }
            _ => return Err(nothing()),
        }
        let all = self.occurrences(unit);
        let here = all.iter().find(|one| {
            let range = one.span.range();
            one.target == target && range.start <= offset && offset <= range.end
        });
        Ok(self.place(here.ok_or_else(nothing)?.span))
    }

    /// Returns the edits that give what stands at a place another name: places and their new texts,
    /// sorted, over all files that were read.
    ///
    /// # Errors
    ///
    /// Refuses what is no name, what is taken, and files with items that do not parse and mention
    /// the name.
    pub fn rename(
        &self,
        path: &str,
        offset: usize,
        new: &str,
    ) -> Result<Vec<(Place, String)>, RenameError> {
        self.renamable(path, offset)?;
        let target = self.targets(path, offset).pop().expect("what can be renamed is a target");
        let old = match &target {
            Target::Decl(decl) => {
                self.may_be_called(*decl, new)?;
                self.sources.text(decl.span).to_owned()
            }
            Target::Variable(decl, old) => {
                self.may_be_variable(*decl, old, new)?;
                old.clone()
            }
            _ => unreachable!("only declarations and variables can be renamed"),
        };
        for unit in 0..self.units.len() {
            self.all_known(unit, &old)?;
        }
        let mut edits: Vec<(Place, String)> = Vec::new();
        for one in self.occurrences_of(&target) {
            let text = match (one.access, &target) {
                // `<k>` passes the caller's `k` as the callee's: whichever is renamed, the other stays.
                (Access::Shorthand, Target::Variable(..)) => self.longhand(&one, &old, new),
                _ => new.to_owned(),
            };
            edits.push((self.place(one.span), text));
        }
        edits.sort();
        edits.dedup();
        Ok(edits)
    }

    /// `<k>` written out with one of its two names changed.
    fn longhand(&self, one: &occurrences::Occurrence, old: &str, new: &str) -> String {
        let Target::Variable(decl, _) = &one.target else { return new.to_owned() };
        let unit = self.units.iter().position(|unit| unit.source == one.span.source);
        let around = unit.and_then(|unit| self.decl_around(unit, one.span.range().start));
        if around == Some(*decl) { format!("{old} = {new}") } else { format!("{new} = {old}") }
    }

    fn may_be_called(&self, decl: Decl, new: &str) -> Result<(), RenameError> {
        let upper = matches!(self.item(decl), Item::Pattern(_) | Item::Ops(_));
        name_like(new)?;
        if new.starts_with(|c: char| c.is_ascii_uppercase()) != upper {
            let what = if upper { "patterns and operator sets" } else { "definitions and rules" };
            let case = if upper { "upper" } else { "lower" };
            let message = format!("names of {what} begin in {case} case, not `{new}`");
            return Err(RenameError::new(RenameErrorKind::NotAName, message));
        }
        let clash = |message: String| Err(RenameError::new(RenameErrorKind::Clash, message));
        let operator = super::operator_named(new);
        if upper && matches!(self.operators.facts(&operator, &[]), Facts::Known(_)) {
            return clash(format!("`{new}` is an operator of ONNX"));
        }
        if new == "full" {
            return clash("`full` is a function of the language".to_owned());
        }
        for (at, unit) in self.units.iter().enumerate() {
            let sees = unit.names.values().any(|known| *known == decl) || at == decl.unit;
            let rule = matches!(self.item(decl), Item::Rule(_));
            let taken = match rule {
                true => unit
                    .file
                    .items
                    .iter()
                    .any(|item| matches!(item, Item::Rule(other) if other.name.text == new)),
                false => unit.names.contains_key(new),
            };
            if sees && taken {
                let file = &self.sources.get(unit.source).path;
                return clash(format!("`{file}` has another `{new}`"));
            }
        }
        Ok(())
    }

    fn may_be_variable(&self, decl: Decl, old: &str, new: &str) -> Result<(), RenameError> {
        name_like(new)?;
        let reserved = is_dtype(new) || builtin(new).is_some() || matches!(new, "pi" | "_");
        let target = Target::Variable(decl, new.to_owned());
        if reserved || !self.occurrences_of(&target).is_empty() {
            let message = match reserved {
                true => format!("`{new}` is a word of the language"),
                false => format!("there is another `{new}` where `{old}` is"),
            };
            return Err(RenameError::new(RenameErrorKind::Clash, message));
        }
        Ok(())
    }

    /// Whether each place of a file where this word stands is known for what it is.
    fn all_known(&self, unit: usize, word: &str) -> Result<(), RenameError> {
        let text = self.text_of(unit);
        for token in tokens::tokens(text) {
            if token.kind == tokens::Kind::Word
                && token.text(text) == word
                && !self.in_parsed_item(unit, token.range.start)
            {
                let place = self.place(crate::span::Span::new(
                    self.source(unit),
                    token.range.start,
                    token.range.end,
                ));
                let line = super::line_of(text, token.range.start);
                let message = format!("`{}` does not parse around line {line}", place.path);
                return Err(RenameError::new(RenameErrorKind::Broken, message));
            }
        }
        Ok(())
    }
}

/// Whether a text is a name by the grammar.
fn name_like(new: &str) -> Result<(), RenameError> {
    let mut letters = new.chars();
    let first = letters.next().is_some_and(|c| c == '_' || c.is_alphabetic());
    let keyword = KEYWORDS.contains(&new);
    if !first || !letters.all(tokens::in_word) || keyword {
        let what = if keyword { "a keyword" } else { "no name" };
        let message = format!("`{new}` is {what}");
        return Err(RenameError::new(RenameErrorKind::NotAName, message));
    }
    Ok(())
}

/// What the grammar reserves.
const KEYWORDS: &[&str] = &[
    "use", "def", "pattern", "rule", "test", "opset", "ops", "where", "with", "let", "either",
    "or", "const", "shared", "dup", "quant", "equals", "verify", "not", "and", "in", "is", "if",
    "then", "else", "when", "true", "false", "none",
];
