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
use std::path::Path;
use std::time::Instant;

use marquetry_ir::Model;

use crate::Policy;
use crate::journal::Digest;
use crate::pass::{Context, Fact, Pass, PassError, State, Summary};
use crate::recipe::{Recipe, RecipeError, Registry, StepPlaces};

/// Passes in order, and the policy of their target.
pub struct Pipeline {
    policy: Policy,
    passes: Vec<Box<dyn Pass>>,
    /// What every step is called in a journal: its number and name, and a digest of its text and of those
    /// before it. None where no text is known.
    steps: Vec<Option<String>>,
    /// Where every step and its fields stand in the text of the pipeline, where there is a text.
    places: Vec<StepPlaces>,
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
    /// A pipeline of passes that exist already, one's own among them. It keeps nothing in a journal,
    /// because nobody knows what the passes were told.
    ///
    /// # Errors
    ///
    /// `MissingStep` where a pass requires what no earlier one provides, `LateStep` where an earlier one
    /// provides what it has to come before, and where it decides something that no `Export` behind it writes.
    pub fn new(policy: Policy, passes: Vec<Box<dyn Pass>>) -> Result<Pipeline, RecipeError> {
        let mut left: BTreeSet<Fact> = BTreeSet::new();
        for (at, pass) in passes.iter().enumerate() {
            if let Some(&fact) = pass.requires().iter().find(|fact| !left.contains(*fact)) {
                let later =
                    passes.iter().skip(at).position(|later| later.provides().contains(&fact));
                return Err(RecipeError::MissingStep {
                    pass: pass.name().to_owned(),
                    index: at,
                    step: fact.provided_by(),
                    later: later.map(|behind| at + behind),
                    places: Vec::new(),
                });
            }
            let mut before = passes[..at].iter();
            let late = |fact| pass.precedes().contains(fact);
            if let Some(earlier) = before.position(|pass| pass.provides().iter().any(late)) {
                return Err(RecipeError::LateStep {
                    pass: pass.name().to_owned(),
                    index: at,
                    step: passes[earlier].name().to_owned(),
                    earlier,
                    places: Vec::new(),
                });
            }
            left.extend(pass.provides());
        }
        // What is decided behind the last export is in no file.
        let exports = passes.iter().rposition(|pass| pass.name() == "Export");
        let decides = |pass: &dyn Pass| !pass.provides().is_empty() || !pass.precedes().is_empty();
        if let Some(export) = exports
            && let Some(behind) = passes[export..].iter().position(|pass| decides(&**pass))
        {
            return Err(RecipeError::LateStep {
                pass: passes[export + behind].name().to_owned(),
                index: export + behind,
                step: "Export".to_owned(),
                earlier: export,
                places: Vec::new(),
            });
        }
        let steps = vec![None; passes.len()];
        Ok(Pipeline { policy, passes, steps, places: Vec::new() })
    }

    /// With the text of every pass, by which a journal knows it again.
    pub(crate) fn with_texts(mut self, texts: &[String]) -> Pipeline {
        let mut digest = Digest::new();
        for (at, (step, text)) in self.steps.iter_mut().zip(texts).enumerate() {
            digest.add(text.as_bytes());
            digest.add(&[0]);
            let digest = digest.finish();
            let short = digest.rsplit(':').next().unwrap_or_default();
            *step = Some(format!("{:02}-{}-{short}", at + 1, self.passes[at].name()));
        }
        self
    }

    /// Reads a pipeline of built-in passes.
    ///
    /// # Errors
    ///
    /// `Syntax` with the place and a suggestion, `UnknownName` for a target there is not,
    /// `MissingStep` and `LateStep` for an order that cannot work.
    pub fn parse(text: &str) -> Result<Pipeline, RecipeError> {
        Pipeline::parse_with(text, &Registry::builtin())
    }

    /// Reads a pipeline of built-in passes and of those that were registered.
    ///
    /// # Errors
    ///
    /// Those of [`Pipeline::parse`].
    pub fn parse_with(text: &str, registry: &Registry) -> Result<Pipeline, RecipeError> {
        let (recipe, places) = Recipe::read(text, registry)?;
        let own = || places.iter().map(|step| step.own).collect();
        let pipeline = recipe.pipeline().map_err(|error| error.placed(own()))?;
        Ok(Pipeline { places, ..pipeline })
    }

    /// With the places of fields in a text in RON that has the same steps, for errors.
    #[must_use]
    pub fn told_from(self, text: &str) -> Pipeline {
        match Recipe::read(text, &Registry::builtin()) {
            Ok((recipe, places)) if recipe.passes.len() == self.passes.len() => {
                Pipeline { places, ..self }
            }
            _ => self,
        }
    }

    /// The names of the passes in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.passes.iter().map(|pass| pass.name())
    }

    /// The passes in order.
    pub fn passes(&self) -> impl Iterator<Item = &dyn Pass> {
        self.passes.iter().map(|pass| &**pass)
    }

    /// What the target wants.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Refuses parameters that make no sense whatever the model; [`Pipeline::run`] and
    /// [`Pipeline::forecast`] begin with it.
    ///
    /// # Errors
    ///
    /// `InStep` with the first that is found.
    pub fn check(&self) -> Result<(), PassError> {
        let checked = self.passes.iter().enumerate();
        checked
            .map(|(at, pass)| (at, pass.check(&self.policy)))
            .try_for_each(|(at, checked)| checked.map_err(|error| self.located(at, error)))
    }

    /// An error of a pass with the place of what it was told, if that is to blame.
    pub(crate) fn located(&self, step: usize, error: PassError) -> PassError {
        let blamed = error.blames();
        if blamed.is_empty() {
            return error;
        }
        let places = self.places.get(step);
        let place = places.and_then(|places| places.first(blamed).or(Some(places.own)));
        PassError::InStep { step, place, source: Box::new(error) }
    }

    /// Files that its passes read.
    pub fn reads(&self) -> Vec<&Path> {
        self.passes.iter().flat_map(|pass| pass.reads()).collect()
    }

    /// Runs all passes on a model; one may end the pipeline early, which [`State::paused`] says.
    ///
    /// # Errors
    ///
    /// That of the first pass that fails.
    pub fn run(&self, model: Model, cx: &Context<'_>) -> Result<State, PassError> {
        self.check()?;
        let mut state = State::new(model, self.policy.clone());
        for (at, (pass, step)) in self.passes.iter().zip(&self.steps).enumerate() {
            cx.go_on()?;
            let began = Instant::now();
            let summary = pass
                .run(&mut state, &cx.at_step(step.as_deref()))
                .map_err(|error| self.located(at, error))?;
            state.summaries.push(Summary { took: began.elapsed(), ..summary });
            if state.paused.as_ref().is_some_and(|paused| !paused.decided) {
                break;
            }
        }
        Ok(state)
    }
}
