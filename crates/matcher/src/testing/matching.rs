//! What is found in the graph of a test.

use std::collections::BTreeMap;

use marquetry_ir::{Graph, Model, infer};
use marquetry_pattern::ast::{Binding, Count, Name, Test};
use marquetry_pattern::core::{Pattern, Role};
use marquetry_pattern::{Library, Span};

use super::graph::{GraphError, model};
use super::{Edit, Failure, Line, Met, Setting, named, write};
use crate::{Match, Matches, Miss, Options, find, group};

/// What a pattern finds in a graph.
struct Finding<'l> {
    pattern: &'l Pattern,
    model: Model,
    found: Matches,
}

impl<'l> Finding<'l> {
    fn new(library: &'l Library, graph: &Name, name: &Name) -> Met<Self> {
        let pattern = named(library, name);
        let model = parsed(graph, pattern)?;
        let types = infer::run(&model);
        let options = Options { misses: true, ..Options::default() };
        let found = find(&model, &types, [pattern], &options);
        Ok(Self { pattern, model, found })
    }

    fn graph(&self, found: &Match) -> &Graph {
        self.found.graph(&self.model, found.place)
    }

    /// The misses that came after the most had been matched.
    fn nearest(&self) -> impl Iterator<Item = &Miss> {
        let most = self.found.misses.iter().map(|miss| miss.nodes).max();
        self.found.misses.iter().filter(move |miss| Some(miss.nodes) == most)
    }

    /// Why there is no match, in words.
    fn reason(&self, miss: &Miss) -> String {
        let graph = self.found.graph(&self.model, miss.place);
        match miss.value {
            Some(value) => format!("{} at `{}`", miss.reason, graph.value(value).name()),
            None => miss.reason.clone(),
        }
    }

    /// The variables of the header that are not absent, as a test would say them.
    fn header(&self, found: &Match) -> Vec<(String, String)> {
        let graph = self.graph(found);
        let header = self.pattern.vars().filter(|(_, var)| var.role == Role::Header);
        let bindings = header.filter_map(|(_, var)| {
            let bound = found.bound(&var.name)?;
            let text = write::bound(graph, bound)?;
            (text != "none").then(|| (write::name(&var.name), text))
        });
        bindings.collect()
    }
}

/// The graph of a test of a pattern.
pub(super) fn parsed(graph: &Name, pattern: &Pattern) -> Met<Model> {
    model(&graph.text, &pattern.opsets).map_err(|error| refused(graph, error).into())
}

