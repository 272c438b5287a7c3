//! What passes that go through a model layer by layer have in common.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Tensor, ValueId};
use ndarray::Array2;

use super::weights::{name, numeric, read};
use super::{Context, PassError, State};
use crate::kernel::label;
use crate::layerwise::{Gram, Layer, levels, search};
use crate::plan::Reason;
use crate::{Compat, Encoding, Granularity, Scheme, Spec};

/// The most columns that are rounded together: a Gram matrix of n columns takes 8·n² bytes, and taking
/// it apart n³/3 multiplications.
const MOST_COLUMNS: usize = 4096;
/// Rows that are shown to a layer at once.
const CHUNK: usize = 4096;

/// What a pass wants to know of the inputs of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// The whole Gram matrix, without every `apart`-th sample, and that of those.
    Gram { apart: usize },
    /// The blocks of the Gram matrix that scales belong to, unless running so many candidates on the
    /// rows takes fewer operations.
    Cheaper { candidates: u32 },
    /// All rows.
    Rows,
}

/// What was seen of the inputs of a layer.
pub(super) enum Seen {
    /// The second one is of the samples that are kept apart, where there are any.
    Gram(Gram, Option<Gram>),
    /// The rows, sample by sample.
    Rows(Vec<Array2<f32>>),
}

/// What a pass decided about a layer.
pub(super) struct Decision {
    pub(super) encoding: Encoding,
    /// The weight on its grid, in the order of the constant: what later layers are computed with.
    pub(super) back: Vec<f32>,
    /// Whether later passes must leave the encoding alone.
    pub(super) freeze: bool,
    pub(super) reason: String,
}

/// A layer with its weight.
pub(super) struct Subject<'a> {
    pub(super) graph: &'a Graph,
    pub(super) types: &'a Types,
    pub(super) layer: &'a Layer,
    pub(super) weight: &'a [f32],
    pub(super) spec: &'a Spec,
    /// What the weight has by now.
    pub(super) encoding: Option<&'a Encoding>,
    /// Whether that must stay.
    pub(super) frozen: bool,
}

/// What was done, and what was not.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) layers: usize,
    pub(super) levels: usize,
    pub(super) samples: usize,
    pub(super) left: Vec<String>,
}

/// A walk through the layers of a model.
pub(super) struct Walk<'a> {
    pub(super) pass: &'a str,
    pub(super) samples: Option<usize>,
    pub(super) exclude: &'a [String],
    pub(super) wants: Wants,
    /// Whether the model is to hold weights on their grids afterwards. Encodings are given then, and may
    /// be frozen.
    pub(super) replaces: bool,
}

