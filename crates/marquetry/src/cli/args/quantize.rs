//! The options of verbs that quantize, or say what quantizing would do.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::PatternFiles;

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// The float model; `-` reads standard input.
    pub(crate) model: PathBuf,
    /// Where the quantized model goes; `-` is standard output.
    #[arg(short, long, value_name = "FILE.onnx")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) choices: Choices,
    /// Also writes AIMET encodings: FILE, or FILE@VERSION with 0.6.1, 1.0.0 or 2.0.0.
    #[arg(long, value_name = "FILE[@VERSION]")]
    pub(crate) encodings: Option<String>,
    /// Also writes a report of what was lost where: a page, or JSON. May be given twice.
    #[arg(long, value_name = "FILE.html|FILE.json")]
    pub(crate) report: Vec<PathBuf>,
    /// Prints the pipeline that these options mean, and does nothing else.
    #[arg(long)]
    pub(crate) print_pipeline: bool,
    /// Says what would be done: the steps, what each works on, memory and files. Runs no sample, and
    /// writes nothing.
    #[arg(long, conflicts_with = "print_pipeline")]
    pub(crate) dry_run: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainTensor {
    /// The name of the tensor.
    pub(crate) name: String,
    /// The float model, or one that is quantized already; `-` reads standard input.
    #[arg(required_unless_present = "report", conflicts_with = "report")]
    pub(crate) model: Option<PathBuf>,
    /// Looks it up in a report in JSON that a run wrote, instead of deciding it again.
    #[arg(long, visible_alias = "plan", value_name = "FILE.json")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) choices: Choices,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Analyze {
    /// The float model; `-` reads standard input.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) choices: Choices,
    /// What is measured on its own: what a layer reads, or a tensor.
    #[arg(long, value_enum, default_value_t = By::Layer)]
    pub(crate) by: By,
    /// Measures on the first N samples; those of `--samples` are calibrated with.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) limit: usize,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// A group, or an operator outside of groups.
    Layer,
    Tensor,
}

/// What decides which values are quantized, to what, and by which numbers.
#[derive(Debug, Args)]
pub(crate) struct Choices {
    #[command(flatten)]
    pub(crate) samples: Samples,
    #[command(flatten)]
    pub(crate) numbers: Numbers,
    /// Quantizes only what the selected operators read: a selector such as "op:Conv", "group:Attention",
    /// "not name:/head/*", "from:A..to:B". May be repeated: what any of them selects.
    #[arg(long, value_name = "EXPR")]
    pub(crate) select: Vec<String>,
    /// Raises scales of weights where a 32-bit accumulator needs it, as `--compat aimet` always does.
    #[arg(long)]
    pub(crate) adjust_weights: bool,
    /// Chooses the range of each weight by what the outputs of its layer lose, layer after layer, on the
    /// samples; among N parts of the whole range. Where left out, it is done where weights have at most
    /// four bits and are not rounded with feedback, but not with `--stats` and `--compat`; 0 turns it off.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "20",
          value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) seq_mse: Option<u32>,
    /// The same as `--rounding gptq`.
    #[arg(long, conflicts_with = "rounding")]
    pub(crate) gptq: bool,
    /// How weights are put on their grid; `gptq` where they have at most four bits, and `nearest`
    /// elsewhere, with `--stats` and with `--compat`, where left out.
    #[arg(long, value_enum)]
    pub(crate) rounding: Option<Rounding>,
    /// Keeps every level of layers whose weights are decided in a folder, and goes on behind those that
    /// are there: after an interruption, nothing is decided twice.
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoints: Option<PathBuf>,
    /// Looks at part I of N of the samples, for the next level only, and leaves what it saw in the folder
    /// of `--checkpoints`. Once all parts have done so, whoever comes next decides the level.
    #[arg(long, value_name = "I/N", requires = "checkpoints")]
    pub(crate) shard: Option<String>,
    /// Lets biases make up for what rounding weights adds to the means of outputs, on the samples; on for
    /// convolutions, and for all where weights have at most four bits, if weights are integers, but not
    /// with `--stats` and `--compat`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) bias_correction: Option<bool>,
    /// Brings the ranges of channels together between layers, which is done where nothing is said; not
    /// with `--stats`, which are those of the model as it is.
    #[arg(long, conflicts_with_all = ["no_equalize", "stats"])]
    pub(crate) equalize: bool,
    /// Leaves the ranges of channels as they are, instead of bringing them together between layers.
    #[arg(long)]
    pub(crate) no_equalize: bool,
    /// Takes the ranges from a file that `calibrate` wrote, instead of running samples. Implies
    /// `--no-equalize`, because statistics are those of the model as it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) patterns: PatternFiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rounding {
    /// Every weight to the nearest grid point.
    Nearest,
    /// So that the outputs of their kernels change least on the samples.
    Gptq,
}

/// What is quantized to what.
#[derive(Debug, Args)]
pub(crate) struct Numbers {
    /// How ranges are chosen: min_max, tf_enhanced, percentile:99.9, mse, entropy.
    #[arg(long, default_value = "min_max")]
    pub(crate) scheme: String,
    /// What it is to run on: a shipped policy, a policy in RON, or a configuration of AIMET in JSON.
    #[arg(
        long,
        visible_alias = "config",
        default_value = "ort-cpu",
        value_name = "NAME|FILE.ron|FILE.json"
    )]
    pub(crate) target: String,
    /// The type of weights: int8, uint8, int4, int2, int16, float8e4m3fn, float16, …; the first that
    /// the target names where left out.
    #[arg(long, value_name = "TYPE")]
    pub(crate) weights: Option<String>,
    /// The type of activations: uint8, int8, uint16, int16, float16, …; likewise.
    #[arg(long, value_name = "TYPE")]
    pub(crate) activations: Option<String>,
    /// One scale per tensor, per output channel of a weight, or per block of N of its elements.
    #[arg(long, default_value = "channel", value_name = "tensor|channel|block:N|lpbq:N")]
    pub(crate) granularity: String,
    /// Computes another tool's numbers to the bit.
    #[arg(long, value_name = "aimet")]
    pub(crate) compat: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Samples {
    /// Samples: a .npz with an array per input, a folder of .npz or .npy, or of test_data_set_*.
    #[arg(long, visible_alias = "data", value_name = "DATA")]
    pub(crate) calib: Option<PathBuf>,
    /// The array that an input reads, where it is called otherwise; may be given more than once.
    #[arg(long, value_name = "INPUT=ARRAY", value_parser = pair)]
    pub(crate) map: Vec<(String, String)>,
    /// Uses the first N samples only.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) samples: Option<usize>,
    /// Samples that are run at once.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) batch: usize,
}

/// Two names with `=` between them; the first one ends at the first `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((input, array)) if !input.is_empty() && !array.is_empty() => {
            Ok((input.to_owned(), array.to_owned()))
        }
        _ => Err("the name of an input, `=`, and that of an array".to_owned()),
    }
}
