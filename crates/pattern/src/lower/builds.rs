//! Right sides, quantization hints and verification.

use super::{Frame, Lowerer};
use crate::ast::{self, Arg, Attr, AttrValue, Build, ExprKind as Ast, Name};
use crate::core::{Kind, Operator, Role, VarId};
use crate::diagnostic::{Code, Diagnostic};
use crate::gexpr::{GExpr, GExprKind};
use crate::operators::Facts;
use crate::quant::{Hint, HintKind, Target};
use crate::replacement::{
    BuildAttribute, BuildExpr, BuildKind, BuildOp, BuildOperator, BuildStatement, Replacement,
    Sampler, Verify,
};
use crate::similar::closest;
use crate::span::Span;

impl<'a> Lowerer<'a> {
    /// Lowers a right side. `rewrites`: it replaces what was matched, instead of naming its meaning.
    pub(super) fn build(
        &mut self,
        frame: &mut Frame<'a>,
        build: &'a Build,
        rewrites: bool,
    ) -> Replacement {
        let mut statements = Vec::new();
        for statement in &build.statements {
            match statement {
                ast::BuildStatement::Let(name, value) => {
                    let value = self.built_guard(frame, value);
                    let var =
                        self.new_var(name.text.clone(), name.span, Kind::Attribute, Role::Built);
                    frame.vars.insert(name.text.clone(), var);
                    statements.push(BuildStatement::Let(var, value));
                }
                ast::BuildStatement::Equation { constant, left, right, span } => {
                    let expr = self.build_expr(frame, right, rewrites);
                    let results = left.iter().map(|left| self.built(frame, left)).collect();
                    let constant = *constant;
                    statements.push(BuildStatement::Equation {
                        results,
                        constant,
                        expr,
                        span: *span,
                    });
                }
            }
        }
        for output in self.pattern.outputs.clone() {
            let defined = |statement: &BuildStatement| match statement {
                BuildStatement::Equation { results, .. } => results.contains(&output),
                BuildStatement::Let(..) => false,
            };
            if !statements.iter().any(defined) {
                let name = self.pattern.var(output).name.clone();
                let fact = format!("this does not define the output `{name}`");
                let error = Diagnostic::new(Code::UnboundInReplacement, build.span, fact);
                self.error(error.label(self.pattern.var(output).span, "declared here"));
            }
        }
        Replacement { statements, span: build.span }
    }

    /// The variable that an equation of a right side defines.
    fn built(&mut self, frame: &mut Frame<'a>, left: &'a ast::Left) -> VarId {
        let name = &left.name;
        match frame.vars.get(&name.text) {
            Some(var) if self.pattern.outputs.contains(var) => *var,
            Some(var) => {
                let var = *var;
                let fact = format!("`{}` is bound already", name.text);
                let error = Diagnostic::new(Code::DuplicateName, name.span, fact);
                let first = self.pattern.var(var).span;
                self.error(error.label(first, "first here").help("use a new name"));
                // From here on the name means what is written here, so that no use of it adds to
                // this one error.
                self.built_anew(frame, left)
            }
            None => self.built_anew(frame, left),
        }
    }

    fn built_anew(&mut self, frame: &mut Frame<'a>, left: &'a ast::Left) -> VarId {
        let name = &left.name;
        let var = self.new_var(name.text.clone(), name.span, Kind::Value, Role::Built);
        self.var_mut(var).list = left.list;
        frame.vars.insert(name.text.clone(), var);
        var
    }

    pub(super) fn build_expr(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::BuildExpr,
        rewrites: bool,
    ) -> BuildExpr {
        match expr {
            ast::BuildExpr::Expr(expr) => self.built_expr(frame, expr, rewrites),
            ast::BuildExpr::If(condition, left, right, span) => {
                let condition = self.built_guard(frame, condition);
                let left = self.build_expr(frame, left, rewrites);
                let right = self.build_expr(frame, right, rewrites);
                BuildExpr {
                    kind: BuildKind::If(condition.into(), left.into(), right.into()),
                    span: *span,
                }
            }
        }
    }

    fn built_expr(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::Expr,
        rewrites: bool,
    ) -> BuildExpr {
        let span = expr.span;
        let kind = self.deeper(span, |this| this.built_kind(frame, expr, rewrites));
        BuildExpr { kind: kind.unwrap_or(BuildKind::Absent), span }
    }

