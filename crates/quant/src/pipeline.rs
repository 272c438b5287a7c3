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
use std::time::Instant;

use crate::Policy;
use crate::pass::{Context, Fact, Pass, PassError, State, Summary};
use crate::recipe::{Recipe, RecipeError};

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
        Recipe::parse(text)?.pipeline()
    }

    /// The names of the passes in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.passes.iter().map(|pass| pass.name())
    }

    /// Runs all passes on a model; one may end the pipeline early, which [`State::paused`] says.
    ///
    /// # Errors
    ///
    /// That of the first pass that fails.
    pub fn run(&self, model: marquetry_ir::Model, cx: &Context<'_>) -> Result<State, PassError> {
        let mut state = State::new(model, self.policy.clone());
        for pass in &self.passes {
            let began = Instant::now();
            let summary = pass.run(&mut state, cx)?;
            state.summaries.push(Summary { took: began.elapsed(), ..summary });
            if state.paused.as_ref().is_some_and(|paused| !paused.decided) {
                break;
            }
        }
        Ok(state)
    }
}
