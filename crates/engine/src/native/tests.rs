use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use marquetry_ir::schema::{self, AttributeKind};
use marquetry_ir::{Attribute, AttributeValue, DType, Operation, Tensor};

use super::{Call, lookup};
use crate::array::tensor;

/// Tensors that fit few operators: empty, scalar, lengths and indices out of all bounds.
fn odd_tensors() -> Vec<Tensor> {
    let floats = |dims: &[usize]| {
        let count: usize = dims.iter().product();
        tensor(dims, (0..count).map(|x| x as f32 - 1.5).collect::<Vec<f32>>()).unwrap()
    };
    let ints = |elements: &[i64]| Tensor::from_i64s([elements.len()], elements).unwrap();
    vec![
        floats(&[]),
        floats(&[0]),
        floats(&[2, 3]),
        floats(&[1, 2, 0, 3]),
        floats(&[1, 2, 3, 3]),
        ints(&[1, 2, 3, 3]),
        ints(&[i64::MIN, i64::MAX, -1]),
        ints(&[1 << 40]),
        Tensor::new(DType::Int4, [3], vec![0x21, 0x0F]).unwrap(),
        Tensor::new(DType::Bool, [2, 3], vec![1, 0, 1, 1, 0, 0]).unwrap(),
        Tensor::strings([1], vec![b"text".to_vec().into()]).unwrap(),
    ]
}

fn odd_attributes(schema: &schema::Schema, value: i64) -> Vec<Attribute> {
    let attributes = schema.attributes.iter().filter_map(|attribute| {
        let value = match attribute.kind {
            AttributeKind::Int => AttributeValue::Int(value),
            AttributeKind::Ints => AttributeValue::Ints(vec![value, value]),
            AttributeKind::Float => AttributeValue::Float(value as f32),
            AttributeKind::Floats => AttributeValue::Floats(vec![value as f32; 4]),
            _ => return None,
        };
        Some(Attribute::new(attribute.name, value))
    });
    attributes.collect()
}

#[test]
fn nothing_that_does_not_fit_makes_an_operator_panic() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let tensors: Vec<Option<Tensor>> = odd_tensors().into_iter().map(Some).chain([None]).collect();
    let mut panics: BTreeMap<&str, String> = BTreeMap::new();
    for opset in [7, 28] {
        for op_type in schema::operators("", opset) {
            let Some(kernel) = lookup("", op_type) else { continue };
            let schema = schema::lookup("", op_type, opset).unwrap();
            let attributes = [
                Vec::new(),
                odd_attributes(schema, 1),
                odd_attributes(schema, -3),
                odd_attributes(schema, i64::MAX),
                odd_attributes(schema, i64::MIN),
            ];
            for attributes in &attributes {
                let operation = Operation { domain: "", op_type, opset, attributes };
                for x in &tensors {
                    for y in &tensors {
                        for z in &tensors {
                            let inputs = [x.clone(), y.clone(), z.clone(), y.clone(), z.clone()];
                            let call = Call { operation, inputs: &inputs, outputs: Some(2) };
                            let run = AssertUnwindSafe(|| drop((kernel.run)(&call)));
                            if let Err(panic) = catch_unwind(run) {
                                let said = panic.downcast_ref::<String>().cloned();
                                let said = said
                                    .or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
                                let dims = inputs
                                    .each_ref()
                                    .map(|x| x.as_ref().map(|x| (x.dtype(), x.dims().to_vec())));
                                panics.entry(op_type).or_insert_with(|| {
                                    format!(
                                        "{} on {dims:?} with {attributes:?}",
                                        said.unwrap_or_default()
                                    )
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(panics.is_empty(), "{panics:#?}");
}
