//! What stands in a body that always runs, once, is decided as if it stood beside the node that holds it.

use std::collections::BTreeMap;

use marquetry::engine::{Embedded, Options};
use marquetry::ir::infer;
use marquetry::ir::text;
use marquetry::ir::{Model, Tensor};
use marquetry::quant::encodings::{self, Version};
use marquetry::quant::export::qdq;
use marquetry::quant::pass::{Content, lowered_plan};
use marquetry::quant::{Context, Encoding, Pipeline, Plan, State};

use crate::quantize::{Shipped, sample};

/// A model with a body, and the same one without.
struct Pair {
    name: &'static str,
    /// How the node that holds the body is written, with `BODY` for what it computes and `CONSTANTS` for
    /// the constants of the body.
    held: &'static str,
    /// The same without a body.
    beside: &'static str,
    /// What only one of the models has, which is not compared.
    own: &'static [&'static str],
}

const PAIRS: [Pair; 3] = [
    Pair {
        name: "If",
        held: "y = If (yes) <
            then_branch = t () => (float[4,3] given) <CONSTANTS> { BODY },
            else_branch = e () => (float[4,3] never) { never = Neg (x) }
          >",
        beside: "BODY y = Identity (given)",
        own: &["y", "never"],
    },
    Pair {
        name: "Loop",
        held: "stack = Loop (one, yes) <
            body = l (int64 i, bool before) => (bool after, float[4,3] given) <CONSTANTS> {
              after = Identity (before) BODY
            }
          >
          y = Squeeze (stack, zero)",
        beside: "BODY stack = Unsqueeze (given, zero) y = Squeeze (stack, zero)",
        own: &["stack", "y", "i", "before", "after"],
    },
    Pair {
        name: "If in a Loop",
        held: "stack = Loop (one, yes) <
            body = l (int64 i, bool before) => (bool after, float[4,3] outer) {
              after = Identity (before)
              outer = If (yes) <
                then_branch = t () => (float[4,3] given) <CONSTANTS> { BODY },
                else_branch = e () => (float[4,3] never) { never = Neg (x) }
              >
            }
          >
          y = Squeeze (stack, zero)",
        beside: "BODY stack = Unsqueeze (given, zero) y = Squeeze (stack, zero)",
        own: &["stack", "y", "i", "before", "after", "outer", "never"],
    },
];

const CONSTANTS: &str = "float[3,3] w1 = {0.9, -0.31, 0.77, 0.2, 1.1, -0.6, 0.05, -0.4, 0.33},
    float[3,3] w2 = {0.4, 0.61, -0.27, 0.8, -0.9, 0.15, 0.55, 0.35, -0.71},
    float[3] b2 = {0.3, -0.2, 0.1}, float[1,3] shift = {0.5, -0.25, 0.125}";

const BODY: &str = "m = MatMul (x, w1)
    r = Relu (m)
    n = Gemm (r, w2, b2)
    s = Sigmoid (n)
    k = Transpose <perm = [0, 1]> (s)
    given = Add (k, shift)";

