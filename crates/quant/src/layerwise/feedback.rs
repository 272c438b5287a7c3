//! Rounding with error feedback: what one element loses by rounding is made up for by those behind it.
//!
//! Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers" (2023), in the form of Chee et al., "QuIP: 2-Bit Quantization of Large Language
//! Models With Guarantees" (2023), Theorem 6: with G = R·D·Rᵀ, R upper triangular with ones on its
//! diagonal, element k becomes the rounding of wₖ + Σⱼ﹤ₖ (wⱼ − ŵⱼ)·Rⱼₖ. What that rounding is off by
//! is element k of (w − ŵ)·R, so that the loss (w − ŵ)·G·(w − ŵ)ᵀ is the sum of its squares weighed
//! by D, and comes for nothing.

use marquetry_engine::{Panel, multiply};
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::factor::Factor;
use super::{Gram, Layer};
use crate::NumericError;
use crate::points::Points;

/// Elements that are rounded one after the other before what they lost reaches those behind them.
const PANEL: usize = 64;

/// Rows, of outputs and candidates, that are rounded side by side.
const ROWS: usize = 128;

/// How rounding with feedback is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// What is added to the diagonal of G, as a part of its mean: without it, inputs that were hardly
    /// ever seen would make up for everything.
    pub(crate) damping: f64,
    /// Whether inputs with much energy are rounded first.
    pub(crate) by_energy: bool,
}

/// What rounding with feedback needs of the inputs of a layer.
pub(crate) struct Feedback {
    groups: Vec<Group>,
}

struct Group {
    /// The elements in the order in which they are rounded.
    order: Vec<usize>,
    /// Rᵀ in that order.
    factor: Array2<f32>,
    diagonal: Vec<f64>,
}

/// A weight that was rounded.
pub(crate) struct Rounded {
    /// The elements on their grids, in rows.
    pub(crate) rows: Vec<f32>,
    /// The candidate of each output.
    pub(crate) best: Vec<usize>,
    /// For each candidate, the loss of every output.
    pub(crate) losses: Vec<Vec<f64>>,
}

impl Feedback {
    /// Takes the matrices apart. A group whose matrix cannot be factored is rounded to nearest.
    pub(crate) fn new(gram: &Gram, how: How) -> Feedback {
        let groups = (0..gram.blocks()).into_par_iter().map(|at| Group::new(gram.block(at), how));
        Feedback { groups: groups.collect() }
    }

    /// Rounds a weight, in the order of the constant, onto the points of the candidate that costs each
    /// output least. A candidate says for every cell of the scales what its points are.
    pub(crate) fn round(
        &self,
        layer: &Layer,
        constant: &[f32],
        cells: &[u32],
        candidates: &[Vec<Points>],
    ) -> Result<Rounded, NumericError> {
        let Layer { outputs, depth, groups, .. } = *layer;
        let rows = layer.to_rows(constant);
        let of_group = outputs / groups.max(1);
        let strip = (ROWS / candidates.len().max(1)).clamp(1, of_group.max(1));
        let strips: Vec<(usize, usize)> = (0..groups)
            .flat_map(|group| {
                let end = (group + 1) * of_group;
                (group * of_group..end)
                    .step_by(strip)
                    .map(move |from| (from, end.min(from + strip)))
            })
            .collect();
        let parts: Vec<Strip> = strips
            .into_par_iter()
            .map(|(from, to)| {
                let part = from * depth..to * depth;
                let group = &self.groups[from / of_group.max(1)];
                group.round(&rows[part.clone()], &cells[part], candidates)
            })
            .collect();
        let mut rounded = Rounded {
            rows: Vec::new(),
            best: Vec::new(),
            losses: vec![Vec::new(); candidates.len()],
        };
        for part in parts {
            rounded.rows.extend(part.rows);
            rounded.best.extend(part.best);
            let losses = rounded.losses.iter_mut().zip(part.losses);
            losses.for_each(|(all, part)| all.extend(part));
        }
        Ok(rounded)
    }
}

