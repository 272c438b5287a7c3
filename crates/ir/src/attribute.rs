use bytes::Bytes;

use crate::{Graph, Tensor, Type};

/// A named attribute of a node.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The name; unique within a node.
    pub name: String,
    /// What it says.
    pub value: AttributeValue,
    /// Its documentation; empty if there is none.
    pub doc: String,
}

/// The value of an attribute, one variant for each of ONNX's types.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// `FLOAT`.
    Float(f32),
    /// `INT`.
    Int(i64),
    /// `STRING`: bytes, which need not be UTF-8.
    String(Bytes),
    /// `TENSOR`.
    Tensor(Tensor),
    /// `GRAPH`: the body of an If, Loop or Scan.
    Graph(Box<Graph>),
    /// `SPARSE_TENSOR`.
    Sparse(SparseTensor),
    /// `TYPE_PROTO`.
    Type(Type),
    /// `FLOATS`.
    Floats(Vec<f32>),
    /// `INTS`.
    Ints(Vec<i64>),
    /// `STRINGS`.
    Strings(Vec<Bytes>),
    /// `TENSORS`.
    Tensors(Vec<Tensor>),
    /// `GRAPHS`.
    Graphs(Vec<Graph>),
    /// `SPARSE_TENSORS`.
    Sparses(Vec<SparseTensor>),
    /// `TYPE_PROTOS`.
    Types(Vec<Type>),
    /// Within a function: the value of an attribute of the call.
    Reference {
        /// The name of the function's attribute.
        name: String,
        /// The number of its type in `AttributeProto.AttributeType`.
        type_number: i32,
    },
}

/// A sparse tensor in ONNX's coordinate format.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseTensor {
    /// The non-zero values, a vector.
    pub values: Tensor,
    /// Their places: int64 of shape `[NNZ]` (linear) or `[NNZ, rank]`.
    pub indices: Tensor,
    /// The dense shape.
    pub dims: Vec<i64>,
}

impl Attribute {
    /// An attribute without documentation.
    pub fn new(name: impl Into<String>, value: AttributeValue) -> Self {
        Self { name: name.into(), value, doc: String::new() }
    }
}

impl AttributeValue {
    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The float, if it is one.
    pub fn as_float(&self) -> Option<f32> {
        match self {
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The integers, if it is a list of them.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match self {
            Self::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The floats, if it is a list of them.
    pub fn as_floats(&self) -> Option<&[f32]> {
        match self {
            Self::Floats(floats) => Some(floats),
            _ => None,
        }
    }

    /// The string, if it is one and is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The tensor, if it is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The graphs it holds: none, one or several.
    pub fn graphs(&self) -> &[Graph] {
        match self {
            Self::Graph(graph) => std::slice::from_ref(graph),
            Self::Graphs(graphs) => graphs,
            _ => &[],
        }
    }

    /// The graphs it holds, to change them.
    pub(crate) fn graphs_mut(&mut self) -> &mut [Graph] {
        match self {
            Self::Graph(graph) => std::slice::from_mut(graph),
            Self::Graphs(graphs) => graphs,
            _ => &mut [],
        }
    }
}
