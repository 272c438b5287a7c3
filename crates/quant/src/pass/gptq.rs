//! Gptq: weights are rounded so that the outputs of their kernels change least.

mod gram;
mod round;

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, NodeId, Slot, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use super::watch::Watch;
use super::weights::{name, numeric, quantized_weight, read};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::Encoding;
use crate::kernel::label;
use crate::plan::{Plan, Reason};

use gram::{Gram, Layout};
use round::Rounded;

/// The most columns that are rounded together: the products of their inputs take 8·n² bytes, and
/// taking them apart n³/3 multiplications.
const MOST_COLUMNS: usize = 4096;
/// Bytes of products that are collected at once; the samples are run again for what is beyond.
const BUDGET: usize = 256 << 20;
/// One sample in so many is kept apart to judge by.
const APART: usize = 4;

/// Rounds weights so that the outputs of their kernels change least, instead of each weight to its
/// nearest grid point.
///
/// A kernel that reads x with weights Ŵ instead of W is off by Σₙ |xₙ·(Ŵ − W)|², which is
/// Σₘ eₘ·G·eₘᵀ with the errors eₘ of output channel m and G = Σₙ xₙᵀ·xₙ. Columns are rounded one
/// after the other, and what rounding one does to the output is taken back by those that follow:
/// Frantar et al., "GPTQ" (2022), in the form of Chee et al., "QuIP" (2023), G = L·D·Lᵀ and
/// ŵₖ = round(wₖ − Σⱼ eⱼ·Lⱼₖ) over the columns j before k. Columns that are read with large values
/// come first. Scales are those that `Calibrate` chose.
///
/// Every fourth sample is kept apart: an output channel whose error there does not fall keeps the
/// nearest grid points. The model computes something else afterwards: what it was is in
/// [`State::original`].
///
/// It stands behind `Calibrate` and before `BiasCorrection` and `QuantizeBias`.
/// In RON: `Gptq()`, `Gptq(samples: 64, damping: 0.01)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gptq {
    /// How many samples are run; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// What is added to the diagonal of G, as a share of its mean: the more, the less rounding trusts
    /// that other samples are like these.
    pub damping: f64,
}

impl Default for Gptq {
    fn default() -> Gptq {
        Gptq { samples: None, damping: 0.01 }
    }
}

impl Pass for Gptq {
    fn name(&self) -> &str {
        "Gptq"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let types = infer::run(&state.model);
        let (weights, left) = weights(&state.model.graph, &types, &state.plan);
        for (weight, why) in &left {
            if let Some(site) = state.plan.get_mut(*weight) {
                let what = format!("every element goes to its nearest grid point: {why}");
                site.because.push(Reason::new(self.name(), what));
            }
        }
        let total = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        let (mut before, mut after, mut changed) = (0.0, 0.0, Vec::new());
        for some in batches(&weights) {
            let grams = self.grams(&state.model.graph, some, cx, total)?;
            for (weight, gram) in some.iter().zip(&grams) {
                let graph = &state.model.graph;
                let (dims, data) = read(graph, &types, weight.value)?;
                let round = round::Round { layout: &weight.layout, damping: self.damping };
                let rounded = round
                    .weight(&data, &dims, &weight.encoding, gram)
                    .map_err(|source| numeric(graph, weight.value, source))?;
                let (kept, channels) = (rounded.kept, weight.layout.channels());
                let what = format!(
                    "rounded for the outputs of {}: {} of {channels} channels, {} off on samples \
                     kept apart",
                    label(graph, weight.nodes[0]),
                    channels - kept,
                    times(&rounded),
                );
                if let Some(site) = state.plan.get_mut(weight.value) {
                    site.because.push(Reason::new(self.name(), what));
                }
                before += rounded.before / rounded.scale;
                after += rounded.after / rounded.scale;
                let bad = |error: marquetry_ir::TensorError| PassError::BadEncoding {
                    value: name(&state.model.graph, weight.value),
                    what: error.to_string(),
                };
                let tensor = Tensor::from_f32s(dims, &rounded.data).map_err(bad)?;
                changed.push((weight.value, tensor));
            }
        }
        let done = match changed.is_empty() {
            true => "no weight is rounded by what it does to outputs".to_owned(),
            false => format!(
                "{} weights rounded on {total} samples, outputs {:.2} times as far off",
                changed.len(),
                (after / before.max(f64::MIN_POSITIVE)).sqrt()
            ),
        };
        if !changed.is_empty() && state.original.is_none() {
            state.original = Some(state.model.clone());
        }
        for (value, tensor) in changed {
            state.model.graph.set_initializer(value, tensor);
        }
        let mut summary = Summary::new(self, done);
        if !left.is_empty() {
            summary.notes.push(format!("weights rounded to nearest: {}", left.len()));
        }
        Ok(summary)
    }
}

