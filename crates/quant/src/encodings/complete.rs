//! Whether a target finds an encoding for everything it asks for.

use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, ValueId};
use marquetry_matcher::Groups;
use serde::Serialize;

use super::apply::param_axes;
use super::derive;
use super::of_plan::in_graph_order;
use crate::flat::Flat;
use crate::plan::{Plan, Role};

/// What became of the wish for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has an encoding.
    Present,
    /// Its encoding follows from another.
    Derived,
    /// It has none: the target will compute one from its own data, or refuse.
    Missing,
}

/// A tensor that a target asks an encoding for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether there is one.
    pub state: State,
    /// What it is to its readers.
    pub role: &'static str,
}

/// Every tensor that a target asks for, in the order of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// The tensors.
    pub tensors: Vec<Wanted>,
}

impl Completeness {
    /// How many tensors are in a state.
    pub fn count(&self, state: State) -> usize {
        self.tensors.iter().filter(|tensor| tensor.state == state).count()
    }
}

/// Compares a plan with what a target asks that runs everything on integers, as QNN does: every float
/// tensor that flows, every parameter of a kernel or norm.
///
/// A tensor between two nodes that the target fuses needs none; which those are, a file does not say,
/// so that tensors without an encoding whose only reader has one on its output count as interior of
/// a group, and are left out.
pub fn completeness(graph: &Graph, types: &Types, plan: &Plan) -> Completeness {
    // What is in bodies is asked for as well.
    let groups = Groups::default();
    let flat = Flat::of(graph, types, &groups, plan);
    let flat = flat.unwrap_or_else(|_| Flat::closed(graph, types, &groups));
    of_one(&flat.graph, &flat.types, &flat.enter(plan.clone()))
}

fn of_one(graph: &Graph, types: &Types, plan: &Plan) -> Completeness {
    let mut known: derive::Known<'_> = BTreeMap::new();
    for (value, site) in plan.enabled() {
        if let Some(encoding) = &site.encoding {
            known.insert(value, (site.role, std::borrow::Cow::Borrowed(encoding)));
        }
    }
    let present: Vec<ValueId> = known.keys().copied().collect();
    derive::follow(graph, types, plan, &mut known);
    let mut tensors = Vec::new();
    for value in in_graph_order(graph) {
        let float = types.dtype(value).is_some_and(|dtype| dtype.is_float());
        if !float || graph.value(value).name().is_empty() {
            continue;
        }
        let state = match (present.binary_search(&value).is_ok(), known.contains_key(&value)) {
            (true, _) => State::Present,
            (false, true) => State::Derived,
            (false, false) if interior(graph, &known, value) => continue,
            (false, false) => State::Missing,
        };
        let role = match known.get(&value).map(|(role, _)| *role) {
            Some(Role::Weight) => "weight",
            Some(Role::Bias { .. }) => "bias",
            Some(Role::Activation) => "activation",
            None if !types.is_constant(value) => "activation",
            None if param_axes(graph, types, value).is_some() => "weight",
            // A constant that nobody quantizes, such as an epsilon.
            None => continue,
        };
        tensors.push(Wanted { name: graph.value(value).name().to_owned(), state, role });
    }
    Completeness { tensors }
}

/// Whether the only reader of a computed value has an encoding behind it.
fn interior(graph: &Graph, known: &derive::Known<'_>, value: ValueId) -> bool {
    let uses = graph.uses(value);
    let [reader] = uses.as_slice() else { return false };
    graph.producer(value).is_some()
        && !graph.is_output(value)
        && graph.outputs(reader.node).into_iter().flatten().any(|out| known.contains_key(&out))
}
