//! A second opinion on what matches: terms, the patterns that they are written as, and all ways to match
//! them, enumerated without any cleverness.

use std::collections::{BTreeMap, BTreeSet};

use marquetry::ir::{Graph, NodeId, ValueId};
use proptest::prelude::*;

/// Operators with one input, then those with two, of which the first two commute.
pub(super) const OPERATORS: [&str; 5] = ["Neg", "Relu", "Add", "Mul", "Sub"];

pub(super) fn takes_two(operator: usize) -> bool {
    operator >= 2
}

fn commutes(operator: usize) -> bool {
    matches!(OPERATORS[operator], "Add" | "Mul")
}

/// Variables that may stand at several leaves; then each leaf must be the same value.
const SHARED: usize = 3;

/// What a pattern looks for.
#[derive(Clone, Debug)]
pub(super) enum Term {
    /// A value; one of a few, or one of its own.
    Leaf(Option<usize>),
    /// The value of the first equation, if there is one; else a leaf.
    Middle,
    /// `F(a, b)`.
    Call(usize, Vec<Term>),
    /// `F?(a)`.
    Maybe(usize, Box<Term>),
    /// `a +? x`.
    Plus(Box<Term>),
    /// `a * b * c`.
    Chain(usize, Vec<Term>),
    /// `(a | b)`.
    Either(Box<Term>, Box<Term>),
}

/// A condition on the shared variables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    Same(usize, usize),
    Different(usize, usize),
    Is(usize, usize),
    IsNot(usize, usize),
}

/// A pattern: `h = middle`, if there is one, `y = root`, conditions.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) middle: Option<Term>,
    /// Whether `h` is an output too.
    pub(super) exposed: bool,
    pub(super) root: Term,
    pub(super) guards: Vec<Guard>,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let guards = prop::collection::vec(guard(), 0..2);
    (prop::option::of(call(2)), any::<bool>(), call(3), guards).prop_map(
        |(middle, exposed, root, guards)| {
            let exposed = exposed && middle.is_some();
            Shape { middle, exposed, root, guards }
        },
    )
}

fn guard() -> impl Strategy<Value = Guard> {
    let variable = 0..SHARED;
    (0..4, variable.clone(), variable, 0..OPERATORS.len()).prop_map(
        |(kind, one, other, operator)| match kind {
            0 => Guard::Same(one, other),
            1 => Guard::Different(one, other),
            2 => Guard::Is(one, operator),
            _ => Guard::IsNot(one, operator),
        },
    )
}

/// A term that begins with an operator.
fn call(depth: u32) -> impl Strategy<Value = Term> {
    term(depth).prop_filter("a pattern has an operator", |term| matches!(term, Term::Call(..)))
}

fn term(depth: u32) -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        3 => Just(Term::Leaf(None)),
        2 => (0..SHARED).prop_map(|variable| Term::Leaf(Some(variable))),
        2 => Just(Term::Middle),
    ];
    leaf.prop_recursive(depth, 9, 3, |inner| {
        let (a, b) = (inner.clone(), inner.clone());
        let called = (0..OPERATORS.len(), a, b).prop_map(|(operator, a, b)| {
            Term::Call(operator, if takes_two(operator) { vec![a, b] } else { vec![a] })
        });
        let maybe = (0..2usize, inner.clone()).prop_map(|(f, a)| Term::Maybe(f, Box::new(a)));
        let plus = inner.clone().prop_map(|a| Term::Plus(Box::new(a)));
        let chain = (2..4usize, prop::collection::vec(inner.clone(), 3))
            .prop_map(|(operator, terms)| Term::Chain(operator, terms));
        let either =
            (inner.clone(), inner).prop_map(|(a, b)| Term::Either(Box::new(a), Box::new(b)));
        prop_oneof![6 => called, 1 => maybe, 1 => plus, 1 => chain, 1 => either]
    })
}

