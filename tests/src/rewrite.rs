//! Rewriting: a graph, a pattern, and the graph afterwards.
//!
//! Sections: `--- pattern` (without it, the shipped library), `--- graph` or `--- model`, and `--- way`
//! with one word a line: `once` or `fixpoint`, `notes` to print metadata, and `rules NAME,..`,
//! `fuse`, `outline` or `expand NAME,..`; without the latter, all rules of the section are applied.
//! `raise N` alone brings the model to another opset. Every result is valid, and gives the outputs that
//! the graph gave before, wherever the embedded engine runs it.

pub(crate) mod properties;

use std::fmt::Write as _;

use marquetry::engine::{Embedded, Engine as _, Native};
use marquetry::ir::check::{self, Severity};
use marquetry::ir::text::{PrintOptions, print, print_graph};
use marquetry::ir::{DType, Dim, Graph, Model, Tensor, opset};
use marquetry::matcher::Schemas;
use marquetry::matcher::rewrite::{RewriteOptions, Rewritten, Step, Until, Way, rewrite};
use marquetry::pattern::Library;

use crate::case::sections;

/// How far outputs may be apart, relative to the largest element: rewriting reorders arithmetic.
const RELATIVE: f64 = 1e-4;
/// The same for halves.
const RELATIVE_HALF: f64 = 1e-2;

#[test]
fn graphs_are_rewritten() {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots/rewrite");
    settings.bind(|| {
        insta::glob!("../cases/rewrite", "*.case", |path| {
            insta::assert_snapshot!(render(&std::fs::read_to_string(path).unwrap()));
        });
    });
}

fn render(case: &str) -> String {
    let sections = sections(case);
    let section = |wanted: &str| sections.iter().find(|(name, _)| *name == wanted);
    let library = match section("pattern") {
        Some((_, text)) => {
            let mut files = marquetry::library::FILES.to_vec();
            files.push(("case.pat", text));
            Library::load(&marquetry::pattern::Files(&files), &["case.pat"], &Schemas)
        }
        None => Ok(marquetry::library::standard()),
    };
    let library = library.unwrap_or_else(|errors| panic!("{errors:?}"));
    let (_, src) = section("graph").expect("a case has a graph");
    let mut model = marquetry_testing::model(src);
    let way = section("way").map_or("", |(_, text)| *text);
    if let Some(to) = way.trim().strip_prefix("raise ") {
        return raised(model, to.parse().expect("an opset is a number"));
    }
    let mut options = RewriteOptions::default();
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut notes = false;
    for line in way.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("once", _) => options.until = Until::Once,
            ("fixpoint", _) => options.until = Until::Fixpoint,
            ("notes", _) => notes = true,
            ("rules", names) => steps.extend(named(library.rules(), names, Way::Rule)),
            ("outline", names) => steps.extend(named(library.patterns(), names, Way::Outline)),
            ("expand", names) => steps.extend(named(library.patterns(), names, Way::Expand)),
            ("fuse", names) => steps.extend(named(library.patterns(), names, Way::Fuse)),
            (other, _) => panic!("a way is no `{other}`"),
        }
    }
    if steps.is_empty() {
        steps = library.rules().iter().map(|rule| Step { pattern: rule, way: Way::Rule }).collect();
    }
    let before = model.clone();
    let rewritten = match rewrite(&mut model, &steps, &Native, &options) {
        Ok(rewritten) => rewritten,
        Err(error) => return format!("{error}\n  {}: {}\n", error.code(), error.hint()),
    };
    let mut out = report(&rewritten);
    let options = PrintOptions { notes, elide: Some(16), ..PrintOptions::default() };
    if model.functions.is_empty() && before.graph.opsets == model.graph.opsets {
        out.push_str(&print_graph(&model.graph, &options));
    } else {
        out.push_str(&print(&model, &options));
    }
    sound(&before, &model, &mut out);
    out
}

fn raised(mut model: Model, to: i64) -> String {
    let before = model.clone();
    if let Err(error) = opset::raise(&mut model, to) {
        let same = marquetry::ir::compare::difference(&before, &model);
        assert!(same.is_none(), "what is refused leaves the model as it was");
        return format!("{error}\n  {}: {}\n", error.code(), error.hint());
    }
    let mut out = print(&model, &PrintOptions { elide: Some(16), ..PrintOptions::default() });
    sound(&before, &model, &mut out);
    out
}

fn named<'l>(
    patterns: &'l [marquetry::pattern::core::Pattern],
    names: &str,
    way: Way,
) -> Vec<Step<'l>> {
    let find = |name: &str| {
        let found = patterns.iter().find(|pattern| pattern.name == name);
        Step { pattern: found.unwrap_or_else(|| panic!("there is no `{name}`")), way }
    };
    names.split(',').map(find).collect()
}

