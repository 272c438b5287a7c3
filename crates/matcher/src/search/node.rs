//! Nodes: operator, attributes, inputs, trees of one operator.

use std::rc::Rc;

use marquetry_ir::schema::{Parameter, View};
use marquetry_ir::{AttributeValue, DType, Graph};
use marquetry_pattern::core::{
    Arg, Attribute, AttributePattern, Chain, ExprId, GraphPattern, Op, Others, Output, VarId,
};

use super::{Exhaustion, Goal, Reason, Search, Undo};
use crate::datum::{Datum, Float};
use crate::index::{NodeRow, ValueRow};

impl<'p> Search<'_, '_, 'p> {
    /// One node with its attributes; its inputs become goals.
    pub(super) fn node(&mut self, op: &'p Op, expr: ExprId, value: ValueRow) -> bool {
        let Some((node, slot)) = self.producer(expr, value) else {
            return self.fail(Reason::Operator(expr), expr, Some(value));
        };
        self.stand_with(node);
        if !matches!(&op.output, Output::Bind(_)) && op.output != Output::Index(slot) {
            return self.fail(Reason::Result, expr, Some(value));
        }
        if let Some(var) = op.bind
            && !self.unify(var, Datum::Operator(self.index.operator(node)))
        {
            return self.fail(Reason::Different(var), expr, Some(value));
        }
        if let Output::Bind(vars) = &op.output
            && !self.bind_results(vars, node, expr)
        {
            return false;
        }
        self.mark(node, expr);
        let Some(inputs) = self.arguments(op, node) else {
            return self.fail(Reason::Inputs, expr, Some(value));
        };
        self.push_inputs(op, expr, node, &inputs);
        self.attributes(op, expr, node, &inputs)
    }

    /// The node that computes a value, if it is one of the operators, and in this graph or in the one
    /// around it whose values a body reads.
    fn producer(&self, expr: ExprId, value: ValueRow) -> Option<(NodeRow, u32)> {
        let (node, slot) = self.index.producer(value)?;
        let near = [self.place, self.home].contains(&self.index.place(node));
        let wanted = self.plan.operators(expr).contains(&self.index.operator(node));
        (near && wanted).then_some((node, slot))
    }

    /// Goes to the graph of a node until its inputs are matched.
    fn stand_with(&mut self, node: NodeRow) {
        let place = self.index.place(node);
        if place != self.place {
            self.push(Goal::Enter(self.place));
            self.trail.push(Undo::Place(self.place));
            self.place = place;
        }
    }

    fn bind_results(&mut self, vars: &[VarId], node: NodeRow, expr: ExprId) -> bool {
        let index = self.index;
        let outputs = index.outputs(node);
        for (slot, &var) in vars.iter().enumerate() {
            let result = if self.pattern().var(var).list {
                let rest = outputs.iter().skip(slot).flatten();
                Datum::List(rest.map(|value| Datum::Value(*value)).collect())
            } else {
                outputs.get(slot).copied().flatten().map_or(Datum::None, Datum::Value)
            };
            let fresh = self.binding(var).is_none();
            if !self.unify(var, result.clone()) {
                return self.fail(Reason::Different(var), expr, None);
            }
            if let Datum::Value(at) = result
                && fresh
            {
                self.push(Goal::Define { var, at, reader: None, except: Some(expr) });
            }
        }
        true
    }

    /// The inputs that the arguments are matched against, absent ones at the end left out: those
    /// that a parameter stands for are attributes, unless an argument is written at their place.
    fn arguments(&self, op: &Op, node: NodeRow) -> Option<Vec<Option<ValueRow>>> {
        let inputs = self.index.inputs(node);
        let written = op.args.len();
        let each = op.args.iter().any(|arg| matches!(arg, Arg::Each { .. }));
        let mut kept = inputs.to_vec();
        if !each && inputs.len() > written {
            let schema = self.index.view(node).schema;
            for (slot, input) in kept.iter_mut().enumerate().skip(written) {
                let name = schema.and_then(|schema| Some(schema.inputs.get(slot)?.name));
                let parameter = name.and_then(|name| {
                    schema?.parameters.iter().find(|parameter| parameter.input == Some(name))
                });
                if parameter.is_some() {
                    *input = None;
                }
            }
        }
        while let Some(None) = kept.last() {
            kept.pop();
        }
        let fits = each || op.open || kept.len() <= written;
        fits.then_some(kept)
    }

