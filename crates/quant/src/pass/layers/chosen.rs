//! Which layers a walk goes through, and in which order.

use std::collections::BTreeSet;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, NodeId, ValueId};

use super::inner::{self, Extended};
use super::{Done, Place, Walk};
use crate::flat::Flat;
use crate::inside::{self, Way};
use crate::kernel::{SUMS, WEIGHT, label};
use crate::layerwise::{Layer, MOST_COLUMNS, levels};
use crate::pass::{PassError, State};
use crate::plan::{Reason, Role};
use crate::select::{Selector, known_nodes};

impl Walk<'_> {
    /// The layers to look at, in the order of the graph, those in bodies last; and where they are.
    pub(super) fn layers(
        &self,
        state: &mut State,
        types: &Types,
        extended: Option<&Extended>,
        done: &mut Done,
    ) -> Result<(Vec<Layer>, Vec<Place>), PassError> {
        let graph = &state.model.graph;
        let mut layers = Vec::new();
        let mut places = Vec::new();
        let mut left = Vec::new();
        let selection = self.select.map(|select| select.of(state)).transpose();
        let selection = selection.map_err(PassError::Select)?;
        let mut selected = 0;
        known_nodes(graph, self.exclude).map_err(PassError::Select)?;
        for node in graph.nodes() {
            let called = graph.node(node).name.as_str();
            if self.exclude.iter().any(|name| *name == called) {
                continue;
            }
            let Some(layer) = Layer::of(graph, types, &state.plan, node) else { continue };
            let weight = graph.input(node, WEIGHT);
            if let (Some(selection), Some(weight)) = (&selection, weight) {
                if !selection.has(weight, Some(node)) {
                    continue;
                }
                selected += 1;
            }
            let layer = match layer {
                Ok(layer) => layer,
                Err(why) => {
                    left.push((
                        graph.input(node, WEIGHT),
                        format!("{}: {why}", label(graph, node)),
                    ));
                    continue;
                }
            };
            let why = unseen(graph, &layer);
            if let Some(why) = why {
                left.push((Some(layer.weight), format!("{}: {why}", label(graph, node))));
                continue;
            }
            if self.replaces
                && let Some(why) = self.stays(&layer, read_once(graph, layer.weight))
            {
                left.push((Some(layer.weight), format!("{}: {why}", label(graph, node))));
                continue;
            }
            if self.replaces || !state.plan.get(layer.weight).is_some_and(|site| site.frozen) {
                places.push((Way::new(), layer.node));
                layers.push(layer);
            }
        }
        for inner in extended.iter().flat_map(|extended| &extended.layers) {
            let body = inside::body(graph, &inner.way).expect("its layers were found there");
            let called = body.node(inner.node).name.as_str();
            if self.exclude.iter().any(|name| *name == called) {
                continue;
            }
            if let Some(selection) = &selection {
                if !selection.has(inner.weight, None) {
                    continue;
                }
                selected += 1;
            }
            let layer = match &inner.layer {
                Ok(layer) => layer,
                Err(why) => {
                    left.push((Some(inner.weight), format!("{}: {why}", inner.label)));
                    continue;
                }
            };
            let alone = inside::readers(graph, &[], layer.weight);
            let alone = alone.is_some_and(|readers| readers.len() == 1);
            let why = match (unseen(graph, layer), self.replaces) {
                (Some(why), _) => Some(why.to_owned()),
                (None, true) => self.stays(layer, alone && !graph.is_output(layer.weight)),
                (None, false) => None,
            };
            if let Some(why) = why {
                left.push((Some(layer.weight), format!("{}: {why}", inner.label)));
                continue;
            }
            if self.replaces || !state.plan.get(layer.weight).is_some_and(|site| site.frozen) {
                places.push((inner.way.clone(), inner.node));
                layers.push(layer.clone());
            }
        }
        if let Some(selection) = &selection {
            selection.enough(selected).map_err(PassError::Select)?;
        }
        for (weight, why) in left {
            if let Some(site) = weight.and_then(|weight| state.plan.get_mut(weight)) {
                site.because.push(Reason::new(self.pass, format!("left as it is: {why}")));
            }
            done.left.push(why);
        }
        Ok((layers, places))
    }

    /// Why a weight cannot be replaced.
    fn stays(&self, layer: &Layer, alone: bool) -> Option<String> {
        if layer.depth > MOST_COLUMNS {
            return Some(format!("it sums over more than {MOST_COLUMNS} products"));
        }
        (!alone).then(|| "others read its weight".to_owned())
    }
}

/// Whether one node reads a weight, and nobody else.
fn read_once(graph: &Graph, weight: ValueId) -> bool {
    graph.use_count(weight) == 1 && !graph.is_output(weight)
}

/// How many layers lie before each one, wherever they are.
pub(super) fn depths(
    state: &State,
    types: &Types,
    places: &[Place],
) -> Result<Vec<usize>, PassError> {
    let failed = |message: String| PassError::Graph { message };
    let flat = Flat::of(&state.model.graph, types, &state.groups, &state.plan)
        .map_err(|error| failed(error.to_string()))?;
    let order = flat.graph.order().map_err(|error| failed(error.to_string()))?;
    // What cannot be written out has its holder for it.
    let node = |(way, node): &Place| match way.first() {
        None => *node,
        Some((holder, _)) => flat.of_body(way, *node).unwrap_or(*holder),
    };
    let nodes: Vec<NodeId> = places.iter().map(node).collect();
    Ok(levels::depths(&flat.graph, &order, &nodes))
}

/// Who reads weights in bodies, in the order of the nodes.
pub(in crate::pass) fn inner_readers(state: &State) -> Vec<(ValueId, inside::Inside)> {
    inner::readers(state)
}

/// The weights of kernels that are not excluded, and are selected, in the order of the graph.
pub(in crate::pass) fn weights(
    state: &State,
    exclude: &[String],
    select: Option<&Selector>,
) -> Vec<ValueId> {
    let graph = &state.model.graph;
    let selection = select.and_then(|select| select.of(state).ok());
    let nodes = graph.nodes().filter(|&node| {
        let content = graph.node(node);
        SUMS.iter().any(|op| content.is_onnx(op)) && !exclude.contains(&content.name)
    });
    let weights = nodes.filter_map(|node| {
        let weight = graph.input(node, WEIGHT)?;
        let site = state.plan.get(weight).filter(|site| site.enabled)?;
        let wanted = selection.as_ref().is_none_or(|select| select.has(weight, Some(node)));
        (site.role == Role::Weight && wanted).then_some(weight)
    });
    let wanted =
        |weight: &ValueId| selection.as_ref().is_none_or(|select| select.has(*weight, None));
    let inner = inner::readers(state).into_iter().filter(|(_, one)| {
        let body = inside::body(graph, &one.way).expect("its readers were found there");
        !exclude.contains(&body.node(one.reader.node).name)
    });
    let inner: Vec<ValueId> = inner.map(|(weight, _)| weight).filter(wanted).collect();
    let mut seen = BTreeSet::new();
    weights.chain(inner).filter(|weight| seen.insert(*weight)).collect()
}

/// Why samples say nothing about a layer; what a body reads is not known to the graph.
fn unseen(graph: &Graph, layer: &Layer) -> Option<&'static str> {
    if layer.depth == 0 || layer.outputs == 0 {
        return Some("its weight is empty");
    }
    let constant = graph.has_value(layer.input) && graph.value(layer.input).constant.is_some();
    constant.then_some("it reads a constant, which no sample changes")
}
