use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Tensor, ValueId};

use crate::EngineError;
use crate::engine::{Engine, Numerics, Program};
use crate::piece::{Piece, Step};

/// What an observer says after each tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This sample has shown enough.
    Stop,
}

/// How a graph is cut into segments.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// Nodes in a segment at most.
    pub nodes: usize,
    /// Bytes of the tensors that a segment hands over at most, by the shapes that are known before
    /// anything runs; an axis of unknown length counts as [`SweepOptions::unknown`].
    pub bytes: u64,
    /// What an axis of unknown length counts as.
    pub unknown: u64,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self { nodes: 64, bytes: 4 << 20, unknown: 32 }
    }
}

/// Runs a graph over one sample in segments: every wanted tensor is handed to an observer once, and
/// every tensor is dropped when its last reader has run. Memory is the frontier of what is alive, not
/// the sum of what is wanted. What is computed is bit for bit what one run of the whole graph computes.
pub struct Sweep {
    inputs: Vec<ValueId>,
    /// Wanted values that are there before anything runs.
    given: Vec<(ValueId, Given)>,
    segments: Vec<Segment>,
}

enum Given {
    Input(usize),
    Constant(Tensor),
}

struct Segment {
    program: Box<dyn Program>,
    feeds: Vec<ValueId>,
    fetches: Vec<ValueId>,
    /// Values that no later segment reads.
    drops: Vec<ValueId>,
    wanted: BTreeSet<ValueId>,
}

impl Sweep {
    /// Prepares to observe `wanted`: any values of the graph. Only what they need is run.
    ///
    /// # Errors
    ///
    /// As [`Engine::load`] and [`crate::Loaded::compile`].
    pub fn new(
        engine: &dyn Engine,
        graph: &Graph,
        wanted: &BTreeSet<ValueId>,
        options: &SweepOptions,
    ) -> Result<Self, EngineError> {
        let types = infer::run_graph(graph);
        let loaded = engine.load(graph)?;
        let inputs: Vec<ValueId> = graph
            .inputs
            .iter()
            .copied()
            .filter(|&input| graph.value(input).constant.is_none())
            .collect();
        let fetches: Vec<ValueId> = wanted.iter().copied().collect();
        let piece = Piece::cut(graph, &types, &inputs, &fetches)?;

        let steady = steady(&piece);
        let is_steady = |step: &Step| step.outputs.iter().flatten().any(|&value| steady[value]);
        let moving: Vec<&Step> = piece.steps.iter().filter(|step| !is_steady(step)).collect();
        let whole = SweepOptions { nodes: usize::MAX, bytes: u64::MAX, ..*options };
        let options = match engine.numerics() {
            Numerics::Reference => options,
            Numerics::Deployed => &whole,
        };
        let mut plan = Cuts { piece: &piece, types: &types, wanted, steady: &steady, options };
        let chunks = plan.chunks(&moving);
        let segments = plan.segments(&chunks);

        let mut given = Vec::new();
        let mut fixed = Vec::new();
        for &value in wanted {
            if let Some(at) = inputs.iter().position(|&input| input == value) {
                given.push((value, Given::Input(at)));
            } else if let Some(constant) = &graph.value(value).constant {
                given.push((value, Given::Constant(constant.clone())));
            } else if piece
                .values
                .iter()
                .zip(&steady)
                .any(|(known, &steady)| steady && known.id == value)
            {
                fixed.push(value);
            }
        }
        let mut programs = Vec::with_capacity(segments.len() + 1);
        if !fixed.is_empty() {
            programs.push(Segment {
                program: loaded.compile(&[], &fixed)?,
                feeds: Vec::new(),
                wanted: fixed.iter().copied().collect(),
                drops: fixed.clone(),
                fetches: fixed,
            });
        }
        for (feeds, fetches, drops) in segments {
            programs.push(Segment {
                program: loaded.compile(&feeds, &fetches)?,
                wanted: fetches.iter().copied().filter(|value| wanted.contains(value)).collect(),
                feeds,
                fetches,
                drops,
            });
        }
        Ok(Self { inputs, given, segments: programs })
    }

