//! Runs samples through the levels of a model: behind weights that were decided, and beside that as the
//! model was before.

use std::collections::BTreeSet;
use std::ops::Range;

use marquetry_ir::{Graph, Tensor, ValueId};

use super::Walk;
use super::gathered::{Gathered, Unseen};
use crate::kernel::label;
use crate::layerwise::Layer;
use crate::layerwise::levels::{self, Levels};
use crate::layerwise::room::Room;
use crate::pass::weights::name;
use crate::pass::{Context, PassError};

pub(super) struct Sweeps<'a> {
    behind: Levels<'a>,
    /// As the model was, where what earlier layers changed is to be seen; from the second level on.
    float: Option<Levels<'a>>,
    level: usize,
}

/// Layers that read the same rows, and what was seen of them.
type Shown<'l> = [(Vec<&'l Layer>, Gathered)];

impl<'a> Sweeps<'a> {
    /// Reads the samples. The graphs are the model as it is and with the weights that were decided.
    pub(super) fn new(
        walk: &Walk<'a>,
        cx: &'a Context<'a>,
        (float, behind): (&Graph, &Graph),
        wanted: Vec<BTreeSet<ValueId>>,
        first: usize,
        samples: Range<usize>,
        room: &Room,
    ) -> Result<Sweeps<'a>, PassError> {
        let upstream = walk.wants.upstream() && wanted.len() > 1;
        let levels = |graph: &Graph, first: usize| {
            Levels::new(walk.pass, cx, graph, wanted.clone(), first, samples.clone(), room)
        };
        let float = upstream.then(|| levels(float, first.max(1))).transpose()?;
        Ok(Sweeps { behind: levels(behind, first)?, float, level: first })
    }

    /// Runs the next level, and shows every layer of it its inputs, sample by sample.
    pub(super) fn advance(
        &mut self,
        model: &Graph,
        behind: &Graph,
        again: bool,
        gathered: &mut Shown<'_>,
    ) -> Result<(), PassError> {
        let level = self.level;
        self.level += 1;
        let float = match &mut self.float {
            Some(float) if level > 0 => {
                float.advance(model, true, &mut |_, _, _| Ok(()))?;
                Some(&*float)
            }
            _ => None,
        };
        self.behind.advance(behind, again, &mut see(model, float, gathered))
    }

    /// Shows the inputs of the level once more.
    pub(super) fn again(
        &mut self,
        model: &Graph,
        gathered: &mut Shown<'_>,
    ) -> Result<(), PassError> {
        let float = self.float.as_ref().filter(|_| self.level > 1);
        self.behind.again(&mut see(model, float, gathered))
    }

    /// Drops what no later level needs.
    pub(super) fn release(&mut self) {
        self.behind.release();
        if let Some(float) = self.float.as_mut().filter(|_| self.level > 1) {
            float.release();
        }
    }

    /// Says how far the pass is.
    pub(super) fn progress(&self, done: usize, total: usize) {
        self.behind.progress(done, total);
    }
}

/// Adds what is shown to the layers that read it.
fn see<'s>(
    graph: &'s Graph,
    float: Option<&'s Levels<'_>>,
    gathered: &'s mut Shown<'_>,
) -> impl FnMut(usize, ValueId, &Tensor) -> Result<(), PassError> + 's {
    move |sample, value, tensor| {
        let reading = |layers: &[&Layer]| layers[0].input == value;
        if !gathered.iter().any(|(layers, _)| reading(layers)) {
            return Ok(());
        }
        let float = float.map(|float| float.shown(value, sample)).transpose()?;
        for (layers, seen) in gathered.iter_mut().filter(|(layers, _)| reading(layers)) {
            let seen = seen.see(layers[0], sample, tensor, float.as_ref());
            seen.map_err(|error| match error {
                Unseen::Kept(error) => levels::spill(error),
                Unseen::Misfit(what) => PassError::BadInput {
                    value: name(graph, value),
                    node: label(graph, layers[0].node),
                    what,
                },
            })?;
        }
        Ok(())
    }
}
