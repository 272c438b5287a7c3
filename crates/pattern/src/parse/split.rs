//! Cuts a file into its top-level items, so that a broken one does not hide the others.

use std::ops::Range;

use super::Rule;

/// The deepest nesting of brackets that is parsed; a person writes less than ten.
pub(crate) const MAX_DEPTH: usize = 64;

/// An item before it is parsed.
pub(super) struct Piece {
    /// The rule that its keyword asks for; `None` for text before the first item.
    pub(super) entry: Option<Rule>,
    /// Its bytes, without white space and comments after it.
    pub(super) range: Range<usize>,
    /// Where brackets are nested deeper than [`MAX_DEPTH`].
    pub(super) too_deep: Option<usize>,
    /// Each `if … else if …` nests without a bracket.
    elses: usize,
    /// A string that does not end on its line.
    pub(super) open_string: Option<usize>,
}

/// Cuts `text` at the keywords of items: those outside of all brackets, and, to recover from a
/// bracket that is never closed, those at the start of a line.
pub(super) fn split(text: &str) -> Vec<Piece> {
    let mut splitter = Splitter { text, at: 0, depth: 0, header: false, pieces: Vec::new() };
    splitter.run();
    splitter.pieces
}

struct Splitter<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// Before the `(` or `:` of a pattern or rule, where `opset` says something about it.
    header: bool,
    pieces: Vec<Piece>,
}

impl Splitter<'_> {
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'#' => self.skip_line(),
                b'"' => self.string(),
                b'(' | b'[' | b'{' => {
                    self.depth += 1;
                    self.header = false;
                    if self.depth > MAX_DEPTH {
                        let at = self.at;
                        self.piece().too_deep.get_or_insert(at);
                    }
                    self.take(1);
                }
                b')' | b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.take(1);
                }
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b':' => {
                    self.header = false;
                    self.take(1);
                }
                b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.word(),
                _ => self.take(1),
            }
        }
    }

    /// Adds `length` bytes to the current piece.
    fn take(&mut self, length: usize) {
        self.at += length;
        let end = self.at;
        let start = end - length;
        self.piece_from(start).range.end = end;
    }

    fn piece(&mut self) -> &mut Piece {
        let at = self.at;
        self.piece_from(at)
    }

    fn piece_from(&mut self, start: usize) -> &mut Piece {
        if self.pieces.is_empty() {
            self.begin(None, start);
        }
        self.pieces.last_mut().expect("a piece has just been begun")
    }

    fn begin(&mut self, entry: Option<Rule>, start: usize) {
        self.depth = 0;
        self.header = matches!(entry, Some(Rule::pattern_item | Rule::rule_item));
        self.pieces.push(Piece {
            entry,
            range: start..start,
            too_deep: None,
            elses: 0,
            open_string: None,
        });
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn string(&mut self) {
        let rest = &self.text[self.at + 1..];
        match rest.find(['"', '\n']) {
            Some(end) if rest.as_bytes()[end] == b'"' => self.take(end + 2),
            end => {
                let at = self.at;
                self.piece().open_string.get_or_insert(at);
                self.take(1 + end.unwrap_or(rest.len()));
            }
        }
    }

    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let goes_on = |c: char| c == '_' || c == '\'' || c.is_alphanumeric() || !c.is_ascii();
        let length = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        let next = rest[length..].trim_start().chars().next();
        let quote_follows = next == Some('"');
        let name_follows = next.is_some_and(|c| c == '_' || c.is_alphabetic());
        let entry = match word {
            "use" if quote_follows => Some(Rule::use_item),
            "test" if quote_follows => Some(Rule::test_item),
            "opset" if !self.header => Some(Rule::opset_item),
            "ops" if name_follows => Some(Rule::ops_item),
            "def" if name_follows => Some(Rule::def_item),
            "pattern" if name_follows => Some(Rule::pattern_item),
            "rule" if name_follows => Some(Rule::rule_item),
            _ => None,
        };
        if word == "else" {
            let at = self.at;
            let piece = self.piece();
            piece.elses += 1;
            if piece.elses > MAX_DEPTH {
                piece.too_deep.get_or_insert(at);
            }
        }
        let at_line_start = self.at == 0 || self.text.as_bytes()[self.at - 1] == b'\n';
        if let Some(entry) = entry
            && (self.depth == 0 || at_line_start)
        {
            self.begin(Some(entry), self.at);
        }
        self.take(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|piece| &text[piece.range]).collect()
    }

    #[test]
    fn items_begin_at_keywords_outside_of_brackets() {
        let text =
            "use \"a\" # def x\ndef f(x) = x\npattern P opset \"\" 1..2 (x) => (y) { y = def }";
        assert_eq!(
            pieces(text),
            ["use \"a\"", "def f(x) = x", "pattern P opset \"\" 1..2 (x) => (y) { y = def }"]
        );
    }

    #[test]
    fn an_unclosed_bracket_ends_at_the_next_line_that_begins_an_item() {
        assert_eq!(pieces("def f(x = 1\n\ndef g(x) = x"), ["def f(x = 1", "def g(x) = x"]);
    }
}
