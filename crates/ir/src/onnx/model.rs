//! Models and functions: `ModelProto` to [`Model`] and back.

use prost::Message as _;

use super::error::{Fault, Located, Within as _, shown};
use super::external::Folder;
use super::sidecar::Layout;
use super::{attribute, graph, proto};
use crate::onnx::{NEWEST_IR, ReadOptions, WriteError};
use crate::{Function, Graph, Metadata, Model, Opaque, Opset, Opsets};

/// What reading needs to know while it goes down a model.
pub(super) struct Reader<'a> {
    pub(super) options: &'a ReadOptions,
    /// Where external data is looked up, if the model is a file.
    pub(super) folder: Option<Folder>,
}

/// What writing needs to know while it goes down a model.
pub(super) struct Writer<'a> {
    pub(super) layout: &'a Layout,
}

/// The model that a message means.
pub(super) fn read(reader: &mut Reader<'_>, wire: proto::Model) -> Result<Model, Located> {
    let wire_graph = wire.graph.ok_or(Fault::NoGraph)?;
    let ir_version = wire.ir_version.filter(|&version| version > 0).ok_or(Fault::NoIrVersion)?;
    if ir_version > NEWEST_IR && !reader.options.allow_newer {
        return Err(Fault::NewerIr { found: ir_version, known: NEWEST_IR }.into());
    }
    let opsets = read_opsets(wire.opset_import);
    let mut graph = graph::read(reader, wire_graph, &opsets)?;
    graph.resolve_captures();
    let functions = wire.functions.into_iter().map(|function| read_function(reader, function));
    let functions = functions.collect::<Result<_, _>>()?;
    let mut training_info = Vec::new();
    for training in wire.training_info {
        let mut graphs = training.initialization.iter().chain(&training.algorithm);
        if graphs.any(has_external) {
            return Err(Fault::TrainingData.into());
        }
        training_info.push(training.encode_to_vec().into());
    }
    let configurations = wire.configuration.iter();
    Ok(Model {
        ir_version,
        producer_name: wire.producer_name.unwrap_or_default(),
        producer_version: wire.producer_version.unwrap_or_default(),
        domain: wire.domain.unwrap_or_default(),
        model_version: wire.model_version,
        doc: wire.doc_string.unwrap_or_default(),
        graph,
        functions,
        metadata: read_metadata(wire.metadata_props),
        opaque: Opaque {
            training_info,
            device_configurations: configurations
                .map(|configuration| configuration.encode_to_vec().into())
                .collect(),
        },
    })
}

/// The message for a model.
pub(super) fn write(writer: &Writer<'_>, model: &Model) -> Result<proto::Model, WriteError> {
    let functions = model.functions.iter().map(|function| write_function(writer, function));
    Ok(proto::Model {
        ir_version: Some(model.ir_version),
        producer_name: text(&model.producer_name),
        producer_version: text(&model.producer_version),
        domain: text(&model.domain),
        model_version: model.model_version,
        doc_string: text(&model.doc),
        graph: Some(graph::write(writer, &model.graph)?),
        opset_import: write_opsets(&model.graph.opsets),
        metadata_props: write_metadata(&model.metadata),
        training_info: carried("training information", &model.opaque.training_info)?,
        functions: functions.collect::<Result<_, _>>()?,
        configuration: carried("device configuration", &model.opaque.device_configurations)?,
    })
}

/// Decodes a part that is carried along; only who puts another one there can make it fail.
pub(super) fn carried<M: prost::Message + Default>(
    part: &'static str,
    encoded: &[bytes::Bytes],
) -> Result<Vec<M>, WriteError> {
    let decode = |encoded: &bytes::Bytes| M::decode(encoded.clone());
    let decoded: Result<_, _> = encoded.iter().map(decode).collect();
    decoded.map_err(|source| WriteError::Carried { part, source })
}

fn read_function(reader: &mut Reader<'_>, wire: proto::Function) -> Result<Function, Located> {
    let step = format!("function `{}`", shown(wire.name.as_deref().unwrap_or_default()));
    read_function_inside(reader, wire).within(|| step)
}

