//! Kernels in the bodies of If, Loop and Scan.
//!
//! Their weights are moved to the main graph, where they are stored once as integers, whichever bodies
//! read them by name.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, Kind, Node, NodeId, Slot, Tensor, ValueId};
use marquetry_matcher::{Groups, Place, PlaceId};

use crate::element::is_quantizable;
use crate::inside::{self, Names, Way};
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
    /// Constants that have another name in the main graph.
    pub(super) renamed: Vec<ValueId>,
}

/// A kernel in a body, with its weight in the main graph.
pub(super) struct Raised {
    /// The body it is in.
    pub(super) way: Way,
    pub(super) node: NodeId,
    /// The kernel, without its inputs.
    pub(super) kernel: Node,
    /// How the body is called in reasons.
    pub(super) here: String,
    /// The weight, unless two activations are multiplied.
    pub(super) weight: Option<ValueId>,
}

/// What a kernel in a body multiplies with.
enum Factor {
    /// A constant of the main graph.
    Outside(ValueId),
    /// A constant of the body.
    Own(ValueId, Tensor),
    /// What is computed.
    Activation,
}

/// Moves the weights of kernels in bodies to the main graph.
///
/// `dynamic` says whether products of two activations are quantized.
pub(super) fn raise(
    graph: &mut Graph,
    groups: &Groups,
    types: &Types,
    rules: &Kernels,
    dynamic: bool,
) -> Bodies {
    let mut bodies = Bodies::default();
    let mut names = Names::of(graph);
    let holders: Vec<NodeId> = graph.nodes().filter(|&node| holds_bodies(graph, node)).collect();
    for holder in holders {
        let captured = graph.captures(holder).into_iter().filter(|&value| types.is_constant(value));
        let captured = captured.map(|value| graph.value(value).name().to_owned()).collect();
        let here = label(graph, holder);
        let mut search = Search {
            rules,
            groups,
            dynamic,
            way: Vec::new(),
            captured,
            names: &mut names,
            raised: Vec::new(),
            constants: Vec::new(),
            left: &mut bodies.left,
        };
        search.bodies(graph, types, Some(PlaceId::MAIN), holder, &here);
        let Search { raised, constants, .. } = search;
        for (name, constant, renamed) in constants {
            let value = graph.value_named(&name);
            graph.set_initializer(value, constant);
            bodies.renamed.extend(renamed.then_some(value));
        }
        for mut one in raised {
            one.raised.weight = one
                .weight
                .map(|name| graph.find(&name).expect("what bodies capture is a value around them"));
            bodies.raised.push(one.raised);
        }
    }
    if !bodies.raised.is_empty() {
        graph.resolve_captures();
    }
    bodies
}

/// A kernel with the name of its weight.
struct Named {
    raised: Raised,
    weight: Option<String>,
}

