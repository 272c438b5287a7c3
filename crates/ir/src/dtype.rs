use std::fmt;

macro_rules! dtypes {
    ($($variant:ident = $number:literal, $name:literal, $bits:expr;)*) => {
        /// The element type of a tensor, numbered and named as ONNX does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType {
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )*
            /// A number that this version of the schema does not name; kept as it is.
            Unknown(i32),
        }

        impl DType {
            /// Every element type that has a name, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The type that `TensorProto.DataType` numbers `number`.
            pub fn from_number(number: i32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }

            /// The number in `TensorProto.DataType`.
            pub fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(number) => number,
                }
            }

            /// The name in ONNX's textual syntax; `None` for an unknown number.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    Self::Unknown(_) => None,
                }
            }

            /// The type with this name in ONNX's textual syntax.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Bits of one element in `raw_data`; `None` for strings and unknown types.
            pub fn bits(self) -> Option<u32> {
                match self {
                    $(Self::$variant => $bits,)*
                    Self::Unknown(_) => None,
                }
            }
        }
    };
}

dtypes! {
    Float = 1, "float", Some(32);
    Uint8 = 2, "uint8", Some(8);
    Int8 = 3, "int8", Some(8);
    Uint16 = 4, "uint16", Some(16);
    Int16 = 5, "int16", Some(16);
    Int32 = 6, "int32", Some(32);
    Int64 = 7, "int64", Some(64);
    String = 8, "string", None;
    Bool = 9, "bool", Some(8);
    Float16 = 10, "float16", Some(16);
    Double = 11, "double", Some(64);
    Uint32 = 12, "uint32", Some(32);
    Uint64 = 13, "uint64", Some(64);
    Complex64 = 14, "complex64", Some(64);
    Complex128 = 15, "complex128", Some(128);
    BFloat16 = 16, "bfloat16", Some(16);
    Float8E4M3Fn = 17, "float8e4m3fn", Some(8);
    Float8E4M3Fnuz = 18, "float8e4m3fnuz", Some(8);
    Float8E5M2 = 19, "float8e5m2", Some(8);
    Float8E5M2Fnuz = 20, "float8e5m2fnuz", Some(8);
    Uint4 = 21, "uint4", Some(4);
    Int4 = 22, "int4", Some(4);
    Float4E2M1 = 23, "float4e2m1", Some(4);
    Float8E8M0 = 24, "float8e8m0", Some(8);
    Uint2 = 25, "uint2", Some(2);
    Int2 = 26, "int2", Some(2);
    Float6E2M3 = 27, "float6e2m3", Some(6);
    Float6E3M2 = 28, "float6e3m2", Some(6);
}

impl DType {
    /// Whether elements are real numbers with a binary point: every float format there is.
    pub fn is_float(self) -> bool {
        use DType::*;
        matches!(
            self,
            Float
                | Float16
                | Double
                | BFloat16
                | Float8E4M3Fn
                | Float8E4M3Fnuz
                | Float8E5M2
                | Float8E5M2Fnuz
                | Float4E2M1
                | Float8E8M0
                | Float6E2M3
                | Float6E3M2
        )
    }

    /// Whether elements are integers, signed or not; booleans are not.
    pub fn is_integer(self) -> bool {
        use DType::*;
        matches!(
            self,
            Uint8
                | Int8
                | Uint16
                | Int16
                | Int32
                | Int64
                | Uint32
                | Uint64
                | Uint4
                | Int4
                | Uint2
                | Int2
        )
    }

    /// Bytes that `elements` elements take in `raw_data`, the last byte padded; `None` on overflow,
    /// for strings and for unknown types.
    pub fn size_of(self, elements: u64) -> Option<u64> {
        let bits = elements.checked_mul(u64::from(self.bits()?))?;
        Some(bits.div_ceil(8))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Unknown(number)) => write!(f, "dtype({number})"),
            (None, _) => unreachable!("every named type has a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DType;

    #[test]
    fn numbers_and_names_are_inverses() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_number(dtype.number()), dtype);
            assert_eq!(DType::from_name(dtype.name().unwrap()), Some(dtype));
        }
        assert_eq!(DType::from_number(99).number(), 99);
    }

    #[test]
    fn sub_byte_types_round_up() {
        assert_eq!(DType::Int4.size_of(3), Some(2));
        assert_eq!(DType::Float6E2M3.size_of(4), Some(3));
        assert_eq!(DType::Double.size_of(u64::MAX), None);
    }
}
