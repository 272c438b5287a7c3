//! Which values are constants wherever a piece begins.

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, ValueId};

/// The constants of a graph that nothing computed goes into: initializers, and what is computed from
/// nothing but them. `CastLike(1, x)` is the same in every run as well, but reads `x`.
pub(super) struct Constants {
    /// By [`ValueId::index`].
    constant: Vec<bool>,
}

impl Constants {
    pub(super) fn new(graph: &Graph, types: &Types) -> Self {
        let mut constant = vec![false; graph.value_bound()];
        for value in graph.values().filter(|value| graph.producer(*value).is_none()) {
            constant[value.index()] = types.is_constant(value);
        }
        for node in graph.order().unwrap_or_default() {
            let inputs = graph.inputs(node).into_iter().flatten();
            let captures = graph.captures(node);
            if inputs.chain(captures).all(|value| constant[value.index()]) {
                for value in graph.outputs(node).into_iter().flatten() {
                    constant[value.index()] = types.is_constant(value);
                }
            }
        }
        Self { constant }
    }

    pub(super) fn contains(&self, value: ValueId) -> bool {
        self.constant[value.index()]
    }
}
