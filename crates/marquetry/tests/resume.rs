//! A run that is killed goes on where it was: real processes, killed at ten moments of a pipeline, must
//! leave no output half-written, and what they write in the end must be what an undisturbed run writes.
//! One that is asked to stop saves what it has, and says how to go on.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Every kind of step that runs samples.
const PIPELINE: &str = r#"Pipeline(
    passes: [
        FoldConstants,
        FoldBatchNorm,
        Equalize(samples: 16),
        Group,
        Place(weights: (dtype: Int4)),
        SeqMse(samples: 8),
        Gptq(samples: 8),
        Calibrate(scheme: TfEnhanced, samples: 48),
        BiasCorrection(samples: 8),
        QuantizeBias,
        Check,
        Export(qdq: "out.onnx", encodings: (path: "out.encodings"), report: "out.html"),
    ],
)"#;

/// How many moments.
const KILLS: usize = 10;
/// What must be the same to the byte.
const OUTPUTS: [&str; 2] = ["out.onnx", "out.encodings"];
/// It holds times and the command, which differ.
const REPORT: &str = "out.html";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with a model, samples and the pipeline.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["cnn.onnx", "calib.npz"] {
        fs::copy(root().join("examples/digits").join(file), folder.path().join(file)).unwrap();
    }
    fs::write(folder.path().join("p.ron"), PIPELINE).unwrap();
    folder
}

/// A run that saves what it has behind every sample.
fn command(folder: &Path, more: &[&str]) -> Command {
    saving(folder, "0", more)
}

fn saving(folder: &Path, seconds: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marquetry"));
    command
        .args(["run", "p.ron", "cnn.onnx", "--calib", "calib.npz", "--save-every", seconds])
        .args(more)
        .current_dir(folder)
        .env_clear();
    command
}

fn ran(folder: &Path, more: &[&str]) -> Output {
    command(folder, more).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the outputs hold, as far as they are there.
fn outputs(folder: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name: &'static str| Some((name, fs::read(folder.join(name)).ok()?));
    OUTPUTS.into_iter().filter_map(read).collect()
}

/// How many complete files a journal has.
fn entries(folder: &Path) -> usize {
    let mut found = 0;
    let mut waiting = vec![folder.join("out.onnx.journal")];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(at).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                waiting.push(entry.path());
            } else if name.ends_with(".entry")
                || name.contains(".level-") && name.ends_with(".onnx")
            {
                found += 1;
            }
        }
    }
    found
}

