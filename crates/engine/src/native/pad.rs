//! Padding.

use marquetry_ir::{AttributeValue, DType};
use ndarray::{ArrayD, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, axis, count, length};
use super::number::sized;
use crate::array::{elements, tensor_as};

/// Lengthens (or, by negative pads, shortens) axes at both ends.
pub(super) fn pad(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    let pads = match call.ints("paddings") {
        Some(pads) => Some(pads.to_vec()),
        None => call.int_list("pads", 1)?,
    };
    let pads = pads.ok_or_else(|| Fault::invalid("there are no pads"))?;
    let axes = match call.int_list("axes", 3)? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Fault::Invalid(format!(
            "{} pads do not surround {} axes",
            pads.len(),
            axes.len()
        )));
    }
    let (mut before, mut dims) = (vec![0_i64; rank], x.dims().to_vec());
    for (at, &axis) in axes.iter().enumerate() {
        let (front, back) = (pads[at], pads[at + axes.len()]);
        before[axis] = front;
        let padded =
            (x.dims()[axis] as i64).checked_add(front).and_then(|dim| dim.checked_add(back));
        dims[axis] = length(padded.ok_or_else(|| Fault::invalid("pads are too large"))?)?;
    }
    count(&dims)?;
    let mode = call.str("mode", "constant");
    // Where an index of the output comes from, along one axis; nothing where it is filled.
    let source = |at: usize, index: usize| -> Result<Option<usize>, Fault> {
        let (dim, index) = (x.dims()[at] as i64, index as i64 - before[at]);
        if (0..dim).contains(&index) {
            return length(index).map(Some);
        }
        let from = match mode {
            "constant" => return Ok(None),
            _ if dim == 0 => return Err(Fault::invalid("there is nothing to repeat")),
            "edge" => index.clamp(0, dim - 1),
            "wrap" => index.rem_euclid(dim),
            "reflect" if dim == 1 => 0,
            "reflect" => {
                let turn = index.rem_euclid(2 * (dim - 1));
                turn.min(2 * (dim - 1) - turn)
            }
            other => return Err(Fault::Invalid(format!("no mode is called `{other}`"))),
        };
        length(from).map(Some)
    };
    let sources =
        dims.iter().enumerate().map(|(at, &dim)| (0..dim).map(|index| source(at, index)).collect());
    let sources = sources.collect::<Result<Vec<Vec<_>>, Fault>>()?;
    let attribute = call.attribute("value").and_then(AttributeValue::as_float).unwrap_or(0.0);
    sized!(x, T => {
        let fill = match call.optional(2) {
            Some(fill) if fill.dtype() == x.dtype() => {
                elements::<T>(fill).first().copied().unwrap_or(0)
            }
            Some(_) => return Err(Fault::invalid("the filling has another type than the input")),
            None if x.dtype() == DType::Float => bits(attribute.to_bits()),
            None if attribute == 0.0 => 0,
            None => return Err(Fault::dtype(x)),
        };
        let input = call.array::<T>(0)?;
        let mut output = ArrayD::from_elem(IxDyn(&dims), fill);
        let mut from = vec![0; rank];
        for (place, item) in output.indexed_iter_mut() {
            let inside = (0..rank).all(|at| {
                sources[at][place[at]].map(|index| from[at] = index).is_some()
            });
            if inside {
                *item = input[&*from];
            }
        }
        Ok(vec![tensor_as(x.dtype(), dims.clone(), crate::array::flat(output))?])
    })
}

/// The bits of an element of a type that may be wider or narrower, where it is 32 bits wide.
fn bits<T: TryFrom<u32> + Default>(bits: u32) -> T {
    T::try_from(bits).unwrap_or_default()
}
