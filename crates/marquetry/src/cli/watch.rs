//! Runs a verb again whenever one of its files is saved, until it is interrupted.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often it is looked. A person does not notice the delay, and a look costs a few system calls.
const PAUSE: Duration = Duration::from_millis(150);

/// How deep below a folder pattern files are looked for: a search path and its `std`, not a whole disk.
const DEPTH: usize = 3;

/// Clears the screen and its history, and goes to the top.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// Runs now and after each change, for ever: an interruption ends the process. A file that is not there
/// at the moment, as while an editor replaces it, is waited for.
pub(crate) fn forever(paths: &[PathBuf], mut run: impl FnMut() -> ExitCode) -> ExitCode {
    let terminal = io::stdout().is_terminal();
    let mut seen = look(paths);
    loop {
        if terminal && !clear() {
            return ExitCode::SUCCESS;
        }
        run();
        if terminal {
            eprintln!("\nwatching; Ctrl-C ends");
        }
        seen = next(paths, &seen);
    }
}

/// Waits until the files differ from what was seen, and are the same for two looks: half a file is not
/// worth reading.
fn next(paths: &[PathBuf], seen: &Seen) -> Seen {
    loop {
        thread::sleep(PAUSE);
        let mut now = look(paths);
        if now == *seen {
            continue;
        }
        loop {
            thread::sleep(PAUSE / 3);
            let again = look(paths);
            if again == now {
                return now;
            }
            now = again;
        }
    }
}

/// Whether the terminal is still there.
fn clear() -> bool {
    let mut out = io::stdout().lock();
    out.write_all(CLEAR.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Files, with what changes when they are saved.
type Seen = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

fn look(paths: &[PathBuf]) -> Seen {
    let mut seen = Vec::new();
    for path in paths {
        if path.is_dir() {
            pattern_files(path, DEPTH, &mut seen);
            continue;
        }
        seen.push((path.clone(), stamp(path)));
        if is_pattern(path) {
            // What it may `use` stands beside or below it.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            pattern_files(folder.unwrap_or(Path::new(".")), DEPTH, &mut seen);
        }
    }
    seen.sort();
    seen.dedup();
    seen
}

fn pattern_files(folder: &Path, depth: usize, seen: &mut Seen) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 1 {
            pattern_files(&path, depth - 1, seen);
        } else if is_pattern(&path) {
            let stamp = stamp(&path);
            seen.push((path, stamp));
        }
    }
}

fn is_pattern(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "pat")
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_of_what_is_used_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (main, part) = (folder.path().join("a.pat"), folder.path().join("std/b.pat"));
        fs::create_dir(folder.path().join("std")).unwrap();
        fs::write(&main, "use \"std/b.pat\"").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let paths = [main];
        let before = look(&paths);
        assert_eq!(before.len(), 1);
        fs::write(&part, "def f(x) = x").unwrap();
        let after = look(&paths);
        assert_ne!(before, after);
        fs::write(folder.path().join("notes.txt"), "later").unwrap();
        assert_eq!(after, look(&paths));
        fs::write(&part, "def f(x) = Neg(x)").unwrap();
        assert_ne!(after, look(&paths));
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        let paths = [PathBuf::from("/nowhere/at/all.onnx")];
        assert_eq!(look(&paths), [(paths[0].clone(), None)]);
    }
}
