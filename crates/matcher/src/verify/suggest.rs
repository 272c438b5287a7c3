//! Conditions that would have excluded a counterexample.

use std::borrow::Cow;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType, Dim, Model, Tensor, ValueId};
use marquetry_pattern::Span;
use marquetry_pattern::core::{ExprId, Kind, Pattern, VarId};
use marquetry_pattern::gexpr::{CompareOp, Function, GExpr, GExprKind};

use crate::compute::World;
use crate::datum::Datum;
use crate::found::{Bound, Match};
use crate::index::ValueRow;

/// A condition and how it is written.
struct Candidate {
    text: String,
    condition: GExpr,
}

/// Which candidates hold in one sample.
pub(super) struct Sample {
    holds: Vec<bool>,
    pub(super) failed: bool,
}

/// Conditions that are tried for a pattern.
pub(super) struct Candidates<'p> {
    pattern: &'p Pattern,
    candidates: Vec<Candidate>,
    samples: Vec<Sample>,
}

impl<'p> Candidates<'p> {
    pub(super) fn new(pattern: &'p Pattern) -> Self {
        Self { pattern, candidates: candidates(pattern), samples: Vec::new() }
    }

    /// Remembers which candidates hold at a match.
    pub(super) fn add(&mut self, model: &Model, found: &Match, failed: bool) {
        let types = infer::run(model);
        let at = At { pattern: self.pattern, model, types: &types, found };
        let holds = self.candidates.iter();
        let holds = holds.map(|one| at.evaluate(&one.condition) == Datum::Bool(true)).collect();
        self.samples.push(Sample { holds, failed });
    }

    /// The weakest candidate that holds in no failing sample and in some other: its text, and how many
    /// failures it removes.
    pub(super) fn best(&self) -> Option<(String, usize)> {
        let failures = self.samples.iter().filter(|sample| sample.failed).count();
        let kept = |at: usize| {
            let wrong = self.samples.iter().any(|sample| sample.failed && sample.holds[at]);
            let kept = self.samples.iter().filter(|sample| !sample.failed && sample.holds[at]);
            if wrong { 0 } else { kept.count() }
        };
        let best =
            (0..self.candidates.len()).map(|at| (kept(at), at)).filter(|(kept, _)| *kept > 0);
        // Of equally weak ones the first: they are listed from the usual to the odd.
        let (_, at) = best.max_by_key(|(kept, at)| (*kept, std::cmp::Reverse(*at)))?;
        Some((self.candidates[at].text.clone(), failures))
    }
}

fn expr(kind: GExprKind, span: Span) -> GExpr {
    GExpr { kind, span }
}

