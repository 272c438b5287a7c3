//! A document on a model: a plan.

use std::collections::BTreeSet;

use marquetry_engine::Embedded;
use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Model, Slot, Use, ValueId};
use marquetry_matcher::Groups;

use super::of_plan::by_channel;
use super::{Document, Element, EncodingsError, Entry, Layout, Section};
use crate::encoding::Cell;
use crate::flat::Flat;
use crate::grid::{self, Grid};
use crate::inside::Names;
use crate::kernel::{BIAS, DATA, WEIGHT};
use crate::opened::open;
use crate::pass::Computed;
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::{DType, Encoding, Granularity, NumericError, Spec, params, suggest};

/// What became of a document.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The model that the plan is for: the one given, but that constants of bodies lie in the main graph
    /// where something of a body has an encoding, and that weights that are computed from constants are
    /// constants where each of their channels has a scale.
    pub model: Model,
    /// A quantizer for every entry.
    pub plan: Plan,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
}

/// Puts every entry on the tensor of its name, whether the main graph has it or the body of an If, Loop or
/// Scan.
///
/// Tensors that the model does not have and entries that do not fit are errors if `strict`, and left
/// out with a note otherwise. Names that only bodies have, but several of them, are left out with a note,
/// too. An entry for nothing at all, which some writers leave, always is.
///
/// # Errors
///
/// `UnknownTensor` and `Unfit`.
pub fn apply(document: &Document, model: &Model, strict: bool) -> Result<Applied, EncodingsError> {
    let mut model = model.clone();
    let mut plan = Plan::default();
    let everywhere = Names::of(&model.graph);
    let outside = |entry: &Entry| model.graph.find(&entry.name).is_none();
    if document.entries.iter().any(|one| outside(one) && !everywhere.is_free(&one.name)) {
        open(&mut model, &mut plan);
    }
    fold_weights(document, &mut model);
    let types = infer::run(&model);
    let groups = Groups::default();
    let flat = Flat::of(&model.graph, &types, &groups, &plan)
        .unwrap_or_else(|_| Flat::closed(&model.graph, &types, &groups));
    let mut notes = document.notes.clone();
    let mut plan = flat.enter(plan);
    put(document, &flat, &everywhere, strict, &mut plan, &mut notes)?;
    let plan = flat.leave(plan);
    Ok(Applied { model, plan, notes })
}

/// Makes constants of weights that the model computes from constants, where an entry has scales for their
/// channels: who wrote the file had folded them.
fn fold_weights(document: &Document, model: &mut Model) {
    let types = infer::run(model);
    let graph = &mut model.graph;
    let Ok(computed) = Computed::of(graph, &types) else { return };
    let channels = document.entries.iter().filter(|entry| entry.scales.len() > 1);
    let wanted = channels.filter_map(|entry| graph.find(&entry.name)).filter(|&value| {
        computed.is_steady(value) && !types.is_constant(value) && !graph.is_output(value)
    });
    let wanted: Vec<ValueId> = wanted.collect();
    if !wanted.is_empty() {
        // What cannot be computed here does not fit, which is said of its entry.
        let _ = computed.fold(graph, &wanted, &Embedded::default());
    }
}

/// Puts every entry on a tensor of a graph without bodies.
fn put(
    document: &Document,
    flat: &Flat<'_>,
    everywhere: &Names,
    strict: bool,
    plan: &mut Plan,
    notes: &mut Vec<String>,
) -> Result<(), EncodingsError> {
    let (graph, types) = (&*flat.graph, &*flat.types);
    let source = match document.version {
        Some(version) => format!("encodings {}", version.name()),
        None => "tensor overrides".to_owned(),
    };
    let mut seen = BTreeSet::new();
    let mut shared = Vec::new();
    for entry in &document.entries {
        if entry.name.is_empty() {
            notes.push("an entry without a name is left out".to_owned());
            continue;
        }
        let placed = match graph.find(&entry.name) {
            Some(value) if !seen.insert(value) => Err(EncodingsError::Unfit {
                name: entry.name.clone(),
                what: "it is listed twice".to_owned(),
            }),
            Some(value) => site(entry, graph, types, value).map(|site| (value, site)),
            None if !everywhere.is_free(&entry.name) => {
                shared.push(entry.name.as_str());
                continue;
            }
            None => {
                let names: Vec<&str> =
                    graph.values().map(|value| graph.value(value).name()).collect();
                let near = suggest::closest(&entry.name, &names);
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                Err(EncodingsError::UnknownTensor { name: entry.name.clone(), hint })
            }
        };
        match placed {
            Ok((value, mut site)) => {
                site.because.push(Reason::new(source.clone(), "it has an encoding"));
                plan.place(value, || site);
            }
            Err(error) if strict => return Err(error),
            Err(error) => notes.push(error.to_string()),
        }
    }
    notes.extend(super::unclear(&shared, "left in float"));
    Ok(())
}

