//! Convolutions over any number of axes, in any grouping: straight from the definition, so slow.

use marquetry_ir::Tensor;
use ndarray::Dimension;

use super::Fault;
use super::call::{Call, Outputs, count, length};
use super::number::{Number, Real, numeric};
use super::window::Windows;
use crate::array::{elements, tensor};

/// Sums in `f64`, whatever the type: exact for integers of 8 bits, better than single precision.
fn convolve(
    call: &Call<'_>,
    x: (&[f64], &[usize]),
    w: (&[f64], &[usize]),
) -> Result<(Vec<usize>, Vec<f64>), Fault> {
    let ((x, x_dims), (w, w_dims)) = (x, w);
    let groups = length(call.int("group").unwrap_or(1))?;
    if x_dims.len() < 3 || x_dims.len() != w_dims.len() || groups == 0 {
        return Err(Fault::Invalid(format!("{w_dims:?} does not convolve {x_dims:?}")));
    }
    let (batch, channels, features, members) = (x_dims[0], x_dims[1], w_dims[0], w_dims[1]);
    if channels != members * groups || features % groups != 0 {
        return Err(Fault::Invalid(format!(
            "{w_dims:?} does not convolve {x_dims:?} in {groups} groups"
        )));
    }
    let windows = Windows::new(call, &x_dims[2..], &w_dims[2..])?;
    if windows.kernel != w_dims[2..] {
        return Err(Fault::invalid("`kernel_shape` is not that of the weights"));
    }
    let dims: Vec<usize> = [batch, features].iter().chain(&windows.output).copied().collect();
    let (plane, taps) =
        (windows.input.iter().product::<usize>(), windows.kernel.iter().product::<usize>());
    let (area, total) = (windows.output.iter().product::<usize>(), count(&dims)?);
    let mut output = vec![0.0; total];
    for (place, index) in ndarray::indices(&*windows.output).into_iter().enumerate() {
        let sources: Vec<(usize, usize)> = windows
            .elements(index.slice())
            .enumerate()
            .filter_map(|(tap, (source, _))| Some((tap, source?)))
            .collect();
        for n in 0..batch {
            for f in 0..features {
                let first = f / (features / groups) * members;
                let mut sum = 0.0;
                for c in 0..members {
                    let plane = &x[(n * channels + first + c) * plane..];
                    let taps = &w[(f * members + c) * taps..];
                    sum +=
                        sources.iter().map(|&(tap, source)| plane[source] * taps[tap]).sum::<f64>();
                }
                output[(n * features + f) * area + place] = sum;
            }
        }
    }
    Ok((dims, output))
}

pub(super) fn conv(call: &Call<'_>) -> Outputs {
    let (x, w) = (call.input(0)?, call.input(1)?);
    numeric!(real x, T => {
        let wide = |x: &Tensor| -> Vec<f64> { elements::<T>(x).iter().map(|x| x.to_f64()).collect() };
        if w.dtype() != x.dtype() {
            return Err(Fault::dtype(w));
        }
        let (dims, mut sums) = convolve(call, (&wide(x), x.dims()), (&wide(w), w.dims()))?;
        if let Some(bias) = call.optional(2) {
            let bias = bias.to_f64s().filter(|bias| bias.len() == dims[1]);
            let bias = bias.ok_or_else(|| Fault::invalid("there is not one bias for each feature"))?;
            let area: usize = dims[2..].iter().product();
            for (at, plane) in sums.chunks_mut(area.max(1)).enumerate() {
                plane.iter_mut().for_each(|x| *x += bias[at % bias.len()]);
            }
        }
        Ok(vec![tensor(dims, sums.into_iter().map(<T as Real>::of).collect())?])
    })
}

/// Products of 8-bit integers, summed in 32 bits; padding is the zero point, so it adds nothing.
pub(super) fn conv_integer(call: &Call<'_>) -> Outputs {
    let centred = |slot: usize, zero: usize| -> Result<Vec<f64>, Fault> {
        let x = call.input(slot)?;
        if x.dtype().bits() != Some(8) {
            return Err(Fault::dtype(x));
        }
        let (x_dims, elements) = (x.dims(), x.to_i64s().ok_or_else(|| Fault::dtype(x))?);
        let zeros = match call.optional(zero) {
            None => vec![0],
            Some(zero) => zero.to_i64s().ok_or_else(|| Fault::dtype(zero))?,
        };
        // One zero point, or for weights one for each feature, which is the first axis.
        let each =
            elements.len().checked_div(x_dims.first().copied().unwrap_or(1)).unwrap_or(1).max(1);
        let zero_of = |at: usize| match zeros.as_slice() {
            [zero] => Some(*zero),
            zeros => zeros.get(at / each).copied(),
        };
        let centred =
            elements.iter().enumerate().map(|(at, &q)| Some(q.wrapping_sub(zero_of(at)?) as f64));
        centred
            .collect::<Option<_>>()
            .ok_or_else(|| Fault::invalid("there is not one zero point for each feature"))
    };
    let (x, w) = (centred(0, 2)?, centred(1, 3)?);
    let (dims, sums) = convolve(call, (&x, call.input(0)?.dims()), (&w, call.input(1)?.dims()))?;
    Ok(vec![tensor(dims, sums.into_iter().map(|sum| sum as i32).collect::<Vec<_>>())?])
}
