//! Elements taken from, and put to, places that other tensors name.

use bytemuck::Pod;
use marquetry_ir::{DType, Tensor};
use ndarray::{ArrayD, Axis, Dimension, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, count};
use super::number::{Number, numeric, sized};
use crate::array::{array, flat, tensor_as};

/// Positions from the front, given some that may be counted from the end.
fn positions(indices: &Tensor, length: usize) -> Result<Vec<usize>, Fault> {
    let indices = indices.to_i64s().ok_or_else(|| Fault::dtype(indices))?;
    indices.into_iter().map(|index| position(index, length)).collect()
}

fn position(index: i64, length: usize) -> Result<usize, Fault> {
    let from_front = if index < 0 { index.checked_add(length as i64) } else { Some(index) };
    let found = from_front.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < length);
    found.ok_or_else(|| Fault::Invalid(format!("index {index} is outside of length {length}")))
}

pub(super) fn gather(call: &Call<'_>) -> Outputs {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let at = call.axis("axis", 0, x.dims().len())?;
    let positions = positions(indices, x.dims()[at])?;
    let dims: Vec<usize> = [&x.dims()[..at], indices.dims(), &x.dims()[at + 1..]].concat();
    count(&dims)?;
    sized!(x, T => {
        let taken = call.array::<T>(0)?.select(Axis(at), &positions);
        Ok(vec![tensor_as(x.dtype(), dims, flat(taken))?])
    })
}

pub(super) fn gather_elements(call: &Call<'_>) -> Outputs {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let at = call.axis("axis", 0, x.dims().len())?;
    fits(x.dims(), indices.dims(), at)?;
    let positions = positions(indices, x.dims()[at])?;
    sized!(x, T => {
        let source = call.array::<T>(0)?;
        let places = ndarray::indices(indices.dims()).into_iter();
        let taken = places.zip(positions).map(|(mut place, position)| {
            place[at] = position;
            source[place]
        });
        Ok(vec![tensor_as(x.dtype(), indices.dims(), taken.collect())?])
    })
}

/// Whether indices of one shape name places of another, along one axis.
fn fits(dims: &[usize], indices: &[usize], at: usize) -> Result<(), Fault> {
    let inside = dims.len() == indices.len()
        && dims
            .iter()
            .zip(indices)
            .enumerate()
            .all(|(axis, (&dim, &index))| axis == at || index <= dim);
    if inside {
        Ok(())
    } else {
        Err(Fault::Invalid(format!("indices of shape {indices:?} leave {dims:?}")))
    }
}

pub(super) fn gather_nd(call: &Call<'_>) -> Outputs {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let batch = super::call::length(call.int("batch_dims").unwrap_or(0))?;
    let (places, depth) = tuples(indices, batch, x.dims())?;
    let inner = x.dims()[batch + depth..].to_vec();
    let dims: Vec<usize> =
        indices.dims()[..indices.dims().len() - 1].iter().chain(&inner).copied().collect();
    count(&dims)?;
    let window: usize = inner.iter().product();
    let batches: usize = x.dims()[..batch].iter().product();
    let per_batch = places.len().checked_div(batches).unwrap_or(0);
    let stride: usize = x.dims()[batch..].iter().product();
    sized!(x, T => {
        let source = crate::array::elements::<T>(x);
        let mut taken = Vec::with_capacity(count(&dims)?);
        for (at, place) in places.iter().enumerate() {
            let start = at.checked_div(per_batch).unwrap_or(0) * stride + place * window;
            taken.extend_from_slice(&source[start..start + window]);
        }
        Ok(vec![tensor_as(x.dtype(), dims, taken)?])
    })
}

/// Index tuples flattened to positions among the windows of a batch, and the length of a tuple.
fn tuples(indices: &Tensor, batch: usize, dims: &[usize]) -> Result<(Vec<usize>, usize), Fault> {
    let depth = *indices.dims().last().ok_or_else(|| Fault::invalid("indices are a scalar"))?;
    if batch >= indices.dims().len()
        || batch + depth > dims.len()
        || depth == 0
        || indices.dims()[..batch] != dims[..batch]
    {
        return Err(Fault::Invalid(format!(
            "indices of shape {:?} do not fit {dims:?}",
            indices.dims()
        )));
    }
    let lengths = &dims[batch..batch + depth];
    let elements = indices.to_i64s().ok_or_else(|| Fault::dtype(indices))?;
    let places = elements.chunks_exact(depth).map(|tuple| {
        tuple.iter().zip(lengths).try_fold(0_usize, |place, (&index, &length)| {
            Ok(place * length + position(index, length)?)
        })
    });
    Ok((places.collect::<Result<_, Fault>>()?, depth))
}

