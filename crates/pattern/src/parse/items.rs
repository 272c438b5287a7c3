//! Items, headers, bodies and blocks.

use pest::iterators::Pair;

use super::{Builder, Rule, only, parts};
use crate::ast::{
    Body, Build, BuildStatement, Def, DefBody, Dimension, Equation, Hint, HintKind, Item, Left,
    Literal, Meta, Name, Ops, Param, PatternItem, RuleKind, SigAttr, Signature, Statement, Use,
    ValueType, Verify, VerifyClause, Where,
};
use crate::core::OpsetRange;

impl Builder {
    pub(super) fn item(&mut self, pair: Pair<'_, Rule>) -> Item {
        match pair.as_rule() {
            Rule::use_ => Item::Use(self.use_item(pair)),
            Rule::opset => Item::Opset(self.opset(pair)),
            Rule::ops => Item::Ops(self.ops(pair)),
            Rule::def => Item::Def(self.def(pair)),
            Rule::pattern => Item::Pattern(Box::new(self.pattern(pair))),
            Rule::rule => Item::Rule(Box::new(self.rule(pair))),
            Rule::test => Item::Test(self.test(pair)),
            other => unreachable!("{other:?} is no item"),
        }
    }

    fn use_item(&mut self, pair: Pair<'_, Rule>) -> Use {
        let span = self.tight(&pair);
        let (mut path, mut names) = (None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::quoted => path = Some(self.name(&part)),
                Rule::open_brace => names = Some(Vec::new()),
                Rule::ident => names.get_or_insert_default().push(self.name(&part)),
                _ => {}
            }
        }
        Use { path: path.expect("an import has a path"), names, span }
    }

    fn opset(&mut self, pair: Pair<'_, Rule>) -> OpsetRange {
        let span = self.tight(&pair);
        let mut domain = String::new();
        let (mut min, mut max, mut open) = (0, None, false);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::quoted => domain = self.name(&part).text,
                Rule::range => {
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::span_dots => open = true,
                            _ if open => max = Some(self.integer(&part)),
                            _ => min = self.integer(&part),
                        }
                    }
                }
                _ => {}
            }
        }
        if !open {
            max = Some(min);
        }
        OpsetRange { domain, min, max, span }
    }

    fn ops(&mut self, pair: Pair<'_, Rule>) -> Ops {
        let mut names = parts(pair).filter(|part| part.as_rule() != Rule::k_ops);
        let name = self.name(&names.next().expect("a set has a name"));
        Ops { name, operators: names.map(|part| self.name(&part)).collect() }
    }

    fn def(&mut self, pair: Pair<'_, Rule>) -> Def {
        let mut name = None;
        let mut signature = Signature::default();
        let mut body = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::alt => body = Some(DefBody::Short(self.expr(part))),
                Rule::body => {
                    let results = std::mem::take(&mut signature.results);
                    body = Some(DefBody::Block(results, self.body(part)));
                }
                _ => self.signature(part, &mut signature),
            }
        }
        Def {
            name: name.expect("a definition has a name"),
            attributes: signature.attributes,
            params: signature.params,
            body: body.expect("a definition has a body"),
        }
    }

    fn signature(&mut self, part: Pair<'_, Rule>, signature: &mut Signature) {
        match part.as_rule() {
            Rule::sig_attrs => {
                signature.attributes = parts(part).map(|part| self.sig_attr(part)).collect();
            }
            Rule::params => signature.params = self.params(part),
            Rule::results => signature.results = self.params(only(part)),
            _ => {}
        }
    }

    fn sig_attr(&mut self, pair: Pair<'_, Rule>) -> SigAttr {
        let (mut name, mut rest, mut default, mut after_colon) = (None, false, None, false);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::colon => after_colon = true,
                Rule::ident if after_colon => {}
                Rule::ident => name = Some(self.name(&part)),
                Rule::dots => rest = true,
                Rule::arith => default = Some(self.guard(part)),
                _ => {}
            }
        }
        SigAttr { name: name.expect("an attribute has a name"), rest, default }
    }

    pub(super) fn params(&mut self, pair: Pair<'_, Rule>) -> Vec<Param> {
        parts(pair).map(|part| self.param(part)).collect()
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> Param {
        let (mut name, mut constant, mut value_type) = (None, false, None);
        let (mut list, mut optional) = (false, false);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::k_const => constant = true,
                Rule::value_type => value_type = Some(self.value_type(part)),
                Rule::name => name = Some(self.name(&part)),
                Rule::dots => list = true,
                Rule::maybe => optional = true,
                _ => {}
            }
        }
        Param { name: name.expect("a parameter has a name"), constant, value_type, list, optional }
    }

    fn value_type(&mut self, pair: Pair<'_, Rule>) -> ValueType {
        let span = self.tight(&pair);
        let (mut dtype, mut shape, mut soft) = (None, None, false);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::dtype => dtype = Some(self.name(&part)),
                Rule::shape => shape = Some(parts(part).map(|part| self.dimension(part)).collect()),
                Rule::soft => soft = true,
                _ => {}
            }
        }
        ValueType { dtype, shape, soft, span }
    }

    pub(super) fn dimension(&mut self, pair: Pair<'_, Rule>) -> Dimension {
        let inner = only(pair);
        match inner.as_rule() {
            Rule::dots => Dimension::Prefix,
            Rule::maybe => Dimension::Any,
            Rule::int => Dimension::Size(self.integer(&inner)),
            Rule::quoted => Dimension::Named(self.name(&inner).text),
            _ if inner.as_str() == "_" => Dimension::Any,
            _ => Dimension::Var(self.name(&inner)),
        }
    }

    fn meta(&mut self, pair: Pair<'_, Rule>, meta: &mut Meta) {
        let inner = only(pair);
        match inner.as_rule() {
            Rule::opset => meta.opsets.push(self.opset(inner)),
            Rule::priority => {
                for part in parts(inner).filter(|part| part.as_rule() == Rule::int) {
                    meta.priority = self.integer(&part);
                }
            }
            _ => {
                let name = parts(inner).find(|part| part.as_rule() == Rule::ident);
                meta.family = name.map(|name| self.name(&name));
            }
        }
    }

    fn pattern(&mut self, pair: Pair<'_, Rule>) -> PatternItem {
        let mut pattern = PatternItem {
            name: Name { text: String::new(), span: self.span(&pair) },
            meta: Meta::default(),
            signature: Signature::default(),
            body: Body::default(),
            equals: None,
            quant: Vec::new(),
            verify: None,
        };
        for part in parts(pair) {
            match part.as_rule() {
                Rule::upper => pattern.name = self.name(&part),
                Rule::meta => self.meta(part, &mut pattern.meta),
                Rule::body => pattern.body = self.body(part),
                Rule::equals => {
                    let build = parts(part).find(|part| part.as_rule() == Rule::build);
                    pattern.equals = build.map(|build| self.build(build));
                }
                Rule::quant => {
                    let hints = parts(part).filter(|part| part.as_rule() == Rule::hint);
                    pattern.quant.extend(hints.map(|part| self.hint(part)));
                }
                Rule::verify => pattern.verify = Some(self.verify(part)),
                _ => self.signature(part, &mut pattern.signature),
            }
        }
        pattern
    }

    fn rule(&mut self, pair: Pair<'_, Rule>) -> crate::ast::Rule {
        let (mut name, mut meta, mut kind, mut verify) = (None, Meta::default(), None, None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::meta => self.meta(part, &mut meta),
                Rule::bounded => {
                    let number = parts(part).find(|part| part.as_rule() == Rule::int);
                    meta.bounded = number.map(|number| self.integer(&number));
                }
                Rule::block_rule => {
                    let (mut signature, mut body, mut build) = (Signature::default(), None, None);
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::body => body = Some(self.body(part)),
                            Rule::build => build = Some(self.build(part)),
                            _ => self.signature(part, &mut signature),
                        }
                    }
                    let body = body.expect("a rule has a left side");
                    kind = Some(RuleKind::Block(
                        signature,
                        body,
                        build.expect("a rule has a right side"),
                    ));
                }
                Rule::short_rule => {
                    let (mut left, mut right, mut guards) = (None, None, Vec::new());
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::alt => left = Some(self.expr(part)),
                            Rule::build_expr => right = Some(self.build_expr(part)),
                            Rule::where_ => guards.push(self.where_item(part)),
                            _ => {}
                        }
                    }
                    kind = Some(RuleKind::Short {
                        left: left.expect("a rule has a left side").into(),
                        right: right.expect("a rule has a right side").into(),
                        guards,
                    });
                }
                Rule::verify => verify = Some(self.verify(part)),
                _ => {}
            }
        }
        crate::ast::Rule {
            name: name.expect("a rule has a name"),
            meta,
            kind: kind.expect("a rule has two sides"),
            verify,
        }
    }

    pub(super) fn body(&mut self, pair: Pair<'_, Rule>) -> Body {
        let span = self.tight(&pair);
        let statements = parts(pair).map(|part| self.statement(only(part))).collect();
        Body { statements, span }
    }

    fn statement(&mut self, pair: Pair<'_, Rule>) -> Statement {
        match pair.as_rule() {
            Rule::where_ => Statement::Where(self.where_item(pair)),
            Rule::let_ => {
                let (name, value) = self.let_item(pair);
                Statement::Let(name, value)
            }
            Rule::either => {
                let branches = parts(pair).filter(|part| part.as_rule() == Rule::body);
                Statement::Either(branches.map(|part| self.body(part)).collect())
            }
            _ => Statement::Equation(self.equation(pair)),
        }
    }

    fn where_item(&mut self, pair: Pair<'_, Rule>) -> Where {
        let (mut soft, mut conditions) = (false, Vec::new());
        for part in parts(pair) {
            match part.as_rule() {
                Rule::maybe => soft = true,
                Rule::guard => conditions.push(self.guard(part)),
                _ => {}
            }
        }
        Where { soft, conditions }
    }

    fn let_item(&mut self, pair: Pair<'_, Rule>) -> (Name, crate::ast::Guard) {
        let mut inner = parts(pair).filter(|part| part.as_rule() != Rule::k_let);
        let name = self.name(&inner.next().expect("`let` has a name"));
        (name, self.guard(inner.next().expect("`let` has a value")))
    }

    fn equation(&mut self, pair: Pair<'_, Rule>) -> Equation {
        let span = self.tight(&pair);
        let (mut shared, mut dup, mut constant) = (false, false, false);
        let (mut left, mut right) = (Vec::new(), None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::qualifier => match only(part).as_rule() {
                    Rule::k_shared => shared = true,
                    Rule::k_dup => dup = true,
                    _ => constant = true,
                },
                Rule::left => left.push(self.left(part)),
                Rule::alt => right = Some(self.expr(part)),
                _ => {}
            }
        }
        let right = right.expect("an equation has a right side");
        Equation { shared, dup, constant, left, right, span }
    }

    fn left(&mut self, pair: Pair<'_, Rule>) -> Left {
        let (mut name, mut value_type, mut list) = (None, None, false);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::value_type => value_type = Some(self.value_type(part)),
                Rule::dots => list = true,
                _ => {}
            }
        }
        Left { name: name.expect("the left side is a name"), value_type, list }
    }

    fn build(&mut self, pair: Pair<'_, Rule>) -> Build {
        let span = self.tight(&pair);
        let mut statements = Vec::new();
        for part in parts(pair).map(only) {
            if part.as_rule() == Rule::let_ {
                let (name, value) = self.let_item(part);
                statements.push(BuildStatement::Let(name, value));
                continue;
            }
            let span = self.tight(&part);
            let (mut constant, mut left, mut right) = (false, Vec::new(), None);
            for part in parts(part) {
                match part.as_rule() {
                    Rule::qualifier => constant |= only(part).as_rule() == Rule::k_const,
                    Rule::left => left.push(self.left(part)),
                    Rule::build_expr => right = Some(self.build_expr(part)),
                    _ => {}
                }
            }
            let right = right.expect("an equation has a right side");
            statements.push(BuildStatement::Equation { constant, left, right, span });
        }
        Build { statements, span }
    }

    fn names(&mut self, pair: Pair<'_, Rule>) -> Vec<Name> {
        parts(pair).map(|part| self.name(&part)).collect()
    }

    fn hint(&mut self, pair: Pair<'_, Rule>) -> Hint {
        let span = self.tight(&pair);
        let (mut kind, mut when) = (None, None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::k_when => {}
                Rule::guard => when = Some(self.guard(part)),
                _ => kind = Some(self.hint_kind(part)),
            }
        }
        Hint { kind: kind.expect("a hint says something"), when, span }
    }

    fn hint_kind(&mut self, pair: Pair<'_, Rule>) -> HintKind {
        let entry = pair.as_rule();
        let mut word = Rule::k_skip;
        let (mut names, mut list, mut guards) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts(pair) {
            match part.as_rule() {
                Rule::name | Rule::ident => names.push(self.name(&part)),
                Rule::names => list = self.names(part),
                Rule::arith | Rule::guard => guards.push(self.guard(part)),
                other => word = other,
            }
        }
        let mut names = names.into_iter();
        let mut guards = guards.into_iter();
        let mut name = || names.next().expect("the grammar gives this hint its names");
        let mut value = || guards.next().expect("the grammar gives this hint its values");
        match entry {
            Rule::per_channel => HintKind::PerChannel(name(), value()),
            Rule::bias => HintKind::Bias(name(), list),
            Rule::hint_range => HintKind::Range(name(), value(), value()),
            Rule::tag => HintKind::Tag(name(), name(), value()),
            Rule::unknown_hint => HintKind::Unknown(name()),
            _ => match word {
                Rule::k_skip => HintKind::Skip(list),
                Rule::k_quantize => HintKind::Quantize(list),
                Rule::k_share => HintKind::Share(list),
                _ => HintKind::Symmetric(list),
            },
        }
    }

    fn verify(&mut self, pair: Pair<'_, Rule>) -> Verify {
        let mut clauses = Vec::new();
        for part in parts(pair) {
            match part.as_rule() {
                Rule::quoted => return Verify::Off(self.name(&part).text),
                Rule::verify_clause => clauses.push(self.verify_clause(only(part))),
                _ => {}
            }
        }
        Verify::On(clauses)
    }

    fn verify_clause(&mut self, pair: Pair<'_, Rule>) -> VerifyClause {
        let entry = pair.as_rule();
        let mut inner = parts(pair).filter(|part| {
            !matches!(part.as_rule(), Rule::k_tol | Rule::k_samples | Rule::k_in | Rule::span_dots)
        });
        let first = inner.next().expect("a clause says something");
        match entry {
            Rule::verify_tol => {
                let tolerance = match self.number(first).value {
                    Literal::Int(value) => value as f64,
                    Literal::Float(value) => value,
                };
                VerifyClause::Tolerance(tolerance)
            }
            Rule::verify_samples => VerifyClause::Samples(self.integer(&first)),
            _ => {
                let name = self.name(&first);
                let what = inner.next().expect("`in` has a right side");
                match what.as_rule() {
                    Rule::int => {
                        let to = inner.next().expect("a range has two ends");
                        VerifyClause::Range(name, self.integer(&what), self.integer(&to))
                    }
                    Rule::list => VerifyClause::OneOf(name, self.guard(what)),
                    _ => {
                        let mut inner = parts(what);
                        let kind = self.name(&inner.next().expect("a distribution has a name"));
                        let args = inner.map(|part| self.guard(part)).collect();
                        VerifyClause::Distribution(name, kind, args)
                    }
                }
            }
        }
    }
}
