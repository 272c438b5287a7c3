//! Looking ahead: whether a value can match at all, as far as the operators a few nodes below it say.
//!
//! Most places where a pattern could begin differ from it in the first or second node. To see that
//! takes no bindings, no goals and no memory. What is refused here would fail in the search; what is not
//! refused may still fail.

use marquetry_pattern::core::{
    Arg, Chain, Expr, ExprId, ExprKind, Op, Output, Pattern, ScopeId, Var, VarId,
};

use super::first::common;
use super::{Plan, children};
use crate::index::{Index, NodeRow, ValueRow};

/// Expressions that one look may visit: alternatives of alternatives multiply.
const VISITS: u32 = 400;

/// Nodes of a tree of one operator that are looked at.
const TREE: usize = 16;

/// A look ahead.
struct Look<'a, 'm, 'p> {
    plan: &'a Plan<'p>,
    index: &'a Index<'m>,
    visits: u32,
}

impl Plan<'_> {
    /// Whether a value can match an expression, as far as `depth` nodes say.
    pub(crate) fn is_possible(
        &self,
        index: &Index<'_>,
        expr: ExprId,
        value: ValueRow,
        depth: u32,
    ) -> bool {
        Look { plan: self, index, visits: VISITS }.expr(expr, Some(value), depth)
    }

    /// Whether a value can be the first root.
    pub(crate) fn is_root_possible(&self, index: &Index<'_>, value: ValueRow, depth: u32) -> bool {
        let root = self.pattern.roots[0];
        Look { plan: self, index, visits: VISITS }.var(root.index(), value, depth)
    }
}

impl Look<'_, '_, '_> {
    fn expr(&mut self, expr: ExprId, value: Option<ValueRow>, depth: u32) -> bool {
        let kind = &self.plan.pattern.expr(expr).kind;
        let Some(at) = value else { return may_be_absent(self.plan.pattern, expr) };
        if self.visits == 0 {
            return true;
        }
        self.visits -= 1;
        if !self.plan.can_match(self.index, expr, at) {
            return false;
        }
        match kind {
            ExprKind::Var(var) => match self.plan.met[expr.index()] {
                Some(definition) if !self.is_known(at) => self.expr(definition, value, depth),
                Some(_) => true,
                None => self.var(var.index(), at, depth),
            },
            ExprKind::Optional(optional) => self.expr(optional.present, value, depth),
            ExprKind::Alt(alt) => {
                alt.branches.iter().any(|branch| self.expr(branch.expr, value, depth))
            }
            ExprKind::Scoped(_, inner) => self.expr(*inner, value, depth),
            ExprKind::Op(op) if depth > 0 => self.op(op, at, depth - 1),
            ExprKind::Chain(chain) if depth > 0 => self.chain(chain, expr, at, depth - 1),
            _ => true,
        }
    }

    /// A variable is what covers it, whatever it is bound to.
    fn var(&mut self, var: usize, at: ValueRow, depth: u32) -> bool {
        if self.is_known(at) {
            return true;
        }
        let plan = self.plan;
        match &plan.covers[var] {
            Some(exprs) => exprs.iter().any(|expr| self.expr(*expr, Some(at), depth)),
            None => true,
        }
    }

    /// A constant may also be an equal one that is computed in another way.
    fn is_known(&self, at: ValueRow) -> bool {
        self.index.is_constant(at) || self.index.known(at).is_some()
    }

    fn op(&mut self, op: &Op, at: ValueRow, depth: u32) -> bool {
        let Some((node, slot)) = self.index.producer(at) else { return false };
        if let Output::Index(index) = op.output
            && index != slot
        {
            return false;
        }
        let inputs = self.index.inputs(node);
        let one = |arg: &Arg| match arg {
            Arg::One(expr) => Some(*expr),
            Arg::Each { .. } => None,
        };
        // Only what is read in the order of writing: an `Each` shifts what comes after it.
        let written = op.args.iter().map_while(one);
        if self.index.commutes(node) && !op.exact && op.args.len() > 1 {
            return match (&op.args[..], inputs) {
                ([Arg::One(a), Arg::One(b)], [x, y]) => {
                    let (a, b, x, y) = (*a, *b, *x, *y);
                    (self.expr(a, x, depth) && self.expr(b, y, depth))
                        || (self.expr(a, y, depth) && self.expr(b, x, depth))
                }
                _ => true,
            };
        }
        let input = |slot: usize| inputs.get(slot).copied().flatten();
        written.enumerate().all(|(slot, expr)| self.expr(expr, input(slot), depth))
    }

    /// Each operand must be possible at some leaf of the tree.
    fn chain(&mut self, chain: &Chain, expr: ExprId, at: ValueRow, depth: u32) -> bool {
        let Some((root, _)) = self.index.producer(at) else { return false };
        let mut tree = [root; TREE];
        let mut length = 1;
        let mut next = 0;
        while next < length {
            for input in self.index.inputs(tree[next]).iter().flatten() {
                if let Some(node) = self.inner(expr, *input) {
                    if length == TREE {
                        return true;
                    }
                    tree[length] = node;
                    length += 1;
                }
            }
            next += 1;
        }
        let tree = &tree[..length];
        let index = self.index;
        chain.operands.iter().all(|operand| {
            tree.iter().any(|node| {
                index.inputs(*node).iter().any(|input| {
                    let leaf = input.is_none_or(|input| self.inner(expr, input).is_none());
                    leaf && self.expr(*operand, *input, depth)
                })
            })
        })
    }

    /// The node of a tree whose result is an inner one.
    fn inner(&self, expr: ExprId, input: ValueRow) -> Option<NodeRow> {
        let index = self.index;
        let single =
            index.users(input).len() == 1 && !index.is_output(input) && !index.is_constant(input);
        let (node, _) = index.producer(input).filter(|_| single)?;
        let here = index.place(node) == index.value_place(input);
        let here =
            here && index.users(input).iter().all(|user| index.place(*user) == index.place(node));
        self.plan.operators(expr).contains(&index.operator(node)).then_some(node).filter(|_| here)
    }
}

