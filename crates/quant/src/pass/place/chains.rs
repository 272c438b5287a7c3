//! Operators in a row that a target runs as one.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Dim, Graph};

use crate::kernel::WEIGHT;
use crate::units::{Unit, Units};

/// The chains that are found, with their units: long ones first, then those that start early; no
/// unit is in two.
pub(super) fn chains<'c>(
    graph: &Graph,
    types: &Types,
    units: &Units<'_>,
    wanted: &'c [Vec<String>],
) -> Vec<(&'c [String], Vec<usize>)> {
    let mut wanted: Vec<&[String]> = wanted.iter().map(Vec::as_slice).collect();
    wanted.sort_by_key(|chain| std::cmp::Reverse(chain.len()));
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for chain in wanted {
        for start in 0..units.list.len() {
            let members = follow(graph, units, chain, start);
            let Some(members) = members.filter(|_| may_start(graph, types, &units.list[start]))
            else {
                continue;
            };
            if members.iter().all(|at| !taken.contains(at)) {
                taken.extend(members.iter().copied());
                found.push((chain, members));
            }
        }
    }
    found
}

/// The units of a chain from `start` on, if each is all that becomes of the one before it.
fn follow(graph: &Graph, units: &Units<'_>, chain: &[String], start: usize) -> Option<Vec<usize>> {
    let mut members = vec![start];
    let mut at = start;
    for (position, wanted) in chain.iter().enumerate() {
        let unit = units.list.get(at).filter(|unit| unit.operator == wanted)?;
        if position + 1 == chain.len() {
            return Some(members);
        }
        // Somebody else sees an output of the graph.
        if unit.outputs.iter().any(|&value| graph.is_output(value)) {
            return None;
        }
        let readers = unit.outputs.iter().flat_map(|&value| units.consumers(graph, value));
        let readers: BTreeSet<usize> = readers.collect();
        let mut readers = readers.into_iter();
        at = readers.next().filter(|_| readers.next().is_none())?;
        members.push(at);
    }
    None
}

/// Convolutions over three axes and over single channels are not run as one with what follows.
fn may_start(graph: &Graph, types: &Types, unit: &Unit<'_>) -> bool {
    if !matches!(unit.operator, "Conv" | "ConvTranspose") {
        return true;
    }
    let [node] = unit.nodes.as_slice() else { return true };
    let weight = graph.input(*node, WEIGHT).and_then(|value| types.shape(value));
    let Some(weight) = weight else { return true };
    let volumetric = unit.operator == "Conv" && weight.len() == 5;
    let length = |at: usize| weight.get(at).and_then(Dim::known);
    let groups = graph.node(*node).attribute("group").and_then(AttributeValue::as_int).unwrap_or(1);
    // Each filter reads one channel.
    let depthwise = match unit.operator {
        "Conv" => length(1) == Some(1),
        _ => length(0).is_some_and(|channels| i64::try_from(channels) == Ok(groups)),
    };
    !volumetric && !depthwise
}
