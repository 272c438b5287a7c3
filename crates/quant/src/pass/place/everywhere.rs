//! Placement of targets that compute everything in integers.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::discriminant;

use marquetry_ir::infer::Types;
use marquetry_ir::{Graph, Kind, ValueId};

use super::chains::chains;
use super::exceptions::exceptions;
use super::{Place, apply};
use crate::FixedRange;
use crate::flat::Flat;
use crate::pass::{PassError, State};
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::policy::{Everywhere, Movement, keeps_grid};
use crate::seal::source;
use crate::units::{Unit, Units, is_static};

/// The plan, and how many operators give integers.
pub(super) fn place(
    place: &Place,
    rules: &Everywhere,
    state: &State,
    types: &Types,
) -> Result<(Plan, usize), PassError> {
    let flat = Flat::of(&state.model.graph, types, &state.groups, &state.plan)
        .map_err(|error| PassError::Graph { message: error.to_string() })?;
    let (graph, types) = (&*flat.graph, &*flat.types);
    let units = Units::of(graph, types, &flat.groups, &rules.groups)
        .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
    let mut placement = Placement {
        place,
        rules,
        source: format!("policy {}", state.policy.name),
        flat: &flat,
        graph,
        types,
        units: &units,
        plan: flat.enter(state.plan.clone()),
        said: BTreeMap::new(),
    };
    placement.sites();
    placement.defaults();
    placement.param_kinds();
    placement.operators()?;
    placement.chains();
    placement.ends();
    for group in units.list.iter().filter_map(|unit| unit.group) {
        group.hints.iter().for_each(|hint| apply(hint, &source(group), &mut placement.plan));
    }
    exceptions(rules, &placement.source, graph, types, &units, &mut placement.plan);
    placement.overrides();
    placement.settle();
    let plan = placement.plan;
    let on = |unit: &&Unit<'_>| {
        let mut sites = unit.outputs.iter().filter_map(|&value| plan.get(value));
        sites.any(|site| site.enabled)
    };
    let quantized = units.list.iter().filter(on).count();
    Ok((flat.leave(plan), quantized))
}

/// What a rule says of a site.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Setting {
    On(bool),
    Symmetric(bool),
    Range(FixedRange),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::On(true) => f.write_str("on"),
            Setting::On(false) => f.write_str("off"),
            Setting::Symmetric(true) => f.write_str("symmetric"),
            Setting::Symmetric(false) => f.write_str("asymmetric"),
            Setting::Range(range) => write!(f, "range {range}"),
        }
    }
}

pub(super) struct Placement<'a> {
    pub(super) place: &'a Place,
    pub(super) rules: &'a Everywhere,
    source: String,
    pub(super) flat: &'a Flat<'a>,
    pub(super) graph: &'a Graph,
    pub(super) types: &'a Types,
    pub(super) units: &'a Units<'a>,
    pub(super) plan: Plan,
    /// What rules for operators have said, and who.
    said: BTreeMap<ValueId, Vec<(Setting, String)>>,
}

