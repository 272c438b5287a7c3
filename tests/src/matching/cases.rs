//! One file for each spelling: a graph, and the groups that are found in it.
//!
//! Sections: `--- pattern` (without it, the shipped patterns are searched for), `--- graph`. A graph
//! without a model around it is of the newest opset; one with a header says its own.

use std::fmt::Write;

use marquetry::ir::Model;
use marquetry::matcher::{Matches, Miss, Options, Schemas, find, group};
use marquetry::pattern::Library;

use crate::case::sections;

#[test]
fn groups_are_found() {
    let shipped = marquetry::library::standard();
    insta::glob!("../../cases/match", "*.case", |path| {
        let src = std::fs::read_to_string(path).unwrap();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(render(&src, &shipped));
        });
    });
}

fn render(src: &str, shipped: &Library) -> String {
    let sections = sections(src);
    let section = |wanted: &str| sections.iter().find(|(name, _)| *name == wanted);
    let own = section("pattern").map(|(_, text)| {
        let mut files = marquetry::library::FILES.to_vec();
        files.push(("case.pat", text));
        Library::load(&marquetry::pattern::Files(&files), &["case.pat"], &Schemas)
            .unwrap_or_else(|errors| panic!("{errors:?}"))
    });
    let library = own.as_ref().unwrap_or(shipped);
    let (_, graph) = section("graph").expect("a case has a graph");
    let model = marquetry_testing::model(graph);
    let types = marquetry::ir::infer::run(&model);
    let matches = find(&model, &types, library.patterns(), &Options::default());
    let mut out = marquetry_testing::render(&model, &group(&matches, library.patterns()));
    for exhausted in &matches.exhausted {
        let name = &library.patterns()[exhausted.pattern].name;
        writeln!(out, "gave up on {name}").unwrap();
    }
    if out.is_empty() { reasons(&model, library) } else { out }
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
