//! Draws graphs of one pattern, replaces what is found in them, and compares.

use std::collections::BTreeSet;

use marquetry_ir::schema::View;
use marquetry_ir::{DType, Evaluate, Graph, Model, ValueId, infer};
use marquetry_pattern::Span;
use marquetry_pattern::core::Pattern;
use marquetry_pattern::replacement::Verify;

use super::compare::{Judgement, Sides};
use super::run::Inputs;
use super::suggest::Candidates;
use super::values::Class;
use super::{
    Counterexample, Difference, NotReached, Status, Verdict, VerifyOptions, mutate, shrink,
    tolerance, values,
};
use crate::found::Match;
use crate::generate::{Alternative, Ask, Drawn, Generator, Open, Random, Stuck, Variant};
use crate::rewrite::{Refusal, Step, Way, replace};

/// Samples where neither the pattern nor the caller says how many.
const SAMPLES: u64 = 128;

/// Draws for one variant, for each sample that is wanted of it.
const PATIENCE: u64 = 12;

/// Draws for a mutant.
const MUTANT_DRAWS: usize = 240;

/// Less than one sample in this many that can be compared is too few.
const COMPARED: u64 = 20;

/// Less than one draw in this many that satisfies the conditions is too few.
const ACCEPTANCE: u64 = 100;

/// One pattern under trial.
pub(super) struct Trial<'a, 'p> {
    pub(super) pattern: &'p Pattern,
    pub(super) way: Way,
    pub(super) evaluate: &'a dyn Evaluate,
    pub(super) seed: u64,
}

/// A graph with what it was replaced by.
struct Pair {
    drawn: Drawn,
    right: Option<Graph>,
    found: Match,
    /// The rewriter would not replace it, because the types differ.
    refused: Option<Difference>,
}

/// Why there is no pair.
enum Skip {
    Stuck(Stuck),
    NoMatch,
    Refused(Refusal),
}

/// A sample that fails.
struct Failure {
    pair: Pair,
    inputs: Inputs,
    difference: Difference,
    variant: usize,
}

impl<'a, 'p> Trial<'a, 'p> {
    fn generator(&self) -> Generator<'a, 'p> {
        Generator::new(self.pattern, self.evaluate, self.seed)
    }

