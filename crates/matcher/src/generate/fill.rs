//! Shapes, types, attributes and numbers for a sketch, chosen node by node while the nodes are run.

use marquetry_ir::schema::{self, Schema};
use marquetry_ir::{
    Attribute, AttributeValue, DType, Evaluate, Graph, Node, Operation, Opsets, Tensor, Type, infer,
};
use marquetry_pattern::Span;
use marquetry_pattern::core::{AttributePattern, VarId};
use marquetry_pattern::gexpr::GExprKind;

use super::opset::opset;
use super::position::is_position;
use super::random::Random;
use super::sketch::{Scene, Sketch, SketchNode, Source};
use super::{Ask, Open, Stuck};
use crate::datum::Datum;
use crate::index::ValueRow;

/// A node that can be written down.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub(super) domain: String,
    pub(super) op_type: String,
    pub(super) attributes: Vec<Attribute>,
    pub(super) inputs: Vec<Option<Input>>,
    pub(super) outputs: Vec<ValueRow>,
    /// Where it is written.
    pub(super) origin: Option<(Span, String)>,
    /// The graph it is in, and those that it holds.
    pub(super) home: usize,
    pub(super) bodies: Vec<(String, usize)>,
    /// Attributes that the pattern leaves open and that are not their defaults: where and which.
    pub(super) varied: Vec<Open>,
}

/// An input of a node.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Value(ValueRow),
    /// What the pattern spells as an attribute, or does not spell at all.
    Constant(Tensor),
}

/// How shapes are drawn.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) kind: Shapes,
    pub(super) rank: usize,
    /// Lengths that are still free; all different.
    pub(super) lengths: Vec<usize>,
    /// All free values have this shape.
    pub(super) alike: Option<Vec<usize>>,
}

/// What kind of shapes a sample has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shapes {
    /// Different lengths everywhere.
    Distinct,
    /// The same shape wherever nothing else is asked for.
    Alike,
    /// Axes of length 1 among them.
    Ones,
    /// All axes have one length.
    Equal,
    /// An empty axis among them.
    Empty,
}

pub(super) struct Fill<'a, 'p> {
    pub(super) sketch: &'a Sketch<'p>,
    pub(super) evaluator: &'a dyn Evaluate,
    pub(super) random: Random,
    /// By instance.
    pub(super) bound: Vec<Option<Datum>>,
    /// By value: the content in one run.
    pub(super) tensors: Vec<Option<Tensor>>,
    pub(super) facts: Vec<Option<(DType, Vec<usize>)>>,
    /// By value: the same in every run.
    pub(super) constant: Vec<bool>,
    /// By value: must be above zero.
    pub(super) positive: Vec<bool>,
    /// By value: content that shapes depend on, which is not to be drawn anew.
    pub(super) fixed: Vec<bool>,
    /// By value: positions are computed from it.
    pub(super) places: Vec<bool>,
    /// Whether what is computed may be cast to fewer digits.
    pub(super) narrows: bool,
    /// What header attributes are drawn from.
    pub(super) samplers: Vec<(VarId, Vec<Datum>)>,
    pub(super) opset: i64,
    pub(super) base: DType,
    pub(super) style: Style,
    pub(super) ask: Ask,
    pub(super) nodes: Vec<Filled>,
    /// Whether every node was run.
    pub(super) runs: bool,
}

/// How often a node is chosen anew.
const ATTEMPTS: usize = 16;

/// What choosing a node changes.
struct State {
    bound: Vec<Option<Datum>>,
    tensors: Vec<Option<Tensor>>,
    facts: Vec<Option<(DType, Vec<usize>)>>,
    constant: Vec<bool>,
    positive: Vec<bool>,
    fixed: Vec<bool>,
    style: Style,
    nodes: usize,
    runs: bool,
}

impl<'a, 'p> Fill<'a, 'p> {
    pub(super) fn new(
        sketch: &'a Sketch<'p>,
        evaluator: &'a dyn Evaluate,
        mut random: Random,
        ask: Ask,
        samplers: Vec<(VarId, Vec<Datum>)>,
    ) -> Result<Self, Stuck> {
        let count = sketch.values.len();
        let opset = opset(sketch, &mut random)?;
        let asked = asked_types(sketch);
        let narrows = narrows(sketch);
        let base = match (ask.dtype, random.below(8)) {
            (Some(dtype), _) => dtype,
            (None, _) if !asked.is_empty() && random.once_in(2) => *random.pick(&asked),
            (None, _) if narrows && !random.once_in(3) => *random.pick(&[
                DType::Int64,
                DType::Int64,
                DType::Int32,
                DType::Int32,
                DType::Int8,
                DType::Uint8,
            ]),
            (None, 0) => DType::Float16,
            (None, 1) => DType::Double,
            (None, 2 | 3) => *random.pick(&[DType::Int64, DType::Int32, DType::Int8, DType::Uint8]),
            (None, _) => DType::Float,
        };
        let style = Style::draw(&mut random);
        Ok(Self {
            narrows,
            sketch,
            evaluator,
            random,
            bound: sketch.bound.clone(),
            tensors: vec![None; count],
            facts: vec![None; count],
            constant: vec![false; count],
            positive: vec![false; count],
            fixed: vec![false; count],
            places: places(sketch),
            samplers,
            opset,
            base,
            style,
            ask,
            nodes: Vec::new(),
            runs: true,
        })
    }

