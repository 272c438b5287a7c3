//! Operators that move elements of any type without looking at them.

use marquetry_ir::Tensor;
use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::Fault;
use super::call::{Call, Outputs, axes, axis, broadcast, count, length};
use super::number::sized;
use crate::array::{array, flat, tensor, tensor_as};

pub(super) fn identity(call: &Call<'_>) -> Outputs {
    Ok(vec![call.input(0)?.clone()])
}

pub(super) fn shape(call: &Call<'_>) -> Outputs {
    let dims = call.input(0)?.dims();
    let rank = dims.len() as i64;
    let bound = |name: &str, default: i64| {
        let bound = call.int(name).unwrap_or(default);
        (if bound < 0 { bound.saturating_add(rank) } else { bound }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let lengths: Vec<i64> =
        dims.get(start..end).unwrap_or(&[]).iter().map(|&dim| dim as i64).collect();
    Ok(vec![tensor([lengths.len()], lengths)?])
}

pub(super) fn size(call: &Call<'_>) -> Outputs {
    Ok(vec![tensor([], vec![call.input(0)?.len() as i64])?])
}

/// 0 copies a length unless `allowzero`; -1 stands for what is left over.
pub(super) fn reshape(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let asked = call.int_list("shape", 1)?.ok_or_else(|| Fault::invalid("there is no shape"))?;
    let copy = !call.flag("allowzero", false);
    let known = asked.iter().enumerate().map(|(at, &dim)| match dim {
        -1 => Ok(None),
        0 if copy => match x.dims().get(at) {
            Some(&dim) => Ok(Some(dim)),
            None => Err(Fault::invalid(format!("axis {at} copies a length that is not there"))),
        },
        dim => length(dim).map(Some),
    });
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let rest: Vec<usize> = known.iter().copied().flatten().collect();
    let product = count(&rest)?;
    let free = match (known.len() - rest.len(), product) {
        (0, _) => 0,
        (1, 0) => 0,
        (1, product) => x.len() / product,
        _ => return Err(Fault::invalid("several axes are left open")),
    };
    let dims: Vec<usize> = known.into_iter().map(|dim| dim.unwrap_or(free)).collect();
    Ok(vec![x.reshape(dims)?])
}

pub(super) fn flatten(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    let at = call.int("axis").unwrap_or(1);
    let at = if at == rank as i64 { rank } else { axis(at, rank)? };
    let rows: usize = x.dims()[..at].iter().product();
    let columns: usize = x.dims()[at..].iter().product();
    Ok(vec![x.reshape([rows, columns])?])
}

pub(super) fn squeeze(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let dropped = match call.int_list("axes", 1)? {
        Some(named) => axes(&named, x.dims().len())?,
        None => (0..x.dims().len()).filter(|&at| x.dims()[at] == 1).collect(),
    };
    if let Some(at) = dropped.iter().find(|&&at| x.dims()[at] != 1) {
        return Err(Fault::invalid(format!("axis {at} has length {}, not 1", x.dims()[*at])));
    }
    let kept = x.dims().iter().enumerate().filter(|(at, _)| !dropped.contains(at));
    Ok(vec![x.reshape(kept.map(|(_, &dim)| dim).collect::<Vec<_>>())?])
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let named = call.int_list("axes", 1)?.ok_or_else(|| Fault::invalid("there are no axes"))?;
    let added = axes(&named, x.dims().len() + named.len())?;
    let mut dims = x.dims().to_vec();
    added.iter().for_each(|&at| dims.insert(at, 1));
    Ok(vec![x.reshape(dims)?])
}

pub(super) fn transpose(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    let order = match call.ints("perm") {
        Some(order) => order.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(Fault::invalid(format!("{order:?} does not order {rank} axes")));
    }
    sized!(x, T => {
        let turned = call.array::<T>(0)?.into_owned().permuted_axes(IxDyn(&order));
        let dims = turned.shape().to_vec();
        Ok(vec![tensor_as(x.dtype(), dims, flat(turned))?])
    })
}

pub(super) fn expand(call: &Call<'_>) -> Outputs {
    let (x, asked) = (call.input(0)?, call.int_list("shape", 1)?);
    let asked = asked.ok_or_else(|| Fault::invalid("there is no shape"))?;
    let asked = asked.into_iter().map(length).collect::<Result<Vec<_>, _>>()?;
    spread(x, &broadcast(x.dims(), &asked)?).map(|output| vec![output])
}

/// The tensor repeated to a shape that it broadcasts to.
pub(super) fn spread(x: &Tensor, dims: &[usize]) -> Result<Tensor, Fault> {
    count(dims)?;
    sized!(x, T => {
        let x_array = array::<T>(x)?;
        let spread = x_array.broadcast(IxDyn(dims));
        let spread = spread.ok_or_else(|| Fault::invalid("shapes do not broadcast"))?.to_owned();
        Ok(tensor_as(x.dtype(), dims, flat(spread))?)
    })
}

pub(super) fn tile(call: &Call<'_>) -> Outputs {
    let (x, repeats) = (call.input(0)?, call.input(1)?);
    if call.opset() < 6 {
        return Err(Fault::unsupported("before opset 6 it tiled one axis"));
    }
    let repeats = repeats.to_i64s().ok_or_else(|| Fault::dtype(repeats))?;
    let repeats = repeats.into_iter().map(length).collect::<Result<Vec<_>, _>>()?;
    if repeats.len() != x.dims().len() {
        return Err(Fault::invalid("there is not one repetition for each axis"));
    }
    let dims: Vec<usize> =
        x.dims().iter().zip(&repeats).map(|(&dim, &times)| dim.saturating_mul(times)).collect();
    count(&dims)?;
    // [a, b] tiled (r, s) is [1, a, 1, b] spread to [r, a, s, b].
    let interleave = |times: &dyn Fn(usize) -> usize| -> Vec<usize> {
        x.dims().iter().enumerate().flat_map(|(at, &dim)| [times(at), dim]).collect()
    };
    let spread = spread(&x.reshape(interleave(&|_| 1))?, &interleave(&|at| repeats[at]))?;
    Ok(vec![spread.reshape(dims)?])
}

pub(super) fn concat(call: &Call<'_>) -> Outputs {
    let inputs: Vec<&Tensor> = call.inputs.iter().flatten().collect();
    let Some(&first) = inputs.first() else {
        return Err(Fault::invalid("there are no inputs"));
    };
    let default = if call.opset() < 4 { 1 } else { 0 };
    let at = call.axis("axis", default, first.dims().len())?;
    let alike = |input: &&Tensor| {
        input.dtype() == first.dtype() && input.dims().len() == first.dims().len()
    };
    if !inputs.iter().all(alike) {
        return Err(Fault::invalid("inputs have several types or ranks"));
    }
    sized!(first, T => {
        let arrays = inputs.iter().map(|input| array::<T>(input)).collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
        let joined = concatenate(Axis(at), &views)?;
        let dims = joined.shape().to_vec();
        Ok(vec![tensor_as(first.dtype(), dims, flat(joined))?])
    })
}

pub(super) fn split(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let at = call.axis("axis", 0, x.dims().len())?;
    let total = x.dims()[at];
    let parts = match call.int_list("split", 1)? {
        Some(parts) => parts.into_iter().map(length).collect::<Result<Vec<_>, _>>()?,
        None => {
            let parts = match call.int("num_outputs") {
                Some(parts) => length(parts)?,
                None => call
                    .outputs
                    .ok_or_else(|| Fault::unsupported("the number of outputs is not known"))?,
            };
            if parts == 0 || parts > total.max(1) {
                return Err(Fault::invalid(format!(
                    "{total} elements do not split into {parts} parts"
                )));
            }
            let part = total.div_ceil(parts);
            (0..parts).map(|index| part.min(total.saturating_sub(index * part))).collect()
        }
    };
    if parts.iter().try_fold(0_usize, |sum, &part| sum.checked_add(part)) != Some(total) {
        return Err(Fault::invalid(format!("parts {parts:?} do not add up to {total}")));
    }
    sized!(x, T => {
        let (x_array, mut start) = (call.array::<T>(0)?, 0);
        let mut outputs = Vec::with_capacity(parts.len());
        for part in parts {
            let slice = ndarray::Slice::from(start..start + part);
            let piece = x_array.slice_axis(Axis(at), slice).to_owned();
            start += part;
            let dims = piece.shape().to_vec();
            outputs.push(tensor_as(x.dtype(), dims, flat(piece))?);
        }
        Ok(outputs)
    })
}

/// One part of what SplitToSequence splits: its input and lengths, then the position of the part.
pub(super) fn split_at(call: &Call<'_>) -> Outputs {
    let (x, position) = (call.input(0)?, call.input(2)?);
    let at = call.axis("axis", 0, x.dims().len())?;
    let total = x.dims()[at];
    let lengths = match call.optional(1) {
        None => vec![1; total],
        Some(lengths) => {
            let named = lengths.to_i64s().ok_or_else(|| Fault::dtype(lengths))?;
            let named = named.into_iter().map(length).collect::<Result<Vec<_>, _>>()?;
            match (lengths.dims(), named.as_slice()) {
                ([], &[0]) => return Err(Fault::invalid("parts have no length")),
                ([], &[each]) => {
                    (0..total.div_ceil(each)).map(|part| each.min(total - part * each)).collect()
                }
                _ => named,
            }
        }
    };
    let position = position.to_i64s().and_then(|position| position.first().copied());
    let position = position.ok_or_else(|| Fault::invalid("the position is no integer"))?;
    let position = axis(position, lengths.len())?;
    let start: usize = lengths[..position].iter().sum();
    let end = start + lengths[position];
    if end > total {
        return Err(Fault::invalid(format!("parts {lengths:?} are longer than {total}")));
    }
    let keep = call.optional(1).is_some() || call.flag("keepdims", true);
    sized!(x, T => {
        let x_array = call.array::<T>(0)?;
        let part = x_array.slice_axis(Axis(at), ndarray::Slice::from(start..end)).to_owned();
        let mut dims = part.shape().to_vec();
        if !keep {
            dims.remove(at);
        }
        Ok(vec![tensor_as(x.dtype(), dims, flat(part))?])
    })
}

pub(super) fn depth_to_space(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let (block, [n, c, h, w]) = blocks(call, x)?;
    let inner = c / (block * block);
    if inner * block * block != c {
        return Err(Fault::invalid(format!("{c} channels do not make blocks of {block}")));
    }
    let (split, order) = match call.str("mode", "DCR") {
        "DCR" => ([n, block, block, inner, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, inner, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(Fault::invalid(format!("no mode is called `{other}`"))),
    };
    permuted(x, &split, &order, [n, inner, h * block, w * block])
}

pub(super) fn space_to_depth(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let (block, [n, c, h, w]) = blocks(call, x)?;
    if h % block + w % block != 0 {
        return Err(Fault::invalid(format!("{h} by {w} does not fall into blocks of {block}")));
    }
    let split = [n, c, h / block, block, w / block, block];
    let order = match call.str("mode", "DCR") {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return Err(Fault::invalid(format!("no mode is called `{other}`"))),
    };
    permuted(x, &split, &order, [n, c * block * block, h / block, w / block])
}

fn blocks(call: &Call<'_>, x: &Tensor) -> Result<(usize, [usize; 4]), Fault> {
    let block = length(call.int("blocksize").unwrap_or(0))?;
    let dims = <[usize; 4]>::try_from(x.dims());
    match dims {
        Ok(dims) if block > 0 && block < 1 << 16 => Ok((block, dims)),
        _ => Err(Fault::invalid("it takes four axes and a block size")),
    }
}

fn permuted(x: &Tensor, split: &[usize], order: &[usize], dims: [usize; 4]) -> Outputs {
    sized!(x, T => {
        let split: ArrayD<T> = array::<T>(x)?.to_shape(IxDyn(split))?.into_owned();
        let turned = split.permuted_axes(IxDyn(order));
        Ok(vec![tensor_as(x.dtype(), dims, flat(turned))?])
    })
}

/// What is left of a Dropout outside of training: the input and, if asked, a mask of ones.
pub(super) fn dropout(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let ratio = call.optional(1).and_then(Tensor::item).unwrap_or_else(|| call.float("ratio", 0.5));
    let training = call.optional(2).and_then(Tensor::item).is_some_and(|training| training != 0.0);
    if (training && ratio != 0.0) || (call.opset() < 7 && !call.flag("is_test", false)) {
        return Err(Fault::unsupported("training drops elements at random"));
    }
    let mask = if call.opset() < 10 {
        return Ok(vec![x.clone()]);
    } else {
        crate::array::bools(x.dims(), vec![1; x.len()])?
    };
    Ok(vec![x.clone(), mask])
}
