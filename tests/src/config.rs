//! Pipelines in JSON: whatever we ship or write is what the schema says, and reads back as the same.

use std::path::Path;

use marquetry::quant::recipe::{Registry, schema};
use marquetry::quant::{Compat, DType, Policy, Recipe, Standard};
use serde_json::{Value, json};

use crate::json_schema::violations;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The JSON form is what the schema says, and is the same pipeline.
fn holds(schema: &Value, recipe: &Recipe, name: &str) {
    let json = recipe.to_json();
    assert_eq!(violations(schema, &json, "pipeline"), Vec::<String>::new(), "{name}");
    let back = Recipe::from_json(&json.to_string(), &Registry::builtin()).unwrap();
    assert_eq!(back.to_ron(), recipe.to_ron(), "{name}");
}

#[test]
fn shipped_pipelines_in_json_are_what_the_schema_says() {
    let schema = schema();
    let mut count = 0;
    for entry in Path::new(ROOT).join("examples/pipelines").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "ron") {
            let recipe = Recipe::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
            holds(&schema, &recipe, &path.display().to_string());
            count += 1;
        }
    }
    assert!(count > 10, "{count} pipelines");
}

#[test]
fn what_options_mean_is_what_the_schema_says() {
    let schema = schema();
    for target in Policy::presets() {
        let standard = Standard::of_target(target, "out.onnx").unwrap();
        holds(&schema, &standard.recipe(), target);
        let four = Standard { weights: DType::Int4, seq_mse: Some(7), ..standard.clone() };
        holds(&schema, &four.recipe(), target);
        let aimet = Standard { compat: Compat::Aimet, samples: Some(3), ..standard };
        holds(&schema, &aimet.recipe(), target);
    }
}

/// Whatever fields of steps say in RON, and whatever may be left out.
#[test]
fn every_kind_of_field_is_what_the_schema_says() {
    let text = r#"Pipeline(target: "tensorrt", engine: Ort, patterns: ["std", "mine.pat"], passes: [
        FoldConstants, FoldBatchNorm, Rewrite(rules: ["cleanup"]), Equalize(samples: 3),
        Group(patterns: ["Gelu"]),
        Place(weights: (dtype: Int4, granularity: PerBlock(32)), dynamic_products: true),
        Override(select: "op:Conv", with: (dtype: UInt16, range: (min: 0))), Only(select: "op:Conv"),
        Propagate, SeqMse(select: "maybe group:Linear", loss: L1), Observe(statistics: "s"),
        Calibrate(scheme: Percentile(99.9), weights: TfEnhanced, nan: Skip), Gptq(damping: 0.5),
        BiasCorrection(samples: 2), QuantizeBias, Check,
        Export(qdq: "out.onnx", encodings: (path: "e", version: "0.6.1"), report: "r.html")])"#;
    holds(&schema(), &Recipe::parse(text).unwrap(), "fields");
}

/// The schema is no empty promise, and takes what the reader takes.
#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    let step = |step: Value| {
        let json = json!({ "passes": [step] });
        let read = Recipe::from_json(&json.to_string(), &Registry::builtin()).is_ok();
        let found = violations(&schema, &json, "pipeline");
        assert_eq!(read, found.is_empty(), "{json}: {found:?}");
        read
    };
    assert!(step(json!({ "Calibrate": { "weights": null, "samples": null } })));
    assert!(step(json!({ "Calibrate": { "weights": "MinMax", "scheme": { "Percentile": 99 } } })));
    assert!(step(json!("Check")) && step(json!({ "Export": {} })) && step(json!("Group")));
    assert!(!step(json!({ "Calibrate": { "weights": "MinMaxx" } })));
    assert!(!step(json!({ "Calibrate": { "scheme": null } })), "it has no choice of nothing");
    assert!(!step(json!({ "Calibrate": { "sample": 3 } })));
    assert!(!step(json!({ "Calibrate": { "samples": "3" } })));
    assert!(!step(json!({ "Override": { "select": "op:Conv" } })), "it needs more");
    assert!(!step(json!("Chekc")));
}