/// Some outputs.
struct Strip {
    rows: Vec<f32>,
    best: Vec<usize>,
    losses: Vec<Vec<f64>>,
}

impl Group {
    fn new(mut h: Array2<f64>, how: How) -> Group {
        let depth = h.nrows();
        let mean = h.diag().sum() / depth.max(1) as f64;
        let mut order: Vec<usize> = (0..depth).collect();
        if how.by_energy {
            order.sort_by(|&a, &b| h[[b, b]].total_cmp(&h[[a, a]]));
        }
        // An input that was never seen asks for nothing, and gets the nearest grid point.
        let floor = if mean > 0.0 { how.damping * mean } else { 1.0 };
        h.diag_mut().mapv_inplace(|energy| energy + floor);
        let h = Array2::from_shape_fn((depth, depth), |(a, b)| h[[order[a], order[b]]]);
        let Factor { transposed, diagonal } =
            Factor::of(h).unwrap_or_else(|| Factor::identity(depth));
        Group { order, factor: transposed.mapv(|element| element as f32), diagonal }
    }

    /// Rounds some outputs with all candidates side by side: lane `candidate * outputs + output`.
    fn round(&self, rows: &[f32], cells: &[u32], candidates: &[Vec<Points>]) -> Strip {
        let depth = self.order.len();
        let outputs = rows.len() / depth.max(1);
        let lanes = outputs * candidates.len();
        // An element in a row, its lanes side by side.
        let mut lost = Array2::<f32>::zeros((depth, lanes));
        let mut back = Array2::<f32>::zeros((depth, lanes));
        let mut losses = vec![0.0_f64; lanes];
        let mut moved = Array2::<f32>::zeros((PANEL.min(depth), lanes));
        for from in (0..depth).step_by(PANEL) {
            let to = depth.min(from + PANEL);
            let mut moved = moved.slice_mut(s![..to - from, ..]);
            if let (Some(factor), Some(lost), Some(moved)) =
                (self.factor.as_slice(), lost.as_slice(), moved.as_slice_mut())
            {
                let factor = Panel::new(&factor[from * depth..], [to - from, from], depth);
                multiply(factor, Panel::new(lost, [from, lanes], lanes), moved);
            }
            for at in from..to {
                let element = self.order[at];
                let (mut lost_here, mut back_here) = (lost.row_mut(at), back.row_mut(at));
                let moved_here = moved.row(at - from);
                for (candidate, points) in candidates.iter().enumerate() {
                    for output in 0..outputs {
                        let (lane, flat) = (candidate * outputs + output, output * depth + element);
                        let wanted = rows[flat] + moved_here[lane];
                        let nearest = points[cells[flat] as usize].nearest(wanted);
                        let off = f64::from(wanted - nearest);
                        losses[lane] += self.diagonal[at] * off * off;
                        lost_here[lane] = rows[flat] - nearest;
                        back_here[lane] = nearest;
                    }
                }
                // What this element lost reaches the rest of the panel.
                for behind in at + 1..to {
                    let factor = self.factor[[behind, at]];
                    moved.row_mut(behind - from).scaled_add(factor, &lost_here);
                }
            }
        }
        let losses: Vec<Vec<f64>> = losses.chunks(outputs.max(1)).map(<[f64]>::to_vec).collect();
        let best: Vec<usize> = (0..outputs)
            .map(|output| {
                // The first of the least.
                let of = |&a: &usize, &b: &usize| losses[a][output].total_cmp(&losses[b][output]);
                (0..candidates.len()).min_by(of).unwrap_or(0)
            })
            .collect();
        let mut rounded = vec![0.0; rows.len()];
        for (at, &element) in self.order.iter().enumerate() {
            for (output, &candidate) in best.iter().enumerate() {
                rounded[output * depth + element] = back[[at, candidate * outputs + output]];
            }
        }
        Strip { rows: rounded, best, losses }
    }
}
