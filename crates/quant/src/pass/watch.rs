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

/// Looks at what flows.
pub(super) trait Look {
    /// Who sees it; on another thread, it may be, than the one that asked for it.
    fn seer(&mut self) -> &mut dyn See;

    /// All wanted values of so many samples were shown, those before the span included.
    fn after(&mut self, samples: usize) -> Result<(), PassError>;
}

/// Sees what flows.
pub(super) trait See: Send {
    /// A wanted value of a sample.
    fn see(&mut self, sample: usize, value: ValueId, tensor: &Tensor) -> Result<(), PassError>;
}

impl<F: FnMut(usize, ValueId, &Tensor) -> Result<(), PassError> + Send> See for F {
    fn see(&mut self, sample: usize, value: ValueId, tensor: &Tensor) -> Result<(), PassError> {
        self(sample, value, tensor)
    }
}

/// Sees, and does nothing in between.
struct Sees<F>(F);

impl<F: See> Look for Sees<F> {
    fn seer(&mut self) -> &mut dyn See {
        &mut self.0
    }

    fn after(&mut self, _: usize) -> Result<(), PassError> {
        Ok(())
    }
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
        see: impl FnMut(usize, ValueId, &Tensor) -> Result<(), PassError> + Send,
    ) -> Result<(), PassError> {
        self.look(cx, &mut Sees(see))
    }

    /// The same for what also wants to know where a sample ends.
    pub(super) fn look(&self, cx: &Context<'_>, look: &mut dyn Look) -> Result<(), PassError> {
        if self.span.is_empty() {
            return Err(PassError::NoSamples);
        }
        let mut sweep = Sweep::new(cx.engine, self.graph, self.wanted, &SweepOptions::default())
            .map_err(|source| PassError::Engine { sample: None, source })?;
        // Bodies inside each other need the stack of this thread.
        let deep = self.graph.nodes().any(|node| self.graph.node(node).bodies().next().is_some());
        let total = self.span.len();
        for (done, index) in self.span.clone().enumerate() {
            let sample = cx.samples.sample(index).map_err(PassError::Sample)?;
            let seer = look.seer();
            let mut failure = None;
            let mut ran = Ok(Flow::Continue);
            let mut run = || {
                let mut show =
                    |value: ValueId, tensor: &Tensor| match seer.see(index, value, tensor) {
                        Ok(()) => Flow::Continue,
                        Err(error) => {
                            failure = Some(error);
                            Flow::Stop
                        }
                    };
                ran = sweep.run(&sample, &mut show);
            };
            match deep {
                true => run(),
                // What was computed is looked at where it was computed, while it is close by.
                false => cx.engine.within(&mut run),
            }
            ran.map_err(|source| PassError::Engine { sample: Some(index), source })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            // Who is told to stop saves this sample first.
            let on = cx.go_on();
            look.after(index + 1)?;
            on?;
            (cx.progress)(Progress { pass: self.pass, done: done + 1, total: Some(total) });
        }
        Ok(())
    }
}
