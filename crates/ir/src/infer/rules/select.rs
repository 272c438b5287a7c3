//! Operators that pick, fold, count or resample elements.

use super::dims::{map, product, range_count};
use super::one;
use crate::Dim;
use crate::infer::site::{Shape, Site};

pub(super) fn rule(site: &Site<'_>, op: &str, count: usize) -> Option<Vec<Shape>> {
    let shape = match op {
        "Gather" => gather(site)?,
        "GatherElements" => site.shape(1)?.to_vec(),
        "GatherND" => gather_nd(site)?,
        "OneHot" => one_hot(site)?,
        "TopK" => return Some(vec![Some(top_k(site)?); count]),
        "NonZero" => {
            let rank = site.rank(0).filter(|&rank| rank > 0);
            vec![rank.map_or(Dim::Unknown, Dim::from), Dim::Unknown]
        }
        "Range" => range(site),
        "Compress" if site.node().attribute("axis").is_none() => vec![Dim::Unknown],
        "Compress" => {
            let mut out = site.shape(0)?.to_vec();
            let axis = site.axis("axis", out.len())?;
            out[axis] = Dim::Unknown;
            out
        }
        "Unique" => return unique(site, count),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => {
            let size = site.small(0).and_then(|size| Some(size.items.first()?.as_dim()));
            vec![size.unwrap_or(Dim::Unknown)]
        }
        "NonMaxSuppression" => vec![Dim::Unknown, Dim::Known(3)],
        "Resize" | "Upsample" => resize(site)?,
        "RandomNormal" | "RandomUniform" => {
            site.ints("shape")?.into_iter().map(|dim| Dim::Known(dim.max(0))).collect()
        }
        "Multinomial" => {
            vec![site.shape(0)?.first()?.clone(), Dim::Known(site.int("sample_size")?)]
        }
        _ => return None,
    };
    Some(one(shape))
}

/// Reductions and `ArgMax`, `ArgMin`.
pub(super) fn reduce(site: &Site<'_>, op: &str) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let keep = site.int("keepdims") != Some(0);
    let axes = if op.starts_with("Arg") {
        vec![site.axis("axis", input.len())?]
    } else if !site.has("axes") || site.ints("axes").is_some_and(|axes| axes.is_empty()) {
        if site.flag("noop_with_empty_axes") {
            return Some(input.to_vec());
        }
        (0..input.len()).collect()
    } else {
        match site.axes("axes", input.len()) {
            Some(axes) => axes,
            None if keep => return Some(vec![Dim::Unknown; input.len()]),
            None => {
                let rank = input.len().checked_sub(site.vector_len(1)?)?;
                return Some(vec![Dim::Unknown; rank]);
            }
        }
    };
    let fold = |(axis, dim): (usize, &Dim)| match (axes.contains(&axis), keep) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(Dim::Known(1)),
        (true, false) => None,
    };
    Some(input.iter().enumerate().filter_map(fold).collect())
}

fn gather(site: &Site<'_>) -> Option<Vec<Dim>> {
    let (data, indices) = (site.shape(0)?, site.shape(1)?);
    let axis = site.axis("axis", data.len())?;
    let mut out = data[..axis].to_vec();
    out.extend_from_slice(indices);
    out.extend_from_slice(&data[axis + 1..]);
    Some(out)
}

fn gather_nd(site: &Site<'_>) -> Option<Vec<Dim>> {
    let (data, indices) = (site.shape(0)?, site.shape(1)?);
    let batch = usize::try_from(site.int("batch_dims").unwrap_or(0)).ok()?;
    let (last, outer) = indices.split_last()?;
    let inner = data.get(batch.checked_add(last.known()?)?..)?;
    Some(outer.iter().chain(inner).cloned().collect())
}

fn one_hot(site: &Site<'_>) -> Option<Vec<Dim>> {
    let mut out = site.shape(0)?.to_vec();
    let axis = site.axis("axis", out.len() + 1)?;
    let depth = site.small(1).and_then(|depth| Some(depth.items.first()?.as_dim()));
    out.insert(axis, depth.unwrap_or(Dim::Unknown));
    Some(out)
}

fn top_k(site: &Site<'_>) -> Option<Vec<Dim>> {
    let mut out = site.shape(0)?.to_vec();
    let axis = site.axis("axis", out.len())?;
    let given = || Some(site.small(1)?.items.first()?.as_dim());
    out[axis] = site.int("k").map(Dim::Known).or_else(given).unwrap_or(Dim::Unknown);
    Some(out)
}

fn range(site: &Site<'_>) -> Vec<Dim> {
    let scalar = |slot| Some(site.small(slot)?.items.first()?.clone());
    let count = || {
        let (start, limit, delta) = (scalar(0)?, scalar(1)?, scalar(2)?);
        if let (Some(0), Some(1)) = (start.as_int(), delta.as_int())
            && limit.as_int().is_none()
        {
            return Some(limit.as_dim());
        }
        range_count(&start, &limit, &delta).map(Dim::Known)
    };
    vec![count().unwrap_or(Dim::Unknown)]
}

fn unique(site: &Site<'_>, count: usize) -> Option<Vec<Shape>> {
    let first = if site.node().attribute("axis").is_some() {
        let mut out = site.shape(0)?.to_vec();
        let axis = site.axis("axis", out.len())?;
        out[axis] = Dim::Unknown;
        out
    } else {
        vec![Dim::Unknown]
    };
    let mut shapes = vec![Some(vec![Dim::Unknown]); count];
    *shapes.first_mut()? = Some(first);
    Some(shapes)
}

fn resize(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let axes = match site.ints("axes") {
        Some(_) => site.axes("axes", input.len())?,
        None => (0..input.len()).collect(),
    };
    let stretched =
        site.string("keep_aspect_ratio_policy").is_none_or(|policy| policy == "stretch");
    let sizes = site.view.input("sizes").and_then(|value| site.types.lengths(value));
    let scales = site.attribute("scales").and_then(|scales| Some(scales.as_floats()?.to_vec()));
    let mut out = vec![Dim::Unknown; input.len()];
    for (axis, dim) in out.iter_mut().enumerate() {
        let Some(at) = axes.iter().position(|&resized| resized == axis) else {
            *dim = input[axis].clone();
            continue;
        };
        if let Some(sizes) = sizes.as_ref().filter(|_| stretched) {
            *dim = sizes.get(at).cloned().unwrap_or(Dim::Unknown);
        } else if let Some(scale) = scales.as_ref().and_then(|scales| scales.get(at)) {
            *dim = if *scale == 1.0 {
                input[axis].clone()
            } else {
                // In float, as the runtimes compute it.
                map(&input[axis], |length| Some((length as f32 * scale).floor() as i64))
            };
        }
    }
    Some(out)
}

/// Rows of windows that slide over an image, for `Col2Im`: `[N, C, image…]`.
pub(super) fn col2im(site: &Site<'_>) -> Option<Vec<Dim>> {
    let [n, c, _] = site.shape(0)? else { return None };
    let lengths = |slot| site.input(slot).and_then(|value| site.types.lengths(value));
    let channels = match (c, lengths(2).map(|block| product(&block))) {
        (Dim::Known(c), Some(Dim::Known(block))) if block > 0 => Dim::Known(c / block),
        _ => Dim::Unknown,
    };
    let image = lengths(1).or_else(|| Some(vec![Dim::Unknown; site.vector_len(1)?]))?;
    let mut out = vec![n.clone(), channels];
    out.extend(image);
    Some(out)
}
