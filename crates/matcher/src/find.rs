use marquetry_ir::Model;
use marquetry_ir::infer::Types;
use marquetry_pattern::core::Pattern;

use crate::found::{Exhausted, Matches, Miss};
use crate::index::{Index, function_types};
use crate::plan::Plan;
use crate::search::{Outcome, Search};

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Steps after which the search at one anchor for one pattern is given up, and reported.
    pub steps: u32,
    /// Whether to keep why there is no match, for each anchor where there is none.
    pub misses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 10_000, misses: false }
    }
}

/// All matches of the patterns in the main graph, in all bodies of control flow and in all function
/// bodies: for each pattern and each value where its first output can stand, the first match in the
/// order of the language.
///
/// `types` are those of the model, from [`marquetry_ir::infer::run`].
pub fn find<'p>(
    model: &Model,
    types: &Types,
    patterns: impl IntoIterator<Item = &'p Pattern>,
    options: &Options,
) -> Matches {
    let functions = function_types(model);
    let index = Index::new(model, types, &functions);
    let mut matches = Matches { places: index.places.clone(), ..Matches::default() };
    for (pattern, core) in patterns.into_iter().enumerate() {
        let plan = Plan::new(core, &index);
        search(&index, pattern, &plan, options, &mut matches);
    }
    matches
}

/// Adds the matches of one pattern.
pub(crate) fn search(
    index: &Index<'_>,
    pattern: usize,
    plan: &Plan<'_>,
    options: &Options,
    matches: &mut Matches,
) {
    let core = plan.pattern;
    let Some(&root) = core.roots.first() else { return };
    let admitted: Vec<bool> = index.graphs().map(|graph| plan.admits(&graph.opsets)).collect();
    let mut search = Search::new(index, plan);
    for node in plan.anchors(index) {
        let place = index.place(node);
        if !admitted[place.index()] {
            continue;
        }
        for &value in index.outputs(node).iter().flatten() {
            if !plan.can_be(index, root, value) {
                continue;
            }
            match search.run(value, options.steps) {
                Outcome::Hit(found) => matches.matches.push(crate::Match { pattern, ..*found }),
                Outcome::Exhausted => {
                    let anchor = index.id(node);
                    matches.exhausted.push(Exhausted { pattern, place, anchor });
                }
                Outcome::Miss(Some(failure)) if options.misses => {
                    let anchor = index.id(node);
                    let within = |value| index.id_within(value, place);
                    matches.misses.push(Miss {
                        pattern,
                        place,
                        anchor,
                        reason: failure.reason.text(core),
                        span: failure.span,
                        value: failure.value.and_then(within),
                        node: failure.node.map(|node| index.id(node)),
                        nodes: failure.depth.0,
                    });
                }
                Outcome::Miss(_) => {}
            }
        }
    }
}
