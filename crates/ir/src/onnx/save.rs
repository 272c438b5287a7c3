//! Files that appear whole or not at all.
//!
//! The model file is the point of commitment: sidecars get their names first, under names that are
//! free or already hold the same bytes, and only then the model that refers to them is renamed
//! into place. Whoever is interrupted leaves the old pair untouched, and at worst a new sidecar
//! that nobody refers to. Files are never changed in place, so mappings of them stay what they are.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::model::Writer;
use super::sidecar::{self, INLINE_LIMIT, Sidecar};
use super::{model, stream};
use crate::Model;
use crate::onnx::{MOST_BYTES, WriteError, Written};
use crate::replace::Beside;

/// Writes a model and its sidecars.
pub(super) fn save(model: &Model, path: &Path) -> Result<Written, WriteError> {
    let folder = folder_of(path);
    let previous = existing(path)?;
    let file_name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut sidecars = sidecar::plan(model, &file_name, INLINE_LIMIT)?;
    let mut made = Made::default();
    let mut paths = Vec::new();
    for sidecar in &mut sidecars {
        paths.push(settle(sidecar, &folder, &mut made)?);
    }
    let layout = sidecar::layout(&sidecars);
    let wire = model::write(&Writer { layout: &layout }, model)?;
    let size = prost::Message::encoded_len(&wire) as u64;
    if size > MOST_BYTES {
        return Err(WriteError::TooLarge { size });
    }
    let mut written = write_beside(path, |out| stream::write(wire, out))?;
    if let Some(previous) = previous {
        // Renaming replaces the file, not what the user has allowed others to do with it.
        let kept = written.file().set_permissions(previous.permissions());
        kept.map_err(|source| io_error(path, source))?;
    }
    written.replace(path).map_err(|error| io_error(path, error))?;
    made.keep();
    sync_folder(&folder);
    Ok(Written { model: path.to_owned(), sidecars: paths })
}

/// Sidecars that this save has made and that go again if it fails.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // The error that led here is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// Finds or makes the file of a sidecar, and fixes its location.
fn settle(sidecar: &mut Sidecar, folder: &Path, made: &mut Made) -> Result<PathBuf, WriteError> {
    let path = make_folders(folder, &sidecar.location)?;
    if let Some(path) = take_place(sidecar, path, made)? {
        return Ok(path);
    }
    sidecar.location = sidecar.fingerprinted();
    let path = make_folders(folder, &sidecar.location)?;
    take_place(sidecar, path.clone(), made)?
        .ok_or_else(|| io_error(&path, io::ErrorKind::AlreadyExists.into()))
}

/// Makes the file, or finds that it is there already; nothing if another one has its place.
fn take_place(
    sidecar: &Sidecar,
    path: PathBuf,
    made: &mut Made,
) -> Result<Option<PathBuf>, WriteError> {
    let failed = |source| io_error(&path, source);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder_of(&path);
            let written = write_beside(&path, |out| sidecar.write(out))?;
            // Refuses to replace a file, or a link, that has appeared in the meantime.
            written.settle(&path).map_err(failed)?;
            sync_folder(&folder);
            made.0.push(path.clone());
            Ok(Some(path))
        }
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_symlink() => Err(WriteError::Link { path }),
        Ok(found) if !found.is_file() => Err(WriteError::NotAFile { path }),
        Ok(found) => {
            let is_there = found.len() == sidecar.size() && {
                let mut file = BufReader::new(File::open(&path).map_err(failed)?);
                sidecar.is_in(&mut file).map_err(failed)?
            };
            Ok(is_there.then_some(path))
        }
    }
}

/// The path of a location, whose folders are made where they are missing and never followed where
/// they are links.
fn make_folders(folder: &Path, location: &str) -> Result<PathBuf, WriteError> {
    let mut path = folder.to_owned();
    let mut names = location.split('/').filter(|&name| name != ".").peekable();
    while let Some(name) = names.next() {
        path.push(name);
        if names.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(found) if found.is_symlink() => return Err(WriteError::Link { path }),
            Ok(_) => return Err(WriteError::NotAFile { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path).map_err(|source| io_error(&path, source))?;
            }
            Err(source) => return Err(WriteError::Io { path, source }),
        }
    }
    Ok(path)
}

/// Writes a file beside the one it is going to be, down to the disk.
fn write_beside(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<Beside, WriteError> {
    let failed = |source| io_error(path, source);
    let mut new = Beside::new(path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 16, new.file());
    content(&mut out).map_err(failed)?;
    out.flush().map_err(failed)?;
    drop(out);
    new.file().sync_all().map_err(failed)?;
    Ok(new)
}

/// What is at the output path already, if that can be replaced.
fn existing(path: &Path) -> Result<Option<fs::Metadata>, WriteError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(found) if found.is_symlink() => Err(WriteError::Link { path: path.to_owned() }),
        Ok(_) => Err(WriteError::NotAFile { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(path, source)),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes a rename last through a loss of power, where the system can.
fn sync_folder(folder: &Path) {
    // Some file systems cannot sync a folder; the files themselves are on the disk.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

fn io_error(path: &Path, source: io::Error) -> WriteError {
    WriteError::Io { path: path.to_owned(), source }
}
