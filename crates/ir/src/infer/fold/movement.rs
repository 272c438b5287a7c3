//! Picking, joining, repeating and folding the elements of small tensors.

use crate::infer::content::Content;
use crate::infer::site::{Shape, Site, axis};
use crate::infer::small::{Item, LIMIT, Small, indices};
use crate::{DType, Dim};

/// The result of an operator that moves elements, if its inputs are known well enough.
pub(super) fn compute(site: &Site<'_>, op: &str, shapes: &[Shape]) -> Option<Small> {
    match op {
        "Gather" => gather(site),
        "Slice" => slice(site),
        "Concat" => concat(site),
        "Range" => range(site),
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => site.small(0)?.reshape(out(shapes)?),
        "Expand" => site.small(0)?.broadcast(&out(shapes)?),
        "Transpose" => {
            let x = site.small(0)?;
            let perm = site.axes("perm", x.dims.len())?;
            x.pick(out(shapes)?, |index| {
                let mut from = vec![0; index.len()];
                for (to, &axis) in perm.iter().enumerate() {
                    from[axis] = *index.get(to)?;
                }
                Some(from)
            })
        }
        "Tile" => {
            let x = site.small(0)?;
            x.pick(out(shapes)?, |index| {
                index.iter().zip(&x.dims).map(|(at, dim)| at.checked_rem(*dim)).collect()
            })
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => reduce(site, op),
        "NonZero" => nonzero(&site.small(0)?),
        _ => None,
    }
}

/// The parts of a small tensor.
pub(super) fn split(site: &Site<'_>, shapes: &[Shape]) -> Vec<Option<Content>> {
    let parts = || -> Option<Vec<Option<Content>>> {
        let x = site.small(0)?;
        let axis = site.axis("axis", x.dims.len())?;
        let mut start = 0;
        let part = |shape: &Shape| {
            let dims: Vec<usize> = shape.as_ref()?.iter().map(Dim::known).collect::<Option<_>>()?;
            let first = start;
            start += dims.get(axis)?;
            let part = x.pick(dims, |index| {
                let mut from = index.to_vec();
                from[axis] += first;
                Some(from)
            });
            Some(Content::new(false, part?))
        };
        Some(shapes.iter().map(part).collect())
    };
    parts().unwrap_or_default()
}

fn out(shapes: &[Shape]) -> Option<Vec<usize>> {
    shapes.first()?.as_ref()?.iter().map(Dim::known).collect()
}

fn gather(site: &Site<'_>) -> Option<Small> {
    let (x, at) = (site.small(0)?, site.small(1)?);
    let axis = site.axis("axis", x.dims.len())?;
    let mut dims = x.dims[..axis].to_vec();
    dims.extend(&at.dims);
    dims.extend(&x.dims[axis + 1..]);
    let last = axis + at.dims.len();
    x.pick(dims, |index| {
        let number = at.at(&index[axis..last])?.as_int()?;
        let mut from = index[..axis].to_vec();
        from.push(self::axis(number, x.dims[axis])?);
        from.extend(&index[last..]);
        Some(from)
    })
}

fn slice(site: &Site<'_>) -> Option<Small> {
    let x = site.small(0)?;
    let (starts, ends) = (site.ints("starts")?, site.ints("ends")?);
    let (axes, steps) = (site.axes("axes", x.dims.len())?, site.ints("steps")?);
    let mut from: Vec<(i64, i64)> = vec![(0, 1); x.dims.len()];
    let mut dims = x.dims.clone();
    for (at, &axis) in axes.iter().enumerate() {
        let step = *steps.get(at)?;
        let (start, count) = crate::infer::rules::slice_of(
            *dims.get(axis)?,
            *starts.get(at)?,
            *ends.get(at)?,
            step,
        )?;
        from[axis] = (start, step);
        dims[axis] = count;
    }
    x.pick(dims, |index| {
        let place = |(&at, &(start, step)): (&usize, &(i64, i64))| {
            usize::try_from(step.checked_mul(i64::try_from(at).ok()?)?.checked_add(start)?).ok()
        };
        index.iter().zip(&from).map(place).collect()
    })
}

fn concat(site: &Site<'_>) -> Option<Small> {
    let unknown = |slot: usize| {
        // A part of known length keeps its place, so that the others stay known.
        let tensor = site.tensor(slot)?;
        let dims = tensor.known_shape()?;
        let count = crate::infer::small::count(&dims)?;
        Small::new(tensor.dtype?, dims, vec![Item::Unknown; count])
    };
    let parts: Option<Vec<Small>> =
        (0..site.inputs.len()).map(|slot| site.small(slot).or_else(|| unknown(slot))).collect();
    let parts = parts?;
    let first = parts.first()?;
    if !(first.dtype.is_integer() && first.dims.len() == 1)
        && parts.iter().any(|part| part.items.contains(&Item::Unknown))
    {
        return None;
    }
    let axis = site.axis("axis", first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for part in &parts {
        dims[axis] = dims[axis].checked_add(*part.dims.get(axis)?)?;
    }
    let mut items = Vec::new();
    if crate::infer::small::count(&dims)? > LIMIT {
        return None;
    }
    for index in indices(&dims) {
        let mut at = index.clone();
        let mut part = parts.iter();
        let item = loop {
            let part = part.next()?;
            if at[axis] < part.dims[axis] {
                break part.at(&at)?.clone();
            }
            at[axis] -= part.dims[axis];
        };
        items.push(item);
    }
    Small::new(first.dtype, dims, items)
}

fn range(site: &Site<'_>) -> Option<Small> {
    let scalar = |slot| Some(site.small(slot)?.items.first()?.clone());
    let (start, limit, delta) = (scalar(0)?, scalar(1)?, scalar(2)?);
    let count = crate::infer::rules::range_count(&start, &limit, &delta)?;
    let count = usize::try_from(count).ok().filter(|&count| count <= LIMIT)?;
    let items = (0..count as u32).map(|step| match (&start, &delta) {
        (Item::Int(start), Item::Int(delta)) => {
            let offset = delta.checked_mul(step.into());
            offset.and_then(|offset| start.checked_add(offset)).map_or(Item::Unknown, Item::Int)
        }
        _ => match (start.as_real(), delta.as_real()) {
            (Some(start), Some(delta)) => Item::Real(start + delta * f64::from(step)),
            _ => Item::Unknown,
        },
    });
    let dtype = site.dtype(0)?;
    let items = items.map(|item| item.rounded(dtype)).collect();
    Small::new(dtype, vec![count], items)
}

/// Folds all elements of an integer tensor, or those along the axes.
fn reduce(site: &Site<'_>, op: &str) -> Option<Small> {
    let x = site.small(0)?;
    let ints = x.ints()?;
    let all = x.dims.len() <= 1 || !site.has("axes");
    if !all || site.flag("noop_with_empty_axes") {
        return None;
    }
    let folded = match op {
        "ReduceProd" => ints.iter().try_fold(1_i64, |product, &int| product.checked_mul(int)),
        "ReduceSum" => ints.iter().try_fold(0_i64, |sum, &int| sum.checked_add(int)),
        "ReduceMax" => ints.iter().copied().max(),
        _ => ints.iter().copied().min(),
    };
    let keep = site.int("keepdims") != Some(0);
    let dims = if keep { vec![1; x.dims.len()] } else { Vec::new() };
    Small::new(x.dtype, dims, vec![Item::Int(folded?)])
}

fn nonzero(x: &Small) -> Option<Small> {
    let rank = x.dims.len();
    if rank == 0 {
        return None;
    }
    let mut found = Vec::new();
    for (index, item) in indices(&x.dims).zip(&x.items) {
        if item.as_real()? != 0.0 {
            found.push(index);
        }
    }
    let mut items = Vec::with_capacity(rank * found.len());
    for axis in 0..rank {
        items.extend(found.iter().map(|index| Item::Int(index[axis] as i64)));
    }
    Small::new(DType::Int64, vec![rank, found.len()], items)
}
