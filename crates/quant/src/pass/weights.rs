//! Encodings of constants, straight from their content.

use marquetry_ir::infer::Types;
use marquetry_ir::{DType as ElementType, Graph, NodeId, Slot, Tensor, Use, ValueId};

use super::PassError;
use crate::element;
use crate::grid::Grid;
use crate::kernel::{SUMS, WEIGHT};
use crate::observer::{Observer, Statistics, View};
use crate::plan::{Plan, Role};
use crate::{Compat, Encoding, Granularity, NumericError, Scheme, Spec, scheme};

/// Gives every weight its encoding; the number of weights.
pub(super) fn encode(
    graph: &Graph,
    types: &Types,
    plan: &mut Plan,
    scheme: Scheme,
    compat: Compat,
) -> Result<usize, PassError> {
    let mut encoded = 0;
    for (value, site) in plan.sites_mut() {
        if site.role != Role::Weight || !site.enabled || site.frozen {
            continue;
        }
        let numeric = |source| numeric(graph, value, source);
        site.spec.scheme = scheme;
        encoded += 1;
        if site.spec.dtype.is_cast() {
            site.encoding = Some(Encoding::cast(&site.spec));
            continue;
        }
        let (dims, data) = read(graph, types, value)?;
        finite(graph, value, &data)?;
        site.encoding = Some(of_constant(&site.spec, compat, &dims, &data).map_err(numeric)?);
    }
    Ok(encoded)
}

/// Refuses a weight that no grid can hold.
pub(super) fn finite(graph: &Graph, value: ValueId, data: &[f32]) -> Result<(), PassError> {
    if data.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    let what = "the weight holds NaN or infinities".to_owned();
    Err(PassError::BadEncoding { value: name(graph, value), what })
}

/// The encoding of a tensor that is all there is to see.
pub(super) fn of_constant(
    spec: &Spec,
    compat: Compat,
    dims: &[usize],
    data: &[f32],
) -> Result<Encoding, NumericError> {
    let view = View { dims, data };
    if spec.scheme == Scheme::MinMax || compat == Compat::Aimet {
        let mut observer = Statistics::new(spec.scheme, compat, spec.granularity);
        observer.update(view)?;
        return observer.finish(spec);
    }
    // One cell after the other: a histogram for each at once would be larger than the weight.
    let grid = Grid::new(dims, spec.granularity)?;
    grid.check(data.len())?;
    let mut elements: Vec<Vec<f32>> = vec![Vec::new(); grid.cells()];
    grid.runs(|cell, run| elements[cell].extend_from_slice(&data[run]));
    let cells = elements.iter().map(|data| scheme::cell_of(spec, data)).collect();
    let shape = match spec.granularity {
        Granularity::PerTensor => Vec::new(),
        _ => grid.shape().to_vec(),
    };
    Encoding::finished(spec, shape, cells)
}

/// Shape and content of a constant.
pub(crate) fn read(
    graph: &Graph,
    types: &Types,
    value: ValueId,
) -> Result<(Vec<usize>, Vec<f32>), PassError> {
    let tensor = types.constant(value).and_then(|tensor| Some((tensor, element::floats(tensor)?)));
    match tensor {
        Some((tensor, data)) => Ok((tensor.dims().to_vec(), data.into_owned())),
        None => {
            let what = "it is no constant of type `float`".to_owned();
            Err(PassError::BadEncoding { value: name(graph, value), what })
        }
    }
}

/// A constant in the type of a value that is there.
pub(crate) fn like(
    graph: &Graph,
    types: &Types,
    value: ValueId,
    dims: Vec<usize>,
    data: &[f32],
) -> Result<Tensor, PassError> {
    let dtype = types.dtype(value).unwrap_or(ElementType::Float);
    element::tensor(dtype, dims, data).map_err(|error| PassError::BadEncoding {
        value: name(graph, value),
        what: error.to_string(),
    })
}

/// The weight of a kernel that reads it quantized.
pub(super) fn quantized_weight(graph: &Graph, plan: &Plan, node: NodeId) -> Option<ValueId> {
    let content = graph.node(node);
    if !SUMS.iter().any(|op| content.is_onnx(op)) {
        return None;
    }
    let weight = graph.input(node, WEIGHT)?;
    let site = plan.get(weight).filter(|site| site.enabled && site.encoding.is_some())?;
    let reader = Use { node, slot: Slot::Input(u32::try_from(WEIGHT).ok()?) };
    (site.role == Role::Weight && site.readers.contains(&reader)).then_some(weight)
}

/// The name of a value, for messages.
pub(crate) fn name(graph: &Graph, value: ValueId) -> String {
    graph.value(value).name().to_owned()
}

/// A numeric error at a value.
pub(crate) fn numeric(graph: &Graph, value: ValueId, source: NumericError) -> PassError {
    PassError::Numeric { value: name(graph, value), source }
}
