//! Types and declarations: `TypeProto` to [`Type`] and back.

use std::sync::Arc;

use super::model::text;
use super::proto::{self, DimensionValue, TypeValue};
use crate::{DType, Denotation, Dim, TensorType, Type};

/// The type that a message means.
pub(super) fn read(wire: proto::Type) -> Type {
    let denotation = wire.denotation.map(String::into_boxed_str);
    let inner = |element: Option<Box<proto::Type>>| element.map(|element| Box::new(read(*element)));
    match wire.value {
        Some(TypeValue::Tensor(tensor)) => {
            Type::Tensor(read_tensor(tensor.elem_type, tensor.shape, denotation))
        }
        Some(TypeValue::SparseTensor(tensor)) => {
            Type::Sparse(read_tensor(tensor.elem_type, tensor.shape, denotation))
        }
        Some(TypeValue::Sequence(sequence)) => {
            Type::Sequence { element: inner(sequence.elem_type), denotation }
        }
        Some(TypeValue::Optional(optional)) => {
            Type::Optional { element: inner(optional.elem_type), denotation }
        }
        Some(TypeValue::Map(map)) => Type::Map {
            key: DType::from_number(map.key_type.unwrap_or(0)),
            value: inner(map.value_type),
            denotation,
        },
        Some(TypeValue::Opaque(opaque)) => Type::Opaque {
            domain: opaque.domain.unwrap_or_default(),
            name: opaque.name.unwrap_or_default(),
            denotation,
        },
        None => Type::Unspecified { denotation },
    }
}

/// The message for a type.
pub(super) fn write(ty: &Type) -> proto::Type {
    let inner =
        |element: &Option<Box<Type>>| element.as_ref().map(|element| Box::new(write(element)));
    let (value, denotation) = match ty {
        Type::Tensor(tensor) => {
            let (elem_type, shape, denotation) = write_tensor(tensor);
            (Some(TypeValue::Tensor(proto::TensorType { elem_type, shape })), denotation)
        }
        Type::Sparse(tensor) => {
            let (elem_type, shape, denotation) = write_tensor(tensor);
            let tensor = proto::SparseTensorType { elem_type, shape };
            (Some(TypeValue::SparseTensor(tensor)), denotation)
        }
        Type::Sequence { element, denotation } => {
            let sequence = proto::SequenceType { elem_type: inner(element) };
            (Some(TypeValue::Sequence(sequence)), denotation.clone())
        }
        Type::Optional { element, denotation } => {
            let optional = proto::OptionalType { elem_type: inner(element) };
            (Some(TypeValue::Optional(optional)), denotation.clone())
        }
        Type::Map { key, value, denotation } => {
            let key_type = Some(key.number()).filter(|&number| number != 0);
            let map = proto::MapType { key_type, value_type: inner(value) };
            (Some(TypeValue::Map(map)), denotation.clone())
        }
        Type::Opaque { domain, name, denotation } => {
            let opaque = proto::OpaqueType { domain: text(domain), name: text(name) };
            (Some(TypeValue::Opaque(opaque)), denotation.clone())
        }
        Type::Unspecified { denotation } => (None, denotation.clone()),
    };
    proto::Type { value, denotation: denotation.map(String::from) }
}

fn read_tensor(
    elem_type: Option<i32>,
    shape: Option<proto::Shape>,
    denotation: Option<Box<str>>,
) -> TensorType {
    let mut named = Denotation { tensor: denotation, axes: Vec::new() };
    let shape = shape.map(|shape| {
        if shape.dim.iter().any(|dim| dim.denotation.is_some()) {
            let axes = shape.dim.iter().map(|dim| dim.denotation.as_deref().map(Box::from));
            named.axes = axes.collect();
        }
        shape.dim.into_iter().map(read_dim).collect()
    });
    TensorType {
        dtype: elem_type.filter(|&number| number != 0).map(DType::from_number),
        shape,
        denotation: (named != Denotation::default()).then(|| Box::new(named)),
    }
}

fn read_dim(wire: proto::Dimension) -> Dim {
    match wire.value {
        Some(DimensionValue::DimValue(length)) => Dim::Known(length),
        Some(DimensionValue::DimParam(name)) => Dim::Symbol(Arc::from(name)),
        None => Dim::Unknown,
    }
}

fn write_tensor(tensor: &TensorType) -> (Option<i32>, Option<proto::Shape>, Option<Box<str>>) {
    let denotation = tensor.denotation.as_deref();
    let axis = |index: usize| Some(String::from(denotation?.axes.get(index)?.as_deref()?));
    let dimension = |(index, dim): (usize, &Dim)| proto::Dimension {
        value: match dim {
            Dim::Known(length) => Some(DimensionValue::DimValue(*length)),
            Dim::Symbol(name) => Some(DimensionValue::DimParam(name.to_string())),
            Dim::Unknown => None,
        },
        denotation: axis(index),
    };
    let shape = tensor
        .shape
        .as_ref()
        .map(|shape| proto::Shape { dim: shape.iter().enumerate().map(dimension).collect() });
    let named = denotation.and_then(|denotation| denotation.tensor.clone());
    (tensor.dtype.map(DType::number), shape, named)
}
