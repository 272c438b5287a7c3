//! What is drawn of a graph: boxes, and values that flow between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Cycle, Graph, NodeId, Tensor, ValueId};
use marquetry_matcher::{Groups, PlaceId};

/// Constants and attributes that a box shows; the others are in its tip.
const LINES: usize = 4;

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Output,
    /// Multiplies by weights.
    Kernel,
    /// Applies to each element alone.
    Activation,
    Norm,
    /// Only moves elements.
    Movement,
    /// Rounds to integers, or comes back from them.
    Quantizer,
    Other,
    Group,
}

/// A node, a group, or an end of the graph.
#[derive(Debug)]
pub(super) struct Box {
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    /// What is shown where the pointer rests.
    pub(super) tip: String,
}

/// A value on its way from one box to others.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) from: usize,
    pub(super) to: Vec<usize>,
    pub(super) tip: String,
}

/// Which part of a graph is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    All,
    /// A node, and what is at most so many nodes away from it.
    Around(NodeId, u32),
}

/// Boxes in an order in which they can run, and flows that all go forward in it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) boxes: Vec<Box>,
    pub(super) flows: Vec<Flow>,
}

impl Scene {
    pub(super) fn of(
        graph: &Graph,
        types: &Types,
        groups: &Groups,
        piece: Piece,
    ) -> Result<Self, Cycle> {
        let shown = match piece {
            Piece::All => graph.nodes().collect(),
            Piece::Around(node, depth) => around(graph, node, depth),
        };
        // A constant is a line in the box of who reads it.
        let is_box = |node: &NodeId| shown.contains(node) && !graph.node(*node).is_onnx("Constant");
        let order: Vec<NodeId> = graph.order()?.into_iter().filter(is_box).collect();
        let together = contracted(graph, groups, &order);
        Ok(Builder { graph, types, groups, order, together }.scene())
    }
}

/// The nodes at most so many steps away, along values that are computed.
fn around(graph: &Graph, node: NodeId, depth: u32) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::from([node]);
    let mut waiting = VecDeque::from([(node, 0)]);
    while let Some((node, far)) = waiting.pop_front() {
        if far == depth {
            continue;
        }
        let before =
            inputs(graph, node).into_iter().filter_map(|value| Some(graph.producer(value)?.0));
        let results = graph.outputs(node).into_iter().flatten();
        let after = results.flat_map(|value| graph.uses(value)).map(|reader| reader.node);
        for next in before.chain(after).collect::<Vec<_>>() {
            if found.insert(next) {
                waiting.push_back((next, far + 1));
            }
        }
    }
    found
}

/// What a node reads, its bodies included.
fn inputs(graph: &Graph, node: NodeId) -> Vec<ValueId> {
    let direct = graph.inputs(node).into_iter().flatten();
    direct.chain(graph.captures(node)).collect()
}

/// The group that stands for a node, for the outermost groups that can be one box: those that nothing
/// leaves and enters again.
fn contracted(graph: &Graph, groups: &Groups, order: &[NodeId]) -> BTreeMap<NodeId, usize> {
    let position: BTreeMap<NodeId, usize> =
        order.iter().enumerate().map(|(at, node)| (*node, at)).collect();
    let mut together = BTreeMap::new();
    for group in groups.within(PlaceId::MAIN).filter(|group| group.parent.is_none()) {
        let nodes: BTreeSet<NodeId> = group.nodes.iter().copied().collect();
        let taken =
            nodes.iter().any(|node| together.contains_key(node) || !position.contains_key(node));
        if nodes.len() < 2 || taken {
            continue;
        }
        let last = nodes.iter().map(|node| position[node]).max().unwrap_or_default();
        // Whatever reads from the group, and so must come behind it; none of that may be read by it.
        let mut behind: BTreeSet<NodeId> = BTreeSet::new();
        let first = nodes.iter().map(|node| position[node]).min().unwrap_or_default();
        for node in &order[first..=last] {
            let from = |node: &NodeId| -> Vec<NodeId> {
                let values = inputs(graph, *node).into_iter();
                values.filter_map(|value| Some(graph.producer(value)?.0)).collect()
            };
            let read = from(node);
            if nodes.contains(node) {
                if read.iter().any(|from| behind.contains(from)) {
                    behind.insert(*node);
                }
            } else if read.iter().any(|from| nodes.contains(from) || behind.contains(from)) {
                behind.insert(*node);
            }
        }
        if behind.is_disjoint(&nodes) {
            let index = groups.groups.iter().position(|one| std::ptr::eq(one, group));
            let index = index.expect("a group is one of the groups");
            together.extend(nodes.into_iter().map(|node| (node, index)));
        }
    }
    together
}

