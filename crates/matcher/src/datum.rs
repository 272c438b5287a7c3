//! What variables are bound to and what guard expressions compute.

use std::cmp::Ordering;

use marquetry_ir::{DType, Dim, Tensor};

use crate::axis::Axis;
use crate::index::{OperatorRow, ValueRow};

/// Content of a variable, or the result of a guard expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    /// Absent.
    None,
    /// Depends on a rank, dim, dtype or attribute that is not known.
    Unknown,
    /// Depends on a variable that the search has not met yet.
    Unbound,
    Bool(bool),
    Int(i64),
    /// An axis of a value, or how an attribute names one.
    Axis(Axis),
    Float(Float),
    Text(String),
    List(Vec<Datum>),
    Dtype(DType),
    /// The length of an axis by its name.
    Symbol(String),
    Value(ValueRow),
    Operator(OperatorRow),
    /// Attributes that a pattern captured, sorted by name.
    Attributes(Vec<(String, Datum)>),
    /// The tensor of an attribute. With one element, it is that number where a number is wanted.
    Tensor(Box<Elements>),
    /// What no expression looks into: large tensors, graphs and types of attributes, as text.
    Opaque(String),
}

/// A small tensor, element by element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elements {
    pub(crate) dtype: DType,
    pub(crate) dims: Vec<usize>,
    /// In C order.
    pub(crate) items: Vec<Datum>,
}

/// The most elements of a tensor that expressions look into.
const WRITTEN: usize = 1 << 16;

/// A real number and how precisely it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Float {
    pub(crate) number: f64,
    /// Bits of the mantissa of the least precise type on the way here: 53 for a literal, 11 for a
    /// number read from a `float16` tensor.
    pub(crate) bits: u8,
}

/// Bits of the mantissa of an element type, the hidden one included; integers are exact.
pub(crate) fn mantissa(dtype: DType) -> u8 {
    match dtype {
        DType::Float => 24,
        DType::Float16 => 11,
        DType::BFloat16 => 8,
        DType::Float8E4M3Fn | DType::Float8E4M3Fnuz => 4,
        DType::Float8E5M2 | DType::Float8E5M2Fnuz => 3,
        _ => 53,
    }
}

/// Whether two numbers are equal as constants: up to 4 units in the last place of the less precise
/// type, and at most 1e-6 relative for types as precise as `float`. Zero is only zero; infinities and
/// NaN are only themselves.
pub(crate) fn near(a: Float, b: Float) -> bool {
    if a.number == b.number || (a.number.is_nan() && b.number.is_nan()) {
        return true;
    }
    if a.number == 0.0 || b.number == 0.0 || !a.number.is_finite() || !b.number.is_finite() {
        return false;
    }
    let bits = a.bits.min(b.bits);
    let size = a.number.abs().max(b.number.abs());
    let ulp = ((size.log2().floor() + 1.0) - f64::from(bits)).exp2();
    let relative = if bits >= 24 { 1e-6 * size } else { 0.0 };
    (a.number - b.number).abs() <= relative.max(4.0 * ulp)
}

impl Datum {
    pub(crate) fn float(number: f64) -> Self {
        Self::Float(Float { number, bits: 53 })
    }

    pub(crate) fn ints(ints: impl IntoIterator<Item = i64>) -> Self {
        Self::List(ints.into_iter().map(Self::Int).collect())
    }

    pub(crate) fn dim(dim: &Dim) -> Self {
        match dim {
            Dim::Known(length) => Self::Int(*length),
            Dim::Symbol(name) => Self::Symbol(name.to_string()),
            Dim::Unknown => Self::Unknown,
        }
    }

    /// The content of an attribute that names axes of a value of this rank.
    pub(crate) fn axes(content: Self, rank: Option<i64>) -> Self {
        match content {
            Self::Int(axis) => Self::Axis(Axis::new(axis, rank)),
            Self::List(items) => {
                Self::List(items.into_iter().map(|item| Self::axes(item, rank)).collect())
            }
            other => other,
        }
    }

