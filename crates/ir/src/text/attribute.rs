//! Attributes, read.

use bytes::Bytes;

use super::error::{ParseError, Problem};
use super::lexer::{Token, is_special};
use super::literal::{parse_float, unescape};
use super::parser::Parser;
use crate::{Attribute, AttributeValue, DType, Opsets, Type};

/// ONNX's types of attributes: number, name, and the name of the type of one element.
const TYPES: &[(i32, &str, &str)] = &[
    (1, "float", "float"),
    (2, "int", "int"),
    (3, "string", "string"),
    (4, "tensor", "tensor"),
    (5, "graph", "graph"),
    (6, "floats", "float"),
    (7, "ints", "int"),
    (8, "strings", "string"),
    (9, "tensors", "tensor"),
    (10, "graphs", "graph"),
    (11, "sparse_tensor", "sparse_tensor"),
    (12, "sparse_tensors", "sparse_tensor"),
    (13, "type_proto", "type_proto"),
    (14, "type_protos", "type_proto"),
];

/// The name of the type with this number in `AttributeProto.AttributeType`.
pub(super) fn type_name(number: i32) -> Option<&'static str> {
    TYPES.iter().find(|entry| entry.0 == number).map(|entry| entry.1)
}

/// The name of the type of a value.
pub(super) fn type_of(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::Float(_) => "float",
        AttributeValue::Int(_) => "int",
        AttributeValue::String(_) => "string",
        AttributeValue::Tensor(_) => "tensor",
        AttributeValue::Graph(_) => "graph",
        AttributeValue::Sparse(_) => "sparse_tensor",
        AttributeValue::Type(_) => "type_proto",
        AttributeValue::Floats(_) => "floats",
        AttributeValue::Ints(_) => "ints",
        AttributeValue::Strings(_) => "strings",
        AttributeValue::Tensors(_) => "tensors",
        AttributeValue::Graphs(_) => "graphs",
        AttributeValue::Sparses(_) => "sparse_tensors",
        AttributeValue::Types(_) => "type_protos",
        AttributeValue::Reference { type_number, .. } => {
            type_name(*type_number).unwrap_or("undefined")
        }
    }
}

/// An entry of [`TYPES`]: what an attribute announces after its colon.
type Announced = &'static (i32, &'static str, &'static str);

