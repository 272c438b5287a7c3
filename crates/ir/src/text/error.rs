use std::fmt;

use crate::{DType, TensorError};

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// The line, counted from 1.
    pub line: usize,
    /// The character in its line, counted from 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset`, which is the end of the text if it lies beyond.
    pub(super) fn of(src: &str, offset: usize) -> Self {
        let mut offset = offset.min(src.len());
        while !src.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &src[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct ParseError {
    /// The place.
    pub at: Position,
    /// What is wrong there.
    pub problem: Problem,
}

impl ParseError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// What to do about it, if there is something to say beyond the message.
    pub fn hint(&self) -> Option<&'static str> {
        self.problem.hint()
    }
}

/// What can be wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// A character that no part of the grammar begins with.
    #[error("`{}` does not belong to the syntax", .found.escape_debug())]
    Character {
        /// The character.
        found: char,
    },
    /// A string without its closing quote.
    #[error("this string is never closed")]
    UnclosedString,
    /// A name that is not UTF-8 because of `\x` escapes.
    #[error("a name must be UTF-8")]
    NotUtf8,
    /// A literal that begins like a number and is none.
    #[error("`{literal}` is not a number")]
    BadNumber {
        /// The literal.
        literal: String,
    },
    /// A number that its type cannot hold.
    #[error("`{literal}` does not fit `{ty}`")]
    OutOfRange {
        /// The literal.
        literal: String,
        /// The type it should have.
        ty: String,
    },
    /// Graphs or types nested in each other without end.
    #[error("nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A word that should be a type.
    #[error("`{name}` is not a type")]
    UnknownType {
        /// The word.
        name: String,
    },
    /// A word that should be the type of an attribute.
    #[error("`{name}` is not a type of attributes")]
    UnknownAttributeType {
        /// The word.
        name: String,
    },
    /// A word that should be a property of a model or function.
    #[error("`{name}` is not a property of a {owner}")]
    UnknownProperty {
        /// The word.
        name: String,
        /// `model` or `function`.
        owner: &'static str,
    },
    /// A note that its place cannot have, or that does not exist.
    #[error("{owner} has no note `{key}`")]
    UnknownNote {
        /// The word.
        key: String,
        /// What the note stands before.
        owner: &'static str,
    },
    /// A property, attribute or declaration given twice.
    #[error("`{name}` is given twice")]
    Repeated {
        /// Its name.
        name: String,
    },
    /// A value defined twice.
    #[error("`{name}` is defined twice")]
    Redefined {
        /// Its name.
        name: String,
    },
    /// A value declared twice with different types or notes.
    #[error("`{name}` is declared in two ways")]
    Redeclared {
        /// Its name.
        name: String,
    },
    /// An empty list whose attribute does not say its type.
    #[error("the empty list of `{name}` has no type")]
    UntypedEmptyList {
        /// The attribute.
        name: String,
    },
    /// An attribute whose value is not of the type it announces.
    #[error("`{name}` is announced as `{announced}`, but given {found}")]
    AttributeMismatch {
        /// The attribute.
        name: String,
        /// The type after the colon.
        announced: &'static str,
        /// The type of the value, or what else it is.
        found: String,
    },
    /// A list of attribute values of several types.
    #[error("the list of `{name}` mixes `{first}` and {second}")]
    MixedList {
        /// The attribute.
        name: String,
        /// The type of the first element.
        first: &'static str,
        /// The type of another element, or what else it is.
        second: String,
    },
    /// Content for something that is no dense tensor.
    #[error("only a tensor has content")]
    NotATensor,
    /// Content for a tensor whose shape is not written in numbers.
    #[error("a tensor with content needs a number for each dimension")]
    OpenShape,
    /// More or fewer elements than the shape has room for.
    #[error("shape {dims:?} holds {expected} elements, not {found}")]
    WrongCount {
        /// The shape.
        dims: Vec<usize>,
        /// Its elements.
        expected: u64,
        /// The elements given.
        found: u64,
    },
    /// Content that does not make a tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A literal of a type that has no literals.
    #[error("elements of type `{dtype}` cannot be written")]
    NoLiterals {
        /// The element type.
        dtype: DType,
    },
    /// A `{...}` of a type for which nothing is made up.
    #[error("`{{...}}` cannot stand for elements of type `{dtype}`")]
    NotSeeded {
        /// The element type.
        dtype: DType,
    },
    /// A `{...}` too large to make up.
    #[error("`{{...}}` stands for at most {limit} elements")]
    SeededTooLarge {
        /// The limit.
        limit: u64,
    },
    /// Content that stands in another file.
    #[error("the content stands in `{location}`: {reason}")]
    External {
        /// The file.
        location: String,
        /// Why it is not here.
        reason: String,
    },
    /// Key-value pairs that are no place in a file.
    #[error("`{key}` does not describe a place in a file")]
    BadExternal {
        /// The key at fault.
        key: String,
    },
    /// Key-value pairs that name no file.
    #[error("content in another file needs a `location`")]
    NoLocation,
    /// Content left out when the text was printed.
    #[error("the content was left out when this was printed")]
    Elided,
    /// A hexadecimal string with other characters, or an odd number of them.
    #[error("this is not a string of hexadecimal bytes")]
    BadHex,
}

