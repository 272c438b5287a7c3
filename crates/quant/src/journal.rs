//! Journals: what long steps found, kept on disk, so that a run that was killed goes on where it was.
//!
//! Passes are deterministic: what they leave follows from the model, the samples and the recipe. So
//! nothing of the state is written down but what took long to find, which is what samples showed and what
//! was searched for. When a run is resumed its steps run again from the first one, and where one would
//! run samples it takes what the journal has. The bytes are those of a run that was never killed, because
//! it is the same run.
//!
//! A pass keeps what it found with [`Context::save`](crate::Context::save) and asks for it with
//! [`Context::saved`](crate::Context::saved). Entries belong to a step, and are found again only by a
//! step that stands behind the same steps, on the same model and the same samples.

mod folder;

use std::path::PathBuf;

pub(crate) use folder::Digest;
pub use folder::{Folder, Identity};

/// Where passes keep what took long to find.
pub trait Journal: Sync {
    /// What was kept under this name, if it is there and whole.
    fn load(&self, step: &str, name: &str) -> Option<Vec<u8>>;

    /// Keeps something under a name, in place of what was there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn save(&self, step: &str, name: &str, content: &[u8]) -> Result<(), JournalError>;

    /// A folder for a pass that keeps files of its own: under this name, whether it is there yet or not.
    fn folder(&self, step: &str, name: &str) -> Option<PathBuf>;

    /// Hears what of such a folder was taken: so many of the levels, and whether something there was damaged.
    fn taken(&self, _step: &str, _levels: (usize, usize), _damaged: bool) {}

    /// Whether enough time has passed to save what is not finished yet.
    fn due(&self) -> bool;
}

/// What a step found in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the journal calls the step.
    pub step: String,
    /// How much it took.
    pub how_much: HowMuch,
    /// Whether something was damaged, which it finds again.
    pub damaged: bool,
}

/// How much a step took from a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowMuch {
    /// Nothing that could be used was there.
    Nothing,
    /// An entry.
    Entry,
    /// So many levels of layers, of so many.
    Levels(usize, usize),
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Journal for Nothing {
    fn load(&self, _: &str, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn save(&self, _: &str, _: &str, _: &[u8]) -> Result<(), JournalError> {
        Ok(())
    }

    fn folder(&self, _: &str, _: &str) -> Option<PathBuf> {
        None
    }

    fn due(&self) -> bool {
        false
    }
}

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or folder that the system refuses.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is one already.
    #[error("there is the journal of a run that was not finished")]
    Exists {
        /// The folder.
        path: String,
    },
    /// A folder that holds something else.
    #[error("this folder is no journal")]
    Foreign {
        /// The folder.
        path: String,
    },
    /// A journal of another run.
    #[error("the journal is of another {what}")]
    Mismatch {
        /// The folder.
        path: String,
        /// What differs.
        what: String,
    },
    /// A journal that another process writes.
    #[error("another process is running with this journal")]
    Locked {
        /// The folder.
        path: String,
    },
}

impl JournalError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            JournalError::Io { .. } => "journal_failed",
            JournalError::Exists { .. } => "journal_exists",
            JournalError::Foreign { .. } => "not_a_journal",
            JournalError::Mismatch { .. } => "journal_mismatch",
            JournalError::Locked { .. } => "journal_in_use",
        }
    }

    /// The folder concerned.
    pub fn path(&self) -> &str {
        match self {
            JournalError::Io { path, .. }
            | JournalError::Exists { path }
            | JournalError::Foreign { path }
            | JournalError::Mismatch { path, .. }
            | JournalError::Locked { path } => path,
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> &'static str {
        match self {
            JournalError::Io { .. } => "check that the folder may be written to and has room",
            JournalError::Exists { .. } => {
                "`--resume` goes on with it; remove the folder to start from the beginning"
            }
            JournalError::Foreign { .. } => {
                "choose another place with `--journal`; if it was a journal that got damaged, remove it to \
                 start from the beginning"
            }
            JournalError::Mismatch { .. } => {
                "run with what it was begun with, or remove the folder to start from the beginning"
            }
            JournalError::Locked { .. } => "wait for it, or choose another place with `--journal`",
        }
    }
}