    fn step(&self) -> Step<'p> {
        Step { pattern: self.pattern, way: self.way }
    }

    /// Draws a graph, matches it and replaces the match.
    fn pair(&self, variant: &Variant, sample: u64, ask: Ask) -> Result<Pair, Skip> {
        let mut drawn = self.generator().draw(variant, sample, ask).map_err(Skip::Stuck)?;
        let mut random = Random::new(&[self.seed, 5, sample]);
        values::narrow_constants(&mut drawn, self.pattern, &mut random, self.evaluate);
        let types = infer::run(&drawn.model);
        let options = crate::Options::default();
        let matches = crate::find(&drawn.model, &types, [self.pattern], &options);
        let found = matches.matches.iter().find(|found| found.outputs == drawn.outputs).cloned();
        let Some(found) = found else { return Err(Skip::NoMatch) };
        let mut model: Model = drawn.model.clone();
        match replace(&mut model, &types, &matches, &found, self.step(), self.evaluate) {
            Ok(_) => Ok(Pair { drawn, right: Some(model.graph), found, refused: None }),
            Err(refusal @ (Refusal::Dtype { .. } | Refusal::Shape { .. })) => {
                let refused = Some(Difference::Type(refusal.to_string()));
                Ok(Pair { drawn, right: None, found, refused })
            }
            Err(refusal) => Err(Skip::Refused(refusal)),
        }
    }

    fn inputs(&self, pair: &Pair, class: Class, sample: u64) -> Option<Inputs> {
        let mut random = Random::new(&[self.seed, 6, sample, class as u64]);
        let graph = &pair.drawn.model.graph;
        values::inputs(&pair.drawn, graph, self.pattern, class, &mut random, self.evaluate)
    }

    fn judge(&self, pair: &Pair, inputs: &Inputs) -> Judgement {
        if let Some(refused) = &pair.refused {
            return Judgement::Different(refused.clone());
        }
        let Some(right) = &pair.right else { return Judgement::NotRun("not replaced".to_owned()) };
        let casts = self.way == Way::Fuse;
        let sides = Sides { left: &pair.drawn.model.graph, right, casts };
        sides.judge((inputs, inputs), self.evaluate, tolerance(self.pattern))
    }

    pub(super) fn run(&self, options: &VerifyOptions, verdict: &mut Verdict) {
        let ask = Ask { commute: true, body: true, readers: true, ..Ask::default() };
        let generator = self.generator();
        let variants = generator.variants(ask);
        let own = match &self.pattern.verify {
            Some(Verify::On { samples, .. }) => *samples,
            _ => None,
        };
        let wanted = options.samples.or(own).unwrap_or(SAMPLES);
        let each = wanted.div_ceil(variants.variants.len().max(1) as u64).clamp(2, 1 << 16);
        let (mut draws, mut accepted) = (0_u64, 0_u64);
        let mut reached: BTreeSet<Alternative> = BTreeSet::new();
        let mut candidates = Candidates::new(self.pattern);
        let mut failure: Option<Failure> = None;
        let (mut failed, mut compared) = (0, 0);
        let mut covered = 0;
        // What is random, where it could not be compared for that.
        let mut random: Option<String> = None;
        let mut varied: BTreeSet<Open> = BTreeSet::new();
        let mut origins = BTreeSet::new();
        for (at, variant) in variants.variants.iter().enumerate() {
            let mut left = each;
            let mut seen = false;
            for sample in 0..each.saturating_mul(PATIENCE) {
                if left == 0 || (failure.is_some() && compared > 4 * SAMPLES) {
                    break;
                }
                draws += 1;
                // By turns in `double` and in whatever real models use.
                let dtype = sample.is_multiple_of(2).then_some(DType::Double);
                let pair = match self.pair(variant, sample, Ask { dtype, ..ask }) {
                    Ok(pair) => pair,
                    Err(Skip::Stuck(Stuck::Rejected)) => continue,
                    Err(skip) => {
                        accepted += 1;
                        verdict.skip(skip.text());
                        if matches!(skip, Skip::Stuck(_)) && !seen {
                            break;
                        }
                        continue;
                    }
                };
                accepted += 1;
                let mut agreed = false;
                let mut wrong = false;
                let turn = Class::ALL[1 + (sample as usize + at) % (Class::ALL.len() - 1)];
                let wide = pair.narrows().then_some(Class::Wide);
                for class in [Class::Normal, turn].into_iter().chain(wide) {
                    let Some(inputs) = self.inputs(&pair, class, sample) else { continue };
                    let judgement = self.judge(&pair, &inputs);
                    let count =
                        if dtype.is_some() { &mut verdict.algebra } else { &mut verdict.native };
                    match judgement {
                        Judgement::Same(worst) => *count = (count.0 + 1, count.1.max(worst)),
                        Judgement::Rounding(worst) => {
                            if worst.is_finite() {
                                count.1 = count.1.max(worst);
                            }
                            count.0 += 1;
                            verdict.rounding += 1;
                        }
                        Judgement::NotRun(reason) => {
                            verdict.skip(reason);
                            random = random.or_else(|| pair.random());
                            // What only special numbers show is no sample.
                            break;
                        }
                        Judgement::Different(difference) => {
                            wrong = true;
                            let smaller = |known: &Failure| {
                                shrink::size(&pair.drawn.model.graph)
                                    < shrink::size(&known.pair.drawn.model.graph)
                            };
                            if failure.as_ref().is_none_or(smaller) {
                                let pair = pair.copy();
                                failure = Some(Failure { pair, inputs, difference, variant: at });
                            }
                        }
                    }
                    agreed = true;
                    if wrong {
                        break;
                    }
                }
                if agreed {
                    compared += 1;
                    failed += u64::from(wrong);
                    left -= 1;
                    seen = true;
                    reached.extend(pair.drawn.alternatives());
                    varied.extend(pair.drawn.varied.iter().cloned());
                    origins.extend(pair.drawn.origins.iter().cloned());
                    if wrong || compared <= SAMPLES {
                        candidates.add(&pair.drawn.model, &pair.found, wrong);
                    }
                }
            }
            covered += usize::from(seen);
        }
        verdict.variants = (covered, variants.variants.len());
        verdict.complete = variants.complete;
        verdict.samples = compared;
        let all = generator.alternatives(&variants, ask);
        for alternative in all.difference(&reached) {
            let (span, what) = generator.describe(*alternative);
            let missed = NotReached { span, what };
            if !verdict.not_reached.contains(&missed) {
                verdict.not_reached.push(missed);
            }
        }
        for open in generator.open().difference(&varied) {
            // What is not there at all is missed above.
            if !origins.contains(&(open.span, open.operator.clone())) {
                continue;
            }
            let what = format!("another `{}` of `{}`", open.attribute, open.operator);
            let missed = NotReached { span: open.span, what };
            if !verdict.not_reached.contains(&missed) {
                verdict.not_reached.push(missed);
            }
        }
        verdict.status = if failure.is_some() {
            Status::Wrong
        } else if compared == 0 {
            Status::NotVerified("no sample could be compared".to_owned())
        } else if let Some(name) = random {
            // The rest says nothing of what it does.
            Status::NotVerified(format!("`{name}` is random in some samples"))
        } else if compared * COMPARED < accepted {
            Status::NotVerified(format!("only {compared} of {accepted} samples could be compared"))
        } else if accepted * ACCEPTANCE < draws {
            Status::NotVerified(format!("only {accepted} of {draws} draws satisfy the conditions"))
        } else {
            Status::Verified
        };
        if let Some(failure) = failure {
            verdict.counterexample = Some(self.shrink(failure, (failed, compared), &candidates));
        }
    }

    /// Makes a failing sample small.
    fn shrink(
        &self,
        mut failure: Failure,
        failed: (u64, u64),
        candidates: &Candidates<'_>,
    ) -> Counterexample {
        let pair = &failure.pair;
        let still = |inputs: &Inputs| match self.judge(pair, inputs) {
            Judgement::Different(difference) => Some(difference),
            _ => None,
        };
        let positive: Vec<_> = pair
            .drawn
            .given
            .iter()
            .filter(|given| given.positive || given.held.is_some())
            .map(|given| given.value)
            .collect();
        shrink::values(&mut failure.inputs, &positive, self.evaluate, &mut |inputs| {
            still(inputs).is_some()
        });
        let difference = still(&failure.inputs).unwrap_or(failure.difference);
        let model = &pair.drawn.model;
        let mut loose = model.clone();
        shrink::loosen(&mut loose.graph);
        // What the rewriter sees and refuses it does not see where lengths have no numbers.
        let unseen = pair.refused.is_some() && self.is_replaced(&loose);
        let graph = if unseen { &loose.graph } else { &model.graph };
        let mut remarks = vec![difference.to_string()];
        if pair.refused.is_some() && !unseen {
            remarks.push("the rewriter sees it and replaces nothing, so this passes".to_owned());
        }
        let test = shrink::test(self.pattern, graph, &failure.inputs, &remarks);
        let suggestion = candidates.best().map(|(text, _)| text);
        Counterexample { difference, test, failed, suggestion, variant: failure.variant }
    }

    /// Whether the rewriter replaces anything in a model.
    fn is_replaced(&self, model: &Model) -> bool {
        let types = infer::run(model);
        let matches = crate::find(model, &types, [self.pattern], &crate::Options::default());
        matches.matches.iter().any(|found| {
            let mut model = model.clone();
            replace(&mut model, &types, &matches, found, self.step(), self.evaluate).is_ok()
        })
    }

    /// Tries whether wrong patterns are noticed.
    pub(super) fn mutants(&self, verdict: &mut Verdict) {
        for mutant in mutate::mutants(self.pattern) {
            let trial = Trial { pattern: &mutant.pattern, ..*self };
            verdict.mutants.1 += 1;
            if trial.is_noticed(mutant.span) {
                verdict.mutants.0 += 1;
            } else {
                verdict.survivors.push((mutant.span, mutant.what.to_owned()));
            }
        }
    }

    fn is_noticed(&self, span: Span) -> bool {
        let ask = Ask { body: true, readers: true, ..Ask::default() };
        let generator = self.generator();
        let variants = generator.variants(ask).variants;
        // Those with the number in them come first; a condition that is gone may be felt anywhere.
        let (near, far): (Vec<_>, Vec<_>) =
            variants.iter().partition(|variant| generator.mentions(variant, ask, span));
        let order: Vec<&Variant> = if near.is_empty() { far } else { near };
        for draw in 0..MUTANT_DRAWS {
            let Some(variant) = order.get(draw % order.len().max(1)) else { return false };
            let sample = draw as u64;
            // Conditions on types are felt in other types than `double`.
            let dtype = (draw % 3 != 2).then_some(DType::Double);
            let pair = match self.pair(variant, sample, Ask { dtype, ..ask }) {
                Ok(pair) => pair,
                // It would not be emitted, but only because something else looks.
                Err(Skip::Refused(
                    Refusal::Evaluate(_) | Refusal::WrongKind { .. } | Refusal::NotKnown { .. },
                )) => return true,
                Err(_) => continue,
            };
            for class in [Class::Normal, Class::Edges] {
                let Some(inputs) = self.inputs(&pair, class, sample) else { continue };
                if let Judgement::Different(_) = self.judge(&pair, &inputs) {
                    return true;
                }
            }
        }
        false
    }
}

