//! The version of the file format that a model needs.

use super::sidecar::tensors;
use crate::{AttributeValue, DType, Graph, Kind, Model, Type};

/// Returns the smallest IR version that expresses what a model contains.
///
/// Nothing raises the version of a model silently: runtimes on devices lag behind. A pass that
/// adds something new compares this with [`Model::ir_version`] and says so when it raises it.
pub fn needed_ir(model: &Model) -> i64 {
    let mut needed = 3;
    let mut need = |version: i64| needed = needed.max(version);
    for tensor in tensors(model) {
        need(dtype(tensor.dtype()));
        if tensor.notes.as_ref().is_some_and(|notes| !notes.metadata.is_empty()) {
            need(10);
        }
    }
    for function in &model.functions {
        need(8);
        if !function.defaults.is_empty() {
            need(9);
        }
        if !function.overload.is_empty()
            || !function.metadata.is_empty()
            || !function.body.declared.is_empty()
        {
            need(10);
        }
    }
    if !model.opaque.training_info.is_empty() {
        need(7);
    }
    if !model.opaque.device_configurations.is_empty() {
        need(11);
    }
    for graph in graphs(model) {
        of_graph(graph, &mut need);
    }
    needed
}

fn of_graph(graph: &Graph, need: &mut impl FnMut(i64)) {
    if !graph.annotations.is_empty() {
        need(5);
    }
    if !graph.metadata.is_empty() {
        need(10);
    }
    for initializer in graph.initializers.iter().map(|&value| graph.value(value)) {
        if initializer.kind != Kind::Input {
            need(4);
        }
        if initializer.sparse.is_some() {
            need(6);
        }
    }
    let written = [&graph.inputs, &graph.outputs, &graph.declared];
    for value in written.into_iter().flatten().map(|&value| graph.value(value)) {
        need(value.ty.as_ref().map_or(0, of_type));
        if !value.metadata.is_empty() {
            need(10);
        }
    }
    for node in graph.nodes().map(|node| graph.node(node)) {
        if !node.metadata.is_empty() || !node.overload.is_empty() {
            need(10);
        }
        if !node.device_configurations.is_empty() {
            need(11);
        }
        for attribute in &node.attributes {
            match &attribute.value {
                AttributeValue::Sparse(_) | AttributeValue::Sparses(_) => need(6),
                AttributeValue::Type(ty) => need(of_type(ty).max(8)),
                AttributeValue::Types(types) => {
                    need(types.iter().map(of_type).max().unwrap_or(0).max(8));
                }
                _ => {}
            }
        }
    }
}

fn of_type(ty: &Type) -> i64 {
    let inner = |element: &Option<Box<Type>>| element.as_deref().map_or(0, of_type);
    match ty {
        Type::Tensor(tensor) => tensor.dtype.map_or(0, dtype),
        Type::Sparse(tensor) => tensor.dtype.map_or(0, dtype).max(8),
        Type::Sequence { element, .. } => inner(element),
        Type::Optional { element, .. } => inner(element).max(8),
        Type::Map { key, value, .. } => inner(value).max(dtype(*key)),
        Type::Opaque { .. } => 14,
        Type::Unspecified { .. } => 0,
    }
}

fn dtype(dtype: DType) -> i64 {
    match dtype {
        DType::BFloat16 => 4,
        DType::Float8E4M3Fn | DType::Float8E4M3Fnuz | DType::Float8E5M2 | DType::Float8E5M2Fnuz => {
            9
        }
        DType::Uint4 | DType::Int4 => 10,
        DType::Float4E2M1 => 11,
        DType::Float8E8M0 => 12,
        DType::Uint2 | DType::Int2 => 13,
        DType::Float6E2M3 | DType::Float6E3M2 => 14,
        _ => 0,
    }
}

/// All graphs of a model: the main one, bodies of functions, and bodies in any of them.
fn graphs(model: &Model) -> Vec<&Graph> {
    let mut graphs = vec![&model.graph];
    graphs.extend(model.functions.iter().map(|function| &function.body));
    let mut next = 0;
    while let Some(&graph) = graphs.get(next) {
        next += 1;
        graphs.extend(graph.nodes().flat_map(|node| graph.node(node).bodies()));
    }
    graphs
}
