//! The files that a run writes: each as a whole or not at all, and none over what it reads.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use marquetry_ir::replace::{Beside, is_link};
use marquetry_ir::{Graph, Model, Storage, onnx};
use marquetry_quant::pass::{Content, Output};

use super::failure::{Exit, Failure};
use super::load;

/// Refuses outputs that are inputs, lie among them, or are each other.
pub(crate) fn apart(outputs: &[&Path], inputs: &[PathBuf]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for output in outputs {
        let place = settled(output);
        // Standard output is no file, whatever files there are.
        let inputs = if is_standard(output) { &[] } else { inputs };
        for input in inputs.iter().filter(|input| !is_standard(input)) {
            let input_place = settled(input);
            if place == input_place
                || (place.exists() && input.is_dir() && place.starts_with(&input_place))
            {
                let message = format!("this would write over `{}`, which is read", input.display());
                return Err(Failure::new(Exit::Usage, "output_is_input", message)
                    .at(output.display())
                    .hint("choose another place for the output"));
            }
        }
        if !seen.insert(place) {
            return Err(Failure::new(Exit::Usage, "same_output", "two outputs have this place")
                .at(output.display())
                .hint("give each output a file of its own"));
        }
    }
    Ok(())
}

/// The files beside a model that hold its external data.
pub(crate) fn sidecars(path: &Path, model: &Model) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut locations = BTreeSet::new();
    let mut graphs: Vec<&Graph> = vec![&model.graph];
    graphs.extend(model.functions.iter().map(|function| &function.body));
    while let Some(graph) = graphs.pop() {
        let initializers = graph.values().filter_map(|value| graph.value(value).constant.as_ref());
        let nodes: Vec<_> = graph.nodes().map(|node| graph.node(node)).collect();
        let attributes = nodes.iter().flat_map(|node| &node.attributes);
        let constants = attributes.filter_map(|attribute| attribute.value.as_tensor());
        for tensor in initializers.chain(constants) {
            if let Storage::External(external) = &tensor.storage {
                locations.insert(folder.join(&external.location));
            }
        }
        graphs.extend(nodes.iter().flat_map(|node| node.bodies()));
    }
    locations.into_iter().collect()
}

/// A path without links and dots, as far as it exists.
pub(crate) fn settled(path: &Path) -> PathBuf {
    if let Ok(settled) = fs::canonicalize(path) {
        return settled;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Whether an output goes to standard output: `-o -`.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses standard output where a verb needs a file.
pub(crate) fn is_file(path: &Path) -> Result<(), Failure> {
    if !is_standard(path) {
        return Ok(());
    }
    let message = "this is written to a file, and not to standard output";
    Err(Failure::new(Exit::Usage, "not_to_stdout", message)
        .at(path.display())
        .hint("give the path of a file; `./-` is a file of this name"))
}

/// Refuses to fill a terminal with the bytes of a model.
pub(crate) fn not_a_terminal(path: &Path) -> Result<(), Failure> {
    if !is_standard(path) || !io::stdout().is_terminal() {
        return Ok(());
    }
    let message = "a model is no text, and standard output is a terminal";
    Err(Failure::new(Exit::Usage, "stdout_is_a_terminal", message)
        .at(path.display())
        .hint("send it on, `… -o - | marquetry …` or `… -o - > out.onnx`, or give a path"))
}

/// Refuses a path where no file can be put.
pub(crate) fn writable(path: &Path) -> Result<(), Failure> {
    if is_standard(path) {
        return Ok(());
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::new(
            Exit::Io,
            "no_folder",
            format!("there is no folder `{}`", folder.display()),
        )
        .at(path.display())
        .hint("make the folder first, or choose another place with `-o`"));
    }
    if path.is_dir() {
        return Err(Failure::new(Exit::Io, "output_not_a_file", "this is a folder")
            .at(path.display())
            .hint("give the path of a file"));
    }
    if is_link(path) {
        let message = "this is a link, which nothing is written through";
        return Err(Failure::new(Exit::Io, "output_is_link", message)
            .at(path.display())
            .hint("give the path of the file it points to; `-o -` is standard output"));
    }
    // Creating a file is the one test that knows permissions, quotas and read-only mounts.
    match Beside::new(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::writing(path, &error)),
    }
}

/// Writes files; returns the one for standard output.
pub(crate) fn write(outputs: &[Output]) -> Result<Option<Vec<u8>>, Failure> {
    let mut standard = None;
    for output in outputs {
        if is_standard(&output.path) {
            standard = Some(match &output.content {
                Content::Model(model) => bytes(model, &output.path)?,
                Content::Text(text) => text.clone().into_bytes(),
            });
            continue;
        }
        match &output.content {
            Content::Model(model) => {
                onnx::write(model, &output.path)
                    .map_err(|error| load::write_failure(&output.path, &error))?;
            }
            Content::Text(text) => {
                write_text(&output.path, text)
                    .map_err(|error| Failure::writing(&output.path, &error))?;
            }
        }
    }
    Ok(standard)
}

/// Bytes of a model in a file, or of one that comes from a pipe or goes to one.
pub(crate) fn size(path: &Path, model: &Model) -> Result<u64, Failure> {
    if is_standard(path) {
        let encoded = onnx::encode(model).map_err(|error| load::write_failure(path, &error))?;
        return Ok(encoded.len() as u64);
    }
    let found = fs::metadata(path).map_err(|error| Failure::reading(path, &error))?;
    Ok(found.len())
}

/// A model for standard output.
fn bytes(model: &Model, path: &Path) -> Result<Vec<u8>, Failure> {
    not_a_terminal(path)?;
    if !sidecars(Path::new(""), model).is_empty() {
        let message = "the model has external data, which stand in files beside it";
        return Err(Failure::new(Exit::Unsupported, "external_on_stdout", message)
            .at(path.display())
            .hint("give the path of a file"));
    }
    onnx::encode(model).map_err(|error| load::write_failure(path, &error))
}

/// Replaces a file as a whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let mut new = Beside::new(path)?;
    new.file().write_all(text.as_bytes())?;
    new.file().sync_all()?;
    new.replace(path)
}
