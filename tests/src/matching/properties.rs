//! What must hold for any graph: a naive matcher agrees, and names and the order of nodes do not matter.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use marquetry::ir::{Graph, Model, Node, NodeId, Opsets, ValueId, infer};
use marquetry::matcher::{Bound, Groups, Matches, Options, Schemas, find, group};
use marquetry::pattern::Library;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::naive::{OPERATORS, Shape, Way, shape, takes_two, ways, written};
use crate::rewrite::properties as rewrite;

/// A graph as rows: operator, and two earlier values to choose inputs from.
type Rows = Vec<(usize, prop::sample::Index, prop::sample::Index)>;

fn rows() -> impl Strategy<Value = Rows> {
    prop::collection::vec(
        (0..OPERATORS.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        1..14,
    )
}

/// The graph of the rows, nodes added in the order of `ranks` as far as inputs allow; what nobody reads
/// is an output, and so is every fifth value.
fn model(rows: &Rows, ranks: &[u32]) -> Model {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    for input in ["a", "b"] {
        graph.add_input(input, None).unwrap();
    }
    let name = |at: usize| match at {
        0 => "a".to_owned(),
        1 => "b".to_owned(),
        at => format!("v{at}"),
    };
    let mut nodes = Vec::new();
    for (at, (operator, first, second)) in rows.iter().enumerate() {
        let mut inputs = vec![first.index(at + 2)];
        if takes_two(*operator) {
            inputs.push(second.index(at + 2));
        }
        nodes.push((*operator, inputs, at + 2));
    }
    let read: BTreeSet<usize> = nodes.iter().flat_map(|(_, inputs, _)| inputs.clone()).collect();
    let mut added: BTreeSet<usize> = [0, 1].into();
    while !nodes.is_empty() {
        let ready = |at: &usize| nodes[*at].1.iter().all(|input| added.contains(input));
        let rank = |at: &usize| ranks.get(nodes[*at].2 - 2).copied().unwrap_or(0);
        let at = (0..nodes.len()).filter(ready).min_by_key(rank).unwrap();
        let (operator, inputs, output) = nodes.remove(at);
        let inputs: Vec<_> = inputs.iter().map(|at| Some(graph.value_named(&name(*at)))).collect();
        let result = graph.value_named(&name(output));
        graph.add_node(Node::new("", OPERATORS[operator]), &inputs, &[Some(result)]).unwrap();
        added.insert(output);
    }
    for at in 2..rows.len() + 2 {
        if !read.contains(&at) || at % 5 == 0 {
            let output = graph.value_named(&name(at));
            graph.outputs.push(output);
        }
    }
    Model::new(8, graph)
}

/// The patterns of some shapes, named `P0`, `P1`, …; nothing if the checker refuses one, such as an
/// alternative that can never be the first.
fn library(shapes: &[Shape]) -> Option<(Library, Vec<BTreeSet<usize>>)> {
    let named = |(at, shape)| written(shape, &format!("P{at}"));
    let (texts, sure): (Vec<String>, _) = shapes.iter().enumerate().map(named).unzip();
    let library = Library::parse("p.pat", &texts.join("\n"), &Schemas).ok()?;
    Some((library, sure))
}

fn search(model: &Model, library: &Library) -> (Matches, Groups) {
    let types = infer::run(model);
    let matches = find(model, &types, library.patterns(), &Options::default());
    let groups = group(&matches, library.patterns());
    (matches, groups)
}

/// Groups as names, in order of their anchors' names.
fn named(model: &Model, groups: &Groups) -> BTreeSet<Vec<String>> {
    let graph = &model.graph;
    let names = |nodes: &[NodeId]| {
        let outputs = nodes.iter().flat_map(|node| graph.outputs(*node)).flatten();
        let mut names: Vec<_> = outputs.map(|value| graph.value(value).name().to_owned()).collect();
        names.sort();
        names
    };
    groups.groups.iter().map(|group| names(&group.nodes)).collect()
}

/// How often each property is tried, by its letter in the list of properties of the engine.
const NAIVE: u32 = 4000;
const TOGETHER: u32 = 1000;
const SHUFFLED: u32 = 2000;
const NAMES: u32 = 500;
const GROUPS: u32 = 500;

/// With the properties of rewriting.
const _: () = assert!(
    NAIVE + TOGETHER + SHUFFLED + rewrite::INCREMENTAL + rewrite::MEANING >= 10_000,
    "the properties are tried on ten thousand cases at least"
);

/// Tries a property on so many cases; what the checker refuses does not count.
#[expect(
    clippy::print_stdout,
    reason = "how many cases a property was tried on is part of the result"
)]
pub(crate) fn check<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value) -> TestCaseResult,
) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 20 * cases,
        // The same cases each time: what CI finds is found again.
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("{name}: {cases} cases");
}

