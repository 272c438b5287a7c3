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
