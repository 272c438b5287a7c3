//! How the axes of an array stand to those of an input.

use std::path::Path;

use marquetry_ir::{DType, Tensor};

use super::{Input, SampleError};
use crate::native;

/// What arrays must fit.
pub(super) struct Fit<'a> {
    pub(super) inputs: &'a [Input],
    pub(super) batch: usize,
}

/// How an array falls into runs.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    /// How many there are.
    pub(super) count: usize,
    /// Items along the first axis that one run takes.
    pub(super) items: usize,
    /// The shape of the tensor of one run.
    pub(super) dims: Vec<usize>,
    /// Items that are left over.
    pub(super) rest: usize,
}

impl Fit<'_> {
    /// How an array of this shape falls into runs of an input.
    pub(super) fn runs(&self, input: &Input, shape: &[usize]) -> Option<Runs> {
        let Some(declared) = &input.dims else {
            return self.along_first(shape, None);
        };
        let fits = |dims: &[usize], declared: &[Option<usize>]| {
            dims.len() == declared.len()
                && dims
                    .iter()
                    .zip(declared)
                    .all(|(&dim, declared)| declared.is_none_or(|length| length == dim))
        };
        if shape.len() == declared.len() {
            let Some(first) = declared.first() else {
                return Some(Runs { count: 1, items: 1, dims: Vec::new(), rest: 0 });
            };
            return fits(&shape[1..], &declared[1..]).then(|| self.along_first(shape, *first))?;
        }
        if shape.len() == declared.len() + 1 && fits(&shape[1..], declared) {
            // Whole inputs, stacked.
            return Some(Runs { count: shape[0], items: 1, dims: shape[1..].to_vec(), rest: 0 });
        }
        if shape.len() + 1 == declared.len()
            && fits(shape, &declared[1..])
            && declared[0].is_none_or(|first| first == 1)
        {
            // One sample without the axis along which samples lie.
            let dims = [&[1], shape].concat();
            return Some(Runs {
                count: 1,
                items: shape.first().copied().unwrap_or(1),
                dims,
                rest: 0,
            });
        }
        None
    }

    fn along_first(&self, shape: &[usize], fixed: Option<usize>) -> Option<Runs> {
        let (&total, rest) = shape.split_first()?;
        let items = fixed.unwrap_or(self.batch).max(1);
        // Fewer samples than fit one run are run together.
        let items = if fixed.is_none() { items.min(total.max(1)) } else { items };
        let dims = [&[items], rest].concat();
        Some(Runs { count: total / items, items, dims, rest: total % items })
    }
}

/// The tensor in the type of the input, where that loses nothing that matters.
pub(super) fn converted(
    path: &Path,
    array: &str,
    input: &Input,
    tensor: Tensor,
) -> Result<Tensor, SampleError> {
    let Some(dtype) = input.dtype.filter(|&dtype| dtype != tensor.dtype()) else {
        return Ok(tensor);
    };
    let refuse = || SampleError::Type {
        path: path.to_owned(),
        array: array.to_owned(),
        found: tensor.dtype().to_string(),
        expected: dtype.to_string(),
    };
    if !convertible(tensor.dtype(), dtype) {
        return Err(refuse());
    }
    let cast = native::cast(&tensor, dtype).map_err(|_| refuse())?;
    // Narrower integers take what fits them.
    if dtype.is_integer() && cast.to_i64s() != tensor.to_i64s() {
        return Err(refuse());
    }
    Ok(cast)
}

/// Whether elements of one type may stand for those of another: floats for floats, integers for
/// integers that hold them.
pub(super) fn convertible(from: DType, to: DType) -> bool {
    let whole = |dtype: DType| dtype.is_integer() || dtype == DType::Bool;
    (from.is_float() && to.is_float()) || (whole(from) && to.is_integer())
}
