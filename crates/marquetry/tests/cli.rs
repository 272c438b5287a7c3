//! Runs the command as a person would: `tests/cases/cli/*.case`, one snapshot each.
//!
//! A case has a `--- run` section with one command a line, and may first prepare its folder: in
//! `--- setup` with lines `copy FILE [as NAME]` (from the repository), `cut NAME BYTES` and
//! `mkdir NAME`, in `--- file NAME` with the content of a text file, and in `--- model NAME` with a graph
//! in ONNX's textual syntax, of which a model is made. The snapshot shows what each command printed, how
//! it ended, which files were there afterwards, and the text of those that `--- show` names. A line
//! `same A B` in `--- run` compares two files by their bytes, and `… > FILE` keeps what was printed,
//! `… < FILE` is what a command reads.
//!
//! `tests/cases/why/*.case` are of the same kind, about one verb.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn commands() {
    cases("cli");
}

#[test]
fn explanations() {
    cases("why");
}

fn cases(stage: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    insta::with_settings!({
        snapshot_path => root.join("tests/snapshots").join(stage),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::glob!("../../../tests/cases", &format!("{stage}/*.case"), |case| {
            let text = fs::read_to_string(case).unwrap();
            insta::assert_snapshot!(run(&root, &text));
        });
    });
}

fn run(root: &Path, case: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (mut shown, mut listed) = (String::new(), Vec::new());
    for (title, body) in sections(case) {
        match title.split_whitespace().collect::<Vec<_>>()[..] {
            ["setup"] => body.lines().for_each(|line| prepare(root, folder.path(), line)),
            ["file", name] => fs::write(folder.path().join(name), body).unwrap(),
            ["model", name] => write_model(&folder.path().join(name), body),
            ["run"] => body.lines().for_each(|line| shown.push_str(&execute(folder.path(), line))),
            ["show"] => listed.extend(body.split_whitespace()),
            _ => panic!("unknown section `{title}`"),
        }
    }
    for file in files(folder.path()) {
        writeln!(shown, "# left: {file}").unwrap();
    }
    for file in listed {
        let content = fs::read_to_string(folder.path().join(file)).unwrap();
        write!(shown, "\n# {file}:\n{content}").unwrap();
    }
    shown
}

/// The sections of a case, in file order.
fn sections(case: &str) -> Vec<(&str, &str)> {
    let (_, sections) = case.split_once("--- ").expect("a case has a section");
    sections
        .split("\n--- ")
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .collect()
}

/// The model of a graph in textual syntax, of operator set 17 unless it has a header of its own.
fn write_model(path: &Path, text: &str) {
    use marquetry::ir::{Model, Opsets, onnx, text};
    let parsed = if text.trim_start().starts_with('<') {
        text::parse(text)
    } else {
        text::parse_graph(text, &Opsets::onnx(17)).map(|graph| Model::new(8, graph))
    };
    onnx::write(&parsed.unwrap(), path).unwrap();
}

fn prepare(root: &Path, folder: &Path, line: &str) {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["copy", file] => {
            let name = Path::new(file).file_name().unwrap();
            fs::copy(root.join(file), folder.join(name)).unwrap();
        }
        ["copy", file, "as", name] => {
            fs::copy(root.join(file), folder.join(name)).unwrap();
        }
        ["cut", name, bytes] => {
            let content = fs::read(folder.join(name)).unwrap();
            fs::write(folder.join(name), &content[..bytes.parse().unwrap()]).unwrap();
        }
        ["mkdir", name] => fs::create_dir_all(folder.join(name)).unwrap(),
        _ => panic!("unknown step `{line}`"),
    }
}

fn execute(folder: &Path, line: &str) -> String {
    let mut words = line.split_whitespace();
    if let ["same", a, b] = line.split_whitespace().collect::<Vec<_>>()[..] {
        let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
        let word = if bytes(a) == bytes(b) { "equal" } else { "different" };
        return format!("$ same {a} {b}\n{word}\n\n");
    }
    assert_eq!(words.next(), Some("marquetry"), "a case runs `marquetry`");
    let (command, redirected) = match line.split_once(" > ") {
        Some((command, file)) => (command, Some(file.trim())),
        None => (line, None),
    };
    let (command, input) = match command.split_once(" < ") {
        Some((command, file)) => {
            (command, Stdio::from(fs::File::open(folder.join(file.trim())).unwrap()))
        }
        None => (command, Stdio::null()),
    };
    let mut output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(command.split_whitespace().skip(1))
        .stdin(input)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("the command was just built");
    if let Some(file) = redirected {
        fs::write(folder.join(file), std::mem::take(&mut output.stdout)).unwrap();
    }
    let mut shown = format!("$ {line}\n");
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        let text = seconds_hidden(&text);
        shown.push_str(&text);
        if !text.is_empty() && !text.ends_with('\n') {
            shown.push('\n');
        }
    }
    writeln!(shown, "[exit {}]\n", output.status.code().expect("the command was not killed"))
        .unwrap();
    shown
}

/// The text with durations such as `1.23 s` replaced: they differ from run to run.
fn seconds_hidden(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches(|c: char| !c.is_alphanumeric());
        if matches!(unit, "s" | "ms")
            && words[at - 1].trim_start_matches('\n').parse::<f64>().is_ok()
        {
            words[at - 1] = "[time]".to_owned();
        }
    }
    words.join(" ")
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The first line of each answer of a watching command.
fn answers(child: &mut std::process::Child, until: &str) {
    use std::io::{BufRead as _, BufReader};
    let reader = BufReader::new(child.stdout.as_mut().unwrap());
    let mut lines = reader.lines();
    assert!(lines.any(|line| line.unwrap().starts_with(until)), "no line begins with `{until}`");
}

#[test]
fn watching_runs_again_on_save() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("p.pat");
    fs::copy(root.join("examples/digits/vit.onnx"), folder.path().join("vit.onnx")).unwrap();
    fs::write(&pattern, "pattern First (x) => (y) { y = Softmax<...>(x) }").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(["match", "vit.onnx", "-p", "p.pat", "--watch"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    answers(&mut child, "First");
    fs::write(&pattern, "pattern AfterSaving (x) => (y) { y = Softmax<...>(x) }").unwrap();
    answers(&mut child, "AfterSaving");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A full disk behind `>`: the device that is always full stands for it.
#[cfg(target_os = "linux")]
#[test]
fn what_does_not_arrive_on_standard_output_is_an_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let ran = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(["match", "examples/digits/vit.onnx"])
        .current_dir(root)
        .env_clear()
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(6), "{said}");
    assert!(said.starts_with("error[write_failed]: standard output: no space left"), "{said}");
}
