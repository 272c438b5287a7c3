//! What a search leaves behind when it is to be explained: the attempt that came nearest, and where
//! each alternative stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use marquetry_pattern::Span;
use marquetry_pattern::core::{ChoiceId, ExprId, ExprKind, VarId};

use super::{Alternatives, Goal, Outcome, Reason, Search, State, Undo};
use crate::datum::Datum;
use crate::index::{NodeRow, ValueRow};

/// Where and why an attempt stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) reason: Reason,
    /// The expression that did not match; none for conditions on the whole.
    pub(crate) expr: Option<ExprId>,
    pub(crate) span: Span,
    pub(crate) value: Option<ValueRow>,
    /// The node that was matched last, with what it matched.
    pub(crate) last: Option<(NodeRow, ExprId)>,
}

/// How near an attempt came; the largest is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// The node that was asked about takes part.
    touches: bool,
    pub(crate) nodes: usize,
    /// Equations that matched.
    pub(crate) equations: usize,
    /// How much like what was wanted the last thing was.
    closeness: u8,
    steps: usize,
}

/// An alternative that was tried at a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tried {
    Branch { alt: ExprId, at: Option<ValueRow>, branch: usize },
    Scope { choice: ChoiceId, branch: usize },
}

/// The state of a search where it stopped.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) rank: Rank,
    pub(crate) stop: Stop,
    /// Expressions that stopped at the same value in the same state: together they say what would
    /// have been right there.
    pub(crate) others: Vec<Stop>,
    pub(crate) root: ValueRow,
    pub(crate) bindings: Vec<Option<Datum>>,
    pub(crate) holds: Vec<bool>,
    /// By constraint of the plan.
    pub(crate) settled: Vec<bool>,
    /// Matched nodes with the expressions that they matched.
    pub(crate) nodes: Vec<(NodeRow, ExprId)>,
    pub(crate) satisfied: Vec<ExprId>,
    /// Alternatives that were open or done.
    pub(crate) taken: Vec<Tried>,
}

/// What a traced search keeps.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The node asked about, and those little above it.
    focus: Vec<NodeRow>,
    root: ValueRow,
    /// Whether to keep where each alternative stopped.
    detailed: bool,
    /// Beside the nodes of the search: what matched them.
    pub(super) matched: Vec<ExprId>,
    pub(super) satisfied: Vec<ExprId>,
    pub(crate) best: Option<Attempt>,
    /// For each alternative, where it came nearest.
    pub(crate) tried: BTreeMap<Tried, Arc<Attempt>>,
}

