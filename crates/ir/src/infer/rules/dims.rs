//! Calculation with lengths of axes that may be names.

use std::sync::Arc;

use crate::Dim;
use crate::infer::site::Site;
use crate::infer::small::Item;

/// The length that two axes broadcast to.
pub(super) fn broadcast_dim(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Known(1), other) | (other, Dim::Known(1)) => other.clone(),
        (Dim::Known(length), _) | (_, Dim::Known(length)) => Dim::Known(*length),
        (a, b) if a == b => a.clone(),
        _ => Dim::Unknown,
    }
}

/// The shape that shapes broadcast to.
pub(super) fn broadcast<'a>(shapes: impl IntoIterator<Item = &'a [Dim]>) -> Vec<Dim> {
    let mut out: Vec<Dim> = Vec::new();
    for shape in shapes {
        if shape.len() > out.len() {
            out.splice(0..0, vec![Dim::Known(1); shape.len() - out.len()]);
        }
        let skip = out.len() - shape.len();
        for (longest, dim) in out[skip..].iter_mut().zip(shape) {
            *longest = broadcast_dim(longest, dim);
        }
    }
    out
}

/// What is known of an axis that two values say something about.
pub(super) fn either(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Known(_), _) | (_, Dim::Unknown) => a.clone(),
        (_, Dim::Known(_)) | (Dim::Unknown, _) => b.clone(),
        _ => a.clone(),
    }
}

/// What holds for both of two shapes.
pub(in crate::infer) fn join(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let join = |(a, b): (&Dim, &Dim)| if a == b { a.clone() } else { Dim::Unknown };
    (a.len() == b.len()).then(|| a.iter().zip(b).map(join).collect())
}

/// The product of lengths: a number, or a name where it stands alone.
pub(in crate::infer) fn product(dims: &[Dim]) -> Dim {
    ratio(dims, &[])
}

/// The product of `over` divided by the product of `under`, names cancelled.
pub(super) fn ratio(over: &[Dim], under: &[Dim]) -> Dim {
    let mut names: Vec<&Arc<str>> = Vec::new();
    let mut number = 1_i64;
    let mut unknown = false;
    for dim in over {
        match dim {
            Dim::Known(length) => match number.checked_mul(*length) {
                Some(product) => number = product,
                None => return Dim::Unknown,
            },
            Dim::Symbol(name) => names.push(name),
            Dim::Unknown => unknown = true,
        }
    }
    // A name may stand for zero: a length of zero decides the product only where nothing is divided.
    if under.is_empty() && number == 0 {
        return Dim::Known(0);
    }
    let mut divisor = 1_i64;
    for dim in under {
        match dim {
            Dim::Known(length) => match divisor.checked_mul(*length) {
                Some(product) => divisor = product,
                None => return Dim::Unknown,
            },
            Dim::Symbol(name) => match names.iter().position(|known| *known == name) {
                Some(at) => {
                    names.swap_remove(at);
                }
                None => unknown = true,
            },
            Dim::Unknown => unknown = true,
        }
    }
    if unknown || number.checked_rem(divisor) != Some(0) {
        return Dim::Unknown;
    }
    match (names.as_slice(), number / divisor) {
        ([], length) => Dim::Known(length),
        ([name], 1) => Dim::Symbol(Arc::clone(name)),
        _ => Dim::Unknown,
    }
}

/// The sum of lengths: a number, or a name where all others are zero.
pub(super) fn sum<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
    let mut total = Dim::Known(0);
    for dim in dims {
        total = match (&total, dim) {
            (Dim::Known(0), other) | (other, Dim::Known(0)) => other.clone(),
            (Dim::Known(a), Dim::Known(b)) => a.checked_add(*b).map_or(Dim::Unknown, Dim::Known),
            _ => Dim::Unknown,
        };
    }
    total
}

/// Applies a function to a length that is a number.
pub(super) fn map(dim: &Dim, f: impl FnOnce(i64) -> Option<i64>) -> Dim {
    match dim {
        Dim::Known(length) => f(*length).filter(|&out| out >= 0).map_or(Dim::Unknown, Dim::Known),
        Dim::Symbol(_) | Dim::Unknown => Dim::Unknown,
    }
}

/// The axes that `Shape` reports.
pub(in crate::infer) fn shape_range(site: &Site<'_>, rank: usize) -> (usize, usize) {
    let clamp = |number: i64| {
        let rank = rank as i64;
        let at = if number < 0 { number.saturating_add(rank) } else { number };
        usize::try_from(at.clamp(0, rank)).unwrap_or_default()
    };
    let start = site.int("start").map_or(0, clamp);
    let end = site.int("end").map_or(rank, clamp);
    (start, end.max(start))
}

/// First index and number of elements that a slice takes from an axis.
pub(in crate::infer) fn slice_of(
    length: usize,
    start: i64,
    end: i64,
    step: i64,
) -> Option<(i64, usize)> {
    let length = i64::try_from(length).ok()?;
    let absolute = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (start, end) = (absolute(start), absolute(end));
    let (first, span) = if step > 0 {
        let first = start.clamp(0, length);
        (first, end.clamp(0, length) - first)
    } else {
        let first = start.clamp(0, (length - 1).max(0));
        let first = if length == 0 { -1 } else { first };
        (first, first - end.clamp(-1, length - 1))
    };
    let stride = i64::try_from(step.unsigned_abs()).ok().filter(|&stride| stride > 0)?;
    let count = if span <= 0 { 0 } else { (span - 1) / stride + 1 };
    Some((first.max(0), usize::try_from(count).ok()?))
}

/// Number of elements of a `Range`.
pub(in crate::infer) fn range_count(start: &Item, limit: &Item, delta: &Item) -> Option<i64> {
    if let (Item::Int(start), Item::Int(limit), Item::Int(delta)) = (start, limit, delta) {
        if *delta == 0 {
            return None;
        }
        let span = limit.checked_sub(*start)?;
        let (quotient, rest) = (span.checked_div(*delta)?, span.checked_rem(*delta)?);
        // Towards plus infinity; the quotient is truncated.
        let up = rest != 0 && (rest < 0) == (*delta < 0);
        return Some((quotient + i64::from(up)).max(0));
    }
    let (start, limit, delta) = (start.as_real()?, limit.as_real()?, delta.as_real()?);
    let count = ((limit - start) / delta).ceil();
    // Beyond 2^53 a float counts no more one by one.
    (count < 9_007_199_254_740_992.0).then(|| (count as i64).max(0))
}