    /// The only element of a tensor.
    pub(crate) fn item(tensor: &Tensor) -> Option<Self> {
        if tensor.len() != 1 {
            return None;
        }
        Some(if tensor.dtype().is_float() {
            Self::Float(Float { number: tensor.item()?, bits: mantissa(tensor.dtype()) })
        } else if tensor.dtype() == DType::Bool {
            Self::Bool(tensor.item()? != 0.0)
        } else {
            Self::Int(*tensor.to_i64s()?.first()?)
        })
    }

    /// The elements of a rank-1 tensor.
    pub(crate) fn elements(tensor: &Tensor) -> Option<Self> {
        if tensor.dims().len() == 1 { Self::flat(tensor) } else { None }
    }

    /// The elements of a tensor, in C order.
    pub(crate) fn flat(tensor: &Tensor) -> Option<Self> {
        Some(if tensor.dtype().is_float() {
            let bits = mantissa(tensor.dtype());
            let numbers = tensor.to_f64s()?.into_iter();
            Self::List(numbers.map(|number| Self::Float(Float { number, bits })).collect())
        } else {
            Self::ints(tensor.to_i64s()?)
        })
    }

    /// A tensor of an attribute, if it is small.
    pub(crate) fn tensor(tensor: &Tensor) -> Option<Self> {
        if tensor.len() > WRITTEN {
            return None;
        }
        let Self::List(items) = Self::flat(tensor)? else { return None };
        let (dtype, dims) = (tensor.dtype(), tensor.dims().to_vec());
        Some(Self::Tensor(Box::new(Elements { dtype, dims, items })))
    }

    /// The only element of the tensor of an attribute; anything else as it is.
    fn single(&self) -> &Self {
        match self {
            Self::Tensor(tensor) if tensor.items.len() == 1 => &tensor.items[0],
            other => other,
        }
    }

