//! The operators' own tests, as `onnx` 1.23 generates them. Those that do not pass stand in a list that
//! may only shrink; `MARQUETRY_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use marquetry_engine::{Embedded, Engine, EngineError};
use marquetry_ir::{Tensor, onnx};

use super::difference;

/// What became of a test.
enum Outcome {
    Passed,
    /// Its inputs or outputs are sequences, optionals or maps.
    Untensor,
    /// The engine said beforehand, or when it came to it, that it cannot.
    Refused(String),
    /// It failed without a refusal.
    Failed(String),
    /// It gave something else, and nobody noticed.
    Wrong(String),
}

impl Outcome {
    fn kind(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Untensor => "untensor",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Wrong(_) => "wrong",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Passed | Self::Untensor => "",
            Self::Refused(why) | Self::Failed(why) | Self::Wrong(why) => why,
        }
    }
}

#[test]
fn node_tests_pass_but_for_a_list_that_only_shrinks() {
    let Some(folder) = std::env::var_os("MARQUETRY_NODE_TESTS") else {
        eprintln!("skipped: MARQUETRY_NODE_TESTS names no folder with node tests");
        return;
    };
    let tests = folders(&Path::new(&folder).join("node"));
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/engine/node-tests.txt");
    let outcomes: BTreeMap<String, Outcome> =
        tests.iter().map(|test| (name(test), run(test))).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    outcomes.values().for_each(|outcome| *counts.entry(outcome.kind()).or_default() += 1);
    eprintln!("{counts:?}");
    if std::env::var_os("MARQUETRY_BLESS").is_some() {
        let mut text = String::from(HEADER);
        for (name, outcome) in &outcomes {
            match outcome {
                Outcome::Passed => {}
                outcome => writeln!(text, "{} {name}", outcome.kind()).unwrap(),
            }
        }
        std::fs::write(&list, text).unwrap();
        if std::env::var_os("MARQUETRY_WHY").is_some() {
            for (name, outcome) in &outcomes {
                eprintln!("{} {name}: {}", outcome.kind(), outcome.detail());
            }
        }
        return;
    }
    let text = std::fs::read_to_string(&list).unwrap();
    let listed: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(kind, name)| (name, kind))
        .collect();
    let mut changes = String::new();
    for (name, outcome) in &outcomes {
        let expected = listed.get(name.as_str()).copied().unwrap_or("passed");
        if outcome.kind() != expected {
            let (kind, detail) = (outcome.kind(), outcome.detail());
            writeln!(changes, "{name}: {kind} instead of {expected} {detail}").unwrap();
        }
    }
    assert!(changes.is_empty(), "{changes}");
}

#[test]
fn committed_node_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/node");
    let tests: Vec<PathBuf> = folders(&folder);
    assert!(tests.len() > 30, "the fixtures are there");
    let failures: Vec<String> = tests
        .iter()
        .map(|test| (name(test), run(test)))
        .filter(|(_, outcome)| !matches!(outcome, Outcome::Passed))
        .map(|(name, outcome)| format!("{name}: {} {}", outcome.kind(), outcome.detail()))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The folders in a folder, sorted.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|entry| entry.is_dir()).collect();
    folders.sort();
    folders
}

const HEADER: &str = "\
# Node tests of the `onnx` package that the embedded engine does not pass, and how: `refused` with a
# reason, `failed` while running, `untensor` for inputs and outputs that are no tensors. The list may only
# shrink; `MARQUETRY_BLESS=1` writes it anew.
";

fn name(test: &Path) -> String {
    test.file_name().unwrap().to_string_lossy().into_owned()
}

fn run(test: &Path) -> Outcome {
    let model = match onnx::read(test.join("model.onnx")) {
        Ok(model) => model,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let graph = &model.graph;
    let engine = Embedded::default();
    let refusals = engine.refusals(graph);
    if let Some(refusal) = refusals.first() {
        return Outcome::Refused(refusal.to_string());
    }
    let mut program = match engine.compile(graph, &graph.inputs, &graph.outputs) {
        Ok(program) => program,
        Err(error) => return failure(error),
    };
    for set in 0.. {
        let data = test.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            break;
        }
        let (Some(inputs), Some(expected)) = (
            tensors(&data, "input", graph.inputs.len()),
            tensors(&data, "output", graph.outputs.len()),
        ) else {
            return Outcome::Untensor;
        };
        let found = match program.run(&inputs) {
            Ok(found) => found,
            Err(error) => return failure(error),
        };
        for (found, expected) in found.iter().zip(&expected) {
            if let Some(difference) = difference(found, expected, 1e-3, 1e-6) {
                return Outcome::Wrong(difference);
            }
        }
    }
    Outcome::Passed
}

fn failure(error: EngineError) -> Outcome {
    match error {
        EngineError::Refused(_) => Outcome::Refused(error.to_string()),
        error => Outcome::Failed(error.to_string()),
    }
}

fn tensors(data: &Path, kind: &str, count: usize) -> Option<Vec<Tensor>> {
    let read = |at: usize| {
        let bytes = std::fs::read(data.join(format!("{kind}_{at}.pb"))).ok()?;
        onnx::decode_tensor(bytes).ok()
    };
    (0..count).map(read).collect()
}
