//! Ranges of weights chosen layer by layer, against what AIMET-ONNX chose on the same samples.
//!
//! A folder of `fixtures/golden-seqmse` holds a model, its samples, and what AIMET's sequential MSE
//! recorded: the losses of all candidates, and the encodings it chose.

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

/// How far a loss may be from AIMET's, which sums in single precision and in another order.
const LOSS: f64 = 1e-4;

/// How far scales may be apart where the choice is the same: the last place of a float.
const SCALE: f64 = 2e-7;

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

/// The granularity of a recorded case.
fn granularity(name: &str, golden: &Value) -> String {
    match golden["params"]["blockwise"].as_array() {
        Some(blocks) if blocks[0] == "lpbq" => format!("Lpbq({})", blocks[1]),
        Some(blocks) => format!("PerBlock({})", blocks[1]),
        None if name.ends_with("true_per_tensor") => "PerTensor".to_owned(),
        None => "PerChannel".to_owned(),
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The weights of the recorded layers: AIMET names what it fused after itself.
fn weights<'g>(golden: &Value, graph: &'g Graph) -> BTreeMap<String, &'g str> {
    let losses = golden["candidate_losses"].as_object().unwrap();
    let chosen = golden["chosen"].as_object().unwrap();
    let mut found = BTreeMap::new();
    for name in losses.keys() {
        let node = graph.nodes().find(|&node| graph.node(node).name == *name);
        if let Some(weight) = node.and_then(|node| graph.input(node, 1)) {
            found.insert(name.clone(), graph.value(weight).name());
        }
    }
    for name in losses.keys().filter(|name| !found.contains_key(*name)).cloned().collect::<Vec<_>>()
    {
        let free = chosen.keys().find(|weight| !found.values().any(|taken| taken == weight));
        let weight = graph.find(free.unwrap()).unwrap();
        found.insert(name, graph.value(weight).name());
    }
    found
}

#[test]
fn losses_and_choices_are_those_of_aimet() {
    let (mut layers, mut choices, mut others) = (0, 0, 0);
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let loss = match golden["params"]["loss_fn"].as_str().unwrap() {
            "mse" => "Mse",
            "l1" => "L1",
            "sqnr" => "Sqnr",
            other => panic!("{name}: {other}"),
        };
        let candidates = &golden["params"]["num_candidates"];
        let pass = format!("SeqMse(compat: Aimet, loss: {loss}, candidates: {candidates})");
        let state = run(&folder, &granularity(name, &golden), 4, &pass);
        let graph = &state.model.graph;
        let weights = weights(&golden, graph);
        assert_eq!(weights.len(), state.curves.len(), "{name}");
        for (layer, weight) in weights {
            layers += 1;
            let value = graph.find(weight).unwrap();
            let curve = state.curves.iter().find(|curve| curve.weight == value).unwrap();
            let recorded = golden["candidate_losses"][&layer].as_array().unwrap();
            let recorded: Vec<Vec<f64>> = recorded.iter().map(flat).collect();
            assert_eq!(curve.losses.len(), recorded.len(), "{name} {weight}");
            for (at, (ours, theirs)) in curve.losses.iter().zip(&recorded).enumerate() {
                assert_eq!(ours.len(), theirs.len(), "{name} {weight}");
                for (slot, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    let apart = (ours - theirs).abs() / theirs.abs().max(1e-9);
                    assert!(apart < LOSS, "{name} {weight} [{at}][{slot}]: {ours}, not {theirs}");
                }
            }
            let indices: Vec<usize> =
                flat(&golden["best_index"][&layer]).iter().map(|&at| at as usize).collect();
            let ours = best(curve, name.ends_with("true_per_tensor"));
            for (slot, (&ours, &theirs)) in ours.iter().zip(&indices).enumerate() {
                choices += 1;
                if ours != theirs {
                    others += 1;
                    let (a, b) = (recorded[ours][slot], recorded[theirs][slot]);
                    assert!(
                        (a - b).abs() <= 1e-6 * b.abs(),
                        "{name} {weight}: {ours}, not {theirs}"
                    );
                }
            }
            let encoding = state.plan.get(value).unwrap().encoding.as_ref().unwrap();
            let site = &golden["chosen"][weight];
            // The simulator of AIMET keeps the scales before they are put on the low-power grid, which
            // its export writes: ours are those of the export.
            if !name.starts_with("lpbq") {
                for (cell, expected) in encoding.cells.iter().zip(flat(&site["scale"])) {
                    let apart = (cell.scale - expected).abs() / expected;
                    assert!(apart < SCALE, "{name} {weight}: {}, not {expected}", cell.scale);
                }
            }
        }
    }
    println!("{layers} layers, {choices} choices, {others} others");
    assert!(layers > 15 && choices > 200, "{layers} layers, {choices} choices");
    // 99.5% of the choices are AIMET's own.
    assert!(others * 200 <= choices, "{others} of {choices}");
}

