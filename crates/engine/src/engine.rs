use std::num::NonZeroUsize;

use marquetry_ir::{Graph, Tensor, ValueId};

use crate::{EngineError, Refusal};

/// How an engine runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads that one program may use; `None` leaves it to the machine. Results do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

/// What an engine may do to the arithmetic of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// Nothing: what is computed is what the graph says, wherever it is cut.
    #[default]
    Reference,
    /// Whatever it does where models are deployed: fusions, and other arithmetic for quantized operators.
    /// A graph runs whole then, and values inside keep what computes them from being fused.
    Deployed,
}

/// Runs graphs, and pieces of graphs.
///
/// ```
/// use marquetry_engine::{Embedded, Engine as _, Options};
/// use marquetry_ir::{Opsets, Tensor, text};
///
/// let graph = text::parse_graph(
///     "g (float[2] x) => (float[2] y) { a = Neg (x) y = Relu (a) }",
///     &Opsets::onnx(17),
/// )?;
/// let engine = Embedded::new(&Options::default());
/// assert!(engine.refusals(&graph).is_empty());
/// // Any values may be fed and fetched.
/// let a = graph.find("a").expect("the graph has it");
/// let mut program = engine.compile(&graph, &graph.inputs, &[a, graph.outputs[0]])?;
/// let results = program.run(&[Tensor::from_f32s([2], &[1.0, -2.0])?])?;
/// assert_eq!(results[0].to_f64s(), Some(vec![-1.0, 2.0]));
/// assert_eq!(results[1].to_f64s(), Some(vec![0.0, 2.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Engine: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &str;

    /// What it may do to the arithmetic of a graph.
    fn numerics(&self) -> Numerics {
        Numerics::Reference
    }

    /// Why nodes of a graph cannot run here, in order of the nodes; empty when all can. To be asked
    /// before anything long starts.
    fn refusals(&self, graph: &Graph) -> Vec<Refusal>;

    /// Makes a graph ready for its pieces to be compiled. Calls of functions must have been inlined.
    ///
    /// # Errors
    ///
    /// When the nodes of the graph wait for each other.
    fn load<'g>(&self, graph: &'g Graph) -> Result<Box<dyn Loaded + 'g>, EngineError>;

    /// Runs something where programs run: one that it runs then wakes no other thread, and what it gives
    /// is still in the cache. The stack there may be small.
    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }

    /// [`Loaded::compile`] for a graph of which one piece is wanted.
    ///
    /// # Errors
    ///
    /// As [`Engine::load`] and [`Loaded::compile`].
    fn compile(
        &self,
        graph: &Graph,
        feeds: &[ValueId],
        fetches: &[ValueId],
    ) -> Result<Box<dyn Program>, EngineError> {
        self.load(graph)?.compile(feeds, fetches)
    }
}

/// A graph in an engine. Its programs share weights with the graph, or one copy of them where the
/// runtime wants another alignment or type.
pub trait Loaded: Send + Sync {
    /// The part of the graph that computes `fetches` from `feeds`, both of which may be any values.
    ///
    /// Constants need not be fed, but may be: what is fed replaces the constant, or cuts off the nodes
    /// that compute it.
    ///
    /// # Errors
    ///
    /// When a fetched value depends on an input that is not fed, or on a node that the engine refuses.
    /// Where the type of a fed value is not known yet, refusals may wait for the first run.
    fn compile(
        &self,
        feeds: &[ValueId],
        fetches: &[ValueId],
    ) -> Result<Box<dyn Program>, EngineError>;
}

/// A compiled piece of a graph.
pub trait Program: Send {
    /// The fetched tensors in the order asked for at compilation, from the fed ones in their order.
    ///
    /// Values that the graph calls `float16` or `bfloat16` may arrive as `float`, where the engine
    /// computes them so.
    ///
    /// # Errors
    ///
    /// When an operator does not accept what it is given.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError>;
}
