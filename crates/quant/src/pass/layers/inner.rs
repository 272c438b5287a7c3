//! Layers in bodies, as layers of a graph that has what they read.
//!
//! For what a layer in a body reads, a copy of the node that holds the body gives all of it, over all
//! turns and samples, and a copy of the layer reads that. A layer further inside a chain has a copy of the
//! holder of its own, which runs behind the weights that were decided before.

use std::collections::BTreeMap;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{AttributeValue, Dim, Graph, GraphError, NodeId, Slot, ValueId};

use crate::inside::{self, Inside, Way};
use crate::kernel::{BIAS, DATA, SUMS, WEIGHT};
use crate::layerwise::Layer;
use crate::pass::{PassError, State, probe};
use crate::plan::Role;

/// A layer in a body.
pub(super) struct InnerLayer {
    /// Its copy in the extended graph, or why there is none.
    pub(super) layer: Result<Layer, String>,
    pub(super) weight: ValueId,
    /// Where it really is.
    pub(super) way: Way,
    pub(super) node: NodeId,
    /// How it is called.
    pub(super) label: String,
}

/// The model with copies of what holds layers in bodies.
pub(super) struct Extended {
    pub(super) graph: Graph,
    pub(super) types: Types,
    pub(super) layers: Vec<InnerLayer>,
}

/// The layers in bodies, in the order of their nodes.
pub(super) fn readers(state: &State) -> Vec<(ValueId, Inside)> {
    let graph = &state.model.graph;
    let weights = state.plan.enabled().filter(|(_, site)| site.role == Role::Weight);
    let mut found: Vec<(ValueId, Inside)> = weights
        .flat_map(|(weight, site)| site.inside.iter().map(move |one| (weight, one.clone())))
        .filter(|(_, one)| {
            let body = inside::body(graph, &one.way);
            let sums = |body: &Graph| {
                let node = body.node(one.reader.node);
                SUMS.iter().any(|op| node.is_onnx(op))
            };
            one.reader.slot == Slot::Input(WEIGHT as u32) && body.is_some_and(sums)
        })
        .collect();
    found.sort_by(|(_, one), (_, other)| one.cmp(other));
    found
}

/// The model with the layers in its bodies; nothing where there are none.
pub(super) fn extend(state: &State, types: &Types) -> Result<Option<Extended>, PassError> {
    let readers = readers(state);
    if readers.is_empty() {
        return Ok(None);
    }
    let main = &state.model.graph;
    let mut graph = main.clone();
    let failed = |error: GraphError| PassError::Graph { message: error.to_string() };
    let mut shown: BTreeMap<(Way, ValueId), ValueId> = BTreeMap::new();
    let mut copies = Vec::new();
    for (weight, Inside { way, reader }) in readers {
        let node = reader.node;
        let label = inside::label(main, &way, node);
        let copy = match rows(main, types, &way, node) {
            Err(why) => Err(why.to_owned()),
            Ok((data, row)) => {
                let input = match shown.get(&(way.clone(), data)) {
                    Some(&input) => input,
                    None => {
                        let input = show(&mut graph, &way, data, &row).map_err(failed)?;
                        shown.insert((way.clone(), data), input);
                        input
                    }
                };
                Ok(copy(&mut graph, (main, types), (&way, node), input, weight).map_err(failed)?)
            }
        };
        copies.push((copy, weight, way, node, label));
    }
    let mut model = state.model.clone();
    model.graph = graph;
    let types = infer::run(&model);
    let layers = copies.into_iter().filter_map(|(copy, weight, way, node, label)| {
        let layer = match copy {
            Ok(copy) => Layer::at(&model.graph, &types, &state.plan, copy)?,
            Err(why) => Err(why),
        };
        Some(InnerLayer { layer, weight, way, node, label })
    });
    let layers = layers.collect();
    Ok(Some(Extended { graph: model.graph, types, layers }))
}

/// What a layer in a body reads, and the lengths of all its axes but the first.
fn rows(
    main: &Graph,
    types: &Types,
    way: &Way,
    node: NodeId,
) -> Result<(ValueId, Vec<usize>), &'static str> {
    if !probe::shows(main, way) {
        return Err("what it reads cannot be seen in this body");
    }
    let lost = "its body is not known";
    let body = inside::body(main, way).ok_or(lost)?;
    let types = inside::types(types, way).ok_or(lost)?;
    let data = body.input(node, DATA).ok_or("it lacks an input")?;
    let content = body.node(node);
    let flag = |name: &str| content.attribute(name).and_then(AttributeValue::as_int).unwrap_or(0);
    let weight = body.input(node, WEIGHT).and_then(|weight| types.shape(weight));
    let weight: Option<Vec<usize>> =
        weight.and_then(|shape| shape.iter().map(Dim::known).collect());
    match (content.op_type.as_str(), weight.as_deref()) {
        ("MatMul", Some(&[depth, _])) => Ok((data, vec![depth])),
        ("Gemm", _) if flag("transA") != 0 => Err("it reads a transposed matrix in a body"),
        ("Gemm", Some(&[rows, columns])) => {
            Ok((data, vec![if flag("transB") == 0 { rows } else { columns }]))
        }
        ("Conv", _) => {
            let known = |shape: &[Dim]| shape.iter().skip(1).map(Dim::known).collect();
            let row: Option<Vec<usize>> = types.shape(data).and_then(known);
            Ok((data, row.ok_or("the shape of what it reads is not known")?))
        }
        _ => Err("its weight is no matrix"),
    }
}

/// A value that holds all that a value in a body was, one row after the other.
fn show(
    graph: &mut Graph,
    way: &Way,
    value: ValueId,
    row: &[usize],
) -> Result<ValueId, GraphError> {
    let (holder, at) = way[0];
    let mut node = graph.node(holder).clone();
    node.name.clear();
    let inputs = graph.inputs(holder);
    let mut outputs = Vec::new();
    for output in graph.outputs(holder) {
        let name = graph.fresh_name("unread");
        let ty = output.and_then(|output| graph.value(output).ty.clone());
        outputs.push(Some(graph.add_value(&name, ty)?));
    }
    let copy = graph.add_node(node, &inputs, &outputs)?;
    let mut way = way.clone();
    way[0] = (copy, at);
    let name = graph.fresh_name("shown");
    let target = graph.add_value(&name, None)?;
    probe::expose(graph, &way, value, Some(target), row)
}

/// The layer as one that reads what is shown.
fn copy(
    graph: &mut Graph,
    (main, types): (&Graph, &Types),
    (way, node): (&Way, NodeId),
    input: ValueId,
    weight: ValueId,
) -> Result<NodeId, GraphError> {
    let body = inside::body(main, way).expect("it was looked for");
    let mut content = body.node(node).clone();
    content.name = inside::label(main, way, node);
    let mut inputs = vec![Some(input), Some(weight)];
    // Who compares outputs adds it, if it is a constant.
    let bias = body.input(node, BIAS);
    let constant = inside::types(types, way)
        .and_then(|types| bias.and_then(|bias| types.constant(bias)).cloned());
    if let Some(constant) = constant {
        let name = graph.fresh_name("bias_shown");
        inputs.push(Some(graph.add_initializer(&name, constant)?));
    }
    graph.add_node(content, &inputs, &[])
}
