//! Text to a document.

use serde_json::{Map, Value};

use super::{Document, Element, EncodingsError, Entry, Layout, Section, Version, overrides};
use crate::encoding::Cell;
use crate::range::grid_of_range;
use crate::{DType, Spec};

/// Reads encodings of any version, or tensor overrides of ONNX Runtime.
///
/// # Errors
///
/// `Syntax` with the place, `Version` for one that is not known.
pub fn parse(text: &str) -> Result<Document, EncodingsError> {
    let file: Value = serde_json::from_str(text).map_err(|error| EncodingsError::Syntax {
        place: format!("{}:{}", error.line(), error.column()),
        message: "this is no JSON".to_owned(),
    })?;
    let Value::Object(file) = file else { return Err(bad("the file", "it is no object")) };
    let Some(version) = file.get("version") else {
        return overrides::parse(&file);
    };
    let name = version.as_str().ok_or_else(|| bad("version", "it is no string"))?;
    let version =
        Version::parse(name).ok_or_else(|| EncodingsError::Version { version: name.to_owned() })?;
    let entries = match version {
        Version::V0_6_1 => sections(&file, |section, list| {
            let tensors = list.as_object().ok_or_else(|| bad(section, "it is no object"))?;
            tensors.iter().map(|(name, entry)| v0_6_1(name, entry)).collect()
        })?,
        Version::V1_0_0 => sections(&file, |section, list| {
            let tensors = list.as_array().ok_or_else(|| bad(section, "it is no list"))?;
            tensors.iter().map(v1_0_0).collect()
        })?,
        Version::V2_0_0 => {
            let list = file.get("encodings").and_then(Value::as_array);
            let list = list.ok_or_else(|| bad("encodings", "there is no such list"))?;
            list.iter().map(v2_0_0).collect::<Result<_, _>>()?
        }
    };
    Ok(Document {
        version: Some(version),
        producer: file.get("producer").cloned(),
        quantizer_args: file.get("quantizer_args").cloned(),
        entries,
        notes: Vec::new(),
    })
}

pub(super) fn bad(place: &str, message: &str) -> EncodingsError {
    EncodingsError::Syntax { place: format!("`{place}`"), message: message.to_owned() }
}

type Entries = Result<Vec<Entry>, EncodingsError>;

fn sections(file: &Map<String, Value>, read: impl Fn(&str, &Value) -> Entries) -> Entries {
    let mut all = Vec::new();
    for (key, section) in
        [("activation_encodings", Section::Activation), ("param_encodings", Section::Param)]
    {
        let list = file.get(key).ok_or_else(|| bad(key, "it is missing"))?;
        let mut entries = read(key, list)?;
        entries.iter_mut().for_each(|entry| entry.section = Some(section));
        all.append(&mut entries);
    }
    Ok(all)
}

/// The fields of one tensor, which errors name.
struct Fields<'a> {
    name: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(name: &'a str, value: &'a Value) -> Result<Fields<'a>, EncodingsError> {
        let map = value.as_object().ok_or_else(|| bad(name, "it is no object"))?;
        Ok(Fields { name, map })
    }

    fn bad(&self, key: &str, what: &str) -> EncodingsError {
        bad(self.name, &format!("`{key}` {what}"))
    }

    fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn need(&self, key: &str) -> Result<&'a Value, EncodingsError> {
        self.map.get(key).ok_or_else(|| self.bad(key, "is missing"))
    }

    fn number(&self, key: &str) -> Result<f64, EncodingsError> {
        let number = self.need(key)?.as_f64().filter(|x| x.is_finite());
        number.ok_or_else(|| self.bad(key, "is no number"))
    }

    fn count(&self, key: &str) -> Result<usize, EncodingsError> {
        let count = self.need(key)?.as_u64().and_then(|n| usize::try_from(n).ok());
        count.ok_or_else(|| self.bad(key, "is no count"))
    }

    fn bits(&self, key: &str) -> Result<u32, EncodingsError> {
        let bits = u32::try_from(self.count(key)?).ok().filter(|bits| (1..=64).contains(bits));
        bits.ok_or_else(|| self.bad(key, "is no width"))
    }

    fn text(&self, key: &str) -> Result<&'a str, EncodingsError> {
        self.need(key)?.as_str().ok_or_else(|| self.bad(key, "is no string"))
    }

    /// Booleans, which older versions write as strings.
    fn flag(&self, key: &str) -> Result<bool, EncodingsError> {
        match self.need(key)? {
            Value::Bool(flag) => Ok(*flag),
            Value::String(flag) if flag.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(flag) if flag.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.bad(key, "is neither true nor false")),
        }
    }

    /// A number or lists of lists of numbers: their shape and the numbers in order.
    fn numbers(&self, key: &str) -> Result<(Vec<usize>, Vec<f64>), EncodingsError> {
        let (mut shape, mut out) = (Vec::new(), Vec::new());
        let mut at = self.need(key)?;
        while let Value::Array(items) = at {
            shape.push(items.len());
            match items.first() {
                Some(first) if shape.len() <= 8 => at = first,
                _ => break,
            }
        }
        flatten(self.need(key)?, &shape, &mut out).ok_or_else(|| {
            self.bad(key, "holds something that is no number, or lists of unequal length")
        })?;
        Ok((shape, out))
    }
}

