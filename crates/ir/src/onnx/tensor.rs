//! Tensors: `TensorProto` and `SparseTensorProto` to [`Tensor`] and back.

use bytes::Bytes;

use super::error::{Fault, Located, Within as _};
use super::external::{self, ExternalFault};
use super::model::{self, Reader};
use super::proto;
use super::sidecar::Layout;
use crate::{Content, DType, SparseTensor, Storage, Tensor, TensorError, TensorNotes};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// The tensor that a message means. Its own name stands in the notes: the caller takes it out where
/// it is the name of a value.
pub(super) fn read(reader: &mut Reader<'_>, mut wire: proto::Tensor) -> Result<Tensor, Fault> {
    let dtype = DType::from_number(wire.data_type.unwrap_or(0));
    let dims = dims(&wire.dims)?;
    if wire.segment.is_some() {
        return Err(Fault::Segment);
    }
    let field = only_content(&wire)?;
    let (content, storage) = match wire.data_location.unwrap_or(0) {
        EXTERNAL => {
            if let Some(field) = field.filter(|&field| field != "external_data") {
                return Err(Fault::TwoContents { first: "external_data", second: field });
            }
            let needed = size(dtype, &dims)?;
            let entries = std::mem::take(&mut wire.external_data);
            let external =
                external::parse(entries, reader.options.strip_unknown).map_err(external_fault)?;
            let folder = reader.folder.as_mut();
            let folder = folder.ok_or_else(|| {
                external_fault(ExternalFault::NoFolder(external.location.clone()))
            })?;
            let (bytes, external) = folder.slice(external, needed).map_err(external_fault)?;
            (Content::Bytes(bytes), Storage::External(external))
        }
        0 => match (field, dtype) {
            (Some("raw_data"), DType::String) => {
                return Err(Fault::WrongField { dtype, field: "raw_data" });
            }
            (Some("raw_data"), _) => {
                (Content::Bytes(wire.raw_data.take().unwrap_or_default()), Storage::Raw)
            }
            (Some(field), _) if field_of(dtype) != Some(field) => {
                return Err(Fault::WrongField { dtype, field });
            }
            (_, DType::String) => {
                (Content::Strings(std::mem::take(&mut wire.string_data)), Storage::Typed)
            }
            _ => (Content::Bytes(from_typed(dtype, &dims, &wire)?), Storage::Typed),
        },
        other => return Err(Fault::DataLocation(other)),
    };
    let mut tensor = match content {
        Content::Bytes(bytes) => Tensor::new(dtype, dims, bytes)?,
        Content::Strings(strings) => Tensor::strings(dims, strings)?,
    };
    tensor.storage = storage;
    tensor.notes = notes(wire);
    Ok(tensor)
}

/// The sparse tensor that a message means.
pub(super) fn read_sparse(
    reader: &mut Reader<'_>,
    wire: proto::SparseTensor,
) -> Result<SparseTensor, Located> {
    let values = wire.values.ok_or(Fault::Missing("values"))?;
    let indices = wire.indices.ok_or(Fault::Missing("indices"))?;
    Ok(SparseTensor {
        values: read(reader, values).within(|| "the values".to_owned())?,
        indices: read(reader, indices).within(|| "the indices".to_owned())?,
        dims: wire.dims,
    })
}

/// The message for a tensor; `name` stands in for a name of its own.
pub(super) fn write(tensor: &Tensor, name: Option<&str>, layout: &Layout) -> proto::Tensor {
    let mut wire = proto::Tensor {
        dims: tensor.dims().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
        data_type: Some(tensor.dtype().number()),
        ..proto::Tensor::default()
    };
    if let Some(notes) = &tensor.notes {
        wire.name = model::text(&notes.name);
        wire.doc_string = model::text(&notes.doc);
        wire.metadata_props = model::write_metadata(&notes.metadata);
    }
    if let Some(name) = name {
        wire.name = Some(name.to_owned());
    }
    match (tensor.content(), layout.place(tensor)) {
        (Content::Strings(strings), _) => wire.string_data.clone_from(strings),
        (Content::Bytes(_), Some(external)) => {
            wire.data_location = Some(EXTERNAL);
            let entry = |key: &str, value: String| proto::StringEntry {
                key: Some(key.to_owned()),
                value: Some(value),
            };
            wire.external_data.push(entry("location", external.location.clone()));
            let numbers = [("offset", external.offset), ("length", external.length)];
            for (key, number) in numbers {
                wire.external_data.extend(number.map(|number| entry(key, number.to_string())));
            }
            let checksum = external.checksum.clone();
            wire.external_data.extend(checksum.map(|checksum| entry("checksum", checksum)));
        }
        (Content::Bytes(bytes), None) => match tensor.storage {
            Storage::Typed => to_typed(tensor, bytes, &mut wire),
            _ => wire.raw_data = Some(bytes.clone()),
        },
    }
    wire
}

