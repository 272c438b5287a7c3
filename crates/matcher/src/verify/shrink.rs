//! Small counterexamples, as a test that can be pasted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use marquetry_ir::text::{PrintOptions, print_graph};
use marquetry_ir::{Dim, Evaluate, Graph, Tensor, Type, ValueId};
use marquetry_pattern::core::Pattern;

use super::run::Inputs;
use crate::generate::tensor;

/// Elements up to which every one is tried.
const ELEMENTS: usize = 64;

/// Makes the values of a failing sample simple: small integers where they do, then zeros. What must
/// be above zero stays as it is.
pub(super) fn values(
    inputs: &mut Inputs,
    positive: &[ValueId],
    evaluate: &dyn Evaluate,
    fails: &mut dyn FnMut(&Inputs) -> bool,
) {
    let names: Vec<_> = inputs.keys().copied().collect();
    for value in names.into_iter().filter(|value| !positive.contains(value)) {
        let original = inputs[&value].clone();
        let Some(numbers) = original.to_f64s() else { continue };
        let put = |inputs: &mut Inputs, numbers: &[f64]| {
            let made = tensor(evaluate, original.dtype(), original.dims(), numbers);
            made.is_some_and(|made| {
                inputs.insert(value, made);
                true
            })
        };
        let counted: Vec<f64> = (0..numbers.len()).map(|at| at as f64).collect();
        let rounded: Vec<f64> = numbers.iter().map(|number| number.round()).collect();
        let mut best = numbers.clone();
        for simpler in [counted, rounded] {
            if put(inputs, &simpler) && fails(inputs) {
                best = simpler;
                break;
            }
        }
        for at in 0..best.len().min(ELEMENTS) {
            let before = std::mem::replace(&mut best[at], 0.0);
            if before != 0.0 && !(put(inputs, &best) && fails(inputs)) {
                best[at] = before;
            }
        }
        // A `double` does not hold all integers.
        if !(put(inputs, &best) && fails(inputs)) {
            inputs.insert(value, original);
        }
    }
}

/// How large a sample is: whether something is empty, which is odd, the elements of all values that
/// nothing computes, the nodes.
pub(super) fn size(graph: &Graph) -> (bool, usize, usize) {
    let shapes = graph.inputs.iter().chain(&graph.outputs);
    let empty = shapes.filter_map(|value| graph.value(*value).tensor_type()?.known_shape());
    let empty = empty.into_iter().any(|shape| shape.contains(&0));
    let elements = graph.inputs.iter().filter_map(|input| {
        let shape = graph.value(*input).tensor_type()?.known_shape()?;
        Some(shape.iter().product::<usize>() + shape.len())
    });
    let constants = graph.initializers.iter();
    let constants = constants.filter_map(|value| graph.value(*value).constant.as_ref());
    let counts: Vec<usize> = elements.chain(constants.map(Tensor::len)).collect();
    (empty, counts.iter().sum(), graph.nodes().count())
}

/// Takes the numbers of the lengths of inputs and outputs away.
pub(super) fn loosen(graph: &mut Graph) {
    let mut names: BTreeMap<Dim, String> = BTreeMap::new();
    let outside: Vec<ValueId> = graph.inputs.iter().chain(&graph.outputs).copied().collect();
    for value in outside {
        let Some(Type::Tensor(tensor)) = &mut graph.value_mut(value).ty else { continue };
        let Some(shape) = &tensor.shape else { continue };
        let dims = shape.iter().map(|dim| {
            let next = format!("N{}", names.len());
            Dim::symbol(names.entry(dim.clone()).or_insert(next))
        });
        tensor.shape = Some(dims.collect());
    }
}

/// A `test` block: the pattern must not match here, so it fails as long as the pattern is wrong.
pub(super) fn test(
    pattern: &Pattern,
    graph: &Graph,
    inputs: &Inputs,
    remarks: &[String],
) -> String {
    let mut text = format!("test \"{} is wrong here\"\n", pattern.name);
    for (value, tensor) in inputs {
        let numbers = tensor.to_f64s().unwrap_or_default();
        let shown: Vec<String> =
            numbers.iter().take(ELEMENTS).map(|number| format!("{number:?}")).collect();
        let more = if numbers.len() > ELEMENTS { ", …" } else { "" };
        let name = graph.value(*value).name();
        writeln!(text, "  # {name} = {{{}{more}}}", shown.join(", "))
            .expect("a string takes any text");
    }
    for remark in remarks {
        writeln!(text, "  # {remark}").expect("a string takes any text");
    }
    let options = PrintOptions { notes: false, ..PrintOptions::default() };
    let printed = print_graph(graph, &options);
    for line in printed.trim_end().lines() {
        writeln!(text, "  {line}").expect("a string takes any text");
    }
    if pattern.replacement.is_some() {
        // A rule is not to be applied: the graph stays as it is.
        writeln!(text, "  becomes").expect("a string takes any text");
        for line in printed.trim_end().lines() {
            writeln!(text, "  {line}").expect("a string takes any text");
        }
    } else {
        writeln!(text, "  rejects {}", pattern.name).expect("a string takes any text");
    }
    text
}
