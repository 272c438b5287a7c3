//! The dependency diagram of `crates/README.md`, held by a test.

use std::fs;
use std::path::Path;

/// Who may use whom; a crate that is not listed does not exist.
const USES: &[(&str, &[&str])] = &[
    ("pattern", &[]),
    ("ir", &[]),
    ("matcher", &["ir", "pattern"]),
    ("engine", &["ir"]),
    ("quant", &["ir", "matcher", "engine"]),
    ("testing", &["ir", "pattern", "matcher", "engine", "marquetry"]),
    ("marquetry", &["ir", "pattern", "matcher", "engine", "quant"]),
];

/// Packages that one crate alone may know.
const ONLY: &[(&str, &str)] = &[
    ("pest", "pattern"),
    ("pest_derive", "pattern"),
    ("petgraph", "ir"),
    ("prost", "ir"),
    ("ort", "engine"),
    ("rten", "engine"),
    ("insta", "testing"),
    ("clap", "marquetry"),
    ("clap_complete", "marquetry"),
    ("clap_mangen", "marquetry"),
    ("indicatif", "marquetry"),
    ("signal-hook", "marquetry"),
];

/// The most packages that the lock file may name: what is downloaded and audited.
const LOCKED_PACKAGES: usize = 217;

fn crates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut crates: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path.join("Cargo.toml")).unwrap())
        })
        .collect();
    crates.sort();
    crates
}

/// The packages that a manifest lists under `[dependencies]`; those of tests are free.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

fn violations(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = USES.iter().find(|(listed, _)| *listed == name) else {
        return vec![format!("`{name}` is not in the diagram")];
    };
    let ours = |package: &str| match package {
        "marquetry" => Some(package.to_owned()),
        _ => package.strip_prefix("marquetry-").map(str::to_owned),
    };
    dependencies(manifest)
        .into_iter()
        .filter(|package| match ours(package) {
            Some(package) => !allowed.contains(&package.as_str()),
            None => ONLY.iter().any(|(known, owner)| known == package && *owner != name),
        })
        .map(|package| format!("`{name}` must not depend on `{package}`"))
        .collect()
}

#[test]
fn crates_use_only_what_the_diagram_allows() {
    let violations: Vec<_> =
        crates().iter().flat_map(|(name, manifest)| violations(name, manifest)).collect();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_wrong_arrow_is_seen() {
    let manifest = "[package]\n\n[dependencies]\nmarquetry-quant.workspace = true\npest = \"2\"\n\n[dev-dependencies]\ninsta = \"1\"\n";
    assert_eq!(
        violations("ir", manifest),
        ["`ir` must not depend on `marquetry-quant`", "`ir` must not depend on `pest`"]
    );
}

#[test]
fn the_lock_file_stays_small() {
    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(packages <= LOCKED_PACKAGES, "{packages} packages, {LOCKED_PACKAGES} allowed");
}
