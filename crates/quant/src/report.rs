//! The report of a run: whether the model still works, what was lost where, and how much smaller it is.
//!
//! A [`Report`] is plain data: JSON is its twin, [`html::page`] draws it, [`diff`] compares two.
//! The page is a function of the JSON and of nothing else.

mod build;
mod decisions;
pub mod diff;
mod distance;
pub mod html;
mod layers;
mod measure;
mod tensors;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use build::About;
pub use decisions::{Decisions, LeftInFloat, Site};
pub use distance::{Agreement, Distance, Tally, distances};
pub use measure::{Measured, measure};

use crate::Reason;

/// The first member of every report, by which files are told apart.
pub const FORMAT: &str = "marquetry report";

/// The version of [`Report`]. Members may be added without a new one; nothing is renamed or removed.
pub const SCHEMA_VERSION: u32 = 1;

/// The JSON Schema of [`Report`].
pub const SCHEMA: &str = include_str!("report/schema.json");

/// Everything about a run: what was done, what came out, and what it cost.
///
/// The same run gives the same report but for [`Pass::seconds`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What wrote it, with its version.
    pub tool: String,
    /// The command line.
    pub command: Vec<String>,
    /// The pipeline that was run, in RON.
    pub pipeline: String,
    /// The target.
    pub target: String,
    /// The float model.
    pub float: File,
    /// The quantized model, if one was written.
    pub quantized: Option<File>,
    /// How many there are of what.
    pub counts: Counts,
    /// Samples on which the two were compared, and on which histograms were taken where calibration
    /// took none; 0 where there were none.
    pub samples: usize,
    /// How far every output of the graph is from that of the float model.
    pub outputs: Vec<Distance>,
    /// Layers by what each adds to the noise, the worst first.
    pub layers: Vec<Layer>,
    /// Quantized values, in order of the graph's values.
    pub tensors: Vec<Tensor>,
    /// What the search for ranges of weights saw.
    pub curves: Vec<Curve>,
    /// What patterns found, by name.
    pub groups: Vec<Found>,
    /// Where patterns almost match.
    pub near_misses: NearMisses,
    /// Kernels that keep computing in float, in order of the nodes.
    pub float_kernels: Vec<FloatKernel>,
    /// Values that carry no quantizer although something was decided about them, by the reasons.
    pub in_float: Vec<InFloat>,
    /// Whether the target finds all that it asks for; nothing where it asks for kernels only.
    pub completeness: Option<Completeness>,
    /// What every pass did, in order.
    pub passes: Vec<Pass>,
    /// What the user should know of the run as a whole.
    pub notes: Vec<String>,
}

/// A model in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Where it is.
    pub path: String,
    /// Its bytes, with those of its external data.
    pub bytes: u64,
    /// A text that is the same for the same content; it guards against mistakes, not against malice.
    pub fingerprint: String,
    /// Nodes of the main graph.
    pub nodes: usize,
}

/// How many there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Nodes that sum products: Conv, ConvTranspose, Gemm, MatMul.
    pub kernels: usize,
    /// How many of them read only integers.
    pub integer_kernels: usize,
    /// QuantizeLinear nodes in the quantized model.
    pub quantize: usize,
    /// DequantizeLinear nodes in the quantized model.
    pub dequantize: usize,
    /// Quantized activations.
    pub activations: usize,
    /// Quantized weights.
    pub weights: usize,
    /// Quantized biases.
    pub biases: usize,
    /// Layers whose outputs were not compared because the tensors of a sample are too large together.
    pub layers_left_out: usize,
}

/// A group, or a node outside of groups, that reads quantized values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The operator or pattern and the name of the node.
    pub name: String,
    /// The pattern, where it is a group.
    pub pattern: Option<String>,
    /// The position of its first node in the model, from 0.
    pub position: usize,
    /// How many nodes it has.
    pub nodes: usize,
    /// How far its worst output is from that of the float model.
    pub output: Distance,
    /// The decibels of the worst of its inputs; nothing where they are equal.
    pub input_sqnr_db: Option<f64>,
    /// The noise that it adds, as a part of the signal: that of its output less that of its input.
    pub added: f64,
}

/// A quantized value: what was decided, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// What was decided.
    #[serde(flatten)]
    pub site: Site,
    /// The shape, of a constant.
    pub shape: Vec<usize>,
    /// The lowest and the highest number on its grid, over all scales.
    pub range: Option<(f64, f64)>,
    /// The decibels that rounding and clipping this value alone leave; nothing where it is not known or
    /// nothing is lost.
    pub own_sqnr_db: Option<f64>,
    /// The part of its elements that lies outside of the range.
    pub clipped: Option<f64>,
    /// How its elements are distributed.
    pub histogram: Option<Bars>,
    /// Of a weight with many scales, the range of each channel.
    pub channels: Option<Channels>,
}

/// A histogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// The lower end of the first bar.
    pub from: f64,
    /// The width of a bar.
    pub width: f64,
    /// How many elements are in each bar; zeros are counted apart.
    pub counts: Vec<u64>,
    /// Elements that are zero.
    pub zeros: u64,
    /// Elements that are no finite number.
    pub not_finite: u64,
    /// Elements in all.
    pub total: u64,
}

