//! One value explained: its quantizer or the lack of one, who reads what, and who decided it.

use std::collections::BTreeSet;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{Graph, Kind, Slot, Use, ValueId};
use marquetry_matcher::PlaceId;
use serde::Serialize;

use crate::effective::Path;
use crate::flat::Flat;
use crate::inside;
use crate::kernel::{BIAS, WEIGHT, label};
use crate::pass::State;
use crate::plan::{Quantizer, Reason, Role};
use crate::policy::Placement;
use crate::report::Site;
use crate::seal::source;
use crate::units::Units;
use crate::{FixedRange, Plan};

/// Everything that was decided about one value.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The name of the value.
    pub value: String,
    /// Where it comes from, in words.
    pub origin: String,
    /// Its quantizer, with the reasons.
    pub quantizer: Option<Site>,
    /// A range that is known without looking, or one end of it.
    pub fixed_range: Option<FixedRange>,
    /// The value whose grid it lies on without a quantizer of its own.
    pub grid_of: Option<String>,
    /// Who reads it, in order of the nodes.
    pub readers: Vec<Reader>,
    /// Whether it is an output of the graph.
    pub output: bool,
    /// Whether callers of the graph get it quantized and back.
    pub output_quantized: bool,
    /// Why it was left alone; of a value with a quantizer, what was decided before it had one.
    pub left_alone: Vec<Reason>,
}

/// A node that reads a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reader {
    /// The node.
    pub node: String,
    /// The input, from 0; none where a body of the node reads it.
    pub input: Option<u32>,
    /// Whether it gets what the quantizer gives.
    pub quantized: bool,
}

impl Explained {
    /// Explains a value of the main graph of a state.
    pub fn of(state: &State, value: ValueId) -> Explained {
        let graph = &state.model.graph;
        let types = infer::run(&state.model);
        let site = state.plan.get(value);
        let on = site.filter(|site| site.enabled);
        let grid_of = if on.is_some() { None } else { moved_from(state, &types, value) };
        let reader = |reader: Use| Reader {
            node: label(graph, reader.node),
            input: match reader.slot {
                Slot::Input(slot) => Some(slot),
                Slot::Output(_) | Slot::Capture => None,
            },
            quantized: match on {
                Some(site) => site.readers.contains(&reader),
                None => grid_of.is_some() && matches!(reader.slot, Slot::Input(_)),
            },
        };
        // The plan tells what was decided without a quantizer first.
        let all = state.plan.explain(value);
        let before = all.len() - site.map_or(0, |site| site.because.len());
        let mut left_alone: Vec<Reason> = all.into_iter().take(before).cloned().collect();
        if site.is_none() && left_alone.is_empty() && grid_of.is_none() {
            left_alone.push(overlooked(state, &types, value));
        }
        Explained {
            value: graph.value(value).name().to_owned(),
            origin: origin(state, value),
            quantizer: Site::of(state, value),
            fixed_range: site.and_then(|site| site.fixed_range),
            readers: match state.plan.spot(value) {
                None => graph.uses(value).into_iter().map(reader).collect(),
                Some(spot) => inner_readers(graph, spot, on, grid_of.is_some()),
            },
            grid_of: grid_of.map(|source| graph.value(source).name().to_owned()),
            output: graph.is_output(value),
            output_quantized: match on {
                Some(site) => site.output,
                None => grid_of.is_some() && graph.is_output(value),
            },
            left_alone,
        }
    }
}

/// Who reads a value of a body, in the bodies.
fn inner_readers(
    graph: &Graph,
    spot: &inside::Spot,
    on: Option<&Quantizer>,
    moved: bool,
) -> Vec<Reader> {
    let readers = inside::readers(graph, &spot.way, spot.value).unwrap_or_default();
    let reader = |one: inside::Inside| Reader {
        node: inside::label(graph, &one.way, one.reader.node),
        input: match one.reader.slot {
            Slot::Input(slot) => Some(slot),
            Slot::Output(_) | Slot::Capture => None,
        },
        quantized: on.map_or(moved, |site| site.inside.contains(&one)),
    };
    readers.into_iter().map(reader).collect()
}

fn origin(state: &State, value: ValueId) -> String {
    let graph = &state.model.graph;
    if let Some(spot) = state.plan.spot(value)
        && let Some(body) = inside::body(graph, &spot.way)
    {
        return match body.producer(spot.value) {
            Some((node, _)) => format!("output of {}", inside::label(graph, &spot.way, node)),
            None => "handed to a body".to_owned(),
        };
    }
    match (graph.producer(value), graph.value(value).kind) {
        (Some((node, 0)), _) => format!("output of {}", label(graph, node)),
        (Some((node, slot)), _) => format!("output {slot} of {}", label(graph, node)),
        (None, Kind::Input) => "input of the model".to_owned(),
        (None, Kind::Initializer) => "constant".to_owned(),
        (None, _) => "computed by nothing".to_owned(),
    }
}

/// The value whose grid this one lies on, where the target computes everything in integers: export
/// gives it the same encoding.
fn moved_from(state: &State, types: &Types, value: ValueId) -> Option<ValueId> {
    let rules = state.policy.everywhere()?;
    let graph = &state.model.graph;
    let flat = Flat::of(graph, types, &state.groups, &state.plan).ok()?;
    let units = Units::of(&flat.graph, &flat.types, &flat.groups, &rules.groups).ok()?;
    let path = Path::back(&flat.graph, &flat.types, &units, &state.plan, value)?;
    (path.source != value).then_some(path.source)
}

/// Why no rule had anything to say about a value.
pub(crate) fn overlooked(state: &State, types: &Types, value: ValueId) -> Reason {
    let graph = &state.model.graph;
    match types.dtype(value) {
        Some(dtype) if !dtype.is_float() => {
            return Reason::new("types", format!("it is `{dtype}`, and only floats are quantized"));
        }
        None => return Reason::new("types", "its type is not known"),
        Some(_) => {}
    }
    let mut groups = state.groups.within(PlaceId::MAIN);
    if let Some(group) = groups.find(|group| group.interior.contains(&value)) {
        return Reason::new(source(group), "it is inside the group, and no kernel reads it there");
    }
    let policy = format!("policy {}", state.policy.name);
    if is_bias(graph, &state.plan, value) {
        return Reason::new("QuantizeBias", "biases are decided when scales are known");
    }
    let what = match (&state.policy.placement, types.is_constant(value)) {
        (Placement::Kernels(_), true) => "no integer kernel reads it as a weight",
        (Placement::Kernels(_), false) => {
            "no integer kernel reads it, and it lies on no way of integers between two kernels"
        }
        (Placement::Everywhere(_), true) => "no rule quantizes a parameter in this place",
        (Placement::Everywhere(_), false) => "no rule quantizes what this operator gives",
    };
    Reason::new(policy, what)
}

/// Whether a kernel with a quantized weight adds the value.
fn is_bias(graph: &Graph, plan: &Plan, value: ValueId) -> bool {
    let weights: BTreeSet<ValueId> =
        plan.enabled().filter(|(_, site)| site.role == Role::Weight).map(|(id, _)| id).collect();
    graph.uses(value).into_iter().any(|reader| {
        let weight = graph.input(reader.node, WEIGHT);
        reader.slot == Slot::Input(BIAS as u32) && weight.is_some_and(|id| weights.contains(&id))
    })
}
