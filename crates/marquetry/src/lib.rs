//! Marquetry as a library: the crates it is made of under one name, and the shipped patterns.
//!
//! | module | what it does |
//! |---|---|
//! | [`pattern`] | `.pat` text to checked patterns |
//! | [`ir`] | ONNX bytes, graph, text |
//! | [`matcher`] | patterns in graphs: matches, groups |
//! | [`engine`] | runs graphs |
//! | [`quant`] | quantizes them |
//!
//! Patterns of one's own, found and fused:
//!
//! ```
//! use marquetry::engine::Native;
//! use marquetry::ir::onnx;
//! use marquetry::matcher::rewrite::{RewriteOptions, Step, Way, rewrite};
//! use marquetry::matcher::{Schemas, verify};
//! use marquetry::pattern::Library;
//!
//! let text = "pattern Silu (x) => (y) { y = x * Sigmoid(x) } equals { y = Swish(x) }";
//! let library = Library::parse("silu.pat", text, &Schemas).expect("the pattern is right");
//! let silu = &library.patterns()[0];
//!
//! // Is it what it says?
//! let verdict = verify::verify(silu, &Native, &verify::VerifyOptions::default());
//! assert_eq!(verdict.status, verify::Status::Verified);
//!
//! // Where is it, and what becomes of it?
//! let mut model = marquetry::ir::text::parse(
//!     "<ir_version: 13, opset_import: [\"\" : 24]>
//!      g (float[4] a) => (float[4] c) { b = Sigmoid (a) c = Mul (b, a) }",
//! )?;
//! assert_eq!(marquetry::groups(&model, &library).counts(), [("Silu", 1)]);
//! let steps = [Step { pattern: silu, way: Way::Fuse }];
//! let rewritten = rewrite(&mut model, &steps, &Native, &RewriteOptions::default())?;
//! assert_eq!(rewritten.applied.len(), 1);
//! # onnx::encode(&model)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! Both are on by default; a program that uses the library turns them off, and turns on what it needs.
//!
//! - `cli`: the binary. Without it, nothing is built that draws, prints and reads command lines.
//! - `ort`: ONNX Runtime as an engine, which is loaded where it is when a program runs.

pub mod library;

pub use marquetry_engine as engine;
pub use marquetry_ir as ir;
pub use marquetry_matcher as matcher;
pub use marquetry_pattern as pattern;
pub use marquetry_quant as quant;

/// The groups that the patterns of a library find in a model.
///
/// ```
/// let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits/vit.onnx");
/// let model = marquetry::ir::onnx::read(model)?;
/// let groups = marquetry::groups(&model, &marquetry::library::standard());
/// assert!(groups.counts().contains(&("Attention", 4)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn groups(model: &ir::Model, library: &pattern::Library) -> matcher::Groups {
    let types = ir::infer::run(model);
    let matches = matcher::find(model, &types, library.patterns(), &matcher::Options::default());
    matcher::group(&matches, library.patterns())
}
