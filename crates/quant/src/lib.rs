//! Quantization: groups and a pipeline to encodings and a quantized graph.
//!
//! The only crate that knows what a scale is.

//! The numbers: [`spec`] says what a quantizer is asked to be, [`observer`] collects statistics,
//! [`range`](mod@range) turns them into an [`encoding`], [`qdq`] and [`pack`] apply it, all on
//! slices.
//!
//! The graph: a [`Pipeline`] runs [passes](pass) over a [`State`], whose [`plan`] says for every
//! value whether it has a quantizer and why, by the [`policy`] of a target and the hints of groups;
//! [`export`] lowers the plan.

mod effective;
mod element;
pub mod encoding;
pub mod encodings;
mod error;
pub mod explain;
pub mod export;
mod flat;
mod flow;
pub mod forecast;
pub mod grid;
pub mod import;
pub mod inside;
pub mod journal;
mod kernel;
mod layerwise;
pub mod lpbq;
pub mod observer;
mod opened;
pub mod pack;
mod params;
pub mod pass;
pub mod pipeline;
pub mod plan;
mod points;
pub mod policy;
pub mod qdq;
pub mod range;
pub mod recipe;
pub mod report;
mod scheme;
mod seal;
pub mod select;
pub mod sensitivity;
pub mod spec;
pub mod statistics;
mod suggest;
mod units;

pub use encoding::{Cell, Encoding};
pub use error::NumericError;
pub use explain::Explained;
pub use layerwise::{Checkpoints, Loss};
pub use pass::{Context, Pass, PassError, State, Summary};
pub use pipeline::Pipeline;
pub use plan::{Plan, Quantizer, Reason, Role};
pub use policy::Policy;
pub use range::FixedRange;
pub use recipe::{Recipe, RecipeError, Registry, Standard};
pub use report::{Decisions, Report};
pub use select::Selector;
pub use spec::{Compat, DType, Granularity, Scheme, Spec};
