//! How well a graph decides what it computes. What cancels has no better value than its noise: a
//! variance of equal numbers under a root, say, which is NaN where rounding made it negative.

use marquetry_ir::{AttributeValue, DType, Evaluate, Graph, Tensor, ValueId};

use super::compare::scale;
use super::run::{Inputs, retyped, retyped_inputs, run};
use crate::generate::{Random, tensor};

/// How often inputs are moved to see what they decide.
const PERTURBATIONS: u64 = 16;

/// How much further apart than the left side moves the right side may be.
const LOSS: f64 = 32.0;

/// The same where constants move by their last bit: they are known as well as that.
const ROUNDED: f64 = 2.0;

/// Whether at every element where the sides differ, the left one, in `double`, moves about as much
/// when its inputs move by their last bit, and also when it is computed in `float`. The second tells
/// noise from a function that jumps where nothing was rounded at all.
///
/// A constant is as good as its type in the second graph, which is the same one.
pub(super) fn undecided(
    (graph, native): (&Graph, &Graph),
    inputs: &Inputs,
    (left, right): (&[Tensor], &[Tensor]),
    bound: f64,
    evaluate: &dyn Evaluate,
) -> Option<bool> {
    let moved = (0..PERTURBATIONS).filter_map(|seed| {
        let inputs = moved(inputs, &mut Random::new(&[7, seed]), evaluate)?;
        run(graph, evaluate, &inputs).ok()
    });
    let moved: Vec<Vec<Tensor>> = moved.collect();
    let rounded = (0..PERTURBATIONS).filter_map(|seed| {
        let graph = rounded(graph, native, &mut Random::new(&[8, seed]), evaluate)?;
        run(&graph, evaluate, inputs).ok()
    });
    let rounded: Vec<Vec<Tensor>> = rounded.collect();
    let single = retyped(graph, DType::Float, evaluate);
    let single = run(&single, evaluate, &retyped_inputs(inputs, DType::Float, evaluate)).ok()?;
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        let numbers = |runs: &[Vec<Tensor>]| -> Vec<Vec<f64>> {
            runs.iter().filter_map(|outputs| outputs.get(at)?.to_f64s()).collect()
        };
        let (others, rounded) = (numbers(&moved), numbers(&rounded));
        let (left, right, single) = (left.to_f64s()?, right.to_f64s()?, single.get(at)?.to_f64s()?);
        let size = scale(&left).max(scale(&right));
        for (index, (&x, &y)) in left.iter().zip(&right).enumerate() {
            let apart = (x - y).abs();
            if x == y || (x.is_nan() && y.is_nan()) || apart <= bound * size {
                continue;
            }
            let single = *single.get(index)?;
            let values = others.iter().filter_map(|other| other.get(index).copied());
            let finite = |value: f64| value.is_finite();
            let rounded = rounded.iter().filter_map(|other| other.get(index).copied());
            // Whether there is a number at all is noise.
            let mut all = values.clone().chain(rounded.clone());
            if all.any(|value| finite(value) != finite(x)) && !(finite(x) && finite(y)) {
                continue;
            }
            if rounded.map(|value| (value - x).abs()).fold(0.0, f64::max) * ROUNDED >= apart {
                continue;
            }
            let spread = values.map(|value| (value - x).abs()).fold(0.0, f64::max);
            let decided = apart > LOSS * spread || apart > LOSS * (single - x).abs();
            if decided || !apart.is_finite() {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// The graph with every constant moved by up to the last bit of the type that it has in `native`.
fn rounded(
    graph: &Graph,
    native: &Graph,
    random: &mut Random,
    evaluate: &dyn Evaluate,
) -> Option<Graph> {
    let mut graph = graph.clone();
    let values: Vec<ValueId> = native.values().collect();
    for value in values {
        let Some(constant) = &native.value(value).constant else { continue };
        let Some(bit) = last_bit(constant.dtype()) else { continue };
        let numbers = constant.to_f64s()?.into_iter().map(|x| match (x * 8.0).fract() == 0.0 {
            // What every type holds exactly, such as an exponent, was not rounded.
            true => x,
            false => x * (1.0 + random.uniform(-1.0, 1.0) * bit),
        });
        let numbers: Vec<f64> = numbers.collect();
        let dtype = graph.value(value).constant.as_ref()?.dtype();
        let moved = tensor(evaluate, dtype, constant.dims(), &numbers)?;
        graph.value_mut(value).constant = Some(moved);
    }
    Some(graph)
}

/// The inputs with every number moved by up to its last bit.
fn moved(inputs: &Inputs, random: &mut Random, evaluate: &dyn Evaluate) -> Option<Inputs> {
    let moved = inputs.iter().map(|(&value, input)| {
        let Some(bit) = last_bit(input.dtype()) else { return Some((value, input.clone())) };
        let numbers = input.to_f64s()?.into_iter();
        let numbers: Vec<f64> =
            numbers.map(|x| x * (1.0 + random.uniform(-1.0, 1.0) * bit)).collect();
        Some((value, tensor(evaluate, input.dtype(), input.dims(), &numbers)?))
    });
    moved.collect()
}

/// The relative size of the last bit of a type.
pub(super) fn last_bit(dtype: DType) -> Option<f64> {
    match dtype {
        DType::Double => Some(f64::EPSILON),
        DType::Float => Some(f64::from(f32::EPSILON)),
        DType::Float16 => Some(2f64.powi(-10)),
        DType::BFloat16 => Some(2f64.powi(-7)),
        _ => None,
    }
}

/// The type with the fewest bits of precision that graphs compute in.
pub(super) fn coarsest(graphs: [&Graph; 2]) -> DType {
    let all = graphs.into_iter().flat_map(|graph| {
        let values = graph.values().filter_map(|value| {
            let value = graph.value(value);
            let declared = value.tensor_type().and_then(|ty| ty.dtype);
            value.constant.as_ref().map(Tensor::dtype).or(declared)
        });
        let attributes = graph.nodes().flat_map(|node| &graph.node(node).attributes);
        let casts = attributes.filter_map(|attribute| match attribute.value {
            AttributeValue::Int(number) if attribute.name == "to" => {
                Some(DType::from_number(i32::try_from(number).ok()?))
            }
            _ => None,
        });
        values.chain(casts)
    });
    let precision = |dtype: &DType| last_bit(*dtype).unwrap_or(0.0);
    all.fold(DType::Double, |a, b| if precision(&b) > precision(&a) { b } else { a })
}