/// The first least of each column: a weight with one scale takes the widest of them.
fn best(curve: &Curve, one_scale: bool) -> Vec<usize> {
    if !one_scale {
        return curve.best.clone();
    }
    let first = |slot: usize| {
        let column = curve.losses.iter().map(|losses| losses[slot]);
        column.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
    };
    let best: Vec<usize> = (0..curve.best.len()).map(first).collect();
    assert!(curve.best.iter().all(|at| at == best.iter().max().unwrap()));
    best
}

/// What the outputs of a layer lose: the sum of the squared differences, by running it.
fn lost(state: &State, layer: &str, folder: &Path, weight: &[f32]) -> f64 {
    use marquetry::engine::Engine as _;
    let original = state.original.as_ref().unwrap_or(&state.model);
    let graph = &original.graph;
    let value = graph.find(layer).unwrap();
    let node = graph.uses(value)[0].node;
    let fetch = graph.output(node, 0).unwrap();
    let mut changed = graph.clone();
    let dims = graph.value(value).constant.as_ref().unwrap().dims().to_vec();
    changed.set_initializer(value, Tensor::from_f32s(dims, weight).unwrap());
    let engine = Embedded::new(&Options::default());
    let feeds: Vec<_> =
        graph.inputs.iter().copied().filter(|&it| graph.value(it).constant.is_none()).collect();
    let mut programs =
        [graph, &changed].map(|graph| engine.compile(graph, &feeds, &[fetch]).unwrap());
    let mut sum = 0.0;
    for sample in samples(folder, original) {
        let [a, b] =
            [0, 1].map(|at: usize| programs[at].run(&sample).unwrap()[0].to_f64s().unwrap());
        sum += a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    }
    sum
}

#[test]
fn our_choices_lose_no_more_than_any_candidate() {
    let mut refined = 0;
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let granularity = granularity(name, &golden);
        let state = run(&folder, &granularity, 4, "SeqMse()");
        let curve = &state.curves[0];
        let graph = &state.model.graph;
        let weight = graph.value(curve.weight);
        let constant = weight.constant.as_ref().unwrap();
        let site = state.plan.get(curve.weight).unwrap();
        let back = |state: &State| {
            let encoding = state.plan.get(curve.weight).unwrap().encoding.as_ref().unwrap();
            let data = constant.f32s().unwrap();
            fake_quantize(&data, constant.dims(), encoding, Rounding::HalfEven).unwrap()
        };
        assert!(site.frozen);
        let ours = lost(&state, weight.name(), &folder, &back(&state));
        let finer = run(&folder, &granularity, 4, "SeqMse(refine: 9)");
        let finer = lost(&finer, weight.name(), &folder, &back(&finer));
        match matches!(granularity.as_str(), "PerChannel" | "PerTensor") {
            true => {
                assert!(finer <= ours * 1.000_001, "{name}: {finer}, without refinement {ours}");
                refined += usize::from(finer < 0.99 * ours);
            }
            // Blocks are judged alone, and low-power scales are not refined.
            false => assert!(finer <= ours * 1.05, "{name}: {finer}, without refinement {ours}"),
        }
        let coarse = run(&folder, &granularity, 4, "Calibrate()");
        let whole = lost(&coarse, weight.name(), &folder, &back(&coarse));
        assert!(ours <= whole * 1.000_001, "{name}: {ours}, the whole range {whole}");
        // A plain sum of what blocks lose alone is no bound for the whole; elsewhere the numbers of
        // the search are those of a run.
        if matches!(granularity.as_str(), "PerChannel" | "PerTensor") {
            let best = curve.best.iter().enumerate().map(|(cell, &at)| curve.losses[at][cell]);
            let said: f64 = best.sum();
            assert!((said - ours).abs() < 1e-3 * ours, "{name}: said {said}, run {ours}");
        }
    }
    assert!(refined > 0, "no model gains from finer parts");
}

