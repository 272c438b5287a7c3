//! Inputs of layers as rows of a matrix.

use std::borrow::Cow;

use marquetry_ir::{AttributeValue, Node, Tensor};

use super::layer::{Layer, Reads};

/// The windows of a convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Pads,
}

/// Elements of rows that are there twice, about.
const TOGETHER: usize = 1 << 22;

/// No element of an image: padding.
const OUTSIDE: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pads {
    /// Before and behind each axis.
    Given(Vec<(i64, i64)>),
    /// As many as make the output as long as the input over the stride; the odd one behind, or before.
    Same { odd_before: bool },
}

impl Window {
    pub(crate) fn of(node: &Node, kernel: &[usize]) -> Result<Window, String> {
        let ints = |name: &str| node.attribute(name).and_then(AttributeValue::as_ints);
        let sizes = |name: &str| -> Result<Vec<usize>, String> {
            let found = ints(name).map(<[i64]>::to_vec).unwrap_or_else(|| vec![1; kernel.len()]);
            let sizes: Option<Vec<usize>> =
                found.iter().map(|&size| usize::try_from(size).ok().filter(|&it| it > 0)).collect();
            sizes
                .filter(|sizes| sizes.len() == kernel.len())
                .ok_or_else(|| format!("its `{name}` do not fit its kernel"))
        };
        let auto = node.attribute("auto_pad").and_then(AttributeValue::as_str).unwrap_or("NOTSET");
        let pads = match auto {
            "SAME_UPPER" => Pads::Same { odd_before: false },
            "SAME_LOWER" => Pads::Same { odd_before: true },
            "VALID" => Pads::Given(vec![(0, 0); kernel.len()]),
            _ => match ints("pads") {
                Some(pads) if pads.len() == 2 * kernel.len() => {
                    let (before, behind) = pads.split_at(kernel.len());
                    Pads::Given(before.iter().copied().zip(behind.iter().copied()).collect())
                }
                Some(_) => return Err("its `pads` do not fit its kernel".to_owned()),
                None => Pads::Given(vec![(0, 0); kernel.len()]),
            },
        };
        let (strides, dilations) = (sizes("strides")?, sizes("dilations")?);
        Ok(Window { kernel: kernel.to_vec(), strides, dilations, pads })
    }

    /// How many windows there are along an axis of a length, and where the first one begins.
    fn along(&self, axis: usize, length: usize) -> (usize, i64) {
        let reach = ((self.kernel[axis] - 1) * self.dilations[axis] + 1) as i64;
        let (stride, length) = (self.strides[axis] as i64, length as i64);
        match &self.pads {
            Pads::Given(pads) => {
                let (before, behind) = pads[axis];
                let room = length + before + behind - reach;
                let count = if room < 0 { 0 } else { room / stride + 1 };
                (usize::try_from(count).unwrap_or(0), -before)
            }
            Pads::Same { odd_before } => {
                let count = (length + stride - 1) / stride;
                let pad = ((count - 1) * stride + reach - length).max(0);
                let before = if *odd_before { pad - pad / 2 } else { pad / 2 };
                (usize::try_from(count).unwrap_or(0), -before)
            }
        }
    }

    /// Hands over what the windows see of each sample of a batch, some windows at a time: rows of
    /// `channels × kernel` elements, channel by channel.
    fn rows(&self, dims: &[usize], data: &[f32], chunk: usize, visit: &mut dyn FnMut(&[f32])) {
        let (batch, channels, spatial) = (dims[0], dims[1], &dims[2..]);
        let window: usize = self.kernel.iter().product();
        let width = channels * window;
        let area: usize = spatial.iter().product();
        let along: Vec<(usize, i64)> =
            spatial.iter().enumerate().map(|(axis, &length)| self.along(axis, length)).collect();
        let places: usize = along.iter().map(|(count, _)| count).product();
        // Where each element of a window lies, relative to its beginning.
        let offsets: Vec<Vec<i64>> = (0..window)
            .map(|at| {
                let index = unravel(at, &self.kernel);
                index.iter().zip(&self.dilations).map(|(&at, &step)| (at * step) as i64).collect()
            })
            .collect();
        let counts: Vec<usize> = along.iter().map(|(count, _)| *count).collect();
        // What each window sees of a channel; the same for all of them.
        let mut seen: Vec<u32> = Vec::with_capacity(places * window);
        for place in 0..places {
            let at = unravel(place, &counts);
            let begin = |axis: usize| along[axis].1 + (at[axis] * self.strides[axis]) as i64;
            seen.extend(offsets.iter().map(|offset| {
                let inside = spatial.iter().enumerate().try_fold(0, |flat, (axis, &length)| {
                    let at = usize::try_from(begin(axis) + offset[axis]).ok()?;
                    (at < length).then(|| flat * length + at)
                });
                inside.and_then(|at| u32::try_from(at).ok()).unwrap_or(OUTSIDE)
            }));
        }
        let mut rows: Vec<f32> = Vec::with_capacity(chunk.min(places * batch) * width);
        for sample in 0..batch {
            let image = &data[sample * channels * area..(sample + 1) * channels * area];
            for seen in seen.chunks(window) {
                for channel in image.chunks(area.max(1)) {
                    rows.extend(seen.iter().map(|&at| channel.get(at as usize).unwrap_or(&0.0)));
                }
                if rows.len() >= chunk * width {
                    visit(&rows);
                    rows.clear();
                }
            }
        }
        if !rows.is_empty() {
            visit(&rows);
        }
    }
}

