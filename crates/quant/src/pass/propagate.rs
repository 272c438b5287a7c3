//! Propagate: operators that cannot change the grid share it with what they read.

use std::collections::BTreeSet;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::schema::{self, Facts};
use marquetry_ir::{Graph, ValueId};

use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::effective::{Path, is_float};
use crate::flat::{Flat, Join, JoinKind};
use crate::plan::{Plan, Quantizer, Reason};
use crate::policy::{Everywhere, Movement, keeps_grid};
use crate::units::{Unit, Units};
use crate::{DType, FixedRange, Spec};

/// Ties the encodings of values that an operator joins, or passes on as they are: all inputs of a
/// `Concat` have the grid of its result, the result of a `Relu` has the grid of its input.
///
/// A tie is walked through the data input of operators that keep the grid, and through nothing else:
/// never through integers, never into parameters, never past an operator that computes. All outputs
/// of every operator on the way count as read, so that a range that suits one branch does not clip
/// another. Policies that place by kernels tie by themselves; this does nothing there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Propagate;

impl Pass for Propagate {
    fn name(&self) -> &str {
        "Propagate"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let Some(rules) = state.policy.everywhere() else {
            let what = format!("`{}` ties where integers flow", state.policy.name);
            return Ok(Summary::new(self, what));
        };
        let types = infer::run(&state.model);
        let flat = Flat::of(&state.model.graph, &types, &state.groups, &state.plan)
            .map_err(|error| PassError::Graph { message: error.to_string() })?;
        let (graph, types) = (&*flat.graph, &*flat.types);
        let units = Units::of(graph, types, &flat.groups, &rules.groups)
            .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        let plan = flat.enter(state.plan.clone());
        let mut ties = Ties { flat: &flat, graph, types, units: &units, plan, made: 0 };
        ties.run(rules);
        let (plan, made) = (ties.plan, ties.made);
        state.plan = flat.leave(plan);
        Ok(Summary::new(self, format!("{made} ties")))
    }
}

struct Ties<'a> {
    flat: &'a Flat<'a>,
    graph: &'a Graph,
    types: &'a Types,
    units: &'a Units<'a>,
    plan: Plan,
    made: usize,
}

/// A quantizer that an input of an operator lies on.
struct Source {
    value: ValueId,
    /// Whether the operator is all that reads it.
    alone: bool,
}

