//! Operators of one tensor, element by element.

use marquetry_ir::{DType, Tensor};

use super::Fault;
use super::call::{Call, Outputs};
use super::number::{Function, Number, Real, numeric};
use crate::array::{bools, elements, tensor};

/// Applies a function of reals.
fn real(call: &Call<'_>, single: impl Fn(f32) -> f32, double: impl Fn(f64) -> f64) -> Outputs {
    let x = call.input(0)?;
    let output = match x.dtype() {
        DType::Float => tensor(x.dims(), elements::<f32>(x).iter().map(|&x| single(x)).collect())?,
        DType::Double => tensor(x.dims(), elements::<f64>(x).iter().map(|&x| double(x)).collect())?,
        _ => return Err(Fault::dtype(x)),
    };
    Ok(vec![output])
}

/// Defines operators by one expression for both precisions; parameters are named `f32` numbers.
macro_rules! reals {
    ($($name:ident($x:ident $(, $parameter:ident = $attribute:literal | $default:expr)*) $body:block)*) => { $(
        pub(super) fn $name(call: &Call<'_>) -> Outputs {
            fn formula<T: Real>($x: T $(, $parameter: T)*) -> T $body
            $(let $parameter = call.float($attribute, $default);)*
            real(
                call,
                |x| formula::<f32>(x $(, $parameter as f32)*),
                |x| formula::<f64>(x $(, $parameter)*),
            )
        }
    )* };
}

reals! {
    exp(x) { x.exp() }
    log(x) { x.ln() }
    sqrt(x) { x.sqrt() }
    reciprocal(x) { quotient(T::ONE, x) }
    floor(x) { x.floor() }
    ceil(x) { x.ceil() }
    round(x) { x.round() }
    erf(x) { x.erf() }
    tanh(x) { x.tanh() }
    sin(x) { x.call(Function::Sin) }
    cos(x) { x.call(Function::Cos) }
    tan(x) { x.call(Function::Tan) }
    asin(x) { x.call(Function::Asin) }
    acos(x) { x.call(Function::Acos) }
    atan(x) { x.call(Function::Atan) }
    sinh(x) { x.call(Function::Sinh) }
    cosh(x) { x.call(Function::Cosh) }
    asinh(x) { x.call(Function::Asinh) }
    acosh(x) { x.call(Function::Acosh) }
    atanh(x) { x.call(Function::Atanh) }
    sigmoid(x) { logistic(x) }
    softsign(x) { quotient(x, T::ONE.add(x.abs())) }
    softplus(x) { x.max(T::ZERO).add(x.abs().neg().exp().ln_1p()) }
    leaky_relu(x, alpha = "alpha" | 0.01) { if x < T::ZERO { alpha.mul(x) } else { x } }
    elu(x, alpha = "alpha" | 1.0) { if x < T::ZERO { alpha.mul(x.exp_m1()) } else { x } }
    selu(x, alpha = "alpha" | 1.673_263_2, gamma = "gamma" | 1.050_701) {
        gamma.mul(if x > T::ZERO { x } else { alpha.mul(x.exp_m1()) })
    }
    celu(x, alpha = "alpha" | 1.0) {
        x.max(T::ZERO).add(T::ZERO.min(alpha.mul(quotient(x, alpha).exp_m1())))
    }
    hard_sigmoid(x, alpha = "alpha" | 0.2, beta = "beta" | 0.5) {
        alpha.mul(x).add(beta).min(T::ONE).max(T::ZERO)
    }
    hard_swish(x) {
        x.mul(x.mul(T::of(1.0 / 6.0)).add(T::of(0.5)).min(T::ONE).max(T::ZERO))
    }
    mish(x) { x.mul(x.max(T::ZERO).add(x.abs().neg().exp().ln_1p()).tanh()) }
    swish(x, alpha = "alpha" | 1.0) { x.mul(logistic(alpha.mul(x))) }
    quick_gelu(x, alpha = "alpha" | 1.702) { x.mul(logistic(alpha.mul(x))) }
    thresholded_relu(x, alpha = "alpha" | 1.0) { if x > alpha { x } else { T::ZERO } }
    shrink(x, bias = "bias" | 0.0, lambda = "lambd" | 0.5) {
        if x < lambda.neg() {
            x.add(bias)
        } else if x > lambda {
            x.sub(bias)
        } else {
            T::ZERO
        }
    }
    gelu_erf(x) { gelu_by_erf(x) }
    gelu_tanh(x) {
        // sqrt(2/pi) (x + 0.044715 x^3)
        let cubic = x.add(T::of(0.044_715).mul(x).mul(x).mul(x));
        let inner = T::of((2.0 / std::f64::consts::PI).sqrt()).mul(cubic);
        T::of(0.5).mul(x).mul(T::ONE.add(inner.tanh()))
    }
}

