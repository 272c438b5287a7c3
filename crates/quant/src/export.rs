//! The plan as runtimes read it.

pub mod encodings;
mod opset;
pub mod qdq;
