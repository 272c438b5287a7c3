//! BiasCorrection: what rounding weights adds to the mean of every output channel is taken out again.

mod inner;

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, NodeId, Slot, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use super::parameter::samples;
use super::watch::Watch;
use super::weights::{like, name, numeric, quantized_weight, read};
use super::{Changed, Context, Fact, Pass, PassError, State, Summary};
use crate::inside::{self, Way};
use crate::kernel::{self, BIAS, DATA, WEIGHT};
use crate::observer::{Moments, Observer, View};
use crate::plan::{Plan, Reason};
use crate::qdq::{Rounding, fake_quantize};
use crate::select::Selector;
use crate::{Granularity, Policy, element};

/// Adds to the bias of every kernel what rounding its weights takes from the mean of its outputs.
///
/// A kernel with weights W computes with Ŵ once it is quantized, and its outputs are off by
/// x·(W − Ŵ). The mean of that over the samples, for each output channel, is added to the bias, as in
/// Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), with
/// means that are measured instead of derived. It is measured by running the kernel on W − Ŵ, which is
/// E\[x\]·(W − Ŵ) because a kernel is linear, and is right at the borders of a padded convolution too.
///
/// The bias may be a constant that the kernel reads, or one that an Add behind a MatMul reads; a Conv
/// or Gemm without one gets one. Weights that their integers give back exactly change nothing.
/// The model computes something else afterwards: what it was is in [`State::original`].
///
/// It stands behind `Calibrate` and before `QuantizeBias`.
/// In RON: `BiasCorrection()`, `BiasCorrection(samples: 64, select: "op:Conv")`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BiasCorrection {
    /// How many samples are run; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Which weights are made up for; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Selector>,
}

impl Pass for BiasCorrection {
    fn name(&self) -> &str {
        "BiasCorrection"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Corrections]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Biases]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        samples("BiasCorrection", self.samples)
    }

    fn runs_samples(&self) -> bool {
        true
    }

    fn select(&self) -> Option<&Selector> {
        self.select.as_ref()
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        super::layers::weights(state, &[], self.select.as_ref())
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let types = infer::run(&state.model);
        let graph = &state.model.graph;
        // Rounding may have put weights on their grid already: then the error is that against before.
        let float = state.original.as_ref().map(|model| (&model.graph, infer::run(model)));
        let float = float.as_ref().map_or((graph, &types), |(graph, types)| (*graph, types));
        let selection = self.select.as_ref().map(|select| select.of(state)).transpose();
        let selection = selection.map_err(PassError::Select)?;
        let mut selected = 0;
        let (mut kernels, mut exact, mut left) = (Vec::new(), 0, Vec::new());
        for node in graph.nodes() {
            let Some(weight) = quantized_weight(graph, &state.plan, node) else { continue };
            if selection.as_ref().is_some_and(|selection| !selection.has(weight, Some(node))) {
                continue;
            }
            selected += 1;
            let Some(error) = rounding_error(graph, &types, float, &state.plan, weight)? else {
                exact += 1;
                continue;
            };
            match place(graph, &types, &state.plan, node) {
                Ok(place) => {
                    let (way, row) = (Way::new(), Vec::new());
                    kernels.push(Kernel { way, node, weight, error, place, row });
                }
                Err(why) => left.push((inside::label(graph, &[], node), weight, why)),
            }
        }
        for (weight, one) in super::layers::inner_readers(state) {
            let encoded = state.plan.get(weight).is_some_and(|site| site.encoding.is_some());
            let wanted = selection.as_ref().is_none_or(|selection| selection.has(weight, None));
            if !encoded || !wanted {
                continue;
            }
            selected += 1;
            let Some(error) = rounding_error(graph, &types, float, &state.plan, weight)? else {
                exact += 1;
                continue;
            };
            let node = one.reader.node;
            match inner::place_of(state, &types, &one) {
                Ok((place, row)) => {
                    kernels.push(Kernel { way: one.way, node, weight, error, place, row });
                }
                Err(why) => left.push((inside::label(graph, &one.way, node), weight, why)),
            }
        }
        if let Some(selection) = &selection {
            selection.enough(selected).map_err(PassError::Select)?;
        }
        for (label, weight, why) in &left {
            let what = format!("{label} is not corrected: {why}");
            if let Some(site) = state.plan.get_mut(*weight) {
                site.because.push(Reason::new(self.name(), what));
            }
        }
        let total = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        let means = match kernels.is_empty() {
            true => Vec::new(),
            false => cx.kept("means", || self.means(graph, &kernels, cx, total))?,
        };
        let original = kernels.first().map(|_| state.model.clone());
        let mut largest: Option<(f64, String)> = None;
        for (kernel, means) in kernels.iter().zip(&means) {
            let (least, most) =
                means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |ends, &x| {
                    (ends.0.min(x), ends.1.max(x))
                });
            let here = inside::label(&state.model.graph, &kernel.way, kernel.node);
            let graph = &mut state.model.graph;
            let before = uncorrected(graph, &types, kernel, means.len())?;
            let bias = match kernel.way.is_empty() {
                true => Some(correct(graph, &types, kernel, means)?),
                false => inner::correct(graph, &types, kernel, means)?,
            };
            let Place { node, slot, .. } = kernel.place;
            let bias_of = Some((kernel.way.clone(), node, slot));
            state.changed.push(Changed { weight: kernel.weight, bias: bias_of, before });
            let what = format!("moved by {least:.3e} to {most:.3e} for the weight of {here}");
            let reason = Reason::new(self.name(), what);
            // A bias that only its body has is no value that the plan knows.
            if let Some(bias) = bias {
                state.plan.leave_alone(bias, reason);
            } else if let Some(site) = state.plan.get_mut(kernel.weight) {
                site.because.push(reason);
            }
            let reach = most.max(-least);
            if largest.as_ref().is_none_or(|(before, _)| reach > *before) {
                largest = Some((reach, here));
            }
        }
        state.original = state.original.take().or(original);
        state.plan.drop_unused(&mut state.model.graph);
        let mut summary = Summary::new(
            self,
            match &largest {
                Some((reach, here)) => format!(
                    "{} biases corrected on {total} samples, by at most {reach:.3e} ({here})",
                    kernels.len()
                ),
                None => "no bias corrected".to_owned(),
            },
        );
        if exact > 0 {
            summary.notes.push(format!("kernels whose weights are exact: {exact}"));
        }
        if !left.is_empty() {
            summary.notes.push(format!("kernels without a bias to correct: {}", left.len()));
        }
        Ok(summary)
    }
}

