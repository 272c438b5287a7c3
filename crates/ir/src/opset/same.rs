//! Definitions of an operator that mean the same for every node of the older one.

use crate::schema::{Arity, Formal, Schema};

/// Attributes that came later and whose absence means what the operator meant before.
const INERT: &[(&str, &[&str])] = &[
    ("ArgMax", &["select_last_index"]),
    ("ArgMin", &["select_last_index"]),
    ("Attention", &["left_window_size", "right_window_size"]),
    ("AveragePool", &["ceil_mode", "dilations"]),
    ("Cast", &["round_mode", "saturate"]),
    ("CastLike", &["round_mode", "saturate"]),
    (
        "Constant",
        &[
            "sparse_value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
            "value_string",
            "value_strings",
        ],
    ),
    ("DepthToSpace", &["mode"]),
    // Before there was an axis, there was one scale only.
    ("DequantizeLinear", &["axis", "block_size", "output_dtype"]),
    // It counts in training only, which came with it.
    ("Dropout", &["seed"]),
    ("GRU", &["layout"]),
    ("GatherND", &["batch_dims"]),
    ("LSTM", &["layout"]),
    ("LpPool", &["ceil_mode", "dilations"]),
    ("MaxPool", &["ceil_mode", "dilations", "storage_order"]),
    ("QuantizeLinear", &["axis", "block_size", "output_dtype", "precision", "saturate"]),
    ("RNN", &["layout"]),
    ("ReduceL1", &["noop_with_empty_axes"]),
    ("ReduceL2", &["noop_with_empty_axes"]),
    ("ReduceLogSum", &["noop_with_empty_axes"]),
    ("ReduceLogSumExp", &["noop_with_empty_axes"]),
    ("ReduceMax", &["noop_with_empty_axes"]),
    ("ReduceMean", &["noop_with_empty_axes"]),
    ("ReduceMin", &["noop_with_empty_axes"]),
    ("ReduceProd", &["noop_with_empty_axes"]),
    ("ReduceSum", &["noop_with_empty_axes"]),
    ("ReduceSumSquare", &["noop_with_empty_axes"]),
    ("Reshape", &["allowzero"]),
    ("Resize", &["antialias", "axes", "keep_aspect_ratio_policy"]),
    ("ScatterElements", &["reduction"]),
    ("ScatterND", &["reduction"]),
    ("Shape", &["end", "start"]),
    ("SpaceToDepth", &["mode"]),
    ("TopK", &["largest", "sorted"]),
];

/// Whether every node that is right in the older definition is right in the newer one, and computes the
/// same.
pub(super) fn means_the_same(old: &Schema, new: &Schema) -> bool {
    // The mask of a Dropout was of floats before opset 10.
    let mask = new.name == "Dropout" && old.since < 10 && new.since >= 10;
    old.since == new.since
        || (!mask
            && attributes_are(old, new)
            && old.attributes.iter().all(|old| new.attribute(old.name).is_some())
            && formals(&old.inputs, &new.inputs, &[]))
}

/// Whether a definition differs from the next in attributes that are inputs there, and in nothing else.
pub(super) fn moves_attributes(old: &Schema, new: &Schema) -> bool {
    let gone = old.attributes.iter().filter(|old| new.attribute(old.name).is_none());
    let inputs: Option<Vec<&str>> =
        gone.map(|old| new.parameter(old.name).and_then(|parameter| parameter.input)).collect();
    inputs
        .is_some_and(|moved| attributes_are(old, new) && formals(&old.inputs, &new.inputs, &moved))
}

/// Whether attributes that are in both say the same, what is new says nothing, and results are the same.
fn attributes_are(old: &Schema, new: &Schema) -> bool {
    let inert = |name: &str| {
        INERT.iter().any(|(operator, names)| *operator == new.name && names.contains(&name))
    };
    let attributes = new.attributes.iter().all(|new| match old.attribute(new.name) {
        Some(old) => {
            old.kind == new.kind
                && (old.required || !new.required)
                && format!("{:?}", old.default) == format!("{:?}", new.default)
        }
        None => inert(new.name),
    });
    !new.deprecated && attributes && formals(&old.outputs, &new.outputs, &[])
}

/// Whether formals are the same but for their types, for those that need not be there any more, and for
/// optional or given ones at the end.
fn formals(old: &[Formal], new: &[Formal], given: &[&str]) -> bool {
    let same = old.iter().zip(new).all(|(old, new)| match (old.arity, new.arity) {
        (Arity::Single, Arity::Optional) => true,
        (
            Arity::Variadic { least: old, homogeneous: one },
            Arity::Variadic { least: new, homogeneous: other },
        ) => new <= old && one == other,
        (old, new) => old == new,
    });
    let mut added = new.iter().skip(old.len());
    old.len() <= new.len()
        && same
        && added.all(|new| new.arity == Arity::Optional || given.contains(&new.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::lookup;

    fn same(op: &str, from: i64, to: i64) -> bool {
        means_the_same(lookup("", op, from).unwrap(), lookup("", op, to).unwrap())
    }

    #[test]
    fn wider_types_are_no_change_and_new_meanings_are() {
        assert!(same("Relu", 13, 21));
        assert!(same("Reshape", 13, 21));
        assert!(same("Gemm", 9, 13));
        assert!(same("Cast", 13, 24));
        assert!(!same("Softmax", 11, 13), "the default of `axis` changed");
        assert!(!same("Unsqueeze", 11, 13), "`axes` became an input");
        assert!(!same("GroupNormalization", 18, 21), "the shape of the scale changed");
        assert!(!same("BatchNormalization", 13, 14), "outputs went");
        assert!(!same("Resize", 10, 11), "inputs were inserted");
        assert!(!same("Upsample", 9, 10), "it is deprecated");
    }
}
