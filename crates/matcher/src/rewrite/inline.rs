//! The reverse of outlining: the call of a function that stands for a pattern becomes its body.

use std::collections::BTreeMap;

use marquetry_ir::{Function, Graph, Kind, Node, NodeId, ValueId};

use super::outline::DOMAIN;
use super::refusal::Refusal;
use super::sketch::{Origin, Sketch};

/// Whether a node calls a function that was outlined from a pattern of this name.
pub(crate) fn calls(node: &Node, pattern: &str) -> bool {
    let rest = node.op_type.strip_prefix(pattern).filter(|_| node.domain == DOMAIN);
    rest.is_some_and(|rest| {
        let number = rest.strip_prefix('_').unwrap_or(rest);
        number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The body of a function at a call.
pub(crate) fn inline(graph: &Graph, call: NodeId, function: &Function) -> Result<Sketch, Refusal> {
    let body = &function.body;
    for opset in &body.opsets.0 {
        if graph.opsets.version(&opset.domain) != Some(opset.version) {
            return Err(Refusal::OtherOpset {
                function: function.name.clone(),
                domain: opset.domain.clone(),
                version: opset.version,
            });
        }
    }
    let mut sketch = Sketch::new(graph.opsets.clone());
    let mut placed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let operands = graph.inputs(call);
    for (at, &input) in body.inputs.iter().enumerate() {
        let Some(id) = operands.get(at).copied().flatten() else { continue };
        let ty = graph.value(id).ty.clone();
        let value = sketch.existing(Origin { id, row: None }, graph.value(id).name(), ty, None);
        placed.insert(input, value);
    }
    let results = graph.outputs(call);
    let stem = results.first().copied().flatten().map_or("", |id| graph.value(id).name());
    let order = body.order().map_err(|_| Refusal::NotWritten { what: "a cycle".to_owned() })?;
    for node in order {
        let outputs: Vec<ValueId> = body.outputs(node).into_iter().flatten().collect();
        let whole = outputs.len() == body.node(node).output_count();
        if !whole || !body.captures(node).is_empty() {
            return Err(Refusal::NotWritten { what: format!("`{}`", body.node(node).op_type) });
        }
        let inputs: Vec<Option<ValueId>> = body
            .inputs(node)
            .into_iter()
            .map(|input| input.and_then(|input| placed.get(&input).copied()))
            .collect();
        let names: Vec<String> =
            outputs.iter().map(|output| format!("{stem}_{}", body.value(*output).name())).collect();
        let made = sketch.node(body.node(node).clone(), &inputs, &names);
        placed.extend(outputs.into_iter().zip(made));
    }
    for (output, home) in body.outputs.iter().zip(results) {
        let Some(home) = home else { continue };
        debug_assert!(body.value(*output).kind != Kind::Initializer, "a function has none");
        let Some(made) = placed.get(output) else {
            return Err(Refusal::NotWritten { what: "an absent output".to_owned() });
        };
        sketch.outputs.push((home, *made));
    }
    sketch.prune();
    Ok(sketch)
}
