//! One sweep through a model, level by level.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use marquetry_engine::reads;
use marquetry_ir::{Graph, NodeId, Tensor, ValueId};

use super::frontier::Frontier;
use super::room::Room;
use crate::pass::{Context, PassError};

/// How many layers lie before each one, on the longest way from the inputs.
pub(crate) fn depths(graph: &Graph, order: &[NodeId], layers: &[NodeId]) -> Vec<usize> {
    let is_layer: BTreeSet<NodeId> = layers.iter().copied().collect();
    let mut before: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut of: BTreeMap<NodeId, usize> = BTreeMap::new();
    for &node in order {
        let reads = reads(graph, node);
        let depth = reads.iter().filter_map(|value| before.get(value)).max().copied().unwrap_or(0);
        of.insert(node, depth);
        let behind = depth + usize::from(is_layer.contains(&node));
        for output in graph.outputs(node).into_iter().flatten() {
            before.insert(output, behind);
        }
    }
    layers.iter().map(|layer| of.get(layer).copied().unwrap_or(0)).collect()
}

/// Runs samples from one level to the next. What later levels need is kept, for every sample;
/// everything else is dropped.
pub(crate) struct Levels<'a> {
    pass: &'a str,
    cx: &'a Context<'a>,
    /// The values that each level wants.
    wanted: Vec<BTreeSet<ValueId>>,
    /// Nodes in topological order.
    order: Vec<NodeId>,
    samples: Range<usize>,
    frontier: Frontier,
    next: usize,
    /// What later levels need, and those after them.
    later: BTreeSet<ValueId>,
}

impl<'a> Levels<'a> {
    /// Reads the samples. Levels before `first` are passed without stopping; what is kept in memory takes
    /// of `room`.
    pub(crate) fn new(
        pass: &'a str,
        cx: &'a Context<'a>,
        graph: &Graph,
        wanted: Vec<BTreeSet<ValueId>>,
        first: usize,
        samples: Range<usize>,
        room: &Room,
    ) -> Result<Self, PassError> {
        let order =
            graph.order().map_err(|error| PassError::Graph { message: error.to_string() })?;
        let inputs: Vec<ValueId> = graph
            .inputs
            .iter()
            .copied()
            .filter(|&input| graph.value(input).constant.is_none())
            .collect();
        let mut frontier = Frontier::new(room.clone());
        for index in samples.clone() {
            cx.go_on()?;
            let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
            for (&input, tensor) in inputs.iter().zip(sample) {
                frontier.put(input, index, tensor).map_err(spill)?;
            }
        }
        let later = BTreeSet::new();
        Ok(Self { pass, cx, wanted, order, samples, frontier, next: first, later })
    }

    /// Runs the next level on `graph`, which is the same as before but for its weights, and shows what
    /// is wanted, sample by sample. It can be shown [`Levels::again`] only if that is said.
    pub(crate) fn advance(
        &mut self,
        graph: &Graph,
        again: bool,
        show: &mut Show<'_>,
    ) -> Result<(), PassError> {
        let level = self.next;
        self.next += 1;
        let known = self.frontier.values();
        let now = self.needed(graph, &self.wanted[level], &known);
        // What is read later of what is known by then.
        let made: BTreeSet<ValueId> =
            now.nodes.iter().flat_map(|&node| graph.outputs(node)).flatten().collect();
        let by_then: BTreeSet<ValueId> = known.union(&made).copied().collect();
        let later: BTreeSet<ValueId> = self.wanted[level + 1..].iter().flatten().copied().collect();
        self.later = self.needed(graph, &later, &by_then).reads;
        let fetches: Vec<ValueId> = made
            .iter()
            .copied()
            .filter(|value| self.later.contains(value) || self.wanted[level].contains(value))
            .collect();
        let engine = |sample| move |source| PassError::Engine { sample, source };
        let mut program = match fetches.is_empty() {
            true => None,
            false => {
                let loaded = self.cx.engine.load(graph).map_err(engine(None))?;
                let feeds: Vec<ValueId> = now.reads.iter().copied().collect();
                let feeds: Vec<ValueId> = feeds
                    .into_iter()
                    .filter(|feed| !self.wanted_only(graph, *feed, &now))
                    .collect();
                Some((loaded.compile(&feeds, &fetches).map_err(engine(None))?, feeds))
            }
        };
        let wanted = &self.wanted[level];
        let stays: BTreeSet<ValueId> = match again {
            true => self.later.union(wanted).copied().collect(),
            false => self.later.clone(),
        };
        for index in self.samples.clone() {
            self.cx.go_on()?;
            let mut made = Vec::new();
            if let Some((program, feeds)) = &mut program {
                let fed = feeds.iter().map(|&feed| kept(&self.frontier, feed, index));
                let fed: Vec<Tensor> = fed.collect::<Result<_, PassError>>()?;
                made = program.run(&fed).map_err(engine(Some(index)))?;
            }
            let made: BTreeMap<ValueId, Tensor> = fetches.iter().copied().zip(made).collect();
            for &value in wanted {
                match made.get(&value) {
                    Some(tensor) => show(index, value, tensor)?,
                    None => show(index, value, &kept(&self.frontier, value, index)?)?,
                }
            }
            self.frontier.forget(index, &stays);
            for (value, tensor) in made.into_iter().filter(|(value, _)| stays.contains(value)) {
                self.frontier.put(value, index, tensor).map_err(spill)?;
            }
        }
        Ok(())
    }

