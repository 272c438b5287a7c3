//! What changed from one report to another.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Distance, Report, Tensor};

/// Lines of each kind that are told to people; programs get all.
const TOLD: usize = 20;

/// What changed from one report to another: numbers, not how the runs were asked for or how long they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// The version of this structure.
    pub schema_version: u32,
    /// Whether anything changed.
    pub changed: bool,
    /// The fingerprint of the float model.
    pub float: Option<Change<String>>,
    /// The target.
    pub target: Option<Change<String>>,
    /// How many samples were compared on.
    pub samples: Option<Change<usize>>,
    /// Bytes of the quantized model.
    pub bytes: Option<Change<u64>>,
    /// Kernels on integers.
    pub integer_kernels: Option<Change<usize>>,
    /// Tensors for which the target finds no encoding.
    pub missing: Option<Change<usize>>,
    /// Outputs that are nearer to float or farther, the most changed first.
    pub outputs: Vec<Moved>,
    /// Layers whose outputs are, the most changed first.
    pub layers: Vec<Moved>,
    /// Values that only the first quantizes.
    pub only_before: Vec<String>,
    /// Values that only the second quantizes.
    pub only_after: Vec<String>,
    /// Values that are quantized otherwise.
    pub tensors: Vec<Requantized>,
    /// Patterns that found more or fewer.
    pub groups: Vec<Counted>,
}

/// Something before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the first report.
    pub before: T,
    /// In the second.
    pub after: T,
}

/// A tensor that is nearer to float or farther from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The output or layer.
    pub name: String,
    /// Its decibels in the first report; nothing where no number says it.
    pub before: Option<f64>,
    /// Its decibels in the second.
    pub after: Option<f64>,
    /// Whether it is nearer now.
    pub better: bool,
    /// How much the noise changed, as a part of the signal.
    #[serde(skip)]
    by: f64,
}

/// A value that is quantized otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requantized {
    /// The value.
    pub value: String,
    /// What differs.
    pub what: Vec<Difference>,
}

/// A property of a quantizer that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The property, as in [`Tensor`].
    pub property: &'static str,
    /// What it was.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// A pattern that found more or fewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The pattern.
    pub pattern: String,
    /// How many groups it had.
    pub before: usize,
    /// How many it has.
    pub after: usize,
}

/// What changed from `a` to `b`.
pub fn of(a: &Report, b: &Report) -> Changes {
    let missing = |report: &Report| report.completeness.as_ref().map_or(0, |one| one.missing);
    let bytes = |report: &Report| report.quantized.as_ref().map_or(0, |file| file.bytes);
    let layer = |report: &Report| -> BTreeMap<String, Distance> {
        report.layers.iter().map(|layer| (layer.name.clone(), layer.output.clone())).collect()
    };
    let output = |report: &Report| -> BTreeMap<String, Distance> {
        report.outputs.iter().map(|output| (output.name.clone(), output.clone())).collect()
    };
    let tensors = |report: &Report| -> BTreeMap<String, Tensor> {
        report.tensors.iter().map(|one| (one.site.value.clone(), one.clone())).collect()
    };
    let (before, after) = (tensors(a), tensors(b));
    let only =
        |these: &BTreeMap<String, Tensor>, those: &BTreeMap<String, Tensor>| -> Vec<String> {
            these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
        };
    let requantized = before.iter().filter_map(|(value, tensor)| {
        let what = differences(tensor, after.get(value)?);
        (!what.is_empty()).then(|| Requantized { value: value.clone(), what })
    });
    let mut changes = Changes {
        schema_version: 1,
        changed: false,
        float: change(a.float.fingerprint.clone(), b.float.fingerprint.clone()),
        target: change(a.target.clone(), b.target.clone()),
        samples: change(a.samples, b.samples),
        bytes: change(bytes(a), bytes(b)),
        integer_kernels: change(a.counts.integer_kernels, b.counts.integer_kernels),
        missing: change(missing(a), missing(b)),
        outputs: moved(&output(a), &output(b)),
        layers: moved(&layer(a), &layer(b)),
        only_before: only(&before, &after),
        only_after: only(&after, &before),
        tensors: requantized.collect(),
        groups: groups(a, b),
    };
    changes.changed = changes != Changes { schema_version: 1, ..Changes::default() };
    changes
}

fn change<T: PartialEq>(before: T, after: T) -> Option<Change<T>> {
    (before != after).then_some(Change { before, after })
}

/// What both have and what is nearer or farther now.
fn moved(before: &BTreeMap<String, Distance>, after: &BTreeMap<String, Distance>) -> Vec<Moved> {
    let mut found: Vec<Moved> = before
        .iter()
        .filter_map(|(name, a)| {
            let b = after.get(name)?;
            let by = b.noise() - a.noise();
            (by != 0.0).then(|| Moved {
                name: name.clone(),
                before: a.sqnr_db,
                after: b.sqnr_db,
                better: by < 0.0,
                by,
            })
        })
        .collect();
    found.sort_by(|a, b| b.by.abs().total_cmp(&a.by.abs()));
    found
}

