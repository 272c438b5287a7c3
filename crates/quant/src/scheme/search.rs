//! The range of least cost, what is clipped counting `saturation` times.

use super::distribution::Distribution;
use crate::Spec;
use crate::encoding::{Cell, steps};
use crate::range::grid_of_range;

/// Ranges are tried in this many steps at either end, then more finely around the best one.
const COARSE: i32 = 16;
/// Parts of a coarse step.
const FINE: i32 = 8;
/// A narrower range must be better by this much: sums of squares are not exact.
const BETTER: f64 = 1.0 - 1e-6;

/// The grid of least cost; that of the whole range where nothing is better.
pub(super) fn cheapest(
    spec: &Spec,
    distribution: &Distribution,
    (lo, hi): (f32, f32),
    saturation: f64,
) -> Cell {
    let (lo, hi) = (lo.min(0.0), hi.max(0.0));
    let n = steps(spec.dtype.bits(), spec.symmetric && spec.strict);
    let mut search = Search { spec, distribution, saturation, steps: n, lo, hi, best: None };
    search.try_at((1.0, 1.0));
    // One end only where the other is zero, or where both move together.
    let low = if spec.symmetric || lo == 0.0 { &[COARSE][..] } else { &ALL[..] };
    let high = if hi == 0.0 && !spec.symmetric { &[COARSE][..] } else { &ALL[..] };
    let both =
        |a: i32, b: i32| (f64::from(a) / f64::from(COARSE), f64::from(b) / f64::from(COARSE));
    for &a in low {
        for &b in high {
            search.try_at(if spec.symmetric { both(b, b) } else { both(a, b) });
        }
    }
    let (a, b) = search.best.map_or((1.0, 1.0), |best| best.at);
    let moved = |at: f64, by: i32| at + f64::from(by) / f64::from(COARSE * FINE);
    let around = |moves: &[i32]| if moves.len() == 1 { 0..=0 } else { 1 - FINE..=FINE - 1 };
    for i in around(low) {
        for j in around(high) {
            let at = match spec.symmetric {
                true => (moved(a, j), moved(a, j)),
                false => (moved(a, i), moved(b, j)),
            };
            if at.0 > 0.0 && at.1 > 0.0 && at.0 <= 1.0 && at.1 <= 1.0 {
                search.try_at(at);
            }
        }
    }
    search.best.map_or_else(|| grid_of_range(spec, lo, hi), |best| best.cell)
}

const ALL: [i32; COARSE as usize] = [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];

#[derive(Clone, Copy)]
struct Best {
    cost: f64,
    cell: Cell,
    at: (f64, f64),
}

struct Search<'a> {
    spec: &'a Spec,
    distribution: &'a Distribution,
    saturation: f64,
    steps: f64,
    lo: f32,
    hi: f32,
    best: Option<Best>,
}

impl Search<'_> {
    fn try_at(&mut self, at: (f64, f64)) {
        let lo = (f64::from(self.lo) * at.0) as f32;
        let hi = (f64::from(self.hi) * at.1) as f32;
        let cell = grid_of_range(self.spec, lo, hi);
        let bound = self.best.map_or(f64::INFINITY, |best| best.cost * BETTER);
        let cost = self.cost(cell, bound);
        if self.best.is_none() || cost < bound {
            self.best = Some(Best { cost, cell, at });
        }
    }

    /// What a grid costs, or something above `bound`.
    fn cost(&self, Cell { scale, offset }: Cell, bound: f64) -> f64 {
        let (min, max) = (scale * offset, scale * (offset + self.steps));
        let rounding = scale * scale / 12.0;
        let mut cost = 0.0;
        for points in self.distribution.points.chunks(256) {
            for point in points {
                let x = point.middle;
                let spread = point.width * point.width / 12.0;
                let error = if x < min {
                    self.saturation * ((min - x) * (min - x) + spread)
                } else if x > max {
                    self.saturation * ((x - max) * (x - max) + spread)
                } else if point.width >= scale {
                    // Values all over a step: as if the error were spread evenly.
                    rounding
                } else {
                    let error = x - scale * (x / scale).round_ties_even();
                    error * error + spread.min(rounding)
                };
                cost += point.weight * error;
            }
            if cost > bound {
                break;
            }
        }
        cost
    }
}
