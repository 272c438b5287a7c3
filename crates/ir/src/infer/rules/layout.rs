//! Operators that change the shape and keep, join or part the elements.

use super::dims::{broadcast, either, map, product, ratio, shape_range, slice_of, sum};
use super::one;
use crate::Dim;
use crate::infer::site::{Shape, Site};
use crate::infer::small::Item;

pub(super) fn rule(site: &Site<'_>, op: &str, count: usize) -> Option<Vec<Shape>> {
    let shape = match op {
        "Reshape" => reshape(site)?,
        "Transpose" => transpose(site)?,
        "Squeeze" => squeeze(site)?,
        "Unsqueeze" => unsqueeze(site)?,
        "Flatten" => flatten(site)?,
        "Concat" => concat(site)?,
        "Split" => return split(site, count),
        "Slice" => slice(site)?,
        "Expand" => expand(site)?,
        "Tile" => tile(site)?,
        "Pad" => pad(site)?,
        "DepthToSpace" | "SpaceToDepth" => blocks(site, op)?,
        "Shape" => {
            let (start, end) = shape_range(site, site.rank(0)?);
            vec![Dim::from(end - start)]
        }
        "Size" => Vec::new(),
        "ConstantOfShape" => lengths(site, 0)?,
        "CenterCropPad" => crop(site)?,
        _ => return None,
    };
    Some(one(shape))
}

/// The shape that input `slot` holds: as far as known, or at least the rank.
fn lengths(site: &Site<'_>, slot: usize) -> Option<Vec<Dim>> {
    let known = site.input(slot).and_then(|value| site.types.lengths(value));
    known.or_else(|| Some(vec![Dim::Unknown; site.vector_len(slot)?]))
}

fn reshape(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0);
    let wanted: Vec<Item> = match (site.ints("shape"), site.input(1)) {
        (Some(ints), _) => ints.into_iter().map(Item::Int).collect(),
        (None, Some(_)) => match site.small(1) {
            Some(small) => small.items,
            None => vec![Item::Unknown; site.vector_len(1)?],
        },
        (None, None) => return None,
    };
    let copies = !site.flag("allowzero");
    let mut open = Vec::new();
    let mut out = Vec::with_capacity(wanted.len());
    for (axis, item) in wanted.iter().enumerate() {
        out.push(match item {
            Item::Int(0) if copies => {
                input.and_then(|input| input.get(axis)).cloned().unwrap_or(Dim::Unknown)
            }
            Item::Int(-1) | Item::Unknown => {
                open.push(axis);
                Dim::Unknown
            }
            item => item.as_dim(),
        });
    }
    // All elements stay, so one length that is not said follows from the others.
    if let ([axis], Some(input)) = (open.as_slice(), input) {
        let rest: Vec<Dim> = out
            .iter()
            .enumerate()
            .filter(|(at, _)| at != axis)
            .map(|(_, dim)| dim.clone())
            .collect();
        let copied = |at: usize| copies && wanted[at] == Item::Int(0);
        // An unknown length that is copied stands on both sides and cancels.
        let over: Vec<Dim> = (0..input.len())
            .filter(|&at| !(at < wanted.len() && copied(at)))
            .map(|at| input[at].clone())
            .collect();
        let under: Vec<Dim> = (0..out.len())
            .filter(|&at| at != *axis && !(copied(at) && at < input.len()))
            .map(|at| out[at].clone())
            .collect();
        out[*axis] = match ratio(&over, &under) {
            Dim::Unknown => ratio(input, &rest),
            found => found,
        };
    }
    Some(out)
}

fn transpose(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let perm = site.axes("perm", input.len())?;
    (perm.len() == input.len()).then(|| perm.iter().map(|&axis| input[axis].clone()).collect())
}

fn squeeze(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    if !site.has("axes") {
        let known: Option<Vec<usize>> = input.iter().map(Dim::known).collect();
        return Some(known?.into_iter().filter(|&dim| dim != 1).map(Dim::from).collect());
    }
    let Some(axes) = site.axes("axes", input.len()) else {
        return Some(vec![Dim::Unknown; input.len().checked_sub(site.vector_len(1)?)?]);
    };
    let kept = input.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    Some(kept.map(|(_, dim)| dim.clone()).collect())
}

fn unsqueeze(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let Some(axes) = site.ints("axes") else {
        return Some(vec![Dim::Unknown; input.len() + site.vector_len(1)?]);
    };
    let rank = input.len() + axes.len();
    let axes = site.axes("axes", rank)?;
    let mut rest = input.iter();
    let dim = |axis| {
        if axes.contains(&axis) { Some(Dim::Known(1)) } else { rest.next().cloned() }
    };
    (0..rank).map(dim).collect()
}

fn flatten(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let number = site.int("axis")?;
    let axis = if number < 0 { number.checked_add(input.len() as i64)? } else { number };
    let (rows, columns) = input.split_at_checked(usize::try_from(axis).ok()?)?;
    Some(vec![product(rows), product(columns)])
}

fn concat(site: &Site<'_>) -> Option<Vec<Dim>> {
    let rank = (0..site.inputs.len()).find_map(|slot| site.rank(slot))?;
    let axis = site.axis("axis", rank)?;
    let mut out = vec![Dim::Unknown; rank];
    let mut lengths = Vec::new();
    for slot in 0..site.inputs.len() {
        let Some(shape) = site.shape(slot).filter(|shape| shape.len() == rank) else {
            lengths.push(&Dim::Unknown);
            continue;
        };
        lengths.push(&shape[axis]);
        for (out, dim) in out.iter_mut().zip(shape) {
            *out = either(out, dim);
        }
    }
    out[axis] = sum(lengths);
    Some(out)
}

