//! What groups say about the values inside them.

use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, NodeId, ValueId};
use marquetry_matcher::{Group, Groups, Hint, PlaceId};

use crate::Reason;

/// Groups of one graph as placement sees them.
pub(crate) struct Seals<'a> {
    /// Values that get no quantizer, and which group says so.
    pub(crate) closed: BTreeMap<ValueId, Reason>,
    /// Values inside a group that the policy may quantize nevertheless, if a kernel reads them.
    pub(crate) opened: BTreeMap<ValueId, Reason>,
    /// The outermost group of a node that computes one value element by element, such as a GELU:
    /// placement takes it for one operator.
    pub(crate) units: Vec<Option<&'a Group>>,
}

impl<'a> Seals<'a> {
    /// Outer groups come first in `groups`, and the first to speak about a value is heard.
    pub(crate) fn of(groups: &'a Groups, graph: &Graph) -> Seals<'a> {
        Seals::within(groups, PlaceId::MAIN, graph)
    }

    /// Those of a graph without groups.
    pub(crate) fn none(graph: &Graph) -> Seals<'a> {
        let units = vec![None; graph.node_bound()];
        Seals { closed: BTreeMap::new(), opened: BTreeMap::new(), units }
    }

    /// The same for another graph of the model.
    pub(crate) fn within(groups: &'a Groups, place: PlaceId, graph: &Graph) -> Seals<'a> {
        let mut seals = Seals {
            closed: BTreeMap::new(),
            opened: BTreeMap::new(),
            units: vec![None; graph.node_bound()],
        };
        for group in groups.within(place) {
            // What is named to be quantized stays open when the interior is skipped as a whole.
            // Outside the group it is the policy's business, as everything there.
            for hint in &group.hints {
                let Hint::Quantize(value) = hint else { continue };
                if group.interior.contains(value) && !seals.closed.contains_key(value) {
                    let reason = Reason::new(source(group), "hint `quantize`");
                    seals.opened.entry(*value).or_insert(reason);
                }
            }
            for hint in &group.hints {
                let Hint::Skip(value) = hint else { continue };
                if !seals.opened.contains_key(value) {
                    let reason = Reason::new(source(group), "hint `skip`");
                    seals.closed.entry(*value).or_insert(reason);
                }
            }
            // A pattern that says nothing about its interior keeps it whole.
            if group.hints.is_empty() {
                let reason = Reason::new(source(group), "the interior of a group stays in float");
                for &value in &group.interior {
                    if !seals.opened.contains_key(&value) {
                        seals.closed.entry(value).or_insert_with(|| reason.clone());
                    }
                }
            }
            let elementwise = group.outputs.len() == 1
                && group.nodes.len() > 1
                && group.nodes.iter().all(|&node| is_elementwise(graph, node));
            for &node in group.nodes.iter().filter(|_| elementwise) {
                seals.units[node.index()].get_or_insert(group);
            }
        }
        seals
    }
}

/// How a group is called in reasons.
pub(crate) fn source(group: &Group) -> String {
    format!("group {} at {}", group.pattern, group.anchor)
}

fn is_elementwise(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    let version = graph.opsets.version(&node.domain);
    let schema =
        version.and_then(|at| marquetry_ir::schema::lookup(&node.domain, &node.op_type, at));
    schema.is_some_and(|schema| schema.facts.elementwise()) || node.is_onnx("Constant")
}

/// The values a group reads from outside that are no constants.
pub(crate) fn open_inputs(group: &Group, graph: &Graph, types: &Types) -> Vec<ValueId> {
    let inner: Vec<ValueId> =
        group.nodes.iter().flat_map(|&node| graph.outputs(node)).flatten().collect();
    let read = group.nodes.iter().flat_map(|&node| graph.inputs(node)).flatten();
    let mut open: Vec<ValueId> =
        read.filter(|value| !inner.contains(value) && !types.is_constant(*value)).collect();
    open.sort_unstable();
    open.dedup();
    open
}
