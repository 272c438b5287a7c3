//! Losses that no Gram matrix gives: the inputs are kept, and every candidate is run on them.

use std::io;
use std::ops::Range;

use marquetry_engine::{Panel, multiply};
use serde::{Deserialize, Serialize};

use super::search::Cost;
use super::{Kept, Layer};

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
    kept: &'a Kept,
    /// For each sample, the mean square of what is computed without quantization, by output and block.
    signal: Vec<Vec<f64>>,
}

impl<'a> Direct<'a> {
    /// Costs of a layer on these rows; `weight` in rows and `bias` say what the outputs should be.
    pub(crate) fn new(
        layer: &Layer,
        loss: Loss,
        block: usize,
        kept: &'a Kept,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> io::Result<Direct<'a>> {
        let Layer { outputs, groups, depth, .. } = *layer;
        let mut direct = Direct { loss, outputs, groups, depth, block, kept, signal: Vec::new() };
        if loss == Loss::Sqnr {
            let of_group = (outputs / groups.max(1)).max(1);
            for sample in 0..kept.samples() {
                let len = kept.count(sample).max(1) as f64;
                let mut signal = Vec::new();
                for first in (0..outputs).step_by(of_group) {
                    let part = &weight[first * depth..(first + of_group) * depth];
                    let squares =
                        direct.each(sample, first..first + of_group, part, bias, square)?;
                    signal.extend(squares.into_iter().map(|squares| squares / len));
                }
                direct.signal.push(signal);
            }
        }
        Ok(direct)
    }

    /// The sum of what `of` says of the products of every row of a weight of some outputs, given as often
    /// as there are candidates, with every block over the rows of one sample.
    fn each(
        &self,
        sample: usize,
        outputs: Range<usize>,
        weight: &[f32],
        bias: Option<&[f32]>,
        of: impl Fn(f32) -> f64,
    ) -> io::Result<Vec<f64>> {
        let count = weight.len() / self.depth.max(1);
        let of_group = self.outputs / self.groups.max(1);
        let group = outputs.start / of_group.max(1);
        let blocks = self.depth.div_ceil(self.block.max(1));
        let mut found = vec![0.0; count * blocks];
        let mut products = Vec::new();
        for piece in self.kept.pieces(sample, group) {
            let (many, x) = piece?;
            products.resize(count * many, 0.0);
            if products.is_empty() {
                continue;
            }
            for block in 0..blocks {
                let start = block * self.block;
                let end = self.depth.min(start + self.block);
                let w = Panel::new(&weight[start..], [count, end - start], self.depth);
                let x = Panel::new(&x[start..], [many, end - start], self.depth);
                multiply(w, x.t(), &mut products);
                for (row, products) in products.chunks(many).enumerate() {
                    let output = outputs.start + row % outputs.len().max(1);
                    let shift = bias.and_then(|bias| bias.get(output)).copied().unwrap_or(0.0);
                    // Row behind row, however rows are cut into pieces.
                    let sum = &mut found[row * blocks + block];
                    *sum = products.iter().fold(*sum, |sum, y| sum + of(y + shift));
                }
            }
        }
        Ok(found)
    }
}

impl Cost for Direct<'_> {
    fn of(&self, outputs: Range<usize>, error: &[f32]) -> io::Result<Vec<f64>> {
        let blocks = self.depth.div_ceil(self.block.max(1));
        let count = error.len() / self.depth.max(1);
        let mut total = vec![0.0; count * blocks];
        let own = outputs.len() * blocks;
        for at in 0..self.kept.samples() {
            let len = self.kept.count(at).max(1) as f64;
            let losses = match self.loss {
                Loss::Mse | Loss::Sqnr => self.each(at, outputs.clone(), error, None, square)?,
                Loss::L1 => self.each(at, outputs.clone(), error, None, |y| f64::from(y.abs()))?,
            };
            // Signals are those of all outputs, losses those of these ones, over and over.
            let first = outputs.start * blocks;
            let signals = self.signal.get(at).map_or(&[][..], |all| &all[first..]);
            for (slot, (total, loss)) in total.iter_mut().zip(losses).enumerate() {
                *total += match self.loss {
                    // AIMET's ratio, with what keeps it finite.
                    Loss::Sqnr => -10.0 * (signals[slot % own] / (loss / len + 1e-10)).log10(),
                    Loss::Mse | Loss::L1 => loss,
                };
            }
        }
        Ok(total)
    }
}

fn square(y: f32) -> f64 {
    f64::from(y) * f64::from(y)
}
