//! Calibrate: ranges of what flows, encodings of everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use marquetry_ir::infer;
use marquetry_ir::{Graph, ValueId};
use serde::{Deserialize, Serialize};

use super::observe::{self, NanPolicy, Run};
use super::parameter::samples;
use super::scheme_name::{SchemeName, checked};
use super::weights::{self, name, numeric};
use super::{Context, Fact, Pass, PassError, State, Summary, adjust, probe};
use crate::observer::{Observer, Statistics};
use crate::plan::{Reason, Role};
use crate::qdq::{Rounding, fake_quantize};
use crate::statistics::{StatisticsError, StatisticsFile, fingerprint};
use crate::{Compat, Encoding, Granularity, NumericError, Policy, Scheme, Spec};

/// Runs the samples, observes what flows, and gives every site its encoding.
///
/// In RON: `Calibrate(scheme: MinMax, samples: 200, nan: Refuse)`. With `statistics: "stats"`, ranges
/// come from a file that [`super::Observe`] wrote, and no sample is run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibrate {
    /// How statistics become a range.
    pub scheme: SchemeName,
    /// How weights become one; where left out, as activations, except that `percentile` and
    /// `entropy` are no ways to cut a weight: those are left whole.
    pub weights: Option<SchemeName>,
    /// Whose numbers are computed.
    pub compat: Compat,
    /// Whether scales of weights are raised where a 32-bit accumulator needs it; always so in
    /// `compat: Aimet`.
    #[serde(skip_serializing_if = "is_off")]
    pub adjust_weights: bool,
    /// How many samples are run; all where left out.
    pub samples: Option<usize>,
    /// What to do about samples that make a value NaN.
    pub nan: NanPolicy,
    /// A file of statistics to take the ranges from.
    pub statistics: Option<PathBuf>,
}

fn is_off(flag: &bool) -> bool {
    !flag
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

    fn precedes(&self) -> &[Fact] {
        &[Fact::Biases]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        checked("scheme", self.scheme)?;
        self.weights.map_or(Ok(()), |name| checked("weights", name).map(|_| ()))?;
        samples("Calibrate", self.samples)
    }

    fn reads(&self) -> Vec<&Path> {
        self.statistics.as_deref().into_iter().collect()
    }

    fn runs_samples(&self) -> bool {
        self.statistics.is_none()
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        let sites = state.plan.enabled().filter(|(_, site)| !site.frozen);
        sites.map(|(value, _)| value).collect()
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        let (scheme, note) = checked("scheme", self.scheme)?;
        let mut notes: Vec<String> = note.into_iter().collect();
        let weights = match (self.weights, scheme, self.compat) {
            (Some(name), _, _) => {
                let (scheme, note) = checked("weights", name)?;
                notes.extend(note);
                scheme
            }
            (None, Scheme::Percentile(_) | Scheme::Entropy, Compat::Default) => Scheme::MinMax,
            (None, scheme, _) => scheme,
        };
        let types = infer::run(&state.model);
        let weights =
            weights::encode(&state.model.graph, &types, &mut state.plan, weights, self.compat)?;
        let observed = match &self.statistics {
            Some(path) => self.read(state, path, &mut notes)?,
            None => self.observe(state, cx, scheme)?,
        };
        let activations = encode_activations(state, scheme)?;
        if self.adjust_weights || self.compat == Compat::Aimet {
            notes.extend(adjust::weights(state, &types, self.compat)?);
        }
        let mut summary = Summary::new(
            self,
            format!("{activations} ranges from {observed} samples by {scheme}, {weights} weights"),
        );
        notes.extend(oddities(state));
        summary.notes = notes;
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
        let keeper = keepers(state);
        if keeper.is_empty() {
            return Ok(0);
        }
        let total = cx.samples.count().min(self.samples.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(PassError::NoSamples);
        }
        let empty = || Statistics::new(scheme, self.compat, Granularity::PerTensor);
        let simulated = match self.compat {
            Compat::Default => None,
            Compat::Aimet => Some(simulated(state)?),
        };
        let graph = simulated.as_ref().unwrap_or(&state.model.graph);
        let graph = &*probe::probed(graph, &state.plan, &keeper.keys().copied().collect())?;
        let run = Run { pass: self.name(), nan: self.nan, span: 0..total, keeper: &keeper, graph };
        let (statistics, odd) = run.observe(cx, &empty)?;
        observe::disable(state, self.name(), odd);
        let kept = keeper.iter();
        state.statistics = kept
            .filter_map(|(&value, first)| Some((value, statistics.get(first)?.clone())))
            .collect();
        Ok(total)
    }

    /// Takes the statistics of a file; the number of samples they come from.
    fn read(
        &self,
        state: &mut State,
        path: &Path,
        notes: &mut Vec<String>,
    ) -> Result<usize, PassError> {
        let file = StatisticsFile::read(path).map_err(PassError::Statistics)?;
        file.fits(&fingerprint(state.float())).map_err(PassError::Statistics)?;
        let by_name = file.by_name();
        let keeper = keepers(state);
        let mut pooled: BTreeMap<ValueId, Statistics> = BTreeMap::new();
        for (&value, &first) in &keeper {
            let graph = &state.model.graph;
            let Some(&seen) = by_name.get(graph.value(value).name()) else {
                let value = name(graph, value);
                return Err(PassError::Statistics(StatisticsError::Missing { value }));
            };
            let (nan, _) = seen.range().oddities();
            if nan > 0 && self.nan == NanPolicy::Refuse {
                notes.push(format!("`{}` held {nan} NaN in calibration", name(graph, value)));
            }
            match pooled.get_mut(&first) {
                // Merging is exact, so this is what observing them together gives.
                Some(pool) => {
                    pool.merge(seen.clone()).map_err(|source| numeric(graph, value, source))?;
                }
                None => {
                    pooled.insert(first, seen.clone());
                }
            }
        }
        let kept = keeper.iter();
        state.statistics =
            kept.filter_map(|(&value, first)| Some((value, pooled.get(first)?.clone()))).collect();
        Ok(file.samples())
    }
}

