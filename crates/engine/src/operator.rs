//! One operator in an engine, as a graph of its own.

use marquetry_ir::{EvaluateError, Graph, Node, Operation, Opsets, Tensor};

use crate::Engine;

/// The first output of an operator, which it must give for these inputs.
pub(crate) fn run(
    engine: &dyn Engine,
    operation: Operation<'_>,
    inputs: &[Option<Tensor>],
) -> Result<Vec<Tensor>, EvaluateError> {
    let failed = |reason: String| EvaluateError::Unsupported {
        op_type: operation.op_type.to_owned(),
        opset: operation.opset,
        reason,
    };
    let mut opsets = Opsets::default();
    opsets.set(operation.domain, operation.opset);
    let mut graph = Graph::new("operation", opsets);
    let mut node = Node::new(operation.domain, operation.op_type);
    node.attributes = operation.attributes.to_vec();
    let mut slots = Vec::new();
    for (slot, input) in inputs.iter().enumerate() {
        let name = format!("input {slot}");
        let value = input.as_ref().map(|tensor| graph.add_initializer(&name, tensor.clone()));
        slots.push(value.transpose().map_err(|error| failed(error.to_string()))?);
    }
    let output = graph.add_value("output", None).map_err(|error| failed(error.to_string()))?;
    graph.add_node(node, &slots, &[Some(output)]).map_err(|error| failed(error.to_string()))?;
    let program = engine.compile(&graph, &[], &[output]);
    program.and_then(|mut program| program.run(&[])).map_err(|error| failed(error.to_string()))
}
