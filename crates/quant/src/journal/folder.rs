//! A journal in a folder of its own: a header that says of what it is, and one file for each entry.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{HowMuch, Journal, JournalError, Taken};

const FORMAT: &str = "marquetry journal";
/// Changes with the meaning of what is written.
const FORMAT_VERSION: u32 = 1;
const HEADER: &str = "journal.json";
const LOCK: &str = "lock";
/// How the names of entries end.
const ENTRY: &str = ".entry";
/// How the names of folders end that passes keep files in.
const ENTRIES: &str = ".entries";
/// How the names of files end that are being written.
const UNFINISHED: &str = ".new";

/// What a run is of. Journals of another run are not taken; what steps do is in the names of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    format: String,
    format_version: u32,
    /// The version of the tool.
    tool: String,
    /// The digest of the model, its external data included.
    model: String,
    /// The digest of the samples and of how they are read.
    samples: String,
    /// The digest of what else steps depend on: the policy, pattern files, files that steps read.
    rest: String,
}

impl Identity {
    /// Of digests, in words of [`digest_of_files`](Identity::digest_of_files) or any others.
    pub fn new(model: String, samples: String, rest: String) -> Identity {
        Identity {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            samples,
            rest,
        }
    }

    /// The digest of what files hold; folders are read with all that is in them, in the order of names.
    /// It guards against mistakes, not against malice.
    ///
    /// # Errors
    ///
    /// When something cannot be read, with its path.
    pub fn digest_of_files(paths: &[PathBuf]) -> Result<String, (PathBuf, io::Error)> {
        let mut digest = Digest::new();
        for path in paths {
            digest.path(path, path)?;
        }
        Ok(digest.finish())
    }

    /// The digest of a text.
    pub fn digest_of_text(text: &str) -> String {
        let mut digest = Digest::new();
        digest.add(text.as_bytes());
        digest.finish()
    }

    /// What of the other one differs first.
    fn differs(&self, other: &Identity) -> Option<String> {
        let pairs = [
            (self.format_version == other.format_version, "version of the format"),
            (self.tool == other.tool, "version of the tool"),
            (self.model == other.model, "model"),
            (self.samples == other.samples, "set of samples"),
            (self.rest == other.rest, "target, set of patterns or file that a step reads"),
        ];
        pairs.iter().find(|(same, _)| !same).map(|(_, what)| (*what).to_owned())
    }
}

/// FNV-1a over 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    }

    pub(crate) fn finish(self) -> String {
        format!("fnv1a:{:016x}", self.0)
    }

    fn path(&mut self, path: &Path, named: &Path) -> Result<(), (PathBuf, io::Error)> {
        let failed = |error| (path.to_owned(), error);
        // Only the names inside of a folder count, so that it may be moved.
        if path != named {
            let name = path.strip_prefix(named).unwrap_or(path);
            self.add(name.as_os_str().as_encoded_bytes());
            self.add(&[0]);
        }
        let about = fs::metadata(path).map_err(failed)?;
        if !about.is_file() && !about.is_dir() {
            // What comes from a pipe is read once, and nobody knows it again.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.add(format!("{} {now:?}", std::process::id()).as_bytes());
            return Ok(());
        }
        if about.is_dir() {
            let entries = fs::read_dir(path).map_err(failed)?;
            let entries: Result<Vec<_>, _> =
                entries.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut entries = entries.map_err(failed)?;
            entries.sort();
            return entries.iter().try_for_each(|entry| self.path(entry, named));
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut chunk = vec![0; 1 << 16];
        let mut length = 0;
        loop {
            let read = file.read(&mut chunk).map_err(failed)?;
            if read == 0 {
                break;
            }
            length += read as u64;
            self.add(&chunk[..read]);
        }
        // Where one file ends and the next begins.
        self.add(&length.to_le_bytes());
        Ok(())
    }
}

