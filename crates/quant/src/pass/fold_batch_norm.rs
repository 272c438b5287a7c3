//! FoldBatchNorm: a normalization behind a convolution becomes part of its weights.

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{AttributeValue, Graph, NodeId, ValueId};

use super::weights::{like, name, read};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::element;
use crate::grid::Grid;
use crate::kernel::{BIAS, DATA, WEIGHT};
use crate::{Granularity, plan::Reason};

/// The default of `epsilon` in BatchNormalization.
const EPSILON: f32 = 1e-5;

/// Folds BatchNormalization into the convolution before it, where nobody else reads between them
/// and all parameters are constants: γ·(W∗x + b − μ)/√(σ² + ε) + β.
///
/// Without this a convolution with a normalization behind it cannot run on integers. It changes
/// nodes, so it stands before `Group`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldBatchNorm;

impl Pass for FoldBatchNorm {
    fn name(&self) -> &str {
        "FoldBatchNorm"
    }

    fn requires(&self) -> &[Fact] {
        &[]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Groups, Fact::Sites]
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        if !state.groups.groups.is_empty() {
            let message = "`FoldBatchNorm` changes nodes after groups were found".to_owned();
            return Err(PassError::Graph { message });
        }
        let types = infer::run(&state.model);
        let graph = &mut state.model.graph;
        let mut folded = 0;
        for norm in graph.nodes().collect::<Vec<_>>() {
            let Some(fold) = Fold::at(graph, &types, norm) else { continue };
            fold.apply(graph, &types)?;
            let output = graph.value(fold.output).name().to_owned();
            let what = format!("a BatchNormalization before `{output}` was folded into it");
            state.plan.leave_alone(fold.output, Reason::new(self.name(), what));
            folded += 1;
        }
        graph.drop_unused();
        Ok(Summary::new(self, format!("{folded} normalizations folded into convolutions")))
    }
}

/// A convolution and the normalization behind it.
struct Fold {
    conv: NodeId,
    norm: NodeId,
    weight: ValueId,
    bias: Option<ValueId>,
    /// γ, β, μ and σ².
    parameters: [ValueId; 4],
    output: ValueId,
    epsilon: f64,
}

impl Fold {
    fn at(graph: &Graph, types: &Types, norm: NodeId) -> Option<Fold> {
        let node = graph.node(norm);
        if !node.is_onnx("BatchNormalization") {
            return None;
        }
        let trains = node.attribute("training_mode").and_then(AttributeValue::as_int);
        let other_outputs = graph.outputs(norm).into_iter().skip(1).flatten().count();
        if trains.is_some_and(|mode| mode != 0) || other_outputs > 0 {
            return None;
        }
        let between = graph.input(norm, 0)?;
        let (conv, _) = graph.producer(between)?;
        let alone = graph.use_count(between) == 1 && !graph.is_output(between);
        if !alone || !graph.node(conv).is_onnx("Conv") {
            return None;
        }
        let parameters = [1, 2, 3, 4].map(|slot| graph.input(norm, slot));
        let parameters = match parameters {
            [Some(gamma), Some(beta), Some(mean), Some(variance)] => [gamma, beta, mean, variance],
            _ => return None,
        };
        let weight = graph.input(conv, WEIGHT)?;
        let bias = graph.input(conv, BIAS);
        let floats =
            |value: ValueId| types.constant(value).is_some_and(|c| element::floats(c).is_some());
        let read = parameters.iter().copied().chain([weight]).chain(bias);
        let known = read.into_iter().all(floats) && graph.input(conv, DATA).is_some();
        let epsilon = node.attribute("epsilon").and_then(AttributeValue::as_float);
        known.then_some(Fold {
            conv,
            norm,
            weight,
            bias,
            parameters,
            output: graph.output(norm, 0)?,
            epsilon: f64::from(epsilon.unwrap_or(EPSILON)),
        })
    }

    fn apply(&self, graph: &mut Graph, types: &Types) -> Result<(), PassError> {
        let (dims, mut weight) = read(graph, types, self.weight)?;
        let channels = dims.first().copied().unwrap_or(0);
        let bad = |graph: &Graph, value: ValueId, what: &str| PassError::BadEncoding {
            value: name(graph, value),
            what: what.to_owned(),
        };
        let mut parameters = Vec::with_capacity(4);
        for &value in &self.parameters {
            let (_, data) = read(graph, types, value)?;
            if data.len() != channels {
                return Err(bad(graph, value, "it has not one element per channel"));
            }
            parameters.push(data);
        }
        let old = match self.bias {
            Some(bias) => read(graph, types, bias)?.1,
            None => vec![0.0; channels],
        };
        if old.len() != channels {
            return Err(bad(graph, self.weight, "its bias has not one element per channel"));
        }
        let [gamma, beta, mean, variance] = &parameters[..] else {
            unreachable!("a normalization has four parameters")
        };
        let factors: Vec<f64> = gamma
            .iter()
            .zip(variance)
            .map(|(&gamma, &variance)| {
                f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt()
            })
            .collect();
        let bias: Vec<f32> = (0..channels)
            .map(|c| {
                let centred = f64::from(old[c]) - f64::from(mean[c]);
                (centred * factors[c] + f64::from(beta[c])) as f32
            })
            .collect();
        let grid = Grid::new(&dims, Granularity::PerChannel(0))
            .map_err(|source| super::weights::numeric(graph, self.weight, source))?;
        grid.runs(|channel, run| {
            weight[run].iter_mut().for_each(|w| *w = (f64::from(*w) * factors[channel]) as f32);
        });

        let base = name(graph, self.weight);
        let mut add = |suffix: &str, dims: Vec<usize>, data: &[f32]| {
            let tensor = like(graph, types, self.weight, dims, data)?;
            let fresh = graph.fresh_name(&format!("{base}_{suffix}"));
            Ok(graph.add_initializer(&fresh, tensor).expect("the name is fresh"))
        };
        let weight = add("folded", dims, &weight)?;
        let bias = add("folded_bias", vec![channels], &bias)?;
        graph.set_input(self.conv, WEIGHT, Some(weight));
        graph.set_input(self.conv, BIAS, Some(bias));
        graph.remove_nodes(&[self.norm]);
        graph.set_output(self.conv, 0, Some(self.output));
        Ok(())
    }
}
