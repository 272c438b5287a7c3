//! Convolutions over one or two axes with small weights, computed directly.
//!
//! The input is padded and split by the strides into planes in which every tap of the kernel is a
//! shift, so that a channel of the output is a sum of shifted vectors times weights, several channels
//! at a time. Unrolling windows into columns costs more than the sums where weights are small, and
//! columns of a single channel leave most of a matrix product idle.

use marquetry_ir::{DType, Tensor};
use rayon::prelude::*;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::Fault;
use super::call::{Call, count};
use super::window::Windows;
use crate::array::elements;
use crate::buffers::Buffers;

/// Channels of the output that are summed together.
const ROWS: usize = 4;
/// Weights at most: with more, a matrix product has enough to do.
const LARGEST: usize = 1 << 16;
/// Elements that a vector of any machine may reach beyond the end of a plane.
const BEYOND: usize = 64;

/// The weights of a convolution in the order in which they are read.
pub(crate) struct Direct {
    dims: Vec<usize>,
    groups: usize,
    /// Channels that are summed together: `ROWS`, or one where groups are smaller.
    rows: usize,
    /// For every block of channels, a weight for each of them at every tap.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Direct {
    /// Weights that this is worth it for.
    pub(crate) fn new(weights: &Tensor, bias: Option<&Tensor>, groups: usize) -> Option<Self> {
        let dims = weights.dims().to_vec();
        let single = |tensor: &Tensor| tensor.dtype() == DType::Float;
        let fits = matches!(dims.len(), 3 | 4)
            && single(weights)
            && bias.is_none_or(|bias| single(bias) && bias.dims() == &dims[..1])
            && !dims.contains(&0)
            && weights.len() <= LARGEST
            && groups > 0
            && dims[0].is_multiple_of(groups);
        if !fits {
            return None;
        }
        let (features, taps) = (dims[0] / groups, dims[1..].iter().product::<usize>());
        let rows = if features < ROWS - 1 { 1 } else { ROWS };
        let blocks = features.div_ceil(rows);
        let given = elements::<f32>(weights);
        let mut packed = vec![0.0; groups * blocks * taps * rows];
        let mut biases = vec![0.0; groups * blocks * rows];
        let offsets = bias.map(elements::<f32>);
        for feature in 0..dims[0] {
            let (group, within) = (feature / features, feature % features);
            let (block, row) = (group * blocks + within / rows, within % rows);
            let taken = &given[feature * taps..][..taps];
            for (tap, &weight) in taken.iter().enumerate() {
                packed[(block * taps + tap) * rows + row] = weight;
            }
            if let Some(offsets) = &offsets {
                biases[block * rows + row] = offsets[feature];
            }
        }
        Some(Self { dims, groups, rows, weights: packed, bias: biases })
    }

    /// What the node of the weights gives; on all threads of the pool it is called in, or on one.
    pub(crate) fn run(
        &self,
        call: &Call<'_>,
        x: &Tensor,
        parallel: bool,
        buffers: &Buffers,
    ) -> Result<Tensor, Fault> {
        let (dims, members) = (x.dims(), self.dims[1]);
        if dims.len() != self.dims.len() || dims[1] != members * self.groups {
            return Err(Fault::Invalid(format!("{:?} does not convolve {dims:?}", self.dims)));
        }
        let windows = Windows::new(call, &dims[2..], &self.dims[2..])?;
        if windows.kernel != self.dims[2..] {
            return Err(Fault::invalid("`kernel_shape` is not that of the weights"));
        }
        let given: Vec<usize> =
            [dims[0], self.dims[0]].iter().chain(&windows.output).copied().collect();
        let mut output = buffers.take(count(&given)?);
        let planes = Planes::new(&windows, members)?;
        let (input, area) = (elements::<f32>(x), windows.output.iter().product::<usize>());
        if output.is_empty() {
            return Ok(buffers.tensor(given, output)?);
        }
        let features = self.dims[0] / self.groups;
        let group_of = |scratch: &mut Scratch, at: usize, sums: &mut [f32]| {
            planes.fill(&input[at * members * planes.source..], &mut scratch.planes);
            let scratch = &mut *scratch;
            self.group(at % self.groups, &planes, scratch, sums);
        };
        let scratch = || Scratch {
            planes: vec![0.0; planes.total() + BEYOND],
            sums: vec![0.0; self.rows * planes.stride()],
        };
        // A task is a group of channels of one sample: nothing is shared, so any order is the same.
        let tasks = features * area;
        if parallel {
            let tasks = output.par_chunks_mut(tasks).enumerate();
            tasks.for_each_init(scratch, |scratch, (at, sums)| group_of(scratch, at, sums));
        } else {
            let mut scratch = scratch();
            let tasks = output.chunks_mut(tasks).enumerate();
            tasks.for_each(|(at, sums)| group_of(&mut scratch, at, sums));
        }
        Ok(buffers.tensor(given, output)?)
    }