/// The ranges of the channels of a weight, or of neighbouring channels together where there are many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channels {
    /// How many scales the weight has.
    pub scales: usize,
    /// How many neighbouring scales stand together in each column; the last may have fewer.
    pub per_column: usize,
    /// The smallest element.
    pub min: Vec<f64>,
    /// The largest element.
    pub max: Vec<f64>,
    /// The lowest number on the grid.
    pub low: Vec<f64>,
    /// The highest number on the grid.
    pub high: Vec<f64>,
}

/// What the search for the range of one weight saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The weight.
    pub weight: String,
    /// The loss of every candidate, from the narrowest range to the whole one, over all scales.
    pub losses: Vec<f64>,
    /// Whether losses are parts of that of the whole range.
    pub relative: bool,
    /// How many scales chose each candidate.
    pub chosen: Vec<usize>,
}

/// What one pattern found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The pattern.
    pub pattern: String,
    /// Where it is declared.
    pub declared: Option<Place>,
    /// How many groups it has.
    pub count: usize,
    /// How many of them lie inside other groups.
    pub nested: usize,
    /// Nodes of all its groups together.
    pub nodes: usize,
    /// The nodes where the first groups are.
    pub at: Vec<String>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// Where patterns almost match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMisses {
    /// How many patterns were tried.
    pub patterns: usize,
    /// How many of them were not tried at every place, because the model is large.
    #[serde(default)]
    pub partly: usize,
    /// The misses, the nearest first.
    pub misses: Vec<NearMiss>,
}

/// A place where a pattern almost matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The pattern.
    pub pattern: String,
    /// The line that did not hold.
    pub declared: Place,
    /// The node where it almost matches.
    pub at: String,
    /// How many further places have the same reason.
    pub also: usize,
    /// Why it does not.
    pub reason: String,
    /// The text that did not hold.
    pub text: String,
    /// Equations that hold.
    pub satisfied: usize,
    /// Equations in all.
    pub equations: usize,
    /// A change of the pattern that was tried and matches.
    pub change: Option<String>,
}

/// A kernel that keeps computing in float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatKernel {
    /// The node.
    pub node: String,
    /// What it reads in float.
    pub value: String,
    /// Why.
    pub because: Vec<Reason>,
}

/// Values without a quantizer for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFloat {
    /// Why.
    pub because: Vec<Reason>,
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub values: Vec<String>,
}

/// Whether the target finds an encoding for all that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// Tensors with an encoding.
    pub present: usize,
    /// Tensors whose encoding follows from another.
    pub derived: usize,
    /// Tensors inside of what the target runs as one operator, which need none.
    pub inside: usize,
    /// Tensors without any: the target computes one from its own data, or refuses.
    pub missing: usize,
    /// The first of those.
    pub lacking: Vec<Lacking>,
}

/// A tensor for which the target finds no encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// The tensor.
    pub value: String,
    /// What it is to its readers.
    pub role: String,
    /// Why.
    pub because: Vec<Reason>,
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// The pass.
    pub pass: String,
    /// One line.
    pub done: String,
    /// What the user should know.
    pub notes: Vec<String>,
    /// How long it took: the one member that differs from run to run.
    pub seconds: f64,
}

/// Why a text is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The text is not what it should be.
    #[error("this is no report: {message}")]
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// A report of a version that is not known here.
    #[error("the report has version {found}, and {SCHEMA_VERSION} is the newest that is known")]
    Version {
        /// Its version.
        found: u64,
    },
}

impl ReportError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ReportError::Syntax { .. } => "report_syntax",
            ReportError::Version { .. } => "report_version",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> &'static str {
        match self {
            ReportError::Syntax { .. } => "give a file that `quantize --report FILE.json` wrote",
            ReportError::Version { .. } => {
                "use the version of marquetry that wrote it, or a newer one"
            }
        }
    }
}

impl Report {
    /// Reads a report from JSON.
    ///
    /// # Errors
    ///
    /// `Syntax` where it is none, `Version` where it is a newer one.
    pub fn parse(text: &str) -> Result<Report, ReportError> {
        let syntax = |message: String| ReportError::Syntax { message };
        let json: Value = serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?;
        if json.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
            return Err(syntax(format!("its `format` is not `{FORMAT}`")));
        }
        match json.get("schema_version").and_then(|version| version.as_u64()) {
            Some(version) if version == u64::from(SCHEMA_VERSION) => {}
            Some(found) => return Err(ReportError::Version { found }),
            None => return Err(syntax("it has no `schema_version`".to_owned())),
        }
        // From the text again, because errors of texts have a place.
        serde_json::from_str(text).map_err(|error| syntax(error.to_string()))
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        let value = serde_json::to_value(self).expect("a report is plain data");
        let mut text = String::new();
        write_json(&mut text, &value, 0);
        text.push('\n');
        text
    }
}

/// JSON with lists of numbers and texts on one line each, because histograms are long.
fn write_json(out: &mut String, value: &Value, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    match value {
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(out, depth + 1);
                write_json(out, item, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(out, depth + 1);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                write_json(out, member, depth + 1);
            }
            line(out, depth);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}
