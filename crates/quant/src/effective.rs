//! Whose grid a value lies on: its own quantizer's, or that of what was moved to make it.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, NodeId, Slot, ValueId};

use crate::element::is_quantizable;
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::policy::keeps_grid;
use crate::units::Units;

/// The way from a value back to the quantizer whose grid it lies on.
#[derive(Debug)]
pub(crate) struct Path {
    /// The value that has the quantizer.
    pub(crate) source: ValueId,
    /// The nodes between, which keep the grid.
    nodes: Vec<NodeId>,
}

impl Path {
    /// The way back from `value`: through data inputs of what keeps the grid, and nothing else.
    ///
    /// An operator that computes ends the search even where its result has no quantizer: what it
    /// read lies on another grid. So do integers, and so do parameters.
    pub(crate) fn back(
        graph: &Graph,
        types: &Types,
        units: &Units<'_>,
        plan: &Plan,
        value: ValueId,
    ) -> Option<Path> {
        let mut path = Path { source: value, nodes: Vec::new() };
        loop {
            if !is_float(types, path.source) {
                return None;
            }
            if let Some(site) = plan.get(path.source).filter(|site| site.enabled) {
                return (site.role == Role::Activation).then_some(path);
            }
            let (node, _) = graph.producer(path.source)?;
            let grouped = units.at(node).is_none_or(|(_, unit)| unit.group.is_some());
            if grouped || !moves(graph, types, node) {
                return None;
            }
            path.source = graph.input(node, 0)?;
            path.nodes.push(node);
        }
    }

    /// The units that read what lies on the way, in any output of what is passed; those on the way
    /// do not count.
    pub(crate) fn consumers(&self, graph: &Graph, units: &Units<'_>) -> BTreeSet<usize> {
        let mut consumers = BTreeSet::new();
        for value in self.values(graph) {
            consumers.extend(units.consumers(graph, value));
        }
        let on_the_way = self.nodes.iter().filter_map(|&node| units.at(node));
        on_the_way.for_each(|(at, _)| {
            consumers.remove(&at);
        });
        consumers
    }

    /// Whether something on the way leaves the graph.
    pub(crate) fn is_seen_outside(&self, graph: &Graph) -> bool {
        self.values(graph).into_iter().any(|value| graph.is_output(value))
    }

    /// The source, and every output of what is passed.
    fn values(&self, graph: &Graph) -> Vec<ValueId> {
        let passed = self.nodes.iter().flat_map(|&node| graph.outputs(node)).flatten();
        [self.source].into_iter().chain(passed).collect()
    }
}

/// The plan with a quantizer for everything that was moved, so that who reads it reads integers.
pub(crate) fn with_moved(graph: &Graph, types: &Types, units: &Units<'_>, plan: &Plan) -> Plan {
    let mut extended = plan.clone();
    for value in graph.values() {
        if plan.get(value).is_some_and(|site| site.enabled) {
            continue;
        }
        // A cast may lead to what QuantizeLinear does not take.
        if types.dtype(value).is_some_and(|element| !is_quantizable(element)) {
            continue;
        }
        let Some(path) = Path::back(graph, types, units, plan, value) else { continue };
        let Some(source) = plan.get(path.source).filter(|source| source.encoding.is_some()) else {
            continue;
        };
        let site = extended.place(value, || Quantizer::new(Role::Activation, source.spec));
        let readers = graph.uses(value);
        readers
            .into_iter()
            .filter(|reader| matches!(reader.slot, Slot::Input(_)))
            .for_each(|reader| site.add_reader(reader));
        site.spec = source.spec;
        site.output = graph.is_output(value);
        site.enabled = true;
        site.encoding.clone_from(&source.encoding);
        site.because.push(Reason::new("Export", "it has the grid of what was moved"));
    }
    extended
}

/// Whether a value holds floats, as far as types are known.
pub(crate) fn is_float(types: &Types, value: ValueId) -> bool {
    types.dtype(value).is_some_and(|dtype| dtype.is_float())
}

/// Whether the first output of a node lies on the grid of its first input.
fn moves(graph: &Graph, types: &Types, node: NodeId) -> bool {
    let content = graph.node(node);
    if content.is_onnx("Cast") {
        let both = [graph.input(node, 0), graph.output(node, 0)];
        return both.into_iter().all(|value| value.is_some_and(|value| is_float(types, value)));
    }
    content.is_onnx(&content.op_type) && keeps_grid(&content.op_type)
}
