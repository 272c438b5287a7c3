use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::{DType, Float8, Metadata};

/// A constant tensor: element type, shape and content.
///
/// Content is a slice of the file it came from until somebody changes it; cloning is cheap.
///
/// ```
/// use marquetry_ir::{DType, Tensor};
///
/// let tensor = Tensor::from_f32s([2, 2], &[1.0, 2.0, 3.0, 4.0])?;
/// assert_eq!((tensor.dtype(), tensor.dims()), (DType::Float, &[2, 2][..]));
/// let row = tensor.reshape([4])?;
/// assert_eq!(row.to_f64s(), Some(vec![1.0, 2.0, 3.0, 4.0]));
/// assert!(Tensor::from_f32s([3], &[1.0]).is_err());
/// # Ok::<(), marquetry_ir::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    content: Content,
    /// How a file holds the content.
    pub storage: Storage,
    /// What a file says beside the content; rare.
    pub notes: Option<Box<TensorNotes>>,
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Little-endian elements in C order, packed as ONNX's `raw_data`.
    Bytes(Bytes),
    /// Strings, which need not be UTF-8.
    Strings(Vec<Bytes>),
}

/// Where a file keeps the content of a tensor. It means the same everywhere; it is kept so that
/// writing does not rearrange what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In `raw_data`.
    #[default]
    Raw,
    /// In the field of its type: `float_data`, `int64_data`, …
    Typed,
    /// In another file.
    External(Arc<External>),
}

/// The place of a tensor's content in another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct External {
    /// The file, relative to the model's folder.
    pub location: String,
    /// The first byte; `None` where the model leaves it out.
    pub offset: Option<u64>,
    /// The number of bytes; `None` where the model leaves it out.
    pub length: Option<u64>,
    /// The SHA-1 of the file, where the model gives it.
    pub checksum: Option<String>,
}

/// What a file may say about a tensor beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorNotes {
    /// The tensor's own name, where it is not the name of the value it defines.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// Key-value pairs.
    pub metadata: Metadata,
}

/// Why a tensor could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The product of the dimensions, or the bytes they take, do not fit 64 bits.
    #[error("a tensor of shape {dims:?} is too large")]
    TooLarge {
        /// The shape.
        dims: Vec<usize>,
    },
    /// The content does not have the size that type and shape ask for.
    #[error("a `{dtype}` tensor of shape {dims:?} takes {expected} bytes, not {found}")]
    WrongSize {
        /// The element type.
        dtype: DType,
        /// The shape.
        dims: Vec<usize>,
        /// Bytes (or strings) that type and shape ask for.
        expected: u64,
        /// Bytes (or strings) that are there.
        found: u64,
    },
    /// The element type has no size: it is `string` where bytes were given, or unknown.
    #[error("elements of type `{dtype}` cannot be held as bytes")]
    NoSize {
        /// The element type.
        dtype: DType,
    },
}

impl TensorError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "tensor_too_large",
            Self::WrongSize { .. } => "tensor_wrong_size",
            Self::NoSize { .. } => "tensor_no_size",
        }
    }
}

impl Tensor {
    /// A tensor over bytes in the layout of ONNX's `raw_data`.
    ///
    /// # Errors
    ///
    /// When the number of bytes is not what the type and the shape ask for.
    pub fn new(
        dtype: DType,
        dims: impl Into<Vec<usize>>,
        bytes: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let (dims, bytes) = (dims.into(), bytes.into());
        let elements =
            elements(&dims).ok_or_else(|| TensorError::TooLarge { dims: dims.clone() })?;
        if dtype.bits().is_none() {
            return Err(TensorError::NoSize { dtype });
        }
        let Some(expected) = dtype.size_of(elements) else {
            return Err(TensorError::TooLarge { dims });
        };
        if expected != bytes.len() as u64 {
            return Err(TensorError::WrongSize {
                dtype,
                dims,
                expected,
                found: bytes.len() as u64,
            });
        }
        Ok(Self { dtype, dims, content: Content::Bytes(bytes), storage: Storage::Raw, notes: None })
    }

    /// A tensor of strings.
    ///
    /// # Errors
    ///
    /// When the number of strings is not what the shape asks for.
    pub fn strings(dims: impl Into<Vec<usize>>, strings: Vec<Bytes>) -> Result<Self, TensorError> {
        let dims = dims.into();
        let expected =
            elements(&dims).ok_or_else(|| TensorError::TooLarge { dims: dims.clone() })?;
        if expected != strings.len() as u64 {
            let found = strings.len() as u64;
            return Err(TensorError::WrongSize { dtype: DType::String, dims, expected, found });
        }
        let content = Content::Strings(strings);
        Ok(Self { dtype: DType::String, dims, content, storage: Storage::Typed, notes: None })
    }

