//! What is seen of the inputs of layers.

use std::io;

use marquetry_ir::Tensor;

use crate::layerwise::room::Room;
use crate::layerwise::tiles::{self, Shared};
use crate::layerwise::{Drift, Gram, Kept, Layer};

/// Rows that are shown to a layer, and kept, at once: those that a Gram matrix multiplies at once, so that
/// it is the same whether or not rows were kept before.
const CHUNK: usize = crate::layerwise::CHUNK;

/// What a pass wants to know of the inputs of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pass) enum Wants {
    /// The whole Gram matrix, without every `apart`-th sample, and that of those; with what rows are off
    /// by behind earlier layers, if `upstream` is set.
    Gram { apart: usize, upstream: bool },
    /// The blocks of the Gram matrix that scales belong to, unless running so many candidates on the
    /// rows takes fewer operations; or the `whole` matrix in place of its blocks, where it has not too
    /// many columns.
    Cheaper { candidates: u32, whole: bool },
    /// All rows.
    Rows,
}

/// What was seen of the inputs of a layer.
pub(in crate::pass) enum Seen {
    /// The second one is of the samples that are kept apart, where there are any.
    Gram(Inputs, Option<Inputs>),
    /// The rows, sample by sample.
    Rows(Kept),
}

/// Products of the rows that a layer reads.
#[derive(Clone)]
pub(in crate::pass) struct Inputs {
    pub(in crate::pass) gram: Gram,
    /// With what they are off by from the rows of the float model.
    pub(in crate::pass) drift: Option<Drift>,
}

impl Wants {
    /// What is wanted of the layers of a level.
    pub(super) fn at(self, level: usize) -> Wants {
        match self {
            Wants::Gram { apart, upstream } => {
                Wants::Gram { apart, upstream: upstream && level > 0 }
            }
            other => other,
        }
    }

    pub(super) fn upstream(self) -> bool {
        matches!(self, Wants::Gram { upstream: true, .. })
    }

    /// Columns of the blocks of the Gram matrix, where scales belong to blocks of so many.
    pub(super) fn block(self, layer: &Layer, block: usize) -> usize {
        match self {
            Wants::Gram { .. } => layer.depth,
            Wants::Cheaper { whole: true, .. } if layer.judges_whole(block) => layer.depth,
            Wants::Cheaper { .. } | Wants::Rows => block,
        }
    }
}

/// The inputs of one layer so far.
pub(super) struct Gathered {
    pub(super) block: usize,
    inputs: Inputs,
    /// Those of samples that are kept apart.
    apart: Option<Inputs>,
    /// Kept as long as they are fewer than the columns, or as they are wanted.
    pub(super) rows: Option<Kept>,
    count: usize,
    /// Outputs of all layers that see these rows.
    pub(super) outputs: usize,
    /// Samples that were left out, because they hold what is no finite number.
    pub(super) odd: usize,
    wants: Wants,
}

/// Why an input was not looked at.
pub(super) enum Unseen {
    /// It does not fit the weight.
    Misfit(String),
    /// Its rows cannot be kept.
    Kept(io::Error),
}

impl Gathered {
    /// Of a layer, whose matrices are `shared` with other processes or not.
    pub(super) fn new(
        layer: &Layer,
        block: usize,
        wants: Wants,
        samples: usize,
        shared: bool,
        room: &Room,
    ) -> Gathered {
        let parts = block < layer.depth;
        let block = wants.block(layer, block);
        // Rows say nothing that the whole matrix would not, once it is asked for.
        let whole = parts && block == layer.depth;
        // Where rows are wanted, nothing is ever added to a matrix.
        let depth = if wants == Wants::Rows { 0 } else { layer.depth };
        let inputs = || Inputs {
            gram: Gram::new(layer.groups, depth, block),
            drift: wants.upstream().then(|| Drift::new(layer.groups, depth)),
        };
        let rows = !(shared || whole || matches!(wants, Wants::Gram { .. }));
        let rows = rows.then(|| Kept::new(layer.groups, layer.depth, room));
        let apart = matches!(wants, Wants::Gram { apart, .. } if samples >= apart).then(inputs);
        let inputs = inputs();
        Gathered { block, inputs, apart, rows, count: 0, outputs: layer.outputs, odd: 0, wants }
    }

