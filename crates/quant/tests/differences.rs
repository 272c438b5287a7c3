//! Where the default numbers differ from AIMET's: each line of `docs/src/quantization-schemes.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot observe its data fails")]

use marquetry_quant::observer::{Observer, Statistics, View};
use marquetry_quant::{Cell, Compat, DType, Granularity, Scheme, Spec};

fn cell(spec: &Spec, compat: Compat, batches: &[&[f32]]) -> Cell {
    let mut seen = Statistics::new(spec.scheme, compat, Granularity::PerTensor);
    for data in batches {
        seen.update(View { dims: &[data.len()], data }).unwrap();
    }
    seen.finish(spec).unwrap().cells[0]
}

fn both(spec: &Spec, batches: &[&[f32]]) -> (Cell, Cell) {
    (cell(spec, Compat::Aimet, batches), cell(spec, Compat::Default, batches))
}

fn spec(dtype: DType, symmetric: bool) -> Spec {
    Spec { symmetric, scheme: Scheme::TfEnhanced, ..Spec::activation(dtype) }
}

/// The value that 3.0 becomes.
fn quantized(x: f64, cell: Cell, steps: f64) -> f64 {
    cell.scale * ((x / cell.scale - cell.offset).round().clamp(0.0, steps) + cell.offset)
}

#[test]
fn a_constant() {
    let (aimet, ours) = both(&spec(DType::Int4, true), &[&[3.0; 100]]);
    assert!((aimet.scale - 0.004).abs() < 1e-4, "{aimet:?}");
    assert!((quantized(3.0, aimet, 15.0) - 0.028).abs() < 1e-3);
    assert!((ours.scale - 3.0 / 7.0).abs() < 1e-9, "{ours:?}");
    assert!((quantized(3.0, ours, 15.0) - 3.0).abs() < 1e-9);
}

#[test]
fn nothing_but_zeros() {
    let (aimet, ours) = both(&spec(DType::UInt8, false), &[&[0.0; 100]]);
    assert_eq!((aimet.scale, aimet.offset), (2.0 / 255.0, -128.0));
    assert_eq!((ours.scale, ours.offset), (f64::from(f32::EPSILON), 0.0));
}

#[test]
fn a_later_outlier() {
    let (aimet, ours) = both(&spec(DType::UInt8, false), &[&[-1.0, 1.0], &[50.0; 8]]);
    let end = |cell: Cell| cell.scale * (255.0 + cell.offset);
    assert!(end(aimet) < 3.0, "{aimet:?}");
    assert!(end(ours) > 49.0, "{ours:?}");
}

#[test]
fn batches_of_unequal_size() {
    let scheme = Scheme::Percentile(99.0);
    let spec = Spec { scheme, ..Spec::activation(DType::UInt8) };
    let many: Vec<f32> = (0..1000).map(|i| if i == 0 { 0.0 } else { 1.0 }).collect();
    let few = [1.9f32];
    let (aimet, ours) = both(&spec, &[&many, &few]);
    // One value of a thousand is one batch of two for AIMET.
    assert!(aimet.scale * 255.0 > 1.8, "{aimet:?}");
    assert!(ours.scale * 255.0 < 1.1, "{ours:?}");
}

#[test]
fn the_full_range_of_a_symmetric_grid() {
    let spread: Vec<f32> = (-100..=100).map(|i| i as f32 / 100.0).collect();
    let (aimet, ours) = both(&spec(DType::Int8, true), &[&spread]);
    let hundredths = aimet.scale * 127.5 * 100.0;
    assert!((hundredths - hundredths.round()).abs() < 1e-2, "{aimet:?}");
    assert!((ours.scale - 1.0 / 127.0).abs() < 1e-6, "{ours:?}");
}

#[test]
fn a_narrow_range() {
    let spec = Spec { scheme: Scheme::Percentile(100.0), ..Spec::activation(DType::UInt8) };
    let (aimet, ours) = both(&spec, &[&[0.0, 0.0005, 0.001]]);
    assert!((aimet.scale - 0.01 / 255.0).abs() < 1e-9, "{aimet:?}");
    assert!((ours.scale - 0.001 / 255.0).abs() < 1e-9, "{ours:?}");
}

#[test]
fn the_largest_value() {
    let spec = Spec { scheme: Scheme::Percentile(100.0), ..Spec::activation(DType::UInt8) };
    let spread: Vec<f32> = (0..=1000).map(|i| i as f32 / 1000.0).collect();
    // Bins are 1/512 wide.
    let (aimet, ours) = both(&spec, &[&spread, &[1.2359]]);
    assert!((aimet.scale * 255.0 - 632.0 / 512.0).abs() < 1e-6, "{aimet:?}");
    assert!((ours.scale * 255.0 - 1.2359).abs() < 1e-6, "{ours:?}");
}

#[test]
fn min_max_is_the_same() {
    let data: Vec<f32> = (0..999).map(|i| ((i * 37) % 101) as f32 * 0.3 - 7.0).collect();
    for symmetric in [false, true] {
        let spec = Spec { scheme: Scheme::MinMax, ..spec(DType::Int8, symmetric) };
        let (aimet, ours) = both(&spec, &[&data, &[1e9, -3.0]]);
        assert_eq!(aimet, ours);
    }
}
