//! A graph that a pattern can stand for, before shapes, types and numbers are chosen: Core read
//! backwards, from the outputs to the inputs, with a decision wherever Core has alternatives.

use std::collections::BTreeMap;
use std::rc::Rc;

use marquetry_pattern::Span;
use marquetry_pattern::core::{
    Arg, AttributePattern, Chain, ChoiceId, ExprId, ExprKind, Op, Operator, Output, Pattern,
    ScopeId, VarId,
};
use marquetry_pattern::gexpr::GExpr;

use super::decide::{Decisions, Site};
use super::random::Random;
use super::{Ask, Stuck};
use crate::datum::Datum;
use crate::index::ValueRow;
use crate::plan::{Constraint, scopes_below};

/// A variable at one time: what a chain or a list matches several times is bound anew each time.
pub(super) type Instance = usize;

/// The instance of each variable.
pub(super) type Scene = Rc<Vec<Instance>>;

/// Most values of a sketch, so that patterns that go around in a circle end.
const VALUES: usize = 400;

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source<'p> {
    /// Nothing computes it.
    Leaf(Leaf<'p>),
    /// A node computes it.
    Node,
}

/// A value that nothing computes.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf<'p> {
    /// The variable that it is bound to first, if any.
    pub(super) var: Option<VarId>,
    /// It must be an initializer.
    pub(super) constant: bool,
    /// It is filled with a number, in this scene.
    pub(super) number: Option<(Number<'p>, Scene)>,
    /// The number may have any shape.
    pub(super) full: bool,
}