impl Pair {
    /// Whether the left side may cut off digits of integers.
    fn narrows(&self) -> bool {
        let graph = &self.drawn.model.graph;
        let wide = |input: &ValueId| {
            let dtype = graph.value(*input).tensor_type().and_then(|ty| ty.dtype);
            matches!(dtype, Some(DType::Int32 | DType::Int64))
        };
        let mut nodes = graph.nodes();
        nodes.any(|node| graph.node(node).is_onnx("Cast")) && graph.inputs.iter().any(wide)
    }

    /// The name of an operator that gives other results in every run, on either side.
    fn random(&self) -> Option<String> {
        let sides = [Some(&self.drawn.model.graph), self.right.as_ref()];
        sides.into_iter().flatten().find_map(|graph| {
            let types = infer::run_graph(graph);
            let mut nodes = graph.nodes().filter(|node| !View::new(graph, &types, *node).pure());
            nodes.next().map(|node| graph.node(node).op_type.clone())
        })
    }

    fn copy(&self) -> Self {
        Self {
            drawn: self.drawn.clone(),
            right: self.right.clone(),
            found: self.found.clone(),
            refused: self.refused.clone(),
        }
    }
}

impl Skip {
    fn text(&self) -> String {
        match self {
            Self::Stuck(Stuck::Rejected) => "the conditions do not hold".to_owned(),
            Self::Stuck(Stuck::Dead) => "the alternatives exclude each other".to_owned(),
            Self::Stuck(Stuck::Unsupported(reason)) => reason.clone(),
            Self::NoMatch => "the pattern does not match what was made from it".to_owned(),
            Self::Refused(refusal) => format!("not replaced: {refusal}"),
        }
    }
}
