//! Only: all that is not selected stays in float.

use marquetry_ir::ValueId;
use serde::{Deserialize, Serialize};

use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::plan::{Reason, Role};
use crate::select::{Selection, Selector};

/// Quantizes only what selected operators read; targets that compute everything in integers also quantize
/// what these give.
///
/// A reader that is not selected gets the float value, and a site without a reader is taken out.
/// It stands behind `Place` and before anything is calibrated.
/// In RON: `Only(select: "op:Conv or group:Attention")`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// Which operators, or what they read.
    pub select: Selector,
}

/// What is left of a site.
enum Left {
    /// All of it.
    All,
    /// These readers, by their numbers.
    Readers(Vec<usize>),
    Nothing,
}

impl Pass for Only {
    fn name(&self) -> &str {
        "Only"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Biases]
    }

    fn select(&self) -> Option<&Selector> {
        Some(&self.select)
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let selection = self.select.of(state).map_err(PassError::Select)?;
        let left: Vec<(ValueId, Left)> = state
            .plan
            .enabled()
            .map(|(value, _)| (value, left(state, &selection, value)))
            .collect();
        let kept = left.iter().filter(|(_, left)| !matches!(left, Left::Nothing)).count();
        selection.enough(kept).map_err(PassError::Select)?;
        for (value, left) in &left {
            let Some(site) = state.plan.get_mut(*value) else { continue };
            let reason = |what: String| Reason::new("Only", what);
            match left {
                Left::All => {}
                Left::Readers(kept) => {
                    let mut at = 0..;
                    site.readers.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
                    let what = format!("only readers that `{}` selects", self.select);
                    site.because.push(reason(what));
                }
                Left::Nothing => {
                    site.disable(reason(format!("`{}` does not select it", self.select)));
                }
            }
        }
        Ok(Summary::new(self, format!("{kept} of {} sites stay", left.len())))
    }
}

/// What a selection leaves of a site.
fn left(state: &State, selection: &Selection<'_>, value: ValueId) -> Left {
    let Some(site) = state.plan.get(value) else { return Left::Nothing };
    // Who reads what is moved reads integers as well there, so that readers are no matter of this site.
    if state.policy.everywhere().is_some() {
        let graph = &state.model.graph;
        let read = site.readers.iter().any(|reader| selection.has(value, Some(reader.node)));
        let given = site.role == Role::Activation
            && graph.producer(value).is_some_and(|(node, _)| selection.has(value, Some(node)));
        return if read || given { Left::All } else { Left::Nothing };
    }
    let readers = site.readers.iter().enumerate();
    let kept: Vec<usize> = readers
        .filter(|(_, reader)| selection.has(value, Some(reader.node)))
        .map(|(at, _)| at)
        .collect();
    match kept.len() {
        0 => Left::Nothing,
        count if count == site.readers.len() => Left::All,
        _ => Left::Readers(kept),
    }
}
