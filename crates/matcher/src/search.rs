//! The search at one anchor: goals, alternatives to come back to, and a trail to undo.
//!
//! Nothing recurses over the graph: what is still to be matched is a list of goals, which
//! alternatives share, so a chain of a million nodes costs memory of its length and no stack.

mod close;
mod equation;
mod goal;
mod guard;
mod node;
mod number;
mod outcome;
mod roots;
mod trace;
mod trail;

use std::rc::Rc;

use marquetry_pattern::core::{ExprId, ExprKind, Pattern, VarId};
use marquetry_pattern::gexpr::GExpr;

use crate::datum::Datum;
use crate::found::{Match, PlaceId};
use crate::index::{Index, NodeRow, ValueRow};
use crate::plan::{Constraint, Plan};

use goal::{Alternatives, Goal, Leaves, Lists, Point, Taken};
use trail::{State, Undo};

pub(crate) use node::{datum, is_axes};
pub(crate) use number::uniform;
pub(crate) use outcome::{Failure, Outcome, Reason};
pub(crate) use trace::{Attempt, Stop, Trace, Tried};

/// The end of a list of goals.
const END: u32 = u32::MAX;

/// A comparison that waits for a variable.
struct Deferred<'p> {
    value: &'p GExpr,
    found: Datum,
    tolerance: Option<marquetry_pattern::core::Tolerance>,
    settled: bool,
}

/// A search for one pattern; used for one anchor after the other.
pub(crate) struct Search<'a, 'm, 'p> {
    pub(crate) index: &'a Index<'m>,
    pub(crate) plan: &'a Plan<'p>,
    /// The graph of the match.
    home: PlaceId,
    /// The graph where the search stands: `home`, or a body inside it.
    place: PlaceId,
    bindings: Vec<Option<Datum>>,
    holds: Vec<bool>,
    chosen: Vec<Option<usize>>,
    states: Vec<State>,
    deferred: Vec<Deferred<'p>>,
    /// Constraints whose variables changed.
    woken: Vec<usize>,
    nodes: Vec<NodeRow>,
    /// By node: how often it is in `nodes`.
    marks: Vec<u16>,
    trail: Vec<Undo>,
    goals: Vec<(Goal, u32)>,
    rest: u32,
    points: Vec<Point>,
    choices: Vec<u32>,
    steps: u32,
    /// Whether unbound variables count as absent.
    finishing: bool,
    deepest: Option<Failure>,
    /// What is kept to explain failures; nothing on the normal path.
    trace: Option<Box<Trace>>,
}

impl<'a, 'm, 'p> Search<'a, 'm, 'p> {
    pub(crate) fn new(index: &'a Index<'m>, plan: &'a Plan<'p>) -> Self {
        let pattern = plan.pattern;
        Self {
            index,
            plan,
            home: PlaceId::MAIN,
            place: PlaceId::MAIN,
            bindings: vec![None; pattern.vars.len()],
            holds: vec![false; pattern.scopes.len()],
            chosen: vec![None; pattern.choices.len()],
            states: vec![State::Inactive; plan.constraints.len()],
            deferred: Vec::new(),
            woken: Vec::new(),
            nodes: Vec::new(),
            marks: vec![0; index.node_count()],
            trail: Vec::new(),
            goals: Vec::new(),
            rest: END,
            points: Vec::new(),
            choices: Vec::new(),
            steps: 0,
            finishing: false,
            deepest: None,
            trace: None,
        }
    }

    /// The search as it stood at the end of a match, so that what a right side says of the match can
    /// be evaluated. `steps` is for conditions that search.
    pub(crate) fn at(index: &'a Index<'m>, plan: &'a Plan<'p>, found: &Match, steps: u32) -> Self {
        let mut search = Self::new(index, plan);
        search.bindings.clone_from(&found.vars);
        search.home = found.place;
        search.place = found.place;
        search.steps = steps;
        search.finishing = true;
        search
    }

    /// Gives a variable of a right side its content.
    pub(crate) fn bind(&mut self, var: VarId, content: Datum) {
        self.bindings[var.index()] = Some(content);
    }

    /// What all variables are bound to, to come back to.
    pub(crate) fn bindings(&self) -> Vec<Option<Datum>> {
        self.bindings.clone()
    }

    /// Goes back to earlier bindings.
    pub(crate) fn restore(&mut self, bindings: Vec<Option<Datum>>) {
        self.bindings = bindings;
    }

    /// What a variable is bound to; absent if it was never met.
    pub(crate) fn content(&self, var: VarId) -> Datum {
        self.bindings[var.index()].clone().unwrap_or(Datum::None)
    }