    pub(crate) fn as_float(&self) -> Option<Float> {
        match self.single() {
            Self::Int(int) => Some(Float { number: *int as f64, bits: 53 }),
            Self::Axis(axis) => Some(Float { number: axis.written() as f64, bits: 53 }),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.single() {
            Self::Int(int) => Some(*int),
            Self::Axis(axis) => Some(axis.written()),
            // An integer that went through a division or a float attribute.
            Self::Float(float) if float.number.fract() == 0.0 && float.number.abs() < 9e15 => {
                Some(float.number as i64)
            }
            _ => None,
        }
    }

    /// A number that counts the elements of a list: of an axis, only if it is known from which end.
    pub(crate) fn as_position(&self) -> Option<i64> {
        match self {
            Self::Axis(axis) if axis.is_open() => None,
            other => other.as_int(),
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether it names an axis that may be another one for a value of another rank.
    pub(crate) fn has_open_axis(&self) -> bool {
        match self {
            Self::Axis(axis) => axis.is_open(),
            Self::List(items) => items.iter().any(Self::has_open_axis),
            _ => false,
        }
    }

    /// Unknown, or depending on something unbound.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Unknown | Self::Unbound)
    }

    /// Whether two data are equal, numbers up to the constant tolerance if `tolerant`. `Unknown` or
    /// `Unbound` where that decides it.
    pub(crate) fn equals(&self, other: &Self, tolerant: bool) -> Self {
        match (self, other) {
            (Self::Unbound, _) | (_, Self::Unbound) => Self::Unbound,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Symbol(a), Self::Symbol(b)) if a == b => Self::Bool(true),
            // Two names, or a name and a number, may still be the same length.
            (Self::Symbol(_), Self::Symbol(_) | Self::Int(_)) | (Self::Int(_), Self::Symbol(_)) => {
                Self::Unknown
            }
            // As ONNX writes it: `to = 1`.
            (Self::Dtype(dtype), Self::Int(number)) | (Self::Int(number), Self::Dtype(dtype)) => {
                Self::Bool(i64::from(dtype.number()) == *number)
            }
            (Self::Tensor(a), Self::Tensor(b)) => {
                if a.dtype != b.dtype || a.dims != b.dims {
                    return Self::Bool(false);
                }
                let (a, b) = (Self::List(a.items.clone()), Self::List(b.items.clone()));
                a.equals(&b, tolerant)
            }
            (Self::Tensor(tensor), other) | (other, Self::Tensor(tensor)) => {
                match &tensor.items[..] {
                    [single] => single.equals(other, tolerant),
                    _ => Self::Bool(false),
                }
            }
            (Self::List(a), Self::List(b)) => {
                if a.len() != b.len() {
                    return Self::Bool(false);
                }
                let mut open = Self::Bool(true);
                for (a, b) in a.iter().zip(b) {
                    match a.equals(b, tolerant) {
                        Self::Bool(true) => {}
                        Self::Bool(false) => return Self::Bool(false),
                        unknown => open = unknown,
                    }
                }
                open
            }
            (Self::Int(a), Self::Int(b)) => Self::Bool(a == b),
            (Self::Axis(a), Self::Axis(b)) => a.is(*b).map_or(Self::Unknown, Self::Bool),
            (Self::Axis(axis), Self::Int(at)) | (Self::Int(at), Self::Axis(axis)) => {
                axis.order(*at).map_or(Self::Unknown, |order| Self::Bool(order.is_eq()))
            }
            (Self::Attributes(a), Self::Attributes(b)) => {
                if !a.iter().map(|(name, _)| name).eq(b.iter().map(|(name, _)| name)) {
                    return Self::Bool(false);
                }
                let contents = |all: &[(String, Self)]| {
                    Self::List(all.iter().map(|(_, content)| content.clone()).collect())
                };
                contents(a).equals(&contents(b), tolerant)
            }
            (Self::Bool(a), Self::Int(b)) | (Self::Int(b), Self::Bool(a)) => {
                Self::Bool(i64::from(*a) == *b)
            }
            (a, b) => match (a.as_float(), b.as_float()) {
                (Some(a), Some(b)) if tolerant => Self::Bool(near(a, b)),
                (Some(a), Some(b)) => Self::Bool(a.number == b.number),
                _ => Self::Bool(a == b),
            },
        }
    }

    /// The order of two numbers; `None` where there is none.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Axis(a), Self::Axis(b)) => a.order_of(*b),
            (Self::Axis(a), Self::Int(b)) => a.order(*b),
            (Self::Int(a), Self::Axis(b)) => b.order(*a).map(Ordering::reverse),
            (a, b) => a.as_float()?.number.partial_cmp(&b.as_float()?.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(number: f64, bits: u8) -> Float {
        Float { number, bits }
    }

    #[test]
    fn constants_are_compared_at_the_precision_of_their_type() {
        let root = float(0.5_f64.sqrt(), 53);
        assert!(near(root, float(0.70703125, 11)), "1/sqrt(2) as float16");
        assert!(near(root, float(f64::from(0.70710677_f32), 24)));
        assert!(!near(float(1e-3, 53), float(f64::from(1.000_1e-3_f32), 24)));
        assert!(!near(float(1e-5, 53), float(0.0, 11)));
        assert!(near(float(f64::INFINITY, 53), float(f64::INFINITY, 24)));
        assert!(!near(float(f64::INFINITY, 53), float(f64::MAX, 53)));
    }

    #[test]
    fn lengths_with_other_names_may_be_equal() {
        let symbol = |name: &str| Datum::Symbol(name.to_owned());
        assert_eq!(symbol("N").equals(&symbol("N"), false), Datum::Bool(true));
        assert_eq!(symbol("N").equals(&symbol("M"), false), Datum::Unknown);
        assert_eq!(symbol("N").equals(&Datum::Int(3), false), Datum::Unknown);
        let (a, b) = (Datum::List(vec![symbol("N"), Datum::Int(2)]), Datum::ints([4, 3]));
        assert_eq!(a.equals(&b, false), Datum::Bool(false));
    }
}
