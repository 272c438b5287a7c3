//! Values and readers in the bodies of nodes.
//!
//! A plan speaks about values of the main graph. For a value of a body, a value of the main graph that
//! nobody computes stands in: it has the quantizer, and a [`Spot`] says where it belongs.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Graph, Kind, NodeId, Use, ValueId};

/// The way to a body: nodes from outside in, with the number of the body in each.
pub type Way = Vec<(NodeId, usize)>;

/// A value of a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The body; not the main graph.
    pub way: Way,
    /// The value there.
    pub value: ValueId,
}

/// A reader in a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inside {
    /// The body; not the main graph.
    pub way: Way,
    /// Who reads there.
    pub reader: Use,
}

impl Inside {
    /// The node of the main graph that holds the body, at any depth.
    pub fn holder(&self) -> Option<NodeId> {
        self.way.first().map(|(node, _)| *node)
    }
}

/// The body at the end of a way.
pub(crate) fn body<'g>(graph: &'g Graph, way: &[(NodeId, usize)]) -> Option<&'g Graph> {
    way.iter().try_fold(graph, |graph, &(node, body)| graph.node(node).bodies().nth(body))
}

/// What is known of the values there.
pub(crate) fn types<'t>(types: &'t Types, way: &[(NodeId, usize)]) -> Option<&'t Types> {
    way.iter().try_fold(types, |types, &(node, body)| types.body(node, body))
}

/// The body at the end of a way, to change it. What is captured has to be found anew in the end
/// ([`settle`]): half of a change may read what nobody defines yet.
pub(crate) fn body_mut<'g>(
    mut graph: &'g mut Graph,
    way: &[(NodeId, usize)],
) -> Option<&'g mut Graph> {
    for &(node, wanted) in way {
        let attributes = graph.node_mut(node).attributes.iter_mut();
        let mut bodies = attributes.flat_map(|attribute| match &mut attribute.value {
            AttributeValue::Graph(graph) => std::slice::from_mut(&mut **graph),
            AttributeValue::Graphs(graphs) => graphs.as_mut_slice(),
            _ => &mut [],
        });
        graph = bodies.nth(wanted)?;
    }
    Some(graph)
}

/// Drops what nobody reads any more in the bodies on these ways, and finds anew what is captured.
pub(crate) fn settle(graph: &mut Graph, ways: &BTreeSet<Way>) {
    let holders: BTreeSet<NodeId> = ways.iter().filter_map(|way| Some(way.first()?.0)).collect();
    for holder in holders {
        let mut at = 0;
        graph.edit_bodies(holder, |body| {
            let here = ways.iter().filter(|way| way.first() == Some(&(holder, at)));
            let inner: BTreeSet<Way> = here.map(|way| way[1..].to_vec()).collect();
            if !inner.is_empty() {
                settle(body, &inner);
                body.drop_unused();
            }
            at += 1;
        });
    }
}

/// The graph around a body that defines what the body reads under a name: how far along the way it is,
/// and the value there.
pub(crate) fn resolve(
    graph: &Graph,
    way: &[(NodeId, usize)],
    name: &str,
) -> Option<(usize, ValueId)> {
    (0..way.len()).rev().find_map(|depth| {
        let around = body(graph, &way[..depth])?;
        let value = around.find(name)?;
        let open = around.value(value).kind == Kind::Captured
            || around.value(value).kind == Kind::Computed && around.producer(value).is_none();
        (!open).then_some((depth, value))
    })
}
