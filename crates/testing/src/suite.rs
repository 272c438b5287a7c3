//! The tests in a pattern file.

use std::path::{Path, PathBuf};

use marquetry_engine::Native;
use marquetry_ir::onnx;
use marquetry_matcher::testing::{Setting, run_all};
use marquetry_pattern::Library;

use crate::drawn;

/// Runs the `test` blocks of a pattern file, as
/// [`assert_pattern_tests!`](crate::assert_pattern_tests) does with its path.
///
/// # Panics
///
/// When the file is wrong, has no test, or one of its tests fails; the message draws it.
pub fn run_file(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let (library, folder) = load(path);
    assert!(!library.tests().is_empty(), "{} has no test", path.display());
    let read =
        |_: &str, model: &str| onnx::read(folder.join(model)).map_err(|error| error.to_string());
    let ran = run_all(&library, &Setting { read: Some(&read), evaluate: Some(&Native) });
    let failed = ran.iter().filter(|ran| !ran.passed()).count();
    assert!(
        failed == 0,
        "{}: {failed} of {} tests failed\n{}",
        path.display(),
        ran.len(),
        drawn::failures(&library, &ran)
    );
}

/// The library of a file, and the folder it is in.
///
/// # Panics
///
/// When the file is wrong; the message draws it.
pub(crate) fn load(path: &Path) -> (Library, PathBuf) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let library = marquetry::library::load(vec![folder.clone()], &[&name]);
    let library =
        library.unwrap_or_else(|errors| panic!("{}:\n{}", path.display(), drawn::errors(&errors)));
    (library, folder)
}
