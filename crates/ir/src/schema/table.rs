//! The tables in memory: parsed once from the text that the crate carries.
#![allow(clippy::disallowed_types, reason = "the index is only looked up, never iterated")]

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::facts::FactTable;
use super::formal::{Arity, AttributeKind, AttributeSchema, Formal, TypeSet};
use super::{Facts, Schema};
use crate::AttributeValue;

const STANDARD: &str = include_str!("standard.txt");
const CONTRIB: &str = include_str!("contrib.txt");

/// All schemas, sorted by domain, name and version.
pub(super) struct Table {
    schemas: Vec<Schema>,
    /// Where the versions of an operator stand, by name and then domain: every node asks.
    index: HashMap<&'static str, Vec<(&'static str, Range<usize>)>>,
    pub(super) newest: i64,
}

impl Table {
    pub(super) fn load() -> Self {
        let facts = FactTable::load();
        let mut schemas = parse(STANDARD, true);
        let newest = schemas.iter().filter(|s| s.domain.is_empty()).map(|s| s.since).max();
        schemas.extend(parse(CONTRIB, false));
        schemas.sort_by(|a, b| (a.domain, a.name, a.since).cmp(&(b.domain, b.name, b.since)));
        for schema in &mut schemas {
            (schema.facts, schema.parameters) = facts.of(schema.domain, schema.name);
        }
        let mut index: HashMap<_, Vec<(_, Range<usize>)>> = HashMap::new();
        for (at, schema) in schemas.iter().enumerate() {
            let domains = index.entry(schema.name).or_default();
            match domains.last_mut() {
                Some((domain, versions)) if *domain == schema.domain => versions.end = at + 1,
                _ => domains.push((schema.domain, at..at + 1)),
            }
        }
        Self { schemas, index, newest: newest.unwrap_or(0) }
    }

    pub(super) fn all(&self) -> &[Schema] {
        &self.schemas
    }

    pub(super) fn versions(&self, domain: &str, op: &str) -> &[Schema] {
        let domains = self.index.get(op).map(Vec::as_slice).unwrap_or_default();
        let found = domains.iter().find(|(known, _)| *known == domain);
        found.map(|(_, versions)| &self.schemas[versions.clone()]).unwrap_or_default()
    }

    pub(super) fn lookup(&self, domain: &str, op: &str, version: i64) -> Option<&Schema> {
        let versions = self.versions(domain, op);
        versions[..versions.partition_point(|schema| schema.since <= version)].last()
    }
}

/// Parses a table; the format is described in `scripts/gen-schemas.py`.
fn parse(text: &'static str, closed: bool) -> Vec<Schema> {
    let mut sets: Vec<TypeSet> = Vec::new();
    let mut schemas: Vec<Schema> = Vec::new();
    let mut domain = "";
    for line in text.lines() {
        let Some(mark) = line.chars().next() else { continue };
        let mut words = line[mark.len_utf8()..].split(' ');
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        match mark {
            '#' => {}
            '=' => sets.push(type_set(&line[1..])),
            ':' => domain = first,
            '!' => schemas.push(Schema {
                domain,
                name: first,
                since: second.parse().expect("the table writes versions as numbers"),
                deprecated: words.next().is_some(),
                closed,
                inputs: Vec::new(),
                outputs: Vec::new(),
                attributes: Vec::new(),
                facts: Facts::default(),
                parameters: &[],
            }),
            _ => {
                let schema = schemas.last_mut().expect("the table names an operator first");
                match mark {
                    '<' => schema.inputs.push(formal(first, second, &sets)),
                    '>' => schema.outputs.push(formal(first, second, &sets)),
                    '-' => {
                        let default = words.next().map(|_| default_of(line, second));
                        schema.attributes.push(attribute(first, second, default));
                    }
                    '@' => bind(schema, first, set(second, &sets)),
                    _ => unreachable!("the table has no lines that begin with `{mark}`"),
                }
            }
        }
    }
    schemas
}

