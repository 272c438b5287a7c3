//! Calibrate: ranges of what flows, encodings of everything.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_engine::{Flow, SampleError, Sweep, SweepOptions};
use marquetry_ir::infer;
use marquetry_ir::{Tensor, ValueId};
use serde::{Deserialize, Serialize};

use super::weights::{self, name, numeric};
use super::{Context, Fact, Pass, PassError, Progress, State, Summary};
use crate::observer::{Observer, Statistics, View};
use crate::plan::{Reason, Role};
use crate::range::grid_of_fixed_range;
use crate::{Encoding, Granularity, NumericError, Scheme, Spec};

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

/// Runs the samples, observes what flows, and gives every site its encoding.
///
/// In RON: `Calibrate(scheme: MinMax, samples: 200, nan: Refuse)`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibrate {
    /// How statistics become a range.
    pub scheme: SchemeName,
    /// How many samples are run; all where left out.
    pub samples: Option<usize>,
    /// What to do about samples that make a value NaN.
    pub nan: NanPolicy,
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

/// A scheme as it is written, older names included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum SchemeName {
    /// The smallest and the largest value seen.
    #[default]
    #[serde(alias = "min_max")]
    MinMax,
    /// An older name of `MinMax`.
    #[serde(alias = "post_training_tf")]
    PostTrainingTf,
    /// An older name of `MinMax`.
    #[serde(alias = "tf")]
    Tf,
    /// The range of the best signal to quantization noise.
    #[serde(alias = "tf_enhanced")]
    TfEnhanced,
    /// The range that holds this percentage of the values.
    #[serde(alias = "percentile")]
    Percentile(f64),
}

impl SchemeName {
    /// Reads a name as the command line writes it: `min_max`, `percentile:99.9`.
    pub fn parse(name: &str) -> Option<SchemeName> {
        match name.split_once(':') {
            Some(("percentile", percentage)) => percentage.parse().ok().map(SchemeName::Percentile),
            Some(_) => None,
            None => match name {
                "min_max" => Some(SchemeName::MinMax),
                "post_training_tf" => Some(SchemeName::PostTrainingTf),
                "tf" => Some(SchemeName::Tf),
                "tf_enhanced" => Some(SchemeName::TfEnhanced),
                _ => None,
            },
        }
    }

    /// The scheme it means, with a note where the name is an older one.
    pub fn resolve(self) -> (Scheme, Option<String>) {
        let older = |name: &str| Some(format!("`{name}` is an older name of `min_max`"));
        match self {
            SchemeName::MinMax => (Scheme::MinMax, None),
            SchemeName::PostTrainingTf => (Scheme::MinMax, older("post_training_tf")),
            SchemeName::Tf => (Scheme::MinMax, older("tf")),
            SchemeName::TfEnhanced => (Scheme::TfEnhanced, None),
            SchemeName::Percentile(percentage) => (Scheme::Percentile(percentage), None),
        }
    }
}

impl Pass for Calibrate {
    fn name(&self) -> &str {
        "Calibrate"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let (scheme, note) = self.scheme.resolve();
        if let Scheme::Percentile(percentage) = scheme
            && !(percentage > 50.0 && percentage <= 100.0)
        {
            return Err(PassError::Scheme { scheme: scheme.to_string() });
        }
        let types = infer::run(&state.model);
        let weights = weights::encode(&state.model.graph, &types, &mut state.plan, scheme)?;
        let observed = self.observe(state, cx, scheme)?;
        let activations = encode_activations(state, scheme)?;
        let mut summary = Summary::new(
            self,
            format!("{activations} ranges from {observed} samples by {scheme}, {weights} weights"),
        );
        summary.notes.extend(note);
        Ok(summary)
    }
}

