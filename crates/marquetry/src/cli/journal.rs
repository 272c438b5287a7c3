//! The journal of a run: where it is, what it is of, and what becomes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use marquetry_engine::Engine;
use marquetry_quant::Pipeline;
use marquetry_quant::journal::{Folder, HowMuch, Identity, JournalError, Taken};

use super::args::Samples;
use super::failure::{Exit, Failure};

/// Where a run keeps its journal, and how.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Whether to go on with the one that is there.
    pub(crate) resume: bool,
    /// Whether it stays when all is done.
    pub(crate) keep: bool,
    /// How often what is not finished is saved.
    pub(crate) every: Duration,
}

impl Place {
    /// The journal of a run of this pipeline on these files.
    pub(crate) fn open(
        &self,
        pipeline: &Pipeline,
        model: &[PathBuf],
        samples: &Samples,
        patterns: &[PathBuf],
        engine: &dyn Engine,
    ) -> Result<Folder, Failure> {
        let digest = |files: &[PathBuf]| {
            Identity::digest_of_files(files)
                .map_err(|(path, error)| Failure::reading(&path, &error))
        };
        let calib: Vec<PathBuf> = samples.calib.iter().cloned().collect();
        let limit = samples.samples.map_or("all".to_owned(), |limit| limit.to_string());
        let read = format!("{}, {limit} by {}", digest(&calib)?, samples.batch);
        let standard = |path: &&PathBuf| path.as_os_str() != "std";
        let mut rest: Vec<PathBuf> = patterns.iter().filter(standard).cloned().collect();
        rest.extend(pipeline.reads().into_iter().map(Path::to_owned));
        let policy = Identity::digest_of_text(&format!("{:?}", pipeline.policy()));
        let mut rest = format!("{policy}, {}", digest(&rest)?);
        // Engines differ in the last bits, which a run must not mix.
        if engine.name() != "embedded" {
            rest.push_str(&format!(", {}", engine.name()));
        }
        let identity = Identity::new(digest(model)?, read, rest);
        Folder::open(&self.path, &identity, self.resume, self.every)
            .map_err(|error| failure(&error))
    }

    /// What becomes of the journal when the run is through.
    pub(crate) fn finish(&self, folder: Folder) -> Result<(), Failure> {
        if self.keep { Ok(()) } else { folder.remove().map_err(|error| failure(&error)) }
    }
}

/// The folder that belongs to an output.
pub(crate) fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// What was taken from a journal, and what was not, for people.
pub(crate) fn taken(folder: &Folder) -> Vec<String> {
    let used = folder.used();
    let name = |taken: &Taken| {
        let step = &taken.step;
        format!("`{}`", step.rsplit_once('-').map_or(step.as_str(), |(step, _)| step))
    };
    let once = |mut names: Vec<String>| {
        names.dedup();
        names.join(", ")
    };
    let found = used.iter().filter_map(|taken| match taken.how_much {
        HowMuch::Nothing | HowMuch::Levels(0, _) => None,
        HowMuch::Entry => Some(name(taken)),
        HowMuch::Levels(levels, of) if levels < of => {
            Some(format!("{} ({levels} of {of} levels)", name(taken)))
        }
        HowMuch::Levels(..) => Some(name(taken)),
    });
    let found = once(found.collect());
    let damaged = once(used.iter().filter(|taken| taken.damaged).map(name).collect());
    let mut told = Vec::new();
    if !found.is_empty() {
        told.push(format!("the journal had what these steps found: {found}"));
    }
    if !damaged.is_empty() {
        told.push(format!(
            "what the journal had of these steps was damaged, in part at least, and was computed again: \
             {damaged}"
        ));
    }
    told
}

pub(crate) fn failure(error: &JournalError) -> Failure {
    let exit = match error {
        JournalError::Io { .. } | JournalError::Locked { .. } => Exit::Io,
        _ => Exit::Usage,
    };
    let message = match error {
        JournalError::Io { reason, .. } => reason.clone(),
        _ => error.to_string(),
    };
    Failure::new(exit, error.code(), message).at(error.path()).hint(error.hint())
}
