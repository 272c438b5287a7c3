//! Poolings over windows of any number of axes.

use marquetry_ir::DType;
use ndarray::Dimension;

use super::Fault;
use super::call::{Call, Outputs, count};
use super::cast::cast;
use super::number::{Number, Real, numeric};
use super::window::Windows;
use crate::array::{elements, tensor};

fn windows(call: &Call<'_>) -> Result<(Windows, Vec<usize>), Fault> {
    let dims = call.input(0)?.dims();
    if dims.len() < 3 || dims[..2].contains(&0) {
        return Err(Fault::invalid("there is nothing to pool"));
    }
    let windows = Windows::new(call, &dims[2..], &[])?;
    let output = dims[..2].iter().chain(&windows.output).copied().collect();
    Ok((windows, output))
}

/// The greatest element of each window, and where it is in the whole input.
pub(super) fn max(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if call.int("storage_order").is_some_and(|order| order != 0) {
        return Err(Fault::unsupported("it counts positions by columns"));
    }
    let (windows, dims) = windows(call)?;
    let plane: usize = windows.input.iter().product();
    if x.dtype().bits().is_none_or(|bits| bits == 64 && x.dtype() != DType::Double) {
        return Err(Fault::dtype(x));
    }
    let wide = cast(x, DType::Double)?;
    let mut values = Vec::with_capacity(count(&dims)?);
    let mut indices = Vec::with_capacity(values.capacity());
    for (at, plane_items) in elements::<f64>(&wide).chunks(plane.max(1)).enumerate() {
        for place in ndarray::indices(&*windows.output) {
            let inside = windows.elements(place.slice()).filter_map(|(source, _)| source);
            let best =
                inside.reduce(
                    |best, next| {
                        if plane_items[next] > plane_items[best] { next } else { best }
                    },
                );
            values.push(best.map_or(f64::NEG_INFINITY, |best| plane_items[best]));
            indices.push(best.map_or(-1, |best| (at * plane + best) as i64));
        }
    }
    let values = cast(&tensor(dims.clone(), values)?, x.dtype())?;
    Ok(vec![values, tensor(dims, indices)?])
}

/// The average of each window, over the input or over padding too.
pub(super) fn average(call: &Call<'_>) -> Outputs {
    let with_padding = call.flag("count_include_pad", false);
    fold(call, |sum, inside, padded| sum / if with_padding { padded } else { inside }, |x| x)
}

/// The norm of each window.
pub(super) fn lp(call: &Call<'_>) -> Outputs {
    let p = call.int("p").unwrap_or(2) as f64;
    fold(call, |sum, _, _| sum.powf(1.0 / p), |x| x.abs().powf(p))
}

fn fold(
    call: &Call<'_>,
    finish: impl Fn(f64, f64, f64) -> f64,
    term: impl Fn(f64) -> f64,
) -> Outputs {
    let x = call.input(0)?;
    let (windows, dims) = windows(call)?;
    let plane: usize = windows.input.iter().product();
    numeric!(real x, T => {
        let mut values = Vec::with_capacity(count(&dims)?);
        for plane_items in elements::<T>(x).chunks(plane.max(1)) {
            for place in ndarray::indices(&*windows.output) {
                let (mut sum, mut inside, mut padded) = (0.0, 0.0, 0.0);
                for (source, within) in windows.elements(place.slice()) {
                    if let Some(source) = source {
                        sum += term(Number::to_f64(plane_items[source]));
                        inside += 1.0;
                    }
                    padded += f64::from(u8::from(within));
                }
                values.push(<T as Real>::of(finish(sum, inside, padded)));
            }
        }
        Ok(vec![tensor(dims, values)?])
    })
}
