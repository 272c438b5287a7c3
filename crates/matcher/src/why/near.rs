//! The nearest misses of a model.

use marquetry_ir::NodeId;
use marquetry_pattern::core::{ExprKind, Pattern};
use rayon::prelude::*;

use super::edit::Suggestion;
use super::{Explanation, Near, Why};
use crate::found::{Match, PlaceId};
use crate::index::{Index, NodeRow};
use crate::plan::{Plan, children};
use crate::search::{Attempt, Outcome, Search, Tried};

/// What share of a spelling must have matched for a near miss. Less, and every multiplication almost is an
/// activation; more, and what fails early in a long pattern is never seen.
const NEAR: (usize, usize) = (2, 5);

/// Steps for one pattern among several, over all places: a large model repeats itself, and what fails there
/// fails in its first layers already.
const TOGETHER: u64 = 1_000_000;

/// How a pattern fares on a model.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Places where it matches.
    pub matches: usize,
    /// Places where it almost does, the nearest first.
    pub misses: Vec<NearMiss>,
    /// Anchors where the search was given up.
    pub exhausted: usize,
}

/// A place where a pattern almost matches.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// How it stopped.
    pub explanation: Explanation,
    /// Further places with the same reason at the same part of the pattern: their anchors.
    pub also: Vec<(PlaceId, NodeId)>,
    /// A change that was tried and matches here.
    pub suggestion: Option<Suggestion>,
}

/// The nearest misses of several patterns.
#[derive(Clone, Debug, Default)]
pub struct NearestOf {
    /// The number of a pattern, and a place where it almost matches.
    pub misses: Vec<(usize, NearMiss)>,
    /// Patterns that were not tried at every place, because there are too many.
    pub partly: usize,
}

/// How a pattern fares, in rows of an index.
struct Survey {
    sites: usize,
    kinds: Vec<(Near, Vec<(PlaceId, NodeId)>)>,
    exhausted: usize,
    /// Whether there were too many places for all of them.
    partly: bool,
}

impl Why<'_> {
    /// The nearest misses over the model, at most `most` kinds of them: those that matched a
    /// good part of a spelling, by how much they matched.
    pub fn nearest(&self, pattern: &Pattern, most: usize) -> Nearest {
        let index = self.index();
        let plan = Plan::new(pattern, &index);
        let Survey { sites, kinds, exhausted, .. } = self.survey(&index, &plan, most, u64::MAX);
        let misses = kinds.into_iter().map(|(near, also)| {
            let suggestion = self.best_change(&index, &plan, &near, sites);
            NearMiss { explanation: self.explained(&index, &plan, &near, false), also, suggestion }
        });
        let misses = misses.collect();
        Nearest { matches: sites, misses, exhausted }
    }

    /// The nearest misses of several patterns, at most `kinds` of each and `most` together, each with the
    /// number of its pattern: by the part of the equations that holds, and of equal ones the longer.
    /// Misses of which no equation holds are left out. What this takes is bounded: in a large model, a
    /// pattern that gets far in many places is tried in the first of them. The patterns share the current
    /// rayon pool; the result does not depend on how many threads there are.
    pub fn nearest_of(&self, patterns: &[Pattern], kinds: usize, most: usize) -> NearestOf {
        struct Found {
            pattern: usize,
            sites: usize,
            near: Near,
            also: Vec<(PlaceId, NodeId)>,
            explanation: Explanation,
        }
        let index = self.index();
        let of_each = patterns.par_iter().enumerate().map(|(pattern, it)| {
            let plan = Plan::new(it, &index);
            let Survey { sites, kinds, partly, .. } = self.survey(&index, &plan, kinds, TOGETHER);
            let found = kinds.into_iter().map(|(near, also)| {
                let explanation = self.explained(&index, &plan, &near, false);
                Found { pattern, sites, near, also, explanation }
            });
            let found = found.filter(|found| found.explanation.satisfied().0 > 0);
            (found.collect::<Vec<_>>(), partly)
        });
        // One at a time: some take much longer than others.
        let of_each: Vec<(Vec<Found>, bool)> = of_each.with_max_len(1).collect();
        let partly = of_each.iter().filter(|(_, partly)| *partly).count();
        let mut found: Vec<Found> = of_each.into_iter().flat_map(|(found, _)| found).collect();
        // The sort is stable.
        found.sort_by(|a, b| {
            let (a, b) = (a.explanation.satisfied(), b.explanation.satisfied());
            (b.0 * a.1).cmp(&(a.0 * b.1)).then(b.1.cmp(&a.1))
        });
        found.truncate(most);
        // Trying changes takes longest: only for those that are told.
        let told =
            found.into_par_iter().map(|Found { pattern, sites, near, also, explanation }| {
                let plan = Plan::new(&patterns[pattern], &index);
                let suggestion = self.best_change(&index, &plan, &near, sites);
                (pattern, NearMiss { explanation, also, suggestion })
            });
        NearestOf { misses: told.with_max_len(1).collect(), partly }
    }

    /// Searches everywhere, as far as the steps go, and puts attempts that stopped for the same reason together.
    fn survey(&self, index: &Index<'_>, plan: &Plan<'_>, most: usize, steps: u64) -> Survey {
        let pattern = plan.pattern;
        let mut search = Search::new(index, plan);
        let (mut matches, mut attempts, mut exhausted) = (Vec::new(), Vec::new(), 0);
        let admitted: Vec<bool> = index.graphs().map(|graph| plan.admits(&graph.opsets)).collect();
        let mut left = steps;
        for node in plan.anchors(index) {
            if left == 0 {
                break;
            }
            if !admitted[index.place(node).index()] {
                continue;
            }
            for &root in index.outputs(node).iter().flatten() {
                if !plan.can_be(index, pattern.roots[0], root) {
                    continue;
                }
                let (outcome, mut trace) = search.run_traced(root, self.steps, None, false);
                left = left.saturating_sub(u64::from(self.steps - search.left()));
                match outcome {
                    Outcome::Hit(found) => matches.push(*found),
                    outcome => {
                        exhausted += usize::from(matches!(outcome, Outcome::Exhausted));
                        let near = trace.best.take().filter(|attempt| is_near(pattern, attempt));
                        attempts.extend(near.map(|attempt| Near { attempt, trace }));
                    }
                }
            }
        }
        let mut owned = vec![false; index.node_count()];
        for found in &matches {
            let rows = found.nodes.iter().filter_map(|node| index.node_row(found.place, *node));
            rows.for_each(|row| owned[row.index()] = true);
        }
        let mut kinds: Vec<(Near, Vec<(PlaceId, NodeId)>)> = Vec::new();
        attempts.sort_by_key(|near| std::cmp::Reverse(near.attempt.rank));
        for near in attempts {
            let rows: Vec<NodeRow> = near.attempt.nodes.iter().map(|(row, _)| *row).collect();
            // Another root of the same would-be match, or a part of a real one.
            if rows.iter().any(|row| owned[row.index()]) {
                continue;
            }
            rows.iter().for_each(|row| owned[row.index()] = true);
            let stop = near.attempt.stop;
            let same = kinds.iter_mut().find(|(other, _)| {
                let other = &other.attempt.stop;
                other.span == stop.span
                    && std::mem::discriminant(&other.reason) == std::mem::discriminant(&stop.reason)
            });
            match same {
                Some((_, also)) => {
                    let anchor = index.producer(near.attempt.root).map(|(node, _)| node);
                    also.extend(anchor.map(|node| (index.place(node), index.id(node))));
                }
                None => kinds.push((near, Vec::new())),
            }
        }
        kinds.truncate(most);
        Survey { sites: matched_sites(&matches), kinds, exhausted, partly: left == 0 }
    }

    fn best_change(
        &self,
        index: &Index<'_>,
        plan: &Plan<'_>,
        near: &Near,
        sites: usize,
    ) -> Option<Suggestion> {
        let focus = near.attempt.nodes.first().map(|(node, _)| *node);
        self.changes(index, plan, near, focus, None, sites).into_iter().next()
    }
}

