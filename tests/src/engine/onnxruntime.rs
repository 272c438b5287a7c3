//! ONNX Runtime as an engine, where there is one: `ORT_DYLIB_PATH` names its library.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytes::Bytes;
use marquetry::quant::Policy;
use marquetry_engine::Native;
use marquetry_engine::{
    Embedded, Engine, EngineError, Flow, LibraryError, Numerics, OnnxRuntime, Options, Sweep,
    SweepOptions, arrays,
};
use marquetry_ir::{DType, Evaluate as _, Graph, Operation, Tensor, ValueId, onnx, text};
use marquetry_matcher::verify::{Status, VerifyOptions, verify};

use super::zoo::{
    RELATIVE, RELATIVE_HALF, distance, graphs, recorded, sweeps_give_what_one_run_gives,
};

fn library() -> Option<PathBuf> {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    if named.is_none() {
        eprintln!("skipped: ORT_DYLIB_PATH names no library of ONNX Runtime");
    }
    named.map(PathBuf::from)
}

fn engine_of(numerics: Numerics, threads: usize) -> Option<OnnxRuntime> {
    let options = Options { threads: NonZeroUsize::new(threads) };
    Some(OnnxRuntime::load(&library()?, numerics, &options).unwrap())
}

fn engine() -> Option<OnnxRuntime> {
    engine_of(Numerics::Reference, 2)
}

fn graph(source: &str) -> Graph {
    text::parse(source).unwrap().graph
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.find(name).unwrap()
}

fn floats(dims: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_f32s(dims, elements).unwrap()
}

fn run(
    engine: &dyn Engine,
    graph: &Graph,
    feeds: &[(&str, Tensor)],
    fetch: &str,
) -> Result<Tensor, EngineError> {
    let ids: Vec<ValueId> = feeds.iter().map(|(name, _)| value(graph, name)).collect();
    let mut program = engine.compile(graph, &ids, &[value(graph, fetch)])?;
    let inputs: Vec<Tensor> = feeds.iter().map(|(_, tensor)| tensor.clone()).collect();
    Ok(program.run(&inputs)?.remove(0))
}

const GRAPH: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
agraph (float[N, 2] x) => (float[N, 2] y)
<float[2, 2] w = {1.0, 2.0, 3.0, 4.0}, float[2] b = {10.0, 20.0}>
{
    c = Add(b, b)
    h = MatMul(x, w)
    s = Add(h, c)
    r = Sign(s)
    y = Mul(s, r)
}
"#;

#[test]
fn any_value_is_fed_and_fetched() {
    let Some(engine) = engine() else { return };
    let graph = graph(GRAPH);
    let x = floats(&[1, 2], &[-1.0, 1.0]);
    let fetch = |feeds: &[(&str, Tensor)], name| run(&engine, &graph, feeds, name).unwrap();
    assert_eq!(fetch(&[("x", x.clone())], "h"), floats(&[1, 2], &[2.0, 2.0]));
    assert_eq!(fetch(&[("x", x.clone())], "y"), floats(&[1, 2], &[22.0, 42.0]));
    let s = floats(&[1, 2], &[-3.0, 0.0]);
    assert_eq!(fetch(&[("s", s.clone())], "y"), floats(&[1, 2], &[3.0, 0.0]));
    assert_eq!(fetch(&[("s", s.clone())], "s"), s);
    let w = floats(&[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    assert_eq!(fetch(&[("x", x.clone()), ("w", w)], "h"), floats(&[1, 2], &[-1.0, 1.0]));
    assert_eq!(fetch(&[], "b"), floats(&[2], &[10.0, 20.0]));
    assert_eq!(fetch(&[], "c"), floats(&[2], &[20.0, 40.0]));
    let error = run(&engine, &graph, &[("x", floats(&[1, 3], &[0.0; 3]))], "y").unwrap_err();
    let EngineError::Run { name, op, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), op.as_str()), ("h", "MatMul"));
    let error = run(&engine, &graph, &[], "y").unwrap_err();
    assert_eq!(error.to_string(), "`y` needs `x`, which is not fed");
}

