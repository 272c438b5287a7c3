//! Small tensors whose elements may be lengths of axes with a name: what shape arithmetic works on.

use std::sync::Arc;

use half::{bf16, f16};

use crate::{DType, Dim, Tensor};

/// Largest number of elements that inference computes with.
///
/// Shapes, axes and scales have a handful; beyond that it would be running the model.
pub(super) const LIMIT: usize = 256;

/// An element, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// An integer or a boolean.
    Int(i64),
    /// A float, rounded to the element type.
    Real(f64),
    /// The length of an axis with a name.
    Symbol(Arc<str>),
    /// Nothing is known.
    Unknown,
}

/// A tensor of at most [`LIMIT`] elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Small {
    pub(super) dtype: DType,
    pub(super) dims: Vec<usize>,
    pub(super) items: Vec<Item>,
}

impl Item {
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Real(_) | Self::Symbol(_) | Self::Unknown => None,
        }
    }

    pub(super) fn as_real(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Real(real) => Some(*real),
            Self::Symbol(_) | Self::Unknown => None,
        }
    }

    /// The length of an axis that this element says, where a negative number is no length.
    pub(super) fn as_dim(&self) -> Dim {
        match self {
            Self::Int(int) if *int >= 0 => Dim::Known(*int),
            Self::Symbol(name) => Dim::Symbol(Arc::clone(name)),
            Self::Int(_) | Self::Real(_) | Self::Unknown => Dim::Unknown,
        }
    }

    /// The element as `dtype` holds it: rounded, or unknown where it does not fit.
    pub(super) fn rounded(self, dtype: DType) -> Self {
        match self {
            Self::Int(int) if dtype.is_integer() || dtype == DType::Bool => {
                if fits(int, dtype) {
                    Self::Int(int)
                } else {
                    Self::Unknown
                }
            }
            Self::Int(int) if dtype.is_float() => Self::Real(int as f64).rounded(dtype),
            Self::Real(real) => match dtype {
                DType::Double => Self::Real(real),
                DType::Float => Self::Real(f64::from(real as f32)),
                DType::Float16 => Self::Real(f16::from_f64(real).to_f64()),
                DType::BFloat16 => Self::Real(bf16::from_f64(real).to_f64()),
                _ => Self::Unknown,
            },
            Self::Symbol(name) => Self::Symbol(name),
            Self::Int(_) | Self::Unknown => Self::Unknown,
        }
    }
}

impl From<&Dim> for Item {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Known(length) => Self::Int(*length),
            Dim::Symbol(name) => Self::Symbol(Arc::clone(name)),
            Dim::Unknown => Self::Unknown,
        }
    }
}

fn fits(int: i64, dtype: DType) -> bool {
    match dtype {
        DType::Int64 => true,
        DType::Int32 => i32::try_from(int).is_ok(),
        DType::Int16 => i16::try_from(int).is_ok(),
        DType::Int8 => i8::try_from(int).is_ok(),
        DType::Uint64 => int >= 0,
        DType::Uint32 => u32::try_from(int).is_ok(),
        DType::Uint16 => u16::try_from(int).is_ok(),
        DType::Uint8 => u8::try_from(int).is_ok(),
        DType::Bool => matches!(int, 0 | 1),
        _ => false,
    }
}

impl Small {
    /// Nothing where the shape asks for too many elements or for another number than given.
    pub(super) fn new(dtype: DType, dims: Vec<usize>, items: Vec<Item>) -> Option<Self> {
        (count(&dims)? == items.len()).then_some(Self { dtype, dims, items })
    }

    /// The elements of a constant, if they are few and numbers.
    pub(super) fn read(tensor: &Tensor) -> Option<Self> {
        count(tensor.dims())?;
        let items = if tensor.dtype().is_float() {
            tensor.to_f64s()?.into_iter().map(Item::Real).collect()
        } else {
            tensor.to_i64s()?.into_iter().map(Item::Int).collect()
        };
        Self::new(tensor.dtype(), tensor.dims().to_vec(), items)
    }

