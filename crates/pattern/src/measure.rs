//! What a rule must make smaller, so that it can be run until nothing changes.
//!
//! The measure of a piece of graph is the number of its nodes, and where these are equal, the sum
//! of the weights of their operators ([`Operators::weight`]). A rule *decreases* if the least that
//! its left side can match is more than the most that its right side can build: then every
//! application makes the graph smaller, and it comes to an end. Both sides are computed without a
//! graph:
//!
//! - the left side by its cheapest match: the cheapest alternatives, no optional part, no step of
//!   `F*`, one of `F+`. A list (`F(xs)...`) counts as two elements: a node with one element of a
//!   list does nothing. What a `shared` value needs stays, and so does not count;
//! - the right side by its most expensive branches.
//!
//! What computes with constants alone is no node on either side: it can be folded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::ops::{Add, Mul};

use crate::core::{
    Arg, AttributePattern, ChoiceId, Definition, ExprId, ExprKind, Op, Operator, Pattern, ScopeId,
    VarId,
};
use crate::operators::Operators;
use crate::replacement::{BuildExpr, BuildKind, BuildOperator, BuildStatement, Replacement};

/// The most combinations of alternatives that are looked at. What is known of the cheapest one
/// by then is a lower bound, which is all that is needed.
const MAX_STATES: usize = 2_000;

/// The most parts of all these combinations together, as each is a copy of another.
const MAX_PARTS: usize = 400_000;

/// How large a piece of graph is: compared by nodes first, then by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    /// The number of nodes.
    pub nodes: u64,
    /// The sum of the weights of their operators.
    pub weight: u64,
}

impl Measure {
    /// Returns the measure of one node of this operator.
    pub fn of(operator: &Operator, operators: &dyn Operators) -> Self {
        Self { nodes: 1, weight: u64::from(operators.weight(operator)) }
    }
}

impl Add for Measure {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(other.nodes),
            weight: self.weight.saturating_add(other.weight),
        }
    }
}

impl Mul<u64> for Measure {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self { nodes: self.nodes.saturating_mul(times), weight: self.weight.saturating_mul(times) }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        write!(f, "{} {nodes} of weight {}", self.nodes, self.weight)
    }
}

/// The measures of both sides of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measures {
    /// The least that the left side removes.
    pub before: Measure,
    /// The most that the right side builds.
    pub after: Measure,
}

impl Measures {
    /// Measures a pattern and what takes its place: [`Pattern::replacement`] or
    /// [`Pattern::equals`].
    pub fn new(pattern: &Pattern, replacement: &Replacement, operators: &dyn Operators) -> Self {
        Self { before: before(pattern, operators), after: after(pattern, replacement, operators) }
    }

    /// Whether every application makes the graph smaller.
    pub fn decreases(self) -> bool {
        self.after < self.before
    }
}

/// Something that a match needs, and how often at least.
type Need = (ExprId, u64);

/// A choice of alternatives as far as it has been made; ordered by what it costs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct State {
    measure: Measure,
    /// Makes the order total, and the search the same each time.
    serial: usize,
    /// Needs that are met.
    met: BTreeSet<ExprId>,
    /// Branches that hold.
    taken: BTreeMap<ChoiceId, ScopeId>,
    needs: Vec<Need>,
}

/// The cheapest choice first: the first state without needs is the least match.
pub(crate) fn before(pattern: &Pattern, operators: &dyn Operators) -> Measure {
    let walk = Walk { pattern, operators, kept: kept(pattern), branch_of: branch_of(pattern) };
    let mut start = State {
        measure: Measure::default(),
        serial: 0,
        met: BTreeSet::new(),
        taken: BTreeMap::new(),
        needs: Vec::new(),
    };
    let outputs = pattern.outputs.iter().rev();
    let definitions = outputs.flat_map(|output| walk.definitions(*output));
    start.needs.extend(definitions.map(|definition| (definition.expr, 1)));
    let mut waiting = BinaryHeap::from([Reverse(start)]);
    let mut least = Measure::default();
    let mut serial = 0;
    for _ in 0..MAX_STATES.min(MAX_PARTS / (pattern.exprs.len() + 1)) {
        let Some(Reverse(mut state)) = waiting.pop() else { break };
        least = state.measure;
        match walk.step(&mut state) {
            Step::Done => break,
            Step::Goes => waiting.push(Reverse(state)),
            Step::Forks(ways) => waiting.extend(ways.into_iter().map(|mut way| {
                serial += 1;
                way.serial = serial;
                Reverse(way)
            })),
        }
    }
    least
}

