//! Element types and shapes, operator by operator.

mod dims;
mod layout;
mod matrix;
mod model;
mod select;
mod sequence;
mod window;

pub(super) use self::dims::{join, product, range_count, shape_range, slice_of};
pub(super) use self::sequence::types as other_types;
use super::site::{Shape, Site};
use crate::{DType, Dim};

/// Element types of the outputs.
pub(super) fn dtypes(site: &Site<'_>, count: usize) -> Vec<Option<DType>> {
    let generic = |slot| site.dtype_of(site.view.schema?.formal_output(slot)?);
    let mut dtypes: Vec<_> = (0..count).map(generic).collect();
    let op = site.op();
    let special = match op.as_ref() {
        "Cast" | "BitCast" => site.dtype_named("to"),
        "CastLike" => site.dtype(1),
        "ConstantOfShape" => super::fold::fill_value(site).map(|value| value.dtype()),
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => {
            site.dtype_named("dtype").or_else(|| site.dtype(0))
        }
        "RandomNormal" | "RandomUniform" | "Multinomial" => site.dtype_named("dtype"),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix" => {
            site.dtype_named("output_datatype")
        }
        "QuantizeLinear" => match site.input(2) {
            Some(_) => site.dtype(2),
            None => site.dtype_named("output_dtype").or(Some(DType::Uint8)),
        },
        "com.microsoft/QuantizeLinear" => match site.input(2) {
            Some(_) => site.dtype(2),
            None => Some(DType::Uint8),
        },
        "DequantizeLinear" => site.dtype_named("output_dtype").or_else(|| site.dtype(1)),
        _ => None,
    };
    if let (Some(first), Some(_)) = (dtypes.first_mut(), special) {
        *first = special;
    }
    if matches!(op.as_ref(), "LayerNormalization" | "SimplifiedLayerNormalization") {
        let stash = site.dtype_named("stash_type");
        dtypes.iter_mut().skip(1).for_each(|dtype| *dtype = stash);
    }
    dtypes
}

/// Shapes of the outputs.
pub(super) fn shapes(site: &Site<'_>, count: usize) -> Vec<Shape> {
    let mut shapes = rule(site, count).unwrap_or_default();
    shapes.resize(count, None);
    shapes
}

fn rule(site: &Site<'_>, count: usize) -> Option<Vec<Shape>> {
    let facts = site.view.schema.map(|schema| schema.facts).unwrap_or_default();
    let op = site.op();
    let op = op.as_ref();
    if facts.same_shape() {
        return model::like_input(site, op, count);
    }
    if facts.elementwise() {
        return model::broadcast(site).map(one);
    }
    if facts.reduction() {
        return select::reduce(site, op).map(one);
    }
    layout::rule(site, op, count)
        .or_else(|| select::rule(site, op, count))
        .or_else(|| matrix::rule(site, op))
        .or_else(|| window::rule(site, op, count))
        .or_else(|| model::rule(site, op))
}

fn one(shape: Vec<Dim>) -> Vec<Shape> {
    vec![Some(shape)]
}
