//! Kernels in the bodies of If, Loop and Scan.
//!
//! What flows in a body is not observed, but a weight is all there is to see of it: it is moved to
//! the main graph, from which the body reads it by name, and is quantized there. A loop then makes it
//! float once, and not in every turn.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, Kind, Node, NodeId, Slot, Tensor, ValueId};
use marquetry_matcher::{Groups, Place, PlaceId};

use crate::element::is_quantizable;
use crate::kernel::{DATA, WEIGHT, label};
use crate::policy::Kernels;
use crate::seal::Seals;

/// What was found in bodies.
#[derive(Default)]
pub(super) struct Bodies {
    /// The kernels whose weights the main graph holds, in order of the nodes.
    pub(super) raised: Vec<Raised>,
    /// The kernels that stay in float, with the reasons.
    pub(super) left: Vec<String>,
}

/// A kernel in a body, with its weight in the main graph.
pub(super) struct Raised {
    /// The node of the main graph whose body it is in, at any depth.
    pub(super) holder: NodeId,
    /// The kernel, without its inputs.
    pub(super) kernel: Node,
    /// How it is called in reasons.
    pub(super) label: String,
    pub(super) weight: ValueId,
}

/// Moves the weights of kernels in bodies to the main graph.
pub(super) fn raise(graph: &mut Graph, groups: &Groups, types: &Types, rules: &Kernels) -> Bodies {
    let mut bodies = Bodies::default();
    let mut names = BTreeMap::new();
    count_names(graph, &mut names);
    let holders: Vec<NodeId> = graph.nodes().filter(|&node| holds_bodies(graph, node)).collect();
    for holder in holders {
        // Captured from the main graph under this name, and read as a weight alone.
        let captured = graph.captures(holder).into_iter().filter(|&value| {
            let node = graph.node(holder);
            types.is_constant(value)
                && types.dtype(value).is_some_and(is_quantizable)
                && node.bodies().all(|body| only_weight(body, graph.value(value).name(), rules))
        });
        let captured = captured.map(|value| graph.value(value).name().to_owned()).collect();
        let here = label(graph, holder);
        let mut search = Search {
            rules,
            groups,
            captured,
            names: &mut names,
            raised: Vec::new(),
            constants: Vec::new(),
            left: &mut bodies.left,
        };
        search.bodies(graph, types, Some(PlaceId::MAIN), holder, &here);
        let Search { raised, constants, .. } = search;
        for (name, constant) in constants {
            let value = graph.value_named(&name);
            graph.set_initializer(value, constant);
        }
        for (name, kernel, label) in raised {
            let weight = graph.find(&name).expect("what bodies capture is a value around them");
            bodies.raised.push(Raised { holder, kernel, label, weight });
        }
    }
    if !bodies.raised.is_empty() {
        graph.resolve_captures();
    }
    bodies
}

struct Search<'a> {
    rules: &'a Kernels,
    groups: &'a Groups,
    /// Constants of the main graph that can be quantized for the bodies.
    captured: BTreeSet<String>,
    /// How many graphs have a value of this name that they define.
    names: &'a mut BTreeMap<String, usize>,
    /// Kernels with the names of their weights.
    raised: Vec<(String, Node, String)>,
    /// What the main graph is to hold.
    constants: Vec<(String, Tensor)>,
    left: &'a mut Vec<String>,
}

