//! Which names the sides of alternatives bind.

use std::collections::BTreeSet;

use crate::ast::{self, Arg, Body, Branch as AstBranch, ExprKind as Ast, Statement};
use crate::diagnostic::{Code, Diagnostic};
use crate::names::Names;
use crate::span::Span;

/// P004: alternatives must bind the same names, as far as these are used elsewhere.
struct Alternatives<'c> {
    names: &'c Names,
    signature: &'c ast::Signature,
    errors: &'c mut Vec<Diagnostic>,
}

/// Adds the alternatives of a body that bind different names.
pub(super) fn check(
    names: &Names,
    signature: &ast::Signature,
    body: &Body,
    errors: &mut Vec<Diagnostic>,
) {
    Alternatives { names, signature, errors }.body(body);
}

impl Alternatives<'_> {
    fn body(&mut self, body: &Body) {
        for statement in &body.statements {
            match statement {
                Statement::Equation(equation) => self.expr(&equation.right),
                Statement::Either(branches) => {
                    let sides = branches.iter().map(|branch| {
                        let mut names = Names::default();
                        names.declare(branch);
                        names.body(branch);
                        (names, branch.span)
                    });
                    let sides: Vec<(Names, Span)> = sides.collect();
                    self.compare(&sides, true);
                    branches.iter().for_each(|branch| self.body(branch));
                }
                Statement::Where(_) | Statement::Let(..) => {}
            }
        }
    }

    fn expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            Ast::Alt(branches) => {
                let side = |branch: &AstBranch| {
                    let mut names = Names::default();
                    names.branch(branch);
                    (names, branch.expr.span)
                };
                let sides: Vec<(Names, Span)> = branches.iter().map(side).collect();
                self.compare(&sides, false);
                branches.iter().for_each(|branch| self.expr(&branch.expr));
            }
            Ast::Call(call) => {
                for arg in &call.args {
                    if let Arg::One(expr) | Arg::Maybe(expr) | Arg::Each(expr) = arg {
                        self.expr(expr);
                    }
                }
            }
            Ast::Infix(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, expr)| self.expr(expr));
            }
            Ast::Power(left, right) => {
                self.expr(left);
                self.expr(right);
            }
            Ast::Negate(inner)
            | Ast::Group(inner)
            | Ast::Index(inner, _)
            | Ast::Naming(_, inner) => {
                self.expr(inner);
            }
            _ => {}
        }
    }

    fn compare(&mut self, sides: &[(Names, Span)], equations: bool) {
        let all: BTreeSet<&String> = sides
            .iter()
            .flat_map(|(side, _)| {
                side.bindings.keys().chain(side.declared.keys().filter(|_| equations))
            })
            .collect();
        for name in all {
            let binds = |side: &Names| {
                side.bindings.contains_key(name) || equations && side.declared.contains_key(name)
            };
            let Some((_, without)) = sides.iter().find(|(side, _)| !binds(side)) else { continue };
            let Some((_, with)) = sides.iter().find(|(side, _)| binds(side)) else { continue };
            let param = self.signature.params.iter().find(|param| param.name.text == *name);
            if param.is_some_and(|param| param.optional || param.list) || name.starts_with('_') {
                continue;
            }
            let defined = self.names.declared.contains_key(name) && param.is_none();
            let here = sides.iter().any(|(side, _)| side.declared.contains_key(name));
            if defined && !here {
                // An equation elsewhere binds it.
                continue;
            }
            let inside = |count: fn(&Names) -> &std::collections::BTreeMap<String, usize>| {
                sides
                    .iter()
                    .map(|(side, _)| count(side).get(name).copied().unwrap_or(0))
                    .sum::<usize>()
            };
            let bound_outside =
                self.names.bindings.get(name).copied().unwrap_or(0) > inside(|side| &side.bindings);
            let used_outside =
                self.names.uses.get(name).copied().unwrap_or(0) > inside(|side| &side.uses);
            let header = param.is_some()
                || self.signature.attributes.iter().any(|attribute| attribute.name.text == *name);
            if bound_outside && !equations || !(used_outside || header) || bound_outside && !here {
                continue;
            }
            let error = Diagnostic::new(
                Code::UnevenAlternatives,
                *without,
                format!("does not bind `{name}`"),
            );
            let used =
                if used_outside { ", which is used elsewhere" } else { ", which the header names" };
            let help = match param {
                Some(_) => format!("declare the input as optional, `{name}?`, or use it in both"),
                None => format!("give it a value here: `… with {name} = …`"),
            };
            self.errors.push(error.label(*with, format!("binds `{name}`{used}")).help(help));
        }
    }
}
