//! Ranges of weights chosen layer by layer, against what AIMET-ONNX chose on the same samples.
//!
//! A folder of `fixtures/golden-seqmse` holds a model, its samples, and what AIMET's sequential MSE
//! recorded: the losses of all candidates, and the encodings it chose.

mod blocks;
mod search;
mod shards;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry::engine::{Embedded, Options};
use marquetry::ir::{Graph, Model, Tensor, ValueId, onnx};
use marquetry::quant::pass::{Curve, MEMORY};
use marquetry::quant::qdq::{Rounding, fake_quantize};
use marquetry::quant::{Context, Encoding, PassError, Pipeline, State};
use serde_json::Value;

use crate::golden::samples;
use crate::quantize::Shipped;

fn folders() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden-seqmse");
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn run(folder: &Path, granularity: &str, bits: u32, passes: &str) -> State {
    run_within(MEMORY, folder, granularity, bits, passes).unwrap()
}

fn run_within(
    memory: u64,
    folder: &Path,
    granularity: &str,
    bits: u32,
    passes: &str,
) -> Result<State, PassError> {
    let model = onnx::read(folder.join("model.onnx")).unwrap();
    let samples = samples(folder, &model);
    let pipeline = format!(
        "Pipeline(target: \"qnn-htp-v81\", passes: [
            Group(),
            Place(activations: UInt8, weights: (dtype: Int{bits}, granularity: {granularity})),
            {passes}
        ])"
    );
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {}).with_memory(memory);
    Pipeline::parse(&pipeline).unwrap().run(model, &cx)
}

/// The encodings of sites, and the weights.
type Left = (Vec<(ValueId, Option<Encoding>)>, Vec<Vec<f32>>);

/// What a run left.
fn left(state: &State) -> Left {
    let sites = state.plan.sites().map(|(value, site)| (value, site.encoding.clone())).collect();
    let weights = state.plan.sites().filter_map(|(value, _)| {
        let constant = state.model.graph.value(value).constant.as_ref()?;
        Some(constant.f32s()?.into_owned())
    });
    (sites, weights.collect())
}

/// x·w.
fn product(weight: &Tensor) -> Model {
    let [depth, outputs] = weight.dims() else { panic!("a matrix") };
    let text = format!(
        "<ir_version: 10, opset_import: [\"\" : 21]>
        g (float[n, {depth}] x) => (float[n, {outputs}] y)
        <float[{depth}, {outputs}] w = {{{}}}>
        {{ y = MatMul (x, w) }}",
        weight.f32s().unwrap().iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ")
    );
    marquetry::ir::text::parse(&text).unwrap()
}

/// What passes make of a model with samples of `x`.
pub(crate) fn of_model(model: Model, samples: &[Tensor], granularity: &str, passes: &str) -> State {
    of_model_within(MEMORY, model, samples, granularity, passes)
}

fn of_model_within(
    memory: u64,
    model: Model,
    samples: &[Tensor],
    granularity: &str,
    passes: &str,
) -> State {
    let samples: Vec<Vec<Tensor>> = samples.iter().map(|sample| vec![sample.clone()]).collect();
    of_samples_within(memory, model, &samples, granularity, passes)
}

/// The same with samples of all inputs.
pub(crate) fn of_samples(
    model: Model,
    samples: &[Vec<Tensor>],
    granularity: &str,
    passes: &str,
) -> State {
    of_samples_within(MEMORY, model, samples, granularity, passes)
}

pub(crate) fn of_samples_within(
    memory: u64,
    model: Model,
    samples: &[Vec<Tensor>],
    granularity: &str,
    passes: &str,
) -> State {
    let pipeline = format!(
        "Pipeline(target: \"ort-cpu\", passes: [
            Group(),
            Place(activations: UInt8, weights: (dtype: Int4, granularity: {granularity})),
            {passes}
        ])"
    );
    let engine = Embedded::new(&Options::default());
    let samples = samples.to_vec();
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {}).with_memory(memory);
    Pipeline::parse(&pipeline).unwrap().run(model, &cx).unwrap()
}

pub(crate) fn rows(count: usize, depth: usize, from: usize) -> Tensor {
    let number = |at: usize| ((at * 7919 + from * 31 + 17) % 1009) as f32 / 504.5 - 1.0;
    let numbers: Vec<f32> = (0..count * depth).map(number).collect();
    Tensor::from_f32s([count, depth], &numbers).unwrap()
}

/// The granularity of a recorded case.
fn granularity(name: &str, golden: &Value) -> String {
    match golden["params"]["blockwise"].as_array() {
        Some(blocks) if blocks[0] == "lpbq" => format!("Lpbq({})", blocks[1]),
        Some(blocks) => format!("PerBlock({})", blocks[1]),
        None if name.ends_with("true_per_tensor") => "PerTensor".to_owned(),
        None => "PerChannel".to_owned(),
    }
}
