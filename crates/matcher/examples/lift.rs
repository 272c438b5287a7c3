//! Lifts pieces of models at every node and checks that each is found again where it was lifted, and
//! that its test passes.
//!
//! `cargo run --release -p marquetry-matcher --example lift -- MODEL.onnx …`
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::path::Path;

use marquetry_ir::{infer, onnx};
use marquetry_matcher::lift::{LiftError, Selection, lift};
use marquetry_matcher::{Options, Schemas, find, testing};
use marquetry_pattern::Library;

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let show = args.next_if_eq("--show").is_some();
    for path in args {
        let model = match onnx::read(Path::new(&path)) {
            Ok(model) => model,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let types = infer::run(&model);
        let nodes: Vec<_> = model.graph.nodes().collect();
        let (mut lifted, mut refused, mut wrong) = (0, 0, 0);
        for (at, &node) in nodes.iter().enumerate().step_by(1 + nodes.len() / 40) {
            let depth = 1 + (at as u32) % 6;
            let piece = match lift(&model, &types, &Selection::At { node, depth }, "Piece") {
                Ok(piece) => piece,
                Err(LiftError::Empty) => continue,
                Err(error) => {
                    refused += 1;
                    println!("  {node}: {error}");
                    continue;
                }
            };
            lifted += 1;
            let library = match Library::parse("piece.pat", &piece.text, &Schemas) {
                Ok(library) => library,
                Err(errors) => {
                    wrong += 1;
                    println!("  {node}: {}: {}\n{}", errors[0].code, errors[0].fact(), piece.text);
                    continue;
                }
            };
            let ran = testing::run_all(&library, &testing::Setting::default());
            for failure in ran.iter().flat_map(|ran| &ran.failures) {
                wrong += 1;
                println!("  {node}: {} {:?}\n{}", failure.fact, failure.labels, piece.text);
            }
            let options = Options { misses: true, ..Options::default() };
            let found = find(&model, &types, library.patterns(), &options);
            if !found.matches.iter().any(|found| found.nodes == piece.nodes) {
                wrong += 1;
                let miss = found.misses.iter().max_by_key(|miss| miss.nodes);
                let reason = miss.map(|miss| (miss.nodes, &miss.reason));
                println!("  {node}: not found again: {reason:?}\n{}", piece.text);
            }
            if show {
                println!("{}", piece.text);
            }
        }
        println!("{path}: {lifted} lifted, {refused} refused, {wrong} wrong");
    }
}
