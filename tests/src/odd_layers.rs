//! Layers that passes which go level by level meet seldom: tied weights, shapes that depend on numbers,
//! nothing to sum over, constants as inputs, samples with what is no number.

use marquetry::ir::{Model, Tensor, text};
use marquetry::quant::State;

use crate::seq_mse::{of_model, rows};

/// Both ways to choose a weight by outputs.
const PASSES: [&str; 3] = ["SeqMse()", "SeqMse(loss: L1)", "Gptq()"];

/// A weight in the syntax of text.
fn weight(name: &str, depth: usize, outputs: usize, from: usize) -> String {
    let numbers = rows(depth, outputs, from);
    let numbers: Vec<String> = numbers.f32s().unwrap().iter().map(|x| format!("{x:?}")).collect();
    format!("float[{depth}, {outputs}] {name} = {{{}}}", numbers.join(", "))
}

fn model(inputs: &str, outputs: &str, weights: &[String], body: &str) -> Model {
    let text = format!(
        "<ir_version: 10, opset_import: [\"\" : 21]>
        g ({inputs}) => ({outputs}) <{}> {{ {body} }}",
        weights.join(", ")
    );
    text::parse(&text).unwrap()
}

fn samples(count: usize) -> Vec<Tensor> {
    (0..count).map(|at| rows(32, 16, 5 * at)).collect()
}

/// What a pass kept of the candidates of a weight.
fn curve<'s>(state: &'s State, name: &str) -> &'s [Vec<f64>] {
    let value = state.model.graph.find(name).unwrap();
    &state.curves.iter().find(|curve| curve.weight == value).unwrap().losses
}

/// A level whose weights were all decided before is passed like any other: what is behind it is judged by
/// what it reads.
#[test]
fn layers_behind_tied_weights_are_seen() {
    let weights = [weight("w", 16, 16, 1), weight("v", 16, 4, 2)];
    let body = "a = MatMul (x, w) b = Relu (a) c = MatMul (b, w) d = Relu (c) y = MatMul (d, v)";
    let tied = model("float[n, 16] x", "float[n, 4] y", &weights, body);
    let state = of_model(tied, &samples(8), "PerChannel", "SeqMse()");
    let losses = curve(&state, "v");
    assert!(losses.iter().flatten().all(|&loss| loss > 0.0), "{losses:?}");
}

/// Rows behind rounded weights may have no counterparts in the float model. They are rounded for all the
/// same.
#[test]
fn shapes_may_depend_on_numbers() {
    let weights = [weight("w", 16, 16, 1), weight("v", 16, 4, 2), "float zero = {0.0}".to_owned()];
    let body = "a = MatMul (x, w) s = ReduceMean <keepdims = 0> (a, axes) k = Greater (s, zero)
        b = Compress <axis = 0> (a, k) y = MatMul (b, v)";
    let weights = [&weights[..], &["int64[1] axes = {1}".to_owned()]].concat();
    let odd = model("float[n, 16] x", "float[m, 4] y", &weights, body);
    for passes in PASSES {
        let state = of_model(odd.clone(), &samples(16), "PerChannel", passes);
        let losses = curve(&state, "v");
        assert!(losses.iter().flatten().any(|&loss| loss > 0.0), "{passes}: {losses:?}");
    }
}

