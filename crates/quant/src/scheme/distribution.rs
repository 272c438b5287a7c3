//! How values are distributed: points with a weight and a width.

use crate::observer::{Bins, CellRange};

/// Points are added up in pairs until there are at most about this many.
const POINTS: usize = 2048;

/// Values that a search treats as one: spread evenly around their middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) middle: f64,
    pub(super) width: f64,
    pub(super) weight: f64,
}

/// The values of one cell, in ascending order. Zeros are in no point: every grid holds them.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    pub(super) points: Vec<Point>,
    pub(super) zeros: f64,
}

impl Distribution {
    /// From a histogram.
    pub(crate) fn of_bins(bins: &Bins, seen: &CellRange) -> Distribution {
        let zeros = seen.zero as f64;
        let Some(width) = bins.width() else { return Distribution { points: Vec::new(), zeros } };
        let held: Vec<(f64, u64)> = bins.held().collect();
        let (first, last) = match (held.first(), held.last()) {
            (Some(first), Some(last)) => (first.0, last.0),
            _ => return Distribution { points: Vec::new(), zeros },
        };
        // Bins are anchored at zero, and so are pairs of them.
        let mut wide = width;
        while (last - first) / wide >= POINTS as f64 {
            wide *= 2.0;
        }
        let (least, most) = (f64::from(seen.min), f64::from(seen.max));
        let mut points: Vec<Point> = Vec::with_capacity(held.len().min(POINTS));
        let mut at = f64::NEG_INFINITY;
        for (lo, count) in held {
            let cell = (lo / wide).floor();
            match points.last_mut().filter(|_| cell == at) {
                Some(point) => point.weight += count as f64,
                None => {
                    // The outermost bins end where the values end: a constant has no width.
                    let from = (cell * wide).max(least);
                    let to = ((cell + 1.0) * wide).min(most).max(from);
                    let (middle, width) = ((from + to) / 2.0, to - from);
                    points.push(Point { middle, width, weight: count as f64 });
                    at = cell;
                }
            }
        }
        Distribution { points, zeros }
    }

    /// From all values there are; where they are few, each is a point.
    pub(crate) fn of_slice(data: &[f32], bins: &Bins, seen: &CellRange) -> Distribution {
        if data.len() > POINTS / 4 {
            return Distribution::of_bins(bins, seen);
        }
        let mut values: Vec<f32> =
            data.iter().copied().filter(|x| x.is_finite() && *x != 0.0).collect();
        values.sort_by(f32::total_cmp);
        let point = |x: f32| Point { middle: x.into(), width: 0.0, weight: 1.0 };
        Distribution { points: values.into_iter().map(point).collect(), zeros: seen.zero as f64 }
    }

    /// The sum of all weights.
    pub(super) fn total(&self) -> f64 {
        self.zeros + self.points.iter().map(|point| point.weight).sum::<f64>()
    }

    /// The range without `100 − percentage` percent of the values at either end, within what was
    /// seen.
    pub(super) fn percentile(&self, percentage: f64, (lo, hi): (f32, f32)) -> (f32, f32) {
        let out = self.total() * (1.0 - percentage / 100.0).max(0.0);
        if out <= 0.0 {
            return (lo, hi);
        }
        // Zeros stand between the negative and the positive points; a grid ends at zero at most.
        let end = |points: &mut dyn Iterator<Item = &Point>, sign: f64| {
            let mut left = out;
            for point in points {
                if point.weight > left {
                    // Within a point, values are spread evenly.
                    let part = left / point.weight;
                    return point.middle - sign * point.width * (part - 0.5);
                }
                left -= point.weight;
            }
            0.0
        };
        let positive = end(&mut self.points.iter().rev().filter(|point| point.middle > 0.0), 1.0);
        let negative = end(&mut self.points.iter().filter(|point| point.middle < 0.0), -1.0);
        ((negative as f32).max(lo).min(0.0), (positive as f32).min(hi).max(0.0))
    }
}
