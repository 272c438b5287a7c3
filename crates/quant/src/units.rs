//! What a target runs as one operator: a node, or the nodes of a group.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{Cycle, Graph, Kind, NodeId, ValueId};
use marquetry_matcher::{Bound, Group, Groups, PlaceId};

use crate::params;
use crate::policy::GroupRule;

/// An operator of the target.
#[derive(Debug)]
pub(crate) struct Unit<'a> {
    /// The operator whose rules hold.
    pub(crate) operator: &'a str,
    /// The nodes, in topological order; one, unless it is a group.
    pub(crate) nodes: Vec<NodeId>,
    /// The group it stands for.
    pub(crate) group: Option<&'a Group>,
    /// Constants that are parameters.
    pub(crate) params: Vec<Param>,
    /// Values read from outside that are no parameters, by slot for a node; absent ones are kept.
    pub(crate) inputs: Vec<Option<ValueId>>,
    /// Values that others may read.
    pub(crate) outputs: Vec<ValueId>,
}

/// A constant that is a parameter of its unit.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    /// What it is to the unit.
    pub(crate) kind: &'static str,
    /// The constant.
    pub(crate) value: ValueId,
    /// The node and the slot whose axes of channels it has.
    pub(crate) seen_by: (NodeId, usize),
    /// Whether its axes are the other way round there.
    pub(crate) transposed: bool,
}

/// The units of the main graph, in the order of their last nodes.
#[derive(Debug)]
pub(crate) struct Units<'a> {
    /// The units.
    pub(crate) list: Vec<Unit<'a>>,
    /// The unit of a node, by node; none for nodes that only give constants.
    of: Vec<Option<usize>>,
}

impl<'a> Units<'a> {
    /// Takes the groups of these patterns for one operator each, and every other node for its own.
    ///
    /// # Errors
    ///
    /// When the graph has a cycle.
    pub(crate) fn of(
        graph: &'a Graph,
        types: &Types,
        groups: &'a Groups,
        rules: &'a [GroupRule],
    ) -> Result<Self, Cycle> {
        let order = graph.order()?;
        let mut position = vec![0; graph.node_bound()];
        order.iter().enumerate().for_each(|(at, node)| position[node.index()] = at);
        let mut units = Units { list: Vec::new(), of: vec![None; graph.node_bound()] };
        let mut grouped: BTreeMap<NodeId, (&'a Group, &'a GroupRule)> = BTreeMap::new();
        for group in groups.within(PlaceId::MAIN) {
            let rule = rules.iter().find(|rule| rule.pattern == group.pattern);
            let Some(rule) = rule.filter(|_| is_one(graph, group)) else { continue };
            let taken = group.nodes.iter().any(|node| grouped.contains_key(node));
            for &node in group.nodes.iter().filter(|_| !taken) {
                grouped.insert(node, (group, rule));
            }
        }
        for node in order {
            let content = graph.node(node);
            if content.is_onnx("Constant") {
                continue;
            }
            let last =
                |group: &'a Group| group.nodes.iter().max_by_key(|node| position[node.index()]);
            let unit = match grouped.get(&node) {
                // A group comes where its last node does: all it reads is there by then.
                Some((group, _)) if last(group) != Some(&node) => continue,
                Some((group, rule)) => of_group(graph, types, group, rule),
                None => of_node(graph, node, &content.op_type),
            };
            for &node in &unit.nodes {
                units.of[node.index()] = Some(units.list.len());
            }
            units.list.push(unit);
        }
        Ok(units)
    }

    /// The unit that a node is part of.
    pub(crate) fn at(&self, node: NodeId) -> Option<(usize, &Unit<'a>)> {
        let at = self.of[node.index()]?;
        Some((at, &self.list[at]))
    }

    /// The units that read a value, by themselves or in a body.
    pub(crate) fn consumers(&self, graph: &Graph, value: ValueId) -> BTreeSet<usize> {
        graph.uses(value).iter().filter_map(|one| self.of[one.node.index()]).collect()
    }
}

