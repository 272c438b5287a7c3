//! The engine that is always there: the rten runtime behind a fence, native operators for the rest.

mod control;
mod fence;
mod lower;
mod plan;
mod runtime;

use std::sync::Arc;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType, Evaluate, EvaluateError, Graph, NodeId, Operation, Tensor, ValueId};

use self::fence::place;
use self::plan::{Plan, Shared};
use crate::array::widened;
use crate::engine::{Engine, Loaded, Options, Program};
use crate::piece::Piece;
use crate::{EngineError, Native, Refusal, operator, types};

/// The embedded engine.
///
/// Nodes that the runtime is trusted with run there, in stages as long as possible; between them native
/// operators run. `float16` and `bfloat16` are computed as `float`, and so is `double` where no native
/// operator does it.
#[derive(Debug, Default)]
pub struct Embedded {
    threads: Threads,
}

/// The threads that programs run on: a pool of their own, or that of the runtime.
#[derive(Clone, Debug, Default)]
struct Threads {
    pool: Option<Arc<rten::ThreadPool>>,
    /// Whether there is one only.
    single: bool,
}

impl Threads {
    /// Runs something in the pool: at once where this is one of its threads.
    fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.run(work),
            None => rten::thread_pool().run(work),
        }
    }
}

impl Embedded {
    /// An engine with these options.
    pub fn new(options: &Options) -> Self {
        let pool =
            |threads: std::num::NonZeroUsize| rten::ThreadPool::with_num_threads(threads.get());
        let single = options.threads.is_some_and(|threads| threads.get() == 1);
        Self { threads: Threads { pool: options.threads.map(pool).map(Arc::new), single } }
    }
}

impl Engine for Embedded {
    fn name(&self) -> &str {
        "embedded"
    }

    fn refusals(&self, graph: &Graph) -> Vec<Refusal> {
        refusals(graph, &infer::run_graph(graph), 0)
    }

    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        self.threads.within(work);
    }

    fn load<'g>(&self, graph: &'g Graph) -> Result<Box<dyn Loaded + 'g>, EngineError> {
        let types = infer::run_graph(graph);
        Ok(Box::new(LoadedGraph { graph, types, shared: Shared::new(self.threads.clone()) }))
    }
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
        let piece = Piece::cut(self.graph, &self.types, feeds, fetches)?;
        Ok(Box::new(Compiled::new(piece, self.shared.clone())?))
    }
}

/// A piece with its plan, which waits for the first run where a fed type is not known.
pub(crate) struct Compiled {
    piece: Piece,
    shared: Arc<Shared>,
    plan: Option<Plan>,
}

impl Compiled {
    pub(crate) fn new(piece: Piece, shared: Arc<Shared>) -> Result<Self, EngineError> {
        let feeds: Option<Vec<DType>> =
            piece.feeds.iter().map(|&feed| piece.values[feed].dtype).collect();
        let plan = feeds.map(|feeds| Plan::new(&piece, &shared, feeds)).transpose()?;
        Ok(Self { piece, shared, plan })
    }
}

impl Program for Compiled {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let fed = self.piece.fed_types(inputs)?;
        let plan = match self.plan.take() {
            Some(plan) if plan.fits(&fed) => plan,
            _ => Plan::new(&self.piece, &self.shared, fed)?,
        };
        let plan = self.plan.insert(plan);
        let Self { piece, shared, .. } = self;
        if plan.has_bodies() {
            // Bodies inside each other go deeper than the stacks of the pool are made for.
            return plan.run(piece, shared, inputs);
        }
        // All stages in the pool at once: to hand each of them to another thread, and to wake that one,
        // takes as long as small operators do.
        shared.threads.within(|| plan.run(piece, shared, inputs))
    }
}

/// Bodies inside each other that are looked into; deeper ones are left for the run to refuse.
const DEPTH: usize = 32;

fn refusals(graph: &Graph, known: &Types, depth: usize) -> Vec<Refusal> {
    let mut feeds = graph.inputs.clone();
    feeds.extend(crate::piece::captured(graph));
    let Ok(piece) = Piece::cut(graph, known, &feeds, &graph.outputs) else { return Vec::new() };
    let fed: Vec<_> = piece.feeds.iter().map(|&feed| piece.values[feed].dtype).collect();
    let types = types::of(&piece, &fed);
    let mut refusals: Vec<Refusal> = Vec::new();
    for step in &piece.steps {
        if let Err(reason) = place(&piece, step, &types) {
            refusals.push(Refusal::new(graph, step.node, reason));
            continue;
        }
        for (body, known) in step.content.bodies().zip(&step.bodies) {
            if depth < DEPTH
                && let Some(inner) = self::refusals(body, known, depth + 1).first()
            {
                refusals.push(Refusal::new(graph, step.node, format!("in its body, {inner}")));
            }
        }
    }
    refusals.sort_by_key(|refusal| refusal.node);
    refusals
}

/// Runs single operators as it runs nodes of graphs: natively where there is a native operator, and in
/// the runtime otherwise.
impl Evaluate for Embedded {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        match Native.evaluate(operation, inputs) {
            Err(EvaluateError::Unsupported { .. }) => {}
            native => return native,
        }
        operator::run(self, operation, inputs)
    }
}

/// The tensors that a program works with: halves are carried as `float`.
fn carried(tensor: &Tensor) -> Tensor {
    widened(tensor)
}

/// A node of a graph, for messages.
fn place_of(step: &crate::piece::Step) -> (NodeId, String, String) {
    let op = crate::error::qualified(&step.content.domain, &step.content.op_type);
    (step.node, step.name.clone(), op)
}
