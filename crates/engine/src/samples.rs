//! Calibration data: runs of a model's inputs, read from disk one at a time.
//!
//! A path is one of
//! - a `.npz` whose arrays are named like the inputs, samples along the first axis;
//! - a `.npy` of that kind, for a model with one input;
//! - a folder of such files;
//! - a folder of `test_data_set_*` folders (or one of these) with `input_*.pb` tensors.

mod array_file;
mod error;
mod fit;
mod npy_header;
mod tensor_folder;

use std::path::{Path, PathBuf};

use marquetry_ir::{DType, Graph, Tensor};

pub use error::SampleError;

use self::array_file::ArrayFile;
use self::fit::Fit;
use self::tensor_folder::TensorFolder;

/// An input of a model, as far as samples are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What its array is called, where that is another name.
    pub array: Option<String>,
    /// The element type, where the model declares it.
    pub dtype: Option<DType>,
    /// The lengths of the axes, where the model declares them; `None` for one that is open.
    pub dims: Option<Vec<Option<usize>>>,
}

impl Input {
    /// The inputs of a graph that must be given: those without a default.
    pub fn of(graph: &Graph) -> Vec<Self> {
        let open = graph.inputs.iter().map(|&input| graph.value(input));
        open.filter(|value| value.constant.is_none())
            .map(|value| {
                let ty = value.tensor_type();
                let dims = ty.and_then(|ty| ty.shape.as_ref());
                Self {
                    name: value.name().to_owned(),
                    array: None,
                    dtype: ty.and_then(|ty| ty.dtype),
                    dims: dims.map(|dims| dims.iter().map(|dim| dim.known()).collect()),
                }
            })
            .collect()
    }

    /// The name of its array.
    pub fn array(&self) -> &str {
        self.array.as_deref().unwrap_or(&self.name)
    }
}

/// How samples are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleOptions {
    /// Samples that are run at once, for inputs whose first axis is open; 1 where not given.
    pub batch: Option<usize>,
    /// Runs at most.
    pub limit: Option<usize>,
    /// Whether NaN and infinity are let through.
    pub non_finite: bool,
}

/// What a model is run on once: one tensor for each input, in the order of the inputs.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The number of the run, from 0.
    pub index: usize,
    /// The tensors.
    pub tensors: Vec<Tensor>,
}

/// Runs of a model's inputs. Opening reads headers only; each run is read when it is asked for.
///
/// ```
/// use marquetry_engine::{Input, SampleOptions, Samples};
/// use marquetry_ir::onnx;
///
/// let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits");
/// let model = onnx::read(format!("{digits}/cnn.onnx"))?;
/// let options = SampleOptions { batch: Some(32), ..SampleOptions::default() };
/// let samples = Samples::open(format!("{digits}/calib.npz"), &Input::of(&model.graph), &options)?;
/// assert_eq!(samples.len(), 4);
/// assert_eq!(samples.get(0)?.tensors[0].dims(), [32, 1, 20, 20]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Samples {
    inputs: Vec<Input>,
    sources: Vec<Source>,
    options: SampleOptions,
    notes: Vec<String>,
    len: usize,
}

/// A file or folder that holds runs.
#[derive(Debug)]
enum Source {
    Arrays(ArrayFile),
    Tensors(TensorFolder),
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Arrays(file) => file.len(),
            Self::Tensors(_) => 1,
        }
    }
}

impl Samples {
    /// Finds the samples at a path and checks their headers against the inputs.
    ///
    /// # Errors
    ///
    /// When there is nothing there, or it does not fit the inputs.
    pub fn open(
        path: impl AsRef<Path>,
        inputs: &[Input],
        options: &SampleOptions,
    ) -> Result<Self, SampleError> {
        let path = path.as_ref();
        let fit = Fit { inputs, batch: options.batch.unwrap_or(1).max(1) };
        let mut notes = Vec::new();
        let mut sources = Vec::new();
        for found in find(path)? {
            sources.push(match found {
                Found::Arrays(file) => Source::Arrays(ArrayFile::open(&file, &fit, &mut notes)?),
                Found::Tensors(folder) => Source::Tensors(TensorFolder::open(&folder, inputs)?),
            });
        }
        let len = sources.iter().map(Source::len).sum::<usize>();
        if len == 0 {
            return Err(SampleError::Empty { path: path.to_owned() });
        }
        notes.dedup();
        let len = len.min(options.limit.unwrap_or(usize::MAX));
        Ok(Self { inputs: inputs.to_vec(), sources, options: *options, notes, len })
    }

