//! What stands for the content of a tensor that is too long to print.

use half::{bf16, f16};

use crate::{Content, DType, Tensor};

/// Key-value pairs in the place of the content, which `parse` refuses: the number of elements, the
/// range of floats, and a hash by which equal content is recognized.
pub(super) fn of(tensor: &Tensor) -> String {
    let range = range(tensor)
        .map_or(String::new(), |(min, max)| format!(", \"min\": \"{min}\", \"max\": \"{max}\""));
    format!(
        "[\"elided\": \"{} elements\"{range}, \"fnv1a\": \"{}\"]",
        tensor.len(),
        hash(tensor.content())
    )
}

/// FNV-1a with 64 bits: enough to tell whether two prints show the same tensor.
fn hash(content: &Content) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut update = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    match content {
        Content::Bytes(bytes) => update(bytes),
        Content::Strings(strings) => {
            for string in strings {
                // With its length before it, a string does not run into the next one.
                update(&(string.len() as u64).to_le_bytes());
                update(string);
            }
        }
    }
    format!("{hash:016x}")
}

/// The least and the greatest element of a float tensor, NaN left out.
fn range(tensor: &Tensor) -> Option<(f64, f64)> {
    let bytes = tensor.bytes();
    match tensor.dtype() {
        DType::Float => extremes(bytes, |b| f32::from_le_bytes(b).into()),
        DType::Double => extremes(bytes, f64::from_le_bytes),
        DType::Float16 => extremes(bytes, |b| f16::from_le_bytes(b).into()),
        DType::BFloat16 => extremes(bytes, |b| bf16::from_le_bytes(b).into()),
        _ => None,
    }
}

fn extremes<const N: usize>(bytes: &[u8], read: fn([u8; N]) -> f64) -> Option<(f64, f64)> {
    let (elements, _) = bytes.as_chunks::<N>();
    let elements = elements.iter().map(|&element| read(element)).filter(|x| !x.is_nan());
    elements.fold(None, |range, x| match range {
        None => Some((x, x)),
        Some((min, max)) => Some((x.min(min), x.max(max))),
    })
}
