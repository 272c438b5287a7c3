//! What inference knows of the elements of a value.

use std::sync::OnceLock;

use half::{bf16, f16};

use super::small::Small;
use crate::{DType, Dim, Tensor};

/// Most bytes that a lazily folded constant may take. A hostile file can ask for any number.
const MATERIALIZED: u64 = 1 << 28;

/// Known elements of a value.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// Whether it is a constant of the file, rather than one that follows from shapes.
    pub(super) constant: bool,
    pub(super) form: Form,
}

/// How the elements are known.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// All of them.
    Tensor(Tensor),
    /// All of them, computed when somebody asks.
    Lazy(Box<Lazy>),
    /// Some of them.
    Small(Small),
}

/// A large constant that is computed when somebody asks.
#[derive(Clone, Debug)]
pub(super) struct Lazy {
    recipe: Recipe,
    dims: Vec<usize>,
    result: OnceLock<Option<Tensor>>,
}

#[derive(Clone, Debug)]
enum Recipe {
    Cast { from: Tensor, to: DType },
    Fill { with: Tensor },
}

impl Content {
    pub(super) fn new(constant: bool, small: Small) -> Self {
        let form = small.tensor().map_or(Form::Small(small), Form::Tensor);
        Self { constant, form }
    }

    /// Element type and shape.
    pub(super) fn shape(&self) -> Option<(DType, Vec<Dim>)> {
        let (dtype, dims) = match &self.form {
            Form::Tensor(tensor) => (tensor.dtype(), tensor.dims()),
            Form::Lazy(_) => return None,
            Form::Small(small) => (small.dtype, small.dims.as_slice()),
        };
        Some((dtype, dims.iter().map(|&dim| Dim::from(dim)).collect()))
    }

    /// All elements, computed now if they were not before.
    pub(super) fn tensor(&self) -> Option<&Tensor> {
        match &self.form {
            Form::Tensor(tensor) => Some(tensor),
            Form::Lazy(lazy) => lazy.get(),
            Form::Small(_) => None,
        }
    }

    /// The elements as far as they are known, if they are few.
    pub(super) fn small(&self) -> Option<Small> {
        match &self.form {
            Form::Tensor(tensor) => Small::read(tensor),
            Form::Lazy(_) => None,
            Form::Small(small) => Some(small.clone()),
        }
    }
}

impl Lazy {
    /// The elements of `from` as another type.
    pub(super) fn cast(from: Tensor, to: DType) -> Self {
        let dims = from.dims().to_vec();
        Self { recipe: Recipe::Cast { from, to }, dims, result: OnceLock::new() }
    }

    /// The only element of `with`, everywhere.
    pub(super) fn fill(with: Tensor, dims: Vec<usize>) -> Self {
        Self { recipe: Recipe::Fill { with }, dims, result: OnceLock::new() }
    }

    /// The same elements under another shape.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Self {
        Self { recipe: self.recipe.clone(), dims, result: OnceLock::new() }
    }

    fn get(&self) -> Option<&Tensor> {
        self.result.get_or_init(|| self.compute()).as_ref()
    }

    fn compute(&self) -> Option<Tensor> {
        let mut dims = self.dims.iter().map(|&dim| dim as u64);
        let elements = dims.try_fold(1_u64, u64::checked_mul)?;
        let dtype = match &self.recipe {
            Recipe::Cast { to, .. } => *to,
            Recipe::Fill { with } => with.dtype(),
        };
        dtype.size_of(elements).filter(|&size| size <= MATERIALIZED)?;
        match &self.recipe {
            Recipe::Cast { from, to } => cast(from, *to)?.reshape(self.dims.clone()).ok(),
            Recipe::Fill { with } => {
                let bytes = with.bytes().repeat(usize::try_from(elements).ok()?);
                Tensor::new(dtype, self.dims.clone(), bytes).ok()
            }
        }
    }
}

/// The elements as another type; nothing for types that are not plain numbers.
fn cast(from: &Tensor, to: DType) -> Option<Tensor> {
    if from.dtype() == to {
        return Some(from.clone());
    }
    if from.dtype().is_float() {
        let reals = from.to_f64s()?;
        let bytes: Vec<u8> = match to {
            DType::Float => reals.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            DType::Double => reals.iter().flat_map(|&x| x.to_le_bytes()).collect(),
            DType::Float16 => reals.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes()).collect(),
            DType::BFloat16 => {
                reals.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes()).collect()
            }
            DType::Bool => reals.iter().map(|&x| u8::from(x != 0.0)).collect(),
            // What a float beyond the range becomes is not defined.
            DType::Int64 => reals.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
            DType::Int32 => reals.iter().flat_map(|&x| (x as i32).to_le_bytes()).collect(),
            _ => return None,
        };
        return Tensor::new(to, from.dims(), bytes).ok();
    }
    let ints = from.to_i64s()?;
    let bytes: Vec<u8> = match to {
        DType::Float => ints.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        DType::Double => ints.iter().flat_map(|&x| (x as f64).to_le_bytes()).collect(),
        DType::Float16 => {
            ints.iter().flat_map(|&x| f16::from_f64(x as f64).to_le_bytes()).collect()
        }
        DType::BFloat16 => {
            ints.iter().flat_map(|&x| bf16::from_f64(x as f64).to_le_bytes()).collect()
        }
        DType::Bool => ints.iter().map(|&x| u8::from(x != 0)).collect(),
        DType::Int64 | DType::Uint64 => ints.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::Int32 | DType::Uint32 => {
            ints.iter().flat_map(|x| x.to_le_bytes().into_iter().take(4)).collect()
        }
        DType::Int16 | DType::Uint16 => {
            ints.iter().flat_map(|x| x.to_le_bytes().into_iter().take(2)).collect()
        }
        DType::Int8 | DType::Uint8 => ints.iter().map(|x| x.to_le_bytes()[0]).collect(),
        _ => return None,
    };
    Tensor::new(to, from.dims(), bytes).ok()
}