/// A journal in a folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    every: Duration,
    /// Holds the lock; the system takes it back from a process that was killed.
    _lock: File,
    saved: Mutex<Instant>,
    used: Mutex<Vec<Taken>>,
}

impl Folder {
    /// Starts a journal, or with `resume` goes on with the one that is there. What is not finished is
    /// saved every so often.
    ///
    /// # Errors
    ///
    /// `Exists` where there is one and `resume` is not set, `Foreign` for a folder that holds something
    /// else, `Mismatch` for a journal of another run, `Locked` while another process uses it.
    pub fn open(
        path: &Path,
        identity: &Identity,
        resume: bool,
        every: Duration,
    ) -> Result<Folder, JournalError> {
        let shown = || path.display().to_string();
        let failed = |error: io::Error| JournalError::Io { path: shown(), reason: told(&error) };
        let header = path.join(HEADER);
        let new = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(path).map_err(failed)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(JournalError::Foreign { path: shown() });
            }
            Err(error) => return Err(failed(error)),
            // A run that was killed before it had written its header has nothing to lose.
            Ok(entries) => {
                let ours = |name: &std::ffi::OsStr| {
                    name == LOCK || name.to_string_lossy() == format!("{HEADER}{UNFINISHED}")
                };
                let mut entries = entries.filter_map(Result::ok).map(|entry| entry.file_name());
                match (is_plain(&header), entries.all(|name| ours(&name))) {
                    (true, _) => false,
                    (false, true) => true,
                    (false, false) => return Err(JournalError::Foreign { path: shown() }),
                }
            }
        };
        // A link would lead elsewhere, and a pipe never end.
        let lock_path = path.join(LOCK);
        if fs::symlink_metadata(&lock_path).is_ok_and(|found| !found.is_file()) {
            return Err(JournalError::Foreign { path: shown() });
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(JournalError::Locked { path: shown() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        if new {
            let text = serde_json::to_string_pretty(identity).expect("it is plain data");
            replace(&header, (text + "\n").as_bytes()).map_err(failed)?;
        } else {
            if !resume {
                return Err(JournalError::Exists { path: shown() });
            }
            let text = fs::read_to_string(&header).map_err(failed)?;
            let found: Identity =
                serde_json::from_str(&text).map_err(|_| JournalError::Foreign { path: shown() })?;
            if let Some(what) = identity.differs(&found) {
                return Err(JournalError::Mismatch { path: shown(), what });
            }
        }
        let (saved, used) = (Mutex::new(Instant::now()), Mutex::default());
        Ok(Folder { path: path.to_owned(), every, _lock: lock, saved, used })
    }

    /// What steps took from it, in order; nothing of those that found nothing there.
    pub fn used(&self) -> Vec<Taken> {
        self.used.lock().map(|used| used.clone()).unwrap_or_default()
    }

    /// Whether nothing was saved.
    pub fn is_empty(&self) -> bool {
        let entries = fs::read_dir(&self.path).into_iter().flatten().filter_map(Result::ok);
        !entries.into_iter().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.ends_with(ENTRY) || (name.ends_with(ENTRIES) && has_files(&entry.path()))
        })
    }

    /// Removes it: its own files, and the folder if nobody has put something else there.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn remove(self) -> Result<(), JournalError> {
        let failed = |error: io::Error| JournalError::Io {
            path: self.path.display().to_string(),
            reason: told(&error),
        };
        // The header goes last: without it, what is left is no journal.
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(ENTRY) || name.ends_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(failed)?;
            } else if name.ends_with(ENTRIES) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        fs::remove_file(self.path.join(HEADER)).map_err(failed)?;
        fs::remove_file(self.path.join(LOCK)).map_err(failed)?;
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    fn took(&self, taken: Taken) {
        if let Ok(mut used) = self.used.lock() {
            used.push(taken);
        }
    }

    fn entry(&self, step: &str, name: &str) -> PathBuf {
        self.path.join(format!("{step}.{name}{ENTRY}"))
    }
}

