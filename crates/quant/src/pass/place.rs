//! Place: decides which values carry a quantizer.

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType as ElementType, Graph, Kind, NodeId, Slot, Use, ValueId};
use marquetry_matcher::{Hint, PlaceId};
use serde::{Deserialize, Serialize};

use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::flow::{Flow, Part};
use crate::kernel::{self, DATA, WEIGHT, label};
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::policy::{Kernel, Policy};
use crate::seal::{Seals, source};
use crate::{DType, FixedRange, Granularity, Spec};

/// Decides which values carry a quantizer, by the policy of the target and the hints of groups.
///
/// In RON: `Place(activations: UInt8, weights: (dtype: Int8, granularity: PerChannel))`; what is
/// left out is as in this line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// The type of activations.
    pub activations: DType,
    /// Whether zero is in the middle of the grid of activations.
    pub symmetric: bool,
    /// With `symmetric`: whether one step is given up so that both sides have as many.
    pub strict: bool,
    /// With `symmetric`: whether activations without a negative value use all steps above zero.
    pub unsigned: bool,
    /// What weights are asked to be.
    pub weights: WeightSpec,
    /// Whether products of two activations are quantized; as the target wants where left out.
    pub dynamic_products: Option<bool>,
}

impl Default for Place {
    fn default() -> Place {
        Place {
            activations: DType::UInt8,
            symmetric: false,
            strict: false,
            unsigned: false,
            weights: WeightSpec::default(),
            dynamic_products: None,
        }
    }
}

/// What weights are asked to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightSpec {
    /// The stored type.
    pub dtype: DType,
    /// Whether zero is in the middle of the grid.
    pub symmetric: bool,
    /// Whether one step is given up so that both sides have as many.
    pub strict: bool,
    /// Whether weights without a negative value use all steps above zero.
    pub unsigned: bool,
    /// Whether a symmetric grid of two bits lies half a step higher.
    pub shifted: bool,
    /// How many elements share one scale.
    pub granularity: WeightGranularity,
}

impl Default for WeightSpec {
    fn default() -> WeightSpec {
        WeightSpec {
            dtype: DType::Int8,
            symmetric: true,
            strict: false,
            unsigned: false,
            shifted: false,
            granularity: WeightGranularity::PerChannel,
        }
    }
}

/// How many elements of a weight share one scale; the axes are the operator's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightGranularity {
    /// One scale.
    PerTensor,
    /// One scale for every output channel.
    PerChannel,
    /// One scale for this many elements of an output channel, along the axis that is summed over.
    PerBlock(usize),
    /// As `PerBlock`, with scales that are small integers times one float per output channel.
    Lpbq(usize),
}

impl WeightGranularity {
    /// Reads a name as the command line writes it: `tensor`, `channel`, `block:32`, `lpbq:32`.
    pub fn parse(name: &str) -> Option<WeightGranularity> {
        match name.split_once(':') {
            Some((kind @ ("block" | "lpbq"), size)) => {
                let size = size.parse().ok().filter(|&size| size > 0)?;
                Some(match kind {
                    "block" => WeightGranularity::PerBlock(size),
                    _ => WeightGranularity::Lpbq(size),
                })
            }
            Some(_) => None,
            None => match name {
                "tensor" => Some(WeightGranularity::PerTensor),
                "channel" => Some(WeightGranularity::PerChannel),
                _ => None,
            },
        }
    }
}

impl Pass for Place {
    fn name(&self) -> &str {
        "Place"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Groups]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let policy = &state.policy;
        let kinds = [
            ("activations", self.activations, &policy.activations),
            ("weights", self.weights.dtype, &policy.weights),
        ];
        for (kind, dtype, allowed) in kinds {
            if !allowed.contains(&dtype) {
                let (target, allowed) = (policy.name.clone(), allowed.clone());
                return Err(PassError::Type { target, kind, dtype, allowed });
            }
        }
        let weights = &self.weights;
        let narrow = weights.symmetric && matches!(weights.dtype, DType::Int4 | DType::Int2);
        if matches!(weights.granularity, WeightGranularity::Lpbq(_)) && !narrow {
            return Err(PassError::Granularity {
                granularity: "in low-power blocks".to_owned(),
                dtype: weights.dtype,
                what: "their scales are made for few bits around zero",
            });
        }
        let types = infer::run(&state.model);
        let graph = &state.model.graph;
        let seals = Seals::of(&state.groups, graph);
        let mut placement = Placement {
            place: self,
            policy: &state.policy,
            graph,
            types: &types,
            seals: &seals,
            plan: state.plan.clone(),
        };
        let kernels = placement.kernels();
        let flow = Flow::of(graph, &types, &state.policy, &seals, &kernels)
            .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        placement.quantize_flow(&flow);
        let quantized = placement.quantize_kernels(&kernels);
        placement.tie_movement(&flow);
        let mut plan = placement.plan;
        for group in state.groups.within(PlaceId::MAIN) {
            for hint in &group.hints {
                apply(hint, &source(group), &mut plan);
            }
        }
        // QuantizeLinear takes other floats from opset 19 on only; until that is lowered, they stay.
        let narrow: Vec<ValueId> = plan.enabled().map(|(value, _)| value).collect();
        for value in narrow {
            let element = types.dtype(value);
            if let (Some(element), Some(site)) = (element, plan.get_mut(value))
                && element != ElementType::Float
            {
                site.disable(Reason::new(self.name(), format!("it is `{element}`, not `float`")));
            }
        }
        state.plan = plan;

