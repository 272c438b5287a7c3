//! Concrete small graphs from a pattern: one for each way its body can be written, with shapes, types,
//! attributes and constants that its conditions admit.
//!
//! Core is read backwards, from the outputs to the inputs. Where it has alternatives a decision is
//! taken; the decisions are a [`Variant`]. Then shapes, types, attributes and numbers are chosen node
//! by node while the nodes are run: equations of the conditions are turned around, what is left is
//! drawn and rejected. What cannot be written out is [`Stuck`], with a reason, and never a success.
//!
//! Random choices depend on the seed, the variant and the number of the sample alone.

mod attributes;
mod body;
mod decide;
mod domain;
mod fill;
mod leaf;
mod operand;
mod opset;
mod position;
mod random;
mod sketch;
mod solve;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::check::{self, Severity};
use marquetry_ir::{DType, Evaluate, Model, Tensor, ValueId, schema};
use marquetry_pattern::Span;
use marquetry_pattern::core::{Arg, AttributePattern, ExprKind, Kind, Others, Pattern, VarId};
use marquetry_pattern::replacement::{Sampler, Verify};

use self::decide::{Decisions, Pairs, Site};
pub(crate) use self::fill::tensor;
pub(crate) use self::leaf::numbers;
pub(crate) use self::random::Random;
use self::sketch::{Sketch, Sketcher};
use crate::datum::Datum;
use crate::found::{Bound, Match};

/// Up to this many combinations of alternatives are all tried; of more, enough to see all pairs.
const COMBINATIONS: usize = 256;

/// Random combinations that are looked at for pairs that no variant has.
const TRIALS: usize = 400;

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// The choices of this sample do not fit: another one may do.
    Rejected,
    /// The alternatives of this variant exclude each other.
    Dead,
    /// The generator does not know how, in words.
    Unsupported(String),
}

/// What kind of graph is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// The element type of what may have any; drawn if it is not given.
    pub dtype: Option<DType>,
    /// Whether to vary what does not matter: the order of operands, brackets, how axes are counted,
    /// whether defaults are written, the rank of constants.
    pub commute: bool,
    /// Whether to leave out the meaning as a spelling.
    pub body: bool,
    /// Whether there are nodes around.
    pub context: bool,
    /// Whether outputs are read by a node, so that they may be replaced by inputs.
    pub readers: bool,
}

/// One way to write the body of a pattern.
#[derive(Clone, Debug)]
pub struct Variant(Decisions);

/// The ways to write the body of a pattern, as far as they are tried.
#[derive(Clone, Debug, Default)]
pub struct Variants {
    /// The ways.
    pub variants: Vec<Variant>,
    /// Whether these are all there are.
    pub complete: bool,
}

/// One alternative of a pattern: where it is written, and which one of how many it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative {
    site: Site,
    taken: usize,
}

/// A value of a generated graph that nothing computes.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) value: ValueId,
    pub(crate) var: Option<VarId>,
    pub(crate) positive: bool,
    /// Its content decides shapes, or is a number of the pattern.
    pub(crate) fixed: bool,
    /// What an input has to be: positions, which other numbers are not.
    pub(crate) held: Option<Tensor>,
}

/// An attribute that a pattern leaves open, `...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Open {
    /// Where the operator is written.
    pub(crate) span: Span,
    pub(crate) operator: String,
    pub(crate) attribute: &'static str,
}

/// A generated graph.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The graph as a model.
    pub model: Model,
    /// What the pattern's outputs are in it.
    pub outputs: Vec<ValueId>,
    /// What the header's attributes and inputs are in it.
    pub bindings: Vec<(String, Bound)>,
    /// Nodes that the pattern describes.
    pub nodes: usize,
    /// Whether every node could be run.
    pub runs: bool,
    pub(crate) given: Vec<Given>,
    pub(crate) alternatives: BTreeSet<Alternative>,
    /// Open attributes that are not their defaults here.
    pub(crate) varied: BTreeSet<Open>,
    /// Where its operators are written.
    pub(crate) origins: BTreeSet<(Span, String)>,
}

/// Generates graphs from one pattern.
#[derive(Clone, Copy)]
pub struct Generator<'a, 'p> {
    pattern: &'p Pattern,
    evaluate: &'a dyn Evaluate,
    seed: u64,
}

