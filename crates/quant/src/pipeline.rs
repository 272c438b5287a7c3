//! Pipelines: passes in order, read from RON or put together by a program.
//!
//! ```
//! # use marquetry_quant::Pipeline;
//! let pipeline = Pipeline::parse(r#"Pipeline(
//!     target: "ort-cpu",
//!     passes: [
//!         FoldBatchNorm,
//!         Group(),
//!         Place(activations: UInt8, weights: (dtype: Int8)),
//!         Calibrate(scheme: MinMax),
//!         QuantizeBias,
//!         Check,
//!         Export(qdq: "out.onnx"),
//!     ],
//! )"#).unwrap();
//! assert_eq!(pipeline.names().nth(4), Some("QuantizeBias"));
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::pass::{
    Calibrate, Check, Context, Export, Fact, FoldBatchNorm, Group, Pass, PassError, Place,
    QuantizeBias, State,
};
use crate::{Policy, suggest};

/// Why a pipeline or a policy cannot be used as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text is not what it should be.
    #[error("{line}:{column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A name that stands for nothing.
    #[error("there is no {kind} `{name}`")]
    UnknownName {
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// A pass before what it works on.
    #[error("`{pass}` needs a `{step}` before it")]
    MissingStep {
        /// The pass.
        pass: String,
        /// The step that is missing.
        step: &'static str,
    },
}

impl RecipeError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            RecipeError::Syntax { .. } => "recipe_syntax",
            RecipeError::UnknownName { .. } => "unknown_name",
            RecipeError::MissingStep { .. } => "missing_step",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> Option<String> {
        match self {
            RecipeError::Syntax { hint, .. } => hint.clone(),
            RecipeError::UnknownName { hint, .. } => Some(hint.clone()),
            RecipeError::MissingStep { step, .. } => {
                Some(format!("add `{step}(…)` to the passes before it"))
            }
        }
    }

    pub(crate) fn unknown_name(kind: &'static str, name: &str, known: &[&str]) -> RecipeError {
        let hint = suggest::hint(name, known);
        RecipeError::UnknownName { kind, name: name.to_owned(), hint }
    }

    pub(crate) fn from_ron(error: ron::error::SpannedError) -> RecipeError {
        use ron::Error;
        let (message, hint) = match &error.code {
            Error::NoSuchStructField { expected, found, outer } => {
                let place = outer.as_ref().map(|outer| format!(" of `{outer}`"));
                (
                    format!("there is no field `{found}`{}", place.unwrap_or_default()),
                    Some(suggest::hint(found, expected)),
                )
            }
            Error::NoSuchEnumVariant { expected, found, .. } => {
                (format!("there is no `{found}` here"), Some(suggest::hint(found, expected)))
            }
            other => {
                let text = other.to_string();
                (text.trim_end_matches('.').to_owned(), None)
            }
        };
        let at = error.span.start;
        RecipeError::Syntax { line: at.line, column: at.col, message, hint }
    }
}

/// The text of a pipeline; check at the door, trust inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "Pipeline", deny_unknown_fields)]
struct Wire {
    #[serde(default = "default_target")]
    target: String,
    passes: Vec<Step>,
}

fn default_target() -> String {
    "ort-cpu".to_owned()
}

/// The passes that can be written in RON.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    FoldBatchNorm,
    Group(Group),
    Place(Place),
    Calibrate(Calibrate),
    QuantizeBias,
    Check,
    Export(Export),
}

/// Passes in order, and the policy of their target.
pub struct Pipeline {
    policy: Policy,
    passes: Vec<Box<dyn Pass>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("target", &self.policy.name)
            .field("passes", &self.names().collect::<Vec<_>>())
            .finish()
    }
}

impl Pipeline {
    /// A pipeline of passes that exist already, one's own among them.
    ///
    /// # Errors
    ///
    /// `MissingStep` where a pass requires what no earlier one provides.
    pub fn new(policy: Policy, passes: Vec<Box<dyn Pass>>) -> Result<Pipeline, RecipeError> {
        let mut left: BTreeSet<Fact> = BTreeSet::new();
        for pass in &passes {
            if let Some(fact) = pass.requires().iter().find(|fact| !left.contains(*fact)) {
                let (pass, step) = (pass.name().to_owned(), fact.provided_by());
                return Err(RecipeError::MissingStep { pass, step });
            }
            left.extend(pass.provides());
        }
        Ok(Pipeline { policy, passes })
    }

    /// Reads a pipeline.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place and a suggestion, `UnknownName` for a target there is not,
    /// `MissingStep` for an order that cannot work.
    pub fn parse(text: &str) -> Result<Pipeline, RecipeError> {
        let options = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::UNWRAP_VARIANT_NEWTYPES)
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let wire: Wire = options.from_str(text).map_err(RecipeError::from_ron)?;
        let boxed = |step| -> Box<dyn Pass> {
            match step {
                Step::FoldBatchNorm => Box::new(FoldBatchNorm),
                Step::Group(pass) => Box::new(pass),
                Step::Place(pass) => Box::new(pass),
                Step::Calibrate(pass) => Box::new(pass),
                Step::QuantizeBias => Box::new(QuantizeBias),
                Step::Check => Box::new(Check),
                Step::Export(pass) => Box::new(pass),
            }
        };
        let passes = wire.passes.into_iter().map(boxed).collect();
        Pipeline::new(Policy::preset(&wire.target)?, passes)
    }

    /// The names of the passes in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.passes.iter().map(|pass| pass.name())
    }

    /// Runs all passes on a model.
    ///
    /// # Errors
    ///
    /// That of the first pass that fails.
    pub fn run(&self, model: marquetry_ir::Model, cx: &Context<'_>) -> Result<State, PassError> {
        let mut state = State::new(model, self.policy.clone());
        for pass in &self.passes {
            let summary = pass.run(&mut state, cx)?;
            state.summaries.push(summary);
        }
        Ok(state)
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
        assert!(message.contains("no `Grop`"), "{message}");
        assert_eq!(hint, "did you mean `Group`?");
    }

    #[test]
    fn a_pipeline_that_cannot_work_is_refused() {
        let (message, _) = error("Pipeline(passes: [Group(), Calibrate()])");
        assert_eq!(message, "`Calibrate` needs a `Place` before it");
        let (message, _) = error("Pipeline(target: \"ort-gpu\", passes: [])");
        assert_eq!(message, "there is no target `ort-gpu`");
    }
}
