//! Every message and field of the ONNX format, as data.
//!
//! [`screen`](super::screen) walks bytes along this table before `prost` sees them.
//! The table says what [`proto`] says, once more; the tests hold the two and the descriptor of
//! the official package together.

use super::proto;

/// A message: its name in the format, the memory one takes when decoded, its fields by number.
#[derive(Debug)]
pub(super) struct Message {
    /// As the format calls it, such as `TensorProto.Segment`.
    pub(super) name: &'static str,
    /// Bytes of the decoded struct, without what it points to.
    pub(super) size: usize,
    /// Ascending by number.
    pub(super) fields: &'static [Field],
}

impl Message {
    /// Returns the field with this number.
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some(&self.fields[at])
    }
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) label: Label,
    pub(super) kind: Kind,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// At most once.
    One,
    /// At most once, and only without the others of the named group.
    Either(&'static str),
    /// Any number of times.
    Many,
    /// Any number of times, written as one run of bytes.
    Packed,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Int32,
    Int64,
    Uint64,
    /// An enumeration, with its name in the format.
    Enum(
        #[cfg_attr(not(test), allow(dead_code, reason = "compared with the descriptor"))]
        &'static str,
    ),
    Float,
    Double,
    String,
    Bytes,
    Message(&'static Message),
}

use Kind::{Bytes, Double, Enum, Float, Int32, Int64, String, Uint64};

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, label: Label::One, kind }
}

const fn either(number: u32, name: &'static str, kind: Kind, group: &'static str) -> Field {
    Field { number, name, label: Label::Either(group), kind }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, label: Label::Many, kind }
}

const fn packed(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, label: Label::Packed, kind }
}

pub(super) static MODEL: Message = Message {
    name: "ModelProto",
    size: size_of::<proto::Model>(),
    fields: &[
        one(1, "ir_version", Int64),
        one(2, "producer_name", String),
        one(3, "producer_version", String),
        one(4, "domain", String),
        one(5, "model_version", Int64),
        one(6, "doc_string", String),
        one(7, "graph", Kind::Message(&GRAPH)),
        many(8, "opset_import", Kind::Message(&OPSET_ID)),
        many(14, "metadata_props", Kind::Message(&STRING_ENTRY)),
        many(20, "training_info", Kind::Message(&TRAINING_INFO)),
        many(25, "functions", Kind::Message(&FUNCTION)),
        many(26, "configuration", Kind::Message(&DEVICE_CONFIGURATION)),
    ],
};

pub(super) static OPSET_ID: Message = Message {
    name: "OperatorSetIdProto",
    size: size_of::<proto::OpsetId>(),
    fields: &[one(1, "domain", String), one(2, "version", Int64)],
};

pub(super) static STRING_ENTRY: Message = Message {
    name: "StringStringEntryProto",
    size: size_of::<proto::StringEntry>(),
    fields: &[one(1, "key", String), one(2, "value", String)],
};

