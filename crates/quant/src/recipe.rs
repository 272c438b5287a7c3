//! Recipes: pipelines and policies as text, and what can be wrong with them.

use std::path::PathBuf;

mod error;
mod json;
mod places;
mod read;
mod registry;
mod schema;
mod text;

use serde::{Deserialize, Serialize};

pub use self::error::RecipeError;
pub(crate) use self::places::StepPlaces;
pub use self::registry::{Custom, Registry};
pub use self::schema::schema;
pub use self::text::Part;
use crate::pass::{
    BiasCorrection, Calibrate, Check, EncodingsFile, Equalize, EqualizeBy, Export, FoldBatchNorm,
    FoldConstants, Gptq, Group, Observe, Only, Override, Pass, Place, Propagate, QuantizeBias,
    Rewrite, SchemeName, SeqMse, WeightGranularity, WeightSpec,
};
use crate::{Checkpoints, Compat, DType, Pipeline, Policy, Selector};

/// A pipeline as it is written.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The policy to quantize by.
    pub target: String,
    /// What runs the model, unless who runs the pipeline wants another one; the embedded engine where
    /// nothing is said.
    pub engine: Option<EngineName>,
    /// Pattern files and folders, beside the file of the pipeline; `std` is the shipped library, which
    /// is what is meant where nothing is named. Who runs the pipeline loads them.
    pub patterns: Vec<String>,
    /// The passes in order.
    pub passes: Vec<Step>,
}

/// An engine, as pipelines name it. Who runs the pipeline makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineName {
    /// The one that is built in.
    Embedded,
    /// ONNX Runtime, with what it optimizes turned off.
    Ort,
}

impl EngineName {
    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Embedded => "embedded",
            EngineName::Ort => "ort",
        }
    }
}

fn default_target() -> String {
    "ort-cpu".to_owned()
}

/// A pass as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Computes weights that follow from constants.
    FoldConstants,
    /// Folds normalizations into convolutions.
    FoldBatchNorm,
    /// Replaces what rules find.
    Rewrite(Rewrite),
    /// Brings channels of different ranges together.
    Equalize(Equalize),
    /// Finds groups.
    Group(Group),
    /// Decides which values carry a quantizer.
    Place(Place),
    /// Changes what selected sites are asked to be.
    Override(Override),
    /// Leaves all that is not selected in float.
    Only(Only),
    /// Ties the encodings of values that are joined or passed on.
    Propagate,
    /// Writes what was observed to a file.
    Observe(Observe),
    /// Chooses ranges of weights by what the outputs of their layers lose.
    SeqMse(SeqMse),
    /// Gives every site its encoding.
    Calibrate(Calibrate),
    /// Rounds weights so that outputs change least.
    Gptq(Gptq),
    /// Takes out of the outputs what rounding weights adds to their means.
    BiasCorrection(BiasCorrection),
    /// Quantizes biases to int32.
    QuantizeBias,
    /// Refuses what no runtime can work with.
    Check,
    /// Lowers the plan to files.
    Export(Export),
    /// A pass that was registered.
    #[serde(skip)]
    Custom(Custom),
}

