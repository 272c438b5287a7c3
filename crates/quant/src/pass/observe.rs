//! Observe: runs samples and collects statistics, without choosing ranges yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use marquetry_engine::SampleError;
use marquetry_ir::{Graph, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use super::parameter::samples;
use super::watch::{Look, See, Watch};
use super::weights::{name, numeric};
use super::{Content, Context, Fact, Output, Pass, PassError, State, Summary, probe};
use crate::observer::{Observer, Statistics, View};
use crate::plan::{Reason, Role};
use crate::statistics::{Shard, StatisticsFile, fingerprint};
use crate::{Compat, Granularity, Policy, Scheme};

/// Calibration samples: from files, or wherever a program has them.
pub trait Samples: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// One sample: a tensor for each input of the model that has no default, in their order.
    ///
    /// # Errors
    ///
    /// When it cannot be read or does not fit the model.
    fn sample(&self, index: usize) -> Result<Vec<Tensor>, SampleError>;
}

impl Samples for marquetry_engine::Samples {
    fn count(&self) -> usize {
        self.len()
    }

    fn sample(&self, index: usize) -> Result<Vec<Tensor>, SampleError> {
        self.get(index).map(|sample| sample.tensors)
    }
}

impl Samples for Vec<Vec<Tensor>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn sample(&self, index: usize) -> Result<Vec<Tensor>, SampleError> {
        Ok(self[index].clone())
    }
}

/// What to do about NaN among the observed values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NanPolicy {
    /// Stop: the sample or the model is broken.
    #[default]
    Refuse,
    /// Leave NaN out of the ranges and say so.
    Skip,
}

/// Runs samples and writes what was observed to a file, for all schemes alike.
///
/// In RON: `Observe(statistics: "stats.3", shard: (index: 3, of: 16))`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// Where the statistics go.
    pub statistics: PathBuf,
    /// The part of the samples to run; all where left out.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// How many samples there are, over all shards; all that are given where left out.
    #[serde(default)]
    pub samples: Option<usize>,
    /// What to do about samples that make a value NaN.
    #[serde(default)]
    pub nan: NanPolicy,
}

/// What is run where no part is named.
const WHOLE: Shard = Shard { index: 1, of: 1 };

impl Pass for Observe {
    fn name(&self) -> &str {
        "Observe"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        samples("Observe", self.samples)?;
        let shard = self.shard.unwrap_or(WHOLE);
        shard.span(1).map(|_| ()).map_err(PassError::Statistics)
    }

    fn writes(&self) -> Vec<&Path> {
        vec![&self.statistics]
    }

    fn runs_samples(&self) -> bool {
        true
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        observed(state).into_iter().collect()
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let total = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        let shard = self.shard.unwrap_or(WHOLE);
        let span = shard.span(total).map_err(PassError::Statistics)?;
        let wanted = observed(state);
        let each = wanted.iter().map(|&value| (value, value)).collect();
        // The default scheme of ours that looks at the distribution: its statistics serve all.
        let empty = || Statistics::new(Scheme::TfEnhanced, Compat::Default, Granularity::PerTensor);
        let graph = &*probe::probed(&state.model.graph, &state.plan, &wanted)?;
        let run =
            Run { pass: self.name(), nan: self.nan, span: span.clone(), keeper: &each, graph };
        let (statistics, odd) = run.observe(cx, &empty)?;
        let tensors = statistics
            .into_iter()
            .filter(|(value, _)| !odd.contains_key(value))
            .map(|(value, seen)| (name(graph, value), seen))
            .collect();
        let file = StatisticsFile::new(fingerprint(state.float()), total, shard, tensors);
        let path = self.statistics.clone();
        let done = format!(
            "{} values on samples {}..{} of {total}, to {}",
            wanted.len(),
            span.start,
            span.end,
            path.display()
        );
        state.outputs.push(Output { path, content: Content::Text(file.render()) });
        Ok(Summary::new(self, done))
    }
}

/// The values whose range has to be observed.
pub(super) fn observed(state: &State) -> BTreeSet<ValueId> {
    let sites = state.plan.enabled().filter(|(_, site)| {
        site.role == Role::Activation
            && site.fixed_range.is_none_or(|range| range.known().is_none())
            && !site.spec.dtype.is_cast()
            && !site.frozen
    });
    sites.map(|(value, _)| value).collect()
}

/// Samples to run, and who observes which value.
#[derive(Clone)]
pub(super) struct Run<'a> {
    pub(super) pass: &'a str,
    pub(super) nan: NanPolicy,
    pub(super) span: std::ops::Range<usize>,
    /// The value under whose name each value is observed: tied ones share one.
    pub(super) keeper: &'a BTreeMap<ValueId, ValueId>,
    /// What is run; its values are those of the model.
    pub(super) graph: &'a Graph,
}

/// Statistics by keeper, and values that cannot be observed with the reason.
type Observed = (BTreeMap<ValueId, Statistics>, BTreeMap<ValueId, String>);

