//! Calls of definitions and of patterns: their bodies are inlined.

use super::bodies::Callable;
use super::{Frame, Lowerer};
use crate::ast::{self, Attr, AttrValue, Call, ExprKind as Ast, Item};
use crate::core::{AttributePattern, ExprId, ExprKind, Guard, Kind, Role, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::{GExpr, GExprKind};
use crate::resolve::Decl;
use crate::similar::closest;
use crate::span::Span;

impl<'a> Lowerer<'a> {
    /// Inlines a definition or a pattern; returns one expression for each of its results.
    pub(super) fn inline(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        decl: Decl,
        first: Option<ExprId>,
        span: Span,
    ) -> Vec<ExprId> {
        if self.is_open(decl) {
            let fact = format!("`{}` refers to itself", call.callee.text);
            let mut error = Diagnostic::new(Code::Recursion, call.callee.span, fact);
            error = error.label(decl.span, "declared here");
            let help = format!("a chain of any length is written `{}*(x)`", call.callee.text);
            self.error(error.help(help));
            return vec![self.placeholder(span)];
        }
        let exprs = self.deeper(span, |this| this.inline_inner(frame, call, decl, first, span));
        exprs.unwrap_or_else(|| vec![self.placeholder(span)])
    }

    fn inline_inner(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        decl: Decl,
        first: Option<ExprId>,
        span: Span,
    ) -> Vec<ExprId> {
        let units = self.context.units;
        let callee = match &units[decl.unit].file.items[decl.item] {
            Item::Def(def) => Callable::def(def),
            Item::Pattern(pattern) => Callable::pattern(pattern),
            _ => unreachable!("only definitions and patterns are inlined"),
        };
        let mut inner =
            self.frame(decl.unit, format!("{}{}.", frame.prefix, call.callee.text), frame.scope);
        callee.names(&mut inner.names);
        self.pass_attributes(frame, &mut inner, call, callee.attributes);
        self.pass_arguments(frame, &mut inner, call, callee.params, first, span);
        // Only now: the arguments are the caller's, and may call the same definition.
        self.calls.push((decl, span));
        let exprs = self.callable(&mut inner, &callee, span);
        self.calls.pop();
        exprs
    }

    /// Attributes of a call become variables of the definition: a name is the caller's variable
    /// itself, anything else a variable with that value.
    fn pass_attributes(
        &mut self,
        frame: &mut Frame<'a>,
        inner: &mut Frame<'a>,
        call: &'a Call,
        declared: &'a [ast::SigAttr],
    ) {
        for attribute in &call.attributes {
            let (name, values) = match attribute {
                Attr::Named(name, values) => (name, &values[..]),
                Attr::Rest(name) => (name, &[][..]),
                Attr::Open(_) => continue,
            };
            if !declared.iter().any(|declared| declared.name.text == name.text) {
                let fact = format!("`{}` has no attribute `{}`", call.callee.text, name.text);
                let known = declared.iter().map(|declared| declared.name.text.as_str());
                let help = closest(&name.text, known).map(|name| format!("did you mean `{name}`?"));
                self.error(
                    Diagnostic::new(Code::AttributeMismatch, name.span, fact).help_maybe(help),
                );
                continue;
            }
            let var = match values {
                [] => self.lookup(frame, &name.text, name.span),
                [AttrValue::Any] => continue,
                [value @ AttrValue::Expr(_)] => match self.attribute(frame, value) {
                    AttributePattern::Bind(var) => var,
                    AttributePattern::Value(value) => {
                        let text = format!("{}{}", inner.prefix, name.text);
                        let var = self.new_var(text, name.span, Kind::Attribute, Role::Inlined);
                        self.var_mut(var).value = Some(value);
                        var
                    }
                    _ => {
                        let help = "bind it to a name, and compare in a `where`";
                        self.unsupported(
                            name.span,
                            "a list with variables cannot be passed on",
                            Some(help),
                        );
                        continue;
                    }
                },
                _ => {
                    let fact = "alternatives and graphs cannot be passed to a definition";
                    self.unsupported(name.span, fact, None);
                    continue;
                }
            };
            inner.vars.insert(name.text.clone(), var);
        }
        for declared in declared {
            if inner.vars.contains_key(&declared.name.text) {
                continue;
            }
            if let Some(default) = &declared.default {
                let value = self.guard(inner, default);
                let var = self.lookup(inner, &declared.name.text, declared.name.span);
                self.var_mut(var).value = Some(value);
            }
        }
    }

    /// Arguments become variables of the definition: a name is the caller's variable itself,
    /// anything else a variable defined by the argument.
    fn pass_arguments(
        &mut self,
        frame: &mut Frame<'a>,
        inner: &mut Frame<'a>,
        call: &'a Call,
        params: &'a [ast::Param],
        first: Option<ExprId>,
        span: Span,
    ) {
        let required = params.iter().filter(|param| !param.optional && !param.list).count();
        if call.args.len() > params.len() || call.args.len() < required {
            let names: Vec<&str> = params.iter().map(|param| param.name.text.as_str()).collect();
            let fact = format!("{} given", counted(call.args.len()));
            let label =
                format!("`{}` takes {}: {}", call.callee.text, params.len(), names.join(", "));
            let error = Diagnostic::new(Code::InputCount, span, fact);
            self.error(error.label(call.callee.span, label));
        }
        for (at, param) in params.iter().enumerate() {
            let (expr, maybe) = match call.args.get(at) {
                _ if at == 0 && first.is_some() => {
                    let var = self.param(inner, param, Role::Inlined);
                    let expr = first.expect("it has just been checked");
                    self.define(var, frame.scope, expr);
                    continue;
                }
                Some(ast::Arg::One(expr)) => (expr, false),
                Some(ast::Arg::Maybe(expr) | ast::Arg::Each(expr)) => (expr, true),
                Some(ast::Arg::Open(place)) => {
                    self.unsupported(*place, "`...` is for operators", None);
                    continue;
                }
                Some(ast::Arg::Gap(_)) | None => {
                    let var = self.param(inner, param, Role::Inlined);
                    let absent = self.new_expr(ExprKind::Absent, span);
                    self.define(var, frame.scope, absent);
                    self.var_mut(var).optional = true;
                    continue;
                }
            };
            let alias = match &expr.kind {
                Ast::Name(_) | Ast::Const(_) => {
                    let met = self.expr(frame, expr);
                    match self.pattern.expr(met).kind {
                        ExprKind::Var(var) | ExprKind::Scalar(var) => Some(var),
                        _ => None,
                    }
                }
                _ => None,
            };
            if let Some(var) = alias {
                self.refine(frame, inner, param, var, maybe);
                continue;
            }
            let var = self.param(inner, param, Role::Inlined);
            let expr = if maybe { self.optional(frame, expr) } else { self.expr(frame, expr) };
            self.define(var, frame.scope, expr);
        }
    }

    /// A caller's variable takes the place of a parameter, with what the parameter requires.
    fn refine(
        &mut self,
        frame: &Frame<'a>,
        inner: &mut Frame<'a>,
        param: &'a ast::Param,
        var: VarId,
        maybe: bool,
    ) {
        inner.vars.insert(param.name.text.clone(), var);
        let types = self.type_pattern(inner, param.value_type.as_ref());
        let optional = self.pattern.var(var).optional;
        if optional && !maybe {
            // Passed without `?`: it must be present here.
            let span = param.name.span;
            let pattern = self.new_expr(ExprKind::Absent, span);
            let kind = GExprKind::Is { var, negated: true, pattern };
            let condition = GExpr { kind, span };
            let guards = &mut self.pattern.scopes[frame.scope.index()].guards;
            guards.push(Guard { condition, soft: false });
        }
        let made = self.var_mut(var);
        made.constant |= param.constant;
        made.types.extend(types);
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 input".to_owned(),
        _ => format!("{count} inputs"),
    }
}
