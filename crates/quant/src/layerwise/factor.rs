//! The triangular factor that error feedback works with.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};

/// Columns that are factored at once; what is behind them is updated by one product.
const PANEL: usize = 64;

/// For a symmetric, positive definite H: the upper triangular R with ones on its diagonal of
/// H = R·D·Rᵀ, D diagonal. `None` where H is not positive definite.
///
/// Cholesky's algorithm from the last row to the first, in panels.
pub(crate) fn unit_upper(mut h: Array2<f64>) -> Option<Array2<f64>> {
    let size = h.nrows();
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(PANEL);
        for pivot in (start..end).rev() {
            let diagonal = h[[pivot, pivot]];
            if !(diagonal.is_finite() && diagonal > 0.0) {
                return None;
            }
            let root = diagonal.sqrt();
            for row in 0..=pivot {
                h[[row, pivot]] /= root;
            }
            // Inside the panel at once, in front of it by the product below.
            for column in start..pivot {
                let factor = h[[column, pivot]];
                for row in 0..=column {
                    let product = h[[row, pivot]] * factor;
                    h[[row, column]] -= product;
                }
            }
        }
        let panel = h.slice(s![..start, start..end]).to_owned();
        let mut rest = h.slice_mut(s![..start, ..start]);
        general_mat_mul(-1.0, &panel, &panel.t(), 1.0, &mut rest);
        end = start;
    }
    for column in 0..size {
        let diagonal = h[[column, column]];
        for row in 0..size {
            h[[row, column]] = if row < column { h[[row, column]] / diagonal } else { 0.0 };
        }
        h[[column, column]] = 1.0;
    }
    Some(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_gives_the_matrix_back() {
        let size = 150;
        let x = Array2::from_shape_fn((400, size), |(i, j)| {
            ((i * 31 + j * 17 + i * j) % 23) as f64 - 11.0
        });
        let mut h = x.t().dot(&x);
        h.diag_mut().mapv_inplace(|d| d + 1.0);
        let r = unit_upper(h.clone()).unwrap();
        // D is what is left on the diagonal of R⁻¹·H·R⁻ᵀ: solve column by column.
        let mut rest = h.clone();
        let mut diagonal = vec![0.0; size];
        for at in (0..size).rev() {
            diagonal[at] = rest[[at, at]];
            for row in 0..=at {
                for column in 0..=at {
                    rest[[row, column]] -= r[[row, at]] * diagonal[at] * r[[column, at]];
                }
            }
        }
        let d = Array2::from_diag(&ndarray::Array1::from(diagonal));
        let back = r.dot(&d).dot(&r.t());
        let worst = (&back - &h).mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
        assert!(worst < 1e-6 * h.diag().fold(0.0, |a: f64, &b| a.max(b)), "{worst}");
        h[[3, 3]] = -1.0;
        assert!(unit_upper(h).is_none());
    }
}
