//! The whole path of quantization on graphs in text form: what is placed, why, and what is written.
//!
//! A case has a section `model`, a section `pipeline` with passes in RON (the standard ones where it
//! is missing), and one section `sample` for each calibration sample: the inputs as constants. A section
//! `digits` says how many the numbers of the model are shown with: vectors of processors differ in length,
//! and with them the last bits of sums that are not exact.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use marquetry::engine::{Embedded, Engine as _, Options};
use marquetry::ir::text::{self, PrintOptions};
use marquetry::ir::{Model, Opsets, Tensor, check, infer, onnx};
use marquetry::library;
use marquetry::matcher::Groups;
use marquetry::pattern::Library;
use marquetry::quant::encodings::{self, Version};
use marquetry::quant::export::qdq;
use marquetry::quant::import;
use marquetry::quant::pass::{Content, FindGroups};
use marquetry::quant::{Context, DType, Decisions, Pipeline, Policy, Standard, State};

use crate::case::sections;

/// The shipped patterns, which all cases share.
pub(crate) struct Shipped;

static LIBRARY: LazyLock<Library> = LazyLock::new(library::standard);

impl FindGroups for Shipped {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &LIBRARY))
    }

    fn knows(&self, pattern: &str) -> bool {
        LIBRARY.patterns().iter().any(|known| known.name == pattern)
    }

    fn names(&self) -> Vec<&str> {
        LIBRARY.patterns().iter().map(|pattern| pattern.name.as_str()).collect()
    }
}

pub(crate) fn sample(src: &str) -> Vec<Tensor> {
    let graph = text::parse_graph(&format!("s () => () <{src}> {{}}"), &Opsets::onnx(21)).unwrap();
    let constants = graph.initializers.iter();
    constants.map(|&value| graph.value(value).constant.clone().unwrap()).collect()
}

/// The state after the pipeline of a case, or the error in words.
pub(crate) fn run(case: &str) -> Result<State, String> {
    let pipeline = match sections(case).into_iter().find(|(name, _)| *name == "pipeline") {
        Some((_, text)) => text.to_string(),
        None => Standard::new("out.onnx").recipe().to_ron(),
    };
    run_by(case, &pipeline)
}

/// The state after another pipeline on the model and the samples of a case.
fn run_by(case: &str, pipeline: &str) -> Result<State, String> {
    let sections = sections(case);
    let model = sections.iter().find(|(name, _)| *name == "model").expect("a case has a model");
    let model = text::parse(model.1).unwrap();
    let told = |error: &dyn std::fmt::Display, code: &str, hint: Option<String>| {
        format!("{code}\n{error}\nhint: {}\n", hint.unwrap_or_default())
    };
    let pipeline =
        Pipeline::parse(pipeline).map_err(|error| told(&error, error.code(), error.hint()))?;
    let samples: Vec<Vec<Tensor>> =
        sections.iter().filter(|(name, _)| *name == "sample").map(|(_, src)| sample(src)).collect();
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
    pipeline.run(model, &cx).map_err(|error| told(&error, error.code(), error.hint()))
}

fn render(state: &State) -> String {
    let mut out = String::new();
    for summary in &state.summaries {
        writeln!(out, "{}: {}", summary.pass, summary.done).unwrap();
        for note in &summary.notes {
            writeln!(out, "  {note}").unwrap();
        }
    }
    let report = Decisions::of(state);
    out.push_str("--- sites\n");
    for site in &report.sites {
        let zero_point = site.zero_point.map_or(String::new(), |at| format!(", zero point {at}"));
        let tied = match site.tied_to.is_empty() {
            true => String::new(),
            false => format!(", as {}", site.tied_to.join(" and ")),
        };
        let what = match site.enabled {
            true => format!("{} {}{zero_point}{tied}", site.dtype, site.granularity),
            false => "off".to_owned(),
        };
        writeln!(out, "{}: {what}", site.value).unwrap();
        for reason in &site.because {
            writeln!(out, "  {reason}").unwrap();
        }
    }
    out.push_str("--- in float\n");
    for value in &report.left_in_float {
        writeln!(out, "{}", value.value).unwrap();
        for reason in &value.because {
            writeln!(out, "  {reason}").unwrap();
        }
    }
    for output in &state.outputs {
        writeln!(out, "--- {}", output.path.display()).unwrap();
        match &output.content {
            Content::Model(model) => out.push_str(&text::print(model, &PrintOptions::summary())),
            Content::Text(text) => out.push_str(text),
        }
    }
    out
}

