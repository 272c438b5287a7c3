//! Stored integers to the bytes of an ONNX tensor, and back.

use crate::{DType, NumericError};

/// The bytes of `raw_data`: little endian; below 8 bits the first element is in the lowest bits
/// and the last byte is padded with zeros.
///
/// # Errors
///
/// `NotAnInteger` for types that are casts, `OutOfRange` for an integer the type cannot hold.
pub fn pack(stored: &[i64], dtype: DType) -> Result<Vec<u8>, NumericError> {
    if dtype.is_cast() {
        return Err(NumericError::NotAnInteger { dtype });
    }
    let bits = dtype.bits();
    // The codes of an 8-bit float are bytes.
    let lowest = if dtype.is_signed() && dtype.is_integer() { -(1i64 << (bits - 1)) } else { 0 };
    let highest = lowest + (1i64 << bits) - 1;
    if let Some(&value) = stored.iter().find(|value| !(lowest..=highest).contains(value)) {
        return Err(NumericError::OutOfRange { value, dtype });
    }
    Ok(match bits {
        2 | 4 => {
            let per_byte = (8 / bits) as usize;
            let mask = (1u8 << bits) - 1;
            let byte = |group: &[i64]| {
                group.iter().rev().fold(0u8, |byte, &value| byte << bits | (value as u8 & mask))
            };
            stored.chunks(per_byte).map(byte).collect()
        }
        8 => stored.iter().map(|&value| value as u8).collect(),
        16 => stored.iter().flat_map(|&value| (value as u16).to_le_bytes()).collect(),
        _ => stored.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect(),
    })
}

/// The first `len` integers stored in `bytes`.
///
/// # Errors
///
/// `NotAnInteger` for types that are casts, `Length` where `bytes` is too short or too long.
pub fn unpack(bytes: &[u8], dtype: DType, len: usize) -> Result<Vec<i64>, NumericError> {
    if dtype.is_cast() {
        return Err(NumericError::NotAnInteger { dtype });
    }
    let bits = dtype.bits() as usize;
    let expected = len
        .checked_mul(bits)
        .map(|bits| bits.div_ceil(8))
        .ok_or_else(|| NumericError::TooLarge { dims: vec![len] })?;
    if bytes.len() != expected {
        return Err(NumericError::Length { expected, found: bytes.len() });
    }
    let unsigned: Vec<u32> = match bits {
        2 | 4 => {
            let mask = (1u32 << bits) - 1;
            let at = |i: usize| u32::from(bytes[i * bits / 8]) >> (i * bits % 8) & mask;
            (0..len).map(at).collect()
        }
        8 => bytes.iter().map(|&byte| u32::from(byte)).collect(),
        _ => bytes
            .chunks_exact(bits / 8)
            .map(|chunk| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)))
            .collect(),
    };
    // Sign extension: move the sign bit to the top and back.
    let unused = 32 - dtype.bits();
    let signed = |word: u32| i64::from((word << unused) as i32 >> unused);
    Ok(match dtype.is_signed() && dtype.is_integer() {
        true => unsigned.into_iter().map(signed).collect(),
        false => unsigned.into_iter().map(i64::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_start_low_and_end_padded() {
        assert_eq!(pack(&[1, -2, 7], DType::Int4).unwrap(), [0xe1, 0x07]);
        assert_eq!(pack(&[1, 2, 3, 0, 3], DType::UInt2).unwrap(), [0b0011_1001, 0b11]);
    }

    #[test]
    fn unpack_is_the_inverse_of_pack() {
        for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_integer()) {
            let bits = dtype.bits();
            let lowest = if dtype.is_signed() { -(1i64 << (bits - 1)) } else { 0 };
            let highest = lowest + (1i64 << bits) - 1;
            for len in 0..6 {
                let values: Vec<i64> =
                    [lowest, highest, 0, 1, highest - 1, lowest].into_iter().take(len).collect();
                let bytes = pack(&values, dtype).unwrap();
                assert_eq!(unpack(&bytes, dtype, len).unwrap(), values, "{dtype}");
            }
            assert!(pack(&[highest + 1], dtype).is_err());
            assert!(unpack(&[0; 9], dtype, 1).is_err());
        }
        assert!(pack(&[0], DType::Float16).is_err());
    }
}
