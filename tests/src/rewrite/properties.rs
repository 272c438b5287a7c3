//! What must hold for any graph: rewriting to the end gives what replacing one match at a time gives,
//! and the model means what it meant.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use marquetry::engine::Native;
use marquetry::ir::{Graph, Model, ValueId, infer};
use marquetry::matcher::rewrite::{RewriteOptions, Step, Until, Way, replace, rewrite};
use marquetry::matcher::{Options, Schemas, find};
use marquetry::pattern::Library;
use marquetry::pattern::core::Pattern;
use proptest::prelude::*;

use super::sound;
use crate::matching::properties::check;

/// Rules that end in the same graph whatever the order, because no two of them want the same node
/// differently.
const RULES: &str = "
rule double_neg: Neg(Neg(x)) ~> x
rule relu_twice: Relu(Relu(x)) ~> Relu(x)
rule abs_neg: Abs(Neg(x)) ~> Abs(x)
rule abs_twice: Abs(Abs(x)) ~> Abs(x)
rule mul_one: x * 1 ~> x
rule drop_transpose: Transpose<perm = p>(x) ~> x where is_identity(p)
rule merge_transposes: Transpose<perm = q>(Transpose<perm = p>(x)) ~> Transpose<perm = compose(p, q)>(x)
rule merge_reshapes: Reshape<...>(Reshape<...>(x, _), const s) ~> Reshape(x, s) where 0 not in s
";

/// How often each property is tried.
pub(crate) const INCREMENTAL: u32 = 1500;
pub(crate) const MEANING: u32 = 1500;

const PERMUTATIONS: [[usize; 3]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A node: operator, input, a second input, a permutation.
type Row = (usize, prop::sample::Index, prop::sample::Index, usize);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let index = any::<prop::sample::Index>;
    prop::collection::vec((0..9usize, index(), index(), 0..6usize), 1..14)
}

/// The graph of the rows as text; what nobody reads is an output, and so is every sixth value.
fn written(rows: &[Row]) -> String {
    let shown = |dims: &[usize; 3]| format!("float[{},{},{}]", dims[0], dims[1], dims[2]);
    let mut dims: Vec<[usize; 3]> = vec![[2, 3, 4], [2, 3, 4]];
    let mut read = vec![false; rows.len() + 2];
    let (mut nodes, mut constants) = (String::new(), "float one = {1}".to_owned());
    for (at, (operator, first, second, permutation)) in rows.iter().enumerate() {
        let (one, mut other) = (first.index(at + 2), second.index(at + 2));
        let name = at + 2;
        let permutation = PERMUTATIONS[*permutation];
        let moved = permutation.map(|axis| dims[one][axis]);
        if dims[other] != dims[one] {
            other = one;
        }
        let (text, result) = match operator {
            0 => (format!("Neg (v{one})"), dims[one]),
            1 => (format!("Relu (v{one})"), dims[one]),
            2 => (format!("Abs (v{one})"), dims[one]),
            3 => (format!("Mul (v{one}, one)"), dims[one]),
            4 | 5 => (format!("Transpose <perm = {permutation:?}> (v{one})"), moved),
            6 => {
                write!(
                    constants,
                    ", int64[3] s{name} = {{{}, {}, {}}}",
                    moved[0], moved[1], moved[2]
                )
                .unwrap();
                (format!("Reshape (v{one}, s{name})"), moved)
            }
            7 => (format!("Mul (one, v{one})"), dims[one]),
            _ => {
                read[other] = true;
                (format!("Add (v{one}, v{other})"), dims[one])
            }
        };
        read[one] = true;
        dims.push(result);
        writeln!(nodes, "  v{name} = {text}").unwrap();
    }
    let outputs: Vec<String> = (2..dims.len())
        .filter(|at| !read[*at] || at % 6 == 0)
        .map(|at| format!("{} v{at}", shown(&dims[at])))
        .collect();
    let (input, outputs) = (shown(&dims[0]), outputs.join(", "));
    format!("g ({input} v0, {input} v1) => ({outputs}) <{constants}> {{\n{nodes}}}")
}