/// The text with its decimal fractions rounded to so many digits.
fn rounded(text: &str, digits: usize) -> String {
    let of_number = |c: char| c.is_ascii_digit() || ".-+e".contains(c);
    let mut out = String::new();
    for token in text.split_inclusive(|c: char| !of_number(c)) {
        let number = token.trim_end_matches(|c: char| !of_number(c));
        match number.parse::<f64>() {
            Ok(value) if number.contains('.') && number.len() > digits => {
                write!(out, "{value:.0$e}{1}", digits - 1, &token[number.len()..]).unwrap();
            }
            _ => out.push_str(token),
        }
    }
    out
}

#[test]
fn cases() {
    insta::glob!("../cases/quantize", "*.case", |path| {
        let case = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rendered = match run(&case) {
            Ok(state) => {
                assert!(!name.starts_with("err-"), "{name} is not refused");
                let digits = sections(&case).into_iter().find(|(name, _)| *name == "digits");
                match digits {
                    Some((_, digits)) => rounded(&render(&state), digits.trim().parse().unwrap()),
                    None => render(&state),
                }
            }
            Err(error) => {
                assert!(name.starts_with("err-"), "{name}: {error}");
                error
            }
        };
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => true,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(rendered);
        });
    });
}

/// Signal to noise in decibels; what is equal has no noise.
fn decibels(reference: &[f32], found: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let signal: f64 = reference.iter().map(|&x| square(x.into())).sum();
    let noise: f64 =
        reference.iter().zip(found).map(|(&x, &y)| square(f64::from(x) - f64::from(y))).sum();
    10.0 * (signal / noise.max(1e-30)).log10()
}

pub(crate) fn outputs(model: &Model, sample: &[Tensor]) -> Vec<Tensor> {
    let graph = &model.graph;
    let engine = Embedded::new(&Options::default());
    let mut program = engine.compile(graph, &graph.inputs, &graph.outputs).unwrap();
    program.run(sample).unwrap()
}

/// Shows every case that is quantized: its name, its text and its model.
pub(crate) fn each_case(see: impl Fn(&str, &str, &Model)) {
    insta::glob!("../cases/quantize", "*.case", |path| {
        let case = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.starts_with("err-") {
            return;
        }
        let float = sections(&case).into_iter().find(|(name, _)| *name == "model").unwrap().1;
        see(name, &case, &text::parse(float).unwrap());
    });
}

/// The text of one case, and its pipeline.
fn one_case(name: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/quantize");
    let case = fs::read_to_string(folder.join(name)).unwrap();
    let found = sections(&case).into_iter().find(|(name, _)| *name == "pipeline");
    let pipeline = found.expect("it has a pipeline").1.to_owned();
    (case, pipeline)
}

#[test]
fn quantized_cases_compute_nearly_the_same() {
    each_case(|name, case, float| {
        let state = run(case).unwrap();
        let samples = sections(case).into_iter().filter(|(name, _)| *name == "sample");
        for (_, src) in samples {
            let sample = sample(src);
            // Passes before the export rewrite the float model, which must mean what it did.
            let pairs = outputs(float, &sample).into_iter().zip(outputs(state.float(), &sample));
            for (reference, found) in pairs {
                let found = decibels(&reference.to_f32s().unwrap(), &found.to_f32s().unwrap());
                assert!(found > 100.0, "{name}: the float model is off, {found:.1} dB");
            }
            for output in &state.outputs {
                let Content::Model(quantized) = &output.content else { continue };
                let pairs = outputs(float, &sample).into_iter().zip(outputs(quantized, &sample));
                for (reference, found) in pairs {
                    let found = decibels(&reference.to_f32s().unwrap(), &found.to_f32s().unwrap());
                    assert!(found > 25.0, "{name}: {found:.1} dB");
                }
            }
        }
    });
}

/// The samples of a case.
pub(crate) fn samples(case: &str) -> Vec<Vec<Tensor>> {
    let sections = sections(case).into_iter();
    sections.filter(|(name, _)| *name == "sample").map(|(_, src)| sample(src)).collect()
}

