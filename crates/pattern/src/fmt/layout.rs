//! Where the white space of one item goes.

use pest::iterators::Pair;

use super::WIDTH;
use super::document::Doc;
use super::gap::{Found, found};
use super::spacing::{closing, is_infix, is_word, literal, spaced};
use crate::parse::Rule;

/// Lays out the words of one item, in their order.
pub(super) struct Layout<'t> {
    text: &'t str,
    /// Where the item begins in the text.
    base: usize,
    /// The end of the last word.
    pub(super) at: usize,
    /// The indent of the block around.
    pub(super) indent: usize,
}

impl<'t> Layout<'t> {
    pub(super) fn new(text: &'t str, base: usize) -> Self {
        Self { text, base, at: base, indent: 0 }
    }

    /// The end of the last word.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// An item.
    pub(super) fn item(&mut self, pair: Pair<'_, Rule>) -> Doc {
        match pair.as_rule() {
            Rule::pattern | Rule::rule => self.blocks(pair),
            Rule::test => self.test(pair),
            _ => self.doc(pair),
        }
    }

    /// The text from the last word to a pair.
    pub(super) fn gap(&self, pair: &Pair<'_, Rule>) -> &'t str {
        &self.text[self.at..self.start(pair)]
    }

    pub(super) fn start(&self, pair: &Pair<'_, Rule>) -> usize {
        self.base + pair.as_span().start()
    }

    /// Whether the author began a new line before a pair.
    pub(super) fn on_new_line(&self, pair: &Pair<'_, Rule>) -> bool {
        self.gap(pair).contains('\n')
    }

    /// Comments on the line of the last word: before a new line is begun.
    pub(super) fn trailing(&mut self, pair: &Pair<'_, Rule>, docs: &mut Vec<Doc>) {
        let gap = self.gap(pair);
        if let Some(Found::Trailing(comment)) = found(gap, true).first() {
            docs.push(Doc::Suffix((*comment).to_owned()));
            self.at += gap.find('\n').unwrap_or(gap.len());
        }
    }

    /// The comments before a word, which is passed then.
    fn passed(&mut self, pair: &Pair<'_, Rule>) -> Vec<Doc> {
        let text = literal(pair);
        let mut docs = Vec::new();
        for found in found(self.gap(pair), true) {
            match found {
                Found::Trailing(comment) => docs.push(Doc::Suffix(comment.to_owned())),
                Found::Comment(comment) => docs.push(Doc::Own(comment.to_owned())),
                Found::Blank => {}
            }
        }
        self.at = self.start(pair) + pair.as_str().find(text).unwrap_or(0) + text.len();
        docs
    }

    /// A word, with the comments before it.
    pub(super) fn word(&mut self, pair: &Pair<'_, Rule>) -> Doc {
        let text = literal(pair);
        let mut docs = self.passed(pair);
        docs.push(Doc::text(if pair.as_rule() == Rule::tolerance { text.trim() } else { text }));
        Doc::Concat(docs)
    }

    pub(super) fn doc(&mut self, mut pair: Pair<'_, Rule>) -> Doc {
        loop {
            let kind = pair.as_rule();
            if is_word(kind) {
                return self.word(&pair);
            }
            match kind {
                Rule::alt => return self.alternatives(pair),
                Rule::body | Rule::build => return self.block(pair),
                Rule::quant | Rule::verify => return self.words(pair),
                _ => {}
            }
            let mut inner = pair.clone().into_inner();
            match (inner.next(), inner.next()) {
                (None, _) => return self.word(&pair),
                // A level of precedence that adds nothing.
                (Some(only), None) => pair = only,
                _ if is_infix(kind) => return self.infix(pair),
                _ => return self.words(pair),
            }
        }
    }

    /// The parts of a pair, with the spaces between them that the grammar suggests.
    pub(super) fn words(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let parent = pair.as_rule();
        let mut docs: Vec<Doc> = Vec::new();
        let mut last = None;
        let mut parts = pair.into_inner().filter(|part| part.as_rule() != Rule::EOI).peekable();
        while let Some(part) = parts.next() {
            let kind = part.as_rule();
            if last.is_some_and(|last| spaced(parent, last, &part)) {
                docs.push(Doc::text(" "));
            }
            let Some(closer) = closing(kind) else {
                docs.push(self.doc(part));
                last = Some(kind);
                continue;
            };
            let mut inside = Vec::new();
            let mut end = None;
            for part in parts.by_ref() {
                if part.as_rule() == closer {
                    end = Some(part);
                    break;
                }
                inside.push(part);
            }
            let end = end.expect("the grammar closes every bracket");
            docs.push(match parent {
                Rule::quant | Rule::verify => self.statements(&part, inside, &end),
                _ => self.bracket(parent, &part, inside, &end),
            });
            last = Some(closer);
        }
        Doc::Concat(docs)
    }

    /// `(a, b)`, broken after each comma if it is broken.
    pub(super) fn bracket(
        &mut self,
        parent: Rule,
        open: &Pair<'_, Rule>,
        inside: Vec<Pair<'_, Rule>>,
        close: &Pair<'_, Rule>,
    ) -> Doc {
        let listed = matches!(parent, Rule::use_ | Rule::counts | Rule::bindings);
        let edge = if listed { Doc::Line } else { Doc::Soft };
        // What is listed may stand in a rule of its own.
        let mut flat: Vec<Pair<'_, Rule>> = Vec::new();
        for part in inside {
            match part.as_rule() {
                Rule::args | Rule::params | Rule::constant_type => flat.extend(part.into_inner()),
                _ => flat.push(part),
            }
        }
        let opened = self.word(open);
        if flat.is_empty() || flat.len() == 1 && flat[0].as_str().is_empty() {
            return Doc::Concat(vec![opened, self.word(close)]);
        }
        let mut docs = Vec::new();
        self.trailing(&flat[0], &mut docs);
        docs.push(edge.clone());
        let mut last = None;
        for (at, part) in flat.iter().enumerate() {
            let kind = part.as_rule();
            if last == Some(Rule::comma) {
                self.trailing(part, &mut docs);
                docs.push(Doc::Line);
            } else if last.is_some_and(|last| spaced(parent, last, part)) {
                docs.push(Doc::text(" "));
            }
            // A comma after the last name of an import means nothing.
            let needless = kind == Rule::comma && at + 1 == flat.len();
            let empty = part.as_str().is_empty();
            if needless {
                docs.extend(self.passed(part));
            } else if !empty {
                docs.push(self.doc(part.clone()));
            }
            last = Some(kind);
        }
        let mut after = Vec::new();
        self.trailing(close, &mut after);
        docs.extend(after);
        let inner = Doc::Indent(Box::new(Doc::Concat(docs)));
        Doc::Group(Box::new(Doc::Concat(vec![opened, inner, edge, self.word(close)])))
    }

    /// `a | b`: below each other if the author began a new line, or if it is too long.
    fn alternatives(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut docs = Vec::new();
        let mut rest = Vec::new();
        let mut forced = false;
        for part in pair.into_inner() {
            if part.as_rule() != Rule::bar {
                let target = if rest.is_empty() { &mut docs } else { &mut rest };
                target.push(self.doc(part));
                continue;
            }
            forced |= self.on_new_line(&part);
            self.trailing(&part, &mut rest);
            rest.push(Doc::Line);
            rest.push(self.word(&part));
            rest.push(Doc::text(" "));
        }
        if rest.is_empty() {
            return Doc::Concat(docs);
        }
        if forced {
            for doc in rest.iter_mut().filter(|doc| matches!(doc, Doc::Line)) {
                *doc = Doc::Hard;
            }
        }
        docs.push(Doc::Indent(Box::new(Doc::Concat(rest))));
        Doc::Group(Box::new(Doc::Concat(docs)))
    }

    /// `a + b`, broken before operators if it is too long.
    fn infix(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut parts = pair.into_inner();
        let mut docs: Vec<Doc> = parts.next().map(|first| self.doc(first)).into_iter().collect();
        let mut rest = Vec::new();
        while let Some(sign) = parts.next() {
            self.trailing(&sign, &mut rest);
            rest.push(Doc::Line);
            rest.push(self.doc(sign));
            if let Some(operand) = parts.next() {
                rest.push(Doc::text(" "));
                rest.push(self.doc(operand));
            }
        }
        docs.push(Doc::Indent(Box::new(Doc::Concat(rest))));
        Doc::Group(Box::new(Doc::Concat(docs)))
    }

    /// `{ … }` of a body or a replacement.
    fn block(&mut self, pair: Pair<'_, Rule>) -> Doc {
        let mut parts: Vec<Pair<'_, Rule>> = pair.into_inner().collect();
        let (Some(close), false) = (parts.pop(), parts.is_empty()) else {
            return Doc::Concat(Vec::new());
        };
        let open = parts.remove(0);
        self.statements(&open, parts, &close)
    }

    fn statements(
        &mut self,
        open: &Pair<'_, Rule>,
        parts: Vec<Pair<'_, Rule>>,
        close: &Pair<'_, Rule>,
    ) -> Doc {
        let equations = parts
            .iter()
            .filter(|part| matches!(part.as_rule(), Rule::statement | Rule::build_statement));
        let one_line = equations.count() < 2
            && !parts
                .first()
                .is_some_and(|first| self.text[self.start(open)..self.start(first)].contains('\n'));
        let opened = self.word(open);
        if parts.is_empty() && found(self.gap(close), true).iter().all(|f| *f == Found::Blank) {
            return Doc::Concat(vec![opened, self.word(close)]);
        }
        self.indent += 2;
        let mut docs = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            self.separate(&part, at == 0, &mut docs);
            docs.push(self.doc(part));
        }
        self.separate(close, false, &mut docs);
        self.indent -= 2;
        // The last separation belongs to the bracket, but for comments before it.
        while matches!(docs.last(), Some(Doc::Hard | Doc::Blank)) {
            docs.pop();
        }
        if one_line {
            let line: Vec<Doc> = docs
                .iter()
                .map(|doc| if matches!(doc, Doc::Hard) { Doc::text(" ") } else { doc.clone() })
                .collect();
            let line = Doc::Concat(line);
            if let Some(width) = line.flat()
                && self.indent + width + 4 <= WIDTH
            {
                let parts = vec![opened, line, Doc::text(" "), self.word(close)];
                return Doc::Group(Box::new(Doc::Concat(parts)));
            }
        }
        let inner = Doc::Indent(Box::new(Doc::Concat(docs)));
        Doc::Concat(vec![opened, inner, Doc::Hard, self.word(close)])
    }

    /// A new line, and what stands on lines of its own before a pair.
    fn separate(&mut self, next: &Pair<'_, Rule>, first: bool, docs: &mut Vec<Doc>) {
        let mut fresh = false;
        let mut begun = first;
        for found in found(self.gap(next), true) {
            match found {
                Found::Trailing(comment) => docs.push(Doc::Suffix(comment.to_owned())),
                Found::Comment(comment) => {
                    if !fresh {
                        docs.push(Doc::Hard);
                    }
                    docs.push(Doc::Remark(comment.to_owned()));
                    (fresh, begun) = (false, false);
                }
                Found::Blank if begun => {}
                Found::Blank => {
                    docs.extend([Doc::Hard, Doc::Blank]);
                    fresh = true;
                }
            }
        }
        self.at = self.start(next);
        if !fresh {
            docs.push(Doc::Hard);
        }
    }
}
