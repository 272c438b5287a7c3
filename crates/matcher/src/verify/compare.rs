//! Whether two runs agree, and whether that is a matter of algebra or of rounding.

use std::fmt;

use marquetry_ir::{AttributeValue, DType, Evaluate, EvaluateError, Graph, Tensor};

use super::run::{Inputs, run, widened, widened_inputs};
use crate::generate::{Random, tensor};

/// Relative error that is left to algebra in `double`.
const ALGEBRA: f64 = 1e-9;

/// The same where a number went through an attribute, which is a `float`.
const SINGLE: f64 = 1e-6;

/// How often inputs are moved to see what they decide.
const PERTURBATIONS: u64 = 16;

/// How much less accurate than the left side the right side may be in the native type.
const LOSS: f64 = 32.0;

/// What is not the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The rewriter refuses: the types are not the same.
    Type(String),
    /// An output has another element type.
    Dtype(DType, DType),
    /// An output has another shape.
    Shape(Vec<usize>, Vec<usize>),
    /// An element, by output and position: left and right.
    Element {
        /// The position of the output.
        output: usize,
        /// The position of the element.
        index: usize,
        /// On the left.
        left: f64,
        /// On the right.
        right: f64,
    },
    /// The right side cannot be run, and the left can.
    Failed(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(what) => f.write_str(what),
            Self::Dtype(left, right) => write!(f, "the left side is `{left}`, the right `{right}`"),
            Self::Shape(left, right) => {
                write!(f, "the left side has shape {left:?}, the right {right:?}")
            }
            Self::Element { index, left, right, .. } => {
                write!(f, "element {index} is {left:?} on the left and {right:?} on the right")
            }
            Self::Failed(reason) => write!(f, "the right side fails: {reason}"),
        }
    }
}

/// The outcome of one comparison.
#[derive(Clone, Debug)]
pub(super) enum Judgement {
    /// They agree, up to this relative error.
    Same(f64),
    /// They differ by rounding only, by this much.
    Rounding(f64),
    Different(Difference),
    /// One of the operators cannot be run here, or the left side does not allow these inputs.
    NotRun(String),
}

/// Both sides of a rule as graphs with as many inputs and outputs.
pub(super) struct Sides<'g> {
    pub(super) left: &'g Graph,
    pub(super) right: &'g Graph,
    /// Whether casts between floats on the left are no part of what is meant, only of how it was
    /// computed: a meaning does without them, a rule has to keep what they cut off.
    pub(super) casts: bool,
}

impl Sides<'_> {
    /// Compares the sides on these inputs. `tolerance` is for the native type; without it, that of the
    /// type holds.
    pub(super) fn judge(
        &self,
        inputs: (&Inputs, &Inputs),
        evaluate: &dyn Evaluate,
        tolerance: Option<f64>,
    ) -> Judgement {
        let left = match run(self.left, evaluate, inputs.0) {
            Ok(outputs) => outputs,
            Err(error) => return Judgement::NotRun(error.to_string()),
        };
        let right = match run(self.right, evaluate, inputs.1) {
            Ok(outputs) => outputs,
            Err(error @ EvaluateError::Unsupported { .. }) => {
                return Judgement::NotRun(error.to_string());
            }
            Err(error) => return Judgement::Different(Difference::Failed(error.to_string())),
        };
        let algebra = left.iter().all(|output| output.dtype() == DType::Double);
        let native = if algebra { self.algebra() } else { native(&left) };
        let bound = tolerance.unwrap_or(native).max(if algebra { 0.0 } else { native });
        let found = match differ(&left, &right, bound) {
            Err(difference) => difference,
            Ok(worst) => return Judgement::Same(worst),
        };
        let Difference::Element { .. } = found else { return Judgement::Different(found) };
        if !left.iter().all(|output| output.dtype().is_float()) {
            return Judgement::Different(found);
        }
        if !algebra || (self.casts && casts(self.left)) {
            // Constants that are added to what was cast down were rounded with it.
            let bound = if algebra { bound.max(SINGLE) } else { bound };
            let rounding = self.rounding(inputs, evaluate, bound, (&left, &right));
            if let Some(judgement) = rounding {
                return judgement;
            }
        }
        match self.unsettled(inputs.0, evaluate, (&left, &right)) {
            Some(apart) => Judgement::Rounding(apart),
            None => Judgement::Different(found),
        }
    }

    /// Whether the left side moves about as much as both sides differ when its inputs move by their
    /// last bit. What cancels has no better value: a variance of equal numbers under a root, say, which
    /// is NaN where rounding made it negative.
    /// Returns by how much they differ then.
    fn unsettled(
        &self,
        inputs: &Inputs,
        evaluate: &dyn Evaluate,
        (left, right): (&[Tensor], &[Tensor]),
    ) -> Option<f64> {
        let moved = (0..PERTURBATIONS).filter_map(|seed| {
            let moved = perturbed(inputs, &mut Random::new(&[7, seed]), evaluate)?;
            run(self.left, evaluate, &moved).ok()
        });
        let moved: Vec<Vec<Tensor>> = moved.collect();
        let each = left.iter().zip(right).enumerate();
        let (mut apart, mut spread): (f64, f64) = (0.0, 0.0);
        for (at, (left, right)) in each {
            let others = moved.iter().filter_map(|outputs| outputs.get(at)?.to_f64s());
            let others: Vec<Vec<f64>> = others.collect();
            let (left, right) = (left.to_f64s()?, right.to_f64s()?);
            let size = scale(&left).max(scale(&right)).max(f64::MIN_POSITIVE);
            for (index, (&x, &y)) in left.iter().zip(&right).enumerate() {
                let values = others.iter().filter_map(|other| other.get(index).copied());
                if values.clone().any(|value| value.is_finite() != x.is_finite()) {
                    continue;
                }
                match (x.is_finite(), y.is_finite()) {
                    (true, true) => apart = apart.max((x - y).abs() / size),
                    (false, false) => continue,
                    _ => return None,
                }
                spread = values.fold(spread, |spread, value| spread.max((value - x).abs() / size));
            }
        }
        (apart <= LOSS * spread).then_some(apart)
    }

    /// Whether a difference is gone in `double`, and the right side is about as accurate as the left.
    fn rounding(
        &self,
        inputs: (&Inputs, &Inputs),
        evaluate: &dyn Evaluate,
        bound: f64,
        (left, right): (&[Tensor], &[Tensor]),
    ) -> Option<Judgement> {
        let wide = |graph, inputs| {
            run(&widened(graph, evaluate), evaluate, &widened_inputs(inputs, evaluate)).ok()
        };
        let (reference, other) = (wide(self.left, inputs.0)?, wide(self.right, inputs.1)?);
        differ(&reference, &other, bound).ok()?;
        let (before, after) = (error(left, &reference), error(right, &reference));
        (after <= LOSS * before + bound).then_some(Judgement::Rounding(after))
    }

    /// The tolerance in `double`: an attribute is a `float`, and whatever it was computed from was
    /// rounded to it.
    fn algebra(&self) -> f64 {
        let single = |graph: &Graph| {
            graph.nodes().any(|node| {
                let mut attributes = graph.node(node).attributes.iter();
                attributes.any(|attribute| matches!(attribute.value, AttributeValue::Float(_)))
            })
        };
        if single(self.left) || single(self.right) { SINGLE } else { ALGEBRA }
    }
}

