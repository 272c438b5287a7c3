//! Elements of tensors: literals to bits and back.

use half::{bf16, f16};

use super::literal::{exact_float, float, parse_float};
use crate::{Content, DType, Tensor};

/// What stands between two commas of a tensor's content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Literal<'s> {
    /// Digits, perhaps after a minus.
    Int(&'s str),
    /// A number with point or exponent, an infinity or a NaN.
    Float(&'s str),
    /// The bits of a NaN that has a payload.
    Nan(u64),
}

/// Why a literal is not an element.
pub(super) enum Misfit {
    OutOfRange,
    NotAFloat,
    NoLiterals,
}

/// Numbers that make one element: a complex number is written as two.
pub(super) fn literals_per_element(dtype: DType) -> u64 {
    if matches!(dtype, DType::Complex64 | DType::Complex128) { 2 } else { 1 }
}

/// Collects elements of any width in the layout of `raw_data`: from the lowest bit up.
#[derive(Default)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl Packer {
    /// Adds an element, or one part of a complex one.
    pub(super) fn push(&mut self, dtype: DType, literal: Literal<'_>) -> Result<(), Misfit> {
        let width = dtype.bits().ok_or(Misfit::NoLiterals)?;
        let bits = match dtype {
            DType::Float | DType::Complex64 => f32_bits(literal)?.into(),
            DType::Double | DType::Complex128 => f64_bits(literal)?,
            DType::Float16 | DType::BFloat16 => half_bits(dtype, literal)?,
            _ => integer_bits(dtype, width, literal)?,
        };
        let width = width / u32::try_from(literals_per_element(dtype)).unwrap_or(1);
        if width >= 8 {
            self.bytes.extend_from_slice(&bits.to_le_bytes()[..width as usize / 8]);
            return Ok(());
        }
        self.pending |= bits << self.pending_bits;
        self.pending_bits += width;
        if self.pending_bits >= 8 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
        }
        self.bytes
    }
}

fn f32_bits(literal: Literal<'_>) -> Result<u32, Misfit> {
    match literal {
        Literal::Int(text) | Literal::Float(text) => {
            parse_float::<f32>(text).map(f32::to_bits).ok_or(Misfit::OutOfRange)
        }
        Literal::Nan(bits) => u32::try_from(bits).map_err(|_| Misfit::OutOfRange),
    }
}

fn f64_bits(literal: Literal<'_>) -> Result<u64, Misfit> {
    match literal {
        Literal::Int(text) | Literal::Float(text) => {
            parse_float::<f64>(text).map(f64::to_bits).ok_or(Misfit::OutOfRange)
        }
        Literal::Nan(bits) => Ok(bits),
    }
}

/// A half is written as an integer, its bits, as in ONNX's own syntax; a literal with point or
/// exponent is a value.
fn half_bits(dtype: DType, literal: Literal<'_>) -> Result<u64, Misfit> {
    let Literal::Float(text) = literal else { return integer_bits(dtype, 16, literal) };
    let value = parse_float::<f64>(text).ok_or(Misfit::OutOfRange)?;
    let (bits, overflows) = if dtype == DType::Float16 {
        (f16::from_f64(value).to_bits(), f16::from_f64(value).is_infinite())
    } else {
        (bf16::from_f64(value).to_bits(), bf16::from_f64(value).is_infinite())
    };
    if overflows && value.is_finite() {
        return Err(Misfit::OutOfRange);
    }
    Ok(bits.into())
}

fn integer_bits(dtype: DType, width: u32, literal: Literal<'_>) -> Result<u64, Misfit> {
    let Literal::Int(text) = literal else { return Err(Misfit::NotAFloat) };
    let value: i128 = text.parse().map_err(|_| Misfit::OutOfRange)?;
    let range = if is_signed(dtype) {
        -(1_i128 << (width - 1))..=(1_i128 << (width - 1)) - 1
    } else {
        0..=(1_i128 << width) - 1
    };
    if !range.contains(&value) {
        return Err(Misfit::OutOfRange);
    }
    let mask = (1_i128 << width) - 1;
    u64::try_from(value & mask).map_err(|_| Misfit::OutOfRange)
}

