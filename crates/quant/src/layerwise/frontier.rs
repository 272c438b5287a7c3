//! What flows from one level to the next, for every sample: in memory as far as it may be, the rest in
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use marquetry_ir::{DType, Tensor, ValueId};

use super::room::{Room, Spill, Taken};

/// Tensors of values, by sample.
#[derive(Debug)]
pub(crate) struct Frontier {
    room: Room,
    values: BTreeMap<ValueId, Column>,
}

/// A value.
#[derive(Debug, Default)]
struct Column {
    /// Tensors in memory, with the bytes that they take of the room.
    held: BTreeMap<usize, (Tensor, Option<Taken>)>,
    written: BTreeMap<usize, Written>,
    file: Spill,
}

#[derive(Debug)]
struct Written {
    at: u64,
    dtype: DType,
    dims: Vec<usize>,
    bytes: usize,
}

impl Frontier {
    /// Nothing yet; what has no room will be in files.
    pub(crate) fn new(room: Room) -> Frontier {
        Frontier { room, values: BTreeMap::new() }
    }

    /// The values that are there.
    pub(crate) fn values(&self) -> BTreeSet<ValueId> {
        self.values.keys().copied().collect()
    }

    pub(crate) fn put(&mut self, value: ValueId, sample: usize, tensor: Tensor) -> io::Result<()> {
        let column = self.values.entry(value).or_default();
        let bytes = tensor.bytes();
        // Strings have no bytes of their own.
        let taken = self.room.take(bytes.len() as u64);
        if taken.is_some() || tensor.dtype() == DType::String {
            column.held.insert(sample, (tensor, taken));
            return Ok(());
        }
        let at = column.file.write(bytes)?;
        let (dtype, dims) = (tensor.dtype(), tensor.dims().to_vec());
        column.written.insert(sample, Written { at, dtype, dims, bytes: bytes.len() });
        Ok(())
    }

    pub(crate) fn get(&self, value: ValueId, sample: usize) -> io::Result<Option<Tensor>> {
        let Some(column) = self.values.get(&value) else { return Ok(None) };
        if let Some((tensor, _)) = column.held.get(&sample) {
            return Ok(Some(tensor.clone()));
        }
        let Some(written) = column.written.get(&sample) else { return Ok(None) };
        let mut bytes = vec![0; written.bytes];
        column.file.read(written.at, &mut bytes)?;
        let tensor = Tensor::new(written.dtype, written.dims.clone(), bytes);
        tensor.map(Some).map_err(io::Error::other)
    }

    /// Drops what is held of a sample, but for some values.
    pub(crate) fn forget(&mut self, sample: usize, kept: &BTreeSet<ValueId>) {
        for (_, column) in self.values.iter_mut().filter(|(value, _)| !kept.contains(value)) {
            column.held.remove(&sample);
        }
    }

    /// Drops all other values, and their files.
    pub(crate) fn retain(&mut self, kept: &BTreeSet<ValueId>) {
        self.values.retain(|value, _| kept.contains(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_comes_back_from_a_file() {
        let mut graph = marquetry_ir::Graph::new("", marquetry_ir::Opsets::onnx(18));
        let a = graph.add_value("a", None).unwrap();
        let b = graph.add_value("b", None).unwrap();
        let tensor = |at: usize| Tensor::from_f32s([2, 2], &[at as f32, 1.0, 2.0, 3.0]).unwrap();
        let room = Room::new(40);
        let mut frontier = Frontier::new(room.clone());
        for sample in 0..4 {
            frontier.put(a, sample, tensor(sample)).unwrap();
            frontier.put(b, sample, tensor(10 + sample)).unwrap();
        }
        let spilled: u64 = frontier.values.values().map(|column| column.file.len()).sum();
        assert_eq!(spilled, 6 * 16);
        for sample in (0..4).rev() {
            for (value, expected) in [(b, tensor(10 + sample)), (a, tensor(sample))] {
                let found = frontier.get(value, sample).unwrap().unwrap();
                assert_eq!((found.dims(), found.bytes()), (expected.dims(), expected.bytes()));
            }
        }
        assert!(frontier.get(a, 4).unwrap().is_none());
        frontier.forget(0, &BTreeSet::from([b]));
        assert!(room.take(40 - 16).is_some() && room.take(40 - 15).is_none());
        frontier.retain(&BTreeSet::from([b]));
        assert_eq!(frontier.values(), BTreeSet::from([b]));
        assert!(room.take(40 - 16).is_some() && room.take(40 - 15).is_none());
        assert!(frontier.get(a, 0).unwrap().is_none());
    }
}