/// What most people want: every step, with the few choices that matter.
///
/// ```
/// use marquetry_quant::{DType, Standard};
///
/// let standard = Standard { weights: DType::Int4, ..Standard::of_target("ort-cpu", "out.onnx")? };
/// let pipeline = standard.recipe().pipeline()?;
/// assert!(pipeline.names().any(|pass| pass == "Gptq"), "four bits are rounded with feedback");
/// # Ok::<(), marquetry_quant::RecipeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Standard {
    /// The policy to quantize by: a shipped one, or a file.
    pub target: String,
    /// What is quantized; everything that the target wants where nothing is said.
    pub select: Option<Selector>,
    /// Whether values that are joined or passed on share their encodings.
    pub propagate: bool,
    /// The type of activations.
    pub activations: DType,
    /// The type of weights.
    pub weights: DType,
    /// How many elements of a weight share a scale.
    pub granularity: WeightGranularity,
    /// Whether channels of different ranges are brought together first.
    pub equalize: bool,
    /// How statistics become a range.
    pub scheme: SchemeName,
    /// Whose numbers are computed.
    pub compat: Compat,
    /// How many samples are run; all where left out.
    pub samples: Option<usize>,
    /// Whether scales of weights are raised where a 32-bit accumulator needs it.
    pub adjust_weights: bool,
    /// How many parts of the range of each weight are tried by what its outputs lose, 0 for none; where
    /// left out, 20 where weights have at most four bits, samples are run, and the numbers are ours; for
    /// those that rounding that makes up for errors leaves, which chooses ranges itself.
    pub seq_mse: Option<u32>,
    /// Whether weights are rounded so that outputs change least, which runs the samples once more; where
    /// left out, where they have at most four bits, samples are run, and the numbers are ours.
    pub gptq: Option<bool>,
    /// Whether biases make up for what rounding weights adds to the means of outputs; where left out,
    /// those of convolutions, and all where weights have at most four bits, if weights are integers,
    /// samples are run, and the numbers are ours.
    pub bias_correction: Option<bool>,
    /// Where levels of `SeqMse` and `Gptq` are kept that are decided.
    pub checkpoints: Option<Checkpoints>,
    /// A file of statistics to take the ranges from.
    pub statistics: Option<PathBuf>,
    /// Where the quantized model goes.
    pub qdq: PathBuf,
    /// Where encodings go, if they are wanted.
    pub encodings: Option<EncodingsFile>,
}

impl Standard {
    /// uint8 activations, int8 weights with one scale per output channel, equalized, by minimum and
    /// maximum.
    pub fn new(qdq: impl Into<PathBuf>) -> Standard {
        Standard {
            target: default_target(),
            select: None,
            propagate: false,
            activations: DType::UInt8,
            weights: DType::Int8,
            granularity: WeightGranularity::PerChannel,
            equalize: true,
            scheme: SchemeName::MinMax,
            compat: Compat::Default,
            samples: None,
            adjust_weights: false,
            seq_mse: None,
            gptq: None,
            bias_correction: None,
            checkpoints: None,
            statistics: None,
            qdq: qdq.into(),
            encodings: None,
        }
    }

    /// What a target wants: its first types, and ties where everything is quantized.
    ///
    /// # Errors
    ///
    /// Those of [`Policy::open`].
    pub fn of_target(target: &str, qdq: impl Into<PathBuf>) -> Result<Standard, RecipeError> {
        let policy = Policy::open(target)?;
        let standard = Standard::new(qdq);
        Ok(Standard {
            target: target.to_owned(),
            propagate: policy.everywhere().is_some(),
            activations: policy.activations.first().copied().unwrap_or(standard.activations),
            weights: policy.weights.first().copied().unwrap_or(standard.weights),
            ..standard
        })
    }

