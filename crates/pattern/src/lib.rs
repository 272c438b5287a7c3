//! The pattern language: `.pat` text to checked patterns.
//!
//! ```text
//! text ─parse─► syntax tree ─resolve─► names of each file ─lower─► Core ─check─► Library
//! ```
//!
//! [`Library::load`] goes all the way. What the matcher interprets is [`core::Pattern`]: all sugar
//! is gone, and definitions are inlined. This crate knows no graph and no schema: facts about
//! operators come through the trait [`Operators`], files through the trait [`Loader`].

pub mod ast;
mod check;
pub mod core;
mod cover;
pub mod description;
mod diagnostic;
mod explain;
pub mod fmt;
mod functions;
pub mod gexpr;
pub mod ide;
mod library;
mod lower;
pub mod measure;
mod names;
mod operators;
mod parse;
mod print;
pub mod quant;
mod reach;
mod remark;
pub mod replacement;
mod resolve;
pub mod similar;
mod sort;
mod source;
mod span;
mod tested;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use explain::Example;
pub use library::Library;
pub use operators::{AttributeFacts, AttributeKind, Facts, NoOperators, Operators, Signature};
pub use remark::Remark;
pub use source::{Files, LoadError, Loader, SearchPath, Source, Sources};
pub use span::{SourceId, Span};