impl Ties<'_> {
    fn run(&mut self, rules: &Everywhere) {
        let units = self.units;
        // What is moved is looked through, so that all its readers count, and tied in the end.
        let moved = match rules.movement {
            Movement::Through => Vec::new(),
            Movement::Same => self.moved(rules),
        };
        self.switch(&moved, false);
        for join in &self.flat.joins {
            self.join(join);
        }
        for unit in units.list.iter().rev().filter(|unit| facts(unit).tie_backward()) {
            self.backward(unit);
        }
        for unit in units.list.iter().filter(|unit| facts(unit).tie_forward()) {
            self.forward(unit);
        }
        for unit in units.list.iter() {
            self.states(unit);
        }
        self.switch(&moved, true);
        for unit in units.list.iter() {
            self.movement(unit, &moved);
        }
    }

    /// Results of what keeps the grid, unless a rule gives them one of their own.
    fn moved(&self, rules: &Everywhere) -> Vec<ValueId> {
        let own = |unit: &&Unit<'_>| {
            rules.operators.get(unit.operator).is_none_or(|rule| rule.outputs.is_none())
        };
        let units = self.units.list.iter().filter(|unit| keeps_grid(unit.operator));
        let outputs = units.filter(own).flat_map(|unit| unit.outputs.iter().copied());
        outputs.filter(|&value| self.is_on(value)).collect()
    }

    fn switch(&mut self, values: &[ValueId], on: bool) {
        for &value in values {
            if let Some(site) = self.plan.get_mut(value) {
                site.enabled = on;
            }
        }
    }

    /// All that is joined gets the grid of the result, where the result is all that becomes of it.
    fn backward(&mut self, unit: &Unit<'_>) {
        let Some(&output) = unit.outputs.first() else { return };
        if !self.is_on(output) {
            return;
        }
        let joined: Vec<ValueId> = unit
            .inputs
            .iter()
            .copied()
            .flatten()
            .filter(|&value| is_float(self.types, value))
            .collect();
        let sources: Vec<Option<Source>> = joined.iter().map(|&value| self.source(value)).collect();
        let range = |source: &Option<Source>| {
            source.as_ref().and_then(|source| self.plan.get(source.value)?.fixed_range)
        };
        let first = sources.first().and_then(range);
        let common = first.filter(|_| sources.iter().all(|source| range(source) == first));
        let mut tied = Vec::new();
        for source in sources.iter().flatten().filter(|source| source.alone) {
            let fixed = self.plan.get(source.value).and_then(|site| site.fixed_range);
            if common.is_some() || fixed.is_none() {
                tied.push(source.value);
            }
        }
        if let (Some(common), Some(site)) = (common, self.plan.get_mut(output)) {
            site.fixed_range = Some(common);
        }
        let label = self.label(unit);
        for value in tied {
            self.tie(output, value, &label, "joins it with others");
        }
    }

    /// The result gets the grid of what is read, and what is read the limits of the result.
    fn forward(&mut self, unit: &Unit<'_>) {
        let (Some(&output), Some(input)) =
            (unit.outputs.first(), unit.inputs.first().copied().flatten())
        else {
            return;
        };
        let path = Path::back(self.graph, self.types, self.units, &self.plan, input);
        let Some(path) = path.filter(|_| self.is_on(output)) else { return };
        let range = |value| self.plan.get(value).and_then(|site: &Quantizer| site.fixed_range);
        let (ours, theirs) = (range(output), range(path.source));
        if ours.is_some() && ours != theirs {
            // A range that holds for the result would clip what others read.
            let alone = path.consumers(self.graph, self.units).len() == 1;
            if !alone || path.is_seen_outside(self.graph) {
                let what = format!("{} does not share its range: others read it", self.label(unit));
                if let Some(site) = self.plan.get_mut(path.source) {
                    site.because.push(Reason::new("Propagate", what));
                }
                return;
            }
        }
        let label = self.label(unit);
        self.tie(path.source, output, &label, "passes it on");
    }

    /// What is one at the border of a body has one grid, as far as others do not read it too.
    fn join(&mut self, join: &Join) {
        let to: Vec<ValueId> = join.to.iter().copied().filter(|&value| self.is_on(value)).collect();
        let Some(&first) = to.first() else { return };
        let label = self.flat.label(join.node);
        let what = match join.kind {
            JoinKind::Branches => "gives what one of its branches does",
            JoinKind::Carried => "carries it from turn to turn",
            JoinKind::Slices => "reads it part by part",
            JoinKind::Stacked => "gives it of all turns",
        };
        for &other in &to[1..] {
            self.tie(first, other, &label, what);
        }
        let sources: Vec<(usize, Source)> = join
            .from
            .iter()
            .enumerate()
            .filter_map(|(at, &value)| Some((at, self.source(value)?)))
            .collect();
        let range = |ties: &Self, value| ties.plan.get(value).and_then(|site| site.fixed_range);
        let known = sources.first().map(|(_, source)| range(self, source.value));
        let all = sources.len() == join.from.len();
        let alike =
            all && sources.iter().all(|(_, source)| Some(range(self, source.value)) == known);
        let copied = all && sources.iter().all(|(_, one)| one.value == sources[0].1.value);
        if let (Some(Some(known)), true, Some(site)) = (known, alike, self.plan.get_mut(first)) {
            site.fixed_range = Some(known);
        }
        for (at, source) in sources {
            let starts = join.kind == JoinKind::Carried && at == 0;
            let own = source.value == join.from[at] && !starts;
            let why = match (range(self, source.value), copied || own || source.alone) {
                (Some(_), _) if !alike => "whose range is another one",
                (_, false) => "which others read too",
                (_, true) => {
                    self.tie(first, source.value, &label, what);
                    continue;
                }
            };
            let name = self.graph.value(source.value).name();
            let what = format!("{label} does not tie it to `{name}`, {why}");
            if let Some(site) = self.plan.get_mut(first) {
                site.because.push(Reason::new("Propagate", what));
            }
        }
    }

    /// The state that a recurrent operator starts from has the grid of the one it ends with.
    fn states(&mut self, unit: &Unit<'_>) {
        let states: &[(usize, usize)] = match unit.operator {
            "LSTM" => &[(5, 1), (6, 2)],
            "RNN" | "GRU" => &[(5, 1)],
            _ => return,
        };
        let [node] = unit.nodes.as_slice() else { return };
        let label = self.label(unit);
        for &(input, output) in states {
            let start = unit.inputs.get(input).copied().flatten();
            let source = start.and_then(|value| self.source(value));
            let end = self.graph.output(*node, output).filter(|&value| self.is_on(value));
            if let (Some(source), Some(end)) = (source, end) {
                self.tie(end, source.value, &label, "carries its state on");
            }
        }
    }

    /// What is moved has the same grid on both sides.
    fn movement(&mut self, unit: &Unit<'_>, moved: &[ValueId]) {
        let input = unit.inputs.first().copied().flatten();
        let Some(source) =
            input.filter(|_| keeps_grid(unit.operator)).and_then(|value| self.source(value))
        else {
            return;
        };
        let label = self.label(unit);
        for &output in &unit.outputs {
            if moved.contains(&output) {
                self.tie(source.value, output, &label, "moves it");
            }
        }
    }

    fn source(&self, value: ValueId) -> Option<Source> {
        let path = Path::back(self.graph, self.types, self.units, &self.plan, value)?;
        let alone = path.consumers(self.graph, self.units).len() == 1;
        Some(Source { value: path.source, alone })
    }

    fn is_on(&self, value: ValueId) -> bool {
        self.plan.get(value).is_some_and(|site| site.enabled)
    }

    fn label(&self, unit: &Unit<'_>) -> String {
        unit.nodes.last().map_or_else(String::new, |&node| self.flat.label(node))
    }

    /// Gives two sites, and all that either is tied to, one encoding within the limits of both; not
    /// those that are known to lie in different ranges.
    fn tie(&mut self, a: ValueId, b: ValueId, label: &str, what: &str) {
        let (Some(one), Some(other)) = (self.plan.get(a), self.plan.get(b)) else { return };
        if a == b || one.tied.is_some() && one.tied == other.tied {
            return;
        }
        let Some((spec, range)) = merged(one, other) else {
            let name = self.graph.value(a).name();
            let what = format!("{label} does not tie it to `{name}`, whose range is another one");
            if let Some(site) = self.plan.get_mut(b) {
                site.because.push(Reason::new("Propagate", what));
            }
            return;
        };
        let reason = Reason::new("Propagate", format!("{label} {what}"));
        self.plan.tie(a, b, &reason);
        self.made += 1;
        let tied: BTreeSet<ValueId> = self.plan.tied_to(a).into_iter().collect();
        for value in tied {
            if let Some(site) = self.plan.get_mut(value) {
                site.spec = spec;
                site.fixed_range = range;
            }
        }
    }
}