    /// The output of one group of channels.
    fn group(&self, group: usize, planes: &Planes, scratch: &mut Scratch, output: &mut [f32]) {
        let (taps, rows) = (planes.offsets.len(), self.rows);
        let blocks = (self.dims[0] / self.groups).div_ceil(rows);
        for (at, output) in output.chunks_mut(rows * planes.area()).enumerate() {
            let block = group * blocks + at;
            let shifted = Shifted {
                planes: &scratch.planes,
                offsets: &planes.offsets,
                weights: &self.weights[block * taps * rows..][..taps * rows],
                bias: &self.bias[block * rows..][..rows],
                length: planes.length,
                stride: planes.stride(),
                sums: &mut scratch.sums,
            };
            match rows {
                ROWS => Block::<ROWS, 3>(shifted).dispatch(),
                _ => Block::<1, 4>(shifted).dispatch(),
            }
            for (sums, output) in
                scratch.sums.chunks(planes.stride()).zip(output.chunks_mut(planes.area()))
            {
                planes.take(sums, output);
            }
        }
    }
}

struct Scratch {
    planes: Vec<f32>,
    sums: Vec<f32>,
}

/// The planes that a group of channels is laid out in.
struct Planes {
    channels: usize,
    /// Height and width of a channel of the input, and their product.
    height: usize,
    width: usize,
    source: usize,
    strides: [usize; 2],
    before: [usize; 2],
    /// Remainders by the strides at which some tap begins.
    phases: [Vec<usize>; 2],
    /// Rows and columns of a plane.
    rows: usize,
    columns: usize,
    output: [usize; 2],
    /// Sums that are computed: the output with what lies between its rows.
    length: usize,
    /// Where each tap of each channel begins.
    offsets: Vec<usize>,
}

impl Planes {
    fn new(windows: &Windows, channels: usize) -> Result<Self, Fault> {
        // One axis is a plane of one row.
        let two = |lengths: &[usize], absent: usize| match *lengths {
            [rows, columns] => [rows, columns],
            [columns] => [absent, columns],
            _ => [absent, absent],
        };
        let [height, width] = two(&windows.input, 1);
        let (strides, dilations) = (two(&windows.strides, 1), two(&windows.dilations, 1));
        let (kernel, before) = (two(&windows.kernel, 1), two(&windows.before, 0));
        let output = two(&windows.output, 1);
        let phases = [0, 1].map(|axis| {
            let mut phases: Vec<usize> =
                (0..kernel[axis]).map(|tap| tap * dilations[axis] % strides[axis]).collect();
            phases.sort_unstable();
            phases.dedup();
            phases
        });
        let reach =
            |axis: usize| output[axis] + (kernel[axis] - 1) * dilations[axis] / strides[axis];
        let (rows, columns) = (reach(0), reach(1));
        let plane = count(&[channels, phases[0].len(), phases[1].len(), rows, columns])? / channels;
        let mut offsets = Vec::with_capacity(channels * kernel[0] * kernel[1]);
        let place = |axis: usize, tap: usize| {
            let at = tap * dilations[axis];
            let phase = phases[axis].partition_point(|&phase| phase < at % strides[axis]);
            (phase, at / strides[axis])
        };
        for channel in 0..channels {
            for i in 0..kernel[0] {
                for j in 0..kernel[1] {
                    let ((a, row), (b, column)) = (place(0, i), place(1, j));
                    let phase = (a * phases[1].len() + b) * rows * columns;
                    offsets.push(channel * plane + phase + row * columns + column);
                }
            }
        }
        let length = output[0].saturating_sub(1) * columns + output[1];
        let source = height * width;
        Ok(Self {
            channels,
            height,
            width,
            source,
            strides,
            before,
            phases,
            rows,
            columns,
            output,
            length,
            offsets,
        })
    }

