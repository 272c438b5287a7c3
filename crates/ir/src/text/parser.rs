//! The cursor: one token of lookahead, located errors, and the small parts every rule needs.

use super::error::{ParseError, Problem};
use super::lexer::{Lexer, Token};
use super::{ParseOptions, literal};
use crate::{DType, Metadata, Opset, Opsets};

/// Graphs and types may be nested this deep. Readers of ONNX files give up at 100 messages, which are
/// 33 graphs or 49 types.
const MAX_DEPTH: usize = 50;

/// Reads a text from its beginning, token by token. The grammar stands in the documentation of the
/// module above; each rule is a method, in the file of the thing that it reads.
pub(super) struct Parser<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    at: usize,
    depth: usize,
    pub(super) options: &'s ParseOptions<'s>,
}

impl<'s> Parser<'s> {
    pub(super) fn new(src: &'s str, options: &'s ParseOptions<'s>) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(src);
        let (token, at) = lexer.next()?;
        Ok(Self { lexer, token, at, depth: 0, options })
    }

    /// The token that is read next.
    pub(super) fn token(&self) -> Token<'s> {
        self.token
    }

    /// Where it begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The token after it; [`Token::End`] where there is none.
    pub(super) fn second(&self) -> Token<'s> {
        let mut ahead = self.lexer;
        ahead.next().map_or(Token::End, |(token, _)| token)
    }

    pub(super) fn advance(&mut self) -> Result<(), ParseError> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    pub(super) fn is(&self, punct: char) -> bool {
        self.token == Token::Punct(punct)
    }

    pub(super) fn eat(&mut self, punct: char) -> Result<bool, ParseError> {
        let found = self.is(punct);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes a piece of punctuation that must be there; `expected` names it and what else may be.
    pub(super) fn expect(&mut self, punct: char, expected: &'static str) -> Result<(), ParseError> {
        if self.eat(punct)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn expect_end(&self, expected: &'static str) -> Result<(), ParseError> {
        if self.token == Token::End { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn expect_arrow(&mut self) -> Result<(), ParseError> {
        if self.token != Token::Arrow {
            return Err(self.unexpected("`=>` and the outputs"));
        }
        self.advance()
    }

    /// The items of a list after its opening, up to and with `close`.
    pub(super) fn items(
        &mut self,
        close: char,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        if self.eat(close)? {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.eat(',')? {
                return self.expect(close, expected);
            }
        }
    }

    /// Runs a rule that may contain itself.
    pub(super) fn nested<T>(
        &mut self,
        rule: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(Problem::TooDeep { limit: MAX_DEPTH }));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'s str, ParseError> {
        let Token::Word(word) = self.token else { return Err(self.unexpected(expected)) };
        self.advance()?;
        Ok(word)
    }

    /// A name: a word, or a string for any other.
    pub(super) fn name(&mut self, expected: &'static str) -> Result<String, ParseError> {
        match self.token {
            Token::Word(word) => {
                self.advance()?;
                Ok(word.to_owned())
            }
            Token::String(_) => self.utf8(expected),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// A string, as bytes.
    pub(super) fn bytes(&mut self, expected: &'static str) -> Result<Vec<u8>, ParseError> {
        let Token::String(raw) = self.token else { return Err(self.unexpected(expected)) };
        self.advance()?;
        Ok(literal::unescape(raw))
    }

    /// A string that must be UTF-8.
    pub(super) fn utf8(&mut self, expected: &'static str) -> Result<String, ParseError> {
        let at = self.at;
        String::from_utf8(self.bytes(expected)?).map_err(|_| self.error_at(at, Problem::NotUtf8))
    }

    /// A string of hexadecimal digits.
    pub(super) fn hex(&mut self) -> Result<Vec<u8>, ParseError> {
        let Token::String(raw) = self.token else {
            return Err(self.unexpected("a string of hexadecimal bytes"));
        };
        let bytes = literal::unhex(raw).ok_or_else(|| self.error(Problem::BadHex))?;
        self.advance()?;
        Ok(bytes)
    }

    pub(super) fn int64(&mut self, expected: &'static str) -> Result<i64, ParseError> {
        let Token::Int(literal) = self.token else { return Err(self.unexpected(expected)) };
        let value = literal.parse().map_err(|_| self.out_of_range(literal, DType::Int64))?;
        self.advance()?;
        Ok(value)
    }

    /// `["" : 17, "com.microsoft" : 1]`.
    pub(super) fn opsets(&mut self) -> Result<Opsets, ParseError> {
        let mut opsets = Opsets::default();
        self.expect('[', "`[` and the operator sets, as in `[\"\" : 17]`")?;
        self.items(']', "`,` or `]`", |parser| {
            let domain = parser.utf8("a domain in quotes")?;
            parser.expect(':', "`:` and a version")?;
            let version = parser.int64("a version")?;
            opsets.0.push(Opset { domain, version });
            Ok(())
        })?;
        Ok(opsets)
    }

    /// `["key": "value", …]`.
    pub(super) fn pairs(&mut self) -> Result<Metadata, ParseError> {
        let mut pairs = Vec::new();
        self.expect('[', "`[` and key-value pairs")?;
        self.items(']', "`,` or `]`", |parser| {
            let key = parser.utf8("a key in quotes")?;
            parser.expect(':', "`:` and a value")?;
            pairs.push((key, parser.utf8("a value in quotes")?));
            Ok(())
        })?;
        Ok(pairs)
    }

    pub(super) fn error(&self, problem: Problem) -> ParseError {
        self.error_at(self.at, problem)
    }

    pub(super) fn error_at(&self, offset: usize, problem: Problem) -> ParseError {
        self.lexer.error(offset, problem)
    }

    pub(super) fn unexpected(&self, expected: &'static str) -> ParseError {
        self.error(Problem::Unexpected { expected, found: self.token.describe() })
    }

    pub(super) fn out_of_range(&self, literal: &str, dtype: DType) -> ParseError {
        let literal = literal.chars().take(40).collect();
        self.error(Problem::OutOfRange { literal, ty: dtype.to_string() })
    }
}
