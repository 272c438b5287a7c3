//! Which names an item uses, and as what: decided before anything is lowered, because a condition
//! may stand before the equation that binds its variable.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{
    Arg, Attr, AttrValue, Body, Branch, Call, Dimension, Expr, ExprKind, Guard, GuardKind, Param,
    SigAttr, Statement, ValueType,
};
use crate::functions::{Parameter, builtin, is_dtype};
use crate::gexpr::{BinaryOp, CompareOp};
use crate::span::Span;

/// The names of one item.
#[derive(Default)]
pub(crate) struct Names {
    /// The signature's inputs and outputs, and what equations define: values for certain.
    pub(crate) declared: BTreeMap<String, Span>,
    /// Contents of attributes: header attributes, names in attribute position, `let` and `with`.
    pub(crate) attributes: BTreeSet<String>,
    /// Names that conditions compute with, so that in value position they are numbers.
    pub(crate) computed: BTreeSet<String>,
    /// Captured attributes, `rest...`.
    pub(crate) rests: BTreeSet<String>,
    /// Dimensions of types.
    pub(crate) dims: BTreeSet<String>,
    /// Element types that are no ONNX types.
    pub(crate) dtypes: BTreeSet<String>,
    /// Operators, `(Set as v)`.
    pub(crate) operators: BTreeSet<String>,
    /// Names in value position.
    pub(crate) values: BTreeMap<String, Span>,
    /// Of those, the ones that are met as `const w`.
    pub(crate) constants: BTreeSet<String>,
    /// How often each name stands where it is bound: in value or attribute position.
    pub(crate) bindings: BTreeMap<String, usize>,
    /// How often each name is written, anywhere.
    pub(crate) uses: BTreeMap<String, usize>,
    /// Where a declared value is computed with as if it were a number.
    pub(crate) arithmetic: Vec<(String, Span)>,
}

impl Names {
    pub(crate) fn params(&mut self, params: &[Param]) {
        for param in params {
            self.declared.insert(param.name.text.clone(), param.name.span);
            self.value_type(param.value_type.as_ref());
        }
    }

    pub(crate) fn attributes(&mut self, attributes: &[SigAttr]) {
        for attribute in attributes {
            let space = if attribute.rest { &mut self.rests } else { &mut self.attributes };
            space.insert(attribute.name.text.clone());
        }
    }

    /// Adds what a body declares. To be called for all bodies and parameters before
    /// [`body`](Self::body), [`expr`](Self::expr) and [`guard`](Self::guard).
    pub(crate) fn declare(&mut self, body: &Body) {
        for statement in &body.statements {
            match statement {
                Statement::Equation(equation) => {
                    for left in &equation.left {
                        self.declared.insert(left.name.text.clone(), left.name.span);
                        self.value_type(left.value_type.as_ref());
                    }
                    self.declare_inline(&equation.right);
                }
                Statement::Either(branches) => {
                    branches.iter().for_each(|branch| self.declare(branch));
                }
                Statement::Let(name, _) => {
                    self.attributes.insert(name.text.clone());
                }
                Statement::Where(_) => {}
            }
        }
    }