struct Search<'a> {
    rules: &'a Kernels,
    groups: &'a Groups,
    dynamic: bool,
    /// Where it is.
    way: Way,
    /// Constants of the main graph that the bodies read.
    captured: BTreeSet<String>,
    names: &'a mut Names,
    raised: Vec<Named>,
    /// What the main graph is to hold, and whether under another name.
    constants: Vec<(String, Tensor, bool)>,
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
        let names = inside::named_bodies(graph.node(node)).map(|(name, _)| name.to_owned());
        let names: Vec<String> = names.collect();
        let mut at = 0;
        graph.edit_bodies(node, |body| {
            if let Some(types) = types.body(node, at) {
                // Without a place there are no groups either.
                let place = parent
                    .and_then(|parent| self.groups.place(Place::Body { parent, node, body: at }));
                let here = format!("{} of {here}", names[at]);
                self.way.push((node, at));
                self.body(body, types, place, &here);
                self.way.pop();
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
            let weight = match self.factor(body, types, seals.as_ref(), node) {
                Ok(Factor::Own(weight, _)) if moved.contains_key(&weight) => {
                    Some(moved[&weight].clone())
                }
                Ok(Factor::Own(weight, constant)) => {
                    Some(self.lift(body, weight, constant, &mut moved))
                }
                Ok(Factor::Outside(weight)) => Some(body.value(weight).name().to_owned()),
                Ok(Factor::Activation) => None,
                Err(why) => {
                    let kernel = label(body, node);
                    self.left.push(format!("{kernel} in {here} stays in float: {why}"));
                    continue;
                }
            };
            let (way, here) = (self.way.clone(), here.to_owned());
            let kernel = body.node(node).clone();
            let raised = Raised { way, node, kernel, here, weight: None };
            self.raised.push(Named { raised, weight });
        }
        // Kernels further inside may read them, which then find them in the main graph.
        for value in body.values().collect::<Vec<_>>() {
            if let Some(constant) = self.read_inside(body, types, value)
                && !moved.contains_key(&value)
            {
                self.lift(body, value, constant, &mut moved);
            }
        }
        self.captured.extend(moved.values().cloned());
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

    /// Makes a constant of a body one of the main graph; its name there.
    fn lift(
        &mut self,
        body: &Graph,
        value: ValueId,
        constant: Tensor,
        moved: &mut BTreeMap<ValueId, String>,
    ) -> String {
        let name = self.names.lift(body.value(value).name());
        moved.insert(value, name.clone());
        let renamed = name != body.value(value).name();
        self.constants.push((name.clone(), constant, renamed));
        name
    }

    /// The content of a constant of a body that a kernel in a body inside it multiplies with.
    fn read_inside(&self, body: &Graph, types: &Types, value: ValueId) -> Option<Tensor> {
        let entry = body.value(value);
        if entry.kind == Kind::Captured || body.is_output(value) || !types.is_constant(value) {
            return None;
        }
        let uses = body.uses(value);
        let mut holders = uses.iter().filter(|reader| reader.slot == Slot::Capture);
        holders
            .any(|holder| {
                let mut bodies = body.node(holder.node).bodies();
                bodies.any(|inner| is_weight(inner, entry.name(), self.rules))
            })
            .then(|| types.constant(value).cloned())?
    }

    /// What a kernel multiplies with, or why it stays.
    fn factor(
        &self,
        body: &Graph,
        types: &Types,
        seals: Option<&Seals<'_>>,
        node: NodeId,
    ) -> Result<Factor, String> {
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
        let element = types.dtype(weight).or_else(|| types.dtype(data));
        match element {
            Some(element) if is_quantizable(element) => {}
            Some(other) => return Err(format!("it computes in `{other}`")),
            None => return Err("its type is not known".to_owned()),
        }
        let value = body.value(weight);
        let Some(constant) = types.constant(weight) else {
            return match self.dynamic && body.node(node).op_type == "MatMul" {
                true => Ok(Factor::Activation),
                false => Err("it multiplies two activations".to_owned()),
            };
        };
        if value.kind == Kind::Captured {
            return match self.captured.contains(value.name()) {
                true => Ok(Factor::Outside(weight)),
                false => {
                    Err(format!("`{}` is an output of the body that defines it", value.name()))
                }
            };
        }
        match body.is_output(weight) {
            true => Err(format!("`{}` is an output of the body", value.name())),
            false => Ok(Factor::Own(weight, constant.clone())),
        }
    }
}

fn is_kernel(graph: &Graph, node: NodeId, rules: &Kernels) -> bool {
    rules.kernels.iter().any(|kernel| graph.node(node).is_onnx(&kernel.op))
}

fn holds_bodies(graph: &Graph, node: NodeId) -> bool {
    graph.node(node).bodies().next().is_some()
}

/// Whether a kernel multiplies with what bodies capture under a name, at any depth.
fn is_weight(body: &Graph, name: &str, rules: &Kernels) -> bool {
    let captured = body.find(name).filter(|&value| body.value(value).kind == Kind::Captured);
    let uses = captured.map(|value| body.uses(value)).unwrap_or_default();
    uses.into_iter().any(|reader| match reader.slot {
        Slot::Capture => body.node(reader.node).bodies().any(|inner| is_weight(inner, name, rules)),
        _ => reader.slot == Slot::Input(WEIGHT as u32) && is_kernel(body, reader.node, rules),
    })
}
