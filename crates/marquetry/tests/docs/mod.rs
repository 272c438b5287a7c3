//! Runs what a page of documentation tells a reader to type, and compares what is printed.
//!
//! A block in a fence counts by its first word:
//!
//! - `console`: lines that begin with `$ ` are commands (a `\` at the end of a line goes on), the lines
//!   after one are what it prints. A line `[exit 1]` at the end says that it fails. A line `...` stands for
//!   any number of lines.
//! - `sh`: commands that succeed; what they print does not matter.
//! - anything else with a file name after it, such as ```` ```pat gelu.pat ````: that file, saved.
//!
//! With `MARQUETRY_BLESS=1` in the environment, pages whose commands print something else are rewritten.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the blocks of a page in a copy of `folder`, whose subfolder `at` holds the page, and compares.
pub(crate) fn check(folder: &Path, at: &str, page: &str) {
    check_page(folder, Path::new(at), &folder.join(at).join(page));
}

/// Runs the blocks of a page in the subfolder `at` of a copy of `folder`, and compares.
pub(crate) fn check_page(folder: &Path, at: &Path, place: &Path) {
    let copy = tempfile::tempdir().unwrap();
    copy_files(folder, copy.path());
    let text = fs::read_to_string(place).unwrap();
    let ran = run(&text, &copy.path().join(at));
    if ran == text {
        return;
    }
    if std::env::var_os("MARQUETRY_BLESS").is_some() {
        fs::write(place, ran).unwrap();
        return;
    }
    let first = text.lines().zip(ran.lines()).position(|(said, is)| said != is);
    let first = first.unwrap_or_else(|| text.lines().count().min(ran.lines().count()));
    let around = |text: &str| {
        text.lines().skip(first.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n")
    };
    panic!(
        "{} says at line {}:\n{}\n\nbut it is:\n{}\n\nMARQUETRY_BLESS=1 rewrites the page",
        place.display(),
        first + 1,
        around(&text),
        around(&ran)
    );
}

/// The page with what its commands print.
pub(crate) fn run(page: &str, folder: &Path) -> String {
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match info.split_whitespace().collect::<Vec<_>>()[..] {
            ["console"] => out.push_str(&console(&body, folder)),
            ["sh"] => {
                let script = body.join("\n");
                let (text, code) = execute(&format!("set -e\n{script}"), folder);
                assert_eq!(code, 0, "{script}\n{text}");
                push_all(&mut out, &body);
            }
            [_, name] => {
                fs::write(folder.join(name), body.join("\n") + "\n").unwrap();
                push_all(&mut out, &body);
            }
            _ => push_all(&mut out, &body),
        }
        out.push_str("```\n");
    }
    out
}

fn push_all(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
}

/// A session with what its commands print now.
fn console(body: &[&str], folder: &Path) -> String {
    let mut out = String::new();
    let mut lines = body.iter().copied().peekable();
    while let Some(line) = lines.next() {
        let mut command =
            line.strip_prefix("$ ").expect("a session begins with a command").to_owned();
        push_all(&mut out, &[line]);
        while command.ends_with('\\') {
            let more = lines.next().expect("a command goes on after `\\`");
            push_all(&mut out, &[more]);
            command.push('\n');
            command.push_str(more);
        }
        let mut said = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            said.push(line);
        }
        let (mut text, code) = execute(&command, folder);
        if code != 0 {
            text.push_str(&format!("[exit {code}]\n"));
        }
        let is: Vec<&str> = text.lines().map(str::trim_end).collect();
        push_all(&mut out, if fits(&said, &is) { &said } else { &is });
    }
    out
}

/// Whether lines are as said, where `...` stands for any number of them.
fn fits(said: &[&str], is: &[&str]) -> bool {
    match said {
        [] => is.is_empty(),
        ["...", rest @ ..] => (0..=is.len()).any(|skipped| fits(rest, &is[skipped..])),
        [line, rest @ ..] => is.first() == Some(line) && fits(rest, &is[1..]),
    }
}

/// What a command prints, on either stream, and how it ends.
fn execute(command: &str, folder: &Path) -> (String, i32) {
    let program = Path::new(env!("CARGO_BIN_EXE_marquetry"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .output()
        .expect("there is a shell");
    let text = String::from_utf8(output.stdout).expect("text is printed");
    (text, output.status.code().expect("the command was not killed"))
}

/// Copies a folder, but for what builds left in it.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            // What a build left is no part of the documentation.
            if entry.file_name() != "target" && entry.file_name() != "node_modules" {
                copy_files(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn any_lines_may_stand_for_dots() {
    assert!(fits(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(fits(&["a", "..."], &["a"]));
    assert!(!fits(&["a", "..."], &["b", "a"]));
    assert!(!fits(&["a"], &["a", "b"]));
}

#[test]
fn a_page_says_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let page =
        "```text a.txt\none\ntwo\n```\n\n```console\n$ cat a.txt\nthree\n$ test a = \\\n  b\n```\n";
    let right = "```text a.txt\none\ntwo\n```\n\n```console\n$ cat a.txt\none\ntwo\n$ test a = \\\n  b\n[exit 1]\n```\n";
    assert_eq!(run(page, folder.path()), right);
}