    fn built_kind(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a ast::Expr,
        rewrites: bool,
    ) -> BuildKind {
        let span = expr.span;
        match &expr.kind {
            Ast::Group(inner) => self.built_kind(frame, inner, rewrites),
            Ast::Name(name) => self.built_name(frame, name, rewrites),
            Ast::Absent => BuildKind::Absent,
            Ast::Number(number) => BuildKind::Constant {
                value: super::exprs::literal(number.value, span),
                dtype: None,
                shape: None,
            },
            Ast::Constant(constant) => {
                let value = self.built_guard(frame, &constant.value);
                let (value, nested) = self.flat(value);
                let shape = constant.shape.as_ref().map(|shape| self.built_guard(frame, shape));
                let dtype = constant.dtype.as_ref().map(|name| {
                    let kind = self.guard_name(frame, &name.text, name.span);
                    GExpr { kind, span: name.span }
                });
                BuildKind::Constant { value, dtype, shape: shape.or(nested) }
            }
            Ast::Coalesce(items) => BuildKind::Coalesce(
                items.iter().map(|item| self.built_expr(frame, item, rewrites)).collect(),
            ),
            Ast::Negate(inner) => node("Neg", vec![self.built_expr(frame, inner, rewrites)]),
            Ast::Power(base, exponent) => {
                let base = self.built_expr(frame, base, rewrites);
                node("Pow", vec![base, self.built_expr(frame, exponent, rewrites)])
            }
            Ast::Infix(first, rest) => {
                let mut left = self.built_expr(frame, first, rewrites);
                for (infix, right) in rest {
                    if infix.optional {
                        let fact = "`+?` cannot be built; it is for matching";
                        self.unsupported(
                            infix.span,
                            fact,
                            Some("use `if … then … else …` or `??`"),
                        );
                    }
                    let right = self.built_expr(frame, right, rewrites);
                    left = BuildExpr { kind: node(infix.operator, vec![left, right]), span };
                }
                left.kind
            }
            Ast::Call(call) => BuildKind::Op(self.built_op(frame, call, span, 0, rewrites)),
            Ast::Index(inner, at) => match &inner.kind {
                Ast::Call(call) => BuildKind::Op(self.built_op(frame, call, span, *at, rewrites)),
                _ => {
                    self.unsupported(
                        span,
                        "only the call of an operator has several results",
                        None,
                    );
                    BuildKind::Absent
                }
            },
            Ast::Naming(..) | Ast::Const(_) | Ast::AnyOrAbsent | Ast::Any | Ast::Alt(_) => {
                let fact = "this is for matching; a right side says exactly what to build";
                self.unsupported(span, fact, None);
                BuildKind::Absent
            }
        }
    }

    fn built_name(&mut self, frame: &Frame<'a>, name: &'a Name, rewrites: bool) -> BuildKind {
        let Some(var) = frame.vars.get(&name.text).copied() else {
            self.unbound(frame, &name.text, name.span);
            return BuildKind::Absent;
        };
        let known = self.pattern.var(var);
        let interior = known.role == Role::Local
            && known.kind == Kind::Value
            && !known.definitions.is_empty()
            && !known.shared
            && !self.pattern.outputs.contains(&var);
        if rewrites && interior {
            let text = &name.text;
            let fact = format!("used here, so `{text}` stays and the rewrite saves nothing");
            let error = Diagnostic::new(Code::DeletedInterior, name.span, fact)
                .label(known.span, "interior: removed when nothing else uses it");
            let help = format!(
                "use the inputs instead; or mark it: `shared {text} = …`; or make it an output"
            );
            self.error(error.help(help));
            return BuildKind::Var(var);
        }
        match known.kind {
            Kind::Value if known.list => BuildKind::Values(var),
            Kind::Value => BuildKind::Var(var),
            Kind::Attribute | Kind::Dim => BuildKind::Constant {
                value: GExpr { kind: GExprKind::Var(var), span: name.span },
                dtype: None,
                shape: None,
            },
            _ => {
                let fact = format!("`{}` is no value and no number", name.text);
                self.error(Diagnostic::new(Code::AmbiguousKind, name.span, fact));
                BuildKind::Absent
            }
        }
    }

    fn unbound(&mut self, frame: &Frame<'a>, name: &str, span: Span) {
        let known = frame.vars.keys().map(String::as_str);
        let close = closest(name, known);
        let mut error = Diagnostic::new(
            Code::UnboundInReplacement,
            span,
            format!("`{name}` is not bound by the match"),
        );
        if let Some(close) = close {
            let var = self.pattern.var(frame.vars[close]);
            let mut help = format!("did you mean `{close}`?");
            if var.optional {
                error = error.label(var.span, format!("`{close}` may be absent here"));
                help = format!(
                    "{help} It is optional: pass it on as it is, or give a default, `{close} ?? {{0}}`"
                );
            }
            error = error.help(help);
        }
        self.error(error);
    }

