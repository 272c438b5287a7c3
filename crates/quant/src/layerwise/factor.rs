//! The triangular factor that error feedback works with.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, s};

/// Columns that are factored at once; what is behind them is updated by products.
const PANEL: usize = 64;

/// Rows of what is behind a panel that are updated at once: what lies above the diagonal is not needed.
const STRIP: usize = 256;

/// H = R·D·Rᵀ with R upper triangular, ones on its diagonal, and D diagonal.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    /// Rᵀ: what an element takes over from those before it lies in its row.
    pub(crate) transposed: Array2<f64>,
    /// The diagonal of D.
    pub(crate) diagonal: Vec<f64>,
}

impl Factor {
    /// The factor of a symmetric, positive definite H, of which the lower half is read; `None` where it
    /// is not positive definite.
    ///
    /// Cholesky's algorithm from the last row to the first, in panels.
    pub(crate) fn of(mut h: Array2<f64>) -> Option<Factor> {
        let size = h.nrows();
        let mut diagonal = vec![0.0; size];
        let mut end = size;
        while end > 0 {
            let start = end.saturating_sub(PANEL);
            for pivot in (start..end).rev() {
                let energy = h[[pivot, pivot]];
                if !(energy.is_finite() && energy > 0.0) {
                    return None;
                }
                diagonal[pivot] = energy;
                h.slice_mut(s![pivot, ..=pivot]).mapv_inplace(|element| element / energy.sqrt());
                // Inside the panel at once, in front of it by the products below.
                let row = h.slice(s![pivot, ..pivot]).to_owned();
                for above in start..pivot {
                    let factor = row[above];
                    h.slice_mut(s![above, ..=above]).scaled_add(-factor, &row.slice(s![..=above]));
                }
            }
            let panel = h.slice(s![start..end, ..start]).to_owned();
            for from in (0..start).step_by(STRIP) {
                let to = start.min(from + STRIP);
                let (left, right) = (panel.slice(s![.., from..to]), panel.slice(s![.., ..to]));
                general_mat_mul(-1.0, &left.t(), &right, 1.0, &mut h.slice_mut(s![from..to, ..to]));
            }
            end = start;
        }
        for (at, mut row) in h.rows_mut().into_iter().enumerate() {
            let root = diagonal[at].sqrt();
            row.slice_mut(s![..at]).mapv_inplace(|element| element / root);
            row[at] = 1.0;
            row.slice_mut(s![at + 1..]).fill(0.0);
        }
        Some(Factor { transposed: h, diagonal })
    }

    /// X with X·H = B, row by row.
    ///
    /// X·R·D·Rᵀ = B is solved from behind for X·R·D, and that from the front for X, panel by panel.
    pub(crate) fn solve(&self, mut b: Array2<f64>) -> Array2<f64> {
        let size = self.diagonal.len();
        let lower = &self.transposed;
        let starts: Vec<usize> = (0..size).step_by(PANEL).collect();
        for &start in starts.iter().rev() {
            let end = size.min(start + PANEL);
            for mut row in b.rows_mut() {
                for at in (start..end).rev() {
                    let element = row[at];
                    let before = lower.slice(s![at, start..at]);
                    row.slice_mut(s![start..at]).scaled_add(-element, &before);
                }
            }
            let (mut before, done) = b.view_mut().split_at(Axis(1), start);
            let done = done.slice(s![.., ..end - start]);
            general_mat_mul(-1.0, &done, &lower.slice(s![start..end, ..start]), 1.0, &mut before);
        }
        for mut row in b.rows_mut() {
            row.iter_mut().zip(&self.diagonal).for_each(|(element, energy)| *element /= energy);
        }
        for &start in &starts {
            let end = size.min(start + PANEL);
            for mut row in b.rows_mut() {
                for at in start..end {
                    let known = row.slice(s![start..at]).dot(&lower.slice(s![at, start..at]));
                    row[at] -= known;
                }
            }
            let (done, mut behind) = b.view_mut().split_at(Axis(1), end);
            let done = done.slice(s![.., start..]);
            let right = lower.slice(s![end.., start..end]);
            general_mat_mul(-1.0, &done, &right.t(), 1.0, &mut behind);
        }
        b
    }

    /// The factor of the identity, which feeds nothing back.
    pub(crate) fn identity(size: usize) -> Factor {
        Factor { transposed: Array2::eye(size), diagonal: vec![1.0; size] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let size = 150;
        let x =
            Array2::from_shape_fn((400, size), |(i, j)| ((i * 31 + j * 17 + i * j) % 23) as f64);
        let mut h = x.t().dot(&x);
        h.diag_mut().mapv_inplace(|d| d + 1.0);
        let wanted =
            Array2::from_shape_fn((7, size), |(i, j)| ((i * 13 + j * 5) % 19) as f64 - 9.0);
        let found = Factor::of(h.clone()).unwrap().solve(wanted.dot(&h));
        let worst = (&found - &wanted).mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
        assert!(worst < 1e-8, "{worst}");
    }

    #[test]
    fn the_factor_gives_the_matrix_back() {
        let size = 350;
        let x = Array2::from_shape_fn((900, size), |(i, j)| {
            ((i * 31 + j * 17 + i * j) % 23) as f64 - 11.0
        });
        let mut h = x.t().dot(&x);
        h.diag_mut().mapv_inplace(|d| d + 1.0);
        let Factor { transposed, diagonal } = Factor::of(h.clone()).unwrap();
        let d = Array2::from_diag(&ndarray::Array1::from(diagonal));
        let back = transposed.t().dot(&d).dot(&transposed);
        let worst = (&back - &h).mapv(f64::abs).fold(0.0, |a: f64, &b| a.max(b));
        assert!(worst < 1e-9 * h.diag().fold(0.0, |a: f64, &b| a.max(b)), "{worst}");
        assert!(transposed.indexed_iter().all(|((row, column), &it)| column <= row || it == 0.0));
        h[[3, 3]] = -1.0;
        assert!(Factor::of(h).is_none());
    }
}
