//! Memory that is used again: fresh pages from the system cost more than small operators do.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use marquetry_ir::{DType, Tensor, TensorError};

/// Buffers that are kept at most.
const MOST: usize = 16;
/// Elements that are kept at most, over all buffers.
const ELEMENTS: usize = 16 << 20;

/// Buffers of tensors that nobody holds any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// A buffer of this many elements, whatever they are.
    pub(crate) fn take(&self, length: usize) -> Vec<f32> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<f32>| (length..=2 * length).contains(&buffer.capacity());
        let best = kept.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let best = best.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
        let Some(best) = best else { return vec![0.0; length] };
        let mut buffer = kept.swap_remove(best);
        drop(kept);
        buffer.resize(length, 0.0);
        buffer
    }

    /// A tensor over a buffer, which comes back when the tensor is dropped.
    pub(crate) fn tensor(
        &self,
        dims: Vec<usize>,
        elements: Vec<f32>,
    ) -> Result<Tensor, TensorError> {
        let lent = Lent { elements, home: self.clone() };
        Tensor::new(DType::Float, dims, Bytes::from_owner(lent))
    }

    fn keep(&self, buffer: Vec<f32>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = kept.iter().map(Vec::capacity).sum();
        if kept.len() < MOST && held + buffer.capacity() <= ELEMENTS {
            kept.push(buffer);
        }
    }
}

struct Lent {
    elements: Vec<f32>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.elements)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.keep(std::mem::take(&mut self.elements));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_used_again() {
        let buffers = Buffers::default();
        let first = buffers.tensor(vec![3], vec![1.0, 2.0, 3.0]).unwrap();
        let place = first.bytes().as_ptr();
        let shared = first.clone();
        drop(first);
        let other = buffers.take(3);
        assert_ne!(other.as_ptr().cast(), place, "somebody holds it");
        assert_eq!(shared.f32s().unwrap().as_ref(), [1.0, 2.0, 3.0]);
        drop(shared);
        let again = buffers.take(3);
        assert_eq!(again.as_ptr().cast(), place);
        assert_eq!(buffers.take(0), []);
    }
}