    /// A guard of a right side: its names must be bound by the match or the right side.
    fn built_guard(&mut self, frame: &mut Frame<'a>, guard: &'a ast::Guard) -> GExpr {
        self.guard(frame, guard)
    }

    fn built_op(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a ast::Call,
        span: Span,
        output: u32,
        rewrites: bool,
    ) -> BuildOp {
        let operator = self.built_operator(frame, call);
        if call.mark.is_some() || call.braces || call.bind.is_some() {
            self.unsupported(
                span,
                "this is for matching; a right side says exactly what to build",
                None,
            );
        }
        let (mut attributes, mut forward) = (Vec::new(), None);
        for attribute in &call.attributes {
            match attribute {
                // In `equals`, it says that other attributes do not matter when the operator is met.
                Attr::Open(_) if !rewrites => {}
                Attr::Open(place) => {
                    self.unsupported(
                        *place,
                        "`...` cannot be built",
                        Some("capture and forward: `rest...`"),
                    );
                }
                Attr::Rest(name) => match frame.vars.get(&name.text) {
                    Some(var) if self.pattern.var(*var).kind == Kind::Rest => forward = Some(*var),
                    _ => self.unbound(frame, &name.text, name.span),
                },
                Attr::Named(name, values) => {
                    let value = match &values[..] {
                        [] => match frame.vars.get(&name.text) {
                            Some(var) => GExpr { kind: GExprKind::Var(*var), span: name.span },
                            None => {
                                self.unbound(frame, &name.text, name.span);
                                continue;
                            }
                        },
                        [AttrValue::Expr(guard)] => self.built_guard(frame, guard),
                        [AttrValue::Tensor(tensor)] => match self.tensor(tensor) {
                            Some(content) => {
                                let kind = GExprKind::Tensor(content.into());
                                GExpr { kind, span: tensor.span }
                            }
                            None => continue,
                        },
                        _ => {
                            self.unsupported(
                                name.span,
                                "this content of an attribute cannot be built",
                                None,
                            );
                            continue;
                        }
                    };
                    attributes.push(BuildAttribute { name: name.text.clone(), value });
                }
            }
        }
        let mut args = Vec::new();
        for arg in &call.args {
            args.push(match arg {
                Arg::Gap(span) => BuildExpr { kind: BuildKind::Absent, span: *span },
                Arg::One(expr) | Arg::Maybe(expr) | Arg::Each(expr) => {
                    self.built_expr(frame, expr, rewrites)
                }
                Arg::Open(place) => {
                    self.unsupported(*place, "`...` cannot be built", None);
                    continue;
                }
            });
        }
        BuildOp { operator, attributes, forward, args, output }
    }

    fn built_operator(&mut self, frame: &Frame<'a>, call: &'a ast::Call) -> BuildOperator {
        let name = &call.callee;
        if let Some(var) = frame.vars.get(&name.text)
            && self.pattern.var(*var).kind == Kind::Operator
        {
            return BuildOperator::Matched(*var);
        }
        let operator = super::calls::operator_named(name);
        if operator.name.starts_with(|c: char| !c.is_uppercase()) && operator.domain.is_empty() {
            let fact = format!(
                "`{}` has several spellings; a right side says exactly what to build",
                name.text
            );
            self.unsupported(name.span, &fact, Some("write the operators themselves"));
        } else if let Facts::Unknown = self.context.operators.facts(&operator, self.opsets()) {
            let known = self.context.operators.names();
            let help = closest(&operator.name, known.iter().map(String::as_str));
            let help = help.map(|name| format!("did you mean `{name}`?"));
            let fact = format!("no operator `{}` in domain \"{}\"", operator.name, operator.domain);
            self.error(Diagnostic::new(Code::UnknownOperator, name.span, fact).help_maybe(help));
        }
        BuildOperator::Named(operator)
    }

