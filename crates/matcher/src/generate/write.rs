//! A model from what was chosen.

use std::collections::BTreeMap;

use marquetry_ir::{Attribute, AttributeValue, DType, Graph, Model, Node, Opsets, Type, ValueId};

use super::fill::{Fill, Input};
use super::sketch::Source;
use super::{Drawn, Given, Stuck};
use crate::datum::Datum;
use crate::found::Bound;
use crate::index::ValueRow;

/// The version of the file format that is written.
const FORMAT: i64 = 10;

pub(super) fn model(fill: &Fill<'_, '_>) -> Result<Drawn, Stuck> {
    let mut opsets = Opsets::onnx(fill.opset);
    for node in fill.nodes.iter().filter(|node| !node.domain.is_empty()) {
        opsets.set(&node.domain, 1);
    }
    let mut writer = Writer {
        fill,
        graph: Graph::new("g", opsets),
        names: names(fill),
        values: vec![None; fill.sketch.values.len()],
        given: Vec::new(),
    };
    writer.leaves()?;
    writer.nodes()?;
    let outputs: Vec<ValueId> =
        fill.sketch.outputs.iter().filter_map(|row| writer.values[row.index()]).collect();
    for (&row, &output) in fill.sketch.outputs.iter().zip(&outputs) {
        if matches!(fill.sketch.values[row.index()], Source::Leaf(_)) {
            return Err(Stuck::Unsupported("an output is an input".to_owned()));
        }
        if writer.graph.outputs.contains(&output) {
            return Err(Stuck::Rejected);
        }
        writer.output(row, output)?;
    }
    let pattern = fill.sketch.pattern;
    let header = pattern.attributes.iter().chain(&pattern.inputs);
    let bindings =
        header.map(|&var| (pattern.var(var).name.clone(), writer.bound(var, fill))).collect();
    Ok(Drawn {
        outputs,
        bindings,
        nodes: fill.nodes.len(),
        runs: fill.runs,
        given: writer.given,
        origins: fill.nodes.iter().filter_map(|node| node.origin.clone()).collect(),
        varied: fill.nodes.iter().flat_map(|node| node.varied.iter().cloned()).collect(),
        alternatives: std::collections::BTreeSet::new(),
        model: Model::new(FORMAT, writer.graph),
    })
}

pub(super) struct Writer<'w, 'a, 'p> {
    pub(super) fill: &'w Fill<'a, 'p>,
    pub(super) graph: Graph,
    names: BTreeMap<ValueRow, String>,
    pub(super) values: Vec<Option<ValueId>>,
    given: Vec<Given>,
}

/// The names of the pattern, where they are plain.
fn names(fill: &Fill<'_, '_>) -> BTreeMap<ValueRow, String> {
    let mut names: BTreeMap<ValueRow, String> = BTreeMap::new();
    for (var, declared) in fill.sketch.pattern.vars() {
        let plain =
            declared.name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if let Some(row) = fill.row_of(var).filter(|_| plain)
            && !names.values().any(|name| *name == declared.name)
        {
            names.entry(row).or_insert_with(|| declared.name.clone());
        }
    }
    names
}