fn split(site: &Site<'_>, count: usize) -> Option<Vec<Shape>> {
    let input = site.shape(0)?;
    let axis = site.axis("axis", input.len())?;
    let lengths: Vec<Dim> = if site.has("split") {
        match site.ints("split") {
            Some(ints) => ints.into_iter().map(|int| Item::Int(int).as_dim()).collect(),
            None => vec![Dim::Unknown; count],
        }
    } else {
        let parts = site.int("num_outputs").unwrap_or(count as i64);
        let part = map(&input[axis], |length| length.checked_add(parts - 1)?.checked_div(parts));
        let last =
            map(&input[axis], |length| length.checked_sub(part.known()? as i64 * (parts - 1)));
        let mut lengths = vec![part; count.saturating_sub(1)];
        lengths.push(last);
        lengths
    };
    let part = |length| {
        let mut shape = input.to_vec();
        shape[axis] = length;
        Some(shape)
    };
    Some(lengths.into_iter().map(part).collect())
}

fn slice(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let unknown = || vec![Dim::Unknown; input.len()];
    let items = |name: &str, slot| -> Option<Vec<Item>> {
        match site.ints(name) {
            Some(ints) => Some(ints.into_iter().map(Item::Int).collect()),
            None => Some(site.small(slot)?.items),
        }
    };
    let Some(axes) = site.axes("axes", input.len()) else { return Some(unknown()) };
    let (starts, ends, steps) = (items("starts", 1), items("ends", 2), site.ints("steps"));
    let mut out = input.to_vec();
    for (at, &axis) in axes.iter().enumerate() {
        let item = |items: &Option<Vec<Item>>| {
            items.as_ref().and_then(|items| items.get(at).cloned()).unwrap_or(Item::Unknown)
        };
        let step = match &steps {
            Some(steps) => steps.get(at).copied(),
            None => None,
        };
        out[axis] = sliced(&input[axis], &item(&starts), &item(&ends), step);
    }
    Some(out)
}

fn sliced(length: &Dim, start: &Item, end: &Item, step: Option<i64>) -> Dim {
    // Exporters write "to the end" as one of these.
    const FAR: i64 = i32::MAX as i64;
    match (length, start, end, step) {
        (Dim::Known(_), Item::Int(start), Item::Int(end), Some(step)) => {
            let count = length.known().and_then(|length| slice_of(length, *start, *end, step));
            count.map_or(Dim::Unknown, |(_, count)| Dim::from(count))
        }
        (Dim::Symbol(_), Item::Int(0), Item::Int(end), Some(1)) if *end >= FAR => length.clone(),
        (Dim::Symbol(_), Item::Int(-1), Item::Int(end), Some(-1)) if *end < -FAR => length.clone(),
        (Dim::Symbol(name), Item::Int(0), Item::Symbol(end), Some(1)) if name == end => {
            length.clone()
        }
        (_, start, end, Some(_)) if start == end && *start != Item::Unknown => Dim::Known(0),
        _ => Dim::Unknown,
    }
}

fn expand(site: &Site<'_>) -> Option<Vec<Dim>> {
    let (input, wanted) = (site.shape(0)?, lengths(site, 1)?);
    Some(broadcast([input, &wanted]))
}

fn tile(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let Some(repeats) = lengths(site, 1).filter(|repeats| repeats.len() == input.len()) else {
        return Some(vec![Dim::Unknown; input.len()]);
    };
    Some(input.iter().zip(repeats).map(|(dim, times)| product(&[dim.clone(), times])).collect())
}

fn pad(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let all = || (0..input.len()).collect();
    let axes = if site.has("axes") { site.axes("axes", input.len()) } else { Some(all()) };
    let pads = match (site.ints("pads").or_else(|| site.ints("paddings")), site.small(1)) {
        (Some(pads), _) => Some(pads.into_iter().map(Item::Int).collect()),
        (None, small) => small.map(|small| small.items),
    };
    let (Some(axes), Some(pads)) = (axes, pads) else {
        return Some(vec![Dim::Unknown; input.len()]);
    };
    let mut out = input.to_vec();
    for (at, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads.get(at)?.as_int(), pads.get(at + axes.len())?.as_int());
        out[axis] = match (before, after) {
            (Some(0), Some(0)) => continue,
            (Some(before), Some(after)) => {
                map(&input[axis], |length| length.checked_add(before)?.checked_add(after))
            }
            _ => Dim::Unknown,
        };
    }
    Some(out)
}

fn blocks(site: &Site<'_>, op: &str) -> Option<Vec<Dim>> {
    let [n, c, h, w] = site.shape(0)? else { return None };
    let block = site.int("blocksize").filter(|&block| block > 0)?;
    let square = block.checked_mul(block)?;
    let times = |dim: &Dim, factor: i64| map(dim, |length| length.checked_mul(factor));
    let over = |dim: &Dim, factor: i64| {
        map(dim, |length| (length % factor == 0).then_some(length / factor))
    };
    Some(if op == "DepthToSpace" {
        vec![n.clone(), over(c, square), times(h, block), times(w, block)]
    } else {
        vec![n.clone(), times(c, square), over(h, block), over(w, block)]
    })
}

fn crop(site: &Site<'_>) -> Option<Vec<Dim>> {
    let input = site.shape(0)?;
    let wanted = lengths(site, 1)?;
    let axes = match site.ints("axes") {
        Some(_) => site.axes("axes", input.len())?,
        None => (0..input.len()).collect(),
    };
    let mut out = input.to_vec();
    for (axis, dim) in axes.into_iter().zip(wanted) {
        out[axis] = dim;
    }
    Some(out)
}
