//! Holds three things together: the structs that `prost` decodes, the table that the screen walks,
//! and the descriptor of the official package, dumped by `scripts/proto-descriptor.py`.

use std::fmt::Write as _;

use bytes::Bytes;

use super::fields::{self, Field, Kind, Label, Message};
use super::proto;
use super::screen::{Limits, WireFault, screen};

const DESCRIPTOR: &str = include_str!("../../../../tests/fixtures/onnx/descriptor.txt");

/// The messages and fields of the dump, without the enumerations.
fn described(dump: &str) -> String {
    let mut out = String::new();
    let mut wanted = false;
    for line in dump.lines() {
        if !line.starts_with(' ') {
            wanted = line.starts_with("message ");
        }
        if wanted {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Uint64 => "uint64".to_owned(),
        Kind::Enum(name) => format!("enum {name}"),
        Kind::Float => "float".to_owned(),
        Kind::Double => "double".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Message(message) => message.name.to_owned(),
    }
}

fn print(message: &Message) -> String {
    let mut out = format!("message {}\n", message.name);
    for Field { number, name, label, kind } in message.fields {
        let (label, rest) = match label {
            Label::One => ("optional", String::new()),
            Label::Either(group) => ("optional", format!(" oneof {group}")),
            Label::Many => ("repeated", String::new()),
            Label::Packed => ("repeated", " packed".to_owned()),
        };
        writeln!(out, "  {number} {name} {label} {}{rest}", type_name(*kind)).unwrap();
    }
    out
}

/// Every message that the table reaches from the model, in the order of their names.
fn all() -> Vec<&'static Message> {
    let mut all: Vec<&'static Message> = vec![&fields::MODEL];
    let mut next = 0;
    while let Some(message) = all.get(next) {
        next += 1;
        for field in message.fields {
            if let Kind::Message(inner) = field.kind
                && !all.iter().any(|known| known.name == inner.name)
            {
                all.push(inner);
            }
        }
    }
    all.sort_by_key(|message| message.name);
    all
}

#[test]
fn the_table_is_the_official_descriptor() {
    let ours: String = all().into_iter().map(print).collect();
    assert_eq!(ours, described(DESCRIPTOR));
}

/// Runs only where `python3 -c "import onnx"` works; a newer package shows as a difference.
#[test]
fn the_dump_is_what_the_installed_package_says() {
    let python = std::env::var("MARQUETRY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/proto-descriptor.py");
    match std::process::Command::new(python).arg(script).output() {
        Ok(output) if output.status.success() => {
            let dump = String::from_utf8(output.stdout).unwrap();
            let version = dump.lines().next().unwrap_or_default();
            if version == DESCRIPTOR.lines().next().unwrap_or_default() {
                assert_eq!(dump, DESCRIPTOR);
            } else {
                eprintln!("skipped: the dump is of another release than `{version}`");
            }
        }
        _ => eprintln!("skipped: no Python with the `onnx` package"),
    }
}

/// What `prost` makes of a message of this name: its debug form, and its bytes again.
fn decode(name: &str, wire: &[u8]) -> Result<(String, Vec<u8>), prost::DecodeError> {
    fn of<M: prost::Message + Default + std::fmt::Debug>(
        wire: &[u8],
    ) -> Result<(String, Vec<u8>), prost::DecodeError> {
        let message = M::decode(Bytes::copy_from_slice(wire))?;
        Ok((format!("{message:?}"), message.encode_to_vec()))
    }
    match name {
        "AttributeProto" => of::<proto::Attribute>(wire),
        "DeviceConfigurationProto" => of::<proto::DeviceConfiguration>(wire),
        "FunctionProto" => of::<proto::Function>(wire),
        "GraphProto" => of::<proto::Graph>(wire),
        "IntIntListEntryProto" => of::<proto::IntListEntry>(wire),
        "ModelProto" => of::<proto::Model>(wire),
        "NodeDeviceConfigurationProto" => of::<proto::NodeDeviceConfiguration>(wire),
        "NodeProto" => of::<proto::Node>(wire),
        "OperatorSetIdProto" => of::<proto::OpsetId>(wire),
        "ShardedDimProto" => of::<proto::ShardedDim>(wire),
        "ShardingSpecProto" => of::<proto::ShardingSpec>(wire),
        "SimpleShardedDimProto" => of::<proto::SimpleShardedDim>(wire),
        "SparseTensorProto" => of::<proto::SparseTensor>(wire),
        "StringStringEntryProto" => of::<proto::StringEntry>(wire),
        "TensorAnnotation" => of::<proto::TensorAnnotation>(wire),
        "TensorProto" => of::<proto::Tensor>(wire),
        "TensorProto.Segment" => of::<proto::Segment>(wire),
        "TensorShapeProto" => of::<proto::Shape>(wire),
        "TensorShapeProto.Dimension" => of::<proto::Dimension>(wire),
        "TrainingInfoProto" => of::<proto::TrainingInfo>(wire),
        "TypeProto" => of::<proto::Type>(wire),
        "TypeProto.Map" => of::<proto::MapType>(wire),
        "TypeProto.Opaque" => of::<proto::OpaqueType>(wire),
        "TypeProto.Optional" => of::<proto::OptionalType>(wire),
        "TypeProto.Sequence" => of::<proto::SequenceType>(wire),
        "TypeProto.SparseTensor" => of::<proto::SparseTensorType>(wire),
        "TypeProto.Tensor" => of::<proto::TensorType>(wire),
        "ValueInfoProto" => of::<proto::ValueInfo>(wire),
        _ => panic!("`{name}` has no struct"),
    }
}

