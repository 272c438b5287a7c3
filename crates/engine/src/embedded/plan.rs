//! How a piece is run: stages in the runtime and native steps between them, each value dropped after
//! its last reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use marquetry_ir::{DType, Operation, Tensor, ValueId};

use super::control::Body;
use super::fence::{Place, place};
use super::runtime::Stage as RuntimeStage;
use super::{Threads, carried, place_of};
use crate::buffers::Buffers;
use crate::native::{self, Call, Direct, Fault};
use crate::piece::{Piece, Step};
use crate::{EngineError, Refusal, types};

/// The largest constant, in bytes, that is computed when a program is compiled.
const LARGEST_FOLDED: u64 = 1 << 31;

/// What the programs of one graph share.
pub(crate) struct Shared {
    pub(super) threads: Threads,
    /// Memory of what was computed.
    buffers: Buffers,
    /// Constants in the type and alignment of the runtime.
    pub(super) aligned: Mutex<BTreeMap<ValueId, Tensor>>,
    /// Values that follow from constants alone.
    folded: Mutex<BTreeMap<ValueId, Tensor>>,
}

impl Shared {
    pub(super) fn new(threads: Threads) -> Arc<Self> {
        Arc::new(Self {
            threads,
            buffers: Buffers::default(),
            aligned: Mutex::default(),
            folded: Mutex::default(),
        })
    }

    fn folded(&self, value: ValueId) -> Option<Tensor> {
        self.folded.lock().unwrap_or_else(PoisonError::into_inner).get(&value).cloned()
    }

    fn fold(&self, value: ValueId, tensor: &Tensor) {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        folded.insert(value, tensor.clone());
    }
}

/// A piece compiled for certain types of what is fed.
pub(super) struct Plan {
    fed: Vec<DType>,
    constants: Vec<Option<Tensor>>,
    stages: Vec<Stage>,
}

struct Stage {
    work: Work,
    /// Values that nobody reads after it.
    drops: Vec<usize>,
}

enum Work {
    Native(usize),
    Direct(usize, Direct),
    Runtime(Box<RuntimeStage>),
    Control(usize, Vec<Body>),
}

/// Work not yet grouped: steps that run together.
enum Group {
    Native(usize),
    Direct(usize, Direct),
    Runtime(Vec<usize>),
    Control(usize),
}

impl Group {
    fn steps(&self) -> &[usize] {
        match self {
            Self::Native(step) | Self::Direct(step, _) | Self::Control(step) => {
                std::slice::from_ref(step)
            }
            Self::Runtime(steps) => steps,
        }
    }
}

impl Plan {
    pub(super) fn new(
        piece: &Piece,
        shared: &Arc<Shared>,
        fed: Vec<DType>,
    ) -> Result<Self, EngineError> {
        let known: Vec<_> = fed.iter().copied().map(Some).collect();
        let types = types::of(piece, &known);
        let mut constants: Vec<_> =
            piece.values.iter().map(|value| value.constant.as_ref().map(carried)).collect();
        let groups = group(piece, shared, &types, &mut constants)?;
        let mut last = vec![None; piece.values.len()];
        for (at, group) in groups.iter().enumerate() {
            for &step in group.steps() {
                let step = &piece.steps[step];
                step.reads().chain(step.outputs.iter().flatten().copied()).for_each(|value| {
                    last[value] = Some(at);
                });
            }
        }
        piece.fetches.iter().for_each(|&fetch| last[fetch] = None);
        let mut drops = vec![Vec::new(); groups.len()];
        for (value, at) in last.iter().enumerate() {
            at.iter().for_each(|&at: &usize| drops[at].push(value));
        }
        let mut readers = readers(piece, &groups);
        let mut stages = Vec::with_capacity(groups.len());
        for (at, (group, drops)) in groups.into_iter().zip(drops).enumerate() {
            let work = match group {
                Group::Native(step) => Work::Native(step),
                Group::Direct(step, direct) => Work::Direct(step, direct),
                Group::Control(step) => Work::Control(step, Body::all(piece, step, shared)?),
                Group::Runtime(steps) => {
                    let leaves = |value: &usize| readers[*value].iter().any(|&reader| reader != at);
                    Work::Runtime(Box::new(RuntimeStage::load(
                        piece, &steps, &types, &constants, shared, leaves,
                    )?))
                }
            };
            stages.push(Stage { work, drops });
        }
        readers.clear();
        Ok(Self { fed, constants, stages })
    }

