//! Replaces what was found: rules, and the meanings of patterns.
//!
//! ```text
//! matches ─order, overlaps─► accepted ─build─► sketches (typed, checked) ─apply─► graph
//! ```
//!
//! Everything is planned before anything is touched: a sketch is a graph of its own, in which types
//! are inferred and constants are folded. A replacement whose outputs would have another type is
//! refused, and the graph stays as it was. Outputs are redefined: the old value keeps its identity, its
//! name and its place among the outputs of the graph.
//!
//! Matches are accepted in rounds. In one round all matches are of the same graph and share no node;
//! the next round looks again. A node that a rule built is matched by this rule again only in a fixpoint,
//! and there only if its [measure](marquetry_pattern::measure) decreases or within the bound that it says.

mod accept;
mod apply;
mod build;
mod emit;
mod expand;
mod extract;
mod inline;
mod literal;
mod names;
mod outline;
mod plan;
mod refusal;
mod sketch;

use marquetry_ir::infer::Types;
use marquetry_ir::{Evaluate, Graph, Model, NodeId};
use marquetry_pattern::core::Pattern;

use self::accept::Session;
pub use self::outline::DOMAIN;
pub use self::refusal::Refusal;
use crate::found::{Match, Matches, PlaceId};
use crate::index::{Index, function_types};
use crate::plan::Plan;

/// What to do at a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Builds the right side of a rule, `~>`.
    Rule,
    /// Builds the meaning of a pattern, `equals`.
    Fuse,
    /// Writes the operator that is the meaning of a pattern out as the body of the pattern, and calls of
    /// functions that [`Outline`](Way::Outline) made of it: the way back.
    Expand,
    /// Calls a function of the model whose body is what was matched; not where one node is all there is.
    Outline,
}

/// One thing to apply.
#[derive(Clone, Copy, Debug)]
pub struct Step<'p> {
    /// A pattern or a rule.
    pub pattern: &'p Pattern,
    /// What to do where it matches.
    pub way: Way,
}

/// How often rules are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// In one pass: what the pass built is not matched again.
    Once,
    /// Until nothing matches any more.
    Fixpoint,
}

/// Looks at each replacement before it is applied.
pub trait VerifyEach {
    /// Whether what was matched and what is to replace it compute the same. Both have the same inputs
    /// and outputs, in order, and hold the constants of the model.
    ///
    /// # Errors
    ///
    /// What is not the same: the replacement is refused.
    fn verify(&self, step: Step<'_>, before: &Graph, after: &Graph) -> Result<Checked, String>;

    /// Whether what could not be compared is refused as well.
    fn is_strict(&self) -> bool {
        false
    }
}

/// What a look at a replacement that was not refused showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Both sides were run and agree.
    Same,
    /// They could not be compared: why.
    NotCompared(String),
}

/// How to rewrite.
#[derive(Clone, Copy)]
pub struct RewriteOptions<'a> {
    /// How often.
    pub until: Until,
    /// Steps after which the search at one anchor is given up, as in [`Options`](crate::Options).
    pub steps: u32,
    /// Looks at each replacement, if given.
    pub verify: Option<&'a dyn VerifyEach>,
    /// Replacements after which rewriting is given up.
    pub limit: usize,
}

impl Default for RewriteOptions<'_> {
    fn default() -> Self {
        Self { until: Until::Once, steps: 10_000, verify: None, limit: 1_000_000 }
    }
}

/// What was done to a model.
#[derive(Clone, Debug, Default)]
pub struct Rewritten {
    /// Replacements, in the order in which they were made.
    pub applied: Vec<Applied>,
    /// Matches that were not replaced, each once.
    pub refused: Vec<Refused>,
    /// Names of patterns whose search was given up somewhere, each once.
    pub exhausted: Vec<String>,
    /// How many nodes the model had, bodies and functions included.
    pub nodes_before: usize,
    /// How many it has.
    pub nodes_after: usize,
}

/// One replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The name of the rule or pattern.
    pub pattern: String,
    /// What was done.
    pub way: Way,
    /// The name of the first output.
    pub output: String,
    /// How many nodes were matched.
    pub matched: usize,
    /// How many nodes were built.
    pub built: usize,
    /// What [`VerifyEach`] showed, if it was asked.
    pub checked: Option<Checked>,
}

/// A match that was not replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The name of the rule or pattern.
    pub pattern: String,
    /// What was to be done.
    pub way: Way,
    /// The name of the first output.
    pub output: String,
    /// Why not.
    pub reason: Refusal,
}

/// Why a model was not rewritten at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A step asks for what its pattern does not have.
    #[error("`{pattern}` has no `{missing}`")]
    NothingToBuild {
        /// The pattern.
        pattern: String,
        /// `~>` or `equals`.
        missing: &'static str,
    },
    /// The replacements did not come to an end.
    #[error("rewriting was given up after {limit} replacements, the last one by `{pattern}`")]
    Limit {
        /// How many.
        limit: usize,
        /// The rule that was applied last.
        pattern: String,
    },
}

