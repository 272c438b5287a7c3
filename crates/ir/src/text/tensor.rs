//! Content of tensors, read.

use std::sync::Arc;

use bytes::Bytes;

use super::elements::{Literal, Misfit, Packer, literals_per_element};
use super::error::{ParseError, Problem};
use super::lexer::{Token, is_special};
use super::note::Notes;
use super::parser::Parser;
use super::seed;
use crate::{DType, Dim, External, SparseTensor, Storage, Tensor, TensorNotes, TensorType, Type};

/// Notes that a tensor may have.
pub(super) const TENSOR_NOTES: &[&str] = &["doc", "metadata", "tensor_name", "typed", "external"];

impl Parser<'_> {
    /// Whether the content of a tensor comes next.
    pub(super) fn is_content(&self) -> bool {
        self.is('{') || self.is('[')
    }

    /// The content of a dense tensor whose type stands at `at`. `name` seeds made-up content.
    pub(super) fn content(
        &mut self,
        ty: &Type,
        at: usize,
        name: &str,
        notes: Notes,
    ) -> Result<Tensor, ParseError> {
        let Type::Tensor(ty) = ty else { return Err(self.error_at(at, Problem::NotATensor)) };
        let (dtype, dims) = self.concrete(ty, at)?;
        self.allow(&notes, "a tensor", TENSOR_NOTES)?;
        let start = self.at();
        let mut tensor = if self.eat('{')? {
            if self.token() == Token::Ellipsis {
                self.advance()?;
                self.expect('}', "`}`")?;
                seed::tensor(name, dtype, &dims).map_err(|problem| self.error_at(start, problem))?
            } else if dtype == DType::String {
                self.strings(dims, start)?
            } else {
                self.numbers(dtype, dims, start)?
            }
        } else if self.is('[') {
            let external = self.external()?;
            self.load(dtype, dims, external, start)?
        } else {
            return Err(self.unexpected("the content of a tensor: `{…}`"));
        };
        if notes.typed {
            tensor.storage = Storage::Typed;
        }
        if let Some(external) = notes.external {
            tensor.storage = Storage::External(Arc::new(external));
        }
        let text =
            TensorNotes { name: notes.tensor_name, doc: notes.doc, metadata: notes.metadata };
        tensor.notes = (text != TensorNotes::default()).then(|| Box::new(text));
        Ok(tensor)
    }

    /// The content of a sparse tensor: its values, `at`, and where they stand.
    pub(super) fn sparse(
        &mut self,
        ty: &TensorType,
        at: usize,
        name: &str,
    ) -> Result<SparseTensor, ParseError> {
        let mut dims = Vec::new();
        for dim in ty.shape.as_ref().ok_or_else(|| self.error_at(at, Problem::OpenShape))? {
            let Dim::Known(length) = dim else {
                return Err(self.error_at(at, Problem::OpenShape));
            };
            dims.push(*length);
        }
        let values = self.whole_tensor(name)?;
        match self.token() {
            Token::Word("at") => self.advance()?,
            _ => return Err(self.unexpected("`at` and the places of the values")),
        }
        let indices = self.whole_tensor(name)?;
        Ok(SparseTensor { values, indices, dims })
    }

    /// A tensor with its type: `float[2] {1,2}`.
    fn whole_tensor(&mut self, name: &str) -> Result<Tensor, ParseError> {
        let mut notes = self.notes()?;
        let at = self.at();
        let type_notes = notes.split_type();
        let ty = self.ty(type_notes)?;
        if matches!(self.token(), Token::String(_) | Token::Word(_)) {
            notes.tensor_name = self.name("a name")?;
        }
        self.content(&ty, at, name, notes)
    }

    fn concrete(&self, ty: &TensorType, at: usize) -> Result<(DType, Vec<usize>), ParseError> {
        let dims = ty.known_shape().ok_or_else(|| self.error_at(at, Problem::OpenShape))?;
        Ok((ty.dtype.unwrap_or(DType::Unknown(0)), dims))
    }

    fn strings(&mut self, dims: Vec<usize>, start: usize) -> Result<Tensor, ParseError> {
        let mut strings = Vec::new();
        self.items('}', "`,` or `}`", |parser| {
            strings.push(Bytes::from(parser.bytes("a string in quotes")?));
            Ok(())
        })?;
        self.check_count(&dims, strings.len() as u64, 1, start)?;
        Tensor::strings(dims, strings).map_err(|error| self.error_at(start, error.into()))
    }

    fn numbers(
        &mut self,
        dtype: DType,
        dims: Vec<usize>,
        start: usize,
    ) -> Result<Tensor, ParseError> {
        let mut packer = Packer::default();
        let mut found = 0_u64;
        self.items('}', "`,` or `}`", |parser| {
            found += 1;
            parser.element_of(dtype, &mut packer)
        })?;
        self.check_count(&dims, found, literals_per_element(dtype), start)?;
        Tensor::new(dtype, dims, packer.finish())
            .map_err(|error| self.error_at(start, error.into()))
    }

    fn element_of(&mut self, dtype: DType, packer: &mut Packer) -> Result<(), ParseError> {
        let (token, at) = (self.token(), self.at());
        let (literal, text) = match token {
            Token::Int(text) => (Literal::Int(text), text),
            Token::Float(text) => (Literal::Float(text), text),
            Token::Word(text) if is_special(text) => (Literal::Float(text), text),
            _ => return Err(self.unexpected("a number")),
        };
        self.advance()?;
        let literal = match self.nan_bits()? {
            Some(bits) => Literal::Nan(bits),
            None => literal,
        };
        packer.push(dtype, literal).map_err(|misfit| {
            let problem = match misfit {
                Misfit::OutOfRange => Problem::OutOfRange {
                    literal: text.chars().take(40).collect(),
                    ty: dtype.to_string(),
                },
                Misfit::NotAFloat => Problem::Unexpected {
                    expected: "an integer: the value, or the bits of a narrow float",
                    found: token.describe(),
                },
                Misfit::NoLiterals => Problem::NoLiterals { dtype },
            };
            self.error_at(at, problem)
        })
    }

    /// The bits of a NaN with a payload, after the word: `("7fc00001")`.
    pub(super) fn nan_bits(&mut self) -> Result<Option<u64>, ParseError> {
        if !self.is('(') || !matches!(self.second(), Token::String(_)) {
            return Ok(None);
        }
        self.advance()?;
        let Token::String(digits) = self.token() else {
            return Err(self.unexpected("the bits of a NaN in quotes"));
        };
        let bits = u64::from_str_radix(digits, 16).map_err(|_| self.error(Problem::BadHex))?;
        self.advance()?;
        self.expect(')', "`)`")?;
        Ok(Some(bits))
    }

    fn check_count(
        &self,
        dims: &[usize],
        found: u64,
        literals: u64,
        start: usize,
    ) -> Result<(), ParseError> {
        let product = dims.iter().try_fold(1_u64, |count, &dim| count.checked_mul(dim as u64));
        let elements = if dims.contains(&0) { Some(0) } else { product };
        // Too large a shape is for `Tensor::new` to refuse.
        let expected = elements.and_then(|elements| elements.checked_mul(literals));
        match expected {
            Some(expected) if expected != found => {
                let dims = dims.to_vec();
                Err(self.error_at(start, Problem::WrongCount { dims, expected, found }))
            }
            _ => Ok(()),
        }
    }

    /// A place in a file: `["location": "w.bin", "offset": "0", "length": "16"]`.
    pub(super) fn external(&mut self) -> Result<External, ParseError> {
        let start = self.at();
        let pairs = self.pairs()?;
        if pairs.iter().any(|(key, _)| key == "elided") {
            return Err(self.error_at(start, Problem::Elided));
        }
        let bad = |key: &str| self.error_at(start, Problem::BadExternal { key: key.to_owned() });
        let number = |key: &str, value: &str| value.parse::<u64>().map_err(|_| bad(key));
        let mut external =
            External { location: String::new(), offset: None, length: None, checksum: None };
        for (key, value) in pairs {
            match key.as_str() {
                "location" => external.location = value,
                "offset" => external.offset = Some(number(&key, &value)?),
                "length" => external.length = Some(number(&key, &value)?),
                "checksum" => external.checksum = Some(value),
                other => return Err(bad(other)),
            }
        }
        if external.location.is_empty() {
            return Err(self.error_at(start, Problem::NoLocation));
        }
        Ok(external)
    }

    fn load(
        &self,
        dtype: DType,
        dims: Vec<usize>,
        external: External,
        start: usize,
    ) -> Result<Tensor, ParseError> {
        let location = external.location.clone();
        let refuse = |reason: String| {
            let location = location.clone();
            self.error_at(start, Problem::External { location, reason })
        };
        let Some(read) = self.options.external else {
            return Err(refuse("other files are not read here".to_owned()));
        };
        let bytes = read(&external).map_err(refuse)?;
        let mut tensor =
            Tensor::new(dtype, dims, bytes).map_err(|error| self.error_at(start, error.into()))?;
        tensor.storage = Storage::External(Arc::new(external));
        Ok(tensor)
    }
}
