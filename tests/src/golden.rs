//! Placement, ties and encodings against AIMET-ONNX's own, recorded on small models.
//!
//! A folder of `fixtures/golden` holds a model, its calibration samples, and for each configuration
//! what AIMET made of it. Where ours is meant to differ, `differences.txt` lists the tensor and says
//! why; a line there that is not needed is a failure, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry::engine::Engine as _;
use marquetry::engine::{Embedded, Options, arrays};
use marquetry::ir::{Model, Tensor, infer, onnx};
use marquetry::quant::encodings::{self, Version};
use marquetry::quant::pass::Content;
use marquetry::quant::{Context, Granularity, Pipeline, Quantizer, State};
use serde_json::{Value, json};

use crate::quantize::Shipped;

/// How far scales of computed values may be apart: another engine sums in another order.
const TOLERANCE: f64 = 2e-6;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden")
}

/// A recorded result: model, configuration, and the file.
struct Case {
    model: PathBuf,
    name: String,
    config: String,
    golden: Value,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sorted = |path: &Path| {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    for model in sorted(&folder()).into_iter().filter(|path| path.is_dir()) {
        for file in sorted(&model) {
            if file.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&file).unwrap();
                cases.push(Case {
                    name: model.file_name().unwrap().to_str().unwrap().to_owned(),
                    config: file.file_stem().unwrap().to_str().unwrap().to_owned(),
                    golden: serde_json::from_str(&text).unwrap(),
                    model: model.clone(),
                });
            }
        }
    }
    cases
}

/// Types as AIMET names them.
fn bits(golden: &Value, key: &str) -> u32 {
    golden[key].as_str().unwrap().trim_start_matches("int").parse().unwrap()
}

fn target(config: &str) -> String {
    match config.split_once('.').unwrap().0 {
        "default" => "aimet-default".to_owned(),
        htp => format!("qnn-{}", htp.replace('_', "-")),
    }
}

/// The recorded samples of a model.
pub(crate) fn samples(folder: &Path, model: &Model) -> Vec<Vec<Tensor>> {
    let batches = arrays(folder.join("inputs.npz")).unwrap();
    let inputs: Vec<&str> =
        model.graph.inputs.iter().map(|&value| model.graph.value(value).name()).collect();
    let sample = |at: usize| -> Option<Vec<Tensor>> {
        let find = |name: &&str| {
            let key = format!("{name}/{at}");
            batches.iter().find(|(found, _)| *found == key).map(|(_, tensor)| tensor.clone())
        };
        inputs.iter().map(find).collect()
    };
    let samples: Vec<Vec<Tensor>> = (0..).map_while(sample).collect();
    assert!(!samples.is_empty(), "{}", folder.display());
    samples
}

/// The state after placement, ties and calibration, and after what more is to be done.
fn run(case: &Case, more: &str) -> State {
    let target = target(&case.config);
    let (activations, weights) =
        (bits(&case.golden, "activation_type"), bits(&case.golden, "param_type"));
    let pipeline = format!(
        "Pipeline(target: {target:?}, passes: [
            Group(),
            Place(activations: UInt{activations}, weights: (dtype: Int{weights})),
            Propagate,
            Calibrate(compat: Aimet),
            {more}
        ])"
    );
    let model = onnx::read(case.model.join("model.onnx")).unwrap();
    let samples = samples(&case.model, &model);
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
    Pipeline::parse(&pipeline).unwrap().run(model, &cx).unwrap()
}

/// What differs, by tensor.
#[derive(Default)]
struct Differences(BTreeMap<String, Vec<String>>);

impl Differences {
    fn add(&mut self, tensor: &str, what: String) {
        self.0.entry(tensor.to_owned()).or_default().push(what);
    }
}

