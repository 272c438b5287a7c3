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
    /// Whether the shape of the second input is still open.
    pub(super) free_weights: bool,
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
        ("Resize", "axes") => vec![axes((0..rank).collect()), axes((0..rank).rev().collect())],
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
            types.push(DType::Int32);
            if !around.base.is_float() {
                // What does not fit is cut off, which says nothing of floats.
                types.extend([DType::Int64, DType::Int8, DType::Uint8, DType::Int8, DType::Uint8]);
            }
            types.into_iter().map(Datum::Dtype).collect()
        }
        (_, "keepdims") => vec![Datum::Int(1), Datum::Int(0)],
        (_, "epsilon") => [1e-5, 1e-3, 1e-6, 1e-12].map(single).to_vec(),
        ("Slice", "starts") => [0, 1, -1, -2, 9].map(|at| Datum::ints([at])).to_vec(),
        ("Slice", "ends") => {
            let longest = around.dims.iter().copied().max().unwrap_or(1) as i64;
            let mut ends: Vec<_> = (1..=longest.min(7)).map(|at| Datum::ints([at])).collect();
            ends.extend([-1, i64::MAX, i64::MIN, 0].map(|at| Datum::ints([at])));
            ends
        }
        ("Slice", "steps") => [1, 2, -1, 3, -2].map(|at| Datum::ints([at])).to_vec(),
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
            let mut pads = vec![Datum::ints(vec![0; some.len()]), Datum::ints(some.clone())];
            // Below zero they cut off.
            let long: Vec<usize> =
                (0..around.dims.len()).filter(|axis| around.dims[*axis] > 1).collect();
            if !long.is_empty() {
                let ends = [0, around.dims.len()];
                some[*random.pick(&long) + *random.pick(&ends)] = -1;
                pads.push(Datum::ints(some));
            }
            pads
        }
        (
            "Conv" | "ConvInteger" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool",
            "pads" | "strides" | "dilations" | "output_padding",
        ) => vec![window(name, around.dims, random)],
        ("ConvTranspose", "output_shape") => {
            let spatial = around.dims.iter().skip(2);
            vec![Datum::ints(spatial.map(|&length| length as i64 + random.below(2) as i64))]
        }
        (_, "auto_pad") => ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"].map(text).to_vec(),
        ("Conv" | "ConvInteger" | "ConvTranspose", "group") => {
            let channels = around.dims.get(1).copied().unwrap_or(1) as i64;
            vec![Datum::Int(1), Datum::Int(channels.max(1))]
        }
        (_, "ceil_mode" | "noop_with_empty_axes") => vec![Datum::Int(1), Datum::Int(0)],
        ("DepthToSpace" | "SpaceToDepth", "blocksize") => vec![Datum::Int(2), Datum::Int(1)],
        ("DepthToSpace", "mode") => vec![text("DCR"), text("CRD")],
        ("Pad", "mode") => ["constant", "reflect", "edge", "wrap"].map(text).to_vec(),
        ("Pad", "value") => [1.0, -2.0].map(single).to_vec(),
        ("Resize" | "Upsample", "mode") => ["nearest", "linear", "cubic"].map(text).to_vec(),
        ("Resize", _) => resizing(name, around.dims)?,
        ("Upsample", "scales") => scales(around.dims),
        ("ScatterElements" | "ScatterND", "reduction") => {
            ["none", "add", "mul", "max", "min"].map(text).to_vec()
        }
        ("TopK", "largest") => vec![Datum::Int(0), Datum::Int(1)],
        ("TopK", "k") => {
            let longest = around.dims.last().copied().unwrap_or(1).max(1) as i64;
            (1..=longest).map(Datum::Int).collect()
        }
        ("GatherND", "batch_dims") => vec![Datum::Int(0), Datum::Int(1)],
        ("Trilu" | "EyeLike", "k") => [0, 1, -1, 2].map(Datum::Int).to_vec(),
        ("OneHot", "depth") => vec![Datum::Int(3), Datum::Int(5)],
        ("EyeLike", "dtype") => [DType::Float, DType::Int32].map(Datum::Dtype).to_vec(),
        ("QuantizeLinear", "output_dtype") => {
            [DType::Int8, DType::Uint8].map(Datum::Dtype).to_vec()
        }
        ("QuantizeLinear", "precision") => return None,
        ("DequantizeLinear", "output_dtype") => {
            [DType::Float, DType::Float16].map(Datum::Dtype).to_vec()
        }
        ("QuantizeLinear" | "DequantizeLinear", "block_size") => vec![Datum::Int(2), Datum::Int(0)],
        ("Dropout", "seed") => vec![Datum::Int(7)],
        ("Cast" | "CastLike", "round_mode") => ["up", "down"].map(text).to_vec(),
        ("Conv" | "ConvInteger" | "ConvTranspose", "kernel_shape") => {
            let transposed = around.operator == "ConvTranspose";
            let spatial = around.dims.iter().skip(2);
            let kernel = spatial.map(|&length| if transposed { 2 } else { length.min(2) as i64 });
            vec![Datum::ints(kernel)]
        }
        (_, "sorted") => vec![Datum::Int(0), Datum::Int(1)],
        ("MaxPool", "storage_order") => return None,
        ("NonMaxSuppression", "iou_threshold" | "score_threshold") => {
            [0.3, 0.6].map(single).to_vec()
        }
        ("Shape", "start" | "end") => (-rank..=rank).map(Datum::Int).collect(),
        ("BitShift", "direction") => vec![text("LEFT"), text("RIGHT")],
        ("Attention", "is_causal") => vec![Datum::Int(1), Datum::Int(0)],
        ("Attention", "scale" | "softcap") => [0.25, 2.0].map(single).to_vec(),
        ("NonMaxSuppression", "center_point_box") => vec![Datum::Int(1), Datum::Int(0)],
        ("NonMaxSuppression", "max_output_boxes_per_class") => vec![Datum::Int(2)],
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
        // What has no element tells 0 as a length from "as it was".
        ("Reshape", "allowzero") => match around.dims.contains(&0) {
            true => vec![Datum::Int(1)],
            false => vec![Datum::Int(0), Datum::Int(1)],
        },
        (_, "training_mode" | "is_test") => vec![Datum::Int(0)],
        (
            _,
            "transA" | "transB" | "select_last_index" | "upper" | "detect_negative"
            | "detect_positive" | "exclusive" | "reverse" | "count_include_pad",
        ) => vec![Datum::Int(0), Datum::Int(1)],
        ("LpNormalization" | "LpPool", "p") => vec![Datum::Int(1), Datum::Int(2)],
        (_, "position") => vec![Datum::Int(1), Datum::Int(0)],
        (_, "alpha" | "beta" | "bias" | "lambd" | "gamma") => {
            let mut some = [0.5, 1.0, 1.702, 0.25, 2.0, -0.5, -2.0].map(single).to_vec();
            // It is divided by this one.
            some.extend((around.operator != "Celu").then(|| single(0.0)));
            some
        }
        (_, "min" | "max") => [-1.0, 0.0, 0.5, 6.0].map(single).to_vec(),
        (_, "ratio") => vec![single(0.5), single(0.0)],
        (_, "saturate" | "fmod") => vec![Datum::Int(1), Datum::Int(0)],
        (_, "momentum" | "spatial_scale") => [0.5, 1.0].map(single).to_vec(),
        _ if kind == AttributeKind::Float => [0.5, 1.0, 2.0, -0.5, 0.0].map(single).to_vec(),
        _ => return None,
    })
}

