//! How much noise rounding is expected to leave behind a layer, for scales between two layers.

use serde::{Deserialize, Serialize};

use crate::encoding::steps;
use crate::{DType, NumericError};

use super::Grid;
use super::pairs::Layer;
use crate::Granularity;

/// What was seen of one channel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Channel {
    low: f64,
    high: f64,
    squares: f64,
    count: u64,
    /// The ends of each sample, in their order.
    ends: Vec<(f64, f64)>,
}

impl Channel {
    /// The largest magnitude.
    pub(super) fn most(&self) -> f64 {
        self.high.max(-self.low)
    }

    /// The ends of all samples but one, for each.
    fn ends_without(&self) -> Vec<(f64, f64)> {
        // What lies outermost in all but one is outermost in all, or next to it.
        let mut low = [(0.0, usize::MAX); 2];
        let mut high = [(0.0, usize::MAX); 2];
        for (at, own) in self.ends.iter().enumerate() {
            if own.0 < low[0].0 {
                low = [(own.0, at), low[0]];
            } else if own.0 < low[1].0 {
                low[1] = (own.0, at);
            }
            if own.1 > high[0].0 {
                high = [(own.1, at), high[0]];
            } else if own.1 > high[1].0 {
                high[1] = (own.1, at);
            }
        }
        let but = |ends: [(f64, usize); 2], at| ends[usize::from(ends[0].1 == at)].0;
        (0..self.ends.len()).map(|at| (but(low, at), but(high, at))).collect()
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
    seen.iter_mut().for_each(|channel| channel.ends.push((0.0, 0.0)));
    grid.runs(|channel, run| {
        let channel = &mut seen[channel];
        channel.count += run.len() as u64;
        for x in data[run].iter().map(|&x| f64::from(x)) {
            channel.low = channel.low.min(x);
            channel.high = channel.high.max(x);
            channel.squares += x * x;
            let (low, high) = channel.ends.last_mut().expect("each sample has its ends");
            *low = low.min(x);
            *high = high.max(x);
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
    /// of what it reads is divided by s_c and its weights are multiplied by that. `scales` are the s_c
    /// for the largest magnitudes of all channels.
    ///
    /// A grid of step Δ leaves noise of Δ²/12 in every element, independent of the others. So what is
    /// read adds Δx²·Σ (s_c·w)² over all weights, with one grid for all channels; and a weight of
    /// output channel m adds Δ_m²·E\[x_c²\]/s_c², with one grid for each m.
    ///
    /// Behind a depthwise layer noise counts in relation to what its own channel carries there: what reads
    /// that has weights for each channel that bring them together again.
    ///
    /// What other samples will have beyond the ends of the grid is cut off, and the more channels fill
    /// the grid, the more there is of it. Each sample is taken for such another one: scales and ends are
    /// those of the rest, and what lies beyond them adds its square.
    pub(super) fn noise(&self, scales: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
        let all: Vec<f64> = self.seen.iter().map(Channel::most).collect();
        let of_all = scales(&all);
        let ends =
            self.seen.iter().zip(&of_all).fold((0.0f64, 0.0f64), |(low, high), (seen, s)| {
                (low.min(seen.low / s), high.max(seen.high / s))
            });
        let step = (ends.1 - ends.0) / steps(bits(self.activations), false);
        let mut read = 0.0;
        let outputs = self.layer.outputs(self.dims);
        let (mut largest, mut power) = (vec![0.0f64; outputs], vec![0.0; outputs]);
        let (unit, counts) = self.units();
        for (at, &w) in self.weight.iter().enumerate() {
            let c = self.layer.input_channel(self.dims, at);
            let m = self.layer.output_channel(self.dims, at);
            let w = f64::from(w) * of_all[c];
            read += w * w * counts[c];
            largest[m] = largest[m].max(w.abs());
            power[m] += counts[c] * self.seen[c].power() / (of_all[c] * of_all[c]);
        }
        let half = (steps(bits(self.weights), false) / 2.0).floor();
        let weights = largest.iter().zip(&power).map(|(w, power)| (w / half).powi(2) * power);
        // Noise is counted in twelfths.
        step * step * read + weights.sum::<f64>() + 12.0 * self.cut_off(scales, &unit)
    }

    /// What the square of an input adds over all outputs, and what noise of it counts, by channel.
    fn units(&self) -> (Vec<f64>, Vec<f64>) {
        let mut unit = vec![0.0; self.seen.len()];
        for (at, &w) in self.weight.iter().enumerate() {
            unit[self.layer.input_channel(self.dims, at)] += f64::from(w).powi(2);
        }
        let mut counts = vec![1.0; unit.len()];
        if self.layer.depthwise(self.dims) {
            for ((count, unit), seen) in counts.iter_mut().zip(&unit).zip(self.seen) {
                let carried = unit * seen.power();
                *count = if carried > 0.0 { carried.recip() } else { 0.0 };
            }
        }
        unit.iter_mut().zip(&counts).for_each(|(unit, count)| *unit *= count);
        (unit, counts)
    }

    /// The mean square of what is cut off from a sample by the ends of the others, in the outputs.
    fn cut_off(&self, scales: impl Fn(&[f64]) -> Vec<f64>, unit: &[f64]) -> f64 {
        let samples = self.seen.iter().map(|channel| channel.ends.len()).min().unwrap_or(0);
        if samples < 2 {
            return 0.0;
        }
        let without: Vec<Vec<(f64, f64)>> = self.seen.iter().map(Channel::ends_without).collect();
        let mut total = 0.0;
        for at in 0..samples {
            let others: Vec<(f64, f64)> = without.iter().map(|ends| ends[at]).collect();
            let most: Vec<f64> = others.iter().map(|(low, high)| high.max(-low)).collect();
            let scales = scales(&most);
            let (low, high) = others.iter().zip(&scales).fold((0.0f64, 0.0f64), |all, (own, s)| {
                (all.0.min(own.0 / s), all.1.max(own.1 / s))
            });
            for ((channel, s), unit) in self.seen.iter().zip(&scales).zip(unit) {
                let own = channel.ends[at];
                let below = (low * s - own.0).max(0.0);
                let above = (own.1 - high * s).max(0.0);
                total += (below * below + above * above) * unit / channel.count.max(1) as f64;
            }
        }
        total
    }
}

/// Eight, which is what equalization was made for, where there is no grid.
fn bits(dtype: DType) -> u32 {
    if dtype.is_integer() { dtype.bits() } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_others_are_those_of_the_definition() {
        let of = |ends: &[(f64, f64)]| Channel { ends: ends.to_vec(), ..Channel::default() };
        let many = [(-1.0, 2.0), (-3.0, 2.0), (0.0, 5.0), (-3.0, 1.0), (-2.0, 4.0)];
        for ends in [&many[..], &many[..2], &many[..1], &[]] {
            let found = of(ends).ends_without();
            for (at, &(low, high)) in found.iter().enumerate() {
                let others = ends.iter().enumerate().filter(|(other, _)| *other != at);
                let expected = others
                    .fold((0.0f64, 0.0f64), |all, (_, own)| (all.0.min(own.0), all.1.max(own.1)));
                assert_eq!((low, high), expected);
            }
            assert_eq!(found.len(), ends.len());
        }
    }
}
