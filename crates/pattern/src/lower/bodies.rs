//! Bodies: equations, conditions, choices; and what patterns and definitions have in common.

use super::{Dup, Frame, Lowerer};
use crate::ast::{self, Body, DefBody, Statement};
use crate::core::{Equation, ExprId, ExprKind, Guard, Kind, Let, Role, ScopeId, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::GExprKind;
use crate::names::Names;
use crate::span::Span;

/// What can be inlined.
pub(super) struct Callable<'a> {
    pub(super) attributes: &'a [ast::SigAttr],
    pub(super) params: &'a [ast::Param],
    results: &'a [ast::Param],
    short: Option<&'a ast::Expr>,
    body: Option<&'a Body>,
    equals: Option<&'a ast::Build>,
}

impl<'a> Callable<'a> {
    pub(super) fn def(def: &'a ast::Def) -> Self {
        let (attributes, params) = (&def.attributes[..], &def.params[..]);
        match &def.body {
            DefBody::Short(expr) => Self {
                attributes,
                params,
                results: &[],
                short: Some(expr),
                body: None,
                equals: None,
            },
            DefBody::Block(results, body) => {
                Self { attributes, params, results, short: None, body: Some(body), equals: None }
            }
        }
    }

    pub(super) fn pattern(pattern: &'a ast::PatternItem) -> Self {
        Self {
            attributes: &pattern.signature.attributes,
            params: &pattern.signature.params,
            results: &pattern.signature.results,
            short: None,
            body: Some(&pattern.body),
            equals: pattern.equals.as_ref(),
        }
    }

    pub(super) fn names(&self, names: &mut Names) {
        names.attributes(self.attributes);
        names.params(self.params);
        names.params(self.results);
        if let Some(body) = self.body {
            names.declare(body);
            names.body(body);
        }
        if let Some(short) = self.short {
            names.declare_inline(short);
            names.expr(short);
        }
    }
}

impl<'a> Lowerer<'a> {
    /// Lowers what is inlined, its parameters being passed; returns its results.
    pub(super) fn callable(
        &mut self,
        inner: &mut Frame<'a>,
        callee: &Callable<'a>,
        span: Span,
    ) -> Vec<ExprId> {
        self.report_arithmetic(inner);
        if let Some(short) = callee.short {
            return vec![self.expr(inner, short)];
        }
        let body = callee.body.expect("what has no short form has a body");
        let scope = self.new_scope(span, Some(inner.scope));
        inner.scope = scope;
        let results: Vec<VarId> = callee
            .results
            .iter()
            .map(|result| match inner.vars.get(&result.name.text) {
                Some(var) => *var,
                None => self.param(inner, result, Role::Inlined),
            })
            .collect();
        let inputs: Vec<VarId> = callee
            .params
            .iter()
            .filter_map(|param| inner.vars.get(&param.name.text).copied())
            .collect();
        self.body_or_meaning(inner, body, callee.equals, &inputs, &results);
        let mut exprs = Vec::new();
        for var in results {
            let inner = self.new_expr(ExprKind::Var(var), span);
            exprs.push(self.new_expr(ExprKind::Scoped(scope, inner), span));
        }
        exprs
    }

    /// Lowers a body into the frame's scope; where there is a meaning that can be matched, as
    /// the choice between the two. Returns the scope of the meaning.
    pub(super) fn body_or_meaning(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Body,
        equals: Option<&'a ast::Build>,
        inputs: &[VarId],
        results: &[VarId],
    ) -> Option<ScopeId> {
        let Some((left, meant)) = equals.and_then(super::meaning::single_operator) else {
            self.body(frame, body);
            return None;
        };
        let outer = frame.scope;
        let written = self.new_scope(body.span, Some(outer));
        frame.scope = written;
        self.body(frame, body);
        let meaning = self.new_scope(meant.span, Some(outer));
        frame.scope = meaning;
        let matchable = self.meaning(frame, left, meant, inputs, results, written);
        frame.scope = outer;
        let mut branches = vec![written];
        branches.extend(matchable.then_some(meaning));
        self.new_choice(outer, branches);
        matchable.then_some(meaning)
    }

    /// Lowers statements into the frame's scope.
    pub(super) fn body(&mut self, frame: &mut Frame<'a>, body: &'a Body) {
        self.declare_left(frame, body);
        self.statements(frame, body);
    }