fn unravel(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (slot, &dim) in index.iter_mut().zip(dims).rev() {
        *slot = at % dim;
        at /= dim;
    }
    index
}

impl Layer {
    /// Elements of a row: those of all groups side by side.
    pub(crate) fn width(&self) -> usize {
        self.groups * self.depth
    }

    /// Hands over the rows of an input, at most about `chunk` at a time; or says why it has none.
    pub(crate) fn rows(
        &self,
        input: &Tensor,
        chunk: usize,
        visit: &mut dyn FnMut(&[f32]),
    ) -> Result<(), String> {
        self.rows_of(input.dims(), &floats(input)?, chunk, visit)
    }

    /// Hands over the rows of an input, and beside them what each is off by from those of another one of
    /// the same shape.
    pub(crate) fn rows_beside(
        &self,
        input: &Tensor,
        other: &Tensor,
        chunk: usize,
        visit: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), String> {
        let (data, mut off) = (floats(input)?, floats(other)?.into_owned());
        if input.dims() != other.dims() {
            return Err(format!("its shape {:?} is another one in float", input.dims()));
        }
        off.iter_mut().zip(&*data).for_each(|(off, data)| *off -= data);
        // Windows overlap: some images after the others, so that few rows are there twice.
        let mut dims = input.dims().to_vec();
        let mut size = data.len().max(1);
        if let (Reads::Windows(_), Some(&images)) = (&self.reads, dims.first()) {
            let window: usize = self.dims[2..].iter().product();
            let image = (size / images.max(1)).max(1);
            size = image * (TOGETHER / (image * window.max(1))).max(1);
        }
        for (data, off) in data.chunks(size).zip(off.chunks(size)) {
            if let (Reads::Windows(_), [images, rest @ ..]) = (&self.reads, &mut dims[..]) {
                *images = data.len() / rest.iter().product::<usize>().max(1);
            }
            let mut beside: Vec<Vec<f32>> = Vec::new();
            self.rows_of(&dims, off, chunk, &mut |rows| beside.push(rows.to_vec()))?;
            let mut beside = beside.iter();
            self.rows_of(&dims, data, chunk, &mut |rows| {
                visit(beside.next().map_or(&[], Vec::as_slice), rows);
            })?;
        }
        Ok(())
    }

    fn rows_of(
        &self,
        dims: &[usize],
        data: &[f32],
        chunk: usize,
        visit: &mut dyn FnMut(&[f32]),
    ) -> Result<(), String> {
        let width = self.width();
        let misfit = || format!("its shape {dims:?} does not fit the weight");
        match &self.reads {
            Reads::Rows if dims.last() == Some(&width) => {
                data.chunks(chunk.max(1) * width.max(1)).for_each(visit);
            }
            Reads::Columns if dims.len() == 2 && dims[0] == width => {
                let count = dims[1];
                let rows = (0..count).flat_map(|row| (0..width).map(move |at| at * count + row));
                let rows: Vec<f32> = rows.map(|at| data[at]).collect();
                rows.chunks(chunk.max(1) * width.max(1)).for_each(visit);
            }
            Reads::Windows(window) if dims.len() == self.dims.len() => {
                let per_window: usize = self.dims[2..].iter().product();
                if dims[1] * per_window != width {
                    return Err(misfit());
                }
                window.rows(dims, data, chunk, visit);
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }
}

fn floats(input: &Tensor) -> Result<Cow<'_, [f32]>, String> {
    let data = input.to_f32s().filter(|_| input.dtype().is_float());
    data.ok_or_else(|| format!("it holds `{}`", input.dtype()))
}
