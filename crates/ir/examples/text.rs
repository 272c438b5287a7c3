//! Prints ONNX models and parses the text: `text MODE IN OUT [IN OUT]...`.
//!
//! - `official`: the model IN as ONNX's own printer prints it;
//! - `ours`: the same in our layout, after a test that parsing it gives an equal model;
//! - `parse`: the text IN as a model.
//!
//! `scripts/compare-text.py` compares the results with the official Python package.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use marquetry_ir::{compare, onnx, text};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some((mode, paths)) = arguments.split_first() else { return usage() };
    let mut failed = false;
    for pair in paths.chunks(2) {
        let [from, to] = pair else { return usage() };
        let (from, to) = (Path::new(from), Path::new(to));
        let done = match mode.as_str() {
            "official" => official(from, to),
            "ours" => ours(from, to),
            "parse" => parse(from, to),
            _ => return usage(),
        };
        if let Err(error) = done {
            eprintln!("{}: {error}", from.display());
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn usage() -> ExitCode {
    eprintln!("usage: text official|ours|parse IN OUT [IN OUT]...");
    ExitCode::from(2)
}

fn official(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let model = onnx::read(from)?;
    Ok(std::fs::write(to, text::print(&model, &text::PrintOptions::official()))?)
}

fn ours(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let model = onnx::read(from)?;
    let printed = text::print(&model, &text::PrintOptions::default());
    std::fs::write(to, &printed)?;
    let parsed = text::parse(&printed)?;
    if let Some(difference) = compare::difference(&model, &parsed) {
        return Err(format!("parsed back, {difference}").into());
    }
    if text::print(&parsed, &text::PrintOptions::default()) != printed {
        return Err("parsed back, it is printed differently".into());
    }
    Ok(())
}

fn parse(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let model = text::parse(&std::fs::read_to_string(from)?)?;
    onnx::write(&model, to)?;
    Ok(())
}