/// A number that a constant is filled with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number<'p> {
    Var(VarId),
    Literal(&'p GExpr),
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct SketchNode<'p> {
    /// What the pattern says of it; nothing for a link of a chain.
    pub(super) op: Option<&'p Op>,
    pub(super) operator: &'p Operator,
    pub(super) inputs: Vec<Option<ValueRow>>,
    pub(super) outputs: Vec<ValueRow>,
    /// The pattern of each attribute, alternatives decided.
    pub(super) attributes: Vec<(&'p str, &'p AttributePattern)>,
    pub(super) scene: Scene,
    /// Where it is written; nothing for a link of a chain.
    pub(super) origin: Option<Span>,
    /// The graph it is in: 0 is the outermost one, then those of [`Sketch::bodies`].
    pub(super) home: usize,
    /// The graphs that it holds, by attribute.
    pub(super) bodies: Vec<(&'p str, usize)>,
}

/// A graph without shapes, types and numbers.
#[derive(Debug)]
pub(super) struct Sketch<'p> {
    pub(super) pattern: &'p Pattern,
    pub(super) values: Vec<Source<'p>>,
    /// In topological order.
    pub(super) nodes: Vec<SketchNode<'p>>,
    /// By instance.
    pub(super) bound: Vec<Option<Datum>>,
    /// What lists of attributes are collected from.
    pub(super) lists: BTreeMap<Instance, Vec<Instance>>,
    pub(super) constraints: Vec<(Constraint<'p>, Scene)>,
    pub(super) scene: Scene,
    pub(super) outputs: Vec<ValueRow>,
    /// The outputs of each graph that a node holds; they are counted from 1.
    pub(super) bodies: Vec<Vec<ValueRow>>,
    /// Where the numbers are written.
    pub(super) spans: Vec<Span>,
}

pub(super) struct Sketcher<'a, 'p> {
    pub(super) sketch: Sketch<'p>,
    decisions: &'a mut Decisions,
    random: Random,
    ask: Ask,
    holds: Vec<bool>,
    chosen: Vec<Option<ScopeId>>,
    /// Variables whose definitions are being built.
    meeting: Vec<VarId>,
    /// The graph that nodes are put into, and the one that belongs to a scope.
    home: usize,
    pub(super) homes: BTreeMap<ScopeId, usize>,
}

impl<'a, 'p> Sketcher<'a, 'p> {
    /// Builds the graph that the decisions lead to.
    pub(super) fn run(
        pattern: &'p Pattern,
        decisions: &'a mut Decisions,
        random: Random,
        ask: Ask,
    ) -> Result<Sketch<'p>, Stuck> {
        let scene: Scene = Rc::new((0..pattern.vars.len()).collect());
        let sketch = Sketch {
            pattern,
            values: Vec::new(),
            nodes: Vec::new(),
            bound: vec![None; pattern.vars.len()],
            lists: BTreeMap::new(),
            constraints: Vec::new(),
            scene,
            outputs: Vec::new(),
            bodies: Vec::new(),
            spans: Vec::new(),
        };
        let mut sketcher = Self {
            sketch,
            decisions,
            random,
            ask,
            holds: vec![false; pattern.scopes.len()],
            chosen: vec![None; pattern.choices.len()],
            meeting: Vec::new(),
            home: 0,
            homes: BTreeMap::new(),
        };
        sketcher.hold(Pattern::ROOT);
        let roots = pattern.roots.iter().chain(&pattern.outputs);
        for &root in roots {
            if !pattern.var(root).list {
                sketcher.var(root)?;
            }
        }
        while let Some(choice) = sketcher.open_choice() {
            sketcher.choose(choice);
        }
        let inputs = pattern.inputs.iter().filter(|var| {
            let declared = pattern.var(**var);
            !declared.optional && !declared.list
        });
        for &input in inputs {
            if sketcher.sketch.bound[input.index()].is_none() {
                return Err(Stuck::Dead);
            }
        }
        for &output in &pattern.outputs {
            match &sketcher.sketch.bound[output.index()] {
                Some(Datum::Value(row)) => sketcher.sketch.outputs.push(*row),
                Some(Datum::List(items)) => {
                    let rows = items.iter().filter_map(|item| match item {
                        Datum::Value(row) => Some(*row),
                        _ => None,
                    });
                    sketcher.sketch.outputs.extend(rows);
                }
                _ => {}
            }
        }
        Ok(sketcher.sketch)
    }

    pub(super) fn pattern(&self) -> &'p Pattern {
        self.sketch.pattern
    }

    fn instance(&self, var: VarId) -> Instance {
        self.sketch.scene[var.index()]
    }

    fn bound(&self, var: VarId) -> Option<&Datum> {
        self.sketch.bound[self.instance(var)].as_ref()
    }

    fn bind(&mut self, var: VarId, datum: Datum) {
        let at = self.instance(var);
        self.sketch.bound[at] = Some(datum);
    }

    fn value(&mut self, source: Source<'p>) -> Result<ValueRow, Stuck> {
        if self.sketch.values.len() >= VALUES {
            return Err(Stuck::Unsupported("it is too large to be written out".to_owned()));
        }
        self.sketch.values.push(source);
        Ok(ValueRow::new(self.sketch.values.len() - 1))
    }

    pub(super) fn hold(&mut self, scope: ScopeId) {
        if std::mem::replace(&mut self.holds[scope.index()], true) {
            return;
        }
        let pattern = self.pattern();
        let scope = pattern.scope(scope);
        let scene = self.sketch.scene.clone();
        let lets = scope.lets.iter().map(Constraint::Let);
        let guards = scope
            .guards
            .iter()
            .map(|guard| Constraint::Guard { condition: &guard.condition, soft: guard.soft });
        let all = lets.chain(guards).map(|constraint| (constraint, scene.clone()));
        self.sketch.constraints.extend(all);
    }

    /// A choice of a scope that holds and that is not taken.
    fn open_choice(&self) -> Option<ChoiceId> {
        let scopes = self.pattern().scopes.iter().zip(&self.holds);
        let choices = scopes.filter(|(_, holds)| **holds).flat_map(|(scope, _)| &scope.choices);
        choices.copied().find(|choice| self.chosen[choice.index()].is_none())
    }

    fn choose(&mut self, choice: ChoiceId) {
        let pattern = self.pattern();
        let branches = &pattern.choice(choice).branches;
        let allowed: Vec<ScopeId> = branches
            .iter()
            .copied()
            .filter(|branch| !self.ask.body || Some(*branch) != pattern.meaning)
            .collect();
        let at = self.decisions.take(Site::Choice(choice.index()), allowed.len());
        let Some(&branch) = allowed.get(at) else { return };
        self.chosen[choice.index()] = Some(branch);
        self.hold(branch);
    }

    pub(super) fn var(&mut self, var: VarId) -> Result<Option<ValueRow>, Stuck> {
        match self.bound(var) {
            Some(Datum::Value(row)) => return Ok(Some(*row)),
            Some(Datum::None) => return Ok(None),
            Some(_) => return Err(Stuck::Dead),
            None => {}
        }
        let pattern = self.pattern();
        let declared = pattern.var(var);
        if self.meeting.contains(&var) {
            return Err(Stuck::Unsupported("it refers to itself".to_owned()));
        }
        if let Some(original) = declared.copy_of
            && let Some(Datum::Value(row)) = self.bound(original).cloned()
            && self.decisions.take(Site::Copy(var.index()), 2) == 0
        {
            self.bind(var, Datum::Value(row));
            return Ok(Some(row));
        }
        for definition in &declared.definitions {
            while let Some(choice) = self.choice_above(definition.scope) {
                self.choose(choice);
            }
        }
        let mut holding = declared.definitions.iter().filter(|at| self.holds[at.scope.index()]);
        let Some(definition) = holding.next() else {
            let leaf = Leaf { var: Some(var), constant: declared.constant, ..Leaf::default() };
            let row = self.value(Source::Leaf(leaf))?;
            self.bind(var, Datum::Value(row));
            return Ok(Some(row));
        };
        if holding.next().is_some() {
            return Err(Stuck::Unsupported(format!("`{}` is said twice", declared.name)));
        }
        self.meeting.push(var);
        // What is met in a body may be computed around it.
        let home = self.home_of(definition.scope);
        let around = std::mem::replace(&mut self.home, home);
        let made = self.expr(definition.expr);
        self.home = around;
        self.meeting.pop();
        let made = made?;
        if self.bound(var).is_none() {
            self.bind(var, made.map_or(Datum::None, Datum::Value));
        }
        match self.bound(var) {
            Some(Datum::Value(row)) => Ok(Some(*row)),
            _ => Ok(None),
        }
    }

    /// The outermost choice above a scope that is not taken.
    fn choice_above(&self, scope: ScopeId) -> Option<ChoiceId> {
        let pattern = self.pattern();
        let mut open = None;
        let mut at = Some(scope);
        while let Some(scope) = at.filter(|scope| !self.holds[scope.index()]) {
            let choice = pattern.choices.iter().position(|choice| choice.branches.contains(&scope));
            let parent = pattern.scope(scope).parent;
            if let Some(choice) = choice {
                if self.chosen[choice].is_some() {
                    return None;
                }
                let around = parent.map(|parent| pattern.scope(parent).choices.as_slice());
                let named = around.unwrap_or_default().iter();
                open = named.copied().find(|named| named.index() == choice).or(open);
            }
            at = parent;
        }
        // Only what stands in a scope that holds can be taken now.
        open.filter(|_| at.is_some())
    }

    fn expr(&mut self, expr: ExprId) -> Result<Option<ValueRow>, Stuck> {
        let pattern = self.pattern();
        let number = |number, full, scene: &Scene| {
            let number = Some((number, scene.clone()));
            Source::Leaf(Leaf { constant: true, number, full, ..Leaf::default() })
        };
        match &pattern.expr(expr).kind {
            ExprKind::Any => self.value(Source::Leaf(Leaf::default())).map(Some),
            ExprKind::AnyOrAbsent => match self.decisions.take(Site::Expr(expr.index()), 2) {
                0 => self.value(Source::Leaf(Leaf::default())).map(Some),
                _ => Ok(None),
            },
            ExprKind::Absent => Ok(None),
            ExprKind::Var(var) => self.var(*var),
            ExprKind::Scalar(var) => {
                let source = number(Number::Var(*var), false, &self.sketch.scene);
                self.value(source).map(Some)
            }
            ExprKind::Constant { value, .. } => {
                self.sketch.spans.push(pattern.expr(expr).span);
                let source = number(Number::Literal(value), false, &self.sketch.scene);
                self.value(source).map(Some)
            }
            ExprKind::Full(inner) => {
                let inner = match &pattern.expr(*inner).kind {
                    ExprKind::Scalar(var) => Number::Var(*var),
                    ExprKind::Constant { value, .. } => Number::Literal(value),
                    other => unreachable!("`full` holds a number, not {other:?}"),
                };
                let source = number(inner, true, &self.sketch.scene);
                self.value(source).map(Some)
            }
            ExprKind::Optional(optional) => {
                if let ExprKind::Var(var) = pattern.expr(optional.present).kind
                    && self.bound(var).is_some()
                {
                    return self.var(var);
                }
                if self.decisions.take(Site::Expr(expr.index()), 2) == 0 {
                    return self.expr(optional.present);
                }
                self.leave_absent(&optional.absent);
                Ok(None)
            }
            ExprKind::Op(op) => self.op(op, expr).map(Some),
            ExprKind::Chain(chain) => self.chain(chain, expr).map(Some),
            ExprKind::Alt(alt) => {
                let at = self.decisions.take(Site::Expr(expr.index()), alt.branches.len());
                let branch = &alt.branches[at];
                // Before the operands: which of them are absent may be asked below.
                let made = self.expr(branch.expr)?;
                self.leave_absent(&branch.absent);
                let scene = self.sketch.scene.clone();
                let lets = branch.with.iter().map(Constraint::Let);
                let guard = branch.guard.iter();
                let guard = guard.map(|condition| Constraint::Guard { condition, soft: false });
                let all = lets.chain(guard).map(|constraint| (constraint, scene.clone()));
                self.sketch.constraints.extend(all);
                Ok(made)
            }
            ExprKind::Repeat(repeat) => {
                let least = u32::from(repeat.at_least_once);
                let more = self.decisions.take(Site::Expr(expr.index()), 3 - least as usize);
                let mut times = Vec::new();
                let made =
                    self.steps(expr, least + u32::try_from(more).unwrap_or(0), &mut times)?;
                self.gather(&repeat.collected, &times);
                Ok(made)
            }
            ExprKind::Scoped(scope, inner) => {
                self.hold(*scope);
                self.expr(*inner)
            }
        }
    }

    fn leave_absent(&mut self, vars: &[VarId]) {
        for &var in vars {
            if self.bound(var).is_none() {
                self.bind(var, Datum::None);
            }
        }
    }

    /// `count` steps of a repetition, the innermost first; their scenes are kept outermost first.
    fn steps(
        &mut self,
        expr: ExprId,
        count: u32,
        times: &mut Vec<Scene>,
    ) -> Result<Option<ValueRow>, Stuck> {
        let ExprKind::Repeat(repeat) = &self.pattern().expr(expr).kind else {
            unreachable!("only repetitions have steps")
        };
        let mut made = self.expr(repeat.last)?;
        for _ in 0..count {
            let Some(below) = made else { return Err(Stuck::Dead) };
            let fresh: Vec<VarId> = repeat.collected.iter().copied().chain([repeat.hole]).collect();
            let around = self.enter(repeat.step, &fresh);
            self.bind(repeat.hole, Datum::Value(below));
            let step = self.expr(repeat.step);
            times.insert(0, std::mem::replace(&mut self.sketch.scene, around));
            made = step?;
        }
        Ok(made)
    }

    /// Begins one time of what is matched several times; returns the scene to come back to.
    fn enter(&mut self, expr: ExprId, fresh: &[VarId]) -> Scene {
        for scope in scopes_below(self.pattern(), expr) {
            self.holds[scope.index()] = false;
            for choice in &self.pattern().scope(scope).choices {
                self.chosen[choice.index()] = None;
            }
        }
        let mut scene = (*self.sketch.scene).clone();
        for var in fresh {
            scene[var.index()] = self.sketch.bound.len();
            self.sketch.bound.push(None);
        }
        std::mem::replace(&mut self.sketch.scene, Rc::new(scene))
    }

    /// Binds lists to what was bound each time.
    fn gather(&mut self, collected: &[VarId], times: &[Scene]) {
        for &var in collected {
            if !self.pattern().var(var).list {
                continue;
            }
            let each: Vec<Instance> = times.iter().map(|scene| scene[var.index()]).collect();
            let values: Option<Vec<Datum>> =
                each.iter().map(|&at| self.sketch.bound[at].clone()).collect();
            match values {
                Some(values) => self.bind(var, Datum::List(values)),
                None => {
                    let at = self.instance(var);
                    self.sketch.lists.insert(at, each);
                }
            }
        }
    }

    fn op(&mut self, op: &'p Op, expr: ExprId) -> Result<ValueRow, Stuck> {
        let met = self.meeting.last().copied();
        let site = Site::Expr(expr.index());
        let operator = &op.operators[self.decisions.take(site, op.operators.len())];
        let mut inputs = Vec::new();
        for (at, arg) in op.args.iter().enumerate() {
            match arg {
                Arg::One(expr) => inputs.push(self.expr(*expr)?),
                Arg::Each { expr: each, collected } => {
                    let site = Site::Each(expr.index(), at);
                    let count = [2, 1, 3][self.decisions.take(site, 3)];
                    let mut times = Vec::new();
                    for _ in 0..count {
                        let around = self.enter(*each, collected);
                        let made = self.expr(*each);
                        times.push(std::mem::replace(&mut self.sketch.scene, around));
                        inputs.push(made?);
                    }
                    self.gather(collected, &times);
                }
            }
        }
        while let Some(None) = inputs.last() {
            inputs.pop();
        }
        if let Some(var) = op.bind {
            // There is no index of operators yet: the name is enough for comparisons.
            let name = format!("{}.{}", operator.domain, operator.name);
            self.bind(var, Datum::Opaque(name));
        }
        let (mut attributes, mut bodies) = (Vec::new(), Vec::new());
        for (at, attribute) in op.attributes.iter().enumerate() {
            let mut pattern = &attribute.pattern;
            if let AttributePattern::OneOf(options) = pattern {
                let site = Site::Each(expr.index(), 1000 + at);
                pattern = &options[self.decisions.take(site, options.len())];
            }
            if let AttributePattern::Graph(graph) = pattern {
                if operator.name != "If" || !graph.inputs.is_empty() {
                    let reason = format!("`{}` is a graph of `{}`", attribute.name, operator.name);
                    return Err(Stuck::Unsupported(reason));
                }
                bodies.push((attribute.name.as_str(), self.body(graph)?));
                continue;
            }
            attributes.push((attribute.name.as_str(), pattern));
        }
        let count = match &op.output {
            Output::Index(slot) => *slot as usize + 1,
            Output::Bind(vars) => vars.len(),
        };
        // Some results have to be there although no pattern asks for them.
        let versions = marquetry_ir::schema::versions(&operator.domain, &operator.name);
        let least = versions.last().map_or(0, |schema| schema.output_arity().0);
        let mut outputs = Vec::new();
        for _ in 0..count.max(least) {
            outputs.push(self.value(Source::Node)?);
        }
        if self.ask.commute && !op.exact && commutes(operator) && op.args.len() == inputs.len() {
            self.random.shuffle(&mut inputs);
        }
        let scene = self.sketch.scene.clone();
        let made = outputs.clone();
        let origin = Some(self.pattern().expr(expr).span);
        let op_node = SketchNode {
            op: Some(op),
            operator,
            inputs,
            outputs,
            attributes,
            scene,
            origin,
            home: self.home,
            bodies,
        };
        self.sketch.nodes.push(op_node);
        match &op.output {
            Output::Index(slot) => Ok(made[*slot as usize]),
            Output::Bind(vars) => {
                let mut result = None;
                for (&var, &row) in vars.iter().zip(&made) {
                    if self.pattern().var(var).list {
                        self.bind(var, Datum::List(vec![Datum::Value(row)]));
                    } else if self.bound(var).is_none() {
                        self.bind(var, Datum::Value(row));
                    }
                    if Some(var) == met {
                        result = Some(row);
                    }
                }
                result.ok_or(Stuck::Dead)
            }
        }
    }

    /// A tree of one operator; the bracketing and the order are drawn.
    fn chain(&mut self, chain: &'p Chain, expr: ExprId) -> Result<ValueRow, Stuck> {
        let mut leaves = Vec::new();
        for &operand in &chain.operands {
            let operand = self.expr(operand)?;
            leaves.push(operand.ok_or(Stuck::Dead)?);
        }
        if let Some(rest) = chain.rest {
            let more = self.decisions.take(Site::Expr(expr.index()), 3);
            let mut rows = Vec::new();
            for _ in 0..more {
                rows.push(self.value(Source::Leaf(Leaf::default()))?);
            }
            self.bind(rest, Datum::List(rows.iter().copied().map(Datum::Value).collect()));
            leaves.extend(rows);
        }
        if self.ask.commute {
            self.random.shuffle(&mut leaves);
        }
        while leaves.len() > 1 {
            let at = if self.ask.commute { self.random.below(leaves.len() - 1) } else { 0 };
            let right = leaves.remove(at + 1);
            let row = self.value(Source::Node)?;
            self.sketch.nodes.push(SketchNode {
                op: None,
                operator: &chain.operator,
                inputs: vec![Some(leaves[at]), Some(right)],
                outputs: vec![row],
                attributes: Vec::new(),
                scene: self.sketch.scene.clone(),
                origin: None,
                home: self.home,
                bodies: Vec::new(),
            });
            leaves[at] = row;
        }
        leaves.pop().ok_or(Stuck::Dead)
    }
}

fn commutes(operator: &Operator) -> bool {
    let versions = marquetry_ir::schema::versions(&operator.domain, &operator.name);
    versions.last().is_some_and(|schema| schema.facts.commutative())
}
