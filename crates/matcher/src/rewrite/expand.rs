//! The reverse of fusing: an operator that is the meaning of a pattern is written out as the body, in
//! the first spelling that can be written down.
//!
//! A body is made for matching: some of its parts say only what is not looked at. An alternative with
//! such a part is passed over, and so is one whose guard does not hold.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::{DType, Evaluate, ValueId};
use marquetry_pattern::core::{
    Alt, Arg, AttributePattern, Chain, Definition, ExprId, ExprKind, Kind, Let, Op, Others, Output,
    ScopeId, VarId,
};
use marquetry_pattern::gexpr::{GExpr, GExprKind};

use super::emit::{Content, Emitter, Operand, Request};
use super::literal::Literal;
use super::refusal::Refusal;
use super::sketch::Sketch;
use crate::compute::World;
use crate::datum::Datum;
use crate::found::Match;
use crate::index::Index;
use crate::plan::Plan;
use crate::search::Search;

/// The body of a pattern at a match of its meaning.
pub(crate) fn expand(
    index: &Index<'_>,
    plan: &Plan<'_>,
    found: &Match,
    evaluate: &dyn Evaluate,
    steps: u32,
) -> Result<Sketch, Refusal> {
    let search = Search::at(index, plan, found, steps);
    let emitter = Emitter::new(index, found.place, evaluate);
    let stem = found.outputs.first().map(|output| emitter.graph.value(*output).name().to_owned());
    let state = State { bound: BTreeMap::new(), held: BTreeSet::new(), open: BTreeSet::new() };
    let mut writer = Writer { search, emitter, stem: stem.unwrap_or_default(), state };
    for &var in &plan.pattern.outputs {
        let Datum::Value(row) = writer.search.content(var) else { continue };
        let Some(id) = index.id_within(row, found.place) else { continue };
        let expected = index.dtype(row);
        let operand = writer.definitions(var, expected)?;
        let made = writer.value_of(operand, expected)?;
        writer.emitter.sketch.outputs.push((id, made));
    }
    let mut sketch = writer.emitter.sketch;
    sketch.prune();
    Ok(sketch)
}

/// What is undone when an alternative is passed over.
#[derive(Clone)]
struct State {
    /// What variables were written as.
    bound: BTreeMap<VarId, Operand>,
    /// Scopes that hold.
    held: BTreeSet<ScopeId>,
    /// Variables that are being written.
    open: BTreeSet<VarId>,
}

struct Writer<'a, 'm, 'p> {
    search: Search<'a, 'm, 'p>,
    emitter: Emitter<'a, 'm>,
    stem: String,
    state: State,
}

