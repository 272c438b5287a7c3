//! Equalize: channels of very different ranges are brought together before anything is quantized.

mod noise;
mod pairs;

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer;
use marquetry_ir::{Graph, NodeId, ValueId};
use serde::{Deserialize, Serialize};

use super::parameter::{samples, within};
use super::watch::Watch;
use super::weights::{like, name, numeric, read};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::grid::Grid;
use crate::kernel::{SUMS, WEIGHT, label};
use crate::plan::Reason;
use crate::{DType, Policy};

use noise::{Behind, Channel, widen};
use pairs::Pair;

/// The name of the pass, by which what it did is found again.
pub(super) const NAME: &str = "Equalize";
/// Room above the largest value that was seen before a bound would cut it off.
const HEADROOM: f64 = 1.25;
/// The share of the range that its weights make likely which a channel is given at least.
const LIKELY: f64 = 0.1;
/// The smallest range that counts, as a share of the largest: none grows without limit.
const FLOOR: f64 = 1e-3;
/// The share of the noise that must be left at most for a pair to be worth changing: what other samples
/// have beyond the ends of these, which more channels reach then, is known too badly for less.
const WORTH: f64 = 0.5;

/// Scales channels between two layers so that all of them use the range of their one quantizer.
///
/// Channel c of the first layer's output is divided by s_c, and the weights of the second that read
/// it are multiplied by s_c. What lies between must let a positive factor through: Relu and its kin,
/// pooling, and Clip between 0 and B where s_c ≤ 1 and no value seen exceeds s_c·B, because then the
/// bound cuts nothing off. So the float model computes the same as before, up to rounding.
///
/// s_c = r_c^m / w_c^(1−m), with r_c the largest value of the channel on the samples, w_c its largest
/// weight in the second layer, and m the part that moves into the weights: the one of five that should
/// leave the least noise of rounding and cutting off behind the second layer, and none unless that
/// halves it. With r_c from the weights, m is a half.
/// Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019) take the
/// first layer's weights for r_c; Xiao et al., "SmoothQuant" (2023) the activations.
///
/// It changes weights, so it stands behind `FoldBatchNorm` and before `Group`.
/// In RON: `Equalize()`, `Equalize(by: Weights, samples: 32, migrate: 0.5)`,
/// `Equalize(activations: UInt16, weights: Int8)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Equalize {
    /// What the ranges of the first layer are.
    pub by: EqualizeBy,
    /// How many samples are run at most.
    pub samples: usize,
    /// The part m of the range that moves into the weights, 0 to 1; where left out, the one of five that
    /// should leave the least noise, if it halves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate: Option<f64>,
    /// The type that activations will have, which tells how much noise their grid leaves.
    pub activations: DType,
    /// The type that weights will have, likewise.
    pub weights: DType,
}

/// The parts that are tried.
const PARTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// What is brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EqualizeBy {
    /// The ranges of the channels on the samples: for weights with a scale per channel.
    #[default]
    Activations,
    /// The weights of both layers: for weights with one scale per tensor.
    Weights,
}

impl Default for Equalize {
    fn default() -> Equalize {
        Equalize {
            by: EqualizeBy::default(),
            samples: 64,
            migrate: None,
            activations: DType::UInt8,
            weights: DType::Int8,
        }
    }
}

impl Pass for Equalize {
    fn name(&self) -> &str {
        NAME
    }

    fn requires(&self) -> &[Fact] {
        &[]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Groups, Fact::Sites]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        samples(NAME, Some(self.samples))?;
        let part = self.migrate.unwrap_or(0.5);
        within(NAME, "migrate", part, 0.0..=1.0, "a number from 0 to 1, or leave it out")
    }

    fn runs_samples(&self) -> bool {
        true
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        let pairs = pairs::find(&state.model.graph, &infer::run(&state.model));
        pairs.iter().map(|pair| pair.observed).collect()
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        self.check(&state.policy)?;
        if !state.groups.groups.is_empty() {
            let message = "`Equalize` changes weights after groups were found".to_owned();
            return Err(PassError::Graph { message });
        }
        let types = infer::run(&state.model);
        let graph = &mut state.model.graph;
        let pairs = pairs::find(graph, &types);
        let inner: usize = graph.nodes().map(|node| layers_in_bodies(graph, node)).sum();
        let notes: Vec<String> = (inner > 0)
            .then(|| format!("layers in bodies are not equalized: {inner}"))
            .into_iter()
            .collect();
        if pairs.is_empty() {
            let summary = Summary::new(self, "no two layers to equalize");
            return Ok(Summary { notes, ..summary });
        }
        let (ranges, samples) = self.ranges(graph, &pairs, cx)?;
        let mut constants = Constants { graph, types: &types, changed: BTreeMap::new() };
        let mut equalized = 0;
        for pair in &pairs {
            cx.go_on()?;
            let Some(scales) = self.scales(pair, &ranges[&pair.observed], &mut constants)? else {
                continue;
            };
            constants.scale(pair, &scales)?;
            let least = scales.iter().copied().fold(f64::INFINITY, f64::min);
            let most = scales.iter().copied().fold(0.0, f64::max);
            let what = format!(
                "its channels were divided by {least:.3} to {most:.3}, which {} makes up for",
                label(constants.graph, pair.second.node)
            );
            state.plan.leave_alone(pair.observed, Reason::new(self.name(), what));
            equalized += 1;
        }
        constants.write();
        graph.drop_unused();
        let done = format!("{equalized} of {} pairs of layers on {samples} samples", pairs.len());
        Ok(Summary { notes, ..Summary::new(self, done) })
    }
}

