//! One sweep through a model, level by level.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::{Graph, NodeId, Tensor, ValueId};

use super::Layer;
use crate::pass::{Context, PassError};

/// How many layers lie before each one, on the longest way from the inputs.
pub(crate) fn depths(graph: &Graph, order: &[NodeId], layers: &[Layer]) -> Vec<usize> {
    let is_layer: BTreeSet<NodeId> = layers.iter().map(|layer| layer.node).collect();
    let mut before: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut of: BTreeMap<NodeId, usize> = BTreeMap::new();
    for &node in order {
        let reads = graph.inputs(node).into_iter().flatten().chain(graph.captures(node));
        let depth = reads.filter_map(|value| before.get(&value)).max().copied().unwrap_or(0);
        of.insert(node, depth);
        let behind = depth + usize::from(is_layer.contains(&node));
        for output in graph.outputs(node).into_iter().flatten() {
            before.insert(output, behind);
        }
    }
    layers.iter().map(|layer| of.get(&layer.node).copied().unwrap_or(0)).collect()
}

/// Runs all samples from one level to the next. What later levels need is kept, for every sample;
/// everything else is dropped.
pub(crate) struct Levels<'a> {
    pass: &'a str,
    cx: &'a Context<'a>,
    /// The values that each level wants.
    wanted: Vec<BTreeSet<ValueId>>,
    /// Nodes in topological order, and those that have run.
    order: Vec<NodeId>,
    ran: BTreeSet<NodeId>,
    /// What is kept of each sample.
    kept: Vec<BTreeMap<ValueId, Tensor>>,
    next: usize,
}

impl<'a> Levels<'a> {
    /// Reads the samples.
    pub(crate) fn new(
        pass: &'a str,
        cx: &'a Context<'a>,
        graph: &Graph,
        order: Vec<NodeId>,
        wanted: Vec<BTreeSet<ValueId>>,
        samples: usize,
    ) -> Result<Self, PassError> {
        let inputs: Vec<ValueId> = graph
            .inputs
            .iter()
            .copied()
            .filter(|&input| graph.value(input).constant.is_none())
            .collect();
        let mut kept = Vec::with_capacity(samples);
        for index in 0..samples {
            let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
            kept.push(inputs.iter().copied().zip(sample).collect());
        }
        Ok(Self { pass, cx, wanted, order, ran: BTreeSet::new(), kept, next: 0 })
    }

    /// How many levels there are.
    pub(crate) fn count(&self) -> usize {
        self.wanted.len()
    }

    /// Runs the next level on `graph`, which is the same as before but for its weights, and shows what
    /// is wanted, sample by sample.
    pub(crate) fn advance(
        &mut self,
        graph: &Graph,
        show: &mut dyn FnMut(usize, ValueId, &Tensor) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        let level = self.next;
        self.next += 1;
        let known: BTreeSet<ValueId> =
            self.kept.first().map(|kept| kept.keys().copied().collect()).unwrap_or_default();
        let now = self.needed(graph, &self.wanted[level], &known);
        // What is read later of what is known by then.
        self.ran.extend(now.nodes.iter().copied());
        let made: BTreeSet<ValueId> =
            now.nodes.iter().flat_map(|&node| graph.outputs(node)).flatten().collect();
        let by_then: BTreeSet<ValueId> = known.union(&made).copied().collect();
        let later: BTreeSet<ValueId> = self.wanted[level + 1..].iter().flatten().copied().collect();
        let kept = self.needed(graph, &later, &by_then).reads;
        let feeds: Vec<ValueId> = now.reads.iter().copied().collect();
        let fetches: Vec<ValueId> = made
            .iter()
            .copied()
            .filter(|value| kept.contains(value) || self.wanted[level].contains(value))
            .collect();
        let engine = |sample| move |source| PassError::Engine { sample, source };
        let mut program = match fetches.is_empty() {
            true => None,
            false => {
                let loaded = self.cx.engine.load(graph).map_err(engine(None))?;
                let feeds: Vec<ValueId> = feeds
                    .iter()
                    .copied()
                    .filter(|feed| !self.wanted_only(graph, *feed, &now))
                    .collect();
                Some((loaded.compile(&feeds, &fetches).map_err(engine(None))?, feeds))
            }
        };
        for (index, alive) in self.kept.iter_mut().enumerate() {
            if let Some((program, feeds)) = &mut program {
                let fed: Vec<Tensor> = feeds.iter().map(|feed| alive[feed].clone()).collect();
                let fetched = program.run(&fed).map_err(engine(Some(index)))?;
                alive.extend(fetches.iter().copied().zip(fetched));
            }
            for &value in &self.wanted[level] {
                if let Some(tensor) = alive.get(&value) {
                    show(index, value, tensor)?;
                }
            }
            alive.retain(|value, _| kept.contains(value));
        }
        Ok(())
    }

    /// Whether nothing that runs reads a value: it is wanted itself.
    fn wanted_only(&self, graph: &Graph, value: ValueId, needed: &Needed) -> bool {
        !needed.nodes.iter().any(|&node| {
            graph.inputs(node).contains(&Some(value)) || graph.captures(node).contains(&value)
        })
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
            let inputs = graph.inputs(node).into_iter().flatten();
            inputs.chain(graph.captures(node)).for_each(|value| ask(value, &mut waiting));
        }
        nodes.reverse();
        Needed { nodes, reads }
    }

    /// Says how far the pass is.
    pub(crate) fn progress(&self, done: usize, total: usize) {
        (self.cx.progress)(crate::pass::Progress { pass: self.pass, done, total: Some(total) });
    }
}

/// What runs, and what it reads of what is known.
struct Needed {
    nodes: Vec<NodeId>,
    reads: BTreeSet<ValueId>,
}
