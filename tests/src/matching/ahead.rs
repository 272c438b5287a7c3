//! The search that looks ahead finds exactly what the search finds that does not, whatever the number of
//! threads.

use std::path::PathBuf;

use marquetry::ir::{Model, infer, onnx};
use marquetry::matcher::{Matches, Options, find};
use marquetry::pattern::Library;

/// Fails where the two differ. Where the plain search gives up, the other may still find something.
pub(super) fn compare(model: &Model, library: &Library, what: &str) {
    let types = infer::run(model);
    let patterns = || library.patterns().iter().chain(library.rules());
    let plain = Options { plain: true, ..Options::default() };
    let plain = find(model, &types, patterns(), &plain);
    let ahead = find(model, &types, patterns(), &Options::default());
    let gave_up = |matches: &Matches, pattern: usize, anchor| {
        matches.exhausted.iter().any(|one| one.pattern == pattern && one.anchor == anchor)
    };
    let expected: Vec<_> = plain.matches.iter().collect();
    let found: Vec<_> = ahead
        .matches
        .iter()
        .filter(|found| !gave_up(&plain, found.pattern, found.anchor))
        .collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{what}");
    }
    for one in &ahead.exhausted {
        assert!(plain.exhausted.contains(one), "{what}: given up only when looking ahead");
    }
}

fn models(folder: &str) -> Vec<PathBuf> {
    let default = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo/open");
    let zoo = std::env::var_os("MARQUETRY_ZOO").map_or(default, PathBuf::from).join(folder);
    let Ok(entries) = std::fs::read_dir(&zoo) else {
        eprintln!("skipped: no folder {}", zoo.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "onnx"));
    // The largest differ in length, not in kind.
    paths.retain(|path| std::fs::metadata(path).is_ok_and(|facts| facts.len() < 700_000));
    paths.sort();
    paths
}

#[test]
fn looking_ahead_changes_nothing_in_the_zoo() {
    let library = marquetry::library::standard();
    for path in models("graphs").into_iter().chain(models("trained")) {
        let model = onnx::read(&path).unwrap();
        compare(&model, &library, &path.display().to_string());
    }
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/vit.onnx");
    let model = onnx::read(path).unwrap();
    let types = infer::run(&model);
    let library = marquetry::library::standard();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| find(&model, &types, library.patterns(), &Options::default()).matches)
    };
    let one = with(1);
    assert!(!one.is_empty());
    assert_eq!(one, with(2));
    assert_eq!(one, with(8));
}