#[test]
fn feedback_loses_less_than_rounding_to_nearest() {
    let (mut models, mut less) = (0, 0);
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let granularity = granularity(name, &golden);
        // Scales of blocks that each are best alone, as AIMET chooses them: those that were chosen for
        // whole outputs of nearest points may leave nothing to feedback in a model of a few weights.
        let nearest = run(&folder, &granularity, 4, "SeqMse(compat: Aimet)");
        let fed = run(&folder, &granularity, 4, "SeqMse(compat: Aimet), Calibrate(), Gptq()");
        let weight = nearest.curves[0].weight;
        let layer = nearest.model.graph.value(weight).name();
        let original = nearest.model.graph.value(weight).constant.as_ref().unwrap();
        let encoding = fed.plan.get(weight).unwrap().encoding.as_ref().unwrap();
        assert_eq!(nearest.plan.get(weight).unwrap().encoding.as_ref(), Some(encoding), "{name}");
        let rounded =
            fake_quantize(&original.f32s().unwrap(), original.dims(), encoding, Rounding::HalfEven);
        let held = fed.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
        // What the model holds lies on its grid: integers give it back exactly.
        let again = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
        assert_eq!(again[..], held[..], "{name}");
        let plain = lost(&nearest, layer, &folder, &rounded.unwrap());
        let fed_back = lost(&nearest, layer, &folder, &held);
        assert!(fed_back < plain, "{name}: {fed_back}, to nearest {plain}");
        // On its own it chooses scales, too, of blocks and low-power blocks as well.
        let alone = run(&folder, &granularity, 4, "Gptq()");
        let encoding = alone.plan.get(weight).unwrap().encoding.as_ref().unwrap();
        let held = alone.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
        let again = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
        assert_eq!(again[..], held[..], "{name}");
        let chosen = lost(&nearest, layer, &folder, &held);
        assert!(chosen < plain, "{name}: {chosen} alone, to nearest {plain}");
        assert!(!alone.curves.is_empty(), "{name}: nothing was tried");
        // Behind our search it never loses more.
        let [nearest, fed] = ["SeqMse()", "SeqMse(), Calibrate(), Gptq()"].map(|passes| {
            let state = run(&folder, &granularity, 4, passes);
            let encoding = state.plan.get(weight).unwrap().encoding.as_ref().unwrap();
            let held = state.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
            let back = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
            lost(&nearest, layer, &folder, &back)
        });
        assert!(fed <= nearest, "{name}: {fed} behind the search, to nearest {nearest}");
        models += 1;
        less += usize::from(fed < nearest);
    }
    assert!(less + 1 >= models, "{less} of {models} models gain behind the search");
}

#[test]
fn thread_counts_do_not_matter() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let state = run(&folder, "PerChannel", 4, "SeqMse(), Calibrate(), Gptq()");
            left(&state)
        })
    };
    assert_eq!(on(1), on(3));
}

