//! The files of a pipeline. What it writes is where it says, below one folder, or where the command line says;
//! what it reads is below the folder of its own file, or the one that the command line names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf, is_separator};

use marquetry_pattern::similar::closest;
use marquetry_quant::recipe::Part::{self, At, Field};
use marquetry_quant::recipe::Step;
use marquetry_quant::{Checkpoints, Policy, Recipe};

use super::Source;
use crate::cli::args::Destination;
use crate::cli::failure::{Exit, Failure, plain, short};
use crate::cli::{journal, outputs};

/// What a pipeline writes.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Models, encodings and statistics; the one that the journal belongs to first.
    pub(super) written: Vec<PathBuf>,
    pub(super) reports: Vec<PathBuf>,
    /// Whether steps keep what they decided in folders.
    pub(super) checkpoints: bool,
}

impl Files {
    /// Puts the files of a recipe where they go: the first model where the command line says, if it does,
    /// all others below a folder. What it reads is looked up below the folder of reading.
    pub(super) fn place(
        recipe: &mut Recipe,
        destination: &Destination,
        source: &Source<'_>,
    ) -> Result<Files, Failure> {
        if recipe.passes.is_empty() {
            let message = "the pipeline has no step: nothing would be done";
            return Err(Failure::new(Exit::Invalid, "no_steps", message)
                .at(source.place(&[Field("passes")]))
                .hint("write steps, such as `passes: [Group, Place, Calibrate, …]`"));
        }
        let mut reading = Reading { folder: source.reads_below(destination), source };
        reading.all(recipe)?;
        let below = destination.output_dir.as_deref().unwrap_or(Path::new(""));
        let mut writing = Writing {
            below,
            source,
            taken: BTreeSet::new(),
            instead: destination.output.as_deref(),
            models: 0,
        };
        let mut files = Files::default();
        for (at, step) in recipe.passes.iter_mut().enumerate() {
            files.of_step(at, step, &mut writing)?;
        }
        match (destination.output.as_deref(), writing.models) {
            (Some(output), 0) => Err(Failure::new(
                Exit::Usage,
                "no_model_to_write",
                "no step of the pipeline writes a model that could go here",
            )
            .at(output.display())
            .hint(format!(
                "leave out `-o`, or add `Export(qdq: \"out.onnx\")` to `{}`",
                source.path.display()
            ))),
            _ => Ok(files),
        }
    }

