//! One file for each spelling: a graph, and the groups that are found in it.
//!
//! Sections: `--- pattern` (without it, the shipped patterns are searched for), `--- graph`. A graph
//! without a model around it is of the newest opset; one with a header says its own.

use std::fmt::Write;

use marquetry::ir::{Graph, Model, Opsets, ValueId, text};
use marquetry::matcher::{
    Bound, Group, Groups, Matches, Miss, Options, Schemas, Spelling, find, group,
};
use marquetry::pattern::Library;

use crate::case::sections;

#[test]
fn groups_are_found() {
    insta::glob!("../../cases/match", "*.case", |path| {
        let src = std::fs::read_to_string(path).unwrap();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(render(&src));
        });
    });
}

fn render(src: &str) -> String {
    let sections = sections(src);
    let section = |wanted: &str| sections.iter().find(|(name, _)| *name == wanted);
    let library = match section("pattern") {
        Some((_, text)) => marquetry::library::load(Vec::new(), &[]).and_then(|_| {
            let mut files = marquetry::library::FILES.to_vec();
            files.push(("case.pat", text));
            Library::load(&marquetry::pattern::Files(&files), &["case.pat"], &Schemas)
        }),
        None => Ok(marquetry::library::standard()),
    };
    let library = library.unwrap_or_else(|errors| panic!("{errors:?}"));
    let (_, graph) = section("graph").expect("a case has a graph");
    let model = model(graph);
    let types = marquetry::ir::infer::run(&model);
    let matches = find(&model, &types, library.patterns(), &Options::default());
    let groups = group(&matches, library.patterns());
    let mut out = String::new();
    for group in groups.groups.iter().filter(|group| group.parent.is_none()) {
        show(&mut out, &model, &groups, group, 0);
    }
    for exhausted in &matches.exhausted {
        let name = &library.patterns()[exhausted.pattern].name;
        writeln!(out, "gave up on {name}").unwrap();
    }
    if out.is_empty() { reasons(&model, &library) } else { out }
}

fn model(src: &str) -> Model {
    if src.trim_start().starts_with('<') {
        return text::parse(src).unwrap();
    }
    Model::new(10, text::parse_graph(src, &Opsets::onnx(23)).unwrap())
}

fn show(out: &mut String, model: &Model, groups: &Groups, group: &Group, depth: usize) {
    let graph = groups.graph(model, group.place);
    let name = |value: &ValueId| graph.value(*value).name();
    let indent = "  ".repeat(depth);
    let meant = if group.spelling == Spelling::Meaning { " (the operator)" } else { "" };
    write!(out, "{indent}{}{meant}:", group.pattern).unwrap();
    for binding in &group.bindings {
        if binding.bound != Bound::Absent {
            write!(out, " {}={}", binding.name, bound(graph, &binding.bound)).unwrap();
        }
    }
    let nodes = group.nodes.iter().map(|node| {
        let output = graph.outputs(*node).into_iter().flatten().next();
        format!("{}={}", output.as_ref().map_or("", name), graph.node(*node).op_type)
    });
    writeln!(out, "\n{indent}  {}", nodes.collect::<Vec<_>>().join(" ")).unwrap();
    for inner in &groups.groups {
        let parent = inner.parent.map(|id| groups.get(id));
        if parent.is_some_and(|parent| std::ptr::eq(parent, group)) {
            show(out, model, groups, inner, depth + 1);
        }
    }
}

fn bound(graph: &Graph, content: &Bound) -> String {
    match content {
        Bound::Absent => "none".to_owned(),
        Bound::Value(value) => graph.value(*value).name().to_owned(),
        Bound::Int(number) => number.to_string(),
        Bound::Float(number) => format!("{:.6}", *number).trim_end_matches('0').to_owned(),
        Bound::Text(text) | Bound::Symbol(text) => text.clone(),
        Bound::Dtype(dtype) => dtype.to_string(),
        Bound::Operator(_, name) => name.clone(),
        Bound::Attributes(attributes) => {
            let each = attributes
                .iter()
                .map(|(name, content)| format!("{name}={}", bound(graph, content)));
            format!("<{}>", each.collect::<Vec<_>>().join(", "))
        }
        Bound::List(items) => {
            let items: Vec<_> = items.iter().map(|item| bound(graph, item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// Why nothing is found: the nearest misses, one for each pattern.
fn reasons(model: &Model, library: &Library) -> String {
    let types = marquetry::ir::infer::run(model);
    let options = Options { misses: true, ..Options::default() };
    let matches: Matches = find(model, &types, library.patterns(), &options);
    let mut nearest: Vec<&Miss> = Vec::new();
    for at in 0..library.patterns().len() {
        let misses = matches.misses.iter().filter(|miss| miss.pattern == at && miss.nodes > 1);
        nearest.extend(misses.max_by_key(|miss| miss.nodes));
    }
    nearest.sort_by_key(|miss| std::cmp::Reverse(miss.nodes));
    let mut out = "nothing\n".to_owned();
    for miss in nearest.into_iter().take(3) {
        let graph = matches.graph(model, miss.place);
        let value = miss.value.map(|value| format!(" at `{}`", graph.value(value).name()));
        let (name, text) =
            (&library.patterns()[miss.pattern].name, library.sources().text(miss.span));
        writeln!(out, "  {name}: `{text}`{}: {}", value.unwrap_or_default(), miss.reason).unwrap();
    }
    out
}
