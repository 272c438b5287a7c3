//! What every pass did, and for every site what it became and why: all that is known without running
//! anything.

use marquetry_ir::{Slot, ValueId};
use serde::{Deserialize, Serialize};

use crate::pass::{State, Summary};
use crate::plan::{Reason, Role};

/// What a run decided, for programs: `serde_json` writes it as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Decisions {
    /// The version of this structure.
    pub schema_version: u32,
    /// The target.
    pub target: String,
    /// What every pass did, in order.
    pub passes: Vec<Summary>,
    /// Values that carry a quantizer, in order of the graph's values.
    pub sites: Vec<Site>,
    /// Values that carry none although something was decided about them.
    pub left_in_float: Vec<LeftInFloat>,
}

/// A value that carries a quantizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The name of the value.
    pub value: String,
    /// `activation`, `weight` or `bias`.
    pub role: String,
    /// The stored type.
    pub dtype: String,
    /// How many elements share a scale, in words.
    pub granularity: String,
    /// Whether zero is in the middle of the grid.
    pub symmetric: bool,
    /// Whether it is exported.
    pub enabled: bool,
    /// The nodes that read the quantized value.
    pub readers: Vec<String>,
    /// How many other readers keep the float.
    pub float_readers: usize,
    /// The smallest and the largest value that calibration saw; infinities count as the largest float.
    pub observed: Option<(f32, f32)>,
    /// The smallest and the largest scale.
    pub scales: Option<(f64, f64)>,
    /// The zero point, where there is one for the whole tensor.
    pub zero_point: Option<i64>,
    /// The values that have the same encoding.
    pub tied_to: Vec<String>,
    /// Every decision about it, in order.
    pub because: Vec<Reason>,
}

/// A value that carries no quantizer.
#[derive(Clone, Debug, Serialize)]
pub struct LeftInFloat {
    /// The name of the value.
    pub value: String,
    /// Why.
    pub because: Vec<Reason>,
}

impl Site {
    /// The account of one value, if it carries a quantizer.
    pub fn of(state: &State, value: ValueId) -> Option<Site> {
        let graph = &state.model.graph;
        let name = |value| graph.value(value).name().to_owned();
        let site = state.plan.get(value)?;
        let mut scales = site.encoding.iter().flat_map(|encoding| &encoding.cells);
        let first = scales.next().map(|cell| (cell.scale, cell.scale));
        let scales = first.map(|first| {
            scales.fold(first, |(lo, hi), cell| (lo.min(cell.scale), hi.max(cell.scale)))
        });
        let single = site.encoding.as_ref().filter(|encoding| encoding.is_per_tensor());
        let all = graph.uses(value).iter().filter(|one| one.slot != Slot::Capture).count();
        Some(Site {
            value: name(value),
            role: match site.role {
                Role::Activation => "activation",
                Role::Weight => "weight",
                Role::Bias { .. } => "bias",
            }
            .to_owned(),
            dtype: site.encoding.as_ref().map_or(site.spec.dtype, |one| one.dtype).to_string(),
            granularity: site.spec.granularity.to_string(),
            symmetric: site.spec.symmetric,
            enabled: site.enabled,
            readers: site
                .readers
                .iter()
                .map(|reader| crate::kernel::label(graph, reader.node))
                .collect(),
            float_readers: all.saturating_sub(site.readers.len()),
            observed: state
                .statistics
                .get(&value)
                .and_then(|seen| seen.range().range())
                .map(|(low, high)| (finite(low), finite(high))),
            scales,
            zero_point: single.map(|encoding| encoding.zero_point(0)),
            tied_to: state
                .plan
                .tied_to(value)
                .into_iter()
                .filter(|&other| other != value)
                .map(name)
                .collect(),
            because: site.because.clone(),
        })
    }
}

impl Decisions {
    /// What was decided in a state.
    pub fn of(state: &State) -> Decisions {
        let graph = &state.model.graph;
        let name = |value| graph.value(value).name().to_owned();
        let sites = state.plan.sites().filter_map(|(value, _)| Site::of(state, value));
        let left_in_float = state
            .plan
            .left_alone()
            .map(|(value, reasons)| LeftInFloat { value: name(value), because: reasons.to_vec() });
        Decisions {
            schema_version: 1,
            target: state.policy.name.clone(),
            passes: state.summaries.clone(),
            sites: sites.collect(),
            left_in_float: left_in_float.collect(),
        }
    }
}

/// JSON has no infinities.
fn finite(x: f32) -> f32 {
    x.clamp(f32::MIN, f32::MAX)
}