fn read_function_inside(
    reader: &mut Reader<'_>,
    wire: proto::Function,
) -> Result<Function, Located> {
    let opsets = read_opsets(wire.opset_import);
    let defaults = wire.attribute_proto.into_iter();
    let defaults = defaults.map(|default| attribute::read(reader, default, &opsets));
    let defaults = defaults.collect::<Result<_, _>>()?;
    let mut body = Graph::new("", opsets);
    for input in &wire.input {
        body.add_input(input, None)?;
    }
    graph::read_nodes(reader, &mut body, wire.node)?;
    for output in &wire.output {
        let output = body.value_named(output);
        body.outputs.push(output);
    }
    graph::read_declarations(&mut body, wire.value_info)?;
    body.resolve_captures();
    Ok(Function {
        domain: wire.domain.unwrap_or_default(),
        name: wire.name.unwrap_or_default(),
        overload: wire.overload.unwrap_or_default(),
        attributes: wire.attribute,
        defaults,
        doc: wire.doc_string.unwrap_or_default(),
        metadata: read_metadata(wire.metadata_props),
        body,
    })
}

fn write_function(writer: &Writer<'_>, function: &Function) -> Result<proto::Function, WriteError> {
    let body = &function.body;
    let names = |values: &[crate::ValueId]| {
        values.iter().map(|&value| body.value(value).name().to_owned()).collect()
    };
    let defaults = function.defaults.iter().map(|default| attribute::write(writer, default));
    Ok(proto::Function {
        name: text(&function.name),
        input: names(&body.inputs),
        output: names(&body.outputs),
        attribute: function.attributes.clone(),
        node: graph::write_nodes(writer, body)?,
        doc_string: text(&function.doc),
        opset_import: write_opsets(&body.opsets),
        domain: text(&function.domain),
        attribute_proto: defaults.collect::<Result<_, _>>()?,
        value_info: graph::write_declarations(body),
        overload: text(&function.overload),
        metadata_props: write_metadata(&function.metadata),
    })
}

fn read_opsets(wire: Vec<proto::OpsetId>) -> Opsets {
    let opset = |opset: proto::OpsetId| Opset {
        domain: opset.domain.unwrap_or_default(),
        version: opset.version.unwrap_or(0),
    };
    Opsets(wire.into_iter().map(opset).collect())
}

/// The domain is written even where it is empty, as the official writer does.
fn write_opsets(opsets: &Opsets) -> Vec<proto::OpsetId> {
    let opset = |opset: &Opset| proto::OpsetId {
        domain: Some(opset.domain.clone()),
        version: Some(opset.version),
    };
    opsets.0.iter().map(opset).collect()
}

pub(super) fn read_metadata(wire: Vec<proto::StringEntry>) -> Metadata {
    let pair = |entry: proto::StringEntry| {
        (entry.key.unwrap_or_default(), entry.value.unwrap_or_default())
    };
    wire.into_iter().map(pair).collect()
}

pub(super) fn write_metadata(metadata: &Metadata) -> Vec<proto::StringEntry> {
    let entry = |(key, value): &(String, String)| proto::StringEntry {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    metadata.iter().map(entry).collect()
}

/// A text field: what is empty is left out.
pub(super) fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn has_external(graph: &proto::Graph) -> bool {
    let is_external = |tensor: &proto::Tensor| !tensor.external_data.is_empty();
    let is_sparse_external =
        |sparse: &proto::SparseTensor| sparse.values.iter().chain(&sparse.indices).any(is_external);
    let in_attribute = |attribute: &proto::Attribute| {
        attribute.t.as_deref().is_some_and(is_external)
            || attribute.tensors.iter().any(is_external)
            || attribute.sparse_tensor.as_deref().is_some_and(is_sparse_external)
            || attribute.sparse_tensors.iter().any(is_sparse_external)
            || attribute.g.as_deref().is_some_and(has_external)
            || attribute.graphs.iter().any(has_external)
    };
    graph.initializer.iter().any(is_external)
        || graph.sparse_initializer.iter().any(is_sparse_external)
        || graph.node.iter().any(|node| node.attribute.iter().any(in_attribute))
}
