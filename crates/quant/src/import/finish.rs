//! From the quantizers that were found to a float model and a plan.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::{Graph, GraphError, NodeId, Slot, ValueId};

use super::{Found, Import, Imported, float_name};
use crate::inside::{self, Inside, Names, Origin, Spot, Way};
use crate::kernel::{BIAS, DATA, WEIGHT};
use crate::pass::PassError;
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::{DType, Spec};

impl Import<'_> {
    pub(super) fn finish(mut self) -> Result<Imported, PassError> {
        self.clean();
        let mut names = Names::of(&self.model.graph);
        let found = std::mem::take(&mut self.found);
        let mut plan = Plan::default();
        let mut sites: BTreeMap<Origin, ValueId> = BTreeMap::new();
        for one in &found {
            let site = self.site(one, &mut names, &mut plan).map_err(failed)?;
            sites.insert(one.at.clone(), site);
        }
        // Constants that the main graph holds now.
        let lifted = found.iter().filter(|one| one.constant && !one.at.0.is_empty());
        let lifted: BTreeSet<Way> = lifted.map(|one| one.at.0.clone()).collect();
        lifted.iter().for_each(|way| remove_idle(self.at_mut(way)));
        inside::settle(&mut self.model.graph, &lifted);
        self.model.graph.resolve_captures();
        for one in found {
            let role = self.role(&one, &sites);
            let spec = Spec {
                symmetric: one.encoding.symmetric,
                granularity: one.encoding.granularity,
                ..Spec::activation(one.encoding.dtype)
            };
            let mut site = Quantizer::new(role, spec);
            for reader in one.readers {
                match reader.way.is_empty() {
                    true => site.add_reader(reader.reader),
                    false => site.add_inside(reader),
                }
            }
            site.output = one.output;
            site.encoding = Some(one.encoding);
            site.frozen = true;
            site.because.push(Reason::new("model", "it was quantized"));
            plan.place(sites[&one.at], || site);
        }
        Ok(Imported { model: self.model, plan, notes: self.notes })
    }

    /// Removes quantizers, and what only they read.
    fn clean(&mut self) {
        let mut gone: BTreeMap<Way, Vec<NodeId>> = BTreeMap::new();
        for (way, node) in std::mem::take(&mut self.gone) {
            gone.entry(way).or_default().push(node);
        }
        let readers = self.found.iter().flat_map(|found| found.readers.iter());
        let read = readers.map(|one| one.way.clone());
        let ways: BTreeSet<Way> =
            gone.keys().cloned().chain(read).filter(|way| !way.is_empty()).collect();
        for (way, nodes) in &gone {
            self.at_mut(way).remove_nodes(nodes);
        }
        ways.iter().for_each(|way| remove_idle(self.at_mut(way)));
        inside::settle(&mut self.model.graph, &ways);
        remove_idle(&mut self.model.graph);
        self.model.graph.resolve_captures();
        self.model.graph.drop_unused();
    }

    /// The value of the main graph that has the quantizer: itself, or one that stands in for it.
    fn site(
        &mut self,
        found: &Found,
        names: &mut Names,
        plan: &mut Plan,
    ) -> Result<ValueId, GraphError> {
        let (way, value) = &found.at;
        let name = self.at(way).value(*value).name().to_owned();
        let wanted = found.constant || !way.is_empty();
        let free = float_name(&found.integers).filter(|base| wanted && names.is_free(base));
        free.iter().for_each(|base| names.take(base));
        if way.is_empty() {
            if let Some(base) = free {
                self.model.graph.rename(*value, base)?;
            }
            return Ok(*value);
        }
        let name = match free {
            Some(base) => base.to_owned(),
            None => names.lift(&name),
        };
        if found.constant {
            let body = self.at_mut(way);
            let constant = body.initializer(*value).cloned();
            body.capture(*value, &name)?;
            let constant = constant.expect("what was found to be stored is an initializer");
            return self.model.graph.add_initializer(&name, constant);
        }
        let types = inside::types(self.types, way);
        let ty = types.and_then(|types| types.ty(*value)).cloned();
        let site = self.model.graph.add_value(&name, ty)?;
        plan.stand_in(site, Spot { way: way.clone(), value: *value });
        Ok(site)
    }

    fn role(&self, found: &Found, sites: &BTreeMap<Origin, ValueId>) -> Role {
        if !found.constant {
            return Role::Activation;
        }
        let at_bias =
            |one: &&Inside| matches!(one.reader.slot, Slot::Input(slot) if slot as usize == BIAS);
        let kernel = found.readers.iter().find(at_bias);
        let Some(Inside { way, reader }) = kernel.filter(|_| found.encoding.dtype == DType::Int32)
        else {
            return Role::Weight;
        };
        let site = |slot: usize| {
            let origin = self.origin(way, self.at(way).input(reader.node, slot)?)?;
            sites.get(&origin).copied().or(origin.0.is_empty().then_some(origin.1))
        };
        match (site(DATA), site(WEIGHT)) {
            (Some(input), Some(weight)) => Role::Bias { input, weight },
            _ => Role::Weight,
        }
    }
}

fn failed(error: GraphError) -> PassError {
    PassError::Graph { message: error.to_string() }
}

/// Removes scales of low-power blocks and constants that nobody reads any more.
fn remove_idle(graph: &mut Graph) {
    loop {
        let idle = |&node: &NodeId| {
            let op = graph.node(node).op_type.as_str();
            let mut outputs = graph.outputs(node).into_iter().flatten();
            matches!(op, "DequantizeLinear" | "Constant")
                && outputs.all(|value| graph.use_count(value) == 0 && !graph.is_output(value))
        };
        let idle: Vec<NodeId> = graph.nodes().filter(idle).collect();
        if idle.is_empty() {
            return;
        }
        graph.remove_nodes(&idle);
    }
}
