//! Schemes: which part of what was seen a grid spans.
//!
//! All start from the exact minimum and maximum; all but `min_max` also look at how the values are
//! distributed. A range is only narrowed where that pays, so that constants, zeros and a handful of
//! values get the grid of `min_max`.

mod distribution;
mod entropy;
mod search;

pub(crate) use distribution::Distribution;

use crate::encoding::Cell;
use crate::observer::CellRange;
use crate::range::grid_of_range;
use crate::{Scheme, Spec};

/// What is clipped costs this many times as much as what is rounded, in `tf_enhanced`.
const SATURATION: f64 = 3.0;

/// The grid of one cell by the scheme of `spec`; the distribution is made where it is needed.
pub(crate) fn cell(
    spec: &Spec,
    seen: &CellRange,
    distribution: impl FnOnce() -> Distribution,
) -> Cell {
    let (lo, hi) = seen.ends();
    let whole = grid_of_range(spec, lo, hi);
    if lo == hi || spec.dtype.float8().is_some() || spec.shifted {
        return whole;
    }
    match spec.scheme {
        Scheme::MinMax => whole,
        Scheme::Percentile(percentage) => {
            let (lo, hi) = distribution().percentile(percentage, (lo, hi));
            grid_of_range(spec, lo, hi)
        }
        Scheme::TfEnhanced => search::cheapest(spec, &distribution(), (lo, hi), SATURATION),
        Scheme::Mse => search::cheapest(spec, &distribution(), (lo, hi), 1.0),
        Scheme::Entropy => {
            let (lo, hi) = entropy::range(spec, &distribution(), (lo, hi));
            grid_of_range(spec, lo, hi)
        }
    }
}

/// The grid of a slice that is all there is of a cell, such as a channel of a weight.
pub(crate) fn cell_of(spec: &Spec, data: &[f32]) -> Cell {
    let (seen, bins) = crate::observer::Bins::of(data);
    cell(spec, &seen, || Distribution::of_slice(data, &bins, &seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::{Histogram, Observer, View};
    use crate::{DType, Granularity};

    /// A bell of many values and a few far away.
    fn bell_with_outliers() -> Vec<f32> {
        let bell = (1..4000).map(|i| {
            let p = f64::from(i) / 4000.0;
            // The logistic quantile: bell-shaped, and short to write.
            (p / (1.0 - p)).ln() as f32
        });
        bell.chain([60.0, -55.0]).collect()
    }

    fn choose(spec: &Spec, data: &[f32]) -> Cell {
        let mut observer = Histogram::new(Granularity::PerTensor);
        observer.update(View { dims: &[data.len()], data }).unwrap();
        observer.finish(spec).unwrap().cells[0]
    }

    fn squared_error(spec: &Spec, cell: Cell, data: &[f32]) -> f64 {
        let steps = crate::encoding::steps(spec.dtype.bits(), spec.symmetric && spec.strict);
        let errors = data.iter().map(|&x| {
            let x = f64::from(x);
            let q = (x / cell.scale - cell.offset).round().clamp(0.0, steps);
            (x - cell.scale * (q + cell.offset)).powi(2)
        });
        errors.sum::<f64>()
    }

    const SEARCHED: [Scheme; 3] = [Scheme::TfEnhanced, Scheme::Mse, Scheme::Entropy];

    #[test]
    fn the_least_squared_error_is_found() {
        let data = bell_with_outliers();
        for symmetric in [false, true] {
            for dtype in [DType::Int4, DType::Int8, DType::Int16] {
                let spec = Spec { symmetric, ..Spec::activation(dtype) };
                let mse = choose(&Spec { scheme: Scheme::Mse, ..spec }, &data);
                let found = squared_error(&spec, mse, &data);
                for hundredth in 1..=100u8 {
                    let f = f32::from(hundredth) / 100.0;
                    let other = grid_of_range(&spec, -55.0 * f, 60.0 * f);
                    let other = squared_error(&spec, other, &data);
                    assert!(found <= other * 1.05, "{spec}: {found} at {f}: {other}");
                }
            }
        }
    }

    #[test]
    fn constants_zeros_and_few_values_get_the_grid_of_min_max() {
        let few: [&[f32]; 5] =
            [&[3.0; 50], &[0.0; 9], &[-1e-6; 5000], &[0.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 7.0]];
        for data in few {
            for symmetric in [false, true] {
                for scheme in SEARCHED {
                    for dtype in [DType::Int4, DType::UInt8, DType::Int16] {
                        let spec = Spec { symmetric, ..Spec::activation(dtype) };
                        let found = choose(&Spec { scheme, ..spec }, data);
                        assert_eq!(found, choose(&spec, data), "{data:?} {spec} {scheme}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_later_outlier_counts() {
        // AIMET's histogram drops what lies outside of three times the first batch.
        let mut observer = Histogram::new(Granularity::PerTensor);
        observer.update(View { dims: &[2], data: &[-1.0, 1.0] }).unwrap();
        let many = vec![50.0f32; 1000];
        observer.update(View { dims: &[1000], data: &many }).unwrap();
        let spec = Spec { scheme: Scheme::TfEnhanced, ..Spec::activation(DType::UInt8) };
        let cell = observer.finish(&spec).unwrap().cells[0];
        assert!(cell.scale * (255.0 + cell.offset) > 49.0, "{cell:?}");
    }

    #[test]
    fn percentiles_leave_out_what_they_say() {
        let data: Vec<f32> = (0..=10_000).map(|i| i as f32 * 0.01 - 50.0).collect();
        for (percentage, end) in [(99.0f64, 49.0f64), (90.0, 40.0), (100.0, 50.0)] {
            let scheme = Scheme::Percentile(percentage);
            let spec =
                Spec { scheme, symmetric: true, strict: true, ..Spec::activation(DType::Int8) };
            let cell = choose(&spec, &data);
            assert!((cell.scale * 127.0 - end).abs() < 0.06, "{percentage}: {cell:?}");
        }
    }

    #[test]
    fn entropy_cuts_a_long_tail() {
        let data = bell_with_outliers();
        let spec =
            Spec { scheme: Scheme::Entropy, symmetric: true, ..Spec::activation(DType::Int8) };
        let cell = choose(&spec, &data);
        let end = cell.scale * 127.0;
        assert!((5.0..40.0).contains(&end), "{end}");
    }

    #[test]
    fn a_slice_and_its_histogram_agree() {
        let data = bell_with_outliers();
        for scheme in SEARCHED {
            let spec = Spec { scheme, ..Spec::weight(DType::Int8, Granularity::PerTensor) };
            assert_eq!(cell_of(&spec, &data), choose(&spec, &data));
        }
    }

    #[test]
    fn odd_data_gives_usable_grids() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e-45, f32::MAX, -1.0];
        for scheme in SEARCHED.into_iter().chain([Scheme::Percentile(99.0)]) {
            for (a, b) in odd.iter().flat_map(|&a| odd.map(|b| (a, b))) {
                for dtype in DType::ALL.into_iter().filter(|dtype| !dtype.is_cast()) {
                    let spec = Spec { scheme, ..Spec::activation(dtype) };
                    let cell = choose(&spec, &[a, b, 0.5]);
                    assert!(cell.scale > 0.0 && cell.scale.is_finite(), "{a} {b} {spec} {scheme}");
                }
            }
        }
    }
}
