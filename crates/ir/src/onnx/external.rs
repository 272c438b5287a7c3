//! Tensors whose content is in another file: which files may be meant, and what they give.
//!
//! The location is a hostile string: it must stay in the model's folder by its words, and by what
//! it resolves to. The folder of the model is where the user says it is, and where the model file
//! itself is a link, also the folder of the file it points to: caches link model and data alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::shown;
use super::map;
use super::proto;
use crate::External;

/// Why the external data of a tensor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalFault {
    /// The model was not read from a file, so there is no folder to look in.
    #[error("`{}` has no folder to be looked up in", shown(.0))]
    NoFolder(String),
    /// There is no `location`.
    #[error("has no location")]
    NoLocation,
    /// The location leaves the folder by its words, or is no relative path.
    #[error("is said to be at `{}`, which is not a path inside the model's folder", shown(.0))]
    Outside(String),
    /// The location resolves to a place outside the folder.
    #[error("at `{}` is a link that leads outside the model's folder", shown(.0))]
    LeadsOutside(String),
    /// The location is not a regular file.
    #[error("at `{}` is not a file", shown(.0))]
    NotAFile(String),
    /// The location is the model itself.
    #[error("at `{}` is the model itself", shown(.0))]
    ModelItself(String),
    /// The file cannot be read.
    #[error("at `{}` cannot be read: {source}", shown(location))]
    Io {
        /// As the tensor says.
        location: String,
        /// What the system said.
        source: io::Error,
    },
    /// A key occurs twice.
    #[error("has the key `{0}` twice")]
    DuplicateKey(String),
    /// A key that ONNX does not define; it would be lost.
    #[error("has the unknown key `{}`", shown(.0))]
    UnknownKey(String),
    /// An offset or length is not a decimal number of 64 bits.
    #[error("has the {key} `{}`, which is not a number of bytes", shown(value))]
    Number {
        /// `offset` or `length`.
        key: &'static str,
        /// As written.
        value: String,
    },
    /// The range is not inside the file.
    #[error("at `{}` ends after byte {end} of {size}", shown(location))]
    BeyondEnd {
        /// As the tensor says.
        location: String,
        /// First byte after the range.
        end: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// The length is not what type and shape ask for.
    #[error("has {found} bytes where type and shape ask for {needed}")]
    Length {
        /// Bytes that type and shape ask for.
        needed: u64,
        /// Bytes that the tensor says.
        found: u64,
    },
}

impl ExternalFault {
    /// Returns the stable code of the fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFolder(_) => "external_without_folder",
            Self::NoLocation => "external_without_location",
            Self::Outside(_) | Self::LeadsOutside(_) => "external_outside",
            Self::NotAFile(_) => "external_not_a_file",
            Self::ModelItself(_) => "external_is_model",
            Self::Io { .. } => "external_cannot_read",
            Self::DuplicateKey(_) => "external_duplicate_key",
            Self::UnknownKey(_) => "external_unknown_key",
            Self::Number { .. } => "external_bad_number",
            Self::BeyondEnd { .. } => "external_beyond_end",
            Self::Length { .. } => "external_wrong_length",
        }
    }

    /// Returns what to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFolder(_) => Some("read the model from its file"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("a model with external data is several files: copy them together")
            }
            Self::LeadsOutside(_) => {
                Some("replace the link by the file, or put the model beside the file it points to")
            }
            Self::BeyondEnd { .. } => {
                Some("the data file is cut off, or belongs to another version of the model")
            }
            Self::UnknownKey(_) => Some("drop what is unknown with the option `strip_unknown`"),
            _ => None,
        }
    }
}

/// The entry of a tensor about its content in another file, checked for itself.
pub(super) fn parse(
    entries: Vec<proto::StringEntry>,
    strip_unknown: bool,
) -> Result<External, ExternalFault> {
    let (mut location, mut offset, mut length, mut checksum) = (None, None, None, None);
    for entry in entries {
        let (key, value) = (entry.key.unwrap_or_default(), entry.value.unwrap_or_default());
        let twice = match key.as_str() {
            "location" => location.replace(value).is_some(),
            "offset" => offset.replace(number("offset", value)?).is_some(),
            "length" => length.replace(number("length", value)?).is_some(),
            "checksum" => checksum.replace(value).is_some(),
            _ if strip_unknown => false,
            _ => return Err(ExternalFault::UnknownKey(key)),
        };
        if twice {
            return Err(ExternalFault::DuplicateKey(key));
        }
    }
    let location = location.filter(|location| !location.is_empty());
    let location = location.ok_or(ExternalFault::NoLocation)?;
    if !is_inside(&location) {
        return Err(ExternalFault::Outside(location));
    }
    Ok(External { location, offset, length, checksum })
}

