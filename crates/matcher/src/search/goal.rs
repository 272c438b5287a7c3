//! What is still to be matched, and where the search goes on when it fails.

use std::rc::Rc;

use marquetry_pattern::core::{ChoiceId, ExprId, ScopeId, VarId};

use crate::datum::Datum;
use crate::found::PlaceId;
use crate::index::{NodeRow, ValueRow};

/// What is still to be matched.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// An expression at a value, or at an input that is absent. `reader` is the node that reads it.
    Expr { expr: ExprId, at: Option<ValueRow>, reader: Option<NodeRow> },
    /// The definitions of a variable that was bound to a value.
    Define { var: VarId, at: ValueRow, reader: Option<NodeRow>, except: Option<ExprId> },
    /// Makes a scope hold.
    Hold(ScopeId),
    /// Ends a branch of an `Alt`: its lets, its guard, what it leaves absent.
    EndBranch { alt: ExprId, branch: usize },
    /// Operands from `next` on, each at a leaf that is not used yet.
    Assign { parent: ExprId, next: usize, leaves: Leaves, used: Rc<[u32]> },
    /// Inputs from `next` on, each at the expression of an `Each`.
    Each { parent: ExprId, arg: usize, next: usize, inputs: Leaves, lists: Lists },
    /// Collects what one input bound.
    EndEach { parent: ExprId, arg: usize, next: usize, inputs: Leaves, lists: Lists },
    /// The next step of a `Repeat`, or its end.
    Repeat { expr: ExprId, at: ValueRow, reader: Option<NodeRow>, count: u32, lists: Lists },
    /// Collects what one step bound.
    EndStep { expr: ExprId, count: u32, lists: Lists },
    /// Binds the lists of an `Each` or a `Repeat`.
    Gather { parent: ExprId, arg: usize, lists: Lists },
    /// Goes on in another graph.
    Enter(PlaceId),
    /// Binds a variable without its definition, or compares it.
    Unify(VarId, Datum),
    /// Variables that are set to none unless they are bound.
    Absent(ExprId, usize),
    /// What is left when all goals are reached.
    Finish,
    /// An equation has matched, by its expression; only in a search that is traced.
    Satisfied(ExprId),
}

/// Inputs of a node or of a tree of nodes; `reader` is the node that reads each.
pub(super) type Leaves = Rc<[(Option<ValueRow>, NodeRow)]>;

/// For each collected variable, its bindings so far.
pub(super) type Lists = Rc<Vec<Vec<Datum>>>;

/// Where the search goes on when it fails.
pub(super) struct Point {
    pub(super) kind: Alternatives,
    /// The next alternative to try.
    pub(super) next: usize,
    pub(super) goals: usize,
    pub(super) rest: u32,
    pub(super) trail: usize,
    pub(super) choices: usize,
}

#[derive(Clone)]
pub(super) enum Alternatives {
    Branches { alt: ExprId, at: Option<ValueRow>, reader: Option<NodeRow> },
    Scopes { choice: ChoiceId, then: Box<Goal> },
    Leaves { parent: ExprId, next: usize, leaves: Leaves, used: Rc<[u32]> },
    Steps { expr: ExprId, at: ValueRow, reader: Option<NodeRow>, count: u32, lists: Lists },
    Roots { root: usize, candidates: Rc<[ValueRow]> },
}

/// What an alternative asks for.
pub(super) enum Taken {
    /// These goals, first one first.
    Goals([Option<Goal>; 3]),
    /// Nothing: it cannot match.
    Skip,
    /// There is no such alternative.
    Exhausted,
}

impl Taken {
    pub(super) fn goals<const N: usize>(goals: [Goal; N]) -> Self {
        let mut goals = goals.into_iter();
        Self::Goals([goals.next(), goals.next(), goals.next()])
    }
}