/// The model of a case, quantized for a target.
pub(crate) fn for_target(case: &str, target: &str) -> Model {
    let standard = Standard::of_target(target, "out.onnx").unwrap();
    // Sixteen bits where there are, because what is wrong is to be seen, not what is coarse.
    let wide = Policy::open(target).unwrap().activations.contains(&DType::UInt16);
    let activations = if wide { DType::UInt16 } else { standard.activations };
    let standard = Standard { equalize: false, activations, ..standard };
    let state = run_by(case, &standard.recipe().to_ron())
        .unwrap_or_else(|error| panic!("{target}: {error}"));
    let content = state.outputs.into_iter().map(|output| output.content).next();
    match content {
        Some(Content::Model(quantized)) => *quantized,
        _ => panic!("the standard pipeline exports a model"),
    }
}

#[test]
fn every_target_quantizes_every_case() {
    each_case(|name, case, float| {
        for target in Policy::presets() {
            let quantized = &for_target(case, target);
            let (mut reference, mut found) = (Vec::new(), Vec::new());
            for (_, src) in sections(case).into_iter().filter(|(name, _)| *name == "sample") {
                let sample = sample(src);
                for (float, ours) in outputs(float, &sample).iter().zip(outputs(quantized, &sample))
                {
                    reference.extend_from_slice(&float.to_f32s().unwrap());
                    found.extend_from_slice(&ours.to_f32s().unwrap());
                }
            }
            let codes = |model| check::run(model).iter().map(|one| one.code()).collect();
            let (before, after): (BTreeSet<_>, BTreeSet<_>) = (codes(float), codes(quantized));
            assert!(after.is_subset(&before), "{name} for {target}: {before:?} becomes {after:?}");
            let found = decibels(&reference, &found);
            eprintln!("{name} for {target}: {found:.1} dB");
            // A target that quantizes everything puts a mask on one grid with the scores.
            let limit = if name == "attention-mask" { 9.0 } else { 20.0 };
            assert!(found > limit, "{name} for {target}: {found:.1} dB");
        }
    });
}

/// The statements of a model, in no order: what is written by hand and by a pass may differ in it.
fn statements(model: &Model) -> Vec<String> {
    let text = text::print(model, &PrintOptions::default());
    let parts = text
        .split(['\n', ','])
        .map(|part| part.trim().trim_start_matches('<').trim_end_matches('>').trim().to_owned());
    let mut parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parts.sort();
    parts
}

#[test]
fn a_quantized_model_taken_apart_lowers_to_itself() {
    each_case(|name, case, _| {
        for output in &run(case).unwrap().outputs {
            let Content::Model(quantized) = &output.content else { continue };
            let apart = import::qdq(quantized).unwrap();
            assert_eq!(apart.notes, Vec::<String>::new(), "{name}");
            let again = qdq::lower(&apart.model, &apart.plan).unwrap();
            assert_eq!(statements(&again.model), statements(quantized), "{name}");
        }
    });
}

#[test]
fn integers_that_bodies_hold_are_taken_apart() {
    // As other tools write it: a body has its own weight and quantizes what it reads by name.
    let model = r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[1,2] x, bool c) => (float[1,2] y)
        <float s = {0.5}, uint8 z = {3}>
        {
          y = If (c) <
            then_branch = t () => (float[1,2] a)
              <int8[2,2] w_q = {1, 2, -3, 4}, float ws = {0.25}, int8 wz = {0}> {
              q = QuantizeLinear (x, s, z)
              d = DequantizeLinear (q, s, z)
              w = DequantizeLinear (w_q, ws, wz)
              a = MatMul (d, w)
            },
            else_branch = e () => (float[1,2] b) {
              b = Relu (x)
            }
          >
        }"#;
    let model = text::parse(model).unwrap();
    let apart = import::qdq(&model).unwrap();
    assert_eq!(apart.notes, Vec::<String>::new());
    let graph = &apart.model.graph;
    let sites = apart.plan.enabled().map(|(value, _)| graph.value(value).name());
    assert_eq!(sites.collect::<BTreeSet<_>>(), BTreeSet::from(["x", "w"]));
    // What a body reads by name is quantized where it is defined, and its weight is stored there.
    let again = qdq::lower(&apart.model, &apart.plan).unwrap().model;
    assert!(again.graph.find("x_quantized").is_some() && again.graph.find("w_quantized").is_some());
    for taken in [0, 1] {
        let sample = sample(&format!("float[1,2] x = {{0.4, -7}}, bool c = {{{taken}}}"));
        assert_eq!(outputs(&again, &sample), outputs(&model, &sample));
    }
}

/// A folder of the zoo, or nothing where this clone has none.
fn zoo() -> Option<PathBuf> {
    let folder = std::env::var_os("MARQUETRY_ZOO").unwrap_or("../shared/zoo/open".into());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("trained");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no zoo at {}", folder.display());
    None
}

