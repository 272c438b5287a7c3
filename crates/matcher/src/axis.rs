//! Axes, which are counted from either end.

use std::cmp::Ordering;

/// An axis as an attribute names it.
///
/// Compared with a number, it is counted from the end that the number counts from: the last axis of
/// four is −1 and 3, and both less than 4 and greater than −2. Where the rank is not known, an
/// axis that is counted from the other end than the number is compared with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Counted from the end (−1 is the last axis, 0 is behind it) where the rank is known; otherwise
    /// as it is written.
    at: i64,
    rank: Option<i64>,
}

impl Axis {
    /// An axis of a value of a rank, counted from the front, or from the end if negative.
    pub(crate) fn new(written: i64, rank: Option<i64>) -> Self {
        match rank {
            Some(rank) if written >= 0 => {
                Self { at: written.saturating_sub(rank), rank: Some(rank) }
            }
            rank => Self { at: written, rank },
        }
    }

    /// A number that means this axis: from the end, unless it is behind the last one or nobody knows
    /// where the end is.
    pub(crate) fn written(self) -> i64 {
        match self.rank {
            Some(rank) if self.at >= 0 => self.at.saturating_add(rank),
            _ => self.at,
        }
    }

    /// Counted from the front, and nobody knows how far the end is.
    pub(crate) fn is_open(self) -> bool {
        self.rank.is_none() && self.at >= 0
    }

    /// Counted from the front.
    pub(crate) fn to_front(self) -> Option<i64> {
        match self.rank {
            Some(rank) => self.at.checked_add(rank),
            None => (self.at >= 0).then_some(self.at),
        }
    }

    /// How many axes there are from this one on.
    pub(crate) fn to_end(self) -> Option<i64> {
        if self.is_open() { None } else { self.at.checked_neg() }
    }

    /// How it compares with a number.
    pub(crate) fn order(self, number: i64) -> Option<Ordering> {
        match self.rank {
            Some(rank) if number >= 0 => Some(self.at.saturating_add(rank).cmp(&number)),
            Some(_) => Some(self.at.cmp(&number)),
            None => ((self.at < 0) == (number < 0)).then(|| self.at.cmp(&number)),
        }
    }

    /// How it compares with another axis: from the end, if both are counted from there.
    pub(crate) fn order_of(self, other: Self) -> Option<Ordering> {
        (self.is_open() == other.is_open()).then(|| self.at.cmp(&other.at))
    }

    /// Whether two axes are as far from the same end.
    pub(crate) fn is(self, other: Self) -> Option<bool> {
        self.order_of(other).map(Ordering::is_eq)
    }

    /// The axis some steps behind this one.
    pub(crate) fn moved(self, by: i64) -> Option<Self> {
        let at = self.at.checked_add(by)?;
        // Without a rank, a step over the end would count from the other one.
        (self.rank.is_some() || (at < 0) == (self.at < 0)).then_some(Self { at, ..self })
    }

    /// How many steps it is behind another.
    pub(crate) fn distance(self, other: Self) -> Option<i64> {
        if self.is_open() == other.is_open() { self.at.checked_sub(other.at) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_their_own_end() {
        for written in [3, -1] {
            let last = Axis::new(written, Some(4));
            assert_eq!(last.order(3), Some(Ordering::Equal));
            assert_eq!(last.order(-1), Some(Ordering::Equal));
            assert_eq!(last.order(0), Some(Ordering::Greater));
            assert_eq!(last.order(-2), Some(Ordering::Greater));
            assert_eq!(last.to_end(), Some(1));
        }
    }

    #[test]
    fn without_a_rank_the_ends_are_not_compared() {
        let axis = Axis::new(1, None);
        assert_eq!(axis.order(1), Some(Ordering::Equal));
        assert_eq!(axis.order(-1), None);
        assert_eq!(axis.to_end(), None);
        assert_eq!(axis.is(Axis::new(-1, Some(2))), None);
        assert_eq!(Axis::new(-1, None).is(Axis::new(1, Some(2))), Some(true));
    }

    #[test]
    fn behind_the_last_axis_is_not_the_first() {
        let behind = Axis::new(4, Some(4));
        assert_eq!(behind.written(), 4);
        assert_eq!(behind.order(0), Some(Ordering::Greater));
    }
}
