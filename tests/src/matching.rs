//! Patterns in graphs: what is found, where, and how often.

mod ahead;
mod cases;
mod lift;
mod naive;
pub(crate) mod properties;
mod recall;
mod why;
