//! Files of statistics, which merge: calibration in parts, on as many machines as there are.
//!
//! A file is lines of JSON: a header, then one line for each value. Counts and ends merge exactly, so
//! that any partition of the samples gives the same bytes as one run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use marquetry_ir::Model;
use marquetry_ir::text::{self, PrintOptions};
use serde::{Deserialize, Serialize};

use crate::observer::{Observer, Statistics};

const FORMAT: &str = "marquetry statistics";
const SCHEMA_VERSION: u32 = 1;

/// One part of the samples: number `index`, from 1, `of` that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// The number of the part, from 1.
    pub index: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Shard {
    /// Reads `3/16`.
    pub fn parse(text: &str) -> Option<Shard> {
        let (index, of) = text.split_once('/')?;
        let shard = Shard { index: index.parse().ok()?, of: of.parse().ok()? };
        (shard.index >= 1 && shard.index <= shard.of).then_some(shard)
    }

    /// The samples of this part: neighbours, so that files are read in order.
    ///
    /// # Errors
    ///
    /// `bad_shard` where there is no such part.
    pub fn span(self, samples: usize) -> Result<Range<usize>, StatisticsError> {
        if self.index == 0 || self.index > self.of {
            return Err(StatisticsError::Shard(self));
        }
        let start = |index: usize| {
            // Within 128 bits nothing overflows, and the quotient is at most `samples`.
            (samples as u128 * index as u128 / self.of as u128) as usize
        };
        Ok(start(self.index - 1)..start(self.index))
    }
}

/// What the statistics of a file were collected from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    schema_version: u32,
    tool: String,
    /// The fingerprint of the model as it was observed.
    model: String,
    /// Samples over all shards.
    samples: usize,
    /// Which parts are in the file; nothing once all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Shards>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shards {
    of: usize,
    have: BTreeSet<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    value: String,
    statistics: Statistics,
}

/// The statistics of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct StatisticsFile {
    header: Header,
    tensors: Vec<(String, Statistics)>,
}

/// Why statistics cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// A file that cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A line that is not what it should be.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Statistics of something else.
    #[error("the statistics are of another {what}: `{found}`, not `{expected}`")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The same samples twice.
    #[error("shard {shard} of {of} is there twice")]
    Duplicate {
        /// The shard.
        shard: usize,
        /// How many there are.
        of: usize,
    },
    /// Samples that nobody observed.
    #[error("shards are missing: {} of {of}", join(missing))]
    Gap {
        /// The shards.
        missing: Vec<usize>,
        /// How many there are.
        of: usize,
    },
    /// A value that was not observed.
    #[error("the statistics lack `{value}`")]
    Missing {
        /// The value.
        value: String,
    },
    /// Values that one file has and another does not, or of another kind.
    #[error("the statistics do not fit together at `{value}`")]
    Unmergeable {
        /// The value.
        value: String,
    },
    /// A part that there is not.
    #[error("there is no shard {} of {}", .0.index, .0.of)]
    Shard(Shard),
    /// Nothing to merge.
    #[error("there are no statistics to merge")]
    Nothing,
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl StatisticsError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            StatisticsError::Unreadable { .. } => "statistics_unreadable",
            StatisticsError::Syntax { .. } => "statistics_syntax",
            StatisticsError::Mismatch { .. } => "statistics_mismatch",
            StatisticsError::Duplicate { .. } => "statistics_duplicate",
            StatisticsError::Gap { .. } => "statistics_gap",
            StatisticsError::Missing { .. } => "statistics_missing",
            StatisticsError::Unmergeable { .. } => "statistics_unmergeable",
            StatisticsError::Shard(_) => "bad_shard",
            StatisticsError::Nothing => "no_statistics",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> String {
        let text = match self {
            StatisticsError::Unreadable { .. } => "give a file that `calibrate` wrote",
            StatisticsError::Syntax { .. } => "calibrate again: the file is cut off or changed",
            StatisticsError::Mismatch { .. } | StatisticsError::Unmergeable { .. } => {
                "calibrate again, all shards with this model, this version and the same options"
            }
            StatisticsError::Duplicate { .. } => "give every shard once",
            StatisticsError::Gap { .. } => {
                "run `calibrate --shard` for these, or `--allow-partial`"
            }
            StatisticsError::Missing { .. } => {
                "calibrate with the options that the model is quantized with"
            }
            StatisticsError::Shard(_) => "shards count from 1: `--shard 1/16` to `--shard 16/16`",
            StatisticsError::Nothing => "give at least one file",
        };
        text.to_owned()
    }
}

/// A text that is the same for the same model, tensors included. It guards against mistakes, not
/// against malice.
pub fn fingerprint(model: &Model) -> String {
    let text = text::print(model, &PrintOptions::summary());
    hash(&text)
}

/// A text that is the same for the same text.
pub(crate) fn hash(text: &str) -> String {
    hash_of(text.as_bytes())
}

