//! What becomes of the graph of a test.

use marquetry_ir::{Evaluate, EvaluateError, Model, Operation, Tensor, text};
use marquetry_pattern::Library;
use marquetry_pattern::ast::{self, Name, Test};
use marquetry_pattern::core::Pattern;

use super::graph::{GraphError, model};
use super::matching::refused;
use super::{Edit, Failure, Met, Setting, first_line, named, same};
use crate::rewrite::{RewriteOptions, Rewritten, Step, Until, Way, rewrite};

/// Replacements after which a test is given up: its graph is small.
const MOST: usize = 10_000;

/// `by double_neg, fuse Gelu becomes g (…) => (…) { … }`.
pub(super) fn becomes(
    library: &Library,
    test: &Test,
    graph: &Name,
    by: &[ast::Step],
    expected: &Name,
    setting: &Setting<'_>,
) -> Met {
    let steps = if by.is_empty() { default_steps(library, test) } else { steps(library, by) };
    if steps.is_empty() {
        let fact = "the file has no rule, and no pattern with `equals`";
        let failure = Failure::new("nothing_to_apply", expected.span, fact, "nothing becomes this");
        return Err(failure.hint("say what is applied: `by fuse P becomes …`").into());
    }
    let opsets: Vec<_> =
        steps.iter().flat_map(|step| step.pattern.opsets.iter().cloned()).collect();
    let mut changed = model(&graph.text, &opsets).map_err(|error| refused(graph, error))?;
    let options = RewriteOptions { until: Until::Fixpoint, limit: MOST, ..Default::default() };
    let evaluate = setting.evaluate.unwrap_or(&Nothing);
    let rewritten = rewrite(&mut changed, &steps, evaluate, &options).map_err(|error| {
        let span = by.first().map_or(expected.span, |step| step.name.span);
        Failure::new("rewrite_failed", span, error.to_string(), "cannot be applied")
            .hint(error.hint())
    })?;
    compare(graph, expected, &changed, &rewritten)
}

fn compare(graph: &Name, expected: &Name, changed: &Model, rewritten: &Rewritten) -> Met {
    let edit = |text: String| vec![Edit { span: expected.span, text: indented(&text, expected) }];
    let wanted = match expected.text.trim_start().starts_with('<') {
        true => text::parse(&expected.text).map(|model| model.graph),
        false => text::parse_graph(&expected.text, &changed.graph.opsets),
    };
    let wanted = wanted.map_err(|error| {
        let mut failure = refused(expected, GraphError::Syntax(error));
        failure.edits = edit(same::written(&changed.graph));
        failure
    })?;
    let found = same::named_like(&wanted, &changed.graph);
    let Some(difference) = same::difference(&wanted, &found) else { return Ok(()) };
    let (fact, label) = match rewritten.applied.is_empty() {
        true => ("nothing was replaced", "expected this"),
        false => ("the graph becomes another one", "expected this"),
    };
    let span = first_line(expected);
    let mut failure = Failure::new("other_graph", span, fact, label);
    failure.difference = difference;
    failure.edits = edit(same::written(&found));
    if let Some(refused) = rewritten.refused.first() {
        let reason = format!("`{}` was refused: {}", refused.pattern, refused.reason);
        failure = failure.label(first_line(graph), reason);
        if let Some(hint) = refused.reason.hint() {
            failure = failure.hint(hint);
        }
    }
    Err(failure.into())
}

/// The rules of the file; without any, the meanings of its patterns.
fn default_steps<'l>(library: &'l Library, test: &Test) -> Vec<Step<'l>> {
    let source = test.span.source;
    let ours = move |pattern: &&Pattern| pattern.span.source == source;
    let rules = library.rules().iter().filter(ours);
    let rules: Vec<_> = rules.map(|pattern| Step { pattern, way: Way::Rule }).collect();
    if !rules.is_empty() {
        return rules;
    }
    let patterns = library.patterns().iter().filter(ours);
    let meant = patterns.filter(|pattern| pattern.equals.is_some());
    meant.map(|pattern| Step { pattern, way: Way::Fuse }).collect()
}

fn steps<'l>(library: &'l Library, by: &[ast::Step]) -> Vec<Step<'l>> {
    let way = |way: ast::Way| match way {
        ast::Way::Rule => Way::Rule,
        ast::Way::Fuse => Way::Fuse,
        ast::Way::Outline => Way::Outline,
        ast::Way::Expand => Way::Expand,
    };
    by.iter().map(|step| Step { pattern: named(library, &step.name), way: way(step.way) }).collect()
}

/// A printed graph, indented as the one that it replaces.
fn indented(text: &str, expected: &Name) -> String {
    // The closing brace shows the indent of the graph.
    let last = expected.text.lines().next_back().unwrap_or("");
    let indent: String = match expected.text.contains('\n') {
        true => last.chars().take_while(|letter| letter.is_whitespace()).collect(),
        false => "  ".to_owned(),
    };
    let mut lines = text.lines();
    let mut out = lines.next().unwrap_or("").to_owned();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&indent);
            out.push_str(line);
        }
    }
    out
}

/// Runs nothing.
struct Nothing;

impl Evaluate for Nothing {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        _: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        Err(EvaluateError::Unsupported {
            op_type: operation.op_type.to_owned(),
            opset: operation.opset,
            reason: "nothing runs operators here".to_owned(),
        })
    }
}
