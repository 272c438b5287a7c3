//! Rotary position embedding: pairs of features, turned by angles whose cosines and sines are given.

use marquetry_ir::Tensor;
use ndarray::{Array3, Array4, Axis, Ix3, Ix4};

use super::Fault;
use super::call::{Call, Outputs, length};
use super::number::{Number, Real, numeric};
use crate::array::{Element, array, flat, tensor};

pub(super) fn rotary_embedding(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(real x, T => turned::<T>(call))
}

/// The input as batch, heads, positions, features.
fn heads<T: Element>(call: &Call<'_>, x: &Tensor) -> Result<Array4<T>, Fault> {
    let values = array::<T>(x)?.into_owned();
    match *x.dims() {
        [_, _, _, _] => Ok(values.into_dimensionality::<Ix4>()?),
        [batch, positions, hidden] => {
            let heads = length(call.int("num_heads").unwrap_or(0))?;
            if heads == 0 || hidden % heads != 0 {
                return Err(Fault::Invalid(format!("{hidden} features do not make {heads} heads")));
            }
            let split = values.into_shape_with_order((batch, positions, heads, hidden / heads))?;
            Ok(split.permuted_axes([0, 2, 1, 3]).as_standard_layout().into_owned())
        }
        _ => Err(Fault::invalid("it takes three or four axes")),
    }
}

/// A table for each batch and position: as it is given, or picked from one by positions.
fn table<T: Element>(call: &Call<'_>, slot: usize) -> Result<Array3<T>, Fault> {
    let cache = call.input(slot)?;
    let values = array::<T>(cache)?.into_owned();
    let Some(positions) = call.optional(3) else {
        return Ok(values.into_dimensionality::<Ix3>()?);
    };
    let (&[batch, count], &[rows, width]) = (positions.dims(), cache.dims()) else {
        return Err(Fault::invalid("positions and tables have two axes each"));
    };
    let positions = positions.to_i64s().ok_or_else(|| Fault::dtype(positions))?;
    let row = |position: i64| {
        let row = usize::try_from(position).ok().filter(|row| *row < rows);
        row.ok_or_else(|| Fault::Invalid(format!("there is no position {position}")))
    };
    let chosen = positions.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(values.select(Axis(0), &chosen).into_shape_with_order((batch, count, width))?)
}

fn turned<T: Element + Real>(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let mut y = heads::<T>(call, x)?;
    let (cos, sin) = (table::<T>(call, 1)?, table::<T>(call, 2)?);
    let [batch, heads, positions, features] = [0, 1, 2, 3].map(|axis| y.shape()[axis]);
    let part = match length(call.int("rotary_embedding_dim").unwrap_or(0))? {
        0 => features,
        part => part,
    };
    let half = part / 2;
    let fits = |table: &Array3<T>| table.shape() == [batch, positions, half];
    if part > features || part % 2 != 0 || !fits(&cos) || !fits(&sin) {
        return Err(Fault::Invalid(format!(
            "tables {:?} and {:?} do not fit to {:?}",
            cos.shape(),
            sin.shape(),
            y.shape()
        )));
    }
    let interleaved = call.flag("interleaved", false);
    for b in 0..batch {
        for h in 0..heads {
            for p in 0..positions {
                for pair in 0..half {
                    let (i, j) =
                        if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
                    let number = |value: T| Number::to_f64(value);
                    let (c, s) = (number(cos[[b, p, pair]]), number(sin[[b, p, pair]]));
                    let (real, imaginary) = (number(y[[b, h, p, i]]), number(y[[b, h, p, j]]));
                    y[[b, h, p, i]] = T::of(c * real - s * imaginary);
                    y[[b, h, p, j]] = T::of(s * real + c * imaginary);
                }
            }
        }
    }
    let elements = if x.dims().len() == 3 { y.permuted_axes([0, 2, 1, 3]) } else { y };
    Ok(vec![tensor(x.dims().to_vec(), flat(elements.into_dyn()))?])
}