    /// The recipe these choices mean.
    pub fn recipe(&self) -> Recipe {
        let spec = WeightSpec {
            dtype: self.weights,
            // Kernels of eight bits want one zero point for all channels; fewer bits are better used whole.
            symmetric: (!self.weights.is_signed() && self.weights.bits() != 8).then_some(false),
            granularity: self.granularity,
            ..WeightSpec::default()
        };
        let place = Place { activations: self.activations, weights: spec, ..Place::default() };
        let export =
            Export { qdq: Some(self.qdq.clone()), encodings: self.encodings.clone(), report: None };
        let by = match self.granularity {
            WeightGranularity::PerTensor => EqualizeBy::Weights,
            _ => EqualizeBy::Activations,
        };
        let (activations, weights) = (self.activations, self.weights);
        let equalize = Equalize { by, activations, weights, ..Equalize::default() };
        let equalize = Step::Equalize(equalize);
        let mut passes = vec![Step::FoldConstants, Step::FoldBatchNorm];
        passes.extend(self.equalize.then_some(equalize));
        passes.extend([Step::Group(Group::default()), Step::Place(place)]);
        passes.extend(self.select.clone().map(|select| Step::Only(Only { select })));
        passes.extend(self.propagate.then_some(Step::Propagate));
        // Few bits are worth looking at what outputs lose.
        let few = self.weights.is_integer() && self.weights.bits() <= 4;
        let own = self.compat == Compat::Default && self.statistics.is_none();
        let seq_mse = SeqMse {
            compat: self.compat,
            samples: self.samples,
            checkpoints: self.checkpoints.clone(),
            ..SeqMse::default()
        };
        let gptq = self.gptq.unwrap_or(few && own);
        match self.seq_mse {
            Some(0) => {}
            Some(candidates) => {
                passes.push(Step::SeqMse(SeqMse { candidates, ..seq_mse.clone() }));
            }
            None if few && own && !gptq => passes.push(Step::SeqMse(seq_mse.clone())),
            None => {}
        }
        if gptq {
            let (samples, checkpoints) = (self.samples, self.checkpoints.clone());
            passes.push(Step::Gptq(Gptq { samples, checkpoints, ..Gptq::default() }));
            // What it cannot round still has a range to choose.
            passes.extend((few && own && self.seq_mse.is_none()).then_some(Step::SeqMse(seq_mse)));
        }
        let target = self.target.clone();
        if self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.shard.is_some()) {
            // Everything behind is done once, when all levels are decided.
            return Recipe { target, engine: None, patterns: Vec::new(), passes };
        }
        passes.push(Step::Calibrate(Calibrate {
            scheme: self.scheme,
            compat: self.compat,
            samples: self.samples,
            statistics: self.statistics.clone(),
            adjust_weights: self.adjust_weights,
            ..Calibrate::default()
        }));
        // With more bits it is the means of convolutions that are off.
        let convolutions = || Selector::parse("maybe op:Conv*").expect("it is a selector");
        let select = (self.bias_correction.is_none() && !few).then(convolutions);
        let correction = BiasCorrection { samples: self.samples, select };
        let correct = self.bias_correction.unwrap_or(own && self.weights.is_integer());
        passes.extend(correct.then_some(Step::BiasCorrection(correction)));
        passes.extend([Step::QuantizeBias, Step::Check, Step::Export(export)]);
        Recipe { target, engine: None, patterns: Vec::new(), passes }
    }
}

/// How recipes and policies are read and written: `Group(patterns: [..])` instead of `Group(Group(patterns: [..]))`, and values without `Some`.
pub(crate) fn options() -> ron::Options {
    use ron::extensions::Extensions;
    let extensions = Extensions::UNWRAP_VARIANT_NEWTYPES | Extensions::IMPLICIT_SOME;
    ron::Options::default().with_default_extension(extensions)
}

impl Recipe {
    /// Reads a recipe of built-in passes.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place and a suggestion.
    pub fn parse(text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse_with(text, &Registry::builtin())
    }

    /// Reads a recipe of built-in passes and of those that were registered.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place and a suggestion.
    pub fn parse_with(text: &str, registry: &Registry) -> Result<Recipe, RecipeError> {
        Recipe::read(text, registry).map(|(recipe, _)| recipe)
    }

    /// The text that parses to this recipe.
    pub fn to_ron(&self) -> String {
        let mut text = format!("Pipeline(\n    target: {},\n", quoted(&self.target));
        if let Some(engine) = self.engine {
            text += &format!("    engine: {engine:?},\n");
        }
        if !self.patterns.is_empty() {
            let patterns: Vec<String> = self.patterns.iter().map(|path| quoted(path)).collect();
            text += &format!("    patterns: [{}],\n", patterns.join(", "));
        }
        text += "    passes: [\n";
        for step in &self.passes {
            text += &format!("        {},\n", step.to_ron().replace('\n', "\n        "));
        }
        text + "    ],\n)\n"
    }