enum Step {
    Done,
    Goes,
    Forks(Vec<State>),
}

struct Walk<'p> {
    pattern: &'p Pattern,
    operators: &'p dyn Operators,
    /// What stays in the graph after the rewrite.
    kept: BTreeSet<ExprId>,
    /// The choice that each branch is of.
    branch_of: BTreeMap<ScopeId, ChoiceId>,
}

impl Walk<'_> {
    /// Meets needs up to the next choice.
    fn step(&self, state: &mut State) -> Step {
        while let Some((expr, times)) = state.needs.pop() {
            if self.kept.contains(&expr) || !state.met.insert(expr) {
                continue;
            }
            match &self.pattern.expr(expr).kind {
                ExprKind::Var(var) => {
                    let times = if self.pattern.var(*var).list { times } else { 1 };
                    let definitions: Vec<Definition> = self.definitions(*var).collect();
                    match definitions[..] {
                        [] => {}
                        [one] if self.root(one.scope) => state.needs.push((one.expr, times)),
                        _ => {
                            let ways = definitions.iter().filter_map(|definition| {
                                self.taking(state, definition.scope, (definition.expr, times))
                            });
                            return Step::Forks(ways.collect());
                        }
                    }
                }
                ExprKind::Op(op) => {
                    state.measure = state.measure + self.cheapest(op) * times;
                    self.children(op, times, &mut state.needs);
                    // Costs are compared before more is added to them.
                    return Step::Goes;
                }
                ExprKind::Chain(chain) => {
                    let nodes = (chain.operands.len() as u64).saturating_sub(1).max(1);
                    let one = Measure::of(&chain.operator, self.operators);
                    state.measure = state.measure + one * nodes * times;
                    state.needs.extend(chain.operands.iter().map(|operand| (*operand, times)));
                    return Step::Goes;
                }
                ExprKind::Alt(alt) => {
                    let ways = alt.branches.iter().map(|branch| state.needing(branch.expr, times));
                    return Step::Forks(ways.collect());
                }
                ExprKind::Repeat(repeat) => {
                    state.needs.push((repeat.last, times));
                    if repeat.at_least_once {
                        state.needs.push((repeat.step, times));
                    }
                }
                ExprKind::Full(inner) | ExprKind::Scoped(_, inner) => {
                    state.needs.push((*inner, times));
                }
                ExprKind::Any
                | ExprKind::AnyOrAbsent
                | ExprKind::Absent
                | ExprKind::Scalar(_)
                | ExprKind::Constant { .. }
                | ExprKind::Optional(_) => {}
            }
        }
        Step::Done
    }

    /// An operator variable weighs nothing here, and nothing where it is built again.
    fn cheapest(&self, op: &Op) -> Measure {
        let constant = |arg: &Arg| matches!(arg, Arg::One(expr) if self.constant(*expr));
        if !op.args.is_empty() && op.args.iter().all(constant) {
            return Measure::default();
        }
        if op.bind.is_some() {
            return Measure { nodes: 1, weight: 0 };
        }
        let measures = op.operators.iter().map(|operator| Measure::of(operator, self.operators));
        measures.min().unwrap_or_default()
    }

    fn constant(&self, expr: ExprId) -> bool {
        match &self.pattern.expr(expr).kind {
            ExprKind::Var(var) => self.pattern.var(*var).constant,
            ExprKind::Optional(optional) => self.constant(optional.present),
            ExprKind::Constant { .. } | ExprKind::Scalar(_) | ExprKind::Absent => true,
            _ => false,
        }
    }

    fn children(&self, op: &Op, times: u64, needs: &mut Vec<Need>) {
        for arg in &op.args {
            needs.push(match arg {
                Arg::One(expr) => (*expr, times),
                Arg::Each { expr, .. } => (*expr, times.saturating_mul(2)),
            });
        }
        for attribute in &op.attributes {
            let AttributePattern::Graph(graph) = &attribute.pattern else { continue };
            for output in &graph.outputs {
                let definitions = self.definitions(*output);
                needs.extend(definitions.map(|definition| (definition.expr, times)));
            }
        }
    }

    /// What defines a variable, the meaning excepted: it is matched, but never fused again.
    fn definitions(&self, var: VarId) -> impl Iterator<Item = Definition> {
        let definitions = self.pattern.var(var).definitions.iter().copied();
        definitions.filter(|definition| Some(definition.scope) != self.pattern.meaning)
    }

    /// Whether a scope holds whatever is chosen.
    fn root(&self, mut scope: ScopeId) -> bool {
        loop {
            if self.branch_of.contains_key(&scope) {
                return false;
            }
            match self.pattern.scope(scope).parent {
                Some(parent) => scope = parent,
                None => return true,
            }
        }
    }

    /// The state in which a scope holds and `need` is a need, unless another branch holds.
    fn taking(&self, state: &State, scope: ScopeId, need: Need) -> Option<State> {
        let mut next = state.needing(need.0, need.1);
        let mut scope = Some(scope);
        while let Some(branch) = scope {
            if let Some(choice) = self.branch_of.get(&branch)
                && *next.taken.entry(*choice).or_insert(branch) != branch
            {
                return None;
            }
            scope = self.pattern.scope(branch).parent;
        }
        Some(next)
    }
}

