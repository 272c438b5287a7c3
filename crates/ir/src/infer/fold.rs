//! Contents that follow from contents: constants, the chains that matching looks through, and
//! arithmetic on shapes.

mod arithmetic;
mod movement;

use super::content::{Content, Form, Lazy};
use super::site::{Shape, Site};
use super::small::{Item, Small, count};
use crate::{AttributeValue, DType, Dim, Tensor};

/// Contents of the outputs, as far as they are the same in every run. `shapes` are theirs.
pub(super) fn contents(site: &Site<'_>, shapes: &[Shape]) -> Vec<Option<Content>> {
    if !crate::schema::canonical_domain(&site.node().domain).is_empty() {
        return Vec::new();
    }
    match site.node().op_type.as_str() {
        "Split" => movement::split(site, shapes),
        _ => vec![chain(site, shapes).or_else(|| Some(Content::new(false, small(site, shapes)?)))],
    }
}

/// Constants of the file and the chains that matching looks through.
fn chain(site: &Site<'_>, shapes: &[Shape]) -> Option<Content> {
    match site.node().op_type.as_str() {
        "Constant" => {
            let form = Form::Tensor(constant(site)?);
            Some(Content { constant: true, form })
        }
        "Identity" => site.content(0).cloned(),
        "Cast" => cast(site.content(0)?, site.dtype_named("to")?),
        "CastLike" => cast(site.content(0)?, site.dtype(1)?),
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => {
            let dims = known(shapes.first()?.as_deref()?)?;
            let content = site.content(0)?;
            let constant =
                content.constant && (1..site.inputs.len()).all(|slot| site.constant(slot));
            let form = match &content.form {
                Form::Tensor(tensor) => Form::Tensor(tensor.reshape(dims).ok()?),
                Form::Lazy(lazy) => Form::Lazy(Box::new(lazy.reshaped(dims))),
                Form::Small(small) => Form::Small(small.clone().reshape(dims)?),
            };
            Some(Content { constant, form })
        }
        "ConstantOfShape" => {
            let dims = known(shapes.first()?.as_deref()?)?;
            let with = fill_value(site)?;
            let lazy = Form::Lazy(Box::new(Lazy::fill(with.clone(), dims.clone())));
            let form = match count(&dims) {
                None => lazy,
                Some(count) => {
                    let item = Small::read(&with)?.items.into_iter().next()?;
                    let small = Small::new(with.dtype(), dims, vec![item; count])?;
                    return Some(Content::new(site.constant(0), small));
                }
            };
            Some(Content { constant: site.constant(0), form })
        }
        _ => None,
    }
}

/// What `ConstantOfShape` fills with: one element, 0.0 where the node does not say.
pub(super) fn fill_value(site: &Site<'_>) -> Option<Tensor> {
    match site.attribute("value") {
        Some(value) => value.as_tensor()?.reshape([1]).ok(),
        None => Tensor::from_f32s([1], &[0.0]).ok(),
    }
}

fn known(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::known).collect()
}

/// Elements that follow by arithmetic on few elements.
fn small(site: &Site<'_>, shapes: &[Shape]) -> Option<Small> {
    match site.node().op_type.as_str() {
        "Shape" => {
            let shape = site.shape(0)?;
            let (start, end) = super::rules::shape_range(site, shape.len());
            let items: Vec<Item> = shape.get(start..end)?.iter().map(Item::from).collect();
            Small::new(DType::Int64, vec![items.len()], items)
        }
        "Size" => {
            let size = super::rules::product(site.shape(0)?);
            Small::new(DType::Int64, Vec::new(), vec![Item::from(&size)])
        }
        op => arithmetic::compute(site, op).or_else(|| movement::compute(site, op, shapes)),
    }
}

fn cast(content: &Content, to: DType) -> Option<Content> {
    let constant = content.constant;
    match &content.form {
        Form::Tensor(tensor) if tensor.dtype() == to => Some(content.clone()),
        Form::Tensor(tensor) if count(tensor.dims()).is_none() => {
            Some(Content { constant, form: Form::Lazy(Box::new(Lazy::cast(tensor.clone(), to))) })
        }
        _ => Some(Content::new(constant, arithmetic::cast(&content.small()?, to))),
    }
}

fn constant(site: &Site<'_>) -> Option<Tensor> {
    let [attribute] = site.node().attributes.as_slice() else { return None };
    let value = match &attribute.value {
        AttributeValue::Reference { .. } => site.attribute(&attribute.name)?.into_owned(),
        other => other.clone(),
    };
    let tensor = match value {
        AttributeValue::Tensor(tensor) => return Some(tensor),
        AttributeValue::Int(int) => Tensor::from_i64s([], &[int]),
        AttributeValue::Ints(ints) => Tensor::from_i64s([ints.len()], &ints),
        AttributeValue::Float(float) => Tensor::from_f32s([], &[float]),
        AttributeValue::Floats(floats) => Tensor::from_f32s([floats.len()], &floats),
        AttributeValue::String(string) => Tensor::strings([], vec![string]),
        AttributeValue::Strings(strings) => Tensor::strings([strings.len()], strings),
        _ => return None,
    };
    tensor.ok()
}
