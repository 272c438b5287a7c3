//! Finds patterns in graphs: matches, groups.
