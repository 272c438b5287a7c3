//! ONNX's textual syntax, printed and parsed.
//!
//! [`parse`] reads what ONNX's own parser (`onnx.parser` in Python) reads, and [`print()`] writes what
//! its printer writes, to the byte if [`PrintOptions::official`] asks for it. By default more is
//! written, so that printing and parsing a model gives an equal one:
//!
//! - **Notes** say what the syntax has no place for. `#@` begins one, and the line ends it: ONNX's own
//!   parser takes it for a comment. It stands before the thing it is about and is a list of
//!   `key: value`:
//!   - `doc` and `metadata` of graphs, nodes, values and tensors; `doc` of attributes, `metadata` of
//!     functions;
//!   - `denotation` and `axes` of types;
//!   - `tensor_name`, where it is not the name of the value; `typed`, where a file holds the tensor in
//!     the field of its type instead of `raw_data`; `external`, where it holds it in another file;
//!   - `quantization` annotations of graphs;
//!   - `device_configurations` of models and nodes and `training_info` of models, as they are encoded.
//! - **Strings** know `\n`, `\r`, `\t`, `\u{…}` and `\x..` (a byte). Any other character after a
//!   backslash stands for itself.
//! - **Names** of attributes, operators, domains and overloads may be quoted.
//! - **Tensors** of every element type: complex numbers as two numbers each, elements below a byte one
//!   by one, narrow floats by their bits. `float16` and `bfloat16` also take values, written with a
//!   point or exponent. `nan("7fc00001")` is a NaN with these bits.
//! - **Sparse tensors**: `sparse_tensor(float[2,3]) s = float[1] {0.5} at int64[1] {4}`.
//! - **Lists** of tensors, graphs and types, which ONNX's own parser drops without a word.
//! - **Types** that a file leaves open: `undefined` for an element type, `unspecified` for a whole type,
//!   `dtype(99)` for an element type by number.
//! - **Functions** with types of values and defaults of attributes, which ONNX's own printer drops.
//! - A graph may have no name: `(float x) => (float y) { … }`.
//!
//! In tests, `{...}` stands for made-up content: `float[128,10] W = {...}`. It depends on the name, the
//! type and the position of the element and on nothing else.
//!
//! ```
//! use marquetry_ir::{Opsets, text};
//!
//! let graph = text::parse_graph(
//!     "g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {...}> { y = MatMul (x, w) }",
//!     &Opsets::onnx(17),
//! )?;
//! assert_eq!(graph.nodes().count(), 1);
//! # Ok::<(), marquetry_ir::text::ParseError>(())
//! ```

mod attribute;
mod elements;
mod error;
mod graph;
mod lexer;
mod literal;
mod model;
mod note;
mod official;
mod parser;
mod print;
mod seed;
mod summary;
mod tensor;
mod types;

use std::fmt;

use bytes::Bytes;

pub use self::error::{ParseError, Position, Problem};
use self::official::Official;
use self::parser::Parser;
use self::print::Printer;
use crate::{AttributeValue, External, Graph, Model, Opsets, TensorType, Type};

/// Reads the content of a tensor from another file, or says why it cannot.
pub type ReadExternal<'a> = &'a dyn Fn(&External) -> Result<Bytes, String>;

/// What a text may rely on.
#[derive(Clone, Copy, Default)]
pub struct ParseOptions<'a> {
    /// Reads content that the text says is in another file; without it, such content is an error.
    pub external: Option<ReadExternal<'a>>,
}

/// Reads a model.
///
/// A header may be missing, as in ONNX's own syntax: the version of the file format is 0 then, and no
/// operator set is imported, which the validator reports.
///
/// # Errors
///
/// When the text is not in the syntax, or does not make a graph; parsing stops at the first error.
pub fn parse(src: &str) -> Result<Model, ParseError> {
    parse_with(src, &ParseOptions::default())
}

/// Reads a model, with options.
///
/// # Errors
///
/// As [`parse`], and when a file that the text mentions cannot be read.
pub fn parse_with(src: &str, options: &ParseOptions<'_>) -> Result<Model, ParseError> {
    Parser::new(src, options)?.model()
}

/// Reads a graph without a header, whose nodes are written for the given operator sets.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_graph(src: &str, opsets: &Opsets) -> Result<Graph, ParseError> {
    let options = ParseOptions::default();
    let mut parser = Parser::new(src, &options)?;
    let notes = parser.notes()?;
    let mut graph = parser.graph(opsets, notes)?;
    graph.resolve_captures();
    parser.expect_end("the end of the text")?;
    Ok(graph)
}

/// What is printed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Print the bytes that ONNX's own printer writes, with its layout and its losses. The other
    /// options do not apply then.
    pub official: bool,
    /// Print notes: documentation, metadata and whatever else the syntax has no place for.
    pub notes: bool,
    /// Print a summary of tensors with more elements than this. Such a text cannot be parsed.
    pub elide: Option<usize>,
}

impl Default for PrintOptions {
    /// Everything, in our layout: what is printed so can be parsed to an equal model.
    fn default() -> Self {
        Self { official: false, notes: true, elide: None }
    }
}

impl PrintOptions {
    /// The bytes that ONNX's own printer writes.
    pub fn official() -> Self {
        Self { official: true, ..Self::default() }
    }

    /// For reading: long tensors and all notes left out.
    pub fn summary() -> Self {
        Self { official: false, notes: false, elide: Some(16) }
    }
}

/// Prints a model.
pub fn print(model: &Model, options: &PrintOptions) -> String {
    if options.official {
        let mut printer = Official::new();
        printer.model(model);
        return printer.out;
    }
    let mut printer = Printer::new(options);
    printer.model(model);
    printer.out
}

/// Prints a graph without a header. Its operator sets are not part of the text.
pub fn print_graph(graph: &Graph, options: &PrintOptions) -> String {
    if options.official {
        let mut printer = Official::new();
        printer.graph(graph);
        return printer.out;
    }
    let mut printer = Printer::new(options);
    printer.graph(graph);
    printer.out.push('\n');
    printer.out
}

/// Shows what [`print()`] writes by default.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self, &PrintOptions::default()))
    }
}

/// Shows what [`print_graph()`] writes by default.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_graph(self, &PrintOptions::default()))
    }
}

/// Shows a type as it stands before the name of a value, without denotations.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = PrintOptions { notes: false, ..PrintOptions::default() };
        let mut printer = Printer::new(&options);
        printer.ty(self);
        f.write_str(&printer.out)
    }
}

/// Shows a type as [`Type`] does.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = PrintOptions { notes: false, ..PrintOptions::default() };
        let mut printer = Printer::new(&options);
        printer.tensor_type(self);
        f.write_str(&printer.out)
    }
}

/// Shows a value as it stands after the `=` of an attribute, without notes.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = PrintOptions { notes: false, ..PrintOptions::default() };
        let mut printer = Printer::new(&options);
        printer.attribute_value(self);
        f.write_str(&printer.out)
    }
}

#[cfg(test)]
mod tests;