/// The graph with every weight as it comes back from integers: AIMET observes activations behind
/// quantized weights, and rounds as its simulation does.
fn simulated(state: &State) -> Result<Graph, PassError> {
    let types = infer::run(&state.model);
    let mut graph = state.model.graph.clone();
    for (value, site) in state.plan.enabled().filter(|(_, site)| site.role == Role::Weight) {
        let Some(encoding) = &site.encoding else { continue };
        let (dims, data) = weights::read(&graph, &types, value)?;
        let back = fake_quantize(&data, &dims, encoding, Rounding::HalfUpShifted)
            .map_err(|source| numeric(&graph, value, source))?;
        let tensor = weights::like(&graph, &types, value, dims, &back)?;
        // What a `Constant` gave is an initializer now.
        if let Some((node, slot)) = graph.producer(value) {
            graph.set_output(node, slot, None);
        }
        graph.set_initializer(value, tensor);
    }
    Ok(graph)
}

/// One observer for all sites that are tied: their values are pooled batch by batch, which is the
/// only way for statistics that depend on the order of batches.
fn keepers(state: &State) -> BTreeMap<ValueId, ValueId> {
    let wanted = observe::observed(state);
    let keeper = |&value: &ValueId| {
        let first = state.plan.tied_to(value).into_iter().find(|tied| wanted.contains(tied));
        (value, first.unwrap_or(value))
    };
    wanted.iter().map(keeper).collect()
}

/// What was seen that is no finite number, one line for each value.
fn oddities(state: &State) -> Vec<String> {
    let odd = state.statistics.iter().map(|(&value, seen)| (value, seen.range().oddities()));
    odd.filter(|(_, odd)| *odd != (0, 0))
        .map(|(value, (nan, infinite))| {
            format!(
                "`{}` held {nan} NaN and {infinite} infinities",
                name(&state.model.graph, value)
            )
        })
        .collect()
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
        let spec = Spec { scheme, ..site.spec };
        let known = site.fixed_range.and_then(|range| range.known());
        let counted = |seen: &Statistics| seen.range().cells().iter().any(|cell| cell.count > 0);
        let seen = state.statistics.get(&value).filter(|seen| counted(seen));
        let encoding = if spec.dtype.is_cast() {
            Ok(Encoding::cast(&spec))
        } else if let (Some(range), Some(_)) = (site.fixed_range, known) {
            Ok(Encoding::new(&spec, Vec::new(), vec![range.grid(&spec, None)]))
        } else if let Some(seen) = seen {
            seen.finish(&spec).map(|mut encoding| {
                if let Some(range) = site.fixed_range {
                    let observed = Some((encoding.min(0), encoding.max(0)));
                    encoding.cells = vec![range.grid(&spec, observed)];
                }
                encoding
            })
        } else if state.statistics.contains_key(&value) {
            site.disable(Reason::new("Calibrate", "no sample computes it"));
            continue;
        } else {
            Err(NumericError::NothingObserved)
        };
        let encoding = encoding.map_err(|error| numeric(&state.model.graph, value, error))?;
        let site = state.plan.get_mut(value).expect("sites were just listed");
        site.spec = spec;
        site.encoding = Some(encoding);
        encoded += 1;
    }
    Ok(encoded)
}
