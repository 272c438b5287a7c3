//! Reductions along axes.

use marquetry_ir::{DType, Tensor};
use ndarray::{ArrayD, Axis, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, axes, axis, count};
use super::number::{Number, Real, numeric};
use crate::array::{Element, array, elements, flat, tensor, tensor_as};

/// The axes to reduce: all of them where none are named, unless the node says that means none.
fn reduced(call: &Call<'_>, rank: usize) -> Result<Vec<usize>, Fault> {
    match call.int_list("axes", 1)? {
        Some(named) if !named.is_empty() => axes(&named, rank),
        _ if call.flag("noop_with_empty_axes", false) => Ok(Vec::new()),
        _ => Ok((0..rank).collect()),
    }
}

/// Applies a function to the elements that fall on each element of the output, in C order.
fn fold<T: Element, U: Element>(
    call: &Call<'_>,
    x: &Tensor,
    function: impl Fn(&[T]) -> U,
) -> Outputs {
    let axes = reduced(call, x.dims().len())?;
    let length = |(at, &dim): (usize, &usize)| if axes.contains(&at) { 1 } else { dim };
    let kept: Vec<usize> = x.dims().iter().enumerate().map(length).collect();
    let windows = count(&kept)?;
    let items = turned::<T>(x, &axes)?;
    let output = match items.len().checked_div(windows) {
        None => Vec::new(),
        Some(0) => vec![function(&[]); windows],
        Some(window) => items.chunks_exact(window).map(function).collect(),
    };
    let dims = if call.flag("keepdims", true) { kept } else { squeezed(&kept, &axes) };
    Ok(vec![tensor(dims, output)?])
}

/// The elements with the axes to reduce last, so that those that belong together are neighbours.
fn turned<T: Element>(x: &Tensor, axes: &[usize]) -> Result<Vec<T>, Fault> {
    let order: Vec<usize> =
        (0..x.dims().len()).filter(|at| !axes.contains(at)).chain(axes.iter().copied()).collect();
    if order.is_sorted() {
        return Ok(elements::<T>(x).into_owned());
    }
    Ok(array::<T>(x)?.view().permuted_axes(IxDyn(&order)).iter().copied().collect())
}

fn squeezed(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    let kept = dims.iter().enumerate().filter(|(at, _)| !axes.contains(at));
    kept.map(|(_, &dim)| dim).collect()
}

/// Sums in `f64` for reals, so that the order does not matter to the last bits.
fn total<T: Number>(items: &[T], term: impl Fn(f64) -> f64) -> f64 {
    items.iter().map(|x| term(x.to_f64())).sum()
}

/// Defines reductions of numbers: over integers by wrapping arithmetic, over reals through `f64`.
macro_rules! sums {
    ($($name:ident: $term:expr, $finish:expr;)*) => { $(
        pub(super) fn $name(call: &Call<'_>) -> Outputs {
            let x = call.input(0)?;
            numeric!(x, T => fold::<T, T>(call, x, |items| {
                let finish: fn(f64, f64) -> f64 = $finish;
                <T as Number>::from_f64(finish(total(items, $term), items.len() as f64))
            }))
        }
    )* };
}
sums! {
    mean: |x| x, |sum, count| sum / count;
    l1: f64::abs, |sum, _| sum;
    l2: |x| x * x, |sum, _| sum.sqrt();
    log_sum: |x| x, |sum, _| sum.ln();
    sum_square: |x| x * x, |sum, _| sum;
}

pub(super) fn sum(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if x.dtype().is_integer() {
        return numeric!(integer x, T => fold::<T, T>(call, x, |items| {
            items.iter().copied().fold(<T as Number>::ZERO, Number::add)
        }));
    }
    numeric!(real x, T => fold::<T, T>(call, x, |items| {
        <T as Real>::of(total(items, |x| x))
    }))
}

pub(super) fn product(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => fold::<T, T>(call, x, |items| items.iter().copied().fold(<T as Number>::ONE, Number::mul)))
}

/// log(sum(exp(x))), the greatest taken out so that nothing overflows.
pub(super) fn log_sum_exp(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => fold::<T, T>(call, x, |items| {
        let items: Vec<f64> = items.iter().map(|x| x.to_f64()).collect();
        let greatest = items.iter().copied().fold(f64::NEG_INFINITY, Number::max);
        if !greatest.is_finite() {
            return <T as Number>::from_f64(greatest);
        }
        let sum: f64 = items.iter().map(|x| (x - greatest).exp()).sum();
        <T as Number>::from_f64(greatest + sum.ln())
    }))
}

