//! Slices, triangles, and the positions of elements.

use std::cmp::Ordering;

use marquetry_ir::{DType, Tensor};
use ndarray::{ArrayD, Axis, Dimension};

use super::Fault;
use super::call::{Call, Outputs, axis, count, length};
use super::number::{Number, numeric, sized};
use crate::array::{elements, flat, tensor, tensor_as};

/// numpy's slicing: bounds may be negative or far outside, steps may go backwards.
pub(super) fn slice(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    let required = |name: &str, slot: usize| {
        let ints = call.int_list(name, slot)?;
        ints.ok_or_else(|| Fault::Invalid(format!("there are no {name}")))
    };
    let (starts, ends) = (required("starts", 1)?, required("ends", 2)?);
    let axes = match call.int_list("axes", 3)? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = call.int_list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > rank {
        return Err(Fault::invalid("starts, ends, axes and steps differ in number"));
    }
    let mut chosen: Vec<(usize, Vec<usize>)> = Vec::with_capacity(axes.len());
    for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        chosen.push((at, range(x.dims()[at], start, end, step)?));
    }
    sized!(x, T => {
        let mut piece: ArrayD<T> = call.array::<T>(0)?.into_owned();
        for (at, indices) in &chosen {
            piece = piece.select(Axis(*at), indices);
        }
        let dims = piece.shape().to_vec();
        Ok(vec![tensor_as(x.dtype(), dims, flat(piece))?])
    })
}

/// The indices from `start` to before `end` by `step`, on an axis of this length.
fn range(dim: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, Fault> {
    let dim = i64::try_from(dim).map_err(|_| Fault::invalid("an axis is too long"))?;
    let from_front = |bound: i64| if bound < 0 { bound.saturating_add(dim) } else { bound };
    let (start, end) = (from_front(start), from_front(end));
    if step == 0 {
        return Err(Fault::invalid("a step is zero"));
    }
    let mut indices = Vec::new();
    if step > 0 {
        let (mut at, end) = (start.clamp(0, dim), end.clamp(0, dim));
        while at < end {
            indices.push(length(at)?);
            at = at.saturating_add(step);
        }
    } else {
        let (mut at, end) = (start.clamp(-1, dim - 1), end.clamp(-1, dim - 1));
        while at > end {
            indices.push(length(at)?);
            at = at.saturating_add(step);
        }
    }
    Ok(indices)
}

/// The indices of the elements that are not zero, one row for each axis.
pub(super) fn non_zero(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let hits: Vec<bool> = if x.dtype() == DType::Bool {
        elements::<u8>(x).iter().map(|&x| x != 0).collect()
    } else {
        numeric!(x, T => Ok(elements::<T>(x).iter().map(|&x| x != <T as Number>::ZERO).collect()))?
    };
    let places: Vec<_> =
        ndarray::indices(x.dims()).into_iter().zip(hits).filter(|(_, hit)| *hit).collect();
    // A scalar has one row all the same.
    let rows = x.dims().len().max(1);
    let row = |at: usize| {
        places.iter().map(move |(place, _)| place.slice().get(at).copied().unwrap_or(0) as i64)
    };
    let output: Vec<i64> = (0..rows).flat_map(row).collect();
    Ok(vec![tensor([rows, places.len()], output)?])
}

pub(super) fn trilu(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let k =
        call.optional(1).and_then(Tensor::to_i64s).and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = call.flag("upper", true);
    let &[.., rows, columns] = x.dims() else {
        return Err(Fault::invalid("it takes two axes at least"));
    };
    sized!(x, T => {
        let mut output = elements::<T>(x).into_owned();
        for (at, item) in output.iter_mut().enumerate() {
            let (row, column) = ((at / columns % rows) as i64, (at % columns) as i64);
            let above = column.saturating_sub(row) >= k;
            let below = column.saturating_sub(row) <= k;
            if !(if upper { above } else { below }) {
                *item = 0;
            }
        }
        Ok(vec![tensor_as(x.dtype(), x.dims(), output)?])
    })
}

/// The `k` greatest or least elements along an axis, of equal ones those with the lower index first.
pub(super) fn top_k(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let at = call.axis("axis", -1, x.dims().len())?;
    let k = call.int_list("k", 1)?.and_then(|k| k.first().copied());
    let k = length(k.ok_or_else(|| Fault::invalid("there is no k"))?)?;
    if k > x.dims()[at] {
        return Err(Fault::Invalid(format!(
            "{k} elements are asked for, {} are there",
            x.dims()[at]
        )));
    }
    let largest = call.flag("largest", true);
    let mut dims = x.dims().to_vec();
    dims[at] = k;
    count(&dims)?;
    // The lanes one after another: what is taken from them is compared in its own type, and moved as
    // indices into the whole tensor.
    let positions: Vec<i64> = (0..x.len() as i64).collect();
    let positions = ArrayD::from_shape_vec(x.dims(), positions)?;
    let mut taken = ArrayD::from_elem(&*dims, 0_i64);
    let mut indices = ArrayD::from_elem(&*dims, 0_i64);
    let compare = comparison(x)?;
    let lanes = positions.lanes(Axis(at)).into_iter();
    for ((lane, mut taken), mut index) in
        lanes.zip(taken.lanes_mut(Axis(at))).zip(indices.lanes_mut(Axis(at)))
    {
        let mut order: Vec<usize> = (0..lane.len()).collect();
        order.sort_by(|&a, &b| {
            let ascending = compare(lane[a] as usize, lane[b] as usize);
            (if largest { ascending.reverse() } else { ascending }).then(a.cmp(&b))
        });
        for (slot, &from) in order.iter().take(k).enumerate() {
            (taken[slot], index[slot]) = (lane[from], from as i64);
        }
    }
    let taken = flat(taken);
    let values = sized!(x, T => {
        let items = elements::<T>(x);
        let values = taken.iter().map(|&from| items[from as usize]).collect();
        Ok(tensor_as(x.dtype(), dims.clone(), values)?)
    })?;
    Ok(vec![values, tensor(dims, flat(indices))?])
}

/// How two elements of a tensor compare; a NaN equals everything.
fn comparison(x: &Tensor) -> Result<Box<dyn Fn(usize, usize) -> Ordering + '_>, Fault> {
    numeric!(x, T => {
        let items = elements::<T>(x);
        Ok(Box::new(move |a: usize, b: usize| items[a].partial_cmp(&items[b]).unwrap_or(Ordering::Equal)))
    })
}
