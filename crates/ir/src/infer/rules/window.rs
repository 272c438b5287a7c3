//! Operators with windows that slide over the spatial axes: convolutions and pools.

use super::dims::map;
use super::{one, select};
use crate::Dim;
use crate::infer::site::{Shape, Site};

pub(super) fn rule(site: &Site<'_>, op: &str, count: usize) -> Option<Vec<Shape>> {
    let shape = match op {
        "Conv" | "ConvInteger" | "com.microsoft/FusedConv" | "DeformConv" => conv(site, 1)?,
        "QLinearConv" => conv(site, 3)?,
        "ConvTranspose" => transposed(site)?,
        "MaxPool" | "AveragePool" | "LpPool" => {
            let input = site.shape(0)?;
            let kernel = site.ints("kernel_shape")?.into_iter().map(Dim::Known).collect::<Vec<_>>();
            let mut out = input.get(..2)?.to_vec();
            out.extend(windows(site, input.get(2..)?, &kernel)?);
            return Some(vec![Some(out); count]);
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let mut out = site.shape(0)?.to_vec();
            out.iter_mut().skip(2).for_each(|dim| *dim = Dim::Known(1));
            out
        }
        "RoiAlign" => {
            let channels = site.shape(0).and_then(|shape| shape.get(1)).cloned();
            let rois = site.shape(1).and_then(|shape| shape.first()).cloned();
            vec![
                rois.unwrap_or(Dim::Unknown),
                channels.unwrap_or(Dim::Unknown),
                Dim::Known(site.int("output_height")?),
                Dim::Known(site.int("output_width")?),
            ]
        }
        "MaxRoiPool" => {
            let mut out = vec![site.shape(1)?.first()?.clone(), site.shape(0)?.get(1)?.clone()];
            out.extend(site.ints("pooled_shape")?.into_iter().map(Dim::Known));
            out
        }
        "MaxUnpool" => unpool(site)?,
        "Col2Im" => select::col2im(site)?,
        "GridSample" => {
            let (input, grid) = (site.shape(0)?, site.shape(1)?);
            let spatial = grid.get(1..grid.len().checked_sub(1)?)?;
            input.get(..2)?.iter().chain(spatial).cloned().collect()
        }
        _ => return None,
    };
    Some(one(shape))
}

fn conv(site: &Site<'_>, weight_slot: usize) -> Option<Vec<Dim>> {
    let weight = site.shape(weight_slot);
    let rank = site.rank(0).or_else(|| Some(weight?.len()))?;
    let kernel: Vec<Dim> = match (site.ints("kernel_shape"), weight) {
        (Some(kernel), _) => kernel.into_iter().map(Dim::Known).collect(),
        (None, Some(weight)) => weight.get(2..)?.to_vec(),
        (None, None) => vec![Dim::Unknown; rank.checked_sub(2)?],
    };
    let nothing = vec![Dim::Unknown; rank];
    let input = site.shape(0).unwrap_or(&nothing);
    let channels = weight.and_then(|weight| weight.first()).cloned().unwrap_or(Dim::Unknown);
    let mut out = vec![input.first()?.clone(), channels];
    out.extend(windows(site, input.get(2..)?, &kernel)?);
    Some(out)
}

