//! Element types of what nodes give, from what they are given.

use marquetry_ir::{AttributeValue, DType, schema};

use crate::piece::{Piece, Step};

/// The element type of every value of a piece, given those of the fed ones.
pub(crate) fn of(piece: &Piece, feeds: &[Option<DType>]) -> Vec<Option<DType>> {
    let mut types: Vec<Option<DType>> = vec![None; piece.values.len()];
    for (value, known) in piece.values.iter().zip(&mut types) {
        *known = value.constant.as_ref().map(|constant| constant.dtype());
    }
    for (&feed, &dtype) in piece.feeds.iter().zip(feeds) {
        types[feed] = dtype;
    }
    for step in &piece.steps {
        let inputs: Vec<Option<DType>> = step.inputs.iter().map(|input| types[(*input)?]).collect();
        for (slot, output) in step.outputs.iter().enumerate() {
            if let Some(output) = *output {
                types[output] = output_type(step, slot, &inputs).or(piece.values[output].dtype);
            }
        }
    }
    types
}

fn output_type(step: &Step, slot: usize, inputs: &[Option<DType>]) -> Option<DType> {
    let input = |slot: usize| inputs.get(slot).copied().flatten();
    let named = |attribute: &str| {
        let number = step.content.attribute(attribute)?.as_int()?;
        (number != 0).then(|| DType::from_number(number.try_into().unwrap_or(0)))
    };
    match step.content.op_type.as_str() {
        "Cast" | "BitCast" => named("to"),
        "CastLike" => input(1),
        "Constant" => match &step.content.attributes.first()?.value {
            AttributeValue::Tensor(tensor) => Some(tensor.dtype()),
            AttributeValue::Float(_) | AttributeValue::Floats(_) => Some(DType::Float),
            AttributeValue::Int(_) | AttributeValue::Ints(_) => Some(DType::Int64),
            _ => Some(DType::String),
        },
        "ConstantOfShape" => {
            let value = step.content.attribute("value").and_then(AttributeValue::as_tensor);
            Some(value.map_or(DType::Float, |value| value.dtype()))
        }
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => named("dtype").or(input(0)),
        "RandomNormal" | "RandomUniform" => named("dtype").or(Some(DType::Float)),
        "Multinomial" => named("dtype").or(Some(DType::Int32)),
        "QuantizeLinear" => input(2).or(named("output_dtype")).or(Some(DType::Uint8)),
        "DequantizeLinear" => named("output_dtype").or(input(1)),
        "If" | "Loop" | "Scan" => None,
        _ => by_schema(step, slot, inputs),
    }
}

fn by_schema(step: &Step, slot: usize, inputs: &[Option<DType>]) -> Option<DType> {
    let first = || inputs.first().copied().flatten();
    let Some(schema) = schema::lookup(&step.content.domain, &step.content.op_type, step.opset)
    else {
        return first();
    };
    let formal = schema.formal_output(slot)?;
    if let Some(only) = formal.types.only() {
        return Some(only);
    }
    let Some(variable) = formal.variable else { return first() };
    let same = |slot: usize| {
        schema.formal_input(slot).is_some_and(|formal| formal.variable == Some(variable))
    };
    let found = inputs.iter().enumerate().filter(|(slot, _)| same(*slot));
    found.map(|(_, dtype)| *dtype).next().unwrap_or_else(first)
}
