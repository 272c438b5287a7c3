//! `If` and `Loop`: bodies are pieces like any other, run by the same engine.

use std::sync::Arc;

use marquetry_ir::{Tensor, ValueId};

use super::plan::{Shared, refusal};
use super::{Compiled, place_of};
use crate::EngineError;
use crate::engine::Program;
use crate::native::{Call, lookup};
use crate::piece::{Piece, Step, captured};

/// A body of a node, with the values around it that it reads.
pub(super) struct Body {
    program: Compiled,
    captures: Vec<usize>,
}

impl Body {
    /// The bodies of a step, in attribute order.
    pub(super) fn all(
        piece: &Piece,
        step: usize,
        shared: &Arc<Shared>,
    ) -> Result<Vec<Self>, EngineError> {
        let step = &piece.steps[step];
        let bodies = step.content.bodies().zip(&step.bodies).map(|(graph, types)| {
            let outer: Vec<ValueId> = captured(graph);
            let mut feeds = graph.inputs.clone();
            let mut captures = Vec::with_capacity(outer.len());
            for value in outer {
                let name = graph.value(value).name();
                let found = step.captures.iter().find(|&&outer| piece.values[outer].name == name);
                // A name that nobody has is only an error if something needs it: cutting will say.
                if let Some(&found) = found {
                    feeds.push(value);
                    captures.push(found);
                }
            }
            let body = Piece::cut(graph, types, &feeds, &graph.outputs)?;
            let shared = Shared::new(shared.threads.clone());
            Ok(Self { program: Compiled::new(body, shared)?, captures })
        });
        bodies.collect()
    }

    fn run(
        &mut self,
        inputs: Vec<Tensor>,
        values: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EngineError> {
        let captures = self.captures.iter().filter_map(|&value| values[value].clone());
        let inputs: Vec<Tensor> = inputs.into_iter().chain(captures).collect();
        self.program.run(&inputs)
    }
}

/// Runs a step that holds bodies.
pub(super) fn run(
    step: &Step,
    bodies: &mut [Body],
    values: &[Option<Tensor>],
) -> Result<Vec<Tensor>, EngineError> {
    match (step.content.op_type.as_str(), bodies) {
        ("If", bodies) => branch(step, bodies, values),
        ("Loop", [body]) => repeat(step, body, values),
        _ => Err(EngineError::Refused(vec![refusal(
            step,
            "it does not have the bodies it should".to_owned(),
        )])),
    }
}

fn failed(step: &Step, reason: impl Into<String>) -> EngineError {
    let (_, name, op) = place_of(step);
    EngineError::Run { name, op, reason: reason.into() }
}

fn input<'a>(step: &Step, slot: usize, values: &'a [Option<Tensor>]) -> Option<&'a Tensor> {
    values[step.inputs.get(slot).copied().flatten()?].as_ref()
}

fn branch(
    step: &Step,
    bodies: &mut [Body],
    values: &[Option<Tensor>],
) -> Result<Vec<Tensor>, EngineError> {
    let condition = input(step, 0, values).and_then(Tensor::item);
    let condition = condition.ok_or_else(|| failed(step, "the condition is no single element"))?;
    let wanted = if condition != 0.0 { "then_branch" } else { "else_branch" };
    let graphs =
        step.content.attributes.iter().filter(|attribute| !attribute.value.graphs().is_empty());
    let at = graphs.map(|attribute| attribute.name.as_str()).position(|name| name == wanted);
    let body = at.and_then(|at| bodies.get_mut(at));
    body.ok_or_else(|| failed(step, format!("there is no `{wanted}`")))?.run(Vec::new(), values)
}

/// Carried values go round; what the body gives beyond them is stacked along a new first axis.
fn repeat(
    step: &Step,
    body: &mut Body,
    values: &[Option<Tensor>],
) -> Result<Vec<Tensor>, EngineError> {
    let most = input(step, 0, values).and_then(Tensor::item);
    let mut condition = input(step, 1, values).and_then(Tensor::item).is_none_or(|go| go != 0.0);
    let carried = step.inputs.len().saturating_sub(2);
    let mut state = Vec::with_capacity(carried);
    for slot in 2..step.inputs.len() {
        let tensor =
            input(step, slot, values).ok_or_else(|| failed(step, "a carried value is absent"))?;
        state.push(tensor.clone());
    }
    let scans = step.outputs.len().saturating_sub(carried);
    let mut scanned: Vec<Vec<Tensor>> = vec![Vec::new(); scans];
    let mut iteration = 0_i64;
    while condition && most.is_none_or(|most| (iteration as f64) < most) {
        let invariant =
            |what| move |error: marquetry_ir::TensorError| failed(step, format!("{what}: {error}"));
        let count = Tensor::from_i64s([], &[iteration]).map_err(invariant("iteration"))?;
        let go = crate::array::bools([], vec![1]).map_err(invariant("condition"))?;
        let inputs = [count, go].into_iter().chain(state).collect();
        let mut outputs = body.run(inputs, values)?.into_iter();
        condition = outputs.next().and_then(|go| go.item()).is_some_and(|go| go != 0.0);
        state = outputs.by_ref().take(carried).collect();
        scanned.iter_mut().zip(outputs).for_each(|(all, one)| all.push(one));
        iteration += 1;
    }
    let stacks = scanned.into_iter().map(|all| stack(step, all)).collect::<Result<Vec<_>, _>>()?;
    Ok(state.into_iter().chain(stacks).collect())
}

fn stack(step: &Step, tensors: Vec<Tensor>) -> Result<Tensor, EngineError> {
    let invalid = |error: marquetry_ir::TensorError| failed(step, error.to_string());
    let rows = tensors.into_iter().map(|tensor| {
        let dims: Vec<usize> = [&[1], tensor.dims()].concat();
        tensor.reshape(dims).map(Some)
    });
    let rows: Vec<Option<Tensor>> = rows.collect::<Result<_, _>>().map_err(invalid)?;
    if rows.is_empty() {
        return Err(EngineError::Refused(vec![refusal(
            step,
            "nothing is stacked, and the type of nothing is not known".to_owned(),
        )]));
    }
    let concat = lookup("", "Concat").expect("concatenation is native");
    let axis = [marquetry_ir::Attribute::new("axis", marquetry_ir::AttributeValue::Int(0))];
    let operation =
        marquetry_ir::Operation { domain: "", op_type: "Concat", opset: 13, attributes: &axis };
    let stacked = concat.run(&Call { operation, inputs: &rows, outputs: Some(1) });
    let stacked = stacked.map_err(|fault| failed(step, format!("{fault:?}")))?;
    stacked.into_iter().next().ok_or_else(|| failed(step, "nothing was stacked"))
}