/// What each output computes, over names of inputs and contents of constants: the names of what is
/// between and the order of the nodes are not in it. An Identity is not either: it stands where an
/// output that keeps its name is an input of the graph, and who else reads it depends on the order.
fn meaning(graph: &Graph) -> Vec<String> {
    fn of(graph: &Graph, value: ValueId, known: &mut BTreeMap<ValueId, String>) -> String {
        if let Some(text) = known.get(&value) {
            return text.clone();
        }
        let text = match (graph.producer(value), graph.initializer(value)) {
            (_, Some(tensor)) => format!("{:?}", tensor.to_f64s()),
            (None, None) => graph.value(value).name().to_owned(),
            (Some((node, slot)), None) => {
                let inputs = graph.inputs(node).into_iter().flatten();
                let inputs: Vec<String> = inputs.map(|input| of(graph, input, known)).collect();
                let node = graph.node(node);
                if node.is_onnx("Identity") {
                    return inputs.into_iter().next().unwrap_or_default();
                }
                let attributes: Vec<String> =
                    node.attributes.iter().map(|attribute| format!("{attribute:?}")).collect();
                let name = &node.op_type;
                format!("{name}{slot}<{}>({})", attributes.join(","), inputs.join(", "))
            }
        };
        known.insert(value, text.clone());
        text
    }
    let mut known = BTreeMap::new();
    graph.outputs.iter().map(|output| of(graph, *output, &mut known)).collect()
}

/// Looks for all rules again after each replacement.
fn one_at_a_time(model: &mut Model, rules: &[Pattern]) -> usize {
    let mut replaced = 0;
    'again: loop {
        let types = infer::run(model);
        let matches = find(model, &types, rules, &Options::default());
        for found in &matches.matches {
            let step = Step { pattern: &rules[found.pattern], way: Way::Rule };
            if replace(model, &types, &matches, found, step, &Native).is_ok() {
                replaced += 1;
                assert!(replaced < 1000, "the rules end");
                continue 'again;
            }
        }
        return replaced;
    }
}

fn rules() -> Library {
    Library::parse("rules.pat", RULES, &Schemas).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn steps(rules: &[Pattern]) -> Vec<Step<'_>> {
    rules.iter().map(|rule| Step { pattern: rule, way: Way::Rule }).collect()
}

#[test]
fn rewriting_in_rounds_is_rewriting_one_at_a_time() {
    let library = rules();
    let total = Cell::new(0);
    check("(e) in rounds as one at a time", INCREMENTAL, rows(), |rows| {
        let text = written(&rows);
        let mut expected = marquetry_testing::model(&text);
        let mut found = expected.clone();
        total.set(total.get() + one_at_a_time(&mut expected, library.rules()));
        let options = RewriteOptions { until: Until::Fixpoint, ..RewriteOptions::default() };
        rewrite(&mut found, &steps(library.rules()), &Native, &options).unwrap();
        prop_assert_eq!(meaning(&expected.graph), meaning(&found.graph), "{}", text);
        Ok(())
    });
    assert!(total.get() > INCREMENTAL as usize / 2, "{} replacements", total.get());
}

#[test]
fn rewritten_models_mean_the_same() {
    // What is shipped, and what is above.
    let (own, shipped) = (rules(), marquetry::library::standard());
    let all: Vec<Pattern> = own.rules().iter().chain(shipped.rules()).cloned().collect();
    let applied = Cell::new(0);
    check("(f) the same meaning", MEANING, rows(), |rows| {
        let text = written(&rows);
        let before = marquetry_testing::model(&text);
        let mut after = before.clone();
        let options = RewriteOptions { until: Until::Fixpoint, ..RewriteOptions::default() };
        let done = rewrite(&mut after, &steps(&all), &Native, &options).unwrap();
        applied.set(applied.get() + done.applied.len());
        let mut wrong = String::new();
        sound(&before, &after, &mut wrong);
        prop_assert!(wrong.is_empty(), "{wrong}{text}");
        Ok(())
    });
    assert!(applied.get() > MEANING as usize, "{} replacements", applied.get());
}
