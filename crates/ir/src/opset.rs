//! Other versions of the standard operators, where that changes nothing.

use std::cmp::Ordering;

use crate::schema::{Arity, Formal, Schema, lookup, newest_opset};
use crate::{Graph, Model, NodeId};

/// Why a model cannot say that it is written for another opset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// An operator means something else there.
    #[error("`{op_type}` means something else in opset {to} than in opset {from}")]
    Obstacle {
        /// The operator.
        op_type: String,
        /// The opset of the model.
        from: i64,
        /// The opset that was asked for.
        to: i64,
    },
    /// The model is of a newer one.
    #[error("the model is of opset {from}, which is newer than {to}")]
    Lower {
        /// The opset of the model.
        from: i64,
        /// The opset that was asked for.
        to: i64,
    },
    /// There is no such opset yet.
    #[error("there is no opset {to}; the newest one known is {newest}")]
    Unknown {
        /// The opset that was asked for.
        to: i64,
        /// The newest one.
        newest: i64,
    },
}

impl RaiseError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Obstacle { .. } => "opset_not_raised",
            Self::Lower { .. } => "opset_lower",
            Self::Unknown { .. } => "unknown_opset",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Obstacle { .. } => {
                "export the model for the newer opset, or leave the opset as it is".to_owned()
            }
            Self::Lower { from, .. } => {
                format!("an opset can only be raised: ask for more than {from}, or for none")
            }
            Self::Unknown { newest, .. } => format!("ask for {newest} at most"),
        }
    }
}

/// Lets a model be of a newer opset, if no operator of its graphs changes by that; what it computes stays
/// the same to the bit. Functions have imports of their own, which stay. Returns the opset that it had.
///
/// # Errors
///
/// When an operator changed in between, and where there is no way up to the opset. The model is as it
/// was then.
pub fn raise(model: &mut Model, to: i64) -> Result<i64, RaiseError> {
    let from = model.graph.opsets.version("").unwrap_or(1);
    let newest = newest_opset();
    if to > newest {
        return Err(RaiseError::Unknown { to, newest });
    }
    match to.cmp(&from) {
        Ordering::Less => return Err(RaiseError::Lower { from, to }),
        Ordering::Equal => return Ok(from),
        Ordering::Greater => {}
    }
    if let Some(op_type) = obstacle(&model.graph, from, to) {
        return Err(RaiseError::Obstacle { op_type, from, to });
    }
    import(&mut model.graph, to);
    model.ir_version = model.ir_version.max(ir_version(to));
    Ok(from)
}

fn import(graph: &mut Graph, to: i64) {
    graph.opsets.set("", to);
    let holds = |node: &NodeId| graph.node(*node).bodies().next().is_some();
    for node in graph.nodes().filter(holds).collect::<Vec<_>>() {
        graph.edit_bodies(node, |body| import(body, to));
    }
}

/// The first version of the file format that allows an opset.
pub fn ir_version(opset: i64) -> i64 {
    match opset {
        ..9 => 3,
        9 => 4,
        10 => 5,
        11 => 6,
        12..15 => 7,
        15..19 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        25..28 => 13,
        _ => 14,
    }
}

/// The first operator of a graph or its bodies that means something else in another opset.
///
/// An operator means the same if its definition is the same, or has the same inputs, outputs and
/// attributes and admits more types. Anything else counts as a change, so this never goes too far; see
/// `INERT` for the additions that are known to be harmless.
pub fn obstacle(graph: &Graph, from: i64, to: i64) -> Option<String> {
    graph.nodes().find_map(|node| at_node(graph, node, from, to))
}

/// Attributes that came later and whose absence means what the operator meant before.
const INERT: &[(&str, &str)] = &[
    ("AveragePool", "dilations"),
    ("Cast", "saturate"),
    ("CastLike", "saturate"),
    ("Reshape", "allowzero"),
    ("ScatterElements", "reduction"),
    ("ScatterND", "reduction"),
    ("Shape", "end"),
    ("Shape", "start"),
];

fn at_node(graph: &Graph, id: NodeId, from: i64, to: i64) -> Option<String> {
    let node = graph.node(id);
    if node.is_onnx(&node.op_type) {
        let same = match (lookup("", &node.op_type, from), lookup("", &node.op_type, to)) {
            (Some(old), Some(new)) => means_the_same(old, new),
            _ => false,
        };
        if !same {
            return Some(node.op_type.clone());
        }
    }
    node.bodies().find_map(|body| obstacle(body, from, to))
}

fn means_the_same(old: &Schema, new: &Schema) -> bool {
    if old.since == new.since {
        return true;
    }
    let inert = |name: &str| INERT.contains(&(new.name, name));
    let attributes = new.attributes.iter().all(|new| match old.attribute(new.name) {
        Some(old) => {
            old.kind == new.kind
                && old.required == new.required
                && format!("{:?}", old.default) == format!("{:?}", new.default)
        }
        None => inert(new.name),
    });
    let kept = old.attributes.iter().all(|old| new.attribute(old.name).is_some());
    !new.deprecated
        && attributes
        && kept
        && formals(&old.inputs, &new.inputs)
        && formals(&old.outputs, &new.outputs)
}

/// Whether formals are the same but for their types and for optional ones at the end.
fn formals(old: &[Formal], new: &[Formal]) -> bool {
    let same = old.iter().zip(new).all(|(old, new)| old.arity == new.arity);
    let added = new.iter().skip(old.len());
    old.len() <= new.len() && same && added.into_iter().all(|new| new.arity == Arity::Optional)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(op: &str, from: i64, to: i64) -> bool {
        means_the_same(lookup("", op, from).unwrap(), lookup("", op, to).unwrap())
    }

    #[test]
    fn wider_types_are_no_change_and_new_meanings_are() {
        assert!(same("Relu", 13, 21));
        assert!(same("Reshape", 13, 21));
        assert!(same("Gemm", 11, 13));
        assert!(same("Cast", 13, 21));
        assert!(!same("Softmax", 11, 13), "the default of `axis` changed");
        assert!(!same("Unsqueeze", 11, 13), "`axes` became an input");
        assert!(!same("GroupNormalization", 18, 21), "the shape of the scale changed");
        assert!(!same("BatchNormalization", 13, 14), "outputs went");
        assert!(!same("Resize", 10, 11), "inputs were inserted");
        assert!(!same("Upsample", 9, 10), "it is deprecated");
    }
}