/// What happens where an element is put.
#[derive(Clone, Copy)]
enum Reduction {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

fn reduction(call: &Call<'_>) -> Result<Reduction, Fault> {
    match call.str("reduction", "none") {
        "none" => Ok(Reduction::Replace),
        "add" => Ok(Reduction::Add),
        "mul" => Ok(Reduction::Mul),
        "max" => Ok(Reduction::Max),
        "min" => Ok(Reduction::Min),
        other => Err(Fault::Invalid(format!("no reduction is called `{other}`"))),
    }
}

fn reduced<T: Number>(reduction: Reduction, old: T, new: T) -> T {
    match reduction {
        Reduction::Replace => new,
        Reduction::Add => old.add(new),
        Reduction::Mul => old.mul(new),
        Reduction::Max => old.max(new),
        Reduction::Min => old.min(new),
    }
}

pub(super) fn scatter_elements(call: &Call<'_>) -> Outputs {
    let (x, indices, updates) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let at = call.axis("axis", 0, x.dims().len())?;
    fits(x.dims(), indices.dims(), at)?;
    if indices.dims() != updates.dims() || x.dtype() != updates.dtype() {
        return Err(Fault::invalid("there is not one update of the input's type for each index"));
    }
    let places = positions(indices, x.dims()[at])?;
    put(call, x, updates, |dims| {
        let strides = strides(dims);
        let places =
            ndarray::indices(indices.dims()).into_iter().zip(places).map(|(mut place, to)| {
                place[at] = to;
                place.slice().iter().zip(&strides).map(|(index, stride)| index * stride).sum()
            });
        places.collect()
    })
}

pub(super) fn scatter_nd(call: &Call<'_>) -> Outputs {
    let (x, indices, updates) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let (places, depth) = tuples(indices, 0, x.dims())?;
    let inner = &x.dims()[depth..];
    let window: usize = inner.iter().product();
    let expected: Vec<usize> =
        indices.dims()[..indices.dims().len() - 1].iter().chain(inner).copied().collect();
    if updates.dims() != expected || x.dtype() != updates.dtype() {
        return Err(Fault::invalid("there is not one update of the input's type for each index"));
    }
    put(call, x, updates, |_| {
        places.iter().flat_map(|place| place * window..(place + 1) * window).collect()
    })
}

fn put(
    call: &Call<'_>,
    x: &Tensor,
    updates: &Tensor,
    places: impl FnOnce(&[usize]) -> Vec<usize>,
) -> Outputs {
    let reduction = reduction(call)?;
    let places = places(x.dims());
    if matches!(reduction, Reduction::Replace) {
        return sized!(x, T => Ok(vec![placed::<T>(x, updates, &places, |_, new| new)?]));
    }
    numeric!(x, T => {
        Ok(vec![placed::<T>(x, updates, &places, |old, new| reduced(reduction, old, new))?])
    })
}

fn placed<T: Pod + Send + Sync>(
    x: &Tensor,
    updates: &Tensor,
    places: &[usize],
    both: impl Fn(T, T) -> T,
) -> Result<Tensor, Fault> {
    let mut elements = crate::array::elements::<T>(x).into_owned();
    for (&place, &new) in places.iter().zip(crate::array::elements::<T>(updates).iter()) {
        elements[place] = both(elements[place], new);
    }
    Ok(tensor_as(x.dtype(), x.dims(), elements)?)
}

fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for at in (1..dims.len()).rev() {
        strides[at - 1] = strides[at] * dims[at];
    }
    strides
}

/// A vector of `off` along a new axis with `on` at the place that an index names.
pub(super) fn one_hot(call: &Call<'_>) -> Outputs {
    let (indices, depth, values) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let depth = depth.item().filter(|depth| (0.0..=1e9).contains(depth));
    let depth = depth.ok_or_else(|| Fault::invalid("the depth is no length"))? as usize;
    let at = call.axis("axis", -1, indices.dims().len() + 1)?;
    let named = indices.to_f64s().ok_or_else(|| Fault::dtype(indices))?;
    let named = ArrayD::from_shape_vec(IxDyn(indices.dims()), named)?;
    let mut dims = indices.dims().to_vec();
    dims.insert(at, depth);
    count(&dims)?;
    sized!(values, T => {
        let &[off, on] = &*crate::array::elements::<T>(values) else {
            return Err(Fault::invalid("there are not two values"));
        };
        let hot = ndarray::indices(&*dims).into_iter().map(|place| {
            let place = place.slice();
            let outer: Vec<usize> = [&place[..at], &place[at + 1..]].concat();
            let index = named[IxDyn(&outer)] as i64;
            let index = if index < 0 { index.saturating_add(depth as i64) } else { index };
            if index == place[at] as i64 { on } else { off }
        });
        Ok(vec![tensor_as(values.dtype(), dims.clone(), hot.collect())?])
    })
}

/// The slices along an axis, or the elements where there is none, whose condition holds.
pub(super) fn compress(call: &Call<'_>) -> Outputs {
    let (x, condition) = (call.input(0)?, call.input(1)?);
    if condition.dtype() != DType::Bool {
        return Err(Fault::dtype(condition));
    }
    let (x, at) = match call.int("axis") {
        Some(_) => (x.clone(), call.axis("axis", 0, x.dims().len())?),
        None => (x.reshape([x.len()])?, 0),
    };
    let held = crate::array::elements::<u8>(condition);
    let kept: Vec<usize> =
        (0..x.dims()[at].min(held.len())).filter(|&index| held[index] != 0).collect();
    sized!(&x, T => {
        let taken = array::<T>(&x)?.select(Axis(at), &kept);
        let dims = taken.shape().to_vec();
        Ok(vec![tensor_as(x.dtype(), dims, flat(taken))?])
    })
}
