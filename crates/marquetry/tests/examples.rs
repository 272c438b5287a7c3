//! Runs the pages of `examples/` and the README as a reader would, and the pattern files beside them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod docs;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn write_a_pattern() {
    docs::check(&root().join("examples"), "write-a-pattern", "README.md");
}

/// Four processes at a time.
#[test]
fn distributed() {
    docs::check(&root().join("examples"), "distributed", "README.md");
}

/// What is submitted runs at once, one task of an array behind the other.
const SBATCH: &str = r#"#!/bin/sh
set -eu
first=1 last=1
while [ $# -gt 0 ]; do
  case $1 in
    --array=*) range=${1#--array=}; first=${range%-*}; last=${range#*-} ;;
    --wrap) shift; command=$1 ;;
  esac
  shift
done
for task in $(seq "$first" "$last"); do
  SLURM_ARRAY_TASK_ID=$task sh -c "$command" >>log
  echo "task $task" >>log
done
echo 17
"#;

/// The form for Slurm, with something in place of Slurm, and names that a shell has to be told of.
#[cfg(unix)]
#[test]
fn arrays_of_jobs_give_what_one_process_gives() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("it's here");
    std::fs::create_dir(&work).unwrap();
    let sbatch = work.join("sbatch");
    std::fs::write(&sbatch, SBATCH).unwrap();
    std::fs::set_permissions(&sbatch, std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["cnn.onnx", "calib.npz"] {
        std::fs::copy(root().join("examples/digits").join(name), work.join(name)).unwrap();
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_marquetry"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", work.display(), binary.parent().unwrap().display());
    let words = |output: &str| {
        let words = ["quantize", "cnn.onnx", "--calib", "calib.npz", "--weights", "int4", "-o"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.push(work.join(output).display().to_string());
        words
    };
    let run = |command: &mut Command| {
        let output = command.current_dir(&work).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let script = root().join("examples/distributed/slurm.sh").canonicalize().unwrap();
    let mut submit = Command::new("sh");
    let words_of_jobs = words("jobs.onnx");
    run(submit.arg(script).arg("3").args(words_of_jobs).args(["--checkpoints", "levels"]));
    run(Command::new(binary).args(words("one.onnx")));
    let read = |name: &str| std::fs::read(work.join(name)).unwrap();
    assert!(read("jobs.onnx") == read("one.onnx"), "not the same bytes");
    let log = std::fs::read_to_string(work.join("log")).unwrap();
    assert!(log.matches("task 3").count() >= 2, "{log}");
}

#[test]
fn rules() {
    docs::check(&root().join("examples"), "rules", "README.md");
}

/// The pages of the book, each in a folder with the models and samples of `examples/digits`.
#[test]
fn book() {
    let pages = root().join("docs/src");
    let mut commands = 0;
    let mut entries: Vec<_> =
        std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for page in entries.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        let ours = text.lines().filter(|line| line.starts_with("$ marquetry ")).count();
        if ours > 0 || text.contains("```sh\n") {
            commands += ours;
            docs::check_page(&root().join("examples/digits"), Path::new(""), page);
        }
    }
    assert!(commands > 20, "{commands}");
}

#[test]
fn pipelines() {
    docs::check(&root().join("examples"), "pipelines", "README.md");
}

/// The shipped pipelines, by name.
/// What the tutorial shows of a pass of one's own is what the example does, and its tests test.
#[test]
fn the_pass_of_the_tutorial_is_that_of_the_example() {
    let page = std::fs::read_to_string(root().join("docs/src/tutorial-pipelines.md")).unwrap();
    let source = std::fs::read_to_string(root().join("examples/custom-pass/src/lib.rs")).unwrap();
    let blocks = page.split("```rust\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 2, "{}", blocks.len());
    for block in blocks {
        assert!(source.contains(block), "{block}");
    }
}

fn shipped_pipelines() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("examples/pipelines")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut found: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "ron")).collect();
    found.sort();
    found
}

#[test]
fn every_target_has_a_pipeline_that_works() {
    let mut targets = std::collections::BTreeSet::new();
    for pipeline in shipped_pipelines() {
        for model in ["cnn.onnx", "vit.onnx"] {
            let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
                .args(["plan", "--json"])
                .arg(&pipeline)
                .arg(root().join("examples/digits").join(model))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", pipeline.display());
            let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            targets.insert(plan["target"].as_str().unwrap().to_owned());
            let steps = plan["steps"].as_array().unwrap();
            let calibrate = steps.iter().find(|step| step["pass"] == "Calibrate").unwrap();
            let touched = calibrate["touches"].as_array().unwrap().len();
            assert!(touched > 4, "{} for {model}: {touched} sites", pipeline.display());
        }
    }
    // Older Hexagons have the same rules as v73, and the aliases no pipeline of their own.
    let shipped = marquetry::quant::Policy::presets();
    let missing: Vec<_> = shipped
        .filter(|target| !targets.contains(*target))
        .filter(|target| !["qnn-htp", "qnn-htp-v66", "qnn-htp-v68", "qnn-htp-v69"].contains(target))
        .collect();
    assert!(missing.is_empty(), "no pipeline for {missing:?}");
}

#[test]
fn shipped_pipelines_run() {
    let digits = root().join("examples/digits");
    for name in ["ort-cpu-int4.ron", "qnn-htp-v75.ron", "aimet-default.ron"] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(["run", "--samples", "8"])
            .arg(root().join("examples/pipelines").join(name))
            .arg(digits.join("cnn.onnx"))
            .arg("--calib")
            .arg(digits.join("calib.npz"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(std::fs::read_dir(folder.path()).unwrap().count() > 0, "{name} writes something");
    }
}

/// The README, in a folder with its examples, the file it says to save, and some `model.onnx`.
#[test]
fn readme() {
    use marquetry::ir::{onnx, text};
    let folder = tempfile::tempdir().unwrap();
    docs::copy_files(&root().join("examples"), &folder.path().join("examples"));
    let model = text::parse(MODEL).unwrap();
    onnx::write(&model, folder.path().join("model.onnx")).unwrap();
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    // Whoever runs this has built the command, and runs the tests.
    let page = page.replace("cargo run --release --package marquetry -- ", "marquetry ");
    let kept = page.lines().filter(|line| !line.starts_with("cargo "));
    let page: String = kept.map(|line| format!("{line}\n")).collect();
    let commands = page.lines().filter(|line| line.starts_with("marquetry "));
    assert!(commands.count() >= 3, "{page}");
    assert_eq!(docs::run(&page, folder.path()), page);
}

/// What the pattern of the README finds something in.
const MODEL: &str = r#"
<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 8] x) => (float[2, 8] y) <float two = {2}, float eps = {1e-5}, float[8] scale = {1, 1, 1, 1, 1, 1, 1, 1}> {
  s = Pow (x, two)
  m = ReduceMean <axes = [-1]> (s)
  e = Add (m, eps)
  r = Sqrt (e)
  n = Div (x, r)
  y = Mul (n, scale)
}
"#;

/// Every file in the folders of examples passes its own tests.
#[test]
fn pattern_files_pass_their_tests() {
    let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(["pattern", "test", "examples"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