    /// Shows what the level wants once more.
    pub(crate) fn again(&self, show: &mut Show<'_>) -> Result<(), PassError> {
        for index in self.samples.clone() {
            self.cx.go_on()?;
            for &value in &self.wanted[self.next - 1] {
                show(index, value, &kept(&self.frontier, value, index)?)?;
            }
        }
        Ok(())
    }

    /// What the level showed, where it can be shown again.
    pub(crate) fn shown(&self, value: ValueId, sample: usize) -> Result<Tensor, PassError> {
        kept(&self.frontier, value, sample)
    }

    /// Drops what no later level needs.
    pub(crate) fn release(&mut self) {
        self.frontier.retain(&self.later);
    }

    /// Whether nothing that runs reads a value: it is wanted itself.
    fn wanted_only(&self, graph: &Graph, value: ValueId, needed: &Needed) -> bool {
        !needed.nodes.iter().any(|&node| reads(graph, node).contains(&value))
    }

    /// The nodes that compute `wanted` from what is known, and what of that they read.
    fn needed(
        &self,
        graph: &Graph,
        wanted: &BTreeSet<ValueId>,
        known: &BTreeSet<ValueId>,
    ) -> Needed {
        let mut reads = BTreeSet::new();
        let mut waiting: BTreeSet<ValueId> = BTreeSet::new();
        let mut ask = |value: ValueId, waiting: &mut BTreeSet<ValueId>| {
            if known.contains(&value) {
                reads.insert(value);
            } else {
                waiting.insert(value);
            }
        };
        wanted.iter().for_each(|&value| ask(value, &mut waiting));
        let mut nodes = Vec::new();
        for &node in self.order.iter().rev() {
            let outputs = graph.outputs(node);
            if !outputs.iter().flatten().any(|output| waiting.contains(output)) {
                continue;
            }
            nodes.push(node);
            self::reads(graph, node).into_iter().for_each(|value| ask(value, &mut waiting));
        }
        nodes.reverse();
        Needed { nodes, reads }
    }

    /// Says how far the pass is.
    pub(crate) fn progress(&self, done: usize, total: usize) {
        (self.cx.progress)(crate::pass::Progress { pass: self.pass, done, total: Some(total) });
    }
}

/// Is shown a value of a sample.
pub(crate) type Show<'s> = dyn FnMut(usize, ValueId, &Tensor) -> Result<(), PassError> + 's;

fn kept(frontier: &Frontier, value: ValueId, sample: usize) -> Result<Tensor, PassError> {
    let kept = frontier.get(value, sample).map_err(spill)?;
    Ok(kept.expect("what a level reads is kept for it"))
}

/// What cannot be kept in a file.
pub(crate) fn spill(error: io::Error) -> PassError {
    PassError::Spill { reason: error.to_string() }
}

/// What runs, and what it reads of what is known.
struct Needed {
    nodes: Vec<NodeId>,
    reads: BTreeSet<ValueId>,
}
