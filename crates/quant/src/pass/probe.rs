//! Probes: what flows in bodies, as outputs of the nodes that hold them.
//!
//! A loop hands one tensor on that grows by what each turn adds, because turns may compute tensors of
//! different shapes, and there may be no turn at all. A scan, whose turns have all the same shapes, stacks
//! what each computes. A branch that does not compute a value gives
//! nothing of it. What comes out is a vector of `float`, which is all that a range per tensor asks for.

use std::borrow::Cow;
use std::collections::BTreeSet;

use marquetry_ir::{
    AttributeValue, DType, Graph, GraphError, Node, NodeId, Tensor, TensorType, Type, ValueId,
};

use super::PassError;
use crate::inside;
use crate::plan::Plan;

/// Whether what a body computes can be shown: the nodes that hold it are known, and what a scan stacks
/// has one shape in all turns, which is not said of what branches and loops in it do.
pub(crate) fn shows(graph: &Graph, way: &[(NodeId, usize)]) -> bool {
    let holders = (0..way.len()).map(|depth| {
        let around = inside::body(graph, &way[..depth])?;
        let node = around.node(way[depth].0);
        let version = around.opsets.version("").unwrap_or(1);
        match node.op_type.as_str() {
            _ if !node.is_onnx(&node.op_type) => None,
            "If" | "Loop" => Some(false),
            "Scan" => Some(true).filter(|_| version >= 9),
            _ => None,
        }
    });
    let holders: Option<Vec<bool>> = holders.collect();
    holders.is_some_and(|scans| scans.iter().skip_while(|scan| !**scan).all(|scan| *scan))
}

/// The graph in which the stand-ins among `wanted` are computed.
///
/// # Errors
///
/// `Graph` where a node does not have the bodies it should.
pub(super) fn probed<'g>(
    graph: &'g Graph,
    plan: &Plan,
    wanted: &BTreeSet<ValueId>,
) -> Result<Cow<'g, Graph>, PassError> {
    let spots = plan.spots().iter().filter(|(value, _)| wanted.contains(value));
    let spots: Vec<_> = spots.collect();
    if spots.is_empty() {
        return Ok(Cow::Borrowed(graph));
    }
    let mut graph = graph.clone();
    let failed = |error: GraphError| PassError::Graph { message: error.to_string() };
    for (&stand_in, spot) in spots {
        // Its shape is that of the value it stands for.
        graph.value_mut(stand_in).ty = Some(floats());
        expose(&mut graph, &spot.way, spot.value, Some(stand_in), &[]).map_err(failed)?;
    }
    Ok(Cow::Owned(graph))
}

/// A tensor of `float` that holds what a value at the end of a way was, one `row` after the other: a vector
/// where a row has no axes. In each turn and branch, the elements must fill whole rows.
pub(super) fn expose(
    graph: &mut Graph,
    way: &[(NodeId, usize)],
    value: ValueId,
    target: Option<ValueId>,
    row: &[usize],
) -> Result<ValueId, GraphError> {
    let Some((&(holder, wanted), rest)) = way.split_first() else {
        return flat(graph, value, row);
    };
    let target = match target {
        Some(target) => target,
        None => new(graph, "probe")?,
    };
    // What the holder has before anything is changed.
    let content = graph.node(holder);
    let (is_loop, is_scan) = (content.is_onnx("Loop"), content.is_onnx("Scan"));
    let carried = content.input_count().max(2) - 2;
    let (mut failure, mut at, mut last) = (None, 0, 0);
    graph.edit_bodies(holder, |body| {
        let shown = match at == wanted {
            true => expose(body, rest, value, None, row),
            false => nothing(body, row),
        };
        let changed = shown.and_then(|shown| {
            if is_loop {
                return grow(body, shown, 1 + carried);
            }
            body.outputs.push(shown);
            Ok(())
        });
        failure = failure.take().or(changed.err());
        last = body.outputs.len().saturating_sub(1);
        at += 1;
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    if is_loop {
        let start = nothing(graph, row)?;
        graph.set_input(holder, 2 + carried, Some(start));
        // Carried values come before what is stacked.
        let mut outputs = graph.outputs(holder);
        outputs.resize(outputs.len().max(carried), None);
        outputs.insert(carried, Some(target));
        (0..outputs.len()).for_each(|slot| graph.set_output(holder, slot, None));
        for (slot, output) in outputs.into_iter().enumerate() {
            graph.set_output(holder, slot, output);
        }
    } else if is_scan {
        let stacked = new(graph, "probe_stacked")?;
        graph.set_output(holder, last, Some(stacked));
        for attribute in &mut graph.node_mut(holder).attributes {
            let of_outputs = ["scan_output_axes", "scan_output_directions"];
            if let AttributeValue::Ints(ints) = &mut attribute.value
                && of_outputs.contains(&attribute.name.as_str())
            {
                ints.push(0);
            }
        }
        in_rows(graph, stacked, target, row)?;
    } else {
        graph.set_output(holder, last, Some(target));
    }
    Ok(target)
}

/// Lets a body of a loop hand on one more value: what it was, and then `shown`.
fn grow(body: &mut Graph, shown: ValueId, at: usize) -> Result<(), GraphError> {
    let name = body.fresh_name("probe_before");
    let before = body.add_input(&name, Some(floats()))?;
    let after = new(body, "probe_after")?;
    let concat = Node::new("", "Concat").with("axis", AttributeValue::Int(0));
    body.add_node(concat, &[Some(before), Some(shown)], &[Some(after)])?;
    body.outputs.insert(at.min(body.outputs.len()), after);
    Ok(())
}

/// The elements of a value in rows.
fn flat(graph: &mut Graph, value: ValueId, of: &[usize]) -> Result<ValueId, GraphError> {
    let cast = new(graph, "probe_float")?;
    let to = AttributeValue::Int(DType::Float.number().into());
    graph.add_node(Node::new("", "Cast").with("to", to), &[Some(value)], &[Some(cast)])?;
    let row = new(graph, "probe")?;
    in_rows(graph, cast, row, of)?;
    Ok(row)
}

fn in_rows(
    graph: &mut Graph,
    value: ValueId,
    rows: ValueId,
    row: &[usize],
) -> Result<NodeId, GraphError> {
    let axes = row.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX));
    let shape: Vec<i64> = [-1].into_iter().chain(axes).collect();
    let shape = Tensor::from_i64s([shape.len()], &shape).expect("it holds as many as there are");
    let name = graph.fresh_name("probe_shape");
    let shape = graph.add_initializer(&name, shape)?;
    graph.add_node(Node::new("", "Reshape"), &[Some(value), Some(shape)], &[Some(rows)])
}

/// No rows.
fn nothing(graph: &mut Graph, row: &[usize]) -> Result<ValueId, GraphError> {
    let name = graph.fresh_name("probe_nothing");
    let dims = [&[0], row].concat();
    let empty = Tensor::from_f32s(dims, &[]).expect("a tensor without rows holds nothing");
    graph.add_initializer(&name, empty)
}

fn new(graph: &mut Graph, base: &str) -> Result<ValueId, GraphError> {
    let name = graph.fresh_name(base);
    graph.add_value(&name, Some(floats()))
}

fn floats() -> Type {
    Type::Tensor(TensorType::new(DType::Float, None))
}