/// What two quantizers that become one are asked to be; nothing where two ranges cannot both hold.
fn merged(one: &Quantizer, other: &Quantizer) -> Option<(Spec, Option<FixedRange>)> {
    let narrow = |a: DType, b: DType| if b.bits() < a.bits() { b } else { a };
    let spec = Spec {
        dtype: narrow(one.spec.dtype, other.spec.dtype),
        symmetric: one.spec.symmetric || other.spec.symmetric,
        unsigned: one.spec.unsigned || other.spec.unsigned,
        ..one.spec
    };
    let range = match (one.fixed_range, other.fixed_range) {
        (Some(one), Some(other)) if one != other => return None,
        (one, other) => one.or(other),
    };
    let range = match range {
        // Zero is in the middle, so both sides reach as far as the longer one.
        Some(range) if spec.symmetric => {
            let reach = range.min.into_iter().chain(range.max).map(f64::abs).fold(0.0, f64::max);
            (reach > 0.0).then(|| FixedRange::of(-reach, reach))
        }
        range => range,
    };
    Some((spec, range))
}

/// What the operator of a unit means for quantization.
fn facts(unit: &Unit<'_>) -> Facts {
    // Facts hold for every version.
    let known = schema::versions("", unit.operator).first().map(|schema| schema.facts);
    known.filter(|_| unit.group.is_none()).unwrap_or_default()
}
