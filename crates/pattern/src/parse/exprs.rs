//! Pattern expressions and calls.

use pest::iterators::Pair;

use super::guards::tolerance_of;
use super::{Builder, Rule, descend, only, parts};
use crate::ast::{
    Arg, Attr, AttrValue, Branch, BuildExpr, Call, Constant, Expr, ExprKind, Infix, Mark, Name,
    TensorLiteral,
};
use crate::span::Span;

impl Builder {
    pub(super) fn branch(&mut self, pair: Pair<'_, Rule>) -> Branch {
        let (mut expr, mut with, mut guard) = (None, Vec::new(), None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::sum => expr = Some(self.expr(part)),
                Rule::bind => {
                    let mut inner = parts(part);
                    let name = self.name(&inner.next().expect("a binding has a name"));
                    with.push((name, self.guard(inner.next().expect("a binding has a value"))));
                }
                Rule::guard => guard = Some(self.guard(part)),
                _ => {}
            }
        }
        Branch { expr: expr.expect("a branch has an expression"), with, guard }
    }

    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let pair = descend(pair);
        let span = self.tight(&pair);
        let kind = match pair.as_rule() {
            Rule::alt => ExprKind::Alt(parts(pair).map(|part| self.branch(part)).collect()),
            Rule::branch => ExprKind::Alt(vec![self.branch(pair)]),
            Rule::sum | Rule::product => return self.infix(pair),
            Rule::coalesced => {
                let mut items: Vec<Expr> = parts(pair).map(|part| self.expr(part)).collect();
                match items.len() {
                    1 => return items.remove(0),
                    _ => ExprKind::Coalesce(items),
                }
            }
            Rule::power => {
                let mut inner = parts(pair);
                let base = self.expr(inner.next().expect("a power has a base"));
                match inner.next() {
                    None => return base,
                    Some(exponent) => ExprKind::Power(base.into(), self.expr(exponent).into()),
                }
            }
            Rule::unary => return self.unary(pair),
            Rule::postfix => return self.postfix(pair),
            Rule::group => ExprKind::Group(Box::new(self.expr(only(pair)))),
            Rule::naming => {
                let mut inner = parts(pair);
                let name = self.name(&inner.next().expect("an inline name is a name"));
                let inner = self.expr(inner.next().expect("an inline name has a value"));
                ExprKind::Naming(name, Box::new(inner))
            }
            Rule::const_name => {
                let name = parts(pair).find(|part| part.as_rule() == Rule::name);
                ExprKind::Const(self.name(&name.expect("`const` has a name")))
            }
            Rule::constant => ExprKind::Constant(self.constant(pair)),
            Rule::call => ExprKind::Call(self.call(pair)),
            Rule::absent_any => ExprKind::AnyOrAbsent,
            Rule::k_none => ExprKind::Absent,
            Rule::name => match pair.as_str() {
                "_" => ExprKind::Any,
                "\"\"" => ExprKind::Absent,
                _ => ExprKind::Name(self.name(&pair)),
            },
            Rule::number => ExprKind::Number(self.number(pair)),
            other => unreachable!("{other:?} is no expression"),
        };
        Expr { kind, span }
    }

    fn infix(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.tight(&pair);
        let mut inner = parts(pair);
        let first = self.expr(inner.next().expect("an infix expression has a left side"));
        let mut rest = Vec::new();
        while let Some(sign) = inner.next() {
            let text = sign.as_str();
            let operator = match text.as_bytes()[0] {
                b'+' => "Add",
                b'-' => "Sub",
                b'*' => "Mul",
                b'/' => "Div",
                _ => "MatMul",
            };
            let infix = Infix { operator, optional: text.ends_with('?'), span: self.span(&sign) };
            rest.push((
                infix,
                self.expr(inner.next().expect("an infix operator has a right side")),
            ));
        }
        self.limit(rest.len(), span);
        match rest.len() {
            0 => first,
            _ => Expr { kind: ExprKind::Infix(Box::new(first), rest), span },
        }
    }

    fn unary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.tight(&pair);
        let mut minuses = 0;
        let mut inner = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::minus => minuses += 1,
                _ => inner = Some(self.expr(part)),
            }
        }
        self.limit(minuses, span);
        let inner = inner.expect("a unary expression has an operand");
        (0..minuses.min(super::MAX_DEPTH))
            .fold(inner, |inner, _| Expr { kind: ExprKind::Negate(Box::new(inner)), span })
    }

    fn postfix(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.tight(&pair);
        let mut inner = parts(pair);
        let mut base = self.expr(inner.next().expect("a postfix expression has a base"));
        let mut count = 0;
        for part in inner {
            let at = self.integer(&part);
            count += 1;
            if count <= super::MAX_DEPTH {
                base = Expr { kind: ExprKind::Index(Box::new(base), at), span };
            }
        }
        self.limit(count, span);
        base
    }

    fn constant(&mut self, pair: Pair<'_, Rule>) -> Constant {
        let (mut value, mut dtype, mut shape, mut tolerance) = (None, None, None, None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::guard => value = Some(self.guard(part)),
                Rule::constant_type => {
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::ident => dtype = Some(self.name(&part)),
                            _ => shape = Some(self.guard(part)),
                        }
                    }
                }
                Rule::tolerance => tolerance = Some(tolerance_of(part.as_str())),
                _ => {}
            }
        }
        Constant { value: value.expect("a constant has a value"), dtype, shape, tolerance }
    }

    fn call(&mut self, pair: Pair<'_, Rule>) -> Call {
        let mut callee = Name { text: String::new(), span: self.span(&pair) };
        let (mut bind, mut mark, mut braces) = (None, None, false);
        let (mut attributes, mut args) = (Vec::new(), Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::callee => {
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::mark => {
                                mark = Some(match part.as_str() {
                                    "?" => Mark::Maybe,
                                    "*" => Mark::Star,
                                    "+" => Mark::Plus,
                                    _ => Mark::Exact,
                                });
                            }
                            Rule::operator_as => {
                                let mut names =
                                    parts(part).filter(|part| part.as_rule() != Rule::k_as);
                                callee = self.name(&names.next().expect("`as` has a set"));
                                bind = names.next().map(|part| self.name(&part));
                            }
                            _ => callee = self.name(&part),
                        }
                    }
                }
                Rule::attrs => attributes.extend(parts(part).map(|part| self.attr(part))),
                Rule::open_brace => braces = true,
                Rule::args => args = parts(part).map(|part| self.arg(part)).collect(),
                _ => {}
            }
        }
        if let [Arg::Gap(_)] = args[..] {
            args.clear();
        }
        Call { callee, bind, mark, attributes, args, braces }
    }

    fn attr(&mut self, pair: Pair<'_, Rule>) -> Attr {
        let span = self.tight(&pair);
        let mut name = None;
        let mut rest = false;
        let mut after_colon = false;
        let mut values = Vec::new();
        for part in parts(pair) {
            match part.as_rule() {
                Rule::dots => rest = true,
                Rule::colon => after_colon = true,
                // The type in `<axis: int = 1>` says nothing that the schema does not.
                Rule::ident if after_colon => {}
                Rule::ident => name = Some(self.name(&part)),
                Rule::attr_value => values.push(self.attr_value(part)),
                _ => {}
            }
        }
        match (name, rest) {
            (None, _) => Attr::Open(span),
            (Some(name), true) => Attr::Rest(name),
            (Some(name), false) => Attr::Named(name, values),
        }
    }

    fn attr_value(&mut self, pair: Pair<'_, Rule>) -> AttrValue {
        let value = only(pair);
        match value.as_rule() {
            Rule::anything => AttrValue::Any,
            Rule::tensor => AttrValue::Tensor(self.tensor(value)),
            Rule::graph_value => {
                let (mut params, mut results, mut body) = (Vec::new(), Vec::new(), None);
                for part in parts(value) {
                    match part.as_rule() {
                        Rule::params => params = self.params(part),
                        Rule::results => results = self.params(only(part)),
                        Rule::body => body = Some(self.body(part)),
                        _ => {}
                    }
                }
                AttrValue::Graph(params, results, body.expect("a graph has a body"))
            }
            _ => AttrValue::Expr(self.guard(value)),
        }
    }

    fn tensor(&mut self, pair: Pair<'_, Rule>) -> TensorLiteral {
        let span = self.tight(&pair);
        let (mut dtype, mut dims, mut elements) = (None, Vec::new(), Vec::new());
        for part in parts(pair) {
            match part.as_rule() {
                Rule::ident => dtype = Some(self.name(&part)),
                Rule::shape => dims = parts(part).map(|part| self.dimension(part)).collect(),
                Rule::number => elements.push(self.number(part).value),
                _ => {}
            }
        }
        TensorLiteral { span, dtype: dtype.expect("a tensor has a type"), dims, elements }
    }

    fn arg(&mut self, pair: Pair<'_, Rule>) -> Arg {
        let span: Span = self.tight(&pair);
        let mut expr = None;
        let mut suffix = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::alt => expr = Some(self.expr(part)),
                other => suffix = Some(other),
            }
        }
        match (expr, suffix) {
            (None, None) => Arg::Gap(span),
            (None, Some(_)) => Arg::Open(span),
            (Some(expr), None) => Arg::One(expr),
            (Some(expr), Some(Rule::dots)) => Arg::Each(expr),
            (Some(expr), Some(_)) => Arg::Maybe(expr),
        }
    }

    pub(super) fn build_expr(&mut self, pair: Pair<'_, Rule>) -> BuildExpr {
        let inner = only(pair);
        if inner.as_rule() != Rule::build_if {
            return BuildExpr::Expr(self.expr(inner));
        }
        let span = self.tight(&inner);
        let mut condition = None;
        let mut sides = Vec::new();
        for part in parts(inner) {
            match part.as_rule() {
                Rule::guard => condition = Some(self.guard(part)),
                Rule::build_expr => sides.push(self.build_expr(part)),
                _ => {}
            }
        }
        let right = sides.pop().expect("`if` has an `else`");
        let left = sides.pop().expect("`if` has a `then`");
        BuildExpr::If(
            condition.expect("`if` has a condition").into(),
            left.into(),
            right.into(),
            span,
        )
    }
}
