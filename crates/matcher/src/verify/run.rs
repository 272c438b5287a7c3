//! Runs a small graph node by node, in its own types or in `double`.

use std::collections::BTreeMap;

use marquetry_ir::{
    AttributeValue, DType, Evaluate, EvaluateError, Graph, Kind, Operation, Tensor, ValueId,
};

use crate::generate::tensor;

/// Contents of the inputs of a graph.
pub(super) type Inputs = BTreeMap<ValueId, Tensor>;

/// The outputs of a graph on these inputs.
pub(super) fn run(
    graph: &Graph,
    evaluate: &dyn Evaluate,
    inputs: &Inputs,
) -> Result<Vec<Tensor>, EvaluateError> {
    run_then(graph, evaluate, inputs, &BTreeMap::new(), &mut |_, tensor| tensor)
}

/// The outputs in `double`, where casts still cut off what they do.
pub(super) fn run_wide(
    graph: &Graph,
    evaluate: &dyn Evaluate,
    inputs: &Inputs,
) -> Result<Vec<Tensor>, EvaluateError> {
    let mut wide = graph.clone();
    widen(&mut wide, evaluate);
    // What a cast is like is not known any more when all is wide.
    let mut types: BTreeMap<ValueId, DType> = BTreeMap::new();
    for (value, tensor) in inputs {
        types.insert(*value, tensor.dtype());
    }
    for value in graph.values() {
        if let Some(constant) = &graph.value(value).constant {
            types.insert(value, constant.dtype());
        }
    }
    run_then(graph, evaluate, inputs, &BTreeMap::new(), &mut |value, tensor| {
        types.extend(value.map(|value| (value, tensor.dtype())));
        tensor
    })?;
    let inputs = retyped_inputs(inputs, DType::Double, evaluate);
    run_then(&wide, evaluate, &inputs, &types, &mut |_, tensor| {
        converted(&tensor, DType::Double, evaluate)
    })
}

/// Makes all constants `double`, those of bodies included.
fn widen(graph: &mut Graph, evaluate: &dyn Evaluate) {
    let values: Vec<ValueId> = graph.values().collect();
    for value in values {
        let value = graph.value_mut(value);
        if let Some(constant) = &value.constant {
            value.constant = Some(converted(constant, DType::Double, evaluate));
        }
    }
    let nodes: Vec<_> = graph.nodes().collect();
    for node in nodes {
        for attribute in &mut graph.node_mut(node).attributes {
            if let AttributeValue::Graph(body) = &mut attribute.value {
                widen(body, evaluate);
            }
        }
    }
}