#[test]
fn recurrent_operators_give_what_ours_give() {
    let Some(engine) = engine() else { return };
    super::recurrent::agree(&engine);
}

#[test]
fn nodes_that_it_does_not_have_are_named_before_anything_runs() {
    let Some(engine) = engine() else { return };
    let source = GRAPH.replace("r = Sign(s)", "r = Frobnicate(s)");
    let source = source.replace("h = MatMul(x, w)", "h = Frob (x, w)");
    let graph = graph(&source);
    let refusals = engine.refusals(&graph);
    let names: Vec<&str> = refusals.iter().map(|refusal| refusal.name.as_str()).collect();
    assert_eq!(names, ["h", "r"]);
    assert!(refusals[0].reason.contains("Frob"), "{}", refusals[0]);
    let error = run(&engine, &graph, &[("x", floats(&[1, 2], &[0.0; 2]))], "y").unwrap_err();
    assert_eq!(error.code(), "engine_refused", "{error}");
    assert!(run(&engine, &graph, &[("h", floats(&[1, 2], &[0.0; 2]))], "s").is_ok());
}

/// Each type goes in and comes out: computed, where the operator has it, and through a body.
#[test]
fn every_type_that_tensors_hold_goes_in_and_comes_out() {
    let Some(engine) = engine() else { return };
    let numbers = [0.0, 1.0, 2.0, 3.0, 1.0, 0.0];
    for dtype in [
        DType::Float,
        DType::Double,
        DType::Float16,
        DType::BFloat16,
        DType::Int64,
        DType::Int32,
        DType::Int16,
        DType::Int8,
        DType::Uint64,
        DType::Uint32,
        DType::Uint16,
        DType::Uint8,
        DType::Bool,
    ] {
        let name = dtype.name().unwrap();
        let source = format!(
            r#"<ir_version: 10, opset_import: ["": 21]>
            g ({name}[N, 2] x) => ({name}[2, N] y) {{ y = Transpose <perm = [1, 0]> (x) }}"#
        );
        let graph = graph(&source);
        let x = Tensor::from_f64s(dtype, [3, 2], &numbers).unwrap().unwrap();
        let expected =
            Tensor::from_f64s(dtype, [2, 3], &[0.0, 2.0, 1.0, 1.0, 3.0, 0.0]).unwrap().unwrap();
        assert_eq!(run(&engine, &graph, &[("x", x)], "y").unwrap(), expected, "{name}");
    }
    // What only quantization has goes in and comes out as well.
    for (name, dtype, bytes, numbers) in [
        ("int4", DType::Int4, vec![0xF1, 0x07], [1.0, -1.0, 7.0]),
        ("uint4", DType::Uint4, vec![0xF1, 0x07], [1.0, 15.0, 7.0]),
        ("float8e4m3fn", DType::Float8E4M3Fn, vec![0x38, 0xC8, 0x00], [1.0, -4.0, 0.0]),
        ("float8e5m2", DType::Float8E5M2, vec![0x3C, 0xC4, 0x00], [1.0, -4.0, 0.0]),
    ] {
        let source = format!(
            r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[N] x, {name} zero) => (float[N] y)
            <float one = {{1.0}}>
            {{ q = QuantizeLinear (x, one, zero) y = DequantizeLinear (q, one, zero) }}"#
        );
        let graph = graph(&source);
        let zero = Tensor::new(dtype, [], vec![0]).unwrap();
        let x = floats(&[3], &numbers);
        let q = run(&engine, &graph, &[("x", x.clone()), ("zero", zero.clone())], "q").unwrap();
        assert_eq!(q, Tensor::new(dtype, [3], bytes).unwrap(), "{name}");
        assert_eq!(run(&engine, &graph, &[("q", q), ("zero", zero)], "y").unwrap(), x, "{name}");
    }
    let strings = graph(
        r#"<ir_version: 10, opset_import: ["": 21]>
        g (string[N] x) => (string[N] y) { y = Identity (x) }"#,
    );
    let words = vec![Bytes::from("né"), Bytes::from(""), Bytes::from("b")];
    let x = Tensor::strings([3], words).unwrap();
    assert_eq!(run(&engine, &strings, &[("x", x.clone())], "y").unwrap(), x);
    let broken = Tensor::strings([1], vec![Bytes::from(vec![0xFF])]).unwrap();
    let error = run(&engine, &strings, &[("x", broken)], "y").unwrap_err();
    assert!(error.to_string().contains("no UTF-8"), "{error}");
    // A half may come as `float`.
    let halves = graph(
        r#"<ir_version: 10, opset_import: ["": 21]>
        g (float16[N] x) => (float16[N] y) { y = Neg (x) }"#,
    );
    let y = run(&engine, &halves, &[("x", floats(&[2], &[1.5, -2.0]))], "y").unwrap();
    assert_eq!((y.dtype(), y.to_f64s().unwrap()), (DType::Float16, vec![-1.5, 2.0]));
    let empty = run(&engine, &halves, &[("x", floats(&[0], &[]))], "y").unwrap();
    assert_eq!(empty.dims(), [0]);
}

