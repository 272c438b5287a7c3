//! Finds patterns in graphs: matches, and the groups that are accepted of them.
//!
//! [`find`] tries every pattern wherever its output can stand and returns all [`Matches`];
//! [`group`] resolves overlaps and returns the [`Groups`]. Finding never changes a graph.
//!
//! The search is the meaning of the pattern language written down as a program: plain backtracking
//! over Core, in a fixed order. Whatever is faster must give the same result.

mod found;
mod group;

pub use found::{Binding, Bound, Exhausted, Match, Matches, Place, PlaceId, Spelling};
pub use group::{Group, GroupId, Groups, Hint, Superseded, group};

use marquetry_ir::Model;
use marquetry_pattern::core::Pattern;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Steps after which the search at one anchor for one pattern is given up, and reported.
    pub steps: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 10_000 }
    }
}

/// All matches of the patterns in the main graph, in all bodies of control flow and in all function
/// bodies: for each pattern and each value where its first output can stand, the first match in the
/// order of the language.
pub fn find(_model: &Model, _patterns: &[Pattern], _options: &Options) -> Matches {
    Matches::default()
}
