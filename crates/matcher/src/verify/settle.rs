//! How well a graph decides what it computes: by how much its outputs move when its inputs and
//! constants move by their last bit. What cancels has no better value.

use marquetry_ir::{AttributeValue, DType, Evaluate, Graph, Tensor, ValueId};

use super::compare::scale;
use super::run::{Inputs, run};
use crate::generate::{Random, tensor};

/// How often inputs are moved to see what they decide.
const PERTURBATIONS: u64 = 16;

/// How much further apart than the left side moves the right side may be.
const LOSS: f64 = 32.0;

/// Whether the left side moves about as much as both sides differ when what it is given moves by the
/// last bit, its own or the one that is given here. So it is with a variance of equal numbers under a
/// root, say, which is NaN where rounding made it negative.
///
/// Returns by how much they differ then, relative to the largest number.
pub(super) fn unsettled(
    graph: &Graph,
    inputs: &Inputs,
    bit: Option<f64>,
    (left, right): (&[Tensor], &[Tensor]),
    evaluate: &dyn Evaluate,
) -> Option<f64> {
    let moved = (0..PERTURBATIONS).filter_map(|seed| {
        let mut random = Random::new(&[7, seed]);
        let (graph, inputs) = moved(graph, inputs, bit, &mut random, evaluate)?;
        run(&graph, evaluate, &inputs).ok()
    });
    let moved: Vec<Vec<Tensor>> = moved.collect();
    let (mut apart, mut spread): (f64, f64) = (0.0, 0.0);
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
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

/// The graph and its inputs, with every number moved by up to its last bit.
fn moved(
    graph: &Graph,
    inputs: &Inputs,
    bit: Option<f64>,
    random: &mut Random,
    evaluate: &dyn Evaluate,
) -> Option<(Graph, Inputs)> {
    let mut nudge = |given: &Tensor, keep: fn(f64) -> bool| {
        let Some(bit) = bit.or_else(|| last_bit(given.dtype())) else { return Some(given.clone()) };
        if !given.dtype().is_float() {
            return Some(given.clone());
        }
        let numbers = given.to_f64s()?.into_iter().map(|x| match keep(x) {
            true => x,
            false => x * (1.0 + random.uniform(-1.0, 1.0) * bit),
        });
        let numbers: Vec<f64> = numbers.collect();
        tensor(evaluate, given.dtype(), given.dims(), &numbers)
    };
    let mut graph = graph.clone();
    let values: Vec<ValueId> = graph.values().collect();
    for value in values {
        if let Some(constant) = &graph.value(value).constant {
            // What every type holds exactly, such as an exponent, was not rounded.
            let nudged = nudge(constant, |x| (x * 8.0).fract() == 0.0)?;
            graph.value_mut(value).constant = Some(nudged);
        }
    }
    let inputs = inputs.iter().map(|(&value, input)| Some((value, nudge(input, |_| false)?)));
    let inputs = inputs.collect::<Option<Inputs>>()?;
    Some((graph, inputs))
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

/// The type with the fewest bits of precision that a graph computes in.
pub(super) fn coarsest(graph: &Graph) -> DType {
    let values = graph.values().filter_map(|value| {
        let value = graph.value(value);
        let declared = value.tensor_type().and_then(|ty| ty.dtype);
        value.constant.as_ref().map(Tensor::dtype).or(declared)
    });
    let casts = graph.nodes().flat_map(|node| &graph.node(node).attributes);
    let casts = casts.filter_map(|attribute| match attribute.value {
        AttributeValue::Int(number) if attribute.name == "to" => {
            Some(DType::from_number(i32::try_from(number).ok()?))
        }
        _ => None,
    });
    let precision = |dtype: &DType| last_bit(*dtype).unwrap_or(0.0);
    let all = values.chain(casts);
    all.fold(DType::Double, |a, b| if precision(&b) > precision(&a) { b } else { a })
}
