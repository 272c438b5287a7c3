//! Matrix products.

use marquetry_ir::{DType, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewMut2, Axis, Dimension, Ix2, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, broadcast, count};
use super::number::Number;
use crate::array::{array, flat, tensor};

/// Runs an expression for the types that have matrix products, 16-bit floats excepted.
macro_rules! linear {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            DType::Float => {
                type $T = f32;
                $body
            }
            DType::Double => {
                type $T = f64;
                $body
            }
            DType::Int64 => {
                type $T = i64;
                $body
            }
            DType::Int32 => {
                type $T = i32;
                $body
            }
            DType::Uint64 => {
                type $T = u64;
                $body
            }
            DType::Uint32 => {
                type $T = u32;
                $body
            }
            _ => Err(Fault::dtype($tensor)),
        }
    };
}

/// A type with matrix products.
pub(super) trait Matrix: Number {
    /// `out = alpha a b + beta out`
    fn multiply(
        alpha: Self,
        a: &Array2<Self>,
        b: &Array2<Self>,
        beta: Self,
        out: &mut ArrayViewMut2<'_, Self>,
    );
}

macro_rules! matrices {
    (reals $($real:ty),*; integers $($integer:ty),*) => {
        $(impl Matrix for $real {
            fn multiply(alpha: Self, a: &Array2<Self>, b: &Array2<Self>, beta: Self, out: &mut ArrayViewMut2<'_, Self>) {
                general_mat_mul(alpha, a, b, beta, out);
            }
        })*
        $(impl Matrix for $integer {
            fn multiply(alpha: Self, a: &Array2<Self>, b: &Array2<Self>, beta: Self, out: &mut ArrayViewMut2<'_, Self>) {
                for ((i, j), out) in out.indexed_iter_mut() {
                    let products = a.row(i).into_iter().zip(b.column(j)).map(|(&x, &y)| x.wrapping_mul(y));
                    let sum = products.fold(0, Self::wrapping_add);
                    *out = alpha.wrapping_mul(sum).wrapping_add(beta.wrapping_mul(*out));
                }
            }
        })*
    };
}
matrices!(reals f32, f64; integers i64, i32, u64, u32);

pub(super) fn matmul(call: &Call<'_>) -> Outputs {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if a.dtype() != b.dtype() {
        return Err(Fault::invalid(format!("inputs are `{}` and `{}`", a.dtype(), b.dtype())));
    }
    linear!(a, T => Ok(vec![product::<T>(a, b)?]))
}

/// numpy's `matmul`: a vector on the left is a row, on the right a column, and its axis is dropped.
pub(super) fn product<T: Matrix>(a: &Tensor, b: &Tensor) -> Result<Tensor, Fault> {
    let (mut x, mut y) = (array::<T>(a)?.into_owned(), array::<T>(b)?.into_owned());
    let (row, column) = (x.ndim() == 1, y.ndim() == 1);
    if x.ndim() == 0 || y.ndim() == 0 {
        return Err(Fault::invalid("a scalar is no matrix"));
    }
    if row {
        x.insert_axis_inplace(Axis(0));
    }
    if column {
        y.insert_axis_inplace(Axis(1));
    }
    let (m, k) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
    let n = y.shape()[y.ndim() - 1];
    if y.shape()[y.ndim() - 2] != k {
        return Err(Fault::invalid(format!(
            "shapes {:?} and {:?} do not multiply",
            a.dims(),
            b.dims()
        )));
    }
    let batch = broadcast(&x.shape()[..x.ndim() - 2], &y.shape()[..y.ndim() - 2])?;
    let dims: Vec<usize> = batch.iter().copied().chain([m, n]).collect();
    let mut output = vec![T::ZERO; count(&dims)?];
    let spread = |dims: [usize; 2]| batch.iter().copied().chain(dims).collect::<Vec<_>>();
    let not_broadcast = || Fault::invalid("batch axes do not broadcast");
    let x = x.broadcast(IxDyn(&spread([m, k]))).ok_or_else(not_broadcast)?;
    let y = y.broadcast(IxDyn(&spread([k, n]))).ok_or_else(not_broadcast)?;
    if m * n > 0 {
        for (out, index) in output.chunks_exact_mut(m * n).zip(ndarray::indices(&*batch)) {
            let matrix = |array: &ndarray::ArrayViewD<'_, T>| -> Result<Array2<T>, Fault> {
                let mut view = array.view();
                for &position in index.slice() {
                    view = view.index_axis_move(Axis(0), position);
                }
                Ok(view.to_owned().into_dimensionality::<Ix2>()?)
            };
            let mut out = ArrayViewMut2::from_shape((m, n), out)?;
            T::multiply(T::ONE, &matrix(&x)?, &matrix(&y)?, T::ZERO, &mut out);
        }
    }
    let mut dims = dims;
    if column {
        dims.pop();
    }
    if row {
        dims.remove(dims.len() - 1 - usize::from(!column));
    }
    Ok(tensor(dims, output)?)
}