/// Whether a location stays inside a folder by its words, on every system.
///
/// `a..b` and `...` are ordinary names; `..`, drive letters, backslashes and memory addresses of
/// ONNX Runtime (`*/…`) are not.
pub(super) fn is_inside(location: &str) -> bool {
    let is_drive = location.as_bytes().get(1) == Some(&b':');
    let has_odd = location.contains(['\\', '\0', '*', '?', '|', '<', '>', '"']);
    let mut names = 0;
    for component in location.split('/') {
        match component {
            ".." | "" => return false,
            "." => {}
            _ => names += 1,
        }
    }
    names > 0 && !is_drive && !has_odd
}

fn number(key: &'static str, value: String) -> Result<u64, ExternalFault> {
    let is_decimal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if is_decimal => Ok(number),
        _ => Err(ExternalFault::Number { key, value }),
    }
}

/// The folder of a model, and the files in it that tensors have asked for.
#[derive(Debug)]
pub(super) struct Folder {
    /// As the user says.
    path: PathBuf,
    /// Resolved folders that data may be in.
    roots: Vec<PathBuf>,
    model: Metadata,
    /// By location.
    files: BTreeMap<String, Bytes>,
    /// Shared between tensors that are tied.
    entries: BTreeSet<Arc<External>>,
}

impl Folder {
    /// The folder of the model at `path`, whose open file says `model`.
    pub(super) fn of(path: &Path, model: Metadata) -> io::Result<Self> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut roots = vec![fs::canonicalize(&folder)?];
        if let Some(target) = fs::canonicalize(path)?.parent()
            && target != roots[0]
        {
            roots.push(target.to_owned());
        }
        let (files, entries) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { path: folder, roots, model, files, entries })
    }

    /// The `needed` bytes that an entry means, and the entry, shared with its equals.
    pub(super) fn slice(
        &mut self,
        external: External,
        needed: u64,
    ) -> Result<(Bytes, Arc<External>), ExternalFault> {
        if let Some(found) = external.length
            && found != needed
        {
            return Err(ExternalFault::Length { needed, found });
        }
        if !self.files.contains_key(&external.location) {
            let bytes = self.open(&external.location)?;
            self.files.insert(external.location.clone(), bytes);
        }
        let bytes = &self.files[&external.location];
        let size = bytes.len() as u64;
        let start = external.offset.unwrap_or(0);
        let end = start.checked_add(needed).filter(|&end| end <= size);
        let Some(end) = end else {
            let end = start.saturating_add(needed);
            return Err(ExternalFault::BeyondEnd { location: external.location, end, size });
        };
        let in_memory = |at: u64| usize::try_from(at).expect("the file is in memory");
        let content = bytes.slice(in_memory(start)..in_memory(end));
        let entry = self.entries.get(&external).cloned();
        let entry = entry.unwrap_or_else(|| Arc::new(external));
        self.entries.insert(entry.clone());
        Ok((content, entry))
    }

    /// Opens what a location resolves to, after and before checking that it is what it should be.
    fn open(&self, location: &str) -> Result<Bytes, ExternalFault> {
        let io = |source| ExternalFault::Io { location: location.to_owned(), source };
        let not_a_file = || ExternalFault::NotAFile(location.to_owned());
        let path = self.path.join(location);
        let target = fs::canonicalize(&path).map_err(io)?;
        if !self.roots.iter().any(|root| target.starts_with(root)) {
            return Err(ExternalFault::LeadsOutside(location.to_owned()));
        }
        if !fs::symlink_metadata(&target).map_err(io)?.is_file() {
            return Err(not_a_file());
        }
        // A resolved path has no links, so one that appears now is somebody's doing.
        let file = open_unlinked(&target).map_err(io)?;
        let opened = file.metadata().map_err(io)?;
        let moved = fs::canonicalize(&path).map_err(io)? != target
            || !is_same(&opened, &fs::symlink_metadata(&target).map_err(io)?);
        if !opened.is_file() || moved {
            return Err(not_a_file());
        }
        if is_same(&opened, &self.model) {
            return Err(ExternalFault::ModelItself(location.to_owned()));
        }
        map::load(&file, opened.len()).map_err(io)
    }
}

/// Opens a file for reading that is no link, without waiting for the other end of a pipe.
#[cfg(unix)]
fn open_unlinked(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags fit an int");
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_unlinked(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Without file numbers: as good as can be told.
#[cfg(not(unix))]
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.len() == other.len()
        && one.created().ok() == other.created().ok()
        && one.modified().ok() == other.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_judged_by_their_components() {
        for good in ["a.bin", "a..b.bin", "dir/a.bin", "./a.bin", "...", "ä b.data"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "/etc/passwd",
            "//x",
            "a//b",
            "C:x",
            "C:/x",
            "..\\x",
            "a\\..\\x",
            "\\\\host\\x",
            "a\0b",
            "*/_ORT_MEM_ADDR_/*",
            "a/",
        ] {
            assert!(!is_inside(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(number("offset", "0042".to_owned()).unwrap(), 42);
        for bad in ["", "-1", "+1", "0x10", "1.0", " 1", "18446744073709551616", "١"] {
            assert_eq!(number("offset", bad.to_owned()).unwrap_err().code(), "external_bad_number");
        }
    }
}
