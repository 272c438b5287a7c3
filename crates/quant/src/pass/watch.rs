//! Samples are run, and what flows is shown.

use std::collections::BTreeSet;
use std::ops::Range;

use marquetry_engine::{Flow, Sweep, SweepOptions};
use marquetry_ir::{Graph, Tensor, ValueId};

use super::{Context, PassError, Progress};

/// Samples to run, and what of them to look at.
pub(super) struct Watch<'a> {
    /// The pass that is told of in progress.
    pub(super) pass: &'a str,
    pub(super) graph: &'a Graph,
    pub(super) wanted: &'a BTreeSet<ValueId>,
    /// The numbers of the samples.
    pub(super) span: Range<usize>,
}

impl Watch<'_> {
    /// Shows every wanted value of every sample once, with the number of the sample.
    ///
    /// # Errors
    ///
    /// `NoSamples` where there is nothing to run, and what the samples, the engine or `see` find
    /// wrong; nothing is run after that.
    pub(super) fn each(
        &self,
        cx: &Context<'_>,
        see: &mut dyn FnMut(usize, ValueId, &Tensor) -> Result<(), PassError>,
    ) -> Result<(), PassError> {
        if self.span.is_empty() {
            return Err(PassError::NoSamples);
        }
        let mut sweep = Sweep::new(cx.engine, self.graph, self.wanted, &SweepOptions::default())
            .map_err(|source| PassError::Engine { sample: None, source })?;
        let total = self.span.len();
        for (done, index) in self.span.clone().enumerate() {
            let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
            let mut failure = None;
            let mut show = |value: ValueId, tensor: &Tensor| match see(index, value, tensor) {
                Ok(()) => Flow::Continue,
                Err(error) => {
                    failure = Some(error);
                    Flow::Stop
                }
            };
            let ran = sweep.run(&sample, &mut show);
            ran.map_err(|source| PassError::Engine { sample: Some(index), source })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            (cx.progress)(Progress { pass: self.pass, done: done + 1, total: Some(total) });
        }
        Ok(())
    }
}