impl Parser<'_> {
    /// `<a: int = 1, b = "x">`, if it is there.
    pub(super) fn attributes(&mut self, opsets: &Opsets) -> Result<Vec<Attribute>, ParseError> {
        let mut attributes: Vec<Attribute> = Vec::new();
        if !self.eat('<')? {
            return Ok(attributes);
        }
        loop {
            let notes = self.notes()?;
            self.allow(&notes, "an attribute", &["doc"])?;
            let at = self.at();
            let name = self.name("the name of an attribute")?;
            if attributes.iter().any(|attribute| attribute.name == name) {
                return Err(self.error_at(at, Problem::Repeated { name }));
            }
            let mut attribute = self.attribute(name, opsets)?;
            attribute.doc = notes.doc;
            attributes.push(attribute);
            if !self.eat(',')? {
                self.expect('>', "`,` or `>`")?;
                return Ok(attributes);
            }
        }
    }

    /// What stands after the name of an attribute.
    pub(super) fn attribute(
        &mut self,
        name: String,
        opsets: &Opsets,
    ) -> Result<Attribute, ParseError> {
        let announced = if self.eat(':')? {
            if self.token() == Token::Word("type") && self.second() == Token::Punct('(') {
                return self.reference_of_unknown_type(name);
            }
            self.announced()?
        } else {
            None
        };
        self.expect('=', "`:` and a type, or `=` and a value")?;
        let at = self.at();
        let value = if self.is('[') {
            self.list(&name, announced, opsets)?
        } else {
            let value = self.single(announced, opsets)?;
            match announced {
                Some((_, announced, _)) if *announced != type_of(&value) => {
                    let found = format!("`{}`", type_of(&value));
                    let problem = Problem::AttributeMismatch { name, announced, found };
                    return Err(self.error_at(at, problem));
                }
                _ => value,
            }
        };
        Ok(Attribute::new(name, value))
    }

    /// `type(99) = @name`: a reference whose type only a later version of ONNX knows.
    fn reference_of_unknown_type(&mut self, name: String) -> Result<Attribute, ParseError> {
        self.advance()?;
        self.expect('(', "`(`")?;
        let at = self.at();
        let number = self.int64("the number of a type of attributes")?;
        let number = i32::try_from(number)
            .map_err(|_| self.error_at(at, out_of_range(number, DType::Int32)))?;
        self.expect(')', "`)`")?;
        self.expect('=', "`=` and a reference")?;
        self.expect('@', "`@`: a type by number has no other values")?;
        let reference = self.name("the name of an attribute of the function")?;
        let value = AttributeValue::Reference { name: reference, type_number: number };
        Ok(Attribute::new(name, value))
    }

    fn announced(&mut self) -> Result<Option<Announced>, ParseError> {
        let at = self.at();
        let word = self.word("the type of the attribute")?;
        match TYPES.iter().find(|entry| entry.1 == word) {
            Some(entry) => Ok(Some(entry)),
            // A reference of unknown type is printed so.
            None if word == "undefined" => Ok(None),
            None => {
                let problem = Problem::UnknownAttributeType { name: word.to_owned() };
                Err(self.error_at(at, problem))
            }
        }
    }

    fn list(
        &mut self,
        name: &str,
        announced: Option<Announced>,
        opsets: &Opsets,
    ) -> Result<AttributeValue, ParseError> {
        let start = self.at();
        self.advance()?;
        if let Some((_, whole, element)) = announced
            && whole == element
        {
            let found = "a list".to_owned();
            let problem =
                Problem::AttributeMismatch { name: name.to_owned(), announced: whole, found };
            return Err(self.error_at(start, problem));
        }
        let element = announced.map(|(_, _, element)| *element);
        let mut elements = Vec::new();
        self.items(']', "`,` or `]`", |parser| {
            let at = parser.at();
            let single = parser.single(announced, opsets)?;
            elements.push((single, at));
            Ok(())
        })?;
        // Where no type is announced, the first element decides; numbers are floats if one of them is.
        let mixed = elements.iter().any(|(single, _)| matches!(single, AttributeValue::Float(_)));
        if mixed && element.is_none() {
            for (single, _) in &mut elements {
                if let AttributeValue::Int(int) = *single {
                    *single = AttributeValue::Float(int as f32);
                }
            }
        }
        let Some(first) = element.or(elements.first().map(|(single, _)| type_of(single))) else {
            return Err(self.error_at(start, Problem::UntypedEmptyList { name: name.to_owned() }));
        };
        let stray =
            elements.iter().find(|(single, _)| type_of(single) != first || is_reference(single));
        if let Some((single, at)) = stray {
            let second = if is_reference(single) {
                "a reference".to_owned()
            } else {
                format!("`{}`", type_of(single))
            };
            let problem = Problem::MixedList { name: name.to_owned(), first, second };
            return Err(self.error_at(*at, problem));
        }
        Ok(collect(first, elements.into_iter().map(|(single, _)| single)))
    }

    /// One value. An integer is a float where a float is announced.
    fn single(
        &mut self,
        announced: Option<Announced>,
        opsets: &Opsets,
    ) -> Result<AttributeValue, ParseError> {
        const EXPECTED: &str = "a value: a number, a string, a tensor, a type or a graph";
        let element = announced.map(|(_, _, element)| *element);
        let mut notes = self.notes()?;
        let plain = match self.token() {
            Token::Int(literal) if element != Some("float") => {
                let int = literal.parse().map_err(|_| self.out_of_range(literal, DType::Int64))?;
                AttributeValue::Int(int)
            }
            Token::Int(literal) | Token::Float(literal) => return self.float(literal),
            Token::Word(word) if is_special(word) => return self.float(word),
            Token::String(raw) if !matches!(self.second(), Token::Punct('(') | Token::Arrow) => {
                AttributeValue::String(Bytes::from(unescape(raw)))
            }
            Token::Punct('@') => {
                self.advance()?;
                let name = self.name("the name of an attribute of the function")?;
                let type_number = announced.map_or(0, |(number, _, _)| *number);
                return Ok(AttributeValue::Reference { name, type_number });
            }
            _ if self.is_type() => {
                let at = self.at();
                let type_notes = notes.split_type();
                let ty = self.ty(type_notes)?;
                return self.tensor_or_type(ty, at, notes);
            }
            Token::Word(_) | Token::String(_) | Token::Punct('(') | Token::Arrow => {
                let graph = self.nested(|parser| parser.graph(opsets, notes))?;
                return Ok(AttributeValue::Graph(Box::new(graph)));
            }
            _ => return Err(self.unexpected(EXPECTED)),
        };
        self.allow(&notes, "a number or string", &[])?;
        self.advance()?;
        Ok(plain)
    }

    fn float(&mut self, literal: &str) -> Result<AttributeValue, ParseError> {
        let value = parse_float::<f32>(literal);
        let value = value.ok_or_else(|| self.out_of_range(literal, DType::Float))?;
        self.advance()?;
        let at = self.at();
        let bits = self.nan_bits()?.map(u32::try_from).transpose();
        let bits = bits.map_err(|_| self.error_at(at, Problem::BadHex))?;
        Ok(AttributeValue::Float(bits.map_or(value, f32::from_bits)))
    }

    /// What begins with a type: with content a tensor, else the type itself.
    fn tensor_or_type(
        &mut self,
        ty: Type,
        at: usize,
        mut notes: super::note::Notes,
    ) -> Result<AttributeValue, ParseError> {
        if let Type::Sparse(sparse) = &ty
            && matches!(self.token(), Token::Word(_) | Token::Note)
        {
            self.allow(&notes, "a sparse tensor", &[])?;
            return self.sparse(sparse, at, "").map(AttributeValue::Sparse);
        }
        if matches!(self.token(), Token::Word(_) | Token::String(_)) {
            notes.tensor_name = self.name("a name")?;
        } else if !self.is('{') && !self.is('=') && !self.is('[') {
            self.allow(&notes, "a type", &[])?;
            return Ok(AttributeValue::Type(ty));
        }
        self.eat('=')?;
        let seed = notes.tensor_name.clone();
        self.content(&ty, at, &seed, notes).map(AttributeValue::Tensor)
    }
}

