//! Operators of our own: exact where the embedded runtime is not, typed as ONNX types them, slow where
//! speed does not matter.
//!
//! They fold constants, verify rules, compute quantization, and stand in for what the runtime lacks.

mod attention;
mod binary;
mod call;
mod cast;
mod constant;
mod contract;
mod contrib;
mod conv;
mod conv_transpose;
mod direct;
mod gather;
mod index;
mod layout;
mod norm;
mod number;
mod pad;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod suppress;
mod table;
mod unary;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};

use marquetry_ir::{DType, Evaluate, EvaluateError, Operation, Tensor};

pub(crate) use call::{Call, Fault};
pub(crate) use cast::cast;
pub(crate) use direct::Direct;
pub(crate) use table::{Kernel, Types, lookup};

use crate::array::{narrowed, widened};

/// The native operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Evaluate for Native {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let unsupported = |reason: String| EvaluateError::Unsupported {
            op_type: operation.op_type.to_owned(),
            opset: operation.opset,
            reason,
        };
        let kernel = lookup(operation.domain, operation.op_type)
            .ok_or_else(|| unsupported("there is no native implementation of it".to_owned()))?;
        kernel.run(&Call { operation, inputs, outputs: None }).map_err(|fault| match fault {
            Fault::Unsupported(reason) => unsupported(reason),
            Fault::Invalid(reason) => {
                EvaluateError::Failed { op_type: operation.op_type.to_owned(), reason }
            }
        })
    }
}

impl Kernel {
    /// The outputs, in order, as many as the operator can give.
    pub(crate) fn run(&self, call: &Call<'_>) -> Result<Vec<Tensor>, Fault> {
        let half = |tensor: &Tensor| matches!(tensor.dtype(), DType::Float16 | DType::BFloat16);
        let narrow = call.inputs.iter().flatten().find(|tensor| half(tensor)).map(Tensor::dtype);
        match (self.types, narrow) {
            // No arithmetic is done in 16 bits: it is done in 32 and rounded.
            (Types::Arithmetic, Some(dtype)) => {
                let inputs: Vec<_> =
                    call.inputs.iter().map(|input| input.as_ref().map(widened)).collect();
                let outputs = self.guarded(&Call { inputs: &inputs, ..*call })?;
                Ok(outputs.into_iter().map(|tensor| narrowed(tensor, dtype)).collect())
            }
            _ => self.guarded(call),
        }
    }

    /// A panic is a defect of ours, but it must not end hours of work on a model's other nodes.
    fn guarded(&self, call: &Call<'_>) -> Result<Vec<Tensor>, Fault> {
        catch_unwind(AssertUnwindSafe(|| (self.run)(call)))
            .unwrap_or_else(|_| Err(Fault::invalid("it panicked, which is a defect to report")))
    }
}

#[cfg(test)]
mod tests;
