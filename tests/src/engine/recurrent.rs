//! RNN, GRU and LSTM: our own operators against the embedded runtime, against their formulas written out
//! as other operators, and against ONNX Runtime where there is one.

use marquetry_engine::{Embedded, Engine, Options};
use marquetry_ir::{Tensor, text};

use super::difference;

/// Steps, batch, features, states.
const SHAPE: [usize; 4] = [4, 3, 2, 3];

/// Numbers between -1 and 1 that repeat late.
fn numbers(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let number = |at: usize| ((at * 37 + seed * 53 + at * at * 11) % 101) as f32 / 50.0 - 1.0;
    Tensor::from_f32s(dims, &(0..count).map(number).collect::<Vec<_>>()).unwrap()
}

/// What one of the operators gives: all steps and the last one, and the last cell of LSTM.
fn outputs(engine: &dyn Engine, op: &str, attributes: &str, slots: &str) -> Vec<Tensor> {
    let [steps, batch, features, hidden] = SHAPE;
    let gates = match op {
        "RNN" => 1,
        "GRU" => 3,
        _ => 4,
    };
    let directions = if attributes.contains("bidirectional") { 2 } else { 1 };
    let first = attributes.contains("layout = 1");
    let turned = |[a, b, c]: [usize; 3]| if first { [b, a, c] } else { [a, b, c] };
    let fed = [
        ("x", numbers(&turned([steps, batch, features]), 1)),
        ("w", numbers(&[directions, gates * hidden, features], 2)),
        ("r", numbers(&[directions, gates * hidden, hidden], 3)),
        ("b", numbers(&[directions, 2 * gates * hidden], 4)),
        ("h", numbers(&turned([directions, batch, hidden]), 5)),
        ("c", numbers(&turned([directions, batch, hidden]), 6)),
        ("p", numbers(&[directions, 3 * hidden], 7)),
    ];
    let used = |name: &str| slots.split(", ").any(|slot| slot == name);
    let fed: Vec<_> = fed.into_iter().filter(|(name, _)| used(name)).collect();
    let inputs = fed.iter().map(|(name, tensor)| {
        let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
        format!("float[{}] {name}", dims.join(", "))
    });
    let inputs = inputs.collect::<Vec<_>>().join(", ");
    let (shown, left) = match op {
        "LSTM" => {
            ("float[A, B, C, D] y, float[E, F, G] last, float[H, I, J] cell", "y, last, cell")
        }
        _ => ("float[A, B, C, D] y, float[E, F, G] last", "y, last"),
    };
    let source = format!(
        r#"<ir_version: 8, opset_import: ["": 17]>
        g ({inputs}) => ({shown}) <int32[3] lens = {{4, 2, 3}}, int32[3] full = {{4, 4, 4}}> {{
            {left} = {op} <hidden_size = {hidden}{attributes}> ({slots})
        }}"#
    );
    let graph = text::parse(&source).unwrap().graph;
    let feeds: Vec<_> = fed.iter().map(|(name, _)| graph.find(name).unwrap()).collect();
    let tensors: Vec<_> = fed.into_iter().map(|(_, tensor)| tensor).collect();
    let mut program = engine.compile(&graph, &feeds, &graph.outputs).unwrap();
    program.run(&tensors).unwrap()
}

fn embedded() -> Embedded {
    Embedded::new(&Options { threads: None })
}

fn same(found: &[Tensor], expected: &[Tensor], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        if let Some(how) = difference(found, expected, 1e-5, 1e-6) {
            panic!("{what}, output {at}: {how}");
        }
    }
}

