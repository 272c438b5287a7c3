//! A piece written as a model of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use marquetry_ir::{
    AttributeValue, DType, Dim, External, Graph, Model, Node, Opsets, Storage, Tensor, TensorType,
    Type, ValueId, onnx,
};

use super::value::carrier;
use crate::piece::{OURS, Piece, Step};

/// Constants of fewer bytes are written into the model, where the runtime reads them for shapes.
const INJECTED: usize = 1 << 10;

/// A model, and how to talk to it.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    /// Names of inputs, with the values they are.
    pub(super) inputs: Vec<(String, usize)>,
    /// Names of outputs, with the values they are.
    pub(super) outputs: Vec<(String, usize)>,
    /// Constants that the model names and does not hold.
    pub(super) injected: Vec<(String, usize)>,
}

/// Where the runtime is told to find what it is given in memory.
const NOWHERE: &str = "in memory";

pub(super) struct Request<'a> {
    pub(super) piece: &'a Piece,
    pub(super) opsets: &'a Opsets,
    pub(super) types: &'a [Option<DType>],
    /// What is the same in every run, by value.
    pub(super) constants: &'a [Option<Tensor>],
    /// The steps that run, in order.
    pub(super) steps: &'a [usize],
    /// The values that are handed back.
    pub(super) fetches: &'a [usize],
}

/// The model of some steps of a piece.
pub(super) fn model(request: &Request<'_>) -> Result<Built, String> {
    let Request { piece, types, constants, .. } = *request;
    let steps: Vec<&Step> = request.steps.iter().map(|&step| &piece.steps[step]).collect();
    let made: BTreeSet<usize> =
        steps.iter().flat_map(|step| step.outputs.iter().flatten().copied()).collect();
    let read: BTreeSet<usize> =
        steps.iter().flat_map(|step| step.reads()).filter(|value| !made.contains(value)).collect();

    let mut graph = Graph::new("piece", request.opsets.clone());
    let mut ids: Vec<Option<ValueId>> = vec![None; piece.values.len()];
    // All names first, so that what is added cannot take one: bodies read values by name.
    for &value in read.iter().chain(&made) {
        let id = graph.add_value(&piece.values[value].name, None);
        ids[value] = Some(id.map_err(|error| error.to_string())?);
    }
    let (mut inputs, mut injected) = (Vec::new(), Vec::new());
    for &value in &read {
        let name = piece.values[value].name.clone();
        let id = ids[value].expect("every value that is read has been added");
        match &constants[value] {
            Some(constant) => {
                let is_plain = carrier(constant.dtype()) == Some(constant.dtype())
                    && constant.dtype() != DType::String;
                let is_injected = is_plain && constant.bytes().len() >= INJECTED;
                graph.set_initializer(id, stored(constant, is_injected));
                if is_injected {
                    injected.push((name, value));
                }
            }
            None => {
                let dtype = types[value]
                    .ok_or_else(|| format!("the type of the input `{name}` is not known"))?;
                inputs.push((input(&mut graph, piece, value, id, dtype)?, value));
            }
        }
    }
    // The runtime wants names to be unique, which files need not have.
    let mut names = BTreeSet::new();
    for step in &steps {
        let mut name = step.name.clone();
        let mut count = 1_u32;
        while !names.insert(name.clone()) {
            count += 1;
            name = format!("{} {count}", step.name);
        }
        add(&mut graph, step, name, &ids)?;
    }
    let mut outputs = Vec::new();
    for &value in request.fetches {
        let id = ids[value].ok_or_else(|| {
            format!("`{}` is asked for and not computed", piece.values[value].name)
        })?;
        let id = output(&mut graph, id, types[value])?;
        graph.outputs.push(id);
        outputs.push((graph.value(id).name().to_owned(), value));
    }
    graph.resolve_captures();
    let mut model = Model::new(8, graph);
    model.ir_version = model.ir_version.max(onnx::needed_ir(&model));
    let bytes = onnx::encode(&model).map_err(|error| error.to_string())?;
    Ok(Built { bytes, inputs, outputs, injected })
}

/// The constant as the model holds it: its content, or a note that it comes from elsewhere.
fn stored(constant: &Tensor, is_injected: bool) -> Tensor {
    let mut tensor = constant.clone();
    tensor.notes = None;
    tensor.storage = match (is_injected, tensor.dtype()) {
        (true, _) => Storage::External(Arc::new(External {
            location: NOWHERE.to_owned(),
            offset: Some(0),
            length: Some(constant.bytes().len() as u64),
            checksum: None,
        })),
        (false, DType::String) => Storage::Typed,
        (false, _) => Storage::Raw,
    };
    tensor
}

