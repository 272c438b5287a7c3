//! Why a pattern does not match: the same search with tracing on, read back in terms of the text.
//!
//! [`Why::explain`] is about one place, [`Why::nearest`] about a whole model, and [`Why::suggest`] tries
//! small changes of the pattern and says which of them match.

mod anchors;
mod describe;
mod edit;
mod lines;
mod locate;
mod near;

use marquetry_ir::infer::Types;
use marquetry_ir::{Model, NodeId, ValueId};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::{Sources, Span};

use crate::found::{Match, PlaceId};
use crate::index::{Index, NodeRow, ValueRow, function_types};
use crate::plan::Plan;
use crate::search::{Attempt, Outcome, Search, Trace};

pub use edit::Suggestion;
pub use locate::{At, Unlocated};
pub use near::{NearMiss, Nearest, NearestOf};

use describe::Describe;
use lines::Layout;

/// Steps that a traced search may take more than another: it does not leave out what is hopeless.
const PATIENCE: u32 = 4;

/// Questions about one model.
///
/// ```
/// use marquetry_ir::{Model, Opsets, infer, text};
/// use marquetry_matcher::{Schemas, why::{Verdict, Why}};
/// use marquetry_pattern::Library;
///
/// let library = Library::parse("p.pat", "pattern P (x) => (y) { y = Relu(Neg(x)) }", &Schemas);
/// let library = library.map_err(|errors| errors[0].fact().to_owned())?;
/// let graph = "g (float[2] x) => (float[2] y) { a = Abs (x) y = Relu (a) }";
/// let graph = text::parse_graph(graph, &Opsets::onnx(17)).map_err(|error| error.to_string())?;
/// let model = Model::new(8, graph);
/// let types = infer::run(&model);
/// let why = Why::new(&model, &types, library.sources());
/// let at = why.locate("op:Relu").map_err(|error| error.to_string())?;
/// let explanation = why.explain(&library.patterns()[0], at);
/// let Verdict::Miss(stop) = explanation.verdict else { unreachable!() };
/// assert_eq!(stop.message, "“a” comes from Abs, not from Neg");
/// # Ok::<(), String>(())
/// ```
pub struct Why<'a> {
    model: &'a Model,
    types: &'a Types,
    sources: &'a Sources,
    functions: Vec<Types>,
    steps: u32,
}

/// What a pattern makes of one place of a model.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The graph.
    pub place: PlaceId,
    /// The node that would compute the first output.
    pub anchor: Option<NodeId>,
    /// The nodes that were matched.
    pub nodes: Vec<NodeId>,
    /// Whether it matches, and if not, where the best attempt stopped.
    pub verdict: Verdict,
    /// Equations and conditions in the order of the text, of the branches that were tried; empty for a
    /// match.
    pub lines: Vec<Line>,
    /// Whether the search was given up before all had been tried.
    pub exhausted: bool,
}

/// Whether a pattern matches.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It does.
    Match(Box<Match>),
    /// It does not.
    Miss(Box<Stop>),
}

/// Where and why the best attempt stopped.
#[derive(Clone, Debug)]
pub struct Stop {
    /// A stable name of the kind of reason.
    pub code: &'static str,
    /// What was not as the pattern asks, with what was found.
    pub message: String,
    /// The part of the pattern; in the text of a definition where it stands in one.
    pub span: Span,
    /// The part of the pattern's own text that leads there.
    pub at: Span,
    /// The value concerned.
    pub value: Option<ValueId>,
    /// The node concerned.
    pub node: Option<NodeId>,
    /// The other alternatives of the same line, and why each of them stopped.
    pub alternatives: Vec<Alternative>,
}

/// An alternative that did not match either.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The alternative.
    pub span: Span,
    /// Why it stopped.
    pub message: String,
}

/// One equation or condition of a pattern.
#[derive(Clone, Debug)]
pub struct Line {
    /// The whole of it.
    pub span: Span,
    /// What became of it.
    pub state: State,
    /// What it matched and bound, in words.
    pub notes: Vec<String>,
    /// Whether it is an equation, not a condition.
    pub equation: bool,
}

/// What became of a line of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Satisfied,
    /// A part of it has matched; the search stopped below it.
    Begun,
    /// The search stopped here.
    Stopped,
    /// The search did not come here.
    NotReached,
}

impl Explanation {
    /// Whether the pattern matches there.
    pub fn is_match(&self) -> bool {
        matches!(self.verdict, Verdict::Match(_))
    }

    /// How many equations hold, of how many.
    pub fn satisfied(&self) -> (usize, usize) {
        let equations = self.lines.iter().filter(|line| line.equation);
        let all = equations.clone().count();
        (equations.filter(|line| line.state == State::Satisfied).count(), all)
    }
}

impl<'a> Why<'a> {
    /// Prepares for questions. `types` are those of the model, `sources` the texts of the patterns.
    pub fn new(model: &'a Model, types: &'a Types, sources: &'a Sources) -> Self {
        let steps = crate::Options::default().steps.saturating_mul(PATIENCE);
        Self { model, types, sources, functions: function_types(model), steps }
    }

