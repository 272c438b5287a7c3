//! The library: one in a process, as the runtime wants it.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;

/// The oldest minor version of ONNX Runtime 1 that has the interface used here.
const OLDEST: u32 = ort::MINOR_VERSION;

/// The library with its environment.
pub(super) struct Runtime {
    path: PathBuf,
    pub(super) version: String,
    pub(super) environment: Environment,
    /// Threads of the pool that sessions share; `None` is what the runtime chooses.
    pub(super) threads: Option<NonZeroUsize>,
}

static LOADED: OnceLock<Runtime> = OnceLock::new();

/// Loading is done by one thread at a time.
static LOADING: Mutex<()> = Mutex::new(());

/// Why there is no ONNX Runtime to run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// There is no file.
    #[error("there is no library at `{}`", path.display())]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file cannot be loaded, or is another library.
    #[error("`{}` is no ONNX Runtime: {reason}", path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It lacks the interface used here.
    #[error("ONNX Runtime {found} at `{}` is too old: 1.{OLDEST} is needed", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It was loaded, and does not work.
    #[error("ONNX Runtime at `{}` does not start: {reason}", path.display())]
    DoesNotStart {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A process has one.
    #[error("ONNX Runtime was loaded from `{}` already", loaded.display())]
    Another {
        /// The file that is loaded.
        loaded: PathBuf,
    },
}

impl LibraryError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFile { .. } => "ort_no_file",
            Self::NotOnnxRuntime { .. } => "ort_not_a_library",
            Self::TooOld { .. } => "ort_too_old",
            Self::DoesNotStart { .. } => "ort_does_not_start",
            Self::Another { .. } => "ort_another",
        }
    }
}

/// The runtime of this process, loaded from `path` if it is not yet.
pub(super) fn load(
    path: &Path,
    threads: Option<NonZeroUsize>,
) -> Result<&'static Runtime, LibraryError> {
    let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    // Whatever is relative would be looked for beside the executable. And what is no file is not opened:
    // opening a pipe waits for a writer.
    let whole = match path.canonicalize() {
        Ok(whole) if whole.is_file() => whole,
        _ => return Err(LibraryError::NoFile { path: path.to_owned() }),
    };
    if let Some(loaded) = LOADED.get() {
        return match loaded.path == whole {
            true => Ok(loaded),
            false => Err(LibraryError::Another { loaded: loaded.path.clone() }),
        };
    }
    let runtime = start(path, whole, threads)?;
    Ok(LOADED.get_or_init(|| runtime))
}

/// Loads the file `whole`, which the user calls `path`.
fn start(
    path: &Path,
    whole: PathBuf,
    threads: Option<NonZeroUsize>,
) -> Result<Runtime, LibraryError> {
    let stopped = |reason: String| LibraryError::DoesNotStart { path: path.to_owned(), reason };
    let builder = catch_unwind(|| ort::init_from(&whole))
        .map_err(|_| stopped("loading it panicked".into()))?;
    let builder = builder.map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            LibraryError::TooOld { path: path.to_owned(), found: version_str }
        }
        ort::LoadDynamicError::MissingApi { .. } => LibraryError::NotOnnxRuntime {
            path: path.to_owned(),
            reason: "it does not export `OrtGetApiBase`".to_owned(),
        },
        ort::LoadDynamicError::InvalidVersionString => LibraryError::NotOnnxRuntime {
            path: path.to_owned(),
            reason: "its version is no text".to_owned(),
        },
        ort::LoadDynamicError::Dlopen { error, .. } => {
            // What the system says begins with the file, which is named already.
            let reason = one_line(&said(&error)).replace(&format!("{}: ", whole.display()), "");
            LibraryError::NotOnnxRuntime { path: path.to_owned(), reason }
        }
    })?;
    let made = catch_unwind(AssertUnwindSafe(|| {
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads.map_or(0, NonZeroUsize::get))?
            // Between runs other work is done, by other threads.
            .with_spin_control(false)?;
        let environment = builder
            .with_name("marquetry")
            .with_telemetry(false)
            .with_global_thread_pool(pool)
            .build()?;
        // What goes wrong comes back as an error.
        environment.set_log_level(LogLevel::Fatal);
        Ok::<_, ort::Error>((environment, version()))
    }));
    let made = made.map_err(|_| stopped("starting it panicked".to_owned()))?;
    let (environment, version) = made.map_err(|error| stopped(one_line(&error.to_string())))?;
    Ok(Runtime { path: whole, version, environment, threads })
}

/// An error with what caused it: the loader of the system says what matters there.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// The version, from what the library says of its build, where it says it.
fn version() -> String {
    let info = ort::info();
    let named = info.split([',', ' ', '=']).find_map(|part| part.strip_prefix("rel-"));
    named.unwrap_or("of unknown version").to_owned()
}

/// What the runtime says, on one line and without where its source code says it.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split_whitespace().filter(|word| !word.contains("/onnxruntime/")).collect();
    words.join(" ")
}
