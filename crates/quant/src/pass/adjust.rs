//! Weight scales that 32-bit accumulators can work with.

use marquetry_ir::Graph;
use marquetry_ir::infer::Types;

use super::weights::{name, read};
use super::{PassError, State};
use crate::effective::Path;
use crate::flat::Flat;
use crate::kernel;
use crate::plan::{Plan, Reason, Role};
use crate::units::{Unit, Units};
use crate::{Cell, Compat, Encoding, Granularity};

/// The largest sum: 2³¹ with room for 2¹⁵ products.
const LARGEST: f32 = 2_147_450_880.0;

/// The least ratio of the scales of a sum and of a result that a multiplication by 32 bits can say.
const LEAST_RATIO: f64 = -23.5;

/// Raises the scales of weights where the bias would not fit the accumulator, or where the
/// accumulator would be too fine for the result; one line for each weight that changed.
///
/// In `Compat::Aimet` every scale is also rounded to single precision, as AIMET does.
pub(super) fn weights(
    state: &mut State,
    types: &Types,
    compat: Compat,
) -> Result<Vec<String>, PassError> {
    let graph = &state.model.graph;
    let rules = state.policy.everywhere().map_or(&[] as &[_], |rules| &rules.groups);
    let flat = Flat::of(graph, types, &state.groups, &state.plan)
        .map_err(|error| PassError::Graph { message: error.to_string() })?;
    let (within, types) = (&*flat.graph, &*flat.types);
    let units = Units::of(within, types, &flat.groups, rules)
        .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
    let mut lines = Vec::new();
    for unit in units.list.iter().filter(|unit| kernel::SUMS.contains(&unit.operator)) {
        let Some(weight) = unit.params.iter().find(|param| param.kind == "weight") else {
            continue;
        };
        let Some(sum) = Sum::of(within, types, &units, &state.plan, unit)? else { continue };
        let site = state.plan.get_mut(weight.value);
        let Some(site) =
            site.filter(|site| site.enabled && !site.frozen && site.role == Role::Weight)
        else {
            continue;
        };
        let Some(encoding) = site.encoding.as_mut().filter(|encoding| is_plain(encoding)) else {
            continue;
        };
        let (mut raised, mut most) = (0, 1.0f64);
        let channels = encoding.cells.len();
        for (channel, cell) in encoding.cells.iter_mut().enumerate() {
            let before = cell.scale as f32;
            let after = sum.fit(before, channel, channels);
            if after > before {
                raised += 1;
                most = most.max(f64::from(after) / f64::from(before));
            }
            if after > before || compat == Compat::Aimet {
                cell.scale = after.into();
            }
        }
        if raised > 0 {
            let what = format!("{raised} of {channels} scales raised, by {most:.4} at most");
            lines.push(format!("`{}`: {what}", name(graph, weight.value)));
            site.because.push(Reason::new("Calibrate", what));
        }
    }
    Ok(lines)
}

/// Whether scales are free to change one by one.
fn is_plain(encoding: &Encoding) -> bool {
    let plain = matches!(encoding.granularity, Granularity::PerTensor | Granularity::PerChannel(_));
    plain && encoding.dtype.is_integer()
}

/// What a kernel adds up.
struct Sum {
    input_scale: f32,
    bias: Vec<f32>,
    /// Of the result, where it is quantized.
    output: Option<Cell>,
}

impl Sum {
    fn of(
        graph: &Graph,
        types: &Types,
        units: &Units<'_>,
        plan: &Plan,
        unit: &Unit<'_>,
    ) -> Result<Option<Sum>, PassError> {
        let cell = |value| -> Option<Cell> {
            let site = plan.get(value).filter(|site| site.enabled)?;
            let encoding = site.encoding.as_ref()?;
            let single = encoding.is_per_tensor() && encoding.dtype.is_integer();
            encoding.cells.first().copied().filter(|_| single)
        };
        let data = unit.inputs.first().copied().flatten();
        let path = data.and_then(|data| Path::back(graph, types, units, plan, data));
        let Some(input) = path.and_then(|path| cell(path.source)) else { return Ok(None) };
        let bias = unit.params.iter().find(|param| param.kind == "bias");
        let bias = match bias {
            Some(bias) => read(graph, types, bias.value)?.1,
            None => Vec::new(),
        };
        let output = unit.outputs.first().copied().and_then(cell);
        Ok(Some(Sum { input_scale: input.scale as f32, bias, output }))
    }

    /// The least scale from `scale` on that works for a channel.
    ///
    /// Rounded where AIMET rounds: what a sum must hold in double precision, all else in single.
    fn fit(&self, scale: f32, channel: usize, channels: usize) -> f32 {
        let biases = match self.bias.get(channel) {
            Some(bias) if channels == self.bias.len() => std::slice::from_ref(bias),
            None if self.bias.is_empty() => &[0.0],
            // One scale for all: it has to fit the largest.
            _ => &*self.bias,
        };
        let largest = |sums: &mut dyn Iterator<Item = f32>| sums.map(f32::abs).fold(0.0, f32::max);
        let holds = |scale: f32, sum: f32| {
            let least = f64::from(sum) / (f64::from(LARGEST) * f64::from(self.input_scale));
            least.max(scale.into()) as f32
        };
        let mut scale = holds(scale, largest(&mut biases.iter().copied()));
        if let Some(output) = self.output {
            let result = output.scale as f32;
            scale = scale.max((LEAST_RATIO.exp2() as f32) * result / self.input_scale);
            let step = self.input_scale * scale;
            // The zero point of the result is added with the bias; they may cancel.
            let shift = (output.offset as f32 * result / step).round_ties_even();
            let sums = biases.iter().map(|bias| ((bias / step).round_ties_even() + shift) * step);
            scale = holds(scale, largest(&mut { sums }));
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_fits_and_a_result_can_be_reached() {
        let mut sum = Sum { input_scale: 1e-4, bias: vec![0.5, 1000.0], output: None };
        assert_eq!(sum.fit(1e-3, 0, 2), 1e-3);
        let raised = sum.fit(1e-3, 1, 2);
        assert_eq!(raised, (1000.0 / (f64::from(LARGEST) * f64::from(1e-4f32))) as f32);
        assert_eq!(sum.fit(1e-3, 0, 1), raised);
        sum.output = Some(Cell { scale: 1e6, offset: 0.0 });
        assert!(sum.fit(1e-3, 0, 2) > 800.0);
        sum.output = Some(Cell { scale: 1e6, offset: -65535.0 });
        let step = sum.fit(1e-3, 0, 2) * 1e-4;
        assert!(65535.0 * 1e6 / step <= LARGEST * 1.001);
    }

    #[test]
    fn a_bias_and_a_zero_point_of_other_signs_cancel() {
        let output = Some(Cell { scale: 0.01, offset: -5000.0 });
        let sum = Sum { input_scale: 1e-7, bias: vec![50.0, -50.0], output };
        let raised = |sum: f64| (sum / (f64::from(LARGEST) * f64::from(1e-7f32))) as f32;
        assert_eq!(sum.fit(1e-9, 0, 2), raised(50.0));
        let both = f64::from(sum.fit(1e-9, 1, 2)) / f64::from(raised(100.0));
        assert!((both - 1.0).abs() < 1e-6, "{both}");
    }
}
