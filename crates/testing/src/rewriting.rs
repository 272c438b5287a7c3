//! What becomes of a graph.

use std::fmt::Write;

use marquetry_engine::Native;
use marquetry_ir::text::{PrintOptions, print_graph};
use marquetry_matcher::rewrite::{RewriteOptions, Step, Until, Way, rewrite};
use marquetry_pattern::Library;

/// Replacements after which a test is given up: its graph is small.
const MOST: usize = 10_000;

/// What becomes of a graph, as text: what was done or refused, then the graph.
///
/// `by` lists what is applied, as in `by double_neg, fuse Gelu becomes …` of a test in a pattern file. If it
/// is empty, these are the rules of the text, or the meanings of its patterns where it has no rules.
///
/// # Panics
///
/// Where one of the texts is wrong, or names what is not there: it is the test then that is wrong.
pub fn rewritten(rules: &str, graph: &str, by: &str) -> String {
    let library = crate::library(rules);
    let mut model = crate::model(graph);
    let steps = steps(&library, by);
    let options = RewriteOptions { until: Until::Fixpoint, limit: MOST, ..Default::default() };
    let done = rewrite(&mut model, &steps, &Native, &options)
        .unwrap_or_else(|error| panic!("the rules cannot be applied: {error}"));
    let mut out = String::new();
    for applied in &done.applied {
        let (way, name, output) = (word(applied.way), &applied.pattern, &applied.output);
        let nodes = match applied.matched {
            1 => "1 node becomes".to_owned(),
            count => format!("{count} nodes become"),
        };
        writeln!(out, "{way}{name} at {output}: {nodes} {}", applied.built)
            .expect("a string takes any text");
    }
    for refused in &done.refused {
        let (way, name, output) = (word(refused.way), &refused.pattern, &refused.output);
        writeln!(out, "{way}{name} at {output} is refused: {}", refused.reason)
            .expect("a string takes any text");
    }
    if out.is_empty() {
        out.push_str("nothing is replaced\n");
    }
    out.push('\n');
    let options = PrintOptions { notes: false, ..PrintOptions::default() };
    out.push_str(&print_graph(&model.graph, &options));
    out
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Rule => "",
        Way::Fuse => "fuse ",
        Way::Outline => "outline ",
        Way::Expand => "expand ",
    }
}

fn steps<'l>(library: &'l Library, by: &str) -> Vec<Step<'l>> {
    let named = by.split(',').map(str::trim).filter(|step| !step.is_empty());
    let mut steps: Vec<Step<'l>> = named.map(|step| self::step(library, step)).collect();
    if steps.is_empty() {
        steps.extend(library.rules().iter().map(|pattern| Step { pattern, way: Way::Rule }));
    }
    if steps.is_empty() {
        let meant = library.patterns().iter().filter(|pattern| pattern.equals.is_some());
        steps.extend(meant.map(|pattern| Step { pattern, way: Way::Fuse }));
    }
    assert!(!steps.is_empty(), "the text has no rule, and no pattern with `equals`");
    steps
}

fn step<'l>(library: &'l Library, step: &str) -> Step<'l> {
    let words: Vec<&str> = step.split_whitespace().collect();
    let (way, known, name) = match words[..] {
        ["fuse", name] => (Way::Fuse, library.patterns(), name),
        ["outline", name] => (Way::Outline, library.patterns(), name),
        ["expand", name] => (Way::Expand, library.patterns(), name),
        [name] => (Way::Rule, library.rules(), name),
        _ => panic!("`{step}` is neither a rule nor `fuse`, `outline` or `expand` with a pattern"),
    };
    let pattern = known.iter().find(|pattern| pattern.name == name);
    let pattern = pattern.unwrap_or_else(|| panic!("nothing in the text is called `{name}`"));
    Step { pattern, way }
}