/// A kernel whose outputs are off.
struct Kernel {
    /// The body it is in, if any.
    way: Way,
    node: NodeId,
    weight: ValueId,
    /// W − Ŵ.
    error: Tensor,
    place: Place,
    /// In a body: the lengths of the axes of its outputs that are kept apart.
    row: Vec<usize>,
}

/// Where the bias of a kernel is read.
struct Place {
    node: NodeId,
    slot: usize,
    /// The bias, if there is one by now.
    bias: Option<ValueId>,
}

impl BiasCorrection {
    /// The mean output on W − Ŵ, for each kernel and output channel.
    fn means(
        &self,
        graph: &Graph,
        kernels: &[Kernel],
        cx: &Context<'_>,
        total: usize,
    ) -> Result<Vec<Vec<f64>>, PassError> {
        let mut graph = graph.clone();
        let mut moments: BTreeMap<ValueId, Moments> = BTreeMap::new();
        let mut observed = Vec::new();
        for kernel in kernels {
            let body = inside::body(&graph, &kernel.way).expect("kernels are in the model");
            let is_matrix = matches!(body.node(kernel.node).op_type.as_str(), "MatMul" | "Gemm");
            let output = match kernel.way.is_empty() {
                true => with_error(&mut graph, kernel),
                false => inner::beside(&mut graph, kernel),
            };
            let output = output.map_err(|error| PassError::Graph { message: error.to_string() })?;
            let axis = Granularity::PerChannel(if is_matrix { -1 } else { 1 });
            moments.insert(output, Moments::new(axis));
            observed.push(output);
        }
        let wanted: BTreeSet<ValueId> = observed.iter().copied().collect();
        let graph = &graph;
        let watch = Watch { pass: self.name(), graph, wanted: &wanted, span: 0..total };
        watch.each(cx, |_, value, tensor| {
            let seen = moments.get_mut(&value).zip(element::floats(tensor));
            let Some((moments, data)) = seen else { return Ok(()) };
            let view = View { dims: tensor.dims(), data: &data };
            moments.update(view).map_err(|source| numeric(graph, value, source))
        })?;
        let mean = |output: &ValueId| moments[output].cells().iter().map(|cell| cell.mean());
        Ok(observed.iter().map(|output| mean(output).collect()).collect())
    }
}

/// W − Ŵ; nothing where that is zero.
fn rounding_error(
    graph: &Graph,
    types: &Types,
    float: (&Graph, &Types),
    plan: &Plan,
    weight: ValueId,
) -> Result<Option<Tensor>, PassError> {
    let Some(encoding) = plan.get(weight).and_then(|site| site.encoding.as_ref()) else {
        return Ok(None);
    };
    let (dims, data) = read(graph, types, weight)?;
    let back = fake_quantize(&data, &dims, encoding, Rounding::HalfEven)
        .map_err(|source| numeric(graph, weight, source))?;
    let (_, float) = read(float.0, float.1, weight)?;
    let error: Vec<f32> = float.iter().zip(back).map(|(w, back)| w - back).collect();
    if error.iter().all(|&error| error == 0.0) {
        return Ok(None);
    }
    like(graph, types, weight, dims, &error).map(Some)
}