/// The inputs, each number of which is moved by up to its last bit.
fn perturbed(inputs: &Inputs, random: &mut Random, evaluate: &dyn Evaluate) -> Option<Inputs> {
    let moved = inputs.iter().map(|(&value, input)| {
        let last_bit = match input.dtype() {
            DType::Double => f64::EPSILON,
            DType::Float => f64::from(f32::EPSILON),
            DType::Float16 => 2f64.powi(-10),
            DType::BFloat16 => 2f64.powi(-7),
            _ => return Some((value, input.clone())),
        };
        let numbers = input.to_f64s()?.into_iter();
        let numbers: Vec<f64> =
            numbers.map(|x| x * (1.0 + random.uniform(-1.0, 1.0) * last_bit)).collect();
        Some((value, tensor(evaluate, input.dtype(), input.dims(), &numbers)?))
    });
    moved.collect()
}

/// Whether a graph computes some of it in another type.
fn casts(graph: &Graph) -> bool {
    graph.nodes().any(|node| matches!(graph.node(node).op_type.as_str(), "Cast" | "CastLike"))
}

fn native(outputs: &[Tensor]) -> f64 {
    let of = |output: &Tensor| match output.dtype() {
        DType::Float16 => 2e-3,
        DType::BFloat16 => 2e-2,
        DType::Double => ALGEBRA,
        _ => 1e-5,
    };
    outputs.iter().map(of).fold(0.0, f64::max)
}

/// The largest finite number of a tensor.
fn scale(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x.abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)
}

/// The largest difference from a reference, relative to its largest number; infinite where one is
/// finite and the other is not.
fn error(outputs: &[Tensor], reference: &[Tensor]) -> f64 {
    let mut worst: f64 = 0.0;
    for (output, reference) in outputs.iter().zip(reference) {
        let (Some(output), Some(reference)) = (output.to_f64s(), reference.to_f64s()) else {
            return f64::INFINITY;
        };
        let size = scale(&reference).max(f64::MIN_POSITIVE);
        for (x, y) in output.iter().zip(&reference) {
            worst = worst.max(match (x.is_finite(), y.is_finite()) {
                (true, true) => (x - y).abs() / size,
                (false, false) => 0.0,
                _ => f64::INFINITY,
            });
        }
    }
    worst
}

/// The first difference beyond a bound, or the largest relative one.
pub(super) fn differ(left: &[Tensor], right: &[Tensor], bound: f64) -> Result<f64, Difference> {
    let mut worst: f64 = 0.0;
    for (output, (left, right)) in left.iter().zip(right).enumerate() {
        if left.dtype() != right.dtype() {
            return Err(Difference::Dtype(left.dtype(), right.dtype()));
        }
        if left.dims() != right.dims() {
            return Err(Difference::Shape(left.dims().to_vec(), right.dims().to_vec()));
        }
        let (Some(a), Some(b)) = (left.to_f64s(), right.to_f64s()) else {
            if left == right {
                continue;
            }
            return Err(Difference::Element { output, index: 0, left: f64::NAN, right: f64::NAN });
        };
        let size = scale(&a).max(scale(&b));
        for (index, (&x, &y)) in a.iter().zip(&b).enumerate() {
            let same = if !left.dtype().is_float() {
                x == y
            } else if x.is_finite() && y.is_finite() {
                if size > 0.0 {
                    worst = worst.max((x - y).abs() / size);
                }
                (x - y).abs() <= bound * size
            } else {
                x == y || (x.is_nan() && y.is_nan())
            };
            if !same {
                return Err(Difference::Element { output, index, left: x, right: y });
            }
        }
    }
    Ok(worst)
}
