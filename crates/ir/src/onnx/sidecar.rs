//! External data on the way out: which tensors go to which file, and where in it.
//!
//! A tensor that came from a sidecar goes back to one of the same name, at the same place where
//! the places still fit together. Tensors that shared their bytes go on sharing them.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;

use super::external::is_inside;
use crate::onnx::WriteError;
use crate::{Content, External, Graph, Model, SparseTensor, Storage, Tensor};

/// A model above this size in one file moves its tensors out: official readers stop at 2 GiB.
pub(super) const INLINE_LIMIT: u64 = 1_900 << 20;

/// Tensors below this size stay in the model when others move out.
const WORTH_MOVING: usize = 1 << 10;

/// Where tensors of a page or more begin in a sidecar, so that they can be mapped alone.
const PAGE: u64 = 4 << 10;

/// Where smaller tensors begin: aligned for every element type.
const GRAIN: u64 = 16;

/// Gaps of up to this size between tensors are alignment; larger ones are other people's data.
const LARGEST_GAP: u64 = 64 << 10;

/// Where the tensors of a model are in its sidecars.
///
/// A tensor is known by where its bytes are in memory and by the sidecar it goes to; tensors for
/// which there is no entry keep what they say themselves.
#[derive(Debug, Default)]
pub(super) struct Layout(BTreeMap<(String, usize, usize), Arc<External>>);

impl Layout {
    /// The place of a tensor that is stored in another file.
    pub(super) fn place(&self, tensor: &Tensor) -> Option<Arc<External>> {
        match &tensor.storage {
            Storage::External(external) => {
                let known = self.0.get(&key(&external.location, tensor.bytes()));
                Some(known.unwrap_or(external).clone())
            }
            Storage::Raw | Storage::Typed => self.0.get(&key(MOVED, tensor.bytes())).cloned(),
        }
    }
}

/// Stands for the location of tensors that the model had inside.
const MOVED: &str = "";

fn key(location: &str, bytes: &Bytes) -> (String, usize, usize) {
    (location.to_owned(), bytes.as_ptr() as usize, bytes.len())
}

/// A file of external data, as it is to be.
#[derive(Debug)]
pub(super) struct Sidecar {
    /// As tensors name it, unless another file has its place.
    pub(super) location: String,
    /// The location by which tensors are known in the layout.
    source: String,
    /// Ascending by offset, without overlaps.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    offset: u64,
    bytes: Bytes,
    /// How the entry was written, so that what it left out stays left out.
    said: Option<Arc<External>>,
}