/// Attributes that a node has although no pattern names them: some that change what it computes.
/// Inputs that are spelled as attributes are among them where they stand behind the `written` ones.
pub(super) fn others(
    schema: &'static Schema,
    around: &Around<'_>,
    named: &[(&'static str, Datum)],
    written: usize,
    random: &mut Random,
) -> Vec<(&'static str, Datum)> {
    let mut chosen: Vec<(&'static str, Datum)> = Vec::new();
    let attributes = schema.attributes.iter().filter(|attribute| !attribute.required);
    let attributes = attributes.map(|attribute| (attribute.name, attribute.kind));
    let (least, _) = schema.input_arity();
    let parameters = schema.parameters.iter().filter_map(|parameter| {
        let slot = schema.input(parameter.input?)?;
        // Those that must be there are chosen when the node is complete.
        let open = slot >= least.max(written) && schema.attribute(parameter.attribute).is_none();
        open.then_some((parameter.attribute, AttributeKind::Ints))
    });
    for (name, kind) in attributes.chain(parameters) {
        let known = named.iter().any(|(known, _)| *known == name);
        let bound = name == "group" && !around.free_weights;
        // Not all at once: what one changes may hide what another one does.
        if known || bound || restates(schema, name) || !random.once_in(3) {
            continue;
        }
        let found = domain(name, kind, around, random).unwrap_or_default();
        if !found.is_empty() {
            chosen.push((name, random.pick(&found).clone()));
        }
    }
    for (one, name, content) in COMPANIONS {
        let asked = named.iter().chain(&chosen).any(|(known, _)| known == one);
        let free = !named.iter().any(|(known, _)| known == name);
        let known = schema.attribute(name).filter(|_| asked && free);
        if let Some(attribute) = known.filter(|_| !random.once_in(4)) {
            chosen.retain(|(known, _)| known != name);
            let content = match content {
                Some(content) => Some(text(content)),
                None => {
                    domain(name, attribute.kind, around, random).and_then(|it| it.last().cloned())
                }
            };
            chosen.extend(content.map(|content| (*name, content)));
        }
    }
    let says = |chosen: &[(&str, Datum)], name: &str| {
        let mut all = chosen.iter().chain(named);
        all.any(|(known, content)| *known == name && *content != text("NOTSET"))
    };
    // Some exclude each other.
    for (one, other) in EXCLUDED {
        if says(&chosen, one) {
            chosen.retain(|(name, _)| name != other);
        }
    }
    chosen
}

/// Attributes that say something only where another one says this, or anything.
const COMPANIONS: &[(&str, &str, Option<&str>)] = &[
    ("roi", "coordinate_transformation_mode", Some("tf_crop_and_resize")),
    ("extrapolation_value", "coordinate_transformation_mode", Some("tf_crop_and_resize")),
    ("cubic_coeff_a", "mode", Some("cubic")),
    ("exclude_outside", "mode", Some("cubic")),
    ("antialias", "mode", Some("linear")),
    ("ceil_mode", "strides", None),
    ("count_include_pad", "pads", None),
    ("output_padding", "strides", None),
];

/// Of two attributes that exclude each other the second one is left out.
const EXCLUDED: &[(&str, &str)] = &[
    ("pads", "auto_pad"),
    ("auto_pad", "pads"),
    ("output_shape", "auto_pad"),
    ("sizes", "scales"),
];

/// Whether an attribute says again what the inputs or the results say.
pub(super) fn restates(schema: &Schema, name: &str) -> bool {
    let window = matches!(schema.name, "Conv" | "ConvInteger" | "ConvTranspose");
    (window && name == "kernel_shape")
        || matches!((schema.name, name), ("Split", "split" | "num_outputs") | ("Dropout", "seed"))
}

/// What attributes of resampling say.
fn resizing(name: &str, dims: &[usize]) -> Option<Vec<Datum>> {
    Some(match name {
        "coordinate_transformation_mode" => {
            let modes = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"];
            modes.into_iter().chain(["tf_crop_and_resize"]).map(text).collect()
        }
        "nearest_mode" => {
            ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].map(text).to_vec()
        }
        "keep_aspect_ratio_policy" => ["stretch", "not_larger", "not_smaller"].map(text).to_vec(),
        "cubic_coeff_a" => [-0.5, -0.75].map(single).to_vec(),
        "extrapolation_value" => [0.0, 2.0].map(single).to_vec(),
        "antialias" | "exclude_outside" => vec![Datum::Int(1), Datum::Int(0)],
        "scales" => scales(dims),
        "sizes" => vec![Datum::ints(dims.iter().map(|&length| length as i64 + 1))],
        "roi" => {
            let half = |at: usize| single(if at < dims.len() { 0.25 } else { 1.25 });
            vec![Datum::List((0..2 * dims.len()).map(half).collect())]
        }
        "axes" => {
            vec![Datum::ints(0..dims.len() as i64), Datum::ints((0..dims.len() as i64).rev())]
        }
        _ => return None,
    })
}

/// Factors of all axes.
fn scales(dims: &[usize]) -> Vec<Datum> {
    let same = |factor: f32| Datum::List(dims.iter().map(|_| single(factor)).collect());
    let mixed = (0..dims.len()).map(|at| single([1.0, 2.0, 1.5][at % 3]));
    vec![same(2.0), Datum::List(mixed.collect()), same(0.6)]
}

/// What the attributes of windows say, for each of the axes of an image.
fn window(name: &str, dims: &[usize], random: &mut Random) -> Datum {
    let axes = dims.len().saturating_sub(2);
    match name {
        // A window of one element has none in the padding.
        "pads" => Datum::ints((0..2 * axes).map(|at| match dims[2 + at % axes] {
            1 => 0,
            _ => random.below(2) as i64,
        })),
        "output_padding" => Datum::ints((0..axes).map(|_| random.below(2) as i64)),
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