    /// The values to give tensors for, in order: the inputs of the graph that have no default.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Runs one sample. Wanted inputs and constants are handed over first, everything else as soon as it
    /// is computed.
    ///
    /// # Errors
    ///
    /// As [`Program::run`].
    pub fn run(
        &mut self,
        sample: &[Tensor],
        observer: &mut dyn FnMut(ValueId, &Tensor) -> Flow,
    ) -> Result<Flow, EngineError> {
        if sample.len() != self.inputs.len() {
            let (expected, found) = (self.inputs.len(), sample.len());
            return Err(EngineError::Inputs { expected, found });
        }
        for (value, given) in &self.given {
            let tensor = match given {
                Given::Input(at) => &sample[*at],
                Given::Constant(constant) => constant,
            };
            if observer(*value, tensor) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        let mut alive: BTreeMap<ValueId, Tensor> =
            self.inputs.iter().copied().zip(sample.iter().cloned()).collect();
        for segment in &mut self.segments {
            let fed: Vec<Tensor> = segment
                .feeds
                .iter()
                .map(|value| {
                    alive.get(value).cloned().expect("what a segment reads is kept for it")
                })
                .collect();
            let fetched = segment.program.run(&fed)?;
            drop(fed);
            for (&value, tensor) in segment.fetches.iter().zip(fetched) {
                if segment.wanted.contains(&value) && observer(value, &tensor) == Flow::Stop {
                    return Ok(Flow::Stop);
                }
                alive.insert(value, tensor);
            }
            for value in &segment.drops {
                alive.remove(value);
            }
        }
        Ok(Flow::Continue)
    }
}

/// Feeds, fetches, and what may be dropped afterwards.
type Cut = (Vec<ValueId>, Vec<ValueId>, Vec<ValueId>);

struct Cuts<'a> {
    piece: &'a Piece,
    types: &'a Types,
    wanted: &'a BTreeSet<ValueId>,
    steady: &'a [bool],
    options: &'a SweepOptions,
}

impl<'a> Cuts<'a> {
    /// Runs of steps whose wanted tensors stay within the limits.
    fn chunks(&mut self, steps: &[&'a Step]) -> Vec<Vec<&'a Step>> {
        let mut chunks: Vec<Vec<&Step>> = Vec::new();
        let mut bytes = 0_u64;
        for step in steps {
            let outputs = step.outputs.iter().flatten();
            let handed: u64 = outputs
                .map(|&value| self.piece.values[value].id)
                .filter(|value| self.wanted.contains(value))
                .map(|value| self.bytes(value))
                .fold(0, u64::saturating_add);
            let total = bytes.saturating_add(handed);
            match chunks.last_mut() {
                Some(chunk) if chunk.len() < self.options.nodes && total <= self.options.bytes => {
                    chunk.push(step);
                    bytes = total;
                }
                _ => {
                    chunks.push(vec![step]);
                    bytes = handed;
                }
            }
        }
        chunks
    }

    fn bytes(&self, value: ValueId) -> u64 {
        let Some(tensor) = self.types.tensor(value) else { return self.options.bytes / 4 };
        let width = tensor
            .dtype
            .and_then(|dtype| dtype.bits())
            .map_or(4, |bits| u64::from(bits.div_ceil(8)));
        let lengths = tensor.shape.iter().flatten();
        lengths
            .map(|dim| dim.known().map_or(self.options.unknown, |length| length as u64))
            .fold(width, u64::saturating_mul)
    }

    fn segments(&self, chunks: &[Vec<&Step>]) -> Vec<Cut> {
        let moves =
            |value: usize| !self.steady[value] && self.piece.values[value].constant.is_none();
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, chunk) in chunks.iter().enumerate() {
            for value in chunk.iter().flat_map(|step| step.reads()) {
                last.insert(value, at);
            }
        }
        let id = |value: usize| self.piece.values[value].id;
        let cuts = chunks.iter().enumerate().map(|(at, chunk)| {
            let made: BTreeSet<usize> =
                chunk.iter().flat_map(|step| step.outputs.iter().flatten().copied()).collect();
            let read: BTreeSet<usize> = chunk
                .iter()
                .flat_map(|step| step.reads())
                .filter(|&value| moves(value) && !made.contains(&value))
                .collect();
            let read_later = |value: usize| last.get(&value).is_some_and(|&last| last > at);
            let fetched: Vec<usize> = made
                .iter()
                .copied()
                .filter(|&value| read_later(value) || self.wanted.contains(&id(value)))
                .collect();
            let dropped = read.iter().chain(&fetched).filter(|&&value| !read_later(value));
            (
                read.iter().map(|&value| id(value)).collect(),
                fetched.iter().map(|&value| id(value)).collect(),
                dropped.map(|&value| id(value)).collect(),
            )
        });
        cuts.collect()
    }
}

/// Values that are the same for every sample, because they follow from constants.
fn steady(piece: &Piece) -> Vec<bool> {
    let mut steady: Vec<bool> = piece.values.iter().map(|value| value.constant.is_some()).collect();
    for step in &piece.steps {
        if step.reads().all(|value| steady[value]) && !step.content.op_type.starts_with("Random") {
            step.outputs.iter().flatten().for_each(|&value| steady[value] = true);
        }
    }
    steady
}
