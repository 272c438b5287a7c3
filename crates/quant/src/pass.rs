//! Passes: what a pipeline does, step by step, to a [`State`].

mod adjust;
mod bias_correction;
mod calibrate;
mod check;
mod equalize;
mod error;
mod export;
mod fold_batch_norm;
mod fold_constants;
mod gptq;
mod group;
mod layers;
mod observe;
mod only;
mod override_;
mod parameter;
mod place;
mod probe;
mod propagate;
mod quantize_bias;
mod rewrite;
mod scheme_name;
mod seq_mse;
mod watch;
mod weights;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marquetry_engine::Engine;
use marquetry_ir::{Graph, Model, NodeId, Tensor, ValueId};
use marquetry_matcher::Groups;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use bias_correction::BiasCorrection;
pub use calibrate::Calibrate;
pub use check::Check;
pub use equalize::{Equalize, EqualizeBy};
pub use error::PassError;
pub use export::{EncodingsFile, Export, lowered_plan};
pub use fold_batch_norm::FoldBatchNorm;
pub(crate) use fold_constants::Computed;
pub use fold_constants::FoldConstants;
pub use gptq::Gptq;
pub use group::{FindGroups, Group};
pub use observe::{NanPolicy, Observe, Samples};
pub use only::Only;
pub use override_::{Change, Override};
pub use place::{Place, WeightGranularity, WeightSpec};
pub(crate) use probe::shows;
pub use propagate::Propagate;
pub use quantize_bias::QuantizeBias;
pub use rewrite::{Rewrite, RewriteUntil};
pub use scheme_name::SchemeName;
pub use seq_mse::{Curve, SeqMse};
pub(crate) use weights::read as read_constant;

use crate::inside::{self, Way};
use crate::journal::{self, Journal, JournalError};
use crate::observer::Statistics;
use crate::select::Selector;
use crate::{Plan, Policy};

/// What passes work on.
#[derive(Debug)]
pub struct State {
    /// The float model; export leaves it as it is.
    pub model: Model,
    /// The float model before a pass changed what it computes, if one did.
    pub original: Option<Model>,
    /// The constants in which it differs from what it was, and why, in the order of the changes.
    pub changed: Vec<Changed>,
    /// What the target wants.
    pub policy: Policy,
    /// The groups that were found.
    pub groups: Groups,
    /// Sites and their quantizers.
    pub plan: Plan,
    /// What was observed of every calibrated value.
    pub statistics: BTreeMap<ValueId, Statistics>,
    /// What the search for ranges of weights saw.
    pub curves: Vec<Curve>,
    /// What is to be written when all passes are through, so that a failure leaves no half a file.
    pub outputs: Vec<Output>,
    /// What every pass did, in order.
    pub summaries: Vec<Summary>,
    /// How far the last pass is that is shared among processes, if there is one.
    pub paused: Option<Paused>,
}

impl State {
    /// The state before the first pass.
    pub fn new(model: Model, policy: Policy) -> State {
        State {
            model,
            original: None,
            changed: Vec::new(),
            policy,
            groups: Groups::default(),
            plan: Plan::default(),
            statistics: BTreeMap::new(),
            curves: Vec::new(),
            outputs: Vec::new(),
            summaries: Vec::new(),
            paused: None,
        }
    }

    /// The float model that the quantized one is to be judged by.
    pub fn float(&self) -> &Model {
        self.original.as_ref().unwrap_or(&self.model)
    }
}

/// A constant that a pass changed because a weight is quantized.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The weight.
    pub weight: ValueId,
    /// Who reads the constant, where it is not the weight itself: a bias that makes up for its rounding.
    pub bias: Option<(Way, NodeId, usize)>,
    /// What it was.
    pub before: Tensor,
}

impl Changed {
    /// Makes the constant again what it was.
    pub fn undo(&self, graph: &mut Graph) {
        let (way, value) = match &self.bias {
            None => (Way::new(), self.weight),
            Some((way, node, slot)) => {
                let body = inside::body(graph, way).filter(|body| body.has_node(*node));
                let bias = body.and_then(|body| body.input(*node, *slot));
                match bias.and_then(|bias| inside::origin(graph, way, bias)) {
                    Some(origin) => origin,
                    None => return,
                }
            }
        };
        let body = inside::body_mut(graph, &way).expect("ways lead to bodies of the model");
        if body.initializer(value).is_some() {
            body.set_initializer(value, self.before.clone());
        }
    }
}

