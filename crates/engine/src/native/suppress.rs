//! Non-maximum suppression.

use super::Fault;
use super::call::{Call, Outputs};
use crate::array::tensor;

/// A box by its corners.
#[derive(Clone, Copy)]
struct Corners {
    low: (f64, f64),
    high: (f64, f64),
}

impl Corners {
    /// From two opposite corners in any order, or from centre and size.
    fn new(numbers: &[f64], centre: bool) -> Self {
        let &[a, b, c, d] = numbers else { unreachable!("boxes have four numbers") };
        if centre {
            let (x, y, width, height) = (a, b, c / 2.0, d / 2.0);
            return Self { low: (y - height, x - width), high: (y + height, x + width) };
        }
        Self { low: (a.min(c), b.min(d)), high: (a.max(c), b.max(d)) }
    }

    fn area(self) -> f64 {
        (self.high.0 - self.low.0).max(0.0) * (self.high.1 - self.low.1).max(0.0)
    }

    /// Intersection over union.
    fn overlap(self, other: Self) -> f64 {
        let both = Self {
            low: (self.low.0.max(other.low.0), self.low.1.max(other.low.1)),
            high: (self.high.0.min(other.high.0), self.high.1.min(other.high.1)),
        };
        let shared = both.area();
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }
}

/// Rows of batch, class and box: the boxes of each class by falling score, those left out that overlap
/// a better one too much.
pub(super) fn non_max_suppression(call: &Call<'_>) -> Outputs {
    let (boxes, scores) = (call.input(0)?, call.input(1)?);
    let (&[batch, count, 4], &[batches, classes, same]) = (boxes.dims(), scores.dims()) else {
        return Err(Fault::invalid("boxes and scores do not have three axes each"));
    };
    if (batch, count) != (batches, same) {
        return Err(Fault::invalid("boxes and scores differ in number"));
    }
    let scalar = |slot: usize| call.optional(slot).and_then(|x| x.to_f64s()?.first().copied());
    let most = scalar(2).unwrap_or(0.0).max(0.0) as usize;
    let (most_overlap, least_score) = (scalar(3).unwrap_or(0.0), scalar(4));
    let centre = call.flag("center_point_box", false);
    let boxes = boxes.to_f64s().ok_or_else(|| Fault::dtype(boxes))?;
    let boxes: Vec<Corners> =
        boxes.chunks_exact(4).map(|numbers| Corners::new(numbers, centre)).collect();
    let scores = scores.to_f64s().ok_or_else(|| Fault::dtype(scores))?;
    let mut rows = Vec::new();
    for b in 0..batch {
        for class in 0..classes {
            let scores = &scores[(b * classes + class) * count..][..count];
            let mut order: Vec<usize> = (0..count)
                .filter(|&at| least_score.is_none_or(|least| scores[at] > least))
                .collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            let mut kept: Vec<usize> = Vec::new();
            for at in order {
                if kept.len() == most {
                    break;
                }
                let here = boxes[b * count + at];
                if kept
                    .iter()
                    .all(|&better| boxes[b * count + better].overlap(here) <= most_overlap)
                {
                    kept.push(at);
                    rows.extend([b as i64, class as i64, at as i64]);
                }
            }
        }
    }
    Ok(vec![tensor([rows.len() / 3, 3], rows)?])
}
