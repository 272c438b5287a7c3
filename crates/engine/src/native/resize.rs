//! Resampling along any axes: nearest, linear, cubic, with every way to map coordinates.

use marquetry_ir::{AttributeValue, DType, Tensor};
use ndarray::{ArrayD, Axis, IxDyn};

use super::Fault;
use super::call::{Call, Outputs, axis, count, length};
use super::cast::cast;
use crate::array::{array, flat, tensor};

/// One axis that is resampled.
struct Line {
    axis: usize,
    input: usize,
    output: usize,
    scale: f64,
    /// The part of the axis that is taken, as fractions.
    roi: (f64, f64),
}

/// The elements of the input that make one of the output, with their weights; nothing outside of it.
type Taps = Option<Vec<(usize, f64)>>;

pub(super) fn resize(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let lines = lines(call, x)?;
    let outside = call.float("extrapolation_value", 0.0);
    let mut dims = x.dims().to_vec();
    lines.iter().for_each(|line| dims[line.axis] = line.output);
    count(&dims)?;
    if x.dtype() == DType::Int64 || x.dtype() == DType::Uint64 {
        return Err(Fault::dtype(x));
    }
    let mut current = array::<f64>(&cast(x, DType::Double)?)?.into_owned();
    let mut missing: Vec<(usize, usize)> = Vec::new();
    for line in &lines {
        if line.input == 0 {
            return Err(Fault::invalid("there is nothing to resample"));
        }
        let mut shape = current.shape().to_vec();
        shape[line.axis] = line.output;
        let mut next = ArrayD::<f64>::zeros(IxDyn(&shape));
        for at in 0..line.output {
            let Some(taps) = line.taps(call, at as f64)? else {
                missing.push((line.axis, at));
                continue;
            };
            let mut slice = next.index_axis_mut(Axis(line.axis), at);
            for (from, weight) in taps {
                slice.scaled_add(weight, &current.index_axis(Axis(line.axis), from));
            }
        }
        current = next;
    }
    for (axis, at) in missing {
        current.index_axis_mut(Axis(axis), at).fill(outside);
    }
    if !x.dtype().is_float() {
        current.mapv_inplace(f64::round_ties_even);
    }
    Ok(vec![cast(&tensor(dims, flat(current))?, x.dtype())?])
}

