//! RNN, GRU and LSTM: our own operators against the embedded runtime, against their formulas written out
//! as other operators, and against what ONNX Runtime gave, which is recorded in a file.

use std::fmt::Write as _;

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

/// The first two axes of three or four changed for each other.
fn swapped(x: &Tensor) -> Tensor {
    let (a, b) = (x.dims()[0], x.dims()[1]);
    let inner: usize = x.dims()[2..].iter().product();
    let data = x.to_f32s().unwrap();
    let at = |row: usize, column: usize| &data[(column * b + row) * inner..][..inner];
    let rows = (0..b).flat_map(|row| (0..a).flat_map(move |column| at(row, column)));
    let dims: Vec<usize> = [&[b, a], &x.dims()[2..]].concat();
    Tensor::from_f32s(dims, &rows.copied().collect::<Vec<_>>()).unwrap()
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
    let turned = |dims: [usize; 3], seed| {
        let tensor = numbers(&dims, seed);
        if first { swapped(&tensor) } else { tensor }
    };
    let fed = [
        ("x", turned([steps, batch, features], 1)),
        ("w", numbers(&[directions, gates * hidden, features], 2)),
        ("r", numbers(&[directions, gates * hidden, hidden], 3)),
        ("b", numbers(&[directions, 2 * gates * hidden], 4)),
        ("h", turned([directions, batch, hidden], 5)),
        ("c", turned([directions, batch, hidden], 6)),
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
        g ({inputs}) => ({shown}) <int32[3] lens = {{4, 2, 3}}, int32[3] full = {{4, 4, 4}}, int32[3] none = {{4, 0, 3}}> {{
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
    (
        "RNN",
        r#", direction = "bidirectional", activations = ["LeakyRelu", "Elu"], activation_alpha = [0.2, 0.3]"#,
        "x, w, r, b",
    ),
    ("RNN", ", clip = 0.5", "x, w, r, b, , h"),
    ("RNN", "", "x, w, r, b, none, h"),
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
    ("GRU", r#", direction = "bidirectional""#, "x, w, r, b, none, h"),
    ("LSTM", "", "x, w, r, b, lens, h, c"),
    ("LSTM", r#", direction = "reverse""#, "x, w, r, b, lens, h, c, p"),
    ("LSTM", r#", direction = "bidirectional""#, "x, w, r, b, lens, h, c, p"),
    ("LSTM", r#", direction = "reverse""#, "x, w, r, b, none, h, c"),
    ("LSTM", ", clip = 0.4", "x, w, r, b, , h, c, p"),
    ("LSTM", ", input_forget = 1", "x, w, r, b, , h, c"),
    ("LSTM", r#", activations = ["HardSigmoid", "Softplus", "Relu"]"#, "x, w, r, b, , h, c"),
];

/// What ONNX Runtime 1.32 gave for each form, a line for each output.
const RECORDED: &str = include_str!("../../cases/engine/recurrent.txt");

/// The forms as the file has them.
fn shown(engine: &dyn Engine) -> Vec<(String, Vec<Tensor>)> {
    let forms = FORMS.iter().map(|(op, attributes, slots)| {
        (format!("{op} ({slots}){attributes}"), outputs(engine, op, attributes, slots))
    });
    forms.collect()
}

/// What another engine gives is what is recorded; it is recorded anew where that is asked for.
pub(super) fn agree(peer: &dyn Engine) {
    let mut text = String::from(
        "# What ONNX Runtime 1.32 gives for RNN, GRU and LSTM. `MARQUETRY_BLESS=1` writes it anew.\n",
    );
    let forms = shown(peer);
    for (form, outputs) in &forms {
        writeln!(text, "{form}").unwrap();
        for output in outputs {
            let numbers = output.to_f32s().unwrap();
            let numbers: Vec<String> = numbers.iter().map(|x| format!("{x:e}")).collect();
            writeln!(text, "  {:?} {}", output.dims(), numbers.join(" ")).unwrap();
        }
    }
    if std::env::var_os("MARQUETRY_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/engine/recurrent.txt");
        std::fs::write(path, text).unwrap();
        return;
    }
    recorded(&forms);
}

fn recorded(forms: &[(String, Vec<Tensor>)]) {
    let mut lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    for (form, outputs) in forms {
        assert_eq!(lines.next(), Some(form.as_str()));
        for (at, output) in outputs.iter().enumerate() {
            let line = lines.next().and_then(|line| line.trim().split_once("] "));
            let (dims, numbers) = line.unwrap_or_else(|| panic!("{form}: output {at} is missing"));
            assert_eq!(format!("{dims}]"), format!("{:?}", output.dims()), "{form}, output {at}");
            let numbers = numbers.split(' ').map(|x| x.parse().unwrap());
            let expected =
                Tensor::from_f32s(output.dims(), &numbers.collect::<Vec<f32>>()).unwrap();
            if let Some(how) = difference(output, &expected, 1e-5, 1e-6) {
                panic!("{form}, output {at}: {how}");
            }
        }
    }
    assert_eq!(lines.next(), None, "more is recorded than there are forms");
}

#[test]
fn every_form_gives_what_onnx_runtime_gave() {
    recorded(&shown(&embedded()));
}

/// A batch that comes first is the same batch.
#[test]
fn the_batch_may_come_first() {
    for (op, slots) in [
        ("RNN", "x, w, r, b, lens, h"),
        ("GRU", "x, w, r, b, lens, h"),
        ("LSTM", "x, w, r, b, lens, h, c"),
    ] {
        for direction in ["forward", "bidirectional"] {
            let direction = format!(r#", direction = "{direction}""#);
            let expected = outputs(&embedded(), op, &direction, slots);
            let found = outputs(&embedded(), op, &format!("{direction}, layout = 1"), slots);
            // Steps, directions, batch, and batch, steps, directions; states only change two axes.
            let states: Vec<Tensor> = found[1..].iter().map(swapped).collect();
            same(&states, &expected[1..], op);
            let [steps, directions, batch, hidden] = *expected[0].dims() else { panic!("{op}") };
            assert_eq!(found[0].dims(), [batch, steps, directions, hidden], "{op}");
            let split = Tensor::from_f32s(
                [batch, steps * directions, hidden],
                &found[0].to_f32s().unwrap(),
            );
            let joined = Tensor::from_f32s(
                [steps * directions, batch, hidden],
                &expected[0].to_f32s().unwrap(),
            );
            same(&[swapped(&split.unwrap())], &[joined.unwrap()], op);
        }
    }
}

/// States that the weights do not have are refused, and so are weights of another operator.
#[test]
fn what_does_not_fit_is_refused() {
    for (what, node) in [
        ("states of 5", "LSTM <hidden_size = 5> (x, w, r, , full)"),
        ("no direction", r#"LSTM <hidden_size = 3, direction = "up"> (x, w, r, , full)"#),
        (
            "no known activation",
            r#"LSTM <hidden_size = 3, activations = ["Tanh", "Sin", "Tanh"]> (x, w, r)"#,
        ),
        ("are not 3", r#"LSTM <hidden_size = 3, activations = ["Tanh"]> (x, w, r)"#),
        ("of up to 4", "LSTM <hidden_size = 3> (x, w, r, , long)"),
        ("do not fit", "GRU <hidden_size = 3> (x, w, r)"),
    ] {
        let source = format!(
            r#"<ir_version: 8, opset_import: ["": 17]>
            g (float[4, 3, 2] x, float[1, 12, 2] w, float[1, 12, 3] r) => (float[A, B, C, D] y)
            <int32[3] long = {{4, 5, 3}}, int32[3] full = {{4, 4, 4}}> {{ y = {node} }}"#
        );
        let graph = text::parse(&source).unwrap().graph;
        let fed = [numbers(&[4, 3, 2], 1), numbers(&[1, 12, 2], 2), numbers(&[1, 12, 3], 3)];
        let program = embedded().compile(&graph, &graph.inputs, &graph.outputs);
        let error = program.and_then(|mut program| program.run(&fed)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
