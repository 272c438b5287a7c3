//! Types, read.

use super::error::{ParseError, Problem};
use super::lexer::Token;
use super::literal::TYPE_WORDS;
use super::note::Notes;
use super::parser::Parser;
use crate::{DType, Denotation, Dim, TensorType, Type};

impl Parser<'_> {
    /// Whether a type comes next, where an attribute's value may stand.
    pub(super) fn is_type(&self) -> bool {
        let Token::Word(word) = self.token() else { return false };
        match word {
            // Words of ours: a graph may have such a name.
            "undefined" | "unspecified" => {
                !matches!(self.second(), Token::Punct('(') | Token::Arrow)
            }
            "dtype" => self.second() == Token::Punct('('),
            _ => DType::from_name(word).is_some() || TYPE_WORDS.contains(&word),
        }
    }

    /// Whether a type comes next, where a value is declared: a word that ends the declaration is its
    /// name, whatever it means elsewhere.
    pub(super) fn is_type_of_value(&self) -> bool {
        self.is_type() && !matches!(self.second(), Token::Punct(',' | ')' | '>' | '='))
    }

    /// A type; `notes` are those before it.
    pub(super) fn ty(&mut self, mut notes: Notes) -> Result<Type, ParseError> {
        let denotation = notes.denotation.take();
        let mut axes = std::mem::take(&mut notes.axes);
        let at = self.at();
        let ty = self.nested(|parser| parser.bare_type(denotation, &mut axes))?;
        if !axes.is_empty() {
            let problem =
                Problem::UnknownNote { key: "axes".to_owned(), owner: "a type without axes" };
            return Err(self.error_at(at, problem));
        }
        self.allow(&notes, "a type", &["denotation", "axes"])?;
        Ok(ty)
    }

    fn bare_type(
        &mut self,
        denotation: Option<Box<str>>,
        axes: &mut Vec<Option<Box<str>>>,
    ) -> Result<Type, ParseError> {
        let Token::Word(word) = self.token() else { return Err(self.unexpected("a type")) };
        Ok(match word {
            "seq" => Type::Sequence { element: self.element_in_parentheses()?, denotation },
            "optional" => Type::Optional { element: self.element_in_parentheses()?, denotation },
            "map" => {
                self.open()?;
                let key = self.dtype()?.unwrap_or(DType::Unknown(0));
                self.expect(',', "`,` and the type of the values")?;
                let value = self.element()?;
                self.expect(')', "`)`")?;
                Type::Map { key, value, denotation }
            }
            "opaque" => {
                self.open()?;
                let (domain, name) = self.opaque()?;
                self.expect(')', "`)`")?;
                Type::Opaque { domain, name, denotation }
            }
            "unspecified" => {
                self.advance()?;
                Type::Unspecified { denotation }
            }
            "sparse_tensor" => {
                self.open()?;
                let ty = self.tensor_type(denotation, axes)?;
                self.expect(')', "`)`")?;
                Type::Sparse(ty)
            }
            _ => Type::Tensor(self.tensor_type(denotation, axes)?),
        })
    }

    fn open(&mut self) -> Result<(), ParseError> {
        self.advance()?;
        self.expect('(', "`(`")
    }

    fn element_in_parentheses(&mut self) -> Result<Option<Box<Type>>, ParseError> {
        self.open()?;
        let element = self.element()?;
        self.expect(')', "`)`")?;
        Ok(element)
    }

    /// The type inside another one, which a file may leave open.
    fn element(&mut self) -> Result<Option<Box<Type>>, ParseError> {
        if self.is(')') {
            return Ok(None);
        }
        let notes = self.notes()?;
        Ok(Some(Box::new(self.ty(notes)?)))
    }

    /// `domain,name`, `name` or nothing.
    fn opaque(&mut self) -> Result<(String, String), ParseError> {
        if self.is(')') {
            return Ok(Default::default());
        }
        let first = self.dotted("the name of the type")?;
        if !self.eat(',')? {
            return Ok((String::new(), first));
        }
        let name = if self.is(')') { String::new() } else { self.dotted("the name of the type")? };
        Ok((first, name))
    }

    /// Names joined by dots.
    pub(super) fn dotted(&mut self, expected: &'static str) -> Result<String, ParseError> {
        let mut dotted = self.name(expected)?;
        while self.eat('.')? {
            dotted.push('.');
            dotted.push_str(&self.name("a name after the dot")?);
        }
        Ok(dotted)
    }

    fn tensor_type(
        &mut self,
        denotation: Option<Box<str>>,
        axes: &mut Vec<Option<Box<str>>>,
    ) -> Result<TensorType, ParseError> {
        let dtype = self.dtype()?;
        let shape = if self.eat('[')? {
            let mut dims = Vec::new();
            self.items(']', "`,` or `]`", |parser| {
                dims.push(parser.dim()?);
                Ok(())
            })?;
            // `float[]` leaves the rank open; a scalar is written `float`.
            (!dims.is_empty()).then_some(dims)
        } else {
            Some(Vec::new())
        };
        let axes = std::mem::take(axes);
        let denotation = (denotation.is_some() || !axes.is_empty())
            .then(|| Box::new(Denotation { tensor: denotation, axes }));
        Ok(TensorType { dtype, shape, denotation })
    }

    fn dtype(&mut self) -> Result<Option<DType>, ParseError> {
        let Token::Word(word) = self.token() else {
            return Err(self.unexpected("an element type"));
        };
        if word == "dtype" && self.second() == Token::Punct('(') {
            self.open()?;
            let Token::Int(literal) = self.token() else {
                return Err(self.unexpected("the number of an element type"));
            };
            let number = literal.parse();
            let number = number.map_err(|_| self.out_of_range(literal, DType::Int32))?;
            self.advance()?;
            self.expect(')', "`)`")?;
            return Ok(Some(DType::from_number(number)));
        }
        let dtype = DType::from_name(word);
        if dtype.is_none() && word != "undefined" {
            return Err(self.error(Problem::UnknownType { name: word.to_owned() }));
        }
        self.advance()?;
        Ok(dtype)
    }

    fn dim(&mut self) -> Result<Dim, ParseError> {
        const EXPECTED: &str = "a dimension: a number, a name or `?`";
        match self.token() {
            Token::Punct('?') => self.advance().map(|()| Dim::Unknown),
            Token::Int(_) => self.int64(EXPECTED).map(Dim::Known),
            _ => self.name(EXPECTED).map(|name| Dim::symbol(&name)),
        }
    }
}
