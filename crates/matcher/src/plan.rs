//! What a search needs to know of a pattern before it begins: which operators can stand where, and
//! which conditions wait for which variables.

mod first;
mod possible;

use std::ops::Range;

use marquetry_ir::Opsets;
use marquetry_pattern::core::{
    Arg, ExprId, ExprKind, Kind, Let, Operator, Pattern, ScopeId, VarId,
};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

use self::first::{First, Firsts};
use crate::index::{Index, NodeRow, OperatorRow, ValueRow};

/// Nodes below a value that are looked at before an alternative is tried.
const AHEAD: u32 = 2;

/// Nodes below a value that are looked at before a search begins there.
const FAR_AHEAD: u32 = 5;

/// A pattern prepared for one index.
pub(crate) struct Plan<'p> {
    pub(crate) pattern: &'p Pattern,
    /// By expression: what can produce a value that matches it.
    first: Vec<First>,
    /// By variable.
    first_of_var: Vec<First>,
    /// By expression: rows of the operators of an `Op` or a `Chain` that occur in the model.
    operators: Vec<Vec<OperatorRow>>,
    pub(crate) constraints: Vec<Constraint<'p>>,
    /// By scope: its guards and lets.
    of_scope: Vec<Range<usize>>,
    /// By expression, for an `Alt`: one range for each branch.
    of_branch: Vec<Vec<Range<usize>>>,
    /// By variable: the check against the value its caller gave.
    of_value: Vec<Option<usize>>,
    /// By variable: the constraints that mention it.
    watching: Vec<Vec<usize>>,
    /// By scope: the choice it is a branch of.
    branch_of: Vec<Option<usize>>,
    /// By choice: the scope it stands in.
    scope_of: Vec<ScopeId>,
    /// By expression, for what is matched several times: the scopes that hold for one time only.
    repeated: Vec<Vec<ScopeId>>,
    /// By variable: expressions one of which must match its value; none if it may be free.
    covers: Vec<Option<Vec<ExprId>>>,
    /// By expression, for a variable: the definition that must match where it is met.
    met: Vec<Option<ExprId>>,
    /// By expression: the operands of a node or of a tree of nodes.
    operands: Vec<Vec<ExprId>>,
    /// Whether what cannot match anywhere, or a few nodes below, is not tried.
    ahead: bool,
    /// For each root but the first: the value variables below it, with the longest way down.
    below: Vec<Vec<(VarId, usize)>>,
}