struct Builder<'a> {
    graph: &'a Graph,
    types: &'a Types,
    groups: &'a Groups,
    order: Vec<NodeId>,
    together: BTreeMap<NodeId, usize>,
}

impl Builder<'_> {
    fn scene(&self) -> Scene {
        let mut boxes = Vec::new();
        let mut of_node: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut of_group: BTreeMap<usize, usize> = BTreeMap::new();
        let mut maker: BTreeMap<ValueId, usize> = BTreeMap::new();
        let read: BTreeSet<ValueId> =
            self.order.iter().flat_map(|node| inputs(self.graph, *node)).collect();
        for &input in &self.graph.inputs {
            if read.contains(&input) || self.graph.is_output(input) {
                maker.insert(input, boxes.len());
                boxes.push(self.end(Kind::Input, input));
            }
        }
        for &node in &self.order {
            let at = match self.together.get(&node) {
                Some(&group) => *of_group.entry(group).or_insert_with(|| {
                    boxes.push(self.group(group));
                    boxes.len() - 1
                }),
                None => {
                    boxes.push(self.node(node));
                    boxes.len() - 1
                }
            };
            of_node.insert(node, at);
            maker.extend(self.graph.outputs(node).into_iter().flatten().map(|value| (value, at)));
        }
        let mut readers: BTreeMap<ValueId, BTreeSet<usize>> = BTreeMap::new();
        for (&node, &at) in &of_node {
            for value in inputs(self.graph, node) {
                if maker.get(&value).is_some_and(|&from| from != at) {
                    readers.entry(value).or_default().insert(at);
                }
            }
        }
        for &output in &self.graph.outputs {
            if maker.contains_key(&output) {
                readers.entry(output).or_default().insert(boxes.len());
                boxes.push(self.end(Kind::Output, output));
            }
        }
        let flow = |(value, to): (ValueId, BTreeSet<usize>)| Flow {
            from: maker[&value],
            to: to.into_iter().collect(),
            tip: format!("{}: {}", self.graph.value(value).name(), self.type_of(value)),
        };
        let flows = readers.into_iter().map(flow).collect();
        Scene { boxes, flows }.sorted()
    }

    fn end(&self, kind: Kind, value: ValueId) -> Box {
        let name = self.graph.value(value).name();
        let ty = self.type_of(value);
        let word = if kind == Kind::Input { "input" } else { "output" };
        Box { kind, title: name.to_owned(), tip: format!("{word} {name}: {ty}"), lines: vec![ty] }
    }

    fn type_of(&self, value: ValueId) -> String {
        let stated = self.graph.value(value).ty.as_ref();
        self.types.ty(value).or(stated).map_or_else(|| "?".to_owned(), ToString::to_string)
    }

    fn group(&self, index: usize) -> Box {
        let group = &self.groups.groups[index];
        let mut operators: BTreeMap<&str, usize> = BTreeMap::new();
        for &node in &group.nodes {
            *operators.entry(&self.graph.node(node).op_type).or_default() += 1;
        }
        let counted = |(name, count): (&str, usize)| {
            if count == 1 { name.to_owned() } else { format!("{name} ×{count}") }
        };
        let operators: Vec<String> = operators.into_iter().map(counted).collect();
        let names: Vec<String> = group.nodes.iter().map(|&node| self.label(node)).collect();
        Box {
            kind: Kind::Group,
            title: group.pattern.clone(),
            lines: operators.chunks(3).take(LINES).map(|some| some.join(" ")).collect(),
            tip: format!("{} of {} nodes\n{}", group.pattern, group.nodes.len(), names.join("\n")),
        }
    }

    fn node(&self, node: NodeId) -> Box {
        let entry = self.graph.node(node);
        let title = match entry.domain.as_str() {
            "" | "ai.onnx" => entry.op_type.clone(),
            domain => format!("{domain}.{}", entry.op_type),
        };
        let constants = self.graph.inputs(node).into_iter().flatten().filter_map(|value| {
            let tensor = self.constant(value)?;
            Some(constant(self.graph.value(value).name(), tensor))
        });
        let attributes = entry.attributes.iter().map(|attribute| match &attribute.value {
            AttributeValue::Graph(body) => {
                format!("{}: {} nodes", attribute.name, body.nodes().count())
            }
            AttributeValue::Tensor(tensor) => constant(&attribute.name, tensor),
            value => format!("{} = {value}", attribute.name),
        });
        let all: Vec<String> = constants.chain(attributes).collect();
        let mut lines: Vec<String> = all.iter().take(LINES).cloned().collect();
        if all.len() > LINES {
            lines[LINES - 1] = format!("… {} more", all.len() + 1 - LINES);
        }
        let results = self.graph.outputs(node).into_iter().flatten();
        let results = results
            .map(|value| format!("→ {}: {}", self.graph.value(value).name(), self.type_of(value)));
        let tip = [format!("{title} {}", self.label(node))].into_iter().chain(all).chain(results);
        Box { kind: kind(&entry.op_type), title, lines, tip: tip.collect::<Vec<_>>().join("\n") }
    }

    /// The tensor, for an initializer and for what a `Constant` node gives.
    fn constant(&self, value: ValueId) -> Option<&Tensor> {
        if let Some(tensor) = &self.graph.value(value).constant {
            return Some(tensor);
        }
        let (node, _) = self.graph.producer(value)?;
        let node = self.graph.node(node);
        if !node.is_onnx("Constant") {
            return None;
        }
        node.attribute("value")?.as_tensor()
    }

    fn label(&self, node: NodeId) -> String {
        let name = &self.graph.node(node).name;
        if name.is_empty() { node.to_string() } else { name.clone() }
    }
}