/// Matches that are not parts of others.
pub(super) fn matched_sites(matches: &[Match]) -> usize {
    let mut order: Vec<&Match> = matches.iter().collect();
    order.sort_by_key(|found| (std::cmp::Reverse(found.nodes.len()), found.place, found.order));
    let mut owned: Vec<(PlaceId, NodeId)> = Vec::new();
    let mut taken = std::collections::BTreeSet::new();
    let mut sites = 0;
    for found in order {
        owned.clear();
        owned.extend(found.nodes.iter().map(|node| (found.place, *node)));
        if owned.iter().all(|node| !taken.contains(node)) {
            taken.extend(owned.iter().copied());
            sites += 1;
        }
    }
    sites
}

/// Whether enough of the spelling that was tried has matched.
fn is_near(pattern: &Pattern, attempt: &Attempt) -> bool {
    let whole = whole(pattern, attempt);
    attempt.rank.nodes >= whole.min(2) && NEAR.1 * attempt.rank.nodes >= NEAR.0 * whole
}

/// The fewest nodes of the spelling that an attempt tried.
fn whole(pattern: &Pattern, attempt: &Attempt) -> usize {
    let mut seen = vec![false; pattern.exprs.len()];
    let definitions = &pattern.var(pattern.roots[0]).definitions;
    let mut definitions = definitions.iter().filter(|at| attempt.holds[at.scope.index()]);
    definitions.next().map_or(1, |at| fewest(pattern, attempt, at.expr.index(), &mut seen)).max(1)
}

fn fewest(pattern: &Pattern, attempt: &Attempt, expr: usize, seen: &mut Vec<bool>) -> usize {
    if std::mem::replace(&mut seen[expr], true) {
        return 0;
    }
    let kind = &pattern.exprs[expr].kind;
    match kind {
        ExprKind::Alt(alt) => {
            let taken = attempt.taken.iter().rev().find_map(|tried| match tried {
                Tried::Branch { alt, branch, .. } if alt.index() == expr => Some(*branch),
                _ => None,
            });
            match taken {
                Some(branch) => fewest(pattern, attempt, alt.branches[branch].expr.index(), seen),
                None => {
                    let each = alt.branches.iter().map(|branch| {
                        fewest(pattern, attempt, branch.expr.index(), &mut seen.clone())
                    });
                    each.min().unwrap_or(0)
                }
            }
        }
        ExprKind::Var(var) => {
            let definitions = pattern.var(*var).definitions.iter();
            let holding = definitions.filter(|at| attempt.holds[at.scope.index()]);
            let exprs: Vec<usize> = holding.map(|at| at.expr.index()).collect();
            exprs.into_iter().map(|expr| fewest(pattern, attempt, expr, seen)).sum()
        }
        ExprKind::Optional(_) => 0,
        ExprKind::Repeat(repeat) => fewest(pattern, attempt, repeat.last.index(), seen),
        _ => {
            let mut inner = Vec::new();
            children(kind, |child| inner.push(child.index()));
            let own = match kind {
                ExprKind::Op(_) => 1,
                ExprKind::Chain(chain) => chain.operands.len().max(2) - 1,
                _ => 0,
            };
            let below = inner.into_iter().map(|child| fewest(pattern, attempt, child, seen));
            own + below.sum::<usize>()
        }
    }
}
