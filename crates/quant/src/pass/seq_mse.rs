//! SeqMse: ranges of weights that cost the outputs of their layers least, one level after the other.

use marquetry_ir::ValueId;
use serde::{Deserialize, Serialize};

use super::layers::{self, Decision, Inputs, Seen, Subject, Walk, Wants, whole_range};
use super::parameter::{samples, within};
use super::weights::{numeric, read};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::kernel::BIAS;
use crate::layerwise::search::{Chosen, Cost, Outputs, Search, search};
use crate::layerwise::{Checkpoints, Cross, Direct, Loss, Squared, levels};
use crate::qdq::{Rounding, fake_quantize};
use crate::{Compat, Policy, Selector};

/// What elements cost that no sample reads, as a share of the mean of the others: too little to change
/// what samples say.
const UNSEEN: f32 = 1e-6;

/// Chooses for every weight of a Conv, Gemm or MatMul the part of its range that costs the outputs
/// of the layer least, where earlier layers are quantized already.
///
/// The parts are `1/candidates`, `2/candidates`, … of the range from the smallest to the largest element;
/// the loss is that of the outputs on the samples, with activations in float. It is AIMET's
/// sequential MSE; the squared error is computed from the Gram matrix of the inputs, so that samples
/// are run once whatever the number of candidates.
///
/// Encodings that it chooses are frozen: `Calibrate` behind it leaves them.
/// In RON: `SeqMse()`, `SeqMse(select: "group:Linear or op:Conv")`, `SeqMse(candidates: 50, loss: L1, samples: 64, exclude: ["/head/MatMul"])`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeqMse {
    /// How many parts of the range are tried.
    pub candidates: u32,
    /// How many more are tried for each scale, between the neighbours of the best one; not where choices
    /// are AIMET's, nor for low-power blocks, whose scales are integers.
    pub refine: u32,
    /// What is made least.
    pub loss: Loss,
    /// Whose choices are made: AIMET's for a weight with one scale is the widest that any output
    /// channel would choose, ours the one of the least sum; AIMET's for blocks is what each loses
    /// alone, ours what whole outputs lose, where there is memory for that; and ours chooses
    /// low-power scales in the search, where AIMET rounds them afterwards.
    pub compat: Compat,
    /// How many samples are run; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Names of nodes that are left in float.
    pub exclude: Vec<String>,
    /// Where levels that are decided are kept, for a run that goes on after an interruption or is shared
    /// among processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
    /// The layers to look at; all where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Selector>,
}

impl Default for SeqMse {
    fn default() -> Self {
        SeqMse {
            candidates: 20,
            refine: 0,
            loss: Loss::Mse,
            compat: Compat::Default,
            samples: None,
            exclude: Vec::new(),
            checkpoints: None,
            select: None,
        }
    }
}

/// What the search found for one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The weight.
    #[serde(skip)]
    pub weight: ValueId,
    /// The loss of every candidate: for each channel or block of the weight, in C order of its scales.
    pub losses: Vec<Vec<f64>>,
    /// The candidate that was chosen for each of them.
    pub best: Vec<usize>,
}

