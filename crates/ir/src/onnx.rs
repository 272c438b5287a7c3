//! ONNX files: bytes to [`Model`] and back.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = marquetry_ir::onnx::read("model.onnx")?;
//! marquetry_ir::onnx::write(&model, "copy.onnx")?;
//! # Ok(())
//! # }
//! ```
//!
//! Reading maps the file; tensors are slices of the mapping. Nothing is lost on the way: what
//! [`Model`] cannot hold is refused with a message. What is written means the same as what was
//! read, with these liberties, which are all:
//!
//! - Empty text is left out: an empty `doc_string`, name or domain of a node is not written. The
//!   domain of an operator set is always written, as is the name of whatever has one.
//! - `UNDEFINED` and `DEFAULT` (element type, data location) are left out.
//! - An attribute that leaves out its zero, as writers without field presence do, states it.
//! - Nodes that are not in topological order are sorted, otherwise in the order of the file.
//! - A value that is declared twice, such as an input that is an output too, has one declaration,
//!   written in both places; declarations that contradict each other are refused.
//! - Elements in `int32_data` or `uint64_data` must fit their type; they come back as they were.
//! - The entries of external data come in one order, and overlapping ranges are written apart.
//! - Fields come in the order of their numbers, lists packed where the format says so; parts that
//!   protobuf would merge are merged.

#[cfg(test)]
mod agreement;
mod attribute;
mod error;
mod external;
mod fields;
mod graph;
mod guess;
mod map;
mod model;
mod proto;
mod save;
mod screen;
mod sidecar;
mod stream;
mod tensor;
mod types;
mod version;

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

pub use self::error::{ExternalFault, Fault, Place, ReadError, WireFault, WriteError};
use self::external::Folder;
use self::fields::Message;
use self::model::{Reader, Writer};
use self::screen::Limits;
pub use self::screen::{MAX_DEPTH, MAX_RANK};
use self::sidecar::Layout;
pub use self::version::needed_ir;
use crate::{Model, Tensor};

/// The newest version of the file format that is known, that of ONNX 1.23.
pub const NEWEST_IR: i64 = 14;

/// The most bytes that a message may have; official readers stop here too.
pub const MOST_BYTES: u64 = i32::MAX as u64;

/// What reading does about what it would rather refuse, and how much memory it may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Drop fields and external data keys that are unknown instead of refusing them.
    pub strip_unknown: bool,
    /// Read files of a newer version of the format than [`NEWEST_IR`].
    pub allow_newer: bool,
    /// Bytes of memory that the decoded message may take for each byte of the file.
    pub memory_factor: u64,
    /// Bytes of memory that it may take however small the file is.
    pub memory_base: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { strip_unknown: false, allow_newer: false, memory_factor: 16, memory_base: 256 << 20 }
    }
}

/// The files that [`write()`] has written or found to be right already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The model.
    pub model: PathBuf,
    /// The files that hold its external data. One is named otherwise than the tensors asked for
    /// where a different file of that name was in the way.
    pub sidecars: Vec<PathBuf>,
}

/// Reads a model from a file, with the external data it refers to.
///
/// # Errors
///
/// When a file cannot be read, is no ONNX model, or says what a [`Model`] cannot hold.
pub fn read(path: impl AsRef<Path>) -> Result<Model, ReadError> {
    read_with(path, &ReadOptions::default())
}

/// [`read`] with other than the default options.
///
/// # Errors
///
/// As [`read`].
pub fn read_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Model, ReadError> {
    let path = path.as_ref();
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    // Asked before opening, which would wait at a pipe.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.len() > MOST_BYTES {
        return Err(ReadError::TooLarge { size: found.len() });
    }
    let bytes = map::load(&file, found.len()).map_err(failed)?;
    let folder = Folder::of(path, found).map_err(failed)?;
    read_model(bytes, options, Some(folder))
}

/// Reads a model from bytes. It cannot have external data, because there is no folder to look in.
///
/// # Errors
///
/// As [`read`].
pub fn decode(bytes: impl Into<Bytes>) -> Result<Model, ReadError> {
    decode_with(bytes, &ReadOptions::default())
}

/// [`decode`] with other than the default options.
///
/// # Errors
///
/// As [`read`].
pub fn decode_with(bytes: impl Into<Bytes>, options: &ReadOptions) -> Result<Model, ReadError> {
    read_model(bytes.into(), options, None)
}

/// Reads a single tensor from an encoded `TensorProto`, the form of the samples beside ONNX's own
/// models. Its name is in its notes.
///
/// # Errors
///
/// As [`read`].
pub fn decode_tensor(bytes: impl Into<Bytes>) -> Result<Tensor, ReadError> {
    let options = ReadOptions::default();
    let wire = decode_message(bytes.into(), &fields::TENSOR, &options)?;
    let mut reader = Reader { options: &options, folder: None };
    tensor::read(&mut reader, wire).map_err(|fault| error::Located::from(fault).into())
}

/// Writes a model to a file, and its external data beside it.
///
/// The file appears whole or not at all, also where there was one before; reading from that one
/// goes on undisturbed. A tensor that came from another file goes to a file of that name, beside
/// the model. If a different file has that name already, a fingerprint of the content becomes part
/// of the name, and the other file is left alone. Above 1.9 GiB, tensors of the model itself move
/// to `<name>.data`.
///
/// # Errors
///
/// When a file cannot be written, would be written through a link or outside the folder, or the
/// graph has a cycle. What was there before is unchanged then.
pub fn write(model: &Model, path: impl AsRef<Path>) -> Result<Written, WriteError> {
    save::save(model, path.as_ref())
}

/// Encodes a model. External data stays where the tensors say it is.
///
/// # Errors
///
/// When the graph has a cycle, or the bytes are more than a message may have.
pub fn encode(model: &Model) -> Result<Vec<u8>, WriteError> {
    let layout = Layout::default();
    let wire = model::write(&Writer { layout: &layout }, model)?;
    let size = wire.encoded_len() as u64;
    if size > MOST_BYTES {
        return Err(WriteError::TooLarge { size });
    }
    Ok(wire.encode_to_vec())
}

fn read_model(
    bytes: Bytes,
    options: &ReadOptions,
    folder: Option<Folder>,
) -> Result<Model, ReadError> {
    let wire = decode_message(bytes.clone(), &fields::MODEL, options)?;
    let mut reader = Reader { options, folder };
    match model::read(&mut reader, wire).map_err(ReadError::from) {
        // Almost anything short is a protobuf message; only now it is clear that this is no model.
        Err(ReadError::Content { fault: Fault::NoGraph | Fault::NoIrVersion, .. })
            if let Some(foreign) = foreign(&bytes) =>
        {
            Err(foreign)
        }
        read => read,
    }
}

fn decode_message<M: prost::Message + Default>(
    bytes: Bytes,
    root: &'static Message,
    options: &ReadOptions,
) -> Result<M, ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::Empty);
    }
    let heap = options.memory_factor.saturating_mul(bytes.len() as u64);
    let heap = heap.saturating_add(options.memory_base);
    let limits = Limits { heap, strip_unknown: options.strip_unknown };
    screen::screen(&bytes, root, limits).map_err(|found| {
        foreign(&bytes).unwrap_or_else(|| ReadError::Wire {
            fault: found.fault,
            offset: found.offset as u64,
            field: screen::trail(&bytes, root, found.offset),
        })
    })?;
    Ok(M::decode(bytes)?)
}

fn foreign(bytes: &[u8]) -> Option<ReadError> {
    guess::look(bytes).map(|(looks_like, hint)| ReadError::Foreign { looks_like, hint })
}
