//! Patterns in graphs: what is found, where, and how often.

mod cases;
mod naive;
mod properties;
mod recall;
