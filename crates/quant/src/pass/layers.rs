//! What passes that go through a model layer by layer have in common.

mod chosen;
mod gathered;
mod inner;
mod sweeps;

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, NodeId, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use self::chosen::depths;
pub(super) use self::chosen::{inner_readers, weights};
use self::gathered::Gathered;
pub(super) use self::gathered::{Inputs, Seen, Wants};
use self::sweeps::Sweeps;
use super::weights::{finite, like, name, numeric, read};
use super::{Changed, Context, Curve, PassError, Paused, State};
use crate::inside::Way;
use crate::layerwise::room::Room;
use crate::layerwise::search::SearchError;
use crate::layerwise::tiles::Shared;
use crate::layerwise::{Checkpoints, Entries, Entry, Layer, Store, levels, search};
use crate::plan::{Reason, Role};
use crate::select::Selector;
use crate::{Compat, Encoding, Granularity, Scheme, Spec, statistics};

/// How many samples are looked at to tell them from others.
const LOOKED_AT: usize = 16;

/// What a pass decided about a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Decision {
    pub(super) encoding: Encoding,
    /// Whether later passes must leave the encoding alone.
    pub(super) freeze: bool,
    pub(super) reason: String,
    /// How far outputs are off without the pass, and with it.
    pub(super) off: (f64, f64),
    pub(super) curve: Option<Candidates>,
}

/// What each candidate costs every channel or block, and the candidate that was chosen for it.
pub(super) type Candidates = (Vec<Vec<f64>>, Vec<usize>);

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
    /// How far all outputs are off without the pass, and with it.
    pub(super) off: (f64, f64),
    /// The most samples that one layer could not be shown, because they hold what is no finite number.
    pub(super) odd: usize,
}

impl Done {
    /// What to say of samples that were left out.
    pub(super) fn note_of_odd(&self) -> Option<String> {
        let odd = self.odd;
        (odd > 0).then(|| {
            format!(
                "{odd} samples are left out where the input of a layer has what is no finite number"
            )
        })
    }
}

/// A walk through the layers of a model.
pub(super) struct Walk<'a> {
    pub(super) pass: &'a str,
    pub(super) samples: Option<usize>,
    pub(super) exclude: &'a [String],
    /// The layers to look at, by their weights and nodes; all without one.
    pub(super) select: Option<&'a Selector>,
    pub(super) wants: Wants,
    /// Whether the model is to hold weights on their grids afterwards. Encodings are given then, and may
    /// be frozen.
    pub(super) replaces: bool,
    pub(super) checkpoints: Option<&'a Checkpoints>,
    /// All other options, as text: checkpoints are of the same ones.
    pub(super) options: String,
}

