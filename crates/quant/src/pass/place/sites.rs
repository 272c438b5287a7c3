//! Which values may carry a quantizer.

use std::collections::BTreeSet;

use marquetry_ir::{Graph, NodeId, Slot, Use, ValueId};

use super::everywhere::Placement;
use super::{Place, WeightGranularity};
use crate::effective::is_float;
use crate::inside;
use crate::kernel;
use crate::plan::{Quantizer, Reason, Role};
use crate::policy::Movement;
use crate::seal::source;
use crate::units::{Param, Unit, is_static};
use crate::{Granularity, Spec, params};

/// Operators whose results never have a quantizer of their own, because they are what was read in
/// another shape or order.
const SAME_ELEMENTS: &[&str] = &[
    "Compress",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Shape",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Operators of which only the first input is data; the others are parameters such as scales.
const FIRST_IS_DATA: &[&str] = &["Resize", "Upsample"];

/// The values that are read as such parameters, or only to compute them.
fn sizes(graph: &Graph) -> BTreeSet<ValueId> {
    let parameters = |node| FIRST_IS_DATA.iter().any(|op| graph.node(node).is_onnx(op));
    let mut sizes = BTreeSet::new();
    // Readers come first; nobody places in a graph with a cycle.
    for node in graph.order().unwrap_or_default().into_iter().rev() {
        let leads = |sizes: &BTreeSet<ValueId>, node: NodeId| {
            graph.outputs(node).iter().flatten().all(|output| sizes.contains(output))
        };
        if !parameters(node) && !leads(&sizes, node) {
            continue;
        }
        let is_size = |reader: &Use| match reader.slot {
            Slot::Input(at) => (at > 0 && parameters(reader.node)) || leads(&sizes, reader.node),
            Slot::Output(_) | Slot::Capture => false,
        };
        let inputs = graph.inputs(node).into_iter().flatten();
        let found: Vec<ValueId> = inputs
            .filter(|&value| !graph.is_output(value) && graph.uses(value).iter().all(is_size))
            .collect();
        sizes.extend(found);
    }
    sizes
}

impl Placement<'_> {
    /// A site for everything that may have a quantizer, all of them off.
    pub(super) fn sites(&mut self) {
        let (graph, units) = (self.graph, self.units);
        let sizes = sizes(graph);
        for &value in &sizes {
            if is_float(self.types, value) {
                let reason = self.reason("it says how large something is, and is no data");
                self.plan.leave_alone(value, reason);
            }
        }
        for &value in graph.inputs.iter().filter(|value| !sizes.contains(value)) {
            self.activation(value);
        }
        for unit in &units.list {
            if matches!(unit.operator, "QuantizeLinear" | "DequantizeLinear") {
                continue;
            }
            for param in &unit.params {
                self.param(unit, param);
            }
            let data = if FIRST_IS_DATA.contains(&unit.operator) { 1 } else { usize::MAX };
            for value in unit.inputs.iter().take(data).flatten() {
                if is_static(graph, *value) && !sizes.contains(value) {
                    self.activation(*value);
                }
            }
            let moved = SAME_ELEMENTS.contains(&unit.operator);
            for &value in unit.outputs.iter().filter(|value| !sizes.contains(value)) {
                if moved && self.rules.movement == Movement::Through && is_float(self.types, value)
                {
                    let what = format!("{} keeps the grid of what it reads", unit.operator);
                    self.plan.leave_alone(value, self.reason(what));
                } else {
                    self.activation(value);
                }
            }
            if let Some(group) = unit.group {
                let inside = group.interior.iter().chain(&group.constants);
                let params: Vec<ValueId> = unit.params.iter().map(|param| param.value).collect();
                for value in inside.filter(|value| !params.contains(value)) {
                    let what = format!("{} is run as one operator", unit.operator);
                    self.plan.leave_alone(*value, Reason::new(source(group), what));
                }
            }
        }
    }

    fn activation(&mut self, value: ValueId) {
        match self.types.dtype(value) {
            Some(dtype) if dtype.is_float() => {}
            Some(_) => return,
            None => {
                let reason = self.reason("its type is not known");
                return self.plan.leave_alone(value, reason);
            }
        }
        let Place { activations, strict, unsigned, .. } = *self.place;
        let spec = Spec {
            strict: strict || self.rules.strict,
            unsigned: unsigned || self.rules.unsigned,
            ..Spec::activation(activations)
        };
        self.site(value, Role::Activation, spec);
    }

    fn param(&mut self, unit: &Unit<'_>, param: &Param) {
        if !is_float(self.types, param.value) {
            return;
        }
        let wish = &self.place.weights;
        let (granularity, why) = self.granularity(unit, param);
        let spec = Spec {
            strict: wish.strict || self.rules.strict,
            unsigned: wish.unsigned || self.rules.unsigned,
            shifted: wish.shifted,
            symmetric: false,
            ..Spec::weight(wish.dtype, granularity)
        };
        let weight = unit.params.iter().find(|other| other.kind == "weight");
        let input = unit.inputs.iter().copied().flatten().next();
        let role = match (param.kind, weight, input) {
            ("bias", Some(weight), Some(input)) => Role::Bias { input, weight: weight.value },
            _ => Role::Weight,
        };
        let what = format!("{} of {}", param.kind, self.flat.label(param.seen_by.0));
        let reason = self.reason(what);
        let clash = self.reason("one scale: its readers have different channels");
        let why = why.map(|why| self.reason(format!("one scale: {why}")));
        let site = self.site(param.value, role, spec);
        site.because.push(reason);
        site.because.extend(why);
        if site.spec.granularity != granularity {
            site.spec.granularity = Granularity::PerTensor;
            site.because.push(clash);
        }
    }

    fn site(&mut self, value: ValueId, role: Role, spec: Spec) -> &mut Quantizer {
        let graph = self.graph;
        // Who reads a constant that thousands of operators share is looked up once.
        let known = self.plan.get(value).is_some_and(|site| !site.readers.is_empty());
        let site =
            self.plan.place(value, || Quantizer { enabled: false, ..Quantizer::new(role, spec) });
        if known {
            return site;
        }
        site.output = graph.is_output(value) && site.role == Role::Activation;
        for reader in graph.uses(value) {
            if matches!(reader.slot, Slot::Input(_)) {
                site.add_reader(reader);
            }
        }
        // What a body gives on as it is stays in float there.
        for reader in inside::readers(graph, &[], value).into_iter().flatten() {
            if !reader.way.is_empty() {
                site.add_inside(reader);
            }
        }
        site
    }

    /// How many elements of a parameter share a scale, and why not fewer.
    fn granularity(&self, unit: &Unit<'_>, param: &Param) -> (Granularity, Option<&'static str>) {
        let (node, slot) = param.seen_by;
        let content = self.graph.node(node);
        let rank = self.types.rank(param.value).unwrap_or(0);
        let axes = params::axes(content, slot, rank).or((rank == 1).then_some((0, 0)));
        let Some((channel, block)) = axes else { return (Granularity::PerTensor, None) };
        let (channel, block) = if param.transposed { (block, channel) } else { (channel, block) };
        let counted = |axis: i64| if axis < 0 { axis + rank as i64 } else { axis };
        let (channel, axis) = (counted(channel), counted(block));
        let matrix = param.kind == "weight" && channel != axis;
        if matrix
            && content.is_onnx("ConvTranspose")
            && let Err(why) = kernel::per_channel(content, rank)
        {
            return (Granularity::PerTensor, Some(why));
        }
        let bits = self.place.weights.dtype.bits();
        let granularity = match self.place.weights.granularity {
            WeightGranularity::PerBlock(size) if matrix => {
                Granularity::PerBlock { axis, size, channel }
            }
            WeightGranularity::Lpbq(size) if matrix => {
                Granularity::Lpbq { axis, size, channel, compressed: bits, decompressed: 2 * bits }
            }
            WeightGranularity::PerTensor => Granularity::PerTensor,
            _ if self.rules.per_channel(unit.operator) => Granularity::PerChannel(channel),
            _ => Granularity::PerTensor,
        };
        (granularity, None)
    }
}
