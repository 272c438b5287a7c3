//! The range whose quantized distribution diverges least from the original one.

use super::distribution::Distribution;
use crate::Spec;

/// Bins of magnitudes.
const BINS: usize = 2048;

/// The magnitude at which to clip, applied to both ends.
///
/// For every threshold, what lies beyond is put into the last bin, the rest is merged into as many
/// levels as the type has for magnitudes and spread again evenly over the bins that held something.
/// The threshold of the least Kullback–Leibler divergence is taken. With as many levels as bins
/// nothing diverges, so wide types keep their whole range.
pub(super) fn range(spec: &Spec, distribution: &Distribution, (lo, hi): (f32, f32)) -> (f32, f32) {
    let one_sided = !spec.symmetric && (lo >= 0.0 || hi <= 0.0);
    let bits = if one_sided { spec.dtype.bits() } else { spec.dtype.bits() - 1 };
    let levels = 1usize << bits.min(16);
    let largest = f64::from(hi.max(-lo).min(f32::MAX));
    if levels >= BINS || !(largest > 0.0 && largest.is_finite()) {
        return (lo, hi);
    }
    let width = largest / BINS as f64;
    let mut bins = vec![0.0; BINS];
    for point in &distribution.points {
        let bin = (point.middle.abs() / width) as usize;
        bins[bin.min(BINS - 1)] += point.weight;
    }
    let step = (levels / 8).max(1);
    let mut best = (f64::INFINITY, BINS);
    for end in (levels..=BINS).rev().step_by(step) {
        let divergence = divergence(&bins, end, levels);
        // Sums are not exact: a threshold must be better by more than that.
        if divergence < best.0 - 1e-12 {
            best = (divergence, end);
        }
    }
    let threshold = (best.1 as f64 * width) as f32;
    (lo.max(-threshold), hi.min(threshold))
}

/// How much is lost if bins from `end` on are clipped and the others are `levels` levels.
fn divergence(bins: &[f64], end: usize, levels: usize) -> f64 {
    let beyond: f64 = bins[end..].iter().sum();
    let total: f64 = bins.iter().sum();
    let inside: f64 = bins[..end].iter().sum();
    if inside <= 0.0 {
        return f64::INFINITY;
    }
    // A last bin that only holds what was clipped counts as one value.
    let alone = beyond > 0.0 && bins[end - 1] <= 0.0;
    let inside = inside + f64::from(u8::from(alone));
    let mut divergence = 0.0;
    for level in 0..levels {
        let (from, to) = (level * end / levels, (level + 1) * end / levels);
        let group = &bins[from..to];
        let held = group.iter().filter(|&&weight| weight > 0.0).count();
        let weight: f64 = group.iter().sum();
        for (at, &p) in group.iter().enumerate() {
            let clipped = if from + at + 1 == end { beyond } else { 0.0 };
            let p = (p + clipped) / total;
            if p <= 0.0 {
                continue;
            }
            let q = if group[at] > 0.0 { weight / held as f64 } else { 1.0 } / inside;
            divergence += p * (p / q).ln();
        }
    }
    divergence
}
