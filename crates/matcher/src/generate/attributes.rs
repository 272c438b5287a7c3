//! Attributes of the nodes, and inputs that patterns spell as attributes.

use marquetry_ir::schema::{AttributeKind, Fallback, Parameter, ParameterKind, Schema};
use marquetry_ir::{Attribute, AttributeValue, DType, Tensor};
use marquetry_pattern::core::{AttributePattern, Others};

use super::domain::{self, Around};
use super::fill::{Fill, Filled, Input};
use super::sketch::SketchNode;
use super::{Open, Stuck};
use crate::compute::World as _;
use crate::datum::Datum;
use crate::search::is_axes;

impl<'a, 'p> Fill<'a, 'p> {
    /// The attributes of a node as patterns see them.
    pub(super) fn attributes(
        &mut self,
        node: &'a SketchNode<'p>,
        schema: &'static Schema,
    ) -> Result<Vec<(&'static str, Datum)>, Stuck> {
        let mut chosen: Vec<(&'static str, Datum)> = Vec::new();
        for (name, pattern) in &node.attributes {
            let names = schema.attribute_names();
            let Some(name) = names.into_iter().find(|known| known == name) else {
                return Err(Stuck::Rejected);
            };
            if let Some(content) = self.attribute(node, schema, name, pattern)? {
                chosen.push((name, content));
            }
        }
        let Some(op) = node.op else { return Ok(chosen) };
        for attribute in &schema.attributes {
            let named = chosen.iter().any(|(name, _)| *name == attribute.name)
                || node.bodies.iter().any(|(name, _)| *name == attribute.name);
            if attribute.required && !named {
                let candidates = self.domain(node, schema, attribute.name)?;
                let content = self.first_fit(candidates)?;
                chosen.push((attribute.name, content));
            }
        }
        if op.others != Others::Default {
            // A node on its own does not say how many results it has.
            if node.operator.name == "Split" && !chosen.iter().any(|(name, _)| *name == "split") {
                let candidates = self.domain(node, schema, "split")?;
                chosen.push(("split", self.first_fit(candidates)?));
            }
            let dims = self.first_dims(node);
            let around =
                Around { free_weights: !self.is_known(node, 1), ..self.around(node, &dims) };
            let written = op.args.len();
            let rest = match &op.others {
                Others::Rest(var) => Some(self.alias(*var, &node.scene)),
                _ => None,
            };
            let drawn: Vec<(&'static str, Datum)> =
                match rest.and_then(|at| self.bound[at].as_ref()) {
                    // What one name stands for is the same everywhere.
                    Some(Datum::Attributes(known)) => {
                        let names = schema.attribute_names().into_iter();
                        let found = names.filter_map(|name| {
                            let (_, content) = known.iter().find(|(known, _)| known == name)?;
                            Some((name, content.clone()))
                        });
                        found.collect()
                    }
                    _ => domain::others(schema, &around, &chosen, written, &mut self.random),
                };
            if let Some(at) = rest {
                let named =
                    drawn.iter().map(|(name, content)| ((*name).to_owned(), content.clone()));
                self.bound[at] = Some(Datum::Attributes(named.collect()));
            }
            let drawn = self.resized(node, schema, &chosen, drawn)?;
            for (name, content) in drawn {
                if !chosen.iter().any(|(other, _)| *other == name) {
                    chosen.push((name, content));
                }
            }
        }
        Ok(chosen)
    }

    /// Resampling needs factors or lengths: either of them.
    fn resized(
        &mut self,
        node: &SketchNode<'p>,
        schema: &'static Schema,
        chosen: &[(&'static str, Datum)],
        mut drawn: Vec<(&'static str, Datum)>,
    ) -> Result<Vec<(&'static str, Datum)>, Stuck> {
        let says = |name: &str| chosen.iter().chain(&drawn).any(|(known, _)| *known == name);
        let written = node.inputs.len() > 2 || schema.input_arity().0 > 1;
        if node.operator.name == "Resize" && !written && !says("scales") && !says("sizes") {
            let of_lengths = says("keep_aspect_ratio_policy") || self.random.once_in(2);
            let name = if of_lengths { "sizes" } else { "scales" };
            let candidates = self.domain(node, schema, name)?;
            drawn.push((name, self.first_fit(candidates)?));
        }
        Ok(drawn)
    }

    fn first_fit(&mut self, candidates: Vec<Datum>) -> Result<Datum, Stuck> {
        if candidates.is_empty() {
            return Err(Stuck::Rejected);
        }
        Ok(self.random.pick(&candidates).clone())
    }

    /// The content of one attribute; `None` to leave it out.
    fn attribute(
        &mut self,
        node: &'a SketchNode<'p>,
        schema: &'static Schema,
        name: &'static str,
        pattern: &'p AttributePattern,
    ) -> Result<Option<Datum>, Stuck> {
        Ok(match pattern {
            AttributePattern::Any => {
                let candidates = self.domain(node, schema, name)?;
                Some(self.first_fit(candidates)?)
            }
            AttributePattern::Bind(var) => {
                let candidates = self.domain(node, schema, name);
                let known = super::solve::Sight { fill: self, scene: &node.scene, finished: false };
                let free = known.look_up(*var) == Datum::Unbound;
                let candidates = if free { candidates? } else { Vec::new() };
                Some(self.need_var(*var, &node.scene, candidates)?)
            }
            AttributePattern::Value(value) => match self.need(value, &node.scene)? {
                Datum::None => None,
                content => Some(content),
            },
            AttributePattern::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    list.push(match item {
                        AttributePattern::Bind(var) => {
                            let most = self.first_dims(node).iter().copied().max().unwrap_or(1);
                            let ints = (0..=most as i64).map(Datum::Int).collect();
                            let rank = self.first_dims(node).len() as i64;
                            let axes = (-rank..0).map(|at| Datum::axes(Datum::Int(at), Some(rank)));
                            let ints = if is_axes(name) { axes.collect() } else { ints };
                            self.need_var(*var, &node.scene, ints)?
                        }
                        AttributePattern::Value(value) => self.need(value, &node.scene)?,
                        AttributePattern::Any => Datum::Int(1),
                        _ => return Err(Stuck::Unsupported(format!("`{name}` is a nested list"))),
                    });
                }
                Some(Datum::List(list))
            }
            AttributePattern::OneOf(_) | AttributePattern::Graph(_) => {
                unreachable!("decided when the graph was sketched")
            }
        })
    }

    fn first_dims(&self, node: &SketchNode<'p>) -> Vec<usize> {
        let first = node.inputs.iter().flatten().find_map(|row| self.fact(*row));
        first.map(|(_, dims)| dims.to_vec()).unwrap_or_default()
    }

    fn around<'d>(&self, node: &'d SketchNode<'p>, dims: &'d [usize]) -> Around<'d> {
        let outputs = node.outputs.len();
        let base = node.inputs.first().copied().flatten().and_then(|row| self.fact(row));
        let base = base.map_or(self.base, |(dtype, _)| dtype);
        Around { operator: &node.operator.name, dims, base, outputs, free_weights: false }
    }

    fn is_known(&self, node: &SketchNode<'p>, slot: usize) -> bool {
        let row = node.inputs.get(slot).copied().flatten();
        row.is_none_or(|row| self.fact(row).is_some())
    }

    fn domain(
        &mut self,
        node: &SketchNode<'p>,
        schema: &'static Schema,
        name: &'static str,
    ) -> Result<Vec<Datum>, Stuck> {
        let dims = self.first_dims(node);
        let around = self.around(node, &dims);
        let attribute = schema.attribute(name);
        let kind = attribute.map_or(AttributeKind::Ints, |attribute| attribute.kind);
        let found = domain::domain(name, kind, &around, &mut self.random);
        let default = attribute.and_then(|attribute| attribute.default.as_ref());
        let default = default.map(|value| match crate::search::datum(name, value) {
            content if is_axes(name) => Datum::axes(content, Some(dims.len() as i64)),
            content => content,
        });
        match (found, default) {
            (Some(mut found), default) => {
                found.extend(default.filter(|default| !found.contains(default)));
                Ok(found)
            }
            (None, Some(default)) => Ok(vec![default]),
            (None, None) => Err(Stuck::Unsupported(format!(
                "nothing is known of `{name}` of `{}`",
                node.operator.name
            ))),
        }
    }

    /// Writes an attribute as this opset spells it.
    pub(super) fn spell(
        &mut self,
        node: &SketchNode<'p>,
        schema: &'static Schema,
        name: &'static str,
        content: &Datum,
        filled: &mut Filled,
    ) -> Result<(), Stuck> {
        let content = self.turned(node, name, content.clone());
        if let Some(attribute) = schema.attribute(name) {
            let default = attribute.default.as_ref().map(|value| crate::search::datum(name, value));
            let is_default =
                default.is_some_and(|it| it.equals(&content, false) == Datum::Bool(true));
            self.note(node, name, is_default, filled);
            if is_default && (!self.ask.commute || self.random.once_in(2)) {
                return Ok(());
            }
            let value = value_of(attribute.kind, &content).ok_or(Stuck::Rejected)?;
            filled.attributes.push(Attribute::new(name, value));
            return Ok(());
        }
        let Some(parameter) = schema.parameter(name) else { return Err(Stuck::Rejected) };
        let slot = parameter.input.and_then(|input| schema.input(input)).ok_or(Stuck::Rejected)?;
        let tensor = self.parameter(node, parameter, &content)?;
        let default = match parameter.default {
            Some(Fallback::Number(number)) => content.as_float().map(|it| it.number == number),
            Some(Fallback::Ones(_)) => Some(content == Datum::ints([1])),
            _ => None,
        };
        self.note(node, name, default.unwrap_or(false), filled);
        put(&mut filled.inputs, slot, Input::Constant(tensor));
        Ok(())
    }

    /// Remembers what a node says that its pattern does not.
    fn note(
        &self,
        node: &SketchNode<'p>,
        name: &'static str,
        is_default: bool,
        filled: &mut Filled,
    ) {
        let says = |pattern: &AttributePattern| {
            !matches!(pattern, AttributePattern::Any | AttributePattern::Bind(_))
        };
        let named = node.attributes.iter().any(|(known, it)| *known == name && says(it));
        if let (false, false, Some(span)) = (named, is_default, node.origin) {
            let operator = node.operator.name.clone();
            filled.varied.push(Open { span, operator, attribute: name });
        }
    }

    /// Axes are counted from either end.
    fn turned(&mut self, node: &SketchNode<'p>, name: &str, content: Datum) -> Datum {
        // Behind the last axis there is none to count from the end.
        let front = node.operator.name == "Flatten";
        let some = self.ask.commute && self.random.once_in(3);
        if !is_axes(name) || !(front || some) {
            return content;
        }
        let inserted = match node.operator.name.as_str() {
            "Unsqueeze" => content.as_list().map_or(1, <[Datum]>::len) as i64,
            _ => 0,
        };
        let rank = self.first_dims(node).len() as i64 + inserted;
        let turn = |axis: i64| if axis < 0 { axis + rank } else { axis };
        match &content {
            Datum::Int(axis) => Datum::Int(turn(*axis)),
            Datum::Axis(axis) => Datum::Int(turn(axis.written())),
            Datum::List(axes) => {
                let axes: Option<Vec<i64>> = axes.iter().map(Datum::as_int).collect();
                axes.map_or(content, |axes| Datum::ints(axes.into_iter().map(turn)))
            }
            _ => content,
        }
    }

    fn parameter(
        &self,
        node: &SketchNode<'p>,
        parameter: &Parameter,
        content: &Datum,
    ) -> Result<Tensor, Stuck> {
        let first = node.inputs.first().copied().flatten().and_then(|row| self.fact(row));
        let dtype = first.map_or(self.base, |(dtype, _)| dtype);
        let int = |content: &Datum| content.as_int().ok_or(Stuck::Rejected);
        match parameter.kind {
            ParameterKind::Int => self.tensor(DType::Int64, &[], &[int(content)? as f64]),
            ParameterKind::Ints => {
                let items = content.as_list().ok_or(Stuck::Rejected)?;
                let items: Vec<i64> = items.iter().map(int).collect::<Result<_, _>>()?;
                Tensor::from_i64s([items.len()], &items).map_err(|_| Stuck::Rejected)
            }
            ParameterKind::Float | ParameterKind::Scalar => {
                let number = content.as_float().ok_or(Stuck::Rejected)?.number;
                let float = parameter.kind == ParameterKind::Float;
                self.tensor(if float { DType::Float } else { dtype }, &[], &[number])
            }
            ParameterKind::Floats => {
                let items = content.as_list().ok_or(Stuck::Rejected)?;
                let items = items.iter().map(|item| Some(item.as_float()?.number));
                let items: Vec<f64> = items.collect::<Option<_>>().ok_or(Stuck::Rejected)?;
                self.tensor(DType::Float, &[items.len()], &items)
            }
        }
    }

    /// Inputs that the operator needs and no pattern names.
    pub(super) fn complete(
        &mut self,
        node: &'a SketchNode<'p>,
        schema: &'static Schema,
        filled: &mut Filled,
    ) -> Result<(), Stuck> {
        let (least, _) = schema.input_arity();
        for slot in 0..least {
            if filled.inputs.get(slot).is_some_and(Option::is_some) {
                continue;
            }
            let Some(formal) = schema.formal_input(slot) else { return Err(Stuck::Rejected) };
            let parameter =
                schema.parameters.iter().find(|parameter| parameter.input == Some(formal.name));
            let Some(parameter) = parameter else {
                return Err(Stuck::Unsupported(format!(
                    "nothing is known of `{}` of `{}`",
                    formal.name, node.operator.name
                )));
            };
            let dims = self.first_dims(node);
            let content = if parameter.attribute == "shape" && node.operator.name == "Expand" {
                Datum::ints(self.expansion(&dims))
            } else if parameter.attribute == "shape" {
                Datum::ints(self.reshape(&dims))
            } else {
                let candidates = self.domain(node, schema, parameter.attribute)?;
                self.first_fit(candidates)?
            };
            let tensor = self.parameter(node, parameter, &content)?;
            put(&mut filled.inputs, slot, Input::Constant(tensor));
        }
        Ok(())
    }
}

fn put(inputs: &mut Vec<Option<Input>>, slot: usize, input: Input) {
    while inputs.len() <= slot {
        inputs.push(None);
    }
    inputs[slot] = Some(input);
}

fn value_of(kind: AttributeKind, content: &Datum) -> Option<AttributeValue> {
    let int = |datum: &Datum| match datum {
        Datum::Bool(truth) => Some(i64::from(*truth)),
        Datum::Dtype(dtype) => Some(dtype.number().into()),
        other => other.as_int(),
    };
    Some(match kind {
        AttributeKind::Int => AttributeValue::Int(int(content)?),
        AttributeKind::Float => AttributeValue::Float(content.as_float()?.number as f32),
        AttributeKind::Ints => {
            AttributeValue::Ints(content.as_list()?.iter().map(int).collect::<Option<_>>()?)
        }
        AttributeKind::Floats => {
            let floats = content.as_list()?.iter();
            let floats = floats.map(|item| Some(item.as_float()?.number as f32));
            AttributeValue::Floats(floats.collect::<Option<_>>()?)
        }
        AttributeKind::String => match content {
            Datum::Text(text) => AttributeValue::String(text.clone().into()),
            _ => return None,
        },
        _ => return None,
    })
}
