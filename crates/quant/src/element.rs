//! The floats that can be quantized, and constants of them.
//!
//! Passes compute in single precision whatever the model computes in, and write constants back in its
//! type.

use std::borrow::Cow;

use half::{bf16, f16};
use marquetry_ir::{DType, Tensor, TensorError};

/// Whether QuantizeLinear takes values of this type: half precision from opset 19 on.
pub(crate) fn is_quantizable(dtype: DType) -> bool {
    matches!(dtype, DType::Float | DType::Float16 | DType::BFloat16)
}

/// The elements of a tensor of such a type.
pub(crate) fn floats(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    tensor.to_f32s().filter(|_| is_quantizable(tensor.dtype()))
}

/// A tensor of such a type, of the nearest numbers that it has.
pub(crate) fn tensor(
    dtype: DType,
    dims: impl Into<Vec<usize>>,
    data: &[f32],
) -> Result<Tensor, TensorError> {
    let bytes: Vec<u8> = match dtype {
        DType::Float16 => data.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        DType::BFloat16 => data.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        _ => return Tensor::from_f32s(dims, data),
    };
    Tensor::new(dtype, dims, bytes)
}

/// The scale as a tensor of this type holds it: the next one that is not smaller, because a smaller one
/// would cut the ends of the range off, by a third where the number is subnormal. So none is zero.
pub(crate) fn scale(dtype: DType, scale: f64) -> f64 {
    match dtype {
        DType::Float16 => {
            let near = f16::from_f64(scale);
            let up = u16::from(f64::from(near) < scale);
            f16::from_bits(near.to_bits() + up).min(f16::MAX).into()
        }
        DType::BFloat16 => {
            let near = bf16::from_f64(scale);
            let up = u16::from(f64::from(near) < scale);
            bf16::from_bits(near.to_bits() + up).min(bf16::MAX).into()
        }
        _ => scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_of_half_precision_are_never_zero_nor_infinite() {
        assert_eq!(scale(DType::Float16, 1e-12), f64::from(f16::MIN_POSITIVE_SUBNORMAL));
        assert_eq!(scale(DType::Float16, 1e9), 65504.0);
        assert_eq!(scale(DType::Float16, 0.25), 0.25);
        let subnormal = f64::from(f16::MIN_POSITIVE_SUBNORMAL);
        assert_eq!(scale(DType::Float16, 1.4 * subnormal), 2.0 * subnormal);
        for (dtype, ulp) in [(DType::Float16, 2f64.powi(-10)), (DType::BFloat16, 2f64.powi(-7))] {
            let found = scale(dtype, 0.1);
            assert!(0.1 <= found && found <= 0.1 * (1.0 + ulp), "{found}");
        }
        assert_eq!(scale(DType::Float, 1e-12), 1e-12);
    }

    #[test]
    fn constants_keep_their_type() {
        for dtype in [DType::Float, DType::Float16, DType::BFloat16] {
            let tensor = tensor(dtype, [2], &[1.0, -0.5]).unwrap();
            assert_eq!(tensor.dtype(), dtype);
            assert_eq!(&*floats(&tensor).unwrap(), [1.0, -0.5]);
        }
        assert!(floats(&Tensor::from_i64s([1], &[3]).unwrap()).is_none());
    }
}
