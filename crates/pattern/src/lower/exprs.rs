//! Pattern expressions without calls.

use super::{Absence, Dup, Frame, Lowerer};
use crate::ast::{self, ExprKind as Ast, Infix};
use crate::core::{
    Alt, Arg, Branch, Chain, ExprId, ExprKind, Kind, Let, Op, Operator, Others, Output, VarId,
};
use crate::gexpr::{GExpr, GExprKind};
use crate::span::Span;

/// The most `+?` in one chain: each of them doubles its alternatives.
const MAX_OPTIONALS: usize = 4;

impl<'a> Lowerer<'a> {
    pub(super) fn expr(&mut self, frame: &mut Frame<'a>, expr: &'a ast::Expr) -> ExprId {
        self.results(frame, expr, &[])
    }

    /// Lowers an expression whose operators bind several results.
    pub(super) fn results(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::Expr,
        results: &[VarId],
    ) -> ExprId {
        match self.deeper(expr.span, |this| this.expr_inner(frame, expr, results)) {
            Some(id) => id,
            None => self.placeholder(expr.span),
        }
    }

    fn expr_inner(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::Expr,
        results: &[VarId],
    ) -> ExprId {
        let span = expr.span;
        let many = !results.is_empty();
        let kind = match &expr.kind {
            Ast::Group(inner) => return self.results(frame, inner, results),
            Ast::Alt(branches) => {
                let branches = branches.iter().map(|branch| self.branch(frame, branch, results));
                ExprKind::Alt(Alt { branches: branches.collect() })
            }
            Ast::Call(call) => return self.call(frame, call, span, None, results),
            _ if many => {
                let fact = "only the call of an operator or a definition has several results";
                self.unsupported(span, fact, None);
                ExprKind::Any
            }
            Ast::Any => ExprKind::Any,
            Ast::AnyOrAbsent => ExprKind::AnyOrAbsent,
            Ast::Absent => ExprKind::Absent,
            Ast::Name(name) => self.met(frame, name),
            Ast::Const(name) => {
                let met = self.met(frame, name);
                if let ExprKind::Var(var) = met {
                    self.var_mut(var).constant = true;
                }
                met
            }
            Ast::Number(number) => ExprKind::Constant {
                value: literal(number.value, span),
                tolerance: number.tolerance,
            },
            Ast::Constant(constant) => return self.constant(frame, constant, span),
            Ast::Negate(inner) => {
                let inner = self.expr(frame, inner);
                operator("Neg", vec![inner])
            }
            Ast::Power(base, exponent) => {
                let args = vec![self.expr(frame, base), self.expr(frame, exponent)];
                operator("Pow", args)
            }
            Ast::Infix(first, rest) => return self.infix(frame, first, rest, span),
            Ast::Naming(name, inner) => {
                let var = self.lookup(frame, &name.text, name.span);
                let inner = self.expr(frame, inner);
                self.define(var, frame.scope, inner);
                ExprKind::Var(var)
            }
            Ast::Index(inner, at) => return self.index(frame, inner, *at, span),
            Ast::Coalesce(_) => {
                self.unsupported(
                    span,
                    "`??` belongs to the right side of a rule",
                    Some("write alternatives: `a | b`"),
                );
                ExprKind::Any
            }
        };
        self.new_expr(kind, span)
    }

    /// A name in value position.
    fn met(&mut self, frame: &mut Frame<'a>, name: &'a ast::Name) -> ExprKind {
        if let Some(dup) = frame.dups.get_mut(&name.text) {
            if dup.met {
                let dup = *dup;
                return self.copy(frame, name, dup);
            }
            dup.met = true;
        }
        let var = self.lookup(frame, &name.text, name.span);
        self.met_var(var, name.span)
    }

    pub(super) fn met_var(&mut self, var: VarId, span: Span) -> ExprKind {
        match self.pattern.var(var).kind {
            Kind::Value => ExprKind::Var(var),
            Kind::Attribute => ExprKind::Scalar(var),
            kind => {
                let what = match kind {
                    Kind::Dim => "a dimension",
                    Kind::Dtype => "an element type",
                    Kind::Rest => "a list of attributes",
                    _ => "an operator",
                };
                let fact = format!(
                    "`{}` is {what}; a value or a number is needed here",
                    self.pattern.var(var).name
                );
                let error = crate::Diagnostic::new(crate::Code::AmbiguousKind, span, fact);
                self.error(error);
                ExprKind::Any
            }
        }
    }

    /// A later use of a `dup` variable: its equation once more, with locals of its own.
    fn copy(&mut self, frame: &mut Frame<'a>, name: &'a ast::Name, dup: Dup<'a>) -> ExprKind {
        let original = self.lookup(frame, &name.text, name.span);
        let role = self.pattern.var(original).role;
        let text = self.pattern.var(original).name.clone();
        let role = if role == crate::core::Role::Header { crate::core::Role::Local } else { role };
        let var = self.new_var(text, name.span, Kind::Value, role);
        self.var_mut(var).copy_of = Some(original);
        let scope = std::mem::replace(&mut frame.scope, dup.scope);
        let right = self.expr(frame, dup.right);
        frame.scope = scope;
        self.define(var, dup.scope, right);
        ExprKind::Var(var)
    }

