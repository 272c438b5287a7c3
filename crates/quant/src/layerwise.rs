//! Layer by layer: what a kernel reads, behind earlier layers that are quantized already.
//!
//! A layer is y = x·w for the rows x of its input, patches for a convolution. What its output loses
//! when w becomes ŵ is Σ (x·(w − ŵ))² = (w − ŵ)ᵀ·G·(w − ŵ) with G = Σ xᵀx, so the samples are needed
//! once, for [`Gram`], and no more for anything that is tried with the weight.
//!
//! [`levels::sweep`] goes through the model once: the layers of a level depend on earlier levels only.

mod checkpoint;
mod cross;
mod descent;
mod direct;
mod drift;
mod exact;
pub(crate) mod factor;
pub(crate) mod feedback;
mod frontier;
mod gram;
mod kept;
mod layer;
pub(crate) mod levels;
pub(crate) mod room;
mod rows;
pub(crate) mod search;
mod squared;
pub(crate) mod tiles;

pub use checkpoint::Checkpoints;
pub(crate) use checkpoint::{Entries, Entry, Store};
pub(crate) use cross::Cross;
pub(crate) use descent::Descent;
pub(crate) use direct::Direct;
pub use direct::Loss;
pub(crate) use drift::Drift;
pub(crate) use gram::Gram;
pub(crate) use kept::Kept;
pub(crate) use layer::{Layer, MOST_COLUMNS};
pub(crate) use squared::Squared;
pub(crate) use tiles::CHUNK;
