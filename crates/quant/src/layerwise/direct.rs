//! Losses that no Gram matrix gives: the inputs are kept, and every candidate is run on them.

use std::ops::Range;

use marquetry_engine::{Panel, multiply};
use ndarray::Array2;
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
pub(crate) struct Direct<'a> {
    loss: Loss,
    outputs: usize,
    groups: usize,
    depth: usize,
    block: usize,
    /// The rows of each sample.
    samples: &'a [Array2<f32>],
    /// For each sample, the mean square of what is computed without quantization, by output and block.
    signal: Vec<Vec<f64>>,
}

impl<'a> Direct<'a> {
    /// Costs of a layer on these rows; `weight` in rows and `bias` say what the outputs should be.
    pub(crate) fn new(
        layer: &Layer,
        loss: Loss,
        block: usize,
        samples: &'a [Array2<f32>],
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Direct<'a> {
        let Layer { outputs, groups, depth, .. } = *layer;
        let mut direct =
            Direct { loss, outputs, groups, depth, block, samples, signal: Vec::new() };
        if loss == Loss::Sqnr {
            let of_group = (outputs / groups.max(1)).max(1);
            let signal = direct.samples.iter().map(|rows| {
                let of_strip = |first: usize| {
                    let part = &weight[first * depth..(first + of_group) * depth];
                    direct.each(rows, first..first + of_group, part, bias, |products| {
                        let squares = products.map(|y| f64::from(y) * f64::from(y));
                        squares.sum::<f64>() / rows.nrows().max(1) as f64
                    })
                };
                (0..outputs).step_by(of_group).flat_map(of_strip).collect()
            });
            direct.signal = signal.collect();
        }
        direct
    }

    /// What `sum` says of the products of every row of a weight of some outputs, given as often as
    /// there are candidates, with every block over the rows of one sample.
    fn each(
        &self,
        rows: &Array2<f32>,
        outputs: Range<usize>,
        weight: &[f32],
        bias: Option<&[f32]>,
        sum: impl Fn(&mut dyn Iterator<Item = f32>) -> f64,
    ) -> Vec<f64> {
        let count = weight.len() / self.depth.max(1);
        let of_group = self.outputs / self.groups.max(1);
        let from = outputs.start / of_group.max(1) * self.depth;
        let blocks = self.depth.div_ceil(self.block.max(1));
        let mut found = vec![0.0; count * blocks];
        let (many, width) = rows.dim();
        let x = rows.as_slice().unwrap_or_default();
        let mut products = vec![0.0; count * many];
        for block in 0..blocks {
            let start = block * self.block;
            let end = self.depth.min(start + self.block);
            if products.is_empty() {
                break;
            }
            let w = Panel::new(&weight[start..], [count, end - start], self.depth);
            let x = Panel::new(&x[from + start..], [many, end - start], width);
            multiply(w, x.t(), &mut products);
            for (row, products) in products.chunks(many).enumerate() {
                let output = outputs.start + row % outputs.len().max(1);
                let shift = bias.and_then(|bias| bias.get(output)).copied().unwrap_or(0.0);
                found[row * blocks + block] = sum(&mut products.iter().map(|y| y + shift));
            }
        }
        found
    }
}

impl Cost for Direct<'_> {
    fn of(&self, outputs: Range<usize>, error: &[f32]) -> Vec<f64> {
        let blocks = self.depth.div_ceil(self.block.max(1));
        let count = error.len() / self.depth.max(1);
        let mut total = vec![0.0; count * blocks];
        for (at, rows) in self.samples.iter().enumerate() {
            let square = |y: f32| f64::from(y) * f64::from(y);
            let len = rows.nrows().max(1) as f64;
            let losses =
                self.each(rows, outputs.clone(), error, None, |products| match self.loss {
                    Loss::Mse => products.map(square).sum(),
                    Loss::L1 => products.map(|y| f64::from(y.abs())).sum(),
                    Loss::Sqnr => products.map(square).sum::<f64>() / len,
                });
            // Signals are those of all outputs, losses those of these ones, over and over.
            let first = outputs.start * blocks;
            let signals = self.signal.get(at).map_or(&[][..], |all| &all[first..]);
            let own = outputs.len() * blocks;
            for (slot, (total, loss)) in total.iter_mut().zip(losses).enumerate() {
                *total += match self.loss {
                    // AIMET's ratio, with what keeps it finite.
                    Loss::Sqnr => -10.0 * (signals[slot % own] / (loss + 1e-10)).log10(),
                    Loss::Mse | Loss::L1 => loss,
                };
            }
        }
        total
    }
}
