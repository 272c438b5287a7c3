//! What observing costs: time and peak memory of a plain run and of a sweep over every float tensor.
//!
//! `cargo run --release -p marquetry-engine --example sweep-cost -- model.onnx samples.npz plain|sweep [runs]`
//!
//! Arrays of the `.npz` are named like the inputs, with or without `in:`. Peak memory is that of the
//! process, so the two modes are two processes.
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Instant;

use marquetry_engine::{Embedded, Engine, Flow, Options, Sweep, SweepOptions, arrays};
use marquetry_ir::{DType, Tensor, ValueId, infer, onnx};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, samples, mode, rest @ ..] = arguments.as_slice() else {
        return Err("a model, samples and a mode are needed".into());
    };
    let runs: usize = rest.first().map_or(Ok(5), |runs| runs.parse())?;
    let model = onnx::read(model)?;
    let graph = &model.graph;
    let given = arrays(samples)?;
    let inputs = graph.inputs.iter().map(|&input| {
        let name = graph.value(input).name();
        let found = given
            .iter()
            .find(|(array, _)| array == name || array.strip_prefix("in:") == Some(name));
        found.map(|(_, tensor)| tensor.clone()).ok_or_else(|| format!("no array for `{name}`"))
    });
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    let engine = Embedded::new(&Options { threads: NonZeroUsize::new(1) });
    let before = Instant::now();
    let mut times = Vec::with_capacity(runs);
    let loaded;
    match mode.as_str() {
        "plain" => {
            let mut program = engine.compile(graph, &graph.inputs, &graph.outputs)?;
            loaded = before.elapsed().as_secs_f64();
            for _ in 0..=runs {
                let start = Instant::now();
                program.run(&inputs)?;
                times.push(start.elapsed().as_secs_f64());
            }
        }
        "sweep" => {
            let types = infer::run(&model);
            let made = graph.nodes().flat_map(|node| graph.outputs(node).into_iter().flatten());
            let wanted: BTreeSet<ValueId> =
                made.filter(|&value| types.dtype(value) == Some(DType::Float)).collect();
            let mut sweep = Sweep::new(&engine, graph, &wanted, &SweepOptions::default())?;
            loaded = before.elapsed().as_secs_f64();
            let mut greatest = 0.0_f32;
            for _ in 0..=runs {
                let start = Instant::now();
                sweep.run(&inputs, &mut |_, tensor| {
                    // What a range observer does: one pass over the elements.
                    let elements = tensor.f32s().unwrap_or_default();
                    greatest =
                        elements.iter().fold(greatest, |most, &x| if x > most { x } else { most });
                    Flow::Continue
                })?;
                times.push(start.elapsed().as_secs_f64());
            }
            println!("{} tensors, greatest element {greatest}", wanted.len());
        }
        other => return Err(format!("no mode is called `{other}`").into()),
    }
    // The first run warms up.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    println!(
        "{mode}: ready in {:.1} ms, median {:.2} ms, best {:.2} ms, peak {peak}",
        1e3 * loaded,
        1e3 * times.get(times.len() / 2).copied().unwrap_or(0.0),
        1e3 * times.first().copied().unwrap_or(0.0),
    );
    Ok(())
}