fn is_signed(dtype: DType) -> bool {
    use DType::{Int2, Int4, Int8, Int16, Int32, Int64};
    matches!(dtype, Int2 | Int4 | Int8 | Int16 | Int32 | Int64)
}

/// Writes the numbers of a tensor, separated by commas. Nothing for strings and unknown types.
pub(super) fn write(out: &mut String, tensor: &Tensor, exact: bool) {
    let Content::Bytes(bytes) = tensor.content() else { return };
    let Some(width) = tensor.dtype().bits() else { return };
    let parts = literals_per_element(tensor.dtype());
    let width = width as usize / parts as usize;
    // The length is that of the content, which exists; dimensions may be zero times huge.
    let count = if width == 0 || tensor.is_empty() { 0 } else { tensor.len() * parts as usize };
    for index in 0..count {
        if index > 0 {
            out.push(',');
        }
        let bits = bits_at(bytes, index, width);
        match tensor.dtype() {
            DType::Float | DType::Complex64 => {
                let bits = u32::try_from(bits).expect("a float has 32 bits");
                let write = if exact { exact_float } else { float };
                write(out, f32::from_bits(bits));
            }
            DType::Double | DType::Complex128 => {
                let write = if exact { exact_float } else { float };
                write(out, f64::from_bits(bits));
            }
            dtype if is_signed(dtype) => {
                let unused = 64 - width;
                out.push_str(&((bits.cast_signed() << unused) >> unused).to_string());
            }
            _ => out.push_str(&bits.to_string()),
        }
    }
}

fn bits_at(bytes: &[u8], index: usize, width: usize) -> u64 {
    if width >= 8 {
        let element = &bytes[index * (width / 8)..][..width / 8];
        return element.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    }
    let start = index * width;
    let low = u64::from(bytes[start / 8]);
    let high = u64::from(bytes.get(start / 8 + 1).copied().unwrap_or(0));
    ((high << 8 | low) >> (start % 8)) & ((1 << width) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(dtype: DType, literals: &[&str]) -> Vec<u8> {
        let mut packer = Packer::default();
        for literal in literals {
            assert!(packer.push(dtype, Literal::Int(literal)).is_ok());
        }
        packer.finish()
    }

    #[test]
    fn elements_below_a_byte_fill_it_from_the_low_bits() {
        assert_eq!(packed(DType::Int4, &["1", "-1", "7"]), [0xF1, 0x07]);
        assert_eq!(packed(DType::Uint2, &["0", "1", "2", "3", "1"]), [0b1110_0100, 0b01]);
        // Four elements of 6 bits make three bytes.
        assert_eq!(packed(DType::Float6E2M3, &["1", "2", "3", "63"]), [0x81, 0x30, 0xfc]);
        for dtype in [DType::Int4, DType::Uint2, DType::Float6E3M2, DType::Float4E2M1, DType::Int2]
        {
            let tensor = Tensor::new(dtype, [3], packed(dtype, &["1", "0", "1"])).unwrap();
            let mut out = String::new();
            write(&mut out, &tensor, true);
            assert_eq!(out, "1,0,1", "{dtype}");
        }
    }

    #[test]
    fn elements_out_of_range_are_refused() {
        let refused = |dtype, text| Packer::default().push(dtype, Literal::Int(text)).is_err();
        assert!(refused(DType::Uint8, "256") && refused(DType::Uint8, "-1"));
        assert!(refused(DType::Int4, "8") && !refused(DType::Int4, "-8"));
        assert!(refused(DType::Uint64, "18446744073709551616"));
        assert!(!refused(DType::Uint64, "18446744073709551615"));
        assert!(refused(DType::Int64, "99999999999999999999999999999999999999999999"));
    }
}
