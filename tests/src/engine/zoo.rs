//! Real graphs: outputs against recorded ones, and sweeps against plain runs.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use marquetry_engine::{Embedded, Engine, Flow, Options, Sweep, SweepOptions, arrays};
use marquetry_ir::{Graph, Tensor, ValueId, onnx};

/// How far an output may be from the recorded one, relative to the largest element of that.
pub(super) const RELATIVE: f64 = 1e-3;
/// The same for models of halves, which are computed in single precision here.
pub(super) const RELATIVE_HALF: f64 = 1e-2;

pub(super) fn graphs() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo/open");
    let zoo = std::env::var_os("MARQUETRY_ZOO").map_or(default, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(zoo.join("graphs")) else {
        eprintln!("skipped: there is no zoo at {}", zoo.display());
        return Vec::new();
    };
    let mut graphs: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .filter(|path| path.with_extension("npz").is_file())
        .collect();
    graphs.sort();
    graphs
}

/// The recorded tensors of some values, `in:` or `out:`.
pub(super) fn recorded(
    arrays: &BTreeMap<String, Tensor>,
    graph: &Graph,
    kind: &str,
    values: &[ValueId],
) -> Vec<Tensor> {
    let of = |&value: &ValueId| arrays[&format!("{kind}:{}", graph.value(value).name())].clone();
    values.iter().map(of).collect()
}

/// The largest difference relative to the largest expected element.
pub(super) fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    let (a, b) = (found.to_f64s().unwrap(), expected.to_f64s().unwrap());
    assert_eq!(found.dims(), expected.dims());
    let largest = b.iter().fold(0.0_f64, |most, y| most.max(y.abs())).max(1e-6);
    a.iter().zip(&b).fold(0.0_f64, |most, (x, y)| most.max((x - y).abs())) / largest
}

#[test]
fn zoo_outputs_are_those_recorded() {
    let mut distances: Vec<(f64, String)> = Vec::new();
    let mut problems = Vec::new();
    for path in graphs() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = onnx::read(&path).unwrap();
        let graph = &model.graph;
        let engine = Embedded::default();
        let refusals = engine.refusals(graph);
        if !refusals.is_empty() {
            problems.push(format!("{name}: {}", refusals[0]));
            continue;
        }
        let arrays: BTreeMap<_, _> =
            arrays(path.with_extension("npz")).unwrap().into_iter().collect();
        let inputs = recorded(&arrays, graph, "in", &graph.inputs);
        let expected = recorded(&arrays, graph, "out", &graph.outputs);
        let program = engine.compile(graph, &graph.inputs, &graph.outputs);
        match program.and_then(|mut program| program.run(&inputs)) {
            Err(error) => problems.push(format!("{name}: {error}")),
            Ok(found) => {
                let far = found.iter().zip(&expected).map(|(a, b)| distance(a, b));
                distances.push((far.fold(0.0, f64::max), name));
            }
        }
    }
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let (Some(median), Some(worst)) = (distances.get(distances.len() / 2), distances.last()) {
        eprintln!(
            "{} graphs: median {:.1e}, worst {:.1e} ({})",
            distances.len(),
            median.0,
            worst.0,
            worst.1
        );
    }
    problems.extend(distances.iter().filter_map(|(distance, name)| {
        let bound = if name.contains("fp16") { RELATIVE_HALF } else { RELATIVE };
        (*distance > bound).then(|| format!("{name}: {distance:.1e}"))
    }));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn zoo_sweeps_give_what_one_run_gives() {
    let engine = |count| Embedded::new(&Options { threads: NonZeroUsize::new(count) });
    sweeps_give_what_one_run_gives(&engine(1), &engine(2));
}

/// What a sweep of one engine hands over is what a run of the other, which has more threads, computes,
/// wherever it is cut.
pub(super) fn sweeps_give_what_one_run_gives(one: &dyn Engine, two: &dyn Engine) {
    for path in graphs() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !["bert.ts13", "mobilenet_v2.dyn18no", "gpt2.dyn18", "lstm_gru.ts13"]
            .contains(&name.as_str())
        {
            continue;
        }
        let model = onnx::read(&path).unwrap();
        let graph = &model.graph;
        let arrays: BTreeMap<_, _> =
            arrays(path.with_extension("npz")).unwrap().into_iter().collect();
        let inputs = recorded(&arrays, graph, "in", &graph.inputs);
        let wanted: BTreeSet<ValueId> = graph
            .nodes()
            .flat_map(|node| graph.outputs(node).into_iter().flatten())
            .chain(graph.outputs.iter().copied())
            .collect();
        let all: Vec<ValueId> = wanted.iter().copied().collect();
        let mut plain = two.compile(graph, &graph.inputs, &all).unwrap();
        let expected: BTreeMap<ValueId, Tensor> =
            all.iter().copied().zip(plain.run(&inputs).unwrap()).collect();
        for nodes in [1, 7, 1000] {
            let options = SweepOptions { nodes, ..SweepOptions::default() };
            let mut sweep = Sweep::new(one, graph, &wanted, &options).unwrap();
            let mut seen = BTreeSet::new();
            let flow = sweep.run(&inputs, &mut |value, tensor| {
                assert!(seen.insert(value), "{name}: {value} is handed over twice");
                assert_eq!(
                    tensor,
                    &expected[&value],
                    "{name}: {} differs",
                    graph.value(value).name()
                );
                Flow::Continue
            });
            assert_eq!(flow.unwrap(), Flow::Continue);
            assert_eq!(seen, wanted, "{name}");
        }
    }
}
