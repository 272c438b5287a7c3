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
        let factor = tensor(&[], vec![<T as Number>::from_f64(alpha)])?;
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
    if outputs.len() == 1 {
        // For training only, and unset when ONNX Runtime runs inference: those of a layer norm.
        let statistics = norm::layer_norm(&Call { operation, inputs: &inputs, outputs: None })?;
        outputs.extend(statistics.into_iter().skip(1));
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
