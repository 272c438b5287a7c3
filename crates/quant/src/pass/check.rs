//! Check: nothing leaves that a runtime cannot work with.

use marquetry_ir::ValueId;

use super::weights::name;
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::plan::Role;

/// The step of an 8-bit grid from which on nothing but masks is told apart.
const WIDE: f64 = 100.0;

/// Refuses encodings that no runtime can work with: missing, with scales that are not positive
/// floats, or with zero points outside their type.
///
/// The checker of ONNX and ONNX Runtime accept all of these and compute nonsense.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check;

impl Pass for Check {
    fn name(&self) -> &str {
        "Check"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        state.plan.enabled().map(|(value, _)| value).collect()
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let graph = &state.model.graph;
        graph.order().map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        let (mut checked, mut dead, mut first) = (0, 0, None);
        let mut wide: Vec<ValueId> = Vec::new();
        for (value, site) in state.plan.enabled() {
            let bad = |what: String| PassError::BadEncoding { value: name(graph, value), what };
            let Some(encoding) = &site.encoding else {
                return Err(bad("it was never calibrated".to_owned()));
            };
            checked += 1;
            if encoding.dtype.is_cast() {
                continue;
            }
            if encoding.cells.is_empty() {
                return Err(bad("it has no scales".to_owned()));
            }
            if site.role == Role::Activation && encoding.dtype.bits() <= 8 {
                let most = encoding.cells.iter().map(|cell| cell.scale).fold(0.0, f64::max);
                wide.extend((most > WIDE).then_some(value));
            }
            for (at, cell) in encoding.cells.iter().enumerate() {
                let scale = cell.scale as f32;
                if !(scale.is_normal() && scale > 0.0) {
                    return Err(bad(format!("scale {scale:e} of cell {at}")));
                }
                // A grid that is half a step off has no zero point; whether that can be written is
                // the export's business.
                let zero_point = encoding.zero_point(at);
                if !(encoding.lowest()..=encoding.highest()).contains(&zero_point) {
                    return Err(bad(format!("zero point {zero_point} of cell {at}")));
                }
                // The scale of a bias is a product of two, and says nothing about what it holds.
                if scale <= f32::EPSILON && encoding.dtype.bits() <= 16 {
                    dead += 1;
                    first.get_or_insert(value);
                }
            }
        }
        let mut summary = Summary::new(self, format!("{checked} encodings are sound"));
        if let Some(first) = first {
            summary.notes.push(format!(
                "{dead} scales are at the floor, such as of `{}`: what they are for is zero, or next to it",
                name(graph, first)
            ));
        }
        if let Some(&first) = wide.first() {
            summary.notes.push(format!(
                "{} activations, such as `{}`, reach so far that 8 bits have steps of more than {WIDE}: \
                 masks are like that, and what they are added to is lost; override their range \
                 (`Override(select: .., with: (range: ..))`), or leave them out",
                wide.len(),
                name(graph, first)
            ));
        }
        Ok(summary)
    }
}