fn type_set(text: &'static str) -> TypeSet {
    let (mut tensors, mut others) = (0, Vec::new());
    for word in text.split(' ') {
        match word.parse::<u32>() {
            Ok(code) => tensors |= 1u64 << code,
            Err(_) => others.push(word),
        }
    }
    TypeSet { tensors, others: if others.is_empty() { &[] } else { others.leak() } }
}

fn set(number: &str, sets: &[TypeSet]) -> TypeSet {
    let number: usize = number.parse().expect("the table numbers its sets of types");
    sets[number]
}

/// `NAME`, `?NAME`, `*:NAME`, `*2:NAME` or `~0:NAME`, with a variable or `=N`.
fn formal(text: &'static str, kind: &'static str, sets: &[TypeSet]) -> Formal {
    let (arity, name) = match text.as_bytes().first() {
        Some(b'?') => (Arity::Optional, &text[1..]),
        Some(mark @ (b'*' | b'~')) => {
            let (least, name) = text[1..].split_once(':').expect("`:` ends the least arity");
            let least = if least.is_empty() { 1 } else { least.parse().expect("it is a number") };
            (Arity::Variadic { least, homogeneous: *mark == b'*' }, name)
        }
        _ => (Arity::Single, text),
    };
    match kind.strip_prefix('=') {
        Some(number) => Formal { name, arity, variable: None, types: set(number, sets) },
        // The set of the variable follows, in an `@` line of the same operator.
        None => {
            let types = TypeSet { tensors: 0, others: &[] };
            Formal { name, arity, variable: Some(kind), types }
        }
    }
}

fn bind(schema: &mut Schema, variable: &str, types: TypeSet) {
    for formal in schema.inputs.iter_mut().chain(&mut schema.outputs) {
        if formal.variable == Some(variable) {
            formal.types = types;
        }
    }
}

fn attribute(name: &'static str, kind: &str, default: Option<&'static str>) -> AttributeSchema {
    let (required, name) = match name.strip_prefix('+') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let kind = match kind {
        "float" => AttributeKind::Float,
        "int" => AttributeKind::Int,
        "string" => AttributeKind::String,
        "tensor" => AttributeKind::Tensor,
        "graph" => AttributeKind::Graph,
        "sparse_tensor" => AttributeKind::SparseTensor,
        "type_proto" => AttributeKind::TypeProto,
        "floats" => AttributeKind::Floats,
        "ints" => AttributeKind::Ints,
        "strings" => AttributeKind::Strings,
        "tensors" => AttributeKind::Tensors,
        "graphs" => AttributeKind::Graphs,
        "sparse_tensors" => AttributeKind::SparseTensors,
        "type_protos" => AttributeKind::TypeProtos,
        other => unreachable!("the table has no attributes of kind `{other}`"),
    };
    AttributeSchema { name, kind, required, default: default.map(|text| value(kind, text)) }
}

/// Rest of the line after the kind; a default may contain blanks.
fn default_of(line: &'static str, kind: &str) -> &'static str {
    let kind_ends = line.find(' ').map_or(0, |at| at + 1) + kind.len();
    line.get(kind_ends + 1..).unwrap_or_default()
}

fn value(kind: AttributeKind, text: &str) -> AttributeValue {
    let items = || {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.expect("lists stand in brackets");
        inner.split(',').filter(|item| !item.is_empty())
    };
    let int = |text: &str| text.parse().expect("the table writes integers in decimal");
    let float = |text: &str| text.parse().expect("the table writes floats in decimal");
    match kind {
        AttributeKind::Int => AttributeValue::Int(int(text)),
        AttributeKind::Float => AttributeValue::Float(float(text)),
        AttributeKind::String => AttributeValue::String(unquote(text)),
        AttributeKind::Ints => AttributeValue::Ints(items().map(int).collect()),
        AttributeKind::Floats => AttributeValue::Floats(items().map(float).collect()),
        AttributeKind::Strings => AttributeValue::Strings(items().map(unquote).collect()),
        other => unreachable!("the table has no defaults of kind {other:?}"),
    }
}

fn unquote(text: &str) -> Bytes {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.expect("strings are quoted").replace("\\\"", "\"").replace("\\\\", "\\").into()
}
