use marquetry_ir::Model;
use marquetry_ir::infer::Types;
use marquetry_pattern::core::Pattern;
use rayon::prelude::*;

use crate::found::{Exhausted, Matches, Miss};
use crate::index::{Index, NodeRow, ValueRow, function_types};
use crate::plan::Plan;
use crate::search::{Outcome, Search};

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Steps after which the search at one anchor for one pattern is given up, and reported.
    pub steps: u32,
    /// Whether to keep why there is no match, for each anchor where there is none.
    pub misses: bool,
    /// Whether to search exactly as the language is defined, without leaving out what must fail. The
    /// result is the same, later.
    pub plain: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 10_000, misses: false, plain: false }
    }
}

/// Anchors that are searched by one thread in one go.
const TOGETHER: usize = 512;

/// All matches of the patterns in the main graph, in all bodies of control flow and in all function
/// bodies: for each pattern and each value where its first output can stand, the first match in the
/// order of the language.
///
/// `types` are those of the model, from [`marquetry_ir::infer::run`]. Works with the threads of the
/// current rayon pool; the result does not depend on how many there are.
///
/// ```
/// use marquetry_ir::{infer, text};
/// use marquetry_matcher::{Options, Schemas, find, group};
/// use marquetry_pattern::Library;
///
/// let library = Library::parse("silu.pat", "pattern Silu (x) => (y) { y = x * Sigmoid(x) }", &Schemas)
///     .expect("the pattern is right");
/// let model = text::parse(
///     "<ir_version: 8, opset_import: [\"\" : 17]>
///      g (float[4] a) => (float[4] c) { b = Sigmoid (a) c = Mul (b, a) }",
/// )?;
/// let matches = find(&model, &infer::run(&model), library.patterns(), &Options::default());
/// assert_eq!(matches.matches[0].nodes.len(), 2);
/// let groups = group(&matches, library.patterns());
/// assert_eq!(groups.counts(), [("Silu", 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        // Why something is a miss is only said in full if all of it was tried.
        let plan = match options.plain || options.misses {
            true => Plan::new(core, &index),
            false => Plan::ahead(core, &index),
        };
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
    let Some(&root) = plan.pattern.roots.first() else { return };
    let admitted: Vec<bool> = index.graphs().map(|graph| plan.admits(&graph.opsets)).collect();
    let possible = |node: NodeRow, value: ValueRow| {
        admitted[index.place(node).index()]
            && plan.can_be(index, root, value)
            && !plan.is_hopeless_root(index, value)
    };
    let anchors = plan.anchors(index);
    let parts = anchors.par_chunks(TOGETHER).map(|nodes| {
        let outputs = |node: &NodeRow| {
            let node = *node;
            index.outputs(node).iter().flatten().map(move |value| (node, *value))
        };
        let mut values = nodes.iter().flat_map(outputs);
        let mut found = Matches::default();
        let mut search: Option<Search<'_, '_, '_>> = None;
        while let Some((node, value)) = values.find(|(node, value)| possible(*node, *value)) {
            let search = search.get_or_insert_with(|| Search::new(index, plan));
            keep(search, (pattern, node, value), options, &mut found);
        }
        found
    });
    for part in parts.collect::<Vec<_>>() {
        matches.matches.extend(part.matches);
        matches.exhausted.extend(part.exhausted);
        matches.misses.extend(part.misses);
    }
}

/// Searches at one anchor and keeps what comes of it.
fn keep(
    search: &mut Search<'_, '_, '_>,
    (pattern, node, value): (usize, NodeRow, ValueRow),
    options: &Options,
    matches: &mut Matches,
) {
    let index = search.index;
    let (place, anchor) = (index.place(node), index.id(node));
    match search.run(value, options.steps) {
        Outcome::Hit(found) => matches.matches.push(crate::Match { pattern, ..*found }),
        Outcome::Exhausted => matches.exhausted.push(Exhausted { pattern, place, anchor }),
        Outcome::Miss(Some(failure)) if options.misses => {
            let within = |value| index.id_within(value, place);
            matches.misses.push(Miss {
                pattern,
                place,
                anchor,
                reason: failure.reason.text(search.plan.pattern),
                span: failure.span,
                value: failure.value.and_then(within),
                node: failure.node.map(|node| index.id(node)),
                nodes: failure.depth.0,
            });
        }
        Outcome::Miss(_) => {}
    }
}
