//! Inputs that are positions, counts, lengths or conditions: what lies within the shapes that are
//! known, so that the operator takes it.

use marquetry_ir::{DType, Tensor};
use marquetry_pattern::core::TypePattern;

use super::Stuck;
use super::fill::Fill;
use super::operand::Need;
use super::random::Random;
use super::sketch::SketchNode;
use crate::datum::Datum;

/// Whether an input of an operator counts or names places of another one.
pub(super) fn is_position(name: &str, slot: usize) -> bool {
    matches!(
        (name, slot),
        ("Gather" | "GatherElements" | "GatherND" | "Scatter" | "ScatterElements" | "ScatterND", 1)
            | ("CumSum" | "CumProd" | "TopK" | "Trilu" | "OneHot", 1)
            | ("Expand" | "Reshape" | "Tile" | "Pad" | "Squeeze" | "Unsqueeze" | "Split", 1)
            | ("Slice", 1..)
            | ("OneHot" | "ConstantOfShape", 0)
    )
}

impl<'p> Fill<'_, 'p> {
    /// A shape that one of these dims is broadcast to: often that of some other value.
    pub(super) fn expansion(&mut self, dims: &[usize]) -> Vec<i64> {
        let reaches = |shape: &Vec<usize>| {
            let skipped = shape.len().checked_sub(dims.len());
            shape.as_slice() != dims
                && skipped.is_some_and(|skipped| {
                    dims.iter().zip(&shape[skipped..]).all(|(&a, &b)| a == b || a == 1)
                })
        };
        let mut known = self.shapes();
        known.retain(reaches);
        if known.is_empty() || self.random.once_in(3) {
            return expansion(dims, &mut self.random);
        }
        self.random.pick(&known).iter().map(|&length| length as i64).collect()
    }

    /// What an input has to be that is no plain data; nothing for data.
    pub(super) fn position(
        &mut self,
        node: &SketchNode<'p>,
        slot: usize,
        attributes: &[(&'static str, Datum)],
        first: &[usize],
        types: &[TypePattern],
        dtype: DType,
    ) -> Result<Option<Need>, Stuck> {
        let int = |name: &str| {
            let found = attributes.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, content)| content.as_int())
        };
        let rank = first.len() as i64;
        let axis = |default: i64| {
            let axis = int("axis").unwrap_or(default);
            let axis = if axis < 0 { axis + rank } else { axis };
            usize::try_from(axis).ok().filter(|axis| *axis < first.len()).ok_or(Stuck::Rejected)
        };
        let indices = node.inputs.get(1).copied().flatten().and_then(|row| self.fact(row));
        let indices = indices.map(|(_, dims)| dims.to_vec()).ok_or(Stuck::Rejected);
        let name = node.operator.name.as_str();
        let (dims, numbers): (Vec<usize>, Vec<i64>) = match (name, slot) {
            // A scale for each index of an axis fits another axis where lengths are equal.
            ("QuantizeLinear" | "DequantizeLinear", 0)
                if types.is_empty() && self.random.once_in(3) =>
            {
                let rank = 2 + self.random.below(2);
                return Ok(Some(Need::Shape(vec![3; rank])));
            }
            // Whole blocks, or channels that make some.
            ("DepthToSpace", 0) if types.is_empty() => {
                let blocks = 1 + self.random.below(2);
                return Ok(Some(Need::Shape(vec![1, 4 * blocks, 2, 3])));
            }
            ("SpaceToDepth", 0) if types.is_empty() => {
                return Ok(Some(Need::Shape(vec![1 + self.random.below(2), 2, 4, 6])));
            }
            ("Attention", slot @ 0..=2) => {
                let dims = [[1, 2, 3, 4], [1, 2, 5, 4], [1, 2, 5, 6]][slot];
                return Ok(Some(Need::Shape(dims.to_vec())));
            }
            ("If", 0) => return Ok(Some(Need::Shape(Vec::new()))),
            // As corners and as centres and sizes they overlap differently.
            ("NonMaxSuppression", 0) => return Ok(Some(Need::Positive(vec![1, 5, 4]))),
            ("NonMaxSuppression", 1) => return Ok(Some(Need::Shape(vec![1, 2, 5]))),
            ("NonMaxSuppression", 2) => (Vec::new(), vec![2 + self.random.below(4) as i64]),
            ("NonMaxSuppression", 3..) => {
                let some = if slot == 3 { [0.1, 0.3, 0.5] } else { [-1.0, 0.0, 0.3] };
                let number = *self.random.pick(&some);
                return Ok(Some(Need::Held(self.tensor(dtype, &[], &[number])?)));
            }
            ("MeanVarianceNormalization", 0) if types.is_empty() => {
                return Ok(Some(Need::Shape(vec![2, 3, 2, 4])));
            }
            // Without an element only 0 as a length is told from "as it was".
            ("Reshape", 0) if types.is_empty() && self.random.once_in(8) => {
                return Ok(Some(Need::Shape(vec![self.fresh_length(), 0])));
            }
            ("Trilu" | "EyeLike", 0) if types.is_empty() => {
                let mut dims = vec![self.fresh_length(), self.fresh_length()];
                if name == "Trilu" && self.random.once_in(3) {
                    dims.insert(0, 2);
                }
                return Ok(Some(Need::Shape(dims)));
            }
            ("Scatter" | "ScatterElements", 2) => return Ok(Some(Need::Shape(indices?))),
            ("ScatterND", 2) => {
                let indices = indices?;
                let (&depth, outer) = indices.split_last().ok_or(Stuck::Rejected)?;
                let inner = first.get(depth..).ok_or(Stuck::Rejected)?;
                return Ok(Some(Need::Shape([outer, inner].concat())));
            }
            ("OneHot", 2) => return Ok(Some(Need::Shape(vec![2]))),
            ("Pad", 2) => return Ok(Some(Need::Shape(Vec::new()))),
            ("TopK", 1) => {
                let length = first[axis(-1)?];
                (vec![1], vec![1 + self.random.below(length) as i64])
            }
            ("CumSum" | "CumProd", 1) if rank > 0 => {
                (Vec::new(), vec![self.random.below(2 * first.len()) as i64 - rank])
            }
            ("Trilu", 1) => (Vec::new(), vec![self.random.below(5) as i64 - 2]),
            ("OneHot", 0) if types.is_empty() => {
                let rank = 1 + self.random.below(2);
                let dims: Vec<usize> = (0..rank).map(|_| self.fresh_length()).collect();
                let count = dims.iter().product();
                (dims, (0..count).map(|_| self.random.below(6) as i64 - 2).collect())
            }
            ("OneHot", 1) => (Vec::new(), vec![2 + self.random.below(4) as i64]),
            ("Gather", 1) => {
                let length = first[axis(0)?];
                let dims = self.random.pick(&[vec![2], vec![], vec![2, 2], vec![1]]).clone();
                let count = dims.iter().product();
                let numbers = (0..count).map(|_| inside(length, &mut self.random));
                (dims, numbers.collect::<Result<_, _>>()?)
            }
            ("GatherElements", 1) => {
                let at = axis(0)?;
                let mut dims = first.to_vec();
                dims[at] = 1 + self.random.below(first[at] + 1);
                let count = dims.iter().product();
                let numbers = (0..count).map(|_| inside(first[at], &mut self.random));
                (dims, numbers.collect::<Result<_, _>>()?)
            }
            ("Scatter" | "ScatterElements", 1) => {
                let at = axis(0)?;
                let mut dims = first.to_vec();
                dims[at] = dims[at].min(1 + self.random.below(2));
                // Along an axis no place twice: which one of the two is left is nowhere said.
                (dims.clone(), along(&dims, at, first[at], &mut self.random))
            }
            ("GatherND", 1) => {
                let batch = usize::try_from(int("batch_dims").unwrap_or(0)).unwrap_or(0);
                let lengths = first.get(batch..).filter(|it| !it.is_empty());
                let lengths = lengths.ok_or(Stuck::Rejected)?;
                let depth = 1 + self.random.below(lengths.len());
                let some = if self.random.once_in(2) { vec![2] } else { Vec::new() };
                let dims = [&first[..batch], &some, &[depth]].concat();
                let count: usize = dims.iter().product();
                let numbers = (0..count).map(|at| inside(lengths[at % depth], &mut self.random));
                (dims, numbers.collect::<Result<_, _>>()?)
            }
            ("ScatterND", 1) if rank > 0 => {
                let depth = 1 + self.random.below(first.len());
                // The first axis tells the places apart.
                let count = first[0].min(1 + self.random.below(2));
                let mut rows: Vec<usize> = (0..first[0]).collect();
                self.random.shuffle(&mut rows);
                let mut numbers = Vec::new();
                for row in rows.into_iter().take(count) {
                    numbers.push(row as i64);
                    for length in &first[1..depth] {
                        numbers.push(inside(*length, &mut self.random)?);
                    }
                }
                (vec![count, depth], numbers)
            }
            ("Compress", 1) => {
                let length = match int("axis") {
                    Some(_) => first[axis(0)?],
                    None => first.iter().product(),
                };
                let length = length.min(5);
                (vec![length], (0..length).map(|_| self.random.below(2) as i64).collect())
            }
            ("Range", slot) => {
                let down = self.random.once_in(3);
                let number = match slot {
                    0 => self.random.below(4) as i64 - 1,
                    // Behind the start, on either side.
                    1 => 5 + self.random.below(6) as i64,
                    _ => 1 + self.random.below(3) as i64,
                };
                let number = if slot == 2 && down && dtype.is_float() { -number } else { number };
                (Vec::new(), vec![number])
            }
            ("ConstantOfShape", 0)
            | (
                "Expand" | "Slice" | "Pad" | "Squeeze" | "Unsqueeze" | "Split" | "Resize"
                | "Upsample",
                1..,
            ) => return self.lengths(node, slot, attributes, first, dtype),
            (name, 1) if name.starts_with("Reduce") => {
                return self.lengths(node, slot, attributes, first, dtype);
            }
            _ => return Ok(None),
        };
        let numbers: Vec<f64> = numbers.into_iter().map(|number| number as f64).collect();
        Ok(Some(Need::Held(self.tensor(dtype, &dims, &numbers)?)))
    }

    /// Constants that shapes follow from.
    fn lengths(
        &mut self,
        node: &SketchNode<'p>,
        slot: usize,
        attributes: &[(&'static str, Datum)],
        first: &[usize],
        dtype: DType,
    ) -> Result<Option<Need>, Stuck> {
        let rank = first.len() as i64;
        let axes = attributes.iter().find(|(name, _)| *name == "axes");
        let axes = axes.and_then(|(_, axes)| Some(axes.as_list()?.len() as i64)).unwrap_or(rank);
        let known = |slot: usize| {
            let row = node.inputs.get(slot).copied().flatten()?;
            self.fact(row).map(|(_, dims)| dims.iter().product::<usize>())
        };
        let name = node.operator.name.as_str();
        let numbers: Vec<i64> = match (name, slot) {
            ("ConstantOfShape", 0) => vec![2, 1 + self.random.below(3) as i64],
            ("Expand", 1) => self.expansion(first),
            ("Slice", 1..) if rank > 0 => {
                let count = known(1).unwrap_or(1 + self.random.below(first.len().min(2)));
                let random = &mut self.random;
                let mut axes: Vec<i64> = (-rank..0).collect();
                random.shuffle(&mut axes);
                axes.truncate(count);
                match slot {
                    1 => (0..count).map(|_| *random.pick(&[0, 1, -1, -2])).collect(),
                    2 => (0..count).map(|_| *random.pick(&[2, 3, -1, i64::MAX])).collect(),
                    3 => axes,
                    _ => (0..count).map(|_| *random.pick(&[1, 2, -1, 3])).collect(),
                }
            }
            ("Pad", 1) => {
                let random = &mut self.random;
                // Below zero they cut off.
                let cut = random.once_in(4) && first.iter().all(|length| *length > 1);
                let some = if cut { -1 } else { 1 };
                let pads = (0..2 * axes).map(|_| i64::from(random.once_in(3)));
                // An axis of two does not lose both.
                let pads = pads
                    .enumerate()
                    .map(|(at, pad)| if cut && at as i64 >= axes { 0 } else { pad * some });
                pads.collect()
            }
            ("Pad", 3) => (-rank..0).collect(),
            ("Squeeze", 1) => {
                let ones = (0..first.len()).filter(|&at| first[at] == 1);
                ones.map(|at| at as i64).take(1).collect()
            }
            ("Unsqueeze", 1) => vec![self.random.below(first.len() + 1) as i64],
            ("Split", 1) => {
                let parts = node.outputs.len().max(1);
                let length = first.first().copied().unwrap_or(0);
                let mut split = vec![(length / parts) as i64; parts];
                split[parts - 1] += (length % parts) as i64;
                split
            }
            ("Resize" | "Upsample", slot) => {
                let of_scales = name == "Upsample" || self.opset < 11;
                let numbers: Vec<f64> = match (slot, of_scales) {
                    (1, false) => (0..2 * rank).map(|at| f64::from(at >= rank)).collect(),
                    (3, _) => first.iter().map(|&length| (length + 1) as f64).collect(),
                    _ => {
                        let random = &mut self.random;
                        first.iter().map(|_| *random.pick(&[1.0, 2.0, 1.5])).collect()
                    }
                };
                let tensor = self.tensor(dtype, &[numbers.len()], &numbers)?;
                return Ok(Some(Need::Content(tensor)));
            }
            (name, 1) if name.starts_with("Reduce") && rank > 0 => {
                vec![self.random.below(2 * first.len()) as i64 - rank]
            }
            _ => return Ok(None),
        };
        if name == "Squeeze" && numbers.is_empty() {
            return Err(Stuck::Rejected);
        }
        let tensor = Tensor::from_i64s([numbers.len()], &numbers).map_err(|_| Stuck::Rejected)?;
        Ok(Some(Need::Content(tensor)))
    }
}

/// A position on an axis, counted from either end.
fn inside(length: usize, random: &mut Random) -> Result<i64, Stuck> {
    if length == 0 {
        return Err(Stuck::Rejected);
    }
    let at = random.below(length) as i64;
    Ok(if random.once_in(4) { at - length as i64 } else { at })
}

/// Positions along one axis of a tensor of these dims, in each lane all different.
fn along(dims: &[usize], axis: usize, length: usize, random: &mut Random) -> Vec<i64> {
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    let mut numbers = vec![0; outer * dims[axis] * inner];
    for lane in 0..outer * inner {
        let mut places: Vec<usize> = (0..length).collect();
        random.shuffle(&mut places);
        for (at, place) in places.into_iter().take(dims[axis]).enumerate() {
            numbers[(lane / inner * dims[axis] + at) * inner + lane % inner] = place as i64;
        }
    }
    numbers
}

/// A shape that a shape can be broadcast with.
fn expansion(dims: &[usize], random: &mut Random) -> Vec<i64> {
    let mut shape: Vec<i64> = dims
        .iter()
        .map(|&length| match length {
            1 => 1 + random.below(3) as i64,
            length if random.once_in(4) => (length as i64).min(1),
            length => length as i64,
        })
        .collect();
    match random.below(5) {
        0 => shape.insert(0, 2),
        1 if shape.len() > 1 => {
            shape.remove(0);
        }
        _ => {}
    }
    shape
}
