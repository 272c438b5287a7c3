//! ONNX graphs: bytes to graph to text and back, without loss.
//!
//! [`Model`] holds a [`Graph`], whose wiring is petgraph's and whose facts stand in two arenas,
//! [`Node`]s and [`Value`]s. Subgraphs and function bodies are the same type.

mod attribute;
pub mod check;
pub mod compare;
pub mod diff;
mod dtype;
mod evaluate;
mod float8;
mod graph;
pub mod infer;
pub mod inline;
mod model;
pub mod onnx;
pub mod opset;
pub mod replace;
pub mod schema;
mod tensor;
pub mod text;
mod types;

pub use attribute::{Attribute, AttributeValue, SparseTensor};
pub use dtype::DType;
pub use evaluate::{Evaluate, EvaluateError, Operation};
pub use float8::Float8;
pub use graph::{Cycle, Graph, GraphError, Kind, Node, NodeId, Slot, Use, Value, ValueId};
pub use model::{Function, Metadata, Model, Opaque, Opset, Opsets};
pub use tensor::{Content, External, Storage, Tensor, TensorError, TensorNotes};
pub use types::{Denotation, Dim, TensorType, Type};