/// The axes that are resampled, with lengths and scales: from scales or from sizes.
fn lines(call: &Call<'_>, x: &Tensor) -> Result<Vec<Line>, Fault> {
    let rank = x.dims().len();
    let axes = match call.ints("axes") {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    // Upsample and the first Resize have scales right after the input, or as an attribute.
    let early = call.op() == "Upsample" || call.opset() < 11;
    let numbers =
        |slot: usize| call.optional(slot).filter(|x| !x.is_empty()).and_then(Tensor::to_f64s);
    let scales = match call.attribute("scales").and_then(AttributeValue::as_floats) {
        Some(scales) => Some(scales.iter().map(|&scale| scale.into()).collect()),
        None => numbers(if early { 1 } else { 2 }),
    };
    let sizes = if early { None } else { numbers(3) };
    let roi = if early { None } else { numbers(1) };
    let along = |given: &Vec<f64>| {
        let fits = given.len() == axes.len();
        if fits {
            Ok(())
        } else {
            Err(Fault::Invalid(format!("{} numbers for {} axes", given.len(), axes.len())))
        }
    };
    let (scales, sizes): (Vec<f64>, Option<Vec<f64>>) = match (scales, sizes) {
        (_, Some(sizes)) => {
            along(&sizes)?;
            let ratios = axes.iter().zip(&sizes).map(|(&at, size)| size / x.dims()[at] as f64);
            let ratios: Vec<f64> = ratios.collect();
            let policy = match call.str("keep_aspect_ratio_policy", "stretch") {
                "not_larger" => ratios.iter().copied().reduce(f64::min),
                "not_smaller" => ratios.iter().copied().reduce(f64::max),
                _ => None,
            };
            match policy {
                Some(scale) => {
                    let kept =
                        axes.iter().map(|&at| (scale * x.dims()[at] as f64).round()).collect();
                    (vec![scale; axes.len()], Some(kept))
                }
                None => (ratios, Some(sizes)),
            }
        }
        (Some(scales), None) => {
            along(&scales)?;
            (scales, None)
        }
        (None, None) => return Err(Fault::invalid("there are neither scales nor sizes")),
    };
    let lines = axes.iter().enumerate().map(|(at, &axis)| {
        let (input, scale) = (x.dims()[axis], scales[at]);
        let output =
            sizes.as_ref().map_or_else(|| (input as f64 * scale).floor(), |sizes| sizes[at]);
        if !(0.0..1e12).contains(&output) || (scale <= 0.0 && output > 0.0) {
            return Err(Fault::Invalid(format!("a scale of {scale} makes no length")));
        }
        let roi = roi.as_ref().and_then(|roi| Some((*roi.get(at)?, *roi.get(at + axes.len())?)));
        Ok(Line {
            axis,
            input,
            output: length(output as i64)?,
            scale,
            roi: roi.unwrap_or((0.0, 1.0)),
        })
    });
    // What keeps its length and place costs nothing to leave alone.
    let moves = |line: &Line| {
        line.output != line.input
            || line.scale != 1.0
            || call.str("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    };
    Ok(lines.collect::<Result<Vec<_>, _>>()?.into_iter().filter(moves).collect())
}

impl Line {
    /// Where an element of the output lies in the input; nothing where that is not part of it.
    fn source(&self, call: &Call<'_>, at: f64) -> Result<Option<f64>, Fault> {
        let early = call.op() == "Upsample" || call.opset() < 11;
        let default = if early { "asymmetric" } else { "half_pixel" };
        let (input, output) = (self.input as f64, self.scale * self.input as f64);
        let half_pixel = (at + 0.5) / self.scale - 0.5;
        Ok(Some(match call.str("coordinate_transformation_mode", default) {
            "half_pixel" => half_pixel,
            "half_pixel_symmetric" => {
                let adjustment = self.output as f64 / output;
                input / 2.0 * (1.0 - adjustment) + half_pixel
            }
            "pytorch_half_pixel" if self.output == 1 => 0.0,
            "pytorch_half_pixel" => half_pixel,
            "align_corners" if output == 1.0 => 0.0,
            "align_corners" => at * (input - 1.0) / (output - 1.0),
            "asymmetric" => at / self.scale,
            "tf_crop_and_resize" => {
                let (start, end) = self.roi;
                let at = if self.output == 1 {
                    0.5 * (start + end) * (input - 1.0)
                } else {
                    (start + at * (end - start) / (self.output as f64 - 1.0)) * (input - 1.0)
                };
                return Ok((0.0..=input - 1.0).contains(&at).then_some(at));
            }
            other => {
                return Err(Fault::Invalid(format!(
                    "no mapping of coordinates is called `{other}`"
                )));
            }
        }))
    }

    fn taps(&self, call: &Call<'_>, at: f64) -> Result<Taps, Fault> {
        let Some(x) = self.source(call, at)? else { return Ok(None) };
        let last = self.input as i64 - 1;
        let clamped = |at: f64| (at as i64).clamp(0, last) as usize;
        let early = call.op() == "Upsample" || call.opset() < 11;
        let a = call.float("cubic_coeff_a", -0.75);
        let kernel = |x: f64, cubic: bool| {
            let x = x.abs();
            match cubic {
                false => (1.0 - x).max(0.0),
                true if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
                true if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
                true => 0.0,
            }
        };
        let cubic = match call.str("mode", "nearest") {
            "nearest" => {
                let default = if early { "early" } else { "round_prefer_floor" };
                let at = match call.str("nearest_mode", default) {
                    "round_prefer_floor" => (x - 0.5).ceil(),
                    "round_prefer_ceil" => (x + 0.5).floor(),
                    "floor" => x.floor(),
                    "ceil" => x.ceil(),
                    "early" if self.scale < 1.0 => x.ceil(),
                    "early" => x.floor(),
                    other => {
                        return Err(Fault::Invalid(format!("no rounding is called `{other}`")));
                    }
                };
                return Ok(Some(vec![(clamped(at), 1.0)]));
            }
            "linear" | "bilinear" => false,
            "cubic" => true,
            other => return Err(Fault::Invalid(format!("no mode is called `{other}`"))),
        };
        // A smaller image is filtered with a kernel as wide as its elements are, if asked for.
        let stretch = if call.flag("antialias", false) { self.scale.min(1.0) } else { 1.0 };
        let reach = if cubic { 2.0 } else { 1.0 } / stretch;
        let exclude = call.flag("exclude_outside", false);
        let (mut taps, mut from) = (Vec::new(), (x - reach).ceil());
        while from <= x + reach {
            let inside = (0.0..=last as f64).contains(&from);
            if inside || !exclude {
                taps.push((clamped(from), kernel(stretch * (from - x), cubic)));
            }
            from += 1.0;
        }
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Ok(Some(taps))
    }
}
