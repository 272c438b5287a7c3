//! Notes: what a file says and ONNX's own syntax has no place for.

use bytes::Bytes;

use super::error::{ParseError, Problem};
use super::lexer::Token;
use super::parser::Parser;
use crate::{External, Metadata};

/// The notes that stand before one thing.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) doc: String,
    pub(super) metadata: Metadata,
    /// ONNX's `denotation` of a type.
    pub(super) denotation: Option<Box<str>>,
    /// The denotations of the axes of a tensor type.
    pub(super) axes: Vec<Option<Box<str>>>,
    /// The tensor's own name, where it is not the name of its value.
    pub(super) tensor_name: String,
    /// Whether the file holds a tensor in the field of its type.
    pub(super) typed: bool,
    /// Where the file holds a tensor whose content is printed here.
    pub(super) external: Option<External>,
    pub(super) quantization: Vec<(String, Metadata)>,
    pub(super) training_info: Vec<Bytes>,
    pub(super) device_configurations: Vec<Bytes>,
    /// What is here, and where: each place takes some and refuses the rest.
    given: Vec<(String, usize)>,
}

impl Notes {
    /// Takes out the notes on a type, for what contains it keeps the rest.
    pub(super) fn split_type(&mut self) -> Self {
        let is_ours = |(key, _): &(String, usize)| key == "denotation" || key == "axes";
        Self {
            denotation: self.denotation.take(),
            axes: std::mem::take(&mut self.axes),
            given: self.given.extract_if(.., |note| is_ours(note)).collect(),
            ..Self::default()
        }
    }
}

impl Parser<'_> {
    /// The notes before what comes next.
    pub(super) fn notes(&mut self) -> Result<Notes, ParseError> {
        let mut notes = Notes::default();
        while self.token() == Token::Note {
            self.advance()?;
            loop {
                self.note(&mut notes)?;
                if !self.eat(',')? {
                    break;
                }
            }
            if self.token() != Token::NoteEnd {
                return Err(self.unexpected("`,` or the end of the note"));
            }
            self.advance()?;
        }
        Ok(notes)
    }

    /// Refuses notes that their place cannot have.
    pub(super) fn allow(
        &self,
        notes: &Notes,
        owner: &'static str,
        allowed: &[&str],
    ) -> Result<(), ParseError> {
        match notes.given.iter().find(|(key, _)| !allowed.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, at)) => {
                Err(self.error_at(*at, Problem::UnknownNote { key: key.clone(), owner }))
            }
        }
    }

    fn note(&mut self, notes: &mut Notes) -> Result<(), ParseError> {
        let at = self.at();
        let key = self.word("the name of a note")?.to_owned();
        if notes.given.iter().any(|(given, _)| *given == key) {
            return Err(self.error_at(at, Problem::Repeated { name: key }));
        }
        if key == "typed" {
            notes.typed = true;
            notes.given.push((key, at));
            return Ok(());
        }
        self.expect(':', "`:` and what the note says")?;
        match key.as_str() {
            "doc" => notes.doc = self.utf8("a text in quotes")?,
            "metadata" => notes.metadata = self.pairs()?,
            "denotation" => notes.denotation = Some(self.utf8("a denotation in quotes")?.into()),
            "axes" => {
                self.expect('[', "`[` and a denotation or `?` for each axis")?;
                self.items(']', "`,` or `]`", |parser| {
                    let axis = if parser.eat('?')? {
                        None
                    } else {
                        Some(parser.utf8("a denotation in quotes, or `?`")?.into())
                    };
                    notes.axes.push(axis);
                    Ok(())
                })?;
            }
            "tensor_name" => notes.tensor_name = self.utf8("a name in quotes")?,
            "external" => notes.external = Some(self.external()?),
            "quantization" => {
                self.expect('[', "`[` and the annotations")?;
                self.items(']', "`,` or `]`", |parser| {
                    let tensor = parser.utf8("the name of a tensor in quotes")?;
                    parser.expect(':', "`:` and key-value pairs")?;
                    notes.quantization.push((tensor, parser.pairs()?));
                    Ok(())
                })?;
            }
            "training_info" => notes.training_info = self.messages()?,
            "device_configurations" => notes.device_configurations = self.messages()?,
            _ => {
                let owner = "this syntax";
                return Err(self.error_at(at, Problem::UnknownNote { key, owner }));
            }
        }
        notes.given.push((key, at));
        Ok(())
    }

    /// Encoded messages: strings of hexadecimal digits.
    fn messages(&mut self) -> Result<Vec<Bytes>, ParseError> {
        let mut messages = Vec::new();
        self.expect('[', "`[` and strings of hexadecimal bytes")?;
        self.items(']', "`,` or `]`", |parser| {
            messages.push(parser.hex()?.into());
            Ok(())
        })?;
        Ok(messages)
    }
}