/// A file that a pipeline produced, not yet written.
#[derive(Debug)]
pub struct Output {
    /// Where it goes.
    pub path: PathBuf,
    /// What it holds.
    pub content: Content,
}

/// What an output file holds.
#[derive(Debug)]
pub enum Content {
    /// A quantized model.
    Model(Box<Model>),
    /// Text, such as encodings.
    Text(String),
}

/// What passes work with, and do not change.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Runs the model.
    pub engine: &'a dyn Engine,
    /// The calibration samples.
    pub samples: &'a dyn Samples,
    /// Finds groups.
    pub patterns: &'a dyn FindGroups,
    /// Is told how far a pass is.
    pub progress: &'a dyn Fn(Progress<'_>),
    /// Bytes that a pass may hold of what flows between layers, sample by sample; the rest goes to
    /// temporary files.
    pub memory: u64,
    /// Keeps what took long to find.
    pub journal: &'a dyn Journal,
    /// Whether somebody asked to stop.
    stop: &'a dyn Fn() -> bool,
    /// The step of the pipeline that runs, and what it stands behind; none outside of a pipeline, or of
    /// one that nothing is known of but the names of its passes.
    step: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// Without a journal.
    pub fn new(
        engine: &'a dyn Engine,
        samples: &'a dyn Samples,
        patterns: &'a dyn FindGroups,
        progress: &'a dyn Fn(Progress<'_>),
    ) -> Context<'a> {
        let (memory, journal) = (MEMORY, &journal::Nothing);
        let stop = &|| false;
        Context { engine, samples, patterns, progress, memory, journal, stop, step: None }
    }

    /// With other room for what flows between layers.
    pub fn with_memory(self, memory: u64) -> Context<'a> {
        Context { memory, ..self }
    }

    /// With a journal, in which [`Pipeline::run`](crate::Pipeline::run) gives every step a place.
    pub fn with_journal(self, journal: &'a dyn Journal) -> Context<'a> {
        Context { journal, ..self }
    }

    /// With somebody who may ask to stop, once and for all: passes then save what they have, and fail.
    pub fn with_stop(self, stop: &'a dyn Fn() -> bool) -> Context<'a> {
        Context { stop, ..self }
    }

    /// Asked between samples, layers and steps by whoever takes long.
    ///
    /// # Errors
    ///
    /// `Interrupted` when somebody asked to stop.
    pub fn go_on(&self) -> Result<(), PassError> {
        if (self.stop)() { Err(PassError::Interrupted) } else { Ok(()) }
    }

    pub(crate) fn at_step(self, step: Option<&'a str>) -> Context<'a> {
        Context { step, ..self }
    }

    /// What this step has saved under a name, in this run or in one that was killed. What does not read
    /// as a `T` is not there.
    pub fn saved<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&self.journal.load(self.step?, name)?).ok()
    }

    /// Saves something for this step under a name, in place of what was there. Floats keep every bit, and
    /// those that are not finite are lost.
    ///
    /// # Errors
    ///
    /// `Journal` where it cannot be written.
    pub fn save<T: Serialize>(&self, name: &str, content: &T) -> Result<(), PassError> {
        let Some(step) = self.step else { return Ok(()) };
        let bytes = serde_json::to_vec(content).map_err(|error| {
            PassError::Journal(JournalError::Io {
                path: name.to_owned(),
                reason: error.to_string(),
            })
        })?;
        self.journal.save(step, name, &bytes).map_err(PassError::Journal)
    }

    /// A folder of this step in the journal, for a pass that keeps files of its own; who first writes there
    /// makes it.
    pub fn folder(&self, name: &str) -> Option<PathBuf> {
        self.journal.folder(self.step?, name)
    }

    /// Says what of the levels in such a folder was taken, of how many, and whether something was damaged.
    pub(crate) fn taken(&self, levels: (usize, usize), damaged: bool) {
        if let Some(step) = self.step {
            self.journal.taken(step, levels, damaged);
        }
    }

    /// Whether it is time to save what is not finished yet: [`Journal::due`], or the last moment to do so.
    pub fn due(&self) -> bool {
        self.step.is_some() && (self.journal.due() || (self.stop)())
    }

    /// What the step has saved under a name; or what `find` finds, which is then saved.
    ///
    /// # Errors
    ///
    /// Those of `find`, and where it cannot be saved.
    pub fn kept<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<T, PassError>,
    ) -> Result<T, PassError> {
        if let Some(saved) = self.saved(name) {
            return Ok(saved);
        }
        let found = find()?;
        self.save(name, &found)?;
        Ok(found)
    }
}