fn out_of_range(number: i64, dtype: DType) -> Problem {
    Problem::OutOfRange { literal: number.to_string(), ty: dtype.to_string() }
}

fn is_reference(value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::Reference { .. })
}

/// Elements of one type, as a list of it.
fn collect(element: &str, elements: impl Iterator<Item = AttributeValue>) -> AttributeValue {
    macro_rules! list {
        ($list:ident, $single:ident) => {
            AttributeValue::$list(
                elements
                    .map(|element| match element {
                        AttributeValue::$single(inner) => inner.into(),
                        other => unreachable!("checked to be of one type, not {}", type_of(&other)),
                    })
                    .collect(),
            )
        };
    }
    match element {
        "float" => list!(Floats, Float),
        "int" => list!(Ints, Int),
        "string" => list!(Strings, String),
        "tensor" => list!(Tensors, Tensor),
        "graph" => AttributeValue::Graphs(
            elements
                .map(|element| match element {
                    AttributeValue::Graph(graph) => *graph,
                    other => unreachable!("checked to be a graph, not {}", type_of(&other)),
                })
                .collect(),
        ),
        "sparse_tensor" => list!(Sparses, Sparse),
        "type_proto" => list!(Types, Type),
        other => unreachable!("`{other}` is not the type of an element"),
    }
}
