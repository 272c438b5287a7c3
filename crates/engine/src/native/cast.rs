//! Conversions between element types.

use half::{bf16, f16};
use marquetry_ir::{DType, Float8, Tensor};

use super::Fault;
use super::call::{Call, Outputs};
use super::number::Number;
use crate::array::{bools, elements, tensor, tensor_as};

pub(super) fn cast_to(call: &Call<'_>) -> Outputs {
    let to = call.int("to").and_then(|to| i32::try_from(to).ok()).map(DType::from_number);
    let to = to.ok_or_else(|| Fault::invalid("there is no type to cast to"))?;
    let x = call.input(0)?;
    if let Some(format) = Float8::of(to) {
        return Ok(vec![to_float8(x, to, format, call.int("saturate") != Some(0))?]);
    }
    Ok(vec![cast(x, to)?])
}

/// Rounded half to even; what is too large saturates or becomes infinity or NaN.
pub(crate) fn to_float8(
    x: &Tensor,
    to: DType,
    format: Float8,
    saturate: bool,
) -> Result<Tensor, Fault> {
    let reals = x.to_f32s().ok_or_else(|| Fault::dtype(x))?;
    let codes: Vec<u8> = reals.iter().map(|&x| format.encode(x, saturate)).collect();
    Ok(Tensor::new(to, x.dims(), codes)?)
}

pub(super) fn cast_like(call: &Call<'_>) -> Outputs {
    Ok(vec![cast(call.input(0)?, call.input(1)?.dtype())?])
}

/// Reinterprets the bits of elements of one width.
pub(super) fn bit_cast(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let to = call.int("to").and_then(|to| i32::try_from(to).ok()).map(DType::from_number);
    let to = to.ok_or_else(|| Fault::invalid("there is no type to cast to"))?;
    if to.bits() != x.dtype().bits() || to.bits().is_none() {
        return Err(Fault::Invalid(format!("`{}` and `{to}` differ in width", x.dtype())));
    }
    Ok(vec![Tensor::new(to, x.dims(), x.bytes().clone())?])
}

/// The tensor in another element type: reals are cut off towards zero, integers wrap, and whatever is
/// not zero is true.
pub(crate) fn cast(x: &Tensor, to: DType) -> Result<Tensor, Fault> {
    if x.dtype() == to {
        return Ok(x.clone());
    }
    // Integers of 64 bits do not pass through `f64` unharmed.
    if let Some(integers) = x.to_i64s() {
        return from_integers(x, integers, to);
    }
    let reals = match x.dtype() {
        DType::Float => elements::<f32>(x).iter().map(|&x| f64::from(x)).collect(),
        DType::Uint64 => {
            let wrapped = elements::<u64>(x).iter().map(|&x| x.cast_signed()).collect();
            if to.is_integer() {
                return from_integers(x, wrapped, to);
            }
            elements::<u64>(x).iter().map(|&x| x as f64).collect()
        }
        _ => x.to_f64s().ok_or_else(|| Fault::dtype(x))?,
    };
    from_reals(x, reals, to)
}

fn from_integers(x: &Tensor, integers: Vec<i64>, to: DType) -> Result<Tensor, Fault> {
    macro_rules! wrapped {
        ($ty:ty) => {
            tensor(x.dims(), integers.into_iter().map(|q| q as $ty).collect())?
        };
    }
    Ok(match to {
        DType::Int64 => tensor(x.dims(), integers)?,
        DType::Int32 => wrapped!(i32),
        DType::Int16 => wrapped!(i16),
        DType::Int8 => wrapped!(i8),
        DType::Uint64 => wrapped!(u64),
        DType::Uint32 => wrapped!(u32),
        DType::Uint16 => wrapped!(u16),
        DType::Uint8 => wrapped!(u8),
        // One rounding, not two: straight to single precision.
        DType::Float => wrapped!(f32),
        DType::Double => wrapped!(f64),
        DType::Bool => bools(x.dims(), integers.into_iter().map(|q| u8::from(q != 0)).collect())?,
        DType::Int4 | DType::Uint4 | DType::Int2 | DType::Uint2 => pack(x.dims(), &integers, to)?,
        _ => return from_reals(x, integers.into_iter().map(|q| q as f64).collect(), to),
    })
}

fn from_reals(x: &Tensor, reals: Vec<f64>, to: DType) -> Result<Tensor, Fault> {
    macro_rules! cut {
        ($ty:ty) => {
            tensor(x.dims(), reals.into_iter().map(<$ty as Number>::from_f64).collect())?
        };
    }
    Ok(match to {
        DType::Float => cut!(f32),
        DType::Double => tensor(x.dims(), reals)?,
        DType::Float16 => {
            let bits = reals.into_iter().map(|x| f16::from_f64(x).to_bits()).collect();
            tensor_as::<u16>(to, x.dims(), bits)?
        }
        DType::BFloat16 => {
            let bits = reals.into_iter().map(|x| bf16::from_f64(x).to_bits()).collect();
            tensor_as::<u16>(to, x.dims(), bits)?
        }
        DType::Int64 => cut!(i64),
        DType::Int32 => cut!(i32),
        DType::Uint64 => cut!(u64),
        DType::Uint32 => cut!(u32),
        // Narrow ones take the low bits of what was cut off, as C compilers and so ONNX Runtime do.
        DType::Int16 | DType::Int8 | DType::Uint16 | DType::Uint8 => {
            let cut = reals.into_iter().map(|x| x as i64).collect();
            from_integers(x, cut, to)?
        }
        DType::Int4 | DType::Uint4 | DType::Int2 | DType::Uint2 => {
            pack(x.dims(), &reals.into_iter().map(|x| x as i64).collect::<Vec<_>>(), to)?
        }
        DType::Bool => bools(x.dims(), reals.into_iter().map(|x| u8::from(x != 0.0)).collect())?,
        _ => {
            return Err(Fault::Unsupported(format!(
                "it is not written for elements of type `{to}`"
            )));
        }
    })
}

/// Integers of 2 or 4 bits, the first in the lowest bits of the first byte; higher bits are dropped.
pub(crate) fn pack(dims: &[usize], integers: &[i64], to: DType) -> Result<Tensor, Fault> {
    let bits = to.bits().filter(|&bits| bits < 8);
    let bits = bits.ok_or_else(|| Fault::Unsupported(format!("`{to}` is not packed")))? as usize;
    let (per_byte, mask) = (8 / bits, (1_i64 << bits) - 1);
    let byte = |chunk: &[i64]| {
        chunk.iter().enumerate().fold(0, |byte, (at, &q)| byte | ((q & mask) << (bits * at)) as u8)
    };
    let packed: Vec<u8> = integers.chunks(per_byte).map(byte).collect();
    Ok(Tensor::new(to, dims, packed)?)
}