/// What [`Context::memory`] is where nobody says.
pub const MEMORY: u64 = 256 << 20;

/// How far a pass is that other processes have a part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// The pass.
    pub pass: String,
    /// The level that was looked at, from 1.
    pub level: usize,
    /// How many levels there are.
    pub levels: usize,
    /// Whether all of them are decided, and nothing was looked at. The pipeline goes on then.
    pub decided: bool,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decided {
            true => write!(f, "all {} levels are decided", self.levels),
            false => write!(f, "level {} of {} was looked at", self.level, self.levels),
        }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// How far a pass is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The pass.
    pub pass: &'a str,
    /// Steps done.
    pub done: usize,
    /// Steps in all, where that is known.
    pub total: Option<usize>,
}

/// What a pass needs before it runs, or leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// Groups were looked for.
    Groups,
    /// The plan has its sites.
    Sites,
    /// Activations and weights have encodings.
    Encodings,
    /// Ranges of weights were chosen, or weights were rounded, by what outputs lose.
    Weights,
    /// Biases make up for what rounding weights does.
    Corrections,
    /// Biases are integers on the grid of those encodings.
    Biases,
}

impl Fact {
    /// The step that leaves it behind, as a pipeline writes it.
    pub fn provided_by(self) -> &'static str {
        match self {
            Fact::Groups => "Group",
            Fact::Sites => "Place",
            Fact::Encodings => "Calibrate",
            Fact::Weights => "SeqMse",
            Fact::Corrections => "BiasCorrection",
            Fact::Biases => "QuantizeBias",
        }
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The pass.
    pub pass: String,
    /// One line.
    pub done: String,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
    /// How long it took: the only thing in a state that differs from run to run, so that only reports
    /// tell it.
    #[serde(skip)]
    pub took: Duration,
}

impl Summary {
    /// A summary without notes.
    pub fn new(pass: &dyn Pass, done: impl Into<String>) -> Summary {
        Summary {
            pass: pass.name().to_owned(),
            done: done.into(),
            notes: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

/// One step of a pipeline.
pub trait Pass: Send + Sync {
    /// The name as a pipeline writes it.
    fn name(&self) -> &str;

    /// What earlier passes must have left.
    fn requires(&self) -> &[Fact];

    /// What it leaves for later passes.
    fn provides(&self) -> &[Fact];

    /// What no earlier pass may have left: what it does would not reach that any more.
    fn precedes(&self) -> &[Fact] {
        &[]
    }

    /// Refuses parameters that make no sense whatever the model: asked before any pass runs.
    ///
    /// # Errors
    ///
    /// Those that [`Pass::run`] would have for them.
    fn check(&self, _: &Policy) -> Result<(), PassError> {
        Ok(())
    }

    /// Files that it reads.
    fn reads(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Files that it writes when all passes are through.
    fn writes(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Whether it runs samples: a [forecast](crate::forecast) leaves it out.
    fn runs_samples(&self) -> bool {
        false
    }

    /// The selector of what it works on, if it has one: a forecast refuses one that selects nothing of
    /// what the pass [touches](Pass::touches).
    fn select(&self) -> Option<&Selector> {
        None
    }

    /// The names of nodes that it leaves out, if it has any: a forecast refuses one that is not there.
    fn exclude(&self) -> &[String] {
        &[]
    }

    /// The sites and other values that it is going to work on, as far as the state before it tells, for
    /// what a [forecast](crate::forecast) leaves out.
    fn touches(&self, _: &State) -> Vec<ValueId> {
        Vec::new()
    }

    /// Reads what earlier passes left, writes what later ones need, and says what it did.
    ///
    /// # Errors
    ///
    /// When the model, the samples or the plan stand in the way.
    fn run(&self, state: &mut State, cx: &Context<'_>) -> Result<Summary, PassError>;
}
