//! How far tensors are from those of another model on the same samples.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_engine::{Engine, EngineError, Flow, Sweep, SweepOptions};
use marquetry_ir::{Graph, Tensor, ValueId};
use serde::{Deserialize, Serialize};

use crate::pass::{PassError, Samples};

/// How far one tensor is from that of the reference, over all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The tensor.
    pub name: String,
    /// Whether it is an output of the graph.
    pub output: bool,
    /// 10·log₁₀(Σ x² / Σ (x − y)²), x the reference; nothing where nothing differs, and where no
    /// number says how much does: where the reference is zero, or a difference is not finite.
    pub sqnr_db: Option<f64>,
    /// max |x − y| where it is finite.
    pub max_error: f64,
    /// Set where the shapes differ: nothing else is known then.
    pub shapes_differ: bool,
    /// Elements that differ by what is no finite number, such as NaN.
    pub not_finite: u64,
    /// Σ x·y / √(Σ x² · Σ y²); nothing where one of them is zero.
    pub cosine: Option<f64>,
    /// Of an output with a row of scores for each sample, how often the highest is the same.
    pub same_argmax: Option<Agreement>,
}

/// How often two models choose alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Rows with the same highest score.
    pub same: u64,
    /// Rows in all.
    pub rows: u64,
}

impl Distance {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.max_error == 0.0 && self.not_finite == 0 && !self.shapes_differ
    }

    /// The noise as a part of the signal, from 0 to 10⁹.
    pub fn noise(&self) -> f64 {
        const MOST: f64 = 1e9;
        match self.sqnr_db {
            Some(sqnr) => 10f64.powf(-sqnr / 10.0).min(MOST),
            None if self.is_equal() => 0.0,
            None => MOST,
        }
    }
}

/// Adds distances up, sample by sample.
#[derive(Clone, Debug)]
pub struct Tally {
    name: String,
    output: bool,
    /// Σ x², x the reference.
    signal: f64,
    /// Σ y², y the candidate.
    found: f64,
    /// Σ x·y.
    product: f64,
    /// Σ (x − y)².
    noise: f64,
    /// max |x − y|.
    largest: f64,
    not_finite: u64,
    shapes_differ: bool,
    agreement: Agreement,
}

impl Tally {
    /// The distance of a tensor before the first sample.
    pub fn new(name: &str, output: bool) -> Tally {
        Tally {
            name: name.to_owned(),
            output,
            signal: 0.0,
            found: 0.0,
            product: 0.0,
            noise: 0.0,
            largest: 0.0,
            not_finite: 0,
            shapes_differ: false,
            agreement: Agreement::default(),
        }
    }

    /// Takes the tensors of one sample into account.
    pub fn add(&mut self, reference: &Tensor, candidate: &Tensor) {
        if reference.dims() != candidate.dims() {
            self.shapes_differ = true;
            return;
        }
        let (Some(x), Some(y)) = (reference.to_f64s(), candidate.to_f64s()) else { return };
        for (&x, &y) in x.iter().zip(&y) {
            if x.is_finite() {
                self.signal += x * x;
            }
            // Equal infinities, as in masks, are no distance, and neither is what no model knows.
            let equal = x == y || (x.is_nan() && y.is_nan());
            let error = if equal { 0.0 } else { (x - y).abs() };
            if error.is_finite() {
                self.noise += error * error;
                self.largest = self.largest.max(error);
                if x.is_finite() {
                    self.found += y * y;
                    self.product += x * y;
                }
            } else {
                self.not_finite += 1;
            }
        }
        if let (true, &[_, classes]) = (self.output, reference.dims())
            && classes >= 2
        {
            for (x, y) in x.chunks_exact(classes).zip(y.chunks_exact(classes)) {
                self.agreement.rows += 1;
                self.agreement.same += u64::from(highest(x) == highest(y));
            }
        }
    }

    /// Whether nothing was seen but zeros that are equal.
    pub fn is_blank(&self) -> bool {
        self.signal == 0.0 && self.noise == 0.0 && self.not_finite == 0 && !self.shapes_differ
    }

    /// What the samples so far say.
    pub fn distance(&self) -> Distance {
        let comparable = !self.shapes_differ && self.not_finite == 0;
        let sqnr = comparable && self.noise > 0.0 && self.signal > 0.0;
        let cosine = !self.shapes_differ && self.signal > 0.0 && self.found > 0.0;
        Distance {
            name: self.name.clone(),
            output: self.output,
            sqnr_db: sqnr.then(|| 10.0 * (self.signal / self.noise).log10()),
            max_error: self.largest,
            shapes_differ: self.shapes_differ,
            not_finite: self.not_finite,
            cosine: cosine
                .then(|| (self.product / (self.signal * self.found).sqrt()).clamp(-1.0, 1.0)),
            same_argmax: (self.agreement.rows > 0).then_some(self.agreement),
        }
    }
}

