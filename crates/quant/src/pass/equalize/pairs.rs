//! Which two layers can share out their ranges.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Graph, Node, NodeId, ValueId};

use crate::element;
use crate::kernel::{BIAS, DATA, WEIGHT};

/// Two layers with nothing between them that would notice a positive factor per channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) first: Layer,
    pub(super) second: Layer,
    /// The bias of the first layer: the node that adds it and its slot.
    pub(super) bias: Option<(NodeId, usize)>,
    /// Where ranges are looked at: behind what cuts them off, before anything is averaged.
    pub(super) observed: ValueId,
    /// The axis of the channels there.
    pub(super) axis: i64,
    /// The upper bound of a Clip between the layers.
    pub(super) bound: Option<f64>,
}

/// A kernel with a constant weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub(super) node: NodeId,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Weights of shape outputs × inputs of one group × window.
    Conv { groups: usize },
    /// Weights of shape inputs × outputs.
    Matrix,
    /// Weights of shape outputs × inputs.
    Transposed,
}

impl Layer {
    fn of(graph: &Graph, types: &Types, node: NodeId) -> Option<Layer> {
        let content = graph.node(node);
        let weight = graph.input(node, WEIGHT)?;
        let constant = types.constant(weight)?;
        let (dims, floats) = (constant.dims(), element::floats(constant).is_some());
        // A weight that others read too would have to be copied, and the model would grow.
        if !floats || dims.contains(&0) || graph.use_count(weight) != 1 {
            return None;
        }
        let int = |name: &str, default| {
            content.attribute(name).and_then(AttributeValue::as_int).unwrap_or(default)
        };
        let kind = if content.is_onnx("Conv") && dims.len() >= 3 {
            let groups = usize::try_from(int("group", 1)).ok().filter(|&groups| groups > 0)?;
            if dims[0] % groups != 0 {
                return None;
            }
            Kind::Conv { groups }
        } else if content.is_onnx("Gemm") && dims.len() == 2 && int("transA", 0) == 0 {
            if int("transB", 0) == 0 { Kind::Matrix } else { Kind::Transposed }
        } else if content.is_onnx("MatMul") && dims.len() == 2 {
            Kind::Matrix
        } else {
            return None;
        };
        Some(Layer { node, kind })
    }

    fn convolves(self) -> bool {
        matches!(self.kind, Kind::Conv { .. })
    }

    /// Whether every output channel reads input channels of its own, one for one.
    pub(super) fn depthwise(self, dims: &[usize]) -> bool {
        matches!(self.kind, Kind::Conv { groups } if groups > 1 && dims[1] == 1)
    }

    /// The number of input channels.
    pub(super) fn inputs(self, dims: &[usize]) -> usize {
        match self.kind {
            Kind::Conv { groups } => dims[1] * groups,
            Kind::Matrix => dims[0],
            Kind::Transposed => dims[1],
        }
    }

    /// The number of output channels.
    pub(super) fn outputs(self, dims: &[usize]) -> usize {
        if self.kind == Kind::Matrix { dims[1] } else { dims[0] }
    }

    /// The input channel that an element of the weight, by its position in C order, multiplies.
    pub(super) fn input_channel(self, dims: &[usize], at: usize) -> usize {
        match self.kind {
            Kind::Conv { groups } => {
                let window: usize = dims[2..].iter().product();
                let (output, input) = (at / (dims[1] * window), at / window % dims[1]);
                output / (dims[0] / groups) * dims[1] + input
            }
            Kind::Matrix => at / dims[1],
            Kind::Transposed => at % dims[1],
        }
    }

    /// The output channel that an element of the weight contributes to.
    pub(super) fn output_channel(self, dims: &[usize], at: usize) -> usize {
        match self.kind {
            Kind::Matrix => at % dims[1],
            Kind::Conv { .. } | Kind::Transposed => at / dims[1..].iter().product::<usize>(),
        }
    }
}

/// All pairs, in the order of their second layers. No weight is read by a layer of two pairs from
/// outside of them, so each pair can be scaled on its own.
pub(super) fn find(graph: &Graph, types: &Types) -> Vec<Pair> {
    let Ok(order) = graph.order() else { return Vec::new() };
    let mut firsts = BTreeSet::new();
    order
        .into_iter()
        .filter_map(|node| pair(graph, types, Layer::of(graph, types, node)?))
        .filter(|pair| firsts.insert(pair.first.node))
        .collect()
}