impl Search<'_> {
    fn bodies(
        &mut self,
        graph: &mut Graph,
        types: &Types,
        parent: Option<PlaceId>,
        node: NodeId,
        here: &str,
    ) {
        let names = graph.node(node).attributes.iter().flat_map(|attribute| {
            std::iter::repeat_n(attribute.name.clone(), attribute.value.graphs().len())
        });
        let names: Vec<String> = names.collect();
        let mut at = 0;
        graph.edit_bodies(node, |body| {
            if let Some(types) = types.body(node, at) {
                // Without a place there are no groups either.
                let place = parent
                    .and_then(|parent| self.groups.place(Place::Body { parent, node, body: at }));
                let here = format!("{} of {here}", names[at]);
                self.body(body, types, place, &here);
            }
            at += 1;
        });
    }

    fn body(&mut self, body: &mut Graph, types: &Types, place: Option<PlaceId>, here: &str) {
        let seals = place.map(|place| Seals::within(self.groups, place, body));
        let nodes: Vec<NodeId> = body.nodes().collect();
        // A weight of several kernels is moved once.
        let mut moved: BTreeMap<ValueId, String> = BTreeMap::new();
        for &node in &nodes {
            if !is_kernel(body, node, self.rules) {
                continue;
            }
            let kernel = format!("{} in {here}", label(body, node));
            let name = match self.weight(body, types, seals.as_ref(), node) {
                Ok((weight, _)) if moved.contains_key(&weight) => moved[&weight].clone(),
                Ok((weight, None)) => body.value(weight).name().to_owned(),
                Ok((weight, Some(constant))) => {
                    let name = self.fresh(body.value(weight).name());
                    moved.insert(weight, name.clone());
                    self.constants.push((name.clone(), constant));
                    name
                }
                Err(why) => {
                    self.left.push(format!("{kernel} stays in float: {why}"));
                    continue;
                }
            };
            self.raised.push((name, body.node(node).clone(), kernel));
        }
        for (&value, name) in &moved {
            body.capture(value, name).expect("the name is new to all graphs, or its own");
        }
        let dead = |&node: &NodeId| {
            body.node(node).is_onnx("Constant") && body.outputs(node).iter().all(Option::is_none)
        };
        let dead: Vec<NodeId> = body.nodes().filter(dead).collect();
        body.remove_nodes(&dead);
        for node in nodes {
            if body.has_node(node) && holds_bodies(body, node) {
                let here = format!("{} in {here}", label(body, node));
                self.bodies(body, types, place, node, &here);
            }
        }
    }

    /// The weight of a kernel, with its content if the body itself has it, or why it stays.
    fn weight(
        &self,
        body: &Graph,
        types: &Types,
        seals: Option<&Seals<'_>>,
        node: NodeId,
    ) -> Result<(ValueId, Option<Tensor>), String> {
        let (Some(data), Some(weight)) = (body.input(node, DATA), body.input(node, WEIGHT)) else {
            return Err("it lacks an input".to_owned());
        };
        let closed = |value| seals.and_then(|seals| seals.closed.get(value));
        if let Some(reason) = [data, weight].iter().find_map(closed) {
            return Err(reason.to_string());
        }
        if types.is_constant(data) {
            return Err("it multiplies a constant from the left".to_owned());
        }
        let value = body.value(weight);
        if value.kind == Kind::Captured {
            return match self.captured.contains(value.name()) {
                true => Ok((weight, None)),
                false => Err(format!(
                    "`{}` is no constant of the main graph that is read as a weight alone",
                    value.name()
                )),
            };
        }
        let Some(constant) = types.constant(weight) else {
            return Err("it multiplies two activations".to_owned());
        };
        if !is_quantizable(constant.dtype()) {
            return Err(format!("it computes in `{}`", constant.dtype()));
        }
        let alone = body.is_output(weight) || !read_as_weight(body, weight, self.rules);
        match alone {
            true => Err(format!("`{}` is not read as a weight alone", value.name())),
            false => Ok((weight, Some(constant.clone()))),
        }
    }

    /// The name itself where only one graph has it.
    fn fresh(&mut self, base: &str) -> String {
        let free = |name: &String| !self.names.contains_key(name);
        let name = match self.names.get(base) {
            Some(1) => return base.to_owned(),
            _ => (1_u64..).map(|number| format!("{base}_{number}")).find(free),
        };
        let name = name.expect("numbers do not run out");
        self.names.insert(name.clone(), 1);
        name
    }
}

fn is_kernel(graph: &Graph, node: NodeId, rules: &Kernels) -> bool {
    rules.kernels.iter().any(|kernel| graph.node(node).is_onnx(&kernel.op))
}

fn holds_bodies(graph: &Graph, node: NodeId) -> bool {
    graph.node(node).bodies().next().is_some()
}

/// Whether kernels read a value as their weight, and nobody reads it as anything else.
fn read_as_weight(graph: &Graph, value: ValueId, rules: &Kernels) -> bool {
    graph.uses(value).into_iter().all(|reader| {
        reader.slot == Slot::Input(WEIGHT as u32) && is_kernel(graph, reader.node, rules)
    })
}

/// The same for a value that bodies capture by name, at any depth.
fn only_weight(body: &Graph, name: &str, rules: &Kernels) -> bool {
    let Some(value) = body.find(name) else { return true };
    if body.value(value).kind != Kind::Captured {
        return true;
    }
    if body.is_output(value) {
        return false;
    }
    body.uses(value).into_iter().all(|reader| match reader.slot {
        Slot::Capture => {
            body.node(reader.node).bodies().all(|inner| only_weight(inner, name, rules))
        }
        _ => reader.slot == Slot::Input(WEIGHT as u32) && is_kernel(body, reader.node, rules),
    })
}

fn count_names(graph: &Graph, names: &mut BTreeMap<String, usize>) {
    for value in graph.values().map(|value| graph.value(value)) {
        if value.kind != Kind::Captured {
            *names.entry(value.name().to_owned()).or_default() += 1;
        }
    }
    for node in graph.nodes() {
        graph.node(node).bodies().for_each(|body| count_names(body, names));
    }
}