impl RewriteError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingToBuild { .. } => "nothing_to_build",
            Self::Limit { .. } => "rewrite_limit",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NothingToBuild { pattern, missing } => {
                format!("give `{pattern}` an `{missing}`, or leave it out")
            }
            Self::Limit { pattern, .. } => {
                format!("see whether another rule undoes what `{pattern}` does")
            }
        }
    }
}

/// Applies steps to a model: what is to be expanded first, then rules, then fusions, then
/// functions, each group to its end. Within a group, rules
/// are applied in topological order of their anchors, then by priority, size and the order of the steps;
/// fusions by priority, then size, so that a large pattern is not broken up by a small one.
///
/// What is refused is in the result, and the model is as it was there.
///
/// # Errors
///
/// When a step has nothing to build, or when the limit is exceeded; the model may have been changed
/// then, and is still valid.
pub fn rewrite(
    model: &mut Model,
    steps: &[Step<'_>],
    evaluate: &dyn Evaluate,
    options: &RewriteOptions<'_>,
) -> Result<Rewritten, RewriteError> {
    for step in steps {
        step.right_side()?;
    }
    let mut session = Session::new(model, steps, evaluate, options);
    for way in [Way::Expand, Way::Rule, Way::Fuse, Way::Outline] {
        while session.round(model, way)? {}
    }
    Ok(session.finish(model))
}

/// What replacing one match did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Names of the results of the nodes that were built.
    pub built: Vec<String>,
}

/// Replaces one match of a pattern. `matches` and `found` are of this very model, and `types` are its
/// types.
///
/// # Errors
///
/// Why the match cannot be replaced; the model is as it was then.
///
/// # Panics
///
/// When `found` is of another model.
pub fn replace(
    model: &mut Model,
    types: &Types,
    matches: &Matches,
    found: &Match,
    step: Step<'_>,
    evaluate: &dyn Evaluate,
) -> Result<Replaced, Refusal> {
    let mut edit = {
        let functions = function_types(model);
        let index = Index::new(model, types, &functions);
        let plan = Plan::new(step.pattern, &index);
        let planner = plan::Planner { index: &index, evaluate, verify: None, steps: 10_000 };
        planner.plan(&plan, found, step)?
    };
    if let Some(function) = &mut edit.function {
        function.name = outline::Outlined::of(model).name(function, &edit.pattern);
        edit.sketch.call(&function.name);
    }
    let mut names = names::Names::of(model);
    let done = accept::apply_all(model, &matches.places, found.place, &[&edit], &mut names);
    let built = done.into_iter().flatten().flat_map(|done| done.built).collect();
    Ok(Replaced { built })
}

impl Step<'_> {
    fn right_side(&self) -> Result<(), RewriteError> {
        let (there, missing) = match self.way {
            Way::Rule => (self.pattern.replacement.is_some(), "~>"),
            Way::Fuse => (self.pattern.equals.is_some(), "equals"),
            Way::Outline | Way::Expand => return Ok(()),
        };
        if there {
            return Ok(());
        }
        Err(RewriteError::NothingToBuild { pattern: self.pattern.name.clone(), missing })
    }
}

/// How many nodes a model has, bodies and functions included.
fn count(model: &Model) -> usize {
    fn within(graph: &Graph) -> usize {
        let nodes: Vec<NodeId> = graph.nodes().collect();
        let bodies = nodes.iter().flat_map(|node| graph.node(*node).bodies());
        nodes.len() + bodies.map(within).sum::<usize>()
    }
    let functions = model.functions.iter().map(|function| within(&function.body));
    within(&model.graph) + functions.sum::<usize>()
}

/// A graph of a model, as a way from one that the model owns.
struct Path {
    /// The position of the function, if it is not below the main graph.
    function: Option<usize>,
    /// Nodes that hold a body, and which, from the outside in.
    bodies: Vec<(NodeId, usize)>,
}

impl Path {
    fn new(places: &[crate::Place], place: PlaceId) -> Self {
        let mut bodies = Vec::new();
        let mut at = place;
        let function = loop {
            match places[at.index()] {
                crate::Place::Main => break None,
                crate::Place::Function(function) => break Some(function),
                crate::Place::Body { parent, node, body } => {
                    bodies.push((node, body));
                    at = parent;
                }
            }
        };
        bodies.reverse();
        Self { function, bodies }
    }

    /// Changes the graph, and then finds anew what bodies on the way capture.
    fn edit(&self, model: &mut Model, mut edit: impl FnMut(&mut Graph)) {
        let graph = match self.function {
            None => &mut model.graph,
            Some(function) => &mut model.functions[function].body,
        };
        descend(graph, &self.bodies, &mut edit);
    }
}

fn descend(graph: &mut Graph, path: &[(NodeId, usize)], edit: &mut dyn FnMut(&mut Graph)) {
    let Some((&(node, wanted), rest)) = path.split_first() else {
        edit(graph);
        return;
    };
    let mut at = 0;
    graph.edit_bodies(node, |body| {
        if at == wanted {
            descend(body, rest, edit);
        }
        at += 1;
    });
}