/// The layer before `second`, if there is nothing in the way.
fn pair(graph: &Graph, types: &Types, second: Layer) -> Option<Pair> {
    let mut value = graph.input(second.node, DATA)?;
    let (mut bound, mut observed, mut bias) = (None, value, None);
    let mut flattened = false;
    loop {
        let (node, slot) = graph.producer(value)?;
        if slot != 0 || graph.use_count(value) != 1 || graph.is_output(value) {
            return None;
        }
        let content = graph.node(node);
        if let Some(first) = Layer::of(graph, types, node) {
            let fits = first.convolves() == second.convolves() || flattened && first.convolves();
            if !fits {
                return None;
            }
            if bias.is_none() && !content.is_onnx("MatMul") && graph.input(node, BIAS).is_some() {
                bias = Some((node, BIAS));
            }
            let (dims, outputs) = shape(graph, types, first)?;
            let fits = bias.is_none_or(|(node, slot)| {
                let constant = graph.input(node, slot).and_then(|value| types.constant(value));
                constant.is_some_and(|bias| {
                    element::floats(bias).is_some_and(|data| data.len() == outputs)
                        && bias.dims().last() == Some(&outputs)
                })
            });
            let axis = if first.convolves() { 1 } else { -1 };
            debug_assert_eq!(first.outputs(&dims), outputs);
            return fits.then_some(Pair { first, second, bias, observed, axis, bound });
        }
        let input = graph.input(node, DATA)?;
        let global =
            |node: &Node| node.is_onnx("GlobalAveragePool") || node.is_onnx("GlobalMaxPool");
        if let Some(upper) = clip(graph, types, node) {
            if bound.is_some() {
                return None;
            }
            bound = Some(upper);
            observed = value;
        } else if content.is_onnx("Flatten") {
            // One element per channel, so that channels stay where they are.
            let pooled = graph.producer(input).is_some_and(|(node, _)| global(graph.node(node)));
            let axis = content.attribute("axis").and_then(AttributeValue::as_int).unwrap_or(1);
            if !pooled || axis != 1 || second.convolves() {
                return None;
            }
            flattened = true;
        } else if global(content) || ["MaxPool", "AveragePool"].iter().any(|op| content.is_onnx(op))
        {
            observed = input;
        } else if content.is_onnx("Add") && bias.is_none() && !second.convolves() {
            let (slot, input) = added(graph, types, node)?;
            let (producer, _) = graph.producer(input)?;
            if !graph.node(producer).is_onnx("MatMul") {
                return None;
            }
            bias = Some((node, slot));
            value = input;
            continue;
        } else if !["Relu", "LeakyRelu", "Identity"].iter().any(|op| content.is_onnx(op)) {
            return None;
        }
        value = input;
    }
}

fn shape(graph: &Graph, types: &Types, layer: Layer) -> Option<(Vec<usize>, usize)> {
    let dims = types.constant(graph.input(layer.node, WEIGHT)?)?.dims().to_vec();
    let outputs = layer.outputs(&dims);
    Some((dims, outputs))
}

/// The slot of the constant of an Add, and what it is added to.
fn added(graph: &Graph, types: &Types, node: NodeId) -> Option<(usize, ValueId)> {
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    match (types.constant(a).is_some(), types.constant(b).is_some()) {
        (false, true) => Some((1, a)),
        (true, false) => Some((0, b)),
        _ => None,
    }
}

/// The upper bound of a Clip whose lower bound is 0.
fn clip(graph: &Graph, types: &Types, node: NodeId) -> Option<f64> {
    let content = graph.node(node);
    if !content.is_onnx("Clip") {
        return None;
    }
    // An attribute until opset 10, an input since.
    let limit = |name: &str, slot: usize| -> Option<f64> {
        let written = content.attribute(name).and_then(AttributeValue::as_float);
        written.map(f64::from).or_else(|| {
            let constant = element::floats(types.constant(graph.input(node, slot)?)?)?;
            constant.first().filter(|_| constant.len() == 1).map(|&limit| f64::from(limit))
        })
    };
    let (low, high) = (limit("min", 1)?, limit("max", 2)?);
    (low == 0.0 && high > 0.0 && high.is_finite()).then_some(high)
}