/// A quantizer in the words of the recorded files.
fn state(site: &Quantizer) -> Value {
    let range = site.fixed_range.map(|range| [range.min, range.max]);
    let axis = match site.spec.granularity {
        Granularity::PerChannel(axis) => Some(axis),
        _ => None,
    };
    json!({
        "enabled": site.enabled,
        "is_param": site.role != marquetry::quant::Role::Activation,
        "bw": site.spec.dtype.bits(),
        "sym": site.spec.symmetric,
        "strict": site.spec.strict,
        "unsigned": site.spec.unsigned,
        "per_channel": axis.is_some(),
        "ch_axis": axis,
        "fixed": range,
    })
}

fn compare_states(state_of: &State, golden: &Value, found: &mut Differences) -> usize {
    let graph = &state_of.model.graph;
    let recorded = golden["quantizers"].as_object().unwrap();
    for (name, expected) in recorded {
        let site = graph.find(name).and_then(|value| state_of.plan.get(value));
        match site.map(state) {
            Some(ours) if ours == *expected => {}
            Some(ours) => found.add(name, format!("{ours}, not {expected}")),
            None if expected["enabled"] == false => {}
            None => found.add(name, "it has no quantizer".to_owned()),
        }
    }
    for (value, _) in state_of.plan.enabled() {
        let name = graph.value(value).name();
        if !recorded.contains_key(name) {
            found.add(name, "it has a quantizer".to_owned());
        }
    }
    recorded.len()
}

fn compare_ties(state: &State, golden: &Value, found: &mut Differences) {
    let graph = &state.model.graph;
    let name = |value| graph.value(value).name().to_owned();
    let ours: BTreeSet<BTreeSet<String>> = state
        .plan
        .enabled()
        .filter(|(_, site)| site.tied.is_some())
        .map(|(value, _)| state.plan.tied_to(value).into_iter().map(name).collect())
        .collect();
    let theirs: BTreeSet<BTreeSet<String>> = golden["tied"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tie| {
            tie.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        })
        .collect();
    for tie in ours.symmetric_difference(&theirs) {
        let whose = if ours.contains(tie) { "ours" } else { "AIMET's" };
        tie.iter().for_each(|name| found.add(name, format!("tied in {tie:?}, {whose} only")));
    }
}

/// Entries of a file of encodings by name, with the section that each is in.
fn entries(file: &Value) -> Vec<(String, Value)> {
    let mut entries = Vec::new();
    for section in ["activation_encodings", "param_encodings", "encodings"] {
        match &file[section] {
            Value::Array(list) => entries.extend(list.iter().map(|entry| {
                (entry["name"].as_str().unwrap().to_owned(), json!([section, entry]))
            })),
            Value::Object(map) => {
                entries.extend(
                    map.iter().map(|(name, entry)| (name.clone(), json!([section, entry]))),
                );
            }
            _ => {}
        }
    }
    // AIMET's fault: an input that is left out gets an entry without a name.
    entries.retain(|(name, _)| !name.is_empty());
    entries
}

/// The numbers of an entry, and everything else about it.
fn apart(entry: &Value, numbers: &mut Vec<f64>) -> Value {
    match entry {
        Value::Number(number) if number.is_f64() => {
            numbers.push(number.as_f64().unwrap());
            Value::Null
        }
        Value::Array(list) => list.iter().map(|item| apart(item, numbers)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, item)| (key.clone(), apart(item, numbers))).collect()
        }
        other => other.clone(),
    }
}

