//! Sessions: a model in the runtime, its weights shared with the other sessions of the graph.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use marquetry_ir::{DType, Opsets, Tensor, ValueId};
use ort::ep;
use ort::logging::LogLevel;
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::DynValue;

use super::build::{self, Built, Request};
use super::library::one_line;
use super::{OnnxRuntime, fold, typed, value};
use crate::EngineError;
use crate::engine::Numerics;
use crate::error::qualified;
use crate::piece::{Piece, Step};

/// What the programs of one graph share.
pub(super) struct Shared {
    pub(super) engine: OnnxRuntime,
    opsets: Opsets,
    /// Constants as values of the runtime.
    weights: Mutex<BTreeMap<ValueId, Arc<DynValue>>>,
    /// Values that follow from constants alone.
    folded: Mutex<BTreeMap<ValueId, Tensor>>,
}

impl Shared {
    pub(super) fn new(engine: OnnxRuntime, opsets: Opsets) -> Arc<Self> {
        Arc::new(Self { engine, opsets, weights: Mutex::default(), folded: Mutex::default() })
    }

    pub(super) fn folded(&self, piece: &Piece, value: usize) -> Option<Tensor> {
        let folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        folded.get(&piece.values[value].id).cloned()
    }

    pub(super) fn fold(&self, piece: &Piece, value: usize, tensor: Tensor) {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        folded.insert(piece.values[value].id, tensor);
    }

    /// The one copy of a constant.
    fn weight(&self, id: ValueId, constant: &Tensor) -> Result<Arc<DynValue>, String> {
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = weights.get(&id) {
            return Ok(known.clone());
        }
        let made = Arc::new(value::owned(constant)?);
        weights.insert(id, made.clone());
        Ok(made)
    }
}

/// A piece in the runtime, for certain types of what is fed.
pub(super) struct Plan {
    fed: Vec<DType>,
    session: Option<Session>,
    fetches: Vec<Fetch>,
}

/// Where a fetched value comes from.
enum Fetch {
    Feed(usize),
    Constant(Tensor),
    Computed(usize),
}

impl Plan {
    pub(super) fn new(
        piece: &Piece,
        shared: &Shared,
        fed: Vec<DType>,
    ) -> Result<Self, EngineError> {
        let types = typed(piece, &fed);
        let mut constants: Vec<_> =
            piece.values.iter().map(|value| value.constant.clone()).collect();
        let steps = match shared.engine.numerics {
            Numerics::Reference => fold::fold(piece, shared, &types, &mut constants),
            Numerics::Deployed => (0..piece.steps.len()).collect(),
        };
        let mut computed = Vec::new();
        let mut fetches = Vec::with_capacity(piece.fetches.len());
        for &value in &piece.fetches {
            let feed = piece.feeds.iter().position(|&feed| feed == value);
            fetches.push(match (feed, &constants[value]) {
                (Some(feed), _) => Fetch::Feed(feed),
                (None, Some(constant)) => Fetch::Constant(constant.clone()),
                (None, None) => {
                    computed.push(value);
                    Fetch::Computed(value)
                }
            });
        }
        computed.sort_unstable();
        computed.dedup();
        let session = match computed.is_empty() {
            true => None,
            false => Some(Session::load(piece, shared, &types, &constants, &steps, &computed)?),
        };
        Ok(Self { fed, session, fetches })
    }

    pub(super) fn fits(&self, fed: &[DType]) -> bool {
        self.fed == fed
    }

    pub(super) fn run(
        &mut self,
        piece: &Piece,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>, EngineError> {
        let mut fed = Vec::with_capacity(inputs.len());
        for (tensor, &dtype) in inputs.iter().zip(&self.fed) {
            let entered = value::carried(tensor, dtype).map_err(|reason| failed(piece, reason))?;
            fed.push(entered);
        }
        let computed: BTreeMap<usize, Tensor> = match &mut self.session {
            Some(session) => {
                let views: Vec<&Tensor> = fed.iter().map(|tensor| &**tensor).collect();
                session.run(piece, &views)?.into_iter().collect()
            }
            None => BTreeMap::new(),
        };
        let fetched = self.fetches.iter().map(|fetch| match fetch {
            Fetch::Feed(at) => inputs[*at].clone(),
            Fetch::Constant(constant) => constant.clone(),
            Fetch::Computed(value) => computed[value].clone(),
        });
        Ok(fetched.collect())
    }
}

/// Steps that run together in the runtime.
pub(super) struct Session {
    session: ort::session::Session,
    /// Names of inputs, with the feed they are.
    inputs: Vec<(String, usize)>,
    /// Names of outputs, with their values and the types that the graph gives these.
    outputs: Vec<(String, usize, Option<DType>)>,
}

impl Session {
    pub(super) fn load(
        piece: &Piece,
        shared: &Shared,
        types: &[Option<DType>],
        constants: &[Option<Tensor>],
        steps: &[usize],
        fetches: &[usize],
    ) -> Result<Self, EngineError> {
        let fail = |reason: String| refused(piece, steps, reason);
        let opsets = &shared.opsets;
        let request = Request { piece, opsets, types, constants, steps, fetches };
        let built = build::model(&request).map_err(fail)?;
        let session = catch_unwind(AssertUnwindSafe(|| commit(piece, shared, constants, &built)))
            .unwrap_or_else(|_| Err("the runtime panicked".to_owned()))
            .map_err(fail)?;
        let feed = |(name, value): (String, usize)| {
            let at = piece.feeds.iter().position(|&feed| feed == value);
            at.map(|at| (name.clone(), at)).ok_or_else(|| {
                refused(piece, steps, format!("`{name}` is read, and nothing gives it"))
            })
        };
        let inputs = built.inputs.into_iter().map(feed).collect::<Result<_, _>>()?;
        let outputs =
            built.outputs.into_iter().map(|(name, value)| (name, value, types[value])).collect();
        Ok(Self { session, inputs, outputs })
    }