/// How many layers the bodies of a node hold, at any depth.
fn layers_in_bodies(graph: &Graph, node: NodeId) -> usize {
    let of_body = |body: &Graph| -> usize {
        let own = body.nodes().filter(|&inner| {
            let content = body.node(inner);
            SUMS.iter().any(|op| content.is_onnx(op))
        });
        let deeper: usize = body.nodes().map(|inner| layers_in_bodies(body, inner)).sum();
        own.count() + deeper
    };
    graph.node(node).bodies().map(of_body).sum()
}

impl Equalize {
    /// What is seen of every channel of every observed value, and the number of samples.
    fn ranges(
        &self,
        graph: &Graph,
        pairs: &[Pair],
        cx: &Context<'_>,
    ) -> Result<(BTreeMap<ValueId, Vec<Channel>>, usize), PassError> {
        let axes: BTreeMap<ValueId, i64> =
            pairs.iter().map(|pair| (pair.observed, pair.axis)).collect();
        let wanted: BTreeSet<ValueId> = axes.keys().copied().collect();
        let mut ranges: BTreeMap<ValueId, Vec<Channel>> =
            wanted.iter().map(|&value| (value, Vec::new())).collect();
        let total = cx.samples.count().min(self.samples);
        let watch = Watch { pass: self.name(), graph, wanted: &wanted, span: 0..total };
        // The same steps find the same values in the same order.
        let seen = cx.kept("ranges", || {
            watch.each(cx, |_, value, tensor| {
                let Some(data) = tensor.to_f32s() else { return Ok(()) };
                let seen = ranges.get_mut(&value).expect("only wanted values are shown");
                let widened = widen(seen, tensor.dims(), axes[&value], &data);
                widened.map_err(|source| numeric(graph, value, source))
            })?;
            Ok(ranges.into_values().collect::<Vec<_>>())
        })?;
        Ok((wanted.into_iter().zip(seen).collect(), total))
    }

    /// The divisor of every channel; none where the pair is better left alone: where it is dead, holds
    /// what is not finite, or where rounding should leave as little noise as it is.
    fn scales(
        &self,
        pair: &Pair,
        channels: &[Channel],
        constants: &mut Constants<'_>,
    ) -> Result<Option<Vec<f64>>, PassError> {
        let first = pair.first;
        let (dims, weight) = constants.get(first.node, WEIGHT)?;
        let rows = largest(weight, first.outputs(dims), |at| first.output_channel(dims, at));
        let second = pair.second;
        let (dims, weight) = constants.get(second.node, WEIGHT)?;
        let columns = largest(weight, second.inputs(dims), |at| second.input_channel(dims, at));
        if rows.len() != columns.len() || channels.len() != rows.len() {
            return Ok(None);
        }
        let (Some(rows), Some(columns)) = (floored(&rows), floored(&columns)) else {
            return Ok(None);
        };
        let scales = |part: f64, most: &[f64]| {
            let seen = likely(most, &rows);
            let ranges = match self.by {
                EqualizeBy::Activations => &seen,
                EqualizeBy::Weights => &rows,
            };
            let each = ranges.iter().zip(&columns);
            let mut scales: Vec<f64> =
                each.map(|(range, column)| range.powf(part) / column.powf(1.0 - part)).collect();
            let most = scales.iter().copied().fold(0.0, f64::max);
            scales.iter_mut().for_each(|scale| *scale /= most);
            if let Some(bound) = pair.bound {
                for (scale, seen) in scales.iter_mut().zip(&seen) {
                    *scale = scale.max((seen * HEADROOM).min(bound) / bound);
                }
            }
            scales
        };
        let most: Vec<f64> = channels.iter().map(Channel::most).collect();
        if floored(&most).is_none() {
            return Ok(None);
        }
        let part = match (self.migrate, self.by) {
            (Some(part), _) => Some(part),
            (None, EqualizeBy::Weights) => Some(0.5),
            (None, EqualizeBy::Activations) => {
                let (activations, weights) = (self.activations, self.weights);
                let seen = channels;
                let behind = Behind { layer: second, dims, weight, seen, activations, weights };
                let mut best = (behind.noise(|most| vec![1.0; most.len()]) * WORTH, None);
                for part in PARTS {
                    let noise = behind.noise(|most| scales(part, most));
                    if noise < best.0 {
                        best = (noise, Some(part));
                    }
                }
                best.1
            }
        };
        Ok(part.map(|part| scales(part, &most)))
    }
}

