//! What files the command leaves: who may read them, and which pages its manual has.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[test]
fn written_files_are_as_open_as_the_mask_allows() {
    let folder = tempfile::tempdir().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits/cnn.onnx");
    let script = format!(
        "umask 027 && \"$0\" draw {model} -o picture.svg && \"$0\" outline {model} -o model.onnx"
    );
    let status = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_marquetry")])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    for file in ["picture.svg", "model.onnx"] {
        let mode = folder.path().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{file}");
    }
}

/// Rows that fit neither in memory nor in a temporary file are an error with a code of its own.
#[test]
fn rows_without_room_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits");
    let pipeline = "Pipeline(passes: [
        Group, Place(weights: (dtype: Int4)), SeqMse(loss: L1, samples: 8),
        Calibrate(samples: 8), Export(qdq: \"out.onnx\"),
    ])";
    std::fs::write(folder.path().join("p.ron"), pipeline).unwrap();
    let run = |memory: &str, temporary: &std::path::Path| {
        let (model, samples) = (format!("{digits}/cnn.onnx"), format!("{digits}/calib.npz"));
        let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(["run", "p.ron", &model, "--calib", &samples, "--memory", memory])
            .current_dir(folder.path())
            .env("TMPDIR", temporary)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let nowhere = folder.path().join("nowhere");
    let written = || std::fs::read(folder.path().join("out.onnx")).unwrap();
    let (code, said) = run("256M", &nowhere);
    assert_eq!(code, Some(0), "nothing is to be written: {said}");
    let whole = written();
    // The samples have room in eight kilobytes, and the windows of the first layer have not.
    for memory in ["0", "8K"] {
        let (code, said) = run(memory, &nowhere);
        assert!(code == Some(6) && said.contains("spill_failed"), "{memory}: {code:?}, {said}");
        assert_eq!(run(memory, folder.path()).0, Some(0));
        assert!(written() == whole, "{memory}: other bytes than with all memory");
    }
}

#[test]
fn every_verb_has_a_page_and_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["man", "-o", "."]);
    let help = run(&["--help"]);
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    // What a verb does may go on in the next line, which is further in.
    let verbs =
        verbs.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 20, "{help}");
    let script = run(&["completions", "bash"]);
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        let page = folder.path().join(format!("marquetry-{verb}.1"));
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{verb}");
        assert!(script.contains(&format!("marquetry,{verb})")), "{verb}");
    }
    let nested = folder.path().join("marquetry-pattern-lift.1");
    assert!(std::fs::read_to_string(nested).unwrap().contains("outputs"));
}