/// Whether an expression matches an input that is absent.
pub(super) fn may_be_absent(pattern: &Pattern, expr: ExprId) -> bool {
    match &pattern.expr(expr).kind {
        ExprKind::Absent | ExprKind::AnyOrAbsent | ExprKind::Optional(_) => true,
        ExprKind::Scoped(_, inner) => may_be_absent(pattern, *inner),
        ExprKind::Alt(alt) => alt.branches.iter().any(|branch| may_be_absent(pattern, branch.expr)),
        _ => false,
    }
}

/// By variable: expressions one of which must match its value; none if it may be free.
pub(super) fn covers(pattern: &Pattern) -> Vec<Option<Vec<ExprId>>> {
    let cover = |(var, declared): (VarId, &Var)| {
        if pattern.inputs.contains(&var) {
            return None;
        }
        let scopes: Vec<_> = declared.definitions.iter().map(|at| at.scope).collect();
        let mut exprs = Vec::new();
        cover_in(pattern, var, common(pattern, &scopes)?, &mut exprs).then_some(exprs)
    };
    let mut covers: Vec<_> = pattern.vars().map(cover).collect();
    for expr in &pattern.exprs {
        // Where one step ends, the next begins, or the last.
        if let ExprKind::Repeat(repeat) = &expr.kind {
            covers[repeat.hole.index()] = Some(vec![repeat.step, repeat.last]);
        }
    }
    covers
}

/// By expression, for a variable: the definition that must match where the variable is met, because it
/// stands in a scope that holds there.
pub(super) fn met(pattern: &Pattern) -> Vec<Option<ExprId>> {
    let mut scopes: Vec<Option<ScopeId>> = vec![None; pattern.exprs.len()];
    // What stands in several scopes says nothing of what holds there.
    let mut several = vec![false; pattern.exprs.len()];
    for (_, declared) in pattern.vars() {
        for definition in &declared.definitions {
            let mut waiting = vec![(definition.expr, definition.scope)];
            while let Some((expr, scope)) = waiting.pop() {
                match scopes[expr.index()] {
                    Some(known) if known == scope || several[expr.index()] => continue,
                    Some(_) => several[expr.index()] = true,
                    None => scopes[expr.index()] = Some(scope),
                }
                let kind = &pattern.expr(expr).kind;
                let inner = match kind {
                    ExprKind::Scoped(inner, _) => *inner,
                    _ => scope,
                };
                children(kind, |child| waiting.push((child, inner)));
            }
        }
    }
    let met = |(at, expr): (usize, &Expr)| {
        let ExprKind::Var(var) = expr.kind else { return None };
        if pattern.inputs.contains(&var) || several[at] {
            return None;
        }
        let holding = std::iter::successors(scopes[at], |scope| pattern.scope(*scope).parent);
        let definitions = &pattern.var(var).definitions;
        let mut found = holding.filter_map(|scope| definitions.iter().find(|at| at.scope == scope));
        found.next().map(|definition| definition.expr)
    };
    pattern.exprs.iter().enumerate().map(met).collect()
}

/// Whether a variable is defined wherever a scope holds; collects by what.
fn cover_in(pattern: &Pattern, var: VarId, scope: ScopeId, exprs: &mut Vec<ExprId>) -> bool {
    let definitions = &pattern.var(var).definitions;
    if let Some(definition) = definitions.iter().find(|at| at.scope == scope) {
        exprs.push(definition.expr);
        return true;
    }
    pattern.scope(scope).choices.iter().any(|&choice| {
        let before = exprs.len();
        let branches = &pattern.choice(choice).branches;
        let covered = branches.iter().all(|&branch| cover_in(pattern, var, branch, exprs));
        if !covered {
            exprs.truncate(before);
        }
        covered
    })
}
