//! Facts about the model as a whole: opsets, functions, metadata.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Found, Subject};
use crate::schema::{canonical_domain, newest_opset};
use crate::{Function, Graph, Model, Opsets};

pub(super) fn check(model: &Model, found: &mut Found) {
    opsets(&model.graph.opsets, &[], found);
    metadata(&model.metadata, &[], found);
    let mut known = BTreeSet::new();
    for function in &model.functions {
        let scope = [format!("function `{}.{}`", function.domain, function.name)];
        opsets(&function.body.opsets, &scope, found);
        metadata(&function.metadata, &scope, found);
        if !known.insert(identity(function)) {
            let name = format!("{}.{}", function.domain, function.name);
            found.add(&[], Subject::Graph, Fact::DuplicateFunction { name });
        }
    }
    recursion(model, found);
}

fn identity(function: &Function) -> (&str, &str, &str) {
    (canonical_domain(&function.domain), &function.name, &function.overload)
}

fn opsets(opsets: &Opsets, scope: &[String], found: &mut Found) {
    let mut seen = BTreeSet::new();
    for opset in &opsets.0 {
        let domain = canonical_domain(&opset.domain);
        let mut add = |fact| found.add(scope, Subject::Graph, fact);
        if !seen.insert(domain) {
            add(Fact::DuplicateOpset { domain: shown(domain) });
            continue;
        }
        if opset.version < 1 {
            add(Fact::BadOpset { domain: shown(domain), version: opset.version });
        }
        if domain.is_empty() && opset.version > newest_opset() {
            add(Fact::NewOpset { version: opset.version, newest: newest_opset() });
        }
    }
}

/// The domain as a message says it: the standard one has a long name too.
pub(super) fn shown(domain: &str) -> String {
    if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() }
}

fn metadata(pairs: &[(String, String)], scope: &[String], found: &mut Found) {
    let mut seen = BTreeSet::new();
    for (key, _) in pairs {
        if !seen.insert(key) {
            found.add(scope, Subject::Graph, Fact::DuplicateMetadata { key: key.clone() });
        }
    }
}

/// Finds a circle of calls with a depth-first search that keeps its own stack.
fn recursion(model: &Model, found: &mut Found) {
    let index: BTreeMap<_, _> =
        model.functions.iter().enumerate().map(|(at, function)| (identity(function), at)).collect();
    let calls: Vec<Vec<usize>> =
        model.functions.iter().map(|function| calls_of(&function.body, &index)).collect();
    let mut state = vec![State::New; calls.len()];
    for start in 0..calls.len() {
        let mut path: Vec<(usize, usize)> = Vec::new();
        if state[start] == State::New {
            state[start] = State::Open;
            path.push((start, 0));
        }
        while let Some((function, next)) = path.last_mut() {
            let Some(&callee) = calls[*function].get(*next) else {
                state[*function] = State::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match state[callee] {
                State::Done => {}
                State::New => {
                    state[callee] = State::Open;
                    path.push((callee, 0));
                }
                State::Open => {
                    let name = |at: usize| model.functions[at].name.clone();
                    let circle = path.iter().skip_while(|(at, _)| *at != callee);
                    let mut cycle: Vec<String> = circle.map(|(at, _)| name(*at)).collect();
                    cycle.push(name(callee));
                    found.add(&[], Subject::Graph, Fact::Recursion { cycle });
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

fn calls_of(body: &Graph, index: &BTreeMap<(&str, &str, &str), usize>) -> Vec<usize> {
    let mut calls = BTreeSet::new();
    let mut graphs = vec![body];
    while let Some(graph) = graphs.pop() {
        for id in graph.nodes() {
            let node = graph.node(id);
            let key =
                (canonical_domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
            calls.extend(index.get(&key));
            graphs.extend(node.bodies());
        }
    }
    calls.into_iter().collect()
}
