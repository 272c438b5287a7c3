//! A model without bodies, for decisions: what is in the bodies of If, Loop and Scan stands beside what
//! holds them.
//!
//! Rules that speak about nodes and their neighbours then hold across the borders of bodies. Nothing is
//! ever computed with such a graph: where a body begins and ends stands an operator that only says what is
//! handed over. Its values are those of the main graph and the stand-ins of the plan, so that a plan
//! for one graph is a plan for the other, up to who reads what.

use std::borrow::Cow;
use std::collections::BTreeMap;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{AttributeValue, Graph, GraphError, Kind, Node, NodeId, Slot, Use, ValueId};
use marquetry_matcher::{Bound, Groups, Hint, Place, PlaceId};

use crate::inside::{self, Inside, Names, Origin, Way};
use crate::pass::shows;
use crate::plan::{Plan, Role};

/// The domain of what stands where a body begins or ends.
const DOMAIN: &str = "marquetry.flat";

/// A model without bodies.
pub(crate) struct Flat<'a> {
    /// The nodes of the main graph have the same numbers.
    pub(crate) graph: Cow<'a, Graph>,
    pub(crate) types: Cow<'a, Types>,
    pub(crate) groups: Cow<'a, Groups>,
    /// What bodies are handed and hand on.
    pub(crate) joins: Vec<Join>,
    main: &'a Graph,
    /// Nodes here that are no nodes of the main graph, or read less there.
    seats: BTreeMap<NodeId, Seat>,
    /// Who reads here what a node reads there.
    readers: BTreeMap<(Way, NodeId), NodeId>,
}

/// Values that are one at the border of a body.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// The operator that holds the body, where it ends.
    pub(crate) node: NodeId,
    pub(crate) kind: JoinKind,
    /// What comes in; of a state first what it starts from, then what each turn gives.
    pub(crate) from: Vec<ValueId>,
    /// What goes on; of a state first what each turn reads, then what comes out in the end.
    pub(crate) to: Vec<ValueId>,
}

/// How values meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// The outputs of branches become one of an If.
    Branches,
    /// A state is handed from one turn to the next, and out of the loop in the end.
    Carried,
    /// A turn reads a part of what a scan reads.
    Slices,
    /// What turns give is stacked.
    Stacked,
}

/// A node where it really is.
struct Seat {
    way: Way,
    node: NodeId,
    /// The inputs that it has there.
    inputs: usize,
}

