//! A plan to a document.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, ValueId};
use serde_json::json;

use super::derive::{self, Known};
use super::{Document, Element, EncodingsError, Entry, Layout, Section, Version};
use crate::grid;
use crate::inside;
use crate::plan::{Plan, Quantizer, Role};
use crate::{Encoding, Granularity, NumericError, lpbq};

/// What a file of this version says of a plan: tensors in the order of the graph, inputs first, and those
/// of bodies last. A tensor of a body whose name other graphs of the model have, too, is left out with a note:
/// files know tensors by their names.
///
/// 2.0.0 lists parameters first, then activations, then entries that follow from others; biases are
/// in no other version. Activations are unsigned there, as its readers expect.
///
/// # Errors
///
/// `Unfit` for an encoding that does not fit its own grid.
pub fn of_plan(
    graph: &Graph,
    types: &Types,
    plan: &Plan,
    version: Version,
) -> Result<Document, EncodingsError> {
    let mut known: Known<'_> = BTreeMap::new();
    for (value, site) in plan.enabled() {
        if let Some(encoding) = &site.encoding {
            known.insert(value, (site.role, std::borrow::Cow::Borrowed(encoding)));
        }
    }
    let (mut activations, mut params, mut derived) = (Vec::new(), Vec::new(), Vec::new());
    let mut order = in_graph_order(graph);
    let outside: BTreeSet<ValueId> = order.iter().copied().collect();
    // What is in bodies comes last, as far as its name says which value of the model is meant.
    let inner = known.keys().copied().filter(|value| !outside.contains(value));
    let (own, shared): (Vec<ValueId>, Vec<ValueId>) =
        inner.partition(|&value| plan.has_own_name(graph, value));
    order.extend(own);
    let name = |value: &ValueId| {
        let there = plan
            .spot(*value)
            .and_then(|spot| Some(inside::body(graph, &spot.way)?.value(spot.value).name()));
        there.unwrap_or_else(|| graph.value(*value).name())
    };
    let shared: Vec<&str> = shared.iter().map(name).collect();
    let moved = match version {
        Version::V2_0_0 => derive::follow(graph, types, plan, &mut known),
        _ => Vec::new(),
    };
    for &value in &order {
        let Some((role, encoding)) = known.get(&value) else { continue };
        let name = graph.value(value).name();
        if version == Version::V0_6_1 && has_rest(types, value, encoding) {
            return Err(EncodingsError::CannotHold {
                name: name.to_owned(),
                version: version.name(),
                what: "blocks that do not divide their axis, whose size it does not say",
                instead: "1.0.0 or 2.0.0",
            });
        }
        match role {
            _ if moved.contains(&value) => {}
            Role::Activation => activations.push(entry(name, *role, encoding, version)?),
            Role::Weight => params.push(entry(name, *role, encoding, version)?),
            Role::Bias { .. } if version == Version::V2_0_0 => {
                params.push(entry(name, *role, encoding, version)?);
            }
            Role::Bias { .. } => {}
        }
    }
    for value in moved {
        if let Some((role, encoding)) = known.get(&value) {
            derived.push(entry(graph.value(value).name(), *role, encoding, version)?);
        }
    }
    let entries = match version {
        Version::V2_0_0 => params.into_iter().chain(activations).chain(derived).collect(),
        _ => activations.into_iter().chain(params).collect(),
    };
    Ok(Document {
        version: Some(version),
        producer: Some(json!({ "package": "marquetry", "version": env!("CARGO_PKG_VERSION") })),
        quantizer_args: Some(quantizer_args(plan)),
        entries,
        notes: super::unclear(&shared, "left out of the file").into_iter().collect(),
    })
}

/// Whether the last block of an axis is shorter than the others.
fn has_rest(types: &Types, value: ValueId, encoding: &Encoding) -> bool {
    let (Granularity::PerBlock { axis, size, .. } | Granularity::Lpbq { axis, size, .. }) =
        encoding.granularity
    else {
        return false;
    };
    let dims = types.constant(value).map(|constant| constant.dims().to_vec()).unwrap_or_default();
    let axis = grid::resolve(axis, dims.len());
    axis.is_ok_and(|axis| !dims[axis].is_multiple_of(size.max(1)))
}

