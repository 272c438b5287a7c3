//! Guard and constant expressions.

use pest::iterators::Pair;

use super::{Builder, Rule, descend, parts};
use crate::ast::{Guard, GuardKind, Literal, Number};
use crate::core::Tolerance;
use crate::gexpr::{BinaryOp, CompareOp};

impl Builder {
    pub(super) fn guard(&mut self, pair: Pair<'_, Rule>) -> Guard {
        let pair = descend(pair);
        let span = self.tight(&pair);
        match pair.as_rule() {
            Rule::guard => self.joined(pair, Rule::k_or, GuardKind::Or),
            Rule::conjunction => self.joined(pair, Rule::k_and, GuardKind::And),
            Rule::negation => {
                let mut nots = 0;
                let mut inner = None;
                for part in parts(pair) {
                    match part.as_rule() {
                        Rule::k_not => nots += 1,
                        _ => inner = Some(self.guard(part)),
                    }
                }
                self.limit(nots, span);
                let inner = inner.expect("a negation has a comparison");
                (0..nots.min(super::MAX_DEPTH))
                    .fold(inner, |inner, _| Guard { kind: GuardKind::Not(Box::new(inner)), span })
            }
            Rule::comparison => self.comparison(pair),
            Rule::arith | Rule::term => self.binary(pair),
            Rule::factor => self.factor(pair),
            Rule::operand => {
                let (minuses, inner) = self.signed(pair);
                negate(minuses, inner)
            }
            Rule::access => self.access(pair),
            Rule::number => {
                let number = self.number(pair);
                Guard { kind: GuardKind::Number(number.value), span }
            }
            Rule::quoted => Guard { kind: GuardKind::String(self.name(&pair).text), span },
            Rule::k_true => Guard { kind: GuardKind::Bool(true), span },
            Rule::k_false => Guard { kind: GuardKind::Bool(false), span },
            Rule::k_none => Guard { kind: GuardKind::None, span },
            Rule::ident | Rule::name => {
                Guard { kind: GuardKind::Name(self.name(&pair).text), span }
            }
            Rule::list => {
                let items = parts(pair).map(|part| self.guard(part)).collect();
                Guard { kind: GuardKind::List(items), span }
            }
            Rule::guard_call => {
                let mut inner = parts(pair);
                let name = self.name(&inner.next().expect("a function has a name"));
                let args = inner.map(|part| self.guard(part)).collect();
                Guard { kind: GuardKind::Call(name, args), span }
            }
            other => unreachable!("{other:?} is no guard expression"),
        }
    }

    fn joined(
        &mut self,
        pair: Pair<'_, Rule>,
        word: Rule,
        join: fn(Vec<Guard>) -> GuardKind,
    ) -> Guard {
        let span = self.tight(&pair);
        let mut items: Vec<Guard> = parts(pair)
            .filter(|part| part.as_rule() != word)
            .map(|part| self.guard(part))
            .collect();
        match items.len() {
            1 => items.remove(0),
            _ => Guard { kind: join(items), span },
        }
    }

    fn comparison(&mut self, pair: Pair<'_, Rule>) -> Guard {
        let span = self.tight(&pair);
        let mut inner = parts(pair);
        let first = self.guard(inner.next().expect("a comparison has a left side"));
        let mut rest = Vec::new();
        while let Some(part) = inner.next() {
            if part.as_rule() == Rule::is_pattern {
                let mut negated = false;
                let mut branch = None;
                for part in parts(part) {
                    match part.as_rule() {
                        Rule::k_not => negated = true,
                        Rule::branch => branch = Some(self.branch(part)),
                        _ => {}
                    }
                }
                let branch = Box::new(branch.expect("`is` has a pattern"));
                return Guard { kind: GuardKind::Is(Box::new(first), negated, branch), span };
            }
            let sign = match part.as_str() {
                "==" => CompareOp::Eq,
                "!=" => CompareOp::Ne,
                "<=" => CompareOp::Le,
                ">=" => CompareOp::Ge,
                "<" => CompareOp::Lt,
                ">" => CompareOp::Gt,
                "~=" => CompareOp::Near,
                "in" => CompareOp::In,
                _ => CompareOp::NotIn,
            };
            rest.push((sign, self.guard(inner.next().expect("a comparison has a right side"))));
        }
        match rest.len() {
            0 => first,
            _ => Guard { kind: GuardKind::Compare(Box::new(first), rest), span },
        }
    }