    /// Chooses everything; the conditions hold afterwards as far as they can be told.
    pub(super) fn run(&mut self) -> Result<(), Stuck> {
        let sketch = self.sketch;
        for node in &sketch.nodes {
            self.fit(node)?;
        }
        // What is only an input and an output at once.
        for at in 0..sketch.values.len() {
            if self.facts[at].is_none() {
                return Err(Stuck::Rejected);
            }
        }
        self.settle();
        let open = (0..sketch.constraints.len()).any(|at| self.truth(at, true) == Some(false));
        if open { Err(Stuck::Rejected) } else { Ok(()) }
    }

    pub(super) fn fact(&self, value: ValueRow) -> Option<(DType, &[usize])> {
        self.facts[value.index()].as_ref().map(|(dtype, dims)| (*dtype, dims.as_slice()))
    }

    /// The shapes of all values so far.
    pub(super) fn shapes(&self) -> Vec<Vec<usize>> {
        self.facts.iter().flatten().map(|(_, dims)| dims.clone()).collect()
    }

    pub(super) fn set(&mut self, value: ValueRow, tensor: Tensor, constant: bool) {
        let at = value.index();
        self.facts[at] = Some((tensor.dtype(), tensor.dims().to_vec()));
        self.constant[at] = constant;
        self.tensors[at] = Some(tensor);
    }

    /// Numbers that are tried where a pattern leaves one open.
    pub(super) fn numbers(&self) -> Vec<Datum> {
        let mut numbers = [0.5, 2.0, 1e-5, 1e-3, 3.0, 0.25, -1.5, 1e-6, 0.0625, 1.0, 8.0, -30.0]
            .map(|number: f32| Datum::float(number.into()))
            .to_vec();
        for (constraint, _) in &self.sketch.constraints {
            if let crate::plan::Constraint::Guard { condition, .. } = constraint {
                condition.walk(&mut |expr| match expr.kind {
                    GExprKind::Int(number) => {
                        numbers.push(Datum::float(number as f64));
                        numbers.push(Datum::float(number as f64 + 0.5));
                    }
                    GExprKind::Float(number) => {
                        // Halves of what bounds them, exact in every type.
                        numbers.push(Datum::float(f64::from((number / 2.0) as f32)));
                    }
                    _ => {}
                });
            }
        }
        numbers
    }

    /// What the pattern's own `verify` block narrows a variable to.
    pub(super) fn narrowed(&self, at: usize) -> Option<Vec<Datum>> {
        let found = self.samplers.iter().find(|(var, _)| self.sketch.scene[var.index()] == at);
        found.map(|(_, items)| items.clone())
    }