/// By how much the outputs are off now, where they were off by one.
fn times(rounded: &Rounded) -> String {
    match rounded.before > 0.0 {
        true => format!("{:.2} times as far", (rounded.after / rounded.before).sqrt()),
        false => "never".to_owned(),
    }
}

/// A weight to round, and who reads it.
struct Weight {
    value: ValueId,
    nodes: Vec<NodeId>,
    layout: Layout,
    encoding: Encoding,
}

/// Weights that can be rounded by what they do, and the others with the reason.
fn weights(
    graph: &Graph,
    types: &Types,
    plan: &Plan,
) -> (Vec<Weight>, Vec<(ValueId, &'static str)>) {
    let mut readers: BTreeMap<ValueId, Vec<NodeId>> = BTreeMap::new();
    for node in graph.nodes() {
        if let Some(weight) = quantized_weight(graph, plan, node) {
            readers.entry(weight).or_default().push(node);
        }
    }
    let (mut found, mut left) = (Vec::new(), Vec::new());
    for (value, nodes) in readers {
        match one(graph, types, plan, value, &nodes) {
            Ok((layout, encoding)) => found.push(Weight { value, nodes, layout, encoding }),
            Err(why) => left.push((value, why)),
        }
    }
    (found, left)
}

fn one(
    graph: &Graph,
    types: &Types,
    plan: &Plan,
    value: ValueId,
    nodes: &[NodeId],
) -> Result<(Layout, Encoding), &'static str> {
    let encoding = plan.get(value).and_then(|site| site.encoding.clone());
    let encoding = encoding.ok_or("it has no encoding")?;
    if !encoding.dtype.is_integer() || encoding.is_shifted() {
        return Err("its grid is not made of integers");
    }
    let tensor = graph.initializer(value).filter(|tensor| tensor.f32s().is_some());
    let dims = tensor.ok_or("it is no constant of type `float`")?.dims();
    let kernels = graph
        .uses(value)
        .into_iter()
        .all(|reader| matches!(reader.slot, Slot::Input(1)) && nodes.contains(&reader.node));
    if !kernels || graph.is_output(value) {
        return Err("others read it");
    }
    let mut layouts = nodes.iter().map(|&node| Layout::of(graph.node(node), dims));
    let layout = layouts.next().ok_or("nothing reads it")??;
    if !layouts.all(|other| other.as_ref() == Ok(&layout)) {
        return Err("its readers sum over other elements");
    }
    if layout.columns > MOST_COLUMNS {
        return Err("it sums over too many products");
    }
    if nodes.iter().any(|&node| graph.input(node, 0).is_none_or(|data| types.is_constant(data))) {
        return Err("it is multiplied by a constant");
    }
    Ok((layout, encoding))
}

/// Weights whose products fit into the budget, one after the other.
fn batches(weights: &[Weight]) -> Vec<&[Weight]> {
    let mut batches = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (at, weight) in weights.iter().enumerate() {
        let more = Gram::bytes(&weight.layout);
        if at > first && bytes + more > BUDGET {
            batches.push(&weights[first..at]);
            (first, bytes) = (at, 0);
        }
        bytes += more;
    }
    batches.extend((first < weights.len()).then(|| &weights[first..]));
    batches
}

impl Gptq {
    /// The products of what every weight is multiplied by, in the order of the weights.
    fn grams(
        &self,
        graph: &Graph,
        weights: &[Weight],
        cx: &Context<'_>,
        total: usize,
    ) -> Result<Vec<Gram>, PassError> {
        let mut graph = graph.clone();
        let mut grams: Vec<Gram> = Vec::with_capacity(weights.len());
        let mut observed: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (at, weight) in weights.iter().enumerate() {
            for &node in &weight.nodes {
                let value = gram::beside(&mut graph, node, &weight.layout, &mut known)
                    .map_err(|error| PassError::Graph { message: error.to_string() })?;
                observed.entry(value).or_default().push(at);
            }
            grams.push(Gram::new(&weight.layout));
        }
        let wanted: BTreeSet<ValueId> = observed.keys().copied().collect();
        let watch = Watch { pass: self.name(), graph: &graph, wanted: &wanted, span: 0..total };
        watch.each(cx, &mut |sample, value, tensor| {
            let Some(products) = tensor.f32s() else { return Ok(()) };
            for &at in &observed[&value] {
                let apart = total >= APART && sample % APART == APART - 1;
                grams[at].add(&products, apart);
            }
            Ok(())
        })?;
        Ok(grams)
    }
}
