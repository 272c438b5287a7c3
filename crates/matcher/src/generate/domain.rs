//! What attributes can say: small sets that hold what matters of their domain.

use marquetry_ir::DType;
use marquetry_ir::schema::{AttributeKind, Schema};

use super::random::Random;
use crate::datum::Datum;

/// What is known of the node when its attributes are chosen.
pub(super) struct Around<'a> {
    pub(super) operator: &'a str,
    /// The first input.
    pub(super) dims: &'a [usize],
    pub(super) base: DType,
    /// Number of results of the node.
    pub(super) outputs: usize,
}

/// The contents that are tried for an attribute; none where nothing is known of it.
pub(super) fn domain(
    name: &str,
    kind: AttributeKind,
    around: &Around<'_>,
    random: &mut Random,
) -> Option<Vec<Datum>> {
    let rank = around.dims.len() as i64;
    let axis = |at: i64| Datum::axes(Datum::Int(at), Some(rank));
    let axes = |at: Vec<i64>| Datum::axes(Datum::ints(at), Some(rank));
    let each = || (-rank..0).map(axis).collect::<Vec<_>>();
    Some(match (around.operator, name) {
        ("Unsqueeze", "axes") => {
            let inserted = |at: &[i64]| {
                Datum::axes(Datum::ints(at.iter().copied()), Some(rank + at.len() as i64))
            };
            let one = (-rank - 1..0).map(|at| inserted(&[at]));
            one.chain([inserted(&[-1]), inserted(&[-2, -1])]).collect()
        }
        ("Squeeze", "axes") => {
            let ones = (0..around.dims.len()).filter(|&at| around.dims[at] == 1);
            ones.map(|at| axes(vec![at as i64 - rank])).collect()
        }
        ("Flatten", "axis") => (-rank..0).chain([rank]).map(axis).collect(),
        (_, "axis") => each(),
        ("Slice" | "Pad", "axes") => (-rank..0).map(|at| axes(vec![at])).collect(),
        (_, "axes") => {
            let one = (-rank..0).map(|at| axes(vec![at]));
            let tail = (-rank..0).map(|at| axes((at..0).collect()));
            let ends = (rank > 2).then(|| axes(vec![-rank, -1]));
            one.chain(tail).chain(ends).collect()
        }
        (_, "perm") => permutations(rank, random).into_iter().map(Datum::ints).collect(),
        ("Cast", "to") => {
            let mut types = vec![around.base, DType::Float, DType::Float16, DType::Double];
            if !around.base.is_float() {
                types.extend([DType::Int32, DType::Int64]);
            }
            types.into_iter().map(Datum::Dtype).collect()
        }
        (_, "keepdims") => vec![Datum::Int(1), Datum::Int(0)],
        (_, "epsilon") => [1e-5, 1e-3, 1e-6, 1e-12].map(single).to_vec(),
        ("Slice", "starts") => [0, 1, -1, -2].map(|at| Datum::ints([at])).to_vec(),
        ("Slice", "ends") => {
            let longest = around.dims.iter().copied().max().unwrap_or(1) as i64;
            let mut ends: Vec<_> = (1..=longest.min(7)).map(|at| Datum::ints([at])).collect();
            ends.extend([-1, i64::MAX].map(|at| Datum::ints([at])));
            ends
        }
        ("Slice", "steps") => [1, 2].map(|at| Datum::ints([at])).to_vec(),
        ("Split", "split") => {
            let outputs = around.outputs.max(1);
            let split = |dim: &usize| Datum::ints(vec![(dim / outputs) as i64; outputs]);
            around.dims.iter().filter(|dim| **dim % outputs == 0).map(split).collect()
        }
        ("Split", "num_outputs") => vec![Datum::Int(around.outputs.max(1) as i64)],
        ("Reshape" | "Expand", "shape") => {
            reshapes(around.dims, random).into_iter().map(Datum::ints).collect()
        }
        ("Pad", "pads") => {
            // Mostly nothing, otherwise a little around the last two axes.
            let mut some = vec![0; 2 * around.dims.len()];
            for axis in around.dims.len().saturating_sub(2)..around.dims.len() {
                some[axis] = random.below(3) as i64;
                some[around.dims.len() + axis] = random.below(2) as i64;
            }
            vec![Datum::ints(vec![0; some.len()]), Datum::ints(some)]
        }
        ("Conv" | "ConvTranspose", "pads" | "strides" | "dilations") => {
            vec![window(name, around.dims, random)]
        }
        ("MaxPool" | "AveragePool" | "LpPool", "kernel_shape") => {
            vec![Datum::ints(around.dims.iter().skip(2).map(|&length| length.min(2) as i64))]
        }
        ("Tile", "repeats") => {
            vec![Datum::ints(vec![1; around.dims.len()]), Datum::ints(vec![2; around.dims.len()])]
        }
        ("GroupNormalization", "num_groups") | ("GroupNorm", "groups") => {
            let channels = around.dims.get(1).copied().unwrap_or(1).max(1) as i64;
            (1..=channels).filter(|groups| channels % groups == 0).map(Datum::Int).collect()
        }
        (_, "approximate") => vec![text("none"), text("tanh")],
        (_, "training_mode" | "is_test" | "allowzero") => vec![Datum::Int(0)],
        (
            _,
            "transA" | "transB" | "select_last_index" | "upper" | "detect_negative"
            | "detect_positive" | "exclusive" | "reverse" | "count_include_pad",
        ) => vec![Datum::Int(0), Datum::Int(1)],
        ("LpNormalization", "p") => vec![Datum::Int(1), Datum::Int(2)],
        (_, "group" | "position") => vec![Datum::Int(1), Datum::Int(0)],
        (_, "alpha" | "beta" | "bias" | "lambd" | "gamma") => {
            [0.5, 1.0, 1.702, 0.25, 2.0].map(single).to_vec()
        }
        (_, "min" | "max") => [-1.0, 0.0, 0.5, 6.0].map(single).to_vec(),
        (_, "ratio") => vec![single(0.5), single(0.0)],
        (_, "saturate" | "fmod") => vec![Datum::Int(1), Datum::Int(0)],
        _ if kind == AttributeKind::Float => [0.5, 1.0].map(single).to_vec(),
        _ => return None,
    })
}