/// A pattern that the checker accepts.
#[derive(Clone)]
struct Accepted {
    shape: Shape,
    library: Rc<Library>,
    /// Its shared variables.
    sure: BTreeSet<usize>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.shape, "P0").0)
    }
}

fn accepted() -> impl Strategy<Value = Accepted> {
    shape().prop_filter_map("the checker refuses it", |shape| {
        let (library, mut sure) = library(std::slice::from_ref(&shape))?;
        Some(Accepted { shape, library: Rc::new(library), sure: sure.remove(0) })
    })
}

#[test]
fn a_naive_matcher_agrees() {
    let hits = Cell::new(0);
    check("(c) as a naive matcher", NAIVE, (rows(), accepted()), |(rows, accepted)| {
        let Accepted { shape, library, sure } = &accepted;
        let model = model(&rows, &[]);
        let graph = &model.graph;
        let mut expected: BTreeMap<ValueId, Vec<Way>> = BTreeMap::new();
        for value in graph.nodes().flat_map(|node| graph.outputs(node)).flatten() {
            let ways = ways(graph, shape, sure, value);
            if !ways.is_empty() {
                expected.insert(value, ways);
            }
        }
        let (matches, _) = search(&model, library);
        prop_assert!(matches.exhausted.is_empty());
        let found: BTreeSet<ValueId> = matches.matches.iter().map(|one| one.outputs[0]).collect();
        prop_assert_eq!(found, expected.keys().copied().collect());
        for found in &matches.matches {
            let nodes: BTreeSet<NodeId> = found.nodes.iter().copied().collect();
            let bound = |variable: &usize| match found.bound(&format!("s{variable}")) {
                Some(Bound::Value(value)) => (*variable, *value),
                other => panic!("s{variable} is bound to {other:?}"),
            };
            let shared: BTreeMap<usize, ValueId> = sure.iter().map(bound).collect();
            let way = |way: &Way| way.nodes == nodes && way.shared == shared;
            let known = expected[&found.outputs[0]].iter().any(way);
            prop_assert!(known, "the match is one of the ways");
            hits.set(hits.get() + 1);
        }
        Ok(())
    });
    // Where nothing matches, all agree.
    assert!(hits.get() > NAIVE / 4, "{} matches", hits.get());
}

#[test]
fn looking_ahead_changes_nothing() {
    check("looking ahead", NAMES, (rows(), accepted()), |(rows, accepted)| {
        super::ahead::compare(&model(&rows, &[]), &accepted.library, "a random graph");
        Ok(())
    });
}

#[test]
fn patterns_are_found_together_as_one_by_one() {
    let shapes = prop::collection::vec(accepted(), 2..4);
    check("(d) together as one by one", TOGETHER, (rows(), shapes), |(rows, alone)| {
        let shapes: Vec<Shape> = alone.iter().map(|one| one.shape.clone()).collect();
        let (together, _) = library(&shapes).unwrap();
        let model = model(&rows, &[]);
        let mut expected = Vec::new();
        for (at, one) in alone.iter().enumerate() {
            let (matches, _) = search(&model, &one.library);
            expected.extend(matches.matches.into_iter().map(|found| (at, found)));
        }
        let (matches, _) = search(&model, &together);
        prop_assert_eq!(matches.matches.len(), expected.len());
        for (found, (at, alone)) in matches.matches.iter().zip(&expected) {
            prop_assert_eq!(found.pattern, *at);
            prop_assert_eq!(&found.nodes, &alone.nodes);
            prop_assert_eq!(&found.bindings, &alone.bindings);
        }
        Ok(())
    });
}

/// A match by names: root, nodes by their outputs, bindings.
type Named = (String, BTreeSet<String>, Vec<(String, String)>);

fn by_names(model: &Model, matches: &Matches) -> BTreeSet<Named> {
    let graph = &model.graph;
    let name = |value: ValueId| graph.value(value).name().to_owned();
    let named = |found: &marquetry::matcher::Match| {
        let outputs = found.nodes.iter().flat_map(|node| graph.outputs(*node)).flatten();
        let bindings = found.bindings.iter().map(|binding| {
            let bound = match &binding.bound {
                Bound::Value(value) => name(*value),
                other => format!("{other:?}"),
            };
            (binding.name.clone(), bound)
        });
        (name(found.outputs[0]), outputs.map(name).collect(), bindings.collect())
    };
    matches.matches.iter().map(named).collect()
}