fn site(
    entry: &Entry,
    graph: &Graph,
    types: &Types,
    value: ValueId,
) -> Result<Quantizer, EncodingsError> {
    let role = role(entry, graph, types, value);
    let encoding = encoding(entry, graph, types, value, role)?;
    let spec = Spec {
        symmetric: encoding.symmetric,
        strict: encoding.strict,
        granularity: encoding.granularity,
        shifted: encoding.is_shifted(),
        ..Spec::activation(encoding.dtype)
    };
    let mut site = Quantizer::new(role, spec);
    for reader in graph.uses(value) {
        if matches!(reader.slot, Slot::Input(_)) {
            site.add_reader(reader);
        }
    }
    site.output = graph.is_output(value) && role == Role::Activation;
    site.encoding = Some(encoding);
    site.frozen = true;
    Ok(site)
}

fn role(entry: &Entry, graph: &Graph, types: &Types, value: ValueId) -> Role {
    let constant = types.is_constant(value);
    if !constant {
        return Role::Activation;
    }
    if matches!(entry.element, Element::Int { bits: 32, .. }) {
        let is_bias = |reader: &Use| matches!(reader.slot, Slot::Input(at) if at as usize == BIAS);
        if let Some(kernel) = graph.uses(value).into_iter().find(is_bias)
            && let (Some(input), Some(weight)) =
                (graph.input(kernel.node, DATA), graph.input(kernel.node, WEIGHT))
        {
            return Role::Bias { input, weight };
        }
        return Role::Weight;
    }
    match entry.section {
        Some(Section::Activation) => Role::Activation,
        Some(Section::Param) => Role::Weight,
        None if param_axes(graph, types, value).is_some() => Role::Weight,
        None => Role::Activation,
    }
}

/// The axes of output channels and of blocks of a parameter, or nothing for what is none.
pub(super) fn param_axes(graph: &Graph, types: &Types, value: ValueId) -> Option<(i64, i64)> {
    let rank = types.rank(value).unwrap_or(0);
    graph.uses(value).into_iter().find_map(|reader| {
        let Slot::Input(slot) = reader.slot else { return None };
        let node = graph.node(reader.node);
        let slot = slot as usize;
        match (node.op_type.as_str(), slot) {
            // A weight that is stored the other way round.
            ("Transpose", 0) if rank == 2 => {
                let output = graph.output(reader.node, 0)?;
                let matmul = graph.uses(output).into_iter().any(|reader| {
                    reader.slot == Slot::Input(1) && graph.node(reader.node).is_onnx("MatMul")
                });
                matmul.then_some((0, 1))
            }
            _ => params::axes(node, slot, rank),
        }
    })
}

fn encoding(
    entry: &Entry,
    graph: &Graph,
    types: &Types,
    value: ValueId,
    role: Role,
) -> Result<Encoding, EncodingsError> {
    let unfit = |what: String| EncodingsError::Unfit { name: entry.name.clone(), what };
    let numeric = |error: NumericError| unfit(error.to_string());
    let dtype = dtype(entry, role).ok_or_else(|| unfit("there is no type of this width".into()))?;
    let symmetric = entry.symmetric.unwrap_or_else(|| centred(entry));
    let spec = Spec { symmetric, ..Spec::activation(dtype) };
    if dtype.is_cast() {
        return Ok(Encoding::cast(&spec));
    }
    if entry.scales.is_empty() {
        return Err(unfit(super::NO_GRID.to_owned()));
    }
    if entry.scales.iter().any(|&scale| !(scale > 0.0 && scale.is_finite())) {
        return Err(unfit("a scale is not positive".to_owned()));
    }
    let offsets = entry.offsets.iter();
    let lowest = -(2f64.powi(dtype.bits() as i32) - 1.0);
    if offsets.clone().any(|&offset| !(lowest..=0.0).contains(&offset)) {
        return Err(unfit("an offset lies outside of its type".to_owned()));
    }
    // One step is given up where both ends are as far away.
    let strict = symmetric
        && dtype.is_integer()
        && offsets.clone().next() == Some(&(1.0 - 2f64.powi(dtype.bits() as i32 - 1)));
    let dims = || -> Result<Vec<usize>, EncodingsError> {
        match types.constant(value) {
            Some(tensor) => Ok(tensor.dims().to_vec()),
            None => Err(unfit("it is no constant, and has more than one scale".to_owned())),
        }
    };
    let axes = param_axes(graph, types, value);
    let granularity = granularity(entry, axes, &dims).map_err(unfit)?;
    let spec = Spec { strict, granularity, ..spec };
    let shape = match granularity {
        Granularity::PerTensor => Vec::new(),
        _ => Grid::new(&dims()?, granularity).map_err(numeric)?.shape().to_vec(),
    };
    let count: usize = shape.iter().product();
    if entry.scales.len() != count || entry.offsets.len() != count {
        let found = entry.scales.len();
        return Err(unfit(format!("its grid has {count} scales, the file gives {found}")));
    }
    let cell = |at: usize| Cell { scale: entry.scales[at], offset: entry.offsets[at] };
    let mut encoding = Encoding::new(&spec, shape, (0..count).map(cell).collect());
    // Flat lists have the blocks of a channel together, but those of 0.6.1, which do not say that they
    // are of blocks and have them as a tensor of scales has.
    if entry.shape.len() <= 1 && !matches!(entry.layout, Layout::Channel { .. }) {
        for (at, target) in by_channel(&encoding).into_iter().enumerate() {
            encoding.cells[target] = cell(at);
        }
    }
    encoding.channel_scales = entry.channel_scales.clone();
    Ok(encoding)
}