/// The largest magnitude of every channel of a weight.
fn largest(data: &[f32], channels: usize, channel: impl Fn(usize) -> usize) -> Vec<f64> {
    let mut most = vec![0.0; channels];
    for (at, x) in data.iter().enumerate() {
        let channel = channel(at);
        most[channel] = f64::max(most[channel], f64::from(x.abs()));
    }
    most
}

/// Ranges for the largest magnitudes that were seen: none far below what the largest weight of its
/// channel makes likely, for a channel that is dead on some samples, or nearly, comes to life on others.
fn likely(seen: &[f64], weights: &[f64]) -> Vec<f64> {
    let each = || seen.iter().zip(weights);
    let mut gains: Vec<f64> =
        each().filter(|(seen, _)| **seen > 0.0).map(|(seen, weight)| seen / weight).collect();
    gains.sort_by(f64::total_cmp);
    let gain = gains.get(gains.len() / 2).copied().unwrap_or(0.0);
    let most = seen.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    each().map(|(seen, weight)| seen.max(LIKELY * gain * weight).max(FLOOR * most)).collect()
}

/// Ranges that are not too far below the largest; none where all are zero or one is not finite.
fn floored(ranges: &[f64]) -> Option<Vec<f64>> {
    let most = ranges.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 || !ranges.iter().all(|range| range.is_finite()) {
        return None;
    }
    Some(ranges.iter().map(|range| range.max(most * FLOOR)).collect())
}

/// Weights and biases as they are changed, pair by pair, and written in the end.
struct Constants<'a> {
    graph: &'a mut Graph,
    types: &'a infer::Types,
    changed: BTreeMap<(NodeId, usize), (Vec<usize>, Vec<f32>)>,
}

impl Constants<'_> {
    fn get(&mut self, node: NodeId, slot: usize) -> Result<&(Vec<usize>, Vec<f32>), PassError> {
        self.get_mut(node, slot).map(|constant| &*constant)
    }

    fn get_mut(
        &mut self,
        node: NodeId,
        slot: usize,
    ) -> Result<&mut (Vec<usize>, Vec<f32>), PassError> {
        use std::collections::btree_map::Entry;
        match self.changed.entry((node, slot)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let value = self.graph.input(node, slot).expect("layers have their constants");
                Ok(entry.insert(read(self.graph, self.types, value)?))
            }
        }
    }

    fn scale(&mut self, pair: &Pair, scales: &[f64]) -> Result<(), PassError> {
        let first = pair.first;
        let (dims, weight) = self.get_mut(first.node, WEIGHT)?;
        for (at, w) in weight.iter_mut().enumerate() {
            *w = (f64::from(*w) / scales[first.output_channel(dims, at)]) as f32;
        }
        if let Some((node, slot)) = pair.bias {
            let (_, bias) = self.get_mut(node, slot)?;
            bias.iter_mut().zip(scales).for_each(|(b, s)| *b = (f64::from(*b) / s) as f32);
        }
        let second = pair.second;
        let (dims, weight) = self.get_mut(second.node, WEIGHT)?;
        for (at, w) in weight.iter_mut().enumerate() {
            *w = (f64::from(*w) * scales[second.input_channel(dims, at)]) as f32;
        }
        Ok(())
    }

    /// A constant that nobody else reads keeps its name; a shared bias is copied.
    fn write(self) {
        for ((node, slot), (dims, data)) in self.changed {
            let graph = &mut *self.graph;
            let value = graph.input(node, slot).expect("layers have their constants");
            let tensor = like(graph, self.types, value, dims, &data).expect("it has its shape");
            let own = graph.initializer(value).is_some() && graph.use_count(value) == 1;
            if own && !graph.is_output(value) {
                graph.set_initializer(value, tensor);
                continue;
            }
            let fresh = graph.fresh_name(&format!("{}_equalized", name(graph, value)));
            let fresh = graph.add_initializer(&fresh, tensor).expect("the name is fresh");
            graph.set_input(node, slot, Some(fresh));
        }
    }
}