/// The message for a sparse tensor; `name` stands in for the name of its values.
pub(super) fn write_sparse(
    sparse: &SparseTensor,
    name: Option<&str>,
    layout: &Layout,
) -> proto::SparseTensor {
    proto::SparseTensor {
        values: Some(write(&sparse.values, name, layout)),
        indices: Some(write(&sparse.indices, None, layout)),
        dims: sparse.dims.clone(),
    }
}

fn external_fault(fault: ExternalFault) -> Fault {
    Fault::External { fault }
}

fn dims(wire: &[i64]) -> Result<Vec<usize>, Fault> {
    let length = |&dim: &i64| usize::try_from(dim).map_err(|_| Fault::NegativeDim(dim));
    wire.iter().map(length).collect()
}

/// Bytes that type and shape ask for.
fn size(dtype: DType, dims: &[usize]) -> Result<u64, TensorError> {
    if dtype.bits().is_none() {
        return Err(TensorError::NoSize { dtype });
    }
    let elements = if dims.contains(&0) {
        Some(0)
    } else {
        dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64))
    };
    let size = elements.and_then(|elements| dtype.size_of(elements));
    size.ok_or_else(|| TensorError::TooLarge { dims: dims.to_vec() })
}

/// The one field that holds the content, if any does.
fn only_content(wire: &proto::Tensor) -> Result<Option<&'static str>, Fault> {
    let fields = [
        ("raw_data", wire.raw_data.is_some()),
        ("float_data", !wire.float_data.is_empty()),
        ("int32_data", !wire.int32_data.is_empty()),
        ("string_data", !wire.string_data.is_empty()),
        ("int64_data", !wire.int64_data.is_empty()),
        ("double_data", !wire.double_data.is_empty()),
        ("uint64_data", !wire.uint64_data.is_empty()),
        ("external_data", !wire.external_data.is_empty()),
    ];
    let mut filled = fields.into_iter().filter(|&(_, filled)| filled).map(|(field, _)| field);
    match (filled.next(), filled.next()) {
        (Some(first), Some(second)) => Err(Fault::TwoContents { first, second }),
        (only, _) => Ok(only),
    }
}

fn notes(wire: proto::Tensor) -> Option<Box<TensorNotes>> {
    let notes = TensorNotes {
        name: wire.name.unwrap_or_default(),
        doc: wire.doc_string.unwrap_or_default(),
        metadata: model::read_metadata(wire.metadata_props),
    };
    (notes != TensorNotes::default()).then(|| Box::new(notes))
}

/// The typed field that ONNX provides for elements of this type.
fn field_of(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::Float | DType::Complex64 => Some("float_data"),
        DType::Double | DType::Complex128 => Some("double_data"),
        DType::Int64 => Some("int64_data"),
        DType::Uint32 | DType::Uint64 => Some("uint64_data"),
        DType::String => Some("string_data"),
        DType::Unknown(_) => None,
        _ => Some("int32_data"),
    }
}