/// Lengths that cut nothing off have our operators run, where the runtime would.
#[test]
fn sequences_of_full_length_are_those_without_lengths() {
    for (op, attributes) in [
        ("GRU", ", linear_before_reset = 1"),
        ("GRU", r#", linear_before_reset = 1, direction = "bidirectional""#),
        ("LSTM", ""),
        ("LSTM", r#", direction = "reverse""#),
        ("LSTM", r#", direction = "bidirectional""#),
    ] {
        let rest = if op == "LSTM" { ", h, c" } else { ", h" };
        let run = |lengths: &str| {
            outputs(&embedded(), op, attributes, &format!("x, w, r, b, {lengths}{rest}"))
        };
        same(&run("full"), &run(""), &format!("{op}{attributes}"));
    }
}

/// A step of GRU that resets before the product, as its definition has it.
#[test]
fn gru_is_what_its_formulas_say() {
    let source = r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 3, 2] x, float[1, 9, 2] w, float[1, 9, 3] r, float[1, 18] b, float[1, 3, 3] h)
        => (float[A, B, C, D] y, float[3, 3] written)
        <int64[1] zero = {0}, int64[2] parts = {9, 9}, float one = {1}>
        {
            y = GRU <hidden_size = 3> (x, w, r, b, , h)
            xs = Squeeze (x, zero)
            hs = Squeeze (h, zero)
            ws = Squeeze (w, zero)
            rs = Squeeze (r, zero)
            bs = Squeeze (b, zero)
            wz, wr, wh = Split <axis = 0> (ws)
            rz, rr, rh = Split <axis = 0> (rs)
            wbs, rbs = Split <axis = 0> (bs, parts)
            both = Add (wbs, rbs)
            bz, br, bh = Split <axis = 0> (both)
            xz = Gemm <transB = 1> (xs, wz, bz)
            hz = Gemm <transB = 1> (hs, rz)
            sz = Add (xz, hz)
            z = Sigmoid (sz)
            xr = Gemm <transB = 1> (xs, wr, br)
            hr = Gemm <transB = 1> (hs, rr)
            sr = Add (xr, hr)
            reset = Sigmoid (sr)
            left = Mul (reset, hs)
            xh = Gemm <transB = 1> (xs, wh, bh)
            hh = Gemm <transB = 1> (left, rh)
            sh = Add (xh, hh)
            fresh = Tanh (sh)
            less = Sub (one, z)
            new = Mul (less, fresh)
            old = Mul (z, hs)
            written = Add (new, old)
        }"#;
    let graph = text::parse(source).unwrap().graph;
    let dims: [&[usize]; 5] = [&[1, 3, 2], &[1, 9, 2], &[1, 9, 3], &[1, 18], &[1, 3, 3]];
    let fed: Vec<_> = dims.iter().enumerate().map(|(seed, dims)| numbers(dims, seed)).collect();
    let mut program = embedded().compile(&graph, &graph.inputs, &graph.outputs).unwrap();
    let outputs = program.run(&fed).unwrap();
    let [y, written] = outputs.as_slice() else { panic!("{outputs:?}") };
    let y = Tensor::from_f32s([3, 3], &y.to_f32s().unwrap()).unwrap();
    same(&[y], std::slice::from_ref(written), "a step");
}

/// Each with what it is given; `lens` are lengths that cut sequences off.
const FORMS: &[(&str, &str, &str)] = &[
    ("RNN", "", "x, w, r"),
    ("RNN", r#", direction = "reverse""#, "x, w, r, b, lens, h"),
    (
        "RNN",
        r#", direction = "bidirectional", activations = ["Relu", "Softsign"]"#,
        "x, w, r, b, , h",
    ),
    (
        "RNN",
        r#", activations = ["Affine"], activation_alpha = [0.5], activation_beta = [0.25]"#,
        "x, w, r, b",
    ),
    (
        "RNN",
        r#", activations = ["ScaledTanh"], activation_alpha = [0.5], activation_beta = [2.0]"#,
        "x, w, r, b",
    ),
    ("RNN", r#", activations = ["ThresholdedRelu"], activation_alpha = [0.5]"#, "x, w, r, b"),
    ("RNN", r#", activations = ["Elu"], activation_alpha = [0.5]"#, "x, w, r, b"),
    ("RNN", ", clip = 0.5", "x, w, r, b, , h"),
    ("GRU", "", "x, w, r"),
    ("GRU", "", "x, w, r, b, lens, h"),
    ("GRU", r#", direction = "reverse""#, "x, w, r, b, lens, h"),
    ("GRU", r#", direction = "bidirectional", linear_before_reset = 1"#, "x, w, r, b, lens, h"),
    (
        "GRU",
        r#", activations = ["HardSigmoid", "LeakyRelu"], activation_alpha = [0.3, 0.1], activation_beta = [0.4]"#,
        "x, w, r, b",
    ),
    ("GRU", ", clip = 0.3", "x, w, r, b"),
    ("LSTM", "", "x, w, r, b, lens, h, c"),
    ("LSTM", r#", direction = "reverse""#, "x, w, r, b, lens, h, c, p"),
    ("LSTM", r#", direction = "bidirectional""#, "x, w, r, b, lens, h, c, p"),
    ("LSTM", ", clip = 0.4", "x, w, r, b, , h, c, p"),
    ("LSTM", ", input_forget = 1", "x, w, r, b, , h, c"),
    ("LSTM", r#", activations = ["HardSigmoid", "Softplus", "Relu"]"#, "x, w, r, b, , h, c"),
];

/// Every form runs in both, and gives the same.
pub(super) fn agree(peer: &dyn Engine) {
    for (op, attributes, slots) in FORMS {
        let found = outputs(&embedded(), op, attributes, slots);
        let expected = outputs(peer, op, attributes, slots);
        same(&found, &expected, &format!("{op}{attributes} ({slots})"));
    }
}

/// A batch that comes first is the same batch.
#[test]
fn the_batch_may_come_first() {
    for op in ["RNN", "GRU", "LSTM"] {
        let found = outputs(&embedded(), op, ", layout = 1", "x, w, r, b");
        let [steps, batch, _, hidden] = SHAPE;
        assert_eq!(found[0].dims(), [batch, steps, 1, hidden], "{op}");
        assert_eq!(found[1].dims(), [batch, 1, hidden], "{op}");
        // The last step is the end of what is shown.
        let (all, last) = (found[0].to_f32s().unwrap(), found[1].to_f32s().unwrap());
        for row in 0..batch {
            let end = (row * steps + steps - 1) * hidden;
            assert_eq!(all[end..end + hidden], last[row * hidden..(row + 1) * hidden], "{op}");
        }
    }
}