    /// The values that are handed back, from the feeds of the piece.
    pub(super) fn run(
        &mut self,
        piece: &Piece,
        fed: &[&Tensor],
    ) -> Result<Vec<(usize, Tensor)>, EngineError> {
        let fail = |reason: String| failed(piece, reason);
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            Vec::with_capacity(self.inputs.len());
        for (name, feed) in &self.inputs {
            let tensor = fed.get(*feed).ok_or_else(|| fail(format!("`{name}` is not fed")))?;
            inputs.push((name.as_str().into(), value::view(tensor).map_err(&fail)?));
        }
        let session = &mut self.session;
        let ran = catch_unwind(AssertUnwindSafe(|| session.run(inputs)))
            .map_err(|_| fail("the runtime panicked".to_owned()))?;
        let mut ran = ran.map_err(|error| fail(one_line(&error.to_string())))?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (name, value, dtype) in &self.outputs {
            let given = ran.remove(name).ok_or_else(|| fail(format!("`{name}` was not given")))?;
            let tensor = value::taken(given).map_err(&fail)?;
            let tensor = match dtype {
                Some(dtype) => value::uncarried(tensor, *dtype).map_err(&fail)?,
                None => tensor,
            };
            outputs.push((*value, tensor));
        }
        Ok(outputs)
    }
}

fn commit(
    piece: &Piece,
    shared: &Shared,
    constants: &[Option<Tensor>],
    built: &Built,
) -> Result<ort::session::Session, String> {
    let OnnxRuntime { runtime, numerics, threads } = &shared.engine;
    let text = |error: ort::Error| one_line(&error.to_string());
    let option = |error: ort::Error<SessionBuilder>| one_line(&error.to_string());
    let mut builder = SessionBuilder::new(&runtime.environment).map_err(text)?;
    builder = builder.with_log_level(LogLevel::Fatal).map_err(option)?;
    builder = builder.with_deterministic_compute(true).map_err(option)?;
    match numerics {
        Numerics::Reference => {
            builder =
                builder.with_optimization_level(GraphOptimizationLevel::Disable).map_err(option)?;
            builder = builder.with_quant_qdq(false).map_err(option)?;
            // Each session would keep an arena as large as its largest run; and shapes vary.
            let plain = ep::CPU::default().with_arena_allocator(false).build();
            builder = builder.with_memory_pattern(false).map_err(option)?;
            builder = builder.with_execution_providers([plain]).map_err(option)?;
        }
        Numerics::Deployed => {
            builder =
                builder.with_optimization_level(GraphOptimizationLevel::All).map_err(option)?;
        }
    }
    if *threads != runtime.threads {
        let count = threads.map_or(0, std::num::NonZeroUsize::get);
        builder = builder.with_independent_thread_pool().map_err(option)?;
        builder = builder.with_intra_threads(count).map_err(option)?;
        builder = builder.with_intra_op_spinning(false).map_err(option)?;
    }
    for (name, value) in &built.injected {
        let constant = constants[*value].as_ref();
        let constant = constant.ok_or_else(|| format!("`{name}` has no content"))?;
        let weight = shared.weight(piece.values[*value].id, constant)?;
        builder = builder.with_external_initializer(name, weight).map_err(option)?;
    }
    builder.commit_from_memory(&built.bytes).map_err(text)
}

/// The step that the runtime speaks of: the one with the longest name that is quoted.
pub(super) fn named<'p>(piece: &'p Piece, reason: &str) -> Option<&'p Step> {
    let quotes = [("'", "'"), ("(", ")"), ("\"", "\""), ("Node:", " "), ("`", "`")];
    let is_named = |step: &&Step| {
        !step.name.is_empty()
            && quotes
                .iter()
                .any(|(open, close)| reason.contains(&format!("{open}{}{close}", step.name)))
    };
    piece.steps.iter().filter(is_named).max_by_key(|step| step.name.len())
}

/// Why steps are not loaded.
fn refused(piece: &Piece, steps: &[usize], reason: String) -> EngineError {
    let only = match steps {
        [one] => Some(&piece.steps[*one]),
        _ => None,
    };
    if let Some(step) = named(piece, &reason).or(only) {
        return EngineError::Refused(vec![crate::Refusal {
            node: step.node,
            name: step.name.clone(),
            op: qualified(&step.content.domain, &step.content.op_type),
            opset: step.opset,
            reason,
        }]);
    }
    let name = |at: Option<&usize>| at.map_or_else(String::new, |&at| piece.steps[at].name.clone());
    EngineError::Load { first: name(steps.first()), last: name(steps.last()), reason }
}

/// A run that failed, at the node that the runtime names or at the first one.
fn failed(piece: &Piece, reason: String) -> EngineError {
    let step = named(piece, &reason).or(piece.steps.first());
    let (name, op) = step.map_or_else(Default::default, |step| {
        (step.name.clone(), qualified(&step.content.domain, &step.content.op_type))
    });
    EngineError::Run { name, op, reason }
}
