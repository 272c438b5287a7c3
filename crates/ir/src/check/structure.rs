//! Facts about the wiring and the names of a graph.

use std::collections::BTreeSet;

use super::{Fact, Found, Scope, Subject};
use crate::{DType, Graph, Kind, Tensor, Type, ValueId};

pub(super) fn check(scopes: &[Scope<'_>], at: usize, found: &mut Found) {
    let scope = &scopes[at];
    values(scopes, scope, found);
    cycles(scope, found);
    names(scope, found);
    annotations(scope, found);
    for &value in scope.types.conflicts() {
        found.add(&scope.path, scope.value(value), Fact::Contradiction {});
    }
}

fn values(scopes: &[Scope<'_>], scope: &Scope<'_>, found: &mut Found) {
    let graph = scope.graph;
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    for id in graph.values() {
        let value = graph.value(id);
        let mut add = |fact| found.add(&scope.path, scope.value(id), fact);
        let read = graph.use_count(id) > 0 || outputs.contains(&id);
        match value.kind {
            // Where an enclosing graph knows the name and nothing defines it, it is said there.
            Kind::Computed if read && graph.producer(id).is_none() => {
                if !known_outside(scopes, scope, value.name()) {
                    add(Fact::Undefined {});
                }
            }
            Kind::Captured if !known_outside(scopes, scope, value.name()) => {
                add(Fact::Undefined {});
            }
            Kind::Captured => {}
            Kind::Computed | Kind::Input | Kind::Initializer => {
                if defining(scopes, scope, value.name()).is_some() {
                    add(Fact::Shadowed {});
                }
            }
        }
        if let Some(Type::Tensor(tensor)) = &value.ty {
            match tensor.dtype {
                Some(DType::Unknown(number)) => add(Fact::ElementType { number }),
                None => add(Fact::NoElementType {}),
                Some(_) => {}
            }
            if let Some(constant) = &value.constant
                && !agrees(tensor, constant)
            {
                add(Fact::InitializerType {});
            }
        }
    }
}

/// The nearest enclosing graph that defines a value of this name.
fn defining<'a>(scopes: &'a [Scope<'_>], scope: &Scope<'_>, name: &str) -> Option<&'a Graph> {
    let mut outer = scope.outer;
    while let Some(at) = outer {
        let graph = scopes[at].graph;
        if graph.find(name).is_some_and(|value| graph.value(value).kind != Kind::Captured) {
            return Some(graph);
        }
        outer = scopes[at].outer;
    }
    None
}

fn known_outside(scopes: &[Scope<'_>], scope: &Scope<'_>, name: &str) -> bool {
    let mut outer = scope.outer;
    while let Some(at) = outer {
        if scopes[at].graph.find(name).is_some() {
            return true;
        }
        outer = scopes[at].outer;
    }
    false
}

fn agrees(declared: &crate::TensorType, constant: &Tensor) -> bool {
    let dtype = declared.dtype.is_none_or(|dtype| dtype == constant.dtype());
    let shape = declared.shape.as_ref().is_none_or(|shape| {
        shape.len() == constant.dims().len()
            && shape.iter().zip(constant.dims()).all(|(dim, &length)| match dim {
                crate::Dim::Known(_) => dim.known() == Some(length),
                crate::Dim::Symbol(_) | crate::Dim::Unknown => true,
            })
    });
    dtype && shape
}

fn cycles(scope: &Scope<'_>, found: &mut Found) {
    let Err(cycle) = scope.graph.order() else { return };
    let name = |subject: Subject| match subject {
        Subject::Node { name, .. } => name,
        Subject::Graph | Subject::Value { .. } => String::new(),
    };
    // Each node reads from the next; the arrows follow the data.
    let mut names: Vec<String> =
        cycle.nodes.iter().rev().map(|&node| name(scope.node(node))).collect();
    names.extend(names.first().cloned());
    found.add(&scope.path, Subject::Graph, Fact::Cyclic { cycle: names });
}

fn names(scope: &Scope<'_>, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for id in scope.graph.nodes() {
        let name = &scope.graph.node(id).name;
        if !name.is_empty() && !seen.insert(name.as_str()) {
            let fact = Fact::DuplicateNode { name: name.clone() };
            found.add(&scope.path, scope.node(id), fact);
        }
    }
}

fn annotations(scope: &Scope<'_>, found: &mut Found) {
    for (tensor, parameters) in &scope.graph.annotations {
        let named = std::iter::once(tensor).chain(parameters.iter().map(|(_, name)| name));
        for name in named.filter(|name| scope.graph.find(name).is_none()) {
            found.add(&scope.path, Subject::Graph, Fact::Annotation { name: name.clone() });
        }
    }
}