    pub(super) fn fits(&self, fed: &[DType]) -> bool {
        self.fed == fed
    }

    /// Whether it runs bodies of nodes.
    pub(super) fn has_bodies(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage.work, Work::Control(..)))
    }

    pub(super) fn run(
        &mut self,
        piece: &Piece,
        shared: &Shared,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>, EngineError> {
        let mut values = self.constants.clone();
        for (&feed, input) in piece.feeds.iter().zip(inputs) {
            values[feed] = Some(carried(input));
        }
        for stage in &mut self.stages {
            match &mut stage.work {
                Work::Runtime(runtime) => {
                    for (value, tensor) in runtime.run(&values, shared)? {
                        values[value] = Some(tensor);
                    }
                }
                Work::Native(step) => {
                    let step = &piece.steps[*step];
                    assign(step, native(step, &values)?, &mut values);
                }
                Work::Direct(step, direct) => {
                    let step = &piece.steps[*step];
                    let output = convolved(step, direct, &values, shared)?;
                    assign(step, vec![output], &mut values);
                }
                Work::Control(step, bodies) => {
                    let step = &piece.steps[*step];
                    let outputs = super::control::run(step, bodies, &values)?;
                    assign(step, outputs, &mut values);
                }
            }
            for &value in &stage.drops {
                values[value] = None;
            }
        }
        let fetched = piece.fetches.iter().map(|&fetch| {
            values[fetch].clone().ok_or_else(|| EngineError::Run {
                name: piece.values[fetch].name.clone(),
                op: "fetch".to_owned(),
                reason: "its node did not give this output".to_owned(),
            })
        });
        fetched.collect()
    }
}

fn assign(step: &Step, outputs: Vec<Tensor>, values: &mut [Option<Tensor>]) {
    for (output, tensor) in step.outputs.iter().zip(outputs) {
        if let Some(value) = *output {
            values[value] = Some(carried(&tensor));
        }
    }
}

/// The groups that read each value; a fetch reads it too.
fn readers(piece: &Piece, groups: &[Group]) -> Vec<BTreeSet<usize>> {
    let mut readers = vec![BTreeSet::new(); piece.values.len()];
    for (at, group) in groups.iter().enumerate() {
        for &step in group.steps() {
            piece.steps[step].reads().for_each(|value| {
                readers[value].insert(at);
            });
        }
    }
    piece.fetches.iter().for_each(|&fetch| {
        readers[fetch].insert(usize::MAX);
    });
    readers
}

/// Says who runs each step, folds those that follow from constants, and joins neighbours.
fn group(
    piece: &Piece,
    shared: &Shared,
    types: &[Option<DType>],
    constants: &mut [Option<Tensor>],
) -> Result<Vec<Group>, EngineError> {
    let mut groups = Vec::new();
    let mut refused = Vec::new();
    for (at, step) in piece.steps.iter().enumerate() {
        let place = match place(piece, step, types) {
            Ok(place) => place,
            Err(reason) => {
                refused.push(refusal(step, reason));
                continue;
            }
        };
        if place != Place::Control && fold(piece, step, shared, constants) {
            continue;
        }
        if place == Place::Runtime
            && let Some(direct) = direct(step, types, constants)
        {
            groups.push(Group::Direct(at, direct));
            continue;
        }
        match (place, groups.last_mut()) {
            (Place::Runtime, Some(Group::Runtime(steps))) => steps.push(at),
            (Place::Runtime, _) => groups.push(Group::Runtime(vec![at])),
            (Place::Native, _) => groups.push(Group::Native(at)),
            (Place::Control, _) => groups.push(Group::Control(at)),
        }
    }
    if refused.is_empty() { Ok(groups) } else { Err(EngineError::Refused(refused)) }
}

