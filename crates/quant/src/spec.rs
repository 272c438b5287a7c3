//! What a quantizer is asked to be: type, symmetry, granularity and scheme.

use std::fmt;

use marquetry_ir::Float8;
use serde::{Deserialize, Serialize};

/// The type a tensor is stored in once it is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DType {
    /// Signed, 2 bits, four elements per byte.
    Int2,
    /// Signed, 4 bits, two elements per byte.
    Int4,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits; what biases are stored in.
    Int32,
    /// Unsigned, 2 bits, four elements per byte.
    UInt2,
    /// Unsigned, 4 bits, two elements per byte.
    UInt4,
    /// Unsigned, 8 bits.
    UInt8,
    /// Unsigned, 16 bits.
    UInt16,
    /// Unsigned, 32 bits.
    UInt32,
    /// IEEE half precision: a cast, with neither scale nor zero point.
    Float16,
    /// The upper half of a float: a cast, with neither scale nor zero point.
    BFloat16,
    /// 8-bit float of 4 exponent bits without infinities: a scale and no zero point.
    Float8E4M3Fn,
    /// 8-bit float of 5 exponent bits: a scale and no zero point.
    Float8E5M2,
}

impl DType {
    /// Every type, in the order in which errors list them.
    pub const ALL: [DType; 14] = [
        DType::Int2,
        DType::Int4,
        DType::Int8,
        DType::Int16,
        DType::Int32,
        DType::UInt2,
        DType::UInt4,
        DType::UInt8,
        DType::UInt16,
        DType::UInt32,
        DType::Float16,
        DType::BFloat16,
        DType::Float8E4M3Fn,
        DType::Float8E5M2,
    ];

    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            DType::Int2 | DType::UInt2 => 2,
            DType::Int4 | DType::UInt4 => 4,
            DType::Int8 | DType::UInt8 | DType::Float8E4M3Fn | DType::Float8E5M2 => 8,
            DType::Int16 | DType::UInt16 | DType::Float16 | DType::BFloat16 => 16,
            DType::Int32 | DType::UInt32 => 32,
        }
    }

    /// Whether the stored integers are signed; true for the floating types as well.
    pub fn is_signed(self) -> bool {
        !matches!(self, DType::UInt2 | DType::UInt4 | DType::UInt8 | DType::UInt16 | DType::UInt32)
    }

    /// Whether this type has a scale and a zero point.
    pub fn is_integer(self) -> bool {
        !self.is_cast() && self.float8().is_none()
    }

    /// Whether quantizing is a cast, with neither scale nor zero point.
    pub fn is_cast(self) -> bool {
        matches!(self, DType::Float16 | DType::BFloat16)
    }

    /// The layout of an 8-bit float, which has a scale and no zero point.
    pub fn float8(self) -> Option<Float8> {
        match self {
            DType::Float8E4M3Fn => Some(Float8::E4M3FN),
            DType::Float8E5M2 => Some(Float8::E5M2),
            _ => None,
        }
    }

    /// Reads the lower-case ONNX spelling, `int8`, that the command line uses.
    pub fn parse(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The lower-case ONNX spelling.
    pub fn name(self) -> &'static str {
        match self {
            DType::Int2 => "int2",
            DType::Int4 => "int4",
            DType::Int8 => "int8",
            DType::Int16 => "int16",
            DType::Int32 => "int32",
            DType::UInt2 => "uint2",
            DType::UInt4 => "uint4",
            DType::UInt8 => "uint8",
            DType::UInt16 => "uint16",
            DType::UInt32 => "uint32",
            DType::Float16 => "float16",
            DType::BFloat16 => "bfloat16",
            DType::Float8E4M3Fn => "float8e4m3fn",
            DType::Float8E5M2 => "float8e5m2",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many elements share one scale.
///
/// Axes may be negative and then count from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granularity {
    /// One scale.
    PerTensor,
    /// One scale for every index of the axis.
    PerChannel(i64),
    /// One scale for every index of `channel` and every `size` consecutive indices of `axis`;
    /// the remaining axes are spanned whole.
    PerBlock {
        /// The axis that is cut into blocks.
        axis: i64,
        /// Elements per block; the last block may be shorter.
        size: usize,
        /// The axis whose every index has its own blocks.
        channel: i64,
    },
    /// Blocks as in `PerBlock`, whose scales are small integers times one float per channel.
    Lpbq {
        /// The axis that is cut into blocks.
        axis: i64,
        /// Elements per block.
        size: usize,
        /// The axis whose every index has its own float scale.
        channel: i64,
        /// Width of the stored weights.
        compressed: u32,
        /// Width the integer scales expand to; block scales take `decompressed - compressed` bits.
        decompressed: u32,
    },
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Granularity::PerTensor => f.write_str("per tensor"),
            Granularity::PerChannel(axis) => write!(f, "per channel, axis {axis}"),
            Granularity::PerBlock { axis, size, .. } => {
                write!(f, "per block of {size}, axis {axis}")
            }
            Granularity::Lpbq { axis, size, .. } => {
                write!(f, "low-power blocks of {size}, axis {axis}")
            }
        }
    }
}

