//! Why a pass could not do its work.

use std::path::PathBuf;

use marquetry_engine::{EngineError, SampleError};
use marquetry_ir::opset::RaiseError;

use crate::encodings::EncodingsError;
use crate::journal::JournalError;
use crate::select::SelectError;
use crate::statistics::StatisticsError;
use crate::{DType, NumericError};

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
        /// The field it stands in.
        parameter: &'static str,
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
    /// What a step of a pipeline was told, and cannot do.
    #[error("{source}")]
    InStep {
        /// The number of the step, from 0.
        step: usize,
        /// Where what is to blame stands in the text of the pipeline: line and column from 1.
        place: Option<(usize, usize)>,
        /// What is wrong.
        source: Box<PassError>,
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
            PassError::BadInput { .. } => "bad_layer_input",
            PassError::Statistics(source) => source.code(),
            PassError::Encodings(source) => source.code(),
            PassError::Checkpoint { .. } => "bad_checkpoint",
            PassError::Unkept { .. } => "checkpoint_failed",
            PassError::Spill { .. } => "spill_failed",
            PassError::Journal(source) => source.code(),
            PassError::Select(source) => source.code(),
            PassError::InStep { source, .. } => source.code(),
            PassError::TooLate { .. } => "too_late",
            PassError::Interrupted => "interrupted",
            PassError::Rewrite { .. } => "rewrite_failed",
        }
    }

    /// The fields of its pass that may be to blame, the likeliest first: keys from the pass on, with dots
    /// between them, and an empty one for the pass as a whole. None where it is the model, the samples or
    /// the machine.
    pub fn blames(&self) -> &[&'static str] {
        match self {
            PassError::Parameter { parameter, .. } | PassError::Scheme { parameter, .. } => {
                std::slice::from_ref(parameter)
            }
            PassError::Type { kind: "weights", .. } => &["weights.dtype", "weights", "with.dtype"],
            PassError::Type { .. } => &["activations", "with.dtype"],
            PassError::Granularity { .. } => {
                &["weights.granularity", "with.granularity", "weights", "with"]
            }
            PassError::Select(SelectError::NoNode { .. }) => &["exclude"],
            PassError::Select(_) => &["select"],
            PassError::Statistics(StatisticsError::Shard(_)) => &["shard", "checkpoints.shard"],
            PassError::Statistics(_) => &["statistics"],
            PassError::Encodings(EncodingsError::Version { .. }) => &["encodings.version"],
            PassError::Groups { .. } => &["patterns"],
            PassError::Rewrite { .. } => &["rules"],
            PassError::TooLate { .. } => &[""],
            _ => &[],
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
            PassError::Select(source) => Some(source.hint().to_owned()),
            PassError::InStep { source, .. } => source.hint(),
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
