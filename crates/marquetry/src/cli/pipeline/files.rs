//! The files that a pipeline writes: where it says, below one folder, or where the command line says.

use std::fs;
use std::path::{Component, Path, PathBuf};

use marquetry_quant::Recipe;
use marquetry_quant::recipe::Step;

use crate::cli::args::Destination;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{journal, outputs};

/// What a pipeline writes.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Models, encodings and statistics; the one that the journal belongs to first.
    pub(super) written: Vec<PathBuf>,
    pub(super) reports: Vec<PathBuf>,
}

impl Files {
    /// Puts the files of a recipe where they go: the first model where the command line says, if it does,
    /// all others below a folder.
    pub(super) fn place(
        recipe: &mut Recipe,
        destination: &Destination,
        file: &Path,
        text: &str,
    ) -> Result<Files, Failure> {
        let below = destination.output_dir.as_deref().unwrap_or(Path::new(""));
        let mut instead = destination.output.as_deref();
        let mut files = Files::default();
        let put = |path: &mut PathBuf| match led_out(path).or_else(|| linked(below, path)) {
            Some(why) => Err(refused(path, why, file, text)),
            None => {
                // Without the dots that do not matter.
                *path = below.join(path.iter().filter(|part| *part != ".").collect::<PathBuf>());
                Ok(path.clone())
            }
        };
        for step in &mut recipe.passes {
            match step {
                Step::Export(export) => {
                    match (&mut export.qdq, instead) {
                        (Some(qdq), Some(output)) => {
                            *qdq = output.to_owned();
                            files.written.insert(0, output.to_owned());
                            instead = None;
                        }
                        (Some(qdq), None) => files.written.push(put(qdq)?),
                        (None, _) => {}
                    }
                    if let Some(encodings) = &mut export.encodings {
                        files.written.push(put(&mut encodings.path)?);
                    }
                    if let Some(report) = &mut export.report {
                        files.reports.push(put(report)?);
                    }
                }
                Step::Observe(observe) => files.written.push(put(&mut observe.statistics)?),
                Step::SeqMse(search) => {
                    search
                        .checkpoints
                        .iter_mut()
                        .try_for_each(|it| put(&mut it.folder).map(drop))?;
                }
                Step::Gptq(gptq) => {
                    gptq.checkpoints.iter_mut().try_for_each(|it| put(&mut it.folder).map(drop))?;
                }
                _ => {}
            }
        }
        match instead {
            Some(output) => Err(Failure::new(
                Exit::Usage,
                "no_model_to_write",
                "no step of the pipeline writes a model that could go here",
            )
            .at(output.display())
            .hint(format!(
                "leave out `-o`, or add `Export(qdq: \"out.onnx\")` to `{}`",
                file.display()
            ))),
            None => Ok(files),
        }
    }

    /// The folder of the journal of a run that writes these.
    pub(super) fn journal(&self) -> Option<PathBuf> {
        // What goes to a pipe has nothing beside it.
        let first = self.written.first().filter(|path| !outputs::is_standard(path));
        first.map(|first| journal::beside(first))
    }
}

/// Why a path of a pipeline may not be written. Whoever runs a pipeline of somebody else's finds what it
/// writes below one folder, and no file that programs read without being asked.
fn led_out(path: &Path) -> Option<&'static str> {
    path.components().find_map(|part| match part {
        Component::Normal(name) if name.as_encoded_bytes().starts_with(b".") => {
            Some("is a hidden file")
        }
        Component::Normal(_) | Component::CurDir => None,
        Component::ParentDir => Some("has `..`"),
        Component::RootDir | Component::Prefix(_) => Some("is absolute"),
    })
}

/// Whether a folder on the way is a link, which may lead anywhere. The folder that the command line names may
/// be one.
fn linked(below: &Path, path: &Path) -> Option<&'static str> {
    let inside = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let is_link = |folder: &Path| {
        fs::symlink_metadata(below.join(folder)).is_ok_and(|found| found.file_type().is_symlink())
    };
    inside.into_iter().any(is_link).then_some("goes through a link")
}

fn refused(path: &Path, why: &str, file: &Path, text: &str) -> Failure {
    // As the file writes it; where it writes it in another way, its name has to do.
    let shown = path.display().to_string();
    let at = text.find(&format!("{shown:?}")).map(|at| {
        let line = text[..at].matches('\n').count() + 1;
        let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        format!("{}:{line}:{}", file.display(), text[start..at].chars().count() + 1)
    });
    let message = format!("a pipeline writes below one folder, and `{shown}` {why}");
    Failure::new(Exit::Invalid, "path_leads_out", message)
        .at(at.unwrap_or_else(|| file.display().to_string()))
        .hint("name a file without folders above, and give the folder with `--output-dir DIR`, or the \
               place of the model with `-o`")
}
