//! Attributes: `AttributeProto` to [`Attribute`] and back.

use super::error::{Fault, Located, Within as _, shown};
use super::graph;
use super::model::{Reader, Writer, text};
use super::{proto, tensor, types};
use crate::onnx::WriteError;
use crate::{Attribute, AttributeValue, Opsets};

/// The types of attributes: number, name, and the field that holds the value.
const TYPES: &[(i32, &str, &str)] = &[
    (1, "FLOAT", "f"),
    (2, "INT", "i"),
    (3, "STRING", "s"),
    (4, "TENSOR", "t"),
    (5, "GRAPH", "g"),
    (6, "FLOATS", "floats"),
    (7, "INTS", "ints"),
    (8, "STRINGS", "strings"),
    (9, "TENSORS", "tensors"),
    (10, "GRAPHS", "graphs"),
    (11, "SPARSE_TENSOR", "sparse_tensor"),
    (12, "SPARSE_TENSORS", "sparse_tensors"),
    (13, "TYPE_PROTO", "tp"),
    (14, "TYPE_PROTOS", "type_protos"),
];

/// The attribute that a message means; bodies are graphs for `opsets`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    wire: proto::Attribute,
    opsets: &Opsets,
) -> Result<Attribute, Located> {
    let step = format!("attribute `{}`", shown(wire.name.as_deref().unwrap_or_default()));
    read_inside(reader, wire, opsets).within(|| step)
}

fn read_inside(
    reader: &mut Reader<'_>,
    mut wire: proto::Attribute,
    opsets: &Opsets,
) -> Result<Attribute, Located> {
    let number = wire.r#type.unwrap_or(0);
    let name = wire.name.take().unwrap_or_default();
    let doc = wire.doc_string.take().unwrap_or_default();
    let known = TYPES.iter().find(|&&(known, ..)| known == number);
    let filled = filled(&wire);
    if let Some(reference) = wire.ref_attr_name.take().filter(|name| !name.is_empty()) {
        if let Some(&has) = filled.first() {
            return Err(Fault::AttributeField { says: "reference", has }.into());
        }
        let value = AttributeValue::Reference { name: reference, type_number: number };
        return Ok(Attribute { name, value, doc });
    }
    let &(_, says, field) = known.ok_or(Fault::AttributeType(number))?;
    if let Some(&has) = filled.iter().find(|&&has| has != field) {
        return Err(Fault::AttributeField { says, has }.into());
    }
    let value = match field {
        // A writer without presence leaves out what is zero or empty.
        "f" => AttributeValue::Float(wire.f.unwrap_or(0.0)),
        "i" => AttributeValue::Int(wire.i.unwrap_or(0)),
        "s" => AttributeValue::String(wire.s.unwrap_or_default()),
        "t" => AttributeValue::Tensor(tensor::read(reader, *wire.t.ok_or(Fault::NoValue)?)?),
        "g" => {
            let body = graph::read(reader, *wire.g.ok_or(Fault::NoValue)?, opsets)?;
            AttributeValue::Graph(Box::new(body))
        }
        "sparse_tensor" => {
            let sparse = *wire.sparse_tensor.ok_or(Fault::NoValue)?;
            AttributeValue::Sparse(tensor::read_sparse(reader, sparse)?)
        }
        "tp" => AttributeValue::Type(types::read(*wire.tp.ok_or(Fault::NoValue)?)),
        "floats" => AttributeValue::Floats(wire.floats),
        "ints" => AttributeValue::Ints(wire.ints),
        "strings" => AttributeValue::Strings(wire.strings),
        "tensors" => {
            let tensors = wire.tensors.into_iter().map(|wire| tensor::read(reader, wire));
            AttributeValue::Tensors(tensors.collect::<Result<_, _>>()?)
        }
        "graphs" => {
            let graphs = wire.graphs.into_iter().map(|wire| graph::read(reader, wire, opsets));
            AttributeValue::Graphs(graphs.collect::<Result<_, _>>()?)
        }
        "sparse_tensors" => {
            let sparses = wire.sparse_tensors.into_iter();
            let sparses = sparses.map(|wire| tensor::read_sparse(reader, wire));
            AttributeValue::Sparses(sparses.collect::<Result<_, _>>()?)
        }
        "type_protos" => {
            AttributeValue::Types(wire.type_protos.into_iter().map(types::read).collect())
        }
        other => unreachable!("`{other}` is in the table of types"),
    };
    Ok(Attribute { name, value, doc })
}

