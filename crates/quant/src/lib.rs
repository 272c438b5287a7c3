//! Quantization: groups and a pipeline to encodings and a quantized graph.
//!
//! The only crate that knows what a scale is.

pub mod encoding;
mod error;
pub mod grid;
pub mod observer;
pub mod pack;
pub mod qdq;
pub mod range;
pub mod spec;

pub use encoding::{Cell, Encoding};
pub use error::NumericError;
pub use spec::{DType, Granularity, Scheme, Spec};
