//! What a weight aims at: the outputs of the float model, from inputs that earlier layers have changed.
//!
//! Behind rounded layers a layer reads x where the float model has x + d. Its own weight W then gives W·x
//! instead of W·(x + d). What of d can be told from x is made up for by the weight that comes nearest,
//! W + W·D·(G + λ)⁻¹ with D = Σ d·xᵀ and G = Σ x·xᵀ: what Li et al., "GPTAQ: Efficient Finetuning-Free
//! Quantization for Asymmetric Calibration" (2025), take into the rounding of each element is put in
//! front of it here, so that scales are chosen for it, too.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::layerwise::factor::Factor;
use crate::layerwise::tiles::Shared;
use crate::layerwise::{Layer, Squared};
use crate::pass::layers::{Inputs, Seen};

/// What is added to the diagonal of G, as shares of its mean: the first one that is tried is in the middle.
const SHARES: [f64; 5] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// A weight with its target.
pub(super) struct Target {
    /// In rows.
    pub(super) rows: Vec<f32>,
    /// How much nearer it is to the float outputs on the samples kept apart, as a part of these.
    pub(super) gain: f64,
}

/// The target of a weight in rows, where it is nearer to the outputs of the float model on samples that it
/// was not fitted to.
pub(super) fn target(layer: &Layer, weight: &[f32], seen: &Seen) -> Option<Target> {
    let Seen::Gram(inputs, Some(apart)) = seen else { return None };
    // What fewer rows say than a weight has elements is chance.
    if apart.gram.rows() < layer.depth as u64 {
        return None;
    }
    let judge = Judge::new(layer, weight, apart)?;
    let fits = Fits { layer, weight, inputs };
    let at = |share: usize| -> Option<f64> {
        let gain = judge.gain(&fits.with(SHARES[share])?);
        gain.is_finite().then_some(gain)
    };
    // As long as it gets better one way, and otherwise the other way.
    let middle = SHARES.len() / 2;
    let mut best = (middle, at(middle)?);
    for way in [(middle + 1..SHARES.len()).collect::<Vec<_>>(), (0..middle).rev().collect()] {
        for share in way {
            match at(share) {
                Some(gain) if gain > best.1 => best = (share, gain),
                _ => break,
            }
        }
        if best.0 != middle {
            break;
        }
    }
    if best.1 <= 0.0 {
        return None;
    }
    // Those whose word was needed to choose are as good as the others to fit by.
    let mut all = inputs.clone();
    all.merge(apart);
    let rows = Fits { layer, weight, inputs: &all }.with(SHARES[best.0])?;
    Some(Target { rows, gain: best.1 })
}

/// Says how near outputs are to those of the float model, from samples kept apart.
struct Judge<'a> {
    weight: &'a [f32],
    layer: &'a Layer,
    squared: Squared,
    /// W·D.
    missed: Vec<f32>,
    /// The square of the outputs.
    signal: f64,
}

impl<'a> Judge<'a> {
    /// None where nothing was changed.
    fn new(layer: &'a Layer, weight: &'a [f32], apart: &Inputs) -> Option<Judge<'a>> {
        let missed = missed(layer, weight, apart)?;
        let squared = Squared::new(layer, &apart.gram);
        let signal = squared.all(layer, weight).iter().sum();
        let changed = missed.iter().any(|&missed| missed != 0.0);
        (changed && signal > 0.0).then_some(Judge { weight, layer, squared, missed, signal })
    }

    /// How much less the outputs are off than with the weight itself, as a part of their square: with
    /// e = Ŵ − W, outputs are off by e·x − W·d, of whose square W·d alone is the weight's own.
    fn gain(&self, rows: &[f32]) -> f64 {
        let error: Vec<f32> = rows.iter().zip(self.weight).map(|(row, w)| row - w).collect();
        let own: f64 = self.squared.all(self.layer, &error).iter().sum();
        let both = self.missed.iter().zip(&error);
        let both: f64 = both.map(|(&missed, &e)| f64::from(missed) * f64::from(e)).sum();
        (2.0 * both - own) / self.signal
    }
}

