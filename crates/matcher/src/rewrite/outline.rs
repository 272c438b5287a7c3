//! Replaces a match by the call of a function that the model brings along: any runtime inlines it, and
//! a tool that knows the function sees the pattern.
//!
//! Numbers that are no header inputs, such as ε, and shapes, axes and permutations stand inside the
//! function: what two matches have different makes two functions. Weights, and all that is computed, are
//! inputs. No
//! attribute of the header becomes one of the function: where it is read from a tensor, such as ε, or
//! in two places, no attribute could take its place.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::text::{PrintOptions, print_graph};
use marquetry_ir::{Function, Graph, Model, Node, NodeId, Opsets, Tensor, ValueId};

use super::extract::{self, Constants, Extract, extract};
use super::sketch::{Origin, Sketch};
use crate::found::{Bound, Match};

/// The domain of functions that stand for patterns.
pub const DOMAIN: &str = "marquetry.patterns";

/// Integers of more elements than this are inputs of the function.
const INSIDE: usize = 64;

/// The version of the file format from which on models bring functions along.
const IR_VERSION: i64 = 8;

/// The call of a function, and the function. Its name is open, because others may have the same body.
pub(crate) fn outline(
    graph: &Graph,
    types: &Types,
    found: &Match,
    measured: &[(ValueId, ValueId)],
) -> (Sketch, Function) {
    let outputs = outputs(graph, types, found, measured);
    let header: BTreeSet<ValueId> = inputs_of_header(found);
    let content = |id: ValueId| -> Option<Tensor> {
        let content = extract::content(graph, types, id)?;
        // Numbers and axes; vectors of floats are mostly weights.
        let inside = content.len() == 1 || (content.len() <= INSIDE && !content.dtype().is_float());
        (inside && !header.contains(&id)).then_some(content)
    };
    let mut body = extract(graph, types, &found.nodes, &outputs, Constants::Nodes, &content);
    sort_inputs(&mut body, found);
    let inputs: Vec<ValueId> = {
        let homes: BTreeMap<ValueId, ValueId> =
            body.values.iter().map(|(home, value)| (*value, *home)).collect();
        body.graph.inputs.iter().map(|input| homes[input]).collect()
    };
    make_anonymous(&mut body, found);
    let mut sketch = Sketch::new(graph.opsets.clone());
    sketch.imports.push((DOMAIN.to_owned(), 1));
    let operands: Vec<Option<ValueId>> = inputs
        .iter()
        .map(|&id| {
            let ty = types.ty(id).cloned();
            Some(sketch.existing(Origin { id, row: None }, graph.value(id).name(), ty, None))
        })
        .collect();
    let names: Vec<String> =
        outputs.iter().map(|output| format!("{}_out", graph.value(*output).name())).collect();
    let results = sketch.node(Node::new(DOMAIN, ""), &operands, &names);
    sketch.outputs = outputs.into_iter().zip(results).collect();
    let function = Function {
        domain: DOMAIN.to_owned(),
        name: String::new(),
        overload: String::new(),
        attributes: Vec::new(),
        defaults: Vec::new(),
        doc: String::new(),
        metadata: Vec::new(),
        body: body.graph,
    };
    (sketch, function)
}

/// The header's outputs, then what else is read outside.
fn outputs(
    graph: &Graph,
    types: &Types,
    found: &Match,
    measured: &[(ValueId, ValueId)],
) -> Vec<ValueId> {
    let mut outputs = found.outputs.clone();
    let inside = |node: NodeId| found.nodes.contains(&node);
    for &node in &found.nodes {
        for value in graph.outputs(node).into_iter().flatten() {
            // What is the same in every run is computed by its own node as before.
            if outputs.contains(&value) || types.known(value).is_some() {
                continue;
            }
            let moves = measured.iter().any(|(inner, _)| *inner == value);
            let read = graph.uses(value).into_iter().any(|reader| {
                let node = graph.node(reader.node);
                let measures = node.is_onnx("Shape") || node.is_onnx("Size");
                !(inside(reader.node) || moves && measures)
            });
            // Where its shape comes back into the match, the nodes that compute it stay.
            if graph.is_output(value) || (read && !leads_back(graph, found, value)) {
                outputs.push(value);
            }
        }
    }
    outputs
}

/// Whether something that the match reads is computed from one of its inner values.
fn leads_back(graph: &Graph, found: &Match, value: ValueId) -> bool {
    let inside = |node: NodeId| found.nodes.contains(&node);
    let mut waiting = vec![value];
    let mut seen = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        for reader in graph.uses(value) {
            if inside(reader.node) || !seen.insert(reader.node) {
                continue;
            }
            for output in graph.outputs(reader.node).into_iter().flatten() {
                if graph.uses(output).into_iter().any(|reader| inside(reader.node)) {
                    return true;
                }
                waiting.push(output);
            }
        }
    }
    false
}