    fn of_step(
        &mut self,
        at: usize,
        step: &mut Step,
        writing: &mut Writing<'_>,
    ) -> Result<(), Failure> {
        let way = |field| [Field("passes"), At(at), Field(field)];
        match step {
            Step::Export(export) => {
                if export.qdq.is_none() && export.encodings.is_none() && export.report.is_none() {
                    let message = "`Export` names no file, so that it would write nothing";
                    return Err(Failure::new(Exit::Invalid, "nothing_to_export", message)
                        .at(writing.source.place(&way("qdq")[..2]))
                        .hint(
                            "name what is wanted: `Export(qdq: \"out.onnx\")`, with `encodings: (path: \
                             \"out.encodings\")` or `report: \"out.html\"`",
                        ));
                }
                if let Some(qdq) = &mut export.qdq {
                    let is_first = writing.models == 0;
                    *qdq = writing.model(qdq, &way("qdq"))?;
                    match writing.instead {
                        // Its journal is beside it, whatever else is written before.
                        Some(_) if is_first => self.written.insert(0, qdq.clone()),
                        _ => self.written.push(qdq.clone()),
                    }
                }
                if let Some(encodings) = &mut export.encodings {
                    let [passes, step, field] = way("encodings");
                    let way = [passes, step, field, Field("path")];
                    encodings.path = writing.file(&encodings.path, &way)?;
                    self.written.push(encodings.path.clone());
                }
                if let Some(report) = &mut export.report {
                    *report = writing.file(report, &way("report"))?;
                    self.reports.push(report.clone());
                }
            }
            Step::Observe(observe) => {
                observe.statistics = writing.file(&observe.statistics, &way("statistics"))?;
                self.written.push(observe.statistics.clone());
            }
            Step::SeqMse(marquetry_quant::pass::SeqMse { checkpoints: Some(kept), .. })
            | Step::Gptq(marquetry_quant::pass::Gptq { checkpoints: Some(kept), .. }) => {
                let Checkpoints { folder, .. } = kept;
                let [passes, step, field] = way("checkpoints");
                *folder = writing.folder(folder, &[passes, step, field, Field("folder")])?;
                self.checkpoints = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a run leaves nothing.
    pub(super) fn is_nothing(&self) -> bool {
        self.written.is_empty() && self.reports.is_empty() && !self.checkpoints
    }

    /// The folder of the journal of a run that writes these.
    pub(super) fn journal(&self) -> Option<PathBuf> {
        // What goes to a pipe has nothing beside it.
        let first = self.written.first().filter(|path| !outputs::is_standard(path));
        first.map(|first| journal::beside(first))
    }
}

/// Where files go.
struct Writing<'a> {
    below: &'a Path,
    source: &'a Source<'a>,
    /// The places that have a file by now.
    taken: BTreeSet<PathBuf>,
    /// Where the command line says that the model goes.
    instead: Option<&'a Path>,
    /// How many models there are by now.
    models: usize,
}

impl Writing<'_> {
    fn model(&mut self, path: &Path, way: &[Part<'_>]) -> Result<PathBuf, Failure> {
        self.models += 1;
        let Some(instead) = self.instead else { return self.file(path, way) };
        if self.models > 1 {
            let message = format!(
                "`-o` says where one model goes, and `{}` is another one that the pipeline writes",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, "several_models_to_write", message)
                .at(self.source.place(way))
                .hint(
                    "leave out `-o`; `--output-dir DIR` says below which folder all of them go",
                ));
        }
        self.take(instead.to_owned(), way)
    }

    /// The place of a file.
    fn file(&mut self, path: &Path, way: &[Part<'_>]) -> Result<PathBuf, Failure> {
        let text = path.to_string_lossy();
        let why = if text.is_empty() {
            Some("is empty")
        } else if text.contains('\0') {
            Some("has a character that no name of a file has")
        } else if text.ends_with(is_separator) || path.file_name().is_none() || text.ends_with("/.")
        {
            Some("is a folder")
        } else {
            None
        };
        // What leads out is told as that.
        match why.filter(|_| led_out(path).is_none()) {
            Some(why) => {
                let message = match shown(path) {
                    empty if empty.is_empty() => "this names no file to write".to_owned(),
                    path => format!("`{path}` {why}, and no file to write"),
                };
                Err(Failure::new(Exit::Invalid, "no_file_to_write", message)
                    .at(self.source.place(way))
                    .hint("write the name of a file, such as `out.onnx`"))
            }
            None => {
                let path = self.folder(path, way)?;
                self.take(path, way)
            }
        }
    }

    /// The place of a folder.
    fn folder(&self, path: &Path, way: &[Part<'_>]) -> Result<PathBuf, Failure> {
        match led_out(path).or_else(|| linked(self.below, path)) {
            None if path.as_os_str().as_encoded_bytes().contains(&0) => {
                let why = "has a character that no name of a folder has";
                Err(self.refused(path, why, way))
            }
            None => Ok(self.below.join(undotted(path))),
            Some(why) => Err(self.refused(path, why, way)),
        }
    }

    fn refused(&self, path: &Path, why: &str, way: &[Part<'_>]) -> Failure {
        let message = format!("a pipeline writes below one folder, and `{}` {why}", shown(path));
        Failure::new(Exit::Invalid, "path_leads_out", message).at(self.source.place(way)).hint(
            "name a file without folders above, and give the folder with `--output-dir DIR`, or the place of \
             the model with `-o`",
        )
    }

    /// Refuses a place that another file has.
    fn take(&mut self, path: PathBuf, way: &[Part<'_>]) -> Result<PathBuf, Failure> {
        if self.taken.insert(outputs::settled(&path)) {
            return Ok(path);
        }
        let message = format!("two outputs have the place `{}`", shown(&path));
        Err(Failure::new(Exit::Invalid, "same_output", message)
            .at(self.source.place(way))
            .hint("give each output a file of its own"))
    }
}

/// Where files are looked up.
struct Reading<'a> {
    folder: PathBuf,
    source: &'a Source<'a>,
}

/// What is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    FileOrFolder,
}

impl Reading<'_> {
    /// Puts in the place of each path where it is.
    fn all(&mut self, recipe: &mut Recipe) -> Result<(), Failure> {
        let target = [Field("target")];
        if Policy::is_file(&recipe.target) {
            let found = self.found(Path::new(&recipe.target), Kind::File, &target)?;
            recipe.target = found.to_string_lossy().into_owned();
        } else if let Err(error) = Policy::preset(&recipe.target) {
            return Err(super::refused(Exit::Invalid, &error).at(self.source.place(&target)));
        }
        for (at, path) in recipe.patterns.iter_mut().enumerate() {
            if path != "std" {
                let way = [Field("patterns"), At(at)];
                let found = self.found(Path::new(path), Kind::FileOrFolder, &way)?;
                *path = found.to_string_lossy().into_owned();
            }
        }
        for (at, step) in recipe.passes.iter_mut().enumerate() {
            if let Step::Calibrate(marquetry_quant::pass::Calibrate {
                statistics: Some(path),
                ..
            }) = step
            {
                let way = [Field("passes"), At(at), Field("statistics")];
                *path = self.found(path, Kind::File, &way)?;
            }
        }
        Ok(())
    }

    /// Where a path is, which is something that can be read and lies below the folder.
    fn found(&self, path: &Path, kind: Kind, way: &[Part<'_>]) -> Result<PathBuf, Failure> {
        let place = self.folder.join(undotted(path));
        let at = || self.source.place(way);
        let leads = |why: &str| {
            let message = format!("a pipeline reads below one folder, and `{}` {why}", shown(path));
            Failure::new(Exit::Invalid, "path_leads_out", message).at(at()).hint(format!(
                "paths are below {}; put the file there, or give another folder with `--input-dir DIR`",
                self.named()
            ))
        };
        if let Some(why) = led_out(path) {
            return Err(leads(why));
        }
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let settled = fs::canonicalize(folder)
            .and_then(|root| Ok((root, fs::canonicalize(&place)?)))
            .and_then(|(root, path)| Ok((root, fs::metadata(&path)?, path)));
        let (root, about, settled) = settled.map_err(|error| self.missing(path, &error, way))?;
        match settled.strip_prefix(&root).map(led_out) {
            Ok(None) => {}
            Ok(Some(why)) => return Err(leads(&format!("is a link to what {why}"))),
            Err(_) => return Err(leads("goes through a link that leads out of it")),
        }
        if about.is_file() || (about.is_dir() && kind == Kind::FileOrFolder) {
            return Ok(place);
        }
        let is = if about.is_dir() { "a folder" } else { "a device or a pipe" };
        let message = format!("`{}` is {is}, and a file is read here", shown(path));
        Err(Failure::new(Exit::Io, "not_a_file", message)
            .at(at())
            .hint("a pipeline names files; what comes from a pipe is given on the command line"))
    }

    /// Nothing is there.
    fn missing(&self, path: &Path, error: &io::Error, way: &[Part<'_>]) -> Failure {
        let failure = |message: String| {
            Failure::new(Exit::Io, "read_failed", message).at(self.source.place(way))
        };
        let shown = shown(path);
        if error.kind() != io::ErrorKind::NotFound {
            return failure(format!("`{shown}` cannot be read: {}", plain(error)));
        }
        let folder = self.folder.join(path.parent().unwrap_or(Path::new("")));
        let names = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let near = name.and_then(|name| closest(&name, names.iter().map(String::as_str)));
        let hint = match near {
            Some(near) => {
                let near = path.with_file_name(near);
                format!("did you mean `{}`?", near.display())
            }
            // Where whoever runs it is used to look.
            None if path.exists() && self.folder != Path::new("") => format!(
                "paths are below {}; `--input-dir .` takes what is below the current folder",
                self.named()
            ),
            None => {
                format!("paths are below {}; `--input-dir DIR` names another folder", self.named())
            }
        };
        failure(format!("there is no `{shown}`")).hint(hint)
    }

    fn named(&self) -> String {
        match self.folder.as_os_str().is_empty() {
            true => "the current folder".to_owned(),
            false => format!("`{}`", self.folder.display()),
        }
    }
}

/// A path without the dots that do not matter.
fn undotted(path: &Path) -> PathBuf {
    path.iter().filter(|part| *part != ".").collect()
}

/// A path of a pipeline in a message: on one line, and not much of it.
fn shown(path: &Path) -> String {
    short(&path.to_string_lossy())
}

/// Why a path of a pipeline may not be used. Whoever runs a pipeline of somebody else's finds what it writes
/// below one folder, and what it reads below another; and neither is a file that programs, or nobody but its
/// owner, read without being asked.
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
