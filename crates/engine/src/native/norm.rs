//! Normalizations and softmaxes, computed in `f64` inside.

use marquetry_ir::Tensor;
use ndarray::{ArrayD, Axis, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, length};
use super::number::{Number, numeric};
use crate::array::{Element, array, flat, tensor};

/// Softmax, LogSoftmax and Hardmax: along one axis since opset 13, over all from that axis on before.
pub(super) fn softmax(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = x.dims().len();
    let at = call.axis("axis", if call.opset() < 13 { 1 } else { -1 }, rank.max(1))?;
    numeric!(real x, T => {
        let turned: ArrayD<f64> = array::<T>(x)?.mapv(Number::to_f64);
        let mut turned = if call.opset() < 13 {
            let split: usize = x.dims()[..at].iter().product();
            let rest: usize = x.dims()[at..].iter().product();
            turned.to_shape(IxDyn(&[split, rest]))?.into_owned()
        } else {
            turned
        };
        let axis = if call.opset() < 13 { 1 } else { at };
        for mut lane in turned.lanes_mut(Axis(axis)) {
            let greatest = lane.iter().copied().fold(f64::NEG_INFINITY, Number::max);
            match call.op() {
                "Hardmax" => {
                    let first = lane.iter().position(|&x| x == greatest);
                    lane.iter_mut().enumerate().for_each(|(at, x)| *x = f64::from(u8::from(Some(at) == first)));
                }
                "LogSoftmax" => {
                    let sum: f64 = lane.iter().map(|x| (x - greatest).exp()).sum();
                    lane.mapv_inplace(|x| x - greatest - sum.ln());
                }
                _ => {
                    lane.mapv_inplace(|x| (x - greatest).exp());
                    let sum = lane.sum();
                    lane.mapv_inplace(|x| x / sum);
                }
            }
        }
        Ok(vec![tensor(x.dims(), flat(turned).into_iter().map(<T as Number>::from_f64).collect())?])
    })
}

/// Splits a tensor into rows of everything from an axis on.
fn rows<T: Number>(x: &Tensor, at: usize) -> Result<(usize, Vec<f64>), Fault> {
    let width: usize = x.dims()[at..].iter().product();
    Ok((width, crate::array::elements::<T>(x).iter().map(|x| x.to_f64()).collect()))
}

/// Scale and bias spread over a shape; ones and zeros where there are none.
fn spread<T: Number>(x: Option<&Tensor>, dims: &[usize], absent: f64) -> Result<Vec<f64>, Fault> {
    let Some(x) = x else { return Ok(vec![absent; dims.iter().product()]) };
    if x.dtype() != T::DTYPE {
        return Err(Fault::Unsupported(format!("scale or bias are `{}`", x.dtype())));
    }
    let x = array::<T>(x)?;
    let spread =
        x.broadcast(IxDyn(dims)).ok_or_else(|| Fault::invalid("scale or bias do not broadcast"))?;
    Ok(spread.iter().map(|x| x.to_f64()).collect())
}

/// (x - mean) / sqrt(var + eps) * scale + bias over the last axes; mean and 1/sqrt(var + eps) follow.
pub(super) fn layer_norm(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let at = call.axis("axis", -1, x.dims().len())?;
    let epsilon = call.float("epsilon", 1e-5);
    numeric!(real x, T => {
        let (width, mut items) = rows::<T>(x, at)?;
        let dims = &x.dims()[at..];
        let (scale, bias) =
            (spread::<T>(call.optional(1), dims, 1.0)?, spread::<T>(call.optional(2), dims, 0.0)?);
        let (mut means, mut inverses) = (Vec::new(), Vec::new());
        for row in items.chunks_exact_mut(width.max(1)) {
            let (mean, inverse) = moments(row, epsilon);
            for ((x, scale), bias) in row.iter_mut().zip(&scale).zip(&bias) {
                *x = (*x - mean) * inverse * scale + bias;
            }
            means.push(<f32 as Number>::from_f64(mean));
            inverses.push(<f32 as Number>::from_f64(inverse));
        }
        let outer = outer(x.dims(), at);
        if width == 0 {
            // The mean of nothing is no number.
            let rows = outer.iter().product();
            (means, inverses) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
        }
        Ok(vec![numbers::<T>(x.dims(), items)?, tensor(outer.clone(), means)?, tensor(outer, inverses)?])
    })
}

/// The shape of what is one number for all axes from `at` on.
fn outer(dims: &[usize], at: usize) -> Vec<usize> {
    dims[..at].iter().copied().chain(vec![1; dims.len() - at]).collect()
}