impl Placement<'_> {
    fn defaults(&mut self) {
        let (activations, params) = (self.rules.activations, self.rules.params);
        let symmetric = self.place.symmetric.or(activations.symmetric).unwrap_or(false);
        let reason = self.reason("results of operators are quantized");
        for (value, site) in self.plan.sites_mut() {
            let constant = is_static(self.graph, value);
            let input = self.graph.value(value).kind == Kind::Input;
            if site.role != Role::Activation {
                site.enabled = params.quantized.unwrap_or(false);
                site.spec.symmetric = params.symmetric.unwrap_or(false);
                continue;
            }
            site.spec.symmetric = symmetric;
            if !constant && !input && activations.outputs == Some(true) {
                site.enabled = true;
                site.because.push(reason.clone());
            }
        }
    }

    fn param_kinds(&mut self) {
        for unit in &self.units.list {
            for param in &unit.params {
                let Some(&said) = self.rules.param_kinds.get(param.kind) else { continue };
                let who = self.reason(format!("{} of any operator", param.kind));
                let Some(site) = self.plan.get_mut(param.value) else { continue };
                site.spec.symmetric = said.symmetric.unwrap_or(site.spec.symmetric);
                if let Some(on) = said.quantized {
                    switch(site, on, &who);
                }
            }
        }
    }

    fn operators(&mut self) -> Result<(), PassError> {
        let (rules, units) = (self.rules, self.units);
        for unit in &units.list {
            let who = format!("operator {}", unit.operator);
            let Some(rule) = rules.operators.get(unit.operator) else {
                if keeps_grid(unit.operator) && rules.movement == Movement::Through {
                    let who = format!("{who} keeps the grid of what it reads");
                    for &value in &unit.outputs {
                        self.set(value, Setting::On(false), &who)?;
                    }
                }
                continue;
            };
            let ends = unit.inputs.iter().copied().flatten();
            let ends: Vec<ValueId> = ends.filter(|&value| self.is_end(value)).collect();
            let symmetric = rule.symmetric.map(Setting::Symmetric);
            let inputs = [rule.inputs.map(Setting::On), symmetric, None];
            let outputs =
                [rule.outputs.map(Setting::On), symmetric, rule.range.map(Setting::Range)];
            let params = unit.params.iter().map(|param| {
                let said = rule.params.get(param.kind).copied().unwrap_or_default();
                let symmetric = said.symmetric.map(Setting::Symmetric);
                (param.value, [said.quantized.map(Setting::On), symmetric, None])
            });
            let ends = ends.into_iter().map(|value| (value, inputs));
            let results = unit.outputs.iter().map(|&value| (value, outputs));
            for (value, settings) in ends.chain(results).chain(params) {
                for setting in settings.into_iter().flatten() {
                    self.set(value, setting, &who)?;
                }
            }
        }
        Ok(())
    }

    /// Lets a rule take effect, unless another one has said otherwise of the same thing.
    fn set(&mut self, value: ValueId, setting: Setting, who: &str) -> Result<(), PassError> {
        let reason = self.reason(format!("{who}: {setting}"));
        let Some(site) = self.plan.get_mut(value) else { return Ok(()) };
        let said = self.said.entry(value).or_default();
        let same = |other: &Setting| discriminant(other) == discriminant(&setting);
        match said.iter().find(|(other, _)| same(other)) {
            Some((other, _)) if *other == setting => return Ok(()),
            Some((other, before)) => {
                return Err(PassError::Contradiction {
                    value: self.graph.value(value).name().to_owned(),
                    what: format!("{before} says {other}, {who} says {setting}"),
                });
            }
            None => said.push((setting, who.to_owned())),
        }
        match setting {
            Setting::On(on) => site.enabled = on,
            Setting::Symmetric(symmetric) => site.spec.symmetric = symmetric,
            Setting::Range(range) => {
                site.fixed_range = Some(range);
                // Both ends are as far away: zero is in the middle.
                site.spec.symmetric |= range.known().is_some_and(|(low, high)| low == -high);
            }
        }
        site.because.push(reason);
        Ok(())
    }

    fn chains(&mut self) {
        for (chain, members) in chains(self.graph, self.types, self.units, &self.rules.chains) {
            let reason = self.reason(format!("{} are run as one", chain.join(", ")));
            let inner = members.iter().take(members.len() - 1);
            for &value in inner.flat_map(|&at| &self.units.list[at].outputs) {
                if let Some(site) = self.plan.get_mut(value).filter(|site| site.enabled) {
                    site.disable(reason.clone());
                }
            }
        }
    }

    /// Inputs and outputs of the model, and constants.
    fn ends(&mut self) {
        let reasons = ["inputs of the model", "constants", "outputs of the model"]
            .map(|what| self.reason(what));
        for (value, site) in self.plan.sites_mut() {
            if site.role != Role::Activation {
                continue;
            }
            let said = [
                self.rules.inputs.filter(|_| self.graph.value(value).kind == Kind::Input),
                self.rules.constants.filter(|_| is_static(self.graph, value)),
                self.rules.outputs.filter(|_| self.graph.is_output(value)),
            ];
            for (said, reason) in said.into_iter().zip(&reasons) {
                if let Some(on) = said {
                    switch(site, on, reason);
                }
            }
        }
    }

    /// A bias that is quantized like a weight is one; what is asked of weights in the pipeline holds;
    /// nothing is off without a reason.
    fn settle(&mut self) {
        let silent = self.reason("no rule asks for a quantizer");
        for (_, site) in self.plan.sites_mut() {
            if !site.enabled && site.because.is_empty() {
                site.because.push(silent.clone());
            }
            if matches!(site.role, Role::Bias { .. }) && site.enabled {
                site.role = Role::Weight;
            }
            if site.role == Role::Weight
                && let Some(symmetric) = self.place.weights.symmetric
            {
                site.spec.symmetric = symmetric;
            }
        }
    }

    /// Whether a value comes from outside: an input of the model, or a constant.
    fn is_end(&self, value: ValueId) -> bool {
        self.graph.value(value).kind == Kind::Input || is_static(self.graph, value)
    }

    pub(super) fn reason(&self, what: impl Into<String>) -> Reason {
        Reason::new(self.source.clone(), what)
    }
}

fn switch(site: &mut Quantizer, on: bool, who: &Reason) {
    site.enabled = on;
    let what = format!("{}: {}", who.what, Setting::On(on));
    site.because.push(Reason::new(who.source.clone(), what));
}