/// Gelu of ONNX's own domain: exact or by tanh, as the attribute says.
pub(super) fn gelu(call: &Call<'_>) -> Outputs {
    match call.str("approximate", "none") {
        "none" => gelu_erf(call),
        "tanh" => gelu_tanh(call),
        other => Err(Fault::invalid(format!("no approximation is called `{other}`"))),
    }
}

fn gelu_by_erf<T: Real>(x: T) -> T {
    let inner = x.mul(T::of(std::f64::consts::FRAC_1_SQRT_2)).erf();
    T::of(0.5).mul(x).mul(T::ONE.add(inner))
}

/// 1 / (1 + e^-x), without overflow on either side.
fn logistic<T: Real>(x: T) -> T {
    if x >= T::ZERO {
        quotient(T::ONE, T::ONE.add(x.neg().exp()))
    } else {
        let e = x.exp();
        quotient(e, T::ONE.add(e))
    }
}

fn quotient<T: Real>(a: T, b: T) -> T {
    a.div(b).expect("reals divide by anything")
}

pub(super) fn abs(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => map::<T>(x, Number::abs))
}

pub(super) fn neg(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => map::<T>(x, Number::neg))
}

pub(super) fn sign(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => map::<T>(x, Number::sign))
}

pub(super) fn relu(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => map::<T>(x, |x| Number::max(x, T::ZERO)))
}

pub(super) fn bitwise_not(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(integer x, T => map::<T>(x, |x| !x))
}

/// Bounds are attributes before opset 11 and inputs since; either may be absent.
pub(super) fn clip(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(x, T => {
        let bound = |slot: usize, name: &str| -> Result<Option<T>, Fault> {
            if let Some(bound) = call.optional(slot) {
                let found = elements::<T>(bound).first().copied();
                return if bound.dtype() == x.dtype() && bound.len() == 1 {
                    Ok(found)
                } else {
                    Err(Fault::invalid("a bound is no scalar of the type of the input"))
                };
            }
            let attribute = call.attribute(name).and_then(|value| value.as_float());
            Ok(attribute.map(|bound| <T as Number>::from_f64(bound.into())))
        };
        let (least, most) = (bound(1, "min")?, bound(2, "max")?);
        map::<T>(x, |x| {
            // A NaN stays; where the bounds cross, the upper one wins.
            let x = least.map_or(x, |least| if x < least { least } else { x });
            most.map_or(x, |most| if x > most { most } else { x })
        })
    })
}

pub(super) fn not(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    if x.dtype() != DType::Bool {
        return Err(Fault::dtype(x));
    }
    let output = elements::<u8>(x).iter().map(|&x| u8::from(x == 0)).collect();
    Ok(vec![bools(x.dims(), output)?])
}

pub(super) fn is_nan(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    numeric!(real x, T => test::<T>(x, Number::is_nan))
}

pub(super) fn is_inf(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let (positive, negative) =
        (call.flag("detect_positive", true), call.flag("detect_negative", true));
    numeric!(real x, T => test::<T>(x, |x| {
        x.is_infinite() && if x > T::ZERO { positive } else { negative }
    }))
}

fn map<T: Number>(x: &Tensor, function: impl Fn(T) -> T) -> Outputs {
    Ok(vec![tensor(x.dims(), elements::<T>(x).iter().map(|&x| function(x)).collect())?])
}

fn test<T: Number>(x: &Tensor, predicate: impl Fn(T) -> bool) -> Outputs {
    let output = elements::<T>(x).iter().map(|&x| u8::from(predicate(x))).collect();
    Ok(vec![bools(x.dims(), output)?])
}
