//! The validator: everything that is wrong with a model, in one run.
//!
//! Each violation has a stable code, a place, a severity and, where something can be done, a hint. It is
//! stricter than the official checker where a runtime refuses or where numbers would be wrong without a
//! word, and milder where nothing is lost, such as operators that the schema table does not know.
//!
//! What a [`Graph`] cannot hold, such as two definitions of one value, is refused when it is read.

mod fact;
mod model;
mod node;
mod quantized;
mod structure;
mod target;

use std::collections::BTreeSet;
use std::fmt;

pub use self::fact::{Explanation, Fact};
pub use self::target::Target;
use crate::infer::{self, Types};
use crate::{Graph, Model, NodeId};

/// How bad a violation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The model works, but not everywhere or not as its author thinks.
    Warning,
    /// The model does not run, or computes something else than it says.
    Error,
}

/// Something that is wrong with a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Where.
    pub place: Place,
    /// What.
    pub fact: Fact,
    /// How bad it is for the target asked for.
    pub severity: Severity,
}

/// A place in a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The way from the model to the graph: functions and nodes that hold bodies; empty for the main
    /// graph.
    pub scope: Vec<String>,
    /// What in that graph.
    pub subject: Subject,
}

/// What a violation is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The graph, or the model where the scope is empty.
    Graph,
    /// A node.
    Node {
        /// Its id.
        node: NodeId,
        /// Its operator.
        op: String,
        /// Its name, or else the name of its first output.
        name: String,
    },
    /// A value.
    Value {
        /// Its name.
        name: String,
    },
}

impl Violation {
    /// The stable code, such as `V001`.
    pub fn code(&self) -> &'static str {
        self.fact.code()
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        self.fact.hint()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}[{}]: {}: {}", self.code(), self.place, self.fact)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Graph => f.write_str("the graph")?,
            Subject::Node { op, name, .. } => write!(f, "node `{name}` (`{op}`)")?,
            Subject::Value { name } => write!(f, "value `{name}`")?,
        }
        for outer in self.scope.iter().rev() {
            write!(f, " in {outer}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a model by the rules of ONNX.
///
/// ```
/// use marquetry_ir::{check, text};
///
/// let model = text::parse(
///     "<ir_version: 8, opset_import: [\"\" : 17]> g (float[4] x) => (float[4] y) { y = Relu (x, x) }",
/// )?;
/// let violations = check::run(&model);
/// assert!(!violations.is_empty(), "Relu reads one value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(model: &Model) -> Vec<Violation> {
    run_for(model, Target::Onnx)
}

/// Everything that is wrong with a model for a target.
pub fn run_for(model: &Model, target: Target) -> Vec<Violation> {
    let types = infer::run(model);
    let mut found = Found { violations: Vec::new(), target };
    model::check(model, &mut found);
    let domains: BTreeSet<(&str, &str)> = model
        .functions
        .iter()
        .map(|function| (function.domain.as_str(), function.name.as_str()))
        .collect();
    let main = Scope { path: Vec::new(), graph: &model.graph, types: &types, outer: None };
    walk(main, &domains, &mut found);
    for function in &model.functions {
        let types = infer::run_graph(&function.body);
        let path = vec![format!("function `{}.{}`", function.domain, function.name)];
        let scope = Scope { path, graph: &function.body, types: &types, outer: None };
        walk(scope, &domains, &mut found);
    }
    found.violations
}

/// What is wrong with the nodes of a graph on its own: a piece of a model that is not whole yet. Of
/// functions that the model brings along it knows nothing.
pub fn run_graph(graph: &Graph) -> Vec<Violation> {
    let types = infer::run_graph(graph);
    let mut found = Found { violations: Vec::new(), target: Target::Onnx };
    let scope = Scope { path: Vec::new(), graph, types: &types, outer: None };
    for node in graph.nodes() {
        node::check(&scope, node, &BTreeSet::new(), &mut found);
        quantized::check(&scope, node, &mut found);
    }
    found.violations
}

/// A graph with the way to it and the graphs around it.
struct Scope<'a> {
    path: Vec<String>,
    graph: &'a Graph,
    types: &'a Types,
    /// Index of the enclosing scope among those walked.
    outer: Option<usize>,
}

/// Violations found so far.
struct Found {
    violations: Vec<Violation>,
    target: Target,
}

impl Found {
    fn add(&mut self, scope: &[String], subject: Subject, fact: Fact) {
        let severity = self.target.severity(&fact);
        let place = Place { scope: scope.to_vec(), subject };
        self.violations.push(Violation { place, fact, severity });
    }
}

impl Scope<'_> {
    fn node(&self, node: NodeId) -> Subject {
        let content = self.graph.node(node);
        let first = || {
            let outputs = self.graph.outputs(node);
            let value = outputs.into_iter().flatten().next();
            value
                .map_or_else(|| node.to_string(), |value| self.graph.value(value).name().to_owned())
        };
        let name = if content.name.is_empty() { first() } else { content.name.clone() };
        Subject::Node { node, op: content.op_type.clone(), name }
    }

    fn value(&self, value: crate::ValueId) -> Subject {
        Subject::Value { name: self.graph.value(value).name().to_owned() }
    }
}

/// Checks a graph and the bodies of its nodes, outer ones first. Bodies nest as deep as the input says,
/// so those to come wait in a list.
fn walk<'a>(first: Scope<'a>, functions: &BTreeSet<(&str, &str)>, found: &mut Found) {
    static NOTHING: std::sync::LazyLock<Types> = std::sync::LazyLock::new(Types::default);
    let mut scopes = vec![first];
    let mut next = 0;
    while next < scopes.len() {
        structure::check(&scopes, next, found);
        let scope = &scopes[next];
        let mut inner: Vec<Scope<'a>> = Vec::new();
        for id in scope.graph.nodes() {
            node::check(scope, id, functions, found);
            quantized::check(scope, id, found);
            for (index, body) in scope.graph.node(id).bodies().enumerate() {
                let mut path = scope.path.clone();
                let Subject::Node { op, name, .. } = scope.node(id) else { continue };
                path.push(format!("a body of `{name}` (`{op}`)"));
                let types: &'a Types = scope.types.body(id, index).unwrap_or(&NOTHING);
                inner.push(Scope { path, graph: body, types, outer: Some(next) });
            }
        }
        scopes.extend(inner);
        next += 1;
    }
}

#[cfg(test)]
mod tests;
