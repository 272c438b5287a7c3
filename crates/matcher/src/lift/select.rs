//! Which nodes a piece of a graph has.

use std::collections::BTreeSet;

use marquetry_ir::{Graph, NodeId, ValueId};

use super::constants::Constants;
use super::{LiftError, Selection};

/// The nodes of a selection, in topological order, and the values that come out of them, the last one
/// first.
pub(super) struct Piece {
    pub(super) nodes: Vec<NodeId>,
    pub(super) outputs: Vec<ValueId>,
}

/// A graph with what selecting asks about it.
struct Selector<'a> {
    graph: &'a Graph,
    constants: &'a Constants,
    order: Vec<NodeId>,
    /// By [`NodeId::index`]: the position in `order`.
    position: Vec<usize>,
}

pub(super) fn select(
    graph: &Graph,
    constants: &Constants,
    selection: &Selection,
) -> Result<Piece, LiftError> {
    let order = graph.order().map_err(|_| LiftError::Cycle)?;
    let mut position = vec![0; graph.node_bound()];
    for (at, node) in order.iter().enumerate() {
        position[node.index()] = at;
    }
    let selector = Selector { graph, constants, order, position };
    let (nodes, last) = match selection {
        Selection::Between { from, to } => (selector.between(*from, *to)?, *to),
        Selection::At { node, depth } => (selector.above(*node, *depth), *node),
        Selection::Values { inputs, outputs } => return selector.values(inputs, outputs),
    };
    let mut outputs = selector.outputs(&nodes);
    // The search begins at the first output.
    let first = outputs.iter().position(|value| selector.producer(*value) == Some(last));
    let first = first.unwrap_or(outputs.len().saturating_sub(1));
    if !outputs.is_empty() {
        outputs[..=first].rotate_right(1);
    }
    Ok(Piece { nodes: selector.sorted(nodes), outputs })
}

