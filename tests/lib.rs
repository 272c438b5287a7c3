//! Nothing: the tests are in `src/main.rs`.