impl Journal for Folder {
    fn load(&self, step: &str, name: &str) -> Option<Vec<u8>> {
        let path = self.entry(step, name);
        fs::symlink_metadata(&path).ok()?;
        let content = if is_plain(&path) { whole(&path) } else { None };
        // What a disk has damaged is found again the long way.
        let (how_much, damaged) = match content {
            Some(_) => (HowMuch::Entry, false),
            None => (HowMuch::Nothing, true),
        };
        self.took(Taken { step: step.to_owned(), how_much, damaged });
        content
    }

    fn save(&self, step: &str, name: &str, content: &[u8]) -> Result<(), JournalError> {
        let path = self.entry(step, name);
        let mut digest = Digest::new();
        digest.add(content);
        let mut bytes = digest.finish().into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(content);
        replace(&path, &bytes).map_err(|error| JournalError::Io {
            path: path.display().to_string(),
            reason: told(&error),
        })?;
        if let Ok(mut saved) = self.saved.lock() {
            *saved = Instant::now();
        }
        Ok(())
    }

    fn folder(&self, step: &str, name: &str) -> Option<PathBuf> {
        let path = self.path.join(format!("{step}.{name}{ENTRIES}"));
        // Not where somebody has put something else in its place.
        let free = fs::symlink_metadata(&path).map_or(true, |found| found.is_dir());
        free.then_some(path)
    }

    fn taken(&self, step: &str, (taken, of): (usize, usize), damaged: bool) {
        if taken > 0 || damaged {
            let how_much = HowMuch::Levels(taken, of);
            self.took(Taken { step: step.to_owned(), how_much, damaged });
        }
    }

    fn due(&self) -> bool {
        self.saved.lock().is_ok_and(|saved| saved.elapsed() >= self.every)
    }
}

/// What an entry holds, if it is whole.
fn whole(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, content) = (&bytes[..end], &bytes[end + 1..]);
    let mut digest = Digest::new();
    digest.add(content);
    (line == digest.finish().as_bytes()).then(|| content.to_vec())
}

