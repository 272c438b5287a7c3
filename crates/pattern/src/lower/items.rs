//! Patterns, rules and definitions as wholes.

use super::bodies::Callable;
use super::{Context, Lowerer};
use crate::ast::{self, RuleKind};
use crate::core::{Equation, Kind, Pattern, Role, VarId};
use crate::diagnostic::{Diagnostic, Severity};
use crate::replacement::{BuildStatement, Replacement};

/// Lowers and checks a pattern.
pub(crate) fn pattern(
    context: Context<'_>,
    unit: usize,
    item: &ast::PatternItem,
) -> (Pattern, Vec<Diagnostic>) {
    let mut lowerer = Lowerer::new(context, unit, &item.name, Some(&item.meta));
    let mut frame = lowerer.frame(unit, String::new(), Pattern::ROOT);
    Callable::pattern(item).names(&mut frame.names);
    lowerer.report_arithmetic(&frame);
    lowerer.header(&mut frame, &item.signature);
    let (inputs, outputs) = (lowerer.pattern.inputs.clone(), lowerer.pattern.outputs.clone());
    let meaning =
        lowerer.body_or_meaning(&mut frame, &item.body, item.equals.as_ref(), &inputs, &outputs);
    lowerer.pattern.meaning = meaning;
    lowerer.pattern.hints = lowerer.hints(&mut frame, &item.quant);
    lowerer.pattern.verify = item.verify.as_ref().map(|verify| lowerer.verify(&mut frame, verify));
    let equals = item.equals.as_ref();
    lowerer.pattern.equals = equals.map(|equals| lowerer.build(&mut frame, equals, false));
    finish(lowerer, &frame.names, Some(&item.signature), Some(&item.body))
}

/// Lowers and checks a rule.
pub(crate) fn rule(
    context: Context<'_>,
    unit: usize,
    item: &ast::Rule,
) -> (Pattern, Vec<Diagnostic>) {
    let mut lowerer = Lowerer::new(context, unit, &item.name, Some(&item.meta));
    let mut frame = lowerer.frame(unit, String::new(), Pattern::ROOT);
    match &item.kind {
        RuleKind::Block(signature, body, build) => {
            frame.names.attributes(&signature.attributes);
            frame.names.params(&signature.params);
            frame.names.params(&signature.results);
            frame.names.declare(body);
            frame.names.body(body);
            lowerer.report_arithmetic(&frame);
            lowerer.header(&mut frame, signature);
            lowerer.body(&mut frame, body);
            lowerer.pattern.replacement = Some(lowerer.build(&mut frame, build, true));
            lowerer.pattern.verify =
                item.verify.as_ref().map(|verify| lowerer.verify(&mut frame, verify));
            terminating(finish(lowerer, &frame.names, Some(signature), Some(body)), context)
        }
        RuleKind::Short { left, right, guards } => {
            frame.free = true;
            frame.names.declare_inline(left);
            frame.names.expr(left);
            let conditions = guards.iter().flat_map(|guard| &guard.conditions);
            conditions.for_each(|condition| frame.names.guard(condition, false));
            let output = lowerer.new_var("result".to_owned(), left.span, Kind::Value, Role::Header);
            lowerer.pattern.outputs.push(output);
            let expr = lowerer.expr(&mut frame, left);
            lowerer.define(output, Pattern::ROOT, expr);
            let equation = Equation { results: vec![output], expr, span: left.span };
            lowerer.pattern.scopes[0].equations.push(equation);
            guards.iter().for_each(|guard| lowerer.where_item(&mut frame, guard));
            // The right side has to know which names are lists.
            lowerer.settle_collections();
            for input in free_values(&lowerer.pattern) {
                lowerer.var_mut(input).role = Role::Header;
                lowerer.pattern.inputs.push(input);
            }
            let expr = lowerer.build_expr(&mut frame, right, true);
            let span = expr.span;
            let results = vec![output];
            let statement = BuildStatement::Equation { results, constant: false, expr, span };
            lowerer.pattern.replacement = Some(Replacement { statements: vec![statement], span });
            lowerer.pattern.verify =
                item.verify.as_ref().map(|verify| lowerer.verify(&mut frame, verify));
            terminating(finish(lowerer, &frame.names, None, None), context)
        }
    }
}

/// Adds P013 to a rule without other errors.
fn terminating(
    (rule, mut errors): (Pattern, Vec<Diagnostic>),
    context: Context<'_>,
) -> (Pattern, Vec<Diagnostic>) {
    if errors.iter().all(|error| error.severity() == Severity::Warning) {
        errors.extend(crate::check::terminates(&rule, context.operators));
    }
    (rule, errors)
}

/// Checks a definition on its own, as if it were a pattern.
pub(crate) fn def(context: Context<'_>, unit: usize, item: &ast::Def) -> Vec<Diagnostic> {
    let mut lowerer = Lowerer::new(context, unit, &item.name, None);
    let callable = Callable::def(item);
    let mut frame = lowerer.frame(unit, String::new(), Pattern::ROOT);
    callable.names(&mut frame.names);
    for param in callable.params {
        lowerer.param(&mut frame, param, Role::Header);
    }
    lowerer.callable(&mut frame, &callable, item.name.span);
    lowerer.finish().1
}

/// The variables of a rule without a header that the graph around gives: its inputs.
fn free_values(pattern: &Pattern) -> Vec<VarId> {
    let free = |var: &crate::core::Var| {
        var.kind == Kind::Value && var.role == Role::Local && var.definitions.is_empty()
    };
    pattern.vars().filter(|(_, var)| free(var)).map(|(id, _)| id).collect()
}

fn finish(
    lowerer: Lowerer<'_>,
    names: &crate::names::Names,
    signature: Option<&ast::Signature>,
    body: Option<&ast::Body>,
) -> (Pattern, Vec<Diagnostic>) {
    let whole = !lowerer.full;
    let operators = lowerer.context.operators;
    let (pattern, mut errors) = lowerer.finish();
    if whole && errors.is_empty() {
        crate::check::check(&pattern, names, signature, body, operators, &mut errors);
    }
    (pattern, errors)
}