/// The encodings of all versions; how many entries are equal to the bit, and how many nearly.
fn compare_encodings(state: &State, golden: &Value, found: &mut Differences) -> (usize, usize) {
    let graph = &state.model.graph;
    let types = infer::run(&state.model);
    let (mut equal, mut near) = (0, 0);
    for version in Version::ALL {
        let document = encodings::of_plan(graph, &types, &state.plan, version).unwrap();
        let text = encodings::render(&document, version).unwrap();
        let ours = entries(&serde_json::from_str(&text).unwrap());
        let theirs = entries(&golden["encodings"][version.name()]);
        let names = |list: &[(String, Value)]| -> Vec<String> {
            list.iter().map(|(name, _)| name.clone()).collect()
        };
        let (our_names, their_names) = (names(&ours), names(&theirs));
        let lacking = |here: &[String], there: &[String]| -> Vec<String> {
            here.iter().filter(|name| !there.contains(name)).cloned().collect()
        };
        for name in lacking(&their_names, &our_names) {
            found.add(&name, format!("it has no encoding in {}", version.name()));
        }
        for name in lacking(&our_names, &their_names) {
            found.add(&name, format!("it has an encoding in {}", version.name()));
        }
        let mut agreed = Vec::new();
        for (name, expected) in &theirs {
            let Some((_, entry)) = ours.iter().find(|(ours, _)| ours == name) else { continue };
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let rest = (apart(entry, &mut a), apart(expected, &mut b));
            let is_computed = graph.find(name).is_some_and(|value| types.constant(value).is_none())
                && !graph.inputs.iter().any(|&input| graph.value(input).name() == name);
            // An int32 scale is the product of one of a weight and one of a computed value.
            let is_product = entry[1]["output_dtype"] == "int32";
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE * b.abs();
            if entry == expected {
                equal += 1;
                agreed.push(name.clone());
            } else if rest.0 == rest.1
                && a.len() == b.len()
                && (is_computed || is_product)
                && a.iter().zip(&b).all(close)
            {
                near += 1;
                agreed.push(name.clone());
            } else {
                found.add(name, format!("{}: {entry}, not {expected}", version.name()));
            }
        }
        // What differs in its role is listed elsewhere.
        agreed.retain(|name| !found.0.contains_key(name));
        let order = our_names.into_iter().filter(|name| agreed.contains(name));
        assert_eq!(order.collect::<Vec<_>>(), agreed, "the order of {}", version.name());
    }
    (equal, near)
}

/// A model, a configuration and a tensor.
type Key = (String, String, String);

/// Tensors that are meant to differ, with what our quantizer is:
/// `model configuration tensor,..: quantizer # why`.
fn expected() -> BTreeMap<Key, String> {
    let text = fs::read_to_string(folder().join("differences.txt")).unwrap();
    let mut expected = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (what, why) = line.split_once(" # ").expect("a line says why");
        assert!(!why.trim().is_empty(), "{line}");
        let (whose, ours) = what.split_once(": ").expect("a line says what ours is");
        let [model, config, tensors] = whose.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        for tensor in tensors.split(',') {
            let key = (model.to_owned(), config.to_owned(), tensor.to_owned());
            assert!(expected.insert(key, ours.to_owned()).is_none(), "{line}: it is listed twice");
        }
    }
    expected
}

/// Our quantizer in words, as the list of differences says it.
fn words(state: &State, tensor: &str) -> String {
    let graph = &state.model.graph;
    let value = graph.find(tensor);
    let Some((value, site)) = value.and_then(|value| Some((value, state.plan.get(value)?))) else {
        return "none".to_owned();
    };
    if !site.enabled {
        return "off".to_owned();
    }
    let range = site.fixed_range.map_or(String::new(), |range| format!(", range {range}"));
    let tied = state.plan.tied_to(value).into_iter().filter(|&other| other != value);
    let tied: String = tied.map(|other| format!(", as {}", graph.value(other).name())).collect();
    format!("{}{range}{tied}", site.spec)
}

