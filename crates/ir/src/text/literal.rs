//! Strings, names and numbers as they are written.

use std::fmt::Write as _;

use super::lexer::is_special;

/// Words that begin a type, beside the element types.
pub(super) const TYPE_WORDS: &[&str] =
    &["seq", "map", "optional", "sparse_tensor", "opaque", "undefined", "unspecified", "dtype"];

/// Whether a name can be written without quotes.
pub(super) fn is_word(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The bytes that a string stands for. Beside `\n`, `\r`, `\t`, `\u{…}` and `\x..`, a backslash lets
/// the next character stand for itself, as in ONNX's own syntax.
pub(super) fn unescape(raw: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let Some(escaped) = rest.chars().next() else { break };
        let (content, taken) = match escaped {
            'n' => (vec![b'\n'], 1),
            'r' => (vec![b'\r'], 1),
            't' => (vec![b'\t'], 1),
            'x' => byte_escape(rest).map_or((vec![b'x'], 1), |byte| (vec![byte], 3)),
            'u' => char_escape(rest).unwrap_or((vec![b'u'], 1)),
            other => (other.to_string().into_bytes(), other.len_utf8()),
        };
        bytes.extend(content);
        rest = &rest[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn byte_escape(rest: &str) -> Option<u8> {
    let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn char_escape(rest: &str) -> Option<(Vec<u8>, usize)> {
    let (digits, _) = rest.strip_prefix("u{")?.split_once('}')?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let code = is_hex.then(|| u32::from_str_radix(digits, 16).ok())??;
    Some((char::from_u32(code)?.to_string().into_bytes(), digits.len() + 3))
}

/// Writes a string in quotes so that it reads back as the same bytes and shows as what it is.
pub(super) fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\\' => out.extend(['\\', char]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                hidden if is_hidden(hidden) => {
                    write!(out, "\\u{{{:x}}}", u32::from(hidden)).expect("strings grow");
                }
                shown => out.push(shown),
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("strings grow");
        }
    }
    out.push('"');
}

/// Characters that do not show, or that change how their neighbours show.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || char == '\u{feff}'
}

/// Writes a name, in quotes where it needs them.
pub(super) fn name(out: &mut String, name: &str) {
    if is_word(name) { out.push_str(name) } else { quote(out, name.as_bytes()) }
}

/// Writes bytes as a string of hexadecimal digits.
pub(super) fn hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        write!(out, "{byte:02x}").expect("strings grow");
    }
    out.push('"');
}

/// The bytes of a string of hexadecimal digits.
pub(super) fn unhex(raw: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = raw.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    odd.is_empty().then(|| pairs.iter().map(pair).collect())?
}

/// A float as a number that can be printed and parsed.
pub(super) trait Float: Copy + std::str::FromStr + std::fmt::LowerExp {
    /// The bits of a quiet NaN without payload and with the sign bit clear.
    const NAN_BITS: u64;
    /// The sign bit.
    const SIGN: u64;
    /// Bits of the mantissa that are stored.
    const MANTISSA_BITS: i32;
    /// What is added to an exponent to store it.
    const BIAS: i32;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Option<Self>;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
    /// The value of an integer below 2^128, cut off elsewhere.
    fn to_integer(self) -> u128;
}

impl Float for f32 {
    const NAN_BITS: u64 = 0x7fc0_0000;
    const SIGN: u64 = 1 << 31;
    const MANTISSA_BITS: i32 = 23;
    const BIAS: i32 = 127;
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn from_bits(bits: u64) -> Option<Self> {
        u32::try_from(bits).ok().map(Self::from_bits)
    }
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
    fn to_integer(self) -> u128 {
        self.abs() as u128
    }
}

impl Float for f64 {
    const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;
    const SIGN: u64 = 1 << 63;
    const MANTISSA_BITS: i32 = 52;
    const BIAS: i32 = 1023;
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn from_bits(bits: u64) -> Option<Self> {
        Some(Self::from_bits(bits))
    }
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
    fn to_integer(self) -> u128 {
        self.abs() as u128
    }
}

/// Writes the shortest number that reads back as `value`, the way C++'s `std::to_chars` does: in
/// plain or scientific notation, whichever is shorter.
pub(super) fn float<F: Float>(out: &mut String, value: F) {
    if value.bits() & F::SIGN != 0 {
        out.push('-');
    }
    if value.is_nan() {
        return out.push_str("nan");
    }
    if value.is_infinite() {
        return out.push_str("inf");
    }
    let scientific = shortest(value);
    let (mantissa, exponent) =
        scientific.trim_start_matches('-').split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes an exponent of digits");
    let digits = mantissa.replace('.', "");
    let count = i32::try_from(digits.len()).expect("floats have few digits");
    // The value is `digits · 10^scale`. Scientific notation takes a point only for two digits or more.
    let scale = exponent - count + 1;
    let (lowest, highest) = if count == 1 { (-3, 4) } else { (-count - 3, 5) };
    if scale < lowest || scale > highest {
        out.push_str(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("strings grow");
    } else if scale >= 0 {
        // Plain notation shows the exact value, also beyond the digits that tell it from others.
        write!(out, "{}", value.to_integer()).expect("strings grow");
    } else if exponent >= 0 {
        let (whole, fraction) = digits.split_at(exponent as usize + 1);
        write!(out, "{whole}.{fraction}").expect("strings grow");
    } else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        write!(out, "0.{zeros}{digits}").expect("strings grow");
    }
}

