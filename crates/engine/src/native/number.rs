//! Arithmetic that the native operators share, for each element type.

use crate::array::Element;

/// A number: integers wrap as in two's complement, floats are IEEE's.
pub(crate) trait Number: Element + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// The least value: negative infinity for floats.
    const LEAST: Self;
    /// The greatest value: infinity for floats.
    const GREATEST: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// The quotient, cut off towards zero for integers; `None` where an integer is divided by zero.
    fn div(self, other: Self) -> Option<Self>;
    /// The remainder with the sign of the dividend; `None` as for the quotient.
    fn rem(self, other: Self) -> Option<Self>;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    /// -1, 0 or 1; a NaN stays one.
    fn sign(self) -> Self;
    fn is_nan(self) -> bool;
    fn below_zero(self) -> bool;
    fn to_f64(self) -> f64;
    /// The nearest number; integers saturate and cut off.
    fn from_f64(value: f64) -> Self;

    /// The greater one; a NaN wins.
    fn max(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return if self.is_nan() { self } else { other };
        }
        if other > self { other } else { self }
    }

    /// The lesser one; a NaN wins.
    fn min(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return if self.is_nan() { self } else { other };
        }
        if other < self { other } else { self }
    }
}

/// A floating-point number with the functions of the standard operators.
pub(crate) trait Real: Number {
    fn of(value: f64) -> Self;
    fn exp(self) -> Self;
    fn exp_m1(self) -> Self;
    fn ln(self) -> Self;
    fn ln_1p(self) -> Self;
    fn sqrt(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    /// The nearest integer, ties to the even one.
    fn round(self) -> Self;
    fn call(self, function: Function) -> Self;
}

/// A trigonometric or hyperbolic function.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
}

macro_rules! integers {
    ($($ty:ty: $neg:expr, $abs:expr, $sign:expr;)*) => { $(
        impl Number for $ty {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LEAST: Self = Self::MIN;
            const GREATEST: Self = Self::MAX;
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn div(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_div(other))
            }
            fn rem(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_rem(other))
            }
            fn neg(self) -> Self { let neg: fn(Self) -> Self = $neg; neg(self) }
            fn abs(self) -> Self { let abs: fn(Self) -> Self = $abs; abs(self) }
            fn sign(self) -> Self { let sign: fn(Self) -> Self = $sign; sign(self) }
            fn is_nan(self) -> bool { false }
            fn below_zero(self) -> bool { Number::to_f64(self) < 0.0 }
            fn to_f64(self) -> f64 { self as f64 }
            fn from_f64(value: f64) -> Self { value as Self }
        }
    )* };
}
integers! {
    i64: Self::wrapping_neg, Self::wrapping_abs, Self::signum;
    i32: Self::wrapping_neg, Self::wrapping_abs, Self::signum;
    i16: Self::wrapping_neg, Self::wrapping_abs, Self::signum;
    i8: Self::wrapping_neg, Self::wrapping_abs, Self::signum;
    u64: Self::wrapping_neg, |x| x, |x| Ord::min(x, 1);
    u32: Self::wrapping_neg, |x| x, |x| Ord::min(x, 1);
    u16: Self::wrapping_neg, |x| x, |x| Ord::min(x, 1);
    u8: Self::wrapping_neg, |x| x, |x| Ord::min(x, 1);
}

macro_rules! reals {
    ($($ty:ident: $erf:path;)*) => { $(
        impl Number for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LEAST: Self = Self::NEG_INFINITY;
            const GREATEST: Self = Self::INFINITY;
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Option<Self> { Some(self / other) }
            fn rem(self, other: Self) -> Option<Self> { Some(self % other) }
            fn neg(self) -> Self { -self }
            fn abs(self) -> Self { $ty::abs(self) }
            fn sign(self) -> Self { if self == 0.0 { 0.0 } else { self.signum() } }
            fn is_nan(self) -> bool { $ty::is_nan(self) }
            fn below_zero(self) -> bool { self < 0.0 }
            fn to_f64(self) -> f64 { f64::from(self) }
            fn from_f64(value: f64) -> Self { value as Self }
        }

        impl Real for $ty {
            fn of(value: f64) -> Self { value as Self }
            fn exp(self) -> Self { $ty::exp(self) }
            fn exp_m1(self) -> Self { $ty::exp_m1(self) }
            fn ln(self) -> Self { $ty::ln(self) }
            fn ln_1p(self) -> Self { $ty::ln_1p(self) }
            fn sqrt(self) -> Self { $ty::sqrt(self) }
            fn powf(self, exponent: Self) -> Self { $ty::powf(self, exponent) }
            fn tanh(self) -> Self { $ty::tanh(self) }
            fn erf(self) -> Self { $erf(self) }
            fn floor(self) -> Self { $ty::floor(self) }
            fn ceil(self) -> Self { $ty::ceil(self) }
            fn round(self) -> Self { self.round_ties_even() }
            fn call(self, function: Function) -> Self {
                match function {
                    Function::Sin => self.sin(),
                    Function::Cos => self.cos(),
                    Function::Tan => self.tan(),
                    Function::Asin => self.asin(),
                    Function::Acos => self.acos(),
                    Function::Atan => self.atan(),
                    Function::Sinh => self.sinh(),
                    Function::Cosh => self.cosh(),
                    Function::Asinh => self.asinh(),
                    Function::Acosh => self.acosh(),
                    Function::Atanh => self.atanh(),
                }
            }
        }
    )* };
}
reals! {
    f32: libm::erff;
    f64: libm::erf;
}

/// Runs an expression with `$T` standing for the element type of a tensor, for all numbers.
macro_rules! numeric {
    (real $tensor:expr, $T:ident => $body:expr) => {{
        let tensor: &marquetry_ir::Tensor = $tensor;
        numeric!(@ tensor, $T, $body, [Float = f32, Double = f64])
    }};
    (integer $tensor:expr, $T:ident => $body:expr) => {{
        let tensor: &marquetry_ir::Tensor = $tensor;
        numeric!(@ tensor, $T, $body, [
            Int64 = i64, Int32 = i32, Int16 = i16, Int8 = i8,
            Uint64 = u64, Uint32 = u32, Uint16 = u16, Uint8 = u8
        ])
    }};
    ($tensor:expr, $T:ident => $body:expr) => {{
        let tensor: &marquetry_ir::Tensor = $tensor;
        numeric!(@ tensor, $T, $body, [
            Float = f32, Double = f64, Int64 = i64, Int32 = i32, Int16 = i16, Int8 = i8,
            Uint64 = u64, Uint32 = u32, Uint16 = u16, Uint8 = u8
        ])
    }};
    (@ $tensor:ident, $T:ident, $body:expr, [$($dtype:ident = $ty:ty),*]) => {
        match $tensor.dtype() {
            $(marquetry_ir::DType::$dtype => { type $T = $ty; $body })*
            _ => Err($crate::native::Fault::dtype($tensor)),
        }
    };
}

/// Runs an expression with `$T` standing for any type of the size of a tensor's elements.
macro_rules! sized {
    ($tensor:expr, $T:ident => $body:expr) => {{
        let tensor: &marquetry_ir::Tensor = $tensor;
        match tensor.dtype().bits() {
            Some(8) => {
                type $T = u8;
                $body
            }
            Some(16) => {
                type $T = u16;
                $body
            }
            Some(32) => {
                type $T = u32;
                $body
            }
            Some(64) => {
                type $T = u64;
                $body
            }
            Some(128) => {
                type $T = u128;
                $body
            }
            _ => Err($crate::native::Fault::dtype(tensor)),
        }
    }};
}

pub(crate) use {numeric, sized};
