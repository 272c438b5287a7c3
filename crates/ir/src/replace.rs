//! Files that appear whole or not at all: they are written beside the place they are for, and renamed.
//!
//! Who is killed while writing cannot clean up. So what is being written has a name of its own kind and is
//! locked by who writes it; the system takes the lock back from a process that is gone, and who writes into
//! the same folder next removes what nobody holds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// How the names begin of what is being written.
const PREFIX: &str = ".marquetry-";
/// How they end.
const SUFFIX: &str = ".tmp";
/// How often a name is looked for that nobody takes away before it is locked.
const TRIES: usize = 16;

/// A file that is being written. It is gone with this, unless it is put in its place.
///
/// ```
/// use std::io::Write as _;
///
/// use marquetry_ir::replace::Beside;
///
/// # let folder = std::env::temp_dir().join(format!("marquetry-beside-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("out.txt");
/// let mut new = Beside::new(&path)?;
/// new.file().write_all(b"all of it")?;
/// assert!(!path.exists());
/// new.replace(&path)?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Beside(NamedTempFile);

impl Beside {
    /// A new file in the folder of a path, as open as the mask of the process allows. What others left there
    /// that were killed is removed.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn new(path: &Path) -> io::Result<Beside> {
        let folder = folder_of(path);
        remove_left(folder);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        for _ in 0..TRIES {
            let new = builder.tempfile_in(folder)?;
            match new.as_file().try_lock() {
                // Somebody may have found it before it was locked, and have taken it for left.
                Ok(()) if new.path().exists() => return Ok(Beside(new)),
                Ok(()) | Err(fs::TryLockError::WouldBlock) => {}
                // Where files cannot be locked, nobody takes them away either.
                Err(fs::TryLockError::Error(_)) => return Ok(Beside(new)),
            }
        }
        Err(io::Error::other("others take away what is begun"))
    }

    /// The file, to write to.
    pub fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Puts the file in its place, whatever file is there.
    ///
    /// # Errors
    ///
    /// When a link is there, or the system refuses.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        if is_link(path) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is a link"));
        }
        self.0.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Puts the file in its place, unless something is there.
    ///
    /// # Errors
    ///
    /// When something is there, or the system refuses.
    pub fn settle(self, path: &Path) -> io::Result<()> {
        self.0.persist_noclobber(path).map(drop).map_err(|error| error.error)
    }
}

/// Whether a path is that of a link, which renaming would make a file: `/dev/stdout` is one.
pub fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// Removes what was being written in a folder by processes that are gone.
fn remove_left(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        // What is a link, or no file, is not ours.
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // Whoever writes it holds the lock; here it is held until the name is gone.
        if let Ok(file) = File::options().read(true).write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_nobody_writes_any_more_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for name in [".marquetry-left.tmp", ".marquetry-mine", "left.tmp", ".tmpleft"] {
            fs::write(folder.path().join(name), "left").unwrap();
        }
        fs::create_dir(folder.path().join(".marquetry-folder.tmp")).unwrap();
        let mut first = Beside::new(&path).unwrap();
        let others = [".marquetry-folder.tmp", ".marquetry-mine", ".tmpleft", "left.tmp"];
        let kept = || names(folder.path()).iter().filter(|name| others.contains(&&***name)).count();
        assert_eq!((kept(), names(folder.path()).len()), (4, 5));
        // Of two that write at the same time, each keeps its own, and the last one counts.
        let mut second = Beside::new(&path).unwrap();
        first.file().write_all(b"first").unwrap();
        second.file().write_all(b"second").unwrap();
        second.replace(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        first.replace(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert!(Beside::new(&path).unwrap().settle(&path).is_err());
        #[cfg(unix)]
        {
            let link = folder.path().join("mine.tmp");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(Beside::new(&link).unwrap().replace(&link).is_err());
            assert!(is_link(&link) && !is_link(&path));
            fs::remove_file(&link).unwrap();
        }
        assert_eq!((kept(), names(folder.path()).len()), (4, 5));
    }

    #[test]
    fn many_write_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = folder.path().join(format!("{writer}"));
                scope.spawn(move || {
                    for round in 0..50 {
                        let mut new = Beside::new(&path).unwrap();
                        write!(new.file(), "{writer} {round}").unwrap();
                        new.replace(&path).unwrap();
                        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{writer} {round}"));
                    }
                });
            }
        });
        assert_eq!(names(folder.path()).len(), 8);
    }
}
