//! Placement by integer kernels.

use marquetry_ir::infer::Types;
use marquetry_ir::{DType as ElementType, Graph, Kind, Node, NodeId, Slot, Use, ValueId};

use super::bodies::Raised;
use super::{Place, WeightGranularity};
use crate::element::is_quantizable;
use crate::flow::{Flow, Part};
use crate::inside::Inside;
use crate::kernel::{self, DATA, WEIGHT, label};
use crate::pass::{PassError, State};
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::policy::{Kernel, Kernels};
use crate::seal::Seals;
use crate::{Granularity, Spec};

/// The plan, and how many kernels got integers.
pub(super) fn place(
    place: &Place,
    rules: &Kernels,
    state: &State,
    types: &Types,
    raised: &[Raised],
) -> Result<(Plan, usize), PassError> {
    let graph = &state.model.graph;
    let seals = Seals::of(&state.groups, graph);
    let plan = state.plan.clone();
    let name = &state.policy.name;
    let here = None;
    let mut placement = Placement { place, name, rules, graph, types, here, seals: &seals, plan };
    let kernels = placement.kernels();
    let quantized = placement.quantize(&kernels)?;
    placement.quantize_raised(raised);
    Ok((placement.plan, quantized))
}

/// Placement in one graph.
pub(super) struct Placement<'a> {
    pub(super) place: &'a Place,
    /// The name of the policy.
    pub(super) name: &'a str,
    pub(super) rules: &'a Kernels,
    pub(super) graph: &'a Graph,
    pub(super) types: &'a Types,
    /// How the graph is called, unless it is the main graph.
    pub(super) here: Option<&'a str>,
    pub(super) seals: &'a Seals<'a>,
    pub(super) plan: Plan,
}

impl<'a> Placement<'a> {
    /// Quantizes what these kernels read and what flows between them; the count of kernels.
    pub(super) fn quantize(&mut self, kernels: &[Option<&Kernel>]) -> Result<usize, PassError> {
        let flow = Flow::of(self.graph, self.types, self.rules, self.seals, kernels)
            .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        self.quantize_flow(&flow);
        let quantized = self.quantize_kernels(kernels);
        self.tie_movement(&flow);
        Ok(quantized)
    }

    fn label(&self, node: NodeId) -> String {
        let node = label(self.graph, node);
        match self.here {
            None => node,
            Some(here) => format!("{node} in {here}"),
        }
    }

    fn policy_reason(&self, what: impl Into<String>) -> Reason {
        Reason::new(format!("policy {}", self.name), what)
    }

