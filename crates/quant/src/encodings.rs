//! Files of encodings beside a float model, in the formats that AIMET defines and QNN reads.
//!
//! [`Document`] is what a file says, whatever its version. What a version leaves out (axes, signs)
//! is found in the model: [`apply`] puts a document on a model, [`of_plan`] is the way back.

mod apply;
mod complete;
mod derive;
mod of_plan;
mod overrides;
mod read;
mod write;

use serde_json::Value;

use crate::DType;

pub use apply::{Applied, apply};

pub use complete::{Completeness, State, Wanted, completeness};
pub use of_plan::of_plan;
pub use read::parse;
pub use write::render;

/// A note about tensors whose names say too little, with what becomes of them.
fn unclear(names: &[&str], what: &str) -> Option<String> {
    let first = names.first()?;
    let count = match names.len() {
        1 => "1 tensor".to_owned(),
        count => format!("{count} tensors"),
    };
    Some(format!(
        "{what}: {count} of bodies, such as `{first}`, for other graphs of the model have tensors of that \
         name, too, or the body cannot be looked into"
    ))
}

/// Why an entry with a width alone cannot be used.
const NO_GRID: &str = "it has neither a scale nor a range: calibrate it";

/// A version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Tensors as keys, one object for each channel.
    V0_6_1,
    /// Lists of tensors with lists of scales and offsets.
    V1_0_0,
    /// One list, in the words of QuantizeLinear, with derived entries.
    V2_0_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Version; 3] = [Version::V0_6_1, Version::V1_0_0, Version::V2_0_0];

    /// As a file says it.
    pub fn name(self) -> &'static str {
        match self {
            Version::V0_6_1 => "0.6.1",
            Version::V1_0_0 => "1.0.0",
            Version::V2_0_0 => "2.0.0",
        }
    }

    /// Reads `1.0.0`.
    pub fn parse(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.name() == name)
    }
}

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The version that was read; nothing for overrides of ONNX Runtime.
    pub version: Option<Version>,
    /// Who wrote it.
    pub producer: Option<Value>,
    /// How it was quantized, in the file's own words.
    pub quantizer_args: Option<Value>,
    /// The tensors, in file order.
    pub entries: Vec<Entry>,
    /// What a reader should know, one line each.
    pub notes: Vec<String>,
}

/// Where a file lists a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Among activations.
    Activation,
    /// Among parameters.
    Param,
}

/// What elements become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Integers; whether they are signed is not in every version.
    Int {
        /// Width.
        bits: u32,
        /// Whether the stored integers are signed, where the file says so.
        signed: Option<bool>,
    },
    /// A cast to a float of this width.
    Float {
        /// Width.
        bits: u32,
    },
    /// A scaled 8-bit float.
    Float8(DType),
}

/// Which elements share a scale. Versions before 2.0.0 do not say along which axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All.
    Tensor,
    /// Those of a channel.
    Channel {
        /// The axis of channels.
        axis: Option<i64>,
    },
    /// Those of a block.
    Block {
        /// The axis that is cut into blocks.
        axis: Option<i64>,
        /// Elements per block.
        size: usize,
    },
    /// Those of a block, with integer scales times one float for each channel.
    Lpbq {
        /// The axis that is cut into blocks.
        axis: Option<i64>,
        /// Elements per block.
        size: usize,
        /// Width of the stored integers.
        compressed: u32,
        /// Width the integer scales expand to.
        decompressed: u32,
    },
}

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where it is listed; 2.0.0 does not say.
    pub section: Option<Section>,
    /// What elements become.
    pub element: Element,
    /// Whether zero is in the middle of the grid, where the file says so.
    pub symmetric: Option<bool>,
    /// Which elements share a scale.
    pub layout: Layout,
    /// The shape of the lists; one number for those of older versions, which are flat and have the
    /// blocks of an output channel together.
    pub shape: Vec<usize>,
    /// Scales in the order of the lists; for low-power blocks, those of blocks.
    pub scales: Vec<f64>,
    /// Offsets of the unsigned grid.
    pub offsets: Vec<f64>,
    /// Low-power blocks only: the integer scales.
    pub ints: Vec<u32>,
    /// Low-power blocks only: the float scale of every channel.
    pub channel_scales: Vec<f64>,
}

impl Entry {
    fn named(name: &str, element: Element) -> Entry {
        Entry {
            name: name.to_owned(),
            section: None,
            element,
            symmetric: None,
            layout: Layout::Tensor,
            shape: Vec::new(),
            scales: Vec::new(),
            offsets: Vec::new(),
            ints: Vec::new(),
            channel_scales: Vec::new(),
        }
    }
}

/// Why encodings cannot be read, applied or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingsError {
    /// No JSON, or none of this kind.
    #[error("{place}: {message}")]
    Syntax {
        /// Line and column, or the tensor and the key.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A version that is not known.
    #[error("there is no version `{version}` of encodings")]
    Version {
        /// The version.
        version: String,
    },
    /// A tensor that the model does not have.
    #[error("the model has no tensor `{name}`")]
    UnknownTensor {
        /// Its name.
        name: String,
        /// The closest name there is.
        hint: Option<String>,
    },
    /// An entry that does not fit its tensor.
    #[error("the encoding of `{name}` does not fit: {what}")]
    Unfit {
        /// The tensor.
        name: String,
        /// What does not fit.
        what: String,
    },
    /// An encoding that a version cannot express.
    #[error("version {version} cannot hold the encoding of `{name}`: {what}")]
    CannotHold {
        /// The tensor.
        name: String,
        /// The version.
        version: &'static str,
        /// What it lacks.
        what: &'static str,
        /// The versions that can.
        instead: &'static str,
    },
    /// A conversion that needs what only the model knows.
    #[error("{what} is not in the file")]
    NeedsModel {
        /// What is missing.
        what: &'static str,
    },
}

impl EncodingsError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            EncodingsError::Syntax { .. } => "encodings_syntax",
            EncodingsError::Version { .. } => "encodings_version",
            EncodingsError::UnknownTensor { .. } => "encodings_unknown_tensor",
            EncodingsError::Unfit { .. } => "encodings_unfit",
            EncodingsError::CannotHold { .. } => "encodings_cannot_hold",
            EncodingsError::NeedsModel { .. } => "encodings_need_model",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> String {
        match self {
            EncodingsError::Syntax { .. } => {
                "give encodings of version 0.6.1, 1.0.0 or 2.0.0, or overrides of ONNX Runtime"
                    .into()
            }
            EncodingsError::Version { .. } => "use `0.6.1`, `1.0.0` or `2.0.0`".into(),
            EncodingsError::UnknownTensor { hint, .. } => {
                let near = hint.as_ref().map_or(String::new(), |hint| format!("{hint} "));
                format!("{near}`--lenient` leaves out what the model does not have")
            }
            EncodingsError::Unfit { .. } => {
                "check that the encodings were made for this model".into()
            }
            EncodingsError::CannotHold { instead, .. } => format!("use {instead}"),
            EncodingsError::NeedsModel { .. } => "give the float model with `--model`".into(),
        }
    }
}
