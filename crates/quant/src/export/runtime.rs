//! What runtimes are known to make of a correct model.

use std::ops::RangeInclusive;

use marquetry_ir::infer::Types;
use marquetry_ir::{DType as ElementType, Graph, ValueId};

use crate::DType;
use crate::plan::{Plan, Quantizer, Role};

type Bits = RangeInclusive<u32>;

/// Where ONNX Runtime does not run what was written in an opset, or computes something else, and what
/// helps; one line each.
pub(super) fn notes(graph: &Graph, types: &Types, plan: &Plan, opset: i64) -> Vec<String> {
    let mut notes = Vec::new();
    let half = |value: ValueId| types.dtype(value) == Some(ElementType::Float16);
    let integers = |site: &Quantizer, bits: Bits| {
        let encoding = site.encoding.as_ref().filter(|encoding| encoding.dtype.is_integer());
        site.role == Role::Activation
            && encoding.is_some_and(|encoding| bits.contains(&encoding.dtype.bits()))
    };
    let halves: Vec<_> = plan.enabled().filter(|(value, _)| half(*value)).collect();
    if halves.iter().any(|(_, site)| integers(site, 16..=16)) {
        notes.push(
            "ONNX Runtime 1.32 gives float16 biases scales that float16 does not hold beside \
             activations of 16 bits: run it with `session.disable_quant_qdq`, or ask for 8 bits"
                .to_owned(),
        );
    }
    let joined = |value: ValueId| {
        let producer = graph.has_value(value).then(|| graph.producer(value)).flatten();
        producer.is_some_and(|(node, _)| graph.node(node).is_onnx("Concat"))
    };
    if halves.iter().any(|(value, site)| integers(site, 1..=8) && joined(*value)) {
        notes.push(
            "ONNX Runtime 1.32 joins integers behind a float16 `Concat` with a kernel that takes no \
             float16 scales, and does not load the model on a CPU: run it with \
             `session.disable_quant_qdq`, or leave these out"
                .to_owned(),
        );
    }
    let product = |site: &Quantizer| {
        let mut readers = site.readers.iter().map(|reader| graph.node(reader.node));
        readers.any(|node| node.is_onnx("MatMul"))
    };
    let signed = |site: &Quantizer| {
        let encoding = site.encoding.as_ref();
        site.role == Role::Activation && encoding.is_some_and(|one| one.dtype == DType::Int8)
    };
    if opset >= 21 && plan.enabled().any(|(_, site)| signed(site) && product(site)) {
        notes.push(
            "ONNX Runtime 1.32 may not load int8 activations before a `MatMul` with a bias from opset 21 \
             on: set `session.qdqisint8allowed` to 1 where it runs on a CPU"
                .to_owned(),
        );
    }
    let stored = |wanted: &[DType]| {
        let mut encodings = plan.enabled().filter_map(|(_, site)| site.encoding.as_ref());
        encodings.any(|encoding| wanted.contains(&encoding.dtype))
    };
    let small = [DType::Float8E4M3Fn, DType::Float8E5M2];
    for (wanted, what) in [
        (&small[..], "computes something else from 8-bit floats"),
        (&[DType::Int2, DType::UInt2], "refuses integers of 2 bits"),
    ] {
        if stored(wanted) {
            notes.push(format!(
                "ONNX Runtime 1.32 {what} where it optimizes: run it with its graph optimizations off"
            ));
        }
    }
    if plan.enabled().any(|(value, _)| types.dtype(value) == Some(ElementType::BFloat16)) {
        notes.push(
            "the model computes in bfloat16, for which ONNX Runtime has no QuantizeLinear on a CPU"
                .to_owned(),
        );
    }
    notes
}
