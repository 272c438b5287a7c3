//! Sums whose order does not matter.

use std::ops::Range;

use super::tiles::Numbers;

/// Bits from one part of a number to the next.
const WIDTH: i32 = 36;

/// A part holds numbers below 2³³ of its units, so that 2²⁰ of them add up without rounding.
const BELOW: i32 = WIDTH - 3;

/// Element by element, the sums of slices of single precision numbers: the same bits in whatever order
/// they are added and merged, up to 2²⁰ slices.
///
/// Each number is cut into a part that counts units of 2ᵉ and one that counts units of 2ᵉ⁻³⁶; what is
/// below is rounded off. Where to cut follows from the number and from e alone, and parts are integers
/// in double precision, so that adding them is exact. The exponent e is a multiple of 36 and follows
/// from the largest magnitude that was ever added; when it grows, the lower part of what is there
/// becomes the upper one, which is where the numbers would have been cut with the larger e. The method
/// is that of Demmel and Nguyen, "Parallel Reproducible Summation" (2015), with bins of one width.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sums {
    /// e over 36; `None` while everything is zero.
    exponent: Option<i32>,
    upper: Vec<f64>,
    lower: Vec<f64>,
    /// Not finite: NaN and infinities, added as they are.
    odd: Option<Vec<f32>>,
}

impl Sums {
    /// Sums of nothing.
    pub(crate) fn new(len: usize) -> Sums {
        Sums { exponent: None, upper: vec![0.0; len], lower: vec![0.0; len], odd: None }
    }

    /// Adds a slice of as many numbers.
    pub(crate) fn add(&mut self, numbers: &[f32]) {
        // A maximum of bits is one of magnitudes, and a loop of integers is a quick one.
        let largest = numbers.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
        if largest == 0 {
            return;
        }
        if f32::from_bits(largest).is_finite() {
            self.add_finite(numbers, f32::from_bits(largest));
            return;
        }
        let odd = self.odd.get_or_insert_with(|| vec![0.0; numbers.len()]);
        for (odd, &x) in odd.iter_mut().zip(numbers).filter(|(_, x)| !x.is_finite()) {
            *odd += x;
        }
        let finite: Vec<f32> =
            numbers.iter().map(|&x| if x.is_finite() { x } else { 0.0 }).collect();
        self.add(&finite);
    }

    fn add_finite(&mut self, numbers: &[f32], largest: f32) {
        self.reach(exponent(largest));
        let unit = unit(self.exponent);
        // Adding and taking away 1.5·2⁵² units rounds to whole units, half to even.
        let (upper, lower) = (1.5 * 2_f64.powi(52) * unit, 1.5 * 2_f64.powi(52 - WIDTH) * unit);
        for ((high, low), &x) in self.upper.iter_mut().zip(&mut self.lower).zip(numbers) {
            let x = f64::from(x);
            let first = x + upper - upper;
            *high += first;
            *low += x - first + lower - lower;
        }
    }

    /// Adds other sums of as many numbers.
    pub(crate) fn merge(&mut self, other: &Sums) {
        if let Some(odd) = &other.odd {
            let sums = self.odd.get_or_insert_with(|| vec![0.0; odd.len()]);
            sums.iter_mut().zip(odd).for_each(|(sum, odd)| *sum += odd);
        }
        let Some(theirs) = other.exponent else { return };
        self.reach(theirs);
        let ours = self.exponent.unwrap_or(theirs);
        match ours - theirs {
            0 => {
                self.upper.iter_mut().zip(&other.upper).for_each(|(sum, more)| *sum += more);
                self.lower.iter_mut().zip(&other.lower).for_each(|(sum, more)| *sum += more);
            }
            1 => self.lower.iter_mut().zip(&other.upper).for_each(|(sum, more)| *sum += more),
            _ => {}
        }
    }

    /// Appends what they hold.
    pub(crate) fn numbers(&self, numbers: &mut Numbers) {
        numbers.upper.extend(&self.upper);
        numbers.lower.extend(&self.lower);
        numbers.exponents.push(self.exponent.map_or(i64::MIN, i64::from));
        match &self.odd {
            Some(odd) => numbers.odd.extend(odd.iter().map(|&x| f64::from(x))),
            None => numbers.odd.resize(numbers.odd.len() + self.upper.len(), 0.0),
        }
    }

