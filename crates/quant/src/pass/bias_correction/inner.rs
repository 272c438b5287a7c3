//! Kernels in bodies: their errors are seen over all turns, and their biases corrected where they are read.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{Dim, Graph, GraphError, Tensor, ValueId};

use super::{Kernel, Place, corrected, place, with_error};
use crate::inside::{self, Inside, Way};
use crate::pass::{PassError, State, probe};
use crate::plan::Plan;

/// Where a kernel in a body has its bias, or why that cannot be corrected.
pub(super) fn place_of(
    state: &State,
    types: &Types,
    Inside { way, reader }: &Inside,
) -> Result<(Place, Vec<usize>), &'static str> {
    let main = &state.model.graph;
    let lost = "its body is not known";
    if !probe::shows(main, way) {
        return Err("what it computes cannot be seen in this body");
    }
    let body = inside::body(main, way).ok_or(lost)?;
    let types = inside::types(types, way).ok_or(lost)?;
    let found = place(body, types, &Plan::default(), reader.node)?;
    let site = found.bias.and_then(|bias| inside::origin(main, way, bias));
    let site = site.filter(|(way, _)| way.is_empty()).and_then(|(_, bias)| state.plan.get(bias));
    if site.is_some_and(|site| site.enabled && site.encoding.is_some()) {
        return Err("its bias has an encoding already");
    }
    let output = body.output(reader.node, 0).ok_or("nothing reads it")?;
    let shape = types.shape(output).ok_or("the shape of what it computes is not known")?;
    // Of a product, only channels count; of a convolution, channels and what is beside them.
    let kept = match body.node(reader.node).op_type.as_str() {
        "MatMul" | "Gemm" => shape.iter().skip(shape.len().saturating_sub(1)),
        _ => shape.iter().skip(1),
    };
    let row: Option<Vec<usize>> = kept.map(Dim::known).collect();
    let row = row.filter(|row| !row.is_empty());
    Ok((found, row.ok_or("the shape of what it computes is not known")?))
}

/// Puts a kernel on W − Ŵ beside one in a body; the value of the main graph that has all that it computes.
pub(super) fn beside(graph: &mut Graph, kernel: &Kernel) -> Result<ValueId, GraphError> {
    let body = inside::body_mut(graph, &kernel.way).expect("kernels are in bodies of the model");
    let output = with_error(body, kernel)?;
    let name = graph.fresh_name("error_shown");
    let target = graph.add_value(&name, None)?;
    probe::expose(graph, &kernel.way, output, Some(target), &kernel.row)
}

/// Adds the means to the bias of a kernel in a body; the bias, where the main graph holds it then.
pub(super) fn correct(
    graph: &mut Graph,
    types: &Types,
    kernel: &Kernel,
    means: &[f64],
) -> Result<Option<ValueId>, PassError> {
    let Place { node, slot, bias } = kernel.place;
    let body = inside::body(graph, &kernel.way).expect("kernels are in bodies of the model");
    let here = inside::types(types, &kernel.way).expect("types are inferred at every depth");
    let new = corrected(body, here, (types, kernel), means, graph)?;
    let base = match bias {
        Some(bias) => format!("{}_of_{}", body.value(bias).name(), kernel.node),
        None => format!("{}_bias", graph.value(kernel.weight).name()),
    };
    if let Some(bias) = bias
        && let Some((way, origin)) = inside::origin(graph, &kernel.way, bias)
        && alone(graph, &way, origin)
    {
        let around = inside::body_mut(graph, &way).expect("ways lead to bodies of the model");
        around.value_mut(origin).ty = None;
        around.set_initializer(origin, new);
        return Ok(way.is_empty().then_some(origin));
    }
    // Kernels with the same number may be in several bodies, and the main graph may have corrected one.
    let name = graph.fresh_name(&base);
    let moved = graph.add_initializer(&name, new).expect("the name is fresh");
    let body = inside::body_mut(graph, &kernel.way).expect("it was just there");
    let value = body.value_named(&name);
    body.set_input(node, slot, Some(value));
    let ways: BTreeSet<Way> = [kernel.way.clone()].into();
    inside::settle(graph, &ways);
    graph.resolve_captures();
    Ok(Some(moved))
}

/// Whether a constant has one reader, at any depth.
fn alone(graph: &Graph, way: &Way, value: ValueId) -> bool {
    let body = inside::body(graph, way);
    let constant: Option<&Tensor> = body.and_then(|body| body.initializer(value));
    constant.is_some()
        && body.is_some_and(|body| !body.is_output(value))
        && inside::readers(graph, way, value).is_some_and(|readers| readers.len() == 1)
}
