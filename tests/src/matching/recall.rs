//! How many of the patterns that models are known to hold are found, and that nothing else is.
//!
//! The truth was counted while the PyTorch modules ran, never by matching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use marquetry::ir::{Model, onnx};
use serde_json::Value;

/// Rows of the truth, with the patterns that count for them. Some spellings mean almost the same and
/// have a pattern of their own.
const ROWS: &[(&str, &[&str])] = &[
    ("layer_norm", &["LayerNorm", "LayerNormOuterEps"]),
    ("rms_norm", &["RmsNorm", "RmsNormL2"]),
    ("group_norm", &["GroupNorm"]),
    ("instance_norm", &["InstanceNorm"]),
    ("gelu_erf", &["Gelu"]),
    ("gelu_tanh", &["GeluTanh"]),
    ("quick_gelu", &["QuickGelu"]),
    ("silu", &["Silu"]),
    ("hardswish", &["HardSwish"]),
    ("mish", &["Mish"]),
    ("relu6", &["Relu6"]),
    ("attention", &["Attention"]),
    ("rope", &["Rope"]),
    ("swiglu", &["SwiGlu"]),
    ("geglu", &["GeGlu"]),
    ("conv_bn", &["ConvBn"]),
    ("conv_bn_relu", &["ConvBnRelu"]),
    ("conv_bn_relu6", &["ConvBnRelu6"]),
    ("conv_bn_silu", &["ConvBnSilu"]),
    ("conv_bn_hardswish", &["ConvBnHardSwish"]),
];

/// Where what is in the file differs from what the module did: start of the file's name, row, reason.
const KNOWN: &[(&str, &str, &str)] = &[
    ("unet_gn", "silu", "the exporter has merged equal calls on the time embedding"),
    ("zoo_rms", "silu", "x·σ(x) written by hand is counted under swiglu only"),
    ("trained/swiglu", "rope", "its rotary embedding is not counted"),
];

fn zoo() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo/open");
    let folder = std::env::var_os("MARQUETRY_ZOO").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: no folder {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn everything_in_the_zoo_is_found_and_nothing_else() {
    let Some(zoo) = zoo() else { return };
    let truth = std::fs::read_to_string(zoo.join("patterns_truth/truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let library = marquetry::library::standard();
    let mut totals: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    let mut surprises = Vec::new();
    for (name, counts) in truth["files"].as_object().unwrap() {
        let path = if name.contains('/') { zoo.join(name) } else { zoo.join("graphs").join(name) };
        if !path.is_file() {
            continue;
        }
        let model = onnx::read(&path).unwrap();
        let groups = marquetry::groups(&model, &library);
        let found: BTreeMap<&str, usize> = groups.counts().into_iter().collect();
        for (row, patterns) in ROWS {
            let expected = expected(&model, counts, row);
            let found = patterns.iter().filter_map(|name| found.get(name)).sum::<usize>() as u64;
            let total = totals.entry(row).or_default();
            *total = (
                total.0 + found.min(expected),
                total.1 + expected,
                total.2 + found.saturating_sub(expected),
            );
            let known = KNOWN.iter().any(|(file, known, _)| name.starts_with(file) && known == row);
            if found != expected && !known {
                surprises.push(format!("{name}: {row}: {found} found of {expected}"));
            }
        }
    }
    for (row, (found, expected, extra)) in totals {
        eprintln!("{row:18} {found:5} of {expected:5}, {extra} more");
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// The count of a row, unless it cannot be found: exporters fold batch normalization away.
fn expected(model: &Model, counts: &Value, row: &str) -> u64 {
    let count = |row: &str| counts[row].as_u64().unwrap_or_default();
    if row.starts_with("conv_bn") {
        let nodes = model.graph.nodes();
        let left =
            nodes.filter(|node| model.graph.node(*node).is_onnx("BatchNormalization")).count();
        if (left as u64) < count("batch_norm") {
            return 0;
        }
    }
    count(row)
}