/// Computes a step whose inputs are all constants; whether it did.
fn fold(piece: &Piece, step: &Step, shared: &Shared, constants: &mut [Option<Tensor>]) -> bool {
    if !step.reads().all(|value| constants[value].is_some()) {
        return false;
    }
    let outputs: Vec<usize> = step.outputs.iter().flatten().copied().collect();
    let known: Option<Vec<Tensor>> =
        outputs.iter().map(|&value| shared.folded(piece.values[value].id)).collect();
    if let Some(known) = known {
        outputs.iter().zip(known).for_each(|(&value, tensor)| constants[value] = Some(tensor));
        return true;
    }
    // Shape arithmetic and dequantized weights are worth it; an expansion may be much larger than
    // everything it comes from.
    let read: u64 = step
        .reads()
        .filter_map(|value| constants[value].as_ref())
        .map(|x| x.bytes().len() as u64)
        .sum();
    let grows =
        matches!(step.content.op_type.as_str(), "Expand" | "Tile" | "ConstantOfShape" | "Range");
    if read > LARGEST_FOLDED || grows {
        return false;
    }
    let Ok(tensors) = native(step, constants) else { return false };
    assign(step, tensors, constants);
    for value in outputs {
        if let Some(tensor) = &constants[value] {
            shared.fold(piece.values[value].id, tensor);
        }
    }
    true
}

/// The weights of a convolution that is computed directly.
fn direct(step: &Step, types: &[Option<DType>], constants: &[Option<Tensor>]) -> Option<Direct> {
    let constant = |slot: usize| constants[step.inputs.get(slot).copied().flatten()?].as_ref();
    let single = types[step.inputs.first().copied().flatten()?] == Some(DType::Float);
    let known = step.inputs.iter().skip(1).flatten().all(|&value| constants[value].is_some());
    if step.content.op_type != "Conv" || !single || !known {
        return None;
    }
    let groups = step.content.attribute("group").and_then(|groups| groups.as_int()).unwrap_or(1);
    Direct::new(constant(1)?, constant(2), usize::try_from(groups).ok()?)
}

/// Runs a convolution whose weights are packed.
fn convolved(
    step: &Step,
    direct: &Direct,
    values: &[Option<Tensor>],
    shared: &Shared,
) -> Result<Tensor, EngineError> {
    let call = Call { operation: operation(step), inputs: &[], outputs: Some(1) };
    let x = step.inputs.first().copied().flatten().and_then(|value| values[value].as_ref());
    let x = x.ok_or_else(|| Fault::invalid("input 0 is missing"));
    let run = |parallel| x.and_then(|x| direct.run(&call, x, parallel, &shared.buffers));
    let output = match shared.threads.single {
        true => run(false),
        false => shared.threads.within(|| run(true)),
    };
    output.map_err(|fault| failed(step, fault))
}

fn operation(step: &Step) -> Operation<'_> {
    Operation {
        domain: &step.content.domain,
        op_type: &step.content.op_type,
        opset: step.opset,
        attributes: &step.content.attributes,
    }
}

fn failed(step: &Step, fault: Fault) -> EngineError {
    match fault {
        Fault::Unsupported(reason) => EngineError::Refused(vec![refusal(step, reason)]),
        Fault::Invalid(reason) => {
            let (_, name, op) = place_of(step);
            EngineError::Run { name, op, reason }
        }
    }
}

/// Runs a step natively.
fn native(step: &Step, values: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError> {
    let inputs: Vec<Option<Tensor>> =
        step.inputs.iter().map(|input| input.and_then(|value| values[value].clone())).collect();
    let node = &step.content;
    let Some(kernel) = native::lookup(&node.domain, &node.op_type) else {
        return Err(EngineError::Refused(vec![refusal(
            step,
            "there is no implementation of it".to_owned(),
        )]));
    };
    let outputs = Some(step.outputs.len());
    let call = Call { operation: operation(step), inputs: &inputs, outputs };
    kernel.run(&call).map_err(|fault| failed(step, fault))
}

pub(super) fn refusal(step: &Step, reason: String) -> Refusal {
    let (node, name, op) = place_of(step);
    Refusal { node, name, op, opset: step.opset, reason }
}