    fn total(&self) -> usize {
        self.channels * self.phases[0].len() * self.phases[1].len() * self.rows * self.columns
    }

    fn area(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Sums of one channel, with room for whole vectors.
    fn stride(&self) -> usize {
        self.length.next_multiple_of(BEYOND)
    }

    /// Lays the channels of the input out; padding is zero already, and stays so.
    fn fill(&self, input: &[f32], planes: &mut [f32]) {
        let mut rows = planes.chunks_mut(self.columns.max(1));
        for channel in input.chunks(self.source.max(1)).take(self.channels) {
            for &a in &self.phases[0] {
                for &b in &self.phases[1] {
                    for row in 0..self.rows {
                        let Some(target) = rows.next() else { return };
                        let from = (row * self.strides[0] + a).checked_sub(self.before[0]);
                        let Some(from) = from.filter(|&from| from < self.height) else { continue };
                        self.row(&channel[from * self.width..][..self.width], b, target);
                    }
                }
            }
        }
    }

    /// Every `stride`th element of a padded row, from the `phase`th on.
    fn row(&self, source: &[f32], phase: usize, target: &mut [f32]) {
        let (stride, before) = (self.strides[1], self.before[1]);
        let first = before.saturating_sub(phase).div_ceil(stride);
        let Some(target) = target.get_mut(first..) else { return };
        let Some(source) = source.get(first * stride + phase - before..) else { return };
        if stride == 1 {
            let length = target.len().min(source.len());
            target[..length].copy_from_slice(&source[..length]);
        } else {
            target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(to, &from)| *to = from);
        }
    }

    /// Takes what is output from the sums of a channel.
    fn take(&self, sums: &[f32], output: &mut [f32]) {
        let width = self.output[1].max(1);
        for (sums, output) in sums.chunks(self.columns.max(1)).zip(output.chunks_mut(width)) {
            output.copy_from_slice(&sums[..output.len()]);
        }
    }
}

/// Sums of shifted planes times weights.
struct Shifted<'a> {
    planes: &'a [f32],
    offsets: &'a [usize],
    weights: &'a [f32],
    bias: &'a [f32],
    length: usize,
    /// Where the sums of the next channel begin.
    stride: usize,
    sums: &'a mut [f32],
}

/// `R` channels, `V` vectors of each at a time: as many sums as the registers hold.
struct Block<'a, const R: usize, const V: usize>(Shifted<'a>);

impl<const R: usize, const V: usize> SimdOp for Block<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let lanes = isa.f32().len();
        let mut this = self.0;
        let mut at = 0;
        while at < this.length {
            let left = (this.length - at).div_ceil(lanes);
            at += lanes
                * match left {
                    _ if left >= V => sum::<I, R, V>(isa, &mut this, at),
                    2.. => sum::<I, R, 2>(isa, &mut this, at),
                    _ => sum::<I, R, 1>(isa, &mut this, at),
                };
        }
    }
}

