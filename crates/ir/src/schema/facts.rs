//! Facts about operators that no schema of the standard states, from a table by hand.

use super::canonical_domain;

const TEXT: &str = include_str!("facts.txt");

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Facts {
            $($(#[$doc])*
            pub fn $name(self) -> bool {
                self.0 & (1 << $bit) != 0
            })*

            fn bit(name: &str) -> Option<u16> {
                match name {
                    $(stringify!($name) => Some(1 << $bit),)*
                    _ => None,
                }
            }
        }
    };
}

/// What an operator means, as far as patterns and quantization ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u16);

facts! {
    /// Whether the inputs may be permuted.
    commutative = 0;
    /// Whether nested uses may be regrouped, over the reals.
    associative = 1;
    /// Whether each output element depends on the elements at its place only, after broadcasting.
    elementwise = 2;
    /// Whether every output element is an element of input 0 or a filling constant.
    movement = 3;
    /// Whether the output lies on the quantization grid of input 0.
    grid = 4;
    /// Whether the encoding of the output is tied to the one of input 0.
    tie_forward = 5;
    /// Whether the encodings of all data inputs are tied to the one of the output.
    tie_backward = 6;
    /// Whether axes of input 0 are folded into one number each.
    reduction = 7;
    /// Whether two runs on the same inputs may differ (`Dropout`: while training only).
    random = 8;
    /// Whether output 0 has the shape of input 0.
    same_shape = 9;
}

/// How the content of an input becomes the value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Item of a tensor of one integer.
    Int,
    /// Item of a tensor of one float.
    Float,
    /// Item of a tensor of one element: an integer or a float, as the tensor is.
    Scalar,
    /// Elements of an integer tensor.
    Ints,
    /// Elements of a float tensor.
    Floats,
}

/// What holds where a parameter is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// This number.
    Number(f64),
    /// 0, 1, … as many as this input has elements.
    Iota(&'static str),
    /// Ones, as many as this input has elements.
    Ones(&'static str),
    /// The same number for each spatial axis.
    Spatial {
        /// The number.
        each: i64,
        /// How many for each axis: pads have two.
        per_axis: u8,
    },
    /// The axes of input 0 in reverse.
    Reversed,
}

/// An attribute that is an input in some versions of its operator, or always was:
/// patterns spell it as an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// The one spelling for patterns.
    pub attribute: &'static str,
    /// Name of the input, in versions where it is one; none for attributes whose default the schema
    /// cannot state because it depends on the rank.
    pub input: Option<&'static str>,
    /// How the input's content is read.
    pub kind: ParameterKind,
    /// What holds where both are absent; none: absence has a meaning of its own.
    pub default: Option<Fallback>,
}

/// Lines of the table, sorted by domain and operator.
pub(super) struct FactTable {
    facts: Vec<((&'static str, &'static str), Facts)>,
    parameters: &'static [((&'static str, &'static str), Vec<Parameter>)],
}

impl FactTable {
    pub(super) fn load() -> Self {
        let mut facts: Vec<((&str, &str), Facts)> = Vec::new();
        let mut parameters: Vec<((&str, &str), Vec<Parameter>)> = Vec::new();
        for (fact, rest) in lines() {
            if fact == "parameter" {
                let (op, parameter) = parameter(rest);
                match parameters.iter_mut().find(|(known, _)| *known == op) {
                    Some((_, list)) => list.push(parameter),
                    None => parameters.push((op, vec![parameter])),
                }
                continue;
            }
            let bit = Facts::bit(fact).unwrap_or_default();
            facts.extend(rest.split_whitespace().map(|name| (operator(name), Facts(bit))));
        }
        facts.sort_by_key(|(op, _)| *op);
        facts.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            kept.1.0 |= if same { later.1.0 } else { 0 };
            same
        });
        parameters.sort_by_key(|(op, _)| *op);
        Self { facts, parameters: parameters.leak() }
    }

    pub(super) fn of(
        &self,
        domain: &'static str,
        op: &'static str,
    ) -> (Facts, &'static [Parameter]) {
        let at = |found: Result<usize, usize>| found.ok();
        let facts = at(self.facts.binary_search_by_key(&(domain, op), |(op, _)| *op));
        let parameters = at(self.parameters.binary_search_by_key(&(domain, op), |(op, _)| *op));
        (
            facts.map_or(Facts::default(), |at| self.facts[at].1),
            parameters.map_or(&[], |at| &self.parameters[at].1),
        )
    }
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "))
}

fn operator(name: &'static str) -> (&'static str, &'static str) {
    name.split_once('/').map_or(("", name), |(domain, op)| (canonical_domain(domain), op))
}

fn parameter(line: &'static str) -> ((&'static str, &'static str), Parameter) {
    let words: Vec<&'static str> = line.split(' ').collect();
    let [op, attribute, input, kind, default @ ..] = words.as_slice() else {
        unreachable!("a parameter has four words at least: `{line}`");
    };
    let kind = match *kind {
        "int" => ParameterKind::Int,
        "float" => ParameterKind::Float,
        "scalar" => ParameterKind::Scalar,
        "ints" => ParameterKind::Ints,
        "floats" => ParameterKind::Floats,
        other => unreachable!("the table has no parameters of kind `{other}`"),
    };
    let default = match *default {
        [] => None,
        ["iota", input] => Some(Fallback::Iota(input)),
        ["ones", input] => Some(Fallback::Ones(input)),
        ["spatial", each, per_axis] => Some(Fallback::Spatial {
            each: each.parse().expect("it is a number"),
            per_axis: per_axis.parse().expect("it is a number"),
        }),
        ["reversed"] => Some(Fallback::Reversed),
        [number] => Some(Fallback::Number(number.parse().expect("defaults are numbers"))),
        _ => unreachable!("the table has no such default: `{line}`"),
    };
    let input = (*input != "-").then_some(*input);
    (operator(op), Parameter { attribute, input, kind, default })
}

/// Lines of the table that name what does not exist.
#[cfg(test)]
pub(super) fn problems() -> Vec<String> {
    let known = |(domain, op): (&str, &str)| !super::versions(domain, op).is_empty();
    let mut problems = Vec::new();
    for (fact, rest) in lines() {
        if fact == "parameter" {
            let (op, parameter) = parameter(rest);
            let exists = super::versions(op.0, op.1).iter().any(|schema| match parameter.input {
                Some(input) => schema.input(input).is_some(),
                None => schema.attribute(parameter.attribute).is_some(),
            });
            if !exists {
                problems.push(format!("no version of `{}` has `{}`", op.1, parameter.attribute));
            }
            continue;
        }
        if Facts::bit(fact).is_none() {
            problems.push(format!("no fact is called `{fact}`"));
        }
        let unknown = rest.split_whitespace().filter(|name| !known(operator(name)));
        problems.extend(unknown.map(|name| format!("`{fact}` names unknown `{name}`")));
    }
    problems
}
