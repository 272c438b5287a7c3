//! Numbers and lists as tensors and attributes.

use marquetry_ir::schema::AttributeKind;
use marquetry_ir::{AttributeValue, DType, Tensor};

use super::Refusal;
use crate::datum::Datum;

/// A constant of a right side whose type follows from where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub(crate) content: Datum,
    /// As written; without it, that of the neighbours.
    pub(crate) dtype: Option<DType>,
    /// As written: filled with the number.
    pub(crate) dims: Option<Vec<usize>>,
    /// What it is called in refusals.
    pub(crate) what: String,
}

impl Literal {
    /// The type it has where nothing else decides.
    pub(crate) fn natural(&self) -> DType {
        match &self.content {
            Datum::Bool(_) => DType::Bool,
            Datum::Float(_) => DType::Float,
            Datum::List(items) if items.iter().any(|item| matches!(item, Datum::Float(_))) => {
                DType::Float
            }
            _ => DType::Int64,
        }
    }

    pub(crate) fn tensor(&self, dtype: DType) -> Result<Tensor, Refusal> {
        let wrong = || Refusal::WrongKind {
            what: self.what.clone(),
            wanted: format!("a `{dtype}` tensor"),
        };
        if open(&self.content) {
            return Err(Refusal::NotKnown { what: self.what.clone() });
        }
        let items = match &self.content {
            Datum::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let own = match &self.content {
            Datum::List(items) => vec![items.len()],
            _ => Vec::new(),
        };
        let dims = self.dims.clone().unwrap_or(own);
        let length = dims
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
            .filter(|length| *length <= MOST)
            .ok_or_else(wrong)?;
        let items = match items {
            [single] if length != 1 => vec![single.clone(); length],
            items => items.to_vec(),
        };
        if dtype.is_float() {
            let number = |item: &Datum| item.as_float().map(|float| float.number);
            let numbers: Option<Vec<f64>> = items.iter().map(number).collect();
            let made = Tensor::from_f64s(dtype, dims, &numbers.ok_or_else(wrong)?);
            return made.ok_or_else(wrong)?.map_err(|_| wrong());
        }
        let number = |item: &Datum| match item {
            Datum::Bool(truth) => Some(i64::from(*truth)),
            Datum::Dtype(dtype) => Some(i64::from(dtype.number())),
            item => item.as_int(),
        };
        let numbers: Option<Vec<i64>> = items.iter().map(number).collect();
        let numbers = numbers.ok_or_else(wrong)?;
        if dtype == DType::Int64 {
            return Tensor::from_i64s(dims, &numbers).map_err(|_| wrong());
        }
        let numbers: Vec<f64> = numbers.into_iter().map(|number| number as f64).collect();
        Tensor::from_f64s(dtype, dims, &numbers).ok_or_else(wrong)?.map_err(|_| wrong())
    }
}

/// Most elements of a constant that is written as a number.
const MOST: usize = 1 << 24;

/// Whether content depends on what is not known.
pub(crate) fn open(content: &Datum) -> bool {
    match content {
        Datum::Unknown | Datum::Unbound | Datum::Symbol(_) => true,
        Datum::List(items) => items.iter().any(open),
        _ => false,
    }
}

/// The content of an attribute, as its schema or, without one, the content itself says.
pub(crate) fn attribute(
    content: &Datum,
    kind: Option<AttributeKind>,
    what: &str,
) -> Result<AttributeValue, Refusal> {
    if open(content) {
        return Err(Refusal::NotKnown { what: what.to_owned() });
    }
    let kind = kind.unwrap_or_else(|| natural(content));
    let items = || content.as_list().map(<[Datum]>::to_vec).unwrap_or(vec![content.clone()]);
    let float = |item: &Datum| item.as_float().map(|float| float.number as f32);
    let int = |item: &Datum| match item {
        Datum::Dtype(dtype) => Some(i64::from(dtype.number())),
        Datum::Bool(truth) => Some(i64::from(*truth)),
        item => item.as_int(),
    };
    let text = |item: &Datum| match item {
        Datum::Text(text) => Some(text.clone().into_bytes().into()),
        _ => None,
    };
    let value = match kind {
        AttributeKind::Int => int(content).map(AttributeValue::Int),
        AttributeKind::Float => float(content).map(AttributeValue::Float),
        AttributeKind::String => text(content).map(AttributeValue::String),
        AttributeKind::Ints => {
            items().iter().map(int).collect::<Option<_>>().map(AttributeValue::Ints)
        }
        AttributeKind::Floats => {
            items().iter().map(float).collect::<Option<_>>().map(AttributeValue::Floats)
        }
        AttributeKind::Strings => {
            items().iter().map(text).collect::<Option<_>>().map(AttributeValue::Strings)
        }
        AttributeKind::Tensor => return tensor(content, what).map(AttributeValue::Tensor),
        _ => None,
    };
    value.ok_or_else(|| Refusal::WrongKind { what: what.to_owned(), wanted: format!("a {kind}") })
}

/// The tensor of an attribute, of the type that is written.
fn tensor(content: &Datum, what: &str) -> Result<Tensor, Refusal> {
    let Datum::Tensor(elements) = content else {
        let wanted = "a tensor, such as `float[1] {0}`".to_owned();
        return Err(Refusal::WrongKind { what: what.to_owned(), wanted });
    };
    let content = Datum::List(elements.items.clone());
    let dims = Some(elements.dims.clone());
    let literal = Literal { content, dtype: Some(elements.dtype), dims, what: what.to_owned() };
    literal.tensor(elements.dtype)
}

fn natural(content: &Datum) -> AttributeKind {
    match content {
        Datum::Tensor(_) => AttributeKind::Tensor,
        Datum::Float(_) => AttributeKind::Float,
        Datum::Text(_) => AttributeKind::String,
        Datum::List(items) if items.iter().any(|item| matches!(item, Datum::Float(_))) => {
            AttributeKind::Floats
        }
        Datum::List(items) if items.iter().any(|item| matches!(item, Datum::Text(_))) => {
            AttributeKind::Strings
        }
        Datum::List(_) => AttributeKind::Ints,
        _ => AttributeKind::Int,
    }
}