#[test]
fn bodies_and_split_sequences_run() {
    let Some(engine) = engine() else { return };
    let graph = graph(
        r#"<ir_version: 8, opset_import: ["": 17]>
        g (bool flag, float[2] x, int64 at) => (float[2] y, float[1] part)
        <float[2] one = {1.0, 1.0}>
        {
            h = Neg(x)
            y = If (flag) <
                then_branch = t () => (float[2] a) { a = Add(h, one) },
                else_branch = e () => (float[2] b) { b = Sub(h, one) }
            >
            parts = SplitToSequence(x)
            part = SequenceAt(parts, at)
        }"#,
    );
    let flag = |flag| Tensor::new(DType::Bool, [], vec![u8::from(flag)]).unwrap();
    let h = floats(&[2], &[2.0, 5.0]);
    let y = |on| run(&engine, &graph, &[("flag", flag(on)), ("h", h.clone())], "y").unwrap();
    assert_eq!(y(true), floats(&[2], &[3.0, 6.0]));
    assert_eq!(y(false), floats(&[2], &[1.0, 4.0]));
    let at = Tensor::from_i64s([], &[1]).unwrap();
    let part = run(&engine, &graph, &[("x", h), ("at", at)], "part").unwrap();
    assert_eq!(part.to_f64s().unwrap(), [5.0]);
}

#[test]
fn loops_without_a_turn_give_what_ours_do() {
    let Some(engine) = engine() else { return };
    let graph = graph(super::LOOP);
    let turns = Tensor::from_i64s([], &[0]).unwrap();
    let (start, row) = (floats(&[2], &[1.0, -2.0]), floats(&[3], &[1.0, 2.0, 3.0]));
    let fed = [("turns", turns), ("start", start), ("row", row)];
    for fetch in ["last", "all", "rows"] {
        let theirs = run(&engine, &graph, &fed, fetch).unwrap();
        assert_eq!(run(&Embedded::default(), &graph, &fed, fetch).unwrap(), theirs, "{fetch}");
    }
}

