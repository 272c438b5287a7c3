//! Encodings of constants, straight from their content.

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, ValueId};

use super::PassError;
use crate::observer::{Observer, Statistics, View};
use crate::plan::{Plan, Role};
use crate::{NumericError, Scheme};

/// Gives every weight its encoding; the number of weights.
pub(super) fn encode(
    graph: &Graph,
    types: &Types,
    plan: &mut Plan,
    scheme: Scheme,
) -> Result<usize, PassError> {
    let mut encoded = 0;
    for (value, site) in plan.sites_mut() {
        if site.role != Role::Weight || !site.enabled || site.frozen {
            continue;
        }
        let numeric = |source| numeric(graph, value, source);
        site.spec.scheme = scheme;
        let (dims, data) = read(graph, types, value)?;
        let mut observer = Statistics::new(scheme, site.spec.granularity);
        observer.update(View { dims: &dims, data: &data }).map_err(numeric)?;
        if observer.range().oddities() != (0, 0) {
            let what = "the weight holds NaN or infinities".to_owned();
            return Err(PassError::BadEncoding { value: name(graph, value), what });
        }
        site.encoding = Some(observer.finish(&site.spec).map_err(numeric)?);
        encoded += 1;
    }
    Ok(encoded)
}

/// Shape and content of a constant.
pub(crate) fn read(
    graph: &Graph,
    types: &Types,
    value: ValueId,
) -> Result<(Vec<usize>, Vec<f32>), PassError> {
    let tensor = types.constant(value).and_then(|tensor| Some((tensor, tensor.f32s()?)));
    match tensor {
        Some((tensor, data)) => Ok((tensor.dims().to_vec(), data.into_owned())),
        None => {
            let what = "it is no constant of type `float`".to_owned();
            Err(PassError::BadEncoding { value: name(graph, value), what })
        }
    }
}

/// The name of a value, for messages.
pub(crate) fn name(graph: &Graph, value: ValueId) -> String {
    graph.value(value).name().to_owned()
}

/// A numeric error at a value.
pub(crate) fn numeric(graph: &Graph, value: ValueId, source: NumericError) -> PassError {
    PassError::Numeric { value: name(graph, value), source }
}
