//! The texts of a library.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::span::{SourceId, Span};

/// Where a loader finds nothing, or nothing usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No file of this path.
    #[error("no file `{path}` on the search path")]
    NotFound {
        /// The path as written.
        path: String,
    },
    /// The path is absolute or leads out of the search path.
    #[error("`{path}` leads out of the search path")]
    Outside {
        /// The path as written.
        path: String,
    },
    /// The file is there but cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The path as written.
        path: String,
        /// What the system says.
        reason: String,
    },
}

impl LoadError {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::NotFound { .. } => "file_not_found",
            LoadError::Outside { .. } => "path_outside",
            LoadError::Unreadable { .. } => "file_unreadable",
        }
    }

    /// Returns the next step.
    pub fn hint(&self) -> &'static str {
        match self {
            LoadError::NotFound { .. } => {
                "paths in `use` are relative to the folders of the search path"
            }
            LoadError::Outside { .. } => "write a relative path without `..`",
            LoadError::Unreadable { .. } => "check that it is a file and that you may read it",
        }
    }
}

/// Finds the bytes of a file by the path written in `use`.
///
/// ```
/// use marquetry_pattern::{LoadError, Loader};
///
/// let loader = |path: &str| match path {
///     "std/math.pat" => Ok(b"def square(x) = x ^ 2".to_vec()),
///     _ => Err(LoadError::NotFound { path: path.to_owned() }),
/// };
/// assert!(loader.load("std/math.pat").is_ok());
/// ```
pub trait Loader {
    /// Returns the content of a file.
    ///
    /// # Errors
    ///
    /// Says why there is none.
    fn load(&self, path: &str) -> Result<Vec<u8>, LoadError>;
}

impl<F: Fn(&str) -> Result<Vec<u8>, LoadError>> Loader for F {
    fn load(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        self(path)
    }
}

/// Files in memory, such as a library inside a binary: `(path, text)`.
///
/// ```
/// use marquetry_pattern::{Files, Loader};
///
/// assert!(Files(&[("a.pat", "def f(x) = x")]).load("a.pat").is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Files<'a>(pub &'a [(&'a str, &'a str)]);

impl Loader for Files<'_> {
    fn load(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        self.0
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| LoadError::NotFound { path: path.to_owned() })
    }
}

/// Folders that are searched in order, then another loader.
///
/// A path that is absolute or contains `..` is refused, and so is a link that leads out of its
/// folder: what is loaded lies inside the folders.
pub struct SearchPath<'a> {
    folders: Vec<PathBuf>,
    rest: &'a dyn Loader,
}

impl<'a> SearchPath<'a> {
    /// Returns a loader for these folders, and for `rest` where they have no such file.
    pub fn new(folders: Vec<PathBuf>, rest: &'a dyn Loader) -> Self {
        Self { folders, rest }
    }
}

impl Loader for SearchPath<'_> {
    fn load(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let relative = Path::new(path);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(LoadError::Outside { path: path.to_owned() });
        }
        let unreadable = |error: std::io::Error| LoadError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        for folder in &self.folders {
            let candidate = folder.join(relative);
            if !candidate.is_file() {
                continue;
            }
            let root = folder.canonicalize().map_err(unreadable)?;
            let file = candidate.canonicalize().map_err(unreadable)?;
            if !file.starts_with(&root) {
                return Err(LoadError::Outside { path: path.to_owned() });
            }
            return std::fs::read(&file).map_err(unreadable);
        }
        self.rest.load(path)
    }
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path by which it was loaded.
    pub path: String,
    /// Its text, without a byte order mark.
    pub text: Arc<str>,
}

/// The files of a library, in load order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: &str, text: &str) -> SourceId {
        let id = u32::try_from(self.files.len()).expect("a library has fewer than 2^32 files");
        self.files.push(Source { path: path.to_owned(), text: Arc::from(text) });
        SourceId(id)
    }

    /// Returns a file.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.files[id.index()]
    }

    /// Returns the text at a place.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.source).text.get(span.range()).unwrap_or("")
    }

    /// Returns line and column of the start of a place, both from 1; columns count characters.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let text = &self.get(span.source).text;
        let before = text.get(..span.start as usize).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    pub(crate) fn named(&self, id: SourceId) -> Option<miette::NamedSource<Arc<str>>> {
        let file = self.files.get(id.index())?;
        Some(miette::NamedSource::new(&file.path, Arc::clone(&file.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Files<'_> = Files(&[]);

    #[test]
    fn the_search_path_is_a_fence() {
        let loader = SearchPath::new(vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))], &EMPTY);
        assert!(loader.load("src/lib.rs").is_ok());
        assert!(matches!(loader.load("../ir/Cargo.toml"), Err(LoadError::Outside { .. })));
        assert!(matches!(loader.load("/etc/passwd"), Err(LoadError::Outside { .. })));
        assert!(matches!(loader.load("src/none.rs"), Err(LoadError::NotFound { .. })));
    }

    #[test]
    fn positions_count_characters() {
        let mut sources = Sources::default();
        let id = sources.add("a.pat", "β = 1\n  γ");
        let at = "β = 1\n  ".len();
        assert_eq!(sources.position(Span::new(id, at, at + 1)), (2, 3));
    }
}