impl<'a, 'p> Generator<'a, 'p> {
    /// A generator of graphs of a pattern, which runs them on `evaluate` to know shapes.
    pub fn new(pattern: &'p Pattern, evaluate: &'a dyn Evaluate, seed: u64) -> Self {
        // Patterns of one file are not to draw the same numbers.
        let name = pattern
            .name
            .bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Self { pattern, evaluate, seed: name }
    }

    /// The ways to write the body: all of them if they are few, otherwise every alternative with every
    /// other one, as far as chance finds them.
    pub fn variants(&self, ask: Ask) -> Variants {
        let ask = Ask { commute: false, ..ask };
        let mut found = Variants::default();
        let mut next = Some(Decisions::default());
        let mut tried = 0;
        while let Some(mut decisions) = next {
            tried += 1;
            if tried > COMBINATIONS {
                return self.pairs(ask);
            }
            if self.sketch(&mut decisions, ask, 0).is_ok() {
                found.variants.push(Variant(decisions.again()));
            }
            next = decisions.next();
        }
        found.complete = true;
        found
    }

    fn pairs(&self, ask: Ask) -> Variants {
        let mut found = Variants::default();
        let mut pairs = Pairs::default();
        let mut seen: BTreeMap<Site, BTreeSet<usize>> = BTreeMap::new();
        let mut counts: BTreeMap<Site, usize> = BTreeMap::new();
        let mut attempt = |trial: usize, given: BTreeMap<Site, usize>, found: &mut Variants| {
            let random = Random::new(&[self.seed, 1, trial as u64]);
            let mut decisions = Decisions::random(random, given);
            let made = self.sketch(&mut decisions, ask, 0).is_ok();
            for (site, _, count) in &decisions.taken {
                counts.insert(*site, *count);
            }
            if made && pairs.add(&decisions) && found.variants.len() < COMBINATIONS {
                for (site, at, _) in &decisions.taken {
                    seen.entry(*site).or_default().insert(*at);
                }
                found.variants.push(Variant(decisions.again()));
            }
            let missing = counts.iter().flat_map(|(site, count)| {
                let seen = seen.get(site);
                (0..*count)
                    .filter(move |at| seen.is_none_or(|seen| !seen.contains(at)))
                    .map(|at| (*site, at))
            });
            missing.collect::<Vec<_>>()
        };
        let mut missing = Vec::new();
        for trial in 0..TRIALS {
            missing = attempt(trial, BTreeMap::new(), &mut found);
        }
        // What chance did not meet is asked for.
        for (at, (site, taken)) in missing.into_iter().enumerate() {
            for retry in 0..4 {
                attempt(TRIALS + 4 * at + retry, BTreeMap::from([(site, taken)]), &mut found);
            }
        }
        found
    }

