//! What operators need their inputs to be, where shapes do not follow from the first input alone.

use marquetry_ir::{DType, Tensor};
use marquetry_pattern::core::TypePattern;

use super::Stuck;
use super::fill::Fill;
use super::sketch::SketchNode;
use crate::datum::Datum;

/// What a leaf has to be.
pub(super) enum Need {
    /// Any content of this shape.
    Shape(Vec<usize>),
    /// This shape, above zero.
    Positive(Vec<usize>),
    /// Exactly this constant: shapes follow from it.
    Content(Tensor),
    /// Exactly this, whether it is a constant or not.
    Held(Tensor),
}

impl<'p> Fill<'_, 'p> {
    /// What an input that nothing computes has to be, so that the operator takes it.
    pub(super) fn wanted(
        &mut self,
        node: &SketchNode<'p>,
        slot: usize,
        attributes: &[(&'static str, Datum)],
        types: &[TypePattern],
        dtype: DType,
    ) -> Result<Need, Stuck> {
        let first: Vec<usize> = match node.inputs.first().copied().flatten() {
            Some(row) if slot > 0 => self.fact(row).map(|(_, dims)| dims.to_vec()),
            _ => None,
        }
        .unwrap_or_default();
        let int = |name: &str, default: i64| {
            let found = attributes.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, content)| content.as_int()).unwrap_or(default)
        };
        let channels = first.get(1).copied().unwrap_or(1);
        let name = node.operator.name.as_str();
        let other = self.other(node, slot);
        if let Some(need) = self.position(node, slot, attributes, &first, types, dtype)? {
            return Ok(need);
        }
        Ok(Need::Shape(match (name, slot) {
            ("MatMul" | "MatMulInteger", 0) => match other {
                None => self.fresh(types)?,
                Some(other) => {
                    let inner = other[other.len().saturating_sub(2)..].first().copied();
                    let rows = self.fresh_length();
                    vec![rows, inner.ok_or(Stuck::Rejected)?]
                }
            },
            ("MatMul" | "MatMulInteger", 1) => {
                let inner = first.last().copied().ok_or(Stuck::Rejected)?;
                let columns = self.fresh_length();
                let batch = if self.random.once_in(3) { first.len().saturating_sub(2) } else { 0 };
                [&first[..batch], &[inner, columns]].concat()
            }
            ("Gemm", 0) => vec![self.fresh_length(), self.fresh_length()],
            ("Gemm", 1) => {
                let inner = first.get(usize::from(int("transA", 0) == 0)).copied();
                let (inner, columns) = (inner.ok_or(Stuck::Rejected)?, self.fresh_length());
                if int("transB", 0) == 0 { vec![inner, columns] } else { vec![columns, inner] }
            }
            ("Gemm", _) => {
                let second = node.inputs[1].and_then(|row| self.fact(row));
                let dims = second.map(|(_, dims)| dims.to_vec()).ok_or(Stuck::Rejected)?;
                let columns = dims.get(usize::from(int("transB", 0) == 0)).copied().unwrap_or(1);
                match self.random.below(3) {
                    0 => vec![1],
                    1 => vec![
                        first.get(usize::from(int("transA", 0) != 0)).copied().unwrap_or(1),
                        columns,
                    ],
                    _ => vec![columns],
                }
            }
            ("Conv" | "ConvInteger", 0) => {
                if types.iter().any(|ty| ty.shape.is_some()) {
                    return Ok(Need::Shape(self.fresh(types)?));
                }
                let mut dims = vec![1 + self.random.below(2), 2 + self.random.below(2), 5];
                if self.random.once_in(2) {
                    dims.push(4);
                }
                dims
            }
            ("Conv" | "ConvInteger", 1) => {
                let groups = usize::try_from(int("group", 1)).ok().filter(|groups| *groups > 0);
                let groups = groups.ok_or(Stuck::Rejected)?;
                let features = if groups == 1 { 3 } else { 2 * groups };
                let mut dims = vec![features, channels / groups];
                dims.extend(first.iter().skip(2).map(|&length| length.min(2)));
                dims
            }
            // One zero point in all.
            ("ConvInteger" | "MatMulInteger", 2..) => Vec::new(),
            ("Conv", _) => {
                let weights = node.inputs[1].and_then(|row| self.fact(row));
                vec![weights.and_then(|(_, dims)| dims.first().copied()).unwrap_or(1)]
            }
            ("ConvTranspose", 0) => {
                let mut dims = vec![1 + self.random.below(2), 2 + self.random.below(2), 3];
                if self.random.once_in(2) {
                    dims.push(2);
                }
                dims
            }
            ("ConvTranspose", 1) => {
                let groups = usize::try_from(int("group", 1)).ok().filter(|groups| *groups > 0);
                let features = 2 * groups.ok_or(Stuck::Rejected)?;
                let mut dims = vec![channels, features];
                dims.extend(first.iter().skip(2).map(|_| 2));
                dims
            }
            ("ConvTranspose", _) => {
                let weights = node.inputs[1].and_then(|row| self.fact(row));
                let members = weights.and_then(|(_, dims)| dims.get(1).copied()).unwrap_or(1);
                vec![members * usize::try_from(int("group", 1)).unwrap_or(1)]
            }
            // Bounds are single numbers.
            ("Clip", 1..) => Vec::new(),
            // An image and its channels.
            ("MaxPool" | "AveragePool" | "LpPool", 0) if types.is_empty() => vec![1, 2, 4, 5],
            ("Tile", 1) => {
                let some = |random: &mut super::Random| 1 + i64::from(random.once_in(6));
                let times: Vec<i64> = first.iter().map(|_| some(&mut self.random)).collect();
                return Ok(Need::Content(
                    Tensor::from_i64s([times.len()], &times).map_err(|_| Stuck::Rejected)?,
                ));
            }
            // The chance that an element is set to 0, and whether it is done at all.
            ("Dropout", 1..) => Vec::new(),
            ("SkipLayerNormalization" | "SkipSimplifiedLayerNormalization", 1) => first,
            ("SkipLayerNormalization" | "SkipSimplifiedLayerNormalization", 2..)
            | ("FastGelu" | "BiasGelu", 1) => {
                vec![first.last().copied().ok_or(Stuck::Rejected)?]
            }
            ("BatchNormalization", 4) => return Ok(Need::Positive(vec![channels])),
            (
                "BatchNormalization" | "InstanceNormalization" | "GroupNormalization" | "GroupNorm",
                1..,
            ) => {
                vec![channels]
            }
            ("LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization", 1..) => {
                let rank = first.len() as i64;
                let axis = int("axis", -1);
                let axis = if axis < 0 { axis + rank } else { axis };
                let axis = usize::try_from(axis).map_err(|_| Stuck::Rejected)?;
                first.get(axis..).ok_or(Stuck::Rejected)?.to_vec()
            }
            ("Reshape", 1) => {
                let mut shape = self.reshape(&first);
                if int("allowzero", 0) == 1 && first.contains(&0) && self.random.once_in(2) {
                    shape = first.iter().rev().map(|&length| length as i64).collect();
                }
                return Ok(Need::Content(
                    Tensor::from_i64s([shape.len()], &shape).map_err(|_| Stuck::Rejected)?,
                ));
            }
            ("QuantizeLinear" | "DequantizeLinear", 1) => {
                // One scale in all, one for each index of an axis, or one for each block of it.
                let axis = int("axis", 1);
                let axis = if axis < 0 { axis + first.len() as i64 } else { axis };
                let length = usize::try_from(axis).ok().and_then(|axis| first.get(axis));
                let block = usize::try_from(int("block_size", 0)).unwrap_or(0);
                if let (Some(length), 1.., Ok(axis)) = (length, block, usize::try_from(axis)) {
                    let mut dims = first.clone();
                    dims[axis] = length.div_ceil(block);
                    return Ok(Need::Positive(dims));
                }
                // An axis that is named says something of more than one scale only.
                let named = attributes.iter().any(|(known, _)| *known == "axis");
                let each = self.random.once_in(if named { 1 } else { 3 });
                let dims = length.filter(|_| each).map(|&length| vec![length]);
                return Ok(Need::Positive(dims.unwrap_or_default()));
            }
            ("QuantizeLinear" | "DequantizeLinear", 2) => {
                let scale = node.inputs[1].and_then(|row| self.fact(row));
                scale.map(|(_, dims)| dims.to_vec()).unwrap_or_default()
            }
            ("CastLike", 1) => vec![1],
            ("Concat", 1..) => {
                let axis = int("axis", 0);
                let axis = if axis < 0 { axis + first.len() as i64 } else { axis };
                let mut dims = first;
                let at = usize::try_from(axis).ok().filter(|axis| *axis < dims.len());
                dims[at.ok_or(Stuck::Rejected)?] = self.fresh_length();
                dims
            }
            (_, slot) => {
                let version = marquetry_ir::schema::versions(&node.operator.domain, name);
                let facts = version.last().map(|schema| schema.facts);
                let elementwise = facts.is_some_and(|facts| facts.elementwise());
                match other {
                    None if elementwise || slot == 0 => self.fresh(types)?,
                    Some(other) if elementwise => self.broadcast(&other),
                    // What is to be read at computed positions, say.
                    Some(_) if slot == 0 => self.fresh(types)?,
                    // Many take no single numbers.
                    Some(_) if first.is_empty() => return Err(Stuck::Rejected),
                    _ => {
                        return Err(Stuck::Unsupported(format!(
                            "nothing is known of input {slot} of `{name}`"
                        )));
                    }
                }
            }
        }))
    }
}
