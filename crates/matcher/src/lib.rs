//! Finds patterns in graphs: matches, and the groups that are accepted of them.
//!
//! [`find`] tries every pattern wherever its output can stand and returns all [`Matches`];
//! [`group`] resolves overlaps and returns the [`Groups`]. Finding never changes a graph.
//! [`rewrite()`] replaces what was found: rules, and patterns by their meaning.
//!
//! The search is the meaning of the pattern language written down as a program: plain backtracking
//! over Core, in a fixed order. Whatever is faster must give the same result.

mod axis;
mod compute;
mod datum;
mod describe;
mod find;
mod found;
pub mod generate;
mod group;
mod index;
pub mod lift;
mod operators;
mod plan;
pub mod rewrite;
mod search;
pub mod testing;
mod triangle;
pub mod verify;
pub mod why;

pub use find::{Options, find};
pub use found::{Binding, Bound, Exhausted, Match, Matches, Miss, Place, PlaceId, Spelling};
pub use group::{Group, GroupId, Groups, Hint, Superseded, group};
pub use operators::Schemas;
pub use rewrite::rewrite;