    /// The kernels whose inputs get quantizers, by node; the plan learns about the others.
    fn kernels(&mut self) -> Vec<Option<&'a Kernel>> {
        let mut kernels = vec![None; self.graph.node_bound()];
        for node in self.graph.nodes() {
            let content = self.graph.node(node);
            let known = self.rules.kernels.iter().find(|kernel| content.is_onnx(&kernel.op));
            let Some(known) = known else { continue };
            match self.refusal(node) {
                None => kernels[node.index()] = Some(known),
                Some(reason) => {
                    let data = self.graph.input(node, DATA);
                    let weight = self.graph.input(node, WEIGHT);
                    for value in [data, weight].into_iter().flatten() {
                        self.plan.leave_alone(value, reason.clone());
                    }
                }
            }
        }
        kernels
    }

    /// Why a kernel stays in float, or nothing.
    fn refusal(&self, node: NodeId) -> Option<Reason> {
        let here = self.label(node);
        let (Some(data), Some(weight)) =
            (self.graph.input(node, DATA), self.graph.input(node, WEIGHT))
        else {
            return Some(self.policy_reason(format!("{here} lacks an input")));
        };
        for value in [data, weight] {
            if let Some(closed) = self.seals.closed.get(&value) {
                return Some(closed.clone());
            }
        }
        if self.types.is_constant(data) {
            return Some(self.policy_reason(format!("{here} multiplies a constant from the left")));
        }
        let constant = self.types.is_constant(weight);
        let dynamic = self.place.dynamic_products.unwrap_or(self.rules.dynamic_products);
        if !(constant || dynamic && self.graph.node(node).op_type == "MatMul") {
            let value = self.graph.value(weight);
            let what = match value.kind == Kind::Input && value.constant.is_some() {
                true => "has a weight that is an input, which callers may override",
                false => "multiplies two activations",
            };
            return Some(self.policy_reason(format!("{here} {what}")));
        }
        let element = self.types.dtype(weight).or_else(|| self.types.dtype(data));
        match element {
            Some(element) if is_quantizable(element) => None,
            Some(other) => Some(self.policy_reason(format!("{here} computes in `{other}`"))),
            None => Some(self.policy_reason(format!("the type of {here} is not known"))),
        }
    }

    fn activation(&self) -> Spec {
        let Place { activations, strict, unsigned, .. } = *self.place;
        let symmetric = self.place.symmetric.unwrap_or(self.rules.symmetric_activations);
        Spec { symmetric, strict, unsigned, ..Spec::activation(activations) }
    }

    /// Quantizes what flows from kernel to kernel, for all its readers.
    fn quantize_flow(&mut self, flow: &Flow) {
        for value in self.graph.values() {
            // There are no integer kernels for what is half precision; ONNX Runtime would even join a
            // Concat to one, and refuse the model then.
            let half = self.types.dtype(value).is_some_and(|dtype| dtype != ElementType::Float);
            if half || !flow.through(value) {
                continue;
            }
            let reason = self.policy_reason("integers flow through it to another kernel");
            let spec = self.activation();
            let site = self.plan.place(value, || Quantizer::new(Role::Activation, spec));
            site.because.push(reason);
            for reader in self.graph.uses(value) {
                if matches!(reader.slot, Slot::Input(_)) {
                    site.add_reader(reader);
                }
            }
        }
        for (&value, reason) in &self.seals.closed {
            if !self.types.is_constant(value) {
                self.plan.leave_alone(value, reason.clone());
            }
        }
    }

    /// Quantizes what kernels read; the count of kernels.
    fn quantize_kernels(&mut self, kernels: &[Option<&Kernel>]) -> usize {
        let mut quantized = 0;
        for node in self.graph.nodes() {
            if kernels[node.index()].is_none() {
                continue;
            }
            quantized += 1;
            self.quantize_input(node, DATA);
            match self.graph.input(node, WEIGHT) {
                Some(weight) if self.types.is_constant(weight) => {
                    let label = self.label(node);
                    let site = self.quantize_weight(self.graph.node(node), &label, weight);
                    site.add_reader(reader(node, WEIGHT));
                }
                _ => self.quantize_input(node, WEIGHT),
            }
        }
        quantized
    }

    fn quantize_input(&mut self, node: NodeId, slot: usize) {
        let Some(value) = self.graph.input(node, slot) else { return };
        let reason = self.policy_reason(format!("{} reads integers", self.label(node)));
        let spec = self.activation();
        let site = self.plan.place(value, || Quantizer::new(Role::Activation, spec));
        site.because.extend(self.seals.opened.get(&value).cloned());
        site.because.push(reason);
        site.add_reader(reader(node, slot));
    }

    /// Quantizes what kernels in bodies read as weights; the graph holds it for them.
    fn quantize_raised(&mut self, raised: &[Raised]) {
        for one in raised {
            let Some(weight) = one.weight else { continue };
            let op = match one.kernel.name.is_empty() {
                true => format!("{} {}", one.kernel.op_type, one.node),
                false => format!("{} `{}`", one.kernel.op_type, one.kernel.name),
            };
            let label = format!("{op} in {}", one.here);
            let site = self.quantize_weight(&one.kernel, &label, weight);
            site.add_inside(Inside { way: one.way.clone(), reader: reader(one.node, WEIGHT) });
        }
    }

    fn quantize_weight(&mut self, content: &Node, label: &str, weight: ValueId) -> &mut Quantizer {
        let rank = self.types.rank(weight).unwrap_or(0);
        let mut reasons = vec![self.policy_reason(format!("weight of {label}"))];
        let wish = &self.place.weights;
        let granularity = match (wish.granularity, kernel::per_channel(content, rank)) {
            (WeightGranularity::PerTensor, _) => Granularity::PerTensor,
            (WeightGranularity::PerChannel, Ok(channel)) => channel,
            (WeightGranularity::PerBlock(size), Ok(Granularity::PerChannel(channel))) => {
                Granularity::PerBlock { axis: kernel::block_axis(content, channel), size, channel }
            }
            (WeightGranularity::Lpbq(size), Ok(Granularity::PerChannel(channel))) => {
                Granularity::Lpbq {
                    axis: kernel::block_axis(content, channel),
                    size,
                    channel,
                    compressed: wish.dtype.bits(),
                    decompressed: 2 * wish.dtype.bits(),
                }
            }
            (_, Ok(other)) => other,
            (_, Err(why)) => {
                reasons.push(self.policy_reason(format!("one scale: {why}")));
                Granularity::PerTensor
            }
        };
        let spec = Spec {
            symmetric: wish.symmetric.unwrap_or(true),
            strict: wish.strict,
            unsigned: wish.unsigned,
            shifted: wish.shifted,
            ..Spec::weight(wish.dtype, granularity)
        };
        let clash = self.policy_reason("one scale: its kernels have different output channels");
        let site = self.plan.place(weight, || Quantizer::new(Role::Weight, spec));
        if site.spec.granularity != granularity {
            site.spec.granularity = Granularity::PerTensor;
            reasons.push(clash);
        }
        site.because.append(&mut reasons);
        site
    }

    /// Gives both sides of operators that only move elements one encoding.
    fn tie_movement(&mut self, flow: &Flow) {
        for node in self.graph.nodes() {
            let Some(input) = self.graph.input(node, DATA) else { continue };
            if flow.parts[node.index()] != Part::Grid || !flow.through(input) {
                continue;
            }
            let reason = self.policy_reason(format!("{} keeps the grid", self.label(node)));
            for output in self.graph.outputs(node).into_iter().flatten() {
                if flow.through(output) {
                    self.plan.tie(input, output, &reason);
                }
            }
        }
    }
}

fn reader(node: NodeId, slot: usize) -> Use {
    Use { node, slot: Slot::Input(u32::try_from(slot).expect("kernels have three inputs")) }
}