fn moments(row: &[f64], epsilon: f64) -> (f64, f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn numbers<T: Element + Number>(dims: &[usize], items: Vec<f64>) -> Result<Tensor, Fault> {
    Ok(tensor(dims, items.into_iter().map(<T as Number>::from_f64).collect())?)
}

/// x / sqrt(mean(x^2) + eps) * scale over the last axes; 1/sqrt(mean(x^2) + eps) follows.
pub(super) fn rms_norm(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let at = call.axis("axis", -1, x.dims().len())?;
    let epsilon = call.float("epsilon", 1e-5);
    numeric!(real x, T => {
        let (width, mut items) = rows::<T>(x, at)?;
        let scale = spread::<T>(call.optional(1), &x.dims()[at..], 1.0)?;
        let mut inverses = Vec::new();
        for row in items.chunks_exact_mut(width.max(1)) {
            let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
            let inverse = 1.0 / (square + epsilon).sqrt();
            row.iter_mut().zip(&scale).for_each(|(x, scale)| *x = *x * inverse * scale);
            inverses.push(<f32 as Number>::from_f64(inverse));
        }
        let outer = outer(x.dims(), at);
        if width == 0 {
            inverses = vec![f32::NAN; outer.iter().product()];
        }
        Ok(vec![numbers::<T>(x.dims(), items)?, tensor(outer, inverses)?])
    })
}

/// Statistics given per channel: scale (x - mean) / sqrt(var + eps) + bias.
pub(super) fn batch_norm(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if call.flag("training_mode", false) || (call.opset() < 7 && !call.flag("is_test", false)) {
        return Err(Fault::unsupported("training takes its statistics from the input"));
    }
    let epsilon = call.float("epsilon", 1e-5);
    numeric!(real x, T => {
        let (plane, channels) = planes(x)?;
        let each = |slot: usize| -> Result<Vec<f64>, Fault> {
            let each = call.input(slot)?.to_f64s().ok_or_else(|| Fault::invalid("parameters are no numbers"))?;
            if each.len() == channels { Ok(each) } else { Err(Fault::invalid("there is not one parameter for each channel")) }
        };
        let (scale, bias, mean, variance) = (each(1)?, each(2)?, each(3)?, each(4)?);
        let (_, mut items) = rows::<T>(x, 0)?;
        for (at, plane) in items.chunks_exact_mut(plane.max(1)).enumerate() {
            let c = at % channels;
            let factor = scale[c] / (variance[c] + epsilon).sqrt();
            plane.iter_mut().for_each(|x| *x = (*x - mean[c]) * factor + bias[c]);
        }
        Ok(vec![numbers::<T>(x.dims(), items)?])
    })
}

/// The number of elements of one channel of one sample, and the number of channels.
fn planes(x: &Tensor) -> Result<(usize, usize), Fault> {
    match x.dims() {
        [_] => Ok((1, 1)),
        [_, channels, rest @ ..] => Ok((rest.iter().product(), *channels)),
        [] => Err(Fault::invalid("a scalar has no channels")),
    }
}

pub(super) fn instance_norm(call: &Call<'_>) -> Outputs {
    let channels = planes(call.input(0)?)?.1;
    group_norm_of(call, channels, false)
}

/// Scale and bias are one for each group before opset 21, one for each channel since.
pub(super) fn group_norm(call: &Call<'_>) -> Outputs {
    let groups = length(call.int("num_groups").unwrap_or(0))?;
    group_norm_of(call, groups, call.opset() < 21)
}

fn group_norm_of(call: &Call<'_>, groups: usize, per_group: bool) -> Outputs {
    let x = call.input(0)?;
    let epsilon = call.float("epsilon", 1e-5);
    let (plane, channels) = planes(x)?;
    if x.is_empty() {
        return Ok(vec![x.clone()]);
    }
    if groups == 0 || channels % groups != 0 {
        return Err(Fault::Invalid(format!("{channels} channels do not make {groups} groups")));
    }
    let members = channels / groups;
    numeric!(real x, T => {
        let parameters = |slot: usize| call.input(slot)?.to_f64s().ok_or_else(|| Fault::invalid("parameters are no numbers"));
        let (scale, bias) = (parameters(1)?, parameters(2)?);
        let expected = if per_group { groups } else { channels };
        if scale.len() != expected || bias.len() != expected {
            return Err(Fault::Invalid(format!("there are not {expected} scales and biases")));
        }
        let (_, mut items) = rows::<T>(x, 0)?;
        for (at, group) in items.chunks_exact_mut((plane * members).max(1)).enumerate() {
            let (mean, inverse) = moments(group, epsilon);
            for (index, x) in group.iter_mut().enumerate() {
                let channel = at % groups * members + index / plane;
                let p = if per_group { at % groups } else { channel };
                *x = (*x - mean) * inverse * scale[p] + bias[p];
            }
        }
        Ok(vec![numbers::<T>(x.dims(), items)?])
    })
}

pub(super) fn lp_norm(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let at = call.axis("axis", -1, x.dims().len())?;
    let p = call.int("p").unwrap_or(2);
    numeric!(real x, T => {
        let mut items = array::<T>(x)?.mapv(Number::to_f64);
        for mut lane in items.lanes_mut(Axis(at)) {
            let norm = match p {
                1 => lane.iter().map(|x| x.abs()).sum::<f64>(),
                2 => lane.iter().map(|x| x * x).sum::<f64>().sqrt(),
                _ => return Err(Fault::Invalid(format!("there is no norm of order {p}"))),
            };
            lane.mapv_inplace(|x| if norm == 0.0 { 0.0 } else { x / norm });
        }
        Ok(vec![numbers::<T>(x.dims(), flat(items))?])
    })
}

pub(super) fn mean_variance(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let named = call.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes = super::call::axes(named, x.dims().len())?;
    numeric!(real x, T => {
        let items = array::<T>(x)?.mapv(Number::to_f64);
        let mean_of = |items: &ArrayD<f64>| axes.iter().try_fold(items.clone(), |sum, &at| {
            Some(sum.mean_axis(Axis(at))?.insert_axis(Axis(at)))
        }).ok_or_else(|| Fault::invalid("there is nothing to normalize"));
        let centred = &items - &mean_of(&items)?;
        let deviation = mean_of(&centred.mapv(|x| x * x))?.mapv(f64::sqrt);
        let normal = centred / (deviation + 1e-9);
        Ok(vec![numbers::<T>(x.dims(), flat(normal))?])
    })
}

#[cfg(test)]
mod tests {
    use super::moments;

    #[test]
    fn moments_are_those_of_the_population() {
        assert_eq!(moments(&[1.0, 3.0], 0.0), (2.0, 1.0));
    }
}
