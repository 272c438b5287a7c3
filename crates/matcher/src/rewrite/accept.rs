//! Which matches are replaced, in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Inference;
use marquetry_ir::{Evaluate, Model, NodeId, ValueId};

use super::apply::{Done, Edit, Surgery};
use super::inline;
use super::names::Names;
use super::outline::{self, Outlined};
use super::plan::Planner;
use super::{
    Applied, Path, Refusal, Refused, RewriteError, RewriteOptions, Rewritten, Step, Until, Way,
    count,
};
use crate::found::{Match, Matches, Place, PlaceId};
use crate::index::{Index, function_types};
use crate::plan::Plan;

/// How often a chain of replacements went through each step, by the name of a value.
type Lineage = BTreeMap<String, Vec<u32>>;

/// A model on its way.
pub(crate) struct Session<'s> {
    steps: &'s [Step<'s>],
    evaluate: &'s dyn Evaluate,
    options: &'s RewriteOptions<'s>,
    names: Names,
    outlined: Outlined,
    /// What was known of the model in the round before.
    inference: Inference,
    lineage: Lineage,
    result: Rewritten,
    /// What was refused already, by step and name of the first output.
    refused: BTreeSet<(usize, String)>,
}

/// An accepted match.
struct Accepted {
    step: usize,
    place: PlaceId,
    edit: Edit,
    output: String,
    lineage: Vec<u32>,
}

