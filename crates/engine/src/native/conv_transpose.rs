//! Transposed convolutions over any number of axes, in any grouping: straight from the definition, so
//! slow. Every element of the input adds the kernel, times itself, to a window of the output.

use marquetry_ir::Tensor;
use ndarray::Dimension;

use super::Fault;
use super::call::{Call, Outputs, count, length};
use super::number::{Number, Real, numeric};
use crate::array::{elements, tensor};

/// Where the windows lie, by spatial axis.
struct Windows {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// What is cut off before the first element of the output.
    before: Vec<usize>,
    output: Vec<usize>,
}

impl Windows {
    fn new(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, Fault> {
        let axes = input.len();
        let lengths = |name: &str, count: usize, default: usize| -> Result<Vec<usize>, Fault> {
            let Some(ints) = call.ints(name) else { return Ok(vec![default; count]) };
            let found = ints.iter().map(|&int| length(int)).collect::<Result<Vec<_>, _>>()?;
            if found.len() != count || found.iter().any(|&length| length > 1 << 24) {
                return Err(Fault::Invalid(format!("`{name}` has not {count} fitting elements")));
            }
            Ok(found)
        };
        let (strides, dilations) = (lengths("strides", axes, 1)?, lengths("dilations", axes, 1)?);
        if call.ints("kernel_shape").is_some() && lengths("kernel_shape", axes, 1)? != kernel {
            return Err(Fault::invalid("`kernel_shape` is not that of the weights"));
        }
        if strides.iter().chain(&dilations).chain(kernel).any(|&length| length == 0) {
            return Err(Fault::invalid("the window has no size that makes sense"));
        }
        let extra = lengths("output_padding", axes, 0)?;
        let mut pads = lengths("pads", 2 * axes, 0)?;
        let auto = call.str("auto_pad", "NOTSET");
        let whole: Vec<usize> = (0..axes)
            .map(|at| {
                let steps = strides[at] * input[at].saturating_sub(1);
                steps + extra[at] + (kernel[at] - 1) * dilations[at] + 1
            })
            .collect();
        let asked = match (call.ints("output_shape"), auto) {
            (Some(_), _) => Some(lengths("output_shape", axes, 1)?),
            (None, "SAME_UPPER" | "SAME_LOWER") => {
                Some(input.iter().zip(&strides).map(|(input, stride)| input * stride).collect())
            }
            (None, _) => None,
        };
        if auto == "VALID" {
            pads.fill(0);
        }
        if let Some(asked) = &asked {
            for at in 0..axes {
                let all = whole[at].saturating_sub(asked[at]);
                let before = if auto == "SAME_UPPER" { all / 2 } else { all - all / 2 };
                (pads[at], pads[axes + at]) = (before, all - before);
            }
        }
        let output = match asked {
            Some(asked) => asked,
            None => (0..axes)
                .map(|at| whole[at].checked_sub(pads[at] + pads[axes + at]))
                .collect::<Option<_>>()
                .ok_or_else(|| Fault::invalid("the padding leaves nothing"))?,
        };
        pads.truncate(axes);
        Ok(Self { kernel: kernel.to_vec(), strides, dilations, before: pads, output })
    }

    /// Where the element at `index` adds what the kernel has at `tap`.
    fn target(&self, index: &[usize], tap: &[usize]) -> Option<usize> {
        let mut flat = 0;
        for at in 0..index.len() {
            let place = index[at] * self.strides[at] + tap[at] * self.dilations[at];
            let place = place.checked_sub(self.before[at]).filter(|to| *to < self.output[at])?;
            flat = flat * self.output[at] + place;
        }
        Some(flat)
    }
}

pub(super) fn conv_transpose(call: &Call<'_>) -> Outputs {
    let (x, w) = (call.input(0)?, call.input(1)?);
    let (dims, taps) = (x.dims(), w.dims());
    let groups = length(call.int("group").unwrap_or(1))?;
    let fits = dims.len() >= 3
        && dims.len() == taps.len()
        && dims[1] == taps[0]
        && groups > 0
        && dims[1].is_multiple_of(groups);
    if !fits {
        return Err(Fault::Invalid(format!("{taps:?} does not convolve {dims:?}")));
    }
    let windows = Windows::new(call, &dims[2..], &taps[2..])?;
    let (batch, channels, members) = (dims[0], dims[1], taps[1]);
    let shape: Vec<usize> =
        [batch, members * groups].iter().chain(&windows.output).copied().collect();
    numeric!(real x, T => {
        let wide = |x: &Tensor| -> Vec<f64> { elements::<T>(x).iter().map(|x| x.to_f64()).collect() };
        if w.dtype() != x.dtype() {
            return Err(Fault::dtype(w));
        }
        let (x, w) = (wide(x), wide(w));
        let mut sums = vec![0.0; count(&shape)?];
        let plane: usize = dims[2..].iter().product();
        let area: usize = windows.output.iter().product();
        let size: usize = windows.kernel.iter().product();
        for (place, index) in ndarray::indices(&dims[2..]).into_iter().enumerate() {
            for (tap, offset) in ndarray::indices(&*windows.kernel).into_iter().enumerate() {
                let Some(target) = windows.target(index.slice(), offset.slice()) else { continue };
                for n in 0..batch {
                    for c in 0..channels {
                        let value = x[(n * channels + c) * plane + place];
                        let first = c / (channels / groups) * members;
                        for m in 0..members {
                            let to = (n * members * groups + first + m) * area + target;
                            sums[to] += value * w[(c * members + m) * size + tap];
                        }
                    }
                }
            }
        }
        if let Some(bias) = call.optional(2) {
            let bias = bias.to_f64s().filter(|bias| bias.len() == members * groups);
            let bias = bias.ok_or_else(|| Fault::invalid("there is not one bias for each feature"))?;
            for (at, plane) in sums.chunks_mut(area.max(1)).enumerate() {
                plane.iter_mut().for_each(|x| *x += bias[at % bias.len()]);
            }
        }
        Ok(vec![tensor(shape, sums.into_iter().map(<T as Real>::of).collect())?])
    })
}
