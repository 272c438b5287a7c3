//! Operators of ONNX Runtime that do the work of several standard ones: written as those.
//!
//! Source: the operator documentation of ONNX Runtime (`ContribOperators.md`).

use marquetry_ir::{Attribute, AttributeValue, Operation, Tensor};

use super::Fault;
use super::call::{Call, Outputs};
use super::number::{Number, numeric};
use super::{binary, contract, layout, norm, unary};
use crate::array::tensor;

/// Runs a standard operator in the place of `call`.
fn standard(
    run: fn(&Call<'_>) -> Outputs,
    call: &Call<'_>,
    attributes: &[Attribute],
    inputs: &[Option<Tensor>],
) -> Result<Tensor, Fault> {
    let operation = Operation { domain: "", attributes, ..call.operation };
    let outputs = run(&Call { operation, inputs, outputs: None })?;
    outputs.into_iter().next().ok_or_else(|| Fault::invalid("there is no result"))
}

fn sum(call: &Call<'_>, a: Tensor, b: Option<&Tensor>) -> Result<Tensor, Fault> {
    match b {
        Some(b) => standard(binary::add, call, &[], &[Some(a), Some(b.clone())]),
        None => Ok(a),
    }
}

/// Gelu(A + B)
pub(super) fn bias_gelu(call: &Call<'_>) -> Outputs {
    let x = sum(call, call.input(0)?.clone(), Some(call.input(1)?))?;
    Ok(vec![standard(unary::gelu_erf, call, &[], &[Some(x)])?])
}

/// The approximation of Gelu by tanh, of X + bias where there is one.
pub(super) fn fast_gelu(call: &Call<'_>) -> Outputs {
    let x = sum(call, call.input(0)?.clone(), call.optional(1))?;
    Ok(vec![standard(unary::gelu_tanh, call, &[], &[Some(x)])?])
}

/// alpha · A B, with the last two axes of either turned round first.
pub(super) fn fused_matmul(call: &Call<'_>) -> Outputs {
    if call.flag("transBatchA", false) || call.flag("transBatchB", false) {
        return Err(Fault::unsupported("it is not written for transposed batches"));
    }
    let side = |slot: usize, flag: &str| -> Result<Option<Tensor>, Fault> {
        let x = call.input(slot)?.clone();
        let rank = x.dims().len();
        if rank < 2 || !call.flag(flag, false) {
            return Ok(Some(x));
        }
        let mut order: Vec<i64> = (0i64..).take(rank).collect();
        order.swap(rank - 1, rank - 2);
        let perm = Attribute::new("perm", AttributeValue::Ints(order));
        standard(layout::transpose, call, &[perm], &[Some(x)]).map(Some)
    };
    let product = standard(contract::matmul, call, &[], &[side(0, "transA")?, side(1, "transB")?])?;
    let alpha = call.float("alpha", 1.0);
    numeric!(real &product, T => {
        let factor = tensor([], vec![<T as Number>::from_f64(alpha)])?;
        Ok(vec![standard(binary::mul, call, &[], &[Some(product.clone()), Some(factor)])?])
    })
}

/// The sum of the first two inputs and of the bias, which is normalized and also the last result.
fn skip(
    call: &Call<'_>,
    run: fn(&Call<'_>) -> Outputs,
    bias: usize,
    parameters: &[Option<Tensor>],
) -> Outputs {
    let x = sum(call, call.input(0)?.clone(), Some(call.input(1)?))?;
    let x = sum(call, x, call.optional(bias))?;
    let epsilon = call.float("epsilon", 1e-12) as f32;
    let attributes = [Attribute::new("epsilon", AttributeValue::Float(epsilon))];
    let inputs: Vec<_> = [Some(x.clone())].into_iter().chain(parameters.iter().cloned()).collect();
    let operation = Operation { domain: "", attributes: &attributes, ..call.operation };
    let mut outputs = run(&Call { operation, inputs: &inputs, outputs: None })?;
    if let [_, inverse] = outputs.as_slice() {
        // Nothing was subtracted: the mean is said to be 0.
        let none = vec![0.0_f32; inverse.len()];
        outputs.insert(1, tensor(inverse.dims(), none)?);
    }
    outputs.push(x);
    Ok(outputs)
}

pub(super) fn skip_layer_norm(call: &Call<'_>) -> Outputs {
    let parameters = [call.optional(2).cloned(), call.optional(3).cloned()];
    skip(call, norm::layer_norm, 4, &parameters)
}

pub(super) fn skip_rms_norm(call: &Call<'_>) -> Outputs {
    skip(call, norm::rms_norm, 3, &[call.optional(2).cloned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::lookup;

    fn run(
        op_type: &str,
        attributes: &[Attribute],
        inputs: &[(&[usize], &[f32])],
    ) -> Vec<(Vec<usize>, Vec<f64>)> {
        let inputs: Vec<_> =
            inputs.iter().map(|(dims, x)| tensor(*dims, x.to_vec()).ok()).collect();
        let operation = Operation { domain: "com.microsoft", op_type, opset: 1, attributes };
        let kernel = lookup("com.microsoft", op_type).unwrap();
        let outputs = kernel.run(&Call { operation, inputs: &inputs, outputs: None }).unwrap();
        outputs.iter().map(|x| (x.dims().to_vec(), x.to_f64s().unwrap())).collect()
    }

    fn near((dims, found): &(Vec<usize>, Vec<f64>), shape: &[usize], expected: &[f64]) {
        assert_eq!(dims, shape);
        assert_eq!(found.len(), expected.len());
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() < 2e-6, "{found:?} instead of {expected:?}");
        }
    }

    // What ONNX Runtime 1.32 computes of the same inputs.

    #[test]
    fn a_bias_comes_before_the_activation() {
        let x: &[f32] = &[1.125, 0.375, 0.0, -0.75, -0.625, -1.375];
        let found = run("BiasGelu", &[], &[(&[2, 3], x), (&[3], &[-1.375, -1.5, -1.0])]);
        let expected =
            [-0.10032342, -0.14658135, -0.15865526, -0.035685785, -0.035685785, -0.020839341];
        near(&found[0], &[2, 3], &expected);
        let x: &[f32] = &[1.0, 0.5, 1.25, 0.0, 0.375, 1.5];
        let found = run("FastGelu", &[], &[(&[2, 3], x), (&[3], &[0.75, 0.375, 0.125])]);
        let expected = [1.6797954, 0.70795274, 1.2584885, 0.5799606, 0.5799606, 1.540195];
        near(&found[0], &[2, 3], &expected);
    }

    #[test]
    fn factors_of_a_product_are_turned_round_and_scaled() {
        let attributes = [
            Attribute::new("transA", AttributeValue::Int(1)),
            Attribute::new("alpha", AttributeValue::Float(0.5)),
        ];
        let a: &[f32] = &[0.125, 1.375, -0.75, 1.0, 0.5, -1.5];
        let b: &[f32] = &[-0.375, 1.125, 0.125, -1.5, 0.875, 0.75];
        let found = run("FusedMatMul", &attributes, &[(&[3, 2], a), (&[3, 2], b)]);
        near(&found[0], &[2, 2], &[0.1484375, 0.8203125, -0.8515625, -0.5390625]);
        let attributes = [Attribute::new("transB", AttributeValue::Int(1))];
        let a: &[f32] = &[1.125, -1.0, -1.25, 1.125, -1.5, 0.125];
        let b: &[f32] = &[-1.25, -0.625, 0.0, -0.25, -0.25, -1.5];
        let found = run("FusedMatMul", &attributes, &[(&[2, 3], a), (&[2, 3], b)]);
        near(&found[0], &[2, 2], &[-0.78125, 1.84375, -0.46875, -0.09375]);
    }

    #[test]
    fn sums_are_normalized_and_given_back() {
        let epsilon = [Attribute::new("epsilon", AttributeValue::Float(1e-3))];
        let x: &[f32] = &[-1.5, -1.125, -1.5, 0.5, 0.125, 0.5, -0.75, 0.375];
        let skip: &[f32] = &[0.875, -0.375, -0.125, 1.5, 1.0, 1.5, -0.375, 0.625];
        let parameters: [(&[usize], &[f32]); 3] = [
            (&[4], &[1.375, 0.5, 1.125, 0.625]),
            (&[4], &[0.625, -0.375, 1.125, -1.125]),
            (&[4], &[0.25, 0.75, 1.125, 0.125]),
        ];
        let inputs = [&[(&[1, 2, 4][..], x), (&[1, 2, 4][..], skip)], &parameters[..]].concat();
        let found = run("SkipLayerNormalization", &epsilon, &inputs);
        let expected = [
            0.03385502,
            -0.75118315,
            0.5204199,
            -0.050190926,
            0.71279967,
            0.3593245,
            -0.38355792,
            -1.2447268,
        ];
        near(&found[0], &[1, 2, 4], &expected);
        near(&found[1], &[1, 2, 1], &[0.125, 1.3125]);
        near(&found[2], &[1, 2, 1], &[0.85984725, 1.0216689]);
        near(&found[3], &[1, 2, 4], &[-0.375, -0.75, -0.5, 2.125, 1.375, 2.75, 0.0, 1.125]);

        let x: &[f32] = &[-0.375, -0.625, -0.25, 0.0, 0.625, 1.25, -1.375, 1.375];
        let skip: &[f32] = &[0.125, -0.5, 0.5, 0.25, -0.75, -0.5, 0.625, 0.25];
        let scale: &[f32] = &[0.0, -0.5, 0.875, -0.375];
        let inputs = [(&[1, 2, 4][..], x), (&[1, 2, 4][..], skip), (&[4][..], scale)];
        let found = run("SkipSimplifiedLayerNormalization", &epsilon, &inputs);
        let expected =
            [-0.0, 0.9319747, 0.3624346, -0.15532911, -0.0, -0.38549078, -0.6746088, -0.6264225];
        near(&found[0], &[1, 2, 4], &expected);
        near(&found[1], &[1, 2, 1], &[0.0, 0.0]);
        near(&found[2], &[1, 2, 1], &[1.6568439, 1.0279753]);
        near(&found[3], &[1, 2, 4], &[-0.25, -1.125, 0.25, 0.25, -0.125, 0.75, -0.75, 1.625]);
    }
}
