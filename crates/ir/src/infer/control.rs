//! Nodes with bodies, and calls of functions that the model brings along.

use super::rules::join;
use super::site::{Outcome, Site};
use super::{Attributes, Call, DEPTH, Types, merge};
use crate::schema::canonical_domain;
use crate::{DType, Dim, Graph, TensorType, Type, ValueId};

/// What follows for a node with bodies or a call; nothing for other nodes.
pub(super) fn infer(site: &Site<'_>, call: &mut Call<'_>) -> Option<Outcome> {
    let node = site.node();
    let key = || (canonical_domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
    let function =
        if call.functions.is_empty() { None } else { call.functions.get(&key()).copied() };
    let nested = function.is_some() || node.bodies().next().is_some();
    if !nested || call.depth >= DEPTH {
        return None;
    }
    call.depth += 1;
    let outcome = match node.op_type.as_str() {
        _ if function.is_some() => function.map(|function| {
            let mut attributes = Attributes::new();
            for attribute in &function.defaults {
                attributes.insert(attribute.name.clone(), attribute.value.clone());
            }
            for attribute in &node.attributes {
                if let Some(value) = site.attribute(&attribute.name) {
                    attributes.insert(attribute.name.clone(), value.into_owned());
                }
            }
            called(site, &function.body, &attributes, call)
        }),
        "If" if node.is_onnx("If") => Some(branches(site, call)),
        "Loop" if node.is_onnx("Loop") => repeated(site, call),
        "Scan" if node.is_onnx("Scan") => scanned(site, call),
        _ => Some(unknown(site, call)),
    };
    call.depth -= 1;
    outcome
}

/// A table for a body, with what is known of the values it captures.
fn table(site: &Site<'_>, body: &Graph) -> Types {
    let mut types = Types::declared(body);
    for value in body.values() {
        if body.value(value).kind != crate::Kind::Captured {
            continue;
        }
        let Some(outer) = site.graph().find(body.value(value).name()) else { continue };
        if let Some(ty) = site.types.ty(outer) {
            types.types[value.index()] = Some(ty.clone());
        }
        types.contents[value.index()] = site.types.contents[outer.index()].clone();
    }
    types
}

fn give(types: &mut Types, value: ValueId, ty: Option<Type>) {
    let Some(ty) = ty else { return };
    match &mut types.types[value.index()] {
        Some(known) => {
            if !merge(known, ty) {
                types.conflicts.push(value);
            }
        }
        slot @ None => *slot = Some(ty),
    }
}

fn outputs(types: &Types, body: &Graph) -> Vec<Option<Type>> {
    body.outputs.iter().map(|&value| types.ty(value).cloned()).collect()
}

fn called(site: &Site<'_>, body: &Graph, attributes: &Attributes, call: &mut Call<'_>) -> Outcome {
    let mut types = Types::declared(body);
    for (slot, &input) in body.inputs.iter().enumerate() {
        give(&mut types, input, site.ty(slot).cloned());
        types.contents[input.index()] = site.content(slot).cloned().map(Box::new);
    }
    types.infer(body, attributes, call);
    let content = |value: &ValueId| {
        let mut content = types.content(*value)?.clone();
        content.constant = false;
        Some(content)
    };
    let contents = body.outputs.iter().map(content).collect();
    Outcome { types: outputs(&types, body), contents, bodies: Vec::new() }
}

/// Bodies of operators that are not known: what they capture is.
fn unknown(site: &Site<'_>, call: &mut Call<'_>) -> Outcome {
    let bodies = site.node().bodies().map(|body| {
        let mut types = table(site, body);
        types.infer(body, site.call_attributes(), call);
        types
    });
    Outcome { bodies: bodies.collect(), ..Outcome::default() }
}

fn branches(site: &Site<'_>, call: &mut Call<'_>) -> Outcome {
    let mut outcome = unknown(site, call);
    let tables = site.node().bodies().zip(&outcome.bodies);
    let mut results = tables.map(|(body, types)| outputs(types, body));
    let Some(first) = results.next() else { return outcome };
    let both = |a: Vec<Option<Type>>, b: Vec<Option<Type>>| {
        a.into_iter().zip(b).map(|(a, b)| common(&a?, &b?)).collect()
    };
    let types = results.fold(first, both);
    outcome.types = types;
    outcome
}

/// What two types have in common.
fn common(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    let (Type::Tensor(a), Type::Tensor(b)) = (a, b) else { return None };
    let shape = match (&a.shape, &b.shape) {
        (Some(a), Some(b)) => join(a, b),
        _ => None,
    };
    let dtype = a.dtype.filter(|dtype| b.dtype == Some(*dtype));
    Some(Type::Tensor(TensorType { dtype, shape, denotation: None }))
}

/// `Loop`: inputs (trips, condition, carried…); the body maps (iteration, condition, carried…) to
/// (condition, carried…, scanned…).
fn repeated(site: &Site<'_>, call: &mut Call<'_>) -> Option<Outcome> {
    let body = site.node().bodies().next()?;
    let carried = site.inputs.len().saturating_sub(2);
    let mut state: Vec<Option<Type>> = (0..carried).map(|at| site.ty(at + 2).cloned()).collect();
    let scalar = |dtype| Some(Type::tensor(dtype, []));
    let mut tries = 0;
    let (types, results) = loop {
        let mut types = table(site, body);
        let mut given = vec![scalar(DType::Int64), scalar(DType::Bool)];
        given.extend(state.iter().cloned());
        for (&input, ty) in body.inputs.iter().zip(given) {
            give(&mut types, input, ty);
        }
        types.infer(body, site.call_attributes(), call);
        let results = outputs(&types, body);
        let after = results.get(1..).unwrap_or_default();
        let next: Vec<Option<Type>> = state
            .iter()
            .enumerate()
            .map(|(at, before)| common(before.as_ref()?, after.get(at)?.as_ref()?))
            .collect();
        if next == state {
            break (types, results);
        }
        // Lengths that change from one iteration to the next are unknown. What is left is an element
        // type, if even that does not settle the loop is not understood.
        tries += 1;
        state = if tries == 1 { next } else { next.into_iter().map(without_shape).collect() };
        if tries > 3 {
            return Some(Outcome { bodies: vec![types], ..Outcome::default() });
        }
    };
    let mut out = state;
    let scanned = results.into_iter().skip(1 + carried);
    out.extend(scanned.map(|ty| stacked(ty?, 0, Dim::Unknown)));
    Some(Outcome { types: out, contents: Vec::new(), bodies: vec![types] })
}

fn without_shape(ty: Option<Type>) -> Option<Type> {
    match ty? {
        Type::Tensor(tensor) => Some(Type::Tensor(TensorType { shape: None, ..tensor })),
        other => Some(other),
    }
}

/// The type with one more axis.
fn stacked(ty: Type, axis: i64, length: Dim) -> Option<Type> {
    let Type::Tensor(mut tensor) = ty else { return None };
    if let Some(shape) = &mut tensor.shape {
        let at = super::site::axis(axis, shape.len() + 1)?;
        shape.insert(at, length);
    }
    Some(Type::Tensor(tensor))
}

/// `Scan` from opset 9 on: inputs (state…, scanned…); the body maps (state…, slices…) to (state…,
/// slices…).
fn scanned(site: &Site<'_>, call: &mut Call<'_>) -> Option<Outcome> {
    if site.view.schema.is_none_or(|schema| schema.since < 9) {
        return Some(unknown(site, call));
    }
    let body = site.node().bodies().next()?;
    let scans = usize::try_from(site.int("num_scan_inputs")?).ok()?;
    let states = site.inputs.len().checked_sub(scans)?;
    let axis_of =
        |name: &str, at: usize| site.ints(name).and_then(|axes| axes.get(at).copied()).unwrap_or(0);
    let mut types = table(site, body);
    let mut length = Dim::Unknown;
    for (slot, &input) in body.inputs.iter().enumerate() {
        let mut ty = site.ty(slot).cloned();
        if let (Some(at), Some(Type::Tensor(tensor))) = (slot.checked_sub(states), &mut ty)
            && let Some(shape) = &mut tensor.shape
        {
            let axis = super::site::axis(axis_of("scan_input_axes", at), shape.len())?;
            let removed = shape.remove(axis);
            length = if length == Dim::Unknown { removed } else { length };
        }
        give(&mut types, input, ty);
    }
    types.infer(body, site.call_attributes(), call);
    let stack = |(slot, ty): (usize, Option<Type>)| match slot.checked_sub(states) {
        None => ty,
        Some(at) => stacked(ty?, axis_of("scan_output_axes", at), length.clone()),
    };
    let out = outputs(&types, body).into_iter().enumerate().map(stack).collect();
    Some(Outcome { types: out, contents: Vec::new(), bodies: vec![types] })
}