/// The passes of a run that keeps its levels, and looks at a part of the samples if that is said.
fn kept(folder: &Path, shard: Option<(usize, usize)>) -> String {
    let shard = shard.map_or(String::new(), |(at, of)| format!(", shard: (index: {at}, of: {of})"));
    let checkpoints = format!("checkpoints: (folder: {folder:?}{shard})");
    format!("SeqMse({checkpoints}), Gptq({checkpoints})")
}

#[test]
fn any_partition_of_the_samples_decides_the_same() {
    for name in ["conv_net_w4_pc", "blockwise_linear_w4_b4"] {
        let folder = folders().into_iter().find(|folder| folder.ends_with(name)).unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let granularity = granularity(name, &serde_json::from_str(&text).unwrap());
        let by = |parts: usize| {
            let dir = tempfile::tempdir().unwrap();
            let part = |at| run(&folder, &granularity, 4, &kept(dir.path(), Some((at, parts))));
            let mut rounds = 0;
            loop {
                rounds += 1;
                assert!(rounds < 40, "{name} never ends");
                // The last one first: no part waits for another.
                let paused: Vec<_> = (1..=parts).rev().map(|at| part(at).paused.unwrap()).collect();
                if paused[parts - 1].decided {
                    break;
                }
            }
            assert!(rounds > 2, "{name}: {rounds}");
            left(&run(&folder, &granularity, 4, &kept(dir.path(), None)))
        };
        let whole = by(1);
        assert!(by(3) == whole && by(4) == whole, "{name}");
    }
}

#[test]
fn a_run_goes_on_behind_what_was_decided() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let plain = left(&run(&folder, "PerChannel", 4, "SeqMse(), Gptq()"));
    let dir = tempfile::tempdir().unwrap();
    let files = || {
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    assert_eq!(left(&run(&folder, "PerChannel", 4, &kept(dir.path(), None))), plain);
    let all = files();
    // An interruption at any level: what is behind it is missing.
    for from in 0..all.len() {
        all[from..].iter().for_each(|path| fs::remove_file(path).unwrap());
        let again = run(&folder, "PerChannel", 4, &kept(dir.path(), None));
        assert!(left(&again) == plain && files() == all, "from {}", all[from].display());
    }
    // Other options, and a file that is cut off.
    let other = kept(dir.path(), None).replace("SeqMse(", "SeqMse(candidates: 10, ");
    let refused = run_within(MEMORY, &folder, "PerChannel", 4, &other).unwrap_err();
    assert_eq!(refused.code(), "bad_checkpoint");
    let bytes = fs::read(&all[0]).unwrap();
    fs::write(&all[0], &bytes[..bytes.len() / 2]).unwrap();
    let refused = run_within(MEMORY, &folder, "PerChannel", 4, &kept(dir.path(), None));
    assert_eq!(refused.unwrap_err().code(), "bad_checkpoint");
}

#[test]
fn memory_does_not_matter() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let within =
        |memory| left(&run_within(memory, &folder, "PerChannel", 4, "SeqMse(), Gptq()").unwrap());
    // Nothing may be kept, and matrices are gathered one by one.
    assert!(within(0) == within(MEMORY));
}