fn report(rewritten: &Rewritten) -> String {
    let mut out = String::new();
    let (before, after) = (rewritten.nodes_before, rewritten.nodes_after);
    writeln!(out, "{before} nodes before, {after} after").unwrap();
    for applied in &rewritten.applied {
        let (pattern, output) = (&applied.pattern, &applied.output);
        writeln!(out, "{pattern} at {output}: {} nodes, {} built", applied.matched, applied.built)
            .unwrap();
    }
    for refused in &rewritten.refused {
        let (pattern, output, reason) = (&refused.pattern, &refused.output, &refused.reason);
        writeln!(out, "{pattern} at {output} refused: {reason} ({})", reason.code()).unwrap();
        if let Some(hint) = reason.hint() {
            writeln!(out, "  {hint}").unwrap();
        }
    }
    out.push('\n');
    out
}

/// What is wrong with the model after it was changed, in words; nothing where all is well.
pub(crate) fn sound(before: &Model, after: &Model, out: &mut String) {
    let errors = |model: &Model| {
        let found = check::run(model).into_iter();
        found.filter(|violation| violation.severity == Severity::Error).collect::<Vec<_>>()
    };
    if errors(before).is_empty() {
        for violation in errors(after) {
            writeln!(out, "NOT VALID: {violation}").unwrap();
        }
    }
    let names = |graph: &Graph| -> Vec<String> {
        let ends = graph.inputs.iter().chain(&graph.outputs);
        ends.map(|value| graph.value(*value).name().to_owned()).collect()
    };
    assert_eq!(names(&before.graph), names(&after.graph), "inputs and outputs keep their names");
    match (outputs(before), outputs(after)) {
        (Some(expected), Some(found)) => {
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                if let Some(distance) = apart(found, expected) {
                    writeln!(out, "OUTPUT {at} DIFFERS by {distance:.1e}").unwrap();
                }
            }
        }
        (None, _) => out.push_str("not run before\n"),
        (_, None) => out.push_str("not run after\n"),
    }
}

/// The outputs on made-up inputs; `None` where the engine cannot run the graph.
fn outputs(model: &Model) -> Option<Vec<Tensor>> {
    let engine = Embedded::default();
    let graph = &model.graph;
    if !model.functions.is_empty() || !engine.refusals(graph).is_empty() {
        return None;
    }
    let mut seed = 1;
    let fed: Vec<_> = graph
        .inputs
        .iter()
        .copied()
        .filter(|input| graph.value(*input).constant.is_none())
        .collect();
    let inputs: Option<Vec<Tensor>> = fed
        .iter()
        .map(|input| {
            let ty = graph.value(*input).tensor_type()?;
            let length = |dim: &Dim| Some(dim.known().unwrap_or(3));
            let dims: Option<Vec<usize>> = ty.shape.as_ref()?.iter().map(length).collect();
            made_up(ty.dtype?, &dims?, &mut seed)
        })
        .collect();
    let mut program = engine.compile(graph, &fed, &graph.outputs).ok()?;
    program.run(&inputs?).ok()
}

/// Numbers that are neither all alike nor special.
fn made_up(dtype: DType, dims: &[usize], seed: &mut u64) -> Option<Tensor> {
    let count = dims.iter().product();
    let mut next = || {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 40) as f64 / f64::from(1 << 24)
    };
    let numbers: Vec<f64> = (0..count)
        .map(|_| match dtype {
            DType::Bool => next().round(),
            dtype if dtype.is_integer() => (next() * 4.0).floor(),
            _ => next() * 4.0 - 2.0,
        })
        .collect();
    Tensor::from_f64s(dtype, dims, &numbers)?.ok()
}

/// The largest difference relative to the largest element, if that is too much.
fn apart(found: &Tensor, expected: &Tensor) -> Option<f64> {
    assert_eq!(found.dims(), expected.dims());
    let (Some(a), Some(b)) = (found.to_f64s(), expected.to_f64s()) else {
        return (found != expected).then_some(f64::INFINITY);
    };
    let half = matches!(expected.dtype(), DType::Float16 | DType::BFloat16);
    let bound = if half { RELATIVE_HALF } else { RELATIVE };
    let largest = b.iter().fold(1e-6_f64, |most, y| most.max(y.abs()));
    let far = a.iter().zip(&b).fold(0.0_f64, |most, (x, y)| most.max((x - y).abs())) / largest;
    (far > bound || far.is_nan()).then_some(far)
}
