//! Which engine runs models, and where the library of ONNX Runtime is.

use std::num::NonZeroUsize;

use marquetry_engine::{Embedded, Engine, Native, Options};
use marquetry_ir::Evaluate;
use marquetry_quant::recipe::EngineName;

use super::args::{self, Cli};
use super::failure::{Exit, Failure};

/// The engine that a pipeline names, and where it does.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) engine: EngineName,
    /// File, line and column.
    pub(crate) place: String,
}

/// The engine that was asked for, where what is measured must not depend on what it fuses. What the
/// command line says counts more than what a pipeline says.
pub(crate) fn reference(cli: &Cli, named: Option<&Named>) -> Result<Box<dyn Engine>, Failure> {
    not_deployed(cli)?;
    match (cli.engine, named) {
        (None, Some(Named { engine: EngineName::Ort, place })) => {
            onnxruntime(cli).map(boxed).map_err(|failure| failure.at(place))
        }
        _ => any(cli),
    }
}

/// What the engine is called that [`reference`] gives.
pub(crate) fn name(cli: &Cli, named: Option<&Named>) -> &'static str {
    match (cli.engine, named) {
        (None, Some(named)) => named.engine.name(),
        (None | Some(args::Engine::Embedded), _) => "embedded",
        (Some(args::Engine::Ort | args::Engine::OrtDeployed), _) => "ort",
    }
}

/// The engine that was asked for, whatever it does to the arithmetic.
pub(crate) fn any(cli: &Cli) -> Result<Box<dyn Engine>, Failure> {
    match cli.engine.unwrap_or(args::Engine::Embedded) {
        args::Engine::Embedded => Ok(Box::new(Embedded::new(&options(cli)))),
        args::Engine::Ort | args::Engine::OrtDeployed => onnxruntime(cli).map(boxed),
    }
}

/// Runs single operators, as rules and patterns are verified by: those of our own, or ONNX Runtime's where
/// that was asked for.
pub(crate) fn operators(cli: &Cli) -> Result<Box<dyn Evaluate + Sync>, Failure> {
    not_deployed(cli)?;
    match cli.engine {
        Some(args::Engine::Ort) => Ok(Box::new(onnxruntime(cli)?)),
        _ => Ok(Box::new(Native)),
    }
}

fn boxed(engine: impl Engine + 'static) -> Box<dyn Engine> {
    Box::new(engine)
}

fn not_deployed(cli: &Cli) -> Result<(), Failure> {
    if cli.engine != Some(args::Engine::OrtDeployed) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "engine_deployed",
        "`--engine ort-deployed` is for `compare` only: it fuses away what is looked at here",
    )
    .hint("use `--engine ort`, or `compare` the float model with the quantized one"))
}

/// As many threads as asked for.
fn options(cli: &Cli) -> Options {
    // More threads than cores only stand in each other's way.
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = cli.threads.and_then(NonZeroUsize::new).map(|threads| threads.min(cores));
    Options { threads }
}

#[cfg(not(feature = "ort"))]
fn onnxruntime(_: &Cli) -> Result<Embedded, Failure> {
    Err(Failure::new(
        Exit::Unsupported,
        "ort_not_built",
        "this program was built without the engine `ort`",
    )
    .hint("build it with its default features: `cargo install marquetry`"))
}

#[cfg(feature = "ort")]
use self::library::onnxruntime;

#[cfg(feature = "ort")]
mod library {
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use marquetry_engine::{LibraryError, Numerics, OnnxRuntime};

    use super::super::args::{self, Cli};
    use super::super::failure::{Exit, Failure};

    /// What gets ONNX Runtime where it is found.
    const INSTALL: &str = "python3 -m pip install --target .ort --no-deps onnxruntime";

    /// ONNX Runtime, from where it is found first.
    pub(super) fn onnxruntime(cli: &Cli) -> Result<OnnxRuntime, Failure> {
        let numerics = match cli.engine {
            Some(args::Engine::OrtDeployed) => Numerics::Deployed,
            _ => Numerics::Reference,
        };
        let path = find(cli)?;
        OnnxRuntime::load(&path, numerics, &super::options(cli)).map_err(|error| {
            let (exit, hint) = match &error {
                LibraryError::NoFile { .. } => {
                    (Exit::Io, format!("give `--ort-library` what is there, or run `{INSTALL}`"))
                }
                LibraryError::TooOld { .. } => {
                    (Exit::Unsupported, format!("get a newer one: `{INSTALL}`"))
                }
                _ => (Exit::Unsupported, format!("get one that is known to work: `{INSTALL}`")),
            };
            Failure::new(exit, error.code(), &error).hint(hint)
        })
    }

    fn find(cli: &Cli) -> Result<PathBuf, Failure> {
        // What was named is not looked for elsewhere.
        let variable = |name| std::env::var_os(name).filter(|path| !path.is_empty());
        let named = cli.ort_library.clone().or_else(|| variable("ORT_DYLIB_PATH").map(Into::into));
        if let Some(named) = named {
            return Ok(if named.is_dir() { within(&named).unwrap_or(named) } else { named });
        }
        let local = within(Path::new(".ort"));
        let environment = || {
            let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable);
            active.map(PathBuf::from).find_map(|prefix| packages(&prefix))
        };
        local.or_else(environment).or_else(python).ok_or_else(|| {
            Failure::new(
                Exit::Unsupported,
                "ort_not_found",
                "there is no ONNX Runtime: not in `.ort`, and not in the Python that is active",
            )
            .hint(format!("get it with `{INSTALL}`, or name its library with `--ort-library`"))
        })
    }

    /// The library in a folder, or where a Python package in it has one.
    fn within(folder: &Path) -> Option<PathBuf> {
        ["", "capi", "onnxruntime/capi", "lib"].iter().find_map(|inner| {
            let entries = folder.join(inner).read_dir().ok()?;
            let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
            // The newest of several, in the order of names; whichever that is, always the same.
            files.filter(|path| path.file_name().is_some_and(is_library) && path.is_file()).max()
        })
    }

    /// Whether a file has the name that ONNX Runtime has on some system, with or without its version.
    fn is_library(name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        name == "onnxruntime.dll"
            || name.starts_with("libonnxruntime.so")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
    }

    /// The library among the packages of a Python environment.
    fn packages(prefix: &Path) -> Option<PathBuf> {
        let versions = prefix.join("lib").read_dir().ok();
        let versions = versions.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let mut folders: Vec<PathBuf> =
            versions.map(|python| python.join("site-packages")).collect();
        folders.sort();
        folders.push(prefix.join("Lib/site-packages"));
        folders.iter().find_map(|folder| within(&folder.join("onnxruntime/capi")))
    }

    /// The library of the `python3` that is found first, as that says itself.
    fn python() -> Option<PathBuf> {
        const WHERE: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                             print(s.submodule_search_locations[0] if s else '')";
        /// A Python that starts does so at once.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut python = Command::new("python3")
            .args(["-c", WHERE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let started = Instant::now();
        while python.try_wait().ok()?.is_none() {
            if started.elapsed() > PATIENCE {
                let _ = python.kill();
                let _ = python.wait();
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = python.wait_with_output().ok()?;
        let package = String::from_utf8(said.stdout).ok()?;
        let package = package.lines().last()?.trim();
        if package.is_empty() { None } else { within(Path::new(package)) }
    }
}
