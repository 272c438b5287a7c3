//! Whether two graphs are the same but for the names between their inputs and outputs.

use std::collections::BTreeMap;

use marquetry_ir::text::{PrintOptions, print_graph};
use marquetry_ir::{AttributeValue, Graph, NodeId, Tensor, ValueId};

use super::Line;

/// The most elements of a constant that a comparison shows.
const SHOWN: usize = 16;

/// What stands for a value: two values of two graphs have the same key where the same is computed from
/// the same.
type Key = usize;

/// Numbers for what values are.
#[derive(Default)]
struct Keys(BTreeMap<String, Key>);

impl Keys {
    fn key(&mut self, what: String) -> Key {
        let next = self.0.len();
        *self.0.entry(what).or_insert(next)
    }

    /// The keys of all values of a graph.
    fn of(&mut self, graph: &Graph) -> BTreeMap<ValueId, Key> {
        let mut keys = BTreeMap::new();
        for value in graph.values().filter(|value| graph.producer(*value).is_none()) {
            let what = match graph.initializer(value) {
                Some(tensor) if !graph.inputs.contains(&value) => {
                    format!("constant {}", text(tensor))
                }
                _ => format!("input {}", graph.value(value).name()),
            };
            keys.insert(value, self.key(what));
        }
        for node in graph.order().unwrap_or_default() {
            let inputs: Vec<Option<&Key>> =
                graph.inputs(node).iter().map(|input| keys.get(input.as_ref()?)).collect();
            let what = format!("{} {inputs:?}", operation(graph, node));
            for (slot, value) in graph.outputs(node).into_iter().enumerate() {
                if let Some(value) = value {
                    keys.insert(value, self.key(format!("{slot} of {what}")));
                }
            }
        }
        keys
    }
}

/// A tensor as ONNX text, without a name.
fn text(tensor: &Tensor) -> String {
    let mut tensor = tensor.clone();
    tensor.notes = None;
    AttributeValue::Tensor(tensor).to_string()
}

/// Operator and attributes of a node, these sorted by name.
fn operation(graph: &Graph, node: NodeId) -> String {
    let node = graph.node(node);
    let mut attributes: Vec<String> = node
        .attributes
        .iter()
        .map(|attribute| format!("{} = {}", attribute.name, attribute.value))
        .collect();
    attributes.sort();
    let domain = match node.domain.as_str() {
        "" | "ai.onnx" => String::new(),
        domain => format!("{domain}."),
    };
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" <{}>", attributes.join(", ")),
    };
    format!("{domain}{}{attributes}", node.op_type)
}

/// A graph whose inner values are called as those of another that compute the same.
pub(super) fn named_like(expected: &Graph, found: &Graph) -> Graph {
    let mut keys = Keys::default();
    let (theirs, ours) = (keys.of(expected), keys.of(found));
    let mut names: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for (value, key) in theirs.iter().rev() {
        names.entry(*key).or_default().push(expected.value(*value).name().to_owned());
    }
    let mut renamed = found.clone();
    let fixed = |value: &ValueId| found.inputs.contains(value) || found.is_output(*value);
    let inner: Vec<ValueId> = found.values().filter(|value| !fixed(value)).collect();
    let old: Vec<String> =
        inner.iter().map(|value| found.value(*value).name().to_owned()).collect();
    // First out of the way, so that names can be exchanged.
    for (at, value) in inner.iter().enumerate() {
        let name = renamed.fresh_name(&format!("~{at}"));
        renamed.rename(*value, &name).expect("the name is fresh");
    }
    let mut rest = Vec::new();
    for (value, old) in inner.iter().zip(old) {
        let name = ours.get(value).and_then(|key| names.get_mut(key)).and_then(Vec::pop);
        let given = name.is_some_and(|name| renamed.rename(*value, &name).is_ok());
        if !given {
            rest.push((*value, old));
        }
    }
    for (value, old) in rest {
        let name = renamed.fresh_name(&old);
        renamed.rename(value, &name).expect("the name is fresh");
    }
    renamed
}

/// What differs between a graph as expected and one that is [named like it](named_like), line by line;
/// nothing where they are the same.
pub(super) fn difference(expected: &Graph, found: &Graph) -> Option<Vec<Line>> {
    let typed = |value: ValueId| expected.value(value).ty.is_some();
    let typed: Vec<bool> =
        expected.inputs.iter().chain(&expected.outputs).map(|value| typed(*value)).collect();
    let (theirs, ours) = (lines(expected, &typed), lines(found, &typed));
    let lines = compare(&theirs, &ours);
    lines.iter().any(|line| !matches!(line, Line::Same(_))).then_some(lines)
}

