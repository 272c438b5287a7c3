//! Sequences and optionals.

use super::dims::join;
use crate::infer::site::Site;
use crate::{Dim, TensorType, Type};

/// Types of outputs that are no plain tensors, and of tensors taken out of such.
pub(in crate::infer) fn types(site: &Site<'_>) -> Vec<Option<Type>> {
    if !crate::schema::canonical_domain(&site.node().domain).is_empty() {
        return Vec::new();
    }
    let ty = match site.node().op_type.as_str() {
        "SequenceConstruct" => construct(site),
        "SplitToSequence" => split(site),
        "SequenceEmpty" => site
            .dtype_named("dtype")
            .map(|dtype| sequence(Some(Type::Tensor(TensorType::new(dtype, None))))),
        "SequenceInsert" => insert(site),
        "SequenceErase" => site.ty(0).cloned(),
        "Identity" => site.ty(0).filter(|ty| ty.as_tensor().is_none()).cloned(),
        "SequenceAt" => element(site.ty(0)),
        "ConcatFromSequence" => concat(site),
        "Optional" => {
            let given = match site.attribute("type").as_deref() {
                Some(crate::AttributeValue::Type(ty)) => Some(ty.clone()),
                _ => None,
            };
            let element = site.ty(0).cloned().or(given).map(Box::new);
            Some(Type::Optional { element, denotation: None })
        }
        "OptionalGetElement" => match site.ty(0) {
            Some(Type::Optional { element, .. }) => element.as_deref().cloned(),
            other => other.cloned(),
        },
        _ => None,
    };
    ty.map(|ty| vec![Some(ty)]).unwrap_or_default()
}

fn sequence(element: Option<Type>) -> Type {
    Type::Sequence { element: element.map(Box::new), denotation: None }
}

fn element(ty: Option<&Type>) -> Option<Type> {
    match ty? {
        Type::Sequence { element, .. } => element.as_deref().cloned(),
        _ => None,
    }
}

/// What holds for every tensor of a sequence that also holds this one.
fn both(a: &TensorType, b: &TensorType) -> TensorType {
    let shape = match (&a.shape, &b.shape) {
        (Some(a), Some(b)) => join(a, b),
        _ => None,
    };
    TensorType { dtype: a.dtype.or(b.dtype), shape, denotation: None }
}

fn construct(site: &Site<'_>) -> Option<Type> {
    let mut all = site.tensor(0)?.clone();
    all.denotation = None;
    for slot in 1..site.inputs.len() {
        all = both(&all, site.tensor(slot)?);
    }
    Some(sequence(Some(Type::Tensor(all))))
}

fn insert(site: &Site<'_>) -> Option<Type> {
    // The element of an empty sequence says nothing of its shape, so neither does the result.
    let known = element(site.ty(0))?;
    Some(sequence(Some(Type::Tensor(both(known.as_tensor()?, site.tensor(1)?)))))
}

fn split(site: &Site<'_>) -> Option<Type> {
    let tensor = site.tensor(0)?;
    let shape = || -> Option<Vec<Dim>> {
        let mut shape = tensor.shape.clone()?;
        let axis = site.axis("axis", shape.len())?;
        if site.input(1).is_none() {
            if site.int("keepdims") == Some(0) {
                shape.remove(axis);
            } else {
                shape[axis] = Dim::Known(1);
            }
            return Some(shape);
        }
        let part = match site.small(1) {
            Some(split) if split.dims.is_empty() => {
                let (part, length) = (split.items.first()?.as_int(), shape[axis].known());
                part.zip(length)
                    .filter(|&(part, length)| part > 0 && length as i64 % part == 0)
                    .map(|(part, _)| Dim::Known(part))
            }
            Some(split) => {
                let first =
                    split.items.first().filter(|first| split.items.iter().all(|x| x == *first));
                first.map(|first| first.as_dim())
            }
            None => None,
        };
        shape[axis] = part.unwrap_or(Dim::Unknown);
        Some(shape)
    };
    let element = TensorType { dtype: tensor.dtype, shape: shape(), denotation: None };
    Some(sequence(Some(Type::Tensor(element))))
}

fn concat(site: &Site<'_>) -> Option<Type> {
    let Type::Tensor(tensor) = element(site.ty(0))? else { return None };
    let shape = tensor.shape.and_then(|mut shape| {
        if site.flag("new_axis") {
            let axis = site.axis("axis", shape.len() + 1)?;
            shape.insert(axis, Dim::Unknown);
        } else {
            let axis = site.axis("axis", shape.len())?;
            shape[axis] = Dim::Unknown;
        }
        Some(shape)
    });
    Some(Type::Tensor(TensorType { dtype: tensor.dtype, shape, denotation: None }))
}
