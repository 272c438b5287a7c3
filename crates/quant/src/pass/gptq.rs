//! Gptq: weights are rounded so that each element makes up for what those before it lost.

mod fit;
mod target;

use marquetry_ir::ValueId;
use serde::{Deserialize, Serialize};

use self::fit::{Fit, Rounded, Task, Way, choose};
use self::target::target;
use super::layers::{self, Candidates, Decision, Seen, Subject, Walk, Wants, whole_range};
use super::parameter::{samples, within};
use super::weights::numeric;
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::kernel::label;
use crate::layerwise::search::SearchError;
use crate::layerwise::{Checkpoints, Layer, Squared, tiles};
use crate::qdq::{Rounding, fake_quantize};
use crate::{Compat, Encoding, Granularity, NumericError, Policy, Selector};

/// One sample in so many is kept apart to judge by.
const APART: usize = 4;

/// Rounds the weights of Conv, Gemm and MatMul so that the outputs of their layers change least,
/// instead of each element to its nearest grid point, behind earlier layers that are rounded already.
///
/// A layer that reads x with weights Ŵ instead of W is off by Σ |x·(Ŵ − W)|², which is Σₘ eₘ·G·eₘᵀ
/// with the errors eₘ of output channel m and G = Σ xᵀ·x. Elements are rounded one after the other,
/// and what rounding one does to the output is taken back by those that follow (Frantar et al.,
/// "GPTQ", 2023; Chee et al., "QuIP", 2023, for the form with G = R·D·Rᵀ).
///
/// Every fourth sample is kept apart, and says for each output channel which scale, and whether
/// rounding with feedback or to the nearest grid points is best. What was chosen is then fitted to all
/// samples. The model holds the rounded weights afterwards: what it was is in
/// [`State::original`].
///
/// It stands before `Calibrate`, which then leaves these weights, or behind it, and before
/// `BiasCorrection`.
/// In RON: `Gptq()`, `Gptq(damping: 0.01, by_energy: true, candidates: 20, samples: 64, exclude: ["/head/MatMul"])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gptq {
    /// The least that is added to the diagonal of G, as a share of its mean: the more, the less rounding
    /// trusts that other samples are like these. Where samples kept apart are better off with ten, a
    /// hundred or a thousand times as much, that is taken.
    pub damping: f64,
    /// Whether inputs with much energy are rounded first (`act_order` elsewhere).
    pub by_energy: bool,
    /// How many parts of the range are tried for each weight with a scale per tensor or channel; the one
    /// whose rounded weight costs least is taken, if it does so on the samples kept apart, too. 1 keeps
    /// the scales that there are, and so does an encoding that is frozen.
    pub candidates: u32,
    /// How many rounds of refinement follow, over all elements and, between two of them, over all scales;
    /// 0 for none.
    pub refine: u32,
    /// Whether weights also make up for what earlier layers changed, as far as samples kept apart are
    /// better off with it. The model is run twice for it, as it was and behind what was rounded.
    pub upstream: bool,
    /// How many samples are run; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Names of nodes that are left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Where levels that are decided are kept, for a run that goes on after an interruption or is shared
    /// among processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
    /// The layers to look at; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Selector>,
}

impl Default for Gptq {
    fn default() -> Self {
        Gptq {
            damping: 0.01,
            by_energy: true,
            candidates: 20,
            refine: 4,
            upstream: true,
            samples: None,
            exclude: Vec::new(),
            checkpoints: None,
            select: None,
        }
    }
}

/// What became of a layer.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    /// The error of the nearest grid points, by the samples to judge by.
    nearest: f64,
    /// The same of what was chosen.
    chosen: f64,
    /// The square of the outputs, so that errors of different layers can be added.
    signal: f64,
    /// Output channels that were rounded with feedback.
    channels: usize,
    /// What candidates cost, and which were chosen, where some were tried.
    curve: Option<Candidates>,
}