/// The engine that a pipeline names runs it, where there is one: `ORT_DYLIB_PATH` names its library.
#[test]
fn a_pipeline_is_run_by_the_engine_that_it_names() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none_or(|path| path.is_empty()) {
        eprintln!("skipped: ORT_DYLIB_PATH names no library of ONNX Runtime");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let passes = "passes: [Group, Place, Calibrate, QuantizeBias, Export(qdq: \"q.onnx\")])";
    let pipeline = |name: &str, engine: &str| {
        let text = format!("Pipeline({engine} {passes}");
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    pipeline("named.ron", "engine: Ort,");
    pipeline("plain.ron", "");
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits");
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(words)
            .arg(format!("{digits}/vit.onnx"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let samples = format!("--calib={digits}/calib.npz");
    let quantized = |words: &[&str]| {
        run(&[&["run", &samples, "--samples=8"], words].concat());
        std::fs::read(folder.path().join("q.onnx")).unwrap()
    };
    let named = quantized(&["named.ron"]);
    assert_eq!(quantized(&["plain.ron", "--engine=ort"]), named);
    // Ranges differ in the last bits: what was named has run.
    assert_ne!(quantized(&["plain.ron"]), named);
    assert_eq!(quantized(&["named.ron", "--engine=embedded"]), quantized(&["plain.ron"]));
    assert!(run(&["plan", "named.ron"]).starts_with("for ort-cpu, run by the engine `ort`\n"));
}

/// A link inside of the folder of a pipeline may lead anywhere; what the command line names may be one.
#[test]
fn pipelines_do_not_follow_links() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    [&inside, &outside].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    std::os::unix::fs::symlink(&inside, folder.path().join("named")).unwrap();
    let write = |name: &str, path: &str| {
        let text = format!("Pipeline(passes: [Group, Place, Observe(statistics: \"{path}\")])");
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write("led.ron", "link/seen.stats");
    write("own.ron", "seen.stats");
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits");
    let run = |pipeline: &str, below: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(["run", pipeline, &format!("{digits}/cnn.onnx"), "--samples", "2"])
            .args(["--calib", &format!("{digits}/calib.npz"), "--output-dir", below])
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (exit, said) = run("led.ron", "inside");
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.starts_with("error[path_leads_out]: led.ron:1:53: "), "{said}");
    assert!(said.contains("`link/seen.stats` goes through a link"), "{said}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(run("own.ron", "named").0, Some(0));
    assert!(inside.join("seen.stats").is_file());
}

/// A folder of a model, samples, and a pipeline that is given.
fn with_pipeline(pipeline: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits");
    for file in ["cnn.onnx", "calib.npz"] {
        std::fs::copy(format!("{digits}/{file}"), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("p.ron"), pipeline).unwrap();
    folder
}

/// What a shell says that runs a script in a folder, with the command as `$0`; one that hangs is stopped.
fn sh(folder: &std::path::Path, script: &str) -> (Option<i32>, String) {
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", script, env!("CARGO_BIN_EXE_marquetry")])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn pipes_that_a_pipeline_names_are_refused_and_those_of_the_command_line_read() {
    let pipeline = "Pipeline(passes: [Group, Place, Calibrate(statistics: \"seen\")])";
    let folder = with_pipeline(pipeline);
    let (code, said) = sh(folder.path(), "mkfifo seen && \"$0\" run p.ron cnn.onnx");
    assert!(code == Some(6) && said.contains("p.ron:1:55"), "{code:?}: {said}");
    assert!(said.contains("not_a_file"), "{said}");
    let (code, said) = sh(
        folder.path(),
        "mv seen seen.pat && echo 'Pipeline(patterns: [\"seen.pat\"], passes: [Group])' > q.ron && \"$0\" plan \
         q.ron cnn.onnx",
    );
    assert!(code == Some(6) && said.contains("q.ron:1:21"), "{code:?}: {said}");
    // What the user names may come from anywhere.
    let (code, said) = sh(
        folder.path(),
        "echo 'pattern Wide(x) => (y) { y = Relu(x) }' > wide.pat && \"$0\" run <(echo \
         'Pipeline(passes: [Group(patterns: [\"Wide\"]), Place, Calibrate(samples: 2), Export(qdq: \
         \"q.onnx\")])') cnn.onnx -p <(cat wide.pat) --calib calib.npz",
    );
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = sh(folder.path(), "\"$0\" match cnn.onnx -p /dev/stdin < wide.pat");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn links_of_a_pipelines_folder_do_not_lead_out() {
    let folder = with_pipeline("Pipeline(patterns: [\"a.pat\"], passes: [Group])");
    let script = "mkdir in && mv p.ron in && echo 'pattern P(x) => (y) { y = Relu(x) }' > out.pat && cp out.pat \
                  in/own.pat && ";
    let runs = |link: &str| {
        sh(folder.path(), &format!("{link} && \"$0\" plan in/p.ron cnn.onnx; rm -f in/a.pat"))
    };
    let (_, said) = runs(&format!("{script} ln -s ../out.pat in/a.pat"));
    assert!(said.contains("path_leads_out"), "{said}");
    assert!(said.contains("in/p.ron:1:21") && said.contains("leads out"), "{said}");
    let (_, said) = runs("ln -s own.pat in/a.pat");
    assert!(!said.contains("error"), "{said}");
    // A link to what is hidden is hidden.
    let (_, said) = runs("mkdir in/.git && cp out.pat in/.git/x.pat && ln -s .git/x.pat in/a.pat");
    assert!(said.contains("path_leads_out"), "{said}");
}