        let bodies = graph.nodes().filter(|&node| graph.node(node).bodies().next().is_some());
        let (nested, functions) = (bodies.count(), state.model.functions.len());
        let weights = state.plan.enabled().filter(|(_, site)| site.role == Role::Weight).count();
        let activations = state.plan.enabled().count() - weights;
        let mut summary = Summary::new(
            self,
            format!(
                "{quantized} kernels on integers: {activations} activations as {}, {weights} \
                 weights as {}",
                self.activations, self.weights.dtype
            ),
        );
        if quantized == 0 {
            let reason = state.plan.left_alone().flat_map(|(_, reasons)| reasons).next();
            summary.notes.push(match reason {
                Some(reason) => format!("nothing is quantized: {reason}"),
                None => "nothing is quantized: there is no kernel".to_owned(),
            });
        }
        let already = graph.nodes().filter(|&node| {
            matches!(graph.node(node).op_type.as_str(), "QuantizeLinear" | "DequantizeLinear")
        });
        let already = already.count();
        if already > 0 {
            summary.notes.push(format!(
                "the model is quantized already, with {already} QuantizeLinear and DequantizeLinear, \
                 which stay as they are"
            ));
        }
        if nested + functions > 0 {
            summary.notes.push(format!(
                "{nested} nodes hold bodies and {functions} functions are defined: their insides \
                 stay in float"
            ));
        }
        Ok(summary)
    }
}

struct Placement<'a> {
    place: &'a Place,
    policy: &'a Policy,
    graph: &'a Graph,
    types: &'a Types,
    seals: &'a Seals<'a>,
    plan: Plan,
}

impl<'a> Placement<'a> {
    fn policy_reason(&self, what: impl Into<String>) -> Reason {
        Reason::new(format!("policy {}", self.policy.name), what)
    }

    /// The kernels whose inputs get quantizers, by node; the plan learns about the others.
    fn kernels(&mut self) -> Vec<Option<&'a Kernel>> {
        let mut kernels = vec![None; self.graph.node_bound()];
        for node in self.graph.nodes() {
            let content = self.graph.node(node);
            let known = self.policy.kernels.iter().find(|kernel| content.is_onnx(&kernel.op));
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
        let here = label(self.graph, node);
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
        let dynamic = self.place.dynamic_products.unwrap_or(self.policy.dynamic_products);
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
            Some(ElementType::Float) => None,
            Some(other) => Some(self.policy_reason(format!("{here} computes in `{other}`"))),
            None => Some(self.policy_reason(format!("the type of {here} is not known"))),
        }
    }

    fn activation(&self) -> Spec {
        let Place { activations, symmetric, strict, unsigned, .. } = *self.place;
        Spec { symmetric, strict, unsigned, ..Spec::activation(activations) }
    }

    /// Quantizes what flows from kernel to kernel, for all its readers.
    fn quantize_flow(&mut self, flow: &Flow) {
        for value in self.graph.values() {
            if !flow.through(value) {
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
                    self.quantize_weight(node, weight);
                }
                _ => self.quantize_input(node, WEIGHT),
            }
        }
        quantized
    }

    fn quantize_input(&mut self, node: NodeId, slot: usize) {
        let Some(value) = self.graph.input(node, slot) else { return };
        let reason = self.policy_reason(format!("{} reads integers", label(self.graph, node)));
        let spec = self.activation();
        let site = self.plan.place(value, || Quantizer::new(Role::Activation, spec));
        site.because.extend(self.seals.opened.get(&value).cloned());
        site.because.push(reason);
        site.add_reader(reader(node, slot));
    }

    fn quantize_weight(&mut self, node: NodeId, weight: ValueId) {
        let content = self.graph.node(node);
        let rank = self.types.rank(weight).unwrap_or(0);
        let mut reasons =
            vec![self.policy_reason(format!("weight of {}", label(self.graph, node)))];
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
            symmetric: wish.symmetric,
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
        site.add_reader(reader(node, WEIGHT));
    }

    /// Gives both sides of operators that only move elements one encoding.
    fn tie_movement(&mut self, flow: &Flow) {
        for node in self.graph.nodes() {
            let Some(input) = self.graph.input(node, DATA) else { continue };
            if flow.parts[node.index()] != Part::Grid || !flow.through(input) {
                continue;
            }
            let reason = self.policy_reason(format!("{} keeps the grid", label(self.graph, node)));
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

/// Lets a hint about values that have quantizers take effect; the others vanish.
fn apply(hint: &Hint, source: &str, plan: &mut Plan) {
    match hint {
        Hint::Share(values) => {
            let sites: Vec<ValueId> =
                values.iter().copied().filter(|&value| plan.get(value).is_some()).collect();
            let reason = Reason::new(source, "hint `share`");
            sites.windows(2).for_each(|pair| plan.tie(pair[0], pair[1], &reason));
        }
        Hint::Symmetric(value) => {
            if let Some(site) = plan.get_mut(*value) {
                site.spec.symmetric = true;
                site.because.push(Reason::new(source, "hint `symmetric`"));
            }
        }
        Hint::Range { value, low, high } => {
            if let Some(site) = plan.get_mut(*value) {
                site.fixed_range = Some(FixedRange::of(*low, *high));
                site.because.push(Reason::new(source, format!("hint `range` [{low}, {high}]")));
            }
        }
        // The axis of a weight follows from its kernel, which agrees wherever a scale per channel
        // can be executed; a granularity that was asked for per tensor stays so.
        Hint::PerChannel { .. } => {}
        // Said before, or the business of QuantizeBias.
        Hint::Skip(_) | Hint::Quantize(_) | Hint::Bias { .. } | Hint::Tag { .. } => {}
    }
}
