//! What was found, in words.

mod number;

use marquetry_ir::Dim;
use marquetry_pattern::core::{ExprId, ExprKind, VarId};
use marquetry_pattern::gexpr::{GExpr, GExprKind};
use marquetry_pattern::{Sources, Span};

use crate::compute::World;
use crate::datum::Datum;
use crate::index::{Index, NodeRow, ValueRow};
use crate::plan::{Constraint, Plan, variables};
use crate::search::{Attempt, Reason, Stop, datum, uniform};

pub(super) use number::relative;
use number::{content, number, percent};

/// Elements of a constant that are shown.
const SHOWN: usize = 6;

/// What is needed to say something about an attempt.
pub(super) struct Describe<'a, 'm, 'p> {
    pub(super) index: &'a Index<'m>,
    pub(super) plan: &'a Plan<'p>,
    pub(super) sources: &'a Sources,
    /// Without it nothing is bound.
    pub(super) attempt: Option<&'a Attempt>,
}

impl<'a, 'm, 'p> Describe<'a, 'm, 'p> {
    /// The same for another attempt.
    pub(super) fn of<'b>(&self, attempt: &'b Attempt) -> Describe<'b, 'm, 'p>
    where
        'a: 'b,
    {
        Describe { attempt: Some(attempt), ..*self }
    }

    /// Why an attempt stopped. `others` stopped at the same value: they say what else would have been
    /// right there.
    pub(super) fn message(&self, stop: &Stop, others: &[Stop]) -> String {
        let value = |say: &dyn Fn(ValueRow) -> String| stop.value.map_or_else(String::new, say);
        let name = |var: VarId| self.plan.pattern.var(var).name.as_str();
        match stop.reason {
            Reason::Operator(_) => value(&|at| self.other_operator(at, stop, others)),
            Reason::NotScalar => value(&|at| self.not_a_number(at, stop)),
            Reason::OtherConstant => self.other_constant(stop),
            Reason::Number(var) => self.other_number(var, stop),
            Reason::Guard => self.condition(stop),
            Reason::Type(var) => value(&|at| self.other_type(var, at)),
            Reason::Different(var) => self.other_value(var, stop),
            Reason::Escapes => value(&|at| self.escape(at)),
            Reason::Missing(_) => {
                let reader = stop.last.map(|(node, _)| self.node(node));
                format!("{} has no such input", reader.unwrap_or_else(|| "the node".to_owned()))
            }
            Reason::NotAbsent => {
                value(&|at| format!("{} is there; this input must be absent", self.value(at)))
            }
            Reason::Result => value(&|at| match self.index.producer(at) {
                Some((node, slot)) => {
                    format!("“{}” is result {slot} of {}", self.name(at), self.node(node))
                }
                None => format!("“{}” is no result of a node", self.name(at)),
            }),
            Reason::Inputs => stop.last.map_or_else(String::new, |(node, _)| {
                let there = self.index.inputs(node).iter().flatten().count();
                format!("{} has {there} inputs, more than are written", self.node(node))
            }),
            Reason::Attribute(at) => self.attribute(at, stop),
            Reason::OtherAttribute => self.other_attribute(stop),
            Reason::Leaves(_) => value(&|at| {
                let wanted = match stop.expr.map(|expr| &self.plan.pattern.expr(expr).kind) {
                    Some(ExprKind::Chain(chain)) => chain.operands.len(),
                    _ => 0,
                };
                let node = self.index.producer(at).map(|(node, _)| self.node(node));
                let node = node.unwrap_or_else(|| format!("“{}”", self.name(at)));
                format!("{node} and those above it do not combine {wanted} operands")
            }),
            Reason::Unbound(var) => format!("`{}` is bound to nothing", name(var)),
            Reason::NotConvex => value(&|at| {
                format!("a path leaves the match through “{}” and comes back", self.name(at))
            }),
            Reason::InputInside(var) => value(&|at| {
                format!(
                    "`{}` would be “{}”, which the match itself computes",
                    name(var),
                    self.name(at)
                )
            }),
            Reason::SameOutput => {
                value(&|at| format!("two outputs would both be “{}”", self.name(at)))
            }
            Reason::NoNode => "all that is optional is absent: no node is matched".to_owned(),
        }
    }

    /// The node that a stop is about.
    pub(super) fn node_of(&self, stop: &Stop) -> Option<NodeRow> {
        let produced = stop.value.and_then(|value| self.index.producer(value));
        produced.map(|(node, _)| node).or(stop.last.map(|(node, _)| node))
    }

    /// `Add “/ln/Add”`; a node without a name goes by its first result.
    pub(super) fn node(&self, node: NodeRow) -> String {
        let operator = self.operator(node);
        let name = self.index.node_name(node);
        let result = self.index.outputs(node).iter().flatten().next();
        match result {
            Some(value) if name.is_empty() => format!("{operator} “{}”", self.name(*value)),
            _ => format!("{operator} “{name}”"),
        }
    }

    fn operator(&self, node: NodeRow) -> String {
        let (domain, name) = self.index.operator_name(self.index.operator(node));
        if domain.is_empty() { name.to_owned() } else { format!("{domain}.{name}") }
    }

    pub(super) fn name(&self, value: ValueRow) -> &str {
        self.index.value_name(value)
    }

    /// A value with its type and what is known of its content.
    fn value(&self, value: ValueRow) -> String {
        let name = self.name(value);
        let ty = self.type_of(value);
        if let Some(tensor) = self.index.known(value) {
            return format!("“{name}” ({ty}, {})", content(tensor));
        }
        if self.index.is_constant(value) {
            return format!("“{name}” ({ty}, constant)");
        }
        match self.index.producer(value) {
            Some((node, _)) => format!("“{name}” ({ty}, from {})", self.operator(node)),
            None => format!("“{name}” ({ty}, an input)"),
        }
    }

    fn type_of(&self, value: ValueRow) -> String {
        let dtype =
            self.index.dtype(value).map_or_else(|| "?".to_owned(), |dtype| dtype.to_string());
        match self.index.shape(value) {
            Some([]) => dtype,
            Some(dims) => {
                let dims: Vec<_> = dims.iter().map(Dim::to_string).collect();
                format!("{dtype}[{}]", dims.join(","))
            }
            None => format!("{dtype}[…]"),
        }
    }

    fn other_operator(&self, at: ValueRow, stop: &Stop, others: &[Stop]) -> String {
        let mut wanted: Vec<&str> = Vec::new();
        let mut number = false;
        for stop in [stop].into_iter().chain(others) {
            match stop.reason {
                Reason::Operator(expr) => wanted.extend(self.operators(expr)),
                Reason::NotScalar => number = true,
                _ => {}
            }
        }
        let mut unique: Vec<&str> = Vec::new();
        wanted.into_iter().for_each(|name| {
            if !unique.contains(&name) {
                unique.push(name);
            }
        });
        let mut wanted = unique.join(" or ");
        if number {
            wanted.push_str(" (or a number)");
        }
        let name = self.name(at);
        match self.index.producer(at) {
            Some((node, _)) => {
                let called = self.index.node_name(node);
                let called =
                    if called.is_empty() { String::new() } else { format!(" “{called}”") };
                let from = format!("{}{called}", self.operator(node));
                if unique.contains(&self.operator(node).as_str()) {
                    return format!("“{name}” comes from {from} of another graph");
                }
                format!("“{name}” comes from {from}, not from {wanted}")
            }
            None if self.index.is_constant(at) => {
                format!("{} is not the result of {wanted}", self.value(at))
            }
            None => format!("“{name}” is an input of the graph, not the result of {wanted}"),
        }
    }

    fn operators(&self, expr: ExprId) -> Vec<&str> {
        match &self.plan.pattern.expr(expr).kind {
            ExprKind::Op(op) => op.operators.iter().map(|op| op.name.as_str()).collect(),
            ExprKind::Chain(chain) => vec![chain.operator.name.as_str()],
            _ => Vec::new(),
        }
    }

    fn not_a_number(&self, at: ValueRow, stop: &Stop) -> String {
        let what = self.value(at);
        if !self.index.is_constant(at) && self.index.known(at).is_none() {
            return format!("{what} is not a constant");
        }
        let list = stop.expr.is_some_and(|expr| {
            matches!(&self.plan.pattern.expr(expr).kind,
                ExprKind::Constant { value, .. } if matches!(value.kind, GExprKind::List(_)))
        });
        if list {
            return format!("{what} is no list of one axis");
        }
        let full = stop
            .expr
            .is_some_and(|expr| matches!(self.plan.pattern.expr(expr).kind, ExprKind::Full(_)));
        match self.index.known(at) {
            Some(_) if full => format!("{what}: its elements are not all equal"),
            Some(tensor) if tensor.len() == 1 => {
                format!("{what} raises the rank of the result, so it is more than a number")
            }
            _ => format!("{what}: a number is a constant whose dims are all 1"),
        }
    }

    fn other_constant(&self, stop: &Stop) -> String {
        let found = stop.value.and_then(|at| self.index.known(at));
        let wanted = stop.expr.and_then(|expr| self.literal(expr));
        let wanted = match wanted {
            Some(wanted) => self.evaluate(wanted),
            None => self.evaluate_at(stop.span),
        };
        let name = stop.value.map(|at| format!("“{}”", self.name(at)));
        let name = name.unwrap_or_else(|| "what was found".to_owned());
        let full = found.and_then(uniform);
        let found = match (found, full) {
            (Some(tensor), _) if tensor.len() == 1 => Datum::item(tensor),
            (Some(_), Some(item)) => Some(item),
            (Some(tensor), None) => Datum::elements(tensor),
            (None, _) => None,
        };
        let Some(found) = found else {
            return format!("{name} is not {}", self.datum(&wanted));
        };
        let mut said = format!("{name} is {}, not {}", self.datum(&found), self.datum(&wanted));
        if let Some(error) = relative(&found, &wanted) {
            said.push_str(&format!(" (off by {})", percent(error)));
        }
        said
    }

    /// The expression of a literal.
    pub(super) fn literal(&self, expr: ExprId) -> Option<&GExpr> {
        match &self.plan.pattern.expr(expr).kind {
            ExprKind::Constant { value, .. } => Some(value),
            ExprKind::Full(inner) => self.literal(*inner),
            _ => None,
        }
    }

    /// The value of a literal or condition by its place, for stops that know no expression.
    fn evaluate_at(&self, span: Span) -> Datum {
        let literals = self.plan.pattern.exprs.iter().filter_map(|expr| match &expr.kind {
            ExprKind::Constant { value, .. } => Some(value),
            _ => None,
        });
        let found = literals.into_iter().find(|value| value.span == span);
        found.map_or(Datum::Unbound, |value| self.evaluate(value))
    }

    fn other_number(&self, var: VarId, stop: &Stop) -> String {
        let declared = self.plan.pattern.var(var);
        let name = declared.name.rsplit('.').next().unwrap_or_default();
        let bound = self.look_up(var);
        // A number at a value: it is compared with what is bound already.
        if let Some(found) = stop.value.and_then(|at| self.index.known(at)).and_then(Datum::item) {
            let (found, bound) = (self.datum(&found), self.datum(&bound));
            return format!("`{name}` is {bound} already, and here {found}");
        }
        let constraint = self.plan.constraints.iter().find_map(|constraint| match constraint {
            Constraint::Let(binding) if binding.value.span == stop.span => Some(&binding.value),
            Constraint::Given(given, value) if *given == var => Some(*value),
            _ => None,
        });
        let wanted = constraint.map_or(Datum::Unbound, |value| self.evaluate(value));
        let mut said = format!("`{name}` is {}, not {}", self.datum(&bound), self.datum(&wanted));
        if let Some(error) = relative(&bound, &wanted) {
            said.push_str(&format!(" (off by {})", percent(error)));
        }
        said
    }

    fn condition(&self, stop: &Stop) -> String {
        let condition = self.plan.constraints.iter().find_map(|constraint| match constraint {
            Constraint::Guard { condition, .. } if condition.span == stop.span => Some(*condition),
            _ => None,
        });
        let Some(condition) = condition else {
            return "an element does not meet its condition".to_owned();
        };
        let truth = match self.evaluate(condition) {
            Datum::Bool(_) => "does not hold",
            _ => "is not known to hold",
        };
        let mut mentioned = Vec::new();
        variables(condition, &mut mentioned);
        mentioned.dedup();
        let said: Vec<_> = mentioned
            .into_iter()
            .map(|var| {
                let name = &self.plan.pattern.var(var).name;
                let name = name.rsplit('.').next().unwrap_or_default();
                let what = match self.look_up(var) {
                    Datum::Value(value) => self.value(value),
                    other => self.datum(&other),
                };
                format!("`{name}` is {what}")
            })
            .collect();
        let said = if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) };
        format!("the condition {truth}{said}")
    }

    fn other_type(&self, var: VarId, at: ValueRow) -> String {
        let declared = self.plan.pattern.var(var);
        let name = declared.name.rsplit('.').next().unwrap_or_default();
        if declared.constant && !self.index.is_constant(at) {
            return format!("{} is not constant, as `{name}` must be", self.value(at));
        }
        let wanted = declared.types.first().map(|ty| self.sources.text(ty.span));
        match wanted {
            Some(wanted) => {
                format!(
                    "“{}” is {}, and `{name}` must be {wanted}",
                    self.name(at),
                    self.type_of(at)
                )
            }
            None => format!("{} is not of the type of `{name}`", self.value(at)),
        }
    }

    fn other_value(&self, var: VarId, stop: &Stop) -> String {
        let declared = self.plan.pattern.var(var);
        let name = declared.name.rsplit('.').next().unwrap_or_default();
        let bound = match self.look_up(var) {
            Datum::Value(value) => format!("“{}”", self.name(value)),
            other => self.datum(&other),
        };
        match stop.value {
            Some(at) => format!("“{}” is not {bound}, which `{name}` is already", self.name(at)),
            None => format!("`{name}` is {bound} already"),
        }
    }

    fn escape(&self, at: ValueRow) -> String {
        let name = self.name(at);
        let var = self.variable_of(at).map(|var| format!(" (`{var}`)")).unwrap_or_default();
        let inside = |node: &NodeRow| {
            self.attempt.is_some_and(|attempt| attempt.nodes.iter().any(|(row, _)| row == node))
        };
        let mut outside: Vec<NodeRow> = Vec::new();
        for user in self.index.users(at) {
            if !inside(user) && !outside.contains(user) {
                outside.push(*user);
            }
        }
        let used = match outside[..] {
            _ if self.index.is_output(at) => {
                return format!("“{name}”{var} is an output of the graph");
            }
            [] => "elsewhere".to_owned(),
            [one] => format!("by {}", self.node(one)),
            [first, ..] => format!("by {} and {} more nodes", self.node(first), outside.len() - 1),
        };
        format!("“{name}”{var} is also read {used}, outside the match")
    }

    /// The variable of the text that a value is bound to.
    pub(super) fn variable_of(&self, at: ValueRow) -> Option<&str> {
        let pattern = self.plan.pattern;
        let is = |var: VarId| matches!(self.look_up(var), Datum::Value(value) if value == at);
        let mut vars = pattern
            .vars()
            .filter(|(_, declared)| declared.copy_of.is_none() && !declared.name.contains('.'));
        vars.find(|(var, _)| is(*var)).map(|(_, declared)| declared.name.as_str())
    }

    fn attribute(&self, at: usize, stop: &Stop) -> String {
        let Some((node, attribute)) = stop.last.and_then(|(node, expr)| {
            let ExprKind::Op(op) = &self.plan.pattern.expr(expr).kind else { return None };
            Some((node, op.attributes.get(at)?))
        }) else {
            return "the attribute is another one".to_owned();
        };
        let view = self.index.view(node);
        let name = &attribute.name;
        match view.attribute(name) {
            Some(found) => {
                let found = self.datum(&datum(name, &found));
                format!("{} has {name} = {found}", self.node(node))
            }
            None => {
                let input = view.schema.and_then(|schema| schema.parameter(name));
                let computed =
                    input.and_then(|parameter| parameter.input).and_then(|input| view.input(input));
                match computed {
                    Some(_) => format!("{name} of {} is computed at run time", self.node(node)),
                    None => format!("{} has no {name}", self.node(node)),
                }
            }
        }
    }

    fn other_attribute(&self, stop: &Stop) -> String {
        let Some((node, named)) = stop.last.and_then(|(node, expr)| {
            let ExprKind::Op(op) = &self.plan.pattern.expr(expr).kind else { return None };
            Some((node, op.attributes.iter().map(|attribute| attribute.name.as_str())))
        }) else {
            return "an attribute that is not written is not at its default".to_owned();
        };
        let named: Vec<&str> = named.collect();
        let view = self.index.view(node);
        let written = view.node.attributes.iter().map(|attribute| attribute.name.as_str());
        let parameters = view.schema.map_or(&[][..], |schema| schema.parameters);
        let names = written.chain(parameters.iter().map(|parameter| parameter.attribute));
        let mut said: Vec<String> = Vec::new();
        for name in names.filter(|name| !named.contains(name)) {
            let Some(found) = view.attribute(name).map(|found| datum(name, &found)) else {
                continue;
            };
            let default = view.default(name).map(|default| datum(name, &default));
            let other =
                default.is_none_or(|default| default.equals(&found, false) != Datum::Bool(true));
            let text = format!("{name} = {}", self.datum(&found));
            if other && !said.contains(&text) {
                said.push(text);
            }
        }
        if said.is_empty() {
            return format!("{} has an attribute that is only known at run time", self.node(node));
        }
        format!(
            "{} has {}, which is not written and not the default",
            self.node(node),
            said.join(", ")
        )
    }

    /// A datum in the syntax of the language, as far as it has one.
    pub(super) fn datum(&self, datum: &Datum) -> String {
        match datum {
            Datum::None => "absent".to_owned(),
            Datum::Unknown => "unknown".to_owned(),
            Datum::Unbound => "not bound".to_owned(),
            Datum::Bool(truth) => truth.to_string(),
            Datum::Int(number) => number.to_string(),
            Datum::Axis(axis) => axis.written().to_string(),
            Datum::Float(float) => number(*float),
            Datum::Text(text) => format!("\"{text}\""),
            Datum::Dtype(dtype) => dtype.to_string(),
            Datum::Symbol(name) => name.clone(),
            Datum::Value(value) => format!("“{}”", self.name(*value)),
            Datum::Operator(row) => self.index.operator_name(*row).1.to_owned(),
            Datum::Opaque(text) => text.chars().take(40).collect(),
            Datum::List(items) => {
                let mut shown: Vec<_> =
                    items.iter().take(SHOWN).map(|item| self.datum(item)).collect();
                if items.len() > SHOWN {
                    shown.push("…".to_owned());
                }
                format!("[{}]", shown.join(", "))
            }
            Datum::Tensor(tensor) => match &tensor.items[..] {
                [single] => self.datum(single),
                items => format!(
                    "{}{:?} {{{}}}",
                    tensor.dtype,
                    tensor.dims,
                    self.datum(&Datum::List(items.to_vec())).trim_matches(['[', ']'])
                ),
            },
            Datum::Attributes(attributes) => {
                let each = attributes.iter();
                let each: Vec<_> =
                    each.map(|(name, datum)| format!("{name} = {}", self.datum(datum))).collect();
                format!("<{}>", each.join(", "))
            }
        }
    }
}

impl World for Describe<'_, '_, '_> {
    fn look_up(&self, var: VarId) -> Datum {
        if let Some(bound) = self.attempt.and_then(|attempt| attempt.binding(var)) {
            return bound.clone();
        }
        match &self.plan.pattern.var(var).value {
            Some(given) => self.evaluate(given),
            None => Datum::Unbound,
        }
    }

    fn index(&self) -> Option<&Index<'_>> {
        Some(self.index)
    }

    fn same_value(&self, a: ValueRow, b: ValueRow) -> bool {
        a == b || matches!((self.index.known(a), self.index.known(b)), (Some(x), Some(y)) if x == y)
    }

    fn matches(&self, _: ExprId, _: Option<ValueRow>) -> Option<bool> {
        None
    }
}
