//! Bytes to model and back: nothing is lost, and nothing that is wrong gets through or panics.

mod damage;
mod external;
mod roundtrip;

use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/onnx")).join(name)
}
