//! What is off in a ranking is as it was before anything was quantized.

use marquetry::ir::{Graph, Tensor, text};
use marquetry::quant::pass::lowered_plan;
use marquetry::quant::sensitivity::{self, By};
use marquetry::quant::{Plan, State};

use crate::inlined::{run, samples};
use crate::quantize::outputs;

const MODEL: &str = r#"<ir_version: 8, opset_import: ["": 17]>
g (float[4,3] input, bool yes) => (float[4,3] y)
<float[3,3] w1 = {0.9, -0.31, 0.77, 0.2, 1.1, -0.6, 0.05, -0.4, 0.33},
 float[3,3] w2 = {0.4, 0.61, -0.27, 0.8, -0.9, 0.15, 0.55, 0.35, -0.71},
 float[3] b2 = {0.3, -0.2, 0.1},
 float[3,3] w3 = {1.4, -0.61, 0.27, 0.18, 0.9, -0.15, 0.5, -0.35, 0.7}>
{
  m = MatMul (input, w1)
  r = Relu (m)
  n = Gemm (r, w2, b2)
  s = Sigmoid (n)
  y = If (yes) <
    then_branch = t () => (float[4,3] a) <float[3] b3 = {0.1, 0.2, 0.3}> { a = Gemm (s, w3, b3) },
    else_branch = e () => (float[4,3] b) { b = Neg (s) }
  >
}"#;

fn state(passes: &str) -> State {
    run(text::parse(MODEL).unwrap(), &format!("Pipeline(passes: [{passes}])"))
}

/// The constants of the main graph by name.
fn constant<'g>(graph: &'g Graph, name: &str) -> &'g Tensor {
    graph.find(name).and_then(|value| graph.initializer(value)).unwrap()
}

#[test]
fn what_is_off_is_what_it_was() {
    let passes = "Group(), Place(weights: (dtype: Int4)), Gptq(), Calibrate(), BiasCorrection(), \
                  QuantizeBias";
    let state = state(passes);
    let plan = lowered_plan(&state).unwrap();
    let float = &text::parse(MODEL).unwrap();
    let all = sensitivity::model(&state, &plan);
    for name in ["w1", "w2", "w3", "b2"] {
        let before = constant(&float.graph, name);
        assert_ne!(constant(&all.graph, name), before, "{name} was changed");
        assert_eq!(constant(&all.graph, name), constant(&state.model.graph, name), "{name}");
    }
    // Without quantizers, it is the float model, bodies and all.
    let none = sensitivity::model(&state, &Plan::default());
    for sample in &samples() {
        assert_eq!(outputs(&none, sample), outputs(float, sample));
        assert_ne!(outputs(&all, sample), outputs(float, sample));
    }
    let parts = sensitivity::parts(&state, &plan, By::Layer);
    let layer = |op: &str| {
        let found = parts.iter().find(|part| {
            let mut names = part.values().map(|value| state.model.graph.value(value).name());
            names.any(|name| name == op)
        });
        found.unwrap_or_else(|| panic!("no layer reads `{op}`: {parts:?}"))
    };
    // The first layer alone leaves the others as they were, and without it they are as they are.
    let alone = sensitivity::model(&state, &layer("w1").alone(&plan)).graph;
    let others = sensitivity::model(&state, &layer("w1").left_out(&plan)).graph;
    for (name, own) in [("w1", true), ("w2", false), ("w3", false), ("b2", false)] {
        let (before, after) = (constant(&float.graph, name), constant(&state.model.graph, name));
        let (inside, outside) = if own { (after, before) } else { (before, after) };
        assert_eq!(constant(&alone, name), inside, "{name}");
        assert_eq!(constant(&others, name), outside, "{name}");
    }
}
