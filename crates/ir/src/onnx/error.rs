//! Why a file could not be read or written.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::{Cycle, DType, GraphError, TensorError};

pub use super::external::ExternalFault;
pub use super::screen::WireFault;

/// Why bytes are not a model that Marquetry can hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be opened, examined or read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a folder, a device, a pipe or a socket.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// There are no bytes.
    #[error("the file is empty, so it is not an ONNX model")]
    Empty,
    /// More bytes than a protobuf message may have.
    #[error("{size} bytes are more than an ONNX file may have")]
    TooLarge {
        /// Size of the file in bytes.
        size: u64,
    },
    /// The bytes are of another kind of file.
    #[error("this is not an ONNX model: it looks like {looks_like}")]
    Foreign {
        /// A guess from the first bytes.
        looks_like: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The bytes are not a protobuf message of ONNX's format.
    #[error("at byte {offset}{}: {fault}", in_field(field))]
    Wire {
        /// What is wrong.
        fault: WireFault,
        /// Byte of the file where it is.
        offset: u64,
        /// The field it belongs to, such as `graph.node[3].name`; empty for the outermost message.
        field: String,
    },
    /// `prost` refused what the screen let pass.
    #[error("the message does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The message is a part of the model that means nothing to Marquetry.
    #[error("{fault}{place}")]
    Content {
        /// What is wrong.
        fault: Fault,
        /// Where in the model.
        place: Place,
    },
}

impl ReadError {
    /// Returns the stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "cannot_read",
            Self::NotAFile { .. } => "not_a_file",
            Self::Empty => "empty_file",
            Self::TooLarge { .. } => "file_too_large",
            Self::Foreign { .. } => "not_onnx",
            Self::Wire { fault, .. } => fault.code(),
            Self::Decode(_) => "not_decoded",
            Self::Content { fault, .. } => fault.code(),
        }
    }

    /// Returns what to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path")
            }
            Self::Io { .. } | Self::Decode(_) => None,
            Self::NotAFile { .. } => Some("give the path of an `.onnx` file"),
            Self::Empty => Some("the export or the download may have failed: repeat it"),
            Self::TooLarge { .. } => {
                Some("export the model with its weights in an external data file")
            }
            Self::Foreign { hint, .. } => Some(hint),
            Self::Wire { fault, .. } => match fault {
                WireFault::UnknownField { .. } => Some(
                    "a newer ONNX may have written it: update Marquetry, or drop unknown fields with the option `strip_unknown`",
                ),
                WireFault::Depth | WireFault::Rank | WireFault::Budget { .. } => {
                    Some("the file is broken, or made to exhaust its readers")
                }
                WireFault::CutOff { .. } => {
                    Some("the file may be cut off: compare its size with the original")
                }
                _ => Some("the file is broken, or no ONNX model"),
            },
            Self::Content { fault, .. } => fault.hint(),
        }
    }
}

/// Where in a model something is, from the outside to the inside; printed as
/// `` in graph `g`, node `n`, attribute `value` ``.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(Vec<String>);

impl Place {
    /// Returns the steps from the model down, such as ``node `n` ``.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        // Collected while errors bubble up, hence inside out.
        self.0.iter().rev().map(String::as_str)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps().enumerate() {
            write!(f, "{}{step}", if index == 0 { ", in " } else { ", " })?;
        }
        Ok(())
    }
}

