//! Tensors seen as arrays, and arrays made into tensors, without copies where the bytes allow it.

use std::borrow::Cow;

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};
use marquetry_ir::{DType, Tensor, TensorError};
use ndarray::{ArrayD, ArrayView, CowArray, IxDyn, ShapeError};

const _: () = assert!(cfg!(target_endian = "little"), "tensors are viewed as they are stored");

/// An element type that is held as itself.
pub(crate) trait Element: Pod + Send + Sync {
    /// The type's name in ONNX.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty = $dtype:ident),*) => { $(impl Element for $ty { const DTYPE: DType = DType::$dtype; })* };
}
elements!(
    f32 = Float,
    f64 = Double,
    i64 = Int64,
    i32 = Int32,
    i16 = Int16,
    i8 = Int8,
    u64 = Uint64,
    u32 = Uint32,
    u16 = Uint16,
    u8 = Uint8
);

/// The elements, copied only where they are not aligned. `T` has the size of the tensor's elements.
pub(crate) fn elements<T: Pod>(tensor: &Tensor) -> Cow<'_, [T]> {
    let bytes = tensor.bytes();
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) => Cow::Borrowed(elements),
        Err(_) => Cow::Owned(
            bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect(),
        ),
    }
}

/// The tensor as an array of `T`, which has the size of its elements.
pub(crate) fn array<T: Pod>(tensor: &Tensor) -> Result<CowArray<'_, T, IxDyn>, ShapeError> {
    let dims = IxDyn(tensor.dims());
    match elements::<T>(tensor) {
        Cow::Borrowed(elements) => Ok(ArrayView::from_shape(dims, elements)?.into()),
        Cow::Owned(elements) => Ok(ArrayD::from_shape_vec(dims, elements)?.into()),
    }
}

/// A tensor of any type whose elements have the size of `T`, over the vector itself.
pub(crate) fn tensor_as<T: Pod + Send + Sync>(
    dtype: DType,
    dims: impl Into<Vec<usize>>,
    elements: Vec<T>,
) -> Result<Tensor, TensorError> {
    Tensor::new(dtype, dims, Bytes::from_owner(Owner(elements)))
}

/// A tensor over the vector itself.
pub(crate) fn tensor<T: Element>(
    dims: impl Into<Vec<usize>>,
    elements: Vec<T>,
) -> Result<Tensor, TensorError> {
    tensor_as(T::DTYPE, dims, elements)
}

/// A `bool` tensor from zeros and ones.
pub(crate) fn bools(dims: impl Into<Vec<usize>>, elements: Vec<u8>) -> Result<Tensor, TensorError> {
    tensor_as(DType::Bool, dims, elements)
}

/// The elements of an array in C order.
pub(crate) fn flat<T: Clone>(array: ArrayD<T>) -> Vec<T> {
    let count = array.len();
    if !array.is_standard_layout() {
        return array.iter().cloned().collect();
    }
    let (elements, offset) = array.into_raw_vec_and_offset();
    let start = offset.unwrap_or(0);
    // A sliced array owns more than it shows.
    if elements.len() == count { elements } else { elements[start..start + count].to_vec() }
}

/// A half-precision tensor as `float`, any other as it is.
pub(crate) fn widened(tensor: &Tensor) -> Tensor {
    match tensor.dtype() {
        DType::Float16 | DType::BFloat16 => {
            let elements = tensor.to_f32s().expect("half-precision numbers are numbers");
            crate::array::tensor(tensor.dims(), elements.into_owned())
                .expect("the shape is the tensor's own")
        }
        _ => tensor.clone(),
    }
}

/// A `float` tensor rounded to a half-precision type, any other as it is.
pub(crate) fn narrowed(tensor: Tensor, to: DType) -> Tensor {
    let Some(elements) = tensor.f32s() else { return tensor };
    let bits: Vec<u16> = match to {
        DType::Float16 => elements.iter().map(|&x| f16::from_f32(x).to_bits()).collect(),
        DType::BFloat16 => elements.iter().map(|&x| bf16::from_f32(x).to_bits()).collect(),
        _ => return tensor,
    };
    tensor_as(to, tensor.dims(), bits).expect("the shape is the tensor's own")
}

/// Keeps a vector of elements alive as the bytes that it is.
struct Owner<T>(Vec<T>);

impl<T: Pod> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