impl Calibrate {
    /// Observes every activation on every sample; the number of samples.
    fn observe(
        &self,
        state: &mut State,
        cx: &Context<'_>,
        scheme: Scheme,
    ) -> Result<usize, PassError> {
        let graph = &state.model.graph;
        let wanted: BTreeSet<ValueId> = state
            .plan
            .enabled()
            .filter(|(_, site)| {
                site.role == Role::Activation && site.fixed_range.is_none() && !site.frozen
            })
            .map(|(value, _)| value)
            .collect();
        if wanted.is_empty() {
            return Ok(0);
        }
        let total = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(PassError::NoSamples);
        }
        // One observer for all sites that are tied: their values are pooled batch by batch, which
        // is the only way for statistics that depend on the order of batches.
        let mut keeper = BTreeMap::new();
        let mut statistics = BTreeMap::new();
        for &value in &wanted {
            let first = state.plan.tied_to(value).into_iter().find(|tied| wanted.contains(tied));
            let first = first.unwrap_or(value);
            keeper.insert(value, first);
            let empty = || Statistics::new(scheme, Granularity::PerTensor);
            statistics.entry(first).or_insert_with(empty);
        }
        let mut odd = BTreeMap::new();
        let mut sweep = Sweep::new(cx.engine, graph, &wanted, &SweepOptions::default())
            .map_err(|source| PassError::Engine { sample: None, source })?;
        for index in 0..total {
            let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
            let mut failure = None;
            let mut see = |value: ValueId, tensor: &Tensor| {
                let keeper = keeper.get(&value);
                let Some(observer) = keeper.and_then(|first| statistics.get_mut(first)) else {
                    return Flow::Continue;
                };
                let Some(data) = tensor.to_f32s().filter(|_| tensor.dtype().is_float()) else {
                    odd.insert(value, format!("it holds `{}`", tensor.dtype()));
                    return Flow::Continue;
                };
                let before = observer.range().oddities().0;
                let updated = observer.update(View { dims: tensor.dims(), data: &data });
                let count = observer.range().oddities().0 - before;
                failure = match updated {
                    Err(source) => Some(numeric(graph, value, source)),
                    Ok(()) if count > 0 && self.nan == NanPolicy::Refuse => {
                        let value = name(graph, value);
                        Some(PassError::NotANumber { value, sample: index, count })
                    }
                    Ok(()) => return Flow::Continue,
                };
                Flow::Stop
            };
            let ran = sweep.run(&sample, &mut see);
            ran.map_err(|source| PassError::Engine { sample: Some(index), source })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            (cx.progress)(Progress { pass: self.name(), done: index + 1, total: Some(total) });
        }
        for (value, what) in odd {
            if let Some(site) = state.plan.get_mut(value) {
                site.disable(Reason::new(self.name(), what));
            }
        }
        state.statistics = wanted
            .iter()
            .filter_map(|value| Some((*value, statistics.get(keeper.get(value)?)?.clone())))
            .collect();
        Ok(total)
    }
}

/// Gives every activation its encoding; the number of encodings.
fn encode_activations(state: &mut State, scheme: Scheme) -> Result<usize, PassError> {
    let sites: Vec<ValueId> = state
        .plan
        .enabled()
        .filter(|(_, site)| site.role == Role::Activation && !site.frozen)
        .map(|(value, _)| value)
        .collect();
    let mut encoded = 0;
    for &value in &sites {
        let site = state.plan.get_mut(value).expect("sites were just listed");
        let counted = |seen: &Statistics| seen.range().cells().iter().any(|cell| cell.count > 0);
        if site.fixed_range.is_none() && !state.statistics.get(&value).is_some_and(counted) {
            site.disable(Reason::new("Calibrate", "no sample computes it"));
            continue;
        }
        encoded += 1;
        let spec = Spec { scheme, ..site.spec };
        let encoding = match (site.fixed_range, state.statistics.get(&value)) {
            (Some((lo, hi)), _) => {
                Ok(Encoding::new(&spec, Vec::new(), vec![grid_of_fixed_range(&spec, lo, hi)]))
            }
            (None, Some(seen)) => seen.finish(&spec),
            (None, None) => Err(NumericError::NothingObserved),
        };
        let encoding = encoding.map_err(|error| numeric(&state.model.graph, value, error))?;
        let site = state.plan.get_mut(value).expect("sites were just listed");
        site.spec = spec;
        site.encoding = Some(encoding);
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_scheme_names_come_with_a_note() {
        let (scheme, note) = SchemeName::parse("post_training_tf").unwrap().resolve();
        assert_eq!(scheme, Scheme::MinMax);
        assert!(note.unwrap().contains("`min_max`"));
        assert_eq!(SchemeName::parse("percentile:99.9"), Some(SchemeName::Percentile(99.9)));
        assert_eq!(SchemeName::parse("mimmax"), None);
    }
}
