//! Whether a pattern is what its meaning says, and a rule's left side what its right side is.
//!
//! Graphs are generated from the pattern, matched by the real matcher and replaced by the real
//! rewriter; both are run and compared. Half of the samples are in `double`, where only the algebra
//! counts; the others in the types of real models, and in `double` as well: a difference that is gone
//! there, and is no larger than that of the left side, is rounding, and agreement that is gone there
//! was too coarse to count. Where rounding alone decides what the left side computes, nothing is
//! compared. Integers and truths are compared exactly, infinities and NaN by position.
//!
//! Sampling is no proof. What was not reached is counted and named, and nothing that was not compared
//! counts as verified. Wrong patterns made on purpose show whether the samples would notice.

mod compare;
mod each;
mod mutate;
mod run;
mod settle;
mod shrink;
mod suggest;
mod trial;
mod values;
mod within;

use std::collections::BTreeMap;

use marquetry_ir::Evaluate;
use marquetry_pattern::Span;
use marquetry_pattern::core::Pattern;
use marquetry_pattern::replacement::Verify;
use rayon::prelude::*;

pub use self::compare::Difference;
pub use self::each::Each;
use self::trial::Trial;
use crate::rewrite::Way;

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Samples for each pattern, at least; a pattern may say so itself.
    pub samples: Option<u64>,
    /// Decides everything that is random.
    pub seed: u64,
    /// Whether to test the samples with wrong patterns.
    pub mutants: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { samples: None, seed: 1, mutants: true }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Every sample agrees.
    Verified,
    /// A sample does not.
    Wrong,
    /// Too little was compared, in words.
    NotVerified(String),
    /// The file says not to, and why.
    Off(String),
    /// There is neither a meaning nor a right side.
    Nothing,
}

/// What is known of a pattern after it was verified.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The name of the pattern.
    pub pattern: String,
    /// What came of it.
    pub status: Status,
    /// Ways to write the body that were compared, and how many were tried.
    pub variants: (usize, usize),
    /// Whether these are all ways there are.
    pub complete: bool,
    /// Comparisons in all.
    pub samples: u64,
    /// Comparisons in `double`, and the largest relative error.
    pub algebra: (u64, f64),
    /// Comparisons in the types of real models, and the largest relative error.
    pub native: (u64, f64),
    /// Comparisons that differ by rounding only.
    pub rounding: u64,
    /// Wrong patterns that were noticed, of how many.
    pub mutants: (usize, usize),
    /// Wrong patterns that were not noticed: where, and what was changed.
    pub survivors: Vec<(Span, String)>,
    /// Alternatives that no comparison took: where, which, and why.
    pub not_reached: Vec<NotReached>,
    /// Why samples were not compared, with how many.
    pub skipped: BTreeMap<String, u64>,
    /// Where both sides differ.
    pub counterexample: Option<Counterexample>,
}

/// An alternative that no comparison took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReached {
    /// Where it is written.
    pub span: Span,
    /// Which one.
    pub what: String,
}

/// A graph on which both sides differ.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What differs.
    pub difference: Difference,
    /// A `test` block that fails as long as the pattern is wrong.
    pub test: String,
    /// Samples that failed, of how many.
    pub failed: (u64, u64),
    /// A condition that removes all failures.
    pub suggestion: Option<String>,
    /// The number of the variant.
    pub variant: usize,
}

/// Verifies a pattern or a rule.
pub fn verify(pattern: &Pattern, evaluate: &dyn Evaluate, options: &VerifyOptions) -> Verdict {
    let mut verdict = Verdict::new(pattern);
    let Some(way) = way(pattern) else {
        verdict.status = Status::Nothing;
        return verdict;
    };
    if let Some(Verify::Off(reason)) = &pattern.verify {
        verdict.status = Status::Off(reason.clone());
        return verdict;
    }
    let trial = Trial { pattern, way, evaluate, seed: options.seed };
    trial.run(options, &mut verdict);
    if options.mutants && verdict.status == Status::Verified {
        trial.mutants(&mut verdict);
    }
    verdict
}

/// Verifies patterns and rules, several at once on the current rayon pool; in the order given.
pub fn verify_all(
    patterns: &[&Pattern],
    evaluate: &(dyn Evaluate + Sync),
    options: &VerifyOptions,
) -> Vec<Verdict> {
    patterns.par_iter().map(|pattern| verify(pattern, evaluate, options)).collect()
}

/// What verification replaces the body by.
fn way(pattern: &Pattern) -> Option<Way> {
    if pattern.replacement.is_some() {
        return Some(Way::Rule);
    }
    pattern.equals.as_ref().map(|_| Way::Fuse)
}

/// The tolerance that a pattern asks for.
fn tolerance(pattern: &Pattern) -> Option<f64> {
    match &pattern.verify {
        Some(Verify::On { tolerance, .. }) => *tolerance,
        _ => None,
    }
}

impl Verdict {
    fn new(pattern: &Pattern) -> Self {
        Self {
            pattern: pattern.name.clone(),
            status: Status::Verified,
            variants: (0, 0),
            complete: false,
            samples: 0,
            algebra: (0, 0.0),
            native: (0, 0.0),
            rounding: 0,
            mutants: (0, 0),
            survivors: Vec::new(),
            not_reached: Vec::new(),
            skipped: BTreeMap::new(),
            counterexample: None,
        }
    }

    fn skip(&mut self, reason: impl Into<String>) {
        *self.skipped.entry(reason.into()).or_default() += 1;
    }
}