impl Pass for Gptq {
    fn name(&self) -> &str {
        "Gptq"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Weights]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Corrections, Fact::Biases]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        if !(self.damping.is_finite() && self.damping > 0.0) {
            return Err(PassError::Parameter {
                pass: "Gptq",
                parameter: "damping",
                value: self.damping.to_string(),
                allowed: "a number above 0, such as 0.01",
            });
        }
        let few = "a number from 1 to 10000";
        within("Gptq", "candidates", self.candidates, 1..=10_000, few)?;
        within("Gptq", "refine", self.refine, 0..=10_000, "a number up to 10000")?;
        samples("Gptq", self.samples)?;
        match self.checkpoints.as_ref().and_then(|kept| kept.shard) {
            Some(shard) => shard.span(1).map(|_| ()).map_err(PassError::Statistics),
            None => Ok(()),
        }
    }

    fn runs_samples(&self) -> bool {
        true
    }

    fn select(&self) -> Option<&Selector> {
        self.select.as_ref()
    }

    fn exclude(&self) -> &[String] {
        &self.exclude
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        layers::weights(state, &self.exclude, self.select.as_ref())
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        self.check(&state.policy)?;
        let walk = Walk {
            pass: self.name(),
            samples: self.samples,
            exclude: &self.exclude,
            select: self.select.as_ref(),
            wants: Wants::Gram { apart: APART, upstream: self.upstream },
            replaces: true,
            checkpoints: self.checkpoints.as_ref(),
            options: format!("{:?}", Gptq { checkpoints: None, ..self.clone() }),
        };
        let done = walk.run(state, cx, &mut |subject, seen| {
            let at = |source| numeric(subject.graph, subject.layer.weight, source);
            let own = subject.layer.to_rows(subject.weight);
            let target = target(subject.layer, &own, seen);
            let gain = target.as_ref().map(|target| target.gain);
            let weight = target.map_or(own, |target| target.rows);
            let constant = subject.layer.to_constant(&weight);
            let subject = &Subject { weight: &constant, ..*subject };
            let whole = whole_range(subject, Compat::Default)?;
            let given = match subject.encoding {
                Some(encoding) => encoding.clone(),
                None => finished(subject.spec.granularity, whole.clone()).map_err(at)?,
            };
            let task = Task { pass: self, subject, weight, given, whole };
            let (encoding, back, tally) =
                layer(&task, seen).map_err(|error| layers::search(subject, error))?;
            let mut reason = format!(
                "rounded for the outputs of {}: {} of {} channels, {} off on samples kept apart",
                label(subject.graph, subject.layer.node),
                tally.channels,
                subject.layer.outputs,
                times(tally.nearest, tally.chosen),
            );
            if let Some(gain) = gain {
                // As decibels would be, but of what is no loss of this layer.
                let gain = 100.0 * gain;
                reason.push_str(&format!(
                    "; makes up for {gain:.2} % of their energy that earlier layers changed"
                ));
            }
            let off = match tally.signal > 0.0 {
                true => (tally.nearest / tally.signal, tally.chosen / tally.signal),
                false => (0.0, 0.0),
            };
            Ok((Decision { encoding, freeze: true, reason, off, curve: tally.curve }, back))
        })?;
        if let Some(paused) = state.paused.as_ref().filter(|paused| !paused.decided) {
            return Ok(Summary::new(self, paused.to_string()));
        }
        let (nearest, chosen) = done.off;
        let mut summary = Summary::new(
            self,
            match done.layers {
                0 => "no weight is rounded by what it does to outputs".to_owned(),
                layers => format!(
                    "{layers} weights in {} levels rounded on {} samples, outputs {} off",
                    done.levels,
                    done.samples,
                    times(nearest, chosen),
                ),
            },
        );
        summary.notes.extend(done.note_of_odd());
        if !done.left.is_empty() {
            summary.notes.push(format!("weights rounded to nearest: {}", done.left.len()));
        }
        Ok(summary)
    }
}

/// How far outputs are off now, where they were off by one.
fn times(nearest: f64, chosen: f64) -> String {
    match nearest > 0.0 {
        true => format!("{:.2} times as far", (chosen / nearest).sqrt()),
        false => "never".to_owned(),
    }
}