impl<'s> Session<'s> {
    pub(crate) fn new(
        model: &Model,
        steps: &'s [Step<'s>],
        evaluate: &'s dyn Evaluate,
        options: &'s RewriteOptions<'s>,
    ) -> Self {
        Self {
            steps,
            evaluate,
            options,
            names: Names::of(model),
            outlined: Outlined::of(model),
            inference: Inference::default(),
            lineage: BTreeMap::new(),
            result: Rewritten { nodes_before: count(model), ..Rewritten::default() },
            refused: BTreeSet::new(),
        }
    }

    pub(crate) fn finish(mut self, model: &mut Model) -> Rewritten {
        if self.steps.iter().any(|step| step.way == Way::Expand) {
            outline::drop_uncalled(model);
        }
        self.result.nodes_after = count(model);
        self.result
    }

    /// Replaces matches of one graph that share no node; whether there were any.
    pub(crate) fn round(&mut self, model: &mut Model, way: Way) -> Result<bool, RewriteError> {
        let (places, accepted) = self.accept(model, way);
        if accepted.is_empty() {
            return Ok(false);
        }
        let mut by_place: BTreeMap<PlaceId, Vec<Accepted>> = BTreeMap::new();
        for one in accepted {
            by_place.entry(one.place).or_default().push(one);
        }
        let mut any = false;
        // Bodies before the graphs around them, in which their captured values may get other names.
        for (place, accepted) in by_place.into_iter().rev() {
            let edits: Vec<&Edit> = accepted.iter().map(|one| &one.edit).collect();
            let done = apply_all(model, &places, place, &edits, &mut self.names);
            for (one, done) in accepted.into_iter().zip(done) {
                let Some(done) = done else { continue };
                any = true;
                self.record(one, done)?;
            }
        }
        Ok(any)
    }

    fn record(&mut self, one: Accepted, done: Done) -> Result<(), RewriteError> {
        let pattern = one.edit.pattern.clone();
        self.result.applied.push(Applied {
            pattern: pattern.clone(),
            way: self.steps[one.step].way,
            output: one.output,
            matched: one.edit.nodes.len(),
            built: one.edit.sketch.graph.nodes().count(),
            checked: one.edit.checked.clone(),
        });
        for name in done.built {
            self.lineage.insert(name, one.lineage.clone());
        }
        for (from, to) in done.moved {
            if let Some(lineage) = self.lineage.get(&from).cloned() {
                self.lineage.insert(to, lineage);
            }
        }
        let limit = self.options.limit;
        if self.result.applied.len() >= limit {
            return Err(RewriteError::Limit { limit, pattern });
        }
        Ok(())
    }

    /// Finds, orders, and plans without touching the model.
    fn accept(&mut self, model: &Model, way: Way) -> (Vec<Place>, Vec<Accepted>) {
        let of_way: Vec<usize> =
            (0..self.steps.len()).filter(|&at| self.steps[at].way == way).collect();
        if of_way.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let mut inference = std::mem::take(&mut self.inference);
        let types = inference.run(model);
        let functions = function_types(model);
        let index = Index::new(model, types, &functions);
        let plans: Vec<Plan<'_>> =
            of_way.iter().map(|&at| Plan::ahead(self.steps[at].pattern, &index)).collect();
        let mut found = Matches { places: index.places.clone(), ..Matches::default() };
        let options = crate::Options { steps: self.options.steps, ..crate::Options::default() };
        for (at, plan) in plans.iter().enumerate() {
            crate::find::search(&index, at, plan, &options, &mut found);
        }
        for exhausted in &found.exhausted {
            let name = &plans[exhausted.pattern].pattern.name;
            if !self.result.exhausted.contains(name) {
                self.result.exhausted.push(name.clone());
            }
        }
        found.matches.sort_by(|a, b| {
            let key = |found: &Match| {
                let priority = Reverse(plans[found.pattern].pattern.priority);
                let size = Reverse(found.nodes.len());
                let early = if way == Way::Rule { found.order } else { 0 };
                (found.place, early, priority, size, found.order, found.pattern)
            };
            key(a).cmp(&key(b)).then_with(|| a.choices.cmp(&b.choices))
        });
        let planner = Planner {
            index: &index,
            evaluate: self.evaluate,
            verify: self.options.verify,
            steps: self.options.steps,
        };
        let mut taken: BTreeMap<(PlaceId, NodeId), usize> = BTreeMap::new();
        let mut told: BTreeSet<(usize, PlaceId, NodeId)> = BTreeSet::new();
        let mut accepted = Vec::new();
        for found in &found.matches {
            let at = of_way[found.pattern];
            if planner.is_done(found, self.steps[at])
                || (way == Way::Outline && inside_pattern(model, &index.places, found.place))
                || found.nodes.iter().any(|node| taken.contains_key(&(found.place, *node)))
            {
                continue;
            }
            let output = found
                .outputs
                .first()
                .map(|output| index.graph(found.place).value(*output).name().to_owned());
            let output = output.unwrap_or_default();
            if let Some(around) = around(&index.places, &taken, found) {
                // What was replaced is looked at again; what went into a function is not.
                if way == Way::Outline {
                    let by = self.steps[around].pattern.name.clone();
                    self.refuse(at, output, Refusal::Enclosed { by });
                }
                continue;
            }
            let Some(lineage) = self.lineage_of(&index, found, at) else { continue };
            match planner.plan(&plans[found.pattern], found, self.steps[at]) {
                Ok(mut edit) => {
                    if let Some(function) = &mut edit.function {
                        function.name = self.outlined.name(function, &edit.pattern);
                        edit.sketch.call(&function.name);
                    }
                    taken.extend(found.nodes.iter().map(|node| ((found.place, *node), at)));
                    accepted.push(Accepted { step: at, place: found.place, edit, output, lineage });
                }
                Err(reason) => {
                    // Parts of a match that was refused mostly are refused for the same reason.
                    let node = |node: &NodeId| (at, found.place, *node);
                    let part = found.nodes.iter().all(|it| told.contains(&node(it)));
                    told.extend(found.nodes.iter().map(node));
                    if !part {
                        self.refuse(at, output, reason);
                    }
                }
            }
        }
        if way == Way::Expand {
            self.inline(model, &index, &of_way, &mut accepted);
        }
        let places = index.places.clone();
        self.inference = inference;
        (places, accepted)
    }

    /// Calls of functions that were outlined from the patterns of these steps.
    fn inline(
        &mut self,
        model: &Model,
        index: &Index<'_>,
        steps: &[usize],
        accepted: &mut Vec<Accepted>,
    ) {
        for (place, graph) in index.all_places() {
            for node in graph.nodes().collect::<Vec<_>>() {
                let call = graph.node(node);
                let pattern = |at: &usize| &self.steps[*at].pattern.name;
                let step = steps.iter().find(|at| inline::calls(call, pattern(at)));
                let function = model.function(&call.domain, &call.op_type, &call.overload);
                let (Some(&step), Some(function)) = (step, function) else { continue };
                let outputs: Vec<ValueId> = graph.outputs(node).into_iter().flatten().collect();
                let name = outputs.first().map_or("", |output| graph.value(*output).name());
                let (pattern, output) = (pattern(&step).clone(), name.to_owned());
                match inline::inline(graph, node, function) {
                    Ok(sketch) => {
                        let edit = Edit::inline(pattern, node, outputs, sketch);
                        let lineage = vec![0; self.steps.len()];
                        accepted.push(Accepted { step, place, edit, output, lineage });
                    }
                    Err(reason) => self.refuse(step, output, reason),
                }
            }
        }
    }

    fn refuse(&mut self, step: usize, output: String, reason: Refusal) {
        if self.refused.insert((step, output.clone())) {
            let Step { pattern, way } = self.steps[step];
            let pattern = pattern.name.clone();
            self.result.refused.push(Refused { pattern, way, output, reason });
        }
    }

    /// How often the nodes of a match went through each step, this one included; `None` if that is too
    /// often for this step.
    fn lineage_of(&self, index: &Index<'_>, found: &Match, at: usize) -> Option<Vec<u32>> {
        let graph = index.graph(found.place);
        let mut lineage = vec![0_u32; self.steps.len()];
        for &node in &found.nodes {
            let Some(output) = graph.outputs(node).into_iter().flatten().next() else { continue };
            let Some(known) = self.lineage.get(graph.value(output).name()) else { continue };
            for (mine, theirs) in lineage.iter_mut().zip(known) {
                *mine = (*mine).max(*theirs);
            }
        }
        lineage[at] += 1;
        let step = &self.steps[at];
        let most = match (self.options.until, step.way) {
            // A meaning may hold its own pattern again, and need not be smaller than the body.
            (Until::Once, _) | (_, Way::Fuse | Way::Outline | Way::Expand) => 1,
            // The checks of the language leave no rule that neither decreases nor is bounded.
            (Until::Fixpoint, Way::Rule) => {
                step.pattern.bounded.map_or(u32::MAX, |bound| bound.saturating_add(1))
            }
        };
        (lineage[at] <= most).then_some(lineage)
    }
}

