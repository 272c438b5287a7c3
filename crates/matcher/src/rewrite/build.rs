//! Builds a right side for one match: `~>` or `equals`, bottom-up.

use std::collections::BTreeMap;

use marquetry_ir::{AttributeValue, DType, Evaluate, ValueId};
use marquetry_pattern::core::VarId;
use marquetry_pattern::gexpr::GExpr;
use marquetry_pattern::replacement::{
    BuildExpr, BuildKind, BuildOp, BuildOperator, BuildStatement, Replacement,
};

use super::emit::{Content, Emitter, Operand, Request};
use super::literal::{self, Literal};
use super::refusal::Refusal;
use super::sketch::Sketch;
use crate::compute::World;
use crate::datum::Datum;
use crate::found::Match;
use crate::index::{Index, ValueRow};
use crate::plan::Plan;
use crate::search::{Search, datum};

/// The nodes that a right side stands for at a match. Nothing of the model is touched.
pub(crate) fn build(
    index: &Index<'_>,
    plan: &Plan<'_>,
    found: &Match,
    right: &Replacement,
    evaluate: &dyn Evaluate,
    steps: u32,
) -> Result<Sketch, Refusal> {
    let search = Search::at(index, plan, found, steps);
    let emitter = Emitter::new(index, found.place, evaluate);
    let stem = found.outputs.first().map(|output| emitter.graph.value(*output).name().to_owned());
    let mut builder =
        Builder { search, emitter, found, stem: stem.unwrap_or_default(), built: BTreeMap::new() };
    for statement in &right.statements {
        builder.statement(statement)?;
    }
    let mut sketch = builder.emitter.sketch;
    sketch.prune();
    Ok(sketch)
}

struct Builder<'a, 'm, 'p> {
    search: Search<'a, 'm, 'p>,
    emitter: Emitter<'a, 'm>,
    found: &'a Match,
    /// What new values are called after: the first output.
    stem: String,
    /// What the right side has defined so far; lists have several.
    built: BTreeMap<VarId, Vec<Operand>>,
}

