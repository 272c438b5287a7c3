//! Which opset a graph is written for.

use marquetry_ir::schema;
use marquetry_pattern::core::{Operator, Pattern};
use marquetry_pattern::replacement::{BuildExpr, BuildKind, BuildOperator, BuildStatement};

use super::Stuck;
use super::random::Random;
use super::sketch::Sketch;

/// An opset that the pattern admits and that has all its operators.
pub(super) fn opset(sketch: &Sketch<'_>, random: &mut Random) -> Result<i64, Stuck> {
    let admitted = |version: i64| {
        let ranges = sketch.pattern.opsets.iter().filter(|range| range.domain.is_empty());
        let mut ranges = ranges.map(|range| {
            version >= i64::from(range.min) && range.max.is_none_or(|max| version <= i64::from(max))
        });
        let known = |operator: &marquetry_pattern::core::Operator| {
            !operator.domain.is_empty()
                || schema::lookup("", &operator.name, version).is_some_and(|it| !it.deprecated)
        };
        ranges.all(|admitted| admitted) && sketch.nodes.iter().all(|node| known(node.operator))
    };
    let built = right_operators(sketch.pattern);
    let builds = |version: i64| {
        built.iter().all(|operator| {
            !operator.domain.is_empty()
                || schema::lookup("", &operator.name, version).is_some_and(|it| !it.deprecated)
        })
    };
    let mut versions: Vec<i64> = [23, 21, 18, 17, 13, 11, 24, 20, 15, 12, 9, 7].to_vec();
    versions.retain(|version| admitted(*version));
    if versions.iter().any(|version| builds(*version)) {
        versions.retain(|version| builds(*version));
    }
    if versions.is_empty() {
        versions = (7..=schema::newest_opset()).filter(|version| admitted(*version)).collect();
    }
    if versions.is_empty() {
        return Err(Stuck::Unsupported("no opset has all its operators".to_owned()));
    }
    Ok(*random.pick(&versions))
}

/// The operators that the right side of a pattern names.
fn right_operators(pattern: &Pattern) -> Vec<&Operator> {
    let sides = [&pattern.equals, &pattern.replacement].into_iter().flatten();
    let statements = sides.flat_map(|side| &side.statements);
    let mut waiting: Vec<&BuildExpr> = statements
        .filter_map(|statement| match statement {
            BuildStatement::Equation { expr, .. } => Some(expr),
            BuildStatement::Let(..) => None,
        })
        .collect();
    let mut found = Vec::new();
    while let Some(expr) = waiting.pop() {
        match &expr.kind {
            BuildKind::Op(op) => {
                if let BuildOperator::Named(operator) = &op.operator {
                    found.push(operator);
                }
                waiting.extend(&op.args);
            }
            BuildKind::Coalesce(items) => waiting.extend(items),
            BuildKind::If(_, yes, no) => waiting.extend([yes.as_ref(), no.as_ref()]),
            _ => {}
        }
    }
    found
}
