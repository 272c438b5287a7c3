//! Which numbers the inputs of a piece of a model can be where they name positions in it.

use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Dim, Graph, Node, ValueId, schema};

/// Least and greatest.
pub(super) type Bounds = (i64, i64);

/// The bounds of the values that are read as positions, directly or after they were computed with.
pub(super) fn bounds(graph: &Graph, types: &Types) -> BTreeMap<ValueId, Bounds> {
    let mut found: BTreeMap<ValueId, Bounds> = BTreeMap::new();
    let narrow = |found: &mut BTreeMap<ValueId, Bounds>, value: ValueId, (low, high): Bounds| {
        let known = found.entry(value).or_insert((low, high));
        *known = (known.0.max(low), known.1.min(high));
    };
    let order = graph.order().unwrap_or_default();
    for id in order.into_iter().rev() {
        let (node, inputs) = (graph.node(id), graph.inputs(id));
        let first = inputs.first().copied().flatten();
        let dims = first.and_then(|first| types.shape(first)).map(lengths).unwrap_or_default();
        let results = graph.outputs(id).into_iter().flatten();
        let below = results.filter_map(|result| found.get(&result).copied()).next();
        let versions = schema::versions(&node.domain, &node.op_type);
        let facts = versions.last().map(|schema| schema.facts);
        for (slot, input) in inputs.iter().enumerate() {
            let Some(input) = *input else { continue };
            if let Some(bounds) = read(node, slot, &dims, types.shape(input)) {
                narrow(&mut found, input, bounds);
            }
            let Some((low, high)) = below else { continue };
            let moved = facts.is_some_and(|facts| facts.movement());
            if moved && slot == 0 || matches!(node.op_type.as_str(), "Cast" | "Concat") {
                narrow(&mut found, input, (low, high));
            } else if facts.is_some_and(|facts| facts.elementwise()) {
                // Sums and products of 0 and 1 are positions nearly everywhere.
                narrow(&mut found, input, (0, high.min(1)));
            }
        }
    }
    found
}

/// Lengths of axes; those without a number are as if they were 1.
fn lengths(dims: &[Dim]) -> Vec<i64> {
    dims.iter()
        .map(|dim| match dim {
            Dim::Known(length) => *length,
            _ => 1,
        })
        .collect()
}

/// What a node can read at an input that names positions in its first one.
fn read(node: &Node, slot: usize, dims: &[i64], own: Option<&[Dim]>) -> Option<Bounds> {
    let int = |name: &str| node.attribute(name).and_then(AttributeValue::as_int);
    let rank = dims.len() as i64;
    let along = |default: i64| {
        let axis = int("axis").unwrap_or(default);
        let axis = if axis < 0 { axis + rank } else { axis };
        usize::try_from(axis).ok().and_then(|axis| dims.get(axis)).copied()
    };
    match (node.op_type.as_str(), slot) {
        ("Gather" | "GatherElements" | "Scatter" | "ScatterElements", 1) => {
            let length = along(0)?;
            Some((-length, length - 1))
        }
        ("GatherND" | "ScatterND", 1) => {
            let batch = usize::try_from(int("batch_dims").unwrap_or(0)).ok()?;
            let depth = own?.last()?.known()?;
            let length = *dims.get(batch..batch.checked_add(depth)?)?.iter().min()?;
            Some((-length, length - 1))
        }
        ("TopK", 1) => Some((1, along(-1)?)),
        ("CumSum" | "CumProd", 1) => Some((-rank, rank - 1)),
        ("Trilu", 1) => Some((-rank, rank)),
        ("OneHot", 1) => Some((1, 5)),
        ("ReverseSequence", 1) => Some((1, *dims.iter().min()?)),
        _ => None,
    }
}
