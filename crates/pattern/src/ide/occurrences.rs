//! Every name of a file, with what it stands for.

use std::collections::BTreeMap;

use crate::ast::{
    Arg, Attr, AttrValue, Body, Branch, Build, BuildExpr, BuildStatement, Call, Def, DefBody,
    Dimension, ExpectKind, Expr, ExprKind, Guard, GuardKind, HintKind, Item, Left, Name, Param,
    Rule, RuleKind, SigAttr, Statement, Test, TestKind, ValueType, Verify, VerifyClause, Way,
    Where,
};
use crate::core::Operator;
use crate::functions::is_dtype;
use crate::resolve::Decl;
use crate::span::Span;

use super::Analysis;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A definition, pattern, operator set or rule.
    Decl(Decl),
    /// An operator.
    Operator(Operator),
    /// An attribute of an operator.
    Attribute(Operator, String),
    /// A variable of an item; attribute parameters of definitions too, where they are passed.
    Variable(Decl, String),
    /// A function of conditions, or `full`.
    Function(String),
    /// An element type of ONNX.
    Dtype(String),
    /// A file that is used.
    File(String),
}

/// What happens to a variable at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It is declared: in a header, on the left of an equation, by `let` or `with`.
    Declare,
    /// It is met.
    Use,
    /// It is met as an operand, where values of the graph stand.
    Operand,
    /// `<axes>`: the name of an attribute and of a variable in one.
    Shorthand,
}

/// A name at a place.
#[derive(Clone, Debug)]
pub(super) struct Occurrence {
    pub(super) span: Span,
    pub(super) target: Target,
    pub(super) access: Access,
}

/// What a call is of.
#[derive(Clone, Debug)]
pub(super) enum Callee {
    Item(Decl),
    Operator(Operator),
    Full,
    Unknown,
}

/// All names of a file, in file order.
pub(super) fn of_file(analysis: &Analysis<'_>, unit: usize) -> Vec<Occurrence> {
    let mut found = Vec::new();
    let mut callees = BTreeMap::new();
    for (item, content) in analysis.units[unit].file.items.iter().enumerate() {
        let decl = analysis.decl(unit, item);
        let mut walk = Walk { analysis, unit, decl, found: &mut found, callees: &mut callees };
        walk.item(content);
    }
    // Some trees are visited with the text of a group around them.
    found.retain(|one| {
        let text = analysis.sources.text(one.span);
        matches!(one.target, Target::File(_)) || !text.contains(char::is_whitespace)
    });
    found.sort_by_key(|one| (one.span, one.access == Access::Shorthand));
    found
}

struct Walk<'w> {
    analysis: &'w Analysis<'w>,
    unit: usize,
    decl: Decl,
    found: &'w mut Vec<Occurrence>,
    /// What the names of calls stand for, in items that have the opsets of the file.
    callees: &'w mut BTreeMap<String, Callee>,
}

