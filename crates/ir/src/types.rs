use std::fmt;
use std::sync::Arc;

use crate::DType;

/// The type of a value: what flows along an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A dense tensor.
    Tensor(TensorType),
    /// A sparse tensor.
    Sparse(TensorType),
    /// A sequence of values of one type; `None` where the file leaves the type open.
    Sequence {
        /// The type of each element.
        element: Option<Box<Type>>,
        /// ONNX's `denotation`, where given.
        denotation: Option<Box<str>>,
    },
    /// A value that may be missing.
    Optional {
        /// The type of the value, when it is there.
        element: Option<Box<Type>>,
        /// ONNX's `denotation`, where given.
        denotation: Option<Box<str>>,
    },
    /// A map from keys of an integer or string type.
    Map {
        /// The type of the keys.
        key: DType,
        /// The type of the values.
        value: Option<Box<Type>>,
        /// ONNX's `denotation`, where given.
        denotation: Option<Box<str>>,
    },
    /// A type known by name only.
    Opaque {
        /// The domain that defines it.
        domain: String,
        /// Its name in that domain.
        name: String,
        /// ONNX's `denotation`, where given.
        denotation: Option<Box<str>>,
    },
    /// A type entry without content, which some exporters write for function values.
    Unspecified {
        /// ONNX's `denotation`, where given.
        denotation: Option<Box<str>>,
    },
}

/// Element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// The element type; `None` where the file says `UNDEFINED` or nothing.
    pub dtype: Option<DType>,
    /// One entry per axis; `None` when not even the rank is known.
    pub shape: Option<Vec<Dim>>,
    /// Names that ONNX lets a file give to the type and its axes; rare.
    pub denotation: Option<Box<Denotation>>,
}

/// ONNX's `denotation` strings of a tensor type and its axes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denotation {
    /// Of the type, such as `IMAGE`.
    pub tensor: Option<Box<str>>,
    /// Of the axes, such as `DATA_CHANNEL`; empty or one entry per axis.
    pub axes: Vec<Option<Box<str>>>,
}

/// The length of one axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A number. Files may hold negative ones; nothing valid does.
    Known(i64),
    /// A name; equal names mean equal lengths within a graph.
    Symbol(Arc<str>),
    /// Nothing is said.
    Unknown,
}

impl Type {
    /// A dense tensor of this element type and shape.
    pub fn tensor(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> Self {
        Self::Tensor(TensorType::new(dtype, Some(shape.into_iter().collect())))
    }

    /// The tensor type, if this is a dense tensor.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

impl TensorType {
    /// A tensor type without denotations.
    pub fn new(dtype: DType, shape: Option<Vec<Dim>>) -> Self {
        Self { dtype: Some(dtype), shape, denotation: None }
    }

    /// The number of axes, where known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The shape as numbers, if every axis is a known, non-negative one.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }
}

impl Dim {
    /// The length, if it is a non-negative number.
    pub fn known(&self) -> Option<usize> {
        match self {
            Self::Known(length) => usize::try_from(*length).ok(),
            Self::Symbol(_) | Self::Unknown => None,
        }
    }

    /// An axis whose length has this name.
    pub fn symbol(name: &str) -> Self {
        Self::Symbol(Arc::from(name))
    }
}

impl From<usize> for Dim {
    fn from(length: usize) -> Self {
        i64::try_from(length).map_or(Self::Unknown, Self::Known)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(length) => write!(f, "{length}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}