/// Whether a file is there, which is no link, no pipe and no folder: those are not ours, and some never end.
fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Whether a folder is there and has something.
fn has_files(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// Replaces a file as a whole or not at all. Nobody else writes here, so that the name of the new one
/// may be fixed; what has it is what a run left that was killed, or what somebody put there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(UNFINISHED);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// What went wrong, without the number that the system gives it.
fn told(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("marquetry-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn identity(model: &str) -> Identity {
        Identity::new(model.to_owned(), "s".to_owned(), "r".to_owned())
    }

    fn open(path: &Path, model: &str, resume: bool) -> Result<Folder, JournalError> {
        Folder::open(path, &identity(model), resume, Duration::ZERO)
    }

    #[test]
    fn what_is_saved_is_there_after_the_process_is_gone() {
        let path = place("saved");
        let journal = open(&path, "m", false).unwrap();
        assert!(journal.is_empty() && journal.load("01-A", "x").is_none());
        journal.save("01-A", "x", b"1").unwrap();
        journal.save("01-A", "x", b"2\n3").unwrap();
        // Dropping is what the system does to a process that is killed.
        drop(journal);
        assert_eq!(open(&path, "m", false).unwrap_err().code(), "journal_exists");
        let journal = open(&path, "m", true).unwrap();
        assert_eq!(journal.load("01-A", "x").unwrap(), b"2\n3");
        assert_eq!(journal.load("02-A", "x"), None);
        let taken = Taken { step: "01-A".to_owned(), how_much: HowMuch::Entry, damaged: false };
        assert_eq!(journal.used(), [taken]);
        assert!(!journal.is_empty());
        journal.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn journals_of_others_are_refused() {
        let path = place("others");
        let journal = open(&path, "m", false).unwrap();
        assert_eq!(open(&path, "m", true).unwrap_err().code(), "journal_in_use");
        drop(journal);
        let error = open(&path, "another", true).unwrap_err();
        assert_eq!(
            (error.code(), &*error.to_string()),
            ("journal_mismatch", "the journal is of another model")
        );
        fs::write(path.join(HEADER), "{}").unwrap();
        assert_eq!(open(&path, "m", true).unwrap_err().code(), "not_a_journal");
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.tex"), "").unwrap();
        assert_eq!(open(&path, "m", true).unwrap_err().code(), "not_a_journal");
        assert!(path.join("thesis.tex").is_file());
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn damaged_entries_are_as_good_as_none() {
        let path = place("damaged");
        let journal = open(&path, "m", false).unwrap();
        journal.save("01-A", "x", b"abc").unwrap();
        let entry = journal.entry("01-A", "x");
        let mut bytes = fs::read(&entry).unwrap();
        bytes.pop();
        fs::write(&entry, &bytes).unwrap();
        assert_eq!(journal.load("01-A", "x"), None);
        fs::write(&entry, b"").unwrap();
        assert_eq!(journal.load("01-A", "x"), None);
        let damaged = journal.used().iter().filter(|taken| taken.damaged).count();
        assert_eq!((damaged, journal.used().len()), (2, 2));
        journal.remove().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_and_links_are_no_entries() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = place("pipes");
        // Not by a command: a child has the locks of other tests until it runs something else.
        let pipe = |name: &Path| {
            mknodat(CWD, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        };
        let journal = open(&path, "m", false).unwrap();
        let entry = journal.entry("01-A", "x");
        pipe(&entry);
        // Whoever opened one of these would wait for ever, or write somewhere else.
        assert_eq!(journal.load("01-A", "x"), None);
        let aside = path.join("aside");
        fs::write(&aside, "mine").unwrap();
        let mut new = entry.clone().into_os_string();
        new.push(UNFINISHED);
        std::os::unix::fs::symlink(&aside, &new).unwrap();
        journal.save("01-A", "x", b"1").unwrap();
        assert_eq!(journal.load("01-A", "x").unwrap(), b"1");
        assert_eq!(fs::read(&aside).unwrap(), b"mine");
        pipe(Path::new(&new));
        journal.save("01-A", "x", b"2").unwrap();
        assert_eq!(journal.load("01-A", "x").unwrap(), b"2");
        fs::remove_file(&entry).unwrap();
        std::os::unix::fs::symlink(&aside, &entry).unwrap();
        assert_eq!(journal.load("01-A", "x"), None);
        std::os::unix::fs::symlink(&path, path.join("01-A.y.entries")).unwrap();
        assert_eq!(journal.folder("01-A", "y"), None);
        drop(journal);
        for name in [HEADER, LOCK] {
            fs::remove_file(path.join(name)).unwrap();
            pipe(&path.join(name));
            assert_eq!(open(&path, "m", true).unwrap_err().code(), "not_a_journal", "{name}");
            fs::remove_file(path.join(name)).unwrap();
            let text = serde_json::to_string(&identity("m")).unwrap();
            fs::write(path.join(name), text).unwrap();
        }
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn digests_know_where_files_end() {
        let path = place("digest");
        fs::create_dir(&path).unwrap();
        let write = |a: &str, b: &str| {
            fs::write(path.join("a"), a).unwrap();
            fs::write(path.join("b"), b).unwrap();
            Identity::digest_of_files(&[path.join("a"), path.join("b")]).unwrap()
        };
        let first = write("xy", "z");
        assert_ne!(first, write("x", "yz"));
        assert_eq!(first, write("xy", "z"));
        let (missing, _) = Identity::digest_of_files(&[path.join("c")]).unwrap_err();
        assert_eq!(missing, path.join("c"));
        fs::remove_dir_all(&path).unwrap();
    }
}