impl Walk<'_> {
    fn add(&mut self, span: Span, target: Target, access: Access) {
        self.found.push(Occurrence { span, target, access });
    }

    fn variable(&mut self, name: &Name, access: Access) {
        self.add(name.span, Target::Variable(self.decl, name.text.clone()), access);
    }

    fn declared(&mut self, name: &Name) {
        self.add(name.span, Target::Decl(self.decl), Access::Declare);
    }

    fn named(&mut self, name: &Name) {
        if let Some(decl) = self.analysis.units[self.unit].names.get(&name.text) {
            self.add(name.span, Target::Decl(*decl), Access::Use);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Use(import) => {
                let path = crate::resolve::normal(&import.path.text);
                self.add(import.path.span, Target::File(path), Access::Use);
                import.names.iter().flatten().for_each(|name| self.named(name));
            }
            Item::Opset(_) => {}
            Item::Ops(ops) => {
                self.declared(&ops.name);
                for name in &ops.operators {
                    let operator = super::operator_named(&name.text);
                    self.add(name.span, Target::Operator(operator), Access::Use);
                }
            }
            Item::Def(def) => self.def(def),
            Item::Pattern(pattern) => {
                self.declared(&pattern.name);
                self.attributes(&pattern.signature.attributes);
                self.params(&pattern.signature.params);
                self.params(&pattern.signature.results);
                self.body(&pattern.body);
                pattern.equals.iter().for_each(|equals| self.build(equals));
                for hint in &pattern.quant {
                    self.hint(&hint.kind);
                    hint.when.iter().for_each(|guard| self.guard(guard));
                }
                pattern.verify.iter().for_each(|verify| self.verify(verify));
            }
            Item::Rule(rule) => self.rule(rule),
            Item::Test(test) => self.test(test),
        }
    }

    fn def(&mut self, def: &Def) {
        self.declared(&def.name);
        self.attributes(&def.attributes);
        self.params(&def.params);
        match &def.body {
            DefBody::Short(expr) => self.expr(expr),
            DefBody::Block(results, body) => {
                self.params(results);
                self.body(body);
            }
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.declared(&rule.name);
        match &rule.kind {
            RuleKind::Block(signature, body, build) => {
                self.attributes(&signature.attributes);
                self.params(&signature.params);
                self.params(&signature.results);
                self.body(body);
                self.build(build);
            }
            RuleKind::Short { left, right, guards } => {
                self.expr(left);
                self.build_expr(right);
                guards.iter().for_each(|item| self.where_item(item));
            }
        }
        rule.verify.iter().for_each(|verify| self.verify(verify));
    }

    fn test(&mut self, test: &Test) {
        match &test.kind {
            TestKind::Counts { counts, .. } => {
                counts.iter().for_each(|count| self.named(&count.pattern));
            }
            TestKind::Graph { expects, .. } => {
                expects.iter().for_each(|expect| self.expect(&expect.kind));
            }
        }
    }

    fn expect(&mut self, expect: &ExpectKind) {
        match expect {
            ExpectKind::Matches { pattern, bindings } => {
                self.named(pattern);
                let decl = self.analysis.units[self.unit].names.get(&pattern.text).copied();
                for binding in bindings {
                    let Some(decl) = decl else { continue };
                    let target = Target::Variable(decl, binding.name.text.clone());
                    self.add(binding.name.span, target, Access::Use);
                }
            }
            ExpectKind::Rejects { pattern, .. } => self.named(pattern),
            ExpectKind::Becomes { by, .. } => {
                for step in by {
                    match self.analysis.rule(self.unit, &step.name.text) {
                        Some(rule) if step.way == Way::Rule => {
                            self.add(step.name.span, Target::Decl(rule), Access::Use);
                        }
                        _ => self.named(&step.name),
                    }
                }
            }
        }
    }

    fn attributes(&mut self, attributes: &[SigAttr]) {
        for attribute in attributes {
            self.variable(&attribute.name, Access::Declare);
            attribute.default.iter().for_each(|value| self.guard(value));
        }
    }

    fn params(&mut self, params: &[Param]) {
        for param in params {
            self.value_type(param.value_type.as_ref());
            self.variable(&param.name, Access::Declare);
        }
    }

    fn value_type(&mut self, value_type: Option<&ValueType>) {
        let Some(value_type) = value_type else { return };
        if let Some(dtype) = &value_type.dtype {
            self.word(&dtype.text, dtype.span);
        }
        for dimension in value_type.shape.iter().flatten() {
            if let Dimension::Var(name) = dimension {
                self.variable(name, Access::Use);
            }
        }
    }

    /// A name in a condition or type: an element type of ONNX, or a variable.
    fn word(&mut self, text: &str, span: Span) {
        let target = match text {
            "pi" => return,
            _ if is_dtype(text) => Target::Dtype(text.to_owned()),
            _ => Target::Variable(self.decl, text.to_owned()),
        };
        self.add(span, target, Access::Use);
    }

    fn left(&mut self, left: &Left) {
        self.value_type(left.value_type.as_ref());
        self.variable(&left.name, Access::Declare);
    }

    fn body(&mut self, body: &Body) {
        for statement in &body.statements {
            match statement {
                Statement::Where(item) => self.where_item(item),
                Statement::Let(name, value) => {
                    self.variable(name, Access::Declare);
                    self.guard(value);
                }
                Statement::Either(branches) => branches.iter().for_each(|body| self.body(body)),
                Statement::Equation(equation) => {
                    equation.left.iter().for_each(|left| self.left(left));
                    self.expr(&equation.right);
                }
            }
        }
    }

    fn where_item(&mut self, item: &Where) {
        item.conditions.iter().for_each(|condition| self.guard(condition));
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) | ExprKind::Const(name) => self.variable(name, Access::Operand),
            ExprKind::Naming(name, inner) => {
                self.variable(name, Access::Declare);
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
                self.guard(&constant.value);
                constant.shape.iter().for_each(|shape| self.guard(shape));
                constant.dtype.iter().for_each(|dtype| self.word(&dtype.text, dtype.span));
            }
            ExprKind::Alt(branches) => branches.iter().for_each(|branch| self.branch(branch)),
            ExprKind::Number(_) | ExprKind::AnyOrAbsent | ExprKind::Absent | ExprKind::Any => {}
        }
    }

    fn branch(&mut self, branch: &Branch) {
        self.expr(&branch.expr);
        for (name, value) in &branch.with {
            self.variable(name, Access::Declare);
            self.guard(value);
        }
        branch.guard.iter().for_each(|guard| self.guard(guard));
    }

    fn call(&mut self, call: &Call) {
        let callee = self.callee(&call.callee.text);
        match &callee {
            Callee::Item(decl) => self.add(call.callee.span, Target::Decl(*decl), Access::Use),
            Callee::Operator(operator) => {
                self.add(call.callee.span, Target::Operator(operator.clone()), Access::Use);
            }
            Callee::Full => {
                self.add(call.callee.span, Target::Function("full".to_owned()), Access::Use);
            }
            Callee::Unknown => {}
        }
        call.bind.iter().for_each(|name| self.variable(name, Access::Declare));
        for attribute in &call.attributes {
            match attribute {
                Attr::Open(_) => {}
                Attr::Rest(name) => self.variable(name, Access::Use),
                Attr::Named(name, values) => {
                    let access = if values.is_empty() { Access::Shorthand } else { Access::Use };
                    match &callee {
                        Callee::Item(decl) => {
                            let target = Target::Variable(*decl, name.text.clone());
                            self.add(name.span, target, access);
                        }
                        Callee::Operator(operator) => {
                            let target = Target::Attribute(operator.clone(), name.text.clone());
                            self.add(name.span, target, Access::Use);
                        }
                        Callee::Full | Callee::Unknown => {}
                    }
                    if values.is_empty() {
                        self.variable(name, Access::Shorthand);
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

    fn callee(&mut self, name: &str) -> Callee {
        let own = match self.analysis.item(self.decl) {
            Item::Pattern(pattern) => !pattern.meta.opsets.is_empty(),
            Item::Rule(rule) => !rule.meta.opsets.is_empty(),
            _ => false,
        };
        if own {
            return self.analysis.callee(self.unit, name, Some(self.decl));
        }
        if let Some(known) = self.callees.get(name) {
            return known.clone();
        }
        let callee = self.analysis.callee(self.unit, name, None);
        self.callees.insert(name.to_owned(), callee.clone());
        callee
    }

    fn attr_value(&mut self, value: &AttrValue) {
        match value {
            AttrValue::Any | AttrValue::Tensor(_) => {}
            AttrValue::Expr(guard) => self.guard(guard),
            AttrValue::Graph(params, results, body) => {
                self.params(params);
                self.params(results);
                self.body(body);
            }
        }
    }

    fn build(&mut self, build: &Build) {
        for statement in &build.statements {
            match statement {
                BuildStatement::Let(name, value) => {
                    self.variable(name, Access::Declare);
                    self.guard(value);
                }
                BuildStatement::Equation { left, right, .. } => {
                    left.iter().for_each(|left| self.left(left));
                    self.build_expr(right);
                }
            }
        }
    }

    fn build_expr(&mut self, expr: &BuildExpr) {
        match expr {
            BuildExpr::Expr(expr) => self.expr(expr),
            BuildExpr::If(guard, then, other, _) => {
                self.guard(guard);
                self.build_expr(then);
                self.build_expr(other);
            }
        }
    }

    fn guard(&mut self, guard: &Guard) {
        match &guard.kind {
            GuardKind::Name(name) => self.word(name, guard.span),
            GuardKind::List(items) | GuardKind::And(items) | GuardKind::Or(items) => {
                items.iter().for_each(|item| self.guard(item));
            }
            GuardKind::Negate(inner) | GuardKind::Not(inner) => self.guard(inner),
            GuardKind::Binary(_, left, right) | GuardKind::Index(left, right) => {
                self.guard(left);
                self.guard(right);
            }
            GuardKind::Compare(first, rest) => {
                self.guard(first);
                rest.iter().for_each(|(_, right)| self.guard(right));
            }
            GuardKind::Slice(base, from, to) => {
                self.guard(base);
                from.iter().chain(to).for_each(|end| self.guard(end));
            }
            GuardKind::Call(name, args) => {
                self.add(name.span, Target::Function(name.text.clone()), Access::Use);
                args.iter().for_each(|arg| self.guard(arg));
            }
            GuardKind::Is(value, _, branch) => {
                self.guard(value);
                self.branch(branch);
            }
            GuardKind::Number(_) | GuardKind::String(_) | GuardKind::Bool(_) | GuardKind::None => {}
        }
    }

    fn hint(&mut self, hint: &HintKind) {
        let special = |name: &Name| matches!(name.text.as_str(), "interior" | "consts");
        let mut targets = |names: &[Name]| {
            names.iter().filter(|name| !special(name)).for_each(|n| self.variable(n, Access::Use));
        };
        match hint {
            HintKind::Skip(names)
            | HintKind::Quantize(names)
            | HintKind::Share(names)
            | HintKind::Symmetric(names) => targets(names),
            HintKind::PerChannel(name, axis) => {
                targets(std::slice::from_ref(name));
                self.guard(axis);
            }
            HintKind::Bias(name, of) => {
                targets(std::slice::from_ref(name));
                targets(of);
            }
            HintKind::Range(name, low, high) => {
                targets(std::slice::from_ref(name));
                self.guard(low);
                self.guard(high);
            }
            HintKind::Tag(name, _, value) => {
                targets(std::slice::from_ref(name));
                self.guard(value);
            }
            HintKind::Unknown(_) => {}
        }
    }

    fn verify(&mut self, verify: &Verify) {
        let Verify::On(clauses) = verify else { return };
        for clause in clauses {
            match clause {
                VerifyClause::Distribution(name, _, args) => {
                    self.variable(name, Access::Use);
                    args.iter().for_each(|arg| self.guard(arg));
                }
                VerifyClause::OneOf(name, list) => {
                    self.variable(name, Access::Use);
                    self.guard(list);
                }
                VerifyClause::Range(name, ..) => self.variable(name, Access::Use),
                VerifyClause::Tolerance(_) | VerifyClause::Samples(_) => {}
            }
        }
    }
}
