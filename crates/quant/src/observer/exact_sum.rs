//! Sums of doubles that do not depend on the order of what is added.

use serde::{Deserialize, Serialize};

/// The exponent of the lowest bit of the first limb: that of the smallest double.
const LOWEST: i32 = -1074;
/// Bits of a limb that carry the sum; the others take carries.
const BITS: i32 = 32;
/// 2098 bits of a double and room for 2⁶⁴ of them.
const LIMBS: usize = 70;

/// An exact sum: a fixed-point number wide enough for every double.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ExactSum {
    /// Limbs of 32 bits from the lowest on, all but the last not negative; without zeros at the end.
    limbs: Vec<i64>,
}

impl ExactSum {
    /// Adds a finite number; others are left out.
    pub(super) fn add(&mut self, x: f64) {
        if x == 0.0 || !x.is_finite() {
            return;
        }
        let bits = x.to_bits();
        let biased = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = match biased {
            0 => (fraction, LOWEST),
            _ => (fraction | 1 << 52, biased - 1075),
        };
        let at = exponent - LOWEST;
        let (limb, shift) = ((at / BITS) as usize, at % BITS);
        let wide = u128::from(mantissa) << shift;
        self.limbs.resize(LIMBS, 0);
        for part in 0..3 {
            let piece = (wide >> (BITS * part)) as u32;
            let piece = i64::from(piece);
            self.limbs[limb + part as usize] += if x < 0.0 { -piece } else { piece };
        }
        self.normalize();
    }

    pub(super) fn merge(&mut self, other: &ExactSum) {
        self.limbs.resize(LIMBS, 0);
        self.limbs.iter_mut().zip(&other.limbs).for_each(|(a, b)| *a += b);
        self.normalize();
    }

    /// One way to write every sum, so that equal sums are equal bytes.
    fn normalize(&mut self) {
        let mut carry = 0;
        let last = self.limbs.len() - 1;
        for limb in &mut self.limbs[..last] {
            let sum = *limb + carry;
            carry = sum >> BITS;
            *limb = sum - (carry << BITS);
        }
        self.limbs[last] += carry;
        // A negative sum has its sign in the last limb; below it all ones may follow.
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    /// The sum, rounded.
    pub(super) fn value(&self) -> f64 {
        if self.limbs.last().is_some_and(|&last| last < 0) {
            let mut magnitude = ExactSum { limbs: self.limbs.iter().map(|limb| -limb).collect() };
            magnitude.normalize();
            return -magnitude.value();
        }
        // From the highest limb down: each is exact, and what follows the first three is below
        // the last bit of the sum.
        let terms = self.limbs.iter().enumerate().rev().filter(|(_, limb)| **limb != 0).take(4);
        terms.fold(0.0, |sum, (at, &limb)| {
            let exponent = LOWEST + BITS * at as i32;
            // Two factors: one power alone would be no double at either end.
            sum + limb as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(xs: impl IntoIterator<Item = f64>) -> ExactSum {
        let mut sum = ExactSum::default();
        xs.into_iter().for_each(|x| sum.add(x));
        sum
    }

    #[test]
    fn order_does_not_matter_and_nothing_is_lost() {
        let xs = [1e300, 1.0, -1e300, 1e-300, -3.5, 2.5, -1e-310, 7e15];
        let forward = sum(xs);
        assert_eq!(sum(xs.into_iter().rev()), forward);
        let mut merged = sum(xs[..3].iter().copied());
        merged.merge(&sum(xs[3..].iter().copied()));
        assert_eq!(merged, forward);
        assert_eq!(forward.value(), 7e15);
        assert_eq!(sum([1e300, 1.0, -1e300]).value(), 1.0);
        assert_eq!(sum([-1.0, -2.0, 0.25]).value(), -2.75);
        assert_eq!(sum([1.0, -1.0]), ExactSum::default());
        assert_eq!(sum([f64::MAX]).value(), f64::MAX);
        assert_eq!(sum([5e-324, 5e-324]).value(), 1e-323);
    }
}
