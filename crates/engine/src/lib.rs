//! Graph and inputs to tensors: the only crate that knows an inference runtime.
//!
//! - [`Engine`] compiles the part of a graph between any values into a [`Program`].
//! - [`Embedded`] is the engine that is always there: a pure-Rust runtime behind a fence of operators
//!   it is trusted with, and [`Native`] operators of our own for everything else.
//! - `OnnxRuntime`, with the feature `ort`, is the one that is loaded from a library where there is one.
//! - [`Sweep`] runs a graph over one sample in segments and hands every wanted tensor to an observer.
//! - [`multiply`] is the product of matrices that goes with it.
//! - [`Samples`] reads calibration data, one sample at a time.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `ort`: ONNX Runtime as an engine. Its library is looked for when a program runs, not when it is
//!   built.

mod array;
mod buffers;
mod embedded;
mod engine;
mod error;
mod native;
#[cfg(feature = "ort")]
mod onnxruntime;
mod operator;
mod pages;
mod piece;
mod product;
mod samples;
mod sweep;
mod types;

pub use embedded::Embedded;
pub use engine::{Engine, Loaded, Numerics, Options, Program};
pub use error::{EngineError, Refusal};
pub use native::Native;
#[cfg(feature = "ort")]
pub use onnxruntime::{LibraryError, OnnxRuntime};
pub use pages::keep_freed_pages;
pub use piece::reads;
pub use product::{Packed, Panel, Square, multiply};
pub use samples::{Input, Sample, SampleError, SampleOptions, Samples, arrays};
pub use sweep::{Flow, Sweep, SweepOptions};
