//! Prints what inference knows of every value of a model: `name`, element type and shape, separated by
//! tabs. `scripts/compare-shapes.py` compares it with witnesses.
//!
//!     cargo run --example shapes -- model.onnx
#![allow(clippy::print_stdout, reason = "a table on standard output is what the example is for")]

use std::process::ExitCode;
use std::time::Instant;

use marquetry_ir::{Type, infer, onnx};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: shapes MODEL");
        return ExitCode::from(2);
    };
    let model = match onnx::read(&path) {
        Ok(model) => model,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let types = infer::run(&model);
    eprintln!("{:?}", start.elapsed());
    for value in model.graph.values() {
        let name = model.graph.value(value).name();
        let Some(Type::Tensor(tensor)) = types.ty(value) else { continue };
        let dtype = tensor.dtype.map_or_else(|| "?".to_owned(), |dtype| dtype.to_string());
        let shape = match &tensor.shape {
            None => "?".to_owned(),
            Some(shape) => {
                let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("[{}]", dims.join(";"))
            }
        };
        let conflict = if types.conflicts().contains(&value) { "\tconflict" } else { "" };
        println!("{name}\t{dtype}\t{shape}{conflict}");
    }
    ExitCode::SUCCESS
}
