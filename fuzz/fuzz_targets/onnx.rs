//! The reader of models: any bytes are a model or an error, and a model that was read is written and
//! read again as the same one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquetry_ir::onnx;
use marquetry_ir::text::{PrintOptions, print};

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = onnx::decode(bytes.to_vec()) else { return };
    // A graph with a cycle is read, so that it can be looked at, and not written.
    let Ok(written) = onnx::encode(&model) else { return };
    let again = onnx::decode(written.clone()).expect("what was written is read");
    assert_eq!(onnx::encode(&again).expect("it was written before"), written);
    print(&model, &PrintOptions::default());
    marquetry_ir::check::run(&model);
    marquetry_ir::infer::run(&model);
});
