//! `If`, `Loop` and `Scan`: bodies are pieces like any other, run by the same engine.

use std::sync::Arc;

use bytes::Bytes;
use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, DType, Dim, Graph, Tensor, ValueId};

use super::plan::{Shared, refusal};
use super::{Compiled, carried, place_of};
use crate::EngineError;
use crate::engine::Program;
use crate::native::{Call, lookup};
use crate::piece::{Piece, Step, captured};

/// A body of a node, with the values around it that it reads.
pub(super) struct Body {
    program: Compiled,
    captures: Vec<usize>,
    /// What each output is before any turn, as far as its type is known.
    empty: Vec<Option<Slice>>,
}

/// The element type and the lengths of what one turn would give. Lengths that depend on the turn are 0,
/// as ONNX Runtime has them.
struct Slice {
    dtype: DType,
    dims: Vec<usize>,
}

impl Slice {
    fn of(graph: &Graph, types: &Types, output: ValueId) -> Option<Self> {
        let declared = graph.value(output).tensor_type();
        let dtype = types.dtype(output).or_else(|| declared?.dtype)?;
        let shape = types.shape(output).or_else(|| declared?.shape.as_deref())?;
        let length = |dim: &Dim| match dim {
            Dim::Known(length) => usize::try_from(*length).unwrap_or(0),
            Dim::Symbol(_) | Dim::Unknown => 0,
        };
        Some(Self { dtype, dims: shape.iter().map(length).collect() })
    }

    /// No such slice, stacked along an axis.
    fn none(&self, axis: i64) -> Option<Tensor> {
        let mut dims = self.dims.clone();
        dims.insert(resolve(axis, dims.len() + 1)?, 0);
        let empty = Tensor::new(self.dtype, dims, Bytes::new()).ok()?;
        Some(carried(&empty))
    }
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
            let outputs = graph.outputs.iter();
            let empty = outputs.map(|&output| Slice::of(graph, types, output)).collect();
            let shared = Shared::new(shared.threads.clone());
            Ok(Self { program: Compiled::new(body, shared)?, captures, empty })
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

    /// What an output gave in all turns, along a new axis.
    fn stack(
        &self,
        step: &Step,
        output: usize,
        tensors: Vec<Tensor>,
        axis: i64,
    ) -> Result<Tensor, EngineError> {
        if tensors.is_empty() {
            let empty = self.empty.get(output).and_then(Option::as_ref);
            return empty.and_then(|empty| empty.none(axis)).ok_or_else(|| {
                let reason = "it took no turn, and the type of what a turn would give is not known";
                failed(step, reason)
            });
        }
        stack(step, tensors, axis)
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
        ("Scan", [body]) => scan(step, body, values),
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
    // The first output of the body is whether to go on.
    let stacks = scanned.into_iter().enumerate();
    let stacks = stacks.map(|(slot, all)| body.stack(step, 1 + carried + slot, all, 0));
    let stacks = stacks.collect::<Result<Vec<_>, _>>()?;
    Ok(state.into_iter().chain(stacks).collect())
}

/// State goes round, slices go in; what the body gives beyond the state is stacked along an axis.
fn scan(
    step: &Step,
    body: &mut Body,
    values: &[Option<Tensor>],
) -> Result<Vec<Tensor>, EngineError> {
    let attribute = |name: &str| step.content.attribute(name);
    let list = |name: &str| attribute(name).and_then(AttributeValue::as_ints).unwrap_or_default();
    let at = |all: &[i64], slot: usize| all.get(slot).copied().unwrap_or(0);
    let inputs = (0..step.inputs.len()).map(|slot| input(step, slot, values).cloned());
    let inputs: Option<Vec<Tensor>> = inputs.collect();
    let mut state = inputs.ok_or_else(|| failed(step, "an input is absent"))?;
    let count = attribute("num_scan_inputs").and_then(AttributeValue::as_int).unwrap_or(0);
    let carried = usize::try_from(count).ok().and_then(|count| state.len().checked_sub(count));
    let carried = carried.ok_or_else(|| failed(step, "it has fewer inputs than it scans"))?;
    let sequences = state.split_off(carried);
    let (axes, backward) = (list("scan_input_axes"), list("scan_input_directions"));
    let mut length = None;
    for (slot, sequence) in sequences.iter().enumerate() {
        let axis = resolve(at(axes, slot), sequence.dims().len())
            .ok_or_else(|| failed(step, "an input has no such axis"))?;
        let turns = sequence.dims()[axis];
        if *length.get_or_insert(turns) != turns {
            return Err(failed(step, "what it scans differs in length"));
        }
    }
    let length = length.unwrap_or(0);
    let mut given: Vec<Vec<Tensor>> = vec![Vec::new(); step.outputs.len().saturating_sub(carried)];
    for turn in 0..length {
        let mut inputs = state;
        for (slot, sequence) in sequences.iter().enumerate() {
            let place = if at(backward, slot) == 0 { turn } else { length - 1 - turn };
            inputs.push(slice(step, sequence, at(axes, slot), place)?);
        }
        let mut outputs = body.run(inputs, values)?.into_iter();
        state = outputs.by_ref().take(carried).collect();
        given.iter_mut().zip(outputs).for_each(|(all, one)| all.push(one));
    }
    let (axes, backward) = (list("scan_output_axes"), list("scan_output_directions"));
    let stacks = given.into_iter().enumerate().map(|(slot, mut all)| {
        if at(backward, slot) != 0 {
            all.reverse();
        }
        body.stack(step, carried + slot, all, at(axes, slot))
    });
    let stacks: Vec<Tensor> = stacks.collect::<Result<_, _>>()?;
    Ok(state.into_iter().chain(stacks).collect())
}

/// An axis counted from the front.
fn resolve(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + i64::try_from(rank).ok()? } else { axis };
    let axis = usize::try_from(axis).ok()?;
    (axis < rank).then_some(axis)
}

/// What lies at a place along an axis, without that axis.
fn slice(step: &Step, tensor: &Tensor, axis: i64, place: usize) -> Result<Tensor, EngineError> {
    let place =
        Tensor::from_i64s([], &[place as i64]).map_err(|error| failed(step, error.to_string()))?;
    native(step, "Gather", axis, &[Some(tensor.clone()), Some(place)])
}

/// A native operator with an axis and one output.
fn native(
    step: &Step,
    op_type: &str,
    axis: i64,
    inputs: &[Option<Tensor>],
) -> Result<Tensor, EngineError> {
    let operator = lookup("", op_type).expect("it is native");
    let axis = [marquetry_ir::Attribute::new("axis", AttributeValue::Int(axis))];
    let operation = marquetry_ir::Operation { domain: "", op_type, opset: 13, attributes: &axis };
    let outputs = operator.run(&Call { operation, inputs, outputs: Some(1) });
    let outputs = outputs.map_err(|fault| failed(step, format!("{fault:?}")))?;
    outputs.into_iter().next().ok_or_else(|| failed(step, "nothing came out"))
}

/// Tensors along a new axis.
fn stack(step: &Step, tensors: Vec<Tensor>, axis: i64) -> Result<Tensor, EngineError> {
    let rows = tensors.into_iter().map(|tensor| {
        let mut dims = tensor.dims().to_vec();
        let at = resolve(axis, dims.len() + 1).ok_or("an output has no such axis")?;
        dims.insert(at, 1);
        tensor.reshape(dims).map(Some).map_err(|error| error.to_string())
    });
    let rows = rows.collect::<Result<Vec<Option<Tensor>>, String>>();
    let rows = rows.map_err(|reason| failed(step, reason))?;
    native(step, "Concat", axis, &rows)
}