/// Rows that losses are taken of directly are the same from memory and from files, on any number of
/// threads, for convolutions and blocks, and where a sample has more rows than are kept at once.
#[test]
fn memory_does_not_matter_to_rows() {
    let conv = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let blocks =
        folders().into_iter().find(|folder| folder.ends_with("blockwise_linear_w4_b4")).unwrap();
    let on = |threads: usize, memory, folder: &Path, granularity, passes: &str| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let state = pool.install(|| run_within(memory, folder, granularity, 4, passes).unwrap());
        (left(&state), state.curves)
    };
    for passes in ["SeqMse(loss: L1)", "SeqMse(loss: Sqnr)", "SeqMse()"] {
        for (folder, granularity) in [(&conv, "PerChannel"), (&blocks, "PerBlock(4)")] {
            let whole = on(3, MEMORY, folder, granularity, passes);
            for (threads, memory) in [(1, MEMORY), (1, 0), (3, 0), (3, 40_000)] {
                let found = on(threads, memory, folder, granularity, passes);
                // With no room for the matrix of whole rows, blocks are judged alone.
                if (granularity, passes, memory) == ("PerBlock(4)", "SeqMse()", 0) {
                    continue;
                }
                assert!(found == whole, "{passes}, {granularity}, {memory} bytes, {threads}");
            }
        }
    }
    let (model, sample) = (product(&rows(24, 5, 1)), rows(2500, 24, 9));
    for passes in ["SeqMse(loss: L1)", "SeqMse(loss: Sqnr)"] {
        let of = |memory| {
            let samples = std::slice::from_ref(&sample);
            let state = of_model_within(memory, model.clone(), samples, "PerBlock(8)", passes);
            (left(&state), state.curves)
        };
        let whole = of(MEMORY);
        assert!(of(0) == whole && of(100_000) == whole, "{passes}");
    }
}

/// What each output of x·w loses with the encoding that a run left, by the definition.
fn lost_by_output(state: &State, weight: &Tensor, sample: &Tensor, l1: bool) -> Vec<f64> {
    let [depth, outputs] = weight.dims() else { panic!("a matrix") };
    let site = state.plan.get(state.model.graph.find("w").unwrap()).unwrap();
    let (w, x) = (weight.f32s().unwrap(), sample.f32s().unwrap());
    let encoding = site.encoding.as_ref().unwrap();
    let back = fake_quantize(&w, weight.dims(), encoding, Rounding::HalfEven).unwrap();
    let error = |row: &[f32], output: usize| -> f64 {
        let of = |at: usize| f64::from(w[at * outputs + output] - back[at * outputs + output]);
        row.iter().enumerate().map(|(at, &x)| f64::from(x) * of(at)).sum()
    };
    let size = |y: f64| if l1 { y.abs() } else { y * y };
    (0..*outputs).map(|output| x.chunks(*depth).map(|row| size(error(row, output))).sum()).collect()
}

/// Inputs that are nearly the same for all columns: what blocks are off by adds up, or cancels.
fn common(count: usize, depth: usize, noise: f32) -> Tensor {
    let own = rows(count, depth, 12).f32s().unwrap().into_owned();
    let of_row = rows(count, 1, 3).f32s().unwrap().into_owned();
    let numbers: Vec<f32> =
        own.iter().enumerate().map(|(at, x)| of_row[at / depth] + noise * x).collect();
    Tensor::from_f32s([count, depth], &numbers).unwrap()
}

/// Two blocks whose errors cancel with whole ranges: each alone is better off with another range, and
/// both together much worse. What is chosen is no worse than whole ranges.
#[test]
fn blocks_that_cancel_keep_their_ranges() {
    // On the grid of whole ranges the first two are exact, and the others are off by 0.03 and by -0.03.
    let block = |small: f32| [vec![0.7, -0.8], vec![small; 6]].concat();
    let numbers = [block(0.03), block(-0.03)].concat();
    let (weight, sample) = (Tensor::from_f32s([16, 1], &numbers).unwrap(), common(64, 16, 0.01));
    let off = |memory, passes: &str, l1| {
        let samples = std::slice::from_ref(&sample);
        let state = of_model_within(memory, product(&weight), samples, "PerBlock(8)", passes);
        lost_by_output(&state, &weight, &sample, l1)[0]
    };
    let whole = off(MEMORY, "Calibrate()", false);
    let alone = off(MEMORY, "SeqMse(compat: Aimet)", false);
    assert!(alone > 10.0 * whole, "alone {alone}, the whole ranges {whole}");
    let ours = off(MEMORY, "SeqMse()", false);
    assert!(ours <= whole * (1.0 + 1e-6), "{ours}, the whole ranges {whole}");
    // Memory has no say.
    assert!(off(0, "SeqMse()", false) == ours);
    // Rows that are kept anyway say what outputs lose, whatever the memory.
    for loss in ["L1", "Sqnr"] {
        let passes = format!("SeqMse(loss: {loss}");
        let whole = off(MEMORY, "Calibrate()", loss == "L1");
        let alone = off(MEMORY, &format!("{passes}, compat: Aimet)"), loss == "L1");
        let ours = [MEMORY, 0].map(|memory| off(memory, &format!("{passes})"), loss == "L1"));
        assert!(alone > 2.0 * whole, "{loss}: alone {alone}, the whole ranges {whole}");
        assert!(ours[0] <= whole * (1.0 + 1e-6) && ours[0] == ours[1], "{loss}: {ours:?}, {whole}");
    }
}

