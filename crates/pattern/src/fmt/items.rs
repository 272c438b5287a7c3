//! Where the blocks of an item go.

use pest::iterators::Pair;

use super::WIDTH;
use super::document::Doc;
use super::gap::{Found, found};
use super::layout::Layout;
use crate::parse::Rule;

impl Layout<'_> {
    /// a pattern or a rule: its header, then blocks, which stand on new lines where the ones before
    /// them stand on one.
    pub(super) fn blocks(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut parts: Vec<Pair<'_, Rule>> = Vec::new();
        let short = pair.clone().into_inner().any(|part| part.as_rule() == Rule::short_rule);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::block_rule => parts.extend(part.into_inner()),
                _ => parts.push(part),
            }
        }
        let mut header = Vec::new();
        let mut blocks = Vec::new();
        for part in parts {
            let block = matches!(
                part.as_rule(),
                Rule::body
                    | Rule::build
                    | Rule::equals
                    | Rule::quant
                    | Rule::verify
                    | Rule::arrow
                    | Rule::short_rule
            );
            if block || !blocks.is_empty() { blocks.push(part) } else { header.push(part) }
        }
        let mut docs = vec![self.header(header)];
        let mut column = docs[0].flat().unwrap_or(0);
        let mut broken = false;
        let mut first = true;
        let mut joined = false;
        for part in blocks {
            let kind = part.as_rule();
            if kind == Rule::short_rule {
                docs.push(self.short_rule(part));
                (broken, first) = (true, false);
                continue;
            }
            let new_line = self.on_new_line(&part);
            if kind == Rule::arrow {
                self.trailing(&part, &mut docs);
                docs.push(Doc::text(" "));
                docs.push(self.word(&part));
                column += 3;
                joined = true;
                continue;
            }
            let indent = self.indent;
            self.trailing(&part, &mut docs);
            let comments = found(self.gap(&part), false).iter().any(|f| *f != Found::Blank);
            let after_arrow = std::mem::take(&mut joined);
            let below = !first && !after_arrow && (!broken || short) && (new_line || comments);
            let start = (self.at, self.indent);
            self.indent = if below { 2 } else { 0 };
            let mut doc = self.doc_of_block(&part);
            let width = doc.flat();
            let fits = width.is_some_and(|width| column + 1 + width <= WIDTH);
            let mut moved = below;
            if !first && !after_arrow && !below && !broken && width.is_some() && !fits {
                (self.at, self.indent) = (start.0, 2);
                doc = self.doc_of_block(&part);
                moved = true;
            } else if width.is_some() && !fits && !below {
                doc = spread(doc);
            }
            self.indent = indent;
            broken = doc.flat().is_none();
            if moved {
                docs.push(Doc::Indent(Box::new(Doc::Concat(vec![Doc::Hard, doc]))));
                column = 2 + width.unwrap_or(0);
            } else {
                docs.push(Doc::text(" "));
                docs.push(doc);
                column = if broken { 1 } else { column + 1 + width.unwrap_or(0) };
            }
            first = false;
        }
        Doc::Concat(docs)
    }

    fn doc_of_block(&mut self, part: &Pair<'_, Rule>) -> Doc {
        match part.as_rule() {
            Rule::equals => self.words(part.clone()),
            _ => self.doc(part.clone()),
        }
    }

    fn header(&mut self, parts: Vec<Pair<'_, Rule>>) -> Doc {
        let mut docs: Vec<Doc> = Vec::new();
        let mut last: Option<Rule> = None;
        let mut parts = parts.into_iter();
        while let Some(part) = parts.next() {
            let kind = part.as_rule();
            if last.is_some() {
                docs.push(Doc::text(" "));
            }
            if kind == Rule::open {
                let mut inside = Vec::new();
                let close = loop {
                    match parts.next() {
                        Some(part) if part.as_rule() == Rule::close => break part,
                        Some(part) => inside.push(part),
                        None => return Doc::Concat(docs),
                    }
                };
                docs.push(self.bracket(Rule::pattern, &part, inside, &close));
            } else {
                docs.push(self.doc(part));
            }
            last = Some(kind);
        }
        Doc::Concat(docs)
    }

    /// `: left ~> right where …`, on one line or each part on its own.
    fn short_rule(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut docs = Vec::new();
        let mut rest = Vec::new();
        let mut forced = false;
        let mut after_arrow = false;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::colon => docs.push(self.word(&part)),
                kind => {
                    forced |= !after_arrow && self.on_new_line(&part);
                    self.trailing(&part, &mut rest);
                    rest.push(if after_arrow { Doc::text(" ") } else { Doc::Line });
                    after_arrow = kind == Rule::arrow;
                    rest.push(self.doc(part));
                }
            }
        }
        if forced {
            for doc in rest.iter_mut().filter(|doc| matches!(doc, Doc::Line)) {
                *doc = Doc::Hard;
            }
        }
        docs.push(Doc::Group(Box::new(Doc::Indent(Box::new(Doc::Concat(rest))))));
        Doc::Concat(docs)
    }

    /// A test: its graphs stay as they are, on new lines where they are.
    pub(super) fn test(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut docs = Vec::new();
        for part in pair.into_inner() {
            if !docs.is_empty() {
                let new_line = self.on_new_line(&part);
                self.trailing(&part, &mut docs);
                docs.push(if new_line { Doc::Hard } else { Doc::text(" ") });
            }
            docs.push(self.doc(part));
        }
        Doc::Indent(Box::new(Doc::Concat(docs)))
    }
}

/// A block that does not fit on the line of its header, on several.
fn spread(doc: Doc) -> Doc {
    let Doc::Group(inner) = doc else { return doc };
    let Doc::Concat(mut parts) = *inner else { return Doc::Group(inner) };
    if parts.len() != 4 {
        return Doc::Group(Box::new(Doc::Concat(parts)));
    }
    let close = parts.remove(3);
    let line = parts.remove(1);
    let Doc::Concat(mut docs) = line else { return Doc::Concat(vec![line, close]) };
    docs[0] = Doc::Hard;
    let inner = Doc::Indent(Box::new(Doc::Concat(docs)));
    Doc::Concat(vec![parts.remove(0), inner, Doc::Hard, close])
}