const MINUS_ONE: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];

/// One value of the field as it is written, and what the debug form of the struct shows of it.
///
/// The values tell the types apart: −1 shows whether a number has a sign, 2⁴⁰ how wide it is.
fn samples(kind: Kind) -> Vec<(Vec<u8>, &'static str)> {
    let big = vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    match kind {
        Kind::Int32 | Kind::Enum(_) => vec![(MINUS_ONE.to_vec(), "-1"), (vec![99], "99")],
        Kind::Int64 => vec![(MINUS_ONE.to_vec(), "-1"), (big, "1099511627776")],
        Kind::Uint64 => vec![(MINUS_ONE.to_vec(), "18446744073709551615")],
        Kind::Float => vec![(1.5_f32.to_le_bytes().to_vec(), "1.5")],
        Kind::Double => vec![(1e300_f64.to_le_bytes().to_vec(), "1e300")],
        Kind::String => vec![(b"\x02ab".to_vec(), "\"ab\""), (b"\x00".to_vec(), "\"\"")],
        Kind::Bytes => vec![(b"\x02a\xff".to_vec(), "b\"a\\xff\"")],
        Kind::Message(_) => vec![(vec![0], "")],
    }
}

fn wire_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint64 | Kind::Enum(_) => 0,
        Kind::Double => 1,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        Kind::Float => 5,
    }
}

/// A field as the table says that it is written.
fn written(field: &Field, value: &[u8]) -> Vec<u8> {
    let kind = if field.label == Label::Packed { 2 } else { wire_kind(field.kind) };
    let mut wire = vec![];
    prost::encoding::encode_varint(u64::from(field.number << 3) | u64::from(kind), &mut wire);
    if field.label == Label::Packed {
        wire.push(u8::try_from(value.len()).unwrap());
    }
    wire.extend(value);
    wire
}

fn debug_name(field: &Field) -> String {
    match field.label {
        Label::Either(_) => {
            let words = field.name.strip_suffix("_type").unwrap_or(field.name).split('_');
            words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
        }
        _ => field.name.to_owned(),
    }
}

/// A field that the struct lacks, or has with another number, type or packing, does not come back.
#[test]
fn every_field_of_the_table_comes_back_from_prost() {
    for message in all() {
        for field in message.fields {
            for (value, shown) in samples(field.kind) {
                let at = format!("`{}` of `{}`", field.name, message.name);
                let wire = written(field, &value);
                let (debug, again) = decode(message.name, &wire).expect(&at);
                assert_eq!(again, wire, "{at}");
                assert!(debug.contains(shown), "{at}: {debug}");
                assert!(debug.contains(&debug_name(field)), "{at}: {debug}");
                let limits = Limits { heap: 1 << 20, strip_unknown: false };
                assert_eq!(screen(&wire, message, limits), Ok(()), "{at}");
            }
        }
    }
}

#[test]
fn text_is_utf8_and_bytes_are_anything() {
    for message in all() {
        for field in message.fields {
            let wire = written(field, b"\x01\xff");
            let limits = Limits { heap: 1 << 20, strip_unknown: false };
            let screened = screen(&wire, message, limits).map_err(|found| found.fault);
            match field.kind {
                Kind::String => {
                    assert!(decode(message.name, &wire).is_err(), "{}", field.name);
                    assert_eq!(screened, Err(WireFault::Utf8));
                }
                Kind::Bytes => {
                    decode(message.name, &wire).expect("bytes are not text");
                    assert_eq!(screened, Ok(()));
                }
                _ => {}
            }
        }
    }
}

/// Numbers that the table does not list do not come back, so the screen must refuse them.
#[test]
fn numbers_outside_the_table_are_dropped_by_prost_and_refused_by_the_screen() {
    let limits = Limits { heap: 1 << 20, strip_unknown: false };
    for message in all() {
        for number in (1..40).filter(|&number| message.field(number).is_none()) {
            let mut wire = vec![];
            prost::encoding::encode_varint(u64::from(number) << 3, &mut wire);
            wire.push(1);
            let (_, again) = decode(message.name, &wire).unwrap();
            assert!(again.is_empty(), "field {number} of `{}` is not in the table", message.name);
            let found = screen(&wire, message, limits).unwrap_err();
            assert_eq!(found.fault, WireFault::UnknownField { message: message.name, number });
            let lax = Limits { strip_unknown: true, ..limits };
            assert_eq!(screen(&wire, message, lax), Ok(()));
        }
    }
}