/// With inputs that have much in common no output loses more than with whole ranges, and all together
/// lose much less than with blocks that are chosen alone.
#[test]
fn blocks_are_chosen_for_whole_outputs() {
    let (weight, sample) = (rows(64, 24, 5), common(200, 64, 0.2));
    for granularity in ["PerBlock(8)", "Lpbq(8)", "PerBlock(20)"] {
        let off = |passes: &str| {
            let samples = std::slice::from_ref(&sample);
            let state = of_model(product(&weight), samples, granularity, passes);
            lost_by_output(&state, &weight, &sample, false)
        };
        let [whole, alone, ours, finer] =
            ["Calibrate()", "SeqMse(compat: Aimet)", "SeqMse()", "SeqMse(refine: 9)"].map(off);
        let worse = alone.iter().zip(&whole).filter(|(alone, whole)| alone > whole).count();
        assert!(worse > 0, "{granularity}: every output gains from blocks alone");
        for ours in [&ours, &finer] {
            for (output, (ours, whole)) in ours.iter().zip(&whole).enumerate() {
                let bound = whole * (1.0 + 1e-4);
                assert!(*ours <= bound, "{granularity}, {output}: {ours}, whole {whole}");
            }
        }
        let [whole, alone, ours] = [whole, alone, ours].map(|off| off.iter().sum::<f64>());
        println!(
            "{granularity}: whole {whole:.2}, alone {alone:.2}, ours {ours:.2}; worse {worse}"
        );
        assert!(ours < 0.7 * whole.min(alone), "{granularity}: {ours}, {whole}, alone {alone}");
    }
}

/// A grouped convolution: `groups` parts of 6 input channels each, and 3 outputs, 3 x 2 windows.
fn grouped(groups: usize, weight: &[f32]) -> Model {
    let (inputs, outputs) = (6 * groups, 3 * groups);
    let text = format!(
        "<ir_version: 10, opset_import: [\"\" : 21]>
        g (float[n, {inputs}, 5, 4] x) => (float[n, {outputs}, h, v] y)
        <float[{outputs}, 6, 3, 2] w = {{{}}}>
        {{ y = Conv <group: int = {groups}, kernel_shape: ints = [3, 2], pads: ints = [1, 0, 1, 0]> (x, w) }}",
        weight.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ")
    );
    marquetry::ir::text::parse(&text).unwrap()
}

/// What a block of a grouped convolution adds to an output, by the definition of a convolution: its loss
/// for a weight that is off by `error`.
fn slow_loss(
    samples: &[Tensor],
    groups: usize,
    error: &[f32],
    output: usize,
    block: usize,
    size: usize,
    l1: bool,
) -> f64 {
    let first = output / 3 * 6;
    let mut sum = 0.0;
    for sample in samples {
        let x = sample.f32s().unwrap();
        for (row, column) in (0..5_i64).flat_map(|row| (0..3_i64).map(move |column| (row, column)))
        {
            let mut y = 0.0_f64;
            for channel in block * size..6.min((block + 1) * size) {
                for (i, j) in (0..3_i64).flat_map(|i| (0..2_i64).map(move |j| (i, j))) {
                    let (r, c) = (row + i - 1, column + j);
                    if !(0..5).contains(&r) {
                        continue;
                    }
                    let place = ((first + channel) * 5 + r as usize) * 4 + c as usize;
                    assert!(first + channel < 6 * groups);
                    let at = ((output * 6 + channel) * 3 + i as usize) * 2 + j as usize;
                    y += f64::from(x[place]) * f64::from(error[at]);
                }
            }
            sum += if l1 { y.abs() } else { y * y };
        }
    }
    sum
}

