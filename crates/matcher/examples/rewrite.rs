//! Times rewriting on made-up graphs: independent places, a chain that collapses, and a chain in which
//! each replacement makes room for the next.
//!
//! `cargo run --release -p marquetry-matcher --example rewrite -- [NODES]`
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::fmt::Write as _;
use std::time::Instant;

use marquetry_ir::{Evaluate, EvaluateError, Model, Operation, Opsets, Tensor, text};
use marquetry_matcher::Schemas;
use marquetry_matcher::rewrite::{RewriteOptions, Step, Until, Way, rewrite};
use marquetry_pattern::Library;

/// None of the rules here computes a constant.
struct Nothing;

impl Evaluate for Nothing {
    fn evaluate(
        &self,
        operation: Operation<'_>,
        _: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let (op_type, reason) = (operation.op_type.to_owned(), "nothing is".to_owned());
        Err(EvaluateError::Unsupported { op_type, opset: operation.opset, reason })
    }
}

const RULES: &str = "
rule double_neg: Neg(Neg(x)) ~> x
rule merge: Transpose<perm = q>(Transpose<perm = p>(x)) ~> Transpose<perm = compose(p, q)>(x)
rule sink bounded 100000: Relu(Transpose<perm = p>(x)) ~> Transpose<perm = p>(Relu(x))
";

/// Relu, Abs, Neg, Neg, Exp, again and again.
fn independent(nodes: usize) -> String {
    let mut body = String::new();
    let mut last = "x".to_owned();
    for at in 0..nodes / 5 {
        for op in ["Relu", "Abs", "Neg", "Neg", "Exp"] {
            let next = format!("{op}_{at}_{}", body.len());
            writeln!(body, "{next} = {op} ({last})").expect("a string takes any text");
            last = next;
        }
    }
    format!("g (float[2,3] x) => (float[2,3] y) {{ {body} y = Relu ({last}) }}")
}

fn chain(nodes: usize, first: &str, op: &str) -> String {
    let mut body = format!("v0 = {first} (x)\n");
    for at in 1..nodes {
        writeln!(body, "v{at} = {op} (v{})", at - 1).expect("a string takes any text");
    }
    format!("g (float[3,3] x) => (float[3,3] y) {{ {body} y = Abs (v{}) }}", nodes - 1)
}

fn main() {
    let nodes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5000);
    let library = Library::parse("rules.pat", RULES, &Schemas).expect("the rules are right");
    let transpose = "Transpose <perm = [1, 0]>";
    let graphs = [
        ("independent", independent(nodes)),
        ("collapsing", chain(nodes, transpose, transpose)),
        ("one after the other", chain(nodes, transpose, "Relu")),
    ];
    for (name, graph) in graphs {
        let graph = text::parse_graph(&graph, &Opsets::onnx(21)).expect("the graph is right");
        let mut model = Model::new(10, graph);
        let steps: Vec<Step<'_>> =
            library.rules().iter().map(|pattern| Step { pattern, way: Way::Rule }).collect();
        let options = RewriteOptions { until: Until::Fixpoint, ..RewriteOptions::default() };
        let start = Instant::now();
        let done = rewrite(&mut model, &steps, &Nothing, &options).expect("the rules end");
        println!(
            "{name}: {} -> {} nodes, {} replacements, {:.0} ms",
            done.nodes_before,
            done.nodes_after,
            done.applied.len(),
            start.elapsed().as_secs_f64() * 1e3
        );
    }
}
