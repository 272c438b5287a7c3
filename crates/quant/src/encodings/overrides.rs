//! Tensor overrides of ONNX Runtime's quantizer: `{"x": [{"quant_type": "QUInt16", ..}]}`.

use serde_json::{Map, Value};

use super::read::bad;
use super::{Document, Element, EncodingsError, Entry, Layout};
use crate::range::grid_of_range;
use crate::{DType, Spec};

/// Reads the overrides that fix a scale or a range; the others leave it to calibration, and are
/// noted.
pub(super) fn parse(file: &Map<String, Value>) -> Result<Document, EncodingsError> {
    let (mut entries, mut notes) = (Vec::new(), Vec::new());
    for (name, overrides) in file {
        let Some(channels) = overrides.as_array().filter(|channels| !channels.is_empty()) else {
            return Err(bad(name, "there is no `version`, and this is no list of overrides"));
        };
        match tensor(name, channels)? {
            Some(entry) => entries.push(entry),
            None => notes.push(format!("`{name}` has neither a scale nor a range: calibrate it")),
        }
        if channels.iter().any(|channel| channel.get("convert").is_some()) {
            notes.push(format!("the conversion of `{name}` to a second type is left out"));
        }
    }
    Ok(Document { version: None, producer: None, quantizer_args: None, entries, notes })
}

fn tensor(name: &str, channels: &[Value]) -> Result<Option<Entry>, EncodingsError> {
    let first = &channels[0];
    let dtype = match first.get("quant_type").map(|kind| kind.as_str()) {
        None => DType::UInt8,
        Some(kind) => kind
            .and_then(|kind| DType::parse(&kind.trim_start_matches('Q').to_lowercase()))
            .ok_or_else(|| bad(name, "`quant_type` is no type"))?,
    };
    let symmetric = first.get("symmetric").and_then(Value::as_bool).unwrap_or(false);
    let signed = Some(dtype.is_signed());
    let mut entry = Entry::named(name, Element::Int { bits: dtype.bits(), signed });
    entry.symmetric = Some(symmetric);
    if let Some(axis) = first.get("axis").and_then(Value::as_i64) {
        entry.layout = Layout::Channel { axis: Some(axis) };
        entry.shape = vec![channels.len()];
    }
    let lowest = if dtype.is_signed() { -2f64.powi(dtype.bits() as i32 - 1) } else { 0.0 };
    for channel in channels {
        let number = |key: &str| number(channel, key);
        let (scale, offset) = match (number("scale"), number("rmin"), number("rmax")) {
            (Some(scale), ..) if scale > 0.0 => {
                (scale, lowest - number("zero_point").unwrap_or(0.0))
            }
            (None, Some(lo), Some(hi)) => {
                let spec = Spec { symmetric, ..Spec::activation(dtype) };
                let cell = grid_of_range(&spec, lo as f32, hi as f32);
                (cell.scale, cell.offset)
            }
            (None, ..) => return Ok(None),
            (Some(_), ..) => return Err(bad(name, "`scale` is not positive")),
        };
        entry.scales.push(scale);
        entry.offsets.push(offset);
    }
    Ok(Some(entry))
}

/// A number, or the only one of a list, as arrays of NumPy are written.
fn number(channel: &Value, key: &str) -> Option<f64> {
    match channel.get(key)? {
        Value::Array(items) if items.len() == 1 => items[0].as_f64(),
        value => value.as_f64(),
    }
}
