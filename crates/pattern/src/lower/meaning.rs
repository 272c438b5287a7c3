//! A meaning counts as a spelling: where `equals` is one operator, a graph that uses the operator
//! is matched too, with the same bindings.

use std::collections::BTreeSet;

use super::calls::operator_named;
use super::exprs::literal;
use super::guards::equates;
use super::{Frame, Lowerer};
use crate::ast::{
    Arg as AstArg, Attr, AttrValue, Build, BuildExpr, BuildStatement, Call, ExprKind as Ast, Guard,
    GuardKind, Left, Literal,
};
use crate::core::{
    Arg, Attribute, AttributePattern, Equation, ExprId, ExprKind, Kind, Let, Op, Optional, Others,
    Output, Role, ScopeId, VarId,
};
use crate::gexpr::{GExpr, GExprKind};
use crate::operators::Facts;
use crate::span::Span;

/// A call with the place of its equation.
#[derive(Clone, Copy)]
pub(super) struct Meant<'a> {
    pub(super) call: &'a Call,
    pub(super) span: Span,
}

/// Returns the only equation of a block, if its right side is one operator.
pub(super) fn single_operator(build: &Build) -> Option<(&[Left], Meant<'_>)> {
    let [BuildStatement::Equation { constant: false, left, right: BuildExpr::Expr(expr), span }] =
        &build.statements[..]
    else {
        return None;
    };
    match &expr.kind {
        Ast::Call(call)
            if call.mark.is_none()
                && call.bind.is_none()
                && !call.braces
                && (call.callee.text.starts_with(char::is_uppercase)
                    || call.callee.text.contains('.')) =>
        {
            Some((left, Meant { call, span: *span }))
        }
        _ => None,
    }
}

impl<'a> Lowerer<'a> {
    /// Lowers a meaning as a pattern into the frame's scope. Returns false, and leaves the scope
    /// unused, where the bindings cannot be recovered from the operator.
    pub(super) fn meaning(
        &mut self,
        frame: &mut Frame<'a>,
        left: &'a [Left],
        meant: Meant<'a>,
        inputs: &[VarId],
        results: &[VarId],
        written: ScopeId,
    ) -> bool {
        let names = left.iter().map(|left| frame.vars.get(&left.name.text).copied());
        let outputs: Option<Vec<VarId>> = names.collect();
        let Some(outputs) = outputs.filter(|outputs| results.iter().all(|r| outputs.contains(r)))
        else {
            return false;
        };
        let operator = operator_named(&meant.call.callee);
        if matches!(
            self.context.operators.facts(&operator, self.opsets()),
            Facts::Unknown | Facts::OutOfRange { .. }
        ) {
            return false;
        }
        let mut bound: BTreeSet<VarId> = outputs.iter().copied().collect();
        let Some(args) = self.meant_args(frame, meant.call, inputs, &mut bound) else {
            return false;
        };
        let Some((attributes, others)) =
            self.meant_attributes(frame, meant.call, written, &mut bound)
        else {
            return false;
        };
        let output = match outputs.len() {
            1 => Output::Index(0),
            _ => Output::Bind(outputs.clone()),
        };
        let op = Op {
            operators: vec![operator],
            bind: None,
            attributes,
            others,
            args: args.into_iter().map(Arg::One).collect(),
            open: false,
            exact: true,
            output,
        };
        let expr = self.new_expr(ExprKind::Op(op), meant.span);
        for output in &outputs {
            self.define(*output, frame.scope, expr);
        }
        let guards: Vec<_> = self.pattern.scopes[written.index()]
            .guards
            .iter()
            .filter(|guard| mentioned(&guard.condition).is_subset(&bound))
            .cloned()
            .collect();
        let scope = &mut self.pattern.scopes[frame.scope.index()];
        scope.guards.extend(guards);
        scope.equations.push(Equation { results: outputs, expr, span: meant.span });
        true
    }

    fn meant_args(
        &mut self,
        frame: &Frame<'a>,
        call: &'a Call,
        inputs: &[VarId],
        bound: &mut BTreeSet<VarId>,
    ) -> Option<Vec<ExprId>> {
        let mut args = Vec::new();
        for arg in &call.args {
            let (expr, span, mut optional) = match arg {
                AstArg::Gap(span) => {
                    args.push(self.new_expr(ExprKind::Absent, *span));
                    continue;
                }
                AstArg::One(expr) => (expr, expr.span, false),
                AstArg::Maybe(expr) => (expr, expr.span, true),
                AstArg::Each(_) | AstArg::Open(_) => return None,
            };
            let mut kind = &expr.kind;
            if let Ast::Coalesce(items) = kind {
                // What the operator has instead of an absent input does not matter here.
                kind = &items.first()?.kind;
                optional = true;
            }
            let kind = match kind {
                Ast::Absent => ExprKind::Absent,
                Ast::Number(number) => ExprKind::Constant {
                    value: literal(number.value, span),
                    tolerance: number.tolerance,
                },
                Ast::Name(name) => {
                    let var = *frame.vars.get(&name.text)?;
                    let known = self.pattern.var(var);
                    if !inputs.contains(&var) || known.list {
                        return None;
                    }
                    optional |= known.optional;
                    bound.insert(var);
                    match known.kind {
                        Kind::Value => ExprKind::Var(var),
                        Kind::Attribute => ExprKind::Scalar(var),
                        _ => return None,
                    }
                }
                _ => return None,
            };
            let absent = match kind {
                ExprKind::Var(var) | ExprKind::Scalar(var) => vec![var],
                _ => Vec::new(),
            };
            let mut id = self.new_expr(kind, span);
            if optional {
                id = self.new_expr(ExprKind::Optional(Optional { present: id, absent }), span);
            }
            args.push(id);
        }
        Some(args)
    }

