//! What must hold for any graph: a naive matcher agrees, and names and the order of nodes do not matter.

use std::collections::BTreeSet;

use marquetry::ir::{Graph, Model, Node, NodeId, Opsets, ValueId, infer};
use marquetry::matcher::{Groups, Matches, Options, Schemas, find, group};
use marquetry::pattern::Library;
use proptest::prelude::*;

/// Operators with one input, then those with two, which commute except for the last.
const OPERATORS: [&str; 5] = ["Neg", "Relu", "Add", "Mul", "Sub"];

fn takes_two(operator: usize) -> bool {
    operator >= 2
}

/// A term: a leaf, or an operator on terms.
#[derive(Clone, Debug)]
enum Term {
    Leaf,
    Call(usize, Vec<Term>),
}

/// A graph as rows: operator, and two earlier values to choose inputs from.
type Rows = Vec<(usize, prop::sample::Index, prop::sample::Index)>;

fn rows() -> impl Strategy<Value = Rows> {
    prop::collection::vec(
        (0..OPERATORS.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        1..14,
    )
}

fn term() -> impl Strategy<Value = Term> {
    let leaf = Just(Term::Leaf);
    let grown = leaf.prop_recursive(3, 7, 2, |inner| {
        (0..OPERATORS.len(), inner.clone(), inner).prop_map(|(operator, a, b)| {
            let args = if takes_two(operator) { vec![a, b] } else { vec![a] };
            Term::Call(operator, args)
        })
    });
    grown.prop_filter("a pattern has an operator", |term| matches!(term, Term::Call(..)))
}

/// The graph of the rows, nodes added in the order of `ranks` as far as inputs allow; what nobody reads
/// is an output, and so is every fifth value.
fn model(rows: &Rows, reverse: bool) -> Model {
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
        let ready = |(_, inputs, _): &(usize, Vec<usize>, usize)| {
            inputs.iter().all(|at| added.contains(at))
        };
        let at = if reverse { nodes.iter().rposition(ready) } else { nodes.iter().position(ready) };
        let (operator, inputs, output) = nodes.remove(at.unwrap());
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

/// The pattern of a term; every leaf is an input of its own.
fn pattern(term: &Term) -> Library {
    fn write(term: &Term, leaves: &mut usize) -> String {
        match term {
            Term::Leaf => {
                *leaves += 1;
                format!("x{leaves}")
            }
            Term::Call(operator, args) => {
                let args: Vec<_> = args.iter().map(|arg| write(arg, leaves)).collect();
                format!("{}({})", OPERATORS[*operator], args.join(", "))
            }
        }
    }
    let mut leaves = 0;
    let body = write(term, &mut leaves);
    let inputs: Vec<_> = (1..=leaves).map(|leaf| format!("x{leaf}")).collect();
    let text = format!("pattern P ({}) => (y) {{ y = {body} }}", inputs.join(", "));
    Library::parse("p.pat", &text, &Schemas).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// All ways to match a term at a value: nodes and leaves.
fn naive(graph: &Graph, term: &Term, value: ValueId) -> Vec<(BTreeSet<NodeId>, Vec<ValueId>)> {
    let Term::Call(operator, args) = term else { return vec![(BTreeSet::new(), vec![value])] };
    let Some((node, _)) = graph.producer(value) else { return Vec::new() };
    if graph.node(node).op_type != OPERATORS[*operator] {
        return Vec::new();
    }
    let inputs: Vec<ValueId> = graph.inputs(node).into_iter().flatten().collect();
    let mut orders = vec![inputs.clone()];
    if matches!(OPERATORS[*operator], "Add" | "Mul") {
        orders.push(inputs.into_iter().rev().collect());
    }
    let mut found = Vec::new();
    for order in orders {
        let mut ways = vec![(BTreeSet::from([node]), Vec::new())];
        for (arg, input) in args.iter().zip(order) {
            let below = naive(graph, arg, input);
            ways = ways
                .iter()
                .flat_map(|(nodes, leaves)| {
                    below.iter().map(move |(more, others)| {
                        (nodes | more, [leaves.as_slice(), others].concat())
                    })
                })
                .collect();
        }
        found.extend(ways);
    }
    found
}

/// Whether nothing but the root leaves the match, and no leaf is computed inside.
fn is_closed(graph: &Graph, root: ValueId, nodes: &BTreeSet<NodeId>, leaves: &[ValueId]) -> bool {
    let results = nodes.iter().flat_map(|node| graph.outputs(*node)).flatten();
    let inside =
        |value: ValueId| graph.producer(value).is_some_and(|(node, _)| nodes.contains(&node));
    let mut interior = results.filter(|value| *value != root);
    interior.all(|value| {
        !graph.is_output(value)
            && graph.uses(value).iter().all(|reader| nodes.contains(&reader.node))
    }) && !leaves.iter().any(|leaf| inside(*leaf))
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_naive_matcher_agrees(rows in rows(), term in term()) {
        let model = model(&rows, false);
        let graph = &model.graph;
        let mut expected = BTreeSet::new();
        for node in graph.nodes() {
            for value in graph.outputs(node).into_iter().flatten() {
                let ways = naive(graph, &term, value);
                if ways.iter().any(|(nodes, leaves)| is_closed(graph, value, nodes, leaves)) {
                    expected.insert(node);
                }
            }
        }
        let (matches, _) = search(&model, &pattern(&term));
        prop_assert!(matches.exhausted.is_empty());
        let found: BTreeSet<NodeId> = matches.matches.iter().map(|found| found.anchor).collect();
        prop_assert_eq!(found, expected);
        for found in &matches.matches {
            let nodes = found.nodes.iter().copied().collect();
            let root = found.outputs[0];
            prop_assert!(is_closed(graph, root, &nodes, &[]), "a match is closed");
        }
    }

    #[test]
    fn names_do_not_matter(rows in rows(), term in term()) {
        let library = pattern(&term);
        let before = model(&rows, false);
        let mut after = before.clone();
        let values: Vec<_> = after.graph.values().collect();
        for (at, value) in values.iter().rev().enumerate() {
            after.graph.rename(*value, &format!("other{at}")).unwrap();
        }
        prop_assert_eq!(search(&before, &library).0.matches, search(&after, &library).0.matches);
    }

    #[test]
    fn accepted_groups_are_apart_or_nested(rows in rows(), term in term()) {
        let (matches, groups) = search(&model(&rows, false), &pattern(&term));
        for (at, one) in groups.groups.iter().enumerate() {
            for other in &groups.groups[at + 1..] {
                let shared = one.nodes.iter().filter(|node| other.nodes.contains(node)).count();
                let smaller = one.nodes.len().min(other.nodes.len());
                prop_assert!(shared == 0 || shared == smaller && one.nodes.len() != other.nodes.len());
            }
        }
        prop_assert_eq!(groups.groups.len() + groups.superseded.len(), matches.matches.len());
    }

    #[test]
    fn the_order_of_the_file_does_not_matter_for_matches(rows in rows(), term in term()) {
        let library = pattern(&term);
        let (one, other) = (model(&rows, false), model(&rows, true));
        let anchors = |model: &Model| {
            let (matches, _) = search(model, &library);
            let outputs = matches.matches.iter().map(|found| found.outputs[0]);
            outputs.map(|value| model.graph.value(value).name().to_owned()).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(anchors(&one), anchors(&other));
    }
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
fn a_tree_of_a_thousand_sums_is_given_up_and_reported() {
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
    // The last operand is never there, which takes all permutations of the others to know.
    let operands: Vec<_> = (0..12).map(|at| format!("a{at}")).collect();
    let text = format!(
        "pattern P ({0}, rest...) => (y) {{ y = Add{{{0}, Relu(a0), rest...}} where a0 != a1 }}",
        operands.join(", ")
    );
    let library = Library::parse("p.pat", &text, &Schemas).unwrap();
    let (matches, _) = search(&model, &library);
    assert!(matches.matches.is_empty() && !matches.exhausted.is_empty());
}