impl Sidecar {
    /// Size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.offset + part.bytes.len() as u64).max().unwrap_or(0)
    }

    pub(super) fn write(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        let mut at = 0;
        for part in &self.parts {
            if part.offset > at {
                out.seek(SeekFrom::Start(part.offset))?;
            }
            out.write_all(&part.bytes)?;
            at = part.offset + part.bytes.len() as u64;
        }
        out.flush()
    }

    /// Whether a file of the same size holds every part.
    pub(super) fn is_in(&self, file: &mut (impl Read + Seek)) -> io::Result<bool> {
        let mut buffer = vec![0; 1 << 16];
        for part in &self.parts {
            file.seek(SeekFrom::Start(part.offset))?;
            for wanted in part.bytes.chunks(buffer.len()) {
                let found = &mut buffer[..wanted.len()];
                file.read_exact(found)?;
                if found != wanted {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The location with a fingerprint of the content before its extension: free or ours.
    pub(super) fn fingerprinted(&self) -> String {
        // FNV-1a: not against malice, which `is_in` is for, but against accidents.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut take = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for part in &self.parts {
            take(&part.offset.to_le_bytes());
            take(&part.bytes);
        }
        let (folder, name) = match self.location.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (String::new(), self.location.as_str()),
        };
        match name.split_once('.') {
            Some((stem, extension)) if !stem.is_empty() => {
                format!("{folder}{stem}-{hash:016x}.{extension}")
            }
            _ => format!("{folder}{name}-{hash:016x}"),
        }
    }
}

/// The sidecars that a model needs.
///
/// Initializers move to a sidecar of their own if the model would have more than `limit` bytes of
/// tensors inside; constants of nodes do not, because not every runtime looks for them there.
pub(super) fn plan(model: &Model, file_name: &str, limit: u64) -> Result<Vec<Sidecar>, WriteError> {
    let tensors = tensors(model);
    let is_inline = |tensor: &&Tensor| !matches!(tensor.storage, Storage::External(_));
    let inline: u64 = tensors.iter().copied().filter(is_inline).map(size).sum();
    let mut groups: BTreeMap<String, Vec<&Tensor>> = BTreeMap::new();
    for &tensor in &tensors {
        if let Storage::External(external) = &tensor.storage {
            let location = &external.location;
            if !is_inside(location) || location == file_name {
                return Err(WriteError::Location { location: location.clone() });
            }
            groups.entry(location.clone()).or_default().push(tensor);
        }
    }
    if inline > limit {
        let graph = &model.graph;
        let constants = graph.initializers.iter().filter_map(|&value| {
            graph
                .value(value)
                .constant
                .as_ref()
                .filter(|tensor| is_inline(tensor) && tensor.bytes().len() >= WORTH_MOVING)
        });
        groups.insert(MOVED.to_owned(), constants.collect());
    }
    let sidecar = |(source, tensors): (String, Vec<&Tensor>)| {
        let parts = kept(&tensors).unwrap_or_else(|| laid_out(&tensors));
        let location = if source == MOVED { format!("{file_name}.data") } else { source.clone() };
        Sidecar { location, source, parts }
    };
    Ok(groups.into_iter().map(sidecar).collect())
}

/// The layout that follows when every sidecar has its final location.
pub(super) fn layout(sidecars: &[Sidecar]) -> Layout {
    let mut layout = Layout::default();
    for sidecar in sidecars {
        for part in &sidecar.parts {
            let length = part.bytes.len() as u64;
            let external = match &part.said {
                Some(said) if said.location == sidecar.location => said.clone(),
                said => Arc::new(External {
                    location: sidecar.location.clone(),
                    offset: said.as_ref().map_or(Some(part.offset), |said| said.offset),
                    length: said.as_ref().map_or(Some(length), |said| said.length),
                    // Of the whole file, which is another one now.
                    checksum: None,
                }),
            };
            layout.0.insert(key(&sidecar.source, &part.bytes), external);
        }
    }
    layout
}

/// The parts as the tensors say themselves, if that makes a file without overlaps and large gaps.
fn kept(tensors: &[&Tensor]) -> Option<Vec<Part>> {
    let mut parts = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let Storage::External(external) = &tensor.storage else { return None };
        let bytes = tensor.bytes().clone();
        if external.length.is_some_and(|length| length != bytes.len() as u64) {
            return None;
        }
        let offset = external.offset.unwrap_or(0);
        offset.checked_add(bytes.len() as u64)?;
        parts.push(Part { offset, bytes, said: Some(external.clone()) });
    }
    parts.sort_by_key(|part| (part.offset, part.bytes.len()));
    let mut end = 0;
    let mut distinct: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        let same_place = distinct
            .last()
            .is_some_and(|last| (last.offset, last.bytes.len()) == (part.offset, part.bytes.len()));
        if same_place {
            let last = distinct.last().expect("there is one at the same place");
            if last.bytes != part.bytes {
                return None;
            }
            // Equal bytes at two places in memory need an entry each, but one part of the file.
            if last.bytes.as_ptr() == part.bytes.as_ptr() {
                continue;
            }
        } else if part.offset < end || part.offset - end > LARGEST_GAP {
            return None;
        }
        end = part.offset + part.bytes.len() as u64;
        distinct.push(part);
    }
    let reaches_end = |part: &Part| {
        let said = part.said.as_ref().expect("every part was said");
        said.length.is_some() || part.offset + part.bytes.len() as u64 == end
    };
    distinct.iter().all(reaches_end).then_some(distinct)
}

/// The parts one after the other in the order of the model, each distinct range of memory once.
fn laid_out(tensors: &[&Tensor]) -> Vec<Part> {
    let mut known = BTreeMap::new();
    let mut parts = Vec::with_capacity(tensors.len());
    let mut end = 0_u64;
    for tensor in tensors {
        let bytes = tensor.bytes();
        if known.insert((bytes.as_ptr() as usize, bytes.len()), ()).is_some() {
            continue;
        }
        let length = bytes.len() as u64;
        let offset = end.next_multiple_of(if length < PAGE { GRAIN } else { PAGE });
        end = offset + length;
        parts.push(Part { offset, bytes: bytes.clone(), said: None });
    }
    parts
}