/// W·D of all outputs; none where it is not finite, or was not asked for.
fn missed(layer: &Layer, weight: &[f32], inputs: &Inputs) -> Option<Vec<f32>> {
    let drift = inputs.drift.as_ref()?;
    let of_group = layer.outputs / layer.groups.max(1) * layer.depth;
    let mut missed = Vec::with_capacity(weight.len());
    for (group, weight) in weight.chunks(of_group.max(1)).enumerate() {
        let weight = rows_of(weight, layer.depth)?;
        missed.extend(weight.dot(&drift.group(group)).iter().map(|&x| x as f32));
    }
    missed.iter().all(|x| x.is_finite()).then_some(missed)
}

/// Some rows in double precision.
fn rows_of(rows: &[f32], depth: usize) -> Option<Array2<f64>> {
    let count = rows.len() / depth.max(1);
    Some(ArrayView2::from_shape((count, depth), rows).ok()?.mapv(f64::from))
}

/// Targets for more or less trust in the samples.
struct Fits<'a> {
    layer: &'a Layer,
    weight: &'a [f32],
    inputs: &'a Inputs,
}

impl Fits<'_> {
    /// That with a share of the mean of the diagonal of G added to it; none where G cannot be solved for.
    fn with(&self, share: f64) -> Option<Vec<f32>> {
        let Fits { layer, weight, inputs } = self;
        let missed = missed(layer, weight, inputs)?;
        let of_group = (layer.outputs / layer.groups.max(1) * layer.depth).max(1);
        let groups = weight.par_chunks(of_group).zip(missed.par_chunks(of_group)).enumerate();
        let rows = groups.map(|(group, (weight, missed))| {
            let mut gram = inputs.gram.block(group);
            let mean = gram.diag().mean().filter(|mean| mean.is_finite())?;
            // A group that no sample reads asks for nothing.
            if mean <= 0.0 {
                return Some(weight.to_vec());
            }
            gram.diag_mut().mapv_inplace(|energy| energy + share * mean);
            let more = Factor::of(gram)?.solve(rows_of(missed, layer.depth)?);
            Some(weight.iter().zip(&more).map(|(&w, &more)| w + more as f32).collect())
        });
        let rows: Option<Vec<Vec<f32>>> = rows.collect();
        let rows = rows?.concat();
        rows.iter().all(|x| x.is_finite()).then_some(rows)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::layerwise::{Drift, Gram};

    /// Numbers around zero that repeat late.
    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn matrix(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        Array2::from_shape_vec((rows, columns), noise(rows * columns, seed)).unwrap()
    }

    fn inputs(groups: usize, depth: usize, off: &Array2<f32>, rows: &Array2<f32>) -> Inputs {
        let (mut gram, mut drift) = (Gram::new(groups, depth, depth), Drift::new(groups, depth));
        gram.add(rows.as_slice().unwrap());
        drift.add(off.as_slice().unwrap(), rows.as_slice().unwrap());
        Inputs { gram, drift: Some(drift) }
    }

    /// Rows of the float model, and behind an earlier layer that was changed a little.
    fn behind(count: usize, depth: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
        let before = matrix(count, depth, seed);
        let float = Array2::eye(depth) * 3.0 + matrix(depth, depth, 1);
        let rounded = &float + &(matrix(depth, depth, 2) * 0.1);
        (before.dot(&float), before.dot(&rounded))
    }

    fn seen(groups: usize, depth: usize, seed: u64) -> (Seen, Array2<f32>, Array2<f32>) {
        let (float, rows) = behind(900, groups * depth, seed);
        let (other_float, other) = behind(300, groups * depth, seed + 1);
        let fit = inputs(groups, depth, &(&float - &rows), &rows);
        let apart = inputs(groups, depth, &(&other_float - &other), &other);
        (Seen::Gram(fit, Some(apart)), other_float, other)
    }

    /// What an earlier layer changed can be told from its outputs: the target takes it back, which an
    /// independent product of rows and weights shows.
    #[test]
    fn what_can_be_told_is_made_up_for() {
        let (outputs, depth) = (8, 24);
        let layer = Layer::of_matrix(outputs, depth);
        let weight = noise(outputs * depth, 7);
        let (seen, float, rows) = seen(1, depth, 11);
        let target = target(&layer, &weight, &seen).unwrap();
        let of = |weight: &[f32], rows: &Array2<f32>| {
            let weight = ArrayView2::from_shape((outputs, depth), weight).unwrap();
            rows.dot(&weight.t())
        };
        let energy = |x: &Array2<f32>| x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let wanted = of(&weight, &float);
        let (before, after) = (
            energy(&(&wanted - &of(&weight, &rows))),
            energy(&(&wanted - &of(&target.rows, &rows))),
        );
        assert!(after < 1e-3 * before, "{after} of {before}");
        let gain = (before - after) / energy(&of(&weight, &rows));
        assert!((target.gain / gain - 1.0).abs() < 0.05, "{} where it is {gain}", target.gain);
    }

    /// Groups are on their own: the target of two is that of each.
    #[test]
    fn groups_have_targets_of_their_own() {
        let (per_group, depth) = (3, 10);
        let weight = noise(2 * per_group * depth, 3);
        let (both, ..) = seen(2, depth, 21);
        let Seen::Gram(fit, _) = &both else { unreachable!() };
        let mut layer = Layer::of_matrix(2 * per_group, depth);
        layer.groups = 2;
        let rows = Fits { layer: &layer, weight: &weight, inputs: fit }.with(1e-4).unwrap();
        let gram = fit.gram.block(1);
        let drift = fit.drift.as_ref().unwrap().group(1);
        let last = rows_of(&weight[per_group * depth..], depth).unwrap();
        let change = rows_of(&rows[per_group * depth..], depth).unwrap() - &last;
        let mean = gram.diag().mean().unwrap();
        let mut damped = gram.clone();
        damped.diag_mut().mapv_inplace(|energy| energy + 1e-4 * mean);
        // It solves (Ŵ − W)·(G + λ) = W·D.
        let off = change.dot(&damped) - last.dot(&drift);
        let worst = off.mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
        let size = last.dot(&drift).mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
        assert!(worst < 1e-4 * size, "{worst} of {size}");
        assert!(target(&layer, &weight, &both).is_some());
        assert!(target(&layer, &weight, &Seen::Gram(fit.clone(), None)).is_none());
    }

    /// What has nothing to do with the inputs is not chased, and what is no number leaves the weight.
    #[test]
    fn chance_and_what_is_no_number_leave_the_weight() {
        let (outputs, depth) = (4, 16);
        let layer = Layer::of_matrix(outputs, depth);
        let weight = noise(outputs * depth, 5);
        let of = |seed: u64, count: usize| {
            let rows = matrix(count, depth, seed);
            inputs(1, depth, &(matrix(count, depth, seed + 100) * 0.1), &rows)
        };
        let seen = Seen::Gram(of(1, 60), Some(of(2, 20)));
        let gain = target(&layer, &weight, &seen).map_or(0.0, |target| target.gain);
        assert!(gain < 1e-4, "{gain}");
        assert!(target(&layer, &weight, &Seen::Gram(of(1, 60), Some(of(1, 15)))).is_none());
        let same = |count: usize| {
            let rows = matrix(count, depth, 9);
            inputs(1, depth, &Array2::zeros((count, depth)), &rows)
        };
        assert!(target(&layer, &weight, &Seen::Gram(same(60), Some(same(20)))).is_none());
        let mut odd = matrix(60, depth, 1);
        odd[[3, 3]] = f32::NAN;
        let odd = inputs(1, depth, &odd, &matrix(60, depth, 2));
        assert!(target(&layer, &weight, &Seen::Gram(odd.clone(), Some(of(2, 20)))).is_none());
        assert!(target(&layer, &weight, &Seen::Gram(of(1, 60), Some(odd))).is_none());
    }
}
