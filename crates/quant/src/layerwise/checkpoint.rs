//! What was found out about a level, as files: decisions, from which an interrupted pass goes on, and
//! Gram matrices of a part of the samples, which other processes add up.
//!
//! Files are ONNX models of initializers and one metadata entry, so that any tool can look into them.

use std::cell::Cell;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use marquetry_ir::{DType, Graph, Model, Opsets, Tensor, onnx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tiles::{self, Shared};
use crate::journal::Digest;
use crate::pass::PassError;
use crate::statistics::Shard;

/// Where a pass that goes level by level keeps what it knows.
///
/// In RON: `checkpoints: (folder: "levels")`, `checkpoints: (folder: "levels", shard: (index: 2, of: 4))`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    /// The folder; it is made where it is missing. A pass goes on behind the levels that were decided
    /// there. Once the model is written, it may be removed.
    pub folder: PathBuf,
    /// The part of the samples that this process looks at. It goes to the next level only, leaves its
    /// Gram matrices, and the pipeline ends there. When those of all parts are in the folder, whoever
    /// comes next decides the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// The version of the files.
const VERSION: u32 = 2;

/// The metadata entry with everything that is no tensor.
const KEY: &str = "marquetry.level";

/// The files of one pass over one model.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    folder: &'a Path,
    pass: &'a str,
    /// What must be the same in all of them: the model, the options, the number of samples.
    run: String,
    /// Whether a file that is damaged is as good as none.
    forgiving: bool,
    /// Whether there was one.
    damaged: Cell<bool>,
}

#[derive(Serialize, Deserialize)]
struct Header<T> {
    version: u32,
    tool: String,
    run: String,
    /// Of the content and all tensors: what a disk has damaged must not be taken.
    digest: String,
    content: T,
}

/// A layer that was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry<T> {
    /// The name of the weight.
    pub(crate) weight: String,
    pub(crate) decision: T,
}

/// Layers that were decided, with their weights on their grids.
pub(crate) type Entries<T> = Vec<(Entry<T>, Tensor)>;

#[derive(Serialize, Deserialize)]
struct Rows {
    rows: Vec<u64>,
}

impl<'a> Store<'a> {
    /// Opens the folder, or makes it.
    pub(crate) fn open(folder: &'a Path, pass: &'a str, run: String) -> Result<Self, PassError> {
        let store = Store { folder, pass, run, forgiving: false, damaged: Cell::new(false) };
        fs::create_dir_all(folder).map_err(|error| PassError::Unkept {
            reason: format!("cannot make the folder `{}`: {error}", folder.display()),
        })?;
        Ok(store)
    }

    /// In a folder that nobody else has a part in, such as a journal: what cannot be used there is found
    /// again the long way, and written anew.
    pub(crate) fn forgiving(self) -> Self {
        Store { forgiving: true, ..self }
    }

    fn decisions(&self, level: usize) -> PathBuf {
        self.folder.join(format!("{}.level-{:03}.onnx", self.pass, level + 1))
    }

    /// Layers of a level that have no room together are gathered in several rounds.
    fn part(&self, level: usize, round: usize, shard: Shard) -> PathBuf {
        let Shard { index, of } = shard;
        let round = match round {
            0 => String::new(),
            round => format!(".round-{}", round + 1),
        };
        let level = level + 1;
        self.folder.join(format!("{}.level-{level:03}.part-{index}-of-{of}{round}.onnx", self.pass))
    }

    /// Whether those of all parts are there for so many rounds of a level.
    pub(crate) fn has_parts(&self, level: usize, rounds: usize, of: usize) -> bool {
        let mut each = (0..rounds).flat_map(|round| (1..=of).map(move |index| (round, index)));
        each.all(|(round, index)| self.part(level, round, Shard { index, of }).exists())
    }

