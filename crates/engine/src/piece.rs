use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{DType, Graph, Kind, Node, NodeId, Tensor, ValueId};

use crate::EngineError;
use crate::error::node_name;

/// The part of a graph that computes some values from others: its own numbering of values, its nodes
/// in the order in which they run.
pub(crate) struct Piece {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) feeds: Vec<usize>,
    pub(crate) fetches: Vec<usize>,
}

/// A value of a piece.
pub(crate) struct Value {
    pub(crate) id: ValueId,
    pub(crate) name: String,
    /// The element type that the graph declares or that follows from it.
    pub(crate) dtype: Option<DType>,
    pub(crate) rank: Option<usize>,
    /// The whole type, where an engine asks for it.
    #[cfg(feature = "ort")]
    pub(crate) declared: Option<marquetry_ir::Type>,
    /// What it always is, unless it is fed.
    pub(crate) constant: Option<Tensor>,
}

/// A node of a piece.
pub(crate) struct Step {
    pub(crate) node: NodeId,
    /// The node's name, or that of its first output.
    pub(crate) name: String,
    pub(crate) content: Node,
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Option<usize>>,
    pub(crate) outputs: Vec<Option<usize>>,
    /// Values that its bodies read by name.
    pub(crate) captures: Vec<usize>,
    /// What follows for the values of its bodies.
    pub(crate) bodies: Vec<Types>,
}

impl Step {
    /// Everything it reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = usize> + '_ {
        self.inputs.iter().flatten().chain(&self.captures).copied()
    }
}

impl Piece {
    /// The nodes that `fetches` need, up to `feeds` and constants.
    pub(crate) fn cut(
        graph: &Graph,
        types: &Types,
        feeds: &[ValueId],
        fetches: &[ValueId],
    ) -> Result<Self, EngineError> {
        let mut numbering =
            Numbering { graph, types, numbers: BTreeMap::new(), values: Vec::new() };
        for &feed in feeds {
            let number = numbering.number(feed);
            numbering.values[number].constant = None;
        }
        let fed: BTreeSet<ValueId> = feeds.iter().copied().collect();
        let nodes = needed(graph, &fed, fetches)?;
        let mut steps = Vec::with_capacity(nodes.len());
        for node in in_order(graph, &fed, &nodes)? {
            let (content, read) = reading(graph, node);
            let number = |value: Option<ValueId>, numbering: &mut Numbering<'_>| {
                value.map(|value| numbering.number(value))
            };
            let inputs = read.into_iter();
            let inputs = inputs.map(|value| number(value, &mut numbering)).collect();
            let outputs = graph.outputs(node).into_iter();
            let outputs = outputs.map(|value| number(value, &mut numbering)).collect();
            let captures = graph.captures(node).into_iter();
            steps.push(Step {
                node,
                name: node_name(graph, node),
                opset: graph.opsets.version(&content.domain).unwrap_or(0),
                inputs,
                outputs,
                captures: captures.map(|value| numbering.number(value)).collect(),
                bodies: (0..content.bodies().count())
                    .map(|body| types.body(node, body).cloned().unwrap_or_default())
                    .collect(),
                content,
            });
        }
        let feeds = feeds.iter().map(|&value| numbering.number(value)).collect();
        let fetches = fetches.iter().map(|&value| numbering.number(value)).collect();
        Ok(Self { values: numbering.values, steps, feeds, fetches })
    }

    /// The types of tensors that are fed: those of the graph where they are compatible with the tensors'.
    pub(crate) fn fed_types(&self, inputs: &[Tensor]) -> Result<Vec<DType>, EngineError> {
        if inputs.len() != self.feeds.len() {
            let (expected, found) = (self.feeds.len(), inputs.len());
            return Err(EngineError::Inputs { expected, found });
        }
        let fed = self.feeds.iter().zip(inputs).map(|(&feed, input)| {
            let value = &self.values[feed];
            let half = |dtype| matches!(dtype, DType::Float16 | DType::BFloat16);
            match value.dtype {
                Some(dtype) if dtype == input.dtype() => Ok(dtype),
                Some(dtype) if half(dtype) && input.dtype() == DType::Float => Ok(dtype),
                None => Ok(input.dtype()),
                Some(dtype) => Err(EngineError::Type {
                    value: value.name.clone(),
                    expected: dtype.to_string(),
                    found: input.dtype().to_string(),
                }),
            }
        });
        fed.collect()
    }
}

/// The domain of operators that stand for several nodes.
pub(crate) const OURS: &str = "ai.marquetry";