    fn push_inputs(&mut self, op: &Op, expr: ExprId, node: NodeRow, inputs: &[Option<ValueRow>]) {
        let reader = Some(node);
        let all_single = op.args.iter().all(|arg| matches!(arg, Arg::One(_)));
        let full = inputs.len() == op.args.len();
        let commutes = self.index.commutes(node);
        if commutes && !op.exact && all_single && full && op.args.len() > 1 {
            let leaves = inputs.iter().map(|input| (*input, node)).collect();
            self.push(Goal::Assign { parent: expr, next: 0, leaves, used: Rc::new([]) });
            return;
        }
        let each = op.args.iter().position(|arg| matches!(arg, Arg::Each { .. }));
        let after = each.map_or(0, |each| op.args.len() - each - 1);
        let middle = (inputs.len() + 1).saturating_sub(op.args.len());
        let input = |slot: usize| inputs.get(slot).copied().flatten();
        let mut goals = Vec::with_capacity(op.args.len());
        for (at, arg) in op.args.iter().enumerate() {
            match arg {
                Arg::One(expr) => {
                    let behind = each.is_some_and(|each| at > each);
                    let slot = if behind { at - 1 + middle } else { at };
                    goals.push(Goal::Expr { expr: *expr, at: input(slot), reader });
                }
                Arg::Each { collected, .. } => {
                    let taken = at..inputs.len().saturating_sub(after).max(at);
                    let inputs = taken.map(|slot| (input(slot), node)).collect();
                    let lists = Rc::new(vec![Vec::new(); collected.len()]);
                    goals.push(Goal::Each { parent: expr, arg: at, next: 0, inputs, lists });
                }
            }
        }
        self.push_all(goals);
    }

    fn attributes(
        &mut self,
        op: &'p Op,
        expr: ExprId,
        node: NodeRow,
        inputs: &[Option<ValueRow>],
    ) -> bool {
        let view = self.index.view(node);
        for (at, attribute) in op.attributes.iter().enumerate() {
            if !self.attribute(attribute, node, &view) {
                return self.fail_at(Reason::Attribute(at), attribute.span, None);
            }
        }
        let fits = match &op.others {
            Others::Any => true,
            Others::Default => {
                let others = self.other_attributes(op, node, &view, inputs);
                others.is_some_and(|others| others.is_empty())
            }
            Others::Rest(var) => {
                let others = self.other_attributes(op, node, &view, inputs);
                others.is_some_and(|others| self.unify(*var, Datum::Attributes(others)))
            }
        };
        fits || self.fail(Reason::OtherAttribute, expr, None)
    }

    fn attribute(&mut self, attribute: &'p Attribute, node: NodeRow, view: &View<'_>) -> bool {
        if let AttributePattern::Graph(graph) = &attribute.pattern {
            return self.body(graph, &attribute.name, node, view);
        }
        let content = match self.written(&attribute.name, view) {
            Some(content) if is_axes(&attribute.name) => Datum::axes(content, self.axes_rank(node)),
            Some(content) => content,
            // The input that took the attribute's place is computed at run time.
            None if is_migrated(&attribute.name, view) => {
                return matches!(attribute.pattern, AttributePattern::Any);
            }
            None => Datum::None,
        };
        self.attribute_is(&attribute.pattern, content)
    }

    fn attribute_is(&mut self, pattern: &'p AttributePattern, content: Datum) -> bool {
        match pattern {
            AttributePattern::Any => true,
            AttributePattern::Bind(var) => self.unify(*var, content),
            AttributePattern::Value(value) => self.compare(value, content, None),
            AttributePattern::List(patterns) => match content {
                Datum::List(items) if items.len() == patterns.len() => patterns
                    .iter()
                    .zip(items)
                    .all(|(pattern, item)| self.attribute_is(pattern, item)),
                _ => false,
            },
            AttributePattern::OneOf(patterns) => patterns.iter().any(|pattern| {
                let before = self.trail.len();
                let fits = self.attribute_is(pattern, content.clone());
                if !fits {
                    self.undo(before);
                }
                fits
            }),
            AttributePattern::Graph(_) => false,
        }
    }