/// Waits until a journal has so much, or the run is through.
fn wait_for(folder: &Path, child: &mut Child, wanted: usize) {
    while entries(folder) < wanted && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_runs_go_on_to_the_same_bytes() {
    let folder = prepared();
    let folder = folder.path();
    let undisturbed = ran(folder, &["--keep-journal"]);
    assert!(undisturbed.status.success(), "{}", told(&undisturbed));
    let all = entries(folder);
    assert!(all >= 8, "the journal has {all} entries");
    fs::remove_dir_all(folder.join("out.onnx.journal")).unwrap();
    let expected = outputs(folder);
    assert_eq!(expected.len(), OUTPUTS.len());

    let mut resumed = 0;
    let page_end = "</html>\n";
    let whole = |page: &str| page.starts_with("<!doctype html>") && page.ends_with(page_end);
    assert!(whole(&fs::read_to_string(folder.join(REPORT)).unwrap()));

    for at in 0..KILLS {
        OUTPUTS
            .iter()
            .chain([&REPORT])
            .for_each(|name| fs::remove_file(folder.join(name)).unwrap_or_default());
        let mut child =
            command(folder, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From the first entry to the last, and each time a little later.
        wait_for(folder, &mut child, 1 + at * all / KILLS);
        std::thread::sleep(Duration::from_millis(3 * at as u64));
        // On Unix this is SIGKILL.
        child.kill().unwrap();
        let was_through = child.wait().unwrap().success();
        if let Ok(page) = fs::read_to_string(folder.join(REPORT)) {
            assert!(whole(&page), "kill {at}: `{REPORT}` is half-written");
        }
        for (name, found) in outputs(folder) {
            assert_eq!(found, expected[name], "kill {at}: `{name}` is half-written");
        }
        let had = entries(folder);
        let output = ran(folder, &["--resume"]);
        let said = told(&output);
        assert!(output.status.success(), "kill {at}: {said}");
        assert_eq!(outputs(folder), expected, "kill {at}");
        assert!(!folder.join("out.onnx.journal").exists(), "kill {at}");
        // The journal goes last, so that nothing is missing without something to go on with.
        assert!(whole(&fs::read_to_string(folder.join(REPORT)).unwrap()), "kill {at}");
        let taken = said.contains("the journal had what these steps found");
        assert_eq!(taken, had > 0, "kill {at}: {had} entries, {said}");
        resumed += usize::from(taken);
        eprintln!("killed with {had} of {all} entries, through: {was_through}");
    }
    assert!(resumed >= KILLS / 2, "{resumed} of {KILLS} kills left something to go on with");
}

/// Runs until a journal has something, and kills the run.
fn interrupted(folder: &Path) {
    let mut child =
        command(folder, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(folder, &mut child, 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(entries(folder) > 0, "the run was killed while it had something to lose");
}

#[test]
fn journals_of_other_runs_are_refused() {
    let folder = prepared();
    let folder = folder.path();
    interrupted(folder);
    let refused = |more: &[&str], code: &str| {
        let output = ran(folder, more);
        let said = told(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error[{code}]: out.onnx.journal: ")), "{said}");
        assert!(said.contains("help: "), "{said}");
    };
    // Nobody loses hours of work by forgetting an option.
    refused(&[], "journal_exists");
    refused(&["--resume", "--batch", "2"], "journal_mismatch");
    let model = folder.join("cnn.onnx");
    let kept = fs::read(&model).unwrap();
    fs::copy(root().join("examples/digits/vit.onnx"), &model).unwrap();
    refused(&["--resume"], "journal_mismatch");
    fs::write(&model, kept).unwrap();
    let header = folder.join("out.onnx.journal/journal.json");
    let text = fs::read_to_string(&header).unwrap();
    let tool = format!("\"tool\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&tool), "{text}");
    fs::write(&header, text.replace(&tool, "\"tool\": \"0.0.1\"")).unwrap();
    refused(&["--resume"], "journal_mismatch");
    fs::write(&header, text).unwrap();
    assert!(ran(folder, &["--resume"]).status.success());
}

/// What a disk has damaged is found again the long way, and comes out the same: files that are cut, and
/// single bits that are turned anywhere in them.
#[test]
fn damaged_journals_lose_time_only() {
    let folder = prepared();
    let folder = folder.path();
    assert!(ran(folder, &["--keep-journal"]).status.success());
    let expected = outputs(folder);
    let journal = folder.join("out.onnx.journal");
    let mut files = Vec::new();
    for entry in fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(fs::read_dir(entry).unwrap().map(|file| file.unwrap().path())),
            false if entry.extension().is_some_and(|it| it == "entry") => files.push(entry),
            false => {}
        }
    }
    assert!(files.len() >= 8, "{files:?}");
    let whole: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let resumed = |what: &str| {
        OUTPUTS.iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
        let output = ran(folder, &["--resume", "--keep-journal"]);
        assert!(output.status.success(), "{what}: {}", told(&output));
        assert_eq!(outputs(folder), expected, "{what}");
    };
    files.iter().zip(&whole).for_each(|(path, whole)| {
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
    });
    resumed("cut");
    for part in 1..6 {
        for (path, whole) in files.iter().zip(&whole) {
            let mut bytes = whole.clone();
            let at = bytes.len() * part / 6;
            bytes[at] ^= 0x10;
            fs::write(path, bytes).unwrap();
        }
        resumed(&format!("turned at {part} of 6"));
    }
    // Nothing was taken that is not what it was.
    let again: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(again == whole);
}

/// A pipeline with samples enough to be interrupted at.
const LONG: &str = r#"Pipeline(
    passes: [Group, Place, Calibrate(scheme: TfEnhanced), QuantizeBias, Export(qdq: "out.onnx")],
)"#;

/// The command as one that hears signals: a shell that runs tests in the background has them ignored, and the
/// command would rightly leave it at that.
fn hearing(command: &Command) -> Command {
    let linux = cfg!(target_os = "linux");
    let mut heard = Command::new(if linux { "env".as_ref() } else { command.get_program() });
    if linux {
        heard.arg("--default-signal=INT,TERM").arg(command.get_program());
    }
    heard.args(command.get_args()).env_clear();
    if let Some(folder) = command.get_current_dir() {
        heard.current_dir(folder);
    }
    heard
}

/// Starts a command, sends it a signal in the middle of a step, and gives what it said then.
fn signalled(command: Command, step: &str, signal: &str) -> (Option<i32>, String) {
    let mut child = hearing(&command)
        .args(["--progress", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let started = format!("\"pass\":\"{step}\",\"done\":3,");
    assert!(lines.any(|line| line.unwrap().replace(' ', "").contains(&started)), "no `{step}`");
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    let said: Vec<&str> =
        said.iter().map(String::as_str).filter(|line| !line.starts_with('{')).collect();
    (child.wait().unwrap().code(), said.join("\n"))
}

/// Who is asked to stop saves what there is, however long ago it saved anything, and says how to go on.
#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let folder = prepared();
    let folder = folder.path();
    fs::write(folder.join("p.ron"), LONG).unwrap();
    assert!(ran(folder, &[]).status.success());
    let expected = outputs(folder);
    for signal in ["-INT", "-TERM"] {
        fs::write(folder.join("out.onnx"), "mine").unwrap();
        let command = saving(folder, "3600", &[]);
        let (exit, said) = signalled(command, "Calibrate", signal);
        assert_eq!(
            said,
            "error[interrupted]: cnn.onnx: interrupted; no output was touched\n  help: the same \
             command with `--resume` goes on with what was found so far"
        );
        assert_eq!(exit, Some(8));
        assert_eq!(fs::read(folder.join("out.onnx")).unwrap(), b"mine");
        let resumed = ran(folder, &["--resume"]);
        assert!(resumed.status.success(), "{}", told(&resumed));
        assert!(told(&resumed).contains("the journal had"), "{}", told(&resumed));
        assert_eq!(outputs(folder), expected);
    }
}

/// What is damaged in a journal is told apart from what was taken.
#[test]
fn a_resumed_run_says_what_it_took_and_what_was_damaged() {
    let folder = prepared();
    let folder = folder.path();
    assert!(ran(folder, &["--keep-journal"]).status.success());
    let expected = outputs(folder);
    let journal = folder.join("out.onnx.journal");
    let inside = |part: &str| {
        let entries = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path());
        let mut entries =
            entries.filter(|path| path.file_name().unwrap().to_string_lossy().contains(part));
        entries.next().unwrap()
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    };
    cut(&inside("-Calibrate-"));
    cut(&inside("-Gptq-").join("Gptq.level-001.onnx"));
    cut(&inside("-SeqMse-").join("SeqMse.level-003.onnx"));
    let resumed = ran(folder, &["--resume"]);
    let said = told(&resumed);
    assert!(resumed.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("journal had")).collect();
    let [taken, again] = lines[..] else { panic!("{said}") };
    assert!(taken.contains("`03-Equalize`, `06-SeqMse` (2 of "), "{taken}");
    assert!(!taken.contains("Gptq") && !taken.contains("Calibrate"), "{taken}");
    assert!(again.contains("damaged"), "{again}");
    assert!(again.ends_with("`06-SeqMse`, `07-Gptq`, `08-Calibrate`"), "{again}");
    assert_eq!(outputs(folder), expected);
}

/// What a killed process was writing is gone when the next one has written there.
#[test]
fn nothing_is_left_beside_what_was_written() {
    let folder = prepared();
    let folder = folder.path();
    let unfinished = || {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with('.')).count()
    };
    let draw = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquetry"));
        command.args(["draw", "cnn.onnx", "-o", "out.svg", "-q"]).current_dir(folder);
        command
    };
    // Kills until one comes in the middle of writing.
    let mut left = 0;
    for round in 0..400 {
        let mut child = draw().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while unfinished() <= left && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        left = unfinished();
        if left > 0 || round == 399 {
            break;
        }
    }
    assert!(left > 0, "no kill came in the middle of writing");
    assert!(draw().status().unwrap().success());
    assert_eq!(unfinished(), 0);
}

/// Who was started to ignore a signal goes on ignoring it, as in the background of a script.
#[test]
#[cfg(target_os = "linux")]
fn what_is_to_be_ignored_is() {
    let folder = prepared();
    let folder = folder.path();
    fs::write(folder.join("p.ron"), LONG).unwrap();
    let mut command = Command::new("sh");
    let words = "run p.ron cnn.onnx --calib calib.npz \"$@\"";
    command
        .args(["-c", &format!("trap '' INT; exec \"$0\" {words}")])
        .arg(env!("CARGO_BIN_EXE_marquetry"))
        .current_dir(folder);
    let (exit, said) = signalled(command, "Calibrate", "-INT");
    assert_eq!(exit, Some(0), "{said}");
    assert!(folder.join("out.onnx").exists());
}

/// Without a journal, what is left is in checkpoints, or nothing.
#[test]
fn what_nobody_keeps_is_given_up() {
    let folder = prepared();
    let folder = folder.path();
    let quantize = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquetry"));
        command.args(["quantize", "cnn.onnx", "--calib", "calib.npz", "-o", "q.onnx"]).args(more);
        command.current_dir(folder).env_clear();
        command
    };
    let (exit, said) = signalled(quantize(&[]), "Calibrate", "-INT");
    assert!(said.starts_with("error[interrupted]: cnn.onnx: "), "{said}");
    assert!(said.contains("help: give the command again"), "{said}");
    assert_eq!(exit, Some(130));
    assert!(!folder.join("q.onnx").exists());

    let kept = ["--weights", "int4", "--checkpoints", "levels"];
    let (exit, said) = signalled(quantize(&kept), "Gptq", "-INT");
    assert!(said.contains("the same command goes on behind the levels in `levels`"), "{said}");
    assert_eq!(exit, Some(8));
    assert!(!folder.join("q.onnx").exists());
    let decided = fs::read_dir(folder.join("levels")).unwrap().count();
    assert!(decided >= 3, "{decided}");
    assert!(quantize(&kept).output().unwrap().status.success());
    let resumed = fs::read(folder.join("q.onnx")).unwrap();
    assert!(quantize(&["--weights", "int4"]).output().unwrap().status.success());
    assert_eq!(fs::read(folder.join("q.onnx")).unwrap(), resumed);
}

/// A pipeline that was changed behind a step goes on behind it, and gives what a run of it gives.
#[test]
fn a_changed_pipeline_goes_on_behind_the_steps_that_stayed() {
    let folder = prepared();
    let folder = folder.path();
    interrupted(folder);
    let changed = PIPELINE.replace("QuantizeBias,", "").replace("samples: 48", "samples: 24");
    assert_ne!(changed, PIPELINE);
    fs::write(folder.join("p.ron"), changed).unwrap();
    let output = ran(folder, &["--resume"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("`03-Equalize`"), "{}", told(&output));
    let resumed = outputs(folder);
    let output = ran(folder, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(outputs(folder), resumed);
}
