//! From where a pattern can reach a node.

use marquetry_pattern::core::{ExprKind, Pattern};

use crate::index::{Index, NodeRow, ValueRow};
use crate::plan::{Plan, children};

/// Roots that are tried; a value that is read everywhere can be part of very many.
const MOST: usize = 48;

/// How far up it is looked at most: a repetition has no length of its own.
const HIGHEST: usize = 40;

/// Nodes that may stand between those of a pattern.
const BETWEEN: usize = 3;

/// Values that can be the first root of a match that a node, or a reader of a value, is part of, nearest
/// first. If none can, the results of the node itself, so that there is something to say.
pub(super) fn reaching(
    index: &Index<'_>,
    plan: &Plan<'_>,
    focus: Option<NodeRow>,
    value: Option<ValueRow>,
) -> Vec<ValueRow> {
    let root = plan.pattern.roots[0];
    let readers = value.map_or(&[][..], |value| index.users(value));
    let mut edge: Vec<NodeRow> = focus.into_iter().chain(readers.iter().copied()).collect();
    edge.truncate(MOST);
    let start = edge.clone();
    let mut seen = edge.clone();
    let mut found = Vec::new();
    // A few more: what stands between, and should not, is what is to be explained.
    for _ in 0..height(plan.pattern) + BETWEEN {
        let mut next = Vec::new();
        for &node in &edge {
            for &output in index.outputs(node).iter().flatten() {
                if plan.can_be(index, root, output) && found.len() < MOST {
                    found.push(output);
                }
                for &user in index.users(output) {
                    let here = index.place(user) == index.place(node);
                    if here && seen.len() < 4 * MOST && !seen.contains(&user) {
                        seen.push(user);
                        next.push(user);
                    }
                }
            }
        }
        edge = next;
    }
    if found.is_empty() {
        found.extend(start.iter().flat_map(|node| index.outputs(*node)).flatten().take(MOST));
    }
    found
}

/// The longest way from the root down, in nodes.
fn height(pattern: &Pattern) -> usize {
    let mut heights: Vec<Option<usize>> = vec![None; pattern.exprs.len()];
    let definitions = &pattern.var(pattern.roots[0]).definitions;
    let each = definitions.iter().map(|at| below(pattern, at.expr.index(), &mut heights));
    each.max().unwrap_or(1).min(HIGHEST)
}

fn below(pattern: &Pattern, expr: usize, heights: &mut Vec<Option<usize>>) -> usize {
    if let Some(known) = heights[expr] {
        return known;
    }
    // While it is being computed, what goes around in a circle adds nothing.
    heights[expr] = Some(0);
    let kind = &pattern.exprs[expr].kind;
    let mut inner = Vec::new();
    children(kind, |child| inner.push(child.index()));
    if let ExprKind::Var(var) = kind {
        inner.extend(pattern.var(*var).definitions.iter().map(|at| at.expr.index()));
    }
    let deepest = inner.into_iter().map(|child| below(pattern, child, heights)).max().unwrap_or(0);
    let own = match kind {
        ExprKind::Op(_) => 1,
        ExprKind::Chain(chain) => chain.operands.len().max(2) - 1,
        ExprKind::Repeat(_) => 8,
        _ => 0,
    };
    let height = deepest + own;
    heights[expr] = Some(height);
    height
}