/// The text of a pattern, and the names of its shared variables that are always bound.
pub(super) fn written(shape: &Shape, name: &str) -> (String, BTreeSet<usize>) {
    let mut writer = Writer::default();
    let middle = shape.middle.as_ref().map(|term| writer.term(term, true, false));
    let root = writer.term(&shape.root, true, middle.is_some());
    let mut body = String::new();
    if let Some(middle) = &middle {
        body.push_str(&format!("h = {middle} "));
    }
    body.push_str(&format!("y = {root}"));
    let sure = writer.sure.clone();
    for guard in shape.guards.iter().filter(|guard| holds_names(guard, &sure)) {
        let text = match guard {
            Guard::Same(a, b) => format!("s{a} == s{b}"),
            Guard::Different(a, b) => format!("s{a} != s{b}"),
            Guard::Is(a, operator) => format!("s{a} is {}", any_of(*operator)),
            Guard::IsNot(a, operator) => format!("s{a} is not {}", any_of(*operator)),
        };
        body.push_str(&format!(" where {text}"));
    }
    let shared = sure.iter().map(|variable| format!("s{variable}"));
    let inputs: Vec<String> = shared.chain(writer.inputs).collect();
    let outputs = if shape.exposed { "y, h" } else { "y" };
    let inputs = inputs.join(", ");
    (format!("pattern {name} ({inputs}) => ({outputs}) {{ {body} }}"), sure)
}

fn any_of(operator: usize) -> String {
    let args = if takes_two(operator) { "_, _" } else { "_" };
    format!("{}({args})", OPERATORS[operator])
}

/// Whether the pattern can say the condition: all its variables are bound for certain.
fn holds_names(guard: &Guard, sure: &BTreeSet<usize>) -> bool {
    match guard {
        Guard::Same(a, b) | Guard::Different(a, b) => sure.contains(a) && sure.contains(b),
        Guard::Is(a, _) | Guard::IsNot(a, _) => sure.contains(a),
    }
}

#[derive(Default)]
struct Writer {
    /// Inputs of one leaf each.
    inputs: Vec<String>,
    sure: BTreeSet<usize>,
}

impl Writer {
    /// `sure`: the term is met in every match.
    fn term(&mut self, term: &Term, sure: bool, middle: bool) -> String {
        let all = |writer: &mut Self, terms: &[Term]| -> Vec<String> {
            terms.iter().map(|term| writer.term(term, sure, middle)).collect()
        };
        match term {
            Term::Middle if middle && sure => "h".to_owned(),
            Term::Leaf(Some(variable)) if sure => {
                self.sure.insert(*variable);
                format!("s{variable}")
            }
            Term::Leaf(_) | Term::Middle => self.own(sure),
            Term::Call(operator, args) => {
                let args = all(self, args);
                format!("{}({})", OPERATORS[*operator], args.join(", "))
            }
            Term::Maybe(operator, arg) => {
                let arg = self.term(arg, sure, middle);
                format!("{}?({arg})", OPERATORS[*operator])
            }
            Term::Plus(term) => {
                let term = self.term(term, sure, middle);
                let other = self.own(false);
                format!("(({term}) +? {other})")
            }
            Term::Chain(operator, terms) => {
                let terms: Vec<String> =
                    all(self, terms).into_iter().map(|term| format!("({term})")).collect();
                let sign = if OPERATORS[*operator] == "Add" { " + " } else { " * " };
                format!("({})", terms.join(sign))
            }
            Term::Either(a, b) => {
                let (a, b) = (self.term(a, false, middle), self.term(b, false, middle));
                format!("({a} | {b})")
            }
        }
    }

    fn own(&mut self, sure: bool) -> String {
        let name = format!("x{}", self.inputs.len());
        self.inputs.push(if sure { name.clone() } else { format!("{name}?") });
        name
    }
}

/// One way to match: the nodes, the shared variables, and all values at leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) shared: BTreeMap<usize, ValueId>,
    leaves: BTreeSet<ValueId>,
}

impl Way {
    fn none() -> Self {
        let (nodes, shared) = (BTreeSet::new(), BTreeMap::new());
        Self { nodes, shared, leaves: BTreeSet::new() }
    }