impl Pair {
    fn model(&self, with_body: bool) -> Model {
        let (constants, code) = match with_body {
            true => ("", self.held),
            false => (CONSTANTS, self.beside),
        };
        let code = code.replace("CONSTANTS", CONSTANTS).replace("BODY", BODY);
        let comma = if constants.is_empty() { "" } else { "," };
        let text = format!(
            "<ir_version: 8, opset_import: [\"\" : 17]>
             g (float[4,3] input, bool yes) => (float[4,3] y)
             <int64 one = {{1}}, int64[1] zero = {{0}}{comma} {constants}>
             {{ x = Tanh (input) {code} }}"
        );
        text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

pub(crate) fn samples() -> Vec<Vec<Tensor>> {
    let numbers = |seed: u32| {
        let number = |at: u32| (f64::from(at * 7 + seed * 5) * 0.37).sin() * 1.7;
        let list: Vec<String> = (0..12).map(|at| format!("{:.4}", number(at))).collect();
        format!("float[4,3] input = {{{}}}, bool yes = {{1}}", list.join(", "))
    };
    (0..6).map(|seed| sample(&numbers(seed))).collect()
}

pub(crate) fn run(model: Model, pipeline: &str) -> State {
    let samples = samples();
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
    let pipeline = Pipeline::parse(pipeline).unwrap();
    pipeline.run(model, &cx).unwrap_or_else(|error| panic!("{error}"))
}

/// The encodings that are lowered, by the names of their values.
fn by_name(state: &State) -> BTreeMap<String, Encoding> {
    let graph = &state.model.graph;
    let plan = lowered_plan(state).unwrap();
    let named = plan.enabled().map(|(value, site)| {
        let name = graph.value(value).name().to_owned();
        (name, site.encoding.clone().expect("it was calibrated"))
    });
    named.collect()
}

/// The stored integers by name.
fn integers(state: &State) -> BTreeMap<String, Tensor> {
    let lowered = qdq::lower(&state.model, &lowered_plan(state).unwrap()).unwrap().model;
    let graph = &lowered.graph;
    let stored = graph.initializers.iter().filter_map(|&value| {
        let name = graph.value(value).name();
        name.ends_with("_quantized").then(|| (name.to_owned(), graph.initializer(value).cloned()))
    });
    stored.filter_map(|(name, tensor)| Some((name, tensor?))).collect()
}

/// Holds that a pipeline decides the same of both models of each pair; `wanted` are the values that it
/// has to speak about.
fn holds(target: &str, passes: &str, wanted: &[&str]) {
    let pipeline = format!("Pipeline(target: \"{target}\", passes: [{passes}])");
    for pair in PAIRS {
        let (held, beside) = (run(pair.model(true), &pipeline), run(pair.model(false), &pipeline));
        let here = format!("{} for {target} by {passes}", pair.name);
        let own = |name: &String| !pair.own.contains(&name.as_str());
        let common = |mut all: BTreeMap<String, Encoding>| {
            all.retain(|name, _| own(name));
            all
        };
        let (found, expected) = (common(by_name(&held)), common(by_name(&beside)));
        for name in wanted {
            assert!(expected.contains_key(*name), "{here}: `{name}` is not quantized");
        }
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{here}: other values are quantized"
        );
        for (name, encoding) in &expected {
            assert_eq!(&found[name], encoding, "{here}: `{name}`");
        }
        assert_eq!(integers(&held), integers(&beside), "{here}: other integers are stored");
    }
}

const PLACED: &str = "Group(), Place(), Propagate,";

#[test]
fn ranges_are_those_of_the_same_model_without_bodies() {
    let wanted = ["x", "m", "n", "s", "w1", "w2", "given", "shift"];
    for target in ["aimet-default", "ort-qnn"] {
        for scheme in ["MinMax", "TfEnhanced", "Percentile(99)", "Entropy"] {
            let passes = format!("{PLACED} Calibrate(scheme: {scheme}), QuantizeBias");
            holds(target, &passes, &wanted);
        }
    }
    // Operators that are run as one have no quantizer between them.
    for target in ["qnn-htp", "qnn-htp-v66"] {
        let passes = format!("{PLACED} Calibrate(), QuantizeBias");
        holds(target, &passes, &["x", "n", "w1", "w2", "given"]);
    }
    holds("ort-cpu", "Group(), Place(), Calibrate(), QuantizeBias", &["x", "r", "w1", "w2", "b2"]);
}

#[test]
fn weights_are_those_of_the_same_model_without_bodies() {
    let grids = ["PerChannel", "PerTensor"];
    for weights in grids.map(|grid| format!("weights: (dtype: Int4, granularity: {grid})")) {
        for pass in [
            "SeqMse()",
            "SeqMse(loss: L1)",
            "SeqMse(candidates: 7, refine: 3)",
            "Gptq()",
            "SeqMse(), Gptq()",
        ] {
            let after = format!("{pass}, Calibrate(), QuantizeBias");
            let placed = format!("Group(), Place({weights}),");
            holds("ort-cpu", &format!("{placed} {after}"), &["x", "r", "w1", "w2"]);
            let placed = format!("{placed} Propagate,");
            holds("aimet-default", &format!("{placed} {after}"), &["x", "m", "n", "w1", "w2"]);
        }
    }
}

#[test]
fn biases_are_those_of_the_same_model_without_bodies() {
    let weights = "weights: (dtype: Int4)";
    for pass in ["", "Gptq(),"] {
        let after = format!("{pass} Calibrate(), BiasCorrection(), QuantizeBias");
        holds("ort-cpu", &format!("Group(), Place({weights}), {after}"), &["x", "w2", "b2"]);
        let placed = format!("Group(), Place({weights}), Propagate,");
        holds("aimet-default", &format!("{placed} {after}"), &["x", "n", "w2", "b2"]);
    }
    // It does something.
    let stored = |pass: &str| {
        let passes = format!("Group(), Place({weights}), Calibrate(), {pass} QuantizeBias");
        integers(&run(PAIRS[0].model(true), &format!("Pipeline(passes: [{passes}])")))
    };
    assert_ne!(stored("BiasCorrection(),")["b2_quantized"], stored("")["b2_quantized"]);
}

/// Both layers of a body are looked at, one behind the other.
#[test]
fn layers_in_bodies_have_levels() {
    let passes = "Group(), Place(weights: (dtype: Int4)), SeqMse(), Calibrate()";
    for pair in PAIRS {
        let state = run(pair.model(true), &format!("Pipeline(passes: [{passes}])"));
        let search = state.summaries.iter().find(|summary| summary.pass == "SeqMse").unwrap();
        assert!(search.done.starts_with("2 weights in 2 levels"), "{}: {}", pair.name, search.done);
        assert_eq!(search.notes, Vec::<String>::new(), "{}", pair.name);
    }
}

#[test]
fn outputs_of_both_models_are_the_same() {
    for target in ["aimet-default", "ort-qnn", "qnn-htp"] {
        let pipeline = format!(
            "Pipeline(target: \"{target}\", passes: [{PLACED} Calibrate(), QuantizeBias, Check, \
             Export(qdq: \"out.onnx\")])"
        );
        for pair in PAIRS {
            let outputs: Vec<Vec<Vec<Tensor>>> = [true, false]
                .into_iter()
                .map(|with_body| {
                    let state = run(pair.model(with_body), &pipeline);
                    let Content::Model(model) = &state.outputs[0].content else {
                        panic!("the pipeline exports a model")
                    };
                    let run = |sample: &Vec<Tensor>| crate::quantize::outputs(model, sample);
                    samples().iter().map(run).collect()
                })
                .collect();
            assert_eq!(outputs[0], outputs[1], "{} for {target}", pair.name);
        }
    }
}

/// What a file says of values in bodies is put there again.
#[test]
fn encodings_of_bodies_go_back_onto_the_model() {
    let outputs = |model: &Model, plan: &Plan| -> Vec<Vec<Tensor>> {
        let lowered = qdq::lower(model, plan).unwrap().model;
        samples().iter().map(|sample| crate::quantize::outputs(&lowered, sample)).collect()
    };
    for target in ["aimet-default", "ort-qnn", "qnn-htp"] {
        let pipeline =
            format!("Pipeline(target: \"{target}\", passes: [{PLACED} Calibrate(), Check])");
        for pair in PAIRS {
            let state = run(pair.model(true), &pipeline);
            let expected = outputs(&state.model, &lowered_plan(&state).unwrap());
            let plain = outputs(&pair.model(true), &Plan::default());
            assert_ne!(expected, plain, "{} for {target}: nothing is quantized", pair.name);
            for version in Version::ALL {
                let here = format!("{} for {target} in {}", pair.name, version.name());
                let types = infer::run(&state.model);
                let document =
                    encodings::of_plan(&state.model.graph, &types, &state.plan, version).unwrap();
                let text = encodings::render(&document, version).unwrap();
                let document = encodings::parse(&text).unwrap();
                let applied = encodings::apply(&document, &pair.model(true), true)
                    .unwrap_or_else(|error| panic!("{here}: {error}"));
                assert_eq!(applied.notes, Vec::<String>::new(), "{here}");
                assert_eq!(outputs(&applied.model, &applied.plan), expected, "{here}");
            }
        }
    }
}
