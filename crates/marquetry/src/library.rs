//! The shipped patterns, inside the binary.

use std::path::PathBuf;

use marquetry_matcher::Schemas;
use marquetry_pattern::{Diagnostic, Files, Library, SearchPath};

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../patterns/", $path)))),*]
    };
}

/// The shipped files: path on the search path, and text.
pub const FILES: &[(&str, &str)] = files![
    "activations.pat",
    "attention.pat",
    "causal-attention.pat",
    "cleanup.pat",
    "convolution.pat",
    "embedding.pat",
    "fold.pat",
    "gated.pat",
    "group-norm.pat",
    "layer-norm.pat",
    "linear.pat",
    "onnxruntime.pat",
    "quantized.pat",
    "rms-norm.pat",
    "rope.pat",
    "skip-norm.pat",
    "std/layout.pat",
    "std/math.pat",
];

/// The shipped files that declare patterns; the others serve these.
pub fn roots() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path).filter(|path| !path.starts_with("std/"))
}

/// The shipped patterns.
///
/// ```
/// let library = marquetry::library::standard();
/// assert!(library.patterns().iter().any(|pattern| pattern.name == "LayerNorm"));
/// ```
///
/// # Panics
///
/// Never: that the shipped files are correct is tested.
pub fn standard() -> Library {
    let roots: Vec<_> = roots().collect();
    Library::load(&Files(FILES), &roots, &Schemas).expect("the shipped patterns are correct")
}

/// The patterns of some files, which may use the shipped ones and files in `folders`. `roots` are
/// paths in these folders, or shipped files.
///
/// # Errors
///
/// All errors of all files.
pub fn load(folders: Vec<PathBuf>, roots: &[&str]) -> Result<Library, Vec<Diagnostic>> {
    load_with(folders, &[], roots)
}

/// The same with further files that are given as path and text, and stand in no folder.
///
/// # Errors
///
/// All errors of all files.
pub fn load_with(
    folders: Vec<PathBuf>,
    given: &[(&str, &str)],
    roots: &[&str],
) -> Result<Library, Vec<Diagnostic>> {
    let files = [given, FILES].concat();
    Library::load(&SearchPath::new(folders, &Files(&files)), roots, &Schemas)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_shipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../patterns");
        let mut found = Vec::new();
        for folder in [folder.clone(), folder.join("std")] {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "pat") {
                    found.push(path);
                }
            }
        }
        let mut found: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found, FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<Vec<_>>());
    }
}