/// Decides about a layer: gives the weight on its grid, too, in the order of the constant.
pub(super) type Decide<'d> =
    dyn FnMut(&Subject<'_>, &Seen) -> Result<(Decision, Vec<f32>), PassError> + 'd;

/// A node, and the way to its graph.
type Place = (Way, NodeId);

/// Decisions about a level, each with the weight that later levels are computed with.
type Decided = Entries<Decision>;

impl Walk<'_> {
    /// Shows every layer, behind earlier layers whose weights are on their grids already, and takes the
    /// decisions into the plan.
    pub(super) fn run(
        &self,
        state: &mut State,
        cx: &Context<'_>,
        decide: &mut Decide<'_>,
    ) -> Result<Done, PassError> {
        let types = infer::run(&state.model);
        let extended = inner::extend(state, &types)?;
        let mut done = Done::default();
        let (layers, places) = self.layers(state, &types, extended.as_ref(), &mut done)?;
        let depths = depths(state, &types, &places)?;
        let (model, types) = match extended {
            Some(extended) => (extended.graph, extended.types),
            None => (state.model.graph.clone(), types),
        };
        // Later levels are computed with weights on their grids; the model keeps its own.
        let mut graph = model.clone();
        let count = depths.iter().max().map_or(0, |last| last + 1);
        if count == 0 {
            return Ok(done);
        }
        let samples = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        if samples == 0 {
            return Err(PassError::NoSamples);
        }
        (done.levels, done.samples) = (count, samples);
        // What flows and the rows that are kept share it.
        let room = Room::new(cx.memory);
        // A weight of several layers is decided where it is first read.
        let mut read: BTreeSet<ValueId> = BTreeSet::new();
        let levels: Vec<Vec<&Layer>> = (0..count)
            .map(|level| {
                let of_level = layers.iter().zip(&depths).filter(|(_, depth)| **depth == level);
                let fresh = of_level.map(|(layer, _)| layer);
                fresh.filter(|layer| read.insert(layer.weight)).collect()
            })
            .collect();
        // Where nobody says where levels are kept, a journal has a place for them.
        let own = cx.folder("levels").map(|folder| Checkpoints { folder, shard: None });
        let checkpoints = self.checkpoints.or(own.as_ref());
        let store = checkpoints.map(|checkpoints| self.store(checkpoints, state, cx, samples));
        let mut store = store.transpose()?;
        if self.checkpoints.is_none() {
            store = store.map(Store::forgiving);
        }

        // Levels that were decided before, here or from what other processes saw.
        let mut first = 0;
        while let (Some(store), true) = (&store, first < count) {
            let mut decided = store.read(first)?;
            let fresh = decided.is_none();
            let of = self.checkpoints.and_then(|it| it.shard).map(|shard| shard.of);
            if let (None, Some(of)) = (&decided, of) {
                let rounds = self.rounds(state, &levels[first], samples, (first, cx), &room);
                if store.has_parts(first, rounds.len(), of) {
                    let mut all = Decided::new();
                    for (round, mut gathered) in rounds.into_iter().enumerate() {
                        let mut sums: Vec<&mut dyn Shared> =
                            gathered.iter_mut().flat_map(|(_, seen)| seen.sums()).collect();
                        if !store.merge_parts((first, round), of, &mut sums)? {
                            let message = "a part of a level is gone".to_owned();
                            return Err(PassError::Graph { message });
                        }
                        let deciding = (&mut *decide, &mut done);
                        let of = (&model, &types);
                        all.extend(self.decide(state, cx, of, gathered, deciding)?);
                    }
                    decided = Some(all);
                }
            }
            let Some(decided) = decided else { break };
            if fresh {
                store.write(first, &decided)?;
            }
            self.take(state, &mut graph, decided, &mut done)?;
            first += 1;
        }
        if let (Some(store), None) = (&store, self.checkpoints) {
            cx.taken((first, count), store.had_damage());
        }

        let wanted = levels.iter().map(|layers| layers.iter().map(|layer| layer.input).collect());
        let mut wanted: Vec<BTreeSet<ValueId>> = wanted.collect();
        if let (Some(shard), Some(store), true) =
            (self.checkpoints.and_then(|it| it.shard), &store, first < count)
        {
            // Only this level is looked at, and nothing is decided.
            wanted.truncate(first + 1);
            let span = shard.span(samples).map_err(PassError::Statistics)?;
            let rounds = self.rounds(state, &levels[first], samples, (first, cx), &room);
            let again = rounds.len() > 1;
            // There may be more parts than samples.
            let mut sweeps = match span.is_empty() {
                true => None,
                false => {
                    let both = (&model, &graph);
                    Some(Sweeps::new(self, cx, both, wanted, first, span, &room)?)
                }
            };
            for (round, mut gathered) in rounds.into_iter().enumerate() {
                match (&mut sweeps, round) {
                    (None, _) => {}
                    (Some(sweeps), 0) => sweeps.advance(&model, &graph, again, &mut gathered)?,
                    (Some(sweeps), _) => sweeps.again(&model, &mut gathered)?,
                }
                let sums: Vec<&mut dyn Shared> =
                    gathered.iter_mut().flat_map(|(_, seen)| seen.sums()).collect();
                let sums: Vec<&dyn Shared> = sums.into_iter().map(|sums| &*sums).collect();
                store.write_part((first, round), shard, &sums)?;
            }
            state.paused = Some(self.paused(first + 1, count, false));
            return Ok(done);
        }
        if self.checkpoints.is_some_and(|checkpoints| checkpoints.shard.is_some()) {
            state.paused = Some(self.paused(count, count, true));
        }
        if first < count {
            let both = (&model, &graph);
            let mut sweeps = Sweeps::new(self, cx, both, wanted, first, 0..samples, &room)?;
            for (level, layers) in levels.iter().enumerate().skip(first) {
                // As many matrices at once as there is room for.
                let mut rounds = self.rounds(state, layers, samples, (level, cx), &room);
                let mut decided = Decided::new();
                let again = rounds.len() > 1;
                for (round, mut gathered) in rounds.drain(..).enumerate() {
                    match round {
                        0 => sweeps.advance(&model, &graph, again, &mut gathered)?,
                        _ => sweeps.again(&model, &mut gathered)?,
                    }
                    let (of, deciding) = ((&model, &types), (&mut *decide, &mut done));
                    decided.extend(self.decide(state, cx, of, gathered, deciding)?);
                }
                if let Some(store) = &store {
                    store.write(level, &decided)?;
                }
                self.take(state, &mut graph, decided, &mut done)?;
                sweeps.release();
                sweeps.progress(level + 1, count);
            }
        }
        let mut replaced: BTreeMap<ValueId, Tensor> = BTreeMap::new();
        if self.replaces {
            for layer in levels.iter().flatten() {
                replaced
                    .extend(graph.initializer(layer.weight).map(|it| (layer.weight, it.clone())));
            }
        }
        if !replaced.is_empty() {
            let original = state.model.clone();
            state.original.get_or_insert(original);
            let before = infer::run(&state.model);
            for (weight, tensor) in replaced {
                if let Some(before) = before.constant(weight).cloned() {
                    state.changed.push(Changed { weight, bias: None, before });
                }
                put(&mut state.model.graph, weight, tensor);
            }
        }
        Ok(done)
    }

    fn paused(&self, level: usize, levels: usize, decided: bool) -> Paused {
        Paused { pass: self.pass.to_owned(), level, levels, decided }
    }

    /// The folder of checkpoints, for this model, these options and samples.
    fn store<'c>(
        &'c self,
        checkpoints: &'c Checkpoints,
        state: &State,
        cx: &Context<'_>,
        samples: usize,
    ) -> Result<Store<'c>, PassError> {
        // What was decided before counts as well: it changes what is decided here.
        let sites = state.plan.sites().filter(|(_, site)| site.role == Role::Weight);
        let mut sites: Vec<String> = sites
            .map(|(value, site)| {
                let name = name(&state.model.graph, value);
                format!("{name} {:?} {:?} {}", site.spec, site.encoding, site.frozen)
            })
            .collect();
        // Some of the samples tell them from others; all would be read again for each part.
        let every = samples.div_ceil(LOOKED_AT).max(1);
        for index in (0..samples).step_by(every) {
            let tensors = cx.samples.sample(index).map_err(PassError::Sample)?;
            sites.extend(tensors.iter().map(statistics::tensor_hash));
        }
        let model = statistics::fingerprint(&state.model);
        let options = statistics::hash(&format!("{} {samples} {}", self.options, sites.join("\n")));
        Store::open(&checkpoints.folder, self.pass, format!("{model} {options}"))
    }

    /// Layers that read one value in one way, which see the same rows.
    fn gathered<'l>(
        &self,
        state: &State,
        layers: &[&'l Layer],
        samples: usize,
        level: usize,
        room: &Room,
    ) -> Vec<(Vec<&'l Layer>, Gathered)> {
        // Nothing was changed before the first layers.
        let wants = self.wants.at(level);
        let shared = self.checkpoints.is_some_and(|checkpoints| checkpoints.shard.is_some());
        let mut gathered: Vec<(Vec<&Layer>, Gathered)> = Vec::new();
        for layer in layers {
            let granularity = state.plan.get(layer.weight).map(|site| site.spec.granularity);
            let block = layer.block(granularity.unwrap_or(Granularity::PerTensor));
            let same = gathered.iter_mut().find(|(layers, seen)| {
                layers[0].reads_like(layer) && seen.block == wants.block(layer, block)
            });
            match same {
                Some((layers, seen)) => {
                    layers.push(layer);
                    seen.outputs += layer.outputs;
                    // Rows would not do for its blocks.
                    if block < seen.block {
                        seen.rows = None;
                    }
                }
                None => {
                    let seen = Gathered::new(layer, block, wants, samples, shared, room);
                    gathered.push((vec![layer], seen));
                }
            }
        }
        gathered
    }

    /// The layers of a level that are gathered together, within the memory that there is if possible; at
    /// least one round, because samples go on where nothing is left to decide, too.
    fn rounds<'l>(
        &self,
        state: &State,
        layers: &[&'l Layer],
        samples: usize,
        (level, cx): (usize, &Context<'_>),
        room: &Room,
    ) -> Vec<Vec<(Vec<&'l Layer>, Gathered)>> {
        let gathered = self.gathered(state, layers, samples, level, room);
        let mut rounds: Vec<Vec<(Vec<&Layer>, Gathered)>> = Vec::new();
        let mut taken = 0;
        for one in gathered {
            let bytes = one.1.bytes(one.0[0]);
            match rounds.last_mut() {
                Some(round) if taken + bytes <= cx.memory => {
                    taken += bytes;
                    round.push(one);
                }
                _ => {
                    taken = bytes;
                    rounds.push(vec![one]);
                }
            }
        }
        if rounds.is_empty() {
            rounds.push(Vec::new());
        }
        rounds
    }

    /// Decides about layers whose inputs were seen.
    fn decide(
        &self,
        state: &State,
        cx: &Context<'_>,
        (model, types): (&Graph, &Types),
        gathered: Vec<(Vec<&Layer>, Gathered)>,
        (decide, done): (&mut Decide<'_>, &mut Done),
    ) -> Result<Decided, PassError> {
        let mut decided = Decided::new();
        for (layers, gathered) in gathered {
            done.odd = done.odd.max(gathered.odd);
            let seen = gathered.finish();
            for layer in layers {
                cx.go_on()?;
                let (dims, weight) = read(model, types, layer.weight)?;
                finite(model, layer.weight, &weight)?;
                let Some(site) = state.plan.get(layer.weight) else { continue };
                let subject = Subject {
                    graph: model,
                    types,
                    layer,
                    weight: &weight,
                    spec: &site.spec,
                    encoding: site.encoding.as_ref(),
                    frozen: site.frozen,
                };
                let (decision, back) = decide(&subject, &seen)?;
                let called = name(model, layer.weight);
                let tensor = like(model, types, layer.weight, dims, &back)?;
                decided.push((Entry { weight: called, decision }, tensor));
            }
        }
        Ok(decided)
    }

    /// Takes decisions into the plan, and weights into what later levels are computed with.
    fn take(
        &self,
        state: &mut State,
        graph: &mut Graph,
        decided: Decided,
        done: &mut Done,
    ) -> Result<(), PassError> {
        for (Entry { weight, decision }, tensor) in decided {
            let value = state.model.graph.find(&weight);
            let site = value.and_then(|value| Some((value, state.plan.get_mut(value)?)));
            let Some((value, site)) = site else {
                let message = format!("`{weight}` was decided, and there is no such weight");
                return Err(PassError::Graph { message });
            };
            put(graph, value, tensor);
            site.encoding = Some(decision.encoding);
            site.frozen |= decision.freeze;
            site.because.push(Reason::new(self.pass, decision.reason));
            if let Some((losses, best)) = decision.curve {
                state.curves.push(Curve { weight: value, losses, best });
            }
            done.off.0 += decision.off.0;
            done.off.1 += decision.off.1;
            done.layers += 1;
        }
        Ok(())
    }
}

/// A search that failed.
pub(super) fn search(subject: &Subject<'_>, error: SearchError) -> PassError {
    match error {
        SearchError::Numeric(source) => numeric(subject.graph, subject.layer.weight, source),
        SearchError::Kept(error) => levels::spill(error),
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
