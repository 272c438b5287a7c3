//! Graphs, nodes and declarations: `GraphProto` to [`Graph`] and back.

use prost::Message as _;

use super::error::{Fault, Located, Within as _, shown};
use super::model::{Reader, Writer, carried, read_metadata, text, write_metadata};
use super::{attribute, proto, tensor, types};
use crate::onnx::WriteError;
use crate::{
    Graph, GraphError, Kind, Metadata, Node, NodeId, Opsets, Tensor, Type, Value, ValueId,
};

/// The graph that a message means, with nodes for `opsets`.
///
/// Which values it captures is settled at the end, by [`Graph::resolve_captures`].
pub(super) fn read(
    reader: &mut Reader<'_>,
    wire: proto::Graph,
    opsets: &Opsets,
) -> Result<Graph, Located> {
    let step = format!("graph `{}`", shown(wire.name.as_deref().unwrap_or_default()));
    read_inside(reader, wire, opsets).within(|| step)
}

fn read_inside(
    reader: &mut Reader<'_>,
    wire: proto::Graph,
    opsets: &Opsets,
) -> Result<Graph, Located> {
    let mut graph = Graph::new(wire.name.unwrap_or_default(), opsets.clone());
    graph.doc = wire.doc_string.unwrap_or_default();
    graph.metadata = read_metadata(wire.metadata_props);
    for info in wire.input {
        let info = Declaration::from(info);
        let value = graph.add_input(&info.named()?, None).within(|| info.step("input"))?;
        info.merge_into(&mut graph, value)?;
    }
    for wire in wire.initializer {
        let step = format!("initializer `{}`", shown(wire.name.as_deref().unwrap_or_default()));
        read_initializer(reader, &mut graph, wire).within(|| step)?;
    }
    for wire in wire.sparse_initializer {
        let name = wire.values.as_ref().and_then(|values| values.name.clone());
        let step = format!("sparse initializer `{}`", shown(name.as_deref().unwrap_or_default()));
        read_sparse_initializer(reader, &mut graph, wire).within(|| step)?;
    }
    for (index, wire) in wire.node.into_iter().enumerate() {
        read_node(reader, &mut graph, index, wire, opsets)?;
    }
    for info in wire.output {
        let info = Declaration::from(info);
        let value = graph.value_named(&info.named()?);
        graph.outputs.push(value);
        info.merge_into(&mut graph, value).within(|| info.step("output"))?;
    }
    read_declarations(&mut graph, wire.value_info)?;
    graph.annotations = wire
        .quantization_annotation
        .into_iter()
        .map(|annotation| {
            let name = annotation.tensor_name.unwrap_or_default();
            (name, read_metadata(annotation.quant_parameter_tensor_names))
        })
        .collect();
    Ok(graph)
}

/// Reads nodes into the body of a function.
pub(super) fn read_nodes(
    reader: &mut Reader<'_>,
    graph: &mut Graph,
    nodes: Vec<proto::Node>,
) -> Result<(), Located> {
    let opsets = graph.opsets.clone();
    for (index, wire) in nodes.into_iter().enumerate() {
        read_node(reader, graph, index, wire, &opsets)?;
    }
    Ok(())
}

/// Reads the declared types of values that are not inputs or outputs.
pub(super) fn read_declarations(
    graph: &mut Graph,
    infos: Vec<proto::ValueInfo>,
) -> Result<(), Located> {
    for info in infos {
        let info = Declaration::from(info);
        let value = graph.value_named(&info.named()?);
        graph.declared.push(value);
        info.merge_into(graph, value).within(|| info.step("value"))?;
    }
    Ok(())
}

fn read_initializer(
    reader: &mut Reader<'_>,
    graph: &mut Graph,
    wire: proto::Tensor,
) -> Result<(), Fault> {
    let mut constant = tensor::read(reader, wire)?;
    let name = take_name(&mut constant)?;
    let value = graph.value_named(&name);
    if graph.value(value).constant.is_some() {
        return Err(GraphError::Redefined { name }.into());
    }
    graph.set_initializer(value, constant);
    Ok(())
}