    /// Explains what a pattern makes of a place: the match that it is part of, or the attempt that comes
    /// nearest among all roots from which the pattern can reach it.
    pub fn explain(&self, pattern: &Pattern, at: At) -> Explanation {
        let index = self.index();
        let plan = Plan::new(pattern, &index);
        let asked = Asked::new(&index, &plan, at, self.steps);
        self.told(&index, &plan, asked)
    }

    fn index(&self) -> Index<'_> {
        Index::new(self.model, self.types, &self.functions)
    }

    fn told(&self, index: &Index<'_>, plan: &Plan<'_>, asked: Asked) -> Explanation {
        let place = asked.place;
        match asked.answer {
            Answer::Match(found) => Explanation {
                place: found.place,
                anchor: Some(found.anchor),
                nodes: found.nodes.clone(),
                verdict: Verdict::Match(found),
                lines: Vec::new(),
                exhausted: false,
            },
            Answer::Miss(near) => self.explained(index, plan, &near, asked.exhausted),
            Answer::Nothing(focus) => {
                let message = "no result of this pattern can be computed from here".to_owned();
                let stop = Stop {
                    code: "unreachable",
                    message,
                    span: plan.pattern.span,
                    at: plan.pattern.span,
                    value: None,
                    node: focus.map(|node| index.id(node)),
                    alternatives: Vec::new(),
                };
                Explanation {
                    place,
                    anchor: None,
                    nodes: Vec::new(),
                    verdict: Verdict::Miss(Box::new(stop)),
                    lines: Vec::new(),
                    exhausted: asked.exhausted,
                }
            }
        }
    }

    fn explained(
        &self,
        index: &Index<'_>,
        plan: &Plan<'_>,
        near: &Near,
        exhausted: bool,
    ) -> Explanation {
        let attempt = &near.attempt;
        let describe = Describe { index, plan, sources: self.sources, attempt: Some(attempt) };
        let layout = Layout::new(plan.pattern, attempt);
        let place = index.value_place(attempt.root);
        let (span, at) = layout.place(plan.pattern, attempt);
        let nodes = attempt.nodes.iter().map(|(node, _)| *node);
        let mut rows: Vec<NodeRow> = nodes.collect();
        rows.sort_unstable();
        rows.dedup();
        let stop = Stop {
            code: attempt.stop.reason.code(),
            message: describe.message(&attempt.stop, &attempt.others),
            span,
            at,
            value: attempt.stop.value.and_then(|value| index.id_within(value, place)),
            node: describe.node_of(&attempt.stop).map(|node| index.id(node)),
            alternatives: layout.alternatives(near, &describe),
        };
        Explanation {
            place,
            anchor: index.producer(attempt.root).map(|(node, _)| index.id(node)),
            nodes: rows.into_iter().map(|row| index.id(row)).collect(),
            verdict: Verdict::Miss(Box::new(stop)),
            lines: layout.lines(plan, attempt, &describe),
            exhausted,
        }
    }
}

/// The attempt that came nearest, with where the alternatives stopped.
struct Near {
    attempt: Attempt,
    trace: Trace,
}

enum Answer {
    Match(Box<Match>),
    Miss(Box<Near>),
    /// No root can reach it.
    Nothing(Option<NodeRow>),
}

/// What came of searching at all roots that can reach a place.
struct Asked {
    place: PlaceId,
    answer: Answer,
    exhausted: bool,
}

impl Asked {
    fn new(index: &Index<'_>, plan: &Plan<'_>, at: At, steps: u32) -> Self {
        let (place, focus, value) = at.rows(index);
        let mut search = Search::new(index, plan);
        let mut best: Option<Near> = None;
        let mut largest: Option<Box<Match>> = None;
        let mut exhausted = false;
        for root in anchors::reaching(index, plan, focus, value) {
            let (outcome, mut trace) = search.run_traced(root, steps, focus, true);
            match outcome {
                Outcome::Hit(found) if is_part(index, &found, focus, value) => {
                    if largest.as_ref().is_none_or(|known| found.nodes.len() > known.nodes.len()) {
                        largest = Some(found);
                    }
                    continue;
                }
                Outcome::Hit(_) => continue,
                Outcome::Exhausted => exhausted = true,
                Outcome::Miss(_) => {}
            }
            let Some(attempt) = trace.best.take() else { continue };
            let nearest = best.as_ref().map(|near| near.attempt.rank);
            if nearest.is_none_or(|nearest| attempt.rank > nearest) {
                best = Some(Near { attempt, trace });
            }
        }
        let answer = match (largest, best) {
            (Some(found), _) => Answer::Match(found),
            (None, Some(near)) => Answer::Miss(Box::new(near)),
            (None, None) => Answer::Nothing(focus),
        };
        Self { place, answer, exhausted }
    }
}

/// Whether what was asked about takes part in a match.
fn is_part(
    index: &Index<'_>,
    found: &Match,
    focus: Option<NodeRow>,
    value: Option<ValueRow>,
) -> bool {
    if let Some(node) = focus {
        return found.place == index.place(node) && found.nodes.contains(&index.id(node));
    }
    let Some(value) = value else { return true };
    index
        .users(value)
        .iter()
        .any(|user| index.place(*user) == found.place && found.nodes.contains(&index.id(*user)))
}
