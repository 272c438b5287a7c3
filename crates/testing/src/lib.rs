//! Snapshot helpers for tests of patterns and rewrites.
