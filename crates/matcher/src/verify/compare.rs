//! Whether two runs agree, and whether that is a matter of algebra or of rounding.

use std::fmt;

use marquetry_ir::{AttributeValue, DType, Evaluate, EvaluateError, Graph, Tensor};

use super::run::{Inputs, retyped, retyped_inputs, run, run_wide};
use super::settle::{coarsest, last_bit, undecided};

/// Relative error that is left to algebra in `double`.
const ALGEBRA: f64 = 1e-9;

/// The same where a number went through an attribute, which is a `float`.
const SINGLE: f64 = 1e-6;

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
            Self::Element { index, left, right, .. } if left == right => {
                write!(f, "element {index} is near {left:?} on both sides, and not the same")
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
    /// One of the operators cannot be run here, the left side does not allow these inputs, or they are
    /// such that running tells nothing.
    NotRun(String),
}

impl Judgement {
    /// Rounding decides what the left side computes.
    fn undecided() -> Self {
        Self::NotRun("rounding decides what is computed".to_owned())
    }
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
        let exact = !left.iter().all(|output| output.dtype().is_float());
        let algebra = left.iter().all(|output| output.dtype() == DType::Double);
        let native = if algebra { self.algebra() } else { native(&left) };
        let bound = if exact { 0.0 } else { tolerance.unwrap_or(native).max(native) };
        let found = differ(&left, &right, bound);
        match found {
            Err(Difference::Element { .. }) | Ok(_) if !exact => {}
            Ok(worst) => return Judgement::Same(worst),
            Err(difference) => return Judgement::Different(difference),
        }
        if algebra && !(self.casts && casts(self.left)) {
            let difference = match found {
                Ok(worst) => return Judgement::Same(worst),
                Err(difference) => difference,
            };
            let decided = !self.is_undecided(self.left, inputs.0, (&left, &right), bound, evaluate);
            return if decided { Judgement::Different(difference) } else { Judgement::undecided() };
        }
        let tolerance = tolerance.unwrap_or(0.0);
        self.in_double(inputs, evaluate, bound, tolerance, (&left, &right), found)
    }

    /// Judges a run in the types of real models by one in `double`, where only the algebra counts:
    /// agreement in few bits proves nothing, and a difference there may be rounding.
    fn in_double(
        &self,
        inputs: (&Inputs, &Inputs),
        evaluate: &dyn Evaluate,
        bound: f64,
        tolerance: f64,
        (left, right): (&[Tensor], &[Tensor]),
        found: Result<f64, Difference>,
    ) -> Judgement {
        let wide = |graph: &Graph, inputs: &Inputs| {
            if self.casts {
                let graph = retyped(graph, DType::Double, evaluate);
                run(&graph, evaluate, &retyped_inputs(inputs, DType::Double, evaluate)).ok()
            } else {
                run_wide(graph, evaluate, inputs).ok()
            }
        };
        let both = wide(self.left, inputs.0).zip(wide(self.right, inputs.1));
        let Some((reference, other)) = both else {
            return match found {
                Ok(worst) => Judgement::Same(worst),
                Err(difference) => Judgement::Different(difference),
            };
        };
        let coarse = coarsest([self.left, self.right]);
        match (found, differ(&reference, &other, self.algebra().max(SINGLE).max(tolerance))) {
            (Ok(worst), Ok(_)) => Judgement::Same(worst),
            (Err(difference), Ok(_)) => {
                let (before, after) = (error(left, &reference), error(right, &reference));
                match before.is_finite() {
                    true if after <= LOSS * before + bound => Judgement::Rounding(after),
                    true => Judgement::Different(difference),
                    false => Judgement::NotRun(format!("the left side overflows in `{coarse}`")),
                }
            }
            (found, Err(difference)) => {
                let wide = retyped_inputs(inputs.0, DType::Double, evaluate);
                // What a rule does to a cast is no matter of few bits.
                let dropped = !self.casts && narrows(self.left, left);
                let near = || differ(&reference, &other, of_type(coarse)).is_ok();
                let narrow = found.is_ok() || (!dropped && near());
                if narrow && coarse != DType::Double {
                    return Judgement::NotRun(format!("`{coarse}` is too coarse to tell"));
                }
                let graph = retyped(self.left, DType::Double, evaluate);
                let sides = Sides { left: &graph, right: self.right, casts: self.casts };
                let bound = self.algebra().max(SINGLE);
                let noise = !dropped
                    && sides.is_undecided(self.left, &wide, (&reference, &other), bound, evaluate);
                match noise {
                    true => Judgement::undecided(),
                    false => Judgement::Different(found.err().unwrap_or(difference)),
                }
            }
        }
    }

    /// Whether rounding decides what the left side computes, wherever the sides differ. Its constants
    /// are those of `native`, as good as their types.
    fn is_undecided(
        &self,
        native: &Graph,
        inputs: &Inputs,
        outputs: (&[Tensor], &[Tensor]),
        bound: f64,
        evaluate: &dyn Evaluate,
    ) -> bool {
        undecided((self.left, native), inputs, outputs, bound, evaluate).unwrap_or(false)
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

/// Whether a graph casts to fewer bits of precision than its outputs have.
fn narrows(graph: &Graph, outputs: &[Tensor]) -> bool {
    let given = outputs.iter().filter_map(|output| last_bit(output.dtype())).fold(1.0, f64::min);
    graph.nodes().any(|node| {
        let node = graph.node(node);
        node.op_type == "Cast"
            && node.attribute("to").and_then(AttributeValue::as_int).is_some_and(|to| {
                let to = i32::try_from(to).ok().map(DType::from_number);
                to.and_then(last_bit).is_some_and(|bit| bit > given)
            })
    })
}

/// Whether a graph computes some of it in another type.
fn casts(graph: &Graph) -> bool {
    graph.nodes().any(|node| matches!(graph.node(node).op_type.as_str(), "Cast" | "CastLike"))
}

fn native(outputs: &[Tensor]) -> f64 {
    outputs.iter().map(|output| of_type(output.dtype())).fold(0.0, f64::max)
}

/// The relative error that is left to rounding in a type.
fn of_type(dtype: DType) -> f64 {
    match dtype {
        DType::Float16 => 2e-3,
        DType::BFloat16 => 2e-2,
        DType::Double => ALGEBRA,
        _ => 1e-5,
    }
}

/// The largest finite number of a tensor.
pub(super) fn scale(numbers: &[f64]) -> f64 {
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
            worst = worst.max(match x.is_finite() && y.is_finite() {
                true => (x - y).abs() / size,
                false if same_limit(*x, *y) => 0.0,
                false => f64::INFINITY,
            });
        }
    }
    worst
}

/// Whether both are the same infinity, or no number.
fn same_limit(x: f64, y: f64) -> bool {
    x == y || (x.is_nan() && y.is_nan())
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
        // What a `double` rounds off counts where all is exact.
        let exact = left.to_i64s().zip(right.to_i64s());
        let apart = exact.and_then(|(a, b)| a.iter().zip(&b).position(|(a, b)| a != b));
        if let Some(index) = apart.filter(|_| !left.dtype().is_float()) {
            let (left, right) = (a[index], b[index]);
            return Err(Difference::Element { output, index, left, right });
        }
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
                same_limit(x, y)
            };
            if !same {
                return Err(Difference::Element { output, index, left: x, right: y });
            }
        }
    }
    Ok(worst)
}
