//! Which node of one graph is which node of another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::{Content, Graph, NodeId, Tensor, ValueId};

/// Nodes that belong together, and what values are called on the other side.
pub(super) struct Pairs {
    /// Pairs, in the order in which the first graph runs.
    pub(super) nodes: Vec<(NodeId, NodeId)>,
    /// The name in the second graph for a name of the first one.
    pub(super) renamed: BTreeMap<String, String>,
    /// Nodes of the first graph that the second one does not have.
    pub(super) gone: Vec<NodeId>,
    /// Nodes of the second graph that the first one does not have.
    pub(super) new: Vec<NodeId>,
}

/// Pairs nodes: those that compute the same operator under the same name of the result, then under
/// the same name of the node, then from the same operands. Last, whatever computes a result of the
/// same name, because it took the place of what was there.
pub(super) fn pair(left: &Graph, right: &Graph) -> Pairs {
    let [order, other] = [left, right].map(order);
    let mut open: BTreeSet<NodeId> = other.iter().copied().collect();
    let mut chosen: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let mut choose = |keys: &dyn Fn(&Graph, NodeId) -> Option<String>| {
        let known = unique(right, open.iter().copied(), keys);
        let waiting = order.iter().copied().filter(|node| !chosen.contains_key(node));
        let asked = unique(left, waiting.collect::<Vec<_>>(), keys);
        for (key, node) in asked {
            if let Some(&other) = known.get(&key) {
                open.remove(&other);
                chosen.insert(node, other);
            }
        }
    };
    choose(&|graph, node| Some(format!("{} {}", result(graph, node)?, kind(graph, node))));
    choose(&|graph, node| {
        let name = &graph.node(node).name;
        (!name.is_empty()).then(|| format!("{name} {}", kind(graph, node)))
    });

    // By operands, in the order in which they run, so that operands have been paired before.
    let mut renamed = BTreeMap::new();
    let mut alike: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for &node in other.iter().rev().filter(|node| open.contains(node)) {
        alike.entry(signature(right, node, &BTreeMap::new())).or_default().push(node);
    }
    for &node in &order {
        let known = chosen.get(&node).copied();
        let found =
            known.or_else(|| alike.get_mut(&signature(left, node, &renamed)).and_then(Vec::pop));
        if let Some(other) = found {
            open.remove(&other);
            chosen.insert(node, other);
            rename(&mut renamed, left, right, node, other);
        }
    }

    let mut by_result: BTreeMap<&str, NodeId> = BTreeMap::new();
    by_result.extend(open.iter().filter_map(|&node| Some((result(right, node)?, node))));
    for &node in order.iter().filter(|node| !chosen.contains_key(node)).collect::<Vec<_>>() {
        if let Some(&other) = result(left, node).and_then(|name| by_result.get(name)) {
            open.remove(&other);
            chosen.insert(node, other);
            rename(&mut renamed, left, right, node, other);
        }
    }

    let of = |node: &NodeId| chosen.get(node).map(|&other| (*node, other));
    Pairs {
        nodes: order.iter().filter_map(of).collect(),
        renamed,
        gone: order.iter().copied().filter(|node| !chosen.contains_key(node)).collect(),
        new: other.into_iter().filter(|node| open.contains(node)).collect(),
    }
}

/// In the order in which they run; of a graph that cannot run, in the order of the file.
pub(super) fn order(graph: &Graph) -> Vec<NodeId> {
    graph.order().unwrap_or_else(|_| graph.nodes().collect())
}

/// The name of the first result that has one.
pub(super) fn result(graph: &Graph, node: NodeId) -> Option<&str> {
    graph.outputs(node).into_iter().flatten().next().map(|value| graph.value(value).name())
}

/// The operator, apart from how the standard's own domain is spelled.
pub(super) fn kind(graph: &Graph, node: NodeId) -> String {
    let node = graph.node(node);
    super::operator(&node.domain, &node.op_type)
}

/// Those that are alone with their key.
fn unique(
    graph: &Graph,
    nodes: impl IntoIterator<Item = NodeId>,
    key: &dyn Fn(&Graph, NodeId) -> Option<String>,
) -> BTreeMap<String, NodeId> {
    let mut found: BTreeMap<String, Option<NodeId>> = BTreeMap::new();
    for node in nodes {
        if let Some(key) = key(graph, node) {
            found.entry(key).and_modify(|known| *known = None).or_insert(Some(node));
        }
    }
    found.into_iter().filter_map(|(key, node)| Some((key, node?))).collect()
}

/// What a node computes: its operator, its attributes, and its operands by their names in the second
/// graph, constants by their content.
fn signature(graph: &Graph, node: NodeId, renamed: &BTreeMap<String, String>) -> String {
    let mut text = kind(graph, node);
    for attribute in &graph.node(node).attributes {
        write!(text, " {}={}", attribute.name, shown(&attribute.value))
            .expect("a string takes any text");
    }
    for input in graph.inputs(node) {
        text.push(' ');
        text += &input.map(|value| operand(graph, value, renamed)).unwrap_or_default();
    }
    text
}

fn operand(graph: &Graph, value: ValueId, renamed: &BTreeMap<String, String>) -> String {
    let value = graph.value(value);
    match &value.constant {
        Some(tensor) => format!("{}{:?}#{:016x}", tensor.dtype(), tensor.dims(), hash(tensor)),
        None => renamed.get(value.name()).map_or(value.name(), String::as_str).to_owned(),
    }
}

/// An attribute as text, tensors and bodies by what tells them apart.
fn shown(value: &crate::AttributeValue) -> String {
    match value.as_tensor() {
        Some(tensor) => format!("{}{:?}#{:016x}", tensor.dtype(), tensor.dims(), hash(tensor)),
        None => value.to_string(),
    }
}

/// FNV-1a over the content. Two tensors that collide make an odd pair and no wrong answer, because
/// what is said of a pair compares their elements.
fn hash(tensor: &Tensor) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    let start = 0xcbf2_9ce4_8422_2325;
    match tensor.content() {
        Content::Bytes(bytes) => bytes.iter().fold(start, step),
        Content::Strings(strings) => {
            strings.iter().flat_map(|text| text.iter().chain(&[0])).fold(start, step)
        }
    }
}

fn same(left: Option<&Tensor>, right: Option<&Tensor>) -> bool {
    let about = |tensor: &Tensor| (tensor.dtype(), tensor.dims().to_vec());
    left.zip(right).is_some_and(|(a, b)| about(a) == about(b) && a.content() == b.content())
}

/// Notes what the results of a pair are called on the other side, and the constants that it reads.
fn rename(
    renamed: &mut BTreeMap<String, String>,
    left: &Graph,
    right: &Graph,
    node: NodeId,
    other: NodeId,
) {
    let results = left.outputs(node).into_iter().zip(right.outputs(other));
    for (a, b) in results.filter_map(|(a, b)| Some((a?, b?))) {
        let (a, b) = (left.value(a).name(), right.value(b).name());
        if a != b {
            renamed.insert(a.to_owned(), b.to_owned());
        }
    }
    // A constant has no node that makes it: it is known by who reads it, and by its content.
    let read = left.inputs(node).into_iter().zip(right.inputs(other));
    for (a, b) in read.filter_map(|(a, b)| Some((left.value(a?), right.value(b?)))) {
        let free = right.find(a.name()).is_none() && left.find(b.name()).is_none();
        if free && a.constant.is_some() && same(a.constant.as_ref(), b.constant.as_ref()) {
            renamed.insert(a.name().to_owned(), b.name().to_owned());
        }
    }
}
