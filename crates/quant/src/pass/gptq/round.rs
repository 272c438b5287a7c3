//! Rounding with feedback: what one column does to the outputs is taken back by the next ones.

use super::gram::{Gram, Layout};
use crate::grid::Grid;
use crate::qdq::quantize_one;
use crate::{Encoding, NumericError};

/// How a weight is rounded.
pub(super) struct Round<'a> {
    pub(super) layout: &'a Layout,
    /// What is added to the diagonal, as a share of its mean.
    pub(super) damping: f64,
}

/// A weight on its grid.
pub(super) struct Rounded {
    pub(super) data: Vec<f32>,
    /// Output channels that keep the nearest grid points.
    pub(super) kept: usize,
    /// Σ e·G·eᵀ of the nearest grid points, by the products to judge by.
    pub(super) before: f64,
    /// The same of what was chosen.
    pub(super) after: f64,
    /// Σ w·G·wᵀ, so that errors of different kernels can be added.
    pub(super) scale: f64,
}

impl Round<'_> {
    /// The weight of shape `dims` on the grid of its encoding.
    pub(super) fn weight(
        &self,
        data: &[f32],
        dims: &[usize],
        encoding: &Encoding,
        gram: &Gram,
    ) -> Result<Rounded, NumericError> {
        let grid = Grid::new(dims, encoding.granularity)?;
        grid.check(data.len())?;
        let mut cells = vec![0; data.len()];
        grid.runs(|cell, run| cells[run].fill(cell));
        let (lowest, highest) = (encoding.lowest(), encoding.highest());
        let on_grid = |x: f64, cell: usize| {
            let (scale, zero) = (encoding.cells[cell].scale as f32, encoding.zero_point(cell));
            let q = quantize_one(x as f32, scale, zero, lowest, highest);
            (q - zero) as f32 * scale
        };

        let n = self.layout.columns;
        let mut out = Rounded {
            data: data.to_vec(),
            kept: 0,
            before: 0.0,
            after: 0.0,
            scale: f64::MIN_POSITIVE,
        };
        for group in 0..self.layout.groups {
            let judge = gram.judge(group);
            let factor = Factor::of(gram.fit(group), n, self.damping);
            let place = |row: usize, column: usize| self.layout.at(group, row, column);
            let (mut errors, mut fed) = (vec![0.0; n], vec![0.0; n]);
            for row in 0..self.layout.rows {
                let w = |k: usize| data[place(row, k)];
                let cell = |k: usize| cells[place(row, k)];
                let nearest: Vec<f32> = (0..n).map(|k| on_grid(w(k).into(), cell(k))).collect();
                let mut chosen = nearest.clone();
                fed.fill(0.0);
                for at in (0..n).rev() {
                    let k = factor.order[at];
                    chosen[k] = on_grid(f64::from(w(k)) - fed[at], cell(k));
                    let error = f64::from(chosen[k]) - f64::from(w(k));
                    let lower = &factor.lower[at * n..][..at];
                    fed.iter_mut().zip(lower).for_each(|(fed, l)| *fed += error * l);
                }
                let mut cost = |now: &[f32]| {
                    let each = errors.iter_mut().zip(now).enumerate();
                    each.for_each(|(k, (e, &now))| *e = f64::from(now) - f64::from(w(k)));
                    quadratic(&errors, judge)
                };
                let (before, after) = (cost(&nearest), cost(&chosen));
                let better = after < before;
                out.kept += usize::from(!better);
                out.before += before;
                out.after += if better { after } else { before };
                let whole: Vec<f64> = (0..n).map(|k| w(k).into()).collect();
                out.scale += quadratic(&whole, judge);
                for (k, &now) in if better { &chosen } else { &nearest }.iter().enumerate() {
                    out.data[place(row, k)] = now;
                }
            }
        }
        Ok(out)
    }
}

/// G + λ·I = L·D·Lᵀ of the columns in an order: small ones first, because the last is rounded first.
struct Factor {
    order: Vec<usize>,
    /// L in rows; what is not below the diagonal is not used.
    lower: Vec<f64>,
}

impl Factor {
    fn of(gram: &[f64], n: usize, damping: f64) -> Factor {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| gram[a * n + a].total_cmp(&gram[b * n + b]));
        let mean = (0..n).map(|k| gram[k * n + k]).sum::<f64>() / n.max(1) as f64;
        // Where nothing was seen there is nothing to feed back.
        let ridge = if mean > 0.0 { damping.max(1e-9) * mean } else { 1.0 };
        // Rows of L·√D, the Cholesky factor, which one pass over rows gives.
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let (above, rest) = lower.split_at_mut(i * n);
                let row = &mut rest[..n];
                let other = if i == j { &row[..j] } else { &above[j * n..][..j] };
                let g = gram[order[i] * n + order[j]] - dot(&row[..j], other);
                if i == j {
                    row[i] = (g + ridge).max(ridge * 1e-6).sqrt();
                } else {
                    row[j] = g / above[j * n + j];
                }
            }
        }
        for i in 0..n {
            for j in 0..i {
                lower[i * n + j] /= lower[j * n + j];
            }
        }
        Factor { order, lower }
    }
}

/// x·G·xᵀ.
fn quadratic(x: &[f64], gram: &[f64]) -> f64 {
    let rows = gram.chunks_exact(x.len().max(1)).zip(x);
    rows.map(|(row, &x_k)| if x_k == 0.0 { 0.0 } else { x_k * dot(row, x) }).sum()
}

/// Σ a·b in eight partial sums, always the same ones.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern, the same every time.
    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn gram(rows: usize, n: usize) -> Vec<f64> {
        let x = noise(rows * n, 7);
        let product = |i: usize, j: usize| x.chunks_exact(n).map(|row| row[i] * row[j]).sum();
        (0..n * n).map(|at| product(at / n, at % n)).collect()
    }

    #[test]
    fn a_matrix_is_the_product_of_its_factors() {
        let (n, damping) = (11, 0.01);
        let gram = gram(40, n);
        let factor = Factor::of(&gram, n, damping);
        let mean = (0..n).map(|k| gram[k * n + k]).sum::<f64>() / n as f64;
        // D from the first column on: what is left of the diagonal.
        let l = |i: usize, j: usize| if i == j { 1.0 } else { factor.lower[i * n + j] };
        let damped = |i: usize, j: usize| {
            let (a, b) = (factor.order[i], factor.order[j]);
            gram[a * n + b] + if i == j { damping * mean } else { 0.0 }
        };
        let mut d: Vec<f64> = Vec::new();
        for i in 0..n {
            d.push(damped(i, i) - (0..i).map(|k| l(i, k).powi(2) * d[k]).sum::<f64>());
        }
        for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let found: f64 = (0..=j).map(|k| l(i, k) * d[k] * l(j, k)).sum();
            assert!((found - damped(i, j)).abs() < 1e-9, "{i} {j}");
        }
        assert!(d.iter().all(|&d| d > 0.0));
    }

    #[test]
    fn nothing_seen_feeds_nothing_back() {
        let factor = Factor::of(&[0.0; 9], 3, 0.01);
        assert!((0..3).all(|i| factor.lower[i * 3..][..i].iter().all(|&l| l == 0.0)));
    }

    #[test]
    fn the_quadratic_form_is_the_sum_of_squares() {
        let n = 9;
        let x = noise(5 * n, 7);
        let e = noise(n, 3);
        let squares: f64 = x.chunks_exact(n).map(|row| dot(row, &e).powi(2)).sum();
        assert!((quadratic(&e, &gram(5, n)) - squares).abs() < 1e-12 * squares.max(1.0));
    }
}