impl Search<'_, '_, '_> {
    /// Searches as [`run`](Search::run) does, and keeps why it failed. `focus` is the node asked about;
    /// `detailed` keeps where each alternative stopped, too.
    pub(crate) fn run_traced(
        &mut self,
        value: ValueRow,
        steps: u32,
        focus: Option<NodeRow>,
        detailed: bool,
    ) -> (Outcome, Trace) {
        self.trace = Some(Box::new(Trace {
            focus: focus.map(|node| self.above(node)).unwrap_or_default(),
            root: value,
            detailed,
            matched: Vec::new(),
            satisfied: Vec::new(),
            best: None,
            tried: BTreeMap::new(),
        }));
        let outcome = self.run(value, steps);
        let trace = self.trace.take().expect("it was put there before the search");
        (outcome, *trace)
    }

    pub(super) fn satisfy(&mut self, expr: ExprId) {
        if let Some(trace) = &mut self.trace {
            trace.satisfied.push(expr);
            self.trail.push(Undo::Satisfied);
        }
    }

    pub(super) fn trace_failure(&mut self, mut stop: Stop) {
        let Some(mut trace) = self.trace.take() else { return };
        stop.last = self.nodes.last().copied().zip(trace.matched.last().copied());
        let rank = self.rank(&trace, &stop);
        if trace.detailed {
            let taken = self.taken();
            let nearer =
                |tried: &&Tried| trace.tried.get(tried).is_none_or(|known| rank > known.rank);
            let nearer: Vec<Tried> = taken.iter().filter(nearer).copied().collect();
            if !nearer.is_empty() {
                let attempt = Arc::new(self.attempt(&trace, rank, stop));
                let each = nearer.into_iter().map(|tried| (tried, Arc::clone(&attempt)));
                trace.tried.extend(each);
            }
        }
        let nearest = trace.best.as_ref().map(|best| best.rank);
        if nearest.is_none_or(|nearest| rank > nearest) {
            trace.best = Some(self.attempt(&trace, rank, stop));
        } else if let Some(best) = &mut trace.best
            && rank.nodes == best.rank.nodes
            && stop.value.is_some()
            && stop.value == best.stop.value
            && stop != best.stop
            && !best.others.contains(&stop)
        {
            best.others.push(stop);
        }
        self.trace = Some(trace);
    }

    /// A node and those that read its results, a few steps up: an attempt that stops there stops because
    /// of what it found instead of the node.
    fn above(&self, node: NodeRow) -> Vec<NodeRow> {
        let mut found = vec![node];
        let mut edge = 0..1;
        for _ in 0..2 {
            for at in edge.clone() {
                for &value in self.index.outputs(found[at]).iter().flatten() {
                    for &user in self.index.users(value).iter().take(8) {
                        if !found.contains(&user) {
                            found.push(user);
                        }
                    }
                }
            }
            edge = edge.end..found.len();
        }
        found
    }

    fn rank(&self, trace: &Trace, stop: &Stop) -> Rank {
        let producer = |value: ValueRow| self.index.producer(value).map(|(node, _)| node);
        let stopped = stop.value.and_then(producer);
        let touches = trace.focus.first().is_some_and(|focus| {
            self.matched(*focus) || stopped.is_some_and(|node| trace.focus.contains(&node))
        });
        // What holds of anything says nothing.
        let says = |expr: &&ExprId| {
            let kind = &self.pattern().expr(**expr).kind;
            !matches!(kind, ExprKind::Var(_) | ExprKind::Any) && !self.is_left_out(kind)
        };
        Rank {
            touches,
            nodes: self.nodes.len(),
            equations: trace.satisfied.iter().filter(says).count(),
            closeness: closeness(stop.reason, stop.value, self),
            steps: self.trail.len(),
        }
    }

    /// Whether an alternative is one that may also match nothing but its argument, as `Cast?(x)`.
    fn is_left_out(&self, kind: &ExprKind) -> bool {
        let ExprKind::Alt(alt) = kind else { return false };
        alt.branches
            .iter()
            .any(|branch| matches!(self.pattern().expr(branch.expr).kind, ExprKind::Var(_)))
    }

    fn taken(&self) -> Vec<Tried> {
        let each = self.points.iter().filter_map(|point| match point.kind {
            Alternatives::Branches { alt, at, .. } => {
                Some(Tried::Branch { alt, at, branch: point.next - 1 })
            }
            Alternatives::Scopes { choice, .. } => {
                Some(Tried::Scope { choice, branch: point.next - 1 })
            }
            _ => None,
        });
        each.collect()
    }

    fn attempt(&self, trace: &Trace, rank: Rank, stop: Stop) -> Attempt {
        Attempt {
            rank,
            stop,
            others: Vec::new(),
            root: trace.root,
            bindings: self.bindings.clone(),
            holds: self.holds.clone(),
            settled: self.states.iter().map(|state| *state == State::Settled).collect(),
            nodes: self.nodes.iter().copied().zip(trace.matched.iter().copied()).collect(),
            satisfied: trace.satisfied.clone(),
            taken: self.taken(),
        }
    }
}

/// How much like what was wanted something was: the right kind of thing with another content is nearer
/// than something else altogether.
fn closeness(reason: Reason, value: Option<ValueRow>, search: &Search<'_, '_, '_>) -> u8 {
    let constant = value.is_some_and(|value| search.index.is_constant(value));
    match reason {
        Reason::Operator(_) | Reason::Missing(_) | Reason::NotAbsent => 0,
        Reason::NotScalar | Reason::Different(_) => u8::from(constant),
        Reason::Result | Reason::Inputs | Reason::Leaves(_) | Reason::Type(_) => 1,
        Reason::Attribute(_) | Reason::OtherAttribute => 2,
        Reason::Number(_) | Reason::OtherConstant | Reason::Guard => 3,
        Reason::Unbound(_) | Reason::InputInside(_) | Reason::SameOutput | Reason::NoNode => 3,
        Reason::Escapes | Reason::NotConvex => 4,
    }
}

impl Attempt {
    pub(crate) fn binding(&self, var: VarId) -> Option<&Datum> {
        self.bindings[var.index()].as_ref()
    }
}

// A goal that only a traced search has costs the others nothing but its place in the enumeration.
const _: () = assert!(size_of::<Goal>() <= 72);
