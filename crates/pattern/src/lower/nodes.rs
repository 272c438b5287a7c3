//! Calls of operators: one node, or a chain of them.

use super::attributes::binds;
use super::{Absence, Collection, Frame, Lowerer};
use crate::ast::{self, Attr, AttrValue, Call, ExprKind as Ast, Mark};
use crate::core::{
    Arg, Attribute, Chain, ExprId, ExprKind, Op, Operator, Optional, Others, Output,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::operators::Signature;
use crate::span::Span;

impl<'a> Lowerer<'a> {
    /// `Add{a, b, rest...}`.
    pub(super) fn braces(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        operators: &[Operator],
        span: Span,
    ) -> ExprId {
        let (mut operands, mut rest) = (Vec::new(), None);
        for arg in &call.args {
            match arg {
                ast::Arg::One(expr) => operands.push(self.expr(frame, expr)),
                ast::Arg::Each(ast::Expr { kind: Ast::Name(name), .. }) if rest.is_none() => {
                    let var = self.lookup(frame, &name.text, name.span);
                    self.var_mut(var).list = true;
                    rest = Some(var);
                }
                _ => self.unsupported(span, "a chain has operands and at most one `rest...`", None),
            }
        }
        let [operator] = operators else {
            self.unsupported(span, "a chain is of one operator", None);
            return self.placeholder(span);
        };
        let chain = Chain { operator: operator.clone(), operands, rest };
        self.new_expr(ExprKind::Chain(chain), span)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one node")]
    pub(super) fn op(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        operators: &[Operator],
        signature: Option<&Signature>,
        first: Option<ExprId>,
        output: Output,
        span: Span,
    ) -> ExprId {
        let (attributes, others) = self.attributes(frame, &call.attributes, signature, operators);
        if let Some(signature) = signature {
            self.check_inputs(call, signature, span);
            if others == Others::Default {
                self.check_required(call, signature, &attributes);
            }
        }
        let bind = call.bind.as_ref().map(|name| self.lookup(frame, &name.text, name.span));
        let mut args = Vec::new();
        let mut pending = Vec::new();
        let mut open = false;
        for (at, arg) in call.args.iter().enumerate() {
            if let (0, Some(first)) = (at, first) {
                args.push(Arg::One(first));
                continue;
            }
            match arg {
                ast::Arg::Open(place) => {
                    open = true;
                    if at + 1 != call.args.len() {
                        self.unsupported(*place, "`...` is the last argument", None);
                    }
                }
                ast::Arg::Gap(place) => {
                    args.push(Arg::One(self.new_expr(ExprKind::Absent, *place)));
                }
                ast::Arg::One(expr) => args.push(Arg::One(self.expr(frame, expr))),
                ast::Arg::Maybe(expr) => args.push(Arg::One(self.optional(frame, expr))),
                ast::Arg::Each(expr) => {
                    if args.iter().any(|arg| matches!(arg, Arg::Each { .. })) {
                        self.unsupported(expr.span, "a call has one list of inputs at most", None);
                    }
                    let made = self.pattern.vars.len();
                    let inside = self.expr(frame, expr);
                    pending.push((args.len(), inside, made..self.pattern.vars.len()));
                    args.push(Arg::Each { expr: inside, collected: Vec::new() });
                }
            }
        }
        let exact = call.mark == Some(Mark::Exact);
        let op = Op {
            operators: operators.to_vec(),
            bind,
            attributes,
            others,
            args,
            open,
            exact,
            output,
        };
        let at = self.new_expr(ExprKind::Op(op), span);
        for (argument, inside, made) in pending {
            self.collections.push(Collection { at, argument: Some(argument), inside, made });
        }
        at
    }

    /// `e?` as an argument.
    pub(super) fn optional(&mut self, frame: &mut Frame<'a>, expr: &'a ast::Expr) -> ExprId {
        let present = self.expr(frame, expr);
        if let (true, ExprKind::Var(var)) = (frame.free, &self.pattern.expr(present).kind) {
            let var = *var;
            self.var_mut(var).optional = true;
        }
        let optional = Optional { present, absent: Vec::new() };
        let at = self.new_expr(ExprKind::Optional(optional), expr.span);
        self.absences.push(Absence { at, branch: None, dropped: vec![present], kept: Vec::new() });
        at
    }

    fn check_inputs(&mut self, call: &Call, signature: &Signature, span: Span) {
        let open = call.args.iter().any(|arg| matches!(arg, ast::Arg::Open(_) | ast::Arg::Each(_)));
        let given = call.args.len() - usize::from(open);
        let too_many = signature.max_inputs.is_some_and(|max| given > max);
        if !too_many && (open || given >= signature.min_inputs) {
            return;
        }
        let name = &call.callee.text;
        let takes = match signature.max_inputs {
            Some(max) if max == signature.min_inputs => format!("{max}"),
            Some(max) => format!("{} to {max}", signature.min_inputs),
            None => format!("{} or more", signature.min_inputs),
        };
        let inputs = signature.inputs.join(", ");
        let fact = format!("{given} {} given", if given == 1 { "input" } else { "inputs" });
        let error = Diagnostic::new(Code::InputCount, span, fact)
            .label(call.callee.span, format!("`{name}` takes {takes}: {inputs}"));
        let help = match too_many {
            true => "remove the inputs that the operator does not have".to_owned(),
            false => format!(
                "add the missing input, or end with `...` if you do not care: `{name}(…, ...)`"
            ),
        };
        self.error(error.help(help));
    }

    fn check_required(&mut self, call: &Call, signature: &Signature, attributes: &[Attribute]) {
        for facts in signature.attributes.iter().filter(|facts| facts.required) {
            if attributes.iter().any(|attribute| attribute.name == facts.name) {
                continue;
            }
            let name = &facts.name;
            let fact = format!("`{}` requires `{name}`, which has no default", call.callee.text);
            let help = format!("bind it: `<{name} = k>`, or do not care: `<...>`");
            self.error(Diagnostic::new(Code::MissingAttribute, call.callee.span, fact).help(help));
        }
    }
}

/// Whether a call writes out a constant: the operator `Constant` with its content.
pub(super) fn is_constant(operators: &[Operator], call: &Call) -> bool {
    let content = ["value", "value_float", "value_int", "value_floats", "value_ints"];
    let [operator] = operators else { return false };
    let [Attr::Named(name, values)] = &call.attributes[..] else { return false };
    let literal = match &values[..] {
        [AttrValue::Tensor(_)] => name.text == "value",
        // A name there binds the attribute of the node, as that of any other operator.
        [AttrValue::Expr(guard)] => name.text != "value" && !binds(guard),
        _ => false,
    };
    operator.domain.is_empty()
        && operator.name == "Constant"
        && call.args.is_empty()
        && literal
        && content.contains(&name.text.as_str())
}
