//! Tensors made from little or nothing.

use marquetry_ir::{AttributeValue, DType, Tensor};

use super::Fault;
use super::call::{Call, Outputs, count, length};
use super::cast::cast;
use super::number::{Number, numeric, sized};
use crate::array::{elements, tensor, tensor_as};

pub(super) fn constant(call: &Call<'_>) -> Outputs {
    let output = match call.operation.attributes.first().map(|attribute| &attribute.value) {
        Some(AttributeValue::Tensor(value)) => value.clone(),
        Some(AttributeValue::Float(value)) => tensor([], vec![*value])?,
        Some(AttributeValue::Floats(values)) => tensor([values.len()], values.clone())?,
        Some(AttributeValue::Int(value)) => tensor([], vec![*value])?,
        Some(AttributeValue::Ints(values)) => tensor([values.len()], values.clone())?,
        Some(AttributeValue::String(value)) => Tensor::strings([], vec![value.clone()])?,
        Some(AttributeValue::Strings(values)) => Tensor::strings([values.len()], values.clone())?,
        _ => return Err(Fault::unsupported("its value is neither a tensor nor a list")),
    };
    Ok(vec![output])
}

pub(super) fn constant_of_shape(call: &Call<'_>) -> Outputs {
    let asked = call.input(0)?;
    let asked = asked.to_i64s().ok_or_else(|| Fault::dtype(asked))?;
    let dims = asked.into_iter().map(length).collect::<Result<Vec<_>, _>>()?;
    let zero = tensor([1], vec![0.0_f32])?;
    let value = call.attribute("value").and_then(AttributeValue::as_tensor).unwrap_or(&zero);
    let count = count(&dims)?;
    sized!(value, T => {
        let &[fill] = &*elements::<T>(value) else {
            return Err(Fault::invalid("the value is no single element"));
        };
        Ok(vec![tensor_as(value.dtype(), dims.clone(), vec![fill; count])?])
    })
}

pub(super) fn range(call: &Call<'_>) -> Outputs {
    let (start, limit, step) = (call.input(0)?, call.input(1)?, call.input(2)?);
    if [limit.dtype(), step.dtype()] != [start.dtype(); 2] {
        return Err(Fault::invalid("bounds and step have several types"));
    }
    numeric!(start, T => {
        let scalar = |x: &Tensor| elements::<T>(x).first().copied().ok_or_else(|| Fault::invalid("a bound is empty"));
        let (start, limit, step) = (scalar(start)?, scalar(limit)?, scalar(step)?);
        let steps = ((limit.to_f64() - start.to_f64()) / step.to_f64()).ceil();
        if steps.is_nan() || steps > 1e12 {
            return Err(Fault::invalid("the range has no end"));
        }
        let steps = count(&[steps.max(0.0) as usize])?;
        let items = (0..steps).map(|at| {
            Number::add(start, Number::mul(<T as Number>::from_f64(at as f64), step))
        });
        let items: Vec<T> = items.collect();
        Ok(vec![tensor([items.len()], items)?])
    })
}

pub(super) fn eye_like(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let &[rows, columns] = x.dims() else {
        return Err(Fault::invalid("it takes a matrix"));
    };
    let k = call.int("k").unwrap_or(0);
    let dtype = match call.int("dtype") {
        None => x.dtype(),
        Some(number) => DType::from_number(number.try_into().unwrap_or(0)),
    };
    let on = |at: usize| (at % columns) as i64 - (at / columns) as i64 == k;
    let ones: Vec<f32> = (0..rows * columns).map(|at| f32::from(u8::from(on(at)))).collect();
    Ok(vec![cast(&tensor([rows, columns], ones)?, dtype)?])
}
