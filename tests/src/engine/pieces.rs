//! Pieces of graphs: any values fed, any values fetched, and what is said when that cannot be.

use std::collections::BTreeSet;

use marquetry_engine::{Embedded, Engine, EngineError, Flow, Sweep, SweepOptions};
use marquetry_ir::{Graph, Tensor, ValueId, text};

const GRAPH: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
agraph (float[N, 2] x) => (float[N, 2] y)
<float[2, 2] w = {1.0, 2.0, 3.0, 4.0}, float[2] b = {10.0, 20.0}>
{
    h = MatMul(x, w)
    s = Add(h, b)
    r = Sign(s)
    y = Mul(s, r)
}
"#;

fn graph() -> Graph {
    text::parse(GRAPH).unwrap().graph
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.find(name).unwrap()
}

fn floats(dims: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_f32s(dims, elements).unwrap()
}

fn run(graph: &Graph, feeds: &[(&str, Tensor)], fetch: &str) -> Result<Tensor, EngineError> {
    let ids: Vec<ValueId> = feeds.iter().map(|(name, _)| value(graph, name)).collect();
    let mut program = Embedded::default().compile(graph, &ids, &[value(graph, fetch)])?;
    let inputs: Vec<Tensor> = feeds.iter().map(|(_, tensor)| tensor.clone()).collect();
    Ok(program.run(&inputs)?.remove(0))
}

#[test]
fn any_value_is_fed_and_fetched() {
    let graph = graph();
    let x = floats(&[1, 2], &[-1.0, 1.0]);
    let fetch = |feeds: &[(&str, Tensor)], name| run(&graph, feeds, name).unwrap();
    assert_eq!(fetch(&[("x", x.clone())], "h"), floats(&[1, 2], &[2.0, 2.0]));
    assert_eq!(fetch(&[("x", x.clone())], "y"), floats(&[1, 2], &[12.0, 22.0]));
    // What is fed cuts off what computes it.
    let s = floats(&[1, 2], &[-3.0, 0.0]);
    assert_eq!(fetch(&[("s", s)], "y"), floats(&[1, 2], &[3.0, 0.0]));
    // A fed constant replaces the graph's own.
    let w = floats(&[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    assert_eq!(fetch(&[("x", x), ("w", w)], "h"), floats(&[1, 2], &[-1.0, 1.0]));
    // A constant is fetched without anything being fed.
    assert_eq!(fetch(&[], "b"), floats(&[2], &[10.0, 20.0]));
}

#[test]
fn what_is_not_fed_is_named() {
    let error = run(&graph(), &[], "y").unwrap_err();
    assert_eq!(error.to_string(), "`y` needs `x`, which is not fed");
    assert_eq!(error.code(), "engine_not_fed");
    let error =
        run(&graph(), &[("x", Tensor::from_i64s([1, 2], &[1, 2]).unwrap())], "y").unwrap_err();
    assert_eq!(error.to_string(), "`x` is fed a `int64` tensor, not `float`");
    let error = run(&graph(), &[("x", floats(&[1, 3], &[0.0; 3]))], "y").unwrap_err();
    let EngineError::Run { name, op, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), op.as_str()), ("h", "MatMul"));
}

#[test]
fn a_node_that_nobody_runs_is_named_before_anything_runs() {
    let source = GRAPH.replace("r = Sign(s)", "r = Frobnicate(s)");
    let graph = text::parse(&source).unwrap().graph;
    let refusals = Embedded::default().refusals(&graph);
    assert_eq!(refusals.len(), 1);
    let expected =
        "`Frobnicate` of opset 17 (node `r`) cannot run here: there is no implementation of it";
    assert_eq!(refusals[0].to_string(), expected);
    let error = run(&graph, &[("x", floats(&[1, 2], &[0.0; 2]))], "y").unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("engine_refused", expected));
    assert!(error.hint().unwrap().contains("cut the model before it"));
    // A piece without the node runs.
    assert!(run(&graph, &[("x", floats(&[1, 2], &[0.0; 2]))], "s").is_ok());
}

#[test]
fn a_scan_goes_along_axes_in_directions() {
    // Columns of `a` from the last to the first, with rows of `b` from the first on; what is given is
    // stacked along the second axis, and in the other order for `r`.
    let source = r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[2,3] a, float[3,2] b, float[2] start) => (float[2] sum, float[2,3] s, float[3,2] r) {
          sum, s, r = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [1, 0],
            scan_output_axes = [-1, 0], scan_output_directions = [0, 1],
            body = t (float[2] before, float[2] x, float[2] y) => (float[2] after, float[2] p, float[2] q) {
              p = Add (x, y)
              q = Sub (x, y)
              after = Add (before, p)
            }
          > (start, a, b)
        }"#;
    let graph = text::parse(source).unwrap().graph;
    let fed = [
        ("a", floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("b", floats(&[3, 2], &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0])),
        ("start", floats(&[2], &[0.5, 0.25])),
    ];
    let fetch = |name: &str| run(&graph, &fed, name).unwrap();
    assert_eq!(fetch("s"), floats(&[2, 3], &[13.0, 32.0, 51.0, 26.0, 45.0, 64.0]));
    assert_eq!(fetch("r"), floats(&[3, 2], &[-49.0, -56.0, -28.0, -35.0, -7.0, -14.0]));
    assert_eq!(fetch("sum"), floats(&[2], &[96.5, 135.25]));
}

#[test]
fn a_loop_without_a_turn_gives_empty_stacks() {
    let graph = text::parse(super::LOOP).unwrap().graph;
    let fed = |turns| {
        let turns = Tensor::from_i64s([], &[turns]).unwrap();
        let (start, row) = (floats(&[2], &[1.0, -2.0]), floats(&[3], &[1.0, 2.0, 3.0]));
        [("turns", turns), ("start", start), ("row", row)]
    };
    let fetch = |turns, name: &str| run(&graph, &fed(turns), name).unwrap();
    assert_eq!(fetch(2, "all"), floats(&[2, 2], &[-1.0, 2.0, -2.0, 4.0]));
    assert_eq!(fetch(0, "all"), floats(&[0, 2], &[]));
    // A length that only a turn would tell is 0.
    assert_eq!(fetch(0, "rows"), floats(&[0, 0], &[]));
    assert_eq!(fetch(0, "last"), floats(&[2], &[1.0, -2.0]));
}

#[test]
fn a_sweep_stops_when_told() {
    let graph = graph();
    let wanted: BTreeSet<ValueId> =
        ["x", "w", "h", "s", "y"].map(|name| value(&graph, name)).into();
    let options = SweepOptions { nodes: 1, ..SweepOptions::default() };
    let mut sweep = Sweep::new(&Embedded::default(), &graph, &wanted, &options).unwrap();
    let x = floats(&[1, 2], &[-1.0, 1.0]);
    let mut seen = Vec::new();
    let flow = sweep.run(std::slice::from_ref(&x), &mut |value, _| {
        seen.push(graph.value(value).name().to_owned());
        if seen.len() == 4 { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!(flow.unwrap(), Flow::Stop);
    assert_eq!(seen[2..], ["h", "s"], "inputs and constants come first");
    assert_eq!(sweep.run(&[x], &mut |_, _| Flow::Continue).unwrap(), Flow::Continue);
}
