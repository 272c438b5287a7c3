//! Runs the pages of `examples/` and the README as a reader would, and the pattern files beside them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod docs;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn write_a_pattern() {
    docs::check(&root().join("examples"), "write-a-pattern", "README.md");
}

#[test]
fn rules() {
    docs::check(&root().join("examples"), "rules", "README.md");
}

/// Every file in the folders of examples passes its own tests.
#[test]
fn pattern_files_pass_their_tests() {
    let output = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(["pattern", "test", "examples"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
