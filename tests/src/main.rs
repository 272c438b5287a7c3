//! The one test binary: one harness per stage.

mod layers;
mod onnx;