    /// The tensor, if every element is known.
    pub(super) fn tensor(&self) -> Option<Tensor> {
        let mut bytes = Vec::with_capacity(self.items.len() * 8);
        for item in &self.items {
            match self.dtype {
                DType::Float => bytes.extend((item.as_real()? as f32).to_le_bytes()),
                DType::Double => bytes.extend(item.as_real()?.to_le_bytes()),
                DType::Float16 => bytes.extend(f16::from_f64(item.as_real()?).to_le_bytes()),
                DType::BFloat16 => bytes.extend(bf16::from_f64(item.as_real()?).to_le_bytes()),
                dtype if fits(item.as_int()?, dtype) => {
                    let width = dtype.bits().map_or(0, |bits| bits as usize / 8);
                    bytes.extend(&item.as_int()?.to_le_bytes()[..width]);
                }
                _ => return None,
            }
        }
        Tensor::new(self.dtype, self.dims.clone(), bytes).ok()
    }

    /// The lengths that the elements say.
    pub(super) fn lengths(&self) -> Vec<Dim> {
        self.items.iter().map(Item::as_dim).collect()
    }

    /// The elements as integers, if all are.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        self.items.iter().map(Item::as_int).collect()
    }

    /// Each element changed, for a result of type `dtype`.
    pub(super) fn map(&self, dtype: DType, f: impl Fn(&Item) -> Item) -> Self {
        let items = self.items.iter().map(|item| f(item).rounded(dtype)).collect();
        Self { dtype, dims: self.dims.clone(), items }
    }

    /// The elements under another shape.
    pub(super) fn reshape(self, dims: Vec<usize>) -> Option<Self> {
        Self::new(self.dtype, dims, self.items)
    }

    /// Elements picked by `from`, which maps an index of the result to one of this.
    pub(super) fn pick(
        &self,
        dims: Vec<usize>,
        mut from: impl FnMut(&[usize]) -> Option<Vec<usize>>,
    ) -> Option<Self> {
        let mut items = Vec::with_capacity(count(&dims)?);
        for index in indices(&dims) {
            items.push(self.at(&from(&index)?)?.clone());
        }
        Self::new(self.dtype, dims, items)
    }

    /// The element at an index.
    pub(super) fn at(&self, index: &[usize]) -> Option<&Item> {
        let mut flat = 0;
        for (&at, &dim) in index.iter().zip(&self.dims) {
            flat = flat * dim + (at < dim).then_some(at)?;
        }
        self.items.get(flat)
    }

    /// The tensor repeated along axes of length 1, to the shape `dims`.
    pub(super) fn broadcast(&self, dims: &[usize]) -> Option<Self> {
        let skip = dims.len().checked_sub(self.dims.len())?;
        self.pick(dims.to_vec(), |index| {
            let axes = index[skip..].iter().zip(&self.dims);
            Some(axes.map(|(&at, &dim)| if dim == 1 { 0 } else { at }).collect())
        })
    }
}

/// The product of the lengths, if it is within [`LIMIT`].
pub(super) fn count(dims: &[usize]) -> Option<usize> {
    let product = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    product.filter(|&count| count <= LIMIT)
}

/// The shape that shapes broadcast to, if they do.
pub(super) fn broadcast<'a>(shapes: impl IntoIterator<Item = &'a [usize]>) -> Option<Vec<usize>> {
    let mut out: Vec<usize> = Vec::new();
    for shape in shapes {
        while out.len() < shape.len() {
            out.insert(0, 1);
        }
        let skip = out.len() - shape.len();
        for (longest, &dim) in out[skip..].iter_mut().zip(shape) {
            match (*longest, dim) {
                (a, b) if a == b => {}
                (1, b) => *longest = b,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Every index of a shape in C order. The shape must be within [`LIMIT`].
pub(super) fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let dims = dims.to_vec();
    (0..dims.iter().product()).map(move |flat: usize| {
        let mut rest = flat;
        let mut index = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            index[axis] = rest % dims[axis];
            rest /= dims[axis];
        }
        index
    })
}