#[test]
fn what_is_no_library_is_an_error() {
    let load = |path: &std::path::Path| {
        OnnxRuntime::load(path, Numerics::Reference, &Options::default()).err().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let absent = load(&folder.path().join("absent.so"));
    assert_eq!(absent.code(), "ort_no_file");
    assert_eq!(load(folder.path()).code(), "ort_no_file");
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library at all").unwrap();
    let error = load(&text);
    match library() {
        // Whether it was loaded by another test already, or not yet.
        Some(_) => assert!(
            matches!(error, LibraryError::NotOnnxRuntime { .. } | LibraryError::Another { .. }),
            "{error}"
        ),
        None => assert_eq!(error.code(), "ort_not_a_library", "{error}"),
    }
}

#[test]
fn zoo_outputs_are_those_recorded() {
    let Some(engine) = engine() else { return };
    let mut distances: Vec<(f64, f64, String)> = Vec::new();
    let mut problems = Vec::new();
    for path in graphs() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = onnx::read(&path).unwrap();
        let graph = &model.graph;
        let refusals = engine.refusals(graph);
        if !refusals.is_empty() {
            problems.push(format!("{name}: {}", refusals[0]));
            continue;
        }
        let arrays: BTreeMap<_, _> =
            arrays(path.with_extension("npz")).unwrap().into_iter().collect();
        let inputs = recorded(&arrays, graph, "in", &graph.inputs);
        let expected = recorded(&arrays, graph, "out", &graph.outputs);
        let of = |engine: &dyn Engine| {
            let program = engine.compile(graph, &graph.inputs, &graph.outputs);
            program.and_then(|mut program| program.run(&inputs))
        };
        let far = |found: &[Tensor], expected: &[Tensor]| {
            found.iter().zip(expected).map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
        };
        match (of(&engine), of(&Embedded::default())) {
            (Ok(found), Ok(embedded)) => {
                distances.push((far(&found, &expected), far(&embedded, &found), name));
            }
            (Err(error), _) | (_, Err(error)) => problems.push(format!("{name}: {error}")),
        }
    }
    distances.sort_by(|a, b| a.1.total_cmp(&b.1));
    if let (Some(median), Some(worst)) = (distances.get(distances.len() / 2), distances.last()) {
        eprintln!(
            "{} graphs, embedded engine against ONNX Runtime: median {:.1e}, worst {:.1e} ({})",
            distances.len(),
            median.1,
            worst.1,
            worst.2
        );
    }
    problems.extend(distances.iter().filter_map(|(recorded, embedded, name)| {
        let bound = if name.contains("fp16") { RELATIVE_HALF } else { RELATIVE };
        (recorded.max(*embedded) > bound).then(|| format!("{name}: {recorded:.1e} {embedded:.1e}"))
    }));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What quantizers compute is equal to the bit, ties and bounds included, for each type; what lies
/// between them is so up to rounding.
#[test]
fn quantizers_are_equal_in_both_engines() {
    let Some(engine) = engine() else { return };
    for (name, zero) in [("uint8", "3"), ("int8", "-3"), ("uint16", "300"), ("int16", "-3")] {
        let source = format!(
            r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[N, 4] x) => (float[N, 4] z)
            <float s = {{0.3}}, {name} zero = {{{zero}}}, int8[4, 4] w = {{
                1, -2, 3, 127, -128, 5, 6, 7, 8, 9, -10, 11, 12, -13, 14, 15
            }}, float[4] ws = {{0.01, 0.2, 0.003, 0.0004}}, int32[4] b = {{1, -200, 30, 4000}},
            float[4] bs = {{0.003, 0.06, 0.0009, 0.00012}}, int8[4] wz = {{0, 0, 0, 0}},
            int32[4] bz = {{0, 0, 0, 0}}>
            {{
                q = QuantizeLinear (x, s, zero)
                d = DequantizeLinear (q, s, zero)
                wd = DequantizeLinear <axis = 1> (w, ws, wz)
                bd = DequantizeLinear <axis = 0> (b, bs, bz)
                y = Gemm (d, wd, bd)
                p = QuantizeLinear (y, s, zero)
                z = DequantizeLinear (p, s, zero)
            }}"#
        );
        let graph = graph(&source);
        // Halves of the scale are ties; the last ones are beyond every bound.
        let elements: Vec<f32> = (0..4096_i16)
            .map(|k| f32::from(k - 2048) * 0.15)
            .chain([1e9, -1e9, f32::INFINITY, f32::NEG_INFINITY])
            .collect();
        let x = floats(&[1025, 4], &elements);
        let of = |engine: &dyn Engine, feed, given: &Tensor, fetch| {
            run(engine, &graph, &[(feed, given.clone())], fetch).unwrap()
        };
        let embedded = Embedded::default();
        for fetch in ["q", "d", "wd", "bd"] {
            assert_eq!(
                of(&embedded, "x", &x, fetch),
                of(&engine, "x", &x, fetch),
                "{name} {fetch}"
            );
        }
        let d = of(&engine, "x", &x, "d");
        let y = of(&engine, "d", &d, "y");
        assert!(distance(&of(&embedded, "d", &d, "y"), &y) < 1e-6, "{name}");
        for fetch in ["p", "z"] {
            assert_eq!(
                of(&embedded, "y", &y, fetch),
                of(&engine, "y", &y, fetch),
                "{name} {fetch}"
            );
        }
    }
}

