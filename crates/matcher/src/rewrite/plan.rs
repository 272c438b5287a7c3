//! From a match to an edit: builds, checks types, and says what becomes of the rest.

use marquetry_ir::check::{self, Severity};
use marquetry_ir::schema::canonical_domain;
use marquetry_ir::{Dim, Evaluate, Node, TensorType, Type, ValueId};
use marquetry_pattern::core::{Pattern, VarId};
use marquetry_pattern::replacement::{
    BuildExpr, BuildKind, BuildOperator, BuildStatement, Replacement,
};

use super::apply::Edit;
use super::build::build;
use super::expand::expand;
use super::extract;
use super::outline;
use super::refusal::Refusal;
use super::sketch::Sketch;
use super::{Checked, Step, VerifyEach, Way};
use crate::datum::Datum;
use crate::found::{Match, Spelling};
use crate::index::{Index, ValueRow};
use crate::plan::Plan;

pub(crate) struct Planner<'a, 'm> {
    pub(crate) index: &'a Index<'m>,
    pub(crate) evaluate: &'a dyn Evaluate,
    pub(crate) verify: Option<&'a dyn VerifyEach>,
    pub(crate) steps: u32,
}

impl Planner<'_, '_> {
    /// Whether a match is already what the step would make of it.
    pub(crate) fn is_done(&self, found: &Match, Step { pattern, way }: Step<'_>) -> bool {
        match way {
            Way::Rule => false,
            Way::Fuse => found.spelling == Spelling::Meaning || self.is_operator(found, pattern),
            Way::Expand => found.spelling != Spelling::Meaning,
            Way::Outline => found.nodes.len() < 2,
        }
    }

    /// Whether the body of the pattern was matched where it spells out the operator of `equals`.
    fn is_operator(&self, found: &Match, pattern: &Pattern) -> bool {
        let statements = pattern.equals.as_ref().map(|equals| equals.statements.as_slice());
        let Some([.., BuildStatement::Equation { expr, .. }]) = statements else { return false };
        let [node] = &found.nodes[..] else { return false };
        builds(expr, self.index.graph(found.place).node(*node))
    }

    fn build(
        &self,
        plan: &Plan<'_>,
        found: &Match,
        right: Option<&Replacement>,
    ) -> Result<Sketch, Refusal> {
        let right = right.expect("steps without a right side are not searched for");
        build(self.index, plan, found, right, self.evaluate, self.steps)
    }

    pub(crate) fn plan(
        &self,
        plan: &Plan<'_>,
        found: &Match,
        step: Step<'_>,
    ) -> Result<Edit, Refusal> {
        let measured = self.measured(plan, found);
        let (graph, types) = (self.index.graph(found.place), self.index.types(found.place));
        let (mut sketch, function) = match step.way {
            Way::Rule => (self.build(plan, found, step.pattern.replacement.as_ref())?, None),
            Way::Fuse => (self.build(plan, found, step.pattern.equals.as_ref())?, None),
            Way::Expand => (expand(self.index, plan, found, self.evaluate, self.steps)?, None),
            Way::Outline => {
                let (sketch, function) = outline::outline(graph, types, found, &measured);
                (sketch, Some(Box::new(function)))
            }
        };
        if function.is_none() {
            valid(&sketch)?;
        }
        let declare = self.check_types(found, &mut sketch)?;
        self.keep_outputs(found, &sketch)?;
        let checked = match (self.verify, &function) {
            (Some(verify), None) => {
                let (before, after) = extract::both(graph, types, &found.nodes, &sketch);
                let checked = verify.verify(step, &before, &after).map_err(Refusal::NotVerified)?;
                if let (Checked::NotCompared(reason), true) = (&checked, verify.is_strict()) {
                    return Err(Refusal::NotCompared(reason.clone()));
                }
                Some(checked)
            }
            // A function holds the very nodes that were matched.
            _ => None,
        };
        let edit = Edit {
            pattern: step.pattern.name.clone(),
            anchor: found.anchor,
            nodes: found.nodes.clone(),
            exits: self.exits(plan, found, &sketch),
            measured,
            declare,
            sketch,
            function,
            checked,
        };
        Ok(edit)
    }

