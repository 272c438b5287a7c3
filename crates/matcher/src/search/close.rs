//! What must hold when all goals are reached, and the match that comes of it.

use std::collections::BTreeSet;

use marquetry_ir::ValueId;
use marquetry_pattern::core::{Role, VarId};
use marquetry_pattern::quant::{HintKind, Target};

use super::{Alternatives, Exhaustion, Goal, Reason, Search, State};
use crate::compute::World;
use crate::datum::Datum;
use crate::found::{Binding, Bound, Match, Spelling};
use crate::group::Hint;
use crate::index::{NodeRow, ValueRow};
use crate::plan::Constraint;

/// How far it is looked whether a use of an interior value matters: `Shape`, `Gather`, and a little
/// arithmetic.
const DEPTH: usize = 3;

impl Search<'_, '_, '_> {
    /// Takes what is still to be chosen, then checks the whole.
    pub(super) fn finish(&mut self) -> Result<bool, Exhaustion> {
        let pattern = self.pattern();
        for (at, scope) in pattern.scopes.iter().enumerate() {
            if !self.holds[at] {
                continue;
            }
            let open = scope.choices.iter().find(|choice| self.chosen[choice.index()].is_none());
            if let Some(&choice) = open {
                let then = Box::new(Goal::Finish);
                return self.choose(Alternatives::Scopes { choice, then });
            }
        }
        if let Some(progress) = self.next_root()? {
            return Ok(progress);
        }
        self.finishing = true;
        // Nothing found is no match.
        if self.nodes.is_empty() {
            return Ok(self.fail_at(Reason::NoNode, self.pattern().span, None));
        }
        Ok(self.settle_rest()? && self.header_is_bound() && self.is_closed() && self.is_convex()?)
    }

    /// Settles what waited for variables that stay unbound: they are absent. Numbers first, in the
    /// order of the file, because conditions may be about them.
    fn settle_rest(&mut self) -> Result<bool, Exhaustion> {
        let pending = |search: &Self, lets: bool| {
            let waiting = (0..search.states.len()).filter(|&at| {
                search.states[at] == State::Pending
                    && lets == !matches!(search.constraint(at), Constraint::Guard { .. })
            });
            waiting.collect::<Vec<_>>()
        };
        for lets in [true, false] {
            for at in pending(self, lets) {
                if self.states[at] == State::Pending && !(self.check(at) && self.settle()?) {
                    return Ok(false);
                }
            }
        }
        Ok(self.check_deferred())
    }

    fn header_is_bound(&mut self) -> bool {
        let pattern = self.pattern();
        for &var in pattern.inputs.iter().chain(&pattern.outputs) {
            let declared = pattern.var(var);
            let absent = matches!(self.binding(var), None | Some(Datum::None));
            if absent && !declared.optional && !declared.list {
                return self.fail_at(Reason::Unbound(var), declared.span, None);
            }
        }
        let outputs = self.values_of(&pattern.outputs);
        for (at, output) in outputs.iter().enumerate() {
            if outputs[..at].contains(output) {
                return self.fail_at(Reason::SameOutput, pattern.span, Some(*output));
            }
        }
        // Nothing that goes in comes out of the match (C4).
        for &var in &pattern.inputs {
            for value in self.values_of(&[var]) {
                let inside = self.index.producer(value).is_some_and(|(node, _)| self.matched(node));
                if inside && !self.index.is_constant(value) {
                    let span = pattern.var(var).span;
                    return self.fail_at(Reason::InputInside(var), span, Some(value));
                }
            }
        }
        true
    }

    /// The values that variables are bound to, lists included.
    fn values_of(&self, vars: &[VarId]) -> Vec<ValueRow> {
        let mut values = Vec::new();
        for &var in vars {
            match self.binding(var) {
                Some(Datum::Value(value)) => values.push(*value),
                Some(Datum::List(items)) => {
                    let each = items.iter();
                    values.extend(each.filter_map(|item| match item {
                        Datum::Value(value) => Some(*value),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        values
    }

    /// Outputs, and values that may be used outside.
    fn exits(&self) -> Vec<ValueRow> {
        let pattern = self.pattern();
        let mut exits = self.values_of(&pattern.outputs);
        let shared = pattern.vars().filter(|(_, declared)| declared.shared).map(|(var, _)| var);
        exits.extend(self.values_of(&shared.collect::<Vec<_>>()));
        exits
    }

    /// No interior value is used outside the match or is an output of the graph (C2).
    fn is_closed(&mut self) -> bool {
        let exits = self.exits();
        for at in 0..self.nodes.len() {
            let node = self.nodes[at];
            for &value in self.index.outputs(node).iter().flatten() {
                if exits.contains(&value) || self.is_fixed(value) {
                    continue;
                }
                if self.leaves(value) || self.index.is_output(value) {
                    return self.fail_at(Reason::Escapes, self.pattern().span, Some(value));
                }
            }
        }
        true
    }

    /// Whether a value is read outside the match; its shape does not count.
    fn leaves(&self, value: ValueRow) -> bool {
        let outside = self.index.users(value).iter().filter(|user| !self.takes_part(**user));
        outside.into_iter().any(|user| !self.index.measures(*user) && self.is_read(*user, DEPTH))
    }

    /// Whether a node is matched, or stands in a body of one that is.
    fn takes_part(&self, node: NodeRow) -> bool {
        self.index.within(self.home, node).is_some_and(|node| self.matched(node))
    }

    /// Interior values whose shape is read outside.
    fn measured(&self, interior: &[ValueRow]) -> Vec<ValueRow> {
        let outside = |value: &ValueRow| {
            let mut users = self.index.users(*value).iter();
            users.any(|user| !self.takes_part(*user) && self.is_read(*user, DEPTH))
        };
        let exits = self.exits();
        interior.iter().copied().filter(|value| !exits.contains(value) && outside(value)).collect()
    }

    /// Whether what a node reads matters: not if all that comes of it is the same in every run, such as
    /// the length of one axis, or is never used.
    fn is_read(&self, node: NodeRow, depth: usize) -> bool {
        self.index.outputs(node).iter().flatten().any(|&value| {
            !self.is_fixed(value)
                && (depth == 0
                    || self.index.is_output(value)
                    || self.index.users(value).iter().any(|user| self.is_read(*user, depth - 1)))
        }) || !self.index.bodies(node).is_empty()
    }

    /// Whether a value is the same in every run: never interior, because nobody needs the match for it.
    fn is_fixed(&self, value: ValueRow) -> bool {
        self.index.is_constant(value) || self.index.known(value).is_some()
    }

    /// No path leaves the match and comes back (C3). With one exit there is none: what is computed from
    /// it cannot be below it.
    fn is_convex(&mut self) -> Result<bool, Exhaustion> {
        let exits = self.exits();
        if exits.len() < 2 {
            return Ok(true);
        }
        let Some(&last) = self.nodes.iter().max() else { return Ok(true) };
        let mut waiting = exits;
        let mut seen = BTreeSet::new();
        while let Some(value) = waiting.pop() {
            for &user in self.index.users(value) {
                self.spend(1)?;
                let Some(user) = self.index.within(self.home, user) else { continue };
                if self.matched(user) {
                    // Directly from an exit it never left.
                    if self.is_exit(value) {
                        continue;
                    }
                    return Ok(self.fail_at(Reason::NotConvex, self.pattern().span, Some(value)));
                }
                if user < last && seen.insert(user) {
                    waiting.extend(self.index.outputs(user).iter().flatten());
                }
            }
        }
        Ok(true)
    }

    fn is_exit(&self, value: ValueRow) -> bool {
        self.index.producer(value).is_some_and(|(node, _)| self.matched(node))
    }

    /// The match that the search stands at.
    pub(super) fn result(&self) -> Match {
        let pattern = self.pattern();
        let mut rows = self.nodes.clone();
        rows.sort_unstable();
        rows.dedup();
        let outputs = self.values_of(&pattern.outputs);
        let interior = self.interior(&rows, &outputs);
        let constants = self.constants(&rows);
        let anchor = outputs.first().and_then(|value| self.index.producer(*value));
        let anchor = anchor.map(|(node, _)| node).or(rows.last().copied());
        let anchor = anchor.expect("a match has a node");
        let meaning = pattern.meaning.is_some_and(|scope| self.holds[scope.index()]);
        Match {
            pattern: 0,
            place: self.home,
            anchor: self.index.id(anchor),
            order: self.index.order(anchor),
            nodes: rows.iter().map(|row| self.index.id(*row)).collect(),
            bindings: self.named(),
            header: pattern.attributes.len() + pattern.inputs.len() + pattern.outputs.len(),
            outputs: self.ids(&outputs),
            hints: self.hints(&interior, &constants),
            measured: self.ids(&self.measured(&interior)),
            interior: self.ids(&interior),
            constants: self.ids(&constants),
            spelling: if meaning { Spelling::Meaning } else { Spelling::Body },
            choices: self.choices.clone(),
            vars: self.bindings.clone(),
        }
    }

    fn id(&self, value: ValueRow) -> Option<ValueId> {
        self.index.id_within(value, self.home)
    }

    fn ids(&self, values: &[ValueRow]) -> Vec<ValueId> {
        values.iter().filter_map(|value| self.id(*value)).collect()
    }

    fn interior(&self, rows: &[NodeRow], outputs: &[ValueRow]) -> Vec<ValueRow> {
        let results = rows.iter().flat_map(|row| self.index.outputs(*row)).flatten();
        results
            .copied()
            .filter(|value| !outputs.contains(value) && !self.is_fixed(*value))
            .collect()
    }

    fn constants(&self, rows: &[NodeRow]) -> Vec<ValueRow> {
        let inputs = self.values_of(&self.pattern().inputs);
        let mut constants: Vec<_> =
            rows.iter().flat_map(|row| self.index.inputs(*row)).flatten().copied().collect();
        constants.retain(|value| self.is_fixed(*value) && !inputs.contains(value));
        constants.sort_unstable();
        constants.dedup();
        constants
    }

    fn named(&self) -> Vec<Binding> {
        let pattern = self.pattern();
        let header = pattern.attributes.iter().chain(&pattern.inputs).chain(&pattern.outputs);
        let header: Vec<VarId> = header.copied().collect();
        let local = pattern.vars().filter(|(var, declared)| {
            declared.role == Role::Local
                && declared.copy_of.is_none()
                && !declared.name.starts_with('_')
                && !header.contains(var)
        });
        let vars = header.iter().copied().chain(local.map(|(var, _)| var));
        let bound = |var: VarId| self.binding(var).map_or(Bound::Absent, |datum| self.bound(datum));
        vars.map(|var| Binding { name: pattern.var(var).name.clone(), bound: bound(var) }).collect()
    }

    fn bound(&self, datum: &Datum) -> Bound {
        match datum {
            Datum::None | Datum::Unknown | Datum::Unbound => Bound::Absent,
            Datum::Bool(truth) => Bound::Int(i64::from(*truth)),
            Datum::Int(number) => Bound::Int(*number),
            Datum::Axis(axis) => Bound::Int(axis.written()),
            Datum::Float(float) => Bound::Float(float.number),
            Datum::Text(text) | Datum::Opaque(text) => Bound::Text(text.clone()),
            Datum::List(items) => Bound::List(items.iter().map(|item| self.bound(item)).collect()),
            Datum::Tensor(tensor) => match &tensor.items[..] {
                [single] => self.bound(single),
                items => Bound::List(items.iter().map(|item| self.bound(item)).collect()),
            },
            Datum::Dtype(dtype) => Bound::Dtype(*dtype),
            Datum::Symbol(name) => Bound::Symbol(name.clone()),
            Datum::Value(value) => self.id(*value).map_or(Bound::Absent, Bound::Value),
            Datum::Operator(operator) => {
                let (domain, name) = self.index.operator_name(*operator);
                Bound::Operator(domain.to_owned(), name.to_owned())
            }
            Datum::Attributes(attributes) => {
                let each = attributes.iter();
                Bound::Attributes(
                    each.map(|(name, datum)| (name.clone(), self.bound(datum))).collect(),
                )
            }
        }
    }

    fn hints(&self, interior: &[ValueRow], constants: &[ValueRow]) -> Vec<Hint> {
        let mut hints = Vec::new();
        for hint in &self.pattern().hints {
            let holds =
                hint.when.as_ref().is_none_or(|when| self.evaluate(when) == Datum::Bool(true));
            if holds {
                self.hint(&hint.kind, interior, constants, &mut hints);
            }
        }
        hints
    }

    fn hint(
        &self,
        kind: &HintKind,
        interior: &[ValueRow],
        constants: &[ValueRow],
        hints: &mut Vec<Hint>,
    ) {
        let targets = |target: &Target| match target {
            Target::Var(var) => self.ids(&self.values_of(&[*var])),
            Target::Interior => self.ids(interior),
            Target::Consts => self.ids(constants),
        };
        let all = |names: &[Target]| names.iter().flat_map(&targets).collect::<Vec<_>>();
        let number = |expr| self.evaluate(expr).as_float().map(|float| float.number);
        match kind {
            HintKind::Skip(names) => hints.extend(all(names).into_iter().map(Hint::Skip)),
            HintKind::Quantize(names) => hints.extend(all(names).into_iter().map(Hint::Quantize)),
            HintKind::Symmetric(names) => hints.extend(all(names).into_iter().map(Hint::Symmetric)),
            HintKind::Share(names) => {
                let values = all(names);
                if values.len() > 1 {
                    hints.push(Hint::Share(values));
                }
            }
            HintKind::PerChannel(target, axis) => {
                if let Some(axis) = self.evaluate(axis).as_int() {
                    let each = targets(target).into_iter();
                    hints.extend(each.map(|value| Hint::PerChannel { value, axis }));
                }
            }
            HintKind::Bias(target, of) => {
                let of = all(of);
                let each = targets(target).into_iter();
                hints.extend(each.map(|bias| Hint::Bias { bias, of: of.clone() }));
            }
            HintKind::Range(target, low, high) => {
                if let (Some(low), Some(high)) = (number(low), number(high)) {
                    let each = targets(target).into_iter();
                    hints.extend(each.map(|value| Hint::Range { value, low, high }));
                }
            }
            HintKind::Tag(target, key, content) => {
                let content = self.bound(&self.evaluate(content));
                hints.extend(targets(target).into_iter().map(|value| {
                    let (key, content) = (key.clone(), content.clone());
                    Hint::Tag { value, key, content }
                }));
            }
        }
    }
}
