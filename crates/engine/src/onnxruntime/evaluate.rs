//! Single operators: each is a graph of one node.

use marquetry_ir::{
    Dim, Evaluate, EvaluateError, Graph, Node, Operation, Opsets, Tensor, Type, schema,
};

use super::OnnxRuntime;
use crate::engine::Engine as _;
use crate::{EngineError, Native};

/// Runs single operators in ONNX Runtime, and natively what it does not have.
impl Evaluate for OnnxRuntime {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let op_type = || operation.op_type.to_owned();
        match self.operation(operation, inputs) {
            Ok(outputs) => Ok(outputs),
            Err(EngineError::Run { reason, .. }) => {
                Err(EvaluateError::Failed { op_type: op_type(), reason })
            }
            Err(error) => match Native.evaluate(operation, inputs) {
                Err(EvaluateError::Unsupported { .. }) => Err(EvaluateError::Unsupported {
                    op_type: op_type(),
                    opset: operation.opset,
                    reason: error.to_string(),
                }),
                native => native,
            },
        }
    }
}

impl OnnxRuntime {
    /// The first output of an operator.
    fn operation(
        &self,
        operation: Operation<'_>,
        inputs: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EngineError> {
        let fail = |reason: String| EngineError::Load {
            first: operation.op_type.to_owned(),
            last: operation.op_type.to_owned(),
            reason,
        };
        // How many outputs are wanted is not said; native operators give all that there are.
        let schema = schema::lookup(operation.domain, operation.op_type, operation.opset);
        if schema.is_none_or(|schema| schema.formal_output(1).is_some()) {
            return Err(fail("it may have several outputs".to_owned()));
        }
        let mut opsets = Opsets::default();
        opsets.set(operation.domain, operation.opset);
        if opsets.version("").is_none() {
            // What is handed over may have to be cast.
            opsets.set("", 21);
        }
        let mut graph = Graph::new("operation", opsets);
        let mut node = Node::new(operation.domain, operation.op_type);
        node.attributes = operation.attributes.to_vec();
        let made = |error: marquetry_ir::GraphError| fail(error.to_string());
        let (mut slots, mut feeds, mut fed) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, input) in inputs.iter().enumerate() {
            let Some(tensor) = input else {
                slots.push(None);
                continue;
            };
            let dims = tensor.dims().iter().map(|&dim| Dim::from(dim));
            let ty = Type::tensor(tensor.dtype(), dims);
            let value = graph.add_input(&format!("input {slot}"), Some(ty)).map_err(made)?;
            slots.push(Some(value));
            feeds.push(value);
            fed.push(tensor.clone());
        }
        let output = graph.add_value("output", None).map_err(made)?;
        graph.add_node(node, &slots, &[Some(output)]).map_err(made)?;
        self.compile(&graph, &feeds, &[output])?.run(&fed)
    }
}
