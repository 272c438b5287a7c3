//! Inference again after edits: only where something changed, and below it.

use super::content::Content;
use super::site::Site;
use super::{Attributes, Call, Types, normalized};
use crate::schema::canonical_domain;
use crate::{Graph, Model, NodeId, ValueId};

/// What is known of the values of a model that is edited again and again. The ids of a graph are
/// never given twice, so that what was known of a value stays true until its node, or something above
/// it, is another one.
#[derive(Debug, Default)]
pub struct Inference {
    types: Types,
    /// By node: its inputs and outputs when it was looked at.
    wiring: Vec<Option<Wiring>>,
    /// By value: whether the graph declared a type for it.
    declared: Vec<bool>,
}

type Wiring = (Vec<Option<ValueId>>, Vec<Option<ValueId>>);

impl Inference {
    /// What is known of the values of the model as it is now: what [`run`](super::run) says, in time
    /// that depends on the edits since the last call more than on the model.
    ///
    /// All calls are about one model. Nodes may be added and removed, their inputs and outputs changed,
    /// types declared, and bodies and functions edited; attributes of nodes stay as they are.
    pub fn run(&mut self, model: &Model) -> &Types {
        let graph = &model.graph;
        let functions = model.functions.iter().map(|function| {
            let domain = canonical_domain(&function.domain);
            ((domain, function.name.as_str(), function.overload.as_str()), function)
        });
        let mut call = Call { functions: functions.collect(), depth: 0, visits: 0 };
        let mut changed = self.declare(graph);
        // A cycle is the validator's business; what is declared is still known.
        for node in graph.order().unwrap_or_default() {
            let wiring = (graph.inputs(node), graph.outputs(node));
            if self.is_known(graph, node, &wiring, &changed, &call) {
                continue;
            }
            let before: Vec<_> =
                wiring.1.iter().map(|output| self.forget(graph, *output)).collect();
            let attributes = Attributes::new();
            let outcome = Site::new(graph, &self.types, node, &attributes).infer(&mut call);
            self.types.record(graph, node, outcome);
            for (output, before) in wiring.1.iter().zip(before) {
                let Some(output) = output else { continue };
                let (ty, content) = before;
                // What a content says is not compared: it may be computed when it is asked for.
                changed[output.index()] |= self.types.types[output.index()] != ty
                    || content.is_some()
                    || self.types.contents[output.index()].is_some();
            }
            if self.wiring.len() <= node.index() {
                self.wiring.resize_with(node.index() + 1, || None);
            }
            self.wiring[node.index()] = Some(wiring);
        }
        &self.types
    }

    /// Takes what the graph says of values that are new, or of which it says something new.
    fn declare(&mut self, graph: &Graph) -> Vec<bool> {
        let (bound, known) = (graph.value_bound(), self.declared.len());
        let mut changed = vec![false; bound];
        self.types.types.resize(bound, None);
        self.types.contents.resize_with(bound, || None);
        self.declared.resize(bound, false);
        for id in graph.values() {
            let at = id.index();
            let declared = graph.value(id).ty.is_some();
            if at >= known {
                (self.types.types[at], self.types.contents[at]) = super::declared(graph.value(id));
                changed[at] = true;
            } else if declared != self.declared[at] {
                if graph.producer(id).is_none() {
                    self.types.types[at] = graph.value(id).ty.clone().map(normalized);
                }
                changed[at] = true;
            }
            self.declared[at] = declared;
        }
        changed
    }

    /// Whether nothing that a node's results depend on changed.
    fn is_known(
        &self,
        graph: &Graph,
        node: NodeId,
        wiring: &Wiring,
        changed: &[bool],
        call: &Call<'_>,
    ) -> bool {
        let held = graph.node(node);
        let name = (canonical_domain(&held.domain), held.op_type.as_str(), held.overload.as_str());
        let same = |value: &Option<ValueId>| value.is_none_or(|value| !changed[value.index()]);
        self.wiring.get(node.index()).is_some_and(|known| known.as_ref() == Some(wiring))
            && wiring.0.iter().chain(&wiring.1).all(same)
            && held.bodies().next().is_none()
            && !call.functions.contains_key(&name)
    }

    /// Forgets what was inferred of a value, but for what the graph declares.
    fn forget(
        &mut self,
        graph: &Graph,
        value: Option<ValueId>,
    ) -> (Option<crate::Type>, Option<Box<Content>>) {
        let Some(value) = value else { return (None, None) };
        let declared = graph.value(value).ty.clone().map(normalized);
        let ty = std::mem::replace(&mut self.types.types[value.index()], declared);
        (ty, self.types.contents[value.index()].take())
    }
}