pub(super) fn max(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if x.dtype() == DType::Bool {
        return booleans(fold::<u8, u8>(call, x, |items| {
            items.iter().copied().fold(0, |a, b| u8::from(a | b != 0))
        }));
    }
    numeric!(x, T => fold::<T, T>(call, x, |items| items.iter().copied().fold(T::LEAST, Number::max)))
}

pub(super) fn min(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if x.dtype() == DType::Bool {
        return booleans(fold::<u8, u8>(call, x, |items| {
            items.iter().copied().fold(1, |a, b| u8::from(a & b != 0))
        }));
    }
    numeric!(x, T => fold::<T, T>(call, x, |items| items.iter().copied().fold(T::GREATEST, Number::min)))
}

fn booleans(outputs: Outputs) -> Outputs {
    let outputs = outputs?.into_iter();
    Ok(outputs
        .map(|x| tensor_as(DType::Bool, x.dims(), elements::<u8>(&x).into_owned()))
        .collect::<Result<_, _>>()?)
}

pub(super) fn arg_max(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => extreme::<T>(call, x, |next, best| next > best))
}

pub(super) fn arg_min(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => extreme::<T>(call, x, |next, best| next < best))
}

/// The position of the extreme along one axis: of several equal ones the first, or the last if asked.
fn extreme<T: Number>(call: &Call<'_>, x: &Tensor, better: impl Fn(T, T) -> bool) -> Outputs {
    let at = call.axis("axis", 0, x.dims().len().max(1))?;
    if x.dims().get(at).is_none_or(|&length| length == 0) {
        return Err(Fault::invalid("there is no extreme along an empty axis"));
    }
    let last = call.flag("select_last_index", false);
    let x = array::<T>(x)?;
    let mut kept = x.shape().to_vec();
    kept[at] = 1;
    let mut output = Vec::with_capacity(count(&kept)?);
    for lane in x.lanes(Axis(at)) {
        let mut best = 0;
        for (index, &item) in lane.iter().enumerate() {
            if better(item, lane[best]) || (last && item == lane[best]) {
                best = index;
            }
        }
        output.push(best as i64);
    }
    let dims = if call.flag("keepdims", true) { kept } else { squeezed(&kept, &[at]) };
    Ok(vec![tensor(dims, output)?])
}

pub(super) fn cum_sum(call: &Call<'_>) -> Outputs {
    cumulate(call, true)
}

pub(super) fn cum_prod(call: &Call<'_>) -> Outputs {
    cumulate(call, false)
}

fn cumulate(call: &Call<'_>, sum: bool) -> Outputs {
    let (x, at) = (call.input(0)?, call.input(1)?);
    let at = at.to_i64s().and_then(|at| at.first().copied());
    let at = axis(at.ok_or_else(|| Fault::invalid("the axis is no integer"))?, x.dims().len())?;
    let (exclusive, reverse) = (call.flag("exclusive", false), call.flag("reverse", false));
    numeric!(x, T => {
        let mut x: ArrayD<T> = call.array::<T>(0)?.into_owned();
        for mut lane in x.lanes_mut(Axis(at)) {
            if reverse {
                lane.invert_axis(Axis(0));
            }
            let mut running = if sum { <T as Number>::ZERO } else { <T as Number>::ONE };
            for item in &mut lane {
                let next = if sum { Number::add(running, *item) } else { Number::mul(running, *item) };
                *item = if exclusive { running } else { next };
                running = next;
            }
        }
        let dims = x.shape().to_vec();
        Ok(vec![tensor(dims, flat(x))?])
    })
}

/// Averages or greatest elements over all axes but the first two.
pub(super) fn global_pool(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    if rank < 3 {
        return Err(Fault::invalid("there are no spatial axes"));
    }
    let average = call.op() == "GlobalAveragePool";
    numeric!(real x, T => {
        let x = call.array::<T>(0)?;
        let window: usize = x.shape()[2..].iter().product();
        let planes = x.shape()[0] * x.shape()[1];
        let x = x.to_shape(IxDyn(&[planes, window]))?;
        let pooled = x.rows().into_iter().map(|plane| {
            if average {
                <T as Real>::of(plane.iter().map(|&x| Number::to_f64(x)).sum::<f64>() / window as f64)
            } else {
                plane.iter().copied().fold(T::LEAST, Number::max)
            }
        });
        let dims: Vec<usize> =
            call.input(0)?.dims()[..2].iter().copied().chain(vec![1; rank - 2]).collect();
        Ok(vec![tensor(dims, pooled.collect())?])
    })
}
