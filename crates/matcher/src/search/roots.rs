//! Outputs that the first one does not reach: found forward, from what is bound already.

use super::{Alternatives, Exhaustion, Search};
use crate::datum::Datum;
use crate::index::{NodeRow, ValueRow};

impl Search<'_, '_, '_> {
    /// Takes the next root that is not bound, with candidates in topological order. `None` if all are.
    pub(super) fn next_root(&mut self) -> Result<Option<bool>, Exhaustion> {
        let roots = &self.pattern().roots;
        let Some(root) = (1..roots.len()).find(|&at| self.binding(roots[at]).is_none()) else {
            return Ok(None);
        };
        let candidates = self.candidates(root)?.into();
        self.choose(Alternatives::Roots { root, candidates }).map(Some)
    }

    /// Values that can be a root: above a bound variable that it shares, no farther than the pattern is
    /// deep. The variable with the fewest users leads; constants, which everybody reads, last.
    fn candidates(&mut self, root: usize) -> Result<Vec<ValueRow>, Exhaustion> {
        let bound =
            self.plan.below(root - 1).iter().filter_map(|&(var, depth)| match self.binding(var) {
                Some(Datum::Value(value)) => Some((*value, depth)),
                _ => None,
            });
        let weight = |&(value, _): &(ValueRow, usize)| {
            (self.index.is_constant(value), self.index.users(value).len(), value)
        };
        let Some((start, depth)) = bound.min_by_key(weight) else { return Ok(Vec::new()) };
        let var = self.pattern().roots[root];
        let mut found: Vec<(NodeRow, ValueRow)> = Vec::new();
        let mut seen: Vec<NodeRow> = Vec::new();
        let mut edge = vec![start];
        for _ in 0..depth {
            let mut next = Vec::new();
            for value in edge {
                for &user in self.index.users(value) {
                    self.spend(1)?;
                    if self.index.place(user) != self.place || seen.contains(&user) {
                        continue;
                    }
                    seen.push(user);
                    for &output in self.index.outputs(user).iter().flatten() {
                        next.push(output);
                        if self.plan.can_be(self.index, var, output) {
                            found.push((user, output));
                        }
                    }
                }
            }
            edge = next;
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }
}
