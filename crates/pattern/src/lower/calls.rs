//! Calls: of operators, of definitions and of patterns; the latter two are inlined.

use super::{Absence, Collection, Frame, Lowerer};
use crate::ast::{
    self, Attr, AttrValue, Call, ExprKind as Ast, Guard, GuardKind, Item, Mark, Name,
};
use crate::core::{
    Alt, Arg, Attribute, AttributePattern, Branch, Chain, ExprId, ExprKind, GraphPattern, Kind, Op,
    Operator, Optional, Others, Output, Repeat, Role, VarId,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::is_dtype;
use crate::gexpr::GExprKind;
use crate::operators::{AttributeKind, Facts, Signature};
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

    fn is_open(&self, decl: Decl) -> bool {
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

    fn full(&mut self, frame: &mut Frame<'a>, call: &'a Call, span: Span) -> ExprId {
        if let [ast::Arg::One(expr)] = &call.args[..] {
            let inner = self.expr(frame, expr);
            if matches!(
                self.pattern.expr(inner).kind,
                ExprKind::Scalar(_) | ExprKind::Constant { .. }
            ) {
                return self.new_expr(ExprKind::Full(inner), span);
            }
        }
        self.unsupported(span, "`full` takes one number", Some("write `full(eps)` or `full(0.5)`"));
        self.placeholder(span)
    }

    /// `Add{a, b, rest...}`.
    fn braces(
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
    fn op(
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
    fn optional(&mut self, frame: &mut Frame<'a>, expr: &'a ast::Expr) -> ExprId {
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

    fn attributes(
        &mut self,
        frame: &mut Frame<'a>,
        attributes: &'a [Attr],
        signature: Option<&Signature>,
        operators: &[Operator],
    ) -> (Vec<Attribute>, Others) {
        let mut others = Others::Default;
        let mut named: Vec<Attribute> = Vec::new();
        for attribute in attributes {
            match attribute {
                Attr::Open(_) => others = Others::Any,
                Attr::Rest(name) => {
                    others = Others::Rest(self.lookup(frame, &name.text, name.span));
                }
                Attr::Named(name, values) => {
                    let pattern = match &values[..] {
                        [] => AttributePattern::Bind(self.lookup(frame, &name.text, name.span)),
                        [value] => self.attribute(frame, value),
                        values => {
                            let values = values.iter().map(|value| self.attribute(frame, value));
                            AttributePattern::OneOf(values.collect())
                        }
                    };
                    if let Some(first) = named.iter().find(|other| other.name == name.text) {
                        let fact = format!("`{}` is given a second time", name.text);
                        let error = Diagnostic::new(Code::DuplicateName, name.span, fact);
                        self.errors.push(error.label(first.span, "first here"));
                    }
                    self.check_attribute(name, &pattern, values, signature, operators);
                    named.push(Attribute { name: name.text.clone(), pattern, span: name.span });
                }
            }
        }
        (named, others)
    }

    fn check_attribute(
        &mut self,
        name: &Name,
        pattern: &AttributePattern,
        values: &[AttrValue],
        signature: Option<&Signature>,
        operators: &[Operator],
    ) {
        let (Some(signature), [operator, ..]) = (signature, operators) else { return };
        let Some(facts) = signature.attributes.iter().find(|facts| facts.name == name.text) else {
            let fact = format!("`{}` has no attribute `{}`", operator.name, name.text);
            let known = signature.attributes.iter().map(|facts| facts.name.as_str());
            let help =
                closest(&name.text, known.clone()).map(|name| format!("did you mean `{name}`?"));
            let help = help.or_else(|| {
                let known: Vec<&str> = known.collect();
                (!known.is_empty()).then(|| format!("it has {}", known.join(", ")))
            });
            self.error(Diagnostic::new(Code::AttributeMismatch, name.span, fact).help_maybe(help));
            return;
        };
        let found = match pattern {
            AttributePattern::List(_) => Some("a list"),
            AttributePattern::Value(value) => match value.kind {
                GExprKind::Int(_) => Some("an int"),
                GExprKind::Float(_) => Some("a float"),
                GExprKind::String(_) => Some("a string"),
                GExprKind::List(_) => Some("a list"),
                _ => None,
            },
            _ => None,
        };
        let (declared, fits) = match facts.kind {
            AttributeKind::Int => ("int", matches!(found, None | Some("an int"))),
            AttributeKind::Float => ("float", matches!(found, None | Some("an int" | "a float"))),
            AttributeKind::String => ("string", matches!(found, None | Some("a string"))),
            AttributeKind::Ints => ("ints", matches!(found, None | Some("a list"))),
            AttributeKind::Floats => ("floats", matches!(found, None | Some("a list"))),
            AttributeKind::Strings => ("strings", matches!(found, None | Some("a list"))),
            AttributeKind::Other => return,
        };
        if let (false, Some(found)) = (fits, found) {
            let place = match values {
                [AttrValue::Expr(guard)] => guard.span,
                _ => name.span,
            };
            let error = Diagnostic::new(Code::AttributeMismatch, place, format!("this is {found}"));
            let label = format!("`{}` declares `{}`: {declared}", operator.name, name.text);
            let help = match declared.ends_with('s') {
                true => format!(
                    "write a list: `<{} = [1, 0]>`, or bind it: `<{} = p>`",
                    name.text, name.text
                ),
                false => format!("write one {declared}, or bind it: `<{} = p>`", name.text),
            };
            self.error(error.label(name.span, label).help(help));
        }
    }

    fn attribute(&mut self, frame: &mut Frame<'a>, value: &'a AttrValue) -> AttributePattern {
        match value {
            AttrValue::Any => AttributePattern::Any,
            AttrValue::Expr(guard) => self.attribute_expr(frame, guard),
            AttrValue::Tensor(span) => {
                let help = "bind it and compare in a `where`, or do not care: `_`";
                self.unsupported(*span, "a tensor as the content of an attribute", Some(help));
                AttributePattern::Any
            }
            AttrValue::Graph(params, results, body) => {
                let hidden = frame.vars.clone();
                let mut inner = ast_names(params, results, body);
                inner.retain(|name| !hidden.get(name).is_some_and(|var| self.is_input(*var)));
                for name in &inner {
                    frame.vars.remove(name);
                }
                let scope = self.new_scope(body.span, Some(frame.scope));
                let outer = std::mem::replace(&mut frame.scope, scope);
                let inputs =
                    params.iter().map(|param| self.param(frame, param, Role::Local)).collect();
                self.body(frame, body);
                let outputs = results
                    .iter()
                    .map(|result| self.lookup(frame, &result.name.text, result.name.span));
                let outputs = outputs.collect();
                frame.scope = outer;
                for name in inner {
                    match hidden.get(&name) {
                        Some(var) => frame.vars.insert(name, *var),
                        None => frame.vars.remove(&name),
                    };
                }
                AttributePattern::Graph(GraphPattern { inputs, outputs, scope })
            }
        }
    }

    fn is_input(&self, var: VarId) -> bool {
        self.pattern.inputs.contains(&var)
    }

    /// Names alone, and as elements of a list, bind; everything else is computed and compared.
    fn attribute_expr(&mut self, frame: &mut Frame<'a>, guard: &'a Guard) -> AttributePattern {
        match &guard.kind {
            GuardKind::Name(name)
                if frame.names.knows(name) && !is_dtype(name) || frame.vars.contains_key(name) =>
            {
                let var = self.lookup(frame, name, guard.span);
                match self.pattern.var(var).kind {
                    Kind::Attribute => AttributePattern::Bind(var),
                    Kind::Dim | Kind::Dtype => AttributePattern::Value(self.guard(frame, guard)),
                    _ => {
                        let fact = format!(
                            "`{name}` is a value of the graph; an attribute is needed here"
                        );
                        let error = Diagnostic::new(Code::AmbiguousKind, guard.span, fact);
                        let help = format!(
                            "`<{name} = p>`: the attribute is on the left, a variable on the right"
                        );
                        self.error(error.help(help));
                        AttributePattern::Any
                    }
                }
            }
            GuardKind::List(items) if items.iter().any(binds) => {
                let items = items.iter().map(|item| self.attribute_expr(frame, item));
                AttributePattern::List(items.collect())
            }
            _ => AttributePattern::Value(self.guard(frame, guard)),
        }
    }

    /// Inlines a definition or a pattern; returns one expression for each of its results.
    fn inline(
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
            Item::Def(def) => super::bodies::Callable::def(def),
            Item::Pattern(pattern) => super::bodies::Callable::pattern(pattern),
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
            let condition = crate::gexpr::GExpr { kind, span };
            let guards = &mut self.pattern.scopes[frame.scope.index()].guards;
            guards.push(crate::core::Guard { condition, soft: false });
        }
        let made = self.var_mut(var);
        made.constant |= param.constant;
        made.types.extend(types);
    }
}

/// `com.microsoft.Gelu` is operator `Gelu` of domain `com.microsoft`.
pub(super) fn operator_named(name: &Name) -> Operator {
    match name.text.rsplit_once('.') {
        Some((domain, name)) => Operator { domain: domain.to_owned(), name: name.to_owned() },
        None => Operator { domain: String::new(), name: name.text.clone() },
    }
}

fn binds(guard: &Guard) -> bool {
    match &guard.kind {
        GuardKind::Name(name) => !is_dtype(name),
        GuardKind::List(items) => items.iter().any(binds),
        _ => false,
    }
}

/// The names that a nested graph declares.
fn ast_names(params: &[ast::Param], results: &[ast::Param], body: &ast::Body) -> Vec<String> {
    let mut names = crate::names::Names::default();
    names.params(params);
    names.params(results);
    names.declare(body);
    names.declared.into_keys().collect()
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 input".to_owned(),
        _ => format!("{count} inputs"),
    }
}

fn shown(range: &crate::core::OpsetRange) -> String {
    match range.max {
        Some(max) if max == range.min => format!("opset {max}"),
        Some(max) => format!("opset {}..{max}", range.min),
        None => format!("opset {}..", range.min),
    }
}
