//! Types of values as patterns write them.

use super::VarId;
use crate::span::Span;

/// A type as written before a name: `float16[B, S, D]`, `[..., D]`, `T[]`, `[B, D]?`.
#[derive(Clone, Debug)]
pub struct TypePattern {
    /// The element type, if one is written.
    pub dtype: Option<DtypePattern>,
    /// The dimensions, if any are written. `T[]` and `[]` say nothing about the shape.
    pub shape: Option<Vec<DimPattern>>,
    /// Trailing `?`: checked only as far as the value's type is known.
    pub soft: bool,
    /// Where it is written.
    pub span: Span,
}

/// An element type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtypePattern {
    /// An ONNX text type name, such as `float16`.
    Named(String),
    /// Binds a variable of kind [`Kind::Dtype`](super::Kind::Dtype).
    Var(VarId),
}

/// A dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimPattern {
    /// `...`: any number of dimensions; at most once, and first.
    Prefix,
    /// `_` or `?`.
    Any,
    /// A number.
    Size(i64),
    /// Binds a variable of kind [`Kind::Dim`](super::Kind::Dim).
    Var(VarId),
    /// `"batch"`: a symbolic dimension of that name.
    Named(String),
}