/// The fewest digits that tell a value from its neighbours, in the notation of `{:e}`. Of two equally
/// near numbers of so many digits this is the one with an even last digit; Rust takes the greater.
fn shortest<F: Float>(value: F) -> String {
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').expect("`{:e}` writes an exponent");
    let count = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let scale = exponent.parse().unwrap_or(0) - i32::try_from(count).unwrap_or(0) + 1;
    // A number with so many bits after its point has as many decimals. Between two numbers stands one
    // with one decimal more than they have, or an integer whose end they leave out.
    if scale <= 0 && fraction_bits(value) != 1 - scale {
        return shortest;
    }
    let rounded = format!("{value:.*e}", count - 1);
    let is_same = rounded.parse::<F>().is_ok_and(|parsed| parsed.bits() == value.bits());
    if is_same { rounded } else { shortest }
}

/// Bits after the binary point.
fn fraction_bits<F: Float>(value: F) -> i32 {
    let magnitude = value.bits() & !F::SIGN;
    let (field, mantissa) =
        (magnitude >> F::MANTISSA_BITS, magnitude & ((1 << F::MANTISSA_BITS) - 1));
    let (exponent, mantissa) =
        if field == 0 { (1, mantissa) } else { (field, mantissa | 1 << F::MANTISSA_BITS) };
    if mantissa == 0 {
        return 0;
    }
    let exponent = i32::try_from(exponent).expect("an exponent has at most 11 bits");
    let zeros = i32::try_from(mantissa.trailing_zeros()).expect("there are 64 bits");
    (F::BIAS + F::MANTISSA_BITS - exponent - zeros).max(0)
}

/// Writes a float so that it reads back to the bit: the payload of a NaN is kept.
pub(super) fn exact_float<F: Float>(out: &mut String, value: F) {
    float(out, value);
    if value.is_nan() && value.bits() & !F::SIGN != F::NAN_BITS {
        write!(out, "(\"{:x}\")", value.bits()).expect("strings grow");
    }
}

/// The value of a number; `None` when it is too large.
pub(super) fn parse_float<F: Float>(literal: &str) -> Option<F> {
    let (sign, unsigned) = match literal.strip_prefix('-') {
        Some(unsigned) => (F::SIGN, unsigned),
        None => (0, literal),
    };
    if unsigned.eq_ignore_ascii_case("nan") {
        return F::from_bits(F::NAN_BITS | sign);
    }
    let value = literal.parse::<F>().ok()?;
    (is_special(unsigned) || !value.is_infinite()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<F: Float>(value: F) -> String {
        let mut out = String::new();
        float(&mut out, value);
        out
    }

    #[test]
    fn floats_look_as_in_cpp() {
        // From `std::to_chars` by way of `onnx.printer`.
        let pairs: [(f32, &str); 17] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (10000.0, "10000"),
            (100_000.0, "1e+05"),
            (120_000.0, "120000"),
            (0.001, "0.001"),
            (0.0001, "1e-04"),
            (0.00012, "0.00012"),
            (0.1, "0.1"),
            (-1.5e-5, "-1.5e-05"),
            (1e20, "1e+20"),
            (1_234_567_936.0, "1234567936"),
            (3.402_823_5e38, "3.4028235e+38"),
            (16_777_216.0, "16777216"),
            (12.25, "12.25"),
            (0.150_390_62, "0.15039062"),
        ];
        for (value, text) in pairs {
            assert_eq!(shown(value), text);
        }
        assert_eq!(shown(1e-300), "1e-300");
        assert_eq!(shown(0.1_f64 + 0.2), "0.30000000000000004");
        assert_eq!((shown(-f32::NAN), shown(f32::NEG_INFINITY)), ("-nan".into(), "-inf".into()));
    }

    #[test]
    fn strings_keep_every_byte() {
        let cases: [&[u8]; 5] = [
            b"",
            b"a\"b\\c",
            "tab\tnew\nline \u{202e}\u{0} é".as_bytes(),
            b"\xff\xfe\\x41",
            b"\\u{41}",
        ];
        for bytes in cases {
            let mut quoted = String::new();
            quote(&mut quoted, bytes);
            assert_eq!(unescape(&quoted[1..quoted.len() - 1]), bytes, "{quoted}");
        }
        assert_eq!(unescape(r"\q\x4\u{zz}\u{110000}\x41"), b"qx4u{zz}u{110000}A");
    }

    #[test]
    fn a_number_beyond_its_type_is_none() {
        assert_eq!(parse_float::<f32>("1e39"), None);
        assert_eq!(parse_float::<f32>("-Infinity"), Some(f32::NEG_INFINITY));
        assert_eq!(parse_float::<f32>("1e-60"), Some(0.0));
        assert!(parse_float::<f64>("-nan").unwrap().is_sign_negative());
    }
}