fn flatten(value: &Value, shape: &[usize], out: &mut Vec<f64>) -> Option<()> {
    match (value, shape) {
        (Value::Array(items), [length, rest @ ..]) if items.len() == *length => {
            items.iter().try_for_each(|item| flatten(item, rest, out))
        }
        (Value::Number(number), []) => {
            out.push(number.as_f64().filter(|x| x.is_finite())?);
            Some(())
        }
        _ => None,
    }
}

fn v0_6_1(name: &str, value: &Value) -> Result<Entry, EncodingsError> {
    let cells = value.as_array().filter(|cells| !cells.is_empty());
    let cells = cells.ok_or_else(|| bad(name, "it is no list of encodings"))?;
    let first = Fields::of(name, &cells[0])?;
    let bits = first.bits("bitwidth")?;
    // Files that were written before floats came do not say it.
    match first.has("dtype").then(|| first.text("dtype")).transpose()? {
        Some("float") => return Ok(Entry::named(name, Element::Float { bits })),
        None | Some("int") => {}
        _ => return Err(first.bad("dtype", "is neither `int` nor `float`")),
    }
    let mut entry = Entry::named(name, Element::Int { bits, signed: None });
    entry.symmetric = first.has("is_symmetric").then(|| first.flag("is_symmetric")).transpose()?;
    if cells.len() > 1 {
        entry.layout = Layout::Channel { axis: None };
        entry.shape = vec![cells.len()];
    }
    for cell in cells {
        let fields = Fields::of(name, cell)?;
        let Some(grid) = grid_v0_6_1(&fields, bits, entry.symmetric)? else {
            // Its width alone: whoever applies it says so.
            (entry.scales, entry.offsets) = (Vec::new(), Vec::new());
            return Ok(entry);
        };
        entry.scales.push(grid.scale);
        entry.offsets.push(grid.offset);
    }
    Ok(entry)
}

/// The grid of one cell: its scale and offset, or what follows from its range, as AIMET computes it.
fn grid_v0_6_1(
    fields: &Fields<'_>,
    bits: u32,
    symmetric: Option<bool>,
) -> Result<Option<Cell>, EncodingsError> {
    let range = match (fields.has("min"), fields.has("max")) {
        (true, true) => Some((fields.number("min")?, fields.number("max")?)),
        (false, false) => None,
        (true, false) => return Err(fields.bad("max", "is missing, and there is a `min`")),
        (false, true) => return Err(fields.bad("min", "is missing, and there is a `max`")),
    };
    let middle = -2f64.powi(bits as i32 - 1);
    if fields.has("scale") {
        let scale = fields.number("scale")?;
        let offset = match (fields.has("offset"), range, symmetric) {
            (true, ..) => fields.number("offset")?,
            (false, Some((lo, _)), _) if scale > 0.0 => (lo / scale).round(),
            (false, None, Some(true)) => middle,
            _ => return Err(fields.bad("offset", "is missing, and there is no range")),
        };
        return Ok(Some(Cell { scale, offset }));
    }
    if fields.has("offset") {
        return Err(fields.bad("scale", "is missing, and there is an `offset`"));
    }
    let Some((lo, hi)) = range else { return Ok(None) };
    if lo > hi {
        return Err(fields.bad("min", "is larger than `max`"));
    }
    let dtype = DType::parse(&format!("uint{bits}"));
    let dtype = dtype.ok_or_else(|| fields.bad("bitwidth", "is the width of no type"))?;
    let symmetric = symmetric.unwrap_or(false);
    // As far on either side of zero, one step is given up.
    let strict = symmetric && lo < 0.0 && -lo == hi;
    let spec = Spec { symmetric, strict, unsigned: lo >= 0.0, ..Spec::activation(dtype) };
    Ok(Some(grid_of_range(&spec, lo as f32, hi as f32)))
}