/// Attributes that a node has although no pattern names them: some that change what it computes.
pub(super) fn others(
    schema: &Schema,
    around: &Around<'_>,
    random: &mut Random,
) -> Vec<(&'static str, Datum)> {
    let mut chosen = Vec::new();
    for attribute in &schema.attributes {
        let name = attribute.name;
        // Those of windows that hang together, and those of types, are chosen where they are named.
        let fixed = matches!(name, "kernel_shape" | "group" | "to" | "axes" | "keepdims");
        if fixed || attribute.required || !random.once_in(3) {
            continue;
        }
        let found = domain(name, attribute.kind, around, random).unwrap_or_default();
        if !found.is_empty() {
            chosen.push((name, random.pick(&found).clone()));
        }
    }
    chosen
}

/// What the attributes of windows say, for each of the axes of an image.
fn window(name: &str, dims: &[usize], random: &mut Random) -> Datum {
    let axes = dims.len().saturating_sub(2);
    match name {
        "pads" => Datum::ints((0..2 * axes).map(|_| random.below(2) as i64)),
        _ => Datum::ints((0..axes).map(|_| 1 + random.below(2) as i64)),
    }
}

fn single(number: f32) -> Datum {
    Datum::Float(crate::datum::Float { number: number.into(), bits: 24 })
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

/// All permutations of few axes; some of many.
fn permutations(rank: i64, random: &mut Random) -> Vec<Vec<i64>> {
    let mut all = vec![Vec::new()];
    if rank > 4 {
        return (0..24)
            .map(|_| {
                let mut axes: Vec<i64> = (0..rank).collect();
                random.shuffle(&mut axes);
                axes
            })
            .collect();
    }
    for next in 0..rank {
        let grown = all.iter().flat_map(|axes: &Vec<i64>| {
            (0..=axes.len()).map(move |at| {
                let mut axes = axes.clone();
                axes.insert(at, next);
                axes
            })
        });
        all = grown.collect();
    }
    all
}

/// Shapes that hold as many elements.
pub(super) fn reshapes(dims: &[usize], random: &mut Random) -> Vec<Vec<i64>> {
    let own: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
    let mut shapes = vec![own.clone(), vec![-1]];
    if let [first, rest @ ..] = own.as_slice() {
        shapes.push([&[*first], &[-1][..]].concat());
        shapes.push([&[0], &[-1][..]].concat());
        if let [second, rest @ ..] = rest {
            shapes.push([&[first * second], rest].concat());
            shapes.push([&[*first, 1, *second], rest].concat());
        }
        if let Some(last) = own.last().filter(|last| *last % 2 == 0) {
            shapes.push([&own[..own.len() - 1], &[last / 2, 2]].concat());
            shapes.push([&own[..own.len() - 1], &[2, last / 2]].concat());
        }
        if own.len() > 1 {
            // The last two axes as one.
            let tail = own[own.len() - 1] * own[own.len() - 2];
            shapes.push([&own[..own.len() - 2], &[tail]].concat());
            if own[1] % 2 == 0 {
                shapes.push(vec![0, 2, -1]);
            }
        }
    }
    let mut turned = own;
    random.shuffle(&mut turned);
    shapes.push(turned);
    shapes
}