impl State {
    fn needing(&self, expr: ExprId, times: u64) -> Self {
        let mut needs = self.needs.clone();
        needs.push((expr, times));
        let (met, taken) = (self.met.clone(), self.taken.clone());
        Self { measure: self.measure, serial: self.serial, met, taken, needs }
    }
}

fn branch_of(pattern: &Pattern) -> BTreeMap<ScopeId, ChoiceId> {
    let mut found = BTreeMap::new();
    for (at, choice) in pattern.choices.iter().enumerate() {
        found.extend(choice.branches.iter().map(|branch| (*branch, ChoiceId(at as u32))));
    }
    found
}

/// The expressions that `shared` values keep in the graph.
fn kept(pattern: &Pattern) -> BTreeSet<ExprId> {
    let mut kept = BTreeSet::new();
    let shared = pattern.vars.iter().filter(|var| var.shared);
    let mut waiting: Vec<ExprId> =
        shared.flat_map(|var| &var.definitions).map(|definition| definition.expr).collect();
    while let Some(expr) = waiting.pop() {
        if kept.insert(expr) {
            let mut met = Vec::new();
            crate::reach::visit(pattern, expr, |var| met.push(var), |child| waiting.push(child));
            let definitions = met.iter().flat_map(|var| &pattern.var(*var).definitions);
            waiting.extend(definitions.map(|definition| definition.expr));
        }
    }
    kept
}

fn after(pattern: &Pattern, replacement: &Replacement, operators: &dyn Operators) -> Measure {
    let constants = pattern.vars().filter(|(_, var)| var.constant).map(|(id, _)| id);
    let constants = constants.collect();
    let mut build = Built { pattern, operators, constants, used: BTreeSet::new() };
    let mut sum = Measure::default();
    for statement in &replacement.statements {
        let BuildStatement::Equation { results, constant, expr, .. } = statement else { continue };
        if *constant || build.constant(expr) {
            build.constants.extend(results);
        } else {
            sum = sum + build.most(expr);
        }
    }
    sum
}

struct Built<'p> {
    pattern: &'p Pattern,
    operators: &'p dyn Operators,
    /// Variables that stand for constants.
    constants: BTreeSet<VarId>,
    /// Operator variables that have been built once.
    used: BTreeSet<VarId>,
}