    /// A `float` tensor.
    ///
    /// # Errors
    ///
    /// When the number of elements is not what the shape asks for.
    pub fn from_f32s(dims: impl Into<Vec<usize>>, elements: &[f32]) -> Result<Self, TensorError> {
        Self::new(DType::Float, dims, little_endian(elements, |x| x.to_le_bytes()))
    }

    /// An `int64` tensor.
    ///
    /// # Errors
    ///
    /// When the number of elements is not what the shape asks for.
    pub fn from_i64s(dims: impl Into<Vec<usize>>, elements: &[i64]) -> Result<Self, TensorError> {
        Self::new(DType::Int64, dims, little_endian(elements, |x| x.to_le_bytes()))
    }

    /// A numeric tensor of any type that [`Tensor::to_f64s`] reads, of whole bytes; each number is
    /// rounded to the nearest of the type once, and those that are out of the range of an integer type
    /// become its nearest bound. `None` for other types.
    ///
    /// # Errors
    ///
    /// When the number of elements is not what the shape asks for.
    pub fn from_f64s(
        dtype: DType,
        dims: impl Into<Vec<usize>>,
        elements: &[f64],
    ) -> Option<Result<Self, TensorError>> {
        let bytes = match dtype {
            DType::Float => little_endian(elements, |x| (x as f32).to_le_bytes()),
            DType::Double => little_endian(elements, f64::to_le_bytes),
            DType::Float16 => little_endian(elements, |x| f16::from_f64(x).to_le_bytes()),
            DType::BFloat16 => little_endian(elements, |x| bf16::from_f64(x).to_le_bytes()),
            DType::Int64 => little_endian(elements, |x| (x as i64).to_le_bytes()),
            DType::Int32 => little_endian(elements, |x| (x as i32).to_le_bytes()),
            DType::Int16 => little_endian(elements, |x| (x as i16).to_le_bytes()),
            DType::Int8 => little_endian(elements, |x| (x as i8).to_le_bytes()),
            DType::Uint64 => little_endian(elements, |x| (x as u64).to_le_bytes()),
            DType::Uint32 => little_endian(elements, |x| (x as u32).to_le_bytes()),
            DType::Uint16 => little_endian(elements, |x| (x as u16).to_le_bytes()),
            DType::Uint8 => little_endian(elements, |x| (x as u8).to_le_bytes()),
            DType::Bool => little_endian(elements, |x| [u8::from(x != 0.0)]),
            _ => return None,
        };
        Some(Self::new(dtype, dims, bytes))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The length of each axis; empty for a scalar.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // A zero anywhere makes the product zero, however large the rest.
        if self.dims.contains(&0) { 0 } else { self.dims.iter().product() }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The elements as bytes in the layout of `raw_data`; empty for strings.
    pub fn bytes(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Strings(_) => &NOTHING,
        }
    }