    /// The graph of an attribute: its outputs become goals in that graph.
    fn body(
        &mut self,
        pattern: &'p GraphPattern,
        name: &str,
        node: NodeRow,
        view: &View<'_>,
    ) -> bool {
        let before = view.node.attributes.iter().take_while(|attribute| attribute.name != name);
        let skipped: usize = before.map(|attribute| attribute.value.graphs().len()).sum();
        let index = self.index;
        let Some(&place) = index.bodies(node).get(skipped) else { return false };
        let inputs = index.graph_inputs(place);
        let outputs = index.graph_outputs(place).to_vec();
        if inputs.len() != pattern.inputs.len() || outputs.len() != pattern.outputs.len() {
            return false;
        }
        let mut goals = vec![Goal::Enter(place), Goal::Hold(pattern.scope)];
        let bind = pattern.inputs.iter().zip(inputs);
        goals.extend(bind.map(|(&var, value)| Goal::Unify(var, Datum::Value(value))));
        for (&var, value) in pattern.outputs.iter().zip(outputs) {
            goals.push(Goal::Unify(var, Datum::Value(value)));
            goals.push(Goal::Define { var, at: value, reader: None, except: None });
        }
        goals.push(Goal::Enter(self.place));
        self.push_all(goals);
        true
    }

    /// An attribute as patterns see it.
    fn written(&self, name: &str, view: &View<'_>) -> Option<Datum> {
        view.attribute(name).map(|value| datum(name, &value))
    }

    /// The rank that axes of a node are counted from: that of the result where axes are inserted.
    fn axes_rank(&self, node: NodeRow) -> Option<i64> {
        let (_, name) = self.index.operator_name(self.index.operator(node));
        let values = match name {
            "Unsqueeze" | "OneHot" => self.index.outputs(node),
            _ => self.index.inputs(node),
        };
        let rank = self.index.rank((*values.first()?)?)?;
        i64::try_from(rank).ok()
    }

    /// Attributes that the pattern does not name and that are not at their default; `None` if one
    /// of them is not known before a run.
    fn other_attributes(
        &self,
        op: &Op,
        node: NodeRow,
        view: &View<'_>,
        inputs: &[Option<ValueRow>],
    ) -> Option<Vec<(String, Datum)>> {
        let named = |name: &str| op.attributes.iter().any(|attribute| attribute.name == name);
        // The last axis may be written as −1 and as its number.
        let rank = self.axes_rank(node);
        let axes = |name: &str, content: Datum| match is_axes(name) {
            true => Datum::axes(content, rank),
            false => content,
        };
        let mut others = Vec::new();
        for attribute in &view.node.attributes {
            let name = attribute.name.as_str();
            if named(name) {
                continue;
            }
            let written = axes(name, datum(name, &attribute.value));
            let default = view.default(name).map(|default| axes(name, datum(name, &default)));
            if default.is_none_or(|default| default.equals(&written, false) != Datum::Bool(true)) {
                others.push((name.to_owned(), written));
            }
        }
        let parameters = view.schema.map_or(&[][..], |schema| schema.parameters);
        for parameter in parameters {
            let name = parameter.attribute;
            if named(name) || self.is_argument(parameter, view, inputs) {
                continue;
            }
            let Some(input) = parameter.input else { continue };
            if view.input(input).is_none() {
                continue;
            }
            let found = axes(name, self.written(name, view)?);
            let default = view.default(name).map(|default| axes(name, datum(name, &default)));
            if default.is_none_or(|default| default.equals(&found, false) != Datum::Bool(true)) {
                others.push((name.to_owned(), found));
            }
        }
        others.sort_by(|a, b| a.0.cmp(&b.0));
        Some(others)
    }

