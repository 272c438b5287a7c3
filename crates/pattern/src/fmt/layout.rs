//! Where the white space of one item goes.

use pest::iterators::Pair;

use super::WIDTH;
use super::document::Doc;
use super::gap::{Found, found};
use crate::parse::Rule;

/// Lays out the words of one item, in their order.
pub(super) struct Layout<'t> {
    text: &'t str,
    /// Where the item begins in the text.
    base: usize,
    /// The end of the last word.
    at: usize,
    /// The indent of the block around.
    indent: usize,
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
    fn gap(&self, pair: &Pair<'_, Rule>) -> &'t str {
        &self.text[self.at..self.start(pair)]
    }

    fn start(&self, pair: &Pair<'_, Rule>) -> usize {
        self.base + pair.as_span().start()
    }

    /// Whether the author began a new line before a pair.
    fn on_new_line(&self, pair: &Pair<'_, Rule>) -> bool {
        self.gap(pair).contains('\n')
    }

    /// Comments on the line of the last word: before a new line is begun.
    fn trailing(&mut self, pair: &Pair<'_, Rule>, docs: &mut Vec<Doc>) {
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
    fn word(&mut self, pair: &Pair<'_, Rule>) -> Doc {
        let text = literal(pair);
        let mut docs = self.passed(pair);
        docs.push(Doc::text(if pair.as_rule() == Rule::tolerance { text.trim() } else { text }));
        Doc::Concat(docs)
    }

    fn doc(&mut self, mut pair: Pair<'_, Rule>) -> Doc {
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
    fn words(&mut self, pair: Pair<'_, Rule>) -> Doc {
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
    fn bracket(
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

    /// a pattern or a rule: its header, then blocks, which stand on new lines where the ones before
    /// them stand on one.
    fn blocks(&mut self, pair: Pair<'_, Rule>) -> Doc {
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
    fn test(&mut self, pair: Pair<'_, Rule>) -> Doc {
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

/// What stands in the text for a word: pest counts the white space before a look-ahead to it.
fn literal<'p>(pair: &Pair<'p, Rule>) -> &'p str {
    let text = pair.as_str();
    match pair.as_rule() {
        Rule::assign
        | Rule::minus
        | Rule::dot
        | Rule::span_dots
        | Rule::arrow
        | Rule::add_sign
        | Rule::mul_sign
        | Rule::plus_sign
        | Rule::times_sign => text.split([' ', '\t', '\r', '\n', '#']).next().unwrap_or(text),
        Rule::tolerance => text,
        _ => text.trim_end(),
    }
}

/// Rules that are printed as they are written.
fn is_word(kind: Rule) -> bool {
    matches!(
        kind,
        Rule::number
            | Rule::int
            | Rule::float
            | Rule::quoted
            | Rule::name
            | Rule::ident
            | Rule::upper
            | Rule::qual
            | Rule::op_path
            | Rule::dtype
            | Rule::tolerance
            | Rule::graph_text
            | Rule::mark
            | Rule::anything
            | Rule::absent_any
            | Rule::soft
            | Rule::maybe
            | Rule::operand_name
            | Rule::compare_sign
    )
}

fn is_infix(kind: Rule) -> bool {
    matches!(
        kind,
        Rule::sum
            | Rule::product
            | Rule::coalesced
            | Rule::power
            | Rule::guard
            | Rule::conjunction
            | Rule::arith
            | Rule::term
    )
}

fn closing(opener: Rule) -> Option<Rule> {
    Some(match opener {
        Rule::open => Rule::close,
        Rule::open_list => Rule::close_list,
        Rule::open_angle => Rule::close_angle,
        Rule::open_brace => Rule::close_brace,
        _ => return None,
    })
}

/// Whether a space stands before a part.
fn spaced(parent: Rule, last: Rule, next: &Pair<'_, Rule>) -> bool {
    let kind = next.as_rule();
    match kind {
        Rule::comma | Rule::semicolon | Rule::dots | Rule::maybe | Rule::soft => return false,
        Rule::colon => return parent == Rule::constant,
        Rule::tolerance => return true,
        _ => {}
    }
    match parent {
        Rule::call
        | Rule::callee
        | Rule::guard_call
        | Rule::access
        | Rule::postfix
        | Rule::range
        | Rule::value_type
        | Rule::slice => false,
        Rule::shape => false,
        Rule::verify_in => kind != Rule::span_dots && last != Rule::span_dots,
        Rule::def => !matches!(kind, Rule::open | Rule::sig_attrs),
        // `- 5` is the negation of 5, `-5` is a number.
        Rule::unary | Rule::factor | Rule::operand if last == Rule::minus => {
            next.as_str().starts_with(|c: char| c == '-' || c.is_ascii_digit())
                || next.as_str().starts_with("inf")
                || next.as_str().starts_with("nan")
        }
        Rule::constant => kind != Rule::open_brace,
        _ => true,
    }
}
