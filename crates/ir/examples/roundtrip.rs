//! Reads ONNX models and writes them again: `roundtrip IN OUT [IN OUT]...`.
//!
//! `scripts/roundtrip.py` compares the two with the official Python package.

use std::process::ExitCode;

use marquetry_ir::onnx;

fn main() -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let mut failed = false;
    for pair in paths.chunks(2) {
        let [from, to] = pair else {
            eprintln!("usage: roundtrip IN OUT [IN OUT]...");
            return ExitCode::from(2);
        };
        let name = from.display();
        match onnx::read(from) {
            Err(error) => {
                eprintln!("{name}: {}: {error}", error.code());
                failed = true;
            }
            Ok(model) => {
                if let Err(error) = onnx::write(&model, to) {
                    eprintln!("{name}: {}: {error}", error.code());
                    failed = true;
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