impl Problem {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "unexpected",
            Self::Character { .. } => "unknown_character",
            Self::UnclosedString => "unclosed_string",
            Self::NotUtf8 => "name_not_utf8",
            Self::BadNumber { .. } => "bad_number",
            Self::OutOfRange { .. } => "out_of_range",
            Self::TooDeep { .. } => "too_deep",
            Self::UnknownType { .. } => "unknown_type",
            Self::UnknownAttributeType { .. } => "unknown_attribute_type",
            Self::UnknownProperty { .. } => "unknown_property",
            Self::UnknownNote { .. } => "unknown_note",
            Self::Repeated { .. } => "repeated",
            Self::Redefined { .. } => "redefined",
            Self::Redeclared { .. } => "redeclared",
            Self::UntypedEmptyList { .. } => "untyped_empty_list",
            Self::AttributeMismatch { .. } => "attribute_mismatch",
            Self::MixedList { .. } => "mixed_list",
            Self::NotATensor => "not_a_tensor",
            Self::OpenShape => "open_shape",
            Self::WrongCount { .. } => "wrong_count",
            Self::Tensor(error) => error.code(),
            Self::NoLiterals { .. } => "no_literals",
            Self::NotSeeded { .. } => "not_seeded",
            Self::SeededTooLarge { .. } => "seeded_too_large",
            Self::External { .. } => "external_content",
            Self::BadExternal { .. } => "bad_external",
            Self::NoLocation => "no_location",
            Self::Elided => "elided_content",
            Self::BadHex => "bad_hex",
        }
    }

    /// What to do about it, if there is something to say beyond the message.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unexpected { .. } | Self::Redefined { .. } | Self::Tensor(_) => None,
            Self::Character { .. } => {
                Some("write names with other characters than letters, digits and `_` in quotes")
            }
            Self::UnclosedString => Some("add `\"`; a quote within the string is written `\\\"`"),
            Self::NotUtf8 => Some("only strings of attributes and tensors may hold other bytes"),
            Self::BadNumber { .. } => {
                Some("numbers are written as `1`, `-2`, `0.5`, `1e-5`, `inf` or `nan`")
            }
            Self::OutOfRange { .. } => Some("give a number in range, or change the type"),
            Self::TooDeep { .. } => Some("readers of ONNX files refuse such nesting too"),
            Self::UnknownType { .. } => Some(
                "types are `float[2,N]`, `int64`, …, `seq(…)`, `map(…, …)`, `optional(…)`, \
                 `sparse_tensor(…)` and `opaque(…)`",
            ),
            Self::UnknownAttributeType { .. } => Some(
                "they are `float`, `int`, `string`, `tensor`, `graph`, `sparse_tensor`, \
                 `type_proto`, and the same with `s` for lists",
            ),
            Self::UnknownProperty { owner, .. } if *owner == "model" => Some(
                "they are `ir_version`, `opset_import`, `producer_name`, `producer_version`, \
                 `domain`, `model_version`, `doc_string` and `metadata_props`",
            ),
            Self::UnknownProperty { .. } => {
                Some("they are `opset_import`, `domain`, `overload` and `doc_string`")
            }
            Self::UnknownNote { .. } => Some("a comment begins with `#`, a note with `#@`"),
            Self::Repeated { .. } => Some("keep one of the two"),
            Self::Redeclared { .. } => Some("let both declarations say the same, or drop one"),
            Self::UntypedEmptyList { .. } => Some("write its type, as in `axes: ints = []`"),
            Self::AttributeMismatch { .. } => Some("lists have types of their own, such as `ints`"),
            Self::MixedList { .. } => Some("all elements of a list have one type"),
            Self::NotATensor => Some("write a type such as `float[2]` before the content"),
            Self::OpenShape => Some("write the type as `float[2,3]`, or `float` for a scalar"),
            Self::WrongCount { .. } => {
                Some("list every element, or write `{...}` for made-up content")
            }
            Self::NoLiterals { .. } => Some("such content stands in files only"),
            Self::NotSeeded { .. } => Some("list the elements"),
            Self::SeededTooLarge { .. } => Some("a smaller shape does for a test"),
            Self::External { .. } => {
                Some("read the model from its own format, or print it in full")
            }
            Self::BadExternal { .. } | Self::NoLocation => Some(
                "a place has a `location`, and may have `offset`, `length` (numbers) and `checksum`",
            ),
            Self::Elided => Some("print the model in full to read it back"),
            Self::BadHex => Some("write two hexadecimal digits for each byte"),
        }
    }
}
