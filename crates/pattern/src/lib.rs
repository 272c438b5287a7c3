//! The pattern language: `.pat` text to checked patterns.
