//! What a person calls a place of a model.

use marquetry_ir::{NodeId, ValueId};

use super::Why;
use crate::found::PlaceId;
use crate::index::{Index, NodeRow, ValueRow};

/// A place in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A node of a graph.
    Node(PlaceId, NodeId),
    /// A value of a graph.
    Value(PlaceId, ValueId),
}

/// A name that leads nowhere, or to several places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlocated {
    /// No node and no value is called so.
    #[error("no node or value is called `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that are close to it, the closest first.
        similar: Vec<String>,
    },
    /// No node has this operator.
    #[error("no node is of operator `{operator}`")]
    NoSuchOperator {
        /// The operator.
        operator: String,
        /// The operators of the model.
        known: Vec<String>,
    },
    /// Several nodes are meant.
    #[error("{count} nodes are meant by `{name}`")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
        /// Some of them.
        some: Vec<String>,
    },
}

impl Unlocated {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::NoSuchOperator { .. } => "unknown_node",
            Self::Ambiguous { .. } => "ambiguous_node",
        }
    }
}

/// Names that are offered.
const OFFERED: usize = 3;

impl Why<'_> {
    /// The place that a name means: of a node, of a value, or of the only node of an operator, as in
    /// `op:Sqrt`. A node comes before a value of the same name.
    ///
    /// # Errors
    ///
    /// With what to write instead.
    pub fn locate(&self, name: &str) -> Result<At, Unlocated> {
        let index = self.index();
        if let Some(operator) = name.strip_prefix("op:") {
            return by_operator(&index, operator);
        }
        let named = |row: &NodeRow| index.node_name(*row) == name;
        let nodes: Vec<NodeRow> = index.all_nodes().filter(named).collect();
        match nodes[..] {
            [] => {}
            [node] => return Ok(At::Node(index.place(node), index.id(node))),
            _ => return Err(ambiguous(&index, name, &nodes)),
        }
        let value = index.all_values().find(|value| index.value_name(*value) == name);
        if let Some(value) = value {
            return Ok(At::Value(index.value_place(value), index.value_id(value)));
        }
        Err(Unlocated::Unknown { name: name.to_owned(), similar: similar(&index, name) })
    }
}

fn by_operator(index: &Index<'_>, operator: &str) -> Result<At, Unlocated> {
    let (domain, name) = operator.rsplit_once('.').unwrap_or(("", operator));
    let nodes = index.operator_named(domain, name).map(|row| index.nodes_of(row));
    match nodes.unwrap_or_default() {
        [] => {
            let rows = (0..index.operator_count()).map(|row| index.operator_at(row));
            let mut known: Vec<_> = rows.map(|row| index.operator_name(row).1.to_owned()).collect();
            known.sort();
            Err(Unlocated::NoSuchOperator { operator: operator.to_owned(), known })
        }
        [node] => Ok(At::Node(index.place(*node), index.id(*node))),
        nodes => Err(ambiguous(index, &format!("op:{operator}"), nodes)),
    }
}

fn ambiguous(index: &Index<'_>, name: &str, nodes: &[NodeRow]) -> Unlocated {
    let called = |node: &NodeRow| {
        let name = index.node_name(*node);
        let result = index.outputs(*node).iter().flatten().next();
        match result {
            // A name that does not tell them apart is none.
            Some(value)
                if name.is_empty()
                    || nodes.iter().filter(|other| index.node_name(**other) == name).count()
                        > 1 =>
            {
                index.value_name(*value).to_owned()
            }
            _ => name.to_owned(),
        }
    };
    let some = nodes.iter().take(OFFERED).map(called).collect();
    Unlocated::Ambiguous { name: name.to_owned(), count: nodes.len(), some }
}

/// Names that end alike or differ in few letters: people type the end of a long path.
fn similar(index: &Index<'_>, name: &str) -> Vec<String> {
    let nodes = index.all_nodes().map(|node| index.node_name(node));
    let values = index.all_values().map(|value| index.value_name(value));
    let lower = name.to_lowercase();
    let distance = |known: &str| {
        let known = known.to_lowercase();
        if known.ends_with(&lower) {
            return Some(0);
        }
        // The distance is quadratic in the length; names that are much longer cannot be close.
        let limit = (name.chars().count() / 3).max(1);
        if known.chars().count().abs_diff(name.chars().count()) > limit {
            return known.contains(&lower).then_some(limit);
        }
        let letters = strsim::osa_distance(&known, &lower);
        (letters <= limit).then_some(letters + 1)
    };
    let mut close: Vec<(usize, &str)> = nodes
        .chain(values)
        .filter(|known| !known.is_empty())
        .filter_map(|known| Some((distance(known)?, known)))
        .collect();
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

impl At {
    /// The graph, the node, and the value where it is one that no node of the graph computes, or a
    /// constant that several may read.
    pub(super) fn rows(self, index: &Index<'_>) -> (PlaceId, Option<NodeRow>, Option<ValueRow>) {
        match self {
            Self::Node(place, node) => (place, index.node_row(place, node), None),
            Self::Value(place, value) => {
                let row = index.value_row(place, value);
                let computed = row.filter(|row| !index.is_constant(*row));
                let node = computed.and_then(|row| index.producer(row)).map(|(node, _)| node);
                (place, node, if node.is_some() { None } else { row })
            }
        }
    }
}
