//! The embedded engine against recorded outputs: the node tests of the `onnx` package and the zoo.

mod node_tests;
mod onnxruntime;
mod pieces;
mod recurrent;
mod zoo;

use marquetry_ir::{Content, DType, Tensor};

/// A loop that takes as many turns as it is told; `row` is as long as it is fed.
const LOOP: &str = r#"<ir_version: 8, opset_import: ["": 17]>
        g (int64 turns, float[2] start, float[N] row) => (float[2] last, float[M,2] all, float[M,K] rows)
        <bool go = {1}>
        {
          last, all, rows = Loop (turns, go, start) <
            body = t (int64 turn, bool before, float[2] x) => (bool after, float[2] y, float[2] seen, float[K] other) {
              after = Identity (before)
              y = Add (x, x)
              seen = Neg (x)
              other = Neg (row)
            }
          >
        }"#;

/// Where a tensor is not what it should be; nothing where it is close enough.
fn difference(found: &Tensor, expected: &Tensor, relative: f64, absolute: f64) -> Option<String> {
    let half = matches!(expected.dtype(), DType::Float16 | DType::BFloat16);
    if found.dtype() != expected.dtype() && !(half && found.dtype() == DType::Float) {
        return Some(format!("`{}` instead of `{}`", found.dtype(), expected.dtype()));
    }
    if found.dims() != expected.dims() {
        return Some(format!("shape {:?} instead of {:?}", found.dims(), expected.dims()));
    }
    if let (Content::Strings(found), Content::Strings(expected)) =
        (found.content(), expected.content())
    {
        return (found != expected).then(|| "other strings".to_owned());
    }
    let (Some(a), Some(b)) = (found.to_f64s(), expected.to_f64s()) else {
        return (found.bytes() != expected.bytes()).then(|| "other bytes".to_owned());
    };
    // Halves are computed in single precision here and rounded there.
    let relative = if half { relative.max(2e-2) } else { relative };
    let close = |x: f64, y: f64| {
        x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= absolute + relative * y.abs()
    };
    let at = a.iter().zip(&b).position(|(&x, &y)| !close(x, y))?;
    Some(format!("{} instead of {} at {at}", a[at], b[at]))
}
