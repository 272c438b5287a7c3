//! Operators of several tensors, element by element after broadcasting.

use std::borrow::Cow;

use bytemuck::Pod;
use marquetry_ir::{DType, Tensor};
use ndarray::IxDyn;

use super::Fault;
use super::call::{Call, Outputs, broadcast, count};
use super::cast::cast;
use super::number::{Number, Real, numeric, sized};
use crate::array::{array, bools, elements, tensor, tensor_as};

/// The elements that a function makes of two broadcast tensors, and their shape.
fn zip<A: Pod, B: Pod, C: Pod>(
    a: &Tensor,
    b: &Tensor,
    function: impl Fn(A, B) -> C,
) -> Result<(Vec<usize>, Vec<C>), Fault> {
    let dims = broadcast(a.dims(), b.dims())?;
    count(&dims)?;
    let (x, y) = (spread::<A>(a, &dims)?, spread::<B>(b, &dims)?);
    let both = x.iter().zip(y.iter()).map(|(&x, &y)| function(x, y)).collect();
    Ok((dims, both))
}

/// The elements repeated to a shape. A copy and not a view, so that one loop for each operator and type
/// is all that is compiled.
fn spread<'a, T: Pod>(x: &'a Tensor, dims: &[usize]) -> Result<Cow<'a, [T]>, Fault> {
    if x.dims() == dims {
        return Ok(elements(x));
    }
    if let &[item] = &*elements::<T>(x) {
        return Ok(Cow::Owned(vec![item; count(dims)?]));
    }
    let x = array::<T>(x)?;
    let spread =
        x.broadcast(IxDyn(dims)).ok_or_else(|| Fault::invalid("shapes do not broadcast"))?;
    Ok(Cow::Owned(spread.iter().copied().collect()))
}

/// The inputs, of which there must be as many as the operator takes and all of one type.
fn pair<'a>(call: &Call<'a>) -> Result<(&'a Tensor, &'a Tensor), Fault> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if call.attribute("axis").is_some() || call.int("broadcast").is_some_and(|on| on != 0) {
        return Err(Fault::unsupported("it broadcasts as operators did before opset 7"));
    }
    if a.dtype() != b.dtype() {
        return Err(Fault::invalid(format!("inputs are `{}` and `{}`", a.dtype(), b.dtype())));
    }
    Ok((a, b))
}

fn arithmetic<T: Number>(a: &Tensor, b: &Tensor, function: impl Fn(T, T) -> T) -> Outputs {
    let (dims, elements) = zip(a, b, function)?;
    Ok(vec![tensor(dims, elements)?])
}

pub(super) fn add(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => arithmetic::<T>(a, b, Number::add))
}

pub(super) fn sub(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => arithmetic::<T>(a, b, Number::sub))
}

pub(super) fn mul(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => arithmetic::<T>(a, b, Number::mul))
}

pub(super) fn div(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => fallible::<T>(a, b, Number::div))
}

/// The remainder with the sign of the divisor, or with `fmod` that of the dividend.
pub(super) fn modulo(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    if call.flag("fmod", false) {
        return numeric!(a, T => fallible::<T>(a, b, Number::rem));
    }
    numeric!(a, T => fallible::<T>(a, b, |x, y| {
        let rest = x.rem(y)?;
        let other_side = rest != T::ZERO && rest.below_zero() != y.below_zero();
        Some(if other_side { rest.add(y) } else { rest })
    }))
}

fn fallible<T: Number>(a: &Tensor, b: &Tensor, function: impl Fn(T, T) -> Option<T>) -> Outputs {
    let failed = std::cell::Cell::new(false);
    let output = arithmetic::<T>(a, b, |x, y| {
        function(x, y).unwrap_or_else(|| {
            failed.set(true);
            T::ZERO
        })
    });
    if failed.get() { Err(Fault::invalid("an integer is divided by zero")) } else { output }
}

/// Powers, in the type of the base; the exponent may have another type.
pub(super) fn pow(call: &Call<'_>) -> Outputs {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let exponents = cast(b, DType::Double)?;
    numeric!(a, T => {
        let (dims, elements) = zip::<T, f64, T>(a, &exponents, power)?;
        Ok(vec![tensor(dims, elements)?])
    })
}

fn power<T: Number>(x: T, exponent: f64) -> T {
    if T::DTYPE == DType::Float && (exponent == 2.0 || exponent == 3.0) {
        // What every runtime does, and nearer to the truth than a rounded logarithm.
        return if exponent == 2.0 { x.mul(x) } else { x.mul(x).mul(x) };
    }
    if !T::DTYPE.is_float() && exponent >= 0.0 && exponent.fract() == 0.0 && exponent < 64.0 {
        return (0..exponent as u32).fold(T::ONE, |product, _| product.mul(x));
    }
    T::from_f64(Real::powf(x.to_f64(), exponent))
}

/// Folds any number of inputs of one type.
fn fold(
    call: &Call<'_>,
    mut both: impl FnMut(&Tensor, &Tensor) -> Outputs,
) -> Result<Tensor, Fault> {
    let mut inputs = call.inputs.iter().flatten();
    let first = inputs.next().ok_or_else(|| Fault::invalid("there are no inputs"))?.clone();
    inputs.try_fold(first, |sum, next| {
        if sum.dtype() != next.dtype() {
            return Err(Fault::invalid("inputs have several types"));
        }
        let mut outputs = both(&sum, next)?;
        outputs.pop().ok_or_else(|| Fault::invalid("there is no output"))
    })
}