    fn sketch(
        &self,
        decisions: &mut Decisions,
        ask: Ask,
        sample: u64,
    ) -> Result<Sketch<'p>, Stuck> {
        let random = Random::new(&[self.seed, 2, sample]);
        Sketcher::run(self.pattern, decisions, random, ask)
    }

    /// A graph of a variant; another one for each number of the sample.
    ///
    /// # Errors
    ///
    /// When the choices of this sample do not fit, or the generator does not know how.
    pub fn draw(&self, variant: &Variant, sample: u64, ask: Ask) -> Result<Drawn, Stuck> {
        let mut decisions = variant.0.clone();
        let sketch = self.sketch(&mut decisions, ask, sample)?;
        let random = Random::new(&[self.seed, 3, sample]);
        let samplers = self.samplers();
        let mut fill = fill::Fill::new(&sketch, self.evaluate, random, ask, samplers)?;
        fill.run()?;
        let mut drawn = write::model(&fill)?;
        // Types that an operator does not admit make no model: there is nothing to find in it.
        let violations = check::run_graph(&drawn.model.graph);
        if violations.iter().any(|violation| violation.severity == Severity::Error) {
            return Err(Stuck::Rejected);
        }
        let taken = decisions.taken.iter();
        drawn.alternatives =
            taken.map(|(site, taken, _)| Alternative { site: *site, taken: *taken }).collect();
        Ok(drawn)
    }

    /// What the `verify` block narrows contents of attributes to.
    fn samplers(&self) -> Vec<(VarId, Vec<Datum>)> {
        let Some(Verify::On { samplers, .. }) = &self.pattern.verify else { return Vec::new() };
        let mut random = Random::new(&[self.seed, 4]);
        let items = samplers.iter().filter_map(|(var, sampler)| {
            // Values are drawn elsewhere.
            if self.pattern.var(*var).kind != Kind::Attribute {
                return None;
            }
            let items = match sampler {
                Sampler::OneOf(list) => constants(list)?,
                Sampler::Range(low, high) => (*low..=*high).take(64).map(Datum::Int).collect(),
                Sampler::Distribution(name, parameters) => (0..16)
                    .map(|_| distribution(name, parameters, &mut random))
                    .map(|number| number.map(|number| Datum::float(f64::from(number as f32))))
                    .collect::<Option<_>>()?,
            };
            Some((*var, items))
        });
        items.collect()
    }

    /// The alternatives that these variants take or pass by.
    pub fn alternatives(&self, variants: &Variants, ask: Ask) -> BTreeSet<Alternative> {
        let mut all = BTreeSet::new();
        for variant in &variants.variants {
            let mut decisions = variant.0.clone();
            // Sketching fills in what was passed by.
            if self.sketch(&mut decisions, Ask { commute: false, ..ask }, 0).is_ok() {
                for (site, _, count) in decisions.taken {
                    all.extend((0..count).map(|taken| Alternative { site, taken }));
                }
            }
        }
        all
    }

    /// The attributes that the pattern leaves open, and that may say what the other ones do not.
    pub(crate) fn open(&self) -> BTreeSet<Open> {
        let mut open = BTreeSet::new();
        for expr in &self.pattern.exprs {
            let ExprKind::Op(op) = &expr.kind else { continue };
            for operator in &op.operators {
                let versions = schema::versions(&operator.domain, &operator.name);
                let Some(schema) = versions.last() else { continue };
                let free = |pattern: &AttributePattern| {
                    matches!(pattern, AttributePattern::Any | AttributePattern::Bind(_))
                };
                let named = |name: &str| op.attributes.iter().any(|it| it.name == name);
                let free = op.attributes.iter().filter(|it| free(&it.pattern));
                let free: BTreeSet<&str> = free.map(|it| it.name.as_str()).collect();
                let is_input = |name: &str| {
                    let input = schema.parameter(name).and_then(|parameter| parameter.input);
                    let slot = input.and_then(|input| schema.input(input));
                    slot.is_some_and(|slot| slot < op.args.len().max(schema.input_arity().0))
                };
                let names = schema.attribute_names().into_iter();
                let names = names.filter(|name| {
                    let required = schema.attribute(name).is_some_and(|it| it.required);
                    let open = op.others != Others::Default && !named(name);
                    let open = open || free.contains(name);
                    open && !is_input(name) && !required && !domain::restates(schema, name)
                });
                open.extend(names.map(|attribute| Open {
                    span: expr.span,
                    operator: operator.name.clone(),
                    attribute,
                }));
            }
        }
        open
    }

    /// Whether a variant has a number or a condition that is written there.
    pub fn mentions(&self, variant: &Variant, ask: Ask, span: Span) -> bool {
        let mut decisions = variant.0.clone();
        let Ok(sketch) = self.sketch(&mut decisions, ask, 0) else { return false };
        sketch.spans.contains(&span)
            || sketch.constraints.iter().any(|(constraint, _)| match constraint {
                crate::plan::Constraint::Guard { condition, .. } => condition.span == span,
                _ => false,
            })
    }

    /// Where an alternative is written, and what it is.
    pub fn describe(&self, alternative: Alternative) -> (Span, String) {
        let pattern = self.pattern;
        let taken = alternative.taken;
        let nth = |count: usize| format!("alternative {} of {count}", taken + 1);
        match alternative.site {
            Site::Choice(choice) => {
                let branches = &pattern.choices[choice].branches;
                let branch = branches.get(taken).or(branches.last());
                let span = branch.map_or(pattern.span, |branch| pattern.scope(*branch).span);
                (span, nth(branches.len()))
            }
            Site::Copy(var) => {
                let what = if taken == 0 { "the same node" } else { "a node of its own" };
                (pattern.vars[var].span, what.to_owned())
            }
            Site::Each(expr, at) => {
                let each = match &pattern.exprs[expr].kind {
                    ExprKind::Op(op) => matches!(op.args.get(at), Some(Arg::Each { .. })),
                    _ => false,
                };
                let what =
                    if each { format!("{} inputs", [2, 1, 3][taken.min(2)]) } else { nth(2) };
                (pattern.exprs[expr].span, what)
            }
            Site::Expr(expr) => match &pattern.exprs[expr].kind {
                ExprKind::Alt(alt) => match alt.branches.get(taken) {
                    Some(branch) => (pattern.expr(branch.expr).span, nth(alt.branches.len())),
                    None => (pattern.exprs[expr].span, nth(alt.branches.len())),
                },
                ExprKind::Repeat(repeat) => {
                    let steps = taken + usize::from(repeat.at_least_once);
                    (pattern.exprs[expr].span, format!("{steps} steps"))
                }
                ExprKind::Op(op) => {
                    let name = op.operators.get(taken).map_or("?", |op| op.name.as_str());
                    (pattern.exprs[expr].span, name.to_owned())
                }
                ExprKind::Chain(_) => (pattern.exprs[expr].span, format!("{taken} more operands")),
                _ => {
                    let what = if taken == 0 { "present" } else { "absent" };
                    (pattern.exprs[expr].span, what.to_owned())
                }
            },
        }
    }
}