/// What a run has seen so far, for the journal.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The sample behind the last one that was observed.
    samples: usize,
    /// By keeper.
    statistics: Vec<(usize, Statistics)>,
    odd: Vec<(usize, String)>,
}

/// The name of the entry.
const KEPT: &str = "statistics";

impl Run<'_> {
    /// Observes every value on every sample.
    pub(super) fn observe(
        &self,
        cx: &Context<'_>,
        empty: &dyn Fn() -> Statistics,
    ) -> Result<Observed, PassError> {
        let wanted: BTreeSet<ValueId> = self.keeper.keys().copied().collect();
        let statistics: BTreeMap<ValueId, Statistics> =
            self.keeper.values().map(|&first| (first, empty())).collect();
        // A shard may hold no sample at all.
        if wanted.is_empty() || self.span.is_empty() {
            return Ok((statistics, BTreeMap::new()));
        }
        let Run { nan, keeper, graph, .. } = *self;
        let seen = Seen { nan, keeper, graph, statistics, odd: BTreeMap::new() };
        let mut look = Observing { run: self, cx, seen };
        let start = cx.saved(KEPT).and_then(|kept| look.take(kept)).unwrap_or(self.span.start);
        if start < self.span.end {
            let span = start..self.span.end;
            let watch = Watch { pass: self.pass, graph: self.graph, wanted: &wanted, span };
            watch.look(cx, &mut look)?;
        }
        Ok((look.seen.statistics, look.seen.odd))
    }
}

/// A run under way.
struct Observing<'a> {
    run: &'a Run<'a>,
    cx: &'a Context<'a>,
    seen: Seen<'a>,
}

/// What was seen so far.
struct Seen<'a> {
    nan: NanPolicy,
    keeper: &'a BTreeMap<ValueId, ValueId>,
    graph: &'a Graph,
    statistics: BTreeMap<ValueId, Statistics>,
    odd: BTreeMap<ValueId, String>,
}

impl Observing<'_> {
    /// Goes on from what a journal has; the first sample that is missing there.
    fn take(&mut self, kept: Kept) -> Option<usize> {
        // The same steps give the same values the same numbers.
        let by_number: BTreeMap<usize, ValueId> =
            self.run.keeper.keys().map(|value| (value.index(), *value)).collect();
        let named = |number: &usize| by_number.get(number).copied();
        let fits = self.run.span.contains(&kept.samples) || kept.samples == self.run.span.end;
        let statistics: Option<BTreeMap<ValueId, Statistics>> =
            kept.statistics.into_iter().map(|(at, seen)| Some((named(&at)?, seen))).collect();
        let statistics =
            statistics.filter(|kept| fits && kept.keys().eq(self.seen.statistics.keys()))?;
        let odd: Option<BTreeMap<ValueId, String>> =
            kept.odd.into_iter().map(|(at, why)| Some((named(&at)?, why))).collect();
        (self.seen.statistics, self.seen.odd) = (statistics, odd?);
        Some(kept.samples)
    }
}

impl See for Seen<'_> {
    fn see(&mut self, sample: usize, value: ValueId, tensor: &Tensor) -> Result<(), PassError> {
        let Self { nan, keeper, graph, .. } = *self;
        let keeper = keeper.get(&value);
        let Some(observer) = keeper.and_then(|first| self.statistics.get_mut(first)) else {
            return Ok(());
        };
        let Some(data) = tensor.to_f32s().filter(|_| tensor.dtype().is_float()) else {
            self.odd.insert(value, format!("it holds `{}`", tensor.dtype()));
            return Ok(());
        };
        let before = observer.range().oddities().0;
        let updated = observer.update(View { dims: tensor.dims(), data: &data });
        updated.map_err(|source| numeric(graph, value, source))?;
        match observer.range().oddities().0 - before {
            count if count > 0 && nan == NanPolicy::Refuse => {
                Err(PassError::NotANumber { value: name(graph, value), sample, count })
            }
            _ => Ok(()),
        }
    }
}

impl Look for Observing<'_> {
    fn seer(&mut self) -> &mut dyn See {
        &mut self.seen
    }

    fn after(&mut self, samples: usize) -> Result<(), PassError> {
        if samples < self.run.span.end && !self.cx.due() {
            return Ok(());
        }
        let statistics = self.seen.statistics.iter();
        let odd = self.seen.odd.iter();
        let kept = Kept {
            samples,
            statistics: statistics.map(|(value, seen)| (value.index(), seen.clone())).collect(),
            odd: odd.map(|(value, why)| (value.index(), why.clone())).collect(),
        };
        self.cx.save(KEPT, &kept)
    }
}

/// Takes values that cannot be observed out of the plan.
pub(super) fn disable(state: &mut State, pass: &str, odd: BTreeMap<ValueId, String>) {
    for (value, what) in odd {
        if let Some(site) = state.plan.get_mut(value) {
            site.disable(Reason::new(pass, what));
        }
    }
}
