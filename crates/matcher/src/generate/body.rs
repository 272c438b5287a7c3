//! Graphs that nodes hold: the branches of an `If`. Their nodes are chosen with all others, and are
//! put into graphs of their own when they are written.

use std::collections::BTreeMap;

use marquetry_ir::{Graph, Kind, Node, Tensor, ValueId};
use marquetry_pattern::core::{GraphPattern, ScopeId};

use super::Stuck;
use super::fill::{Fill, Filled, Input};
use super::sketch::Sketcher;
use super::write::Writer;
use crate::index::ValueRow;

impl<'p> Sketcher<'_, 'p> {
    /// The graph that the nodes of a scope are in.
    pub(super) fn home_of(&self, scope: ScopeId) -> usize {
        let mut at = Some(scope);
        while let Some(scope) = at {
            if let Some(&home) = self.homes.get(&scope) {
                return home;
            }
            at = self.pattern().scope(scope).parent;
        }
        0
    }

    /// The graph of an attribute.
    pub(super) fn body(&mut self, graph: &'p GraphPattern) -> Result<usize, Stuck> {
        self.sketch.bodies.push(Vec::new());
        let home = self.sketch.bodies.len();
        self.homes.insert(graph.scope, home);
        self.hold(graph.scope);
        let mut outputs = Vec::new();
        for &output in &graph.outputs {
            let row = self.var(output)?.ok_or(Stuck::Dead)?;
            let mut nodes = self.sketch.nodes.iter();
            if !nodes.any(|node| node.home == home && node.outputs.contains(&row)) {
                return Err(Stuck::Unsupported("a body gives what it does not compute".to_owned()));
            }
            outputs.push(row);
        }
        self.sketch.bodies[home - 1] = outputs;
        Ok(home)
    }
}

impl Fill<'_, '_> {
    /// The results of the branch that is taken; those of the other one have the same types.
    pub(super) fn branch(&mut self, filled: &Filled) -> Result<(), Stuck> {
        let Some(Some(Input::Value(condition))) = filled.inputs.first() else {
            return Err(Stuck::Rejected);
        };
        let truth = self.tensors[condition.index()].as_ref().and_then(Tensor::item);
        let taken = if truth == Some(0.0) { "else_branch" } else { "then_branch" };
        for (slot, &row) in filled.outputs.iter().enumerate() {
            for (name, body) in &filled.bodies {
                let made = self.sketch.bodies[body - 1].get(slot).ok_or(Stuck::Rejected)?.index();
                let known = self.facts[row.index()].clone();
                if known.is_some_and(|known| self.facts[made].as_ref() != Some(&known)) {
                    return Err(Stuck::Rejected);
                }
                self.facts[row.index()] = self.facts[made].clone();
                if name == taken {
                    self.tensors[row.index()] = self.tensors[made].clone();
                }
            }
        }
        Ok(())
    }
}

impl Writer<'_, '_, '_> {
    /// The graph that a node holds; what is around it is captured.
    pub(super) fn body(&self, home: usize) -> Result<Graph, Stuck> {
        let mut graph = Graph::new(format!("b{home}"), self.graph.opsets.clone());
        let mut values: BTreeMap<ValueRow, ValueId> = BTreeMap::new();
        for node in self.fill.nodes.iter().filter(|node| node.home == home) {
            if !node.bodies.is_empty() {
                return Err(Stuck::Unsupported("a body holds graphs".to_owned()));
            }
            let mut inputs = Vec::new();
            for input in &node.inputs {
                inputs.push(match input {
                    None => None,
                    Some(Input::Value(row)) => Some(match values.get(row) {
                        Some(&value) => value,
                        None => {
                            let outer = self.values[row.index()].ok_or(Stuck::Rejected)?;
                            let value = graph.value_named(self.graph.value(outer).name());
                            graph.value_mut(value).kind = Kind::Captured;
                            values.insert(*row, value);
                            value
                        }
                    }),
                    Some(Input::Constant(tensor)) => {
                        let name = graph.fresh_name(&format!("b{home}_k"));
                        let made = graph.add_initializer(&name, tensor.clone());
                        Some(made.map_err(|_| Stuck::Rejected)?)
                    }
                });
            }
            let mut outputs = Vec::new();
            for &row in &node.outputs {
                let value = graph.value_named(&format!("b{home}_t{}", row.index()));
                values.insert(row, value);
                outputs.push(Some(value));
            }
            let mut made = Node::new(node.domain.as_str(), node.op_type.as_str());
            made.attributes.clone_from(&node.attributes);
            graph.add_node(made, &inputs, &outputs).map_err(|_| Stuck::Rejected)?;
        }
        for row in &self.fill.sketch.bodies[home - 1] {
            let value = *values.get(row).ok_or(Stuck::Rejected)?;
            graph.value_mut(value).ty = self.ty(*row);
            graph.outputs.push(value);
        }
        Ok(graph)
    }
}