/// Blocks of grouped convolutions lie along the input channels of their group: every candidate loses what
/// a slow convolution says, and the least is chosen.
#[test]
fn blocks_of_grouped_convolutions_are_searched() {
    for (groups, size) in [(2, 2), (3, 4), (2, 6)] {
        let outputs = 3 * groups;
        let weight = rows(outputs, 36, 4).f32s().unwrap().into_owned();
        let samples: Vec<Tensor> = (0..3)
            .map(|at| {
                let numbers = rows(1, 6 * groups * 20, at).f32s().unwrap().into_owned();
                Tensor::from_f32s([1, 6 * groups, 5, 4], &numbers).unwrap()
            })
            .collect();
        let granularity = format!("PerBlock({size})");
        for loss in ["Mse", "L1"] {
            let passes = format!("SeqMse(loss: {loss}, compat: Aimet, candidates: 6)");
            let state = of_model(grouped(groups, &weight), &samples, &granularity, &passes);
            assert_eq!(state.curves.len(), 1, "{granularity}, {groups} groups: not searched");
            let (curve, value) = (&state.curves[0], state.curves[0].weight);
            let encoding = state.plan.get(value).unwrap().encoding.as_ref().unwrap();
            let blocks = 6_usize.div_ceil(size);
            assert_eq!(encoding.cells.len(), outputs * blocks);
            for cell in 0..outputs * blocks {
                let (output, block) = (cell / blocks, cell % blocks);
                let elements = |channel: usize| {
                    let at = (output * 6 + channel) * 6;
                    at..at + 6
                };
                let of_block: Vec<usize> =
                    (block * size..6.min((block + 1) * size)).flat_map(elements).collect();
                // Of 16 points 8 are below zero and 7 above.
                let reach = |at: &usize| (weight[*at] / 7.0).max(weight[*at] / -8.0);
                let whole = of_block.iter().map(reach).fold(0.0, f32::max);
                let mut slow = Vec::new();
                for (candidate, losses) in curve.losses.iter().enumerate() {
                    let scale = whole * (candidate + 1) as f32 / 6.0;
                    let mut error = vec![0.0; weight.len()];
                    for &at in &of_block {
                        let int = (weight[at] / scale).round_ties_even().clamp(-8.0, 7.0);
                        error[at] = weight[at] - int * scale;
                    }
                    let l1 = loss == "L1";
                    let expected = slow_loss(&samples, groups, &error, output, block, size, l1);
                    let apart = (losses[cell] - expected).abs();
                    assert!(
                        apart <= 2e-4 * expected,
                        "{loss} {granularity} of {groups}, {cell}, {candidate}: {}, not {expected}",
                        losses[cell]
                    );
                    slow.push(expected);
                }
                let least = slow.iter().copied().fold(f64::INFINITY, f64::min);
                assert!(slow[curve.best[cell]] <= least * (1.0 + 5e-4));
                let scale = f64::from(whole) * (curve.best[cell] + 1) as f64 / 6.0;
                assert!((encoding.cells[cell].scale - scale).abs() < 1e-6 * scale);
            }
        }
        // With feedback, too.
        let state = of_model(grouped(groups, &weight), &samples, &granularity, "Gptq()");
        let value = state.model.graph.find("w").unwrap();
        let site = state.plan.get(value).unwrap();
        let held = state.model.graph.value(value).constant.as_ref().unwrap();
        let (data, encoding) = (held.f32s().unwrap(), site.encoding.as_ref().unwrap());
        let again = fake_quantize(&data, held.dims(), encoding, Rounding::HalfEven).unwrap();
        assert!(again[..] == data[..] && data[..] != weight[..]);
    }
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

/// Inputs that are zero on all samples say nothing of the weights that read them, which is no reason to
/// cut off their ranges.
#[test]
fn unseen_inputs_keep_the_ranges_of_their_weights() {
    let mut sample = rows(64, 32, 3).f32s().unwrap().into_owned();
    sample.iter_mut().enumerate().filter(|(at, _)| at % 32 >= 16).for_each(|(_, x)| *x = 0.0);
    let sample = Tensor::from_f32s([64, 32], &sample).unwrap();
    let weight = rows(32, 4, 0);
    for granularity in ["PerBlock(16)", "Lpbq(16)"] {
        for passes in ["SeqMse()", "Gptq()"] {
            let model = product(&weight);
            let state = of_model(model, std::slice::from_ref(&sample), granularity, passes);
            let value = state.model.graph.find("w").unwrap();
            let encoding = state.plan.get(value).unwrap().encoding.clone().unwrap();
            let original = weight.f32s().unwrap();
            // Of each block of 16 rows and each of 4 columns, the largest element.
            for block in 0..2 {
                for column in 0..4 {
                    let elements =
                        (0..16).map(|row| original[(block * 16 + row) * 4 + column].abs());
                    let largest = f64::from(elements.fold(0.0, f32::max));
                    let cell = encoding.cells[block * 4 + column];
                    let reach = cell.scale * 8.0;
                    assert!(
                        reach > 0.5 * largest,
                        "{granularity}, {passes}: block {block}, {column}: {reach} of {largest}"
                    );
                }
            }
        }
    }
}

/// A matrix with one column has an output channel like any other.
#[test]
fn one_output_is_searched_too() {
    let (weight, sample) = (rows(40, 1, 5), rows(64, 40, 1));
    for passes in ["SeqMse()", "Gptq()"] {
        let state = of_model(product(&weight), std::slice::from_ref(&sample), "PerChannel", passes);
        assert_eq!(state.curves.len(), 1, "{passes}");
    }
}

/// What was decided on some samples is not taken for what others would decide.
#[test]
fn checkpoints_of_other_samples_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let passes = format!("Gptq(checkpoints: (folder: {:?}))", folder.path().join("levels"));
    let run = |sample: Tensor, before: &str| {
        let samples = vec![vec![sample]];
        let pipeline = format!(
            "Pipeline(target: \"ort-cpu\", passes: [
                Group(), Place(weights: (dtype: Int4, granularity: PerChannel)), {before} {passes}
            ])"
        );
        let engine = Embedded::new(&Options::default());
        let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
        Pipeline::parse(&pipeline).unwrap().run(product(&rows(40, 6, 5)), &cx)
    };
    run(rows(64, 40, 1), "").unwrap();
    run(rows(64, 40, 1), "").unwrap();
    let others = run(rows(64, 40, 2), "").unwrap_err();
    assert!(others.to_string().contains("other"), "{others}");
    let earlier = run(rows(64, 40, 1), "SeqMse(candidates: 3),").unwrap_err();
    assert!(earlier.to_string().contains("other"), "{earlier}");
}

/// A matrix too deep for rounding with feedback still gets a range that its outputs ask for.
#[test]
fn what_feedback_leaves_is_searched() {
    let depth = 4100;
    // One element far outside, which the range is better off without.
    let mut weight = rows(depth, 1, 7).f32s().unwrap().into_owned();
    weight[5] = 9.0;
    let weight = Tensor::from_f32s([depth, 1], &weight).unwrap();
    let sample = rows(8, depth, 2);
    let state = of_model(product(&weight), &[sample], "PerChannel", "Gptq(), SeqMse()");
    let value = state.model.graph.find("w").unwrap();
    let encoding = state.plan.get(value).unwrap().encoding.clone().unwrap();
    assert_eq!(state.curves.len(), 1);
    assert!(encoding.max(0) < 8.0, "{}", encoding.max(0));
}
