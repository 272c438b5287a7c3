//! Bindings as a test writes them.

use marquetry_ir::Graph;
use marquetry_pattern::ast::{self, Literal};

use crate::Bound;

/// A binding as a test would say it; `None` where the syntax has no words for it.
pub(super) fn bound(graph: &Graph, bound: &Bound) -> Option<String> {
    Some(match bound {
        Bound::Absent => "none".to_owned(),
        Bound::Value(value) => name(graph.value(*value).name()),
        Bound::Int(number) => number.to_string(),
        Bound::Float(number) => float(*number),
        Bound::Text(text) | Bound::Symbol(text) => name(text),
        Bound::Dtype(dtype) => dtype.to_string(),
        Bound::Operator(domain, op) if domain.is_empty() => op.clone(),
        Bound::Operator(domain, op) => name(&format!("{domain}.{op}")),
        Bound::Attributes(_) => return None,
        Bound::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| self::bound(graph, item)).collect();
            format!("[{}]", items?.join(", "))
        }
    })
}

/// What a test says about a variable.
pub(super) fn expected(bound: &ast::Bound) -> String {
    match bound {
        ast::Bound::Absent => "none".to_owned(),
        ast::Bound::Value(text) => name(text),
        ast::Bound::Number(Literal::Int(number)) => number.to_string(),
        ast::Bound::Number(Literal::Float(number)) => float(*number),
        ast::Bound::List(items) => {
            format!("[{}]", items.iter().map(expected).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Words that the language keeps for itself.
const KEYWORDS: &[&str] = &[
    "use", "def", "pattern", "rule", "test", "opset", "ops", "where", "with", "let", "either",
    "or", "const", "shared", "dup", "quant", "equals", "verify", "not", "and", "in", "is", "if",
    "then", "else", "when", "true", "false", "none", "inf", "nan",
];

/// Whether a text can stand as a name without quotes.
pub(crate) fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let starts = letters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic());
    starts
        && letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
        && !KEYWORDS.contains(&text)
}

/// A name, with quotes where it needs them.
pub(crate) fn name(text: &str) -> String {
    if is_name(text) { text.to_owned() } else { format!("\"{text}\"") }
}

/// The shortest text that gives the number back, or the same `float` if it is one.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let narrow = number as f32;
    if f64::from(narrow) == number { format!("{narrow:?}") } else { format!("{number:?}") }
}

/// Whether a number that was found is the one that a test says: the same, or the nearest `float`.
pub(super) fn same_number(expected: Literal, found: &Bound) -> bool {
    match (expected, found) {
        (Literal::Int(expected), Bound::Int(found)) => expected == *found,
        (Literal::Float(expected), Bound::Int(found)) => expected == *found as f64,
        (expected, Bound::Float(found)) => {
            let expected = match expected {
                Literal::Int(number) => number as f64,
                Literal::Float(number) => number,
            };
            expected == *found
                || f64::from(expected as f32) == *found
                || (expected.is_nan() && found.is_nan())
        }
        _ => false,
    }
}

/// Whether a variable is bound to what a test says.
pub(super) fn same(graph: &Graph, expected: &ast::Bound, found: &Bound) -> bool {
    match (expected, found) {
        (ast::Bound::Absent, Bound::Absent) => true,
        (ast::Bound::Number(number), found) => same_number(*number, found),
        (ast::Bound::Value(text), Bound::Value(value)) => graph.value(*value).name() == text,
        (ast::Bound::Value(text), Bound::Text(found) | Bound::Symbol(found)) => text == found,
        (ast::Bound::Value(text), Bound::Dtype(dtype)) => *text == dtype.to_string(),
        (ast::Bound::Value(text), Bound::Operator(domain, op)) => {
            text == op && domain.is_empty() || *text == format!("{domain}.{op}")
        }
        (ast::Bound::List(expected), Bound::List(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| same(graph, expected, found))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_come_back() {
        let shown = [f64::from(1e-5f32), 0.1, 0.5, 1e300, 2.0, f64::INFINITY].map(float);
        assert_eq!(shown, ["1e-5", "0.1", "0.5", "1e300", "2.0", "inf"]);
        assert!(same_number(Literal::Float(1e-5), &Bound::Float(f64::from(1e-5f32))));
        assert!(!same_number(Literal::Float(1.1e-5), &Bound::Float(f64::from(1e-5f32))));
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(
            ["x", "/m/out.1", "where", "β"].map(name),
            ["x", "\"/m/out.1\"", "\"where\"", "\"β\""]
        );
    }
}
