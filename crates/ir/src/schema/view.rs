//! A node seen through its schema.

use std::borrow::Cow;

use super::{Fallback, Parameter, ParameterKind, Schema, lookup};
use crate::infer::Types;
use crate::{AttributeValue, Graph, Node, NodeId, Tensor, ValueId};

/// A node seen through its schema: defaults filled in, and one spelling for attributes that became
/// inputs.
///
/// `axes` of a `ReduceMean` is an attribute up to opset 17 and an input from 18 on; here it is
/// [`View::attribute`] in both, if the input is a constant.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The graph of the node.
    pub graph: &'a Graph,
    /// What is known of its values.
    pub types: &'a Types,
    /// The node.
    pub id: NodeId,
    /// What the node says.
    pub node: &'a Node,
    /// The definition in the graph's opset; none for operators that the table does not know.
    pub schema: Option<&'static Schema>,
}

impl<'a> View<'a> {
    /// The node `id` of `graph`.
    pub fn new(graph: &'a Graph, types: &'a Types, id: NodeId) -> Self {
        let node = graph.node(id);
        let version = graph.opsets.version(&node.domain);
        let schema = version.and_then(|version| lookup(&node.domain, &node.op_type, version));
        Self { graph, types, id, node, schema }
    }

    /// The attribute as patterns spell it: as written, else its default, else the content of the
    /// input that took its place. Nothing where that input is not known before a run, and where
    /// absence has a meaning of its own.
    pub fn attribute(&self, name: &str) -> Option<Cow<'a, AttributeValue>> {
        if let Some(written) = self.node.attribute(name) {
            return Some(Cow::Borrowed(written));
        }
        let schema = self.schema?;
        if let Some(default) = schema.attribute(name).and_then(|known| known.default.as_ref()) {
            return Some(Cow::Borrowed(default));
        }
        if name == "training_mode" && self.node.is_onnx("BatchNormalization") {
            return Some(Cow::Owned(AttributeValue::Int(i64::from(self.normalizes_batches()))));
        }
        let parameter = schema.parameter(name)?;
        let value = match parameter.input.and_then(|input| self.input(input)) {
            Some(input) => read(parameter.kind, self.types.known(input)?),
            None => self.fallback(parameter),
        };
        value.map(Cow::Owned)
    }

    /// What [`View::attribute`] is where the node does not say.
    pub fn default(&self, name: &str) -> Option<Cow<'a, AttributeValue>> {
        let schema = self.schema?;
        if let Some(default) = schema.attribute(name).and_then(|known| known.default.as_ref()) {
            return Some(Cow::Borrowed(default));
        }
        self.fallback(schema.parameter(name)?).map(Cow::Owned)
    }

    /// The value at the input of this name.
    pub fn input(&self, name: &str) -> Option<ValueId> {
        self.graph.input(self.id, self.schema?.input(name)?)
    }

    /// The value at the output of this name.
    pub fn output(&self, name: &str) -> Option<ValueId> {
        self.graph.output(self.id, self.schema?.output(name)?)
    }

    /// Whether the inputs may be permuted.
    pub fn commutative(&self) -> bool {
        self.schema.is_some_and(|schema| schema.facts.commutative())
    }

    /// Whether two runs on the same inputs give the same outputs, as far as is known: an operator
    /// without a schema is taken for pure.
    pub fn pure(&self) -> bool {
        let random = self.schema.is_some_and(|schema| schema.facts.random());
        !random || (self.node.is_onnx("Dropout") && !self.trains())
    }

    /// Whether a batch normalization that has no `training_mode` yet takes mean and variance from the
    /// batch: up to opset 6 `is_test` says it, up to 13 the number of results.
    fn normalizes_batches(&self) -> bool {
        match self.schema.map_or(0, |schema| schema.since) {
            ..7 => self.attribute("is_test").and_then(|test| test.as_int()) != Some(1),
            _ => self.graph.outputs(self.id).into_iter().skip(1).any(|output| output.is_some()),
        }
    }

    fn trains(&self) -> bool {
        match self.schema.map_or(0, |schema| schema.since) {
            // Up to opset 6 an attribute says that it does not train.
            ..7 => self.attribute("is_test").and_then(|test| test.as_int()) != Some(1),
            7..12 => false,
            _ => {
                let training = self.attribute("training_mode").and_then(|mode| mode.as_int());
                training != Some(0)
            }
        }
    }

    fn fallback(&self, parameter: &Parameter) -> Option<AttributeValue> {
        let float = matches!(parameter.kind, ParameterKind::Float);
        match parameter.default? {
            Fallback::Number(number) if float => Some(AttributeValue::Float(number as f32)),
            Fallback::Number(number) if parameter.kind == ParameterKind::Int => {
                Some(AttributeValue::Int(number as i64))
            }
            Fallback::Number(number) => {
                let input = self.graph.input(self.id, 0)?;
                let integer = self.types.dtype(input).is_some_and(|dtype| dtype.is_integer());
                Some(if integer {
                    AttributeValue::Int(number as i64)
                } else {
                    AttributeValue::Float(number as f32)
                })
            }
            Fallback::Iota(other) => {
                let count = i64::try_from(self.length(other)?).ok()?;
                Some(AttributeValue::Ints((0..count).collect()))
            }
            Fallback::Ones(other) => Some(AttributeValue::Ints(vec![1; self.length(other)?])),
            Fallback::Spatial { each, per_axis } => {
                let padded = self.attribute("auto_pad");
                let explicit = padded.is_none_or(|mode| {
                    parameter.attribute != "pads"
                        || matches!(mode.as_str(), Some("NOTSET" | "VALID"))
                });
                let axes = explicit.then(|| self.spatial_axes())??;
                Some(AttributeValue::Ints(vec![each; axes * usize::from(per_axis)]))
            }
            Fallback::Reversed => {
                let rank = i64::try_from(self.types.rank(self.graph.input(self.id, 0)?)?).ok()?;
                Some(AttributeValue::Ints((0..rank).rev().collect()))
            }
        }
    }

    /// Number of elements of another parameter of the node.
    fn length(&self, parameter: &str) -> Option<usize> {
        match self.attribute(parameter) {
            Some(value) => Some(value.as_ints()?.len()),
            None => self.types.shape(self.input(parameter)?)?.first()?.known(),
        }
    }

    fn spatial_axes(&self) -> Option<usize> {
        if let Some(kernel) = self.node.attribute("kernel_shape").and_then(AttributeValue::as_ints)
        {
            return Some(kernel.len());
        }
        self.types.rank(self.graph.input(self.id, 0)?)?.checked_sub(2)
    }
}

fn read(kind: ParameterKind, tensor: &Tensor) -> Option<AttributeValue> {
    let single = || tensor.len() == 1;
    let int = || tensor.to_i64s()?.first().copied().map(AttributeValue::Int);
    let float = || tensor.item().map(|item| AttributeValue::Float(item as f32));
    match kind {
        ParameterKind::Int => single().then(int)?,
        ParameterKind::Float => float(),
        ParameterKind::Scalar if tensor.dtype().is_float() => float(),
        ParameterKind::Scalar => single().then(int)?,
        ParameterKind::Ints => tensor.to_i64s().map(AttributeValue::Ints),
        ParameterKind::Floats => Some(AttributeValue::Floats(tensor.to_f32s()?.into_owned())),
    }
}
