use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::Direction::{Incoming, Outgoing};

use super::{Graph, NodeId, Vertex};

/// Nodes that need each other's results, each reading from the next and the last from the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} nodes need each other's results", nodes.len())]
pub struct Cycle {
    /// The nodes along the cycle.
    pub nodes: Vec<NodeId>,
}

impl Graph {
    /// The nodes in topological order, ties by id: file order wherever that is legal. Values that a
    /// body captures count as inputs of the node that holds the body.
    ///
    /// # Errors
    ///
    /// When nodes need each other's results.
    pub fn order(&self) -> Result<Vec<NodeId>, Cycle> {
        let mut waiting = vec![0_u32; self.node_bound()];
        let mut ready = BinaryHeap::new();
        for node in self.nodes() {
            let inputs = self.wiring.neighbors_directed(self.node_entry(node).vertex, Incoming);
            // One count per edge: a value read twice is released twice below.
            let computed = inputs
                .filter(|&value| self.wiring.neighbors_directed(value, Incoming).next().is_some());
            waiting[node.index()] =
                u32::try_from(computed.count()).expect("edges are counted in 32 bits");
            if waiting[node.index()] == 0 {
                ready.push(Reverse(node));
            }
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(Reverse(node)) = ready.pop() {
            order.push(node);
            for output in self.wiring.neighbors_directed(self.node_entry(node).vertex, Outgoing) {
                for reader in self.wiring.neighbors_directed(output, Outgoing) {
                    let Vertex::Node(reader) = self.wiring[reader] else { continue };
                    waiting[reader.index()] -= 1;
                    if waiting[reader.index()] == 0 {
                        ready.push(Reverse(reader));
                    }
                }
            }
        }
        match self.nodes().find(|node| waiting[node.index()] > 0) {
            None => Ok(order),
            Some(stuck) => Err(self.cycle_above(stuck, &waiting)),
        }
    }

    /// A cycle found by walking up from a node that never became ready: every such node has an input
    /// from another one, so the walk must meet itself.
    fn cycle_above(&self, stuck: NodeId, waiting: &[u32]) -> Cycle {
        let mut path = Vec::new();
        let mut position = vec![None; self.node_bound()];
        let mut node = stuck;
        loop {
            if let Some(start) = position[node.index()] {
                return Cycle { nodes: path.split_off(start) };
            }
            position[node.index()] = Some(path.len());
            path.push(node);
            let inputs = self.wiring.neighbors_directed(self.node_entry(node).vertex, Incoming);
            let producers =
                inputs.flat_map(|value| self.wiring.neighbors_directed(value, Incoming));
            let blocked = producers.filter_map(|vertex| match self.wiring[vertex] {
                Vertex::Node(producer) if waiting[producer.index()] > 0 => Some(producer),
                _ => None,
            });
            node = blocked.min().expect("a node that waits has an input from a node that waits");
        }
    }
}
