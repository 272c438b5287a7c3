//! How much noise rounding is expected to leave behind a layer, for scales between two layers.

use serde::{Deserialize, Serialize};

use crate::encoding::steps;
use crate::{DType, NumericError};

use super::Grid;
use super::pairs::Layer;
use crate::Granularity;

/// What was seen of one channel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Channel {
    low: f64,
    high: f64,
    squares: f64,
    count: u64,
}

impl Channel {
    /// The largest magnitude.
    pub(super) fn most(&self) -> f64 {
        self.high.max(-self.low)
    }

    /// The mean square.
    fn power(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }
}

/// Takes one tensor into account; channels lie along `axis`.
pub(super) fn widen(
    seen: &mut Vec<Channel>,
    dims: &[usize],
    axis: i64,
    data: &[f32],
) -> Result<(), NumericError> {
    let grid = Grid::new(dims, Granularity::PerChannel(axis))?;
    grid.check(data.len())?;
    seen.resize(grid.cells().max(seen.len()), Channel::default());
    grid.runs(|channel, run| {
        let channel = &mut seen[channel];
        channel.count += run.len() as u64;
        for x in data[run].iter().map(|&x| f64::from(x)) {
            channel.low = channel.low.min(x);
            channel.high = channel.high.max(x);
            channel.squares += x * x;
        }
    });
    Ok(())
}

/// The layer behind the value whose channels are scaled, and the types that both get.
pub(super) struct Behind<'a> {
    pub(super) layer: Layer,
    pub(super) dims: &'a [usize],
    pub(super) weight: &'a [f32],
    pub(super) seen: &'a [Channel],
    pub(super) activations: DType,
    pub(super) weights: DType,
}

impl Behind<'_> {
    /// The noise in the outputs of the layer, up to a factor that scales do not change, once channel c
    /// of what it reads is divided by `scales[c]` and its weights are multiplied by that.
    ///
    /// A grid of step Δ leaves noise of Δ²/12 in every element, independent of the others. So what is
    /// read adds Δx²·Σ (s_c·w)² over all weights, with one grid for all channels; and a weight of
    /// output channel m adds Δ_m²·E\[x_c²\]/s_c², with one grid for each m.
    pub(super) fn noise(&self, scales: &[f64]) -> f64 {
        let ends = self.seen.iter().zip(scales).fold((0.0f64, 0.0f64), |(low, high), (seen, s)| {
            (low.min(seen.low / s), high.max(seen.high / s))
        });
        let step = (ends.1 - ends.0) / steps(bits(self.activations), false);
        let mut read = 0.0;
        let outputs = self.layer.outputs(self.dims);
        let (mut largest, mut power) = (vec![0.0f64; outputs], vec![0.0; outputs]);
        for (at, &w) in self.weight.iter().enumerate() {
            let c = self.layer.input_channel(self.dims, at);
            let m = self.layer.output_channel(self.dims, at);
            let w = f64::from(w) * scales[c];
            read += w * w;
            largest[m] = largest[m].max(w.abs());
            power[m] += self.seen[c].power() / (scales[c] * scales[c]);
        }
        let half = (steps(bits(self.weights), false) / 2.0).floor();
        let weights = largest.iter().zip(&power).map(|(w, power)| (w / half).powi(2) * power);
        step * step * read + weights.sum::<f64>()
    }
}

/// Eight, which is what equalization was made for, where there is no grid.
fn bits(dtype: DType) -> u32 {
    if dtype.is_integer() { dtype.bits() } else { 8 }
}
