//! What inputs are filled with.

use marquetry_ir::{DType, Evaluate, Graph, Tensor};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::replacement::{Sampler, Verify};

use super::run::Inputs;
use crate::generate::{Drawn, Given, Random, distribution, numbers, tensor};

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Mean 0, deviation 1.
    Normal,
    /// Up to ±10⁴.
    Wide,
    /// About 10⁻⁶.
    Tiny,
    Integers,
    /// All elements equal: no variance.
    Equal,
    /// ±0, infinities, NaN, the least numbers, rows of −∞ among the others.
    Edges,
}

impl Class {
    pub(super) const ALL: [Self; 6] =
        [Self::Normal, Self::Wide, Self::Edges, Self::Equal, Self::Integers, Self::Tiny];
}

/// Contents of all inputs of a graph.
pub(super) fn inputs(
    drawn: &Drawn,
    graph: &Graph,
    pattern: &Pattern,
    class: Class,
    random: &mut Random,
    evaluate: &dyn Evaluate,
) -> Option<Inputs> {
    let mut inputs = Inputs::new();
    for &input in &graph.inputs {
        let ty = graph.value(input).tensor_type()?;
        let (dtype, dims) = (ty.dtype?, ty.known_shape()?);
        let given = drawn.given.iter().find(|given| given.value == input);
        let sampler = given.and_then(|given| sampler(pattern, given));
        if let (None, Some(held)) = (sampler, given.and_then(|given| given.held.clone())) {
            inputs.insert(input, held);
            continue;
        }
        let positive = given.is_some_and(|given| given.positive);
        let count = dims.iter().product();
        let content = match sampler {
            Some(sampler) => sampled(sampler, count, random)?,
            // More digits than a `double` has.
            None if dtype == DType::Int64 && matches!(class, Class::Wide | Class::Edges) => {
                inputs.insert(input, Tensor::from_i64s(dims, &long(class, count, random)).ok()?);
                continue;
            }
            None => content(class, dtype, &dims, positive, random),
        };
        inputs.insert(input, tensor(evaluate, dtype, &dims, &content)?);
    }
    Some(inputs)
}

/// Draws constants anew where the pattern narrows them.
pub(super) fn narrow_constants(
    drawn: &mut Drawn,
    pattern: &Pattern,
    random: &mut Random,
    evaluate: &dyn Evaluate,
) -> Option<()> {
    for given in &drawn.given {
        let Some(sampler) = sampler(pattern, given) else { continue };
        let value = drawn.model.graph.value(given.value);
        let Some(constant) = value.constant.clone().filter(|_| !given.fixed) else { continue };
        let content = sampled(sampler, constant.len(), random)?;
        let constant = tensor(evaluate, constant.dtype(), constant.dims(), &content)?;
        drawn.model.graph.set_initializer(given.value, constant);
    }
    Some(())
}

fn sampler<'p>(pattern: &'p Pattern, given: &Given) -> Option<&'p Sampler> {
    let Some(Verify::On { samplers, .. }) = &pattern.verify else { return None };
    samplers.iter().find(|(var, _)| Some(*var) == given.var).map(|(_, sampler)| sampler)
}

fn sampled(sampler: &Sampler, count: usize, random: &mut Random) -> Option<Vec<f64>> {
    (0..count)
        .map(|_| match sampler {
            Sampler::Distribution(name, parameters) => distribution(name, parameters, random),
            Sampler::Range(low, high) => {
                let width = usize::try_from(high.checked_sub(*low)?.checked_add(1)?).ok()?;
                Some((low + random.below(width) as i64) as f64)
            }
            Sampler::OneOf(list) => {
                let items = crate::generate::constants(list)?;
                let number = random.pick(&items).as_float()?;
                Some(number.number)
            }
        })
        .collect()
}

fn content(
    class: Class,
    dtype: DType,
    dims: &[usize],
    positive: bool,
    random: &mut Random,
) -> Vec<f64> {
    let count = dims.iter().product();
    let mut content = numbers(random, dtype, count, positive);
    if !dtype.is_float() {
        let Some((least, greatest)) = limits(dtype) else { return content };
        match class {
            Class::Wide => {
                content.iter_mut().for_each(|x| *x = random.uniform(least, greatest).round());
            }
            Class::Edges => {
                let near = [least, greatest, 0.0, 1.0, least + 1.0, greatest - 1.0];
                for _ in 0..2.min(count) {
                    let at = random.below(count);
                    content[at] = *random.pick(&near);
                }
            }
            _ => {}
        }
        return content;
    }
    if positive {
        return content;
    }
    match class {
        Class::Normal => {}
        Class::Wide => content.iter_mut().for_each(|x| *x = random.uniform(-1e4, 1e4)),
        Class::Tiny => content.iter_mut().for_each(|x| *x *= 1e-6),
        // And what lies between two of them, where rounding has to choose.
        Class::Integers => content.iter_mut().for_each(|x| *x = (*x * 6.0).round() / 2.0),
        Class::Equal => {
            let all = content.first().copied().unwrap_or(0.0);
            content.fill(all);
        }
        Class::Edges => {
            if let Some(&row) = dims.last().filter(|row| **row > 0 && random.once_in(3)) {
                let at = random.below(count / row) * row;
                if let Some(row) = content.get_mut(at..at + row) {
                    row.fill(f64::NEG_INFINITY);
                }
            }
            let tiny = if dtype == DType::Double { 5e-310 } else { 1e-41 };
            let planted = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, tiny, 1e3, -1e3];
            for _ in 0..(2 + count / 16).min(count) {
                let at = random.below(count);
                content[at] = *random.pick(&planted);
            }
        }
    }
    content
}

/// The least and the greatest of an integer type, as far as a `double` holds them.
fn limits(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::Int8 => (-128.0, 127.0),
        DType::Uint8 => (0.0, 255.0),
        DType::Int16 => (-32768.0, 32767.0),
        DType::Uint16 => (0.0, 65535.0),
        DType::Int32 => (-2147483648.0, 2147483647.0),
        DType::Uint32 => (0.0, 4294967295.0),
        _ => return None,
    })
}

/// Integers of many digits: of every length, or those just beside what smaller types hold.
fn long(class: Class, count: usize, random: &mut Random) -> Vec<i64> {
    const BESIDE: [i64; 10] = [
        i64::MIN,
        i64::MAX,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        (1 << 24) + 1,
        1 << 31,
        -(1 << 31) - 1,
        1 << 32,
        0,
        1,
    ];
    let number = |random: &mut Random| match class {
        Class::Edges => *random.pick(&BESIDE),
        _ => random.next().cast_signed() >> (8 * random.below(8)),
    };
    (0..count).map(|_| number(random)).collect()
}

/// Made-up content for a type of which not all lengths are known: those without a number are small.
pub(super) fn made_up(
    dtype: DType,
    dims: &[usize],
    random: &mut Random,
    evaluate: &dyn Evaluate,
) -> Option<Tensor> {
    let content = numbers(random, dtype, dims.iter().product(), false);
    tensor(evaluate, dtype, dims, &content)
}
