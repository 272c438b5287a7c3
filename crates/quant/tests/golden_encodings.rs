//! Files of encodings and quantized models against those that AIMET-ONNX exported.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use std::fs;
use std::path::{Path, PathBuf};

use marquetry_ir::{Model, infer, onnx};
use marquetry_quant::encodings::{self, EncodingsError, Version};
use marquetry_quant::export::qdq;
use marquetry_quant::{Granularity, Plan, import};
use serde_json::Value;

/// The folder of recorded data, or nothing where this clone has none.
fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("MARQUETRY_GOLDEN").unwrap_or("../shared/golden".into());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no golden data at {}", folder.display());
    None
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every export with its models: `(what, model, encodings by version)`.
fn exports(folder: &Path) -> Vec<(String, Model, Value)> {
    let mut exports = Vec::new();
    for model in sorted(&folder.join("models")).into_iter().filter(|path| path.is_dir()) {
        for file in sorted(&model).into_iter().filter(|path| path.extension().unwrap() == "json") {
            let what = format!("{} {}", model.display(), file.file_name().unwrap().display());
            let float = onnx::read(model.join("model.onnx")).unwrap();
            exports.push((what, float, json(&file)["encodings"].clone()));
        }
    }
    for kind in ["bq", "lpbq", "float16", "a16w8", "fp8"] {
        let quantized = onnx::read(folder.join(format!("export/{kind}.float.qdq.onnx"))).unwrap();
        let float = import::qdq(&quantized).unwrap().model;
        exports.push((kind.to_owned(), float, json(&folder.join(format!("export/{kind}.json")))));
    }
    exports
}

fn plan(model: &Model, text: &str) -> Plan {
    let document = encodings::parse(text).unwrap();
    encodings::apply(&document, model, true).unwrap().plan
}

fn render(model: &Model, plan: &Plan, version: Version) -> Result<Value, EncodingsError> {
    let document = encodings::of_plan(&model.graph, &infer::run(model), plan, version)?;
    let text = encodings::render(&document, version)?;
    Ok(serde_json::from_str(&text).unwrap())
}

const SECTIONS: [&str; 3] = ["activation_encodings", "param_encodings", "encodings"];

#[test]
fn golden_files_are_read_and_written_unchanged() {
    let Some(folder) = golden() else { return };
    let mut compared = 0;
    for (what, _, versions) in exports(&folder) {
        for version in Version::ALL {
            let file = &versions[version.name()];
            if !file.is_object() {
                continue;
            }
            let document = encodings::parse(&file.to_string()).unwrap();
            let text = encodings::render(&document, version).unwrap();
            let written: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(written, *file, "{what} {}", version.name());
            compared += 1;
        }
    }
    eprintln!("{compared} files are equal");
    assert!(compared > 100);
}