/// The step that took a node in whose body a match lies.
fn around(
    places: &[Place],
    taken: &BTreeMap<(PlaceId, NodeId), usize>,
    found: &Match,
) -> Option<usize> {
    let mut place = found.place;
    while let Place::Body { parent, node, .. } = places[place.index()] {
        if let Some(step) = taken.get(&(parent, node)) {
            return Some(*step);
        }
        place = parent;
    }
    None
}

/// Whether a graph belongs to a function that stands for a pattern: it holds that pattern.
fn inside_pattern(model: &Model, places: &[Place], place: PlaceId) -> bool {
    let function = Path::new(places, place).function;
    function.is_some_and(|function| model.functions[function].domain == outline::DOMAIN)
}

/// Applies edits of one graph, in order; `None` for those that others were in the way of.
pub(crate) fn apply_all(
    model: &mut Model,
    places: &[Place],
    place: PlaceId,
    edits: &[&Edit],
    names: &mut Names,
) -> Vec<Option<Done>> {
    let path = Path::new(places, place);
    let in_function = matches!(places[place.index()], Place::Function(_));
    let mut done = Vec::with_capacity(edits.len());
    path.edit(model, |graph| {
        let mut surgery = Surgery::new(graph, names, in_function);
        done = edits.iter().map(|edit| surgery.apply(edit)).collect();
        surgery.finish();
    });
    let mut imports: Vec<&(String, i64)> = Vec::new();
    for (edit, done) in edits.iter().zip(&done) {
        if done.is_some() {
            imports.extend(&edit.sketch.imports);
        }
    }
    for (edit, done) in edits.iter().zip(&done) {
        if let (Some(function), Some(_)) = (&edit.function, done) {
            outline::add(model, (**function).clone());
        }
    }
    for (domain, version) in imports {
        import(model, path.function, domain, *version);
    }
    done
}

/// Imports an operator set in a graph and all its bodies.
fn import(model: &mut Model, function: Option<usize>, domain: &str, version: i64) {
    fn within(graph: &mut marquetry_ir::Graph, domain: &str, version: i64) {
        if graph.opsets.version(domain).is_some() {
            return;
        }
        graph.opsets.set(domain, version);
        let holds = |node: &NodeId| graph.node(*node).bodies().next().is_some();
        for node in graph.nodes().filter(holds).collect::<Vec<_>>() {
            graph.edit_bodies(node, |body| within(body, domain, version));
        }
    }
    // A function may need a domain that the model does not import yet; the model lists all.
    if let Some(function) = function {
        within(&mut model.functions[function].body, domain, version);
    }
    within(&mut model.graph, domain, version);
}
