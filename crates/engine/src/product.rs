//! Products of matrices in single precision, for those who compute with what an engine hands out.
//!
//! They are those of the embedded runtime, which knows more vector instructions than `ndarray` does:
//! on a core with AVX-512, twice the rate.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedAMatrix, PackedBMatrix};
use rten_tensor::NdTensorView;

/// A matrix that lies in a slice, row behind row, or a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    data: &'a [f32],
    dims: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Panel<'a> {
    /// `rows` times `columns` elements of a slice, of which neighbouring rows begin `stride` elements
    /// apart.
    ///
    /// # Panics
    ///
    /// If the slice is too short.
    pub fn new(data: &'a [f32], [rows, columns]: [usize; 2], stride: usize) -> Panel<'a> {
        let last = rows.saturating_sub(1) * stride + columns;
        assert!(rows * columns == 0 || (columns <= stride && last <= data.len()), "too short");
        Panel { data, dims: [rows, columns], strides: [stride, 1] }
    }

    /// Its transpose.
    #[must_use]
    pub fn t(self) -> Panel<'a> {
        let ([rows, columns], [down, right]) = (self.dims, self.strides);
        Panel { data: self.data, dims: [columns, rows], strides: [right, down] }
    }

    fn view(&self) -> NdTensorView<'a, f32, 2> {
        NdTensorView::from_slice_with_strides(self.dims, self.data, self.strides)
            .expect("a panel lies in its slice")
    }
}

/// a·b, row behind row.
///
/// The same bits come out whatever the number of threads.
///
/// # Panics
///
/// If a has not as many columns as b has rows, or the product does not fill `out`.
///
/// ```
/// use marquetry_engine::{Panel, multiply};
///
/// let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
/// let mut out = [0.0; 2];
/// multiply(Panel::new(&a, [2, 2], 2), Panel::new(&b, [2, 1], 1), &mut out);
/// assert_eq!(out, [17.0, 39.0]);
/// ```
pub fn multiply(a: Panel<'_>, b: Panel<'_>, out: &mut [f32]) {
    let ([rows, inner], [same, columns]) = (a.dims, b.dims);
    assert!(inner == same && out.len() == rows * columns, "matrices that do not fit");
    if inner == 0 || out.is_empty() {
        out.fill(0.0);
        return;
    }
    let (a, b) = (GemmInputA::Unpacked(a.view()), GemmInputB::Unpacked(b.view()));
    GemmExecutor::<f32>::default()
        .gemm(out, a, b, GemmOptions::default())
        .expect("dimensions were looked at");
}

/// A matrix in the order in which products read their right side.
///
/// Bringing it there costs as much as a product with a few rows does, so that it is worth keeping where
/// there are several.
pub struct Packed {
    dims: [usize; 2],
    /// None for a matrix without elements.
    data: Option<PackedBMatrix<f32>>,
}

impl Packed {
    /// A matrix, which is copied.
    pub fn new(x: Panel<'_>) -> Packed {
        let gemm = GemmExecutor::<f32>::default();
        let some = x.dims.iter().all(|&dim| dim > 0);
        Packed { dims: x.dims, data: some.then(|| gemm.prepack_b(x.view())) }
    }

    /// a·x, row behind row.
    ///
    /// # Panics
    ///
    /// If a has not as many columns as x has rows, or the product does not fill `out`.
    ///
    /// ```
    /// use marquetry_engine::{Packed, Panel};
    ///
    /// let x = Packed::new(Panel::new(&[5.0, 6.0], [2, 1], 1));
    /// let mut out = [0.0; 2];
    /// x.behind(Panel::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], 2), &mut out);
    /// assert_eq!(out, [17.0, 39.0]);
    /// ```
    pub fn behind(&self, a: Panel<'_>, out: &mut [f32]) {
        self.product(a.dims, (!out.is_empty()).then(|| GemmInputA::Unpacked(a.view())), out);
    }

    fn product(&self, [rows, inner]: [usize; 2], a: Option<GemmInputA<'_, f32>>, out: &mut [f32]) {
        let fits = inner == self.dims[0] && out.len() == rows * self.dims[1];
        assert!(fits, "matrices that do not fit");
        let (Some(a), Some(b)) = (a, &self.data) else { return out.fill(0.0) };
        GemmExecutor::<f32>::default()
            .gemm(out, a, GemmInputB::Packed(b), GemmOptions::default())
            .expect("dimensions were looked at");
    }
}

/// A matrix x of which products xᵀ·y are to be taken, with itself and with others of as many rows:
/// packed once for either side.
pub struct Square {
    left: Option<PackedAMatrix<f32>>,
    right: Packed,
}

impl Square {
    /// That of a matrix, which is copied.
    pub fn new(x: Panel<'_>) -> Square {
        let right = Packed::new(x);
        let left = right.data.is_some();
        let left = left.then(|| GemmExecutor::<f32>::default().prepack_a(x.t().view()));
        Square { left, right }
    }

    /// xᵀ·y, row behind row.
    ///
    /// # Panics
    ///
    /// If y has not as many rows, or the product does not fill `out`.
    ///
    /// ```
    /// use marquetry_engine::{Panel, Square};
    ///
    /// let x = [1.0, 2.0, 3.0, 4.0];
    /// let x = Square::new(Panel::new(&x, [2, 2], 2));
    /// let mut out = [0.0; 4];
    /// x.multiply(&x, &mut out);
    /// assert_eq!(out, [10.0, 14.0, 14.0, 20.0]);
    /// ```
    pub fn multiply(&self, y: &Square, out: &mut [f32]) {
        let [inner, rows] = self.right.dims;
        y.right.product([rows, inner], self.left.as_ref().map(GemmInputA::Packed), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    #[test]
    fn products_of_parts_are_those_of_the_definition() {
        for (rows, inner, columns) in
            [(1, 1, 1), (1, 70, 33), (5, 0, 3), (37, 300, 129), (64, 9, 1)]
        {
            let a =
                Array2::from_shape_fn((inner + 3, rows + 5), |(i, j)| ((i * 7 + j) % 11) as f32);
            let b =
                Array2::from_shape_fn((inner + 2, columns + 2), |(i, j)| (i % 5) as f32 - j as f32);
            let expected = a
                .slice(s![2..2 + inner, 4..4 + rows])
                .t()
                .dot(&b.slice(s![1..1 + inner, 2..2 + columns]));
            let (a, b) = (a.as_slice().unwrap(), b.as_slice().unwrap());
            let a = Panel::new(&a[2 * (rows + 5) + 4..], [inner, rows], rows + 5).t();
            let b = Panel::new(&b[columns + 2 + 2..], [inner, columns], columns + 2);
            let mut found = vec![f32::NAN; rows * columns];
            multiply(a, b, &mut found);
            // Small whole numbers: every order of sums gives the same.
            let expected: Vec<f32> = expected.iter().copied().collect();
            assert_eq!(found, expected);
            found.fill(f32::NAN);
            Square::new(a.t()).multiply(&Square::new(b), &mut found);
            assert_eq!(found, expected);
            found.fill(f32::NAN);
            Packed::new(b).behind(a, &mut found);
            assert_eq!(found, expected);
        }
    }
}