/// alpha A' B' + beta C
pub(super) fn gemm(call: &Call<'_>) -> Outputs {
    let a = call.input(0)?;
    linear!(a, T => gemm_of::<T>(call))
}

fn gemm_of<T: Matrix>(call: &Call<'_>) -> Outputs {
    let (a, b) = (call.array::<T>(0)?, call.array::<T>(1)?);
    let (a, b) = (a.view().into_dimensionality::<Ix2>()?, b.view().into_dimensionality::<Ix2>()?);
    let turned = |matrix: ArrayView2<'_, T>, name: &str| -> Array2<T> {
        if call.flag(name, false) { matrix.reversed_axes().to_owned() } else { matrix.to_owned() }
    };
    let (a, b) = (turned(a, "transA"), turned(b, "transB"));
    if a.ncols() != b.nrows() {
        return Err(Fault::invalid(format!(
            "shapes {:?} and {:?} do not multiply",
            a.shape(),
            b.shape()
        )));
    }
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    let dims = [a.nrows(), b.ncols()];
    let mut output = match call.optional(2) {
        None => ArrayD::from_elem(IxDyn(&dims), T::ZERO),
        Some(c) => {
            let c = array::<T>(c)?;
            let spread = c.broadcast(IxDyn(&dims));
            spread.ok_or_else(|| Fault::invalid("C does not broadcast to the product"))?.to_owned()
        }
    };
    let mut matrix = output.view_mut().into_dimensionality::<Ix2>()?;
    T::multiply(T::from_f64(alpha), &a, &b, T::from_f64(beta), &mut matrix);
    Ok(vec![tensor(dims, flat(output))?])
}

/// Products of 8-bit integers, summed in 32 bits, zero points taken off before.
pub(super) fn matmul_integer(call: &Call<'_>) -> Outputs {
    let centred = |slot: usize, zero: usize, per_row: bool| -> Result<Tensor, Fault> {
        let tensor = call.input(slot)?;
        if tensor.dtype().bits() != Some(8) {
            return Err(Fault::dtype(tensor));
        }
        let elements = tensor.to_i64s().ok_or_else(|| Fault::dtype(tensor))?;
        let zeros = match call.optional(zero) {
            None => vec![0],
            Some(zero) => zero.to_i64s().ok_or_else(|| Fault::dtype(zero))?,
        };
        let rank = tensor.dims().len();
        let columns = tensor.dims().last().copied().unwrap_or(1).max(1);
        let rows = if rank > 1 { tensor.dims()[rank - 2].max(1) } else { 1 };
        let zero_of = |index: usize| match zeros.len() {
            1 => Ok(zeros[0]),
            n if per_row && n == rows => Ok(zeros[index / columns % rows]),
            n if !per_row && n == columns => Ok(zeros[index % columns]),
            _ => Err(Fault::unsupported(
                "its zero point is neither a scalar nor a vector of its axis",
            )),
        };
        let centred = elements
            .iter()
            .enumerate()
            .map(|(index, &q)| Ok(q.wrapping_sub(zero_of(index)?) as i32));
        Ok(crate::array::tensor(tensor.dims(), centred.collect::<Result<Vec<i32>, Fault>>()?)?)
    };
    Ok(vec![product::<i32>(&centred(0, 2, true)?, &centred(1, 3, false)?)?])
}
