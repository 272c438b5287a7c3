//! Ways to put a weight on a grid, given what was seen of the inputs of its layer.

use crate::layerwise::feedback::{Feedback, How};
use crate::layerwise::search::{self, Search, SearchError, parts, search};
use crate::layerwise::{Descent, Gram, Layer, Squared};
use crate::pass::layers::{Candidates, Subject};
use crate::points::Points;
use crate::qdq::{Rounding, fake_quantize};
use crate::{Compat, Encoding, Granularity, NumericError};

use super::Gptq;

/// What damping is multiplied with, as long as samples kept apart are better off.
const DAMPINGS: [f64; 3] = [10.0, 100.0, 1000.0];

/// A way to choose scales and to round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The scales that are given, each element to the nearest point.
    Plain,
    /// The scales that are given, with feedback.
    Given,
    /// The scales whose nearest points cost least, with feedback.
    Searched,
    /// The scales that cost least with feedback.
    Fed,
}

/// A weight that was rounded.
#[derive(Clone, Debug)]
pub(super) struct Rounded {
    pub(super) encoding: Encoding,
    /// The elements on its grid, in rows.
    pub(super) rows: Vec<f32>,
    /// What candidates cost, and which were chosen, where some were tried.
    pub(super) curve: Option<Candidates>,
}

/// A weight that is to be put on a grid.
pub(super) struct Task<'a> {
    pub(super) pass: &'a Gptq,
    pub(super) subject: &'a Subject<'a>,
    /// The weight in rows.
    pub(super) weight: Vec<f32>,
    /// The scales that there are.
    pub(super) given: Encoding,
    /// Those from the smallest to the largest element, without low-power scales.
    pub(super) whole: Encoding,
}

impl Task<'_> {
    /// The ways there are: scales are chosen where they may be, and with feedback where each belongs to
    /// whole outputs; those of blocks take over what those before them lost, and depend on each other.
    pub(super) fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Way::Plain, Way::Given];
        if self.pass.candidates > 1 && !self.subject.frozen {
            let whole = self.whole.granularity;
            let whole = matches!(whole, Granularity::PerTensor | Granularity::PerChannel(_));
            ways.push(Way::Searched);
            ways.extend(whole.then_some(Way::Fed));
        }
        ways
    }
}

/// A weight and some samples to fit it to.
pub(super) struct Fit<'a> {
    task: &'a Task<'a>,
    /// What is added to the diagonal of the matrix, as a share of its mean.
    pub(super) damping: f64,
    feedback: Feedback,
    descent: Descent,
    gram: &'a Gram,
}

impl<'a> Fit<'a> {
    pub(super) fn new(task: &'a Task<'a>, gram: &'a Gram, damping: f64) -> Fit<'a> {
        let how = How { damping, by_energy: task.pass.by_energy };
        Fit {
            task,
            damping,
            feedback: Feedback::new(gram, how),
            descent: Descent::new(gram, damping),
            gram,
        }
    }

    /// With as much damping as is best by what a rounded weight loses on other samples: the less was
    /// seen, the more of it is chance, which must not be made up for.
    pub(super) fn damped(
        task: &'a Task<'a>,
        gram: &'a Gram,
        lost: &dyn Fn(&[f32]) -> Vec<f64>,
    ) -> Result<Fit<'a>, SearchError> {
        let with = |damping| -> Result<(f64, Fit<'a>), SearchError> {
            let fit = Fit::new(task, gram, damping);
            let loss = lost(&fit.round(Way::Given)?.rows).iter().sum();
            Ok((loss, fit))
        };
        let mut best = with(task.pass.damping)?;
        for times in DAMPINGS {
            let more = with(task.pass.damping * times)?;
            if more.0 >= best.0 {
                break;
            }
            best = more;
        }
        Ok(best.1)
    }

    /// Rounds one way, and then whatever lowers the loss.
    pub(super) fn round(&self, way: Way) -> Result<Rounded, SearchError> {
        let Task { pass, subject, given, whole, .. } = self.task;
        let Subject { layer, weight, spec, .. } = **subject;
        let how = Search { candidates: pass.candidates, refine: 0, compat: Compat::Default };
        let fed = match way {
            Way::Plain => {
                let back = fake_quantize(weight, &layer.dims, given, Rounding::HalfEven)?;
                let (encoding, rows) = (given.clone(), layer.to_rows(&back));
                return Ok(Rounded { encoding, rows, curve: None });
            }
            Way::Given => self.feed(vec![given.clone()])?,
            Way::Searched => {
                let block = layer.block(whole.granularity);
                let cost = Squared::of_parts(layer, self.gram, block).damped(self.damping as f32);
                let chosen = search(layer, weight, spec, whole, &cost, None, how)?;
                let curve = Some((chosen.losses, chosen.best));
                Rounded { curve, ..self.feed(vec![chosen.encoding])? }
            }
            Way::Fed => self.feed(parts(spec, whole, pass.candidates))?,
        };
        let Rounded { encoding, rows, curve } = fed;
        // Low-power scales are integers of their own.
        let plain = encoding.granularity == search::plain(encoding.granularity);
        let scales = plain && !subject.frozen;
        let (encoding, rows) =
            self.descent.refine(layer, &self.task.weight, rows, encoding, pass.refine, scales)?;
        Ok(Rounded { encoding, rows, curve })
    }

    /// Rounds with feedback, onto the grid that costs least.
    fn feed(&self, mut tried: Vec<Encoding>) -> Result<Rounded, NumericError> {
        let Subject { layer, weight, .. } = *self.task.subject;
        let granularity = tried.first().map_or(Granularity::PerTensor, |first| first.granularity);
        let cells = layer.cells(granularity)?;
        let points = |tried: &[Encoding]| -> Result<Vec<Vec<Points>>, NumericError> {
            tried.iter().map(|encoding| Points::of(encoding, Rounding::HalfEven)).collect()
        };
        let mut rounded = self.feedback.round(layer, weight, &cells, &points(&tried)?)?;
        let mut curve = None;
        if tried.len() > 1 && granularity == Granularity::PerTensor {
            // One scale for all outputs: the one of the least sum.
            let sums: Vec<f64> = rounded.losses.iter().map(|losses| losses.iter().sum()).collect();
            let best = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap_or(0);
            curve = Some((sums.into_iter().map(|sum| vec![sum]).collect(), vec![best]));
            tried = vec![tried.swap_remove(best)];
            rounded = self.feedback.round(layer, weight, &cells, &points(&tried)?)?;
        }
        let mut encoding = tried.last().cloned().expect("something is tried");
        if tried.len() > 1 {
            for (output, &best) in rounded.best.iter().enumerate() {
                let cell = cells[output * layer.depth] as usize;
                encoding.cells[cell] = tried[best].cells[cell];
            }
            curve = Some((rounded.losses, rounded.best));
        }
        Ok(Rounded { encoding, rows: rounded.rows, curve })
    }
}

/// For each output the best of what was tried, by its losses; one for all where they share a scale. The
/// first of the least.
pub(super) fn choose(layer: &Layer, together: bool, losses: &[Vec<f64>]) -> Vec<usize> {
    let least = |of: &dyn Fn(usize) -> f64| {
        (0..losses.len()).min_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap_or(0)
    };
    match together {
        true => vec![least(&|at| losses[at].iter().sum()); layer.outputs],
        false => (0..layer.outputs).map(|output| least(&|at| losses[at][output])).collect(),
    }
}