    fn schema(&self, node: &SketchNode<'p>) -> Result<&'static Schema, Stuck> {
        let version = if node.operator.domain.is_empty() { self.opset } else { 1 };
        let found = schema::lookup(&node.operator.domain, &node.operator.name, version);
        found.filter(|schema| !schema.deprecated).ok_or_else(|| {
            Stuck::Unsupported(format!("nothing is known of `{}`", node.operator.name))
        })
    }

    /// Chooses a node, again as long as a condition is against what came of it: those that are known
    /// to be false now were open before.
    fn fit(&mut self, node: &'a SketchNode<'p>) -> Result<(), Stuck> {
        let before = self.state();
        for attempt in 1..=ATTEMPTS {
            let made = self.node(node);
            let fits = made.is_ok() && self.refused().is_none();
            if fits || attempt == ATTEMPTS || matches!(made, Err(Stuck::Unsupported(_))) {
                return made;
            }
            self.restore(&before);
            self.style.rank = 1 + self.random.below(5);
        }
        Err(Stuck::Rejected)
    }

    fn state(&self) -> State {
        State {
            bound: self.bound.clone(),
            tensors: self.tensors.clone(),
            facts: self.facts.clone(),
            constant: self.constant.clone(),
            positive: self.positive.clone(),
            fixed: self.fixed.clone(),
            style: self.style.clone(),
            nodes: self.nodes.len(),
            runs: self.runs,
        }
    }

    fn restore(&mut self, state: &State) {
        self.bound.clone_from(&state.bound);
        self.tensors.clone_from(&state.tensors);
        self.facts.clone_from(&state.facts);
        self.constant.clone_from(&state.constant);
        self.positive.clone_from(&state.positive);
        self.fixed.clone_from(&state.fixed);
        self.style.clone_from(&state.style);
        self.nodes.truncate(state.nodes);
        self.runs = state.runs;
    }

    fn node(&mut self, node: &'a SketchNode<'p>) -> Result<(), Stuck> {
        let schema = self.schema(node)?;
        let untyped = |fill: &Self, number: bool| -> Vec<usize> {
            let slots = node.inputs.iter().enumerate();
            slots
                .filter_map(|(slot, row)| {
                    let row = (*row)?;
                    let Source::Leaf(leaf) = &fill.sketch.values[row.index()] else { return None };
                    let open = fill.facts[row.index()].is_none();
                    (open && leaf.number.is_some() == number).then_some(slot)
                })
                .collect()
        };
        // The first input says what axes there are.
        if let Some(&first) = untyped(self, false).first()
            && (first == 0 || !self.is_typed(node, 0))
        {
            self.leaf(node, schema, first, &[])?;
        }
        let attributes = self.attributes(node, schema)?;
        for slot in untyped(self, false) {
            // A value may be read twice, and is typed the first time.
            if !self.is_typed(node, slot) {
                self.leaf(node, schema, slot, &attributes)?;
            }
        }
        for slot in untyped(self, true) {
            if !self.is_typed(node, slot) {
                self.number(node, schema, slot)?;
            }
        }
        let mut filled = Filled {
            domain: node.operator.domain.clone(),
            op_type: node.operator.name.clone(),
            attributes: Vec::new(),
            inputs: node.inputs.iter().map(|row| row.map(Input::Value)).collect(),
            outputs: node.outputs.clone(),
            origin: node.origin.map(|span| (span, node.operator.name.clone())),
            home: node.home,
            bodies: node.bodies.iter().map(|(name, body)| ((*name).to_owned(), *body)).collect(),
            varied: Vec::new(),
        };
        for (name, content) in &attributes {
            self.spell(node, schema, name, content, &mut filled)?;
        }
        if node.bodies.is_empty() {
            self.complete(node, schema, &mut filled)?;
            self.evaluate_node(&filled)?;
        } else {
            self.branch(&filled)?;
        }
        self.nodes.push(filled);
        Ok(())
    }

    fn is_typed(&self, node: &SketchNode<'p>, slot: usize) -> bool {
        node.inputs.get(slot).copied().flatten().is_none_or(|row| self.facts[row.index()].is_some())
    }

    fn evaluate_node(&mut self, filled: &Filled) -> Result<(), Stuck> {
        let content = |input: &Input| match input {
            Input::Value(row) => self.tensors[row.index()].clone(),
            Input::Constant(tensor) => Some(tensor.clone()),
        };
        let inputs: Vec<Option<Tensor>> =
            filled.inputs.iter().map(|input| input.as_ref().and_then(content)).collect();
        let known = filled.inputs.iter().zip(&inputs).all(|(a, b)| a.is_some() == b.is_some());
        let constant = filled.inputs.iter().flatten().all(|input| match input {
            Input::Value(row) => self.constant[row.index()],
            Input::Constant(_) => true,
        }) && !inputs.is_empty();
        let operation = Operation {
            domain: &filled.domain,
            op_type: &filled.op_type,
            opset: if filled.domain.is_empty() { self.opset } else { 1 },
            attributes: &filled.attributes,
        };
        if known {
            match self.evaluator.evaluate(operation, &inputs) {
                Ok(tensors) if tensors.len() >= filled.outputs.len() => {
                    for (&row, tensor) in filled.outputs.iter().zip(tensors) {
                        self.set(row, tensor, constant);
                    }
                    return Ok(());
                }
                Err(marquetry_ir::EvaluateError::Unsupported { .. }) => {}
                Ok(_) | Err(_) => return Err(Stuck::Rejected),
            }
        }
        self.runs = false;
        self.infer_node(filled, constant)
    }

    /// Types of the results, where the node cannot be run.
    fn infer_node(&mut self, filled: &Filled, constant: bool) -> Result<(), Stuck> {
        let mut opsets = Opsets::onnx(self.opset);
        if !filled.domain.is_empty() {
            opsets.set(&filled.domain, 1);
        }
        let mut graph = Graph::new("one", opsets);
        let mut inputs = Vec::new();
        for (slot, input) in filled.inputs.iter().enumerate() {
            let name = format!("i{slot}");
            let made = match input {
                None => None,
                Some(Input::Constant(tensor)) => Some(graph.add_initializer(&name, tensor.clone())),
                Some(Input::Value(row)) => {
                    let (dtype, dims) = self.fact(*row).ok_or(Stuck::Rejected)?;
                    let ty = Type::tensor(dtype, dims.iter().map(|&dim| dim.into()));
                    Some(match &self.tensors[row.index()] {
                        Some(tensor) if self.constant[row.index()] => {
                            graph.add_initializer(&name, tensor.clone())
                        }
                        _ => graph.add_input(&name, Some(ty)),
                    })
                }
            };
            inputs.push(made.transpose().map_err(|_| Stuck::Rejected)?);
        }
        let outputs: Vec<_> = (0..filled.outputs.len())
            .map(|slot| Some(graph.value_named(&format!("o{slot}"))))
            .collect();
        let mut node = Node::new(filled.domain.as_str(), filled.op_type.as_str());
        node.attributes.clone_from(&filled.attributes);
        graph.add_node(node, &inputs, &outputs).map_err(|_| Stuck::Rejected)?;
        let types = infer::run_graph(&graph);
        for (&row, value) in filled.outputs.iter().zip(outputs.into_iter().flatten()) {
            let known = types.tensor(value).and_then(|ty| Some((ty.dtype?, ty.known_shape()?)));
            let Some((dtype, dims)) = known else {
                return Err(Stuck::Unsupported(format!(
                    "`{}` can neither be run nor inferred",
                    filled.op_type
                )));
            };
            self.facts[row.index()] = Some((dtype, dims));
            self.constant[row.index()] = constant;
        }
        Ok(())
    }

    /// A tensor of any numeric type.
    pub(super) fn tensor(
        &self,
        dtype: DType,
        dims: &[usize],
        numbers: &[f64],
    ) -> Result<Tensor, Stuck> {
        tensor(self.evaluator, dtype, dims, numbers).ok_or(Stuck::Rejected)
    }

    pub(super) fn scene(&self) -> &Scene {
        &self.sketch.scene
    }
}

/// Element types that conditions name.
fn asked_types(sketch: &Sketch<'_>) -> Vec<DType> {
    let mut asked = Vec::new();
    for (constraint, _) in &sketch.constraints {
        let crate::plan::Constraint::Guard { condition, .. } = constraint else { continue };
        condition.walk(&mut |expr| {
            if let GExprKind::Dtype(name) = &expr.kind {
                asked.extend(DType::from_name(name));
            }
        });
    }
    asked
}

/// Whether a cast goes to any type: between integers it cuts off digits and signs.
fn narrows(sketch: &Sketch<'_>) -> bool {
    sketch.nodes.iter().any(|node| {
        let open = |pattern: &AttributePattern| {
            matches!(pattern, AttributePattern::Any | AttributePattern::Bind(_))
        };
        let to = node.attributes.iter().find(|(name, _)| *name == "to");
        node.operator.name == "Cast" && to.is_none_or(|(_, pattern)| open(pattern))
    })
}

/// The values that positions are computed from.
fn places(sketch: &Sketch<'_>) -> Vec<bool> {
    let mut places = vec![false; sketch.values.len()];
    for node in sketch.nodes.iter().rev() {
        let name = node.operator.name.as_str();
        let versions = schema::versions(&node.operator.domain, name);
        let facts = versions.last().map(|schema| schema.facts);
        let passes = facts.is_some_and(|facts| facts.elementwise() || facts.movement());
        let below = passes && node.outputs.iter().any(|row| places[row.index()]);
        for (slot, row) in node.inputs.iter().enumerate() {
            if let Some(row) = row {
                places[row.index()] |= below || is_position(name, slot);
            }
        }
    }
    places
}

/// A tensor of any numeric type, numbers rounded to it.
pub(crate) fn tensor(
    evaluator: &dyn Evaluate,
    dtype: DType,
    dims: &[usize],
    numbers: &[f64],
) -> Option<Tensor> {
    let bytes: Vec<u8> = match dtype {
        DType::Float => numbers.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        DType::Double => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::Int64 => numbers.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
        DType::Int32 => numbers.iter().flat_map(|&x| (x as i32).to_le_bytes()).collect(),
        DType::Int8 => numbers.iter().map(|&x| (x as i8).cast_unsigned()).collect(),
        DType::Uint8 => numbers.iter().map(|&x| x as u8).collect(),
        DType::Bool => numbers.iter().map(|&x| u8::from(x != 0.0)).collect(),
        _ => {
            let wide = tensor(evaluator, DType::Float, dims, numbers)?;
            let to = Attribute::new("to", AttributeValue::Int(dtype.number().into()));
            let cast = Operation {
                domain: "",
                op_type: "Cast",
                opset: 21,
                attributes: std::slice::from_ref(&to),
            };
            return evaluator.evaluate(cast, &[Some(wide)]).ok()?.pop();
        }
    };
    Tensor::new(dtype, dims, bytes).ok()
}
