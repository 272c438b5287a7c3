//! `marquetry inspect`: what is in a model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use marquetry::library;
use marquetry_ir::{DType, Graph, Model, Tensor, Type, ValueId};
use serde_json::{Value, json};

use super::answer::{Answer, bytes, plural};
use super::args::{Cli, Inspect};
use super::failure::Failure;
use super::load;

/// Operators that the text names; the JSON has them all.
const OPERATORS_SHOWN: usize = 12;

pub(crate) fn run(args: &Inspect, cli: &Cli) -> Result<Answer, Failure> {
    let model = load::model(&args.model, cli)?;
    let groups = marquetry::groups(&model, &library::standard());
    let contents = Contents::of(&model);
    let counts: BTreeMap<String, usize> =
        groups.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Ok(Answer::new(contents.text(&model, &counts), contents.json(&model, &counts)))
}

/// What is counted over the main graph, all bodies and all functions.
#[derive(Default)]
struct Contents {
    operators: BTreeMap<String, usize>,
    nodes: usize,
    /// Constants by element type: how many elements, how many bytes.
    constants: BTreeMap<DType, (u64, u64)>,
}

impl Contents {
    fn of(model: &Model) -> Self {
        let mut contents = Self::default();
        let mut graphs: Vec<&Graph> = vec![&model.graph];
        graphs.extend(model.functions.iter().map(|function| &function.body));
        while let Some(graph) = graphs.pop() {
            for value in graph.values() {
                if let Some(tensor) = &graph.value(value).constant {
                    contents.count(tensor);
                }
            }
            for node in graph.nodes() {
                let node = graph.node(node);
                contents.nodes += 1;
                let operator = match node.domain.as_str() {
                    "" | "ai.onnx" => node.op_type.clone(),
                    domain => format!("{domain}.{}", node.op_type),
                };
                *contents.operators.entry(operator).or_default() += 1;
                if let Some(tensor) = node.attribute("value").and_then(|value| value.as_tensor()) {
                    contents.count(tensor);
                }
                graphs.extend(node.bodies());
            }
        }
        contents
    }

    fn count(&mut self, tensor: &Tensor) {
        let (elements, size) = self.constants.entry(tensor.dtype()).or_default();
        *elements += tensor.len() as u64;
        *size += tensor.bytes().len() as u64;
    }

    /// Operators, the most frequent first, equals by name.
    fn by_frequency(&self) -> Vec<(&str, usize)> {
        let mut operators: Vec<_> =
            self.operators.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        operators.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        operators
    }

    fn text(&self, model: &Model, groups: &BTreeMap<String, usize>) -> String {
        let graph = &model.graph;
        let mut text = String::new();
        let opsets = graph.opsets.0.iter().map(|opset| {
            let domain = if opset.domain.is_empty() { "ai.onnx" } else { &opset.domain };
            format!("{domain} {}", opset.version)
        });
        let producer = [model.producer_name.as_str(), model.producer_version.as_str()].join(" ");
        let mut line = |title: &str, content: String| {
            if !content.is_empty() {
                writeln!(text, "{title:<10}{content}").expect("a string takes any text");
            }
        };
        line(
            "format",
            format!("IR {}, opset {}", model.ir_version, opsets.collect::<Vec<_>>().join(", ")),
        );
        line("producer", producer.trim().to_owned());
        for (title, values) in [("input", &graph.inputs), ("output", &graph.outputs)] {
            for &value in values {
                line(title, format!("{}: {}", graph.value(value).name(), type_text(graph, value)));
            }
        }
        let functions = match model.functions.len() {
            0 => String::new(),
            count => format!(", {}", plural(count, "function")),
        };
        line("nodes", format!("{}{functions}", self.nodes));
        let shown = self.by_frequency();
        let named: Vec<_> = shown
            .iter()
            .take(OPERATORS_SHOWN)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let rest = shown.len().saturating_sub(OPERATORS_SHOWN);
        let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
        line("operators", format!("{}{rest}", named.join(", ")));
        for (dtype, (elements, size)) in &self.constants {
            line("constants", format!("{elements} × {dtype}, {}", bytes(*size)));
        }
        let found: Vec<_> = groups.iter().map(|(name, count)| format!("{name} {count}")).collect();
        line("groups", if found.is_empty() { "none found".to_owned() } else { found.join(", ") });
        text
    }

    fn json(&self, model: &Model, groups: &BTreeMap<String, usize>) -> Value {
        let graph = &model.graph;
        let ports = |values: &[ValueId]| -> Vec<Value> {
            let port = |&value: &ValueId| json!({ "name": graph.value(value).name(), "type": type_text(graph, value) });
            values.iter().map(port).collect()
        };
        let constants: BTreeMap<_, _> = self
            .constants
            .iter()
            .map(|(dtype, (elements, size))| {
                (dtype.to_string(), json!({ "elements": elements, "bytes": size }))
            })
            .collect();
        json!({
            "schema_version": 1,
            "ir_version": model.ir_version,
            "opsets": graph.opsets.0.iter().map(|opset| (opset.domain.clone(), opset.version)).collect::<BTreeMap<_, _>>(),
            "producer": { "name": model.producer_name, "version": model.producer_version },
            "inputs": ports(&graph.inputs),
            "outputs": ports(&graph.outputs),
            "nodes": self.nodes,
            "functions": model.functions.len(),
            "operators": self.operators,
            "constants": constants,
            "counts": groups,
        })
    }
}

fn type_text(graph: &Graph, value: ValueId) -> String {
    match &graph.value(value).ty {
        Some(Type::Tensor(tensor)) => {
            let dtype = tensor.dtype.map_or_else(|| "?".to_owned(), |dtype| dtype.to_string());
            match &tensor.shape {
                None => format!("{dtype}[…]"),
                Some(dims) if dims.is_empty() => dtype,
                Some(dims) => {
                    let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
                    format!("{dtype}[{}]", dims.join(","))
                }
            }
        }
        Some(Type::Sequence { .. }) => "sequence".to_owned(),
        Some(Type::Optional { .. }) => "optional".to_owned(),
        Some(Type::Map { .. }) => "map".to_owned(),
        Some(Type::Sparse(_)) => "sparse tensor".to_owned(),
        Some(Type::Opaque { .. } | Type::Unspecified { .. }) | None => "unknown type".to_owned(),
    }
}