    /// Both ways at once, if they agree on the variables.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.nodes.extend(&other.nodes);
        both.leaves.extend(&other.leaves);
        for (variable, value) in &other.shared {
            if both.shared.insert(*variable, *value).is_some_and(|known| known != *value) {
                return None;
            }
        }
        Some(both)
    }
}

fn both(one: &[Way], other: &[Way]) -> Vec<Way> {
    one.iter().flat_map(|a| other.iter().filter_map(|b| a.and(b))).collect()
}

/// All ways to match a pattern with its output at a value; those that are no match as a whole left out.
pub(super) fn ways(
    graph: &Graph,
    shape: &Shape,
    sure: &BTreeSet<usize>,
    root: ValueId,
) -> Vec<Way> {
    let naive = |middle| Naive { graph, middle };
    let mut found: Vec<(Way, Option<ValueId>)> = Vec::new();
    match &shape.middle {
        None => {
            let ways = naive(None).term(&shape.root, root, true);
            found.extend(ways.into_iter().map(|way| (way, None)));
        }
        Some(middle) => {
            for value in graph.values() {
                let above = naive(Some(value)).term(&shape.root, root, true);
                if above.is_empty() {
                    continue;
                }
                let below = naive(None).term(middle, value, true);
                let all = both(&above, &below).into_iter();
                found.extend(all.map(|way| (way, shape.exposed.then_some(value))));
            }
        }
    }
    let whole = |(way, exposed): &(Way, Option<ValueId>)| {
        let exits: BTreeSet<ValueId> = std::iter::once(root).chain(*exposed).collect();
        exits.len() == 1 + usize::from(exposed.is_some())
            && shape
                .guards
                .iter()
                .filter(|guard| holds_names(guard, sure))
                .all(|guard| holds(graph, guard, &way.shared))
            && is_closed(graph, way, &exits)
            && is_convex(graph, &way.nodes)
    };
    found.into_iter().filter(whole).map(|(way, _)| way).collect()
}

fn holds(graph: &Graph, guard: &Guard, shared: &BTreeMap<usize, ValueId>) -> bool {
    let is = |variable: &usize, operator: &usize| {
        let producer = graph.producer(shared[variable]);
        producer.is_some_and(|(node, _)| graph.node(node).op_type == OPERATORS[*operator])
    };
    match guard {
        Guard::Same(a, b) => shared[a] == shared[b],
        Guard::Different(a, b) => shared[a] != shared[b],
        Guard::Is(a, operator) => is(a, operator),
        Guard::IsNot(a, operator) => !is(a, operator),
    }
}

/// Whether nothing but the exits leaves the match, and no leaf is computed inside.
fn is_closed(graph: &Graph, way: &Way, exits: &BTreeSet<ValueId>) -> bool {
    let results = way.nodes.iter().flat_map(|node| graph.outputs(*node)).flatten();
    let mut interior = results.filter(|value| !exits.contains(value));
    let inside =
        |value: &ValueId| graph.producer(*value).is_some_and(|(node, _)| way.nodes.contains(&node));
    interior.all(|value| {
        !graph.is_output(value)
            && graph.uses(value).iter().all(|reader| way.nodes.contains(&reader.node))
    }) && !way.leaves.iter().any(inside)
}

/// Whether no path leaves the nodes and comes back.
fn is_convex(graph: &Graph, nodes: &BTreeSet<NodeId>) -> bool {
    let mut waiting: Vec<NodeId> = nodes.iter().copied().collect();
    let mut outside = BTreeSet::new();
    while let Some(node) = waiting.pop() {
        for value in graph.outputs(node).into_iter().flatten() {
            for reader in graph.uses(value) {
                match nodes.contains(&reader.node) {
                    true if outside.contains(&node) => return false,
                    false if outside.insert(reader.node) => waiting.push(reader.node),
                    _ => {}
                }
            }
        }
    }
    true
}

struct Naive<'g> {
    graph: &'g Graph,
    middle: Option<ValueId>,
}