pub(super) fn max(call: &Call<'_>) -> Outputs {
    fold(call, |a, b| numeric!(a, T => arithmetic::<T>(a, b, Number::max))).map(|max| vec![max])
}

pub(super) fn min(call: &Call<'_>) -> Outputs {
    fold(call, |a, b| numeric!(a, T => arithmetic::<T>(a, b, Number::min))).map(|min| vec![min])
}

pub(super) fn sum(call: &Call<'_>) -> Outputs {
    fold(call, |a, b| numeric!(a, T => arithmetic::<T>(a, b, Number::add))).map(|sum| vec![sum])
}

pub(super) fn mean(call: &Call<'_>) -> Outputs {
    let sum = fold(call, |a, b| numeric!(a, T => arithmetic::<T>(a, b, Number::add)))?;
    let inputs = call.inputs.iter().flatten().count();
    numeric!(real &sum, T => {
        let scaled = elements::<T>(&sum).iter().map(|&x| x / T::of(inputs as f64)).collect();
        Ok(vec![tensor(sum.dims(), scaled)?])
    })
}

/// Slopes broadcast to the input in one direction, which is a case of both.
pub(super) fn prelu(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => arithmetic::<T>(a, b, |x, slope| {
        if x.below_zero() { Number::mul(slope, x) } else { x }
    }))
}

fn compare<T: Pod>(a: &Tensor, b: &Tensor, predicate: impl Fn(T, T) -> bool) -> Outputs {
    let (dims, elements) = zip(a, b, |x, y| u8::from(predicate(x, y)))?;
    Ok(vec![bools(dims, elements)?])
}

pub(super) fn equal(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    if a.dtype() == DType::Bool {
        return compare::<u8>(a, b, |x, y| (x != 0) == (y != 0));
    }
    numeric!(a, T => compare::<T>(a, b, |x, y| x == y))
}

pub(super) fn less(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => compare::<T>(a, b, |x, y| x < y))
}

pub(super) fn less_or_equal(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => compare::<T>(a, b, |x, y| x <= y))
}

pub(super) fn greater(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => compare::<T>(a, b, |x, y| x > y))
}

pub(super) fn greater_or_equal(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(a, T => compare::<T>(a, b, |x, y| x >= y))
}

fn logical(call: &Call<'_>, function: impl Fn(bool, bool) -> bool) -> Outputs {
    let (a, b) = pair(call)?;
    if a.dtype() != DType::Bool {
        return Err(Fault::dtype(a));
    }
    compare::<u8>(a, b, |x, y| function(x != 0, y != 0))
}

pub(super) fn and(call: &Call<'_>) -> Outputs {
    logical(call, |x, y| x && y)
}

pub(super) fn or(call: &Call<'_>) -> Outputs {
    logical(call, |x, y| x || y)
}

pub(super) fn xor(call: &Call<'_>) -> Outputs {
    logical(call, |x, y| x != y)
}

pub(super) fn bitwise(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    numeric!(integer a, T => match call.op() {
        "BitwiseAnd" => arithmetic::<T>(a, b, |x, y| x & y),
        "BitwiseOr" => arithmetic::<T>(a, b, |x, y| x | y),
        "BitwiseXor" => arithmetic::<T>(a, b, |x, y| x ^ y),
        other => Err(Fault::unsupported(format!("`{other}` is no operator on bits"))),
    })
}

/// Shifts by more than the width, or by less than nothing, leave the sign on the right and nothing on
/// the left.
pub(super) fn bit_shift(call: &Call<'_>) -> Outputs {
    let (a, b) = pair(call)?;
    let left = match call.str("direction", "") {
        "LEFT" => true,
        "RIGHT" => false,
        other => return Err(Fault::invalid(format!("`{other}` is no direction"))),
    };
    numeric!(integer a, T => arithmetic::<T>(a, b, |x, y| {
        let width = T::BITS;
        let shift = Number::to_f64(y);
        let shift = if (0.0..f64::from(width)).contains(&shift) { shift as u32 } else { width };
        match x.checked_shr(shift) {
            _ if left => x.checked_shl(shift).unwrap_or(0),
            Some(shifted) => shifted,
            None if Number::below_zero(x) => Number::neg(<T as Number>::ONE),
            None => 0,
        }
    }))
}

/// Elements of any type, chosen by a condition.
pub(super) fn select(call: &Call<'_>) -> Outputs {
    let (condition, a, b) = (call.input(0)?, call.input(1)?, call.input(2)?);
    if condition.dtype() != DType::Bool {
        return Err(Fault::dtype(condition));
    }
    if a.dtype() != b.dtype() {
        return Err(Fault::invalid(format!("inputs are `{}` and `{}`", a.dtype(), b.dtype())));
    }
    let dims = broadcast(condition.dims(), &broadcast(a.dims(), b.dims())?)?;
    count(&dims)?;
    let condition = spread::<u8>(condition, &dims)?;
    sized!(a, T => {
        let (x, y) = (spread::<T>(a, &dims)?, spread::<T>(b, &dims)?);
        let both = x.iter().zip(y.iter()).zip(condition.iter());
        let chosen = both.map(|((&x, &y), &condition)| if condition != 0 { x } else { y });
        Ok(vec![tensor_as(a.dtype(), dims.clone(), chosen.collect())?])
    })
}
