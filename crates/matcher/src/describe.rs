//! Schemas as people read them.

use marquetry_ir::schema::{Arity, Fallback, Formal, ParameterKind, Schema, TypeSet};
use marquetry_ir::{AttributeValue, DType};
use marquetry_pattern::description::{Attribute, Description, Formal as Shown, FormalArity};

/// The most element types that are listed.
const LISTED: usize = 6;

/// The newest of some versions of an operator, oldest first; there must be one.
pub(crate) fn describe(versions: &[&Schema]) -> Description {
    let newest = versions.last().expect("there is a version");
    let since = |schema: &&Schema| u32::try_from(schema.since).unwrap_or(u32::MAX);
    Description {
        versions: versions.iter().map(since).collect(),
        inputs: newest.inputs.iter().map(formal).collect(),
        outputs: newest.outputs.iter().map(formal).collect(),
        attributes: attributes(versions),
        facts: facts(newest),
    }
}

fn formal(formal: &Formal) -> Shown {
    let arity = match formal.arity {
        Arity::Single => FormalArity::One,
        Arity::Optional => FormalArity::Optional,
        Arity::Variadic { .. } => FormalArity::Rest,
    };
    Shown { name: formal.name.to_owned(), arity, types: types(&formal.types) }
}

fn types(set: &TypeSet) -> String {
    let names: Vec<String> = set.dtypes().map(|dtype: DType| dtype.to_string()).collect();
    let others = set.others.iter().map(|&other| other.to_owned());
    let names: Vec<String> = names.into_iter().chain(others).collect();
    match names.len() {
        0..=LISTED => names.join(", "),
        all => format!("{}, … ({all} types)", names[..LISTED].join(", ")),
    }
}

/// Attributes of all versions, and inputs that patterns spell as attributes.
fn attributes(versions: &[&Schema]) -> Vec<Attribute> {
    let newest = versions.last().expect("there is a version");
    let mut shown: Vec<Attribute> = Vec::new();
    for schema in versions.iter().rev() {
        for attribute in &schema.attributes {
            if shown.iter().any(|known| known.name == attribute.name) {
                continue;
            }
            let gone = newest.attribute(attribute.name).is_none();
            let everywhere = versions.iter().all(|other| other.attribute(attribute.name).is_some());
            shown.push(Attribute {
                name: attribute.name.to_owned(),
                kind: attribute.kind.to_string(),
                required: attribute.required && everywhere,
                default: attribute.default.as_ref().and_then(written),
                note: gone.then(|| "not in the newest version".to_owned()),
            });
        }
    }
    for parameter in newest.parameters {
        let first = versions
            .iter()
            .find(|schema| parameter.input.is_some_and(|input| schema.input(input).is_some()));
        let note = match first {
            Some(schema) if schema.since == versions[0].since => Some("an input".to_owned()),
            Some(schema) => Some(format!("an input from {} on", schema.since)),
            None => None,
        };
        let default = parameter.default.map(fallback);
        match shown.iter_mut().find(|known| known.name == parameter.attribute) {
            Some(known) => {
                known.note = note;
                known.default = known.default.take().or(default);
            }
            None => shown.push(Attribute {
                name: parameter.attribute.to_owned(),
                kind: kind(parameter.kind).to_owned(),
                required: false,
                default,
                note,
            }),
        }
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    shown
}

fn kind(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Int => "int",
        ParameterKind::Float => "float",
        ParameterKind::Scalar => "number",
        ParameterKind::Ints => "ints",
        ParameterKind::Floats => "floats",
    }
}

/// A default as a pattern would write it; none for tensors and the like.
fn written(value: &AttributeValue) -> Option<String> {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let text = |bytes: &[u8]| format!("\"{}\"", String::from_utf8_lossy(bytes));
    Some(match value {
        AttributeValue::Int(value) => value.to_string(),
        AttributeValue::Float(value) => format!("{value:?}"),
        AttributeValue::String(value) => text(value),
        AttributeValue::Ints(items) => list(items.iter().map(i64::to_string).collect()),
        AttributeValue::Floats(items) => {
            list(items.iter().map(|item| format!("{item:?}")).collect())
        }
        AttributeValue::Strings(items) => list(items.iter().map(|item| text(item)).collect()),
        _ => return None,
    })
}

fn fallback(fallback: Fallback) -> String {
    match fallback {
        Fallback::Number(number) => number.to_string(),
        Fallback::Iota(input) => format!("0, 1, … for each element of `{input}`"),
        Fallback::Ones(input) => format!("1 for each element of `{input}`"),
        Fallback::Spatial { each, per_axis: 1 } => format!("{each} for each spatial axis"),
        Fallback::Spatial { each, per_axis } => {
            format!("{each}, {per_axis} times for each spatial axis")
        }
        Fallback::Reversed => "the axes in reverse".to_owned(),
    }
}

fn facts(schema: &Schema) -> Vec<&'static str> {
    let known = schema.facts;
    let all = [
        (known.commutative(), "commutative"),
        (known.associative(), "associative"),
        (known.elementwise(), "elementwise"),
        (known.movement(), "moves elements only"),
        (known.reduction(), "reduces axes"),
        (known.random(), "random"),
        (known.same_shape(), "keeps the shape of its first input"),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect()
}