    fn meant_attributes(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        written: ScopeId,
        bound: &mut BTreeSet<VarId>,
    ) -> Option<(Vec<Attribute>, Others)> {
        let mut others = Others::Default;
        let mut attributes = Vec::new();
        for attribute in &call.attributes {
            let (name, value) = match attribute {
                Attr::Open(_) => {
                    others = Others::Any;
                    continue;
                }
                Attr::Rest(name) => {
                    let var = *frame.vars.get(&name.text)?;
                    bound.insert(var);
                    others = Others::Rest(var);
                    continue;
                }
                Attr::Named(name, values) => match &values[..] {
                    [] => (name, None),
                    [AttrValue::Expr(guard)] => (name, Some(guard)),
                    _ => return None,
                },
            };
            let text = match value {
                None => Some(&name.text),
                Some(Guard { kind: GuardKind::Name(text), .. }) => Some(text),
                Some(_) => None,
            };
            let pattern = match (text, value) {
                (Some(text), _) if frame.vars.contains_key(text) => {
                    let var = self.attribute_var(frame, text)?;
                    bound.insert(var);
                    AttributePattern::Bind(var)
                }
                (_, Some(guard)) => match head_of(guard) {
                    Some(list) => {
                        let list = self.attribute_var(frame, list)?;
                        let head = self.solve(frame, list, written, guard.span)?;
                        bound.extend([list, head]);
                        AttributePattern::Bind(head)
                    }
                    None => {
                        let errors = self.errors.len();
                        let value = self.guard(frame, guard);
                        self.errors.truncate(errors);
                        if !mentioned(&value).is_empty() {
                            return None;
                        }
                        AttributePattern::Value(value)
                    }
                },
                (_, None) => return None,
            };
            attributes.push(Attribute { name: name.text.clone(), pattern, span: name.span });
        }
        Some((attributes, others))
    }

    fn attribute_var(&self, frame: &Frame<'a>, name: &str) -> Option<VarId> {
        let var = *frame.vars.get(name)?;
        (self.pattern.var(var).kind == Kind::Attribute).then_some(var)
    }

    /// The operator gives `list[0]`; a condition of the body that says what the whole list is,
    /// such as `axes == range(axes[0], 0)`, gives the list from it.
    fn solve(
        &mut self,
        frame: &Frame<'a>,
        list: VarId,
        written: ScopeId,
        span: Span,
    ) -> Option<VarId> {
        let guards = &self.pattern.scopes[written.index()].guards;
        let whole = guards.iter().find_map(|guard| match equates(&guard.condition) {
            Some((var, right)) if var == list => Some(right.clone()),
            _ => None,
        })?;
        let name = format!("{}[0]", self.pattern.var(list).name);
        let head = self.new_var(name, span, Kind::Attribute, Role::Inlined);
        let value = substitute(whole, list, head);
        if mentioned(&value) != BTreeSet::from([head]) {
            return None;
        }
        self.pattern.scopes[frame.scope.index()].lets.push(Let { var: list, value });
        Some(head)
    }
}

/// The name in `name[0]`.
fn head_of(guard: &Guard) -> Option<&str> {
    match &guard.kind {
        GuardKind::Index(base, at) => match (&base.kind, &at.kind) {
            (GuardKind::Name(name), GuardKind::Number(Literal::Int(0))) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Replaces `list[0]` by `head`.
fn substitute(expr: GExpr, list: VarId, head: VarId) -> GExpr {
    let is_head = matches!(&expr.kind, GExprKind::Index(base, at)
        if base.kind == GExprKind::Var(list) && at.kind == GExprKind::Int(0));
    if is_head {
        return GExpr { kind: GExprKind::Var(head), span: expr.span };
    }
    expr.map(&mut |child| substitute(child, list, head))
}

/// The variables that a condition mentions.
pub(crate) fn mentioned(expr: &GExpr) -> BTreeSet<VarId> {
    let mut found = BTreeSet::new();
    expr.walk(&mut |expr| match expr.kind {
        GExprKind::Var(var) | GExprKind::Is { var, .. } => {
            found.insert(var);
        }
        _ => {}
    });
    found
}
