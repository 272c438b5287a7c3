//! A document to text.

use serde_json::{Map, Value, json};

use super::{Document, Element, EncodingsError, Entry, Layout, NO_GRID, Section, Version};

/// The text of a file of this version: keys sorted, as AIMET writes them.
///
/// # Errors
///
/// `CannotHold` for what a version cannot express, `NeedsModel` for what the document does not know.
pub fn render(document: &Document, version: Version) -> Result<String, EncodingsError> {
    let mut file = Map::new();
    let integers = |entry: &&Entry| !matches!(entry.element, Element::Float { .. });
    let mut integers = document.entries.iter().filter(integers);
    if let Some(entry) = integers.find(|entry| entry.scales.is_empty()) {
        let (name, what) = (entry.name.clone(), NO_GRID.to_owned());
        return Err(EncodingsError::Unfit { name, what });
    }
    match version {
        Version::V2_0_0 => {
            let entries = document.entries.iter().filter_map(|entry| v2_0_0(entry).transpose());
            let entries: Result<Vec<Value>, _> = entries.collect();
            file.insert("encodings".to_owned(), Value::Array(entries?));
        }
        Version::V0_6_1 | Version::V1_0_0 => {
            for (key, section) in
                [("activation_encodings", Section::Activation), ("param_encodings", Section::Param)]
            {
                let unknown = document.entries.iter().any(|entry| entry.section.is_none());
                if unknown {
                    return Err(EncodingsError::NeedsModel { what: "what is a parameter" });
                }
                let entries =
                    document.entries.iter().filter(|entry| entry.section == Some(section));
                let list = match version {
                    Version::V0_6_1 => {
                        let mut tensors: Vec<(String, Value)> = Vec::new();
                        for entry in entries {
                            tensors.push((entry.name.clone(), v0_6_1(entry)?));
                        }
                        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
                        Value::Object(tensors.into_iter().collect())
                    }
                    _ => Value::Array(entries.map(v1_0_0).collect::<Result<_, _>>()?),
                };
                file.insert(key.to_owned(), list);
            }
        }
    }
    if let Some(producer) = &document.producer {
        file.insert("producer".to_owned(), producer.clone());
    }
    if let (Some(args), true) = (&document.quantizer_args, version != Version::V2_0_0) {
        file.insert("quantizer_args".to_owned(), args.clone());
    }
    file.insert("version".to_owned(), json!(version.name()));
    let mut text = serde_json::to_string_pretty(&file).expect("keys are strings");
    text.push('\n');
    Ok(text)
}

fn cannot(
    entry: &Entry,
    version: Version,
    what: &'static str,
    instead: &'static str,
) -> EncodingsError {
    EncodingsError::CannotHold { name: entry.name.clone(), version: version.name(), what, instead }
}

fn shifted(entry: &Entry) -> bool {
    entry.offsets.iter().any(|offset| offset.fract() != 0.0)
}

fn v0_6_1(entry: &Entry) -> Result<Value, EncodingsError> {
    const VERSION: Version = Version::V0_6_1;
    let bits = match entry.element {
        Element::Float { bits } => return Ok(json!([{ "bitwidth": bits, "dtype": "float" }])),
        Element::Float8(_) => return Err(cannot(entry, VERSION, "8-bit floats", "`2.0.0`")),
        Element::Int { bits, .. } => bits,
    };
    if matches!(entry.layout, Layout::Lpbq { .. }) {
        return Err(cannot(entry, VERSION, "low-power blocks", "`1.0.0` or `2.0.0`"));
    }
    if shifted(entry) {
        return Err(cannot(entry, VERSION, "grids without zero", "`1.0.0`"));
    }
    let symmetric = symmetric(entry)?;
    let cells = entry.scales.iter().zip(&entry.offsets).map(|(&scale, &offset)| {
        let steps = steps(bits, symmetric, offset);
        json!({
            "bitwidth": bits,
            "dtype": "int",
            "is_symmetric": if symmetric { "True" } else { "False" },
            "max": scale * (offset + steps),
            "min": scale * offset,
            "offset": offset,
            "scale": scale,
        })
    });
    Ok(Value::Array(cells.collect()))
}

/// The steps of a grid; its offset tells whether one was given up.
fn steps(bits: u32, symmetric: bool, offset: f64) -> f64 {
    let strict = symmetric && offset == 1.0 - 2f64.powi(bits as i32 - 1);
    2f64.powi(bits as i32) - if strict { 2.0 } else { 1.0 }
}

fn symmetric(entry: &Entry) -> Result<bool, EncodingsError> {
    entry.symmetric.ok_or(EncodingsError::NeedsModel { what: "what is symmetric" })
}