fn read_sparse_initializer(
    reader: &mut Reader<'_>,
    graph: &mut Graph,
    wire: proto::SparseTensor,
) -> Result<(), Located> {
    let mut sparse = tensor::read_sparse(reader, wire)?;
    let name = take_name(&mut sparse.values)?;
    let value = graph.add_value(&name, None)?;
    let content = graph.value_mut(value);
    content.kind = Kind::Initializer;
    content.sparse = Some(Box::new(sparse));
    graph.initializers.push(value);
    Ok(())
}

/// Takes the name out of a tensor that defines a value.
fn take_name(tensor: &mut Tensor) -> Result<String, Fault> {
    let notes = tensor.notes.as_mut().filter(|notes| !notes.name.is_empty());
    let notes = notes.ok_or(Fault::Missing("name"))?;
    let name = std::mem::take(&mut notes.name);
    if notes.doc.is_empty() && notes.metadata.is_empty() {
        tensor.notes = None;
    }
    Ok(name)
}

fn read_node(
    reader: &mut Reader<'_>,
    graph: &mut Graph,
    index: usize,
    mut wire: proto::Node,
    opsets: &Opsets,
) -> Result<(), Located> {
    let attributes = std::mem::take(&mut wire.attribute);
    let attributes: Result<Vec<_>, _> = attributes
        .into_iter()
        .map(|attribute| attribute::read(reader, attribute, opsets))
        .collect();
    let attributes = attributes.within(|| node_step(index, wire.name.as_deref()))?;
    let mut slots = |names: Vec<String>| -> Vec<Option<ValueId>> {
        let value = |name: String| (!name.is_empty()).then(|| graph.value_named(&name));
        names.into_iter().map(value).collect()
    };
    let (inputs, outputs) = (slots(wire.input), slots(wire.output));
    let mut node = Node::new(wire.domain.unwrap_or_default(), wire.op_type.unwrap_or_default());
    node.name = wire.name.unwrap_or_default();
    node.overload = wire.overload.unwrap_or_default();
    node.attributes = attributes;
    node.doc = wire.doc_string.unwrap_or_default();
    node.metadata = read_metadata(wire.metadata_props);
    let configurations = wire.device_configurations.iter();
    node.device_configurations =
        configurations.map(|configuration| configuration.encode_to_vec().into()).collect();
    let name = node.name.clone();
    graph.add_node(node, &inputs, &outputs).within(|| node_step(index, Some(&name)))?;
    Ok(())
}

fn node_step(index: usize, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("node `{}`", shown(name)),
        _ => format!("node number {index}"),
    }
}

/// What a `ValueInfoProto` says of a value.
struct Declaration {
    name: String,
    ty: Option<Type>,
    doc: String,
    metadata: Metadata,
}

impl From<proto::ValueInfo> for Declaration {
    fn from(wire: proto::ValueInfo) -> Self {
        Self {
            name: wire.name.unwrap_or_default(),
            ty: wire.r#type.map(types::read),
            doc: wire.doc_string.unwrap_or_default(),
            metadata: read_metadata(wire.metadata_props),
        }
    }
}

impl Declaration {
    fn step(&self, what: &str) -> String {
        format!("{what} `{}`", shown(&self.name))
    }

    /// The name, which a declaration must have.
    fn named(&self) -> Result<String, Fault> {
        if self.name.is_empty() { Err(Fault::Missing("name")) } else { Ok(self.name.clone()) }
    }

