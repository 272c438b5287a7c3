//! What flows from one level to the next, for every sample: in memory as far as it may be, the rest in
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use marquetry_ir::{DType, Tensor, ValueId};

/// Tensors of values, by sample.
///
/// Files have no name in their folder, so that nothing is left of them whatever happens.
#[derive(Debug)]
pub(crate) struct Frontier {
    /// Bytes that may be held in memory, and those that are.
    room: u64,
    held: u64,
    values: BTreeMap<ValueId, Column>,
    /// Bytes that were ever written to files.
    pub(crate) spilled: u64,
}

/// A value.
#[derive(Debug, Default)]
struct Column {
    held: BTreeMap<usize, Tensor>,
    written: BTreeMap<usize, Written>,
    file: Option<File>,
    end: u64,
}

#[derive(Debug)]
struct Written {
    at: u64,
    dtype: DType,
    dims: Vec<usize>,
    bytes: usize,
}

impl Frontier {
    /// Nothing yet; at most `room` bytes will be held in memory.
    pub(crate) fn new(room: u64) -> Frontier {
        Frontier { room, held: 0, values: BTreeMap::new(), spilled: 0 }
    }

    /// The values that are there.
    pub(crate) fn values(&self) -> BTreeSet<ValueId> {
        self.values.keys().copied().collect()
    }

    pub(crate) fn put(&mut self, value: ValueId, sample: usize, tensor: Tensor) -> io::Result<()> {
        let column = self.values.entry(value).or_default();
        let bytes = tensor.bytes();
        // Strings have no bytes of their own.
        if self.held + bytes.len() as u64 <= self.room || tensor.dtype() == DType::String {
            self.held += bytes.len() as u64;
            column.held.insert(sample, tensor);
            return Ok(());
        }
        let file = match &mut column.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.seek(SeekFrom::Start(column.end))?;
        file.write_all(bytes)?;
        let (dtype, dims) = (tensor.dtype(), tensor.dims().to_vec());
        let written = Written { at: column.end, dtype, dims, bytes: bytes.len() };
        column.written.insert(sample, written);
        column.end += bytes.len() as u64;
        self.spilled += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn get(&self, value: ValueId, sample: usize) -> io::Result<Option<Tensor>> {
        let Some(column) = self.values.get(&value) else { return Ok(None) };
        if let Some(tensor) = column.held.get(&sample) {
            return Ok(Some(tensor.clone()));
        }
        let (Some(written), Some(mut file)) = (column.written.get(&sample), column.file.as_ref())
        else {
            return Ok(None);
        };
        let mut bytes = vec![0; written.bytes];
        file.seek(SeekFrom::Start(written.at))?;
        file.read_exact(&mut bytes)?;
        let tensor = Tensor::new(written.dtype, written.dims.clone(), bytes);
        tensor.map(Some).map_err(io::Error::other)
    }

    /// Drops what is held of a sample, but for some values.
    pub(crate) fn forget(&mut self, sample: usize, kept: &BTreeSet<ValueId>) {
        for (_, column) in self.values.iter_mut().filter(|(value, _)| !kept.contains(value)) {
            if let Some(tensor) = column.held.remove(&sample) {
                self.held -= tensor.bytes().len() as u64;
            }
        }
    }

    /// Drops all other values, and their files.
    pub(crate) fn retain(&mut self, kept: &BTreeSet<ValueId>) {
        self.values.retain(|value, _| kept.contains(value));
        let held = self.values.values().flat_map(|column| column.held.values());
        self.held = held.map(|tensor| tensor.bytes().len() as u64).sum();
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
        let mut frontier = Frontier::new(40);
        for sample in 0..4 {
            frontier.put(a, sample, tensor(sample)).unwrap();
            frontier.put(b, sample, tensor(10 + sample)).unwrap();
        }
        assert_eq!(frontier.spilled, 6 * 16);
        for sample in (0..4).rev() {
            for (value, expected) in [(b, tensor(10 + sample)), (a, tensor(sample))] {
                let found = frontier.get(value, sample).unwrap().unwrap();
                assert_eq!((found.dims(), found.bytes()), (expected.dims(), expected.bytes()));
            }
        }
        assert!(frontier.get(a, 4).unwrap().is_none());
        frontier.forget(0, &BTreeSet::from([b]));
        assert_eq!(frontier.held, 16);
        frontier.retain(&BTreeSet::from([b]));
        assert_eq!((frontier.values(), frontier.held), (BTreeSet::from([b]), 16));
        assert!(frontier.get(a, 0).unwrap().is_none());
    }
}
