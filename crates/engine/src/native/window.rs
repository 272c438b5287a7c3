//! Where the windows of poolings and convolutions lie.

use super::Fault;
use super::call::{Call, count, length};

/// Windows over the spatial axes of a tensor.
pub(super) struct Windows {
    /// Spatial lengths of the input and of the output.
    pub(super) input: Vec<usize>,
    pub(super) output: Vec<usize>,
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) before: Vec<usize>,
    after: Vec<usize>,
}

impl Windows {
    /// `kernel` holds where the node does not say.
    pub(super) fn new(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, Fault> {
        let axes = input.len();
        let lengths = |name: &str, count: usize, default: &[usize]| -> Result<Vec<usize>, Fault> {
            let Some(ints) = call.ints(name) else { return Ok(default.to_vec()) };
            if ints.len() != count {
                return Err(Fault::Invalid(format!(
                    "`{name}` has {} elements, not {count}",
                    ints.len()
                )));
            }
            ints.iter().map(|&int| length(int)).collect()
        };
        let ones = vec![1; axes];
        let kernel = lengths("kernel_shape", axes, kernel)?;
        let strides = lengths("strides", axes, &ones)?;
        let dilations = lengths("dilations", axes, &ones)?;
        let pads = lengths("pads", 2 * axes, &vec![0; 2 * axes])?;
        let sizes = kernel.iter().chain(&strides).chain(&dilations).chain(&pads);
        let zero = kernel.iter().chain(&strides).chain(&dilations).any(|&length| length == 0);
        let large = sizes.into_iter().any(|&length| length > 1 << 24);
        if kernel.len() != axes || zero || large || count(&kernel)? > 1 << 24 {
            return Err(Fault::invalid("the window has no size that makes sense"));
        }
        let mut windows = Self {
            input: input.to_vec(),
            output: Vec::with_capacity(axes),
            kernel,
            strides,
            dilations,
            before: pads[..axes].to_vec(),
            after: pads[axes..].to_vec(),
        };
        windows.place(call.str("auto_pad", "NOTSET"), call.flag("ceil_mode", false))?;
        Ok(windows)
    }

    fn place(&mut self, auto: &str, ceil: bool) -> Result<(), Fault> {
        for axis in 0..self.input.len() {
            let (input, stride) = (self.input[axis], self.strides[axis]);
            let reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            if auto.starts_with("SAME") {
                let output = input.div_ceil(stride);
                let pads = (output.saturating_sub(1) * stride + reach).saturating_sub(input);
                let small = pads / 2;
                let upper = auto == "SAME_UPPER";
                self.before[axis] = if upper { small } else { pads - small };
                self.after[axis] = pads - self.before[axis];
                self.output.push(output);
                continue;
            }
            if auto == "VALID" {
                (self.before[axis], self.after[axis]) = (0, 0);
            }
            let padded = input + self.before[axis] + self.after[axis];
            let Some(room) = padded.checked_sub(reach) else {
                return Err(Fault::Invalid(format!("a window of {reach} does not fit {padded}")));
            };
            let mut output = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // A window that begins in the padding behind the input is none.
            if ceil && (output - 1) * stride >= input + self.before[axis] {
                output -= 1;
            }
            self.output.push(output);
        }
        Ok(())
    }

    /// Where an element of a window lies in the input, along one axis; nothing in the padding.
    pub(super) fn source(&self, axis: usize, window: usize, element: usize) -> Option<usize> {
        let at = (window * self.strides[axis] + element * self.dilations[axis])
            .checked_sub(self.before[axis])?;
        (at < self.input[axis]).then_some(at)
    }

    /// Whether an element of a window lies in the input or in the padding that was asked for.
    pub(super) fn is_padded(&self, axis: usize, window: usize, element: usize) -> bool {
        let at = window * self.strides[axis] + element * self.dilations[axis];
        at < self.input[axis] + self.before[axis] + self.after[axis]
    }

    /// The flat place in the input of every element of the window at `place`; nothing in the padding.
    pub(super) fn elements<'a>(
        &'a self,
        place: &'a [usize],
    ) -> impl Iterator<Item = (Option<usize>, bool)> + 'a {
        let count: usize = self.kernel.iter().product();
        (0..count).map(move |flat| {
            let (mut rest, mut at, mut stride) = (flat, Some(0), 1);
            let mut padded = true;
            for axis in (0..self.kernel.len()).rev() {
                let element = rest % self.kernel[axis];
                rest /= self.kernel[axis];
                at = at
                    .zip(self.source(axis, place[axis], element))
                    .map(|(at, source)| at + source * stride);
                stride *= self.input[axis];
                padded &= self.is_padded(axis, place[axis], element);
            }
            (at, padded)
        })
    }
}