pub(super) static GRAPH: Message = Message {
    name: "GraphProto",
    size: size_of::<proto::Graph>(),
    fields: &[
        many(1, "node", Kind::Message(&NODE)),
        one(2, "name", String),
        many(5, "initializer", Kind::Message(&TENSOR)),
        one(10, "doc_string", String),
        many(11, "input", Kind::Message(&VALUE_INFO)),
        many(12, "output", Kind::Message(&VALUE_INFO)),
        many(13, "value_info", Kind::Message(&VALUE_INFO)),
        many(14, "quantization_annotation", Kind::Message(&TENSOR_ANNOTATION)),
        many(15, "sparse_initializer", Kind::Message(&SPARSE_TENSOR)),
        many(16, "metadata_props", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static NODE: Message = Message {
    name: "NodeProto",
    size: size_of::<proto::Node>(),
    fields: &[
        many(1, "input", String),
        many(2, "output", String),
        one(3, "name", String),
        one(4, "op_type", String),
        many(5, "attribute", Kind::Message(&ATTRIBUTE)),
        one(6, "doc_string", String),
        one(7, "domain", String),
        one(8, "overload", String),
        many(9, "metadata_props", Kind::Message(&STRING_ENTRY)),
        many(10, "device_configurations", Kind::Message(&NODE_DEVICE_CONFIGURATION)),
    ],
};

pub(super) static ATTRIBUTE: Message = Message {
    name: "AttributeProto",
    size: size_of::<proto::Attribute>(),
    fields: &[
        one(1, "name", String),
        one(2, "f", Float),
        one(3, "i", Int64),
        one(4, "s", Bytes),
        one(5, "t", Kind::Message(&TENSOR)),
        one(6, "g", Kind::Message(&GRAPH)),
        many(7, "floats", Float),
        many(8, "ints", Int64),
        many(9, "strings", Bytes),
        many(10, "tensors", Kind::Message(&TENSOR)),
        many(11, "graphs", Kind::Message(&GRAPH)),
        one(13, "doc_string", String),
        one(14, "tp", Kind::Message(&TYPE)),
        many(15, "type_protos", Kind::Message(&TYPE)),
        one(20, "type", Enum("AttributeProto.AttributeType")),
        one(21, "ref_attr_name", String),
        one(22, "sparse_tensor", Kind::Message(&SPARSE_TENSOR)),
        many(23, "sparse_tensors", Kind::Message(&SPARSE_TENSOR)),
    ],
};

pub(super) static VALUE_INFO: Message = Message {
    name: "ValueInfoProto",
    size: size_of::<proto::ValueInfo>(),
    fields: &[
        one(1, "name", String),
        one(2, "type", Kind::Message(&TYPE)),
        one(3, "doc_string", String),
        many(4, "metadata_props", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static FUNCTION: Message = Message {
    name: "FunctionProto",
    size: size_of::<proto::Function>(),
    fields: &[
        one(1, "name", String),
        many(4, "input", String),
        many(5, "output", String),
        many(6, "attribute", String),
        many(7, "node", Kind::Message(&NODE)),
        one(8, "doc_string", String),
        many(9, "opset_import", Kind::Message(&OPSET_ID)),
        one(10, "domain", String),
        many(11, "attribute_proto", Kind::Message(&ATTRIBUTE)),
        many(12, "value_info", Kind::Message(&VALUE_INFO)),
        one(13, "overload", String),
        many(14, "metadata_props", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static TRAINING_INFO: Message = Message {
    name: "TrainingInfoProto",
    size: size_of::<proto::TrainingInfo>(),
    fields: &[
        one(1, "initialization", Kind::Message(&GRAPH)),
        one(2, "algorithm", Kind::Message(&GRAPH)),
        many(3, "initialization_binding", Kind::Message(&STRING_ENTRY)),
        many(4, "update_binding", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static TENSOR: Message = Message {
    name: "TensorProto",
    size: size_of::<proto::Tensor>(),
    fields: &[
        many(1, "dims", Int64),
        one(2, "data_type", Int32),
        one(3, "segment", Kind::Message(&SEGMENT)),
        packed(4, "float_data", Float),
        packed(5, "int32_data", Int32),
        many(6, "string_data", Bytes),
        packed(7, "int64_data", Int64),
        one(8, "name", String),
        one(9, "raw_data", Bytes),
        packed(10, "double_data", Double),
        packed(11, "uint64_data", Uint64),
        one(12, "doc_string", String),
        many(13, "external_data", Kind::Message(&STRING_ENTRY)),
        one(14, "data_location", Enum("TensorProto.DataLocation")),
        many(16, "metadata_props", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static SEGMENT: Message = Message {
    name: "TensorProto.Segment",
    size: size_of::<proto::Segment>(),
    fields: &[one(1, "begin", Int64), one(2, "end", Int64)],
};

pub(super) static SPARSE_TENSOR: Message = Message {
    name: "SparseTensorProto",
    size: size_of::<proto::SparseTensor>(),
    fields: &[
        one(1, "values", Kind::Message(&TENSOR)),
        one(2, "indices", Kind::Message(&TENSOR)),
        many(3, "dims", Int64),
    ],
};

pub(super) static TENSOR_ANNOTATION: Message = Message {
    name: "TensorAnnotation",
    size: size_of::<proto::TensorAnnotation>(),
    fields: &[
        one(1, "tensor_name", String),
        many(2, "quant_parameter_tensor_names", Kind::Message(&STRING_ENTRY)),
    ],
};

pub(super) static TYPE: Message = Message {
    name: "TypeProto",
    size: size_of::<proto::Type>(),
    fields: &[
        either(1, "tensor_type", Kind::Message(&TENSOR_TYPE), "value"),
        either(4, "sequence_type", Kind::Message(&SEQUENCE_TYPE), "value"),
        either(5, "map_type", Kind::Message(&MAP_TYPE), "value"),
        one(6, "denotation", String),
        either(7, "opaque_type", Kind::Message(&OPAQUE_TYPE), "value"),
        either(8, "sparse_tensor_type", Kind::Message(&SPARSE_TENSOR_TYPE), "value"),
        either(9, "optional_type", Kind::Message(&OPTIONAL_TYPE), "value"),
    ],
};

pub(super) static TENSOR_TYPE: Message = Message {
    name: "TypeProto.Tensor",
    size: size_of::<proto::TensorType>(),
    fields: &[one(1, "elem_type", Int32), one(2, "shape", Kind::Message(&SHAPE))],
};

pub(super) static SPARSE_TENSOR_TYPE: Message = Message {
    name: "TypeProto.SparseTensor",
    size: size_of::<proto::SparseTensorType>(),
    fields: &[one(1, "elem_type", Int32), one(2, "shape", Kind::Message(&SHAPE))],
};

pub(super) static SEQUENCE_TYPE: Message = Message {
    name: "TypeProto.Sequence",
    size: size_of::<proto::SequenceType>(),
    fields: &[one(1, "elem_type", Kind::Message(&TYPE))],
};

pub(super) static OPTIONAL_TYPE: Message = Message {
    name: "TypeProto.Optional",
    size: size_of::<proto::OptionalType>(),
    fields: &[one(1, "elem_type", Kind::Message(&TYPE))],
};

pub(super) static MAP_TYPE: Message = Message {
    name: "TypeProto.Map",
    size: size_of::<proto::MapType>(),
    fields: &[one(1, "key_type", Int32), one(2, "value_type", Kind::Message(&TYPE))],
};

pub(super) static OPAQUE_TYPE: Message = Message {
    name: "TypeProto.Opaque",
    size: size_of::<proto::OpaqueType>(),
    fields: &[one(1, "domain", String), one(2, "name", String)],
};

pub(super) static SHAPE: Message = Message {
    name: "TensorShapeProto",
    size: size_of::<proto::Shape>(),
    fields: &[many(1, "dim", Kind::Message(&DIMENSION))],
};

pub(super) static DIMENSION: Message = Message {
    name: "TensorShapeProto.Dimension",
    size: size_of::<proto::Dimension>(),
    fields: &[
        either(1, "dim_value", Int64, "value"),
        either(2, "dim_param", String, "value"),
        one(3, "denotation", String),
    ],
};

pub(super) static DEVICE_CONFIGURATION: Message = Message {
    name: "DeviceConfigurationProto",
    size: size_of::<proto::DeviceConfiguration>(),
    fields: &[one(1, "name", String), one(2, "num_devices", Int32), many(3, "device", String)],
};

pub(super) static NODE_DEVICE_CONFIGURATION: Message = Message {
    name: "NodeDeviceConfigurationProto",
    size: size_of::<proto::NodeDeviceConfiguration>(),
    fields: &[
        one(1, "configuration_id", String),
        many(2, "sharding_spec", Kind::Message(&SHARDING_SPEC)),
        one(3, "pipeline_stage", Int32),
    ],
};

pub(super) static SHARDING_SPEC: Message = Message {
    name: "ShardingSpecProto",
    size: size_of::<proto::ShardingSpec>(),
    fields: &[
        one(1, "tensor_name", String),
        many(2, "device", Int64),
        many(3, "index_to_device_group_map", Kind::Message(&INT_LIST_ENTRY)),
        many(4, "sharded_dim", Kind::Message(&SHARDED_DIM)),
    ],
};

pub(super) static INT_LIST_ENTRY: Message = Message {
    name: "IntIntListEntryProto",
    size: size_of::<proto::IntListEntry>(),
    fields: &[one(1, "key", Int64), many(2, "value", Int64)],
};

pub(super) static SHARDED_DIM: Message = Message {
    name: "ShardedDimProto",
    size: size_of::<proto::ShardedDim>(),
    fields: &[
        one(1, "axis", Int64),
        many(2, "simple_sharding", Kind::Message(&SIMPLE_SHARDED_DIM)),
    ],
};

pub(super) static SIMPLE_SHARDED_DIM: Message = Message {
    name: "SimpleShardedDimProto",
    size: size_of::<proto::SimpleShardedDim>(),
    fields: &[
        either(1, "dim_value", Int64, "dim"),
        either(2, "dim_param", String, "dim"),
        one(3, "num_shards", Int64),
    ],
};
