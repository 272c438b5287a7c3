//! Tensors to values of the runtime and back: views of what there is, as far as it is aligned.

use std::borrow::Cow;
use std::fmt::Debug;

use bytemuck::Pod;
use bytes::Bytes;
use half::{bf16, f16};
use marquetry_ir::{Content, DType, Float8, Tensor};
use ort::session::SessionInputValue;
use ort::value::{
    DynValue, PrimitiveTensorElementType, Tensor as Owned, TensorElementType, TensorRef, ValueType,
};

use crate::array::{bools, elements, narrowed, tensor, tensor_as};

/// The type under which values of a type enter and leave the runtime: what it only has inside is cast
/// there. `None` for what cannot be handed over at all.
pub(super) fn carrier(dtype: DType) -> Option<DType> {
    match dtype {
        DType::Float
        | DType::Double
        | DType::Float16
        | DType::BFloat16
        | DType::Int64
        | DType::Int32
        | DType::Int16
        | DType::Int8
        | DType::Uint64
        | DType::Uint32
        | DType::Uint16
        | DType::Uint8
        | DType::Bool
        | DType::String => Some(dtype),
        DType::Int4 => Some(DType::Int8),
        DType::Uint4 => Some(DType::Uint8),
        // Every number of these is a `float`.
        DType::Float8E4M3Fn | DType::Float8E5M2 => Some(DType::Float),
        _ => None,
    }
}

/// The tensor as its carrier; `dtype` is what the graph calls it, where halves may come as `float`.
pub(super) fn carried(tensor: &Tensor, dtype: DType) -> Result<Cow<'_, Tensor>, String> {
    let made = match (dtype, tensor.dtype()) {
        (DType::Float16 | DType::BFloat16, DType::Float) => Ok(narrowed(tensor.clone(), dtype)),
        (DType::Int4, _) => {
            let elements = tensor.to_i64s().unwrap_or_default();
            self::tensor(tensor.dims(), elements.into_iter().map(|x| x as i8).collect())
        }
        (DType::Uint4, _) => {
            let elements = tensor.to_i64s().unwrap_or_default();
            self::tensor(tensor.dims(), elements.into_iter().map(|x| x as u8).collect())
        }
        (DType::Float8E4M3Fn | DType::Float8E5M2, _) => {
            let elements = tensor.to_f32s().unwrap_or_default();
            self::tensor(tensor.dims(), elements.into_owned())
        }
        _ => return Ok(Cow::Borrowed(tensor)),
    };
    made.map(Cow::Owned).map_err(|error| error.to_string())
}

/// The tensor of the type that the graph gives it, from its carrier.
pub(super) fn uncarried(carrier: Tensor, dtype: DType) -> Result<Tensor, String> {
    let made = match dtype {
        DType::Int4 | DType::Uint4 => {
            let elements = carrier.to_i64s().unwrap_or_default();
            let nibble = |x: &i64| (*x & 0xF) as u8;
            let pairs = elements
                .chunks(2)
                .map(|pair| nibble(&pair[0]) | pair.get(1).map_or(0, |second| nibble(second) << 4));
            Tensor::new(dtype, carrier.dims(), pairs.collect::<Vec<u8>>())
        }
        DType::Float8E4M3Fn | DType::Float8E5M2 => {
            let format = Float8::of(dtype).expect("these are the formats that it knows");
            let elements = carrier.to_f32s().unwrap_or_default();
            let codes: Vec<u8> = elements.iter().map(|&x| format.encode(x, true)).collect();
            Tensor::new(dtype, carrier.dims(), codes)
        }
        _ => return Ok(carrier),
    };
    made.map_err(|error| error.to_string())
}

fn shape(tensor: &Tensor) -> Vec<i64> {
    tensor.dims().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect()
}

fn text(error: ort::Error) -> String {
    super::library::one_line(&error.to_string())
}

/// A value over the tensor itself, as an input of a run.
pub(super) fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, String> {
    fn of<T: Pod + Debug + PrimitiveTensorElementType>(
        tensor: &Tensor,
    ) -> Result<SessionInputValue<'_>, String> {
        match elements::<T>(tensor) {
            Cow::Borrowed(elements) => TensorRef::from_array_view((shape(tensor), elements))
                .map(SessionInputValue::from)
                .map_err(text),
            Cow::Owned(elements) => Owned::from_array((shape(tensor), elements))
                .map(SessionInputValue::from)
                .map_err(text),
        }
    }
    match tensor.dtype() {
        DType::Float => of::<f32>(tensor),
        DType::Double => of::<f64>(tensor),
        DType::Int64 => of::<i64>(tensor),
        DType::Int32 => of::<i32>(tensor),
        DType::Int16 => of::<i16>(tensor),
        DType::Int8 => of::<i8>(tensor),
        DType::Uint64 => of::<u64>(tensor),
        DType::Uint32 => of::<u32>(tensor),
        DType::Uint16 => of::<u16>(tensor),
        DType::Uint8 => of::<u8>(tensor),
        _ => owned(tensor).map(SessionInputValue::from),
    }
}

