//! A piece of a model, lifted to a pattern: it is found where it came from, and its test passes.

use std::path::{Path, PathBuf};

use marquetry::ir::{infer, onnx};
use marquetry::matcher::lift::{LiftError, Selection, lift};
use marquetry::matcher::{Options, Schemas, find, testing};
use marquetry::pattern::Library;

/// Pieces of each model: enough to meet every kind of node, few enough for every day.
const PIECES: usize = 12;

fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut models: Vec<PathBuf> =
        ["cnn", "vit"].map(|name| root.join(format!("examples/digits/{name}.onnx"))).into();
    // Models of all exporters, where they are at hand.
    if let Ok(folder) = std::fs::read_dir(root.join("../shared/zoo/open/graphs")) {
        let files = folder.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
        files.sort();
        models.extend(files.into_iter().step_by(4));
    }
    models
}

#[test]
fn pieces_are_found_where_they_were_lifted() {
    let mut lifted = 0;
    for path in models() {
        let model = onnx::read(&path).unwrap();
        let types = infer::run(&model);
        let order = model.graph.order().unwrap();
        for piece in 0..PIECES {
            // Spread over the model, of all sizes.
            let at = (piece * order.len() / PIECES + piece * piece) % order.len();
            let selection = match piece % 2 {
                0 => Selection::At { node: order[at], depth: 1 + piece as u32 / 2 },
                _ => Selection::Between {
                    from: order[at],
                    to: order[(at + 3 * piece).min(order.len() - 1)],
                },
            };
            let what = || format!("{}: {selection:?}", path.display());
            match lift(&model, &types, &selection, "Piece") {
                Ok(piece) => {
                    check(&model, &types, &piece, &what());
                    lifted += 1;
                }
                // Constants are no piece, not every node follows from every other, and long ways are long.
                Err(
                    LiftError::Empty
                    | LiftError::Apart { .. }
                    | LiftError::TooLarge { .. }
                    | LiftError::Body { .. },
                ) => {}
                Err(error) => panic!("{}: {error}", what()),
            }
        }
    }
    assert!(lifted >= PIECES, "only {lifted} pieces were lifted");
}

fn check(
    model: &marquetry::ir::Model,
    types: &infer::Types,
    piece: &marquetry::matcher::lift::Lifted,
    what: &str,
) {
    let text = &piece.text;
    let library = Library::parse("piece.pat", text, &Schemas).unwrap_or_else(|errors| {
        panic!("{what}: {}: {}\n{text}", errors[0].code, errors[0].fact())
    });
    for ran in testing::run_all(&library, &testing::Setting::default()) {
        let failure = ran.failures.first();
        assert!(failure.is_none(), "{what}: {:?}\n{text}", failure.map(|failure| &failure.fact));
    }
    let found = find(model, types, library.patterns(), &Options::default());
    let again = found.matches.iter().any(|found| found.nodes == piece.nodes);
    assert!(again, "{what}: not found again\n{text}");
}