    pub(super) fn branch(
        &mut self,
        frame: &mut Frame<'a>,
        branch: &'a ast::Branch,
        results: &[VarId],
    ) -> Branch {
        let expr = self.results(frame, &branch.expr, results);
        let with = branch.with.iter().map(|(name, value)| {
            let var = self.lookup(frame, &name.text, name.span);
            if self.pattern.var(var).kind != Kind::Attribute {
                let fact = format!("`{}` is a value of the graph; `with` binds numbers", name.text);
                let error = crate::Diagnostic::new(crate::Code::AmbiguousKind, name.span, fact);
                self.error(error);
            }
            Let { var, value: self.guard(frame, value) }
        });
        let with = with.collect();
        let guard = branch.guard.as_ref().map(|guard| self.guard(frame, guard));
        Branch { expr, with, guard, absent: Vec::new() }
    }

    /// `a + b - c +? d`, from left to right; a run of one associative operator is one chain.
    fn infix(
        &mut self,
        frame: &mut Frame<'a>,
        first: &'a ast::Expr,
        rest: &'a [(Infix, ast::Expr)],
        span: Span,
    ) -> ExprId {
        let mut left = self.expr(frame, first);
        let mut run: Vec<(ExprId, bool)> = vec![(left, false)];
        let mut current = "";
        for (infix, right) in rest {
            let right = self.expr(frame, right);
            let associative = matches!(infix.operator, "Add" | "Mul");
            let span = first.span.join(self.pattern.expr(right).span_in(span));
            if infix.operator != current || !associative {
                left = self.chain(current, &run, span);
                run = vec![(left, false)];
                current = infix.operator;
            }
            run.push((right, infix.optional));
        }
        self.chain(current, &run, span)
    }

    /// One operator over operands, of which some may be missing.
    fn chain(&mut self, name: &str, run: &[(ExprId, bool)], span: Span) -> ExprId {
        let all: Vec<ExprId> = run.iter().map(|(operand, _)| *operand).collect();
        let optional: Vec<usize> = (0..run.len()).filter(|at| run[*at].1).collect();
        if optional.is_empty() {
            return self.plain_chain(name, &all, span);
        }
        if optional.len() > MAX_OPTIONALS {
            let fact = format!("more than {MAX_OPTIONALS} optional operands in one chain");
            self.unsupported(span, &fact, Some("name a part of it in an equation of its own"));
            return self.placeholder(span);
        }
        // Present before absent, the last operand deciding last: bit `i` set means that the
        // optional operand `i` is dropped.
        let mut branches = Vec::new();
        let mut drops = Vec::new();
        for mask in 0_usize..1 << optional.len() {
            let dropped = |at: &usize| {
                optional.iter().position(|o| o == at).is_some_and(|bit| mask & 1 << bit != 0)
            };
            let (gone, kept): (Vec<usize>, Vec<usize>) = (0..run.len()).partition(dropped);
            let kept: Vec<ExprId> = kept.into_iter().map(|at| all[at]).collect();
            let expr = self.plain_chain(name, &kept, span);
            branches.push(Branch { expr, with: Vec::new(), guard: None, absent: Vec::new() });
            drops.push((gone.into_iter().map(|at| all[at]).collect::<Vec<_>>(), kept));
        }
        let at = self.new_expr(ExprKind::Alt(Alt { branches }), span);
        for (branch, (dropped, kept)) in drops.into_iter().enumerate() {
            if !dropped.is_empty() {
                self.absences.push(Absence { at, branch: Some(branch), dropped, kept });
            }
        }
        at
    }

    fn plain_chain(&mut self, name: &str, operands: &[ExprId], span: Span) -> ExprId {
        let kind = match operands {
            [only] => return *only,
            [_, _] => operator(name, operands.to_vec()),
            _ => ExprKind::Chain(Chain {
                operator: Operator { domain: String::new(), name: name.to_owned() },
                operands: operands.to_vec(),
                rest: None,
            }),
        };
        self.new_expr(kind, span)
    }

    fn index(
        &mut self,
        frame: &mut Frame<'a>,
        inner: &'a ast::Expr,
        at: u32,
        span: Span,
    ) -> ExprId {
        let mut call = inner;
        while let Ast::Group(inner) = &call.kind {
            call = inner;
        }
        if let Ast::Call(call) = &call.kind {
            let id = self.call(frame, call, span, Some(at), &[]);
            return id;
        }
        self.unsupported(
            span,
            "only the call of an operator or a definition has several results",
            None,
        );
        self.placeholder(span)
    }
}

/// A standard operator with default attributes.
pub(super) fn operator(name: &str, args: Vec<ExprId>) -> ExprKind {
    ExprKind::Op(Op {
        operators: vec![Operator { domain: String::new(), name: name.to_owned() }],
        bind: None,
        attributes: Vec::new(),
        others: Others::Default,
        args: args.into_iter().map(Arg::One).collect(),
        open: false,
        exact: false,
        output: Output::Index(0),
    })
}

pub(super) fn literal(value: ast::Literal, span: Span) -> GExpr {
    let kind = match value {
        ast::Literal::Int(value) => GExprKind::Int(value),
        ast::Literal::Float(value) => GExprKind::Float(value),
    };
    GExpr { kind, span }
}

impl crate::core::Expr {
    /// The span, if it is of the same file as `other`; an argument that was passed to an inlined
    /// definition may be written elsewhere.
    fn span_in(&self, other: Span) -> Span {
        if self.span.source == other.source { self.span } else { other }
    }
}