impl Writer<'_, '_, '_> {
    fn name(&self, row: ValueRow, letter: char) -> String {
        let own = self.names.get(&row).cloned();
        own.unwrap_or_else(|| self.graph.fresh_name(&format!("{letter}{}", row.index())))
    }

    pub(super) fn ty(&self, row: ValueRow) -> Option<Type> {
        let (dtype, dims) = self.fill.fact(row)?;
        Some(Type::tensor(dtype, dims.iter().map(|&dim| dim.into())))
    }

    fn leaves(&mut self) -> Result<(), Stuck> {
        let sketch = self.fill.sketch;
        for (at, source) in sketch.values.iter().enumerate() {
            let Source::Leaf(leaf) = source else { continue };
            let row = ValueRow::new(at);
            let tensor = self.fill.tensors[at].clone().ok_or(Stuck::Rejected)?;
            let held = Some(tensor.clone());
            let value = if self.fill.constant[at] {
                self.graph.add_initializer(&self.name(row, 'c'), tensor)
            } else if self.fill.ask.context && tensor.dtype() == DType::Float {
                self.computed(row)
            } else {
                self.graph.add_input(&self.name(row, 'x'), self.ty(row))
            };
            let value = value.map_err(|_| Stuck::Rejected)?;
            self.values[at] = Some(value);
            self.given.push(Given {
                value,
                var: leaf.var,
                positive: self.fill.positive[at],
                fixed: self.fill.fixed[at] || leaf.number.is_some(),
                held: held.filter(|_| self.fill.fixed[at] && !self.fill.constant[at]),
            });
        }
        Ok(())
    }

    /// A value that something outside of the pattern computes.
    fn computed(&mut self, row: ValueRow) -> Result<ValueId, marquetry_ir::GraphError> {
        let name = self.name(row, 'x');
        let input = self.graph.add_input(&format!("{name}_in"), self.ty(row))?;
        let value = self.graph.value_named(&name);
        self.graph.add_node(Node::new("", "Sin"), &[Some(input)], &[Some(value)])?;
        Ok(value)
    }

    fn nodes(&mut self) -> Result<(), Stuck> {
        let fill = self.fill;
        for node in fill.nodes.iter().filter(|node| node.home == 0) {
            let mut inputs = Vec::new();
            for input in &node.inputs {
                inputs.push(match input {
                    None => None,
                    Some(Input::Value(row)) => {
                        Some(self.values[row.index()].ok_or(Stuck::Rejected)?)
                    }
                    Some(Input::Constant(tensor)) => {
                        let name = self.graph.fresh_name("k");
                        let made = self.graph.add_initializer(&name, tensor.clone());
                        Some(made.map_err(|_| Stuck::Rejected)?)
                    }
                });
            }
            let mut outputs = Vec::new();
            for &row in &node.outputs {
                let name = self.name(row, 't');
                let value = self.graph.value_named(&name);
                self.values[row.index()] = Some(value);
                outputs.push(Some(value));
            }
            let mut made = Node::new(node.domain.as_str(), node.op_type.as_str());
            made.attributes.clone_from(&node.attributes);
            for (name, body) in &node.bodies {
                let body = AttributeValue::Graph(Box::new(self.body(*body)?));
                made.attributes.push(Attribute::new(name.as_str(), body));
            }
            self.graph.add_node(made, &inputs, &outputs).map_err(|_| Stuck::Rejected)?;
        }
        Ok(())
    }

    fn output(&mut self, row: ValueRow, output: ValueId) -> Result<(), Stuck> {
        let float = self.fill.fact(row).is_some_and(|(dtype, _)| dtype == DType::Float);
        if self.fill.ask.context && float {
            let name = format!("{}_out", self.graph.value(output).name());
            let read = self.graph.value_named(&name);
            let node = Node::new("", "Cos");
            self.graph
                .add_node(node, &[Some(output)], &[Some(read)])
                .map_err(|_| Stuck::Rejected)?;
            self.graph.value_mut(read).ty = self.ty(row);
            self.graph.outputs.push(read);
            return Ok(());
        }
        if self.fill.ask.readers {
            let name = self.graph.fresh_name("out");
            let read = self.graph.value_named(&name);
            let node = Node::new("", "Identity");
            self.graph
                .add_node(node, &[Some(output)], &[Some(read)])
                .map_err(|_| Stuck::Rejected)?;
            self.graph.value_mut(read).ty = self.ty(row);
            self.graph.outputs.push(read);
            return Ok(());
        }
        self.graph.value_mut(output).ty = self.ty(row);
        self.graph.outputs.push(output);
        Ok(())
    }

    fn bound(&self, var: marquetry_pattern::core::VarId, fill: &Fill<'_, '_>) -> Bound {
        use crate::compute::World as _;
        let sight = super::solve::Sight { fill, scene: fill.scene(), finished: true };
        self.bound_of(&sight.look_up(var))
    }

    fn bound_of(&self, datum: &Datum) -> Bound {
        match datum {
            Datum::Bool(truth) => Bound::Int(i64::from(*truth)),
            Datum::Int(number) => Bound::Int(*number),
            Datum::Axis(axis) => Bound::Int(axis.written()),
            Datum::Float(float) => Bound::Float(float.number),
            Datum::Text(text) | Datum::Opaque(text) => Bound::Text(text.clone()),
            Datum::List(items) => {
                Bound::List(items.iter().map(|item| self.bound_of(item)).collect())
            }
            Datum::Dtype(dtype) => Bound::Dtype(*dtype),
            Datum::Value(row) => self.values[row.index()].map_or(Bound::Absent, Bound::Value),
            _ => Bound::Absent,
        }
    }
}
