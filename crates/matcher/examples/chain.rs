//! How long rewriting takes where each replacement makes the next one possible.
//!
//! ```text
//! cargo run --release --package marquetry-matcher --example chain -- [NODES]…
//! ```
//!
//! In `Abs(Abs(…Abs(Relu(x))))`, `Abs(Relu(x)) ~> Relu(x)` matches at one place, and after it at the
//! next one: as many rounds as nodes.

#![allow(clippy::print_stdout, reason = "it reports to a terminal")]

use std::time::Instant;

use marquetry_ir::text::parse;
use marquetry_ir::{Evaluate, EvaluateError, Operation, Tensor};
use marquetry_matcher::Schemas;
use marquetry_matcher::rewrite::{RewriteOptions, Step, Until, Way, rewrite};
use marquetry_pattern::Library;

const RULE: &str = "rule positive: Abs(Relu(x)) ~> Relu(x)";

/// Nothing is computed here.
struct Nothing;

impl Evaluate for Nothing {
    fn evaluate(
        &self,
        _: Operation<'_>,
        _: &[Option<Tensor>],
    ) -> Result<Vec<Tensor>, EvaluateError> {
        unreachable!("the rule has no constants")
    }
}

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![250, 500, 1000, 2000] } else { given };
    let library = Library::parse("rule.pat", RULE, &Schemas).expect("the rule is right");
    let steps = [Step { pattern: &library.rules()[0], way: Way::Rule }];
    for size in sizes {
        let mut model = parse(&chain(size)).expect("the chain is a model");
        let options = RewriteOptions { until: Until::Fixpoint, ..RewriteOptions::default() };
        let start = Instant::now();
        let rewritten = rewrite(&mut model, &steps, &Nothing, &options).expect("it ends");
        let took = start.elapsed();
        assert_eq!((rewritten.applied.len(), rewritten.nodes_after), (size, 1));
        println!("{size:>6} nodes: {took:>10.1?}, {:.1?} each", took / size as u32);
    }
}

fn chain(size: usize) -> String {
    let mut body = "v0 = Relu (x)\n".to_owned();
    for at in 0..size {
        let result = if at + 1 == size { "y".to_owned() } else { format!("v{}", at + 1) };
        body += &format!("{result} = Abs (v{at})\n");
    }
    format!(
        "<ir_version: 8, opset_import: [\"\" : 17]>\ng (float[8] x) => (float[8] y) {{\n{body}}}\n"
    )
}
