//! Calls of definitions and of patterns: their bodies are inlined.

use super::bodies::Callable;
use super::{Frame, Lowerer};
use crate::ast::{self, Attr, AttrValue, Call, ExprKind as Ast, Item};
use crate::core::{Alt, AttributePattern, Branch, ExprId, ExprKind, Guard, Kind, Role, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::{GExpr, GExprKind};
use crate::resolve::Decl;
use crate::similar::closest;
use crate::span::Span;

/// The most combinations of alternatives in the attributes of one call of a definition.
const MAX_WAYS: usize = 16;

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
        let counts = call.attributes.iter().map(|attribute| match attribute {
            Attr::Named(_, values) => values.len().max(1),
            _ => 1,
        });
        let ways = counts.fold(1, usize::saturating_mul);
        if ways > MAX_WAYS {
            let fact = format!("more than {MAX_WAYS} combinations of alternative attributes");
            self.unsupported(span, &fact, Some("bind them, and compare in a `where`"));
            return vec![self.placeholder(span)];
        }
        // `f<a = 1 | 2>(x)` is `f<a = 1>(x) | f<a = 2>(x)`.
        let mut branches = Vec::new();
        for pick in 0..ways {
            let exprs =
                self.deeper(span, |this| this.inline_inner(frame, call, decl, first, span, pick));
            let Some(exprs) = exprs else { return vec![self.placeholder(span)] };
            match &exprs[..] {
                _ if ways == 1 => return exprs,
                [expr] => branches.push(Branch {
                    expr: *expr,
                    with: Vec::new(),
                    guard: None,
                    absent: Vec::new(),
                }),
                _ => {
                    let fact = "a call with alternative attributes has one result";
                    self.unsupported(span, fact, Some("write `either { … } or { … }`"));
                    return exprs;
                }
            }
        }
        vec![self.new_expr(ExprKind::Alt(Alt { branches }), span)]
    }

    /// `pick`: which of its alternatives each attribute is given.
    fn inline_inner(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        decl: Decl,
        first: Option<ExprId>,
        span: Span,
        pick: usize,
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
        self.pass_attributes(frame, &mut inner, call, callee.attributes, pick);
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
        mut pick: usize,
    ) {
        for attribute in &call.attributes {
            let (name, values) = match attribute {
                Attr::Named(name, values) => (name, &values[..]),
                Attr::Rest(name) => (name, &[][..]),
                Attr::Open(_) => continue,
            };
            let values = match values {
                [] | [_] => values,
                several => {
                    let at = pick % several.len();
                    pick /= several.len();
                    &several[at..=at]
                }
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
                [] => {
                    let given = frame.contents.get(&name.text).cloned();
                    inner.contents.extend(given.map(|given| (name.text.clone(), given)));
                    self.lookup(frame, &name.text, name.span)
                }
                [AttrValue::Any] => continue,
                [AttrValue::Graph(..)] => {
                    let fact = "a graph cannot be passed to a definition";
                    let help = "write the operator that holds it, such as `If`, in the pattern";
                    self.unsupported(name.span, fact, Some(help));
                    continue;
                }
                [value, ..] => match self.attribute(frame, value) {
                    AttributePattern::Bind(var) => var,
                    AttributePattern::Any => continue,
                    pattern => {
                        let text = format!("{}{}", inner.prefix, name.text);
                        let var = self.new_var(text, name.span, Kind::Attribute, Role::Inlined);
                        self.var_mut(var).value = content(&pattern, name.span);
                        inner.contents.insert(name.text.clone(), pattern);
                        var
                    }
                },
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
                self.var_mut(var).value = Some(value.clone());
                let content = AttributePattern::Value(value);
                inner.contents.insert(declared.name.text.clone(), content);
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

/// What the content of an attribute is, in terms of the variables that it binds.
fn content(pattern: &AttributePattern, span: Span) -> Option<GExpr> {
    match pattern {
        AttributePattern::Bind(var) => Some(GExpr { kind: GExprKind::Var(*var), span }),
        AttributePattern::Value(value) => Some(value.clone()),
        AttributePattern::List(items) => {
            let items = items.iter().map(|item| content(item, span)).collect::<Option<_>>()?;
            Some(GExpr { kind: GExprKind::List(items), span })
        }
        AttributePattern::Any | AttributePattern::OneOf(_) | AttributePattern::Graph(_) => None,
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 input".to_owned(),
        _ => format!("{count} inputs"),
    }
}
