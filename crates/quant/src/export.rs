//! The plan as runtimes read it.

mod opset;
pub mod qdq;
pub(crate) mod raise;
mod readers;
mod runtime;
mod stored;