    /// The elements of a `float` tensor, without a copy where the bytes are aligned.
    pub fn f32s(&self) -> Option<Cow<'_, [f32]>> {
        (self.dtype == DType::Float).then(|| self.view(f32::from_le_bytes))
    }

    /// The elements of an `int64` tensor, without a copy where the bytes are aligned.
    pub fn i64s(&self) -> Option<Cow<'_, [i64]>> {
        (self.dtype == DType::Int64).then(|| self.view(i64::from_le_bytes))
    }

    /// The elements of an integer or boolean tensor of any width, widened; `None` for other types and
    /// where a `uint64` does not fit.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        let bytes = self.bytes();
        match self.dtype {
            DType::Int64 => Some(self.view(i64::from_le_bytes).into_owned()),
            DType::Int32 => Some(widen(bytes, |b| i32::from_le_bytes(b).into())),
            DType::Int16 => Some(widen(bytes, |b| i16::from_le_bytes(b).into())),
            DType::Int8 => Some(widen(bytes, |b| i8::from_le_bytes(b).into())),
            DType::Uint32 => Some(widen(bytes, |b| u32::from_le_bytes(b).into())),
            DType::Uint16 => Some(widen(bytes, |b| u16::from_le_bytes(b).into())),
            DType::Uint8 | DType::Bool => Some(widen(bytes, |b: [u8; 1]| b[0].into())),
            DType::Uint64 => {
                self.view(u64::from_le_bytes).iter().map(|&x| i64::try_from(x).ok()).collect()
            }
            DType::Int4 | DType::Uint4 | DType::Int2 | DType::Uint2 => Some(self.unpack()),
            _ => None,
        }
    }

    /// The elements of a numeric tensor as `f64`; `None` for strings, complex numbers and float
    /// formats of 8 bits or less other than the two of [`Float8`].
    pub fn to_f64s(&self) -> Option<Vec<f64>> {
        let bytes = self.bytes();
        match self.dtype {
            DType::Float => Some(widen(bytes, |b| f32::from_le_bytes(b).into())),
            DType::Double => Some(widen(bytes, f64::from_le_bytes)),
            DType::Float16 => Some(widen(bytes, |b| f16::from_le_bytes(b).into())),
            DType::BFloat16 => Some(widen(bytes, |b| bf16::from_le_bytes(b).into())),
            DType::Uint64 => Some(widen(bytes, |b| u64::from_le_bytes(b) as f64)),
            DType::Float8E4M3Fn | DType::Float8E5M2 => {
                let format = Float8::of(self.dtype)?;
                Some(bytes.iter().map(|&code| format.decode(code).into()).collect())
            }
            _ => Some(self.to_i64s()?.into_iter().map(|x| x as f64).collect()),
        }
    }

    /// The elements of a numeric tensor as `f32`, without a copy where it is a `float` tensor and
    /// aligned; `None` as for [`Tensor::to_f64s`].
    pub fn to_f32s(&self) -> Option<Cow<'_, [f32]>> {
        match self.dtype {
            DType::Float => self.f32s(),
            DType::Float16 => {
                Some(Cow::Owned(widen(self.bytes(), |b| f16::from_le_bytes(b).to_f32())))
            }
            DType::BFloat16 => {
                Some(Cow::Owned(widen(self.bytes(), |b| bf16::from_le_bytes(b).to_f32())))
            }
            _ => Some(Cow::Owned(self.to_f64s()?.into_iter().map(|x| x as f32).collect())),
        }
    }

    /// The only element of a numeric tensor with one element, whatever its rank.
    pub fn item(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.to_f64s())?.and_then(|elements| elements.first().copied())
    }

    /// The same elements in the same order under another shape.
    ///
    /// # Errors
    ///
    /// When the shape asks for another number of elements.
    pub fn reshape(&self, dims: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let dims = dims.into();
        if elements(&dims) != Some(self.len() as u64) {
            let found = self.len() as u64;
            let expected = elements(&dims).unwrap_or(u64::MAX);
            return Err(TensorError::WrongSize { dtype: self.dtype, dims, expected, found });
        }
        Ok(Self { dims, storage: Storage::Raw, notes: None, ..self.clone() })
    }

    fn view<T: bytemuck::Pod, const N: usize>(&self, read: fn([u8; N]) -> T) -> Cow<'_, [T]> {
        let bytes = self.bytes();
        match bytemuck::try_cast_slice(bytes) {
            Ok(elements) if cfg!(target_endian = "little") => Cow::Borrowed(elements),
            _ => Cow::Owned(widen(bytes, read)),
        }
    }

    /// Integers of 2 or 4 bits: the first element is in the lowest bits of the first byte.
    fn unpack(&self) -> Vec<i64> {
        let bits = self.dtype.bits().expect("sub-byte integers have a size");
        let signed = matches!(self.dtype, DType::Int4 | DType::Int2);
        let (per_byte, mask) = (8 / bits as usize, (1_i64 << bits) - 1);
        let element = |index: usize| {
            let byte = i64::from(self.bytes()[index / per_byte]);
            let value = (byte >> (bits as usize * (index % per_byte))) & mask;
            if signed && value >> (bits - 1) == 1 { value - (1 << bits) } else { value }
        };
        (0..self.len()).map(element).collect()
    }
}

/// Equal in what it means: type, shape and content to the bit; where a file keeps it does not matter.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.dims == other.dims && self.content == other.content
    }
}

fn elements(dims: &[usize]) -> Option<u64> {
    // A zero anywhere makes the product zero, however large the rest.
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64))
}

fn widen<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| read(chunk)).collect()
}

fn little_endian<T: Copy, const N: usize>(elements: &[T], write: fn(T) -> [u8; N]) -> Vec<u8> {
    elements.iter().flat_map(|&element| write(element)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_byte_elements_start_at_the_low_bits() {
        let tensor = Tensor::new(DType::Int4, [3], vec![0xF1, 0x07]).unwrap();
        assert_eq!(tensor.to_i64s().unwrap(), [1, -1, 7]);
        let tensor = Tensor::new(DType::Uint2, [5], vec![0b11_10_01_00, 0b01]).unwrap();
        assert_eq!(tensor.to_i64s().unwrap(), [0, 1, 2, 3, 1]);
    }

    #[test]
    fn content_must_have_the_size_of_the_shape() {
        let short = Tensor::new(DType::Float, [2], vec![0; 7]).unwrap_err();
        assert_eq!(short.to_string(), "a `float` tensor of shape [2] takes 8 bytes, not 7");
        assert_eq!(
            Tensor::new(DType::Float, [1 << 40, 1 << 40], vec![]).unwrap_err().code(),
            "tensor_too_large"
        );
        assert!(Tensor::new(DType::Float, [usize::MAX, 0], vec![]).is_ok());
    }

    #[test]
    fn unaligned_bytes_are_copied() {
        let bytes = Bytes::from(vec![9, 0, 0, 128, 63, 0, 0, 0, 64]).slice(1..);
        let tensor = Tensor::new(DType::Float, [2], bytes).unwrap();
        assert_eq!(tensor.f32s().unwrap().as_ref(), [1.0, 2.0]);
    }
}
