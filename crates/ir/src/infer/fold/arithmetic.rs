//! Arithmetic, comparisons and logic on small tensors.

use crate::DType;
use crate::infer::site::Site;
use crate::infer::small::{Item, Small, broadcast};

/// The result of an operator that computes element by element, if its inputs are known well enough.
pub(super) fn compute(site: &Site<'_>, op: &str) -> Option<Small> {
    match op {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Max" | "Min" | "Sum" | "And" | "Or"
        | "Xor" => {
            let inputs: Option<Vec<_>> =
                (0..site.inputs.len()).map(|slot| site.small(slot)).collect();
            let mut inputs = inputs?.into_iter();
            let first = inputs.next()?;
            let truncated = op == "Mod" && site.flag("fmod");
            inputs.try_fold(first, |a, b| {
                let dtype = a.dtype;
                zip(&a, &b, dtype, |a, b| binary(op, a, b, dtype, truncated))
            })
        }
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
            let (a, b) = (site.small(0)?, site.small(1)?);
            zip(&a, &b, DType::Bool, |a, b| compare(op, a, b))
        }
        "Where" => select(&site.small(0)?, &site.small(1)?, &site.small(2)?),
        _ => {
            let f = unary(op)?;
            let x = site.small(0)?;
            Some(x.map(x.dtype, f))
        }
    }
}

/// The elements as another type; names of lengths stay.
pub(super) fn cast(small: &Small, to: DType) -> Small {
    small.map(to, |item| match item {
        Item::Real(real) if to == DType::Bool => Item::Int(i64::from(*real != 0.0)),
        Item::Int(int) if to == DType::Bool => Item::Int(i64::from(*int != 0)),
        Item::Real(real) if to.is_integer() => integral(real.trunc()),
        Item::Symbol(_) if to == DType::Bool => Item::Unknown,
        other => other.clone(),
    })
}

fn zip(a: &Small, b: &Small, dtype: DType, f: impl Fn(&Item, &Item) -> Item) -> Option<Small> {
    let dims = broadcast([a.dims.as_slice(), &b.dims])?;
    let (a, b) = (a.broadcast(&dims)?, b.broadcast(&dims)?);
    let items = a.items.iter().zip(&b.items).map(|(a, b)| f(a, b).rounded(dtype)).collect();
    Small::new(dtype, dims, items)
}

fn select(condition: &Small, yes: &Small, no: &Small) -> Option<Small> {
    let dims = broadcast([condition.dims.as_slice(), &yes.dims, &no.dims])?;
    let condition = condition.broadcast(&dims)?;
    let (yes, no) = (yes.broadcast(&dims)?, no.broadcast(&dims)?);
    let choices = condition.items.iter().zip(yes.items.iter().zip(&no.items));
    let items = choices.map(|(condition, (yes, no))| match condition.as_int() {
        Some(0) => no.clone(),
        Some(_) => yes.clone(),
        None if yes == no => yes.clone(),
        None => Item::Unknown,
    });
    Small::new(yes.dtype, dims, items.collect())
}

/// A float without a fraction as an integer.
fn integral(real: f64) -> Item {
    // 2^63 is a float, i64::MAX is not.
    let inside = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&real);
    if inside { Item::Int(real as i64) } else { Item::Unknown }
}

fn unary(op: &str) -> Option<fn(&Item) -> Item> {
    Some(match op {
        "Neg" => |item| number(item, i64::checked_neg, |x| -x),
        "Abs" => |item| match item {
            Item::Symbol(_) => item.clone(),
            item => number(item, i64::checked_abs, f64::abs),
        },
        "Not" => |item| number(item, |x| Some(1 - x), |_| f64::NAN),
        "Floor" => |item| whole(item, f64::floor),
        "Ceil" => |item| whole(item, f64::ceil),
        "Round" => |item| whole(item, f64::round_ties_even),
        "Sqrt" => |item| number(item, |_| None, f64::sqrt),
        "Reciprocal" => |item| number(item, |_| None, |x| 1.0 / x),
        "Exp" => |item| number(item, |_| None, f64::exp),
        "Log" => |item| number(item, |_| None, f64::ln),
        _ => return None,
    })
}