fn differences(a: &Tensor, b: &Tensor) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |property: &'static str, before: String, after: String| {
        if before != after {
            found.push(Difference { property, before, after });
        }
    };
    let scales = |tensor: &Tensor| match tensor.site.scales {
        None => "none".to_owned(),
        Some((low, high)) if low == high => low.to_string(),
        Some((low, high)) => format!("{low} … {high}"),
    };
    let zero_point = |tensor: &Tensor| {
        tensor
            .site
            .zero_point
            .map_or_else(|| "none".to_owned(), |zero_point| zero_point.to_string())
    };
    let symmetry = |tensor: &Tensor| {
        let word = if tensor.site.symmetric { "symmetric" } else { "asymmetric" };
        word.to_owned()
    };
    compare("role", a.site.role.clone(), b.site.role.clone());
    compare("dtype", a.site.dtype.clone(), b.site.dtype.clone());
    compare("granularity", a.site.granularity.clone(), b.site.granularity.clone());
    compare("symmetric", symmetry(a), symmetry(b));
    compare("scales", scales(a), scales(b));
    compare("zero_point", zero_point(a), zero_point(b));
    found
}

fn groups(a: &Report, b: &Report) -> Vec<Counted> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    a.groups.iter().for_each(|found| counts.entry(&found.pattern).or_default().0 += found.count);
    b.groups.iter().for_each(|found| counts.entry(&found.pattern).or_default().1 += found.count);
    let counts = counts.into_iter().filter(|(_, (before, after))| before != after);
    counts
        .map(|(pattern, (before, after))| Counted { pattern: pattern.to_owned(), before, after })
        .collect()
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changed {
            return writeln!(f, "nothing changed");
        }
        if let Some(change) = &self.float {
            writeln!(f, "another float model: {} → {}", change.before, change.after)?;
        }
        if let Some(change) = &self.target {
            writeln!(f, "another target: {} → {}", change.before, change.after)?;
        }
        if let Some(change) = &self.samples {
            writeln!(f, "compared on other samples: {} → {}", change.before, change.after)?;
        }
        if let Some(Change { before, after }) = self.bytes {
            let percent = 100.0 * (after as f64 / before.max(1) as f64 - 1.0);
            writeln!(f, "size: {before} → {after} bytes ({percent:+.1} %)")?;
        }
        if let Some(change) = &self.integer_kernels {
            writeln!(f, "kernels on integers: {} → {}", change.before, change.after)?;
        }
        if let Some(change) = &self.missing {
            writeln!(f, "tensors without an encoding: {} → {}", change.before, change.after)?;
        }
        moved_lines(f, "outputs", &self.outputs)?;
        moved_lines(f, "layers", &self.layers)?;
        names(f, "quantized before only", &self.only_before)?;
        names(f, "quantized after only", &self.only_after)?;
        if !self.tensors.is_empty() {
            writeln!(f, "\nquantized otherwise: {}", self.tensors.len())?;
            for tensor in self.tensors.iter().take(TOLD) {
                writeln!(f, "  {}", tensor.value)?;
                for one in &tensor.what {
                    writeln!(f, "    {}: {} → {}", one.property, one.before, one.after)?;
                }
            }
            more(f, self.tensors.len())?;
        }
        if !self.groups.is_empty() {
            writeln!(f, "\ngroups")?;
            for one in &self.groups {
                writeln!(f, "  {}: {} → {}", one.pattern, one.before, one.after)?;
            }
        }
        Ok(())
    }
}

fn moved_lines(f: &mut fmt::Formatter<'_>, title: &str, moved: &[Moved]) -> fmt::Result {
    if moved.is_empty() {
        return Ok(());
    }
    let better = moved.iter().filter(|one| one.better).count();
    writeln!(f, "\n{title}: {better} better, {} worse", moved.len() - better)?;
    let shown = &moved[..moved.len().min(TOLD)];
    let width = shown.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    let decibels = |sqnr: Option<f64>| {
        sqnr.map_or_else(|| "no number".to_owned(), |sqnr| format!("{sqnr:.2} dB"))
    };
    for one in shown {
        let word = if one.better { "better" } else { "worse" };
        let (before, after) = (decibels(one.before), decibels(one.after));
        writeln!(f, "  {:width$}  {before:>10} → {after:>10}  {word}", one.name)?;
    }
    more(f, moved.len())
}

fn names(f: &mut fmt::Formatter<'_>, title: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}: {}", names.len())?;
    for name in names.iter().take(TOLD) {
        writeln!(f, "  {name}")?;
    }
    more(f, names.len())
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(TOLD).filter(|left| *left > 0) {
        Some(left) => writeln!(f, "  and {left} more"),
        None => Ok(()),
    }
}