    /// Makes the variables that equations define, before any of them is met.
    fn declare_left(&mut self, frame: &mut Frame<'a>, body: &'a Body) {
        for statement in &body.statements {
            match statement {
                Statement::Equation(equation) => {
                    for left in &equation.left {
                        let var = self.lookup(frame, &left.name.text, left.name.span);
                        let types = self.type_pattern(frame, left.value_type.as_ref());
                        let made = self.var_mut(var);
                        made.shared |= equation.shared;
                        made.constant |= equation.constant;
                        made.list |= left.list;
                        made.types.extend(types);
                    }
                    if equation.dup && equation.left.len() > 1 {
                        self.unsupported(
                            equation.span,
                            "`dup` is for equations with one result",
                            None,
                        );
                    } else if let (true, [left]) = (equation.dup, &equation.left[..]) {
                        let dup = Dup { right: &equation.right, scope: frame.scope, met: false };
                        frame.dups.insert(left.name.text.clone(), dup);
                    }
                }
                Statement::Either(_) | Statement::Where(_) | Statement::Let(..) => {}
            }
        }
    }

    fn statements(&mut self, frame: &mut Frame<'a>, body: &'a Body) {
        for statement in &body.statements {
            match statement {
                Statement::Where(item) => self.where_item(frame, item),
                Statement::Let(name, value) => {
                    let var = self.lookup(frame, &name.text, name.span);
                    if self.pattern.var(var).kind != Kind::Attribute {
                        let fact =
                            format!("`{}` is a value of the graph; `let` binds numbers", name.text);
                        self.error(Diagnostic::new(Code::AmbiguousKind, name.span, fact));
                    }
                    let value = self.guard(frame, value);
                    self.pattern.scopes[frame.scope.index()].lets.push(Let { var, value });
                }
                Statement::Either(branches) => {
                    let outer = frame.scope;
                    let mut scopes = Vec::new();
                    for branch in branches {
                        frame.scope = self.new_scope(branch.span, Some(outer));
                        scopes.push(frame.scope);
                        self.body(frame, branch);
                    }
                    frame.scope = outer;
                    self.new_choice(outer, scopes);
                }
                Statement::Equation(equation) => self.equation(frame, equation),
            }
        }
    }

    pub(super) fn where_item(&mut self, frame: &mut Frame<'a>, item: &'a ast::Where) {
        for condition in &item.conditions {
            let condition = self.guard(frame, condition);
            // `a and b` is two conditions, each of which can be decided on its own.
            let conditions = match condition.kind {
                GExprKind::And(items) => items,
                _ => vec![condition],
            };
            let soft = item.soft;
            let guards = conditions.into_iter().map(|condition| Guard { condition, soft });
            self.pattern.scopes[frame.scope.index()].guards.extend(guards);
        }
    }

    fn equation(&mut self, frame: &mut Frame<'a>, equation: &'a ast::Equation) {
        let results: Vec<VarId> = equation
            .left
            .iter()
            .map(|left| self.lookup(frame, &left.name.text, left.name.span))
            .collect();
        for (left, var) in equation.left.iter().zip(&results) {
            let known = self.pattern.var(*var);
            let twice = known.definitions.iter().any(|definition| definition.scope == frame.scope);
            if twice || self.pattern.inputs.contains(var) {
                let first = known.span;
                let fact = format!("`{}` is defined a second time", left.name.text);
                let error = Diagnostic::new(Code::DuplicateName, left.name.span, fact);
                let help = "alternatives are written `a | b` or `either { … } or { … }`";
                self.error(error.label(first, "first here").help(help));
            }
        }
        let lists = equation.left.iter().position(|left| left.list);
        if lists.is_some_and(|at| at + 1 != equation.left.len()) {
            self.unsupported(equation.span, "a list takes the last results", None);
        }
        let several = results.len() > 1 || lists.is_some();
        let expr = if several {
            match self.inlined_results(frame, &equation.right, results.len()) {
                Some(exprs) => {
                    for (var, expr) in results.iter().zip(&exprs) {
                        self.define(*var, frame.scope, *expr);
                    }
                    exprs.first().copied()
                }
                None => {
                    let expr = self.results(frame, &equation.right, &results);
                    for var in &results {
                        self.define(*var, frame.scope, expr);
                    }
                    Some(expr)
                }
            }
        } else {
            // An output that is a constant is matched as the node it is: something has to be found.
            self.output = results.iter().any(|var| self.pattern.outputs.contains(var));
            let expr = self.expr(frame, &equation.right);
            self.output = false;
            for var in &results {
                self.define(*var, frame.scope, expr);
            }
            Some(expr)
        };
        if let Some(expr) = expr {
            let equation = Equation { results, expr, span: equation.span };
            self.pattern.scopes[frame.scope.index()].equations.push(equation);
        }
    }
}