/// A condition that takes part in the search while it is active.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Constraint<'p> {
    /// `where`, `where?`, `if`.
    Guard { condition: &'p GExpr, soft: bool },
    /// `let`, `with`.
    Let(&'p Let),
    /// The variable is equal to what its caller gave.
    Given(VarId, &'p GExpr),
}

impl<'p> Plan<'p> {
    /// A plan for the search as it is defined.
    pub(crate) fn new(pattern: &'p Pattern, index: &Index<'_>) -> Self {
        Self::make(pattern, index, false)
    }

    /// A plan for the same search that leaves out what must fail.
    pub(crate) fn ahead(pattern: &'p Pattern, index: &Index<'_>) -> Self {
        Self::make(pattern, index, true)
    }

    fn make(pattern: &'p Pattern, index: &Index<'_>, ahead: bool) -> Self {
        let mut plan = Self {
            pattern,
            first: Vec::new(),
            first_of_var: Vec::new(),
            operators: pattern.exprs.iter().map(|expr| operators(&expr.kind, index)).collect(),
            constraints: Vec::new(),
            of_scope: Vec::new(),
            of_branch: vec![Vec::new(); pattern.exprs.len()],
            of_value: vec![None; pattern.vars.len()],
            watching: vec![Vec::new(); pattern.vars.len()],
            branch_of: vec![None; pattern.scopes.len()],
            scope_of: vec![Pattern::ROOT; pattern.choices.len()],
            repeated: vec![Vec::new(); pattern.exprs.len()],
            covers: possible::covers(pattern),
            met: possible::met(pattern),
            operands: pattern.exprs.iter().map(|expr| operands(&expr.kind)).collect(),
            ahead,
            below: Vec::new(),
        };
        for (at, choice) in pattern.choices.iter().enumerate() {
            for branch in &choice.branches {
                plan.branch_of[branch.index()] = Some(at);
                plan.scope_of[at] = pattern.scope(*branch).parent.unwrap_or(Pattern::ROOT);
            }
        }
        plan.collect_constraints();
        Firsts::new(pattern, index).fill(&mut plan);
        for expr in &pattern.exprs {
            for repeated in repeated(&expr.kind) {
                plan.repeated[repeated.index()] = scopes_below(pattern, repeated);
            }
        }
        plan.below = pattern.roots.iter().skip(1).map(|&root| below(pattern, root)).collect();
        plan
    }

    fn collect_constraints(&mut self) {
        let pattern = self.pattern;
        for scope in &pattern.scopes {
            let start = self.constraints.len();
            self.constraints.extend(scope.lets.iter().map(Constraint::Let));
            self.constraints.extend(
                scope.guards.iter().map(|guard| Constraint::Guard {
                    condition: &guard.condition,
                    soft: guard.soft,
                }),
            );
            self.of_scope.push(start..self.constraints.len());
        }
        for (at, expr) in pattern.exprs.iter().enumerate() {
            let ExprKind::Alt(alt) = &expr.kind else { continue };
            for branch in &alt.branches {
                let start = self.constraints.len();
                self.constraints.extend(branch.with.iter().map(Constraint::Let));
                self.constraints.extend(
                    branch
                        .guard
                        .iter()
                        .map(|condition| Constraint::Guard { condition, soft: false }),
                );
                self.of_branch[at].push(start..self.constraints.len());
            }
        }
        for (var, declared) in pattern.vars() {
            if let Some(value) = &declared.value {
                self.of_value[var.index()] = Some(self.constraints.len());
                self.constraints.push(Constraint::Given(var, value));
            }
        }
        for (at, constraint) in self.constraints.iter().enumerate() {
            let mut mentioned = Vec::new();
            match constraint {
                Constraint::Guard { condition, .. } => variables(condition, &mut mentioned),
                Constraint::Let(binding) => {
                    mentioned.push(binding.var);
                    variables(&binding.value, &mut mentioned);
                }
                Constraint::Given(var, value) => {
                    mentioned.push(*var);
                    variables(value, &mut mentioned);
                }
            }
            mentioned.sort_unstable();
            mentioned.dedup();
            for var in mentioned {
                self.watching[var.index()].push(at);
            }
        }
    }

    /// Whether all opset ranges admit a graph with these operator sets.
    pub(crate) fn admits(&self, opsets: &Opsets) -> bool {
        self.pattern.opsets.iter().all(|range| {
            let version = opsets.version(&range.domain);
            version.is_some_and(|version| {
                version >= i64::from(range.min)
                    && range.max.is_none_or(|max| version <= i64::from(max))
            })
        })
    }

    /// The nodes whose results can be the first root.
    pub(crate) fn anchors(&self, index: &Index<'_>) -> Vec<NodeRow> {
        let Some(root) = self.pattern.roots.first() else { return Vec::new() };
        let first = &self.first_of_var[root.index()];
        if first.any || first.constant {
            return index.all_nodes().collect();
        }
        let rows = first.operators.iter().enumerate().filter(|(_, can)| **can);
        let mut nodes: Vec<_> = rows
            .flat_map(|(row, _)| index.nodes_of(index.operator_at(row)).iter().copied())
            .collect();
        nodes.sort_unstable();
        nodes
    }

    /// Whether a value cannot match an expression: as far as its producer says, or as far as can be seen.
    pub(crate) fn is_hopeless(&self, index: &Index<'_>, expr: ExprId, value: ValueRow) -> bool {
        if self.ahead {
            !self.is_possible(index, expr, value, AHEAD)
        } else {
            !self.can_match(index, expr, value)
        }
    }

    /// Whether no match can begin at a value.
    pub(crate) fn is_hopeless_root(&self, index: &Index<'_>, value: ValueRow) -> bool {
        self.ahead && !self.is_root_possible(index, value, FAR_AHEAD)
    }

    pub(crate) fn operands(&self, parent: ExprId) -> &[ExprId] {
        &self.operands[parent.index()]
    }

    /// Whether a value can match an expression, as far as its producer says.
    pub(crate) fn can_match(&self, index: &Index<'_>, expr: ExprId, value: ValueRow) -> bool {
        admits(&self.first[expr.index()], index, value)
    }

    /// Whether a value can be a variable, as far as its producer says.
    pub(crate) fn can_be(&self, index: &Index<'_>, var: VarId, value: ValueRow) -> bool {
        admits(&self.first_of_var[var.index()], index, value)
    }

    pub(crate) fn operators(&self, expr: ExprId) -> &[OperatorRow] {
        &self.operators[expr.index()]
    }

    pub(crate) fn of_scope(&self, scope: ScopeId) -> Range<usize> {
        self.of_scope[scope.index()].clone()
    }

    pub(crate) fn of_branch(&self, alt: ExprId, branch: usize) -> Range<usize> {
        self.of_branch[alt.index()][branch].clone()
    }

    pub(crate) fn of_value(&self, var: VarId) -> Option<usize> {
        self.of_value[var.index()]
    }

    pub(crate) fn watching(&self, var: VarId) -> &[usize] {
        &self.watching[var.index()]
    }

    /// The scopes that an expression makes hold, for what is matched several times.
    pub(crate) fn repeated_scopes(&self, expr: ExprId) -> &[ScopeId] {
        &self.repeated[expr.index()]
    }

    /// The choice that a scope is a branch of, and the scope around the choice.
    pub(crate) fn branch_of(&self, scope: ScopeId) -> Option<(usize, ScopeId)> {
        self.branch_of[scope.index()].map(|choice| (choice, self.scope_of[choice]))
    }

    /// The value variables below a root, with the longest way down; `root` counts from the second.
    pub(crate) fn below(&self, root: usize) -> &[(VarId, usize)] {
        &self.below[root]
    }
}

fn admits(first: &First, index: &Index<'_>, value: ValueRow) -> bool {
    if first.any {
        return true;
    }
    let produced = || {
        let (node, _) = index.producer(value)?;
        Some(first.operators[index.operator(node).index()])
    };
    produced() == Some(true)
        || (first.constant && (index.is_constant(value) || index.known(value).is_some()))
}

fn operators(kind: &ExprKind, index: &Index<'_>) -> Vec<OperatorRow> {
    let row = |operator: &Operator| index.operator_named(&operator.domain, &operator.name);
    match kind {
        ExprKind::Op(op) => op.operators.iter().filter_map(row).collect(),
        ExprKind::Chain(chain) => row(&chain.operator).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn operands(kind: &ExprKind) -> Vec<ExprId> {
    match kind {
        ExprKind::Chain(chain) => chain.operands.clone(),
        ExprKind::Op(op) => {
            let single = op.args.iter().filter_map(|arg| match arg {
                Arg::One(expr) => Some(*expr),
                Arg::Each { .. } => None,
            });
            single.collect()
        }
        _ => Vec::new(),
    }
}

/// The value variables that the definitions below a root meet, with the longest way down.
fn below(pattern: &Pattern, root: VarId) -> Vec<(VarId, usize)> {
    let mut depths: Vec<Option<usize>> = vec![None; pattern.vars.len()];
    let mut waiting: Vec<(ExprId, usize)> =
        pattern.var(root).definitions.iter().map(|definition| (definition.expr, 0)).collect();
    // A pattern is small; the bound is for those that go around in a circle.
    let mut visits = 10_000;
    while let Some((expr, depth)) = waiting.pop() {
        visits -= 1;
        if visits == 0 {
            break;
        }
        if let ExprKind::Var(var) = pattern.expr(expr).kind {
            if pattern.var(var).kind == Kind::Value && var != root {
                let known = &mut depths[var.index()];
                if known.is_some_and(|known| known >= depth) {
                    continue;
                }
                *known = Some(depth);
            }
            let definitions = pattern.var(var).definitions.iter();
            waiting.extend(definitions.map(|definition| (definition.expr, depth)));
        }
        let step = matches!(pattern.expr(expr).kind, ExprKind::Op(_) | ExprKind::Chain(_));
        children(&pattern.expr(expr).kind, |child| {
            waiting.push((child, depth + usize::from(step)));
        });
    }
    let found = depths.iter().enumerate();
    let found = found.filter_map(|(at, depth)| Some((at, (*depth)?)));
    found.filter_map(|(at, depth)| Some((pattern.vars().nth(at)?.0, depth))).collect()
}

/// What an expression matches several times.
fn repeated(kind: &ExprKind) -> Vec<ExprId> {
    match kind {
        ExprKind::Repeat(repeat) => vec![repeat.step],
        ExprKind::Op(op) => op
            .args
            .iter()
            .filter_map(|arg| match arg {
                Arg::Each { expr, .. } => Some(*expr),
                Arg::One(_) => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The scopes that an expression makes hold, those inside them included.
pub(crate) fn scopes_below(pattern: &Pattern, expr: ExprId) -> Vec<ScopeId> {
    let mut found: Vec<ScopeId> = Vec::new();
    let mut seen = vec![false; pattern.exprs.len()];
    let mut waiting = vec![expr];
    while let Some(expr) = waiting.pop() {
        if std::mem::replace(&mut seen[expr.index()], true) {
            continue;
        }
        let kind = &pattern.expr(expr).kind;
        if let ExprKind::Scoped(scope, _) = kind {
            found.push(*scope);
        }
        if let ExprKind::Var(var) = kind {
            waiting.extend(pattern.var(*var).definitions.iter().map(|definition| definition.expr));
        }
        children(kind, |child| waiting.push(child));
    }
    let mut at = 0;
    while at < found.len() {
        let choices = pattern.scope(found[at]).choices.iter();
        let inner = choices.flat_map(|&choice| pattern.choice(choice).branches.iter().copied());
        found.extend(inner.collect::<Vec<_>>());
        at += 1;
    }
    found
}

/// Calls `visit` with the expressions directly below one, definitions of variables not included.
pub(crate) fn children(kind: &ExprKind, mut visit: impl FnMut(ExprId)) {
    match kind {
        ExprKind::Full(inner) | ExprKind::Scoped(_, inner) => visit(*inner),
        ExprKind::Optional(optional) => visit(optional.present),
        ExprKind::Op(op) => {
            for arg in &op.args {
                match arg {
                    Arg::One(expr) | Arg::Each { expr, .. } => visit(*expr),
                }
            }
        }
        ExprKind::Chain(chain) => chain.operands.iter().copied().for_each(visit),
        ExprKind::Alt(alt) => alt.branches.iter().for_each(|branch| visit(branch.expr)),
        ExprKind::Repeat(repeat) => {
            visit(repeat.step);
            visit(repeat.last);
        }
        ExprKind::Any
        | ExprKind::AnyOrAbsent
        | ExprKind::Absent
        | ExprKind::Var(_)
        | ExprKind::Scalar(_)
        | ExprKind::Constant { .. } => {}
    }
}

/// The variables that a guard expression mentions.
pub(crate) fn variables(expr: &GExpr, found: &mut Vec<VarId>) {
    match &expr.kind {
        GExprKind::Var(var) | GExprKind::Is { var, .. } => found.push(*var),
        GExprKind::Negate(inner) | GExprKind::Not(inner) => variables(inner, found),
        GExprKind::List(items)
        | GExprKind::And(items)
        | GExprKind::Or(items)
        | GExprKind::Call(_, items) => items.iter().for_each(|item| variables(item, found)),
        GExprKind::Binary(_, a, b) | GExprKind::Index(a, b) => {
            variables(a, found);
            variables(b, found);
        }
        GExprKind::Compare { first, rest } => {
            variables(first, found);
            rest.iter().for_each(|(_, operand)| variables(operand, found));
        }
        GExprKind::Slice(list, from, to) => {
            variables(list, found);
            from.iter().chain(to).for_each(|bound| variables(bound, found));
        }
        GExprKind::Int(_)
        | GExprKind::Float(_)
        | GExprKind::String(_)
        | GExprKind::Bool(_)
        | GExprKind::None
        | GExprKind::Tensor(_)
        | GExprKind::Dtype(_) => {}
    }
}
