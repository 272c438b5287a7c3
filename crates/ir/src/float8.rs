//! The two 8-bit floats that models are quantized to, to single precision and back.
//!
//! ONNX's E4M3FN has no infinities and one NaN per sign; E5M2 is the upper byte of a float16.

use crate::DType;

/// The layout of an 8-bit float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float8 {
    mantissa: u32,
    bias: i32,
    /// The code of the largest finite number.
    largest: u8,
    /// The code that stands for what is larger: infinity, or NaN where there is none.
    beyond: u8,
    nan: u8,
}

impl Float8 {
    /// Four bits of exponent, three of mantissa, up to 448.
    pub const E4M3FN: Float8 =
        Float8 { mantissa: 3, bias: 7, largest: 0x7e, beyond: 0x7f, nan: 0x7f };
    /// Five bits of exponent, two of mantissa, up to 57344.
    pub const E5M2: Float8 =
        Float8 { mantissa: 2, bias: 15, largest: 0x7b, beyond: 0x7c, nan: 0x7e };

    /// The layout of an element type, or nothing for every other type.
    pub fn of(dtype: DType) -> Option<Float8> {
        match dtype {
            DType::Float8E4M3Fn => Some(Float8::E4M3FN),
            DType::Float8E5M2 => Some(Float8::E5M2),
            _ => None,
        }
    }

    /// The largest finite number.
    pub fn max(self) -> f32 {
        self.decode(self.largest)
    }

    /// The code of the nearest number, half to even. What is too large becomes the largest number
    /// where `saturate` holds, and infinity or NaN where it does not; NaN stays NaN.
    pub fn encode(self, x: f32, saturate: bool) -> u8 {
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        if x.is_nan() {
            return sign | self.nan;
        }
        let magnitude = f64::from(x.abs());
        if x.is_infinite() {
            return sign | if saturate { self.largest } else { self.beyond };
        }
        if magnitude == 0.0 {
            return sign;
        }
        // A single is a normal double, so its exponent stands in the bits; below the smallest
        // normal number of this format the distance of neighbours no longer shrinks.
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        let spacing = 2f64.powi(exponent - self.mantissa as i32);
        let steps = (magnitude / spacing).round_ties_even() as i64;
        // Codes of positive numbers are in order, so a mantissa that overflows carries over.
        let code = (i64::from(exponent + self.bias - 1) << self.mantissa) + steps;
        let code = match u8::try_from(code) {
            Ok(code) if code <= self.largest => code,
            _ if saturate => self.largest,
            _ => self.beyond,
        };
        sign | code
    }

    /// The number of a code.
    pub fn decode(self, code: u8) -> f32 {
        let magnitude = code & 0x7f;
        let exponent = i32::from(magnitude >> self.mantissa);
        let steps = f64::from(magnitude & ((1 << self.mantissa) - 1));
        let leading = f64::from(1u32 << self.mantissa);
        let value = if magnitude > self.largest {
            let infinite = self.beyond != self.nan && magnitude == self.beyond;
            if infinite { f64::INFINITY } else { f64::NAN }
        } else if exponent == 0 {
            steps * 2f64.powi(1 - self.bias - self.mantissa as i32)
        } else {
            (leading + steps) * 2f64.powi(exponent - self.bias - self.mantissa as i32)
        };
        (if code & 0x80 != 0 { -value } else { value }) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for format in [Float8::E4M3FN, Float8::E5M2] {
            for code in 0..=u8::MAX {
                let x = format.decode(code);
                if x.is_nan() {
                    assert!(format.decode(format.encode(x, false)).is_nan());
                } else {
                    assert_eq!(format.encode(x, false), code, "{x}");
                }
            }
        }
    }

    #[test]
    fn ends_and_ties() {
        let e4 = Float8::E4M3FN;
        assert_eq!((e4.max(), Float8::E5M2.max()), (448.0, 57344.0));
        assert_eq!(e4.encode(1e9, true), 0x7e);
        assert_eq!(e4.encode(1e9, false), 0x7f);
        assert_eq!(Float8::E5M2.encode(f32::INFINITY, false), 0x7c);
        // 1.0625 lies half way between 1 and 1.125, and 1 is even.
        assert_eq!(e4.decode(e4.encode(1.0625, true)), 1.0);
        assert_eq!(e4.decode(e4.encode(1.1875, true)), 1.25);
        assert_eq!(e4.decode(e4.encode(-0.001_953_125, true)), -0.001_953_125);
        assert_eq!(e4.decode(e4.encode(0.000_9, true)), 0.0);
    }
}