/// Pieces of a few nodes, each fed what the embedded engine computed, so that nothing adds up.
#[test]
fn pieces_of_the_digits_models_are_equal_in_both_engines() {
    let Some(engine) = engine() else { return };
    let embedded = Embedded::default();
    for name in ["cnn.onnx", "vit.onnx"] {
        let model = onnx::read(digits().join(name)).unwrap();
        let graph = &model.graph;
        let computed: Vec<ValueId> = graph
            .order()
            .unwrap()
            .into_iter()
            .flat_map(|node| graph.outputs(node).into_iter().flatten())
            .collect();
        let x = picture();
        let all = embedded.compile(graph, &graph.inputs, &computed);
        let all = all.unwrap().run(std::slice::from_ref(&x)).unwrap();
        let known: BTreeMap<ValueId, Tensor> = computed.iter().copied().zip(all).collect();
        let mut compared = 0;
        for (at, piece) in computed.chunks(5).enumerate() {
            // All that was computed before is fed, whoever reads it.
            let feeds: Vec<ValueId> =
                graph.inputs.iter().chain(&computed[..5 * at]).copied().collect();
            let fed: Vec<Tensor> =
                feeds.iter().map(|value| known.get(value).unwrap_or(&x).clone()).collect();
            let found = engine.compile(graph, &feeds, piece).unwrap().run(&fed).unwrap();
            for (value, found) in piece.iter().zip(&found) {
                let (named, expected) = (graph.value(*value).name(), &known[value]);
                assert_eq!(found.dtype(), expected.dtype(), "{name}: {named}");
                let far = distance(found, expected);
                assert!(far < 1e-5, "{name}: {named} differs by {far:.1e}");
                compared += 1;
            }
        }
        assert!(compared > 20, "{compared}");
    }
}

fn digits() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits")
}

/// Two samples for the digits models.
fn picture() -> Tensor {
    let elements: Vec<f32> = (0..800_u16).map(|k| f32::from(k % 37) / 36.0).collect();
    floats(&[2, 1, 20, 20], &elements)
}

/// With its own defaults it computes outputs that are near.
#[test]
fn deployed_numerics_are_near() {
    let (Some(reference), Some(deployed)) = (engine(), engine_of(Numerics::Deployed, 2)) else {
        return;
    };
    let model = onnx::read(digits().join("vit.onnx")).unwrap();
    let graph = &model.graph;
    let wanted: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let output = |engine: &dyn Engine| {
        let mut sweep = Sweep::new(engine, graph, &wanted, &SweepOptions::default()).unwrap();
        let mut found = Vec::new();
        let mut keep = |_: ValueId, tensor: &Tensor| {
            found.push(tensor.clone());
            Flow::Continue
        };
        sweep.run(&[picture()], &mut keep).unwrap();
        found.remove(0)
    };
    assert!(distance(&output(&deployed), &output(&reference)) < 1e-4);
    assert_eq!((reference.name(), deployed.name()), ("ort", "ort-deployed"));
}