impl Pass for SeqMse {
    fn name(&self) -> &str {
        "SeqMse"
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
        let few = "a number from 1 to 10000";
        within("SeqMse", "candidates", self.candidates, 1..=10_000, few)?;
        within("SeqMse", "refine", self.refine, 0..=10_000, "a number up to 10000")?;
        samples("SeqMse", self.samples)?;
        let shard = self.checkpoints.as_ref().and_then(|kept| kept.shard);
        if let Some(shard) = shard {
            shard.span(1).map_err(PassError::Statistics)?;
        }
        if self.loss != Loss::Mse && shard.is_some() {
            return Err(PassError::Parameter {
                pass: "SeqMse",
                parameter: "loss",
                value: format!("{:?}", self.loss),
                allowed: "`Mse` where samples are looked at in parts: no other adds up",
            });
        }
        Ok(())
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
        let wants = match self.loss {
            Loss::Mse => Wants::Cheaper {
                candidates: self.candidates.saturating_add(self.refine),
                whole: self.compat == Compat::Default,
            },
            Loss::L1 | Loss::Sqnr => Wants::Rows,
        };
        let walk = Walk {
            pass: self.name(),
            samples: self.samples,
            exclude: &self.exclude,
            select: self.select.as_ref(),
            wants,
            replaces: false,
            checkpoints: self.checkpoints.as_ref(),
            options: format!("{:?}", SeqMse { checkpoints: None, ..self.clone() }),
        };
        let done = walk.run(state, cx, &mut |subject, seen| {
            let chosen = self.choose(subject, seen)?;
            let (whole, best) = chosen.off;
            let rounding = match self.compat {
                Compat::Default => Rounding::HalfEven,
                Compat::Aimet => Rounding::HalfUpShifted,
            };
            let back = fake_quantize(subject.weight, &subject.layer.dims, &chosen.behind, rounding)
                .map_err(|source| numeric(subject.graph, subject.layer.weight, source))?;
            let reason = match whole > 0.0 && self.loss != Loss::Sqnr {
                true => format!("loses {:.1}% of what its whole range loses", 100.0 * best / whole),
                false => "chosen for its outputs".to_owned(),
            };
            let Chosen { encoding, losses, best: parts, .. } = chosen;
            let (off, curve) = ((whole, best), Some((losses, parts)));
            Ok((Decision { encoding, freeze: true, reason, off, curve }, back))
        })?;
        let (before, after) = done.off;
        let share = match before > 0.0 && self.loss != Loss::Sqnr {
            true => {
                format!(", outputs lose {:.1}% of what whole ranges lose", 100.0 * after / before)
            }
            false => String::new(),
        };
        if let Some(paused) = state.paused.as_ref().filter(|paused| !paused.decided) {
            return Ok(Summary::new(self, paused.to_string()));
        }
        if done.layers == 0 {
            let mut summary = Summary::new(self, "no weight is left whose range is not decided");
            summary.notes.extend(done.note_of_odd());
            summary.notes.extend(done.left);
            return Ok(summary);
        }
        let mut summary = Summary::new(
            self,
            format!(
                "{} weights in {} levels on {} samples, {} candidates{share}",
                done.layers, done.levels, done.samples, self.candidates
            ),
        );
        summary.notes.extend(done.note_of_odd());
        summary.notes.extend(done.left);
        Ok(summary)
    }
}

impl SeqMse {
    fn choose(&self, subject: &Subject<'_>, seen: &Seen) -> Result<Chosen, PassError> {
        let layer = subject.layer;
        let whole = whole_range(subject, self.compat)?;
        let block = layer.block(subject.spec.granularity);
        // Whole outputs have the last word over blocks, which are chosen for what each loses alone.
        let blocks = block < layer.depth && self.compat == Compat::Default;
        let (cost, outputs, cross): (Box<dyn Cost>, Option<Box<dyn Cost>>, _) = match seen {
            Seen::Gram(Inputs { gram, .. }, _) if self.compat == Compat::Aimet => {
                (Box::new(Squared::new(layer, gram)), None, None)
            }
            Seen::Gram(Inputs { gram, .. }, _) => {
                let cost = Squared::of_parts(layer, gram, block).damped(UNSEEN);
                let cross = if blocks { Cross::new(layer, gram, UNSEEN) } else { None };
                // Half of a symmetric matrix says what whole outputs lose.
                let whole = || Box::new(Squared::new(layer, gram).damped(UNSEEN)) as Box<dyn Cost>;
                (Box::new(cost), cross.is_some().then(whole), cross)
            }
            Seen::Rows(rows) => {
                // One that is computed is not known here, and is the same on both sides of a difference.
                let bias = subject.graph.input(layer.node, BIAS);
                let bias = bias.and_then(|bias| read(subject.graph, subject.types, bias).ok());
                let bias = bias.map(|(_, bias)| bias);
                let weight = layer.to_rows(subject.weight);
                let cost = |block: usize| -> Result<Box<dyn Cost + '_>, PassError> {
                    // Blocks are judged by what they add alone, without the bias.
                    let bias = bias.as_deref().filter(|_| block == layer.depth);
                    let cost = Direct::new(layer, self.loss, block, rows, &weight, bias);
                    Ok(Box::new(cost.map_err(levels::spill)?))
                };
                let outputs = blocks.then(|| cost(layer.depth)).transpose()?;
                (cost(block)?, outputs, None)
            }
        };
        let outputs = match (&outputs, &cross) {
            (Some(cost), cross) => Some(Outputs { cost: &**cost, cross: cross.as_ref() }),
            (None, _) => None,
        };
        let how = Search { candidates: self.candidates, refine: self.refine, compat: self.compat };
        search(layer, subject.weight, subject.spec, &whole, &*cost, outputs, how)
            .map_err(|error| layers::search(subject, error))
    }
}