impl Selector<'_> {
    fn producer(&self, value: ValueId) -> Option<NodeId> {
        self.graph.producer(value).map(|(node, _)| node)
    }

    /// The nodes that compute what a node reads; constants have none that counts.
    fn before(&self, node: NodeId) -> Vec<NodeId> {
        let mut read: Vec<ValueId> = self.graph.inputs(node).into_iter().flatten().collect();
        read.extend(self.graph.captures(node));
        read.retain(|value| !self.constants.contains(*value));
        read.into_iter().filter_map(|value| self.producer(value)).collect()
    }

    /// Whether all that a node computes is known before a run.
    fn is_constant(&self, node: NodeId) -> bool {
        let mut outputs = self.graph.outputs(node).into_iter().flatten();
        outputs.all(|value| self.constants.contains(value))
    }

    /// The nodes that read what a node computes.
    fn after(&self, node: NodeId) -> Vec<NodeId> {
        let outputs = self.graph.outputs(node).into_iter().flatten();
        outputs.flat_map(|value| self.graph.uses(value)).map(|entry| entry.node).collect()
    }

    fn sorted(&self, nodes: BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| self.position[node.index()]);
        nodes
    }

    /// All nodes on a path from one of `from` to one of `to`, both included.
    fn paths(&self, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let at = |nodes: &BTreeSet<NodeId>| -> Vec<usize> {
            nodes.iter().map(|node| self.position[node.index()]).collect()
        };
        let first = at(from).into_iter().min().unwrap_or(0);
        let last = at(to).into_iter().max().unwrap_or(0);
        let between = self.order.get(first..=last).unwrap_or(&[]);
        let mut below = from.clone();
        for &node in between {
            let reached = self.before(node).iter().any(|before| below.contains(before));
            if reached && !self.is_constant(node) {
                below.insert(node);
            }
        }
        let mut on = BTreeSet::new();
        for &node in between.iter().rev() {
            let leads = to.contains(&node) || self.after(node).iter().any(|node| on.contains(node));
            if leads && below.contains(&node) {
                on.insert(node);
            }
        }
        on
    }

    fn between(&self, from: NodeId, to: NodeId) -> Result<BTreeSet<NodeId>, LiftError> {
        let mut nodes = self.paths(&BTreeSet::from([from]), &BTreeSet::from([to]));
        if nodes.is_empty() {
            let name = |node| super::label(self.graph, node);
            return Err(LiftError::Apart { from: name(from), to: name(to) });
        }
        self.fill(&mut nodes);
        Ok(nodes)
    }

    /// Adds nodes beside the paths that only the piece uses, and that read nothing but what the piece
    /// reads: in `x · 0.5 · (1 + erf(x / √2))`, the product that no path from the quotient meets.
    fn fill(&self, nodes: &mut BTreeSet<NodeId>) {
        loop {
            let inputs: BTreeSet<ValueId> = self.inputs(nodes).into_iter().collect();
            let fits = |node: &NodeId| {
                let outputs: Vec<ValueId> =
                    self.graph.outputs(*node).into_iter().flatten().collect();
                let ours = |value: &ValueId| {
                    !self.graph.is_output(*value)
                        && self.graph.uses(*value).iter().all(|entry| nodes.contains(&entry.node))
                };
                let reads = self.graph.inputs(*node).into_iter().flatten();
                let mut reads = reads.filter(|value| !self.constants.contains(*value)).peekable();
                reads.peek().is_some()
                    && outputs.iter().all(ours)
                    && reads.all(|value| inputs.contains(&value))
                    && self.graph.captures(*node).is_empty()
            };
            let beside = inputs.iter().filter_map(|value| self.producer(*value));
            let found: Vec<NodeId> = beside.filter(fits).collect();
            if found.is_empty() {
                return;
            }
            nodes.extend(found);
        }
    }

    /// A node and what it is computed from, up to `depth` nodes away. Nodes from which a path leaves and
    /// comes back are left out.
    fn above(&self, node: NodeId, depth: u32) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::from([node]);
        let mut edge = vec![node];
        for _ in 0..depth {
            let before: Vec<NodeId> = edge.iter().flat_map(|node| self.before(*node)).collect();
            edge = before.into_iter().filter(|node| nodes.insert(*node)).collect();
        }
        loop {
            let whole = self.paths(&nodes, &nodes);
            let leaves = |node: &NodeId| {
                self.after(*node)
                    .iter()
                    .any(|after| whole.contains(after) && !nodes.contains(after))
            };
            let kept: BTreeSet<NodeId> =
                nodes.iter().copied().filter(|node| !leaves(node)).collect();
            if kept.len() == nodes.len() {
                return nodes;
            }
            // What is left hangs together through the last node.
            nodes = self.connected(node, &kept);
        }
    }

    /// The nodes of a set from which a path inside the set leads to `last`.
    fn connected(&self, last: NodeId, set: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::from([last]);
        let mut edge = vec![last];
        while let Some(node) = edge.pop() {
            let before = self.before(node).into_iter().filter(|node| set.contains(node));
            edge.extend(before.filter(|node| nodes.insert(*node)));
        }
        nodes
    }

    /// The nodes from which some values are computed, up to some others.
    fn values(&self, inputs: &[ValueId], outputs: &[ValueId]) -> Result<Piece, LiftError> {
        let name = |value: ValueId| self.graph.value(value).name().to_owned();
        let mut nodes = BTreeSet::new();
        let mut edge = outputs.to_vec();
        while let Some(value) = edge.pop() {
            if inputs.contains(&value) || self.constants.contains(value) {
                continue;
            }
            let Some(node) = self.producer(value) else {
                let value = self.crossing(inputs, outputs).unwrap_or(value);
                return Err(LiftError::MissingInput { value: name(value) });
            };
            if nodes.insert(node) {
                edge.extend(self.graph.inputs(node).into_iter().flatten());
                edge.extend(self.graph.captures(node));
            }
        }
        for value in self.outputs(&nodes) {
            if !outputs.contains(&value) {
                let user = self.graph.uses(value);
                let user = user.into_iter().find(|entry| !nodes.contains(&entry.node));
                let by = user.map(|entry| super::label(self.graph, entry.node));
                return Err(LiftError::Escapes { value: name(value), by });
            }
        }
        let whole = self.paths(&nodes, &nodes);
        if let Some(outside) = whole.difference(&nodes).next() {
            return Err(LiftError::NotConvex { node: super::label(self.graph, *outside) });
        }
        Ok(Piece { nodes: self.sorted(nodes), outputs: outputs.to_vec() })
    }

    /// A value that is read between `inputs` and `outputs` and does not come from `inputs`.
    fn crossing(&self, inputs: &[ValueId], outputs: &[ValueId]) -> Option<ValueId> {
        let users = inputs.iter().flat_map(|value| self.graph.uses(*value));
        let first: BTreeSet<NodeId> = users.map(|entry| entry.node).collect();
        let last: BTreeSet<NodeId> =
            outputs.iter().filter_map(|value| self.producer(*value)).collect();
        let between = self.paths(&first, &last);
        self.inputs(&between).into_iter().find(|value| !inputs.contains(value))
    }

    /// Values that the nodes read and do not compute, constants excepted, in the order of reading.
    fn inputs(&self, nodes: &BTreeSet<NodeId>) -> Vec<ValueId> {
        let mut inputs = Vec::new();
        for node in self.sorted(nodes.clone()) {
            for value in self.graph.inputs(node).into_iter().flatten() {
                let ours = self.producer(value).is_some_and(|node| nodes.contains(&node));
                if !ours && !self.constants.contains(value) && !inputs.contains(&value) {
                    inputs.push(value);
                }
            }
        }
        inputs
    }

    /// Values that the nodes compute and that others read, or that are outputs of the graph.
    fn outputs(&self, nodes: &BTreeSet<NodeId>) -> Vec<ValueId> {
        let mut outputs = Vec::new();
        for node in self.sorted(nodes.clone()) {
            for value in self.graph.outputs(node).into_iter().flatten() {
                let uses = self.graph.uses(value);
                let outside = uses.iter().any(|entry| !nodes.contains(&entry.node));
                if outside || self.graph.is_output(value) {
                    outputs.push(value);
                }
            }
        }
        outputs
    }
}