/// The elements of a typed field in the layout of `raw_data`.
fn from_typed(dtype: DType, dims: &[usize], wire: &proto::Tensor) -> Result<Bytes, Fault> {
    let out_of_range = |value: i128| Fault::OutOfRange { dtype, value };
    let bytes = match field_of(dtype) {
        Some("float_data") => wire.float_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Some("double_data") => wire.double_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Some("int64_data") => wire.int64_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Some("uint64_data") if dtype == DType::Uint64 => {
            wire.uint64_data.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        Some("uint64_data") => {
            let mut bytes = Vec::with_capacity(wire.uint64_data.len() * 4);
            for &x in &wire.uint64_data {
                let narrow = u32::try_from(x).map_err(|_| out_of_range(x.into()))?;
                bytes.extend(narrow.to_le_bytes());
            }
            bytes
        }
        Some("int32_data") => {
            let (low, high) = entry_range(dtype);
            let outside = wire.int32_data.iter().find(|&&x| !(low..=high).contains(&x));
            if let Some(&x) = outside {
                return Err(out_of_range(x.into()));
            }
            match dtype.bits() {
                Some(32) => wire.int32_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Some(16) => wire.int32_data.iter().flat_map(|x| low_bytes::<2>(*x)).collect(),
                Some(6) => {
                    let (expected, found) = (count(dims), wire.int32_data.len() as u64);
                    if expected != found {
                        let dims = dims.to_vec();
                        return Err(TensorError::WrongSize { dtype, dims, expected, found }.into());
                    }
                    pack_sixes(&wire.int32_data)
                }
                // Elements of 4 and 2 bits are packed already: an entry is a byte.
                _ => wire.int32_data.iter().flat_map(|x| low_bytes::<1>(*x)).collect(),
            }
        }
        _ => Vec::new(),
    };
    Ok(bytes.into())
}

/// The inverse of [`from_typed`].
fn to_typed(tensor: &Tensor, bytes: &Bytes, wire: &mut proto::Tensor) {
    fn each<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks().0.iter().map(|&chunk| read(chunk)).collect()
    }
    let dtype = tensor.dtype();
    match field_of(dtype) {
        Some("float_data") => wire.float_data = each(bytes, f32::from_le_bytes),
        Some("double_data") => wire.double_data = each(bytes, f64::from_le_bytes),
        Some("int64_data") => wire.int64_data = each(bytes, i64::from_le_bytes),
        Some("uint64_data") if dtype == DType::Uint64 => {
            wire.uint64_data = each(bytes, u64::from_le_bytes);
        }
        Some("uint64_data") => {
            wire.uint64_data = each(bytes, |chunk| u32::from_le_bytes(chunk).into());
        }
        Some("int32_data") => {
            wire.int32_data = match (dtype.bits(), dtype) {
                (Some(32), _) => each(bytes, i32::from_le_bytes),
                (_, DType::Int16) => each(bytes, |chunk| i16::from_le_bytes(chunk).into()),
                (Some(16), _) => each(bytes, |chunk| u16::from_le_bytes(chunk).into()),
                (_, DType::Int8) => each(bytes, |chunk| i8::from_le_bytes(chunk).into()),
                (Some(6), _) => unpack_sixes(bytes, tensor.len()),
                _ => each(bytes, |[byte]: [u8; 1]| byte.into()),
            };
        }
        _ => {}
    }
}

/// What an entry of `int32_data` may be.
fn entry_range(dtype: DType) -> (i32, i32) {
    match (dtype, dtype.bits()) {
        (DType::Int16, _) => (i16::MIN.into(), i16::MAX.into()),
        (DType::Int8, _) => (i8::MIN.into(), i8::MAX.into()),
        (_, Some(32)) => (i32::MIN, i32::MAX),
        (_, Some(16)) => (0, u16::MAX.into()),
        (_, Some(6)) => (0, 0x3f),
        _ => (0, u8::MAX.into()),
    }
}

fn low_bytes<const N: usize>(entry: i32) -> [u8; N] {
    *entry.to_le_bytes().first_chunk().expect("N is at most 4")
}

fn count(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |product: u64, &dim| product.saturating_mul(dim as u64))
}

/// Four elements of six bits in three bytes, the first in the lowest bits.
fn pack_sixes(entries: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len().div_ceil(4) * 3);
    for group in entries.chunks(4) {
        let bits = group.iter().rev().fold(0_u32, |bits, &entry| bits << 6 | entry as u32);
        let length = (group.len() * 6).div_ceil(8);
        bytes.extend(&bits.to_le_bytes()[..length]);
    }
    bytes
}

fn unpack_sixes(bytes: &[u8], count: usize) -> Vec<i32> {
    let entry = |index: usize| {
        let bit = index * 6;
        let low = u32::from(bytes[bit / 8]);
        let high = bytes.get(bit / 8 + 1).map_or(0, |&byte| u32::from(byte) << 8);
        i32::try_from((low | high) >> (bit % 8) & 0x3f).expect("six bits fit")
    };
    (0..count).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bit_elements_share_bytes_from_the_low_bits() {
        let entries = [1, 2, 3, 63, 32];
        let bytes = pack_sixes(&entries);
        assert_eq!(bytes, [0b1000_0001, 0b0011_0000, 0b1111_1100, 32]);
        assert_eq!(unpack_sixes(&bytes, 5), entries);
    }
}
