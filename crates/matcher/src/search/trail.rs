//! What the search changes, and how it is undone.

use marquetry_pattern::core::{ExprId, ScopeId, VarId};

use super::Search;
use crate::datum::Datum;
use crate::found::PlaceId;
use crate::index::NodeRow;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Inactive,
    Pending,
    Settled,
}

/// What undoing takes.
pub(super) enum Undo {
    Bound(VarId, Option<Datum>),
    Held(ScopeId, bool),
    Chosen(usize, Option<usize>),
    State(usize, State),
    Deferred(usize, bool),
    AddedDeferred,
    Node(NodeRow),
    Place(PlaceId),
    Satisfied,
}

impl Search<'_, '_, '_> {
    pub(super) fn undo(&mut self, length: usize) {
        while self.trail.len() > length {
            match self.trail.pop().expect("the trail is longer than its target") {
                Undo::Bound(var, before) => self.bindings[var.index()] = before,
                Undo::Held(scope, before) => self.holds[scope.index()] = before,
                Undo::Chosen(choice, before) => self.chosen[choice] = before,
                Undo::State(constraint, before) => self.states[constraint] = before,
                Undo::Deferred(at, before) => self.deferred[at].settled = before,
                Undo::AddedDeferred => {
                    self.deferred.pop();
                }
                Undo::Node(node) => {
                    self.nodes.pop();
                    self.marks[node.index()] -= 1;
                    if let Some(trace) = &mut self.trace {
                        trace.matched.pop();
                    }
                }
                Undo::Place(place) => self.place = place,
                Undo::Satisfied => {
                    if let Some(trace) = &mut self.trace {
                        trace.satisfied.pop();
                    }
                }
            }
        }
    }

    /// Makes a scope hold; a second time is no change.
    pub(super) fn hold(&mut self, scope: ScopeId) -> bool {
        if self.holds[scope.index()] {
            return true;
        }
        self.set_hold(scope, true);
        self.activate(self.plan.of_scope(scope));
        true
    }

    pub(super) fn set_hold(&mut self, scope: ScopeId, hold: bool) {
        let before = std::mem::replace(&mut self.holds[scope.index()], hold);
        self.trail.push(Undo::Held(scope, before));
        if let Some((choice, _)) = self.plan.branch_of(scope) {
            let taken = hold.then_some(scope.index());
            let before = std::mem::replace(&mut self.chosen[choice], taken);
            debug_assert!(!hold || before.is_none(), "one branch of a choice holds");
            self.trail.push(Undo::Chosen(choice, before));
        }
    }

    pub(super) fn activate(&mut self, constraints: std::ops::Range<usize>) {
        for constraint in constraints {
            self.set_state(constraint, State::Pending);
            self.woken.push(constraint);
        }
    }

    pub(super) fn set_state(&mut self, constraint: usize, state: State) {
        let before = std::mem::replace(&mut self.states[constraint], state);
        self.trail.push(Undo::State(constraint, before));
    }

    pub(super) fn set(&mut self, var: VarId, datum: Option<Datum>) {
        let before = std::mem::replace(&mut self.bindings[var.index()], datum);
        self.trail.push(Undo::Bound(var, before));
        self.woken.extend_from_slice(self.plan.watching(var));
    }

    pub(super) fn binding(&self, var: VarId) -> Option<&Datum> {
        self.bindings[var.index()].as_ref()
    }

    pub(super) fn mark(&mut self, node: NodeRow, expr: ExprId) {
        // What a body holds belongs to the node that holds the body.
        if self.place == self.home {
            self.nodes.push(node);
            self.marks[node.index()] += 1;
            self.trail.push(Undo::Node(node));
            if let Some(trace) = &mut self.trace {
                trace.matched.push(expr);
            }
        }
    }

    pub(super) fn matched(&self, node: NodeRow) -> bool {
        self.marks[node.index()] > 0
    }
}