    /// Those of a part of what was appended; `None` for an exponent that no number has.
    pub(crate) fn from_numbers(
        numbers: &Numbers,
        part: Range<usize>,
        exponent: i64,
    ) -> Option<Sums> {
        let exponent = match exponent {
            i64::MIN => None,
            exponent => Some(i32::try_from(exponent).ok().filter(|it| it.abs() < 8)?),
        };
        let odd = numbers.odd.get(part.clone());
        Some(Sums {
            exponent,
            upper: numbers.upper.get(part.clone())?.to_vec(),
            lower: numbers.lower.get(part)?.to_vec(),
            odd: odd.map(|odd| odd.iter().map(|&x| x as f32).collect()),
        })
    }

    /// Makes room for numbers of an exponent.
    fn reach(&mut self, exponent: i32) {
        let grows = self.exponent.map_or(0, |now| exponent - now);
        if grows == 1 {
            std::mem::swap(&mut self.upper, &mut self.lower);
        }
        if grows >= 2 {
            self.lower.fill(0.0);
        }
        if grows >= 1 {
            self.upper.fill(0.0);
        }
        self.exponent = Some(self.exponent.map_or(exponent, |now| now.max(exponent)));
    }

    /// The sums.
    pub(crate) fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        let sums = self.upper.iter().zip(&self.lower).map(|(upper, lower)| upper + lower);
        sums.enumerate().map(|(at, sum)| match &self.odd {
            Some(odd) if odd[at] != 0.0 => f64::from(odd[at]),
            _ => sum,
        })
    }
}

/// The least e, over 36, that holds a magnitude below 2^(e + 33).
fn exponent(magnitude: f32) -> i32 {
    // A magnitude below 2ⁿ, n from its bits; subnormal numbers are below 2⁻¹²⁶.
    let below = (magnitude.to_bits() >> 23) as i32 - 126;
    (below - BELOW).div_euclid(WIDTH) + i32::from((below - BELOW).rem_euclid(WIDTH) != 0)
}

fn unit(exponent: Option<i32>) -> f64 {
    2_f64.powi(exponent.unwrap_or(0) * WIDTH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-100..100_i32, -30..30_i32).prop_map(|(m, e)| m as f32 * 2_f32.powi(e)),
            1 => any::<f32>().prop_filter("a number", |x| x.is_finite() && x.abs() < 1e30),
            1 => Just(0.0),
        ]
    }

    proptest! {
        #[test]
        fn order_and_partition_do_not_matter(
            numbers in prop::collection::vec(number(), 1..60),
            keys in prop::collection::vec(any::<u32>(), 60),
            parts in 1..6_usize,
        ) {
            let mut forth = Sums::new(1);
            numbers.iter().for_each(|&x| forth.add(&[x]));
            let mut shuffled: Vec<(u32, f32)> = keys.iter().copied().zip(numbers.iter().copied()).collect();
            shuffled.sort_by_key(|&(key, _)| key);
            let mut merged = Sums::new(1);
            for part in shuffled.chunks(shuffled.len().div_ceil(parts)) {
                let mut sums = Sums::new(1);
                part.iter().for_each(|(_, x)| sums.add(&[*x]));
                merged.merge(&sums);
            }
            prop_assert_eq!(&merged, &forth);
            // Against plain double precision: off by a part of the largest number for each summand.
            let plain: f64 = numbers.iter().copied().map(f64::from).sum();
            let largest = numbers.iter().fold(0.0_f64, |a, &x| a.max(f64::from(x.abs())));
            let off = (forth.iter().next().unwrap() - plain).abs();
            prop_assert!(off <= numbers.len() as f64 * largest * 2_f64.powi(-32), "{off}");
        }
    }

    #[test]
    fn what_is_no_number_is_kept() {
        let mut sums = Sums::new(2);
        sums.add(&[1.0, f32::INFINITY]);
        sums.add(&[2.0, 1.0]);
        assert_eq!(sums.iter().collect::<Vec<f64>>(), [3.0, f64::INFINITY]);
        sums.add(&[f32::NAN, 0.0]);
        assert!(sums.iter().next().unwrap().is_nan());
    }
}
