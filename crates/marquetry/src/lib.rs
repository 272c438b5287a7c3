//! Marquetry as a library: the crates it is made of under one name, and the shipped patterns.
//!
//! | module | what it does |
//! |---|---|
//! | [`pattern`] | `.pat` text to checked patterns |
//! | [`ir`] | ONNX bytes, graph, text |
//! | [`matcher`] | patterns in graphs: matches, groups |
//! | [`engine`] | runs graphs |
//! | [`quant`] | quantizes them |

pub mod library;

pub use marquetry_engine as engine;
pub use marquetry_ir as ir;
pub use marquetry_matcher as matcher;
pub use marquetry_pattern as pattern;
pub use marquetry_quant as quant;

/// The groups that the patterns of a library find in a model.
pub fn groups(model: &ir::Model, library: &pattern::Library) -> matcher::Groups {
    let types = ir::infer::run(model);
    let matches = matcher::find(model, &types, library.patterns(), &matcher::Options::default());
    matcher::group(&matches, library.patterns())
}