fn v1_0_0(value: &Value) -> Result<Entry, EncodingsError> {
    let fields = Fields::of("an entry", value)?;
    let fields = Fields { name: fields.text("name")?, ..fields };
    let bits = fields.bits("bw")?;
    match fields.text("dtype")? {
        "FLOAT" => return Ok(Entry::named(fields.name, Element::Float { bits })),
        "INT" => {}
        _ => return Err(fields.bad("dtype", "is neither `INT` nor `FLOAT`")),
    }
    let mut entry = Entry::named(fields.name, Element::Int { bits, signed: None });
    entry.symmetric = Some(fields.flag("is_sym")?);
    let (_, scales) = fields.numbers("scale")?;
    let (_, offsets) = fields.numbers("offset")?;
    (entry.scales, entry.offsets) = (scales, offsets);
    if fields.map.contains_key("zero_point_shift") {
        let shift = fields.number("zero_point_shift")?;
        entry.offsets.iter_mut().for_each(|offset| *offset += shift);
    }
    entry.shape = vec![entry.scales.len()];
    match fields.text("enc_type")? {
        "PER_TENSOR" => entry.shape = Vec::new(),
        "PER_CHANNEL" => entry.layout = Layout::Channel { axis: None },
        "PER_BLOCK" => {
            entry.layout = Layout::Block { axis: None, size: fields.count("block_size")? };
        }
        "LPBQ" => {
            let size = fields.count("block_size")?;
            let compressed = fields.bits("compressed_bw")?;
            entry.layout = Layout::Lpbq { axis: None, size, compressed, decompressed: bits };
            entry.element = Element::Int { bits: compressed, signed: Some(true) };
            let (_, ints) = fields.numbers("per_block_int_scale")?;
            // Flat lists have the blocks of a channel together.
            let channels = entry.scales.len().max(1);
            low_power(&mut entry, fields.name, &ints, ints.len() / channels)?;
            entry.shape = vec![ints.len()];
        }
        _ => return Err(fields.bad("enc_type", "is no kind of encoding")),
    }
    let expected = if entry.ints.is_empty() { entry.scales.len() } else { entry.offsets.len() };
    if entry.offsets.len() != expected || entry.scales.is_empty() {
        return Err(fields.bad("offset", "has not as many numbers as `scale`"));
    }
    Ok(entry)
}

/// Makes scales of blocks from `scales`, which are those of channels; `inner` integers in a row are of
/// one channel.
fn low_power(
    entry: &mut Entry,
    name: &str,
    ints: &[f64],
    inner: usize,
) -> Result<(), EncodingsError> {
    let channels = entry.scales.len();
    if channels == 0 || ints.is_empty() || inner == 0 || !ints.len().is_multiple_of(channels) {
        return Err(bad(name, "there are not as many blocks in every channel"));
    }
    entry.channel_scales = entry.scales.clone();
    entry.ints = ints.iter().map(|&int| int as u32).collect();
    if entry.ints.iter().zip(ints).any(|(&int, &read)| int == 0 || f64::from(int) != read) {
        return Err(bad(name, "an integer scale is no positive integer"));
    }
    let channel = |at: usize| at / inner % channels;
    let scale = |(at, &int): (usize, &u32)| {
        // The product is what runtimes compute, in single precision.
        f64::from(int as f32 * entry.channel_scales[channel(at)] as f32)
    };
    entry.scales = entry.ints.iter().enumerate().map(scale).collect();
    let Element::Int { bits, .. } = entry.element else { return Ok(()) };
    entry.offsets = vec![-((1u64 << (bits - 1)) as f64); ints.len()];
    Ok(())
}