fn inputs_of_header(found: &Match) -> BTreeSet<ValueId> {
    let mut values = BTreeSet::new();
    for binding in &found.bindings[..found.header.min(found.bindings.len())] {
        match &binding.bound {
            Bound::Value(value) => {
                values.insert(*value);
            }
            Bound::List(items) => values.extend(items.iter().filter_map(|item| match item {
                Bound::Value(value) => Some(*value),
                _ => None,
            })),
            _ => {}
        }
    }
    values
}

/// Inputs in the order of the header, then in the order in which nodes read them.
fn sort_inputs(body: &mut Extract, found: &Match) {
    let mut order: Vec<ValueId> = Vec::new();
    for binding in &found.bindings {
        let listed = match &binding.bound {
            Bound::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        for bound in listed {
            if let Bound::Value(home) = bound
                && let Some(value) = body.values.get(home)
                && !order.contains(value)
            {
                order.push(*value);
            }
        }
    }
    let place = |value: &ValueId| order.iter().position(|known| known == value);
    body.graph.inputs.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
}

/// Gives values the names of the pattern, or numbers, and forgets all that is about this one match.
fn make_anonymous(body: &mut Extract, found: &Match) {
    let graph = &mut body.graph;
    let values: Vec<ValueId> = graph.values().collect();
    for (at, value) in values.iter().enumerate() {
        let name = graph.fresh_name(&format!("{at}'"));
        graph.rename(*value, &name).expect("the name is fresh");
        graph.value_mut(*value).ty = None;
        graph.value_mut(*value).doc.clear();
        graph.value_mut(*value).metadata.clear();
    }
    let mut wanted: BTreeMap<ValueId, String> = BTreeMap::new();
    for binding in &found.bindings {
        if let Bound::Value(home) = &binding.bound
            && let Some(value) = body.values.get(home)
        {
            wanted.entry(*value).or_insert_with(|| binding.name.clone());
        }
    }
    for value in values {
        let base = wanted.get(&value).map_or("t", String::as_str);
        let name = graph.fresh_name(base);
        graph.rename(value, &name).expect("the name is fresh");
    }
    graph.declared.clear();
    for node in graph.nodes().collect::<Vec<_>>() {
        let node = graph.node_mut(node);
        node.name.clear();
        node.doc.clear();
        node.metadata.clear();
        node.device_configurations.clear();
    }
    let mut used = BTreeSet::new();
    domains(graph, &mut used);
    let kept = graph
        .opsets
        .0
        .iter()
        .filter(|opset| used.contains(marquetry_ir::schema::canonical_domain(&opset.domain)));
    let kept = Opsets(kept.cloned().collect());
    graph.opsets = kept;
}

fn domains(graph: &Graph, used: &mut BTreeSet<String>) {
    for node in graph.nodes() {
        let node = graph.node(node);
        used.insert(marquetry_ir::schema::canonical_domain(&node.domain).to_owned());
        node.bodies().for_each(|body| domains(body, used));
    }
}

/// Functions for patterns that a model has, by what they compute.
#[derive(Debug, Default)]
pub(crate) struct Outlined {
    by_body: BTreeMap<String, String>,
    names: BTreeSet<String>,
}

impl Outlined {
    pub(crate) fn of(model: &Model) -> Self {
        let mut outlined = Self::default();
        for function in model.functions.iter().filter(|function| function.domain == DOMAIN) {
            outlined.names.insert(function.name.clone());
            outlined.by_body.insert(key(function), function.name.clone());
        }
        outlined
    }

    /// The name of a function with this body: `base`, or `base` with a number. The same body has the
    /// same name.
    pub(crate) fn name(&mut self, function: &Function, base: &str) -> String {
        let key = key(function);
        if let Some(name) = self.by_body.get(&key) {
            return name.clone();
        }
        let numbered = (2_u64..).map(|number| format!("{base}_{number}"));
        let mut names = std::iter::once(base.to_owned()).chain(numbered);
        let name = names.find(|name| !self.names.contains(name)).expect("numbers do not run out");
        self.names.insert(name.clone());
        self.by_body.insert(key, name.clone());
        name
    }
}

fn key(function: &Function) -> String {
    let body = print_graph(&function.body, &PrintOptions::default());
    format!("{:?}\n{body}", function.body.opsets)
}

/// Adds a function to a model, unless it is there.
pub(crate) fn add(model: &mut Model, function: Function) {
    if model.function(DOMAIN, &function.name, "").is_none() {
        model.functions.push(function);
    }
    model.ir_version = model.ir_version.max(IR_VERSION);
}

/// Removes the functions for patterns that nobody calls.
pub(crate) fn drop_uncalled(model: &mut Model) {
    loop {
        let mut called = BTreeSet::new();
        calls(&model.graph, &mut called);
        model.functions.iter().for_each(|function| calls(&function.body, &mut called));
        let before = model.functions.len();
        model
            .functions
            .retain(|function| function.domain != DOMAIN || called.contains(&function.name));
        if model.functions.len() == before {
            return;
        }
    }
}

fn calls(graph: &Graph, called: &mut BTreeSet<String>) {
    for node in graph.nodes() {
        let node = graph.node(node);
        if node.domain == DOMAIN {
            called.insert(node.op_type.clone());
        }
        node.bodies().for_each(|body| calls(body, called));
    }
}