/// The numbers of a list of literals.
pub(crate) fn constants(list: &marquetry_pattern::gexpr::GExpr) -> Option<Vec<Datum>> {
    let literal = |expr: &marquetry_pattern::gexpr::GExpr| Nowhere.literal(expr);
    match literal(list)? {
        Datum::List(items) => Some(items),
        _ => None,
    }
}

/// Evaluates literals: nothing is bound.
struct Nowhere;

impl Nowhere {
    fn literal(&self, expr: &marquetry_pattern::gexpr::GExpr) -> Option<Datum> {
        use crate::compute::World as _;
        let known = self.evaluate(expr);
        (!known.is_open()).then_some(known)
    }
}

impl crate::compute::World for Nowhere {
    fn look_up(&self, _var: VarId) -> Datum {
        Datum::Unbound
    }

    fn dtype(&self, _value: crate::index::ValueRow) -> Option<DType> {
        None
    }

    fn shape(
        &self,
        _value: crate::index::ValueRow,
    ) -> Option<std::borrow::Cow<'_, [marquetry_ir::Dim]>> {
        None
    }

    fn known(&self, _value: crate::index::ValueRow) -> Option<&marquetry_ir::Tensor> {
        None
    }

    fn is_constant(&self, _value: crate::index::ValueRow) -> bool {
        false
    }

    fn same_value(&self, a: crate::index::ValueRow, b: crate::index::ValueRow) -> bool {
        a == b
    }

    fn uses(&self, _value: crate::index::ValueRow) -> Option<usize> {
        None
    }

    fn matches(
        &self,
        _pattern: marquetry_pattern::core::ExprId,
        _at: Option<crate::index::ValueRow>,
    ) -> Option<bool> {
        None
    }
}

/// A number of a named distribution.
pub(crate) fn distribution(name: &str, parameters: &[f64], random: &mut Random) -> Option<f64> {
    match (name, parameters) {
        ("uniform", [low, high]) => Some(random.uniform(*low, *high)),
        ("normal", [mean, deviation]) => Some(mean + deviation * random.normal()),
        ("normal", []) => Some(random.normal()),
        _ => None,
    }
}

impl Drawn {
    /// The alternatives that were taken.
    pub fn alternatives(&self) -> &BTreeSet<Alternative> {
        &self.alternatives
    }

    /// The match of a pattern, prepared for a search, whose outputs are those of this graph.
    pub fn find(&self, pattern: &Pattern) -> Option<Match> {
        let types = marquetry_ir::infer::run(&self.model);
        let options = crate::Options::default();
        let matches = crate::find(&self.model, &types, [pattern], &options);
        matches.matches.into_iter().find(|found| found.outputs == self.outputs)
    }
}