impl Naive<'_> {
    fn term(&self, term: &Term, value: ValueId, sure: bool) -> Vec<Way> {
        match term {
            Term::Middle if sure && self.middle.is_some() => {
                if self.middle == Some(value) {
                    vec![Way::none()]
                } else {
                    Vec::new()
                }
            }
            Term::Leaf(Some(variable)) if sure => {
                let shared = BTreeMap::from([(*variable, value)]);
                vec![Way { shared, leaves: BTreeSet::from([value]), ..Way::none() }]
            }
            Term::Leaf(_) | Term::Middle => {
                vec![Way { leaves: BTreeSet::from([value]), ..Way::none() }]
            }
            Term::Call(operator, args) => self.call(*operator, args, value, sure),
            Term::Maybe(operator, arg) => {
                let mut ways = self.call(*operator, std::slice::from_ref(arg), value, sure);
                ways.extend(self.term(arg, value, sure));
                ways
            }
            Term::Plus(term) => {
                let add = OPERATORS.iter().position(|name| *name == "Add").unwrap();
                let args = [term.as_ref().clone(), Term::Leaf(None)];
                let mut ways = self.call(add, &args, value, sure);
                ways.extend(self.term(term, value, sure));
                ways
            }
            Term::Chain(operator, terms) => {
                let mut ways = Vec::new();
                for (nodes, operands) in self.flattened(*operator, value, terms.len()) {
                    for order in orders(operands) {
                        let mut all = vec![Way { nodes: nodes.clone(), ..Way::none() }];
                        for (term, operand) in terms.iter().zip(order) {
                            all = both(&all, &self.term(term, operand, sure));
                        }
                        ways.extend(all);
                    }
                }
                ways
            }
            Term::Either(a, b) => {
                let mut ways = self.term(a, value, false);
                ways.extend(self.term(b, value, false));
                ways
            }
        }
    }

    fn call(&self, operator: usize, args: &[Term], value: ValueId, sure: bool) -> Vec<Way> {
        let Some((node, inputs)) = self.produced(operator, value) else { return Vec::new() };
        let orders = if commutes(operator) { orders(inputs) } else { vec![inputs] };
        let mut ways = Vec::new();
        for order in orders {
            let mut all = vec![Way { nodes: BTreeSet::from([node]), ..Way::none() }];
            for (arg, input) in args.iter().zip(order) {
                all = both(&all, &self.term(arg, input, sure));
            }
            ways.extend(all);
        }
        ways
    }

    fn produced(&self, operator: usize, value: ValueId) -> Option<(NodeId, Vec<ValueId>)> {
        let (node, _) = self.graph.producer(value)?;
        let known = self.graph.node(node).op_type == OPERATORS[operator];
        known.then(|| (node, self.graph.inputs(node).into_iter().flatten().collect()))
    }

    /// All ways to read a value as so many operands of one operator: nodes and operands.
    fn flattened(
        &self,
        operator: usize,
        value: ValueId,
        count: usize,
    ) -> Vec<(BTreeSet<NodeId>, Vec<ValueId>)> {
        if count == 1 {
            return vec![(BTreeSet::new(), vec![value])];
        }
        let Some((node, inputs)) = self.produced(operator, value) else { return Vec::new() };
        let mut found = Vec::new();
        for left in 1..count {
            for (nodes, operands) in self.flattened(operator, inputs[0], left) {
                for (more, others) in self.flattened(operator, inputs[1], count - left) {
                    let mut nodes = &nodes | &more;
                    nodes.insert(node);
                    found.push((nodes, [operands.as_slice(), &others].concat()));
                }
            }
        }
        found
    }
}

/// All orders of two or three values.
fn orders(values: Vec<ValueId>) -> Vec<Vec<ValueId>> {
    if values.len() < 2 {
        return vec![values];
    }
    let mut found = Vec::new();
    for at in 0..values.len() {
        let mut rest = values.clone();
        let first = rest.remove(at);
        found.extend(orders(rest).into_iter().map(|rest| [&[first][..], &rest].concat()));
    }
    found
}
