//! Which alternative is taken where, and which combinations are tried.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;

/// Where a pattern has alternatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    /// An expression: alternatives, present or absent, how many steps.
    Expr(usize),
    /// An argument of an expression: how many inputs; or an attribute: which value.
    Each(usize, usize),
    /// `either`.
    Choice(usize),
    /// A `dup` variable: the same node or another one.
    Copy(usize),
}

/// Decisions on the way through a pattern: the given ones, then whatever is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    given: BTreeMap<Site, usize>,
    /// By position, for the enumeration.
    prefix: Vec<usize>,
    /// What was taken, in order, with the number of alternatives.
    pub(super) taken: Vec<(Site, usize, usize)>,
    random: Option<Random>,
}

impl Decisions {
    pub(super) fn prefix(prefix: Vec<usize>) -> Self {
        Self { prefix, ..Self::default() }
    }

    pub(super) fn random(random: Random, given: BTreeMap<Site, usize>) -> Self {
        Self { random: Some(random), given, ..Self::default() }
    }

    /// Decides at a site with this many alternatives.
    pub(super) fn take(&mut self, site: Site, count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        let at = if let Some(&given) = self.given.get(&site) {
            given.min(count - 1)
        } else if let Some(random) = &mut self.random {
            random.below(count)
        } else {
            self.prefix.get(self.taken.len()).copied().unwrap_or(0).min(count - 1)
        };
        self.taken.push((site, at, count));
        at
    }

    /// The decisions as a sequence, to take them again.
    pub(super) fn again(&self) -> Self {
        Self::prefix(self.taken.iter().map(|(_, at, _)| *at).collect())
    }

    /// The next sequence in the order of an odometer; none after the last.
    pub(super) fn next(&self) -> Option<Self> {
        let mut prefix: Vec<usize> = self.taken.iter().map(|(_, at, _)| *at).collect();
        while let Some(last) = prefix.pop() {
            if last + 1 < self.taken[prefix.len()].2 {
                prefix.push(last + 1);
                return Some(Self::prefix(prefix));
            }
        }
        None
    }
}

/// Pairs of decisions that some variant takes together.
#[derive(Debug, Default)]
pub(super) struct Pairs(BTreeSet<((Site, usize), (Site, usize))>);

impl Pairs {
    /// Whether the decisions have a pair that was not seen.
    pub(super) fn add(&mut self, decisions: &Decisions) -> bool {
        let taken: Vec<_> = decisions.taken.iter().map(|(site, at, _)| (*site, *at)).collect();
        let mut fresh = false;
        for (at, &one) in taken.iter().enumerate() {
            // A decision on its own counts as a pair with itself.
            for &other in &taken[at..] {
                fresh |= self.0.insert((one.min(other), one.max(other)));
            }
        }
        fresh
    }
}