/// The place of the highest of several numbers, the first of equal ones.
fn highest(row: &[f64]) -> usize {
    let best = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
    (1..row.len()).fold(0, best)
}

/// How far tensors of a candidate are from those of the same names in a reference, on the first
/// samples.
///
/// # Errors
///
/// When a sample cannot be read, or one of the graphs cannot be run on it.
pub fn distances(
    engine: &dyn Engine,
    reference: &Graph,
    candidate: &Graph,
    samples: &dyn Samples,
    count: usize,
    names: &[String],
) -> Result<Vec<Tally>, PassError> {
    let mut tallies: Vec<Tally> = names
        .iter()
        .map(|name| {
            let value = reference.find(name);
            Tally::new(name, value.is_some_and(|value| reference.is_output(value)))
        })
        .collect();
    let rows = |graph: &Graph| -> BTreeMap<ValueId, usize> {
        let found = names.iter().zip(0..).filter_map(|(name, row)| Some((graph.find(name)?, row)));
        found.collect()
    };
    let (rows_a, rows_b) = (rows(reference), rows(candidate));
    let mut sweep_a = swept(engine, reference, rows_a.keys().copied().collect())?;
    let mut sweep_b = swept(engine, candidate, rows_b.keys().copied().collect())?;
    for index in 0..count.min(samples.count()) {
        let sample = samples.sample(index).map_err(PassError::Sample)?;
        let mut seen: BTreeMap<usize, Tensor> = BTreeMap::new();
        let mut keep = |value: ValueId, tensor: &Tensor| {
            if tensor.dtype().is_float() {
                seen.insert(rows_a[&value], tensor.clone());
            }
            Flow::Continue
        };
        sweep_a.run(&sample, &mut keep).map_err(|source| failed(Some(index), source))?;
        let mut compare = |value: ValueId, tensor: &Tensor| {
            let row = rows_b[&value];
            if let Some(expected) = seen.remove(&row) {
                tallies[row].add(&expected, tensor);
            }
            Flow::Continue
        };
        sweep_b.run(&sample, &mut compare).map_err(|source| failed(Some(index), source))?;
    }
    Ok(tallies)
}

pub(super) fn swept(
    engine: &dyn Engine,
    graph: &Graph,
    wanted: BTreeSet<ValueId>,
) -> Result<Sweep, PassError> {
    Sweep::new(engine, graph, &wanted, &SweepOptions::default())
        .map_err(|source| failed(None, source))
}

pub(super) fn failed(sample: Option<usize>, source: EngineError) -> PassError {
    PassError::Engine { sample, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(x: &[f32], y: &[f32]) -> Distance {
        let tensor = |data: &[f32]| Tensor::from_f32s(vec![1, data.len()], data).unwrap();
        let mut tally = Tally::new("t", true);
        tally.add(&tensor(x), &tensor(y));
        tally.distance()
    }

    #[test]
    fn what_is_no_number_is_never_taken_for_equal() {
        let nan = distance(&[1.0, 2.0], &[1.0, f32::NAN]);
        assert_eq!((nan.sqnr_db, nan.not_finite, nan.is_equal()), (None, 1, false));
        let gone = distance(&[f32::INFINITY, 2.0], &[1.0, 2.0]);
        assert_eq!((gone.not_finite, gone.is_equal()), (1, false));
        let mask = distance(&[f32::NEG_INFINITY, 2.0], &[f32::NEG_INFINITY, 2.0]);
        assert!(mask.is_equal() && mask.noise() == 0.0);
        let silence = distance(&[0.0, 0.0], &[0.0, 0.5]);
        assert_eq!((silence.sqnr_db, silence.is_equal(), silence.noise()), (None, false, 1e9));
    }

    #[test]
    fn the_highest_score_is_compared_row_by_row() {
        let same = distance(&[1.0, 3.0, 2.0], &[1.0, 2.9, 2.0]).same_argmax.unwrap();
        let other = distance(&[1.0, 3.0, 2.9], &[1.0, 2.8, 2.9]).same_argmax.unwrap();
        assert_eq!((same.same, other.same, other.rows), (1, 0, 1));
    }
}