impl Scene {
    /// With boxes in an order in which all flows go forward. A group stands where its first node was,
    /// and may have to wait for what its other nodes read.
    fn sorted(self) -> Self {
        let count = self.boxes.len();
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut waiting = vec![0_usize; count];
        for flow in &self.flows {
            for &to in &flow.to {
                after[flow.from].push(to);
                waiting[to] += 1;
            }
        }
        let mut ready: BTreeSet<usize> = (0..count).filter(|&at| waiting[at] == 0).collect();
        let mut place = vec![0_usize; count];
        let mut next = 0;
        while let Some(at) = ready.pop_first() {
            place[at] = next;
            next += 1;
            for &to in &after[at] {
                waiting[to] -= 1;
                if waiting[to] == 0 {
                    ready.insert(to);
                }
            }
        }
        debug_assert_eq!(next, count, "groups that would close a circle are not contracted");
        let mut boxes: Vec<(usize, Box)> =
            self.boxes.into_iter().enumerate().map(|(at, one)| (place[at], one)).collect();
        boxes.sort_by_key(|(at, _)| *at);
        let moved = |flow: Flow| Flow {
            from: place[flow.from],
            to: flow.to.into_iter().map(|to| place[to]).collect(),
            tip: flow.tip,
        };
        Self {
            boxes: boxes.into_iter().map(|(_, one)| one).collect(),
            flows: self.flows.into_iter().map(moved).collect(),
        }
    }
}

/// A constant in a line: its number, or its type and name.
fn constant(name: &str, tensor: &Tensor) -> String {
    if let Some(number) = tensor.item() {
        return format!("{name} = {number}");
    }
    let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    format!("{name}: {}[{}]", tensor.dtype(), dims.join(","))
}

fn kind(operator: &str) -> Kind {
    match operator {
        "Conv" | "ConvTranspose" | "MatMul" | "Gemm" | "LSTM" | "GRU" | "RNN" | "Einsum"
        | "Attention" | "MatMulInteger" | "ConvInteger" | "QLinearConv" | "QLinearMatMul"
        | "MatMulNBits" => Kind::Kernel,
        "Relu" | "Sigmoid" | "Tanh" | "Clip" | "Gelu" | "Elu" | "LeakyRelu" | "PRelu"
        | "HardSwish" | "HardSigmoid" | "Softmax" | "Softplus" | "Mish" | "Swish" | "Erf" => {
            Kind::Activation
        }
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => Kind::Quantizer,
        "Reshape" | "Transpose" | "Concat" | "Split" | "Slice" | "Squeeze" | "Unsqueeze"
        | "Flatten" | "Gather" | "Expand" | "Identity" | "Cast" | "Pad" | "Tile" => Kind::Movement,
        name if name.ends_with("Normalization") => Kind::Norm,
        _ => Kind::Other,
    }
}
