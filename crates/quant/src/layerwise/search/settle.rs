//! Blocks that are chosen for what their whole outputs lose, instead of each for itself.
//!
//! An output with the error e loses e·G·eᵀ. Where all of its blocks but one stay as they are, that is
//! d·H·dᵀ + 2·p·dᵀ and a constant, for the error d of that block, its own part H of G, and what the
//! others come to there, p. The first is what the block loses alone, which is known of every candidate.
//! So blocks are gone through, one after the other, and each takes the candidate of the least sum.

use std::ops::Range;

use rayon::prelude::*;

use super::{Cost, Judged, SearchError, strips};
use crate::layerwise::squared::dot;
use crate::layerwise::{Cross, Layer};
use crate::points::Points;
use crate::qdq::Rounding;
use crate::{Encoding, Granularity, NumericError, lpbq};

/// Errors of outputs that are held at once, of all candidates together.
const ROWS: usize = 2048;

/// Who says what whole outputs lose.
#[derive(Clone, Copy)]
pub(crate) struct Outputs<'a> {
    pub(crate) cost: &'a dyn Cost,
    /// What blocks do to each other, where the cost is of it.
    pub(crate) cross: Option<&'a Cross>,
}

/// What was chosen in the end.
pub(super) struct Settled {
    pub(super) encoding: Encoding,
    /// What all outputs lose with whole ranges, and with what was chosen.
    pub(super) off: (f64, f64),
}

/// Encodings, and of the first of them what each output and block loses alone, as far as it is known.
type Tried = (Vec<Encoding>, Vec<Vec<f64>>);

/// For each output the better one of `whole` and `chosen`, and from there on whatever loses less, of what
/// `others` says may be taken in its place. No output loses more than with `whole`.
pub(super) fn settle(
    judged: &Judged<'_>,
    outputs: Outputs<'_>,
    whole: &Encoding,
    chosen: &Encoding,
    others: &dyn Fn(&Encoding) -> Tried,
) -> Result<Settled, SearchError> {
    let lost = |encoding: &Encoding| -> Result<Vec<f64>, SearchError> {
        Ok(judged.outputs(outputs.cost, &Points::of(encoding, Rounding::HalfEven)?)?)
    };
    let whole_losses = lost(whole)?;
    let (mut best, mut losses) = (whole.clone(), whole_losses.clone());
    let mut better = |best: &mut Encoding, other: &Encoding| -> Result<(), SearchError> {
        let lost = lost(other)?;
        // What is not finite is no reason to leave a range.
        let less = |output: usize| lost[output].is_finite() && lost[output] < losses[output];
        let less: Vec<bool> = (0..losses.len()).map(less).collect();
        for ((loss, lost), _) in losses.iter_mut().zip(lost).zip(&less).filter(|(_, less)| **less) {
            *loss = lost;
        }
        Ok(take(judged, best, other, &less)?)
    };
    better(&mut best, chosen)?;
    if let Some(cross) = outputs.cross {
        let (mut tried, mut alone) = others(&best);
        tried.push(best.clone());
        let points: Result<Vec<Vec<Points>>, NumericError> =
            tried.iter().map(|encoding| Points::of(encoding, Rounding::HalfEven)).collect();
        let points = points?;
        alone.extend(judged.losses(&points[alone.len()..])?);
        let mut moved = best.clone();
        for (unit, candidate) in descend(judged, cross, &points, &alone).into_iter().enumerate() {
            let cell = judged.units[unit];
            moved.cells[cell] = tried[candidate].cells[cell];
        }
        better(&mut best, &moved)?;
    }
    Ok(Settled { encoding: best, off: (whole_losses.iter().sum(), losses.iter().sum()) })
}

/// Takes the blocks of some outputs from another encoding.
fn take(
    judged: &Judged<'_>,
    encoding: &mut Encoding,
    other: &Encoding,
    which: &[bool],
) -> Result<(), NumericError> {
    let channels = match encoding.granularity {
        Granularity::Lpbq { channel, .. } => lpbq::channels(&encoding.shape, channel)?,
        _ => Vec::new(),
    };
    let blocks = judged.units.len() / which.len().max(1);
    for (unit, &cell) in judged.units.iter().enumerate() {
        if which[unit / blocks.max(1)] {
            encoding.cells[cell] = other.cells[cell];
            if let Some(&channel) = channels.get(cell) {
                encoding.channel_scales[channel] = other.channel_scales[channel];
            }
        }
    }
    Ok(())
}

/// The candidate of every output and block, from the last one on. `points` are those of each candidate for
/// every cell, and `alone` what they lose.
fn descend(
    judged: &Judged<'_>,
    cross: &Cross,
    points: &[Vec<Points>],
    alone: &[Vec<f64>],
) -> Vec<usize> {
    let Layer { depth, outputs: all, .. } = *judged.layer;
    let blocks = judged.units.len() / all.max(1);
    let of_strip = |outputs: Range<usize>| {
        let last = points.len() - 1;
        let mut choices = vec![last; outputs.len() * blocks];
        let mut error = Vec::with_capacity(outputs.len() * depth);
        judged.error(outputs.clone(), &points[last], &mut error);
        // Those of all candidates, row by row, candidate by candidate.
        let mut errors = Vec::with_capacity(points.len() * outputs.len() * depth);
        points.iter().for_each(|points| judged.error(outputs.clone(), points, &mut errors));
        let size_of_all = outputs.len() * depth;
        let mut pulls = Vec::new();
        // Once: every further time takes as long.
        for (at, from) in (0..depth).step_by(judged.block).enumerate() {
            let size = judged.block.min(depth - from);
            cross.pulls(&outputs, &error, from..from + size, &mut pulls);
            for (row, output) in outputs.clone().enumerate() {
                let unit = output * blocks + at;
                let pull = &pulls[row * size..][..size];
                let choice = &mut choices[row * blocks + at];
                let before = *choice;
                let of = |candidate: usize| {
                    &errors[candidate * size_of_all + row * depth + from..][..size]
                };
                let loss = |at: usize| alone[at][unit] + 2.0 * dot(of(at), pull);
                let mut least = loss(before);
                for candidate in 0..points.len() {
                    let loss = loss(candidate);
                    if loss < least {
                        (least, *choice) = (loss, candidate);
                    }
                }
                if *choice != before {
                    error[row * depth + from..][..size].copy_from_slice(of(*choice));
                }
            }
        }
        choices
    };
    let few = |strip: Range<usize>| {
        let (end, rows) = (strip.end, (ROWS / points.len().max(1)).max(1));
        strip.step_by(rows).map(move |from| from..end.min(from + rows))
    };
    let parts: Vec<Range<usize>> = strips(judged.layer).into_iter().flat_map(few).collect();
    let parts: Vec<Vec<usize>> = parts.into_par_iter().map(of_strip).collect();
    parts.concat()
}