    /// The number of runs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no runs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The inputs that each run gives tensors for.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What a user should know: conversions, arrays that are not used, samples left over.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// One run. Asking in order is quick; asking for an earlier one may read a compressed file anew.
    ///
    /// # Errors
    ///
    /// When the data ends early, does not fit the inputs, or is not finite.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn get(&self, index: usize) -> Result<Sample, SampleError> {
        assert!(index < self.len, "there are {} runs", self.len);
        let mut within = index;
        for source in &self.sources {
            if within >= source.len() {
                within -= source.len();
                continue;
            }
            let (path, tensors) = match source {
                Source::Arrays(file) => (file.path(), file.read(within)?),
                Source::Tensors(folder) => (folder.path(), folder.read(&self.inputs)?),
            };
            if !self.options.non_finite {
                for (input, tensor) in self.inputs.iter().zip(&tensors) {
                    finite(tensor).map_err(|what| SampleError::NonFinite {
                        path: path.to_owned(),
                        input: input.name.clone(),
                        sample: index,
                        what,
                    })?;
                }
            }
            return Ok(Sample { index, tensors });
        }
        unreachable!("the sources hold {} runs", self.len)
    }

    /// All runs in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Sample, SampleError>> + '_ {
        (0..self.len).map(|index| self.get(index))
    }
}

/// All arrays of a `.npz`, or the one of a `.npy` under an empty name, in file order.
///
/// # Errors
///
/// When the file cannot be read or holds what is no tensor.
pub fn arrays(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>, SampleError> {
    array_file::all(path.as_ref())
}

/// The first value that is not finite.
fn finite(tensor: &Tensor) -> Result<(), &'static str> {
    if !tensor.dtype().is_float() {
        return Ok(());
    }
    // Most are of single precision and finite, which needs no copy to see.
    if tensor.f32s().is_some_and(|elements| elements.iter().all(|x| x.is_finite())) {
        return Ok(());
    }
    let Some(elements) = tensor.to_f64s() else { return Ok(()) };
    match elements.iter().find(|x| !x.is_finite()) {
        None => Ok(()),
        Some(x) if x.is_nan() => Err("NaN"),
        Some(_) => Err("an infinity"),
    }
}

enum Found {
    Arrays(PathBuf),
    Tensors(PathBuf),
}

fn find(path: &Path) -> Result<Vec<Found>, SampleError> {
    let extension = |path: &Path| {
        path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase())
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => SampleError::NotFound { path: path.to_owned() },
        _ => SampleError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return match extension(path).as_deref() {
            Some("npz" | "npy") => Ok(vec![Found::Arrays(path.to_owned())]),
            _ => Err(SampleError::UnknownFile { path: path.to_owned() }),
        };
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort_by_cached_key(|path| natural(&path.to_string_lossy()));
    let named = |path: &Path, prefix: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let is =
        |path: &Path, wanted: &str| extension(path).as_deref() == Some(wanted) && path.is_file();
    if entries.iter().any(|entry| is(entry, "pb") && named(entry, "input_")) {
        return Ok(vec![Found::Tensors(path.to_owned())]);
    }
    let sets: Vec<_> =
        entries.iter().filter(|entry| named(entry, "test_data_set_") && entry.is_dir()).collect();
    if !sets.is_empty() {
        return Ok(sets.into_iter().map(|set| Found::Tensors(set.clone())).collect());
    }
    for kind in ["npz", "npy"] {
        let files: Vec<_> = entries.iter().filter(|entry| is(entry, kind)).collect();
        if !files.is_empty() {
            return Ok(files.into_iter().map(|file| Found::Arrays(file.clone())).collect());
        }
    }
    Err(SampleError::Empty { path: path.to_owned() })
}

/// A key that puts `x2` before `x10`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        key.push((0, word.to_owned()));
        key.push((number.parse().unwrap_or(u64::MAX), String::new()));
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests;
