//! Passes: what a pipeline does, step by step, to a [`State`].

mod adjust;
mod bias_correction;
mod calibrate;
mod check;
mod equalize;
mod export;
mod fold_batch_norm;
mod fold_constants;
mod gptq;
mod group;
mod layers;
mod observe;
mod only;
mod override_;
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

use marquetry_engine::{Engine, EngineError, SampleError};
use marquetry_ir::opset::RaiseError;
use marquetry_ir::{Model, ValueId};
use marquetry_matcher::Groups;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use bias_correction::BiasCorrection;
pub use calibrate::Calibrate;
pub use check::Check;
pub use equalize::{Equalize, EqualizeBy};
pub use export::{EncodingsFile, Export, lowered_plan};
pub use fold_batch_norm::FoldBatchNorm;
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

use crate::encodings::EncodingsError;
use crate::journal::{self, Journal, JournalError};
use crate::observer::Statistics;
use crate::select::{SelectError, Selector};
use crate::statistics::StatisticsError;
use crate::{DType, NumericError, Plan, Policy};

/// What passes work on.
#[derive(Debug)]
pub struct State {
    /// The float model; export leaves it as it is.
    pub model: Model,
    /// The float model before a pass changed what it computes, if one did.
    pub original: Option<Model>,
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
}

impl Fact {
    /// The step that leaves it behind, as a pipeline writes it.
    pub fn provided_by(self) -> &'static str {
        match self {
            Fact::Groups => "Group",
            Fact::Sites => "Place",
            Fact::Encodings => "Calibrate",
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

/// Why a pass could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// A tensor or an encoding that does not fit.
    #[error("`{value}` cannot be quantized: {source}")]
    Numeric {
        /// The name of the value.
        value: String,
        /// What is wrong.
        source: NumericError,
    },
    /// The engine cannot run the model at all, or not on a sample.
    #[error("{}{source}", at(*sample))]
    Engine {
        /// The number of the sample, from 0; none where no sample was run.
        sample: Option<usize>,
        /// What is wrong.
        source: EngineError,
    },
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(SampleError),
    /// There is nothing to calibrate with.
    #[error("there are no calibration samples")]
    NoSamples,
    /// A sample made a value NaN.
    #[error("`{value}` holds {count} NaN on sample {sample}")]
    NotANumber {
        /// The first value in the order of the graph.
        value: String,
        /// The number of the sample, from 0.
        sample: usize,
        /// How many NaN.
        count: u64,
    },
    /// Groups cannot be looked for.
    #[error("groups cannot be found: {message}")]
    Groups {
        /// What is wrong.
        message: String,
    },
    /// The model cannot be read as a graph.
    #[error("the graph cannot be worked with: {message}")]
    Graph {
        /// What is wrong.
        message: String,
    },
    /// A type that the target has no kernels for.
    #[error("`{target}` has no {kind} of type `{dtype}`")]
    Type {
        /// The target.
        target: String,
        /// Activations or weights.
        kind: &'static str,
        /// The type.
        dtype: DType,
        /// The types it has.
        allowed: Vec<DType>,
    },
    /// A scheme with a parameter that makes no sense.
    #[error("`{scheme}` is no scheme")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// An encoding that no runtime can work with.
    #[error("the encoding of `{value}` is unusable: {what}")]
    BadEncoding {
        /// The name of the value.
        value: String,
        /// What is wrong.
        what: String,
    },
    /// An encoding that no version of ONNX can express.
    #[error("`{value}` cannot be written with QuantizeLinear and DequantizeLinear: {what}")]
    NotInOnnx {
        /// The name of the value.
        value: String,
        /// What stands in the way.
        what: String,
    },
    /// A granularity that the type of weights does not go with.
    #[error("weights of type `{dtype}` cannot be {granularity}: {what}")]
    Granularity {
        /// The granularity.
        granularity: String,
        /// The type.
        dtype: DType,
        /// What stands in the way.
        what: &'static str,
    },
    /// An encoding that neither the model's operator set nor ONNX Runtime's own operators know.
    #[error("`{value}` needs opset {needed}: {obstacle}")]
    Opset {
        /// The name of the value.
        value: String,
        /// The opset it needs.
        needed: i64,
        /// What stands against it.
        obstacle: Box<RaiseError>,
    },
    /// A file of statistics that does not fit.
    #[error(transparent)]
    Statistics(StatisticsError),
    /// Two rules of a policy that ask for different things.
    #[error("the rules for `{value}` disagree: {what}")]
    Contradiction {
        /// The name of the value.
        value: String,
        /// Who says what.
        what: String,
    },
    /// A number that a pass cannot work with.
    #[error("`{pass}` cannot work with `{parameter}: {value}`")]
    Parameter {
        /// The pass.
        pass: &'static str,
        /// The field.
        parameter: &'static str,
        /// What it was given.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A node that a pass was told about, and that there is not.
    #[error("`{pass}` is to exclude `{node}`, and there is no such node")]
    NoNode {
        /// The pass.
        pass: String,
        /// The name it was given.
        node: String,
    },
    /// What a layer reads does not fit its weight.
    #[error("`{value}`, which {node} reads, has no rows for its weight: {what}")]
    BadInput {
        /// The name of the value.
        value: String,
        /// The layer.
        node: String,
        /// What is wrong.
        what: String,
    },
    /// Encodings that cannot be written.
    #[error(transparent)]
    Encodings(EncodingsError),
    /// A file of what is known about a level that cannot be read or used.
    #[error("`{}` is of no use: {what}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file of what is known about a level, or the folder of such files, that cannot be written.
    #[error("what is decided about a level cannot be kept: {reason}")]
    Unkept {
        /// What the system said, of which file.
        reason: String,
    },
    /// A temporary file that cannot be written or read.
    #[error("what flows between layers cannot be kept in a temporary file: {reason}")]
    Spill {
        /// The system's message.
        reason: String,
    },
    /// A journal that cannot be written.
    #[error(transparent)]
    Journal(JournalError),
    /// A selector that cannot be followed.
    #[error(transparent)]
    Select(SelectError),
    /// A selector of a step of a pipeline that cannot be followed.
    #[error("{source}")]
    SelectIn {
        /// The number of the step, from 0.
        step: usize,
        /// Where the selector stands in the text of the pipeline: line and column from 1.
        place: Option<(usize, usize)>,
        /// What is wrong.
        source: SelectError,
    },
    /// A change of what a site is asked to be that comes after it was done.
    #[error("`{pass}` comes too late for `{value}`, which has an encoding already")]
    TooLate {
        /// The pass.
        pass: String,
        /// The name of the value.
        value: String,
    },
    /// Somebody asked to stop.
    #[error("the run was interrupted")]
    Interrupted,
    /// Rules that cannot be applied.
    #[error("nothing can be rewritten: {message}")]
    Rewrite {
        /// What is wrong.
        message: String,
    },
}

impl PassError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            PassError::Numeric { source, .. } => source.code(),
            PassError::Engine { source, .. } => source.code(),
            PassError::Sample(source) => source.code(),
            PassError::NoSamples => "no_samples",
            PassError::NotANumber { .. } => "nan_in_calibration",
            PassError::Groups { .. } => "groups_failed",
            PassError::Graph { .. } => "bad_graph",
            PassError::Type { .. } => "type_not_available",
            PassError::Scheme { .. } => "bad_scheme",
            PassError::BadEncoding { .. } => "bad_encoding",
            PassError::NotInOnnx { .. } => "not_in_onnx",
            PassError::Granularity { .. } => "bad_granularity",
            PassError::Opset { .. } => "opset_too_old",
            PassError::Contradiction { .. } => "policy_contradiction",
            PassError::Parameter { .. } => "bad_parameter",
            PassError::NoNode { .. } => "unknown_node",
            PassError::BadInput { .. } => "bad_layer_input",
            PassError::Statistics(source) => source.code(),
            PassError::Encodings(source) => source.code(),
            PassError::Checkpoint { .. } => "bad_checkpoint",
            PassError::Unkept { .. } => "checkpoint_failed",
            PassError::Spill { .. } => "spill_failed",
            PassError::Journal(source) => source.code(),
            PassError::Select(source) | PassError::SelectIn { source, .. } => source.code(),
            PassError::TooLate { .. } => "too_late",
            PassError::Interrupted => "interrupted",
            PassError::Rewrite { .. } => "rewrite_failed",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> Option<String> {
        match self {
            PassError::Numeric { source, .. } => source.hint().map(str::to_owned),
            PassError::Engine { source, .. } => source.hint(),
            PassError::Sample(source) => Some(source.hint()),
            PassError::NoSamples => Some("give at least one sample with an array per input".into()),
            PassError::NotANumber { sample, .. } => Some(format!(
                "look at sample {sample}: if its inputs are sound, calibrate with `nan: Skip`"
            )),
            PassError::Type { allowed, .. } => {
                let names: Vec<&str> = allowed.iter().map(|dtype| dtype.name()).collect();
                Some(format!("use one of `{}`", names.join("`, `")))
            }
            PassError::Scheme { .. } => Some("percentages lie between 50 and 100".into()),
            PassError::NotInOnnx { .. } => {
                Some("ask for another type, or export encodings only".into())
            }
            PassError::Granularity { .. } => {
                Some("use symmetric `int4` or `int2`, or `block:N`".into())
            }
            PassError::Opset { needed, .. } => Some(format!(
                "export the model at opset {needed}, or ask for 8 bits per tensor or channel"
            )),
            PassError::Contradiction { .. } => {
                Some("let the policy say the same of both operators, or override the value".into())
            }
            PassError::Parameter { parameter, allowed, .. } => {
                Some(format!("give `{parameter}` {allowed}"))
            }
            PassError::NoNode { .. } => {
                Some("`marquetry print MODEL` shows the names of all nodes".into())
            }
            PassError::BadInput { .. } => Some("exclude this node".into()),
            PassError::BadEncoding { .. } => {
                Some("repair it, or exclude the nodes that read it".into())
            }
            PassError::Statistics(source) => Some(source.hint()),
            PassError::Encodings(source) => Some(source.hint()),
            PassError::Checkpoint { .. } => Some(
                "remove the folder, or give the model, the options and the samples it is of".into(),
            ),
            PassError::Unkept { .. } => Some(
                "make room, or name another folder; with this one, the same command goes on behind \
                 the levels that are there"
                    .into(),
            ),
            PassError::Spill { .. } => Some(
                "make room in the folder for temporary files (`TMPDIR`), or allow more `--memory`"
                    .into(),
            ),
            PassError::Journal(source) => Some(source.hint().to_owned()),
            PassError::Select(source) | PassError::SelectIn { source, .. } => {
                Some(source.hint().to_owned())
            }
            PassError::TooLate { pass, .. } => {
                Some(format!("move `{pass}` before `SeqMse` and `Calibrate`"))
            }
            _ => None,
        }
    }
}

fn at(sample: Option<usize>) -> String {
    sample.map_or_else(String::new, |sample| format!("sample {sample}: "))
}