impl Built<'_> {
    /// Whether all that an expression reads is constant.
    fn constant(&self, expr: &BuildExpr) -> bool {
        match &expr.kind {
            BuildKind::Var(var) => self.constants.contains(var),
            BuildKind::Values(_) => false,
            BuildKind::Absent | BuildKind::Constant { .. } => true,
            BuildKind::Op(op) => {
                !op.args.is_empty() && op.args.iter().all(|arg| self.constant(arg))
            }
            BuildKind::Coalesce(items) => items.iter().all(|item| self.constant(item)),
            BuildKind::If(_, left, right) => self.constant(left) && self.constant(right),
        }
    }

    /// The most that an expression builds; it is a tree no deeper than the parser allows.
    fn most(&mut self, expr: &BuildExpr) -> Measure {
        if self.constant(expr) {
            return Measure::default();
        }
        match &expr.kind {
            BuildKind::Var(_)
            | BuildKind::Values(_)
            | BuildKind::Absent
            | BuildKind::Constant { .. } => Measure::default(),
            BuildKind::Op(op) => {
                let own = match &op.operator {
                    BuildOperator::Named(operator) => Measure::of(operator, self.operators),
                    BuildOperator::Matched(var) => self.dearest(*var),
                };
                op.args.iter().map(|arg| self.most(arg)).fold(own, Add::add)
            }
            BuildKind::Coalesce(items) => {
                items.iter().map(|item| self.most(item)).max().unwrap_or_default()
            }
            BuildKind::If(_, left, right) => self.most(left).max(self.most(right)),
        }
    }

    /// The operator that was matched weighs on the left what it does here; each further use may be
    /// of any operator of the set.
    fn dearest(&mut self, var: VarId) -> Measure {
        if self.used.insert(var) {
            return Measure { nodes: 1, weight: 0 };
        }
        let sets = self.pattern.exprs.iter().filter_map(|expr| match &expr.kind {
            ExprKind::Op(op) if op.bind == Some(var) => Some(&op.operators),
            _ => None,
        });
        let measures = sets.flatten().map(|operator| Measure::of(operator, self.operators));
        measures.max().unwrap_or(Measure { nodes: 1, weight: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Library, NoOperators};

    fn measures(rule: &str) -> (u64, u64) {
        let library = Library::parse("a.pat", rule, &NoOperators).unwrap();
        let rule = &library.rules()[0];
        let found = Measures::new(rule, rule.replacement.as_ref().unwrap(), &NoOperators);
        (found.before.nodes, found.after.nodes)
    }

    #[test]
    fn the_cheapest_match_is_measured_against_the_dearest_replacement() {
        assert_eq!(measures("rule r: Neg(Neg(x)) ~> x"), (2, 0));
        assert_eq!(measures("rule r bounded 9: Neg(x) ~> Neg(Neg(Neg(x)))"), (1, 3));
        assert_eq!(measures("rule r: Relu(Abs(x) | Neg(Exp(x))) ~> Relu(x)"), (2, 1));
        assert_eq!(measures("rule r: Relu(Relu?(x)) ~> x"), (1, 0));
        assert_eq!(measures("rule r: Relu+(Abs*(x)) ~> x"), (1, 0));
        assert_eq!(measures("rule r: a * b * c + d ~> FusedMul(a, b, c, d)"), (3, 1));
        assert_eq!(
            measures("rule r: Concat<...>(Neg(xs)...) ~> Neg(Concat<axis = 0>(xs...))"),
            (3, 2)
        );
    }

    #[test]
    fn what_two_places_need_counts_once() {
        let rule = "rule r (x) => (y) { a = Neg(x) y = a + Relu(a) } ~> { y = Fused(x) }";
        assert_eq!(measures(rule), (3, 1));
        let either = "rule r (x) => (y) {
            either { a = Neg(x) b = Abs(a) } or { a = Exp(Exp(Exp(x))) b = Neg(a) }
            y = a + b
        } ~> { y = Fused(x) }";
        assert_eq!(measures(either), (3, 1));
    }

    #[test]
    fn what_is_shared_stays_and_what_is_constant_adds_nothing() {
        let rule = "rule r bounded 1 (x) => (y) { shared h = Neg(Exp(x)) y = Relu(h) } ~> {
            const v = Exp(1) + 1
            y = Fused(h, v)
        }";
        assert_eq!(measures(rule), (1, 1));
    }
}
