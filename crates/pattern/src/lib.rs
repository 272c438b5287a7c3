//! The pattern language: `.pat` text to checked patterns.

pub mod core;
pub mod gexpr;
pub mod quant;
pub mod replacement;
mod span;

pub use span::{SourceId, Span};
