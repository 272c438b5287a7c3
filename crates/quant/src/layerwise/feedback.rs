//! Rounding with error feedback: what one element loses by rounding is made up for by those behind it.
//!
//! Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers" (2023), in the form of Chee et al., "QuIP: 2-Bit Quantization of Large Language
//! Models With Guarantees" (2023), Theorem 6: with G = R·D·Rᵀ, R upper triangular with ones on its
//! diagonal, element k becomes the rounding of wₖ + Σⱼ﹤ₖ (wⱼ − ŵⱼ)·Rⱼₖ.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::factor::unit_upper;
use super::{Gram, Layer};
use crate::qdq::quantize_one;
use crate::{Encoding, NumericError};

/// Elements that are rounded one after the other before what they lost reaches those behind them.
const PANEL: usize = 64;

/// How rounding with feedback is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feedback {
    /// What is added to the diagonal of G, as a part of its mean: without it, inputs that were hardly
    /// ever seen would make up for everything.
    pub(crate) damping: f64,
    /// Whether inputs with much energy are rounded first.
    pub(crate) by_energy: bool,
}

/// The weight on its grid, in the order of the constant.
///
/// A group whose matrix cannot be factored is rounded to nearest.
pub(crate) fn round(
    layer: &Layer,
    gram: &Gram,
    constant: &[f32],
    encoding: &Encoding,
    how: Feedback,
) -> Result<Vec<f32>, NumericError> {
    let rows = layer.to_rows(constant);
    let cells = layer.cells(encoding.granularity)?;
    let per_group = layer.outputs / layer.groups.max(1) * layer.depth;
    let rounded: Vec<Vec<f32>> = (0..layer.groups)
        .into_par_iter()
        .map(|group| {
            let part = group * per_group..(group + 1) * per_group;
            one(&rows[part.clone()], &cells[part], layer.depth, gram.block(group), encoding, how)
        })
        .collect();
    Ok(layer.to_constant(&rounded.concat()))
}

fn one(
    rows: &[f32],
    cells: &[u32],
    depth: usize,
    mut h: Array2<f64>,
    encoding: &Encoding,
    how: Feedback,
) -> Vec<f32> {
    let mean = h.diag().sum() / depth.max(1) as f64;
    let mut order: Vec<usize> = (0..depth).collect();
    if how.by_energy {
        order.sort_by(|&a, &b| h[[b, b]].total_cmp(&h[[a, a]]));
    }
    // An input that was never seen asks for nothing, and gets the nearest grid point.
    let floor = if mean > 0.0 { how.damping * mean } else { 1.0 };
    h.diag_mut().mapv_inplace(|energy| energy + floor);
    let h = Array2::from_shape_fn((depth, depth), |(a, b)| h[[order[a], order[b]]]);
    let factor = unit_upper(h).unwrap_or_else(|| Array2::eye(depth));
    let factor = factor.mapv(|element| element as f32);
    let round = Nearest::of(encoding);
    let mut rounded = rows.to_vec();
    let strip = 16 * depth.max(1);
    let strips =
        rounded.par_chunks_mut(strip).zip(rows.par_chunks(strip)).zip(cells.par_chunks(strip));
    strips.for_each(|((rounded, rows), cells)| {
        let count = rows.len() / depth;
        let Ok(w) = ArrayView2::from_shape((count, depth), rows) else { return };
        // What is lost so far, in the order of rounding.
        let mut lost = Array2::<f32>::zeros((count, depth));
        for from in (0..depth).step_by(PANEL) {
            let to = depth.min(from + PANEL);
            let mut moved = Array2::<f32>::zeros((count, to - from));
            let before = lost.slice(s![.., ..from]);
            general_mat_mul(1.0, &before, &factor.slice(s![..from, from..to]), 0.0, &mut moved);
            for row in 0..count {
                for at in from..to {
                    let here: f32 =
                        (from..at).map(|other| lost[[row, other]] * factor[[other, at]]).sum();
                    let (element, flat) = (w[[row, order[at]]], row * depth + order[at]);
                    let wanted = element + moved[[row, at - from]] + here;
                    let back = round.nearest(wanted, cells[flat] as usize);
                    lost[[row, at]] = element - back;
                    rounded[flat] = back;
                }
            }
        }
    });
    rounded
}

/// Grid points of an encoding.
struct Nearest<'e> {
    encoding: &'e Encoding,
    lowest: i64,
    highest: i64,
}

impl<'e> Nearest<'e> {
    fn of(encoding: &'e Encoding) -> Self {
        Self { encoding, lowest: encoding.lowest(), highest: encoding.highest() }
    }

    fn nearest(&self, x: f32, cell: usize) -> f32 {
        let scale = self.encoding.cells[cell].scale as f32;
        if let Some(format) = self.encoding.dtype.float8() {
            return format.decode(format.encode(x / scale, true)) * scale;
        }
        let zero = self.encoding.zero_point(cell);
        let stored = quantize_one(x, scale, zero, self.lowest, self.highest);
        stored.saturating_sub(zero) as f32 * scale
    }
}