/// The share of samples whose largest logit is at the label.
fn accuracy(model: &Model, inputs: &Tensor, labels: &[i64]) -> f64 {
    let logits = outputs(model, std::slice::from_ref(inputs)).remove(0);
    let classes = logits.dims()[1];
    let logits = logits.f32s().unwrap();
    let right = logits.chunks(classes).zip(labels).filter(|(row, label)| {
        let best = (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        best as i64 == **label
    });
    right.count() as f64 / labels.len() as f64
}

#[test]
fn zoo_models_stay_near_float() {
    let Some(zoo) = zoo() else { return };
    let engine = Embedded::new(&Options::default());
    // What is lost at most: a point; half of one where equalization is what saves the model.
    for (name, data, limit) in [
        ("cnn.ts17", "data_digits.npz", 0.01),
        ("mbnet.ts17", "data_digits.npz", 0.005),
        ("cnn.ts13bn", "data_digits.npz", 0.01),
        ("mlp.dyn18", "data_digits.npz", 0.01),
        ("swiglu.ts13", "data_digits.npz", 0.01),
        ("vit.dyn18", "data_digits.npz", 0.01),
        ("mlp_cancer.ts17", "data_mlp_cancer.npz", 0.01),
    ] {
        let arrays = marquetry::engine::arrays(zoo.join(data)).unwrap();
        let array = |name: &str| arrays.iter().find(|(found, _)| found == name).unwrap().1.clone();
        let first = |tensor: &Tensor, count: usize| {
            let count = count.min(tensor.dims()[0]);
            let row: usize = tensor.dims()[1..].iter().product();
            let data = tensor.to_f32s().unwrap()[..count * row].to_vec();
            let dims = [&[count], &tensor.dims()[1..]].concat();
            Tensor::from_f32s(dims, &data).unwrap()
        };
        let samples = vec![vec![first(&array("calib_x"), 256)]];
        let test = first(&array("test_x"), 1000);
        let labels = array("test_y").to_i64s().unwrap();
        let labels = &labels[..test.dims()[0]];

        let model = onnx::read(zoo.join(format!("{name}.onnx"))).unwrap();
        let float = accuracy(&model, &test, labels);
        let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
        let pipeline = Standard::new("out.onnx").recipe().pipeline().unwrap();
        let state = pipeline.run(model, &cx).unwrap();
        let Content::Model(quantized) = &state.outputs[0].content else {
            panic!("the standard pipeline exports a model")
        };
        let int8 = accuracy(quantized, &test, labels);
        eprintln!("{name}: {float:.4} -> {int8:.4}");
        assert!(float - int8 <= limit, "{name}: {float:.4} -> {int8:.4}");
    }
}

/// The mean error of every output channel of the last axis, over all samples of a case.
fn mean_errors(case: &str, pipeline: &str) -> Vec<f64> {
    let state = run_by(case, pipeline).unwrap();
    let Content::Model(quantized) = &state.outputs[0].content else { panic!("no model") };
    let mut sums: Vec<f64> = Vec::new();
    let samples: Vec<_> =
        sections(case).into_iter().filter(|(name, _)| *name == "sample").collect();
    for (_, src) in &samples {
        let sample = sample(src);
        let pairs = outputs(state.float(), &sample).into_iter().zip(outputs(quantized, &sample));
        let errors: Vec<f64> = pairs
            .flat_map(|(float, found)| {
                let (float, found) = (float.to_f64s().unwrap(), found.to_f64s().unwrap());
                float.into_iter().zip(found).map(|(x, y)| y - x).collect::<Vec<_>>()
            })
            .collect();
        sums.resize(errors.len(), 0.0);
        sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
    }
    sums.iter().map(|sum| (sum / samples.len() as f64).abs()).collect()
}

#[test]
fn weights_that_integers_give_back_leave_biases_as_they_are() {
    let (case, pipeline) = one_case("bias-correction-exact.case");
    let written = |pipeline: &str| match &run_by(&case, pipeline).unwrap().outputs[0].content {
        Content::Model(model) => text::print(model, &PrintOptions::default()),
        Content::Text(text) => panic!("{text}"),
    };
    let plain = pipeline.replace("BiasCorrection(),", "");
    assert_ne!(plain, pipeline);
    assert_eq!(written(&plain), written(&pipeline));
}

#[test]
fn corrected_biases_bring_the_means_of_outputs_back() {
    let (case, pipeline) = one_case("bias-correction.case");
    let plain = pipeline.replace("BiasCorrection(),", "");
    assert_ne!(plain, pipeline);
    let (before, after) = (mean_errors(&case, &plain), mean_errors(&case, &pipeline));
    let largest = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    assert!(largest(&after) < 0.25 * largest(&before), "{before:?} became {after:?}");
}

/// Noise in the outputs over all samples of a case, as a share of the signal, for each output.
fn noise(case: &str, pipeline: &str) -> Vec<f64> {
    let state = run_by(case, pipeline).unwrap();
    let Content::Model(quantized) = &state.outputs[0].content else { panic!("no model") };
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for (_, src) in sections(case).into_iter().filter(|(name, _)| *name == "sample") {
        let sample = sample(src);
        let pairs = outputs(state.float(), &sample).into_iter().zip(outputs(quantized, &sample));
        for (at, (float, found)) in pairs.enumerate() {
            sums.resize(sums.len().max(at + 1), (0.0, 0.0));
            for (x, y) in float.to_f64s().unwrap().into_iter().zip(found.to_f64s().unwrap()) {
                sums[at].0 += x * x;
                sums[at].1 += (x - y) * (x - y);
            }
        }
    }
    sums.into_iter().map(|(signal, noise)| noise / signal).collect()
}

#[test]
fn rounding_for_outputs_leaves_less_noise_in_them() {
    let (case, pipeline) = one_case("gptq.case");
    let pipeline = pipeline.replace("dtype: Int8", "dtype: Int4");
    let nearest = pipeline.replace("Gptq(),", "");
    assert_ne!(nearest, pipeline);
    let before = noise(&case, &nearest);
    let becomes = |pipeline: &str, most: f64| {
        let after = noise(&case, pipeline);
        eprintln!("{before:?} became {after:?}");
        assert!(before.iter().zip(&after).all(|(before, after)| *after < most * before));
    };
    becomes(&pipeline.replace("Gptq()", "Gptq(candidates: 1)"), 0.8);
    // Five samples tell little of which of many grids is better for others, but none may be worse.
    becomes(&pipeline, 1.0);
}

#[test]
fn biases_make_up_for_what_rounding_for_outputs_left() {
    let (case, pipeline) = one_case("bias-correction.case");
    let plain = pipeline.replace("BiasCorrection(),", "");
    // Taking out what nearest rounding would have done would move the means as far the other way.
    let both = pipeline.replace("BiasCorrection(),", "Gptq(), BiasCorrection(),");
    let (before, after) = (mean_errors(&case, &plain), mean_errors(&case, &both));
    let largest = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    assert!(largest(&after) < 0.25 * largest(&before), "{before:?} became {after:?}");
}

/// A zero point beside the middle is that of a symmetric grid for some, and has a step more for others.
#[test]
fn encodings_keep_every_zero_point() {
    let x = Tensor::from_f32s([6], &[-1.5, -1.28, -0.01, 0.3, 1.27, 1.5]).unwrap();
    for (dtype, zero) in [
        ("uint8", 0),
        ("uint8", 126),
        ("uint8", 127),
        ("uint8", 128),
        ("uint8", 255),
        ("int8", -1),
        ("int8", 0),
        ("uint16", 32_767),
        ("uint16", 32_768),
    ] {
        let source = format!(
            r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[6] x) => (float[6] y) <float s = {{0.01}}, {dtype} z = {{{zero}}}> {{
              q = QuantizeLinear (x, s, z)
              d = DequantizeLinear (q, s, z)
              y = Relu (d)
              m = Neg (d)
            }}"#
        );
        let source = source.replace("float[6] y)", "float[6] y, float[6] m)");
        let quantized = text::parse(&source).unwrap();
        let expected = outputs(&quantized, std::slice::from_ref(&x));
        let apart = import::qdq(&quantized).unwrap();
        for version in Version::ALL {
            let types = infer::run(&apart.model);
            let graph = &apart.model.graph;
            let document = encodings::of_plan(graph, &types, &apart.plan, version).unwrap();
            let written = encodings::render(&document, version).unwrap();
            let read = encodings::parse(&written).unwrap();
            let applied = encodings::apply(&read, &apart.model, true).unwrap();
            let again = qdq::lower(&applied.model, &applied.plan).unwrap().model;
            let found = outputs(&again, std::slice::from_ref(&x));
            assert_eq!(found, expected, "{dtype} {zero} in {}", version.name());
        }
    }
}