    /// Where the value at the end of a way stands in the text of a recipe, RON or JSON: line and column, from
    /// 1.
    ///
    /// ```
    /// use marquetry_quant::Recipe;
    /// use marquetry_quant::recipe::Part::{At, Field};
    ///
    /// let text = "Pipeline(\n    passes: [Group, Export(qdq: \"out.onnx\")],\n)";
    /// let way = [Field("passes"), At(1), Field("qdq")];
    /// assert_eq!(Recipe::place(text, &way), Some((2, 33)));
    /// ```
    pub fn place(text: &str, way: &[Part<'_>]) -> Option<(usize, usize)> {
        text::of(text, way)
    }

    /// The pipeline to run.
    ///
    /// # Errors
    ///
    /// `UnknownName` for a target there is not, `MissingStep` and `LateStep` for an order that cannot work.
    pub fn pipeline(self) -> Result<Pipeline, RecipeError> {
        let policy = Policy::open(&self.target)?;
        let texts: Vec<String> = self.passes.iter().map(Step::to_ron).collect();
        let passes = self.passes.into_iter().map(Step::into_pass).collect();
        Ok(Pipeline::new(policy, passes)?.with_texts(&texts))
    }
}

impl Recipe {
    /// The pipeline to run; errors have the places of its steps in a text in RON or JSON, if that has the same
    /// steps.
    ///
    /// # Errors
    ///
    /// Those of [`Recipe::pipeline`].
    pub fn pipeline_of(self, text: &str) -> Result<Pipeline, RecipeError> {
        let steps = text::steps(text).map_or(Vec::new(), |(_, steps)| steps);
        let same = steps.len() == self.passes.len();
        let places = steps.iter().filter(|_| same).map(|span| text::place(text, span.start));
        let places = places.collect();
        self.pipeline().map_err(|error| error.placed(places))
    }
}

/// A field on each line, and no line for what is in a field.
fn pretty() -> ron::ser::PrettyConfig {
    ron::ser::PrettyConfig::new().depth_limit(1).new_line("\n")
}

fn quoted(text: &str) -> String {
    options().to_string(text).expect("a string is plain data")
}

impl Step {
    /// The text of the step.
    pub fn to_ron(&self) -> String {
        match self {
            Step::Custom(custom) => custom.ron().to_owned(),
            _ => options().to_string_pretty(self, pretty()).expect("a step is plain data"),
        }
    }

    /// The pass to run.
    fn into_pass(self) -> Box<dyn Pass> {
        match self {
            Step::FoldConstants => Box::new(FoldConstants),
            Step::FoldBatchNorm => Box::new(FoldBatchNorm),
            Step::Rewrite(pass) => Box::new(pass),
            Step::Equalize(pass) => Box::new(pass),
            Step::Group(pass) => Box::new(pass),
            Step::Place(pass) => Box::new(pass),
            Step::Override(pass) => Box::new(pass),
            Step::Only(pass) => Box::new(pass),
            Step::Propagate => Box::new(Propagate),
            Step::Observe(pass) => Box::new(pass),
            Step::SeqMse(pass) => Box::new(pass),
            Step::Calibrate(pass) => Box::new(pass),
            Step::Gptq(pass) => Box::new(pass),
            Step::BiasCorrection(pass) => Box::new(pass),
            Step::QuantizeBias => Box::new(QuantizeBias),
            Step::Check => Box::new(Check),
            Step::Export(pass) => Box::new(pass),
            Step::Custom(pass) => Box::new(pass),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (String, String) {
        let error = Pipeline::parse(text).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    }

    #[test]
    fn a_misspelt_field_is_located_and_suggested() {
        let text = "Pipeline(passes: [\n  Group(),\n  Place(activation: UInt8)])";
        let (message, hint) = error(text);
        assert!(message.starts_with("3:"), "{message}");
        assert!(message.contains("no field `activation`"), "{message}");
        assert_eq!(hint, "did you mean `activations`?");
    }

    #[test]
    fn a_misspelt_pass_is_suggested() {
        let (message, hint) = error("Pipeline(passes: [Grop()])");
        assert_eq!(message, "1:19: there is no pass `Grop`");
        assert_eq!(hint, "did you mean `Group`?");
    }

    #[test]
    fn a_pipeline_that_cannot_work_is_refused() {
        let (message, _) = error("Pipeline(passes: [Group(), Calibrate()])");
        assert_eq!(message, "1:28: `Calibrate` needs a `Place` before it");
        let (message, _) = error("Pipeline(target: \"ort-gpu\", passes: [])");
        assert_eq!(message, "there is no target `ort-gpu`");
    }

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        let mut standard = Standard::new("out.onnx");
        standard.granularity = WeightGranularity::PerBlock(32);
        standard.encodings = Some(EncodingsFile::default());
        let text = standard.recipe().to_ron();
        assert_eq!(Recipe::parse(&text).unwrap().to_ron(), text);
        assert!(text.contains("activations: UInt8"), "{text}");
        Recipe::parse(&text).unwrap().pipeline().unwrap();
    }
}
