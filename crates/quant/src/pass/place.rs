//! Place: decides which values carry a quantizer.

mod bodies;
mod chains;
mod everywhere;
mod exceptions;
mod inner;
mod kernels;
mod overrides;
mod sites;

use std::fmt;

use marquetry_ir::ValueId;
use marquetry_ir::infer;
use marquetry_matcher::{Hint, PlaceId};
use serde::{Deserialize, Serialize};

use super::parameter::{dtype, granularity};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::element::is_quantizable;
use crate::opened::{Opened, open};
use crate::plan::{Plan, Reason, Role};
use crate::policy::{Placement, Precision, SupportedKernel};
use crate::seal::source;
use crate::{DType, FixedRange, Policy};

/// Decides which values carry a quantizer, by the policy of the target and the hints of groups.
///
/// In RON: `Place(activations: UInt8, weights: (dtype: Int8, granularity: PerChannel))`; what is
/// left out is as in this line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// The type of activations.
    pub activations: DType,
    /// Whether zero is in the middle of the grid of activations; as the target wants where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric: Option<bool>,
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
            symmetric: None,
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
    /// Whether zero is in the middle of the grid; as the target wants where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric: Option<bool>,
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
            symmetric: None,
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

impl fmt::Display for WeightGranularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightGranularity::PerTensor => f.write_str("per tensor"),
            WeightGranularity::PerChannel => f.write_str("per channel"),
            WeightGranularity::PerBlock(size) => write!(f, "per block of {size}"),
            WeightGranularity::Lpbq(size) => write!(f, "in low-power blocks of {size}"),
        }
    }
}

impl Place {
    /// Whether a kernel takes the types that are placed.
    fn fits(&self, kernel: &SupportedKernel) -> bool {
        let of = |precision: &Precision, dtype: DType| {
            precision.bits == dtype.bits() && precision.float != dtype.is_integer()
        };
        of(&kernel.activation, self.activations)
            && kernel.param.as_ref().is_none_or(|param| of(param, self.weights.dtype))
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

    fn precedes(&self) -> &[Fact] {
        &[Fact::Encodings, Fact::Weights]
    }

    fn check(&self, policy: &Policy) -> Result<(), PassError> {
        let weights = &self.weights;
        dtype(&policy.name, "activations", self.activations, &policy.activations)?;
        dtype(&policy.name, "weights", weights.dtype, &policy.weights)?;
        let (asked, dtype) = (weights.granularity, Some(weights.dtype));
        granularity("Place", "weights.granularity", asked, dtype, weights.symmetric)
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        self.check(&state.policy)?;
        let (mut bodies, mut opened) = (bodies::Bodies::default(), Opened::default());
        match &state.policy.placement {
            Placement::Kernels(rules) => {
                let types = infer::run(&state.model);
                let dynamic = self.dynamic_products.unwrap_or(rules.dynamic_products);
                bodies =
                    bodies::raise(&mut state.model.graph, &state.groups, &types, rules, dynamic);
            }
            Placement::Everywhere(_) => opened = open(&mut state.model, &mut state.plan),
        }
        let mut types = infer::run(&state.model);
        let (mut plan, quantized) = match &state.policy.placement {
            Placement::Kernels(rules) => {
                let (mut plan, quantized) =
                    kernels::place(self, rules, state, &types, &bodies.raised)?;
                for group in state.groups.within(PlaceId::MAIN) {
                    group.hints.iter().for_each(|hint| apply(hint, &source(group), &mut plan));
                }
                (plan, quantized)
            }
            Placement::Everywhere(rules) => everywhere::place(self, rules, state, &types)?,
        };
        let mut inner_float = 0;
        if let Placement::Kernels(rules) = &state.policy.placement
            && !bodies.raised.is_empty()
        {
            let inner = inner::place(self, rules, state, &types, &bodies.raised)?;
            inner_float = inner.float;
            inner.put(&mut state.model.graph, &mut plan);
            bodies.renamed.iter().for_each(|&value| plan.rename(value));
            types = infer::run(&state.model);
        }
        let graph = &state.model.graph;
        // QuantizeLinear takes no `double`.
        let narrow: Vec<ValueId> = plan.enabled().map(|(value, _)| value).collect();
        for value in narrow {
            let element = types.dtype(value);
            if let (Some(element), Some(site)) = (element, plan.get_mut(value))
                && !is_quantizable(element)
            {
                site.disable(Reason::new(
                    self.name(),
                    format!("it is `{element}`, which QuantizeLinear does not take"),
                ));
            }
        }
        state.plan = plan;

        let holders = graph.nodes().filter(|&node| graph.node(node).bodies().next().is_some());
        let (nested, functions) = (holders.count(), state.model.functions.len());
        let weights = state.plan.enabled().filter(|(_, site)| site.role == Role::Weight).count();
        let activations = state.plan.enabled().count() - weights;
        let mut summary = Summary::new(
            self,
            format!(
                "{quantized} {} on integers: {activations} activations as {}, {weights} \
                 weights as {}",
                if state.policy.everywhere().is_some() { "operators" } else { "kernels" },
                self.activations,
                self.weights.dtype
            ),
        );
        if quantized == 0 && weights == 0 {
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
        let kernels =
            state.policy.everywhere().map_or(&[] as &[_], |rules| &rules.supported_kernels);
        if !kernels.is_empty() && !kernels.iter().any(|kernel| self.fits(kernel)) {
            summary.notes.push(format!(
                "the kernels that `{}` lists have none for {} with {}",
                state.policy.name, self.activations, self.weights.dtype
            ));
        }
        if opened.open > 0 {
            let within =
                state.plan.enabled().filter(|(value, _)| state.plan.spot(*value).is_some());
            summary.notes.push(format!(
                "{} nodes hold bodies, in which {} activations are quantized",
                opened.open,
                within.count()
            ));
        }
        summary.notes.extend(opened.closed.iter().map(|holder| {
            format!(
                "what the bodies of {holder} compute stays in float: it cannot be observed there"
            )
        }));
        if nested > 0 && state.policy.everywhere().is_none() {
            summary.notes.push(match bodies.raised.len() {
                0 => format!("{nested} nodes hold bodies, whose insides stay in float"),
                kernels => format!(
                    "{nested} nodes hold bodies: {kernels} kernels in them read quantized weights{}",
                    match inner_float {
                        0 => String::new(),
                        float => format!(", {float} of them with activations in float"),
                    }
                ),
            });
            summary.notes.extend(bodies.left.iter().cloned());
        }
        if functions > 0 {
            summary.notes.push(format!(
                "{functions} functions are defined, and what they hold stays in float: write their \
                 calls out first (`ir::inline::functions`)"
            ));
        }
        Ok(summary)
    }
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