    /// What was decided about the layers of a level, if it was, and the weights on their grids.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        level: usize,
    ) -> Result<Option<Entries<T>>, PassError> {
        match self.whole(&self.decisions(level)) {
            Err(PassError::Checkpoint { .. }) if self.forgiving => {
                self.damaged.set(true);
                Ok(None)
            }
            read => read,
        }
    }

    /// Whether a file was found that is damaged, and was taken for none.
    pub(crate) fn had_damage(&self) -> bool {
        self.damaged.get()
    }

    fn whole<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<Entries<T>>, PassError> {
        let Some((entries, graph)) = self.load::<Vec<Entry<T>>>(path)? else { return Ok(None) };
        let with = entries.into_iter().map(|entry| {
            let tensor = initializer(&graph, &entry.weight);
            tensor
                .map(|tensor| (entry, tensor))
                .ok_or_else(|| self.fails(path, "a weight is missing"))
        });
        with.collect::<Result<_, _>>().map(Some)
    }

    /// Keeps what was decided.
    pub(crate) fn write<T: Serialize>(
        &self,
        level: usize,
        entries: &[(Entry<T>, Tensor)],
    ) -> Result<(), PassError> {
        let content: Vec<&Entry<T>> = entries.iter().map(|(entry, _)| entry).collect();
        let tensors = entries.iter().map(|(entry, tensor)| (entry.weight.clone(), tensor.clone()));
        self.save(&self.decisions(level), content, tensors.collect())
    }

    /// Keeps the matrices of a part of the samples.
    pub(crate) fn write_part(
        &self,
        (level, round): (usize, usize),
        shard: Shard,
        sums: &[&dyn Shared],
    ) -> Result<(), PassError> {
        let path = self.part(level, round, shard);
        let rows = sums.iter().map(|sums| sums.rows()).collect();
        let mut tensors = Vec::new();
        for (at, sums) in sums.iter().enumerate() {
            let numbers = tiles::numbers(*sums);
            let floats = |numbers: &[f64]| -> Vec<u8> {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            };
            let parts = [
                ("upper", DType::Double, numbers.upper.len(), floats(&numbers.upper)),
                ("lower", DType::Double, numbers.lower.len(), floats(&numbers.lower)),
                ("odd", DType::Double, numbers.odd.len(), floats(&numbers.odd)),
                (
                    "exponents",
                    DType::Int64,
                    numbers.exponents.len(),
                    numbers.exponents.iter().flat_map(|number| number.to_le_bytes()).collect(),
                ),
            ];
            for (name, dtype, len, bytes) in parts {
                let tensor = Tensor::new(dtype, [len], bytes);
                let tensor = tensor.map_err(|error| self.fails(&path, error))?;
                tensors.push((format!("{at}.{name}"), tensor));
            }
        }
        self.save(&path, Rows { rows }, tensors)
    }

    /// Adds the matrices of all parts of a round to these; or says that a part is missing.
    pub(crate) fn merge_parts(
        &self,
        (level, round): (usize, usize),
        of: usize,
        sums: &mut [&mut dyn Shared],
    ) -> Result<bool, PassError> {
        let paths: Vec<PathBuf> =
            (1..=of).map(|index| self.part(level, round, Shard { index, of })).collect();
        for path in &paths {
            let Some((Rows { rows }, graph)) = self.load::<Rows>(path)? else { return Ok(false) };
            let misfit = || self.fails(path, "it is of other layers");
            if rows.len() != sums.len() {
                return Err(misfit());
            }
            for (at, (sums, rows)) in sums.iter_mut().zip(rows).enumerate() {
                let numbers = |name: &str| initializer(&graph, &format!("{at}.{name}"));
                let floats = |name: &str| numbers(name)?.to_f64s();
                let numbers = || {
                    Some(tiles::Numbers {
                        upper: floats("upper")?,
                        lower: floats("lower")?,
                        odd: floats("odd")?,
                        exponents: numbers("exponents")?.to_i64s()?,
                    })
                };
                let numbers = numbers().ok_or_else(misfit)?;
                tiles::merge_numbers(*sums, &numbers, rows).ok_or_else(misfit)?;
            }
        }
        Ok(true)
    }

    fn save<T: Serialize>(
        &self,
        path: &Path,
        content: T,
        tensors: Vec<(String, Tensor)>,
    ) -> Result<(), PassError> {
        let content = serde_json::to_value(content).map_err(|error| self.fails(path, error))?;
        let header = Header {
            version: VERSION,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run.clone(),
            digest: digest(&content, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))),
            content,
        };
        let text = serde_json::to_string(&header).map_err(|error| self.fails(path, error))?;
        let mut graph = Graph::new("level", Opsets::onnx(21));
        for (name, tensor) in tensors {
            graph.add_initializer(&name, tensor).map_err(|error| self.fails(path, error))?;
        }
        let mut model = Model::new(10, graph);
        model.metadata.push((KEY.to_owned(), text));
        onnx::write(&model, path)
            .map_err(|error| PassError::Unkept { reason: error.to_string() })?;
        Ok(())
    }

    fn load<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<(T, Graph)>, PassError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Reading a pipe would never end, and a link leads elsewhere.
            Ok(found) if !found.is_file() => return Err(self.fails(path, "it is no file")),
            _ => {}
        }
        let model = onnx::read(path).map_err(|error| self.fails(path, error))?;
        let text = model.metadata.iter().find(|(key, _)| key == KEY).map(|(_, text)| text);
        let text = text.ok_or_else(|| self.fails(path, "it is another kind of file"))?;
        // The run first: another one's content may be of another shape.
        let header: Header<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| self.fails(path, error))?;
        let same = header.version == VERSION && header.tool == env!("CARGO_PKG_VERSION");
        if !same || header.run != self.run {
            return Err(self.fails(path, "it is of another model, other options or samples"));
        }
        let graph = &model.graph;
        let tensors = graph
            .values()
            .filter_map(|value| Some((graph.value(value).name(), graph.initializer(value)?)));
        if header.digest != digest(&header.content, tensors) {
            return Err(self.fails(path, "it is damaged"));
        }
        let content = serde_json::from_value(header.content);
        let content = content.map_err(|error| self.fails(path, error))?;
        Ok(Some((content, model.graph)))
    }

    fn fails(&self, path: &Path, what: impl Display) -> PassError {
        PassError::Checkpoint { path: path.to_owned(), what: what.to_string() }
    }
}

/// What a file holds: its content, and its tensors in order.
fn digest<'t>(
    content: &serde_json::Value,
    tensors: impl Iterator<Item = (&'t str, &'t Tensor)>,
) -> String {
    let mut digest = Digest::new();
    digest.add(content.to_string().as_bytes());
    for (name, tensor) in tensors {
        let shape = format!("{name} {} {:?}", tensor.dtype(), tensor.dims());
        digest.add(shape.as_bytes());
        digest.add(tensor.bytes());
    }
    digest.finish()
}

fn initializer(graph: &Graph, name: &str) -> Option<Tensor> {
    graph.find(name).and_then(|value| graph.initializer(value)).cloned()
}
