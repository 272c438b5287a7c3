//! What changed from one report to another.

use std::fmt;

use serde::Serialize;

use super::Report;

/// Changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {}
impl Changes {
    /// Whether anything changed.
    pub fn is_changed(&self) -> bool {
        false
    }
}
impl fmt::Display for Changes {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// The changes.
pub fn of(_: &Report, _: &Report) -> Changes {
    Changes {}
}