fn v2_0_0(value: &Value) -> Result<Entry, EncodingsError> {
    let fields = Fields::of("an entry", value)?;
    let fields = Fields { name: fields.text("name")?, ..fields };
    let dtype = fields.text("output_dtype")?;
    let dtype = DType::parse(dtype)
        .ok_or_else(|| fields.bad("output_dtype", &format!("is no type: `{dtype}`")))?;
    let element = match (dtype.is_integer(), dtype.is_cast()) {
        (true, _) => Element::Int { bits: dtype.bits(), signed: Some(dtype.is_signed()) },
        (false, true) => Element::Float { bits: dtype.bits() },
        (false, false) => Element::Float8(dtype),
    };
    let mut entry = Entry::named(fields.name, element);
    if dtype.is_cast() {
        return Ok(entry);
    }
    let axis = match fields.map.get("axis") {
        None | Some(Value::Null) => None,
        Some(axis) => Some(axis.as_i64().ok_or_else(|| fields.bad("axis", "is no axis"))?),
    };
    let block = match fields.map.contains_key("block_size") {
        true => Some(fields.count("block_size")?),
        false => None,
    };
    if fields.map.contains_key("per_block_int_scale") {
        let size = block.ok_or_else(|| fields.bad("block_size", "is missing"))?;
        let (shape, ints) = fields.numbers("per_block_int_scale")?;
        let (channel_shape, scales) = fields.numbers("per_channel_float_scale")?;
        let bits = dtype.bits();
        entry.layout = Layout::Lpbq { axis, size, compressed: bits, decompressed: 2 * bits };
        // Channels lie on the one axis along which their floats differ.
        let channel = channel_shape.iter().position(|&length| length > 1);
        let inner = match channel.filter(|_| channel_shape.len() == shape.len()) {
            Some(at) => shape[at + 1..].iter().product(),
            None => ints.len(),
        };
        entry.scales = scales;
        low_power(&mut entry, fields.name, &ints, inner)?;
        entry.shape = shape;
    } else {
        (entry.shape, entry.scales) = fields.numbers("y_scale")?;
        entry.layout = match (entry.shape.len(), block) {
            (0, None) => Layout::Tensor,
            (_, Some(size)) => Layout::Block { axis, size },
            (_, None) => Layout::Channel { axis },
        };
        let zeros = match fields.map.contains_key("y_zero_point") {
            true => fields.numbers("y_zero_point")?.1,
            false => vec![0.0; entry.scales.len()],
        };
        if zeros.len() != entry.scales.len() {
            return Err(fields.bad("y_zero_point", "has not the shape of `y_scale`"));
        }
        let lowest = match element {
            Element::Int { bits, signed: Some(true) } => -((1u64 << (bits - 1)) as f64),
            _ => 0.0,
        };
        // The unsigned grid begins at the lowest integer.
        entry.offsets = match element {
            Element::Float8(_) => zeros,
            _ => zeros.iter().map(|zero| lowest - zero).collect(),
        };
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::render;

    fn code(text: &str) -> &'static str {
        parse(text).unwrap_err().code()
    }

    #[test]
    fn broken_files_are_errors_with_a_place() {
        assert_eq!(code(""), "encodings_syntax");
        assert_eq!(code("[]"), "encodings_syntax");
        assert_eq!(code(r#"{"version": "9.9.9"}"#), "encodings_version");
        assert_eq!(code(r#"{"version": "1.0.0"}"#), "encodings_syntax");
        let entry = |entry: &str| {
            let text = format!(
                r#"{{"version": "1.0.0", "activation_encodings": [{entry}], "param_encodings": []}}"#
            );
            parse(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        let missing = entry(r#"{"name": "x", "dtype": "INT"}"#).unwrap_err();
        assert_eq!(missing, "`x`: `bw` is missing");
        let deep = format!(
            r#"{{"name": "x", "dtype": "INT", "bw": 8, "is_sym": true, "enc_type": "LPBQ",
                "block_size": 0, "compressed_bw": 4, "offset": [0], "scale": [{}],
                "per_block_int_scale": [1.5]}}"#,
            "[".repeat(50) + &"]".repeat(50)
        );
        assert!(entry(&deep).is_err());
        for (field, value) in [("bw", "0"), ("bw", "-1"), ("scale", "[null]"), ("offset", "[0,0]")]
        {
            let whole = [
                ("name", "\"x\""),
                ("dtype", "\"INT\""),
                ("bw", "8"),
                ("is_sym", "false"),
                ("enc_type", "\"PER_CHANNEL\""),
                ("scale", "[1.0]"),
                ("offset", "[0]"),
            ];
            let fields: Vec<String> = whole
                .iter()
                .map(|(key, good)| {
                    format!("\"{key}\": {}", if *key == field { value } else { good })
                })
                .collect();
            assert!(entry(&format!("{{{}}}", fields.join(", "))).is_err(), "{field} {value}");
        }
    }

    #[test]
    fn ranges_stand_for_scales_in_the_oldest_version() {
        let entry = |cell: &str| {
            let text = format!(
                r#"{{"version": "0.6.1", "param_encodings": {{}},
                    "activation_encodings": {{"x": [{{"bitwidth": 8, {cell}}}]}}}}"#
            );
            parse(&text).map(|document| document.entries[0].clone())
        };
        let grid = |cell: &str| entry(cell).map(|entry| (entry.scales, entry.offsets)).unwrap();
        let asymmetric = r#""dtype": "int", "is_symmetric": "False""#;
        assert_eq!(
            grid(&format!(r#"{asymmetric}, "min": -1.0, "max": 4.1"#)),
            (vec![f64::from(4.1f32 + 1.0) / 255.0], vec![-50.0]),
        );
        let symmetric = r#""is_symmetric": "True""#;
        assert_eq!(
            grid(&format!(r#"{symmetric}, "min": -2.0, "max": 1.984375"#)),
            (vec![2.0 / 128.0], vec![-128.0]),
        );
        assert_eq!(
            grid(&format!(r#"{symmetric}, "min": -2.0, "max": 2.0"#)),
            (vec![2.0 / 127.0], vec![-127.0]),
        );
        assert_eq!(grid(r#""scale": 0.5, "min": -3.0, "max": 10.0"#), (vec![0.5], vec![-6.0]));
        assert_eq!(grid(&format!(r#"{symmetric}, "scale": 0.5"#)), (vec![0.5], vec![-128.0]));
        assert_eq!(grid(asymmetric), (Vec::new(), Vec::new()), "it says its width alone");
        for bad in [
            r#""min": 1.0"#,
            r#""max": 1.0"#,
            r#""min": 2.0, "max": 1.0"#,
            r#""offset": -3"#,
            r#""scale": 0.5"#,
            r#""min": "a", "max": 1.0"#,
        ] {
            assert_eq!(entry(bad).unwrap_err().code(), "encodings_syntax", "{bad}");
        }
        let width_only = parse(
            r#"{"version": "0.6.1", "param_encodings": {},
                "activation_encodings": {"x": [{"bitwidth": 8}]}}"#,
        );
        let error = render(&width_only.unwrap(), Version::V1_0_0).unwrap_err();
        assert_eq!(error.code(), "encodings_unfit");
    }

    #[test]
    fn a_shifted_grid_survives() {
        let text = r#"{"version": "1.0.0", "activation_encodings": [], "param_encodings": [
            {"name": "w", "dtype": "INT", "bw": 2, "enc_type": "PER_TENSOR", "is_sym": true,
             "scale": [0.5], "offset": [-2.0], "zero_point_shift": 0.5}]}"#;
        let document = parse(text).unwrap();
        assert_eq!(document.entries[0].offsets, [-1.5]);
        let written = render(&document, Version::V1_0_0).unwrap();
        assert_eq!(parse(&written).unwrap().entries, document.entries);
        let error = render(&document, Version::V2_0_0).unwrap_err();
        assert_eq!(error.code(), "encodings_need_model");
    }

    #[test]
    fn overrides_of_onnx_runtime_are_read_as_far_as_they_go() {
        let text = r#"{
            "x": [{"quant_type": "QUInt16", "rmin": -1.0, "rmax": 1.0}],
            "w": [{"axis": 0, "quant_type": "QInt8", "symmetric": true, "scale": 0.5, "zero_point": 0},
                  {"axis": 0, "quant_type": "QInt8", "symmetric": true, "scale": 0.25}],
            "later": [{"quant_type": "QUInt8"}]
        }"#;
        let document = parse(text).unwrap();
        assert_eq!(document.entries.len(), 2);
        assert_eq!(document.entries[0].scales, [2.0 / 65535.0]);
        assert_eq!(document.entries[1].offsets, [-128.0, -128.0]);
        assert_eq!(document.entries[1].layout, Layout::Channel { axis: Some(0) });
        assert_eq!(document.notes.len(), 1);
        assert_eq!(code(r#"{"x": 3}"#), "encodings_syntax");
    }
}