    /// Whether a parameter stands at an input that is matched as an input.
    fn is_argument(
        &self,
        parameter: &Parameter,
        view: &View<'_>,
        inputs: &[Option<ValueRow>],
    ) -> bool {
        let slot = parameter.input.and_then(|input| view.schema?.input(input));
        slot.is_some_and(|slot| inputs.get(slot).is_some_and(Option::is_some))
    }

    /// A tree of nodes of one operator, flattened: inner results have one use.
    pub(super) fn chain(
        &mut self,
        chain: &'p Chain,
        expr: ExprId,
        value: ValueRow,
    ) -> Result<bool, Exhaustion> {
        let Some((root, _)) = self.producer(expr, value) else {
            return Ok(self.fail(Reason::Operator(expr), expr, Some(value)));
        };
        self.stand_with(root);
        let index = self.index;
        let most = if chain.rest.is_some() { usize::MAX } else { chain.operands.len() };
        let (mut leaves, mut nodes) = (Vec::new(), vec![root]);
        let mut waiting: Vec<_> =
            index.inputs(root).iter().rev().map(|input| (*input, root)).collect();
        while let Some((input, reader)) = waiting.pop() {
            self.spend(1)?;
            let inner = input.filter(|input| {
                index.users(*input).len() == 1
                    && !index.is_output(*input)
                    && !index.is_constant(*input)
            });
            match inner.and_then(|input| self.producer(expr, input)) {
                Some((node, _)) => {
                    nodes.push(node);
                    waiting.extend(index.inputs(node).iter().rev().map(|input| (*input, node)));
                }
                None => leaves.push((input, reader)),
            }
            // Every node that waits has one leaf at least.
            if leaves.len() + waiting.len() > most {
                return Ok(self.fail(Reason::Leaves(most), expr, Some(value)));
            }
        }
        if leaves.len() < chain.operands.len() {
            return Ok(self.fail(Reason::Leaves(leaves.len()), expr, Some(value)));
        }
        nodes.into_iter().for_each(|node| self.mark(node, expr));
        self.push(Goal::Assign { parent: expr, next: 0, leaves: leaves.into(), used: Rc::new([]) });
        Ok(true)
    }
}

/// Whether an attribute names axes of a value.
pub(crate) fn is_axes(name: &str) -> bool {
    matches!(name, "axis" | "axes")
}

/// Whether an attribute is an input of this node, so that "no content" means "not known".
fn is_migrated(name: &str, view: &View<'_>) -> bool {
    let parameter = view.schema.and_then(|schema| schema.parameter(name));
    let input = parameter.and_then(|parameter| parameter.input);
    input.is_some_and(|input| view.input(input).is_some())
}

/// The content of an attribute.
pub(crate) fn datum(name: &str, value: &AttributeValue) -> Datum {
    let single = |number: f32| Datum::Float(Float { number: number.into(), bits: 24 });
    let text = |bytes: &[u8]| Datum::Text(String::from_utf8_lossy(bytes).into_owned());
    match value {
        AttributeValue::Int(number) if matches!(name, "to" | "dtype" | "output_dtype") => {
            let number = i32::try_from(*number).unwrap_or(i32::MAX);
            Datum::Dtype(DType::from_number(number))
        }
        AttributeValue::Int(number) => Datum::Int(*number),
        AttributeValue::Float(number) => single(*number),
        AttributeValue::String(bytes) => text(bytes),
        AttributeValue::Ints(numbers) => Datum::ints(numbers.iter().copied()),
        AttributeValue::Floats(numbers) => {
            Datum::List(numbers.iter().map(|number| single(*number)).collect())
        }
        AttributeValue::Strings(strings) => {
            Datum::List(strings.iter().map(|bytes| text(bytes)).collect())
        }
        AttributeValue::Tensor(tensor) => {
            Datum::tensor(tensor).unwrap_or_else(|| Datum::Opaque(format!("{tensor:?}")))
        }
        AttributeValue::Graph(graph) => Datum::Opaque(graph_name(graph)),
        other => Datum::Opaque(format!("{other:?}")),
    }
}

fn graph_name(graph: &Graph) -> String {
    format!("graph `{}`", graph.name)
}