/// Declares what is fed; its name. What cannot enter as it is enters as its carrier and is cast.
fn input(
    graph: &mut Graph,
    piece: &Piece,
    value: usize,
    id: ValueId,
    dtype: DType,
) -> Result<String, String> {
    let known = &piece.values[value];
    let Some(carrier) = carrier(dtype) else {
        return Err(format!("`{}` is fed `{dtype}`, which cannot be handed over", known.name));
    };
    let shape = known.rank.map(|rank| vec![Dim::Unknown; rank]);
    let ty = match &known.declared {
        Some(declared @ Type::Tensor(tensor)) if tensor.dtype == Some(carrier) => declared.clone(),
        _ => Type::Tensor(TensorType::new(carrier, shape)),
    };
    let made = |error: marquetry_ir::GraphError| error.to_string();
    if carrier == dtype {
        graph.value_mut(id).kind = marquetry_ir::Kind::Input;
        graph.value_mut(id).ty = Some(ty);
        graph.inputs.push(id);
        return Ok(known.name.clone());
    }
    let name = graph.fresh_name(&known.name);
    let fed = graph.add_input(&name, Some(ty)).map_err(made)?;
    graph.add_node(cast(dtype), &[Some(fed)], &[Some(id)]).map_err(made)?;
    Ok(name)
}

/// The value that is handed back for another.
fn output(graph: &mut Graph, id: ValueId, dtype: Option<DType>) -> Result<ValueId, String> {
    let Some(carrier) = dtype.and_then(carrier).filter(|&carrier| Some(carrier) != dtype) else {
        return Ok(id);
    };
    let name = graph.fresh_name(graph.value(id).name());
    let made = |error: marquetry_ir::GraphError| error.to_string();
    let left = graph.add_value(&name, None).map_err(made)?;
    graph.add_node(cast(carrier), &[Some(id)], &[Some(left)]).map_err(made)?;
    Ok(left)
}

fn cast(to: DType) -> Node {
    Node::new("", "Cast").with("to", AttributeValue::Int(to.number().into()))
}

fn add(
    graph: &mut Graph,
    step: &Step,
    name: String,
    ids: &[Option<ValueId>],
) -> Result<(), String> {
    let of = |slots: &[Option<usize>]| -> Vec<_> {
        slots.iter().map(|slot| slot.and_then(|value| ids[value])).collect()
    };
    let (inputs, outputs) = (of(&step.inputs), of(&step.outputs));
    let made = |error: marquetry_ir::GraphError| error.to_string();
    let mut node = step.content.clone();
    node.name = name;
    node.attributes.iter_mut().for_each(|attribute| inline(&mut attribute.value));
    if node.domain != OURS || node.op_type != "SplitAt" {
        graph.add_node(node, &inputs, &outputs).map_err(made)?;
        return Ok(());
    }
    // One part of what is split, as the two nodes that it stands for.
    let parts = graph.fresh_name("parts");
    let parts = graph.add_value(&parts, None).map_err(made)?;
    let mut split = Node::new("", "SplitToSequence");
    split.attributes = node.attributes;
    let at = inputs.get(2).copied().flatten();
    graph.add_node(split, inputs.get(..2).unwrap_or_default(), &[Some(parts)]).map_err(made)?;
    let mut part = Node::new("", "SequenceAt");
    part.name = node.name;
    graph.add_node(part, &[Some(parts), at], &outputs).map_err(made)?;
    Ok(())
}

/// Takes the content of tensors into the model, wherever the file has it.
fn inline(value: &mut AttributeValue) {
    match value {
        AttributeValue::Tensor(tensor) => *tensor = stored(tensor, false),
        AttributeValue::Tensors(tensors) => {
            tensors.iter_mut().for_each(|tensor| *tensor = stored(tensor, false));
        }
        AttributeValue::Graph(body) => body_inline(body),
        AttributeValue::Graphs(bodies) => bodies.iter_mut().for_each(body_inline),
        _ => {}
    }
}

fn body_inline(body: &mut Graph) {
    let values: Vec<ValueId> = body.values().collect();
    for value in values {
        if let Some(constant) = body.value_mut(value).constant.take() {
            body.value_mut(value).constant = Some(stored(&constant, false));
        }
    }
    let nodes: Vec<_> = body.nodes().collect();
    for node in nodes {
        let attributes = &mut body.node_mut(node).attributes;
        attributes.iter_mut().for_each(|attribute| inline(&mut attribute.value));
    }
}
