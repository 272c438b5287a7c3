//! ONNX files: bytes to [`Model`](crate::Model) and back.

#[cfg(test)]
mod agreement;
mod fields;
mod guess;
mod proto;
mod screen;