    fn pattern(&self) -> &'p Pattern {
        self.plan.pattern
    }

    /// Searches for the first match whose first root is `value`, in `steps` steps at most.
    pub(crate) fn run(&mut self, value: ValueRow, steps: u32) -> Outcome {
        self.steps = steps;
        self.deepest = None;
        self.home = self.index.value_place(value);
        self.place = self.home;
        let root = self.pattern().roots[0];
        self.rest = END;
        self.push(Goal::Finish);
        self.push(Goal::Define { var: root, at: value, reader: None, except: None });
        self.push(Goal::Unify(root, Datum::Value(value)));
        self.push(Goal::Hold(Pattern::ROOT));
        let outcome = match self.solve_all() {
            Ok(true) => Outcome::Hit(Box::new(self.result())),
            Ok(false) => Outcome::Miss(self.deepest.take()),
            Err(Exhaustion) => Outcome::Exhausted,
        };
        self.reset();
        outcome
    }

    fn reset(&mut self) {
        self.points.clear();
        self.undo(0);
        self.goals.clear();
        self.choices.clear();
        self.woken.clear();
        self.rest = END;
        self.finishing = false;
    }

    fn solve_all(&mut self) -> Result<bool, Exhaustion> {
        while self.rest != END {
            self.spend(1)?;
            let (goal, rest) = self.goals[self.rest as usize].clone();
            self.rest = rest;
            if self.solve(goal)? && self.settle()? {
                continue;
            }
            if !self.back_up()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The steps that the last search did not need.
    pub(crate) fn left(&self) -> u32 {
        self.steps
    }

    fn spend(&mut self, steps: u32) -> Result<(), Exhaustion> {
        self.steps = self.steps.checked_sub(steps).ok_or(Exhaustion)?;
        Ok(())
    }

    /// Puts a goal before those that are left.
    fn push(&mut self, goal: Goal) {
        self.goals.push((goal, self.rest));
        self.rest = u32::try_from(self.goals.len() - 1).expect("goals are fewer than steps");
    }

    /// Puts goals before those that are left, the first one first.
    fn push_all(&mut self, goals: impl IntoIterator<Item = Goal, IntoIter: DoubleEndedIterator>) {
        for goal in goals.into_iter().rev() {
            self.push(goal);
        }
    }

    /// Tries alternatives in order, from the first.
    fn choose(&mut self, kind: Alternatives) -> Result<bool, Exhaustion> {
        let point = Point {
            kind,
            next: 0,
            goals: self.goals.len(),
            rest: self.rest,
            trail: self.trail.len(),
            choices: self.choices.len(),
        };
        self.resume(point)
    }

    /// Goes on with the next alternative of the latest point that has one.
    fn back_up(&mut self) -> Result<bool, Exhaustion> {
        while let Some(point) = self.points.pop() {
            self.undo(point.trail);
            self.goals.truncate(point.goals);
            self.choices.truncate(point.choices);
            self.woken.clear();
            self.finishing = false;
            self.rest = point.rest;
            if self.resume(point)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn resume(&mut self, mut point: Point) -> Result<bool, Exhaustion> {
        loop {
            self.spend(1)?;
            let taken = point.next;
            point.next += 1;
            match self.alternative(&point.kind, taken) {
                Taken::Exhausted => return Ok(false),
                Taken::Skip => {}
                Taken::Goals(goals) => {
                    self.points.push(point);
                    self.choices.push(u32::try_from(taken).unwrap_or(u32::MAX));
                    self.push_all(goals.into_iter().flatten());
                    return Ok(true);
                }
            }
        }
    }

    fn alternative(&self, kind: &Alternatives, at: usize) -> Taken {
        match kind {
            Alternatives::Branches { alt, at: value, reader } => {
                self.branch(*alt, *value, *reader, at)
            }
            Alternatives::Scopes { choice, then } => {
                let branches = &self.pattern().choice(*choice).branches;
                match branches.get(at) {
                    Some(&branch) => Taken::goals([Goal::Hold(branch), (**then).clone()]),
                    None => Taken::Exhausted,
                }
            }
            Alternatives::Leaves { parent, next, leaves, used } => {
                self.leaf(*parent, *next, leaves, used, at)
            }
            Alternatives::Steps { expr, at: value, reader, count, lists } => {
                self.step(*expr, *value, *reader, (*count, lists), at)
            }
            Alternatives::Roots { root, candidates } => match candidates.get(at) {
                Some(&value) => {
                    let var = self.pattern().roots[*root];
                    Taken::goals([
                        Goal::Unify(var, Datum::Value(value)),
                        Goal::Define { var, at: value, reader: None, except: None },
                        Goal::Finish,
                    ])
                }
                None => Taken::Exhausted,
            },
        }
    }

    fn solve(&mut self, goal: Goal) -> Result<bool, Exhaustion> {
        match goal {
            Goal::Expr { expr, at, reader } => self.expr(expr, at, reader),
            Goal::Define { var, at, reader, except } => self.define(var, at, reader, except),
            Goal::Hold(scope) => Ok(self.hold(scope)),
            Goal::EndBranch { alt, branch } => Ok(self.end_branch(alt, branch)),
            Goal::Assign { parent, next, leaves, used } => self.assign(parent, next, leaves, used),
            Goal::Each { parent, arg, next, inputs, lists } => {
                Ok(self.each(parent, arg, next, inputs, lists))
            }
            Goal::EndEach { parent, arg, next, inputs, lists } => {
                Ok(self.end_each(parent, arg, next, inputs, lists))
            }
            Goal::Repeat { expr, at, reader, count, lists } => {
                self.choose(Alternatives::Steps { expr, at, reader, count, lists })
            }
            Goal::EndStep { expr, count, lists } => Ok(self.end_step(expr, count, &lists)),
            Goal::Gather { parent, arg, lists } => Ok(self.gather(parent, arg, &lists)),
            Goal::Enter(place) => {
                self.trail.push(Undo::Place(self.place));
                self.place = place;
                Ok(true)
            }
            Goal::Unify(var, datum) => Ok(self.unify(var, datum)),
            Goal::Absent(alt, branch) => Ok(self.leave_absent(alt, branch)),
            Goal::Finish => self.finish(),
            Goal::Satisfied(expr) => {
                self.satisfy(expr);
                Ok(true)
            }
        }
    }

    fn expr(
        &mut self,
        expr: ExprId,
        at: Option<ValueRow>,
        reader: Option<NodeRow>,
    ) -> Result<bool, Exhaustion> {
        let pattern = self.pattern();
        let kind = &pattern.expr(expr).kind;
        let Some(value) = at else {
            return Ok(match kind {
                ExprKind::AnyOrAbsent | ExprKind::Absent => true,
                ExprKind::Optional(optional) => {
                    optional.absent.iter().all(|&var| self.unify(var, Datum::None))
                }
                ExprKind::Alt(_) => {
                    return self.choose(Alternatives::Branches { alt: expr, at, reader });
                }
                ExprKind::Scoped(scope, inner) => {
                    let (scope, inner) = (*scope, *inner);
                    self.push_all([Goal::Hold(scope), Goal::Expr { expr: inner, at, reader }]);
                    true
                }
                _ => self.fail(Reason::Missing(expr), expr, None),
            });
        };
        Ok(match kind {
            ExprKind::Any | ExprKind::AnyOrAbsent => true,
            ExprKind::Absent => self.fail(Reason::NotAbsent, expr, at),
            ExprKind::Var(var) => self.meet(*var, value, reader, expr),
            ExprKind::Scalar(var) => self.scalar(*var, value, reader, expr),
            ExprKind::Constant { value: literal, tolerance } => {
                self.constant(literal, *tolerance, value, reader, expr)
            }
            ExprKind::Full(inner) => self.full(*inner, value, expr),
            ExprKind::Optional(optional) => {
                self.push(Goal::Expr { expr: optional.present, at, reader });
                true
            }
            ExprKind::Op(op) => self.node(op, expr, value),
            ExprKind::Chain(chain) => return self.chain(chain, expr, value),
            ExprKind::Alt(_) => {
                return self.choose(Alternatives::Branches { alt: expr, at, reader });
            }
            ExprKind::Repeat(repeat) => {
                let lists = Rc::new(vec![Vec::new(); repeat.collected.len()]);
                self.push(Goal::Repeat { expr, at: value, reader, count: 0, lists });
                true
            }
            ExprKind::Scoped(scope, inner) => {
                self.push_all([Goal::Hold(*scope), Goal::Expr { expr: *inner, at, reader }]);
                true
            }
        })
    }

    /// Works off the constraints whose variables changed.
    fn settle(&mut self) -> Result<bool, Exhaustion> {
        while let Some(constraint) = self.woken.pop() {
            if self.states[constraint] == State::Pending {
                self.spend(1)?;
                if !self.check(constraint) {
                    return Ok(false);
                }
            }
        }
        Ok(self.check_deferred())
    }

    fn constraint(&self, at: usize) -> Constraint<'p> {
        self.plan.constraints[at]
    }
}

/// The search was given up.
pub(crate) struct Exhaustion;
