//! Checks single replacements in a model.

use std::collections::BTreeMap;

use marquetry_ir::{Evaluate, Graph, ValueId, infer};

use super::compare::{Judgement, Sides};
use super::run::Inputs;
use super::values::made_up;
use super::within::{Bounds, bounds};
use crate::generate::{Random, tensor};
use crate::rewrite::{Checked, Step, VerifyEach, Way};

/// Lengths of axes that have no number.
const LENGTHS: [usize; 4] = [3, 5, 2, 7];

/// Inputs that are tried for each replacement.
const RUNS: u64 = 2;

/// Elements of one input at most: what is larger is not run, and is not refused.
const LARGEST: usize = 1 << 20;

/// Runs what was matched and what is to replace it on small random inputs, with the constants and
/// shapes of the model. What cannot be run is let through, and is said to be
/// [not compared](Checked::NotCompared), unless it is to be strict.
#[derive(Clone, Copy)]
pub struct Each<'e> {
    /// Runs the operators.
    pub evaluate: &'e dyn Evaluate,
    /// Decides the inputs.
    pub seed: u64,
    /// Whether what cannot be run is refused.
    pub strict: bool,
}

impl VerifyEach for Each<'_> {
    fn verify(&self, step: Step<'_>, before: &Graph, after: &Graph) -> Result<Checked, String> {
        let tolerance = super::tolerance(step.pattern);
        for run in 0..RUNS {
            let mut random = Random::new(&[self.seed, run]);
            let Some(inputs) = self.inputs((before, after), run, &mut random) else {
                let reason = "the type of an input is not known, or it is very large";
                return Ok(Checked::NotCompared(reason.to_owned()));
            };
            // The values of the two graphs have ids of their own.
            let pairs = before.inputs.iter().zip(&after.inputs);
            let others: Inputs = pairs.map(|(a, b)| (*b, inputs[a].clone())).collect();
            let sides = Sides { left: before, right: after, casts: step.way == Way::Fuse };
            match sides.judge((&inputs, &others), self.evaluate, tolerance) {
                Judgement::Same(_) | Judgement::Rounding(_) => {}
                Judgement::NotRun(reason) => return Ok(Checked::NotCompared(reason)),
                Judgement::Different(difference) => return Err(difference.to_string()),
            }
        }
        Ok(Checked::Same)
    }

    fn is_strict(&self) -> bool {
        self.strict
    }
}

fn bounds_of(graph: &Graph) -> BTreeMap<ValueId, Bounds> {
    bounds(graph, &infer::run_graph(graph))
}

impl Each<'_> {
    fn inputs(
        &self,
        (graph, after): (&Graph, &Graph),
        run: u64,
        random: &mut Random,
    ) -> Option<Inputs> {
        let types = infer::run_graph(graph);
        let bounds = bounds(graph, &types);
        // Both sides have to take them.
        let others = bounds_of(after);
        let pairs: BTreeMap<_, _> = graph.inputs.iter().zip(&after.inputs).collect();
        let mut symbols: BTreeMap<String, usize> = BTreeMap::new();
        let mut inputs = Inputs::new();
        for &input in &graph.inputs {
            let dtype = types.dtype(input)?;
            let mut dims = Vec::new();
            for dim in types.shape(input)? {
                dims.push(match dim {
                    marquetry_ir::Dim::Known(length) => usize::try_from(*length).ok()?,
                    marquetry_ir::Dim::Symbol(name) => {
                        let next = LENGTHS[symbols.len() % LENGTHS.len()];
                        *symbols.entry(name.to_string()).or_insert(next)
                    }
                    marquetry_ir::Dim::Unknown => return None,
                });
            }
            let count = dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))?;
            if count > LARGEST {
                return None;
            }
            let pair = pairs.get(&input).and_then(|other| others.get(*other));
            let both = bounds.get(&input).into_iter().chain(pair).copied();
            let both = both.reduce(|(a, b), (c, d)| (a.max(c), b.min(d)));
            let made = match both.filter(|_| !dtype.is_float()) {
                Some((low, high)) => {
                    // By turns those counted from the end too.
                    let low = if run.is_multiple_of(2) { low.max(0) } else { low };
                    let width = usize::try_from(high.checked_sub(low)?.checked_add(1)?).ok()?;
                    let number = |random: &mut Random| (low + random.below(width) as i64) as f64;
                    let numbers: Vec<f64> = (0..count).map(|_| number(random)).collect();
                    tensor(self.evaluate, dtype, &dims, &numbers)?
                }
                None => made_up(dtype, &dims, random, self.evaluate)?,
            };
            inputs.insert(input, made);
        }
        Some(inputs)
    }
}