/// Bytes of a tensor in the model file, without what its fields add.
fn size(tensor: &Tensor) -> u64 {
    match tensor.content() {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Strings(strings) => strings.iter().map(|string| string.len() as u64).sum(),
    }
}

/// All tensors of a model in the order of the file.
pub(super) fn tensors(model: &Model) -> Vec<&Tensor> {
    let mut tensors = Vec::new();
    of_graph(&model.graph, &mut tensors);
    for function in &model.functions {
        for default in &function.defaults {
            of_attribute(&default.value, &mut tensors);
        }
        of_graph(&function.body, &mut tensors);
    }
    tensors
}

fn of_graph<'m>(graph: &'m Graph, tensors: &mut Vec<&'m Tensor>) {
    for node in graph.nodes() {
        for attribute in &graph.node(node).attributes {
            of_attribute(&attribute.value, tensors);
        }
    }
    for value in graph.initializers.iter().map(|&value| graph.value(value)) {
        tensors.extend(&value.constant);
        if let Some(sparse) = &value.sparse {
            of_sparse(sparse, tensors);
        }
    }
}

fn of_attribute<'m>(value: &'m crate::AttributeValue, tensors: &mut Vec<&'m Tensor>) {
    use crate::AttributeValue as Value;
    match value {
        Value::Tensor(tensor) => tensors.push(tensor),
        Value::Tensors(list) => tensors.extend(list),
        Value::Sparse(sparse) => of_sparse(sparse, tensors),
        Value::Sparses(list) => list.iter().for_each(|sparse| of_sparse(sparse, tensors)),
        _ => value.graphs().iter().for_each(|graph| of_graph(graph, tensors)),
    }
}

fn of_sparse<'m>(sparse: &'m SparseTensor, tensors: &mut Vec<&'m Tensor>) {
    tensors.extend([&sparse.values, &sparse.indices]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Opsets;

    fn initializer(graph: &mut Graph, name: &str, bytes: Bytes) {
        let tensor = Tensor::new(crate::DType::Uint8, [bytes.len()], bytes).unwrap();
        graph.add_initializer(name, tensor).unwrap();
    }

    #[test]
    fn initializers_move_out_of_a_model_that_is_too_large() {
        let mut graph = Graph::new("g", Opsets::onnx(17));
        let large = Bytes::from(vec![1; 5000]);
        initializer(&mut graph, "large", large.clone());
        initializer(&mut graph, "small", Bytes::from(vec![2; 10]));
        initializer(&mut graph, "tied", large);
        initializer(&mut graph, "other", Bytes::from(vec![3; 2000]));
        let model = Model::new(8, graph);
        assert!(plan(&model, "m.onnx", 20_000).unwrap().is_empty());

        let sidecars = plan(&model, "m.onnx", 10_000).unwrap();
        let [sidecar] = sidecars.as_slice() else { panic!("there is one sidecar") };
        // The second begins at a multiple of 16, being less than a page.
        assert_eq!((sidecar.location.as_str(), sidecar.size()), ("m.onnx.data", 5008 + 2000));
        let layout = layout(&sidecars);
        let place = |name: &str| {
            let value = model.graph.value(model.graph.find(name).unwrap());
            layout.place(value.constant.as_ref().unwrap()).map(|external| external.offset.unwrap())
        };
        let places = ["large", "small", "tied", "other"].map(place);
        assert_eq!(places, [Some(0), None, Some(0), Some(5008)]);
    }

    #[test]
    fn fingerprints_stand_before_the_extensions() {
        let named = |location: &str| {
            let (location, source) = (location.to_owned(), String::new());
            Sidecar { location, source, parts: Vec::new() }.fingerprinted()
        };
        assert_eq!(named("a/m.onnx.data"), "a/m-cbf29ce484222325.onnx.data");
        assert_eq!(named("weights"), "weights-cbf29ce484222325");
        assert_eq!(named(".hidden"), ".hidden-cbf29ce484222325");
    }
}