fn v1_0_0(entry: &Entry) -> Result<Value, EncodingsError> {
    const VERSION: Version = Version::V1_0_0;
    let mut fields = Map::new();
    let mut add = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    let bits = match entry.element {
        Element::Float { bits } => {
            return Ok(json!({
                "bw": bits, "dtype": "FLOAT", "enc_type": "PER_TENSOR", "name": entry.name,
            }));
        }
        Element::Float8(_) => return Err(cannot(entry, VERSION, "8-bit floats", "`2.0.0`")),
        Element::Int { bits, .. } => bits,
    };
    let kind = match entry.layout {
        Layout::Tensor => "PER_TENSOR",
        Layout::Channel { .. } => "PER_CHANNEL",
        Layout::Block { size, .. } => {
            add("block_size", json!(size));
            "PER_BLOCK"
        }
        Layout::Lpbq { size, .. } => {
            add("block_size", json!(size));
            "LPBQ"
        }
    };
    let blocks = matches!(entry.layout, Layout::Block { .. } | Layout::Lpbq { .. });
    if blocks && entry.shape.len() != 1 {
        // Nested lists stand as in the tensor; the flat ones of this version by output channel.
        return Err(EncodingsError::NeedsModel { what: "the axis of output channels" });
    }
    let shift = if shifted(entry) { 0.5 } else { 0.0 };
    match entry.layout {
        Layout::Lpbq { compressed, decompressed, .. } => {
            add("bw", json!(decompressed));
            add("compressed_bw", json!(compressed));
            let offset = -(1i64 << (decompressed - 1));
            add("offset", json!(vec![offset; entry.channel_scales.len()]));
            add("per_block_int_scale", json!(entry.ints));
            add("scale", json!(entry.channel_scales));
        }
        _ => {
            add("bw", json!(bits));
            let offsets: Vec<f64> = entry.offsets.iter().map(|offset| offset - shift).collect();
            add("offset", json!(offsets));
            add("scale", json!(entry.scales));
        }
    }
    add("dtype", json!("INT"));
    add("enc_type", json!(kind));
    add("is_sym", json!(symmetric(entry)?));
    add("name", json!(entry.name));
    if shift != 0.0 {
        add("zero_point_shift", json!(shift));
    }
    fields.sort_keys();
    Ok(Value::Object(fields))
}

/// The entry, or nothing for a cast, which this version leaves out.
fn v2_0_0(entry: &Entry) -> Result<Option<Value>, EncodingsError> {
    const VERSION: Version = Version::V2_0_0;
    let mut fields = Map::new();
    let mut add = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    let (dtype, lowest) = match entry.element {
        Element::Float { .. } => return Ok(None),
        Element::Float8(dtype) => (dtype.name().to_owned(), 0.0),
        Element::Int { bits, signed: Some(true) } => {
            (format!("int{bits}"), -2f64.powi(bits as i32 - 1))
        }
        Element::Int { bits, signed: Some(false) } => (format!("uint{bits}"), 0.0),
        Element::Int { signed: None, .. } => {
            return Err(EncodingsError::NeedsModel { what: "what is signed" });
        }
    };
    if shifted(entry) {
        return Err(cannot(entry, VERSION, "grids without zero", "`1.0.0`"));
    }
    let axis = |axis: Option<i64>| {
        axis.ok_or(EncodingsError::NeedsModel { what: "the axis of scales" })
            .map(|axis| json!(axis))
    };
    add("name", json!(entry.name));
    add("output_dtype", json!(dtype));
    match entry.layout {
        Layout::Tensor => {}
        Layout::Channel { axis: along } => {
            add("axis", axis(along)?);
        }
        Layout::Block { axis: along, size } | Layout::Lpbq { axis: along, size, .. } => {
            add("axis", axis(along)?);
            add("block_size", json!(size));
        }
    }
    if let Layout::Lpbq { compressed, decompressed, axis: along, .. } = entry.layout {
        if decompressed != 2 * compressed {
            return Err(cannot(entry, VERSION, "these widths of low-power blocks", "`1.0.0`"));
        }
        let ints: Vec<Value> = entry.ints.iter().map(|&int| json!(int)).collect();
        add("per_block_int_scale", nested(&entry.shape, &ints));
        let along = along.unwrap_or(0);
        // One float for every channel, and 1 along the axis of blocks.
        let shape: Vec<usize> = (0..entry.shape.len())
            .map(|at| if at as i64 == along { 1 } else { entry.shape[at] })
            .collect();
        let floats: Vec<Value> = entry.channel_scales.iter().map(|&scale| json!(scale)).collect();
        add("per_channel_float_scale", nested(&shape, &floats));
    } else {
        let scales: Vec<Value> = entry.scales.iter().map(|&scale| json!(scale)).collect();
        add("y_scale", nested(&entry.shape, &scales));
        let zeros: Vec<i64> = match entry.element {
            Element::Float8(_) => Vec::new(),
            _ => entry.offsets.iter().map(|offset| (lowest - offset) as i64).collect(),
        };
        if zeros.iter().any(|&zero| zero != 0) {
            let zeros: Vec<Value> = zeros.into_iter().map(|zero| json!(zero)).collect();
            add("y_zero_point", nested(&entry.shape, &zeros));
        }
    }
    fields.sort_keys();
    Ok(Some(Value::Object(fields)))
}

/// Numbers as lists of lists of this shape.
fn nested(shape: &[usize], numbers: &[Value]) -> Value {
    match shape {
        [] => numbers.first().cloned().unwrap_or(Value::Null),
        [_] => Value::Array(numbers.to_vec()),
        [length, rest @ ..] => {
            let size = (numbers.len() / length.max(&1)).max(1);
            Value::Array(numbers.chunks(size).map(|chunk| nested(rest, chunk)).collect())
        }
    }
}