/// The fields of a message that hold something.
fn filled(wire: &proto::Attribute) -> Vec<&'static str> {
    let fields = [
        ("f", wire.f.is_some()),
        ("i", wire.i.is_some()),
        ("s", wire.s.is_some()),
        ("t", wire.t.is_some()),
        ("g", wire.g.is_some()),
        ("floats", !wire.floats.is_empty()),
        ("ints", !wire.ints.is_empty()),
        ("strings", !wire.strings.is_empty()),
        ("tensors", !wire.tensors.is_empty()),
        ("graphs", !wire.graphs.is_empty()),
        ("sparse_tensor", wire.sparse_tensor.is_some()),
        ("sparse_tensors", !wire.sparse_tensors.is_empty()),
        ("tp", wire.tp.is_some()),
        ("type_protos", !wire.type_protos.is_empty()),
    ];
    fields.into_iter().filter(|&(_, filled)| filled).map(|(field, _)| field).collect()
}

/// The message for an attribute.
pub(super) fn write(
    writer: &Writer<'_>,
    attribute: &Attribute,
) -> Result<proto::Attribute, WriteError> {
    let mut wire = proto::Attribute {
        name: Some(attribute.name.clone()),
        doc_string: text(&attribute.doc),
        ..proto::Attribute::default()
    };
    let layout = writer.layout;
    let number = match &attribute.value {
        AttributeValue::Float(float) => {
            wire.f = Some(*float);
            1
        }
        AttributeValue::Int(int) => {
            wire.i = Some(*int);
            2
        }
        AttributeValue::String(string) => {
            wire.s = Some(string.clone());
            3
        }
        AttributeValue::Tensor(tensor) => {
            wire.t = Some(Box::new(tensor::write(tensor, None, layout)));
            4
        }
        AttributeValue::Graph(body) => {
            wire.g = Some(Box::new(graph::write(writer, body)?));
            5
        }
        AttributeValue::Floats(floats) => {
            wire.floats.clone_from(floats);
            6
        }
        AttributeValue::Ints(ints) => {
            wire.ints.clone_from(ints);
            7
        }
        AttributeValue::Strings(strings) => {
            wire.strings.clone_from(strings);
            8
        }
        AttributeValue::Tensors(tensors) => {
            wire.tensors =
                tensors.iter().map(|tensor| tensor::write(tensor, None, layout)).collect();
            9
        }
        AttributeValue::Graphs(graphs) => {
            let graphs = graphs.iter().map(|body| graph::write(writer, body));
            wire.graphs = graphs.collect::<Result<_, _>>()?;
            10
        }
        AttributeValue::Sparse(sparse) => {
            wire.sparse_tensor = Some(Box::new(tensor::write_sparse(sparse, None, layout)));
            11
        }
        AttributeValue::Sparses(sparses) => {
            let sparses = sparses.iter().map(|sparse| tensor::write_sparse(sparse, None, layout));
            wire.sparse_tensors = sparses.collect();
            12
        }
        AttributeValue::Type(ty) => {
            wire.tp = Some(Box::new(types::write(ty)));
            13
        }
        AttributeValue::Types(types) => {
            wire.type_protos = types.iter().map(types::write).collect();
            14
        }
        AttributeValue::Reference { name, type_number } => {
            wire.ref_attr_name = Some(name.clone());
            *type_number
        }
    };
    wire.r#type = Some(number);
    Ok(wire)
}