    /// Refuses outputs of another type; returns the types that would be forgotten.
    fn check_types(
        &self,
        found: &Match,
        sketch: &mut Sketch,
    ) -> Result<Vec<(ValueId, Type)>, Refusal> {
        let (graph, types) = (self.index.graph(found.place), self.index.types(found.place));
        let mut declare = Vec::new();
        for (home, made) in sketch.outputs.clone() {
            let Some(old) = types.tensor(home) else { continue };
            let name = || graph.value(home).name().to_owned();
            let new = sketch.tensor_type(made);
            let new = new.unwrap_or(TensorType { dtype: None, shape: None, denotation: None });
            if let (Some(old), Some(new)) = (old.dtype, new.dtype)
                && old != new
            {
                return Err(Refusal::Dtype { output: name(), old, new });
            }
            if let (Some(a), Some(b)) = (&old.shape, &new.shape)
                && !compatible(a, b)
            {
                let (old, new) = (old.to_string(), new.to_string());
                return Err(Refusal::Shape { output: name(), old, new });
            }
            if knows_more(old, &new) && old.dtype.is_some() {
                declare.push((home, Type::Tensor(old.clone())));
            }
        }
        Ok(declare)
    }

    /// A lone Identity between values that both keep their names is not replaced by another one.
    fn keep_outputs(&self, found: &Match, sketch: &Sketch) -> Result<(), Refusal> {
        let graph = self.index.graph(found.place);
        let [node] = found.nodes[..] else { return Ok(()) };
        if !graph.node(node).is_onnx("Identity") {
            return Ok(());
        }
        for (home, made) in &sketch.outputs {
            let Some(origin) = sketch.origins.get(made) else { continue };
            let kept = graph.is_output(origin.id) || graph.producer(origin.id).is_none();
            if graph.is_output(*home) && kept {
                let name = |value| graph.value(value).name().to_owned();
                return Err(Refusal::OutputKept { output: name(*home), by: name(origin.id) });
            }
        }
        Ok(())
    }

    fn rows(&self, found: &Match, vars: impl Iterator<Item = VarId>) -> Vec<ValueRow> {
        let mut rows = Vec::new();
        for var in vars {
            match &found.vars[var.index()] {
                Some(Datum::Value(row)) => rows.push(*row),
                Some(Datum::List(items)) => {
                    rows.extend(items.iter().filter_map(|item| match item {
                        Datum::Value(row) => Some(*row),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        rows
    }

    fn exits(&self, plan: &Plan<'_>, found: &Match, sketch: &Sketch) -> Vec<ValueId> {
        let shared = plan.pattern.vars().filter(|(_, var)| var.shared).map(|(id, _)| id);
        let shared = self.rows(found, shared).into_iter();
        let shared = shared.filter_map(|row| self.index.id_within(row, found.place));
        let mut exits: Vec<ValueId> = found.outputs.iter().copied().chain(shared).collect();
        exits.extend(sketch.outputs.iter().map(|(home, _)| *home));
        exits.sort_unstable();
        exits.dedup();
        exits
    }

    /// Inner values whose shape is read outside, each with an input of the same shape.
    fn measured(&self, plan: &Plan<'_>, found: &Match) -> Vec<(ValueId, ValueId)> {
        let types = self.index.types(found.place);
        let inputs = self.rows(found, plan.pattern.inputs.iter().copied());
        let inputs: Vec<ValueId> =
            inputs.into_iter().filter_map(|row| self.index.id_within(row, found.place)).collect();
        let same = |inner: &ValueId| {
            let shape = types.shape(*inner)?;
            let input = inputs.iter().find(|input| {
                types.shape(**input).is_some_and(|other| other == shape)
                    && shape.iter().all(|dim| *dim != Dim::Unknown)
            });
            Some((*inner, *input?))
        };
        found.measured.iter().filter_map(same).collect()
    }
}

/// Refuses nodes that the validator would not let pass.
fn valid(sketch: &Sketch) -> Result<(), Refusal> {
    let mut violations = check::run_graph(&sketch.graph).into_iter();
    match violations.find(|violation| violation.severity == Severity::Error) {
        None => Ok(()),
        Some(violation) => {
            let hint = violation.hint();
            Err(Refusal::Invalid { problem: violation.to_string(), hint })
        }
    }
}

/// Whether two shapes can be of one tensor.
fn compatible(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (a.known(), b.known()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        })
}

fn knows_more(old: &TensorType, new: &TensorType) -> bool {
    if old.dtype.is_some() && new.dtype.is_none() {
        return true;
    }
    match (&old.shape, &new.shape) {
        (Some(_), None) => true,
        (Some(old), Some(new)) => {
            old.iter().zip(new).any(|(old, new)| *old != Dim::Unknown && *new == Dim::Unknown)
        }
        _ => false,
    }
}

/// Whether an expression builds this operator, perhaps under a condition.
fn builds(expr: &BuildExpr, node: &Node) -> bool {
    match &expr.kind {
        BuildKind::Op(op) => matches!(&op.operator, BuildOperator::Named(operator)
            if operator.name == node.op_type
                && canonical_domain(&operator.domain) == canonical_domain(&node.domain)),
        BuildKind::If(_, yes, no) => builds(yes, node) || builds(no, node),
        _ => false,
    }
}