impl Walk<'_> {
    /// Shows every layer, behind earlier layers whose weights are on their grids already, and takes the
    /// decisions into the plan.
    pub(super) fn run(
        &self,
        state: &mut State,
        cx: &Context<'_>,
        decide: &mut dyn FnMut(&Subject<'_>, &Seen) -> Result<Decision, PassError>,
    ) -> Result<Done, PassError> {
        let types = infer::run(&state.model);
        // Later levels are computed with weights on their grids; the model keeps its own.
        let mut graph = state.model.graph.clone();
        let mut done = Done::default();
        let layers = self.layers(state, &types, &mut done)?;
        let order =
            graph.order().map_err(|error| PassError::Graph { message: error.to_string() })?;
        let depths = levels::depths(&graph, &order, &layers);
        let count = depths.iter().max().map_or(0, |last| last + 1);
        if count == 0 {
            return Ok(done);
        }
        let samples = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        if samples == 0 {
            return Err(PassError::NoSamples);
        }
        let wanted = (0..count).map(|level| {
            let of_level = layers.iter().zip(&depths).filter(move |(_, depth)| **depth == level);
            of_level.map(|(layer, _)| layer.input).collect::<BTreeSet<ValueId>>()
        });
        let mut sweep =
            levels::Levels::new(self.pass, cx, &graph, order, wanted.collect(), samples)?;
        let mut decided: BTreeSet<ValueId> = BTreeSet::new();
        let mut replaced: BTreeMap<ValueId, Tensor> = BTreeMap::new();
        for level in 0..sweep.count() {
            let of_level: Vec<&Layer> = layers
                .iter()
                .zip(&depths)
                .filter(|(layer, depth)| **depth == level && !decided.contains(&layer.weight))
                .map(|(layer, _)| layer)
                .collect();
            // Layers that read one value in one way see the same rows.
            let mut gathered: Vec<(Vec<&Layer>, Gathered)> = Vec::new();
            for layer in of_level {
                let granularity = state.plan.get(layer.weight).map(|site| site.spec.granularity);
                let block = layer.block(granularity.unwrap_or(Granularity::PerTensor));
                let same = gathered.iter_mut().find(|(layers, seen)| {
                    layers[0].reads_like(layer) && seen.block == self.wants.block(layer, block)
                });
                match same {
                    Some((layers, seen)) => {
                        layers.push(layer);
                        seen.outputs += layer.outputs;
                    }
                    None => gathered
                        .push((vec![layer], Gathered::new(layer, block, self.wants, samples))),
                }
            }
            sweep.advance(&graph, &mut |sample, value, tensor| {
                for (layers, seen) in &mut gathered {
                    let layer = layers[0];
                    if layer.input == value {
                        seen.see(layer, sample, tensor).map_err(|what| PassError::BadInput {
                            value: name(&state.model.graph, value),
                            node: label(&state.model.graph, layer.node),
                            what,
                        })?;
                    }
                }
                Ok(())
            })?;
            let seen: Vec<(Vec<&Layer>, Seen)> = gathered
                .into_iter()
                .map(|(layers, gathered)| (layers, gathered.finish()))
                .collect();
            let shown = seen
                .iter()
                .flat_map(|(layers, seen)| layers.iter().map(move |layer| (*layer, seen)));
            for (layer, seen) in shown {
                if !decided.insert(layer.weight) {
                    continue;
                }
                let (dims, weight) = read(&state.model.graph, &types, layer.weight)?;
                let Some(site) = state.plan.get(layer.weight) else { continue };
                let subject = Subject {
                    graph: &state.model.graph,
                    types: &types,
                    layer,
                    weight: &weight,
                    spec: &site.spec,
                    encoding: site.encoding.as_ref(),
                    frozen: site.frozen,
                };
                let decision = decide(&subject, seen)?;
                let tensor = Tensor::from_f32s(dims, &decision.back).map_err(|error| {
                    let value = name(&state.model.graph, layer.weight);
                    PassError::BadEncoding { value, what: error.to_string() }
                })?;
                if self.replaces {
                    replaced.insert(layer.weight, tensor.clone());
                }
                put(&mut graph, layer.weight, tensor);
                let site = state.plan.get_mut(layer.weight).expect("the site was just read");
                site.encoding = Some(decision.encoding);
                site.frozen |= decision.freeze;
                site.because.push(Reason::new(self.pass, decision.reason));
                done.layers += 1;
            }
            sweep.progress(level + 1, count);
        }
        if !replaced.is_empty() {
            let original = state.model.clone();
            state.original.get_or_insert(original);
            for (weight, tensor) in replaced {
                put(&mut state.model.graph, weight, tensor);
            }
        }
        (done.levels, done.samples) = (count, samples);
        Ok(done)
    }

    /// The layers to look at, in the order of the graph.
    fn layers(
        &self,
        state: &mut State,
        types: &Types,
        done: &mut Done,
    ) -> Result<Vec<Layer>, PassError> {
        let graph = &state.model.graph;
        let mut layers = Vec::new();
        let mut left = Vec::new();
        let mut excluded: BTreeSet<&str> = BTreeSet::new();
        for node in graph.nodes() {
            let called = graph.node(node).name.as_str();
            if let Some(name) = self.exclude.iter().find(|name| *name == called) {
                excluded.insert(name);
                continue;
            }
            let Some(layer) = Layer::of(graph, types, &state.plan, node) else { continue };
            let layer = match layer {
                Ok(layer) => layer,
                Err(why) => {
                    left.push((
                        graph.input(node, crate::kernel::WEIGHT),
                        format!("{}: {why}", label(graph, node)),
                    ));
                    continue;
                }
            };
            if self.replaces
                && let Some(why) = self.stays(graph, &layer)
            {
                left.push((Some(layer.weight), format!("{}: {why}", label(graph, node))));
                continue;
            }
            if self.replaces || !state.plan.get(layer.weight).is_some_and(|site| site.frozen) {
                layers.push(layer);
            }
        }
        if let Some(name) = self.exclude.iter().find(|name| !excluded.contains(name.as_str())) {
            return Err(PassError::NoNode { pass: self.pass.to_owned(), node: name.clone() });
        }
        for (weight, why) in left {
            if let Some(site) = weight.and_then(|weight| state.plan.get_mut(weight)) {
                site.because.push(Reason::new(self.pass, format!("left as it is: {why}")));
            }
            done.left.push(why);
        }
        Ok(layers)
    }
}