    /// Adds inline names, `(m = mean(x))`.
    pub(crate) fn declare_inline(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Naming(name, inner) => {
                self.declared.insert(name.text.clone(), name.span);
                self.declare_inline(inner);
            }
            ExprKind::Alt(branches) => branches.iter().for_each(|branch| {
                self.declare_inline(&branch.expr);
                for (name, _) in &branch.with {
                    self.attributes.insert(name.text.clone());
                }
            }),
            ExprKind::Call(call) => {
                for arg in &call.args {
                    if let Arg::One(expr) | Arg::Maybe(expr) | Arg::Each(expr) = arg {
                        self.declare_inline(expr);
                    }
                }
            }
            ExprKind::Infix(first, rest) => {
                self.declare_inline(first);
                rest.iter().for_each(|(_, expr)| self.declare_inline(expr));
            }
            ExprKind::Power(left, right) => {
                self.declare_inline(left);
                self.declare_inline(right);
            }
            ExprKind::Negate(inner) | ExprKind::Group(inner) | ExprKind::Index(inner, _) => {
                self.declare_inline(inner);
            }
            ExprKind::Coalesce(items) => items.iter().for_each(|item| self.declare_inline(item)),
            _ => {}
        }
    }

    pub(crate) fn value_type(&mut self, value_type: Option<&ValueType>) {
        let Some(value_type) = value_type else { return };
        if let Some(dtype) = &value_type.dtype
            && !is_dtype(&dtype.text)
        {
            self.dtypes.insert(dtype.text.clone());
            self.count(&dtype.text);
        }
        for dimension in value_type.shape.iter().flatten() {
            if let Dimension::Var(name) = dimension {
                self.dims.insert(name.text.clone());
                self.count(&name.text);
            }
        }
    }

    pub(crate) fn body(&mut self, body: &Body) {
        for statement in &body.statements {
            match statement {
                Statement::Where(item) => item.conditions.iter().for_each(|g| self.guard(g, false)),
                Statement::Let(name, value) => {
                    self.count(&name.text);
                    self.bind(&name.text);
                    self.guard(value, true);
                }
                Statement::Either(branches) => branches.iter().for_each(|branch| self.body(branch)),
                Statement::Equation(equation) => {
                    equation.left.iter().for_each(|left| self.count(&left.name.text));
                    self.expr(&equation.right);
                }
            }
        }
    }

    pub(crate) fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) | ExprKind::Const(name) => {
                self.count(&name.text);
                self.bind(&name.text);
                self.values.entry(name.text.clone()).or_insert(name.span);
                if matches!(expr.kind, ExprKind::Const(_)) {
                    self.constants.insert(name.text.clone());
                }
            }
            ExprKind::Naming(name, inner) => {
                self.count(&name.text);
                self.expr(inner);
            }
            ExprKind::Negate(inner) | ExprKind::Group(inner) | ExprKind::Index(inner, _) => {
                self.expr(inner);
            }
            ExprKind::Infix(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, expr)| self.expr(expr));
            }
            ExprKind::Coalesce(items) => items.iter().for_each(|item| self.expr(item)),
            ExprKind::Power(left, right) => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Call(call) => self.call(call),
            ExprKind::Constant(constant) => {
                self.guard(&constant.value, true);
                constant.shape.iter().for_each(|shape| self.guard(shape, true));
                if let Some(dtype) = &constant.dtype
                    && !is_dtype(&dtype.text)
                {
                    self.dtypes.insert(dtype.text.clone());
                    self.count(&dtype.text);
                }
            }
            ExprKind::Alt(branches) => branches.iter().for_each(|branch| self.branch(branch)),
            ExprKind::Number(_) | ExprKind::AnyOrAbsent | ExprKind::Absent | ExprKind::Any => {}
        }
    }

    pub(crate) fn branch(&mut self, branch: &Branch) {
        self.expr(&branch.expr);
        for (name, value) in &branch.with {
            self.count(&name.text);
            self.bind(&name.text);
            self.attributes.insert(name.text.clone());
            self.guard(value, true);
        }
        branch.guard.iter().for_each(|guard| self.guard(guard, false));
    }

    fn call(&mut self, call: &Call) {
        if let Some(name) = &call.bind {
            self.count(&name.text);
            self.operators.insert(name.text.clone());
        }
        for attribute in &call.attributes {
            match attribute {
                Attr::Open(_) => {}
                Attr::Rest(name) => {
                    self.count(&name.text);
                    self.rests.insert(name.text.clone());
                }
                Attr::Named(name, values) => {
                    if values.is_empty() {
                        self.count(&name.text);
                        self.bind(&name.text);
                        self.attributes.insert(name.text.clone());
                    }
                    values.iter().for_each(|value| self.attr_value(value));
                }
            }
        }
        for arg in &call.args {
            if let Arg::One(expr) | Arg::Maybe(expr) | Arg::Each(expr) = arg {
                self.expr(expr);
            }
        }
    }

    fn attr_value(&mut self, value: &AttrValue) {
        match value {
            AttrValue::Any | AttrValue::Tensor(_) => {}
            AttrValue::Expr(guard) => self.attr_expr(guard),
            AttrValue::Graph(params, results, body) => {
                self.params(params);
                self.params(results);
                self.declare(body);
                self.body(body);
            }
        }
    }

    /// Names that stand alone in an attribute, or as elements of a list, are bound there.
    fn attr_expr(&mut self, guard: &Guard) {
        match &guard.kind {
            GuardKind::Name(name) => {
                if !is_dtype(name) {
                    self.attributes.insert(name.clone());
                    self.bind(name);
                }
                self.count(name);
            }
            GuardKind::List(items) => items.iter().for_each(|item| self.attr_expr(item)),
            _ => self.guard(guard, true),
        }
    }

    /// Collects from a condition; `computed`: a bare name here is a number.
    pub(crate) fn guard(&mut self, guard: &Guard, computed: bool) {
        match &guard.kind {
            GuardKind::Name(name) => {
                self.count(name);
                if !computed || name == "pi" || is_dtype(name) {
                    return;
                }
                if self.declared.contains_key(name) {
                    self.arithmetic.push((name.clone(), guard.span));
                } else if !self.dims.contains(name) && !self.dtypes.contains(name) {
                    self.computed.insert(name.clone());
                }
            }
            GuardKind::List(items) => items.iter().for_each(|item| self.guard(item, true)),
            GuardKind::Negate(inner) => self.guard(inner, true),
            GuardKind::Not(inner) => self.guard(inner, false),
            GuardKind::And(items) | GuardKind::Or(items) => {
                items.iter().for_each(|item| self.guard(item, false));
            }
            GuardKind::Binary(operator, left, right) => {
                let number = *operator != BinaryOp::Concat;
                self.guard(left, number);
                self.guard(right, number);
            }
            GuardKind::Compare(first, rest) => {
                let ordered =
                    rest.iter().any(|(sign, _)| !matches!(sign, CompareOp::Eq | CompareOp::Ne));
                self.guard(first, ordered);
                for (sign, right) in rest {
                    // `0 not in s`: a constant stands for the list of its elements.
                    let list = matches!(sign, CompareOp::In | CompareOp::NotIn);
                    self.guard(right, ordered && !list);
                }
            }
            GuardKind::Index(base, at) => {
                self.guard(base, true);
                self.guard(at, true);
            }
            GuardKind::Slice(base, from, to) => {
                self.guard(base, true);
                from.iter().chain(to).for_each(|end| self.guard(end, true));
            }
            GuardKind::Call(name, args) => {
                let function = builtin(&name.text);
                for (at, arg) in args.iter().enumerate() {
                    let number = function.as_ref().is_none_or(|function| {
                        let parameter = function.parameter(at);
                        !matches!(parameter, Parameter::Value | Parameter::ValueOrDtype)
                    });
                    self.guard(arg, number);
                }
            }
            GuardKind::Is(value, _, branch) => {
                self.guard(value, false);
                self.branch(branch);
            }
            GuardKind::Number(_) | GuardKind::String(_) | GuardKind::Bool(_) | GuardKind::None => {}
        }
    }

    /// Is this a name that a condition may use?
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.declared.contains_key(name)
            || self.values.contains_key(name)
            || self.attributes.contains(name)
            || self.rests.contains(name)
            || self.dims.contains(name)
            || self.dtypes.contains(name)
            || self.operators.contains(name)
    }

    /// All names, for suggestions.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let declared = self.declared.keys().chain(self.values.keys());
        declared.chain(&self.attributes).chain(&self.dims).map(String::as_str)
    }

    fn bind(&mut self, name: &str) {
        *self.bindings.entry(name.to_owned()).or_default() += 1;
    }

    fn count(&mut self, name: &str) {
        *self.uses.entry(name.to_owned()).or_default() += 1;
    }
}
