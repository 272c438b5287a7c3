use crate::{Attribute, Tensor};

/// One operator to run: what a node says, without the graph around it.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The domain; empty for ONNX's own.
    pub domain: &'a str,
    /// The operator.
    pub op_type: &'a str,
    /// The version of the domain's operator set it is written for.
    pub opset: i64,
    /// Its attributes as written, defaults left out.
    pub attributes: &'a [Attribute],
}

/// Runs single operators on tensors.
///
/// Constant folding and the verification of rules need this without knowing a runtime: whoever has
/// one implements it, and callers pass it in.
pub trait Evaluate {
    /// The outputs of one operator; `None` stands for an absent optional input.
    ///
    /// # Errors
    ///
    /// When the operator, its version, an attribute or a type cannot be run here, or the inputs do
    /// not fit it.
    fn evaluate(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError>;
}

/// Why an operator was not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// Nothing here knows how to run it.
    #[error("`{op_type}` of opset {opset} cannot be run here: {reason}")]
    Unsupported {
        /// The operator.
        op_type: String,
        /// The version of its operator set.
        opset: i64,
        /// What stands in the way.
        reason: String,
    },
    /// It was run and failed.
    #[error("`{op_type}` failed: {reason}")]
    Failed {
        /// The operator.
        op_type: String,
        /// What the runtime said.
        reason: String,
    },
}
