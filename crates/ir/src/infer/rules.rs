//! Element types and shapes, operator by operator.

use super::site::{Shape, Site};
use crate::{DType, Type};

/// Element types of the outputs.
pub(super) fn dtypes(site: &Site<'_>, count: usize) -> Vec<Option<DType>> {
    let generic = |slot| site.dtype_of(site.view.schema?.formal_output(slot)?);
    (0..count).map(generic).collect()
}

/// Shapes of the outputs.
pub(super) fn shapes(site: &Site<'_>, count: usize) -> Vec<Shape> {
    let mut shapes = vec![None; count];
    if site.view.schema.is_some_and(|schema| schema.facts.same_shape()) && count > 0 {
        shapes[0] = site.shape(0).map(<[_]>::to_vec);
    }
    shapes
}

/// Types of outputs that are no tensors.
pub(super) fn other_types(_site: &Site<'_>) -> Vec<Option<Type>> {
    Vec::new()
}