#[test]
fn golden_files_of_version_1_become_those_of_the_others() {
    let Some(folder) = golden() else { return };
    let (mut compared, mut wrong) = (0, Vec::new());
    for (what, model, versions) in exports(&folder) {
        let Some(file) = versions.get("1.0.0").filter(|file| file.is_object()) else { continue };
        let plan = plan(&model, &file.to_string());
        for version in Version::ALL {
            let mut expected = versions[version.name()].clone();
            if !expected.is_object() {
                let error = render(&model, &plan, version).unwrap_err();
                assert_eq!(error.code(), "encodings_cannot_hold", "{what}");
                continue;
            }
            if let Some(list) = expected.get_mut("encodings").and_then(Value::as_array_mut) {
                // AIMET's fault: an input that is left out gets an entry without a name.
                list.retain(|entry| entry["name"] != "");
            }
            let written = render(&model, &plan, version).unwrap();
            for section in SECTIONS {
                if written.get(section) != expected.get(section) {
                    wrong.push(format!(
                        "{what} {} {section}{}",
                        version.name(),
                        first_difference(&written[section], &expected[section],)
                    ));
                }
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 100);
    eprintln!("{compared} files are equal");
}

fn first_difference(written: &Value, expected: &Value) -> String {
    if let (Some(written), Some(expected)) = (written.as_object(), expected.as_object()) {
        let pair = written.iter().zip(expected).find(|(a, b)| a != b);
        return pair.map_or(String::new(), |(a, b)| {
            let inner = first_difference(a.1, b.1);
            format!(", {} or {}{inner}", a.0, b.0)
        });
    }
    let (Some(written), Some(expected)) = (written.as_array(), expected.as_array()) else {
        return String::new();
    };
    let name = |list: &[Value]| -> Vec<String> {
        list.iter().map(|entry| entry["name"].as_str().unwrap_or("?").to_owned()).collect()
    };
    if name(written) != name(expected) {
        return format!(": {:?}, not {:?}", name(written), name(expected));
    }
    let pair = written.iter().zip(expected).find(|(a, b)| a != b);
    pair.map_or(String::new(), |(a, b)| format!(":\n  {a}\n  {b}"))
}

/// Scales of blocks stand in a flat list there, which says nothing of blocks.
#[test]
fn golden_files_of_the_oldest_version_hold_the_same_numbers() {
    let Some(folder) = golden() else { return };
    let (mut compared, mut blocks) = (0, 0);
    for (what, model, versions) in exports(&folder) {
        let (old, new) = (&versions["0.6.1"], &versions["1.0.0"]);
        if !old.is_object() || !new.is_object() {
            continue;
        }
        let (old, new) = (plan(&model, &old.to_string()), plan(&model, &new.to_string()));
        assert_eq!(old.enabled().count(), new.enabled().count(), "{what}");
        for (value, site) in old.enabled() {
            let found = site.encoding.as_ref().unwrap();
            let expected = new.get(value).and_then(|site| site.encoding.as_ref()).unwrap();
            assert_eq!(found, expected, "{what}: {}", model.graph.value(value).name());
            compared += 1;
            blocks += usize::from(matches!(found.granularity, Granularity::PerBlock { .. }));
        }
    }
    assert!(compared > 300 && blocks == 2, "{compared}, {blocks}");
}

#[test]
fn golden_files_of_version_2_hold_the_same_numbers() {
    let Some(folder) = golden() else { return };
    for (what, model, versions) in exports(&folder) {
        let (old, new) = (&versions["1.0.0"], &versions["2.0.0"]);
        if !old.is_object() || !new.is_object() {
            continue;
        }
        let (old, new) = (plan(&model, &old.to_string()), plan(&model, &new.to_string()));
        for (value, site) in old.enabled() {
            let expected = site.encoding.as_ref().unwrap();
            if expected.dtype.is_cast() {
                continue;
            }
            let found = new.get(value).and_then(|site| site.encoding.as_ref());
            let found = found.unwrap_or_else(|| panic!("{what}: {value} is missing"));
            assert_eq!(found.cells, expected.cells, "{what}: {}", model.graph.value(value).name());
            assert_eq!(found.shape, expected.shape, "{what}");
            assert_eq!(found.channel_scales, expected.channel_scales, "{what}");
        }
    }
}

#[test]
fn golden_quantized_models_hold_the_encodings_of_their_files() {
    let Some(folder) = golden() else { return };
    let mut compared = 0;
    for kind in ["bq", "lpbq", "a16w8", "fp8"] {
        for style in ["float", "pre"] {
            let path = folder.join(format!("export/{kind}.{style}.qdq.onnx"));
            let imported = import::qdq(&onnx::read(path).unwrap()).unwrap();
            assert_eq!(imported.notes, Vec::<String>::new(), "{kind} {style}");
            let file = &json(&folder.join(format!("export/{kind}.json")))["2.0.0"];
            let expected = plan(&imported.model, &file.to_string());
            for (value, site) in expected.enabled() {
                let name = imported.model.graph.value(value).name();
                let found = imported.plan.get(value).and_then(|site| site.encoding.as_ref());
                if found.is_none() && matches!(site.role, marquetry_quant::Role::Bias { .. }) {
                    continue;
                }
                let found = found.unwrap_or_else(|| panic!("{kind} {style}: {name}"));
                let expected = site.encoding.as_ref().unwrap();
                // The model holds scales in single precision.
                let narrow = |one: &marquetry_quant::Encoding| -> Vec<(f32, f64)> {
                    one.cells.iter().map(|cell| (cell.scale as f32, cell.offset)).collect()
                };
                assert_eq!(narrow(found), narrow(expected), "{kind} {style}: {name}");
                assert_eq!(found.shape, expected.shape, "{kind} {style}: {name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 30);
}

#[test]
fn golden_integer_weights_are_the_same() {
    let Some(folder) = golden() else { return };
    for kind in ["bq", "lpbq", "a16w8", "fp8"] {
        let read = |style: &str| {
            let path = folder.join(format!("export/{kind}.{style}.qdq.onnx"));
            onnx::read(path).unwrap()
        };
        // From the float weights, quantized anew, to the integers that AIMET stored.
        let imported = import::qdq(&read("float")).unwrap();
        let lowered = qdq::lower(&imported.model, &imported.plan).unwrap();
        let (ours, theirs) = (lowered.model.graph, read("pre").graph);
        for weight in ["w1", "w2"] {
            let ours = ours.initializer(ours.find(&format!("{weight}_quantized")).unwrap());
            let theirs = theirs.initializer(theirs.find(&format!("{weight}_q")).unwrap());
            assert_eq!(ours.unwrap(), theirs.unwrap(), "{kind} {weight}");
        }
    }
}

#[test]
fn taking_a_model_apart_and_lowering_it_again_is_identity() {
    let Some(folder) = golden() else { return };
    for kind in ["bq", "lpbq", "a16w8", "fp8"] {
        let path = folder.join(format!("export/{kind}.float.qdq.onnx"));
        let imported = import::qdq(&onnx::read(path).unwrap()).unwrap();
        let once = qdq::lower(&imported.model, &imported.plan).unwrap().model;
        let again = import::qdq(&once).unwrap();
        let twice = qdq::lower(&again.model, &again.plan).unwrap().model;
        let lines = |model: &Model| {
            let text = marquetry_ir::text::print(model, &Default::default());
            let mut lines: Vec<String> = text
                .split(['\n', ','])
                .map(|line| line.trim().trim_start_matches('<').trim_end_matches('>').to_owned())
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&once), lines(&twice), "{kind}");
    }
}
