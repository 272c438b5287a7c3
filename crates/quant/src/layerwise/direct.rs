//! Losses that no Gram matrix gives: the inputs are kept, and every candidate is run on them.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Layer;
use super::search::Cost;

/// What of the outputs is made least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// The sum of the squared errors.
    #[default]
    Mse,
    /// The sum of the absolute errors.
    L1,
    /// The signal to quantization noise ratio, sample by sample, in decibels, made greatest.
    Sqnr,
}

/// Outputs on kept inputs.
pub(crate) struct Direct {
    loss: Loss,
    outputs: usize,
    groups: usize,
    depth: usize,
    block: usize,
    /// The rows of each sample.
    samples: Vec<Array2<f32>>,
    /// For each sample, the mean square of what is computed without quantization, by output and block.
    signal: Vec<Vec<f64>>,
}

impl Direct {
    /// Costs of a layer on these rows; `weight` in rows and `bias` say what the outputs should be.
    pub(crate) fn new(
        layer: &Layer,
        loss: Loss,
        block: usize,
        samples: Vec<Array2<f32>>,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Direct {
        let Layer { outputs, groups, depth, .. } = *layer;
        let mut direct =
            Direct { loss, outputs, groups, depth, block, samples, signal: Vec::new() };
        if loss == Loss::Sqnr {
            let signal = direct.samples.iter().map(|rows| {
                direct.each(rows, weight, bias, |products| {
                    let count = products.len().max(1) as f64;
                    products.iter().map(|&y| f64::from(y) * f64::from(y)).sum::<f64>() / count
                })
            });
            direct.signal = signal.collect();
        }
        direct
    }

    /// What `sum` says of the products of every output and block over the rows of one sample.
    fn each(
        &self,
        rows: &Array2<f32>,
        weight: &[f32],
        bias: Option<&[f32]>,
        sum: impl Fn(&[f32]) -> f64 + Sync,
    ) -> Vec<f64> {
        let Ok(weight) = ArrayView2::from_shape((self.outputs, self.depth), weight) else {
            return Vec::new();
        };
        let per_group = self.outputs / self.groups.max(1);
        let blocks = self.depth.div_ceil(self.block.max(1));
        let parts: Vec<Vec<f64>> = (0..self.outputs)
            .into_par_iter()
            .chunks(32)
            .map(|outputs| {
                let mut found = vec![0.0; outputs.len() * blocks];
                for (at, &output) in outputs.iter().enumerate() {
                    let from = output / per_group.max(1) * self.depth;
                    for block in 0..blocks {
                        let start = block * self.block;
                        let end = self.depth.min(start + self.block);
                        let w = weight.slice(s![output..output + 1, start..end]);
                        let x = rows.slice(s![.., from + start..from + end]);
                        let mut y = Array2::<f32>::zeros((rows.nrows(), 1));
                        general_mat_mul(1.0, &x, &w.t(), 0.0, &mut y);
                        let shift = bias.and_then(|bias| bias.get(output)).copied().unwrap_or(0.0);
                        let y: Vec<f32> = y.iter().map(|y| y + shift).collect();
                        found[at * blocks + block] = sum(&y);
                    }
                }
                found
            })
            .collect();
        parts.concat()
    }
}

impl Cost for Direct {
    fn of(&self, error: &[f32]) -> Vec<f64> {
        let mut total = vec![0.0; self.outputs * self.depth.div_ceil(self.block.max(1))];
        for (at, rows) in self.samples.iter().enumerate() {
            let square = |y: &f32| f64::from(*y) * f64::from(*y);
            let count = rows.nrows().max(1) as f64;
            let losses = self.each(rows, error, None, |products| match self.loss {
                Loss::Mse => products.iter().map(square).sum(),
                Loss::L1 => products.iter().map(|y| f64::from(y.abs())).sum(),
                Loss::Sqnr => products.iter().map(square).sum::<f64>() / count,
            });
            for (slot, (total, loss)) in total.iter_mut().zip(losses).enumerate() {
                *total += match self.loss {
                    // AIMET's ratio, with what keeps it finite.
                    Loss::Sqnr => -10.0 * (self.signal[at][slot] / (loss + 1e-10)).log10(),
                    Loss::Mse | Loss::L1 => loss,
                };
            }
        }
        total
    }
}