/// Sums `V` vectors of `R` channels, the first at `at`; the number of vectors.
#[inline(always)]
fn sum<I: Isa, const R: usize, const V: usize>(isa: I, this: &mut Shifted<'_>, at: usize) -> usize {
    let ops = isa.f32();
    let lanes = ops.len();
    let mut sums = [[ops.zero(); V]; R];
    for (sums, &bias) in sums.iter_mut().zip(&this.bias[..R]) {
        *sums = [ops.splat(bias); V];
    }
    for (&offset, weights) in this.offsets.iter().zip(this.weights.as_chunks::<R>().0) {
        let planes = &this.planes[offset + at..][..V * lanes];
        let mut inputs = [ops.zero(); V];
        for vector in 0..V {
            inputs[vector] = ops.load(&planes[vector * lanes..]);
        }
        for row in 0..R {
            let weight = ops.splat(weights[row]);
            for vector in 0..V {
                sums[row][vector] = ops.mul_add(inputs[vector], weight, sums[row][vector]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (vector, sum) in sums.into_iter().enumerate() {
            ops.store(sum, &mut this.sums[row * this.stride + at + vector * lanes..]);
        }
    }
    V
}

#[cfg(test)]
mod tests {
    use marquetry_ir::{Attribute, AttributeValue, Evaluate, Operation};

    use super::*;
    use crate::Native;
    use crate::array::tensor;

    fn numbers(dims: &[usize], seed: usize) -> Tensor {
        let count = dims.iter().product();
        let number = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0;
        tensor(dims, (0..count).map(number).collect()).unwrap()
    }

    fn attribute(name: &str, value: AttributeValue) -> Attribute {
        Attribute { name: name.to_owned(), value, doc: String::new() }
    }

    /// Input, weights, groups, strides, pads, dilations.
    type Case =
        (&'static [usize], &'static [usize], i64, &'static [i64], &'static [i64], &'static [i64]);

    const CASES: &[Case] = &[
        (&[2, 1, 20, 20], &[12, 1, 3, 3], 1, &[1, 1], &[1, 1, 1, 1], &[1, 1]),
        (&[3, 12, 10, 10], &[6, 12, 1, 1], 1, &[1, 1], &[0, 0, 0, 0], &[1, 1]),
        (&[1, 6, 9, 11], &[13, 6, 5, 3], 1, &[2, 3], &[2, 0, 1, 3], &[1, 2]),
        (&[2, 8, 7, 5], &[8, 1, 3, 3], 8, &[2, 2], &[1, 1, 1, 1], &[1, 1]),
        (&[2, 4, 33, 70], &[8, 1, 3, 3], 4, &[1, 1], &[1, 1, 1, 1], &[1, 1]),
        (&[2, 6, 8, 8], &[9, 2, 2, 4], 3, &[3, 2], &[0, 3, 2, 0], &[2, 1]),
        (&[2, 5, 40], &[7, 5, 4], 1, &[2], &[3, 0], &[3]),
        (&[0, 5, 40], &[7, 5, 4], 1, &[2], &[3, 0], &[3]),
        (&[1, 3, 4, 4], &[4, 3, 1, 1], 1, &[4, 4], &[4, 4, 4, 4], &[1, 1]),
    ];

    #[test]
    fn it_agrees_with_the_definition() {
        for &(x_dims, w_dims, groups, strides, pads, dilations) in CASES {
            let (x, w) = (numbers(x_dims, 1), numbers(w_dims, 2));
            let bias = numbers(&w_dims[..1], 3);
            let ints =
                |name: &str, ints: &[i64]| attribute(name, AttributeValue::Ints(ints.to_vec()));
            let attributes = [
                attribute("group", AttributeValue::Int(groups)),
                ints("strides", strides),
                ints("pads", pads),
                ints("dilations", dilations),
            ];
            let operation =
                Operation { domain: "", op_type: "Conv", opset: 17, attributes: &attributes };
            let inputs = [Some(x.clone()), Some(w.clone()), Some(bias.clone())];
            let expected = Native.evaluate(operation, &inputs).unwrap().remove(0);
            let call = Call { operation, inputs: &[], outputs: Some(1) };
            let direct = Direct::new(&w, Some(&bias), groups as usize).unwrap();
            let found = direct.run(&call, &x, false, &Buffers::default()).unwrap();
            assert_eq!(found.dims(), expected.dims(), "{x_dims:?} {w_dims:?}");
            let (found_elements, wanted) = (found.f32s().unwrap(), expected.f32s().unwrap());
            for (found, wanted) in found_elements.iter().zip(wanted.iter()) {
                assert!((found - wanted).abs() < 1e-4, "{found} {wanted} {x_dims:?} {w_dims:?}");
            }
            assert_eq!(
                direct.run(&call, &x, true, &Buffers::default()).unwrap(),
                found,
                "threads change nothing"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (x, w) = (numbers(&[1, 3, 2, 2], 1), numbers(&[4, 3, 3, 3], 2));
        let operation = Operation { domain: "", op_type: "Conv", opset: 17, attributes: &[] };
        let call = Call { operation, inputs: &[], outputs: Some(1) };
        let direct = Direct::new(&w, None, 1).unwrap();
        assert!(
            direct.run(&call, &x, false, &Buffers::default()).is_err(),
            "the window is larger than the input"
        );
        assert!(
            direct.run(&call, &numbers(&[1, 2, 5, 5], 1), false, &Buffers::default()).is_err(),
            "channels differ"
        );
        assert!(
            direct.run(&call, &numbers(&[1, 3, 5], 1), false, &Buffers::default()).is_err(),
            "ranks differ"
        );
        assert!(Direct::new(&w, Some(&numbers(&[3], 3)), 1).is_none(), "biases differ");
    }
}
