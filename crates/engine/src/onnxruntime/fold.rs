//! What follows from constants, computed once for all programs of a graph.

use std::collections::BTreeSet;

use marquetry_ir::{DType, Tensor};

use super::session::{Session, Shared};
use crate::piece::{Piece, Step};

/// Replaces what follows from constants by what it is; the steps that are left.
///
/// What the runtime does not compute stays for the run to refuse.
pub(super) fn fold(
    piece: &Piece,
    shared: &Shared,
    types: &[Option<DType>],
    constants: &mut [Option<Tensor>],
) -> Vec<usize> {
    let mut steady: Vec<bool> = constants.iter().map(Option::is_some).collect();
    let (mut still, mut moving) = (Vec::new(), Vec::new());
    for (at, step) in piece.steps.iter().enumerate() {
        if !grows(step) && step.reads().all(|value| steady[value]) {
            step.outputs.iter().flatten().for_each(|&value| steady[value] = true);
            still.push(at);
        } else {
            moving.push(at);
        }
    }
    let made: BTreeSet<usize> =
        still.iter().flat_map(|&at| piece.steps[at].outputs.iter().flatten().copied()).collect();
    let read = moving.iter().flat_map(|&at| piece.steps[at].reads()).chain(piece.fetches.clone());
    let wanted: BTreeSet<usize> = read.filter(|value| made.contains(value)).collect();
    let missing: Vec<usize> =
        wanted.iter().copied().filter(|&value| shared.folded(piece, value).is_none()).collect();
    if !missing.is_empty() {
        let steps = needed(piece, &still, &missing);
        let folded = Session::load(piece, shared, types, constants, &steps, &missing)
            .and_then(|mut session| session.run(piece, &[]));
        let Ok(folded) = folded else { return (0..piece.steps.len()).collect() };
        for (value, tensor) in folded {
            shared.fold(piece, value, tensor);
        }
    }
    for value in wanted {
        constants[value] = shared.folded(piece, value);
    }
    moving
}

/// Random numbers are new in each run, and an expansion may be much larger than all it comes from.
fn grows(step: &Step) -> bool {
    let op_type = step.content.op_type.as_str();
    op_type.starts_with("Random")
        || matches!(
            op_type,
            "Expand" | "Tile" | "ConstantOfShape" | "Range" | "Bernoulli" | "Multinomial"
        )
}

/// The steps, of those, that some values need.
fn needed(piece: &Piece, steps: &[usize], values: &[usize]) -> Vec<usize> {
    let mut open: BTreeSet<usize> = values.iter().copied().collect();
    let mut found = Vec::new();
    for &at in steps.iter().rev() {
        let step = &piece.steps[at];
        if step.outputs.iter().flatten().any(|value| open.contains(value)) {
            open.extend(step.reads());
            found.push(at);
        }
    }
    found.reverse();
    found
}
