//! Contents that follow from contents.

use super::content::{Content, Form, Lazy};
use super::site::Site;
use super::small::{Small, count};
use crate::{AttributeValue, DType, Tensor};

/// Contents of the outputs, as far as they are the same in every run.
pub(super) fn contents(site: &Site<'_>) -> Vec<Option<Content>> {
    if !crate::schema::canonical_domain(&site.node().domain).is_empty() {
        return Vec::new();
    }
    vec![chain(site)]
}

/// Constants of the file and the chains that matching looks through.
fn chain(site: &Site<'_>) -> Option<Content> {
    match site.node().op_type.as_str() {
        "Constant" => {
            let form = Form::Tensor(constant(site)?);
            Some(Content { constant: true, form })
        }
        "Identity" => site.content(0).cloned(),
        "Cast" => {
            let (content, to) = (site.content(0)?, site.dtype_named("to")?);
            cast(content, to)
        }
        _ => None,
    }
}

fn cast(content: &Content, to: DType) -> Option<Content> {
    let constant = content.constant;
    match &content.form {
        Form::Tensor(tensor) if tensor.dtype() == to => Some(content.clone()),
        Form::Tensor(tensor) if count(tensor.dims()).is_none() => {
            Some(Content { constant, form: Form::Lazy(Box::new(Lazy::cast(tensor.clone(), to))) })
        }
        _ => Some(Content::new(constant, cast_small(&content.small()?, to))),
    }
}

fn cast_small(small: &Small, to: DType) -> Small {
    small.map(to, |item| item.clone())
}

fn constant(site: &Site<'_>) -> Option<Tensor> {
    let [attribute] = site.node().attributes.as_slice() else { return None };
    let value = match &attribute.value {
        AttributeValue::Reference { .. } => site.attribute(&attribute.name)?.into_owned(),
        other => other.clone(),
    };
    let vector = |length: usize| vec![length];
    let tensor = match value {
        AttributeValue::Tensor(tensor) => return Some(tensor),
        AttributeValue::Int(int) => Tensor::from_i64s([], &[int]),
        AttributeValue::Ints(ints) => Tensor::from_i64s(vector(ints.len()), &ints),
        AttributeValue::Float(float) => Tensor::from_f32s([], &[float]),
        AttributeValue::Floats(floats) => Tensor::from_f32s(vector(floats.len()), &floats),
        AttributeValue::String(string) => Tensor::strings([], vec![string]),
        AttributeValue::Strings(strings) => Tensor::strings(vector(strings.len()), strings),
        _ => return None,
    };
    tensor.ok()
}
