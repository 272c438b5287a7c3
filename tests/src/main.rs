//! The one test binary: one harness per stage.
#![allow(clippy::unwrap_used, reason = "in a test it says what failed, and where")]

mod book;
mod case;
mod check;
mod codes;
mod config;
mod editors;
mod engine;
mod fuzz;
mod golden;
mod inlined;
mod json_schema;
mod layers;
mod matching;
mod odd_layers;
mod onnx;
mod pattern;
mod quantize;
mod report;
mod rewrite;
mod select;
mod sensitivity;
mod seq_mse;
mod shipped;
mod text;
mod verify;
