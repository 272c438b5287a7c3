//! FoldConstants: weights that are computed from constants become constants.

use marquetry_engine::{Engine, EngineError};
use marquetry_ir::infer::{self, Types};
use marquetry_ir::schema::lookup;
use marquetry_ir::{Cycle, Graph, NodeId, Tensor, ValueId};

use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::element::is_quantizable;
use crate::units::is_static;

/// Computes what kernels and normalizations read as parameters, where it follows from constants
/// alone: exporters leave `Transpose(weight)` and the like behind, and models whose weights are stored as
/// `float16` cast each of them.
///
/// Other constants stay as they are: folding them would only make the file larger. Changes nodes,
/// so it stands before `Group`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &str {
        "FoldConstants"
    }

    fn requires(&self) -> &[Fact] {
        &[]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Groups, Fact::Sites]
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        if !state.groups.groups.is_empty() {
            let message = "`FoldConstants` changes nodes after groups were found".to_owned();
            return Err(PassError::Graph { message });
        }
        let types = infer::run(&state.model);
        let graph = &mut state.model.graph;
        let computed = Computed::of(graph, &types);
        let computed = computed.map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        let is_kernel = |node: NodeId| {
            let content = graph.node(node);
            content.is_onnx("BatchNormalization") || state.policy.reads_weights(content)
        };
        let mut wanted: Vec<ValueId> = Vec::new();
        for &node in computed.order.iter().filter(|&&node| is_kernel(node)) {
            for value in graph.inputs(node).into_iter().skip(1).flatten() {
                let folds = computed.is_steady(value)
                    && !is_static(graph, value)
                    && !graph.is_output(value)
                    && types.dtype(value).is_none_or(is_quantizable);
                if folds && !wanted.contains(&value) {
                    wanted.push(value);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(Summary::new(self, "no weight is computed"));
        }
        match computed.fold(graph, &wanted, cx.engine) {
            Ok(folded) => Ok(Summary::new(self, format!("{folded} computed weights folded"))),
            Err(error) => {
                let mut summary = Summary::new(self, "nothing folded");
                summary.notes.push(format!("{} weights stay computed: {error}", wanted.len()));
                Ok(summary)
            }
        }
    }
}

/// What of a graph follows from constants alone.
pub(crate) struct Computed {
    order: Vec<NodeId>,
    steady: Vec<bool>,
}

impl Computed {
    /// What follows in a graph without cycles.
    pub(crate) fn of(graph: &Graph, types: &Types) -> Result<Self, Cycle> {
        let order = graph.order()?;
        let steady = steady(graph, types, &order);
        Ok(Self { order, steady })
    }

    /// Whether a value follows from constants alone.
    pub(crate) fn is_steady(&self, value: ValueId) -> bool {
        self.steady.get(value.index()).copied().unwrap_or(false)
    }

    /// Makes such values constants, and takes out what only they needed; how many were of a type that can be
    /// quantized. The others stay as they are.
    pub(crate) fn fold(
        &self,
        graph: &mut Graph,
        wanted: &[ValueId],
        engine: &dyn Engine,
    ) -> Result<usize, EngineError> {
        let tensors: Vec<Tensor> = engine.compile(graph, &[], wanted)?.run(&[])?;
        let mut folded = 0;
        for (&value, tensor) in wanted.iter().zip(tensors) {
            if !is_quantizable(tensor.dtype()) {
                continue;
            }
            if let Some((producer, slot)) = graph.producer(value) {
                graph.set_output(producer, slot, None);
            }
            graph.set_initializer(value, tensor);
            folded += 1;
        }
        remove_dead(graph, &self.order, &self.steady);
        Ok(folded)
    }
}

/// By value: whether it follows from constants alone.
fn steady(graph: &Graph, types: &Types, order: &[NodeId]) -> Vec<bool> {
    let mut steady = vec![false; graph.value_bound()];
    for value in graph.values() {
        steady[value.index()] = types.is_constant(value);
    }
    for &id in order {
        let node = graph.node(id);
        let schema = graph
            .opsets
            .version(&node.domain)
            .and_then(|version| lookup(&node.domain, &node.op_type, version));
        let pure = schema.is_some_and(|schema| !schema.facts.random());
        let inputs = graph.inputs(id);
        let follows = pure
            && node.bodies().next().is_none()
            && inputs.into_iter().flatten().all(|value| steady[value.index()]);
        for output in graph.outputs(id).into_iter().flatten() {
            steady[output.index()] |= follows;
        }
    }
    steady
}

/// Takes out the nodes that only folded values needed.
fn remove_dead(graph: &mut Graph, order: &[NodeId], steady: &[bool]) {
    let mut dead: Vec<NodeId> = Vec::new();
    let mut uses: Vec<usize> = vec![0; graph.value_bound()];
    graph.values().for_each(|value| uses[value.index()] = graph.use_count(value));
    for &node in order.iter().rev() {
        let outputs = graph.outputs(node);
        let unused = outputs.iter().flatten().all(|&value| {
            steady[value.index()] && uses[value.index()] == 0 && !graph.is_output(value)
        });
        let inputs = graph.inputs(node);
        let fed = inputs.iter().flatten().all(|value| steady[value.index()]);
        if unused && fed {
            inputs.into_iter().flatten().for_each(|value| uses[value.index()] -= 1);
            dead.push(node);
        }
    }
    graph.remove_nodes(&dead);
    graph.drop_unused();
}
