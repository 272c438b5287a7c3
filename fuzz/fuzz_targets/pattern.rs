//! The reader, the checker and the formatter of pattern files. What must hold of every text is in
//! the example `fuzz` of the crate `pattern`, which needs no nightly compiler.
#![no_main]

#[path = "../../crates/pattern/examples/fuzz/read.rs"]
mod read;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    read::read(text);
});
