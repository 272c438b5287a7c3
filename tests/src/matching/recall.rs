//! How many of the patterns that models are known to hold are found, and that nothing else is.
//!
//! The truth was counted while the PyTorch modules ran, never by matching.
//!
//! The table in `patterns/README.md` is what this test finds: it fails where the table is stale, and
//! writes it where `INSTA_UPDATE=always` is set.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
    ("batch_norm", &["BatchNorm"]),
    ("quick_gelu", &["QuickGelu"]),
    ("silu", &["Silu"]),
    ("hardswish", &["HardSwish"]),
    ("hardsigmoid", &["HardSigmoid"]),
    ("mish", &["Mish"]),
    ("relu6", &["Relu6"]),
    ("clip", &["Clip"]),
    ("softmax", &["Softmax"]),
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
    ("zoo_rms", "clip", "the bound inside F.normalize is no call of clamp"),
    ("trained/swiglu", "rope", "its rotary embedding is not counted"),
];

/// Kinds of models, by the beginning of the file's name: the columns of the table.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "text encoders",
        &["bert", "roberta", "distilbert", "mpnet", "modernbert", "clip_text", "../minilm"],
    ),
    ("GPT-like", &["gpt2", "opt"]),
    ("Llama-like", &["llama", "mistral", "qwen2", "phi3", "gemma"]),
    ("T5", &["t5"]),
    ("speech", &["whisper", "wav2vec2"]),
    (
        "vision transformers",
        &["vit", "deit", "timm_vit", "clip_vision", "segformer", "trained/vit"],
    ),
    ("ConvNeXt, Mixer", &["convnext", "timm_mixer"]),
    (
        "convolutional",
        &[
            "resnet",
            "mobilenet",
            "densenet",
            "shufflenet",
            "efficientnet",
            "deeplab",
            "timm_repvgg",
            "yolo",
            "style",
            "trained/cnn",
            "trained/mbnet",
        ],
    ),
    ("diffusion", &["unet"]),
    ("hand-written", &["zoo_", "trained/", "stack"]),
];

/// Found at most as often as there, there, and found beyond that.
type Count = (u64, u64, u64);

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
    let mut table: BTreeMap<(usize, usize), Count> = BTreeMap::new();
    let mut surprises = Vec::new();
    for (name, counts) in truth["files"].as_object().unwrap() {
        let path = if name.contains('/') { zoo.join(name) } else { zoo.join("graphs").join(name) };
        if !path.is_file() {
            continue;
        }
        let column =
            FAMILIES.iter().position(|(_, names)| names.iter().any(|n| name.starts_with(n)));
        let model = onnx::read(&path).unwrap();
        let groups = marquetry::groups(&model, &library);
        let found: BTreeMap<&str, usize> = groups.counts().into_iter().collect();
        for (at, (row, patterns)) in ROWS.iter().enumerate() {
            let expected = expected(&model, counts, row);
            let found = patterns.iter().filter_map(|name| found.get(name)).sum::<usize>() as u64;
            let known = KNOWN.iter().any(|(file, known, _)| name.starts_with(file) && known == row);
            if found != expected && !known {
                surprises.push(format!("{name}: {row}: {found} found of {expected}"));
            }
            // What is known to be counted otherwise is in the notes, not in the table.
            if !known {
                let cell = table.entry((at, column.unwrap_or(FAMILIES.len()))).or_default();
                cell.0 += found.min(expected);
                cell.1 += expected;
                cell.2 += found.saturating_sub(expected);
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    if std::env::var_os("MARQUETRY_ZOO").is_none() {
        check_table(&markdown(&table));
    }
}

/// The table of what is found: a row for each meaning, a column for each kind of model.
fn markdown(table: &BTreeMap<(usize, usize), Count>) -> String {
    let families: Vec<_> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| pattern | {} | all |\n", families.join(" | "));
    writeln!(text, "|---|{}", "---|".repeat(families.len() + 1)).unwrap();
    let cell = |(found, truth, extra): Count| match (truth, extra) {
        (0, 0) => String::new(),
        (_, 0) => format!("{found} / {truth}"),
        _ => format!("{found} / {truth} (+{extra})"),
    };
    for (at, (_, patterns)) in ROWS.iter().enumerate() {
        let mut all = Count::default();
        let names: Vec<_> = patterns.iter().map(|name| format!("`{name}`")).collect();
        let mut line = format!("| {} |", names.join(", "));
        for column in 0..families.len() {
            let count = table.get(&(at, column)).copied().unwrap_or_default();
            all = (all.0 + count.0, all.1 + count.1, all.2 + count.2);
            write!(line, " {} |", cell(count)).unwrap();
        }
        if all != Count::default() {
            writeln!(text, "{line} {} |", cell(all)).unwrap();
        }
    }
    text
}

/// Compares with the part of `patterns/README.md` between the marks, or writes it.
fn check_table(table: &str) {
    const MARKS: [&str; 2] = ["<!-- recall: begin -->\n", "<!-- recall: end -->"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patterns/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).expect("the table begins with a mark");
    let (old, after) = rest.split_once(MARKS[1]).expect("the table ends with a mark");
    if old == table {
        return;
    }
    let bless = std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    assert!(
        bless,
        "the table in patterns/README.md is stale; write it with `INSTA_UPDATE=always cargo test -p \
         marquetry-tests --test cases recall`. It should be:\n{table}"
    );
    std::fs::write(path, [before, MARKS[0], table, MARKS[1], after].concat()).unwrap();
}

/// The count of a row, as far as it can be found: exporters fold batch normalization away, and an
/// operator that is an attention as a whole holds no softmax of its own.
fn expected(model: &Model, counts: &Value, row: &str) -> u64 {
    let count = |row: &str| counts[row].as_u64().unwrap_or_default();
    let left = |op: &str| {
        let nodes = model.graph.nodes();
        nodes.filter(|node| model.graph.node(*node).is_onnx(op)).count() as u64
    };
    match row {
        "batch_norm" => count(row).min(left("BatchNormalization")),
        _ if row.starts_with("conv_bn") && left("BatchNormalization") < count("batch_norm") => 0,
        // What calls softmax itself, or scaled_dot_product_attention.
        "softmax" => {
            let all = count("softmax_direct").max(count("attention"));
            all.saturating_sub(left("Attention"))
        }
        _ => count(row),
    }
}