fn quantizer_args(plan: &Plan) -> serde_json::Value {
    let first = |role: Role| plan.enabled().map(|(_, site)| site).find(|site| site.role == role);
    let bits = |site: Option<&Quantizer>| site.map_or(8, |site| site.spec.dtype.bits());
    let (activation, weight) = (first(Role::Activation), first(Role::Weight));
    let float = activation.or(weight).is_some_and(|site| !site.spec.dtype.is_integer());
    json!({
        "activation_bitwidth": bits(activation),
        "dtype": if float { "float" } else { "int" },
        "is_symmetric": weight.is_some_and(|site| site.spec.symmetric),
        "param_bitwidth": bits(weight),
        "per_channel_quantization": weight
            .is_some_and(|site| site.spec.granularity != Granularity::PerTensor),
        "quant_scheme": activation.map_or_else(
            || "min_max".to_owned(),
            |site| site.spec.scheme.to_string()
        ),
    })
}

fn entry(
    name: &str,
    role: Role,
    encoding: &Encoding,
    version: Version,
) -> Result<Entry, EncodingsError> {
    let dtype = encoding.dtype;
    let bits = dtype.bits();
    let element = match (role, dtype.is_integer(), dtype.is_cast()) {
        (_, false, true) => Element::Float { bits },
        (_, false, false) => Element::Float8(dtype),
        // Readers of 2.0.0 expect unsigned activations, and signed parameters where zero is in the
        // middle.
        (Role::Activation, ..) => Element::Int { bits, signed: Some(false) },
        (Role::Bias { .. }, ..) => Element::Int { bits, signed: Some(true) },
        (Role::Weight, ..) => Element::Int { bits, signed: Some(encoding.symmetric) },
    };
    let mut entry = Entry::named(name, element);
    entry.section = Some(match role {
        Role::Activation => Section::Activation,
        Role::Weight | Role::Bias { .. } => Section::Param,
    });
    if dtype.is_cast() {
        return Ok(entry);
    }
    entry.symmetric = Some(encoding.symmetric);
    let rank = encoding.shape.len() as i64;
    let counted = |axis: i64| Some(if axis < 0 { axis + rank } else { axis });
    entry.layout = match encoding.granularity {
        Granularity::PerTensor => Layout::Tensor,
        Granularity::PerChannel(axis) => Layout::Channel { axis: counted(axis) },
        Granularity::PerBlock { axis, size, .. } => Layout::Block { axis: counted(axis), size },
        Granularity::Lpbq { axis, size, compressed, decompressed, .. } => {
            Layout::Lpbq { axis: counted(axis), size, compressed, decompressed }
        }
    };
    let nested = version == Version::V2_0_0;
    let cells = match version {
        Version::V1_0_0 => by_channel(encoding),
        _ => (0..encoding.cells.len()).collect(),
    };
    entry.scales = cells.iter().map(|&cell| encoding.cells[cell].scale).collect();
    entry.offsets = cells.iter().map(|&cell| encoding.cells[cell].offset).collect();
    entry.shape = match encoding.granularity {
        Granularity::PerTensor => Vec::new(),
        Granularity::PerBlock { .. } | Granularity::Lpbq { .. } if nested => encoding.shape.clone(),
        _ => vec![cells.len()],
    };
    if let Granularity::Lpbq { channel, .. } = encoding.granularity {
        let unfit = |error: NumericError| EncodingsError::Unfit {
            name: name.to_owned(),
            what: error.to_string(),
        };
        let ints = lpbq::int_scales(encoding, channel).map_err(unfit)?;
        entry.ints = cells.iter().map(|&cell| ints[cell]).collect();
        entry.channel_scales.clone_from(&encoding.channel_scales);
    }
    Ok(entry)
}

/// The cells in the order of flat lists: blocks of one output channel stand together.
pub(super) fn by_channel(encoding: &Encoding) -> Vec<usize> {
    let cells = 0..encoding.cells.len();
    match encoding.granularity {
        Granularity::PerBlock { channel, .. } | Granularity::Lpbq { channel, .. } => {
            match lpbq::channels(&encoding.shape, channel) {
                Ok(channels) => {
                    let mut cells: Vec<usize> = cells.collect();
                    // Stable: within a channel, blocks stay in order.
                    cells.sort_by_key(|&cell| channels[cell]);
                    cells
                }
                Err(_) => cells.collect(),
            }
        }
        _ => cells.collect(),
    }
}

/// Every value once: graph inputs, then by node its inputs and its outputs.
pub(super) fn in_graph_order(graph: &Graph) -> Vec<ValueId> {
    let nodes = graph.nodes().flat_map(|node| {
        let inputs = graph.inputs(node).into_iter().flatten();
        inputs.chain(graph.outputs(node).into_iter().flatten())
    });
    let mut seen = BTreeSet::new();
    graph.inputs.iter().copied().chain(nodes).filter(|&value| seen.insert(value)).collect()
}