/// What is wrong with a part of a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The message has no graph.
    #[error("there is no graph")]
    NoGraph,
    /// The version of the format is missing or below 1.
    #[error("the file does not say which IR version it has")]
    NoIrVersion,
    /// The version of the format is one that this program does not know.
    #[error("IR version {found} is newer than {known}, the newest known")]
    NewerIr {
        /// Version of the file.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// A name is defined twice, which a graph cannot hold.
    #[error("{0}")]
    Graph(#[from] GraphError),
    /// Two declarations of one value differ.
    #[error("`{name}` is declared twice, and not in the same way")]
    Redeclared {
        /// The value.
        name: String,
    },
    /// Type, shape and content of a tensor do not fit each other.
    #[error("{0}")]
    Tensor(#[from] TensorError),
    /// A dimension of a tensor is negative.
    #[error("a tensor has the dimension {0}")]
    NegativeDim(i64),
    /// A tensor has its content in more than one field.
    #[error("a tensor has its content both in `{first}` and in `{second}`")]
    TwoContents {
        /// One field.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A tensor has its content in a field of another type.
    #[error("a `{dtype}` tensor cannot have its content in `{field}`")]
    WrongField {
        /// The element type.
        dtype: DType,
        /// The field.
        field: &'static str,
    },
    /// An element is not a number of its type.
    #[error("{value} is no element of a `{dtype}` tensor")]
    OutOfRange {
        /// The element type.
        dtype: DType,
        /// The element as written.
        value: i128,
    },
    /// A tensor is one part of several, which no known reader supports.
    #[error("a tensor is split into segments, which is not supported")]
    Segment,
    /// `data_location` is neither default nor external.
    #[error("`data_location` {0} is unknown")]
    DataLocation(i32),
    /// The content of a tensor in another file cannot be used.
    #[error("the external data {fault}")]
    External {
        /// What is wrong with it.
        #[source]
        fault: ExternalFault,
    },
    /// An attribute does not say which type it has, or a type that is unknown.
    #[error("the attribute type {0} is unknown")]
    AttributeType(i32),
    /// An attribute has a value of another type than it says, or several.
    #[error("the attribute says it is of type `{says}` but has its value in `{has}`")]
    AttributeField {
        /// Name of the type it states.
        says: &'static str,
        /// Field that is filled.
        has: &'static str,
    },
    /// An attribute lacks its value.
    #[error("the attribute has no value")]
    NoValue,
    /// A required part is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Training information refers to external data, which would be lost on saving elsewhere.
    #[error("training information with external data is not supported")]
    TrainingData,
}

impl Fault {
    /// Returns the stable code of the fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoGraph => "no_graph",
            Self::NoIrVersion => "no_ir_version",
            Self::NewerIr { .. } => "newer_ir_version",
            Self::Graph(error) => error.code(),
            Self::Redeclared { .. } => "redeclared",
            Self::Tensor(error) => error.code(),
            Self::NegativeDim(_) => "negative_dim",
            Self::TwoContents { .. } => "two_contents",
            Self::WrongField { .. } => "wrong_field",
            Self::OutOfRange { .. } => "element_out_of_range",
            Self::Segment => "tensor_segment",
            Self::DataLocation(_) => "unknown_data_location",
            Self::External { fault } => fault.code(),
            Self::AttributeType(_) => "unknown_attribute_type",
            Self::AttributeField { .. } => "attribute_type_mismatch",
            Self::NoValue => "attribute_without_value",
            Self::Missing(_) => "missing_part",
            Self::TrainingData => "external_training_data",
        }
    }

    /// Returns what to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoGraph | Self::NoIrVersion => {
                Some("the file may be cut off, or hold something else than a model")
            }
            Self::NewerIr { .. } => {
                Some("update Marquetry, or try all the same with the option `allow_newer`")
            }
            Self::External { fault } => fault.hint(),
            Self::Segment | Self::TrainingData => Some("export the model without it"),
            _ => None,
        }
    }
}

/// A fault on its way out of the model, with the steps it has passed.
#[derive(Debug)]
pub(super) struct Located {
    fault: Fault,
    place: Place,
}

impl<F: Into<Fault>> From<F> for Located {
    fn from(fault: F) -> Self {
        Self { fault: fault.into(), place: Place::default() }
    }
}

impl From<Located> for ReadError {
    fn from(Located { fault, place }: Located) -> Self {
        Self::Content { fault, place }
    }
}

/// Adds the step around it to a fault that passes.
pub(super) trait Within<T> {
    fn within(self, step: impl FnOnce() -> String) -> Result<T, Located>;
}

impl<T, E: Into<Located>> Within<T> for Result<T, E> {
    fn within(self, step: impl FnOnce() -> String) -> Result<T, Located> {
        self.map_err(|error| {
            let mut located = error.into();
            located.place.0.push(step());
            located
        })
    }
}

/// A name from a file as messages show it: escaped, and at most 200 characters of it.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 200;
    let mut shown: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn in_field(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(", in `{field}`") }
}

/// Why a model could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The system refused.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file, or the folder where it was to appear.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output exists and is a folder, a device, a pipe or a socket.
    #[error("`{}` exists and is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file would have to be written through a link, or take its place.
    #[error("`{}` is a link, which nothing is written through", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A tensor names a place for its content that is outside the folder of the model.
    #[error("the external data location `{}` leaves the folder of the model", shown(location))]
    Location {
        /// As the tensor says.
        location: String,
    },
    /// The model takes more than a protobuf message can hold, even with its tensors outside.
    #[error("{size} bytes are more than an ONNX file may have")]
    TooLarge {
        /// Bytes that the file would have.
        size: u64,
    },
    /// A part that is carried along in encoded form is not what it should be.
    #[error("a {part} does not decode: {source}")]
    Carried {
        /// What it should be.
        part: &'static str,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// Nodes need each other's results.
    #[error("graph `{}`: {cycle}", shown(graph))]
    Cycle {
        /// Name of the graph.
        graph: String,
        /// The nodes.
        #[source]
        cycle: Cycle,
    },
}

impl WriteError {
    /// Returns the stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "cannot_write",
            Self::NotAFile { .. } => "output_not_a_file",
            Self::Link { .. } => "output_is_link",
            Self::Location { .. } => "location_outside",
            Self::TooLarge { .. } => "model_too_large",
            Self::Carried { .. } => "bad_carried_part",
            Self::Cycle { .. } => "cycle",
        }
    }

    /// Returns what to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Some("create the folder first"),
                io::ErrorKind::PermissionDenied => Some("choose a folder that you may write to"),
                io::ErrorKind::StorageFull => Some("free some space, or write to another disk"),
                _ => None,
            },
            Self::NotAFile { .. } => Some("choose another name for the output"),
            Self::Link { .. } => Some("remove the link, or give the path of the file it points to"),
            Self::Location { .. } => Some("store the tensors in the model, or rename the location"),
            Self::TooLarge { .. } => Some(
                "its graph alone is too large: split the model, or store constants as initializers",
            ),
            Self::Carried { .. } | Self::Cycle { .. } => None,
        }
    }
}