/// Number of windows along each spatial axis.
fn windows(site: &Site<'_>, spatial: &[Dim], kernel: &[Dim]) -> Option<Vec<Dim>> {
    let axes = spatial.len();
    let list = |name: &str, each: i64, count: usize| match site.node().attribute(name) {
        Some(_) => site.ints(name).filter(|ints| ints.len() == count),
        None => Some(vec![each; count]),
    };
    let (strides, dilations) = (list("strides", 1, axes)?, list("dilations", 1, axes)?);
    let pads = list("pads", 0, axes * 2)?;
    let mode = site.string("auto_pad").unwrap_or_default();
    let up = site.flag("ceil_mode");
    let window = |axis: usize| {
        let (stride, dilation) = (strides[axis], dilations[axis]);
        if stride <= 0 {
            return Dim::Unknown;
        }
        if mode.starts_with("SAME") {
            return match &spatial[axis] {
                dim if stride == 1 => dim.clone(),
                dim => map(dim, |length| Some(length.checked_add(stride - 1)? / stride)),
            };
        }
        let (before, after) =
            if mode == "VALID" { (0, 0) } else { (pads[axis], pads[axes + axis]) };
        let Some(Dim::Known(taps)) = kernel.get(axis) else { return Dim::Unknown };
        let Some(reach) = taps.checked_sub(1).and_then(|taps| taps.checked_mul(dilation)) else {
            return Dim::Unknown;
        };
        if stride == 1 && before.checked_add(after) == Some(reach) {
            return spatial[axis].clone();
        }
        map(&spatial[axis], |length| {
            let padded = length.checked_add(before)?.checked_add(after)?;
            let span = padded.checked_sub(reach)?.checked_sub(1)?;
            if span < 0 {
                return None;
            }
            let count = if up { span.checked_add(stride - 1)? / stride } else { span / stride } + 1;
            // A window must not begin in the padding behind the data.
            let late = up && (count - 1).checked_mul(stride)? >= length.checked_add(before)?;
            Some(count - i64::from(late))
        })
    };
    Some((0..axes).map(window).collect())
}

fn transposed(site: &Site<'_>) -> Option<Vec<Dim>> {
    let (input, weight) = (site.shape(0)?, site.shape(1)?);
    let spatial = input.get(2..)?;
    let axes = spatial.len();
    let group = site.int("group").unwrap_or(1);
    let channels = map(weight.get(1)?, |channels| channels.checked_mul(group));
    let mut out = vec![input.first()?.clone(), channels];
    if let Some(shape) = site.ints("output_shape") {
        let skip = shape.len().checked_sub(axes)?;
        out.extend(shape[skip..].iter().map(|&length| Dim::Known(length)));
        return Some(out);
    }
    let list = |name: &str, each: i64, count: usize| match site.node().attribute(name) {
        Some(_) => site.ints(name).filter(|ints| ints.len() == count),
        None => Some(vec![each; count]),
    };
    let (strides, dilations) = (list("strides", 1, axes)?, list("dilations", 1, axes)?);
    let (pads, extra) = (list("pads", 0, axes * 2)?, list("output_padding", 0, axes)?);
    let mode = site.string("auto_pad").unwrap_or_default();
    for axis in 0..axes {
        let taps = match site.ints("kernel_shape") {
            Some(kernel) => kernel.get(axis).copied(),
            None => weight.get(axis + 2)?.known().map(|taps| taps as i64),
        };
        let Some(taps) = taps else {
            out.push(Dim::Unknown);
            continue;
        };
        out.push(map(&spatial[axis], |length| {
            let stretched = strides[axis].checked_mul(length)?;
            if mode.starts_with("SAME") {
                return Some(stretched);
            }
            let reach = taps.checked_sub(1)?.checked_mul(dilations[axis])?.checked_add(1)?;
            let whole = stretched.checked_sub(strides[axis])?.checked_add(reach)?;
            let cut =
                if mode == "VALID" { 0 } else { pads[axis].checked_add(pads[axes + axis])? };
            whole.checked_add(extra[axis])?.checked_sub(cut)
        }));
    }
    Some(out)
}

fn unpool(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    if let Some(value) = site.input(2) {
        return site.types.lengths(value).or(Some(vec![Dim::Unknown; input.len()]));
    }
    let axes = input.len().checked_sub(2)?;
    let kernel = site.ints("kernel_shape").filter(|kernel| kernel.len() == axes)?;
    let strides = site.ints("strides").unwrap_or_else(|| vec![1; axes]);
    let pads = site.ints("pads").unwrap_or_else(|| vec![0; axes * 2]);
    let mut out = input[..2].to_vec();
    for axis in 0..axes {
        out.push(map(&input[axis + 2], |length| {
            let span = length.checked_sub(1)?.checked_mul(*strides.get(axis)?)?;
            let cut = pads.get(axis)?.checked_add(*pads.get(axis + axes)?)?;
            span.checked_add(kernel[axis])?.checked_sub(cut)
        }));
    }
    Some(out)
}
