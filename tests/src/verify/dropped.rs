//! An attribute that is dropped is noticed: for every operator that runs here, each attribute that
//! may be left out is left out by a rule, which must be found wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use marquetry::engine::Native;
use marquetry::ir::schema::{self, Arity, AttributeKind, Schema};
use marquetry::ir::{Evaluate, EvaluateError, Operation};
use marquetry::matcher::verify::{Status, VerifyOptions, verify_all};
use marquetry::pattern::core::Pattern;

use super::{load, settings};

/// Attributes that change nothing, with reasons: lines `Operator.attribute: why`.
const IDLE: &str = include_str!("../../cases/verify/idle-attributes.txt");

/// Enough to see what changes most samples, few enough for all operators.
const SAMPLES: u64 = 64;

#[test]
fn a_dropped_attribute_is_noticed() {
    let mut names = Vec::new();
    let mut text = String::from("opset \"\" 13..\n");
    for schema in newest() {
        for name in droppable(schema) {
            let letters: Vec<String> = ('a'..).take(inputs(schema)).map(String::from).collect();
            let (op, args) = (schema.name, letters.join(", "));
            let at = names.len();
            let results = ["y", "z"][..schema.output_arity().0.clamp(1, 2)].join(", ");
            writeln!(
                text,
                "rule r{at} bounded 1 <rest...> ({args}) => ({results}) {{ {results} = {op}<{name} = p, \
                 rest...>({args}) }} ~> {{ {results} = {op}<rest...>({args}) }}"
            )
            .unwrap();
            names.push(format!("{op}.{name}"));
        }
    }
    let library = load(&text).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
    let rules: Vec<&Pattern> = library.rules().iter().collect();
    let options = VerifyOptions { samples: Some(SAMPLES), mutants: false, ..Default::default() };
    let idle: BTreeMap<&str, &str> = IDLE.lines().filter_map(|it| it.split_once(": ")).collect();
    let (mut out, mut passed, mut counts) = (String::new(), Vec::new(), [0; 3]);
    for (name, verdict) in names.iter().zip(verify_all(&rules, &Native, &options)) {
        let idle = idle.contains_key(name.as_str());
        let (operator, attribute) = name.split_once('.').unwrap();
        let other = format!("another `{attribute}` of `{operator}`");
        match verdict.status {
            Status::Wrong => {
                assert!(!idle, "`{name}` is listed as idle and is not");
                counts[0] += 1;
            }
            Status::NotVerified(reason) => {
                counts[1] += 1;
                let skipped = verdict.skipped.keys().next();
                writeln!(out, "{name}: {reason}; {}", skipped.unwrap_or(&String::new())).unwrap();
            }
            _ if idle => counts[2] += 1,
            // It was never another one: nothing was compared.
            _ if verdict.not_reached.iter().any(|it| it.what.starts_with(&other)) => {
                counts[1] += 1;
                writeln!(out, "{name}: it is never another one").unwrap();
            }
            _ => passed.push(name.clone()),
        }
    }
    assert!(passed.is_empty(), "nothing shows that these attributes are gone: {passed:?}");
    writeln!(out, "{} wrong, {} not verified, {} idle", counts[0], counts[1], counts[2]).unwrap();
    settings().bind(|| insta::assert_snapshot!("dropped-attributes", out));
    for name in idle.keys() {
        assert!(names.iter().any(|known| known == name), "`{name}` is no attribute");
    }
}

/// The definitions in force of the operators that run here.
fn newest() -> Vec<&'static Schema> {
    let names: Vec<&str> = schema::operators("", schema::newest_opset()).collect();
    let found = names.into_iter().filter_map(|name| schema::lookup("", name, 23));
    found.filter(|schema| !schema.deprecated && !schema.inputs.is_empty() && runs(schema)).collect()
}

fn runs(schema: &Schema) -> bool {
    let operation = Operation { domain: "", op_type: schema.name, opset: 23, attributes: &[] };
    match Native.evaluate(operation, &[]) {
        Err(EvaluateError::Unsupported { reason, .. }) => !reason.contains("no native"),
        _ => true,
    }
}

/// What has to be there, and two of what may be there any number of times.
fn inputs(schema: &Schema) -> usize {
    let (least, most) = schema.input_arity();
    let variadic =
        schema.inputs.last().is_some_and(|it| matches!(it.arity, Arity::Variadic { .. }));
    if variadic { least.max(2) } else { least.min(most) }
}

/// The attributes that a node need not have, and the inputs that patterns spell like them.
fn droppable(schema: &'static Schema) -> Vec<&'static str> {
    let written = inputs(schema);
    let names = schema.attribute_names().into_iter().filter(|name| {
        let attribute = schema.attribute(name);
        let graph = attribute.is_some_and(|it| it.kind == AttributeKind::Graph);
        let input = schema.parameter(name).and_then(|it| schema.input(it.input?));
        !graph
            && attribute.is_none_or(|it| !it.required)
            && input.is_none_or(|slot| slot >= written)
    });
    names.collect()
}
