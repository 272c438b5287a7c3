use bytemuck::Pod;
use marquetry_ir::{AttributeValue, Operation, Tensor, TensorError};
use ndarray::{CowArray, IxDyn, ShapeError};

use crate::array;

/// An operator, what it is given, and how many outputs are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation<'a>,
    pub(crate) inputs: &'a [Option<Tensor>],
    /// The number of output slots of the node; `None` where there is no node.
    pub(crate) outputs: Option<usize>,
}

/// Why a native operator did not run.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not written for this.
    Unsupported(String),
    /// The operator does not allow it.
    Invalid(String),
}

impl Fault {
    pub(crate) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    pub(crate) fn dtype(tensor: &Tensor) -> Self {
        Self::Unsupported(format!("it is not written for elements of type `{}`", tensor.dtype()))
    }
}

impl From<ShapeError> for Fault {
    fn from(error: ShapeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<TensorError> for Fault {
    fn from(error: TensorError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// What a native operator gives back.
pub(crate) type Outputs = Result<Vec<Tensor>, Fault>;

impl<'a> Call<'a> {
    pub(crate) fn opset(&self) -> i64 {
        self.operation.opset
    }

    pub(crate) fn op(&self) -> &'a str {
        self.operation.op_type
    }

    pub(crate) fn optional(&self, slot: usize) -> Option<&'a Tensor> {
        self.inputs.get(slot)?.as_ref()
    }

    pub(crate) fn input(&self, slot: usize) -> Result<&'a Tensor, Fault> {
        self.optional(slot).ok_or_else(|| Fault::Invalid(format!("input {slot} is missing")))
    }

    pub(crate) fn array<T: Pod>(&self, slot: usize) -> Result<CowArray<'a, T, IxDyn>, Fault> {
        Ok(array::array(self.input(slot)?)?)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&'a AttributeValue> {
        let attributes = self.operation.attributes;
        attributes.iter().find(|attribute| attribute.name == name).map(|found| &found.value)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.as_int()
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name).map_or(default, |flag| flag != 0)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).and_then(AttributeValue::as_float).unwrap_or(default))
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name)?.as_ints()
    }

    pub(crate) fn str(&self, name: &str, default: &'a str) -> &'a str {
        self.attribute(name).and_then(AttributeValue::as_str).unwrap_or(default)
    }

    /// Integers that are an attribute in old opsets and an input in new ones.
    pub(crate) fn int_list(&self, name: &str, slot: usize) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(ints) = self.ints(name) {
            return Ok(Some(ints.to_vec()));
        }
        let Some(tensor) = self.optional(slot) else { return Ok(None) };
        tensor.to_i64s().map(Some).ok_or_else(|| Fault::dtype(tensor))
    }

    /// The axis that an attribute names, within `rank`.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, Fault> {
        axis(self.int(name).unwrap_or(default), rank)
    }
}

/// An axis counted from the front, given one that may be counted from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_front = if axis < 0 {
        i64::try_from(rank).ok().and_then(|rank| axis.checked_add(rank))
    } else {
        Some(axis)
    };
    let found = from_front.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    found.ok_or_else(|| Fault::Invalid(format!("axis {axis} is outside of rank {rank}")))
}

/// Axes counted from the front, in ascending order and without repetition.
pub(crate) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut found = axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::Invalid(format!("an axis is repeated in {axes:?}")));
    }
    Ok(found)
}

/// The shape that two shapes broadcast to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis])
    };
    let both = (0..rank).map(|axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => Ok(x),
        (1, y) => Ok(y),
        (x, 1) => Ok(x),
        _ => Err(Fault::Invalid(format!("shapes {a:?} and {b:?} do not broadcast"))),
    });
    both.collect()
}

/// The number of elements of a shape, where that many can be allocated at all.
pub(crate) fn count(dims: &[usize]) -> Result<usize, Fault> {
    // An honest graph does not ask one operator for 2^30 elements; a hostile one should not get them.
    const MOST: usize = 1 << 30;
    let product = if dims.contains(&0) {
        Some(0)
    } else {
        dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
    };
    product
        .filter(|&count| count <= MOST)
        .ok_or_else(|| Fault::Invalid(format!("a tensor of shape {dims:?} is too large")))
}

/// A length or position that an integer gives.
pub(crate) fn length(int: i64) -> Result<usize, Fault> {
    usize::try_from(int).map_err(|_| Fault::Invalid(format!("{int} is no length")))
}