fn number(item: &Item, int: fn(i64) -> Option<i64>, real: fn(f64) -> f64) -> Item {
    match item {
        Item::Int(x) => int(*x).map_or(Item::Unknown, Item::Int),
        Item::Real(x) => Item::Real(real(*x)),
        Item::Symbol(_) | Item::Unknown => Item::Unknown,
    }
}

/// A length is a whole number, whatever its type.
fn whole(item: &Item, real: fn(f64) -> f64) -> Item {
    match item {
        Item::Real(x) => Item::Real(real(*x)),
        other => other.clone(),
    }
}

fn binary(op: &str, a: &Item, b: &Item, dtype: DType, truncated: bool) -> Item {
    if dtype.is_float()
        && let (Some(x), Some(y)) = (a.as_real(), b.as_real())
    {
        return real(op, x, y);
    }
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return int(op, x, y, truncated).map_or(Item::Unknown, Item::Int);
    }
    let is = |item: &Item, number: f64| item.as_real() == Some(number);
    let same = matches!(a, Item::Symbol(_)) && a == b;
    match op {
        "Add" | "Sum" if is(a, 0.0) => b.clone(),
        "Add" | "Sub" | "Sum" if is(b, 0.0) => a.clone(),
        "Mul" if is(a, 1.0) => b.clone(),
        "Mul" | "Div" | "Pow" if is(b, 1.0) => a.clone(),
        "Mul" if dtype.is_integer() && (is(a, 0.0) || is(b, 0.0)) => Item::Int(0),
        "Sub" if same => Item::Int(0),
        // A length of zero would make the division fail, and nothing would follow from it.
        "Div" if same => Item::Int(1),
        "Max" | "Min" if same => a.clone(),
        _ => Item::Unknown,
    }
}

fn real(op: &str, x: f64, y: f64) -> Item {
    Item::Real(match op {
        "Add" | "Sum" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        "Div" => x / y,
        "Pow" => x.powf(y),
        "Max" if !x.is_nan() && !y.is_nan() => x.max(y),
        "Min" if !x.is_nan() && !y.is_nan() => x.min(y),
        _ => return Item::Unknown,
    })
}

fn int(op: &str, x: i64, y: i64, truncated: bool) -> Option<i64> {
    match op {
        "Add" | "Sum" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        // The sign is the divisor's, as in Python, unless it is C's `fmod`.
        "Mod" if truncated => x.checked_rem(y),
        "Mod" => {
            let rest = x.checked_rem(y)?;
            Some(if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest })
        }
        "Pow" => x.checked_pow(u32::try_from(y).ok()?),
        "Max" => Some(x.max(y)),
        "Min" => Some(x.min(y)),
        "And" => Some(i64::from(x != 0 && y != 0)),
        "Or" => Some(i64::from(x != 0 || y != 0)),
        "Xor" => Some(i64::from((x != 0) != (y != 0))),
        _ => None,
    }
}

fn compare(op: &str, a: &Item, b: &Item) -> Item {
    let holds = if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        ordered(op, &x, &y)
    } else if let (Some(x), Some(y)) = (a.as_real(), b.as_real()) {
        ordered(op, &x, &y)
    } else {
        // A length is never negative.
        match (a, b) {
            (Item::Symbol(a), Item::Symbol(b)) if a == b => {
                matches!(op, "Equal" | "GreaterOrEqual" | "LessOrEqual")
            }
            (Item::Symbol(_), number) if number.as_real().is_some_and(|x| x < 0.0) => {
                matches!(op, "Greater" | "GreaterOrEqual")
            }
            (number, Item::Symbol(_)) if number.as_real().is_some_and(|x| x < 0.0) => {
                matches!(op, "Less" | "LessOrEqual")
            }
            _ => return Item::Unknown,
        }
    };
    Item::Int(i64::from(holds))
}

fn ordered<T: PartialOrd>(op: &str, x: &T, y: &T) -> bool {
    match op {
        "Equal" => x == y,
        "Greater" => x > y,
        "GreaterOrEqual" => x >= y,
        "Less" => x < y,
        "LessOrEqual" => x <= y,
        other => unreachable!("`{other}` is no comparison"),
    }
}
