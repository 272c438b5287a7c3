//! Values and readers in the bodies of nodes.
//!
//! A plan speaks about values of the main graph. For a value of a body, a value of the main graph that
//! nobody computes stands in: it has the quantizer, and a [`Spot`] says where it belongs.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Graph, Kind, Node, NodeId, Slot, Use, ValueId};

use crate::kernel;

/// The way to a body: nodes from outside in, with the number of the body in each.
pub type Way = Vec<(NodeId, usize)>;

/// The way to the graph that defines a value, and the value there.
pub(crate) type Origin = (Way, ValueId);

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

/// The bodies of a node, with the names of the attributes that hold them.
pub(crate) fn named_bodies(node: &Node) -> impl Iterator<Item = (&str, &Graph)> {
    node.attributes.iter().flat_map(|attribute| {
        attribute.value.graphs().iter().map(|body| (attribute.name.as_str(), body))
    })
}

/// What is known of the values there.
pub(crate) fn types<'t>(types: &'t Types, way: &[(NodeId, usize)]) -> Option<&'t Types> {
    way.iter().try_fold(types, |types, &(node, body)| types.body(node, body))
}

/// How a node is called in reasons, with the bodies it is in.
pub(crate) fn label(graph: &Graph, way: &[(NodeId, usize)], node: NodeId) -> String {
    match way.split_last() {
        None => kernel::label(graph, node),
        Some((&(holder, at), around)) => {
            let body =
                body(graph, around).and_then(|graph| named_bodies(graph.node(holder)).nth(at));
            let (name, body) = body.expect("ways lead to bodies of the model");
            let holder = label(graph, around, holder);
            format!("{} in {name} of {holder}", kernel::label(body, node))
        }
    }
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
fn resolve(graph: &Graph, way: &[(NodeId, usize)], name: &str) -> Option<(usize, ValueId)> {
    (0..way.len()).rev().find_map(|depth| {
        let around = body(graph, &way[..depth])?;
        let value = around.find(name)?;
        (!is_captured(around, value)).then_some((depth, value))
    })
}

/// Where a value of the graph at a way is defined; nothing where no graph around defines it.
pub(crate) fn origin(graph: &Graph, way: &[(NodeId, usize)], value: ValueId) -> Option<Origin> {
    // Groups remember constants that were moved since, of which a body holds nothing any more.
    let here = body(graph, way).filter(|here| here.has_value(value))?;
    if way.is_empty() || !is_captured(here, value) {
        return Some((way.to_vec(), value));
    }
    let (depth, outer) = resolve(graph, way, here.value(value).name())?;
    Some((way[..depth].to_vec(), outer))
}

/// Whether a graph around defines a value, whether that was found out yet or not.
fn is_captured(graph: &Graph, value: ValueId) -> bool {
    match graph.value(value).kind {
        Kind::Captured => true,
        Kind::Computed => graph.producer(value).is_none(),
        _ => false,
    }
}

/// The inputs of nodes that read a value of the graph at a way, at any depth; nothing where a body
/// gives it on as its own output.
pub(crate) fn readers(
    graph: &Graph,
    way: &[(NodeId, usize)],
    value: ValueId,
) -> Option<Vec<Inside>> {
    let here = body(graph, way)?;
    let name = here.value(value).name();
    let mut found = Vec::new();
    for reader in here.uses(value) {
        if reader.slot != Slot::Capture {
            found.push(Inside { way: way.to_vec(), reader });
            continue;
        }
        for (at, inner) in here.node(reader.node).bodies().enumerate() {
            let Some(read) = inner.find(name).filter(|&read| is_captured(inner, read)) else {
                continue;
            };
            if inner.is_output(read) {
                return None;
            }
            let way = [way, &[(reader.node, at)]].concat();
            found.extend(readers(graph, &way, read)?);
        }
    }
    Some(found)
}

/// How many graphs of a model define a value of each name.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<String, usize>);

impl Names {
    /// Those of a graph and the bodies in it.
    pub(crate) fn of(graph: &Graph) -> Names {
        let mut names = Names::default();
        names.count(graph);
        names
    }

    fn count(&mut self, graph: &Graph) {
        for value in graph.values().map(|value| graph.value(value)) {
            if value.kind != Kind::Captured {
                *self.0.entry(value.name().to_owned()).or_default() += 1;
            }
        }
        for node in graph.nodes() {
            graph.node(node).bodies().for_each(|body| self.count(body));
        }
    }

    /// Whether no graph defines a value of this name.
    pub(crate) fn is_free(&self, name: &str) -> bool {
        !self.0.contains_key(name)
    }

    /// A name for what stands in the main graph for a value `base` of a body: the name itself where only
    /// the body has it, or one with a number.
    pub(crate) fn lift(&mut self, base: &str) -> String {
        let name = match self.0.get(base) {
            Some(1) => base.to_owned(),
            _ => (1_u64..)
                .map(|number| format!("{base}_{number}"))
                .find(|name| self.is_free(name))
                .expect("numbers do not run out"),
        };
        self.take(&name);
        name
    }

    /// Lets nobody else have a name from now on.
    pub(crate) fn take(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 2;
    }
}