/// Whether a group can be taken for one operator: more than one node, and nobody outside sees what
/// is computed inside.
fn is_one(graph: &Graph, group: &Group) -> bool {
    let nodes = group.nodes.iter().filter(|&&node| !graph.node(node).is_onnx("Constant"));
    let sealed = |&value: &ValueId| {
        let inside = graph.uses(value).iter().all(|one| group.nodes.contains(&one.node));
        inside && !graph.is_output(value)
    };
    nodes.count() > 1 && group.interior.iter().all(sealed)
}

fn of_node<'a>(graph: &Graph, node: NodeId, operator: &'a str) -> Unit<'a> {
    let mut inputs = graph.inputs(node);
    let mut params = Vec::new();
    let content = graph.node(node);
    for (slot, input) in inputs.iter_mut().enumerate() {
        let kind = params::kind(operator, slot).filter(|_| content.is_onnx(operator));
        let Some((kind, param)) =
            kind.and_then(|kind| Some((kind, static_input(graph, node, slot)?)))
        else {
            continue;
        };
        params.push(Param { kind, ..param });
        *input = None;
    }
    let outputs = graph.outputs(node).into_iter().flatten().collect();
    Unit { operator, nodes: vec![node], group: None, params, inputs, outputs }
}

fn of_group<'a>(graph: &Graph, types: &Types, group: &'a Group, rule: &'a GroupRule) -> Unit<'a> {
    let mut params: Vec<Param> = Vec::new();
    let nodes: Vec<NodeId> =
        group.nodes.iter().copied().filter(|&node| !graph.node(node).is_onnx("Constant")).collect();
    for (kind, variable) in &rule.params {
        let kind = params::KINDS.into_iter().find(|known| known == kind);
        let (Some(kind), Some(Bound::Value(bound))) = (kind, group.bound(variable)) else {
            continue;
        };
        let reader = nodes.iter().find_map(|&node| {
            let slot = graph.inputs(node).iter().position(|input| *input == Some(*bound))?;
            Some((node, slot))
        });
        let param = reader.and_then(|(node, slot)| static_input(graph, node, slot));
        params.extend(param.map(|param| Param { kind, ..param }));
    }
    let inner: BTreeSet<ValueId> =
        group.nodes.iter().flat_map(|&node| graph.outputs(node)).flatten().collect();
    let read = nodes.iter().flat_map(|&node| graph.inputs(node)).flatten();
    let mut inputs: Vec<ValueId> =
        read.filter(|value| !inner.contains(value) && !types.is_constant(*value)).collect();
    inputs.sort_unstable();
    inputs.dedup();
    Unit {
        operator: &rule.operator,
        nodes,
        group: Some(group),
        params,
        inputs: inputs.into_iter().map(Some).collect(),
        outputs: group.outputs.clone(),
    }
}

/// The constant that a node reads at a slot, straight or as a product reads it through one
/// transposition.
fn static_input(graph: &Graph, node: NodeId, slot: usize) -> Option<Param> {
    let value = graph.input(node, slot)?;
    let param = |value, transposed| Param { kind: "", value, seen_by: (node, slot), transposed };
    if is_static(graph, value) {
        return Some(param(value, false));
    }
    let (between, _) = graph.producer(value)?;
    let turned = graph.node(node).is_onnx("MatMul") && graph.node(between).is_onnx("Transpose");
    let stored = graph.input(between, 0).filter(|&stored| turned && is_static(graph, stored))?;
    Some(param(stored, true))
}

/// Whether a value is a constant of the file: an initializer that nobody overrides, or what a
/// `Constant` holds.
pub(crate) fn is_static(graph: &Graph, value: ValueId) -> bool {
    match graph.producer(value) {
        Some((node, _)) => graph.node(node).is_onnx("Constant"),
        None => graph.value(value).kind == Kind::Initializer,
    }
}