/// A text that is the same for the same tensor.
pub(crate) fn tensor_hash(tensor: &marquetry_ir::Tensor) -> String {
    // Strings are no inputs that layers multiply.
    let data = match tensor.dtype() {
        marquetry_ir::DType::String => String::new(),
        _ => hash_of(tensor.bytes()),
    };
    format!("{:?} {:?} {data}", tensor.dtype(), tensor.dims())
}

fn hash_of(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("fnv1a:{hash:016x}")
}

impl StatisticsFile {
    /// The statistics of one shard.
    pub fn new(
        model: String,
        samples: usize,
        shard: Shard,
        tensors: Vec<(String, Statistics)>,
    ) -> StatisticsFile {
        let shards = Shards { of: shard.of, have: BTreeSet::from([shard.index]) };
        let header = Header {
            format: FORMAT.to_owned(),
            schema_version: SCHEMA_VERSION,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            samples,
            shards: (shard.of > 1).then_some(shards),
        };
        StatisticsFile { header, tensors }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<StatisticsFile, StatisticsError> {
        let text = std::fs::read_to_string(path).map_err(|error| StatisticsError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        StatisticsFile::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// `Syntax` with the line, `Mismatch` for another format or version of it.
    pub fn parse(text: &str) -> Result<StatisticsFile, StatisticsError> {
        let syntax = |line: usize, message: String| StatisticsError::Syntax { line, message };
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or_else(|| syntax(1, "it is empty".to_owned()))?;
        let header: Header =
            serde_json::from_str(first).map_err(|error| syntax(1, error.to_string()))?;
        expect("format", FORMAT, &header.format)?;
        expect(
            "version of the format",
            &SCHEMA_VERSION.to_string(),
            &header.schema_version.to_string(),
        )?;
        let mut tensors = Vec::new();
        for (at, line) in lines {
            let Line { value, statistics } =
                serde_json::from_str(line).map_err(|error| syntax(at + 1, error.to_string()))?;
            tensors.push((value, statistics));
        }
        Ok(StatisticsFile { header, tensors })
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string(&self.header).expect("a header is plain data");
        text.push('\n');
        for (value, statistics) in &self.tensors {
            let line = Line { value: value.clone(), statistics: statistics.clone() };
            text.push_str(&serde_json::to_string(&line).expect("statistics are plain data"));
            text.push('\n');
        }
        text
    }

    /// The values and what was observed of them.
    pub fn tensors(&self) -> &[(String, Statistics)] {
        &self.tensors
    }

    /// The number of samples that all shards together have.
    pub fn samples(&self) -> usize {
        self.header.samples
    }

    /// The fingerprint of the model they were observed in.
    pub fn model(&self) -> &str {
        &self.header.model
    }

    /// The shards in the file and how many there are, where some are missing.
    pub fn shards(&self) -> Option<(Vec<usize>, usize)> {
        let shards = self.header.shards.as_ref()?;
        Some((shards.have.iter().copied().collect(), shards.of))
    }

    pub(crate) fn by_name(&self) -> BTreeMap<&str, &Statistics> {
        self.tensors.iter().map(|(name, statistics)| (name.as_str(), statistics)).collect()
    }

    /// Whether they are of the model with this fingerprint, and all of them.
    ///
    /// # Errors
    ///
    /// `Mismatch` for another model, `Gap` where shards are missing.
    pub fn fits(&self, model: &str) -> Result<(), StatisticsError> {
        expect("model", model, &self.header.model)?;
        match &self.header.shards {
            None => Ok(()),
            Some(shards) => Err(shards.gap()),
        }
    }

    /// The statistics of several files as one. Once no shard is missing, nothing tells any more how
    /// many there were.
    ///
    /// # Errors
    ///
    /// `Mismatch` for another model, number of samples or shards, or version; `Duplicate` for a shard
    /// that is there twice; `Gap` for one that is not, unless `partial` allows it.
    pub fn merge(
        files: Vec<StatisticsFile>,
        partial: bool,
    ) -> Result<StatisticsFile, StatisticsError> {
        let mut files = files.into_iter();
        let mut merged = files.next().ok_or(StatisticsError::Nothing)?;
        for other in files {
            merged.add(other)?;
        }
        if let Some(shards) = &merged.header.shards {
            match (shards.have.len() == shards.of, partial) {
                (true, _) => merged.header.shards = None,
                (false, true) => {}
                (false, false) => return Err(shards.gap()),
            }
        }
        Ok(merged)
    }

    fn add(&mut self, other: StatisticsFile) -> Result<(), StatisticsError> {
        let (ours, theirs) = (&mut self.header, &other.header);
        expect("version", &ours.tool, &theirs.tool)?;
        expect("model", &ours.model, &theirs.model)?;
        expect("number of samples", &ours.samples.to_string(), &theirs.samples.to_string())?;
        let whole = || Shards { of: 1, have: BTreeSet::from([1]) };
        let have = ours.shards.get_or_insert_with(whole);
        let other_shards = theirs.shards.clone().unwrap_or_else(whole);
        expect("number of shards", &have.of.to_string(), &other_shards.of.to_string())?;
        for &shard in &other_shards.have {
            if !have.have.insert(shard) {
                return Err(StatisticsError::Duplicate { shard, of: have.of });
            }
        }
        let unmergeable = |value: &str| StatisticsError::Unmergeable { value: value.to_owned() };
        for at in 0..self.tensors.len().max(other.tensors.len()) {
            let (Some((ours, statistics)), Some((theirs, more))) =
                (self.tensors.get_mut(at), other.tensors.get(at))
            else {
                let odd = self.tensors.get(at).or_else(|| other.tensors.get(at));
                return Err(unmergeable(odd.map_or("", |(name, _)| name)));
            };
            if ours != theirs {
                return Err(unmergeable(theirs));
            }
            statistics.merge(more.clone()).map_err(|_| unmergeable(theirs))?;
        }
        Ok(())
    }
}

impl Shards {
    fn gap(&self) -> StatisticsError {
        let missing = (1..=self.of).filter(|shard| !self.have.contains(shard)).collect();
        StatisticsError::Gap { missing, of: self.of }
    }
}

fn expect(what: &'static str, expected: &str, found: &str) -> Result<(), StatisticsError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_owned(), found.to_owned());
    Err(StatisticsError::Mismatch { what, expected, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::View;
    use crate::{Compat, Granularity, Scheme};

    const SAMPLES: usize = 11;

    fn sample(index: usize) -> Vec<f32> {
        (0..50).map(|i| ((index * 50 + i) as f32 * 0.7).sin() * (index + 1) as f32).collect()
    }

    fn shard(index: usize, of: usize) -> StatisticsFile {
        let shard = Shard { index, of };
        let mut seen = Statistics::new(Scheme::Mse, Compat::Default, Granularity::PerTensor);
        for at in shard.span(SAMPLES).unwrap() {
            seen.update(View { dims: &[50], data: &sample(at) }).unwrap();
        }
        StatisticsFile::new("m".to_owned(), SAMPLES, shard, vec![("x".to_owned(), seen)])
    }

    #[test]
    fn any_partition_gives_the_same_bytes() {
        let whole = shard(1, 1).render();
        for of in 1..=13 {
            let mut files: Vec<_> = (1..=of).map(|index| shard(index, of)).collect();
            files.reverse();
            assert_eq!(StatisticsFile::merge(files, false).unwrap().render(), whole, "{of}");
        }
        assert_eq!(StatisticsFile::parse(&whole).unwrap().render(), whole);
    }

    #[test]
    fn spans_cover_all_samples_once() {
        for of in 1..30 {
            let spans = (1..=of).flat_map(|index| Shard { index, of }.span(SAMPLES).unwrap());
            assert_eq!(spans.collect::<Vec<_>>(), (0..SAMPLES).collect::<Vec<_>>());
        }
        assert!(Shard { index: 0, of: 3 }.span(1).is_err());
        assert_eq!(Shard::parse("3/16"), Some(Shard { index: 3, of: 16 }));
        assert_eq!(Shard::parse("0/16"), None);
        assert_eq!(Shard::parse("17/16"), None);
    }

    #[test]
    fn duplicates_gaps_and_strangers_are_refused() {
        let code =
            |files: Vec<StatisticsFile>| StatisticsFile::merge(files, false).unwrap_err().code();
        assert_eq!(code(vec![shard(1, 3), shard(1, 3), shard(3, 3)]), "statistics_duplicate");
        assert_eq!(code(vec![shard(1, 3), shard(3, 3)]), "statistics_gap");
        assert_eq!(code(vec![shard(1, 3), shard(2, 4)]), "statistics_mismatch");
        assert_eq!(code(vec![shard(1, 1), shard(1, 1)]), "statistics_duplicate");
        let mut stranger = shard(2, 2);
        stranger.header.model = "another".to_owned();
        assert_eq!(code(vec![shard(1, 2), stranger]), "statistics_mismatch");
        let mut other = shard(2, 2);
        other.tensors[0].0 = "y".to_owned();
        assert_eq!(code(vec![shard(1, 2), other]), "statistics_unmergeable");
        let partial = StatisticsFile::merge(vec![shard(1, 3), shard(3, 3)], true).unwrap();
        assert_eq!(partial.fits("m").unwrap_err().code(), "statistics_gap");
        let merged = StatisticsFile::merge(vec![partial, shard(2, 3)], false).unwrap();
        assert_eq!(merged.render(), shard(1, 1).render());
        assert_eq!(StatisticsFile::parse("{}\n").unwrap_err().code(), "statistics_syntax");
    }
}