/// Whether every zero stands in the middle of its grid. One beside the middle may be that of a symmetric grid
/// without its last step, or of one that is not symmetric and has it: nothing is lost with the second.
fn centred(entry: &Entry) -> bool {
    let Element::Int { bits, .. } = entry.element else { return true };
    let middle = -2f64.powi(bits as i32 - 1);
    entry.offsets.iter().all(|&offset| offset == middle)
}

fn dtype(entry: &Entry, role: Role) -> Option<DType> {
    let (bits, signed) = match entry.element {
        Element::Float8(dtype) => return Some(dtype),
        Element::Float { bits: 16 } => return Some(DType::Float16),
        Element::Float { .. } => return None,
        Element::Int { bits, signed } => (bits, signed),
    };
    let signed = signed.unwrap_or(match role {
        Role::Activation => false,
        Role::Weight => entry.symmetric == Some(true),
        Role::Bias { .. } => true,
    });
    DType::parse(&format!("{}int{bits}", if signed { "" } else { "u" }))
}

fn granularity(
    entry: &Entry,
    axes: Option<(i64, i64)>,
    dims: &dyn Fn() -> Result<Vec<usize>, EncodingsError>,
) -> Result<Granularity, String> {
    let shape = || dims().map_err(|error| error.to_string());
    // The only other axis, for a block whose channel nobody names.
    let other = |axis: i64| -> Result<i64, String> {
        let dims = shape()?;
        let at = grid::resolve(axis, dims.len()).map_err(|error| error.to_string())?;
        match (axes, dims.len()) {
            (Some((channel, _)), rank) => {
                let channel = grid::resolve(channel, rank).map_err(|error| error.to_string())?;
                Ok(if channel == at { 1 - at as i64 } else { channel as i64 })
            }
            (None, 2) => Ok(1 - at as i64),
            _ => Err("nobody says which axis has the output channels".to_owned()),
        }
    };
    Ok(match entry.layout {
        Layout::Tensor => Granularity::PerTensor,
        Layout::Channel { axis: Some(axis) } => Granularity::PerChannel(axis),
        Layout::Channel { axis: None } => {
            let dims = shape()?;
            if let Some(blocks) = flat_blocks(entry, axes, &dims)? {
                return Ok(blocks);
            }
            let fitting: Vec<usize> =
                (0..dims.len()).filter(|&at| dims[at] == entry.scales.len()).collect();
            match (axes, fitting.as_slice()) {
                (Some((channel, _)), _) => Granularity::PerChannel(
                    grid::resolve(channel, dims.len()).map_err(|error| error.to_string())? as i64,
                ),
                (None, [only]) => Granularity::PerChannel(*only as i64),
                _ => return Err("nobody says which axis has the channels".to_owned()),
            }
        }
        Layout::Block { axis, size } => {
            let axis = block_axis(axis, axes, &shape()?)?;
            Granularity::PerBlock { axis, size, channel: other(axis)? }
        }
        Layout::Lpbq { axis, size, compressed, decompressed } => {
            let axis = block_axis(axis, axes, &shape()?)?;
            let channel = other(axis)?;
            Granularity::Lpbq { axis, size, channel, compressed, decompressed }
        }
    })
}

/// 0.6.1 does not say of a list whether it has a scale for each channel or for each block: where there
/// are some times as many as output channels, and the other axis can be cut into as many, it is blocks.
fn flat_blocks(
    entry: &Entry,
    axes: Option<(i64, i64)>,
    dims: &[usize],
) -> Result<Option<Granularity>, String> {
    let Some((channel, block)) = axes.filter(|(channel, block)| channel != block) else {
        return Ok(None);
    };
    let resolve = |axis: i64| grid::resolve(axis, dims.len()).map_err(|error| error.to_string());
    let (channel, block) = (resolve(channel)?, resolve(block)?);
    let count = entry.scales.len();
    if dims[channel] == 0 || count == dims[channel] || !count.is_multiple_of(dims[channel]) {
        return Ok(None);
    }
    let blocks = count / dims[channel];
    if blocks > dims[block] || !dims[block].is_multiple_of(blocks) {
        return Ok(None);
    }
    let (axis, channel) = (block as i64, channel as i64);
    Ok(Some(Granularity::PerBlock { axis, size: dims[block] / blocks, channel }))
}

fn block_axis(axis: Option<i64>, axes: Option<(i64, i64)>, dims: &[usize]) -> Result<i64, String> {
    let axis = axis.or(axes.map(|(_, block)| block));
    let axis = axis.ok_or_else(|| "nobody says which axis has the blocks".to_owned())?;
    Ok(grid::resolve(axis, dims.len()).map_err(|error| error.to_string())? as i64)
}