/// What a node does and reads. An element of a split sequence is one part of what is split: sequences
/// are no tensors, and need not flow.
fn reading(graph: &Graph, node: NodeId) -> (Node, Vec<Option<ValueId>>) {
    let (content, inputs) = (graph.node(node), graph.inputs(node));
    let sequence = || {
        let &[Some(sequence), position] = inputs.as_slice() else { return None };
        let (split, _) = graph.producer(sequence)?;
        graph.node(split).is_onnx("SplitToSequence").then_some((split, position))
    };
    if content.is_onnx("SequenceAt")
        && let Some((split, position)) = sequence()
    {
        let mut part = Node::new(OURS, "SplitAt");
        part.name = content.name.clone();
        part.attributes = graph.node(split).attributes.clone();
        return (part, vec![graph.input(split, 0), graph.input(split, 1), position]);
    }
    (content.clone(), inputs)
}

/// The values that a node reads where it runs, of bodies too: an element of a split sequence reads what is
/// split, because sequences do not flow.
pub fn reads(graph: &Graph, node: NodeId) -> Vec<ValueId> {
    reading(graph, node).1.into_iter().flatten().chain(graph.captures(node)).collect()
}

struct Numbering<'a> {
    graph: &'a Graph,
    types: &'a Types,
    numbers: BTreeMap<ValueId, usize>,
    values: Vec<Value>,
}

impl Numbering<'_> {
    fn number(&mut self, id: ValueId) -> usize {
        let values = &mut self.values;
        *self.numbers.entry(id).or_insert_with(|| {
            let value = self.graph.value(id);
            let constant = value.constant.clone();
            let declared = value.tensor_type();
            values.push(Value {
                id,
                name: value.name().to_owned(),
                dtype: constant
                    .as_ref()
                    .map(Tensor::dtype)
                    .or_else(|| self.types.dtype(id))
                    .or_else(|| declared?.dtype),
                rank: constant
                    .as_ref()
                    .map(|constant| constant.dims().len())
                    .or_else(|| self.types.rank(id)),
                #[cfg(feature = "ort")]
                declared: None,
                constant,
            });
            values.len() - 1
        })
    }
}

/// The nodes that `fetches` depend on, found by walking up from them.
fn needed(
    graph: &Graph,
    fed: &BTreeSet<ValueId>,
    fetches: &[ValueId],
) -> Result<BTreeSet<NodeId>, EngineError> {
    let mut nodes = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for &fetch in fetches {
        let mut open = vec![fetch];
        while let Some(value) = open.pop() {
            if fed.contains(&value) || !seen.insert(value) {
                continue;
            }
            if let Some((node, _)) = graph.producer(value) {
                if nodes.insert(node) {
                    open.extend(reads(graph, node));
                }
                continue;
            }
            if graph.value(value).constant.is_none() {
                return Err(EngineError::NotFed {
                    value: graph.value(fetch).name().to_owned(),
                    missing: graph.value(value).name().to_owned(),
                });
            }
        }
    }
    Ok(nodes)
}

/// Nodes in topological order, ties by id, as [`Graph::order`] gives for the whole graph.
fn in_order(
    graph: &Graph,
    fed: &BTreeSet<ValueId>,
    nodes: &BTreeSet<NodeId>,
) -> Result<Vec<NodeId>, EngineError> {
    let mut waiting: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut readers: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for &node in nodes {
        let inputs = reading(graph, node).1.into_iter().flatten();
        let reads = inputs.chain(graph.captures(node));
        let producers: BTreeSet<NodeId> = reads
            .filter(|value| !fed.contains(value))
            .filter_map(|value| graph.producer(value).map(|(producer, _)| producer))
            .collect();
        waiting.insert(node, producers.len());
        for producer in producers {
            readers.entry(producer).or_default().push(node);
        }
    }
    let mut ready: BTreeSet<NodeId> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for reader in readers.get(&node).into_iter().flatten() {
            let count = waiting.get_mut(reader).expect("every reader is counted");
            *count -= 1;
            if *count == 0 {
                ready.insert(*reader);
            }
        }
    }
    match waiting.iter().find(|(_, count)| **count > 0) {
        None => Ok(order),
        Some((&node, _)) => Err(EngineError::Cycle { name: node_name(graph, node) }),
    }
}

/// Values that a body reads from a graph around it, in order of id.
pub(crate) fn captured(body: &Graph) -> Vec<ValueId> {
    let open = body.values().filter(|&id| {
        let value = body.value(id);
        match value.kind {
            Kind::Captured => true,
            Kind::Computed => body.producer(id).is_none(),
            Kind::Input | Kind::Initializer => false,
        }
    });
    open.collect()
}
