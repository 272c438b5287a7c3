//! `marquetry match`: the groups that patterns find in a model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use marquetry_ir::{Graph, Model, NodeId};
use marquetry_matcher::{Bound, Groups, Place};
use marquetry_pattern::core::{Pattern, Role};
use serde_json::{Map, Value, json};

use super::answer::{Answer, plural};
use super::args::{Cli, Match};
use super::failure::{Exit, Failure};
use super::load;

pub(crate) fn run(args: &Match, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(&args.patterns.files, cli)?;
    let patterns = load::only(library.patterns(), &args.only)?;
    let model = load::model(&args.model, cli)?;
    let types = marquetry_ir::infer::run(&model);
    let found =
        marquetry_matcher::find(&model, &types, &patterns, &marquetry_matcher::Options::default());
    let groups = marquetry_matcher::group(&found, &patterns);
    let mut answer = Answer::new(text(&model, &groups, &patterns), json(&model, &groups));
    for gave_up in &found.exhausted {
        let node = node_label(found.graph(&model, gave_up.place), gave_up.anchor);
        let pattern = &patterns[gave_up.pattern].name;
        answer.note(format!(
            "the search for `{pattern}` at `{node}` was given up: too many ways to try"
        ));
    }
    if groups.groups.is_empty() && !found.exhausted.is_empty() {
        let names: std::collections::BTreeSet<&str> =
            found.exhausted.iter().map(|gave_up| patterns[gave_up.pattern].name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let message =
            format!("the search for `{}` took too many steps everywhere", names.join("`, `"));
        return Err(Failure::new(Exit::Limit, "match_budget", message)
            .at(args.model.display())
            .hint("name more of the operands that can stand in any order"));
    }
    Ok(answer)
}

/// The name of a node, or its id where it has none.
pub(crate) fn node_label(graph: &Graph, node: NodeId) -> String {
    let name = &graph.node(node).name;
    if name.is_empty() { node.to_string() } else { name.clone() }
}

fn text(model: &Model, groups: &Groups, patterns: &[Pattern]) -> String {
    if groups.groups.is_empty() {
        return "no group found\n".to_owned();
    }
    let mut text = String::new();
    let counts = groups.counts();
    let width = counts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, count) in &counts {
        writeln!(text, "{name:width$}  {count:>5}").expect("a string takes any text");
    }
    text.push('\n');
    for group in &groups.groups {
        let graph = groups.graph(model, group.place);
        let mut depth = 0;
        let mut above = group.parent;
        while let Some(parent) = above {
            depth += 1;
            above = groups.get(parent).parent;
        }
        let bindings: Vec<_> = group
            .bindings
            .iter()
            .filter(|binding| !matches!(binding.bound, Bound::Absent))
            .filter(|binding| in_header(patterns, &group.pattern, &binding.name))
            .map(|binding| format!("{}={}", binding.name, shown(graph, &binding.bound)))
            .collect();
        let nodes = plural(group.nodes.len(), "node");
        let anchor = node_label(graph, group.anchor);
        writeln!(
            text,
            "{:indent$}{} at {anchor} ({nodes}): {}",
            "",
            group.pattern,
            bindings.join(" "),
            indent = 2 * depth
        )
        .expect("a string takes any text");
    }
    text
}

/// Whether a variable stands in the header of a pattern; those of the body are only in the JSON.
fn in_header(patterns: &[Pattern], pattern: &str, name: &str) -> bool {
    let found = patterns.iter().find(|known| known.name == pattern);
    found
        .and_then(|pattern| {
            pattern.var_named(name).map(|var| pattern.var(var).role == Role::Header)
        })
        .unwrap_or(false)
}

fn json(model: &Model, groups: &Groups) -> Value {
    let listed: Vec<Value> = groups
        .groups
        .iter()
        .map(|group| {
            let graph = groups.graph(model, group.place);
            let nodes: Vec<_> = group.nodes.iter().map(|&node| node_label(graph, node)).collect();
            let names = |values: &[marquetry_ir::ValueId]| -> Vec<String> {
                values.iter().map(|&value| graph.value(value).name().to_owned()).collect()
            };
            let bindings: Map<_, _> = group
                .bindings
                .iter()
                .map(|binding| (binding.name.clone(), value(graph, &binding.bound)))
                .collect();
            let mut object = json!({
                "pattern": group.pattern,
                "anchor": node_label(graph, group.anchor),
                "nodes": nodes,
                "outputs": names(&group.outputs),
                "bindings": bindings,
            });
            if let Some(parent) = group.parent {
                object["parent"] = json!(parent.index());
            }
            if let Place::Function(index) = groups.places[group.place.index()] {
                object["function"] = json!(model.functions[index].name);
            }
            object
        })
        .collect();
    let counts: BTreeMap<_, _> = groups.counts().into_iter().collect();
    json!({ "schema_version": 1, "groups": listed, "counts": counts })
}

/// A binding as JSON: the name of a value, a number, a list; null if it is absent.
pub(crate) fn value(graph: &Graph, bound: &Bound) -> Value {
    match bound {
        Bound::Absent => Value::Null,
        Bound::Value(id) => json!(graph.value(*id).name()),
        Bound::Int(int) => json!(int),
        Bound::Float(float) if float.is_finite() => json!(float),
        Bound::Float(float) => json!(float.to_string()),
        Bound::Text(text) => json!(text),
        Bound::Dtype(dtype) => json!(dtype.to_string()),
        Bound::Symbol(name) => json!(name),
        Bound::Operator(domain, name) => json!(qualified(domain, name)),
        Bound::Attributes(attributes) => attributes
            .iter()
            .map(|(name, bound)| (name.clone(), value(graph, bound)))
            .collect::<Map<_, _>>()
            .into(),
        Bound::List(items) => items.iter().map(|item| value(graph, item)).collect(),
    }
}

pub(crate) fn shown(graph: &Graph, bound: &Bound) -> String {
    match bound {
        Bound::Value(id) => graph.value(*id).name().to_owned(),
        Bound::Float(float) => format!("{float}"),
        Bound::List(items) => {
            format!(
                "[{}]",
                items.iter().map(|item| shown(graph, item)).collect::<Vec<_>>().join(", ")
            )
        }
        other => match value(graph, other) {
            Value::String(text) => text,
            value => value.to_string(),
        },
    }
}

fn qualified(domain: &str, name: &str) -> String {
    if domain.is_empty() { name.to_owned() } else { format!("{domain}.{name}") }
}
