//! The parts of a schema: inputs, outputs, attributes and the types they admit.

use std::fmt;

use crate::{AttributeValue, DType};

/// How many actual values a formal input or output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    Single,
    /// One or none (`""` in a node).
    Optional,
    /// All the rest.
    Variadic {
        /// At least this many.
        least: u8,
        /// Whether all have one type.
        homogeneous: bool,
    },
}

/// An input or output of an operator.
#[derive(Debug)]
pub struct Formal {
    /// Name in the schema.
    pub name: &'static str,
    /// How many values it stands for.
    pub arity: Arity,
    /// Type variable shared by all formals with this name; none where the type is written out.
    pub variable: Option<&'static str>,
    /// Types admitted.
    pub types: TypeSet,
}

/// A set of value types: element types of plain tensors, and names of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSet {
    /// Bit `n` is set where tensors with ONNX element type code `n` are admitted.
    pub tensors: u64,
    /// Types that are no plain tensors, as ONNX writes them: `seq(tensor(float))`.
    pub others: &'static [&'static str],
}

impl TypeSet {
    /// Whether nothing is admitted.
    pub fn is_empty(&self) -> bool {
        self.tensors == 0 && self.others.is_empty()
    }

    /// Whether tensors of this element type are admitted.
    pub fn admits(&self, dtype: DType) -> bool {
        let number = u32::try_from(dtype.number());
        number.is_ok_and(|number| number < 64 && self.tensors >> number & 1 == 1)
    }

    /// The element type, where tensors of exactly one are admitted and nothing else.
    pub fn only(&self) -> Option<DType> {
        let one = self.others.is_empty() && self.tensors.count_ones() == 1;
        one.then(|| DType::from_number(self.tensors.trailing_zeros().cast_signed()))
    }

    /// Element types of the tensors admitted, in the order of their numbers.
    pub fn dtypes(self) -> impl Iterator<Item = DType> {
        DType::ALL.iter().copied().filter(move |dtype| self.admits(*dtype))
    }
}

/// Kinds of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of ONNX")]
pub enum AttributeKind {
    Float,
    Int,
    String,
    Tensor,
    Graph,
    SparseTensor,
    TypeProto,
    Floats,
    Ints,
    Strings,
    Tensors,
    Graphs,
    SparseTensors,
    TypeProtos,
}

impl fmt::Display for AttributeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::String => "string",
            Self::Tensor => "tensor",
            Self::Graph => "graph",
            Self::SparseTensor => "sparse_tensor",
            Self::TypeProto => "type_proto",
            Self::Floats => "floats",
            Self::Ints => "ints",
            Self::Strings => "strings",
            Self::Tensors => "tensors",
            Self::Graphs => "graphs",
            Self::SparseTensors => "sparse_tensors",
            Self::TypeProtos => "type_protos",
        })
    }
}

/// An attribute of an operator.
#[derive(Debug)]
pub struct AttributeSchema {
    /// Name.
    pub name: &'static str,
    /// Kind.
    pub kind: AttributeKind,
    /// Whether a node without it is invalid.
    pub required: bool,
    /// What holds where a node does not say; none: absence has a meaning of its own.
    pub default: Option<AttributeValue>,
}