/// A value with a copy of the tensor.
pub(super) fn owned(tensor: &Tensor) -> Result<DynValue, String> {
    fn of<T: PrimitiveTensorElementType + Debug + Clone + 'static>(
        tensor: &Tensor,
        elements: Vec<T>,
    ) -> Result<DynValue, String> {
        Owned::from_array((shape(tensor), elements)).map(Owned::into_dyn).map_err(text)
    }
    fn pod<T: Pod + PrimitiveTensorElementType + Debug>(
        tensor: &Tensor,
    ) -> Result<DynValue, String> {
        of(tensor, elements::<T>(tensor).into_owned())
    }
    match tensor.dtype() {
        DType::Float => pod::<f32>(tensor),
        DType::Double => pod::<f64>(tensor),
        DType::Int64 => pod::<i64>(tensor),
        DType::Int32 => pod::<i32>(tensor),
        DType::Int16 => pod::<i16>(tensor),
        DType::Int8 => pod::<i8>(tensor),
        DType::Uint64 => pod::<u64>(tensor),
        DType::Uint32 => pod::<u32>(tensor),
        DType::Uint16 => pod::<u16>(tensor),
        DType::Uint8 => pod::<u8>(tensor),
        DType::Bool => of(tensor, tensor.bytes().iter().map(|&x| x != 0).collect()),
        DType::Float16 => {
            let bits = elements::<u16>(tensor);
            of(tensor, bits.iter().map(|&bits| f16::from_bits(bits)).collect())
        }
        DType::BFloat16 => {
            let bits = elements::<u16>(tensor);
            of(tensor, bits.iter().map(|&bits| bf16::from_bits(bits)).collect())
        }
        DType::String => strings(tensor),
        other => Err(format!("`{other}` tensors do not enter the runtime")),
    }
}

fn strings(tensor: &Tensor) -> Result<DynValue, String> {
    let Content::Strings(strings) = tensor.content() else {
        return Err("a tensor of strings has none".to_owned());
    };
    let strings: Result<Vec<String>, _> =
        strings.iter().map(|bytes| String::from_utf8(bytes.to_vec())).collect();
    let strings = strings.map_err(|_| "a string is no UTF-8".to_owned())?;
    let made = Owned::from_string_array((shape(tensor), &*strings));
    made.map(Owned::into_dyn).map_err(text)
}

/// The tensor that a run gave.
pub(super) fn taken(value: DynValue) -> Result<Tensor, String> {
    fn of<T>(value: DynValue, dims: Vec<usize>, dtype: DType) -> Result<Tensor, String>
    where
        T: Pod + PrimitiveTensorElementType + Debug + Send + Sync,
    {
        // What is small is copied, so that it does not keep a block of the runtime's memory alive.
        const COPIED: usize = 1 << 12;
        let (_, elements) = value.try_extract_tensor::<T>().map_err(text)?;
        if size_of_val(elements) <= COPIED {
            return tensor_as(dtype, dims, elements.to_vec()).map_err(|error| error.to_string());
        }
        let bytes = Bytes::from_owner(Held::<T>(value, std::marker::PhantomData));
        Tensor::new(dtype, dims, bytes).map_err(|error| error.to_string())
    }
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err("what is no tensor does not leave the runtime".to_owned());
    };
    let dims: Vec<usize> = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    match ty {
        TensorElementType::Float32 => of::<f32>(value, dims, DType::Float),
        TensorElementType::Float64 => of::<f64>(value, dims, DType::Double),
        TensorElementType::Int64 => of::<i64>(value, dims, DType::Int64),
        TensorElementType::Int32 => of::<i32>(value, dims, DType::Int32),
        TensorElementType::Int16 => of::<i16>(value, dims, DType::Int16),
        TensorElementType::Int8 => of::<i8>(value, dims, DType::Int8),
        TensorElementType::Uint64 => of::<u64>(value, dims, DType::Uint64),
        TensorElementType::Uint32 => of::<u32>(value, dims, DType::Uint32),
        TensorElementType::Uint16 => of::<u16>(value, dims, DType::Uint16),
        TensorElementType::Uint8 => of::<u8>(value, dims, DType::Uint8),
        TensorElementType::Bool => {
            let (_, elements) = value.try_extract_tensor::<bool>().map_err(text)?;
            let elements = elements.iter().map(|&x| u8::from(x)).collect();
            bools(dims, elements).map_err(|error| error.to_string())
        }
        TensorElementType::Float16 => {
            let (_, elements) = value.try_extract_tensor::<f16>().map_err(text)?;
            let bits: Vec<u16> = elements.iter().map(|x| x.to_bits()).collect();
            tensor_as(DType::Float16, dims, bits).map_err(|error| error.to_string())
        }
        TensorElementType::Bfloat16 => {
            let (_, elements) = value.try_extract_tensor::<bf16>().map_err(text)?;
            let bits: Vec<u16> = elements.iter().map(|x| x.to_bits()).collect();
            tensor_as(DType::BFloat16, dims, bits).map_err(|error| error.to_string())
        }
        TensorElementType::String => {
            let (_, strings) = value.try_extract_strings().map_err(text)?;
            let strings = strings.into_iter().map(Bytes::from).collect();
            Tensor::strings(dims, strings).map_err(|error| error.to_string())
        }
        other => Err(format!("`{other}` tensors do not leave the runtime")),
    }
}

/// Memory of the runtime, as the bytes of a tensor.
struct Held<T>(DynValue, std::marker::PhantomData<fn() -> T>);

impl<T: Pod + PrimitiveTensorElementType> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        let extracted = self.0.try_extract_tensor::<T>();
        let (_, elements) = extracted.expect("it was extracted as this when it was made");
        bytemuck::cast_slice(elements)
    }
}
