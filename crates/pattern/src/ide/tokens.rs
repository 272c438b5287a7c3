//! Tokens of a text that need not parse.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword, or an operator with its domain.
    Word,
    /// A number.
    Number,
    /// A string; it may lack its end.
    String,
    /// A comment up to the end of its line.
    Comment,
    /// One character of anything else, or `=>`, `~>`, `...`, `==`, `<=`, `>=`, `!=`.
    Sign,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

impl Token {
    pub(super) fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.range.clone()]
    }
}

/// The tokens of a text, without white space.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '#' => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '"' => (Kind::String, string(rest)),
            _ if c.is_ascii_digit() => (Kind::Number, number(rest)),
            _ if in_word(c) => (Kind::Word, word(rest)),
            _ => (Kind::Sign, sign(rest, c)),
        };
        found.push(Token { kind, range: at..at + length });
        at += length;
    }
    found
}

/// Whether a name may go on with this character.
pub(super) fn in_word(c: char) -> bool {
    c == '_' || c == '\'' || c.is_alphanumeric()
}

fn string(rest: &str) -> usize {
    match rest[1..].find(['"', '\n']) {
        Some(end) if rest.as_bytes()[1 + end] == b'"' => end + 2,
        Some(end) => end + 1,
        None => rest.len(),
    }
}

/// A word with the dots inside it: `com.microsoft.Gelu`, but not `xs...`.
fn word(rest: &str) -> usize {
    let mut at = 0;
    loop {
        let part = rest[at..].find(|c| !in_word(c)).unwrap_or(rest.len() - at);
        at += part;
        let goes_on = rest[at..].strip_prefix('.').and_then(|rest| rest.chars().next());
        match goes_on {
            Some(c) if part > 0 && in_word(c) && !c.is_ascii_digit() => at += 1,
            _ => return at,
        }
    }
}

/// Digits, a point and an exponent; `1..2` is two numbers.
fn number(rest: &str) -> usize {
    let digits = |at: usize| {
        rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| at + end)
    };
    let mut at = digits(0);
    if rest[at..].starts_with('.') && !rest[at..].starts_with("..") {
        at = digits(at + 1);
    }
    if rest[at..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[at + 1..].starts_with(['+', '-']));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at
}

fn sign(rest: &str, c: char) -> usize {
    let long = ["...", "=>", "~>", "==", "<=", ">=", "!=", "??"];
    long.iter().find(|sign| rest.starts_with(**sign)).map_or(c.len_utf8(), |sign| sign.len())
}

/// The word that an offset is in or at the end of.
pub(super) fn word_at(text: &str, offset: usize) -> Option<Range<usize>> {
    let touches = |token: &Token| token.range.start <= offset && offset <= token.range.end;
    let mut found = tokens(text).into_iter().filter(|token| token.kind == Kind::Word);
    found.find(touches).map(|token| token.range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).iter().map(|token| token.text(text)).collect()
    }

    #[test]
    fn words_numbers_and_signs() {
        assert_eq!(
            texts("y = com.m.Gelu?<a = 1.5e-3, rest...>(x) # no\n\"open"),
            [
                "y",
                "=",
                "com.m.Gelu",
                "?",
                "<",
                "a",
                "=",
                "1.5e-3",
                ",",
                "rest",
                "...",
                ">",
                "(",
                "x",
                ")",
                "# no",
                "\"open"
            ]
        );
        assert_eq!(texts("13..18 x' ± β"), ["13", ".", ".", "18", "x'", "±", "β"]);
    }

    #[test]
    fn the_word_at_a_place() {
        assert_eq!(word_at("y = Relu(x)", 8), Some(4..8));
        assert_eq!(word_at("y = Relu(x)", 3), None);
    }
}