    pub(super) fn hints(&mut self, frame: &mut Frame<'a>, hints: &'a [ast::Hint]) -> Vec<Hint> {
        let mut lowered = Vec::new();
        for hint in hints {
            let kind = match &hint.kind {
                ast::HintKind::Skip(names) => HintKind::Skip(self.targets(frame, names)),
                ast::HintKind::Quantize(names) => HintKind::Quantize(self.targets(frame, names)),
                ast::HintKind::Share(names) => HintKind::Share(self.targets(frame, names)),
                ast::HintKind::Symmetric(names) => HintKind::Symmetric(self.targets(frame, names)),
                ast::HintKind::PerChannel(name, axis) => {
                    let Some(target) = self.target(frame, name) else { continue };
                    HintKind::PerChannel(target, self.guard(frame, axis))
                }
                ast::HintKind::Bias(name, names) => {
                    let Some(target) = self.target(frame, name) else { continue };
                    HintKind::Bias(target, self.targets(frame, names))
                }
                ast::HintKind::Range(name, low, high) => {
                    let Some(target) = self.target(frame, name) else { continue };
                    HintKind::Range(target, self.guard(frame, low), self.guard(frame, high))
                }
                ast::HintKind::Tag(name, key, value) => {
                    let Some(target) = self.target(frame, name) else { continue };
                    HintKind::Tag(target, key.text.clone(), self.guard(frame, value))
                }
                ast::HintKind::Unknown(name) => {
                    let known = [
                        "skip",
                        "quantize",
                        "share",
                        "symmetric",
                        "per_channel",
                        "bias",
                        "range",
                        "tag",
                    ];
                    let help = match closest(&name.text, known) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => format!("the hints are {}", known.join(", ")),
                    };
                    let fact = format!("there is no hint `{}`", name.text);
                    self.error(Diagnostic::new(Code::UnknownHint, name.span, fact).help(help));
                    continue;
                }
            };
            let when = hint.when.as_ref().map(|when| self.guard(frame, when));
            lowered.push(Hint { kind, when, span: hint.span });
        }
        lowered
    }

    fn targets(&mut self, frame: &Frame<'a>, names: &'a [Name]) -> Vec<Target> {
        names.iter().filter_map(|name| self.target(frame, name)).collect()
    }

    fn target(&mut self, frame: &Frame<'a>, name: &Name) -> Option<Target> {
        match (frame.vars.get(&name.text), name.text.as_str()) {
            (Some(var), _) if self.pattern.var(*var).kind == Kind::Value => Some(Target::Var(*var)),
            (None, "interior") => Some(Target::Interior),
            (None, "consts") => Some(Target::Consts),
            (found, text) => {
                let known = frame.vars.keys().map(String::as_str).chain(["interior", "consts"]);
                let help = closest(text, known).map(|name| format!("did you mean `{name}`?"));
                let fact = match found {
                    Some(_) => format!("`{text}` is no value of the graph"),
                    None => format!("no value `{text}` in this pattern"),
                };
                self.error(Diagnostic::new(Code::UnknownName, name.span, fact).help_maybe(help));
                None
            }
        }
    }

    pub(super) fn verify(&mut self, frame: &mut Frame<'a>, verify: &'a ast::Verify) -> Verify {
        let clauses = match verify {
            ast::Verify::Off(reason) => return Verify::Off(reason.clone()),
            ast::Verify::On(clauses) => clauses,
        };
        let (mut tolerance, mut samples, mut samplers) = (None, None, Vec::new());
        for clause in clauses {
            let (name, sampler) = match clause {
                ast::VerifyClause::Tolerance(value) => {
                    tolerance = Some(*value);
                    continue;
                }
                ast::VerifyClause::Samples(count) => {
                    samples = Some(*count);
                    continue;
                }
                ast::VerifyClause::Range(name, low, high) => (name, Sampler::Range(*low, *high)),
                ast::VerifyClause::OneOf(name, list) => {
                    (name, Sampler::OneOf(self.guard(frame, list)))
                }
                ast::VerifyClause::Distribution(name, kind, args) => {
                    let mut numbers = Vec::new();
                    for arg in args {
                        match self.guard(frame, arg).kind {
                            GExprKind::Int(value) => numbers.push(value as f64),
                            GExprKind::Float(value) => numbers.push(value),
                            _ => self.unsupported(
                                arg.span,
                                "a parameter of a distribution is a number",
                                None,
                            ),
                        }
                    }
                    (name, Sampler::Distribution(kind.text.clone(), numbers))
                }
            };
            match frame.vars.get(&name.text) {
                Some(var) => samplers.push((*var, sampler)),
                None => {
                    let known = frame.vars.keys().map(String::as_str);
                    let help =
                        closest(&name.text, known).map(|name| format!("did you mean `{name}`?"));
                    let fact = format!("no variable `{}` in this pattern", name.text);
                    self.error(
                        Diagnostic::new(Code::UnknownName, name.span, fact).help_maybe(help),
                    );
                }
            }
        }
        Verify::On { tolerance, samples, samplers }
    }
}

fn node(name: &str, args: Vec<BuildExpr>) -> BuildKind {
    let operator = Operator { domain: String::new(), name: name.to_owned() };
    BuildKind::Op(BuildOp {
        operator: BuildOperator::Named(operator),
        attributes: Vec::new(),
        forward: None,
        args,
        output: 0,
    })
}