    fn binary(&mut self, pair: Pair<'_, Rule>) -> Guard {
        let span = self.tight(&pair);
        let mut inner = parts(pair);
        let mut left = self.guard(inner.next().expect("arithmetic has a left side"));
        let mut count = 0;
        while let Some(sign) = inner.next() {
            let operator = match sign.as_str() {
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "++" => BinaryOp::Concat,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "//" => BinaryOp::FloorDiv,
                _ => BinaryOp::Mod,
            };
            let right = self.guard(inner.next().expect("arithmetic has a right side"));
            count += 1;
            if count <= super::MAX_DEPTH {
                let span = left.span.join(right.span);
                left = Guard { kind: GuardKind::Binary(operator, left.into(), right.into()), span };
            }
        }
        self.limit(count, span);
        left
    }

    /// `a ** b ** c` is `a ** (b ** c)`, `-a ** b` is `-(a ** b)`.
    fn factor(&mut self, pair: Pair<'_, Rule>) -> Guard {
        let span = self.tight(&pair);
        let mut minuses = 0;
        let mut operands = Vec::new();
        for part in parts(pair) {
            match part.as_rule() {
                Rule::minus => minuses += 1,
                _ => operands.push(self.guard(part)),
            }
        }
        self.limit(minuses.max(operands.len()), span);
        operands.truncate(super::MAX_DEPTH);
        let last = operands.pop().expect("a factor has an operand");
        let inner = operands.into_iter().rfold(last, |right, left| {
            let span = left.span.join(right.span);
            Guard { kind: GuardKind::Binary(BinaryOp::Pow, left.into(), right.into()), span }
        });
        negate(minuses.min(super::MAX_DEPTH), inner)
    }

    fn signed(&mut self, pair: Pair<'_, Rule>) -> (usize, Guard) {
        let span = self.tight(&pair);
        let mut minuses = 0;
        let mut inner = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::minus => minuses += 1,
                _ => inner = Some(self.guard(part)),
            }
        }
        self.limit(minuses, span);
        (minuses.min(super::MAX_DEPTH), inner.expect("an operand is something"))
    }

    fn access(&mut self, pair: Pair<'_, Rule>) -> Guard {
        let span = self.tight(&pair);
        let mut inner = parts(pair);
        let mut base = self.guard(inner.next().expect("an access has a base"));
        let mut count = 0;
        for part in inner {
            count += 1;
            if count > super::MAX_DEPTH {
                continue;
            }
            let (mut from, mut to, mut past_colon) = (None, None, false);
            for part in parts(part) {
                match part.as_rule() {
                    Rule::colon => past_colon = true,
                    _ if past_colon => to = Some(Box::new(self.guard(part))),
                    _ => from = Some(Box::new(self.guard(part))),
                }
            }
            let kind = match (from, past_colon) {
                (Some(at), false) => GuardKind::Index(base.into(), at),
                (from, _) => GuardKind::Slice(base.into(), from, to),
            };
            base = Guard { kind, span };
        }
        self.limit(count, span);
        base
    }

    pub(super) fn number(&mut self, pair: Pair<'_, Rule>) -> Number {
        let mut value = Literal::Int(0);
        let mut tolerance = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::int => value = self.int_literal(&part),
                Rule::float => {
                    value = Literal::Float(
                        part.as_str().parse().expect("a float follows Rust's grammar"),
                    );
                }
                Rule::tolerance => tolerance = Some(tolerance_of(part.as_str())),
                _ => {}
            }
        }
        Number { value, tolerance }
    }

    /// An integer that is too large for 64 bits is a float, as in Python's `float(…)`.
    fn int_literal(&mut self, pair: &Pair<'_, Rule>) -> Literal {
        match pair.as_str().parse() {
            Ok(value) => Literal::Int(value),
            Err(_) => Literal::Float(pair.as_str().parse().expect("digits are a float")),
        }
    }
}

fn negate(minuses: usize, inner: Guard) -> Guard {
    (0..minuses).fold(inner, |inner, _| {
        let span = inner.span;
        Guard { kind: GuardKind::Negate(Box::new(inner)), span }
    })
}

pub(super) fn tolerance_of(text: &str) -> Tolerance {
    let text = text.trim();
    let text = text.strip_prefix('±').or_else(|| text.strip_prefix("+-")).unwrap_or(text).trim();
    let parse = |text: &str| text.parse::<f64>().expect("a tolerance is a number");
    match text.strip_suffix('%') {
        Some(percent) => Tolerance::Relative(parse(percent) / 100.0),
        None => Tolerance::Absolute(parse(text)),
    }
}