/// Where a kernel has its bias, or why that cannot be corrected.
fn place(graph: &Graph, types: &Types, plan: &Plan, node: NodeId) -> Result<Place, &'static str> {
    let content = graph.node(node);
    if !kernel::adds_bias_unscaled(content) {
        return Err("`alpha` or `beta` is not 1");
    }
    let place = match kernel::has_bias(content) {
        true => Place { node, slot: BIAS, bias: graph.input(node, BIAS) },
        false => {
            let output = graph.output(node, 0).ok_or("nothing reads it")?;
            if graph.is_output(output) {
                return Err("it is an output of the model as it is");
            }
            let [reader] = graph.uses(output)[..] else {
                return Err("it is not read by one Add alone");
            };
            let slot = match reader.slot {
                Slot::Input(slot) if slot < 2 && graph.node(reader.node).is_onnx("Add") => slot,
                _ => return Err("nothing adds a bias to it"),
            };
            let other = 1 - slot as usize;
            let bias = graph.input(reader.node, other).ok_or("nothing adds a bias to it")?;
            Place { node: reader.node, slot: other, bias: Some(bias) }
        }
    };
    let Some(bias) = place.bias else { return Ok(place) };
    if plan.get(bias).is_some_and(|site| site.enabled && site.encoding.is_some()) {
        return Err("its bias has an encoding already");
    }
    let constant = types.constant(bias).filter(|tensor| element::floats(tensor).is_some());
    let dims = constant.ok_or("its bias is no constant of type `float`")?.dims();
    let leading = dims.iter().rev().skip(1).all(|&dim| dim == 1);
    let channels = channels(graph, types, node).ok_or("its output channels lie on no axis")?;
    let length = dims.last().copied().unwrap_or(1);
    if !leading || (length != channels && length != 1) {
        return Err("its bias has not one element per output channel");
    }
    Ok(place)
}

/// How many output channels a kernel has.
fn channels(graph: &Graph, types: &Types, node: NodeId) -> Option<usize> {
    let weight = types.constant(graph.input(node, WEIGHT)?)?;
    let at = match kernel::per_channel(graph.node(node), weight.dims().len()) {
        Ok(Granularity::PerChannel(axis)) => usize::try_from(axis).ok()?,
        _ => return None,
    };
    weight.dims().get(at).copied()
}

/// Puts a kernel on W − Ŵ beside one on W; what it computes.
fn with_error(graph: &mut Graph, kernel: &Kernel) -> Result<ValueId, marquetry_ir::GraphError> {
    let weight = graph.input(kernel.node, WEIGHT);
    let base = weight.map_or_else(String::new, |weight| name(graph, weight));
    let fresh = graph.fresh_name(&format!("{base}_error"));
    let error = graph.add_initializer(&fresh, kernel.error.clone())?;
    let fresh = graph.fresh_name(&format!("{base}_error_output"));
    let output = graph.add_value(&fresh, None)?;
    let mut node = graph.node(kernel.node).clone();
    node.name.clear();
    let data = graph.input(kernel.node, DATA);
    graph.add_node(node, &[data, Some(error)], &[Some(output)])?;
    Ok(output)
}

/// The bias of a kernel in `here`, with the means.
fn corrected(
    here: &Graph,
    here_types: &Types,
    (types, kernel): (&Types, &Kernel),
    means: &[f64],
    main: &Graph,
) -> Result<Tensor, PassError> {
    let (mut dims, old) = match kernel.place.bias {
        Some(bias) => read(here, here_types, bias)?,
        None => (vec![means.len()], vec![0.0]),
    };
    match dims.last_mut() {
        Some(length) => *length = means.len(),
        None => dims.push(means.len()),
    }
    // One element stands for all channels.
    let old = |channel: usize| f64::from(if old.len() == 1 { old[0] } else { old[channel] });
    let new: Vec<f32> = means.iter().zip(0..).map(|(mean, at)| (old(at) + mean) as f32).collect();
    like(main, types, kernel.weight, dims, &new)
}

/// The bias of a kernel in the shape that it has with means; zeros where there is none.
fn uncorrected(
    main: &Graph,
    types: &Types,
    kernel: &Kernel,
    channels: usize,
) -> Result<Tensor, PassError> {
    let here = inside::body(main, &kernel.way).expect("kernels are in bodies of the model");
    let here_types = inside::types(types, &kernel.way).expect("types are inferred at every depth");
    corrected(here, here_types, (types, kernel), &vec![0.0; channels], main)
}

/// Adds the means to the bias of a kernel; the value that is the bias then.
fn correct(
    graph: &mut Graph,
    types: &Types,
    kernel: &Kernel,
    means: &[f64],
) -> Result<ValueId, PassError> {
    let Place { node, slot, bias } = kernel.place;
    let new = corrected(graph, types, (types, kernel), means, graph)?;
    if let Some(bias) = bias
        && graph.use_count(bias) == 1
        && graph.initializer(bias).is_some()
        && !graph.is_output(bias)
    {
        // Its shape may have grown.
        graph.value_mut(bias).ty = None;
        graph.set_initializer(bias, new);
        return Ok(bias);
    }
    let base = match bias {
        Some(bias) => format!("{}_of_{}", name(graph, bias), kernel.node),
        None => format!("{}_bias", name(graph, kernel.weight)),
    };
    let fresh = graph.fresh_name(&base);
    let value = graph.add_initializer(&fresh, new).expect("the name is fresh");
    graph.set_input(node, slot, Some(value));
    Ok(value)
}
