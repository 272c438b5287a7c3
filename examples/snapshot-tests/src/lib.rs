//! A crate with patterns of its own, and how it tests them: see `tests/patterns.rs`.

/// The patterns and rules of this crate: the text of a pattern file.
pub const PATTERNS: &str = include_str!("../npu.pat");