impl<'p> Writer<'_, '_, 'p> {
    fn unwritten<T>(&self, what: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::NotWritten { what: what.into() })
    }

    fn name(&self, var: VarId) -> String {
        format!("`{}`", self.search.plan.pattern.var(var).name)
    }

    /// Writes, or leaves everything as it was.
    fn attempt<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (state, bindings) = (self.state.clone(), self.search.bindings());
        let written = write(self);
        if written.is_err() {
            self.state = state;
            self.search.restore(bindings);
        }
        written
    }

    fn var(&mut self, var: VarId, expected: Option<DType>) -> Result<Operand, Refusal> {
        let declared = self.search.plan.pattern.var(var);
        let var = declared.copy_of.unwrap_or(var);
        if let Some(written) = self.state.bound.get(&var) {
            return Ok(written.clone());
        }
        let given = self.search.plan.pattern.inputs.contains(&var);
        if given || self.search.plan.pattern.var(var).definitions.is_empty() {
            return match self.search.content(var) {
                Datum::Value(row) => Ok(Operand::Value(self.emitter.existing(row)?)),
                _ if given => Ok(Operand::Absent),
                _ => self.unwritten(self.name(var)),
            };
        }
        let operand = self.definitions(var, expected)?;
        self.state.bound.insert(var, operand.clone());
        Ok(operand)
    }

    /// The first definition that can be written.
    fn definitions(&mut self, var: VarId, expected: Option<DType>) -> Result<Operand, Refusal> {
        if !self.state.open.insert(var) {
            return self.unwritten(self.name(var));
        }
        let definitions = self.search.plan.pattern.var(var).definitions.clone();
        let mut last = None;
        for definition in definitions {
            match self.attempt(|this| this.definition(var, definition, expected)) {
                Ok(operand) => {
                    self.state.open.remove(&var);
                    return Ok(operand);
                }
                Err(refusal) => last = Some(refusal),
            }
        }
        self.state.open.remove(&var);
        Err(last.unwrap_or(Refusal::NotWritten { what: self.name(var) }))
    }

    fn definition(
        &mut self,
        var: VarId,
        definition: Definition,
        expected: Option<DType>,
    ) -> Result<Operand, Refusal> {
        self.hold(definition.scope)?;
        let operand = self.expr(definition.expr, expected)?;
        // The right side of `a, b = F(x)` writes all names at once.
        Ok(self.state.bound.get(&var).cloned().unwrap_or(operand))
    }

    /// Makes a scope hold, with those around it. The meaning itself, and a second branch of a choice,
    /// cannot.
    fn hold(&mut self, scope: ScopeId) -> Result<(), Refusal> {
        let pattern = self.search.plan.pattern;
        if !self.state.held.insert(scope) {
            return Ok(());
        }
        if pattern.meaning == Some(scope) {
            return self.unwritten("the operator itself");
        }
        if let Some(parent) = pattern.scope(scope).parent {
            self.hold(parent)?;
        }
        for choice in &pattern.choices {
            let taken = choice.branches.iter().filter(|branch| self.state.held.contains(branch));
            if choice.branches.contains(&scope) && taken.count() > 1 {
                return self.unwritten("another alternative");
            }
        }
        for binding in &pattern.scope(scope).lets {
            // A number that follows from others which are not known yet stays open.
            let content = self.search.evaluate(&binding.value);
            if self.is_unbound(binding.var) && !super::literal::open(&content) {
                self.bind(binding.var, content);
            }
        }
        Ok(())
    }

    fn is_unbound(&self, var: VarId) -> bool {
        matches!(self.search.look_up(var), Datum::None | Datum::Unbound | Datum::Unknown)
    }

    fn bind(&mut self, var: VarId, content: Datum) {
        if let Some(GExpr { kind: GExprKind::Var(outer), .. }) =
            &self.search.plan.pattern.var(var).value
            && self.is_unbound(*outer)
        {
            self.bind(*outer, content.clone());
        }
        self.search.bind(var, content);
    }

    fn literal(&self, content: Datum, what: String) -> Result<Operand, Refusal> {
        if content == Datum::None || super::literal::open(&content) {
            return self.unwritten(what);
        }
        Ok(Operand::Literal(Literal { content, dtype: None, dims: None, what }))
    }

    fn value_of(&mut self, operand: Operand, dtype: Option<DType>) -> Result<ValueId, Refusal> {
        match operand {
            Operand::Value(value) => Ok(value),
            Operand::Literal(literal) => {
                let content = literal.tensor(dtype.unwrap_or(literal.natural()))?;
                Ok(self.emitter.sketch.constant(&self.stem, content))
            }
            Operand::Absent => self.unwritten("an absent output"),
        }
    }

    fn expr(&mut self, expr: ExprId, expected: Option<DType>) -> Result<Operand, Refusal> {
        let pattern = self.search.plan.pattern;
        match &pattern.expr(expr).kind {
            ExprKind::Any => self.unwritten("`_`"),
            ExprKind::AnyOrAbsent | ExprKind::Absent => Ok(Operand::Absent),
            ExprKind::Var(var) => self.var(*var, expected),
            ExprKind::Scalar(var) => self.literal(self.search.look_up(*var), self.name(*var)),
            ExprKind::Constant { value, .. } => {
                self.literal(self.search.evaluate(value), "a number".to_owned())
            }
            ExprKind::Full(inner) => self.expr(*inner, expected),
            ExprKind::Optional(optional) => {
                let present = optional.present;
                Ok(self.attempt(|this| this.expr(present, expected)).unwrap_or(Operand::Absent))
            }
            ExprKind::Op(op) => self.op(op, expected),
            ExprKind::Chain(chain) => self.chain(chain, expected),
            ExprKind::Alt(alt) => self.alt(alt, expected),
            ExprKind::Repeat(repeat) => {
                let last = self.expr(repeat.last, expected)?;
                if !repeat.at_least_once {
                    return Ok(last);
                }
                self.state.bound.insert(repeat.hole, last);
                self.expr(repeat.step, expected)
            }
            ExprKind::Scoped(scope, inner) => {
                self.hold(*scope)?;
                self.expr(*inner, expected)
            }
        }
    }

    fn alt(&mut self, alt: &'p Alt, expected: Option<DType>) -> Result<Operand, Refusal> {
        let mut last = None;
        for branch in &alt.branches {
            let written = self.attempt(|this| {
                for binding in &branch.with {
                    this.with(binding)?;
                }
                let operand = this.expr(branch.expr, expected)?;
                let holds = branch.guard.as_ref().map(|guard| this.search.evaluate(guard));
                match holds {
                    None | Some(Datum::Bool(true)) => Ok(operand),
                    Some(_) => this.unwritten("an alternative whose guard does not hold"),
                }
            });
            match written {
                Ok(operand) => return Ok(operand),
                Err(refusal) => last = last.or(Some(refusal)),
            }
        }
        Err(last.unwrap_or(Refusal::NotWritten { what: "an alternative".to_owned() }))
    }

    /// `with k = e`: binds, or must agree.
    fn with(&mut self, binding: &Let) -> Result<(), Refusal> {
        let content = self.search.evaluate(&binding.value);
        if super::literal::open(&content) || content == Datum::None {
            return self.unwritten(self.name(binding.var));
        }
        if self.is_unbound(binding.var) {
            self.bind(binding.var, content);
            return Ok(());
        }
        let known = self.search.look_up(binding.var);
        if known.equals(&content, true) == Datum::Bool(true) {
            Ok(())
        } else {
            self.unwritten(self.name(binding.var))
        }
    }

    fn chain(&mut self, chain: &'p Chain, expected: Option<DType>) -> Result<Operand, Refusal> {
        let mut operands = Vec::new();
        for &operand in &chain.operands {
            operands.push(self.expr(operand, expected)?);
        }
        // The type of a number is that of what stands beside it.
        operands.sort_by_key(|operand| matches!(operand, Operand::Literal(_)));
        let mut operands = operands.into_iter();
        let Some(mut whole) = operands.next() else { return self.unwritten("an empty chain") };
        for operand in operands {
            let (domain, name) = (&chain.operator.domain, &chain.operator.name);
            let results = self.node(domain, name, Vec::new(), vec![whole, operand], 1, expected)?;
            whole = Operand::Value(results[0]);
        }
        Ok(whole)
    }

    fn op(&mut self, op: &'p Op, expected: Option<DType>) -> Result<Operand, Refusal> {
        let Some(operator) = op.operators.first() else { return self.unwritten("an operator") };
        let mut operands = Vec::new();
        for arg in &op.args {
            let slot = operands.len();
            let keeps = Emitter::keeps_type(&operator.domain, &operator.name, slot);
            match arg {
                Arg::One(expr) => operands.push(self.expr(*expr, expected.filter(|_| keeps))?),
                Arg::Each { .. } => return self.unwritten("a list of inputs"),
            }
        }
        let mut attributes = Vec::new();
        for attribute in &op.attributes {
            if let Some(content) = self.attribute(&attribute.pattern)? {
                attributes.push((attribute.name.clone(), Content::Datum(content)));
            }
        }
        if let Others::Rest(var) = &op.others
            && let Datum::Attributes(rest) = self.search.content(*var)
        {
            attributes.extend(rest.into_iter().map(|(name, it)| (name, Content::Datum(it))));
        }
        let count = match &op.output {
            Output::Index(index) => *index as usize + 1,
            Output::Bind(vars) => vars.len(),
        };
        let (domain, name) = (&operator.domain, &operator.name);
        let results = self.node(domain, name, attributes, operands, count, expected)?;
        if let Output::Bind(vars) = &op.output {
            for (var, result) in vars.iter().zip(&results) {
                self.state.bound.insert(*var, Operand::Value(*result));
            }
        }
        // There may be more results than were asked for.
        let wanted = results.get(count.saturating_sub(1)).copied();
        wanted.map_or_else(|| self.unwritten("a node without results"), |v| Ok(Operand::Value(v)))
    }

    fn node(
        &mut self,
        domain: &str,
        name: &str,
        attributes: Vec<(String, Content)>,
        operands: Vec<Operand>,
        count: usize,
        expected: Option<DType>,
    ) -> Result<Vec<ValueId>, Refusal> {
        let result = format!("{}_{}", self.stem, name.to_lowercase());
        self.emitter.node(Request {
            domain: domain.to_owned(),
            op_type: name.to_owned(),
            attributes,
            operands,
            results: vec![result; count],
            expected,
        })
    }

    /// What an attribute is; nothing where any content will do.
    fn attribute(&self, pattern: &AttributePattern) -> Result<Option<Datum>, Refusal> {
        match pattern {
            AttributePattern::Any => Ok(None),
            AttributePattern::Bind(var) => {
                let content = self.search.look_up(*var);
                let dtype = self.search.plan.pattern.var(*var).kind == Kind::Dtype;
                if content == Datum::None && !dtype {
                    return self.unwritten(self.name(*var));
                }
                Ok(Some(content))
            }
            AttributePattern::Value(value) => Ok(Some(self.search.evaluate(value))),
            AttributePattern::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    list.push(self.attribute(item)?.unwrap_or(Datum::Unknown));
                }
                Ok(Some(Datum::List(list)))
            }
            AttributePattern::OneOf(items) => match items.first() {
                Some(first) => self.attribute(first),
                None => Ok(None),
            },
            AttributePattern::Graph(_) => self.unwritten("a graph"),
        }
    }
}