/// The outputs of a graph, where something is done to every result, and casts are to be like values
/// of these types. The results of bodies have no name outside of them.
fn run_then(
    graph: &Graph,
    evaluate: &dyn Evaluate,
    inputs: &Inputs,
    types: &BTreeMap<ValueId, DType>,
    then: &mut dyn FnMut(Option<ValueId>, Tensor) -> Tensor,
) -> Result<Vec<Tensor>, EvaluateError> {
    let failed = |node: &marquetry_ir::Node, reason: &str| EvaluateError::Unsupported {
        op_type: node.op_type.clone(),
        opset: graph.opsets.version(&node.domain).unwrap_or(0),
        reason: reason.to_owned(),
    };
    let mut known = inputs.clone();
    for id in graph.values() {
        let value = graph.value(id);
        if let (Kind::Initializer, Some(constant)) = (value.kind, &value.constant) {
            known.insert(id, constant.clone());
        }
    }
    for id in graph.order().unwrap_or_default() {
        let node = graph.node(id);
        let mut operands = Vec::new();
        for input in graph.inputs(id) {
            operands.push(match input {
                None => None,
                Some(value) => match known.get(&value) {
                    Some(tensor) => Some(tensor.clone()),
                    None => return Err(failed(node, "an input is not known")),
                },
            });
        }
        let outputs = graph.outputs(id);
        if node.is_onnx("If") {
            let condition = operands.first().cloned().flatten().and_then(|truth| truth.item());
            let name = if condition == Some(0.0) { "else_branch" } else { "then_branch" };
            let Some(body) = node.attribute(name).and_then(|it| it.graphs().first()) else {
                return Err(failed(node, "it has no such branch"));
            };
            let captured = body.values().filter(|id| body.value(*id).kind == Kind::Captured);
            let around = captured.filter_map(|id| {
                let outer = graph.find(body.value(id).name())?;
                Some((id, known.get(&outer)?.clone()))
            });
            let around: Inputs = around.collect();
            // Every result was done to inside.
            let inner = &mut |_: Option<ValueId>, tensor| then(None, tensor);
            let results = run_then(body, evaluate, &around, &BTreeMap::new(), inner)?;
            for (output, result) in outputs.into_iter().zip(results) {
                known.extend(output.map(|output| (output, then(Some(output), result))));
            }
            continue;
        }
        if node.bodies().next().is_some() {
            return Err(failed(node, "it holds graphs"));
        }
        let mut attributes = node.attributes.clone();
        let says = |name: &str| node.attribute(name).is_some();
        if node.is_onnx("Split") && operands.len() < 2 && !says("split") && !says("num_outputs") {
            // Elsewhere the number of results says it.
            let count = AttributeValue::Int(outputs.len() as i64);
            attributes.push(marquetry_ir::Attribute::new("num_outputs", count));
        }
        let second = graph.inputs(id).get(1).copied().flatten();
        let like = second.and_then(|like| types.get(&like)).filter(|_| node.is_onnx("CastLike"));
        if let Some(like) = like {
            let to = AttributeValue::Int(like.number().into());
            attributes = vec![marquetry_ir::Attribute::new("to", to)];
            operands.truncate(1);
        }
        let operation = Operation {
            domain: &node.domain,
            op_type: if like.is_some() { "Cast" } else { &node.op_type },
            opset: graph.opsets.version(&node.domain).unwrap_or(1),
            attributes: &attributes,
        };
        let results = evaluate.evaluate(operation, &operands)?;
        for (output, result) in outputs.into_iter().zip(results) {
            if let Some(output) = output {
                known.insert(output, then(Some(output), result));
            }
        }
    }
    let outputs = graph.outputs.iter().map(|output| known.get(output).cloned());
    outputs.collect::<Option<Vec<_>>>().ok_or_else(|| EvaluateError::Failed {
        op_type: graph.name.clone(),
        reason: "an output is not computed".to_owned(),
    })
}

/// The same graph with all floats in another type.
pub(super) fn retyped(graph: &Graph, to: DType, evaluate: &dyn Evaluate) -> Graph {
    let mut graph = graph.clone();
    let values: Vec<ValueId> = graph.values().collect();
    for value in values {
        let value = graph.value_mut(value);
        if let Some(constant) = &value.constant {
            value.constant = Some(converted(constant, to, evaluate));
        }
    }
    let nodes: Vec<_> = graph.nodes().collect();
    for node in nodes {
        for attribute in &mut graph.node_mut(node).attributes {
            match &mut attribute.value {
                AttributeValue::Int(number)
                    if matches!(attribute.name.as_str(), "to" | "dtype" | "output_dtype") =>
                {
                    let dtype = i32::try_from(*number).map(DType::from_number);
                    if dtype.is_ok_and(is_float) {
                        *number = to.number().into();
                    }
                }
                AttributeValue::Tensor(tensor) => *tensor = converted(tensor, to, evaluate),
                AttributeValue::Graph(body) => **body = retyped(body, to, evaluate),
                _ => {}
            }
        }
    }
    graph
}

/// The same inputs with all floats in another type.
pub(super) fn retyped_inputs(inputs: &Inputs, to: DType, evaluate: &dyn Evaluate) -> Inputs {
    inputs.iter().map(|(value, tensor)| (*value, converted(tensor, to, evaluate))).collect()
}

/// Types that operators compute in.
fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::Float | DType::Float16 | DType::BFloat16 | DType::Double)
}

fn converted(given: &Tensor, to: DType, evaluate: &dyn Evaluate) -> Tensor {
    let numbers = is_float(given.dtype()).then(|| given.to_f64s()).flatten();
    let made = numbers.and_then(|numbers| tensor(evaluate, to, given.dims(), &numbers));
    made.unwrap_or_else(|| given.clone())
}