/// The weight on its grid, channel by channel as it is better, and the encoding of that grid.
fn layer(task: &Task<'_>, seen: &Seen) -> Result<(Encoding, Vec<f32>, Tally), SearchError> {
    let Task { subject, weight, given, .. } = task;
    let layer = subject.layer;
    // A grid of half steps, or of floats, has no integers to round to.
    if !given.dtype.is_integer() || given.is_shifted() {
        let back = fake_quantize(subject.weight, &layer.dims, given, Rounding::HalfEven)?;
        return Ok((given.clone(), back, Tally::default()));
    }
    let Seen::Gram(inputs, apart) = seen else { unreachable!("a Gram matrix was asked for") };
    let (gram, apart) = (&inputs.gram, apart.as_ref().map(|apart| &apart.gram));
    let judge = Squared::new(layer, apart.unwrap_or(gram));
    let lost = |rows: &[f32]| {
        let error: Vec<f32> = weight.iter().zip(rows).map(|(w, back)| w - back).collect();
        judge.all(layer, &error)
    };
    let fit = match apart {
        Some(_) => Fit::damped(task, gram, &lost)?,
        None => Fit::new(task, gram, task.pass.damping),
    };
    let ways = task.ways();
    let rounded: Result<Vec<_>, _> = ways.iter().map(|&way| fit.round(way)).collect();
    let mut rounded = rounded?;
    let judged: Vec<Vec<f64>> = rounded.iter().map(|one| lost(&one.rows)).collect();
    let chosen = choose(layer, given.is_per_tensor(), &judged);
    let tally = Tally {
        nearest: judged[0].iter().sum(),
        chosen: chosen.iter().enumerate().map(|(output, &at)| judged[at][output]).sum(),
        signal: judge.all(layer, weight).iter().sum(),
        channels: chosen.iter().filter(|&&at| ways[at] != Way::Plain).count(),
        curve: rounded.last_mut().and_then(|last| last.curve.take()),
    };
    if let Some(apart) = apart {
        // Those whose word was needed to choose are as good as the others to round by.
        let mut all = gram.clone();
        tiles::merge(&mut all, apart);
        let fit = Fit::new(task, &all, fit.damping);
        for (at, &way) in ways.iter().enumerate().filter(|(at, _)| chosen.contains(at)) {
            rounded[at] = fit.round(way)?;
        }
    }
    let (encoding, rows) = joined(layer, given, &rounded, &chosen)?;
    Ok((encoding, layer.to_constant(&rows), tally))
}

/// Each output from where it was chosen.
fn joined(
    layer: &Layer,
    given: &Encoding,
    rounded: &[Rounded],
    chosen: &[usize],
) -> Result<(Encoding, Vec<f32>), NumericError> {
    let mut encoding = given.clone();
    let cells = layer.cells(encoding.granularity)?;
    let channels = match encoding.granularity {
        Granularity::Lpbq { channel, .. } => crate::lpbq::channels(&encoding.shape, channel)?,
        _ => Vec::new(),
    };
    let mut rows = Vec::with_capacity(cells.len());
    for (output, &at) in chosen.iter().enumerate() {
        let row = output * layer.depth..(output + 1) * layer.depth;
        let from = &rounded[at].encoding;
        for &cell in &cells[row.clone()] {
            let cell = cell as usize;
            encoding.cells[cell] = from.cells[cell];
            if let Some(&channel) = channels.get(cell) {
                encoding.channel_scales[channel] = from.channel_scales[channel];
            }
        }
        rows.extend_from_slice(&rounded[at].rows[row]);
    }
    Ok((encoding, rows))
}

/// The encoding with its low-power scales.
fn finished(granularity: Granularity, mut encoding: Encoding) -> Result<Encoding, NumericError> {
    encoding.granularity = granularity;
    if let Granularity::Lpbq { channel, .. } = granularity {
        crate::lpbq::compress(&mut encoding, channel)?;
    }
    Ok(encoding)
}