#[test]
fn models_are_quantized_as_aimet_does() {
    let mut expected = expected();
    let mut wrong = String::new();
    let mut listed_differences = 0;
    let (mut same, mut total, mut states, mut equal, mut near) = (0, 0, 0, 0, 0);
    for case in cases() {
        let ours = run(&case, "");
        let mut found = Differences::default();
        states += compare_states(&ours, &case.golden, &mut found);
        compare_ties(&ours, &case.golden, &mut found);
        let counts = compare_encodings(&ours, &case.golden, &mut found);
        (equal, near) = (equal + counts.0, near + counts.1);
        // Biases that are quantized are those that encodings hold anyway.
        compare_encodings(&run(&case, "QuantizeBias, Check"), &case.golden, &mut found);
        total += 1;
        same += usize::from(found.0.is_empty());
        for (tensor, what) in found.0 {
            let key = (case.name.clone(), case.config.clone(), tensor.clone());
            let words = words(&ours, &tensor);
            match expected.remove(&key) {
                Some(listed) if listed == words => listed_differences += 1,
                Some(listed) => {
                    writeln!(wrong, "{key:?}: our quantizer is {words}, not {listed}").unwrap();
                }
                None => writeln!(wrong, "{key:?}: {}", what.join("; ")).unwrap(),
            }
        }
    }
    for (key, _) in expected {
        writeln!(wrong, "{key:?}: it does not differ any more").unwrap();
    }
    eprintln!(
        "{same} of {total} cases are equal, {listed_differences} tensors differ as listed; of {states} quantizers, {equal} entries are equal to \
         the bit and {near} within {TOLERANCE}"
    );
    assert!(wrong.is_empty(), "{wrong}");
    assert!(total >= 57, "{total}");
}

/// Elements of recorded outputs that lie on another grid point, at most: in another order of sums, a value
/// near the middle between two grid points goes to the other one.
const OTHER_STEP: f64 = 0.02;
/// How many steps of the output's grid they are away, at most: one on the way, and one at the output.
const STEPS: f32 = 2.0;

/// What AIMET's simulation computed on the samples it calibrated with, and what our quantized model
/// does.
#[test]
fn quantized_models_compute_what_the_simulation_of_aimet_does() {
    let differs: BTreeSet<(String, String)> =
        expected().into_keys().map(|(model, config, _)| (model, config)).collect();
    let (mut compared, mut elements, mut other, mut wrong) = (0, 0, 0, String::new());
    for case in cases() {
        if differs.contains(&(case.name.clone(), case.config.clone())) {
            continue;
        }
        let state = run(&case, "Check, Export(qdq: \"out.onnx\")");
        let Content::Model(quantized) = &state.outputs[0].content else { panic!("no model") };
        let graph = &quantized.graph;
        let engine = Embedded::new(&Options::default());
        let mut program = engine.compile(graph, &graph.inputs, &graph.outputs).unwrap();
        let recorded = arrays(case.model.join(format!("{}.sim_out.npz", case.config))).unwrap();
        let output = state.model.graph.outputs[0];
        let step = state.plan.get(output).and_then(|site| site.encoding.as_ref());
        let step = step.map_or(0.0, |encoding| encoding.cells[0].scale as f32);
        for (at, sample) in samples(&case.model, &state.model).iter().enumerate() {
            let expected =
                &recorded.iter().find(|(name, _)| *name == format!("arr_{at}")).unwrap().1;
            let found = program.run(sample).unwrap().remove(0);
            assert_eq!(found.dims(), expected.dims(), "{} {}", case.name, case.config);
            let (found, expected) = (found.f32s().unwrap(), expected.f32s().unwrap());
            for (found, expected) in found.iter().zip(expected.iter()) {
                let away = (found - expected).abs();
                // Scales agree to within `TOLERANCE`, and so do grid points.
                let slack = 1e-5 * expected.abs() + 1e-7;
                other += usize::from(away > slack);
                if away > STEPS * step * 1.001 + slack {
                    writeln!(
                        wrong,
                        "{} {} sample {at}: {found}, not {expected}, {} steps",
                        case.name,
                        case.config,
                        away / step
                    )
                    .unwrap();
                }
                elements += 1;
            }
        }
        compared += 1;
    }
    eprintln!("{compared} simulations: of {elements} elements, {other} lie on another grid point");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(compared >= 49, "{compared}");
    assert!(f64::from(other as u32) <= OTHER_STEP * f64::from(elements as u32), "{other}");
}
