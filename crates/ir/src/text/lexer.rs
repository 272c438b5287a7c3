//! Characters to tokens.

use super::error::{ParseError, Position, Problem};

/// The smallest part of a text that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A word: `[A-Za-z_][A-Za-z0-9_]*`.
    Word(&'s str),
    /// What stands between two quotes, escapes as written.
    String(&'s str),
    /// A number without point and exponent.
    Int(&'s str),
    /// A number with point or exponent, `-inf` or `-nan`; `inf` and `nan` are words.
    Float(&'s str),
    /// One of ``< > ( ) [ ] { } , : = ? . @``, or a `-` that begins no number.
    Punct(char),
    /// `=>`.
    Arrow,
    /// `...`.
    Ellipsis,
    /// `#@`: a note begins, which is a comment to ONNX's own parser.
    Note,
    /// The end of the line on which a note began.
    NoteEnd,
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// The token in words, for messages.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", shorten(word)),
            Self::String(raw) => format!("the string \"{}\"", shorten(raw).escape_debug()),
            Self::Int(literal) | Self::Float(literal) => {
                format!("the number `{}`", shorten(literal))
            }
            Self::Punct(punct) => format!("`{punct}`"),
            Self::Arrow => "`=>`".to_owned(),
            Self::Ellipsis => "`...`".to_owned(),
            Self::Note => "a note `#@`".to_owned(),
            Self::NoteEnd => "the end of the note".to_owned(),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// The beginning of something that may be very long.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A place in a text, from which tokens are read one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'s> {
    src: &'s str,
    offset: usize,
    in_note: bool,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(src: &'s str) -> Self {
        Self { src, offset: 0, in_note: false }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'s>, usize), ParseError> {
        if self.skip_blanks() {
            return Ok((Token::NoteEnd, self.offset));
        }
        let start = self.offset;
        let Some(first) = self.peek() else { return Ok((Token::End, start)) };
        let token = match first {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => Token::Word(self.word()),
            b'0'..=b'9' => self.number()?,
            b'-' if self.second().is_some_and(|byte| byte.is_ascii_alphanumeric()) => {
                self.number()?
            }
            b'"' => Token::String(self.string()?),
            b'#' => {
                self.offset += 2;
                self.in_note = true;
                Token::Note
            }
            b'=' if self.rest().starts_with("=>") => {
                self.offset += 2;
                Token::Arrow
            }
            b'.' if self.rest().starts_with("...") => {
                self.offset += 3;
                Token::Ellipsis
            }
            b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'=' | b'?'
            | b'.' | b'@' | b'-' => {
                self.offset += 1;
                Token::Punct(char::from(first))
            }
            _ => {
                let found = self.rest().chars().next().expect("there is a character left");
                return Err(self.error(start, Problem::Character { found }));
            }
        };
        Ok((token, start))
    }

    pub(super) fn error(&self, offset: usize, problem: Problem) -> ParseError {
        ParseError { at: Position::of(self.src, offset), problem }
    }

    fn rest(&self) -> &'s str {
        &self.src[self.offset..]
    }

    fn peek(&self) -> Option<u8> {
        self.src.as_bytes().get(self.offset).copied()
    }

    fn second(&self) -> Option<u8> {
        self.src.as_bytes().get(self.offset + 1).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.offset += 1;
        }
    }

    /// Skips blanks and comments, up to a token; returns whether a note ended on the way.
    fn skip_blanks(&mut self) -> bool {
        loop {
            match self.peek() {
                None | Some(b'\n') if self.in_note => {
                    self.in_note = false;
                    return true;
                }
                Some(b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r') => self.offset += 1,
                Some(b'#') if self.in_note || !self.rest().starts_with("#@") => {
                    self.skip_while(|byte| byte != b'\n');
                }
                _ => return false,
            }
        }
    }

    fn word(&mut self) -> &'s str {
        let start = self.offset;
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        &self.src[start..self.offset]
    }

    fn number(&mut self) -> Result<Token<'s>, ParseError> {
        let start = self.offset;
        if self.peek() == Some(b'-') {
            self.offset += 1;
        }
        let mut float = false;
        if self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            float = is_special(self.word());
            if !float {
                return Err(self.bad_number(start));
            }
            return Ok(Token::Float(&self.src[start..self.offset]));
        }
        let digits = self.digits();
        if digits && self.peek() == Some(b'.') && !self.rest().starts_with("...") {
            float = true;
            self.offset += 1;
            self.digits();
        }
        let mut complete = digits;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            float = true;
            self.offset += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.offset += 1;
            }
            complete &= self.digits();
        }
        let glued = self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !complete || glued {
            self.word();
            return Err(self.bad_number(start));
        }
        let literal = &self.src[start..self.offset];
        Ok(if float { Token::Float(literal) } else { Token::Int(literal) })
    }

    fn digits(&mut self) -> bool {
        let start = self.offset;
        self.skip_while(|byte| byte.is_ascii_digit());
        self.offset > start
    }

    fn bad_number(&self, start: usize) -> ParseError {
        let literal = shorten(&self.src[start..self.offset]);
        self.error(start, Problem::BadNumber { literal })
    }

    fn string(&mut self) -> Result<&'s str, ParseError> {
        let start = self.offset;
        self.offset += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(&self.src[start + 1..self.offset - 1]);
                }
                // What is escaped may be of several bytes, none of which is a quote or a backslash.
                Some(b'\\') if self.offset + 1 < self.src.len() => self.offset += 2,
                Some(byte) if byte != b'\\' && !(byte == b'\n' && self.in_note) => {
                    self.offset += 1;
                }
                _ => return Err(self.error(start, Problem::UnclosedString)),
            }
        }
    }
}

/// Whether a word is a number: `inf`, `infinity` or `nan` in any case.
pub(super) fn is_special(word: &str) -> bool {
    ["inf", "infinity", "nan"].iter().any(|special| word.eq_ignore_ascii_case(special))
}