/// A graph line by line, in an order that follows from its outputs. Types of inputs and outputs are
/// shown where `typed` says so.
fn lines(graph: &Graph, typed: &[bool]) -> Vec<String> {
    let ports = graph.inputs.iter().chain(&graph.outputs);
    let shown: Vec<String> = ports
        .enumerate()
        .map(|(at, value)| {
            let value = graph.value(*value);
            match &value.ty {
                Some(ty) if typed.get(at).copied().unwrap_or(true) => {
                    format!("{ty} {}", value.name())
                }
                _ => value.name().to_owned(),
            }
        })
        .collect();
    let (inputs, outputs) = shown.split_at(graph.inputs.len());
    let mut lines = vec![format!("({}) => ({})", inputs.join(", "), outputs.join(", "))];
    let mut constants: Vec<String> = graph
        .values()
        .filter(|value| !graph.inputs.contains(value))
        .filter_map(|value| {
            let tensor = graph.initializer(value)?;
            let content = text(tensor);
            let content = match content.split_once(" {") {
                Some((ty, elements)) if tensor.len() <= SHOWN => format!("{ty} {{{elements}"),
                Some((ty, elements)) => {
                    format!("{ty} {{{} elements, {:016x}}}", tensor.len(), hash(elements))
                }
                None => content,
            };
            Some(format!("{} = {content}", graph.value(value).name()))
        })
        .collect();
    constants.sort();
    lines.extend(constants);
    for node in reading_order(graph) {
        let name = |value: Option<ValueId>| value.map_or("\"\"", |value| graph.value(value).name());
        let results: Vec<_> = graph.outputs(node).into_iter().map(name).collect();
        let inputs: Vec<_> = graph.inputs(node).into_iter().map(name).collect();
        let operation = operation(graph, node);
        lines.push(format!("{} = {operation} ({})", results.join(", "), inputs.join(", ")));
    }
    lines
}

/// FNV-1a with 64 bits: enough to see that two constants differ.
fn hash(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(start, step)
}

/// Nodes before those that read them, from the first output on; those that no output needs come last.
fn reading_order(graph: &Graph) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut seen = vec![false; graph.node_bound()];
    let ends = graph.outputs.iter().filter_map(|value| graph.producer(*value));
    let ends: Vec<NodeId> = ends.map(|(node, _)| node).chain(graph.nodes()).collect();
    for end in ends {
        // A node is listed when its inputs are.
        let mut waiting = vec![(end, false)];
        while let Some((node, ready)) = waiting.pop() {
            if ready {
                order.push(node);
                continue;
            }
            if std::mem::replace(&mut seen[node.index()], true) {
                continue;
            }
            waiting.push((node, true));
            let mut read: Vec<ValueId> = graph.inputs(node).into_iter().flatten().collect();
            read.extend(graph.captures(node));
            let before = read.into_iter().rev().filter_map(|value| graph.producer(value));
            waiting.extend(before.map(|(node, _)| (node, false)));
        }
    }
    order
}

/// The lines of two texts, those in both once: the longest common subsequence.
pub(super) fn compare(expected: &[String], found: &[String]) -> Vec<Line> {
    let width = found.len() + 1;
    let mut longest = vec![0u32; (expected.len() + 1) * width];
    for (at, line) in expected.iter().enumerate().rev() {
        for (other, theirs) in found.iter().enumerate().rev() {
            longest[at * width + other] = if line == theirs {
                longest[(at + 1) * width + other + 1] + 1
            } else {
                longest[(at + 1) * width + other].max(longest[at * width + other + 1])
            };
        }
    }
    let (mut at, mut other) = (0, 0);
    let mut lines = Vec::new();
    while at < expected.len() || other < found.len() {
        let both = at < expected.len() && other < found.len();
        if both && expected[at] == found[other] {
            lines.push(Line::Same(expected[at].clone()));
            (at, other) = (at + 1, other + 1);
        } else if other == found.len()
            || both && longest[(at + 1) * width + other] >= longest[at * width + other + 1]
        {
            lines.push(Line::Expected(expected[at].clone()));
            at += 1;
        } else {
            lines.push(Line::Found(found[other].clone()));
            other += 1;
        }
    }
    lines
}

/// A graph as a test writes it.
pub(super) fn written(graph: &Graph) -> String {
    let options = PrintOptions { notes: false, ..PrintOptions::default() };
    print_graph(graph, &options).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use marquetry_ir::{Opsets, text};

    use super::*;

    fn graph(src: &str) -> Graph {
        text::parse_graph(src, &Opsets::onnx(17)).unwrap()
    }

    fn shown(expected: &str, found: &str) -> String {
        let (expected, found) = (graph(expected), graph(found));
        let found = named_like(&expected, &found);
        let lines = difference(&expected, &found).unwrap_or_default();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn names_and_order_inside_do_not_matter() {
        let expected = "g (float[2] x) => (float[2] y) <float[1] c = {1}> { a = Neg (x) b = Abs (x) d = Mul (b, c) y = Add (a, d) }";
        let found = "h (float[2] x) => (float[2] y) <float[1] a = {1}> { c = Abs (x) b = Mul (c, a) t = Neg (x) y = Add (t, b) }";
        assert_eq!(shown(expected, found), "");
    }

    #[test]
    fn what_differs_is_shown_under_the_names_of_the_test() {
        let expected = "g (float[2] x) => (float[2] y) { a = Neg (x) b = Abs (a) y = Relu (b) }";
        let found = "g (float[2] x) => (float[2] y) { t1 = Neg (x) t2 = Exp (t1) y = Relu (t2) }";
        assert_eq!(
            shown(expected, found),
            "  (float[2] x) => (float[2] y)\n  a = Neg (x)\n- b = Abs (a)\n- y = Relu (b)\n+ t2 = Exp (a)\n+ y = Relu (t2)\n"
        );
    }

    #[test]
    fn a_node_too_many_and_another_constant_are_seen() {
        let expected = "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }";
        let more = "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { z = Add (x, w) y = Add (x, w) }";
        assert_ne!(shown(expected, more), "");
        let other = "g (float[2] x) => (float[2] y) <float[2] w = {1, 3}> { y = Add (x, w) }";
        assert_ne!(shown(expected, other), "");
    }
}