#[test]
fn neither_the_order_of_the_file_nor_threads_matter() {
    let ranks = prop::collection::vec(any::<u32>(), 14);
    let cases = (rows(), ranks, accepted());
    check("(g) in any order, on any thread", SHUFFLED, cases, |(rows, ranks, accepted)| {
        let library = &*accepted.library;
        let (one, other) = (model(&rows, &[]), model(&rows, &ranks));
        let expected = search(&one, library).0;
        prop_assert_eq!(by_names(&one, &expected), by_names(&other, &search(&other, library).0));
        std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| search(&one, library).0.matches));
            for thread in threads {
                prop_assert_eq!(&thread.join().unwrap(), &expected.matches);
            }
            Ok(())
        })
    });
}

#[test]
fn names_do_not_matter() {
    check("names do not matter", NAMES, (rows(), accepted()), |(rows, accepted)| {
        let library = &*accepted.library;
        let before = model(&rows, &[]);
        let mut after = before.clone();
        let values: Vec<_> = after.graph.values().collect();
        for (at, value) in values.iter().rev().enumerate() {
            after.graph.rename(*value, &format!("other{at}")).unwrap();
        }
        prop_assert_eq!(search(&before, library).0.matches, search(&after, library).0.matches);
        Ok(())
    });
}

#[test]
fn accepted_groups_are_apart_or_nested() {
    check("groups are apart or nested", GROUPS, (rows(), accepted()), |(rows, accepted)| {
        let (matches, groups) = search(&model(&rows, &[]), &accepted.library);
        for (at, one) in groups.groups.iter().enumerate() {
            for other in &groups.groups[at + 1..] {
                let shared = one.nodes.iter().filter(|node| other.nodes.contains(node)).count();
                let smaller = one.nodes.len().min(other.nodes.len());
                prop_assert!(
                    shared == 0 || shared == smaller && one.nodes.len() != other.nodes.len()
                );
            }
        }
        prop_assert_eq!(groups.groups.len() + groups.superseded.len(), matches.matches.len());
        Ok(())
    });
}

#[test]
fn the_zoo_gives_the_same_groups_twice() {
    let model = marquetry::ir::onnx::read(fixture("digits/vit.onnx")).unwrap();
    let library = marquetry::library::standard();
    let (first, groups) = search(&model, &library);
    let (second, again) = search(&model, &library);
    assert_eq!(first.matches, second.matches);
    assert_eq!(named(&model, &groups), named(&model, &again));
    assert!(!groups.groups.is_empty());
}

fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// A chain of one operator.
fn chain(operator: &str, length: usize) -> Model {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    let mut last = graph.add_input("x", None).unwrap();
    for at in 0..length {
        let next = graph.value_named(&format!("v{at}"));
        let inputs =
            if operator == "Add" { vec![Some(last), Some(last)] } else { vec![Some(last)] };
        graph.add_node(Node::new("", operator), &inputs, &[Some(next)]).unwrap();
        last = next;
    }
    let result = graph.value_named("y");
    graph.add_node(Node::new("", "Relu"), &[Some(last)], &[Some(result)]).unwrap();
    graph.outputs.push(result);
    Model::new(8, graph)
}

#[test]
fn a_chain_without_end_is_given_up_and_reported() {
    let library =
        Library::parse("p.pat", "pattern P (x) => (y) { y = Relu(Neg*(Sigmoid(x))) }", &Schemas)
            .unwrap();
    let (matches, _) = search(&chain("Neg", 100_000), &library);
    assert_eq!((matches.matches.len(), matches.exhausted.len()), (0, 1));
}

#[test]
fn a_tree_of_a_thousand_sums_is_given_up_unless_one_looks_ahead() {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    let mut level: Vec<ValueId> =
        (0..1024).map(|at| graph.add_input(&format!("x{at}"), None).unwrap()).collect();
    let mut names = 0..;
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| {
                let sum = graph.value_named(&format!("s{}", names.next().unwrap()));
                let inputs = [Some(pair[0]), Some(pair[1])];
                graph.add_node(Node::new("", "Add"), &inputs, &[Some(sum)]).unwrap();
                sum
            })
            .collect();
    }
    graph.outputs.push(level[0]);
    let model = Model::new(8, graph);
    // The last operand is never there, which takes all permutations of the others to know, or a look
    // ahead.
    let operands: Vec<_> = (0..12).map(|at| format!("a{at}")).collect();
    let text = format!(
        "pattern P ({0}, rest...) => (y) {{ y = Add{{{0}, Relu(a0), rest...}} where a0 != a1 }}",
        operands.join(", ")
    );
    let library = Library::parse("p.pat", &text, &Schemas).unwrap();
    let (matches, _) = search(&model, &library);
    assert!(matches.matches.is_empty() && matches.exhausted.is_empty());
    let options = Options { plain: true, ..Options::default() };
    let matches = find(&model, &infer::run(&model), library.patterns(), &options);
    assert!(matches.matches.is_empty() && !matches.exhausted.is_empty());
}