impl Walk<'_> {
    /// Why a weight cannot be replaced.
    fn stays(&self, graph: &Graph, layer: &Layer) -> Option<String> {
        if layer.depth > MOST_COLUMNS {
            return Some(format!("it sums over more than {MOST_COLUMNS} products"));
        }
        let alone = graph.use_count(layer.weight) == 1 && !graph.is_output(layer.weight);
        (!alone).then(|| "others read its weight".to_owned())
    }
}

/// Puts another content in the place of a constant.
fn put(graph: &mut Graph, value: ValueId, tensor: Tensor) {
    // What a `Constant` gave is an initializer from now on.
    if let Some((node, slot)) = graph.producer(value) {
        graph.set_output(node, slot, None);
    }
    graph.set_initializer(value, tensor);
}

/// The grid of the smallest and the largest element, block by block where scales are low-power: those
/// of AIMET's blocks have been on their integer grid before.
pub(super) fn whole_range(subject: &Subject<'_>, compat: Compat) -> Result<Encoding, PassError> {
    let plain = search::plain(subject.spec.granularity);
    let granularity = match compat {
        Compat::Default => plain,
        Compat::Aimet => subject.spec.granularity,
    };
    let spec = Spec { granularity, scheme: Scheme::MinMax, ..*subject.spec };
    let whole = super::weights::of_constant(&spec, compat, &subject.layer.dims, subject.weight);
    let whole = whole.map_err(|source| numeric(subject.graph, subject.layer.weight, source))?;
    Ok(Encoding { granularity: plain, channel_scales: Vec::new(), ..whole })
}

impl Wants {
    /// Columns of the blocks of the Gram matrix, where scales belong to blocks of so many.
    fn block(self, layer: &Layer, block: usize) -> usize {
        match self {
            Wants::Gram { .. } => layer.depth,
            Wants::Cheaper { .. } | Wants::Rows => block,
        }
    }
}

/// The inputs of one layer so far.
struct Gathered {
    block: usize,
    gram: Gram,
    /// That of samples that are kept apart.
    apart: Option<Gram>,
    /// Kept as long as they are fewer than the columns, or as they are wanted.
    rows: Option<Vec<Array2<f32>>>,
    count: usize,
    /// Outputs of all layers that see these rows.
    outputs: usize,
    wants: Wants,
}

impl Gathered {
    fn new(layer: &Layer, block: usize, wants: Wants, samples: usize) -> Gathered {
        let block = wants.block(layer, block);
        let gram = || Gram::new(layer.groups, layer.depth, block);
        let rows = (!matches!(wants, Wants::Gram { .. })).then(Vec::new);
        let apart = matches!(wants, Wants::Gram { apart } if samples >= apart).then(gram);
        Gathered { block, gram: gram(), apart, rows, count: 0, outputs: layer.outputs, wants }
    }

    fn see(&mut self, layer: &Layer, at: usize, input: &Tensor) -> Result<(), String> {
        let width = layer.width();
        let mut sample: Vec<f32> = Vec::new();
        let most_rows = self.most_rows(layer);
        let Gathered { gram, apart, rows, count, wants, .. } = self;
        let gram = match (*wants, apart) {
            (Wants::Gram { apart: every }, Some(apart)) if at % every == every - 1 => apart,
            _ => gram,
        };
        layer.rows(input, CHUNK, &mut |part| {
            *count += part.len() / width.max(1);
            let many = *count > most_rows;
            if many && let Some(kept) = rows.take() {
                kept.iter().filter_map(|rows| rows.as_slice()).for_each(|rows| gram.add(rows));
                gram.add(&sample);
                sample.clear();
            }
            match rows {
                Some(_) => sample.extend_from_slice(part),
                None => gram.add(part),
            }
        })?;
        if let Some(rows) = rows {
            let shape = (sample.len() / width.max(1), width);
            rows.push(Array2::from_shape_vec(shape, sample).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Above how many rows their Gram matrix is cheaper than they are. For each row it takes as many
    /// operations as half of a block has elements, and so does each output of each candidate, which
    /// otherwise takes one for each row.
    fn most_rows(&self, layer: &Layer) -> usize {
        match self.wants {
            Wants::Gram { .. } => 0,
            Wants::Rows => usize::MAX,
            Wants::Cheaper { candidates } => {
                let half = self.block / 2;
                let judged = candidates as usize * self.outputs / layer.groups.max(1);
                // As many rows as columns take half the memory of the matrix.
                match judged.checked_sub(half) {
                    None | Some(0) => layer.depth,
                    Some(more) => (judged.saturating_mul(half) / more).min(layer.depth),
                }
            }
        }
    }

    fn finish(self) -> Seen {
        match self.rows {
            Some(rows) => Seen::Rows(rows),
            None => Seen::Gram(self.gram, self.apart),
        }
    }
}