fn candidates(pattern: &Pattern) -> Vec<Candidate> {
    let span = pattern.span;
    let var = |var: VarId| expr(GExprKind::Var(var), span);
    let int = |number: i64| expr(GExprKind::Int(number), span);
    let call = |function, args: Vec<GExpr>| expr(GExprKind::Call(function, args), span);
    let compare = |first: GExpr, op, right: GExpr| {
        expr(GExprKind::Compare { first: Box::new(first), rest: vec![(op, right)] }, span)
    };
    let name = |var: VarId| pattern.var(var).name.clone();
    let mut found = Vec::new();
    let mut add = |text: String, condition: GExpr| found.push(Candidate { text, condition });
    // Lists that are matched in the body count too: `p` in `Transpose<perm = p>(x)`.
    let lists: Vec<VarId> = pattern
        .vars()
        .filter(|(id, declared)| {
            declared.kind == Kind::Attribute && pattern.var_named(&declared.name) == Some(*id)
        })
        .map(|(id, _)| id)
        .collect();
    let values: Vec<VarId> = pattern.inputs.iter().chain(&pattern.outputs).copied().collect();
    for &x in &pattern.inputs {
        let n = name(x);
        if pattern.var(x).constant {
            for number in [0, -1] {
                add(format!("{number} not in {n}"), compare(int(number), CompareOp::NotIn, var(x)));
            }
        }
    }
    for &a in &lists {
        let n = name(a);
        let first = expr(GExprKind::Index(Box::new(var(a)), Box::new(int(0))), span);
        let tail = call(Function::Range, vec![first, int(0)]);
        add(format!("{n} == range({n}[0], 0)"), compare(var(a), CompareOp::Eq, tail));
        let length = call(Function::Len, vec![var(a)]);
        add(format!("len({n}) == 1"), compare(length, CompareOp::Eq, int(1)));
        add(format!("is_identity({n})"), call(Function::IsIdentity, vec![var(a)]));
        add(format!("{n} > 0"), compare(var(a), CompareOp::Gt, int(0)));
        for number in [0, 1, -1] {
            add(format!("{n} == {number}"), compare(var(a), CompareOp::Eq, int(number)));
        }
        for &b in lists.iter().filter(|b| **b > a) {
            add(format!("{n} == {}", name(b)), compare(var(a), CompareOp::Eq, var(b)));
        }
    }
    for (at, &x) in values.iter().enumerate() {
        for &y in &values[at + 1..] {
            let (n, m) = (name(x), name(y));
            for (function, word) in
                [(Function::Dtype, "dtype"), (Function::Rank, "rank"), (Function::Shape, "shape")]
            {
                let (a, b) = (call(function, vec![var(x)]), call(function, vec![var(y)]));
                add(format!("{word}({m}) == {word}({n})"), compare(b, CompareOp::Eq, a));
            }
            for (x, y) in [(x, y), (y, x)] {
                add(
                    format!("broadcasts({}, {})", name(x), name(y)),
                    call(Function::Broadcasts, vec![var(x), var(y)]),
                );
            }
        }
    }
    for &x in &values {
        let n = name(x);
        let rank = || call(Function::Rank, vec![var(x)]);
        let numel = call(Function::Numel, vec![var(x)]);
        add(format!("numel({n}) == 1"), compare(numel, CompareOp::Eq, int(1)));
        for number in 0..5 {
            add(format!("rank({n}) == {number}"), compare(rank(), CompareOp::Eq, int(number)));
            add(format!("rank({n}) >= {number}"), compare(rank(), CompareOp::Ge, int(number)));
        }
        add(format!("is_const({n})"), call(Function::IsConst, vec![var(x)]));
    }
    found
}

/// What conditions see at a match.
struct At<'a> {
    pattern: &'a Pattern,
    model: &'a Model,
    types: &'a Types,
    found: &'a Match,
}

impl At<'_> {
    fn id(&self, row: ValueRow) -> Option<ValueId> {
        self.model.graph.values().find(|value| value.index() == row.index())
    }

    fn datum(bound: &Bound) -> Datum {
        match bound {
            Bound::Absent => Datum::None,
            Bound::Value(value) => Datum::Value(ValueRow::new(value.index())),
            Bound::Int(number) => Datum::Int(*number),
            Bound::Float(number) => Datum::float(*number),
            Bound::Text(text) => Datum::Text(text.clone()),
            Bound::Dtype(dtype) => Datum::Dtype(*dtype),
            Bound::List(items) => Datum::List(items.iter().map(Self::datum).collect()),
            _ => Datum::Unknown,
        }
    }
}

impl World for At<'_> {
    fn look_up(&self, var: VarId) -> Datum {
        let name = &self.pattern.var(var).name;
        self.found.bound(name).map_or(Datum::Unknown, Self::datum)
    }

    fn dtype(&self, value: ValueRow) -> Option<DType> {
        self.types.dtype(self.id(value)?)
    }

    fn shape(&self, value: ValueRow) -> Option<Cow<'_, [Dim]>> {
        self.types.shape(self.id(value)?).map(Cow::Borrowed)
    }

    fn known(&self, value: ValueRow) -> Option<&Tensor> {
        self.types.known(self.id(value)?)
    }

    fn is_constant(&self, value: ValueRow) -> bool {
        self.id(value).is_some_and(|value| self.types.is_constant(value))
    }

    fn same_value(&self, a: ValueRow, b: ValueRow) -> bool {
        a == b
    }

    fn uses(&self, value: ValueRow) -> Option<usize> {
        Some(self.model.graph.use_count(self.id(value)?))
    }

    fn matches(&self, _pattern: ExprId, _at: Option<ValueRow>) -> Option<bool> {
        None
    }
}
