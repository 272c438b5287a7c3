//! Calls: of operators, of definitions and of patterns; the latter two are inlined.

use super::nodes::is_constant;
use super::{Absence, Collection, Frame, Lowerer};
use crate::ast::{self, Call, ExprKind as Ast, Item, Mark, Name};
use crate::core::{
    Alt, Branch, ExprId, ExprKind, Kind, Operator, OpsetRange, Output, Repeat, Role, VarId,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::operators::{Facts, Signature};
use crate::resolve::Decl;
use crate::similar::closest;
use crate::span::Span;

/// What a call is of.
enum Callee {
    Operators(Vec<Operator>, Option<Signature>),
    Inline(Decl),
    Full,
}

impl<'a> Lowerer<'a> {
    pub(super) fn call(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        span: Span,
        index: Option<u32>,
        results: &[VarId],
    ) -> ExprId {
        let Some(callee) = self.callee(frame, call) else {
            self.walk_args(frame, call);
            return self.placeholder(span);
        };
        match call.mark {
            None | Some(Mark::Exact) => {
                self.plain(frame, call, &callee, None, span, index, results)
            }
            Some(mark) if !results.is_empty() || index.is_some() => {
                let what = if mark == Mark::Maybe { "`F?`" } else { "a repetition" };
                self.unsupported(span, &format!("{what} has one result"), None);
                self.placeholder(span)
            }
            Some(Mark::Maybe) => {
                let Some(first) = self.first(frame, call, span) else {
                    return self.placeholder(span);
                };
                let present = self.plain(frame, call, &callee, Some(first), span, None, &[]);
                let branch =
                    |expr| Branch { expr, with: Vec::new(), guard: None, absent: Vec::new() };
                let branches = vec![branch(present), branch(first)];
                let at = self.new_expr(ExprKind::Alt(Alt { branches }), span);
                let (dropped, kept) = (vec![present], vec![first]);
                self.absences.push(Absence { at, branch: Some(1), dropped, kept });
                at
            }
            Some(mark) => {
                let Some(last) = self.first(frame, call, span) else {
                    return self.placeholder(span);
                };
                let made = self.pattern.vars.len();
                let hole = self.new_var("next".to_owned(), span, Kind::Value, Role::Inlined);
                let first = self.new_expr(ExprKind::Var(hole), span);
                let step = self.plain(frame, call, &callee, Some(first), span, None, &[]);
                let made = made..self.pattern.vars.len();
                let at_least_once = mark == Mark::Plus;
                let repeat = Repeat { step, hole, last, collected: Vec::new(), at_least_once };
                let at = self.new_expr(ExprKind::Repeat(repeat), span);
                self.collections.push(Collection { at, argument: None, inside: step, made });
                at
            }
        }
    }

    /// The first argument, which `F?(x)` and `F*(x)` match where `F` is not.
    fn first(&mut self, frame: &mut Frame<'a>, call: &'a Call, span: Span) -> Option<ExprId> {
        match call.args.first() {
            Some(ast::Arg::One(expr)) => Some(self.expr(frame, expr)),
            _ => {
                let fact =
                    "a call that may be left out needs a first argument, which stands for it then";
                self.unsupported(span, fact, None);
                None
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one call")]
    fn plain(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        callee: &Callee,
        first: Option<ExprId>,
        span: Span,
        index: Option<u32>,
        results: &[VarId],
    ) -> ExprId {
        let whole = std::mem::take(&mut self.output);
        match callee {
            Callee::Inline(decl) => {
                let exprs = self.inline(frame, call, *decl, first, span);
                if results.len() > 1 && exprs.len() != results.len() {
                    let fact = format!(
                        "`{}` has {} results, not {}",
                        call.callee.text,
                        exprs.len(),
                        results.len()
                    );
                    self.error(Diagnostic::new(Code::InputCount, span, fact));
                }
                if results.len() > 1 {
                    let fact = "alternatives of calls with several results must all be operators";
                    self.unsupported(span, fact, Some("write them as `either { … } or { … }`"));
                }
                let at = index.unwrap_or(0) as usize;
                exprs.get(at).copied().unwrap_or_else(|| {
                    let fact = format!("`{}` has no result {at}", call.callee.text);
                    self.error(Diagnostic::new(Code::InputCount, span, fact));
                    self.placeholder(span)
                })
            }
            Callee::Full => self.full(frame, call, span),
            Callee::Operators(operators, _) if call.braces => {
                self.braces(frame, call, operators, span)
            }
            Callee::Operators(operators, _) if !whole && is_constant(operators, call) => {
                self.constant_node(frame, call, span)
            }
            Callee::Operators(operators, signature) => {
                let output = match (index, results) {
                    (None, []) => Output::Index(0),
                    (Some(at), []) => Output::Index(at),
                    (_, results) => Output::Bind(results.to_vec()),
                };
                self.op(frame, call, operators, signature.as_ref(), first, output, span)
            }
        }
    }

    /// The results of a definition or pattern as separate expressions, for `a, b = f(x)`.
    pub(super) fn inlined_results(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::Expr,
        count: usize,
    ) -> Option<Vec<ExprId>> {
        let mut inner = expr;
        while let Ast::Group(group) = &inner.kind {
            inner = group;
        }
        let Ast::Call(call) = &inner.kind else { return None };
        if call.mark.is_some() {
            return None;
        }
        let errors = self.errors.len();
        let Some(Callee::Inline(decl)) = self.callee(frame, call) else {
            self.errors.truncate(errors);
            return None;
        };
        let exprs = self.inline(frame, call, decl, None, inner.span);
        if exprs.len() != count {
            let fact = format!("`{}` has {} results, not {count}", call.callee.text, exprs.len());
            self.error(Diagnostic::new(Code::InputCount, inner.span, fact));
        }
        Some(exprs)
    }

    fn callee(&mut self, frame: &Frame<'a>, call: &Call) -> Option<Callee> {
        let name = &call.callee;
        let unit = &self.context.units[frame.unit];
        let decl = unit.names.get(&name.text).copied();
        let item = decl.map(|decl| &self.context.units[decl.unit].file.items[decl.item]);
        if let Some(Item::Ops(ops)) = item {
            let operators: Vec<Operator> = ops.operators.iter().map(operator_named).collect();
            return Some(Callee::Operators(operators, None));
        }
        if call.bind.is_some() {
            let fact = format!("`{}` is no operator set", name.text);
            let help = format!("declare it: `ops {} = Relu, Sigmoid`", name.text);
            self.error(Diagnostic::new(Code::UnknownName, name.span, fact).help(help));
            return None;
        }
        let lower = name.text.starts_with(|c: char| !c.is_uppercase()) && !name.text.contains('.');
        if lower {
            return self.definition(
                frame,
                name,
                decl.filter(|_| matches!(item, Some(Item::Def(_)))),
            );
        }
        let operator = operator_named(name);
        let pattern = decl.filter(|_| matches!(item, Some(Item::Pattern(_))));
        match self.context.operators.facts(&operator, self.opsets()) {
            Facts::Known(signature) => Some(Callee::Operators(vec![operator], Some(signature))),
            Facts::Unchecked => match pattern {
                Some(decl) if !self.is_open(decl) => Some(Callee::Inline(decl)),
                _ => Some(Callee::Operators(vec![operator], None)),
            },
            Facts::Unknown if pattern.is_some() => pattern.map(Callee::Inline),
            Facts::Unknown => {
                let range = self.opsets().iter().find(|range| range.domain == operator.domain);
                let range = range.map_or(String::new(), |range| format!(" at {}", shown(range)));
                let fact = format!(
                    "no operator `{}` in domain \"{}\"{range}",
                    operator.name, operator.domain
                );
                let mut known = self.context.operators.names();
                known.extend(
                    unit.names.keys().filter(|name| name.starts_with(char::is_uppercase)).cloned(),
                );
                let similar = closest(&operator.name, known.iter().map(String::as_str));
                let definition = closest(&operator.name, unit.names.keys().map(String::as_str));
                let help = similar.or(definition).map(|name| format!("did you mean `{name}`?"));
                self.error(
                    Diagnostic::new(Code::UnknownOperator, name.span, fact).help_maybe(help),
                );
                None
            }
            Facts::OutOfRange { since } => {
                let fact = format!("`{}` exists from opset {since} on", name.text);
                let range =
                    self.opsets().iter().find(|range| range.domain == operator.domain).cloned();
                let mut error = Diagnostic::new(Code::OpsetRange, name.span, fact);
                if let Some(range) = range
                    && range.span.source == name.span.source
                {
                    error = error.label(range.span, "the range of this pattern");
                }
                self.error(error);
                None
            }
        }
    }

    fn definition(&mut self, frame: &Frame<'a>, name: &Name, decl: Option<Decl>) -> Option<Callee> {
        if let Some(decl) = decl {
            return Some(Callee::Inline(decl));
        }
        if name.text == "full" {
            return Some(Callee::Full);
        }
        let names = &self.context.units[frame.unit].names;
        let known = names.keys().map(String::as_str).chain(["full"]);
        let operators = self.context.operators.names();
        let help = closest(&name.text, known.chain(operators.iter().map(String::as_str)));
        let help = match help {
            Some(close) if close.starts_with(char::is_uppercase) => {
                format!("did you mean the operator `{close}`? Operators are capitalised")
            }
            Some(close) => format!("did you mean `{close}`?"),
            None => "a lower-case call names a definition: import it with `use`, or write `def`"
                .to_owned(),
        };
        let fact = format!("no definition `{}` in scope", name.text);
        self.error(Diagnostic::new(Code::UnknownOperator, name.span, fact).help(help));
        None
    }

    pub(super) fn is_open(&self, decl: Decl) -> bool {
        self.calls.iter().any(|(open, _)| *open == decl) || self.pattern.span == decl.span
    }

    /// Lowers the arguments of a call that is wrong itself, for the errors in them.
    fn walk_args(&mut self, frame: &mut Frame<'a>, call: &'a Call) {
        for arg in &call.args {
            if let ast::Arg::One(expr) | ast::Arg::Maybe(expr) | ast::Arg::Each(expr) = arg {
                self.expr(frame, expr);
            }
        }
    }
}

/// `com.microsoft.Gelu` is operator `Gelu` of domain `com.microsoft`.
pub(super) fn operator_named(name: &Name) -> Operator {
    match name.text.rsplit_once('.') {
        Some((domain, name)) => Operator { domain: domain.to_owned(), name: name.to_owned() },
        None => Operator { domain: String::new(), name: name.text.clone() },
    }
}

fn shown(range: &OpsetRange) -> String {
    match range.max {
        Some(max) if max == range.min => format!("opset {max}"),
        Some(max) => format!("opset {}..{max}", range.min),
        None => format!("opset {}..", range.min),
    }
}
