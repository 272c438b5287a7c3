//! ONNX Runtime, loaded at run time from wherever the user has it.
//!
//! A piece becomes a model of its own, whose weights are memory that all sessions of a graph share. In
//! reference numerics the runtime does not optimize: what it computes then does not depend on where a
//! graph is cut, and what follows from constants is computed once, here.

mod build;
mod fold;
mod library;
mod session;
mod value;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::schema::{self, Arity};
use marquetry_ir::{
    DType, Evaluate, EvaluateError, Graph, NodeId, Operation, Tensor, Type, ValueId,
};

pub use self::library::LibraryError;
use self::library::Runtime;
use self::session::{Plan, Shared};
use crate::engine::{Engine, Loaded, Numerics, Options, Program};
use crate::piece::{Piece, Step};
use crate::{EngineError, Native, Refusal, operator, types};

/// ONNX Runtime as an engine.
///
/// There is one library in a process: the first one that is loaded. `float16` and `bfloat16` stay what
/// they are.
#[derive(Clone)]
pub struct OnnxRuntime {
    runtime: &'static Runtime,
    numerics: Numerics,
    threads: Option<NonZeroUsize>,
}

impl OnnxRuntime {
    /// Loads the library at `library`, unless that has been done.
    ///
    /// # Errors
    ///
    /// When there is no file, or it is no ONNX Runtime, or one that is too old, or another one has been
    /// loaded by this process.
    pub fn load(
        library: &Path,
        numerics: Numerics,
        options: &Options,
    ) -> Result<Self, LibraryError> {
        let runtime = library::load(library, options.threads)?;
        Ok(Self { runtime, numerics, threads: options.threads })
    }

    /// The version of the library, such as `1.23.2`.
    pub fn version(&self) -> &str {
        &self.runtime.version
    }

    fn shared(&self, graph: &Graph) -> Arc<Shared> {
        Shared::new(self.clone(), graph.opsets.clone())
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &str {
        match self.numerics {
            Numerics::Reference => "ort",
            Numerics::Deployed => "ort-deployed",
        }
    }

    fn numerics(&self) -> Numerics {
        self.numerics
    }

    fn refusals(&self, graph: &Graph) -> Vec<Refusal> {
        let types = infer::run_graph(graph);
        let Ok(piece) = Piece::cut(graph, &types, &graph.inputs, &graph.outputs) else {
            return Vec::new();
        };
        let shared = self.shared(graph);
        let Some(reason) = unloadable(&piece, &shared) else { return Vec::new() };
        // What the runtime says names one node at most, and not always: each is asked alone.
        let alone = |step: &Step| {
            let (piece, _) = single(graph, &types, step.node)?;
            unloadable(&piece, &shared).map(|reason| Refusal::new(graph, step.node, reason))
        };
        let mut refusals: Vec<Refusal> = piece.steps.iter().filter_map(alone).collect();
        if refusals.is_empty()
            && let Some(step) = self::session::named(&piece, &reason).or(piece.steps.first())
        {
            refusals.push(Refusal::new(graph, step.node, reason));
        }
        refusals.sort_by_key(|refusal| refusal.node);
        refusals
    }

    fn load<'g>(&self, graph: &'g Graph) -> Result<Box<dyn Loaded + 'g>, EngineError> {
        let types = infer::run_graph(graph);
        Ok(Box::new(LoadedGraph { graph, types, shared: self.shared(graph) }))
    }
}

/// Runs single operators that give one output in the runtime; natively those that may give more, and what
/// the runtime refuses.
impl Evaluate for OnnxRuntime {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let Operation { domain, op_type, opset, .. } = operation;
        let schema = schema::lookup(domain, op_type, opset);
        let one = schema.is_some_and(
            |schema| matches!(&schema.outputs[..], [output] if output.arity == Arity::Single),
        );
        match one.then(|| operator::run(self, operation, inputs)) {
            Some(Ok(outputs)) => Ok(outputs),
            _ => Native.evaluate(operation, inputs),
        }
    }
}

/// Why the runtime does not take a piece, where the types that it is fed are known.
fn unloadable(piece: &Piece, shared: &Arc<Shared>) -> Option<String> {
    let fed: Option<Vec<DType>> =
        piece.feeds.iter().map(|&feed| piece.values[feed].dtype).collect();
    match Plan::new(piece, shared, fed?) {
        Ok(_) => None,
        Err(EngineError::Refused(refusals)) => refusals.into_iter().next().map(|x| x.reason),
        Err(EngineError::Load { reason, .. }) => Some(reason),
        Err(error) => Some(error.to_string()),
    }
}

/// A node alone, fed all that it reads; nothing where a type is not known.
fn single(graph: &Graph, types: &Types, node: NodeId) -> Option<(Piece, Vec<ValueId>)> {
    let outputs: Vec<ValueId> = graph.outputs(node).into_iter().flatten().collect();
    let reads = graph.inputs(node).into_iter().flatten().chain(graph.captures(node));
    let mut feeds: Vec<ValueId> =
        reads.filter(|&value| graph.value(value).constant.is_none()).collect();
    feeds.sort_unstable();
    feeds.dedup();
    let piece = Piece::cut(graph, types, &feeds, &outputs).ok()?;
    Some((piece, feeds))
}

struct LoadedGraph<'g> {
    graph: &'g Graph,
    types: Types,
    shared: Arc<Shared>,
}

impl Loaded for LoadedGraph<'_> {
    fn compile(
        &self,
        feeds: &[ValueId],
        fetches: &[ValueId],
    ) -> Result<Box<dyn Program>, EngineError> {
        let mut piece = Piece::cut(self.graph, &self.types, feeds, fetches)?;
        if self.shared.engine.numerics == Numerics::Deployed {
            // What is declared decides which optimizations there are.
            for value in &mut piece.values {
                value.declared = self.declared(value.id);
            }
        }
        let known: Option<Vec<DType>> =
            piece.feeds.iter().map(|&feed| piece.values[feed].dtype).collect();
        let plan = known.map(|fed| Plan::new(&piece, &self.shared, fed)).transpose()?;
        Ok(Box::new(Compiled { piece, shared: self.shared.clone(), plan }))
    }
}

impl LoadedGraph<'_> {
    fn declared(&self, value: ValueId) -> Option<Type> {
        self.graph.value(value).ty.clone().or_else(|| self.types.ty(value).cloned())
    }
}

/// A piece with its session, which waits for the first run where a fed type is not known.
struct Compiled {
    piece: Piece,
    shared: Arc<Shared>,
    plan: Option<Plan>,
}

impl Program for Compiled {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let fed = self.piece.fed_types(inputs)?;
        let plan = match self.plan.take() {
            Some(plan) if plan.fits(&fed) => plan,
            _ => Plan::new(&self.piece, &self.shared, fed)?,
        };
        self.plan.insert(plan).run(&self.piece, inputs)
    }
}

/// The element types of all values, given those that are fed.
fn typed(piece: &Piece, fed: &[DType]) -> Vec<Option<DType>> {
    let fed: Vec<_> = fed.iter().copied().map(Some).collect();
    types::of(piece, &fed)
}
