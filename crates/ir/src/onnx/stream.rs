//! A model message as bytes, one piece after the other.
//!
//! `prost` encodes into memory, which for a model of many gigabytes is a second copy of its
//! tensors. Here the messages on the way to a tensor's `raw_data` are opened up, and it goes
//! straight from the mapped file to the output. The bytes are those that `prost` gives.

use std::io::{self, Write};
use std::mem::take;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::proto;

/// Writes what `model.encode_to_vec()` would hold.
pub(super) fn write(mut model: proto::Model, out: &mut dyn Write) -> io::Result<()> {
    let mut pieces = Pieces { out, scratch: Vec::new() };
    let after = proto::Model {
        opset_import: take(&mut model.opset_import),
        metadata_props: take(&mut model.metadata_props),
        training_info: take(&mut model.training_info),
        functions: take(&mut model.functions),
        configuration: take(&mut model.configuration),
        ..proto::Model::default()
    };
    let graph = model.graph.take();
    pieces.fields(&model)?;
    if let Some(graph) = graph {
        pieces.open(7, graph.encoded_len())?;
        pieces.graph(graph)?;
    }
    pieces.fields(&after)
}

struct Pieces<'a> {
    out: &'a mut dyn Write,
    scratch: Vec<u8>,
}

impl Pieces<'_> {
    /// Writes all fields of a message that is small enough.
    fn fields(&mut self, message: &impl Message) -> io::Result<()> {
        self.scratch.clear();
        message.encode(&mut self.scratch).expect("a `Vec` grows as needed");
        self.out.write_all(&self.scratch)
    }

    /// Writes the tag and the length of a field whose content follows.
    fn open(&mut self, number: u32, length: usize) -> io::Result<()> {
        self.scratch.clear();
        encode_key(number, WireType::LengthDelimited, &mut self.scratch);
        encode_varint(length as u64, &mut self.scratch);
        self.out.write_all(&self.scratch)
    }

    fn graph(&mut self, mut graph: proto::Graph) -> io::Result<()> {
        let after = proto::Graph {
            doc_string: graph.doc_string.take(),
            input: take(&mut graph.input),
            output: take(&mut graph.output),
            value_info: take(&mut graph.value_info),
            quantization_annotation: take(&mut graph.quantization_annotation),
            sparse_initializer: take(&mut graph.sparse_initializer),
            metadata_props: take(&mut graph.metadata_props),
            ..proto::Graph::default()
        };
        let initializers = take(&mut graph.initializer);
        for node in take(&mut graph.node) {
            self.open(1, node.encoded_len())?;
            self.fields(&node)?;
        }
        self.fields(&graph)?;
        for initializer in initializers {
            self.open(5, initializer.encoded_len())?;
            self.tensor(initializer)?;
        }
        self.fields(&after)
    }

    fn tensor(&mut self, mut tensor: proto::Tensor) -> io::Result<()> {
        let after = proto::Tensor {
            double_data: take(&mut tensor.double_data),
            uint64_data: take(&mut tensor.uint64_data),
            doc_string: tensor.doc_string.take(),
            external_data: take(&mut tensor.external_data),
            data_location: tensor.data_location.take(),
            metadata_props: take(&mut tensor.metadata_props),
            ..proto::Tensor::default()
        };
        let raw_data = tensor.raw_data.take();
        self.fields(&tensor)?;
        if let Some(raw_data) = raw_data {
            self.open(9, raw_data.len())?;
            self.out.write_all(&raw_data)?;
        }
        self.fields(&after)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_pieces_are_what_prost_encodes() {
        let text = |text: &str| Some(text.to_owned());
        let entry = proto::StringEntry { key: text("k"), value: text("v") };
        let tensor = proto::Tensor {
            dims: vec![2],
            data_type: Some(2),
            name: text("w"),
            raw_data: Some(Bytes::from_static(b"ab")),
            double_data: vec![1.0],
            doc_string: text("doc"),
            metadata_props: vec![entry.clone()],
            ..proto::Tensor::default()
        };
        let graph = proto::Graph {
            node: vec![proto::Node { op_type: text("Relu"), ..proto::Node::default() }],
            name: text("g"),
            initializer: vec![tensor.clone(), proto::Tensor::default()],
            doc_string: text("doc"),
            metadata_props: vec![entry.clone()],
            sparse_initializer: vec![proto::SparseTensor {
                values: Some(tensor),
                ..proto::SparseTensor::default()
            }],
            ..proto::Graph::default()
        };
        let model = proto::Model {
            ir_version: Some(8),
            producer_name: text("p"),
            graph: Some(graph),
            opset_import: vec![proto::OpsetId { domain: text(""), version: Some(17) }],
            metadata_props: vec![entry],
            ..proto::Model::default()
        };
        let mut written = Vec::new();
        write(model.clone(), &mut written).unwrap();
        assert_eq!(written, model.encode_to_vec());
    }
}