    /// Takes an input in, and what it is in the float model. One number that is not finite would leave
    /// nothing of all others.
    pub(super) fn see(
        &mut self,
        layer: &Layer,
        at: usize,
        input: &Tensor,
        float: Option<&Tensor>,
    ) -> Result<(), Unseen> {
        if [Some(input), float].into_iter().flatten().any(is_odd) {
            self.odd += 1;
            return Ok(());
        }
        let width = layer.width();
        let most_rows = self.most_rows(layer);
        let Gathered { inputs, apart, rows, count, wants, .. } = self;
        let Inputs { gram, drift } = match (*wants, apart) {
            (Wants::Gram { apart: every, .. }, Some(apart)) if at % every == every - 1 => apart,
            _ => inputs,
        };
        if let (Some(drift), Some(float)) = (drift, float) {
            // Where shapes depend on numbers, rows may have no counterparts.
            if float.dims() != input.dims() {
                drift.spoil();
                return layer
                    .rows(input, CHUNK, &mut |part| gram.add(part))
                    .map_err(Unseen::Misfit);
            }
            let shown = layer.rows_beside(input, float, CHUNK, &mut |off, part| {
                gram.add(part);
                drift.add(off, part);
            });
            return shown.map_err(Unseen::Misfit);
        }
        if let Some(kept) = rows {
            kept.begin();
        }
        let mut failed = Ok(());
        let shown = layer.rows(input, CHUNK, &mut |part| {
            if failed.is_err() {
                return;
            }
            *count += part.len() / width.max(1);
            let many = *count > most_rows;
            if many && let Some(kept) = rows.take() {
                failed = kept.each(&mut |rows| gram.add(rows));
            }
            match rows {
                Some(kept) => failed = kept.add(part),
                None => gram.add(part),
            }
        });
        shown.map_err(Unseen::Misfit)?;
        failed.map_err(Unseen::Kept)
    }

    /// Above how many rows their Gram matrix is cheaper than they are. For each row it takes as many
    /// operations as half of a block has elements, and so does each output of each candidate, which
    /// otherwise takes one for each row.
    fn most_rows(&self, layer: &Layer) -> usize {
        match self.wants {
            Wants::Gram { .. } => 0,
            Wants::Rows => usize::MAX,
            Wants::Cheaper { candidates, .. } => {
                let half = self.block / 2;
                let judged = candidates as usize * self.outputs / layer.groups.max(1);
                // As many rows as columns take half the memory of the matrix.
                match judged.checked_sub(half) {
                    None | Some(0) => layer.depth,
                    Some(more) => (judged.saturating_mul(half) / more).min(layer.depth),
                }
            }
        }
    }

    /// Bytes of the matrices.
    pub(super) fn bytes(&self, layer: &Layer) -> u64 {
        let own = u64::from(self.wants != Wants::Rows);
        let matrices = own + u64::from(self.apart.is_some());
        let drift = match self.wants.upstream() {
            true => Drift::bytes(layer.groups, layer.depth),
            false => 0,
        };
        matrices * (Gram::bytes(layer.groups, layer.depth, self.block) + drift)
    }

    /// What other processes have a part of, in an order that is theirs as well.
    pub(super) fn sums(&mut self) -> impl Iterator<Item = &mut dyn Shared> {
        std::iter::once(&mut self.inputs).chain(&mut self.apart).flat_map(|inputs| {
            let drift = inputs.drift.as_mut().map(|drift| drift as &mut dyn Shared);
            std::iter::once(&mut inputs.gram as &mut dyn Shared).chain(drift)
        })
    }

    pub(super) fn finish(self) -> Seen {
        match self.rows {
            // No rows say as little as the matrix of none, as which other processes take them.
            Some(_) if self.count == 0 && self.wants != Wants::Rows => {
                Seen::Gram(self.inputs, self.apart)
            }
            Some(rows) => Seen::Rows(rows),
            None => Seen::Gram(self.inputs, self.apart),
        }
    }
}

/// Whether it holds what is no finite number.
fn is_odd(tensor: &Tensor) -> bool {
    tensor.to_f32s().is_some_and(|data| data.iter().any(|x| !x.is_finite()))
}

impl Inputs {
    /// Adds the rows of others.
    pub(in crate::pass) fn merge(&mut self, other: &Inputs) {
        tiles::merge(&mut self.gram, &other.gram);
        if let (Some(drift), Some(other)) = (&mut self.drift, &other.drift) {
            tiles::merge(drift, other);
        }
    }
}