impl<'a> Flat<'a> {
    /// The model as it is: nobody looks into bodies.
    pub(crate) fn closed(main: &'a Graph, types: &'a Types, groups: &'a Groups) -> Flat<'a> {
        Flat {
            graph: Cow::Borrowed(main),
            types: Cow::Borrowed(types),
            groups: Cow::Borrowed(groups),
            joins: Vec::new(),
            main,
            seats: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// The model with its bodies written out, as far as what they compute can be observed.
    pub(crate) fn of(
        main: &'a Graph,
        types: &'a Types,
        groups: &'a Groups,
        plan: &Plan,
    ) -> Result<Flat<'a>, GraphError> {
        let flat = Flat::closed(main, types, groups);
        let holders: Vec<NodeId> =
            main.nodes().filter(|&node| opens(main, types, &[], node)).collect();
        if holders.is_empty() {
            return Ok(flat);
        }
        let mut names = Names::of(main);
        let mut build = Build {
            graph: main.clone(),
            types,
            values: plan.stand_ins(),
            names: &mut names,
            nodes: BTreeMap::new(),
            flat,
        };
        for value in main.values() {
            build.graph.value_mut(value).ty = types.ty(value).cloned();
        }
        for holder in holders {
            build.holder(&Way::new(), holder, holder)?;
        }
        let Build { graph, values, nodes, mut flat, .. } = build;
        flat.types = Cow::Owned(infer::run_graph(&graph));
        flat.graph = Cow::Owned(graph);
        flat.groups = Cow::Owned(moved_groups(groups, main, &values, &nodes));
        Ok(flat)
    }

    /// How a node is called in reasons, with the bodies it is in.
    pub(crate) fn label(&self, node: NodeId) -> String {
        let (way, node) = self.place(node);
        inside::label(self.main, way, node)
    }

    /// Where a node really is.
    pub(crate) fn place(&self, node: NodeId) -> (&[(NodeId, usize)], NodeId) {
        match self.seats.get(&node) {
            Some(seat) => (&seat.way, seat.node),
            None => (&[], node),
        }
    }

    /// The node here that reads what a node of a body does.
    pub(crate) fn of_body(&self, way: &Way, node: NodeId) -> Option<NodeId> {
        self.readers.get(&(way.clone(), node)).copied()
    }

    /// A plan for the model as one for this graph.
    pub(crate) fn enter(&self, mut plan: Plan) -> Plan {
        if self.seats.is_empty() {
            return plan;
        }
        for (_, site) in plan.sites_mut() {
            let readers = std::mem::take(&mut site.readers);
            let inner = std::mem::take(&mut site.inside);
            for Use { node, slot } in readers {
                let flat = self.readers.get(&(Way::new(), node));
                match (flat, slot) {
                    // Its readers in the bodies come by themselves.
                    (Some(_), Slot::Capture) => {}
                    (Some(&node), slot) => site.add_reader(Use { node, slot }),
                    (None, slot) => site.add_reader(Use { node, slot }),
                }
            }
            for one in inner {
                match self.readers.get(&(one.way.clone(), one.reader.node)) {
                    Some(&node) => site.add_reader(Use { node, slot: one.reader.slot }),
                    None => site.add_inside(one),
                }
            }
        }
        plan
    }

    /// A plan for this graph as one for the model.
    pub(crate) fn leave(&self, mut plan: Plan) -> Plan {
        if self.seats.is_empty() {
            return plan;
        }
        let spots = plan.spots().clone();
        plan.retain(|value| spots.contains_key(&value) || self.main.has_value(value));
        for (value, site) in plan.sites_mut() {
            for Use { node, slot } in std::mem::take(&mut site.readers) {
                let Some(seat) = self.seats.get(&node) else {
                    site.add_reader(Use { node, slot });
                    continue;
                };
                // Further inputs say what bodies hand over: nobody reads them.
                if !matches!(slot, Slot::Input(at) if (at as usize) < seat.inputs) {
                    continue;
                }
                let reader = Use { node: seat.node, slot };
                match seat.way.is_empty() {
                    true => site.add_reader(reader),
                    false => site.add_inside(Inside { way: seat.way.clone(), reader }),
                }
            }
            if let Some(spot) = spots.get(&value) {
                let body = inside::body(self.main, &spot.way);
                site.output = site.role == Role::Activation
                    && body.is_some_and(|body| {
                        body.is_output(spot.value) && body.producer(spot.value).is_some()
                    });
            }
        }
        plan
    }
}

/// Whether a node holds bodies whose values can be observed.
pub(crate) fn opens(main: &Graph, types: &Types, way: &[(NodeId, usize)], node: NodeId) -> bool {
    let Some(graph) = inside::body(main, way) else { return false };
    let count = graph.node(node).bodies().count();
    let wanted = match graph.node(node).op_type.as_str() {
        "If" => 2,
        _ => 1,
    };
    let inner = [way, &[(node, 0)]].concat();
    count == wanted && shows(main, &inner) && inside::types(types, &inner).is_some()
}

struct Build<'a, 'n> {
    graph: Graph,
    types: &'a Types,
    /// The values here of values in bodies.
    values: BTreeMap<Origin, ValueId>,
    names: &'n mut Names,
    nodes: BTreeMap<(Way, NodeId), NodeId>,
    flat: Flat<'a>,
}

impl Build<'_, '_> {
    /// Writes out the bodies of a node, which is `here` in this graph.
    fn holder(&mut self, way: &Way, holder: NodeId, here: NodeId) -> Result<(), GraphError> {
        let main = self.flat.main;
        let around = inside::body(main, way).expect("ways lead to bodies of the model");
        let content = around.node(holder);
        let inputs = self.graph.inputs(here);
        let outputs = self.graph.outputs(here);
        let seat = |inputs| Seat { way: way.clone(), node: holder, inputs };
        self.graph.edit_bodies(here, |body| *body = Graph::new("", body.opsets.clone()));
        let node = self.graph.node_mut(here);
        node.attributes.clear();
        DOMAIN.clone_into(&mut node.domain);
        let join = |kind, from: &[Option<ValueId>], to: &[Option<ValueId>]| Join {
            node: here,
            kind,
            from: from.iter().copied().flatten().collect(),
            to: to.iter().copied().flatten().collect(),
        };
        if content.op_type == "If" {
            let mut given = Vec::new();
            for at in 0..2 {
                given.push(self.body(&[&way[..], &[(holder, at)]].concat())?);
            }
            self.flat.seats.insert(here, seat(inputs.len()));
            self.flat.readers.insert((way.clone(), holder), here);
            for (slot, value) in given.iter().flatten().enumerate() {
                self.graph.set_input(here, inputs.len() + slot, *value);
            }
            for (slot, output) in outputs.iter().enumerate() {
                let from: Vec<_> =
                    given.iter().filter_map(|branch| branch.get(slot).copied()).collect();
                self.flat.joins.push(join(JoinKind::Branches, &from, &[*output]));
            }
            return Ok(());
        }
        let inner = [&way[..], &[(holder, 0)]].concat();
        let body = inside::body(main, &inner).expect("it was looked for");
        let read: Vec<Option<ValueId>> =
            body.inputs.iter().map(|&value| self.value(&inner, value)).collect();
        let mut start = Node::new(DOMAIN, &content.op_type);
        start.name.clone_from(&content.name);
        let start = self.graph.add_node(start, &inputs, &read)?;
        let given = self.body(&inner)?;
        self.graph.truncate_inputs(here, 0);
        for (slot, value) in given.iter().enumerate() {
            self.graph.set_input(here, slot, *value);
        }
        self.flat.seats.insert(start, seat(inputs.len()));
        self.flat.seats.insert(here, seat(0));
        self.flat.readers.insert((way.clone(), holder), start);
        // A loop also counts, and asks whether to go on.
        let scanned = content.attribute("num_scan_inputs").and_then(AttributeValue::as_int);
        let (skip, ahead, states) = match content.op_type.as_str() {
            "Loop" => (2, 1, inputs.len().saturating_sub(2)),
            _ => {
                let scanned = usize::try_from(scanned.unwrap_or_default()).unwrap_or(0);
                (0, 0, inputs.len().saturating_sub(scanned))
            }
        };
        let given = given.get(ahead..).unwrap_or_default();
        let (read, inputs) =
            (read.get(skip..).unwrap_or_default(), inputs.get(skip..).unwrap_or_default());
        for (at, (&read, &input)) in read.iter().zip(inputs).enumerate() {
            let one = match at < states {
                true => {
                    let of = |list: &[Option<ValueId>]| list.get(at).copied().flatten();
                    join(JoinKind::Carried, &[input, of(given)], &[read, of(&outputs)])
                }
                false => join(JoinKind::Slices, &[input], &[read]),
            };
            self.flat.joins.push(one);
        }
        for (&given, &output) in given.iter().zip(&outputs).skip(states) {
            self.flat.joins.push(join(JoinKind::Stacked, &[given], &[output]));
        }
        Ok(())
    }

    /// Writes out a body; what it gives.
    fn body(&mut self, way: &Way) -> Result<Vec<Option<ValueId>>, GraphError> {
        let main = self.flat.main;
        let body = inside::body(main, way).expect("it was looked for");
        for node in body.nodes() {
            let content = body.node(node);
            let mut inputs: Vec<Option<ValueId>> = body
                .inputs(node)
                .into_iter()
                .map(|value| value.and_then(|value| self.value(way, value)))
                .collect();
            let outputs: Vec<Option<ValueId>> = body
                .outputs(node)
                .into_iter()
                .map(|value| value.and_then(|value| self.value(way, value)))
                .collect();
            let count = inputs.len();
            let holds = content.bodies().next().is_some();
            let mut copy = content.clone();
            if holds {
                copy.attributes.clear();
                DOMAIN.clone_into(&mut copy.domain);
            }
            let open = opens(main, self.types, way, node);
            if holds && !open {
                // It is not looked into, and yet reads what its bodies do.
                for value in body.captures(node) {
                    inputs.push(self.value(way, value));
                }
            }
            let here = self.graph.add_node(copy, &inputs, &outputs)?;
            self.nodes.insert((way.clone(), node), here);
            match open {
                true => self.holder(way, node, here)?,
                false => {
                    self.flat.seats.insert(here, Seat { way: way.clone(), node, inputs: count });
                    self.flat.readers.insert((way.clone(), node), here);
                }
            }
        }
        Ok(body.outputs.iter().map(|&value| self.value(way, value)).collect())
    }

    /// The value here of one that a body knows.
    fn value(&mut self, way: &Way, value: ValueId) -> Option<ValueId> {
        let main = self.flat.main;
        let (at, value) = inside::origin(main, way, value)?;
        if at.is_empty() {
            return Some(value);
        }
        let body = inside::body(main, &at)?;
        let ty = inside::types(self.types, &at).and_then(|types| types.ty(value)).cloned();
        let origin = (at, value);
        let here = match self.values.get(&origin) {
            Some(&here) => here,
            None => {
                let name = self.names.lift(body.value(value).name());
                let here = self.graph.add_value(&name, None).ok()?;
                self.values.insert(origin, here);
                here
            }
        };
        let entry = body.value(value);
        let known = self.graph.value(here);
        if known.ty.is_none() {
            self.graph.value_mut(here).ty = ty;
        }
        if let Some(constant) = body.initializer(value)
            && self.graph.value(here).constant.is_none()
            && entry.kind == Kind::Initializer
        {
            self.graph.set_initializer(here, constant.clone());
        }
        Some(here)
    }
}

/// The groups of the main graph and of the bodies that were written out, as those of one graph.
fn moved_groups(
    groups: &Groups,
    main: &Graph,
    values: &BTreeMap<Origin, ValueId>,
    nodes: &BTreeMap<(Way, NodeId), NodeId>,
) -> Groups {
    let mut moved = groups.clone();
    moved.groups.retain_mut(|group| {
        let Some(way) = way_of(groups, group.place) else { return false };
        if way.is_empty() {
            return true;
        }
        let value = |value: &ValueId| -> Option<ValueId> {
            // Constants that moved have other names than when groups were found, and the same numbers.
            let (at, value) = inside::origin(main, &way, *value)?;
            if at.is_empty() { Some(value) } else { values.get(&(at, value)).copied() }
        };
        let Some(&anchor) = nodes.get(&(way.clone(), group.anchor)) else { return false };
        group.place = PlaceId::MAIN;
        group.anchor = anchor;
        // A constant that moved has no node any more.
        let node = |node: &NodeId| nodes.get(&(way.clone(), *node)).copied();
        group.nodes = group.nodes.iter().filter_map(node).collect();
        for list in [&mut group.outputs, &mut group.interior, &mut group.constants] {
            *list = list.iter().filter_map(value).collect();
        }
        for binding in &mut group.bindings {
            rebind(&mut binding.bound, &value);
        }
        group.hints = group.hints.iter().filter_map(|hint| moved_hint(hint, &value)).collect();
        true
    });
    moved
}

fn rebind(bound: &mut Bound, value: &dyn Fn(&ValueId) -> Option<ValueId>) {
    match bound {
        Bound::Value(at) => *bound = value(at).map_or(Bound::Absent, Bound::Value),
        Bound::List(list) => list.iter_mut().for_each(|one| rebind(one, value)),
        _ => {}
    }
}

fn moved_hint(hint: &Hint, value: &dyn Fn(&ValueId) -> Option<ValueId>) -> Option<Hint> {
    let mut hint = hint.clone();
    match &mut hint {
        Hint::Skip(at)
        | Hint::Quantize(at)
        | Hint::Symmetric(at)
        | Hint::PerChannel { value: at, .. }
        | Hint::Range { value: at, .. }
        | Hint::Tag { value: at, .. } => *at = value(at)?,
        Hint::Share(list) => *list = list.iter().filter_map(value).collect(),
        Hint::Bias { bias, of } => {
            *bias = value(bias)?;
            *of = of.iter().filter_map(value).collect();
        }
    }
    Some(hint)
}

/// The way to the graph of a place; none to a function.
fn way_of(groups: &Groups, place: PlaceId) -> Option<Way> {
    match groups.places.get(place.index())? {
        Place::Main => Some(Way::new()),
        Place::Body { parent, node, body } => {
            let mut way = way_of(groups, *parent)?;
            way.push((*node, *body));
            Some(way)
        }
        _ => None,
    }
}
