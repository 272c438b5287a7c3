//! Facts about a node and its schema.

use std::collections::BTreeSet;

use super::model::shown;
use super::quantized::needed_opset;
use super::{Fact, Found, Scope};
use crate::schema::{Arity, AttributeKind, Schema, View, canonical_domain, domains, lookup};
use crate::{AttributeValue, DType, Graph, Node, NodeId};

pub(super) fn check(
    scope: &Scope<'_>,
    id: NodeId,
    functions: &BTreeSet<(&str, &str)>,
    found: &mut Found,
) {
    let node = scope.graph.node(id);
    let mut add = |fact| found.add(&scope.path, scope.node(id), fact);
    let mut names = BTreeSet::new();
    for attribute in &node.attributes {
        if !names.insert(attribute.name.as_str()) {
            add(Fact::DuplicateAttribute { name: attribute.name.clone() });
        }
    }
    let domain = canonical_domain(&node.domain);
    let Some(version) = scope.graph.opsets.version(&node.domain) else {
        return add(Fact::NoOpset { domain: shown(domain) });
    };
    if functions.contains(&(node.domain.as_str(), node.op_type.as_str())) {
        return;
    }
    let view = View::new(scope.graph, scope.types, id);
    let Some(schema) = view.schema else {
        let table = lookup(domain, &node.op_type, i64::MAX);
        // Of a vendor's domain the table has a few operators only.
        let complete = domain.is_empty() || domain.starts_with("ai.onnx");
        if table.is_some() || (complete && domains().any(|known| known == domain)) {
            let op = node.op_type.clone();
            add(Fact::UnknownOperator { domain: shown(domain), op, version });
        }
        return;
    };
    if schema.deprecated {
        return add(Fact::Deprecated { op: node.op_type.clone(), version });
    }
    let facts = [
        arity(node, schema),
        inputs(scope.graph, id, schema),
        attributes(node, schema),
        types(scope, id, schema),
        bodies(node),
    ];
    facts.into_iter().flatten().for_each(add);
}

fn arity(node: &Node, schema: &Schema) -> Vec<Fact> {
    let mut facts = Vec::new();
    let sides = [
        ("inputs", node.input_count(), schema.input_arity()),
        ("outputs", node.output_count(), schema.output_arity()),
    ];
    for (what, found, (least, most)) in sides {
        if found < least || (found > most && schema.closed) {
            facts.push(Fact::Arity { what, found, least, most });
        }
    }
    facts
}

fn inputs(graph: &Graph, id: NodeId, schema: &Schema) -> Vec<Fact> {
    let inputs = graph.inputs(id);
    let absent = inputs.iter().enumerate().filter(|(_, input)| input.is_none());
    let required = absent.filter_map(|(slot, _)| schema.formal_input(slot));
    required
        .filter(|formal| formal.arity == Arity::Single)
        .map(|formal| Fact::MissingInput { input: formal.name })
        .collect()
}

fn attributes(node: &Node, schema: &Schema) -> Vec<Fact> {
    let mut facts = Vec::new();
    for attribute in &node.attributes {
        match schema.attribute(&attribute.name) {
            None if schema.closed => {
                facts.push(Fact::UnknownAttribute { name: attribute.name.clone() });
            }
            Some(known) if kind(&attribute.value).is_some_and(|kind| kind != known.kind) => {
                let (name, expected) = (attribute.name.clone(), known.kind);
                facts.push(Fact::AttributeKind { name, expected });
            }
            _ => {}
        }
    }
    for known in schema.attributes.iter().filter(|known| known.required) {
        if node.attribute(known.name).is_none() {
            facts.push(Fact::MissingAttribute { name: known.name });
        }
    }
    facts
}

/// The kind of an attribute; none for references, whose value stands at a call.
fn kind(value: &AttributeValue) -> Option<AttributeKind> {
    Some(match value {
        AttributeValue::Float(_) => AttributeKind::Float,
        AttributeValue::Int(_) => AttributeKind::Int,
        AttributeValue::String(_) => AttributeKind::String,
        AttributeValue::Tensor(_) => AttributeKind::Tensor,
        AttributeValue::Graph(_) => AttributeKind::Graph,
        AttributeValue::Sparse(_) => AttributeKind::SparseTensor,
        AttributeValue::Type(_) => AttributeKind::TypeProto,
        AttributeValue::Floats(_) => AttributeKind::Floats,
        AttributeValue::Ints(_) => AttributeKind::Ints,
        AttributeValue::Strings(_) => AttributeKind::Strings,
        AttributeValue::Tensors(_) => AttributeKind::Tensors,
        AttributeValue::Graphs(_) => AttributeKind::Graphs,
        AttributeValue::Sparses(_) => AttributeKind::SparseTensors,
        AttributeValue::Types(_) => AttributeKind::TypeProtos,
        AttributeValue::Reference { .. } => return None,
    })
}

fn types(scope: &Scope<'_>, id: NodeId, schema: &Schema) -> Vec<Fact> {
    // What is wrong with quantized types is said by facts of their own.
    let quantizer = matches!(schema.name, "QuantizeLinear" | "DequantizeLinear");
    let mut facts = Vec::new();
    let mut bound: Vec<(&str, DType)> = Vec::new();
    for (slot, input) in scope.graph.inputs(id).into_iter().enumerate() {
        let (Some(input), Some(formal)) = (input, schema.formal_input(slot)) else { continue };
        let Some(dtype) = scope.types.dtype(input) else { continue };
        if matches!(dtype, DType::Unknown(_)) {
            continue;
        }
        if quantizer && needed_opset(dtype).is_some() {
            continue;
        }
        if schema.closed && !formal.types.admits(dtype) {
            facts.push(Fact::InputType { input: formal.name, dtype });
            continue;
        }
        let mixed = matches!(formal.arity, Arity::Variadic { homogeneous: false, .. });
        let Some(variable) = formal.variable.filter(|_| !mixed && !quantizer) else { continue };
        match bound.iter().find(|(known, _)| *known == variable) {
            Some((_, first)) if *first != dtype => {
                facts.push(Fact::MixedTypes { first: *first, second: dtype });
            }
            Some(_) => {}
            None => bound.push((variable, dtype)),
        }
    }
    facts
}

/// Numbers of inputs and outputs of the bodies of standard control flow.
fn bodies(node: &Node) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut expect = |what, expected: usize, found: usize| {
        if expected != found {
            facts.push(Fact::Body { what, expected, found });
        }
    };
    for body in node.bodies() {
        if node.is_onnx("If") {
            expect("inputs", 0, body.inputs.len());
            expect("outputs", node.output_count(), body.outputs.len());
        } else if node.is_onnx("Loop") {
            // Trip count and condition become iteration and condition.
            expect("inputs", node.input_count().max(2), body.inputs.len());
            expect("outputs", node.output_count() + 1, body.outputs.len());
        } else if node.is_onnx("Scan") && node.attribute("directions").is_none() {
            expect("outputs", node.output_count(), body.outputs.len());
        }
    }
    facts
}