/// Layers of which samples say nothing are left, and named.
#[test]
fn layers_without_inputs_are_left() {
    let empty = model(
        "float[n, 16] x, float[n, 0] e",
        "float[n, 4] y",
        &[weight("v", 16, 4, 2), "float[0, 4] w = {}".to_owned()],
        "a = MatMul (e, w) b = MatMul (x, v) y = Add (a, b)",
    );
    let constant = model(
        "float[n, 16] x, float[1, 16] c",
        "float[n, 4] y",
        &[weight("v", 16, 4, 2), weight("c", 1, 16, 3), weight("w", 16, 4, 4)],
        "a = MatMul (c, w) b = MatMul (x, v) y = Add (a, b)",
    );
    for passes in PASSES {
        for (model, why) in [(&empty, "its weight is empty"), (&constant, "it reads a constant")] {
            let sample = |x: Tensor| match model.graph.find("e") {
                Some(_) => vec![x, Tensor::from_f32s([32, 0], &[]).unwrap()],
                None => vec![x],
            };
            let samples: Vec<Vec<Tensor>> = samples(8).into_iter().map(sample).collect();
            let state = crate::seq_mse::of_samples(model.clone(), &samples, "PerChannel", passes);
            let site = state.plan.get(state.model.graph.find("w").unwrap()).unwrap();
            let reasons: Vec<String> = site.because.iter().map(ToString::to_string).collect();
            assert!(reasons.iter().any(|reason| reason.contains(why)), "{passes}: {reasons:?}");
            assert!(!curve(&state, "v").is_empty());
        }
    }
}

/// One sample with what is no number leaves the others what they are worth.
#[test]
fn samples_without_numbers_are_left_out() {
    let plain =
        model("float[n, 16] x", "float[n, 4] y", &[weight("w", 16, 4, 1)], "y = MatMul (x, w)");
    let good = samples(6);
    let mut numbers = rows(32, 16, 77).f32s().unwrap().into_owned();
    numbers[5] = f32::NAN;
    let odd = Tensor::from_f32s([32, 16], &numbers).unwrap();
    let with = [&good[..], &[odd]].concat();
    for passes in ["SeqMse()", "SeqMse(loss: L1)", "SeqMse(loss: Sqnr)", "Gptq()"] {
        let of = |samples: &[Tensor]| {
            let state = of_model(plain.clone(), samples, "PerChannel", passes);
            let notes: Vec<String> =
                state.summaries.iter().flat_map(|summary| summary.notes.clone()).collect();
            (curve(&state, "w").to_vec(), notes)
        };
        let ((with, notes), (without, _)) = (of(&with), of(&good));
        assert_eq!(with, without, "{passes}");
        let said = "1 samples are left out where the input of a layer has what is no finite number";
        assert!(notes.iter().any(|note| note == said), "{passes}: {notes:?}");
    }
}

/// Layers of a level that have no room together are gathered one after the other, by shards too, and nothing
/// comes out differently.
#[test]
fn shards_gather_within_memory() {
    let weights = [weight("u", 16, 8, 1), weight("v", 16, 8, 2), weight("w", 8, 4, 3)];
    let body = "a = Relu (x) b = Neg (x) c = MatMul (a, u) d = MatMul (b, v) e = Add (c, d)
        y = MatMul (e, w)";
    let model = model("float[n, 16] x", "float[n, 4] y", &weights, body);
    let samples: Vec<Vec<Tensor>> = samples(9).into_iter().map(|sample| vec![sample]).collect();
    let run = |memory: u64, passes: &str| {
        crate::seq_mse::of_samples_within(memory, model.clone(), &samples, "PerChannel", passes)
    };
    let encodings = |state: &State| {
        let of = |name| state.plan.get(state.model.graph.find(name).unwrap()).unwrap();
        ["u", "v", "w"].map(|name| of(name).encoding.clone().unwrap())
    };
    for pass in ["SeqMse", "Gptq"] {
        let plain = encodings(&run(1 << 28, &format!("{pass}()")));
        assert_eq!(encodings(&run(1, &format!("{pass}()"))), plain, "{pass}");
        let folder = tempfile::tempdir().unwrap();
        let kept = |shard: &str| {
            format!("{pass}(checkpoints: (folder: {:?}{shard}))", folder.path().to_str().unwrap())
        };
        for _ in 0..2 {
            for index in [2, 1] {
                run(1, &kept(&format!(", shard: (index: {index}, of: 2)")));
            }
        }
        let files = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<String> =
            files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
        let second = format!("{pass}.level-001.part-2-of-2.round-2.onnx");
        assert!(names.contains(&second), "{names:?}");
        run(1, &kept(", shard: (index: 1, of: 2)"));
        assert_eq!(encodings(&run(1, &kept(""))), plain, "{pass}");
    }
}