impl Builder<'_, '_, '_> {
    fn statement(&mut self, statement: &BuildStatement) -> Result<(), Refusal> {
        match statement {
            BuildStatement::Let(var, value) => {
                let content = self.search.evaluate(value);
                self.search.bind(*var, content);
            }
            BuildStatement::Equation { results, constant, expr, .. } => {
                let values = self.results(results, expr, *constant)?;
                for (var, mut operands) in results.iter().zip(values) {
                    if *constant {
                        for operand in &mut operands {
                            self.fold(*var, operand)?;
                        }
                    }
                    self.define(*var, &operands)?;
                    self.built.insert(*var, operands);
                }
            }
        }
        Ok(())
    }

    /// The right side of an equation, one entry for each name on the left.
    fn results(
        &mut self,
        results: &[VarId],
        expr: &BuildExpr,
        constant: bool,
    ) -> Result<Vec<Vec<Operand>>, Refusal> {
        let lists = results.iter().any(|var| self.search.plan.pattern.var(*var).list);
        if let ([result], false) = (results, lists) {
            let expected = self.expected(*result);
            // What is computed now is called after the variable only when it is computed.
            let name = (!constant).then(|| self.result_name(*result));
            return Ok(vec![vec![self.expr(expr, name.as_deref(), expected)?]]);
        }
        let op = self.chosen(expr)?;
        let counts: Vec<usize> = results
            .iter()
            .map(|var| match self.search.content(*var) {
                Datum::List(items) if self.search.plan.pattern.var(*var).list => items.len(),
                _ => 1,
            })
            .collect();
        let mut names = Vec::new();
        for (var, count) in results.iter().zip(&counts) {
            let name = self.result_name(*var);
            names.extend((0..*count).map(|_| name.clone()));
        }
        let expected = results.first().and_then(|var| self.expected(*var));
        let mut values = self.op(op, names, expected)?.into_iter();
        Ok(counts
            .into_iter()
            .map(|count| values.by_ref().take(count).map(Operand::Value).collect())
            .collect())
    }

    /// The operator of an expression that has several results.
    fn chosen<'e>(&self, expr: &'e BuildExpr) -> Result<&'e BuildOp, Refusal> {
        match &expr.kind {
            BuildKind::Op(op) => Ok(op),
            BuildKind::If(condition, left, right) => {
                self.chosen(if self.holds(condition)? { left } else { right })
            }
            _ => Err(Refusal::WrongKind {
                what: "a right side with several names on its left".to_owned(),
                wanted: "anything but an operator".to_owned(),
            }),
        }
    }

    /// Redefines the outputs of the header.
    fn define(&mut self, var: VarId, operands: &[Operand]) -> Result<(), Refusal> {
        if !self.search.plan.pattern.outputs.contains(&var) {
            return Ok(());
        }
        let name = &self.search.plan.pattern.var(var).name;
        let rows = match self.search.content(var) {
            Datum::Value(row) => vec![row],
            Datum::List(items) => items.iter().filter_map(value).collect(),
            // An output that this match does not have.
            _ => return Ok(()),
        };
        for (row, operand) in rows.iter().zip(operands) {
            let made = match operand {
                Operand::Value(made) => *made,
                Operand::Literal(literal) => {
                    let dtype = literal.dtype.or(self.emitter.index.dtype(*row));
                    let content = literal.tensor(dtype.unwrap_or(literal.natural()))?;
                    self.emitter.sketch.constant(&self.stem, content)
                }
                Operand::Absent => return Err(Refusal::Absent { name: name.clone() }),
            };
            let Some(id) = self.emitter.index.id_within(*row, self.found.place) else {
                return Err(Refusal::NotVisible { name: name.clone() });
            };
            self.emitter.sketch.outputs.push((id, made));
        }
        Ok(())
    }

    /// `const`: computed now.
    fn fold(&mut self, var: VarId, operand: &mut Operand) -> Result<(), Refusal> {
        if let Operand::Value(made) = operand {
            let content = self.emitter.fold(*made)?;
            let name = self.result_name(var);
            *made = self.emitter.sketch.constant(&name, content);
        }
        Ok(())
    }

    /// The element type that a header output has.
    fn expected(&self, var: VarId) -> Option<DType> {
        let row = match self.search.content(var) {
            Datum::Value(row) => row,
            Datum::List(items) => items.iter().find_map(value)?,
            _ => return None,
        };
        self.emitter.index.dtype(row)
    }

    fn result_name(&self, var: VarId) -> String {
        let pattern = self.search.plan.pattern;
        if pattern.outputs.contains(&var) {
            return self.stem.clone();
        }
        format!("{}_{}", self.stem, pattern.var(var).name)
    }

    fn inner_name(&self, op: &BuildOp) -> String {
        let name = match &op.operator {
            BuildOperator::Named(operator) => operator.name.as_str(),
            BuildOperator::Matched(var) => self.search.plan.pattern.var(*var).name.as_str(),
        };
        format!("{}_{}", self.stem, name.to_lowercase())
    }

    fn holds(&self, condition: &GExpr) -> Result<bool, Refusal> {
        match self.search.evaluate(condition) {
            Datum::Bool(truth) => Ok(truth),
            _ => Err(Refusal::NotKnown { what: "the condition of `if`".to_owned() }),
        }
    }

    /// `name` is what the result is called; without it, after its operator.
    fn expr(
        &mut self,
        expr: &BuildExpr,
        name: Option<&str>,
        expected: Option<DType>,
    ) -> Result<Operand, Refusal> {
        match &expr.kind {
            BuildKind::Var(var) => self.var(*var),
            BuildKind::Values(var) => Err(Refusal::WrongKind {
                what: format!("the list `{}`", self.search.plan.pattern.var(*var).name),
                wanted: "one value".to_owned(),
            }),
            BuildKind::Absent => Ok(Operand::Absent),
            BuildKind::Constant { value, dtype, shape } => {
                let dtype = dtype.as_ref().map(|dtype| match self.search.evaluate(dtype) {
                    Datum::Dtype(dtype) => Ok(dtype),
                    _ => Err(Refusal::NotKnown { what: "the type of a constant".to_owned() }),
                });
                let content = self.search.evaluate(value);
                let dims = shape.as_ref().map(|shape| self.dims(shape)).transpose()?;
                let what = match &value.kind {
                    marquetry_pattern::gexpr::GExprKind::Var(var) => {
                        format!("`{}`", self.search.plan.pattern.var(*var).name)
                    }
                    _ => "a constant of the right side".to_owned(),
                };
                if content == Datum::None {
                    return Ok(Operand::Absent);
                }
                let dtype = dtype.transpose()?;
                Ok(Operand::Literal(Literal { content, dtype, dims, what }))
            }
            BuildKind::Op(op) => {
                let count = op.output as usize + 1;
                let name = name.map_or_else(|| self.inner_name(op), str::to_owned);
                let results = self.op(op, vec![name; count], expected)?;
                let result = results.get(op.output as usize).copied();
                Ok(result.map_or(Operand::Absent, Operand::Value))
            }
            BuildKind::Coalesce(items) => {
                for item in items {
                    match self.expr(item, name, expected)? {
                        Operand::Absent => {}
                        present => return Ok(present),
                    }
                }
                Ok(Operand::Absent)
            }
            BuildKind::If(condition, left, right) => {
                let taken = if self.holds(condition)? { left } else { right };
                self.expr(taken, name, expected)
            }
        }
    }

    fn dims(&self, shape: &GExpr) -> Result<Vec<usize>, Refusal> {
        let what = || "the shape of a constant".to_owned();
        let content = self.search.evaluate(shape);
        if literal::open(&content) {
            return Err(Refusal::NotKnown { what: what() });
        }
        let items = match content {
            Datum::List(items) => items,
            single => vec![single],
        };
        let length = |item: &Datum| item.as_int().and_then(|length| usize::try_from(length).ok());
        let dims: Option<Vec<usize>> = items.iter().map(length).collect();
        dims.ok_or_else(|| Refusal::WrongKind { what: what(), wanted: "a shape".to_owned() })
    }

    fn var(&mut self, var: VarId) -> Result<Operand, Refusal> {
        if let Some(built) = self.built.get(&var) {
            return Ok(built.first().cloned().unwrap_or(Operand::Absent));
        }
        match self.search.content(var) {
            Datum::Value(row) => Ok(Operand::Value(self.emitter.existing(row)?)),
            _ => Ok(Operand::Absent),
        }
    }

    /// The operands of an argument: several for a list.
    fn operands(
        &mut self,
        expr: &BuildExpr,
        expected: Option<DType>,
    ) -> Result<Vec<Operand>, Refusal> {
        let BuildKind::Values(var) = &expr.kind else {
            return Ok(vec![self.expr(expr, None, expected)?]);
        };
        if let Some(built) = self.built.get(var) {
            return Ok(built.clone());
        }
        let Datum::List(items) = self.search.content(*var) else { return Ok(Vec::new()) };
        let rows = items.iter().map(value);
        rows.map(|row| match row {
            Some(row) => Ok(Operand::Value(self.emitter.existing(row)?)),
            None => Ok(Operand::Absent),
        })
        .collect()
    }

    /// A node, and its results.
    fn op(
        &mut self,
        op: &BuildOp,
        results: Vec<String>,
        expected: Option<DType>,
    ) -> Result<Vec<ValueId>, Refusal> {
        let (domain, op_type) = match &op.operator {
            BuildOperator::Named(operator) => (operator.domain.clone(), operator.name.clone()),
            BuildOperator::Matched(var) => match self.search.content(*var) {
                Datum::Operator(row) => {
                    let (domain, name) = self.emitter.index.operator_name(row);
                    (domain.to_owned(), name.to_owned())
                }
                _ => {
                    let name = self.search.plan.pattern.var(*var).name.clone();
                    return Err(Refusal::Absent { name });
                }
            },
        };
        let mut operands = Vec::new();
        for arg in &op.args {
            let slot = operands.len();
            let expected = expected.filter(|_| Emitter::keeps_type(&domain, &op_type, slot));
            operands.extend(self.operands(arg, expected)?);
        }
        let mut attributes: Vec<(String, Content)> = Vec::new();
        for attribute in &op.attributes {
            let content = self.search.evaluate(&attribute.value);
            if content.has_open_axis() {
                let name = attribute.name.clone();
                return Err(Refusal::UnknownRank { name });
            }
            attributes.push((attribute.name.clone(), Content::Datum(content)));
        }
        if let Some(rest) = op.forward
            && let Datum::Attributes(captured) = self.search.content(rest)
        {
            for (name, content) in captured {
                if !attributes.iter().any(|(known, _)| *known == name) {
                    let content = match self.copied(&name, &content) {
                        Some(value) => Content::Copied(value),
                        None => Content::Datum(content),
                    };
                    attributes.push((name, content));
                }
            }
        }
        self.emitter.node(Request { domain, op_type, attributes, operands, results, expected })
    }

    /// A captured attribute as the node that was matched has it: what no expression looks into, such
    /// as a tensor, is kept so.
    fn copied(&self, name: &str, content: &Datum) -> Option<AttributeValue> {
        let nodes = self.found.nodes.iter().map(|node| self.emitter.graph.node(*node));
        let mut written = nodes.filter_map(|node| node.attribute(name));
        written.find(|value| datum(name, value) == *content).cloned()
    }
}

fn value(content: &Datum) -> Option<ValueRow> {
    match content {
        Datum::Value(row) => Some(*row),
        _ => None,
    }
}