    /// Adds what the declaration says to a value, which may have been declared before.
    fn merge_into(&self, graph: &mut Graph, value: ValueId) -> Result<(), Fault> {
        let known = graph.value_mut(value);
        let agrees = (known.ty.is_none() || self.ty.is_none() || known.ty == self.ty)
            && (known.doc.is_empty() || self.doc.is_empty() || known.doc == self.doc)
            && (known.metadata.is_empty()
                || self.metadata.is_empty()
                || known.metadata == self.metadata);
        if !agrees {
            return Err(Fault::Redeclared { name: self.name.clone() });
        }
        if known.ty.is_none() {
            known.ty.clone_from(&self.ty);
        }
        if known.doc.is_empty() {
            known.doc.clone_from(&self.doc);
        }
        if known.metadata.is_empty() {
            known.metadata.clone_from(&self.metadata);
        }
        Ok(())
    }
}

/// The message for a graph.
pub(super) fn write(writer: &Writer<'_>, graph: &Graph) -> Result<proto::Graph, WriteError> {
    let mut wire = proto::Graph {
        node: write_nodes(writer, graph)?,
        name: text(&graph.name),
        doc_string: text(&graph.doc),
        input: graph.inputs.iter().map(|&value| write_info(graph.value(value))).collect(),
        output: graph.outputs.iter().map(|&value| write_info(graph.value(value))).collect(),
        value_info: write_declarations(graph),
        metadata_props: write_metadata(&graph.metadata),
        ..proto::Graph::default()
    };
    for value in graph.initializers.iter().map(|&value| graph.value(value)) {
        let name = Some(value.name());
        if let Some(constant) = &value.constant {
            wire.initializer.push(tensor::write(constant, name, writer.layout));
        }
        if let Some(sparse) = &value.sparse {
            wire.sparse_initializer.push(tensor::write_sparse(sparse, name, writer.layout));
        }
    }
    let annotation = |(name, parameters): &(String, Metadata)| proto::TensorAnnotation {
        tensor_name: Some(name.clone()),
        quant_parameter_tensor_names: write_metadata(parameters),
    };
    wire.quantization_annotation = graph.annotations.iter().map(annotation).collect();
    Ok(wire)
}

/// The messages for the nodes of a graph, sorted; in file order where that is sorted.
pub(super) fn write_nodes(
    writer: &Writer<'_>,
    graph: &Graph,
) -> Result<Vec<proto::Node>, WriteError> {
    let order =
        graph.order().map_err(|cycle| WriteError::Cycle { graph: graph.name.clone(), cycle })?;
    order.into_iter().map(|node| write_node(writer, graph, node)).collect()
}

/// The messages for the declared types of a graph.
pub(super) fn write_declarations(graph: &Graph) -> Vec<proto::ValueInfo> {
    graph.declared.iter().map(|&value| write_info(graph.value(value))).collect()
}

fn write_node(writer: &Writer<'_>, graph: &Graph, id: NodeId) -> Result<proto::Node, WriteError> {
    let node = graph.node(id);
    let names = |slots: Vec<Option<ValueId>>| {
        let name = |value| graph.value(value).name().to_owned();
        slots.into_iter().map(|slot| slot.map(name).unwrap_or_default()).collect()
    };
    let attributes = node.attributes.iter().map(|attribute| attribute::write(writer, attribute));
    Ok(proto::Node {
        input: names(graph.inputs(id)),
        output: names(graph.outputs(id)),
        name: text(&node.name),
        op_type: Some(node.op_type.clone()),
        attribute: attributes.collect::<Result<_, _>>()?,
        doc_string: text(&node.doc),
        domain: text(&node.domain),
        overload: text(&node.overload),
        metadata_props: write_metadata(&node.metadata),
        device_configurations: carried("device configuration", &node.device_configurations)?,
    })
}

fn write_info(value: &Value) -> proto::ValueInfo {
    proto::ValueInfo {
        name: Some(value.name().to_owned()),
        r#type: value.ty.as_ref().map(types::write),
        doc_string: text(&value.doc),
        metadata_props: write_metadata(&value.metadata),
    }
}
