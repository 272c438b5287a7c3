//! Gptq: weights are rounded so that each element makes up for what those before it lost.

use marquetry_ir::ValueId;
use serde::{Deserialize, Serialize};

use super::layers::{self, Candidates, Decision, Seen, Subject, Walk, Wants, whole_range};
use super::weights::numeric;
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::kernel::label;
use crate::layerwise::feedback::{Feedback, How};
use crate::layerwise::search::{losses, parts};
use crate::layerwise::{Checkpoints, Layer, Squared};
use crate::points::Points;
use crate::qdq::{Rounding, fake_quantize};
use crate::{Compat, Encoding, Granularity, NumericError, Selector};

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
/// Every fourth sample is kept apart: an output channel whose error there does not fall keeps the
/// nearest grid points. The model holds the rounded weights afterwards: what it was is in
/// [`State::original`].
///
/// It stands before `Calibrate`, which then leaves these weights, or behind it, and before
/// `BiasCorrection`.
/// In RON: `Gptq()`, `Gptq(damping: 0.01, by_energy: true, candidates: 20, samples: 64, exclude: ["/head/MatMul"])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gptq {
    /// What is added to the diagonal of G, as a share of its mean: the more, the less rounding trusts
    /// that other samples are like these.
    pub damping: f64,
    /// Whether inputs with much energy are rounded first (`act_order` elsewhere).
    pub by_energy: bool,
    /// How many parts of the range are tried for each weight with a scale per tensor or channel; the one
    /// whose rounded weight costs least is taken, if it does so on the samples kept apart, too. 1 keeps
    /// the scales that there are, and so do an encoding that is frozen and fewer rows than the weight
    /// has.
    pub candidates: u32,
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
        &[]
    }

    fn runs_samples(&self) -> bool {
        true
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        layers::weights(state, &self.exclude, self.select.as_ref())
    }

    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError> {
        if !(self.damping.is_finite() && self.damping > 0.0) {
            return Err(PassError::Parameter {
                pass: "Gptq",
                parameter: "damping",
                value: self.damping.to_string(),
                allowed: "a number above 0, such as 0.01",
            });
        }
        if !(1..=10_000).contains(&self.candidates) {
            return Err(PassError::Parameter {
                pass: "Gptq",
                parameter: "candidates",
                value: self.candidates.to_string(),
                allowed: "a number from 1 to 10000",
            });
        }
        let walk = Walk {
            pass: self.name(),
            samples: self.samples,
            exclude: &self.exclude,
            select: self.select.as_ref(),
            wants: Wants::Gram { apart: APART },
            replaces: true,
            checkpoints: self.checkpoints.as_ref(),
            options: format!("{:?}", Gptq { checkpoints: None, ..self.clone() }),
        };
        let done = walk.run(state, cx, &mut |subject, seen| {
            let at = |source| numeric(subject.graph, subject.layer.weight, source);
            let encoding = match subject.encoding {
                Some(encoding) => encoding.clone(),
                None => finished(subject.spec.granularity, whole_range(subject, Compat::Default)?)
                    .map_err(at)?,
            };
            let (encoding, back, tally) = self.layer(subject, seen, encoding).map_err(at)?;
            let reason = format!(
                "rounded for the outputs of {}: {} of {} channels, {} off on samples kept apart",
                label(subject.graph, subject.layer.node),
                tally.channels,
                subject.layer.outputs,
                times(tally.nearest, tally.chosen),
            );
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

impl Gptq {
    /// The weight on its grid, channel by channel as it is better, and the encoding of that grid.
    fn layer(
        &self,
        subject: &Subject<'_>,
        seen: &Seen,
        given: Encoding,
    ) -> Result<(Encoding, Vec<f32>, Tally), NumericError> {
        let layer = subject.layer;
        // A grid of half steps, or of floats, has no integers to round to.
        if !given.dtype.is_integer() || given.is_shifted() {
            let back = fake_quantize(subject.weight, &layer.dims, &given, Rounding::HalfEven)?;
            return Ok((given, back, Tally::default()));
        }
        let Seen::Gram(gram, apart) = seen else { unreachable!("a Gram matrix was asked for") };
        let judge = Squared::new(layer, apart.as_ref().unwrap_or(gram));
        let weight = layer.to_rows(subject.weight);
        let lost = |rows: &[f32]| {
            let error: Vec<f32> = weight.iter().zip(rows).map(|(w, back)| w - back).collect();
            losses(layer, &judge, &error)
        };
        let feedback = Feedback::new(gram, self.how());
        // Fewer rows than elements are fitted by many a grid, and say nothing of other rows.
        let candidates = if gram.rows() >= layer.depth as u64 { self.candidates } else { 1 };
        let mut tried = vec![self.round(subject, &feedback, given.clone(), candidates)?];
        let curve = tried[0].curve.take();
        if tried[0].encoding != given {
            tried.push(self.round(subject, &feedback, given, 1)?);
        }
        let mut attempts = Vec::new();
        for Fed { encoding, rows: fed, .. } in tried {
            let nearest =
                fake_quantize(subject.weight, &layer.dims, &encoding, Rounding::HalfEven)?;
            let nearest = layer.to_rows(&nearest);
            let (of_nearest, of_fed) = (lost(&nearest), lost(&fed));
            attempts.push(Attempt { encoding, nearest, fed, of_nearest, of_fed });
        }
        let signal = losses(layer, &judge, &weight).iter().sum();
        let (encoding, rows, tally) = best(layer, attempts, signal)?;
        Ok((encoding, layer.to_constant(&rows), Tally { curve, ..tally }))
    }

    fn how(&self) -> How {
        How { damping: self.damping, by_energy: self.by_energy }
    }

    /// Rounds with feedback, onto the grid that is given or, if candidates are to be tried, onto the one
    /// that costs least.
    fn round(
        &self,
        subject: &Subject<'_>,
        feedback: &Feedback,
        given: Encoding,
        candidates: u32,
    ) -> Result<Fed, NumericError> {
        let layer = subject.layer;
        let cells = layer.cells(given.granularity)?;
        let mut tried = match given.granularity {
            Granularity::PerTensor | Granularity::PerChannel(_)
                if candidates > 1 && !subject.frozen =>
            {
                parts(subject.spec, &given, candidates)
            }
            // Scales of blocks depend on each other, as each takes over what those before it lost.
            _ => vec![given],
        };
        let points = |tried: &[Encoding]| -> Result<Vec<Vec<Points>>, NumericError> {
            tried.iter().map(|encoding| Points::of(encoding, Rounding::HalfEven)).collect()
        };
        let mut rounded = feedback.round(layer, subject.weight, &cells, &points(&tried)?)?;
        let mut curve = None;
        if tried.len() > 1 && subject.spec.granularity == Granularity::PerTensor {
            // One scale for all outputs: the one of the least sum.
            let sum = |losses: &Vec<f64>| losses.iter().sum::<f64>();
            let of = |&a: &usize, &b: &usize| {
                sum(&rounded.losses[a]).total_cmp(&sum(&rounded.losses[b]))
            };
            let best = (0..tried.len()).min_by(of).unwrap_or(0);
            curve =
                Some((rounded.losses.iter().map(|losses| vec![sum(losses)]).collect(), vec![best]));
            tried = vec![tried.swap_remove(best)];
            rounded = feedback.round(layer, subject.weight, &cells, &points(&tried)?)?;
        }
        let mut encoding = tried.last().cloned().expect("something is tried");
        if tried.len() > 1 {
            for (output, &best) in rounded.best.iter().enumerate() {
                let cell = cells[output * layer.depth] as usize;
                encoding.cells[cell] = tried[best].cells[cell];
            }
            curve = Some((rounded.losses, rounded.best));
        }
        Ok(Fed { encoding, rows: rounded.rows, curve })
    }
}

/// A weight that was rounded with feedback.
struct Fed {
    encoding: Encoding,
    rows: Vec<f32>,
    /// What candidates cost, and which were chosen, where some were tried.
    curve: Option<Candidates>,
}

/// A weight on one grid, each output to the nearest points and with feedback, in rows, and what either
/// costs on samples that are kept apart.
struct Attempt {
    encoding: Encoding,
    nearest: Vec<f32>,
    fed: Vec<f32>,
    of_nearest: Vec<f64>,
    of_fed: Vec<f64>,
}

impl Attempt {
    /// The least loss of an output.
    fn least(&self, output: usize) -> f64 {
        self.of_nearest[output].min(self.of_fed[output])
    }
}

/// What is best, output by output where outputs have scales of their own. The last attempt is the one
/// on the grid that was given.
fn best(
    layer: &Layer,
    mut attempts: Vec<Attempt>,
    signal: f64,
) -> Result<(Encoding, Vec<f32>, Tally), NumericError> {
    let given = attempts.last().expect("something was tried");
    let nearest = given.of_nearest.iter().sum();
    let mut tally = Tally { signal, nearest, ..Tally::default() };
    let mut encoding = given.encoding.clone();
    if encoding.is_per_tensor() {
        let sum = |attempt: &Attempt| (0..layer.outputs).map(|at| attempt.least(at)).sum::<f64>();
        attempts.sort_by(|a, b| sum(a).total_cmp(&sum(b)));
        attempts.truncate(1);
        encoding = attempts[0].encoding.clone();
    }
    let cells = layer.cells(encoding.granularity)?;
    let mut rows = Vec::with_capacity(layer.outputs * layer.depth);
    for output in 0..layer.outputs {
        let row = output * layer.depth..(output + 1) * layer.depth;
        // The first of the least.
        let of = |a: &&Attempt, b: &&Attempt| a.least(output).total_cmp(&b.least(output));
        let attempt = attempts.iter().min_by(of).expect("something was tried");
        let fed = attempt.of_fed[output] < attempt.of_nearest[output];
        rows.extend_from_slice(if fed {
            &attempt.fed[row.clone()]
        } else {
            &attempt.nearest[row.clone()]
        });
        if attempts.len() > 1 {
            let cell = cells[row.start] as usize;
            encoding.cells[cell] = attempt.encoding.cells[cell];
        }
        tally.chosen += attempt.least(output);
        tally.channels += usize::from(fed);
    }
    Ok((encoding, rows, tally))
}

/// The encoding with its low-power scales.
fn finished(granularity: Granularity, mut encoding: Encoding) -> Result<Encoding, NumericError> {
    encoding.granularity = granularity;
    if let Granularity::Lpbq { channel, .. } = granularity {
        crate::lpbq::compress(&mut encoding, channel)?;
    }
    Ok(encoding)
}