/// What a sweep hands over does not depend on where it cuts, nor on the number of threads.
#[test]
fn zoo_sweeps_give_what_one_run_gives() {
    let (Some(one), Some(two)) =
        (engine_of(Numerics::Reference, 1), engine_of(Numerics::Reference, 2))
    else {
        return;
    };
    sweeps_give_what_one_run_gives(&one, &two);
}

/// Single operators are run there where they give one output, and by ours where they may give more.
#[test]
fn operators_compute_what_ours_do() {
    let Some(engine) = engine() else { return };
    let x = floats(&[2, 3], &[-1.5, 0.0, 2.0, 0.25, -3.0, 7.0]);
    let axis = Tensor::from_i64s([1], &[1]).unwrap();
    for (op_type, inputs) in [
        ("Erf", vec![Some(x.clone())]),
        ("Add", vec![Some(x.clone()), Some(floats(&[3], &[1.0, 2.0, 3.0]))]),
        ("ReduceMean", vec![Some(x.clone()), Some(axis)]),
        ("Split", vec![Some(x.clone()), Some(Tensor::from_i64s([2], &[1, 1]).unwrap())]),
    ] {
        let operation = Operation { domain: "", op_type, opset: 18, attributes: &[] };
        let (theirs, ours) =
            (engine.evaluate(operation, &inputs), Native.evaluate(operation, &inputs));
        let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
        assert_eq!(theirs.len(), ours.len(), "{op_type}");
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert!(distance(theirs, ours) < 1e-6, "{op_type}");
        }
    }
    let unknown = Operation { domain: "", op_type: "Nothing", opset: 18, attributes: &[] };
    assert!(engine.evaluate(unknown, &[Some(x)]).is_err());
}

/// Patterns that are verified by our operators are by those of ONNX Runtime.
#[test]
fn patterns_are_verified_by_its_operators() {
    let Some(engine) = engine() else { return };
    let library = marquetry::library::standard();
    let options = VerifyOptions { samples: Some(4), mutants: false, ..VerifyOptions::default() };
    for name in ["Gelu", "Softmax"] {
        let pattern = library.patterns().iter().find(|pattern| pattern.name == name).unwrap();
        let verdict = verify(pattern, &engine, &options);
        assert_eq!(verdict.status, Status::Verified, "{name}");
    }
}

/// What targets put into bodies, ONNX Runtime computes as we do, and loads where it optimizes as deployed.
#[test]
fn quantized_bodies_give_what_ours_do() {
    let (Some(reference), Some(deployed)) = (engine(), engine_of(Numerics::Deployed, 2)) else {
        return;
    };
    let embedded = Embedded::default();
    let seen = std::cell::Cell::new(0);
    crate::quantize::each_case(|name, case, _| {
        if !name.starts_with("bodies") {
            return;
        }
        for target in Policy::presets() {
            let model = crate::quantize::for_target(case, target);
            let graph = &model.graph;
            for sample in crate::quantize::samples(case) {
                let outputs = |engine: &dyn Engine| {
                    let mut program = engine
                        .compile(graph, &graph.inputs, &graph.outputs)
                        .unwrap_or_else(|error| panic!("{name} for {target}: {error}"));
                    program.run(&sample).unwrap()
                };
                let ours = outputs(&embedded);
                for (ours, theirs) in ours.iter().zip(outputs(&reference)) {
                    let off = distance(&theirs, ours);
                    assert!(off < 1e-5, "{name} for {target}: {off}");
                }
                // Its kernels on integers may round and saturate in other places: it has to load and run.
                assert_eq!(outputs(&deployed).len(), ours.len());
            }
            seen.set(seen.get() + 1);
        }
    });
    assert!(seen.get() > 30, "{} models", seen.get());
}