/// How statistics become a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Scheme {
    /// The smallest and the largest value seen.
    #[default]
    MinMax,
    /// The range of the best signal to quantization noise, where what is clipped counts three times.
    TfEnhanced,
    /// The range that leaves out `100 − p` percent of the values at either end.
    Percentile(f64),
    /// The range of the least squared error.
    Mse,
    /// The range whose quantized distribution tells most about the original one.
    Entropy,
}

/// Whose numbers are computed where there is more than one opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compat {
    /// Ours.
    #[default]
    Default,
    /// AIMET-ONNX's, to the bit, pathologies included.
    Aimet,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::MinMax => f.write_str("min_max"),
            Scheme::TfEnhanced => f.write_str("tf_enhanced"),
            Scheme::Percentile(percentage) => write!(f, "percentile:{percentage}"),
            Scheme::Mse => f.write_str("mse"),
            Scheme::Entropy => f.write_str("entropy"),
        }
    }
}

/// Everything a quantizer is asked to be, before any statistics.
///
/// In RON: `Spec(dtype: Int8, symmetric: true, granularity: PerChannel(0))`; what is left out is
/// as in [`Spec::activation`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The stored type.
    pub dtype: DType,
    /// Whether zero is in the middle of the grid.
    #[serde(default)]
    pub symmetric: bool,
    /// With `symmetric`: as many steps below zero as above (−127…127 instead of −128…127).
    #[serde(default)]
    pub strict: bool,
    /// With `symmetric`: where nothing negative was seen, all steps are above zero.
    #[serde(default)]
    pub unsigned: bool,
    /// With `symmetric` and two bits: the grid lies half a step higher, −1.5…1.5 instead of −2…1.
    #[serde(default)]
    pub shifted: bool,
    /// How many elements share one scale.
    #[serde(default = "per_tensor")]
    pub granularity: Granularity,
    /// How statistics become a range.
    #[serde(default)]
    pub scheme: Scheme,
}

fn per_tensor() -> Granularity {
    Granularity::PerTensor
}

impl Spec {
    /// An asymmetric per-tensor spec with the min-max scheme.
    pub fn activation(dtype: DType) -> Spec {
        Spec {
            dtype,
            symmetric: false,
            strict: false,
            unsigned: false,
            shifted: false,
            granularity: Granularity::PerTensor,
            scheme: Scheme::MinMax,
        }
    }

    /// A symmetric spec with the min-max scheme.
    pub fn weight(dtype: DType, granularity: Granularity) -> Spec {
        Spec { symmetric: true, granularity, ..Spec::activation(dtype) }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symmetry = match (self.symmetric, self.strict) {
            (false, _) => "asymmetric",
            (true, false) => "symmetric",
            (true, true) => "strictly symmetric",
        };
        write!(f, "{} {symmetry} {}", self.dtype, self.granularity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_from_ron_with_defaults() {
        let spec: Spec =
            ron::from_str("Spec(dtype: Int8, symmetric: true, granularity: PerChannel(0))")
                .unwrap();
        assert_eq!(spec, Spec::weight(DType::Int8, Granularity::PerChannel(0)));
        assert!(ron::from_str::<Spec>("Spec(dtype: Int8, symetric: true)").is_err());
    }
}
