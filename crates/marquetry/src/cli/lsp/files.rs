//! Files as the editor sees them: open texts, then the disk, then the shipped library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use marquetry::library::FILES;
use marquetry_pattern::{Files, LoadError, Loader, SearchPath};
use serde_json::Value;

use super::documents::Documents;
use super::uri;

/// The most files that are looked through for uses of a name.
const MAX_FILES: usize = 500;
/// The most folders that are looked through for them.
const MAX_FOLDERS: usize = 200;

/// The folders that the client works in.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders(Vec<PathBuf>);

impl Folders {
    /// The folders of the parameters of `initialize`.
    pub(super) fn of(params: &Value) -> Self {
        let listed = params["workspaceFolders"].as_array();
        let mut uris: Vec<&str> =
            listed.into_iter().flatten().filter_map(|folder| folder["uri"].as_str()).collect();
        if uris.is_empty() {
            uris.extend(params["rootUri"].as_str());
        }
        Self(uris.into_iter().filter_map(uri::to_path).collect())
    }

    fn around(&self, path: &Path) -> Option<&Path> {
        let folders = self.0.iter().filter(|folder| path.starts_with(folder));
        folders.map(PathBuf::as_path).max_by_key(|folder| folder.as_os_str().len())
    }
}

/// What the worker knows besides the open texts.
#[derive(Default)]
pub(super) struct World {
    pub(super) folders: Folders,
    /// Base folders by URI, as long as nothing changes.
    bases: BTreeMap<String, PathBuf>,
    /// Where the shipped files have been written for the editor to open.
    shipped: Option<PathBuf>,
}

impl World {
    /// Forgets what changes on disk could make wrong.
    pub(super) fn forget(&mut self) {
        self.bases.clear();
    }

    /// A text with the folder that its imports are relative to.
    pub(super) fn view<'d>(&mut self, documents: &'d Documents, uri: &str) -> View<'d> {
        let path = uri::to_path(uri);
        let base = path.as_deref().map(|path| match self.bases.get(uri) {
            Some(base) => base.clone(),
            None => {
                let text = documents.get(uri).map_or("", |document| &document.text);
                let base = base(&self.folders, path, text);
                self.bases.insert(uri.to_owned(), base.clone());
                base
            }
        });
        let relative = path
            .as_deref()
            .zip(base.as_deref())
            .and_then(|(path, base)| path.strip_prefix(base).ok().map(slashed));
        let root = relative.unwrap_or_else(|| "untitled.pat".to_owned());
        let mut open = BTreeMap::new();
        for (other, document) in documents.iter() {
            if let (Some(path), Some(base)) = (uri::to_path(other), &base)
                && let Ok(relative) = path.strip_prefix(base)
            {
                open.insert(slashed(relative), (other.to_owned(), &*document.text));
            }
        }
        if let Some(document) = documents.get(uri) {
            open.insert(root.clone(), (uri.to_owned(), &*document.text));
        }
        View { base, root, open }
    }

    /// The URI of a file of a view; shipped files are written where the editor can open them.
    pub(super) fn uri(&mut self, view: &View<'_>, path: &str) -> Option<String> {
        if let Some((uri, _)) = view.open.get(path) {
            return Some(uri.clone());
        }
        if let Some(file) = view.on_disk(path) {
            return Some(uri::of_path(&file));
        }
        let (name, _) = FILES.iter().find(|(name, _)| *name == path)?;
        if self.shipped.is_none() {
            self.shipped = write_shipped().ok();
        }
        Some(uri::of_path(&self.shipped.as_ref()?.join(name)))
    }
}

/// One text in the middle of its files.
pub(super) struct View<'d> {
    base: Option<PathBuf>,
    /// The path of the text, as its importers write it.
    pub(super) root: String,
    /// Open texts under the base folder by such paths.
    open: BTreeMap<String, (String, &'d str)>,
}

impl View<'_> {
    /// Whether a file is the user's to change.
    pub(super) fn is_own(&self, path: &str) -> bool {
        self.open.contains_key(path) || self.on_disk(path).is_some()
    }

    fn on_disk(&self, path: &str) -> Option<PathBuf> {
        let file = self.base.as_ref()?.join(path);
        file.is_file().then_some(file)
    }

    /// The root, then all pattern files beside and below it, and the open ones, sorted.
    pub(super) fn all(&self) -> Vec<String> {
        let mut found: BTreeSet<String> = self.open.keys().cloned().collect();
        if let Some(base) = &self.base {
            pattern_files(base, &mut found);
        }
        found.remove(&self.root);
        std::iter::once(self.root.clone()).chain(found).collect()
    }

    /// The paths that the text could import.
    pub(super) fn importable(&self) -> Vec<String> {
        let mut found: BTreeSet<String> = self.all().into_iter().collect();
        found.extend(FILES.iter().map(|(path, _)| (*path).to_owned()));
        found.remove(&self.root);
        found.into_iter().collect()
    }
}

impl Loader for View<'_> {
    fn load(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if let Some((_, text)) = self.open.get(&parts.join("/")) {
            return Ok(text.as_bytes().to_vec());
        }
        let folders = self.base.iter().cloned().collect();
        SearchPath::new(folders, &Files(FILES)).load(path)
    }
}

/// The folder that the imports of a file are relative to: its own, or one around it where that has
/// what it imports, or where a file imports it.
fn base(folders: &Folders, path: &Path, text: &str) -> PathBuf {
    let own = path.parent().unwrap_or(Path::new("/"));
    let Some(limit) = folders.around(path) else { return own.to_owned() };
    let imports: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("use"))
        .filter_map(|rest| rest.trim_start().strip_prefix('"'))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    for folder in own.ancestors().take_while(|folder| folder.starts_with(limit)) {
        if imports.iter().any(|import| folder.join(import).is_file()) {
            return folder.to_owned();
        }
        let Ok(relative) = path.strip_prefix(folder) else { continue };
        let written = format!("\"{}\"", slashed(relative));
        if folder != own && files_in(folder).iter().any(|file| mentions(file, &written)) {
            return folder.to_owned();
        }
    }
    own.to_owned()
}

fn mentions(file: &Path, written: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.contains(written))
}

/// The pattern files directly in a folder, sorted.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "pat") && path.is_file())
        .take(MAX_FILES)
        .collect();
    found.sort();
    found
}

/// Adds the pattern files in and under a folder.
fn pattern_files(base: &Path, found: &mut BTreeSet<String>) {
    let mut waiting = vec![base.to_owned()];
    let mut visited = 0;
    while let Some(folder) = waiting.pop() {
        visited += 1;
        if visited > MAX_FOLDERS || found.len() > MAX_FILES {
            return;
        }
        for file in files_in(&folder) {
            found.extend(file.strip_prefix(base).ok().map(slashed));
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut below: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                !name.starts_with('.') && !matches!(&*name, "target" | "node_modules")
            })
            .map(|entry| entry.path())
            .collect();
        below.sort();
        waiting.extend(below.into_iter().rev());
    }
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Writes the shipped files into the user's cache, each as a whole, and returns the folder.
fn write_shipped() -> std::io::Result<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    let folder = cache.join("marquetry").join(format!("patterns-{}", env!("CARGO_PKG_VERSION")));
    for (name, text) in FILES {
        let file = folder.join(name);
        if fs::read(&file).is_ok_and(|known| known == text.as_bytes()) {
            continue;
        }
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent)?;
        let mut new = marquetry_ir::replace::Beside::new(&file)?;
        new.file().write_all(text.as_bytes())?;
        new.replace(&file)?;
    }
    Ok(folder)
}