/// A graph that cannot be tested.
pub(super) fn refused(graph: &Name, error: GraphError) -> Failure {
    match error {
        GraphError::Syntax(error) => {
            let at = graph.span.start as usize + error.at.offset;
            let end = (at + 1).min(graph.span.end as usize);
            let place = Span::new(graph.span.source, at.min(end), end);
            let fact = format!("the graph cannot be read: {}", error.problem);
            let failure = Failure::new("graph_syntax", place, fact, "here");
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        GraphError::Invalid(violation) => {
            let fact = format!("the graph is not valid: {}: {}", violation.place, violation.fact);
            let label = format!("has the error {}", violation.code());
            let failure = Failure::new("graph_invalid", super::first_line(graph), fact, &label);
            match violation.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
    }
}

/// `matches P { … }`.
pub(super) fn matches(
    library: &Library,
    graph: &Name,
    span: Span,
    name: &Name,
    bindings: &[Binding],
) -> Met {
    let finding = Finding::new(library, graph, name)?;
    for binding in bindings {
        if finding.pattern.var_named(&binding.name.text).is_none() {
            let known = finding.pattern.vars().filter(|(_, var)| var.role == Role::Header);
            let known: Vec<_> = known.map(|(_, var)| format!("`{}`", var.name)).collect();
            let fact = format!("`{}` has no variable `{}`", name.text, binding.name.text);
            let failure =
                Failure::new("unknown_variable", binding.name.span, fact, "no such variable");
            return Err(failure.hint(format!("its header has {}", known.join(", "))).into());
        }
    }
    let unlike = |found: &Match| {
        let graph = finding.graph(found);
        let differs = |binding: &&Binding| {
            let bound = found.bound(&binding.name.text);
            !bound.is_some_and(|bound| write::same(graph, &binding.bound, bound))
        };
        bindings.iter().filter(differs).count()
    };
    match finding.found.matches.iter().min_by_key(|found| unlike(found)) {
        Some(nearest) if unlike(nearest) == 0 => Ok(()),
        Some(nearest) => Err(other_bindings(&finding, nearest, name, bindings).into()),
        None => Err(no_match(&finding, name, span).into()),
    }
}

fn no_match(finding: &Finding<'_>, name: &Name, span: Span) -> Failure {
    let fact = format!("`{}` does not match", name.text);
    let span = Span { end: name.span.end, ..span };
    let failure = Failure::new("no_match", span, fact, "expected to match");
    if !finding.found.exhausted.is_empty() {
        return failure.hint(
            "the search was given up: name more of the operands that can stand in any order",
        );
    }
    match finding.nearest().next() {
        Some(miss) => {
            let reason = finding.reason(miss);
            failure.label(miss.span, reason)
        }
        None => failure.hint(format!(
            "no node of the graph can compute the output of `{}`, or its opset range does not admit the graph",
            name.text
        )),
    }
}

fn other_bindings(
    finding: &Finding<'_>,
    found: &Match,
    name: &Name,
    bindings: &[Binding],
) -> Failure {
    let graph = finding.graph(found);
    let mut difference = Vec::new();
    let mut edits = Vec::new();
    for binding in bindings {
        let variable = write::name(&binding.name.text);
        let expected = format!("{variable} = {}", write::expected(&binding.bound));
        let bound = found.bound(&binding.name.text);
        if bound.is_some_and(|bound| write::same(graph, &binding.bound, bound)) {
            difference.push(Line::Same(expected));
            continue;
        }
        difference.push(Line::Expected(expected));
        let text = bound.and_then(|bound| write::bound(graph, bound));
        let shown = text.clone().unwrap_or_else(|| "what a test cannot say".to_owned());
        difference.push(Line::Found(format!("{variable} = {shown}")));
        edits.push(text.map(|text| Edit { span: binding.span, text }));
    }
    let first = bindings.iter().find(|binding| {
        let bound = found.bound(&binding.name.text);
        !bound.is_some_and(|bound| write::same(graph, &binding.bound, bound))
    });
    let span = first.map_or(name.span, |binding| binding.name.span.join(binding.span));
    let fact = format!("`{}` matches with other bindings", name.text);
    let mut failure = Failure::new("other_bindings", span, fact, "expected this");
    failure.difference = difference;
    failure.edits = edits.into_iter().collect::<Option<_>>().unwrap_or_default();
    failure
}

/// `rejects P because "…"`.
pub(super) fn rejects(
    library: &Library,
    graph: &Name,
    span: Span,
    name: &Name,
    because: Option<&Name>,
) -> Met {
    let finding = Finding::new(library, graph, name)?;
    if let Some(found) = finding.found.matches.first() {
        let fact = format!("`{}` matches", name.text);
        let span = Span { end: name.span.end, ..span };
        let mut failure = Failure::new("unexpected_match", span, fact, "expected not to match");
        let header = finding.header(found).into_iter();
        failure.difference =
            header.map(|(name, bound)| Line::Found(format!("{name} = {bound}"))).collect();
        return Err(failure.into());
    }
    if !finding.found.exhausted.is_empty() {
        let fact = format!("the search for `{}` was given up: too many ways to try", name.text);
        return Err(Failure::new("match_budget", name.span, fact, "not decided").into());
    }
    let Some(because) = because else { return Ok(()) };
    let wanted = plain(&because.text);
    let reasons: Vec<(&Miss, String)> =
        finding.nearest().map(|miss| (miss, finding.reason(miss))).collect();
    if reasons.iter().any(|(_, reason)| plain(reason).contains(&wanted)) {
        return Ok(());
    }
    let fact = format!("`{}` does not match, but for another reason", name.text);
    let mut failure = Failure::new("other_reason", because.span, fact, "not the reason");
    failure.difference = vec![Line::Expected(because.text.clone())];
    match reasons.first() {
        Some((miss, reason)) => {
            failure.difference.push(Line::Found(reason.clone()));
            let text = format!("\"{}\"", reason.replace('"', "'"));
            failure.edits = vec![Edit { span: because.span, text }];
            Err(failure.label(miss.span, "this is not matched").into())
        }
        None => {
            let found = "no node can compute the output of the pattern";
            failure.difference.push(Line::Found(found.to_owned()));
            Err(failure.into())
        }
    }
}

/// Words without regard to case, quotes and spaces.
fn plain(text: &str) -> String {
    let letters = text.chars().filter(|letter| !matches!(letter, '`' | '\'' | '"'));
    let text: String = letters.flat_map(char::to_lowercase).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `on "model.onnx" { LayerNorm: 25 }`.
pub(super) fn counts(
    library: &Library,
    test: &Test,
    path: &Name,
    counts: &[Count],
    setting: &Setting<'_>,
) -> Vec<Failure> {
    let unread = |reason: &str| {
        let fact = format!("the model cannot be read: {reason}");
        let failure = Failure::new("model_not_read", path.span, fact, "this model");
        vec![failure.hint("the path is relative to the folder of the pattern file")]
    };
    let file = &library.sources().get(test.span.source).path;
    let Some(read) = setting.read else { return unread("nothing here reads models") };
    let model = match read(file, &path.text) {
        Ok(model) => model,
        Err(reason) => return unread(&reason),
    };
    // Patterns of one file compete for nodes, so all of them are looked for, and those that the test
    // takes from other files.
    let ours = library.patterns().iter().filter(|pattern| pattern.span.source == test.span.source);
    let mut patterns: Vec<&Pattern> = ours.collect();
    for count in counts {
        let pattern = named(library, &count.pattern);
        if !patterns.iter().any(|known| known.span == pattern.span) {
            patterns.push(pattern);
        }
    }
    let types = infer::run(&model);
    let found = find(&model, &types, patterns.iter().copied(), &Options::default());
    let groups = group(&found, patterns.iter().copied());
    let found: BTreeMap<&str, usize> = groups.counts().into_iter().collect();
    let found = |count: &Count| found.get(count.pattern.text.as_str()).copied().unwrap_or(0);
    let same = |count: &Count| usize::try_from(count.count) == Ok(found(count));
    let Some(first) = counts.iter().find(|count| !same(count)) else { return Vec::new() };
    let fact = format!("other numbers of groups in `{}`", path.text);
    let span = first.pattern.span.join(first.span);
    let mut failure = Failure::new("other_counts", span, fact, "expected this");
    for count in counts {
        let name = &count.pattern.text;
        let expected = format!("{name}: {}", count.count);
        if same(count) {
            failure.difference.push(Line::Same(expected));
            continue;
        }
        failure.difference.push(Line::Expected(expected));
        failure.difference.push(Line::Found(format!("{name}: {}", found(count))));
        failure.edits.push(Edit { span: count.span, text: found(count).to_string() });
    }
    vec![failure]
}
