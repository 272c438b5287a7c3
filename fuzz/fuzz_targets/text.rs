//! The reader of ONNX's textual syntax: any text is a model or an error, and what is printed of a model
//! is read as the same one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquetry_ir::text::{PrintOptions, parse, print};

fuzz_target!(|text: &str| {
    let Ok(model) = parse(text) else { return };
    let printed = print(&model, &PrintOptions::default());
    let again = parse(&printed).expect("what is printed is read");
    assert_eq!(print(&again, &PrintOptions::default()), printed);
});
