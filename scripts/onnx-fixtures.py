"""Writes the small models of `tests/fixtures/onnx` with the official package.

    python scripts/onnx-fixtures.py tests/fixtures/onnx

`every-field.onnx` fills every field of the format that a reader is asked to keep, which the script
checks against the descriptor; `tied.onnx` has three tensors in two ranges of `tied.onnx.data`.
"""

import pathlib
import sys

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from google.protobuf.descriptor import FieldDescriptor

# Not in the fixture: no reader knows what a segment means, and external data is in the other one.
ABSENT = {"TensorProto.segment", "TensorProto.Segment.begin", "TensorProto.Segment.end"}
EXTERNAL = {"TensorProto.external_data", "TensorProto.data_location"}


def entries(repeated, **pairs):
    for key, value in pairs.items():
        repeated.add(key=key, value=value)


def value_info(name, dtype=TensorProto.FLOAT, shape=("N", 2)):
    return helper.make_tensor_value_info(name, dtype, shape)


def tensors():
    """One tensor for each element type in `raw_data` and in its typed field."""
    sub_byte = {
        "UINT4": ml_dtypes.uint4, "INT4": ml_dtypes.int4, "FLOAT4E2M1": ml_dtypes.float4_e2m1fn,
        "UINT2": ml_dtypes.uint2, "INT2": ml_dtypes.int2,
        "FLOAT6E2M3": ml_dtypes.float6_e2m3fn, "FLOAT6E3M2": ml_dtypes.float6_e3m2fn,
    }
    for name, number in TensorProto.DataType.items():
        if name == "UNDEFINED":
            continue
        if name == "STRING":
            yield helper.make_tensor("typed_STRING", number, [2], [b"text", b"\xff\x00"])
            continue
        elements = [0, 1, 1] if name == "BOOL" else [1, 0, 2] if name == "FLOAT8E8M0" else [1, 0, 1]
        dtype = sub_byte.get(name) or helper.tensor_dtype_to_np_dtype(number)
        array = np.array(elements).astype(dtype)
        yield numpy_helper.from_array(array, f"raw_{name}")
        typed = helper.make_tensor(f"typed_{name}", number, [3], array.tolist())
        assert not typed.HasField("raw_data")
        yield typed


def sparse(name):
    values = numpy_helper.from_array(np.array([1.5, 2.5], np.float32), name)
    indices = numpy_helper.from_array(np.array([0, 3], np.int64), f"{name}_indices")
    return helper.make_sparse_tensor(values, indices, [2, 2])


def types():
    inner = helper.make_tensor_type_proto(TensorProto.INT64, None)
    dense = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 3, None])
    dense.denotation = "IMAGE"
    dense.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    sparse_type = onnx.TypeProto()
    sparse_type.sparse_tensor_type.elem_type = TensorProto.FLOAT
    sparse_type.sparse_tensor_type.shape.dim.add(dim_value=2)
    opaque = onnx.TypeProto()
    opaque.opaque_type.domain, opaque.opaque_type.name = "org.example", "Handle"
    return {
        "dense": dense,
        "sparse": sparse_type,
        "sequence": helper.make_sequence_type_proto(inner),
        "optional": helper.make_optional_type_proto(inner),
        "map": helper.make_map_type_proto(TensorProto.STRING, inner),
        "opaque": opaque,
    }


def attributes():
    small = numpy_helper.from_array(np.array([1.0], np.float32), "own_name")
    tiny = helper.make_graph([helper.make_node("Identity", ["x"], ["tiny"])], "tiny", [], [value_info("tiny")])
    values = dict(
        f=0.5, i=-3, s=b"\xfe", t=small, g=tiny, floats=[1.0, 2.0], ints=[1, 2], strings=[b"a", b"\xff"],
        tensors=[small, small], graphs=[tiny], sparse_tensor=sparse("inner"),
        sparse_tensors=[sparse("inner")], tp=types()["sequence"], type_protos=[types()["dense"]],
    )
    made = [helper.make_attribute(f"attribute_{name}", value) for name, value in values.items()]
    made[0].doc_string = "documentation of an attribute"
    return made


def branch(name):
    node = helper.make_node("Add", ["x", "raw_FLOAT_like"], [f"{name}_out"])
    graph = helper.make_graph([node], name, [], [value_info(f"{name}_out")])
    entries(graph.metadata_props, of=name)
    return graph


def function():
    reference = helper.make_node("Elu", ["a"], ["e"])
    reference.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    made = helper.make_function(
        "org.example", "Activate", ["a"], ["r"],
        [reference, helper.make_node("Add", ["e", "e"], ["r"])],
        [helper.make_opsetid("", 21)], ["needed"], [helper.make_attribute("alpha", 0.75)],
        doc_string="documentation of a function", overload="fast", value_info=[value_info("e")],
    )
    entries(made.metadata_props, of="function")
    return made


def every_field():
    nodes = []
    plain = helper.make_node("Activate", ["x"], ["h"], name="call", domain="org.example", overload="fast")
    plain.attribute.append(helper.make_attribute("needed", 1))
    plain.doc_string = "documentation of a node"
    entries(plain.metadata_props, of="node")
    device = plain.device_configurations.add(configuration_id="pair", pipeline_stage=1)
    spec = device.sharding_spec.add(tensor_name="x", device=[-1, 0])
    spec.index_to_device_group_map.add(key=-1, value=[0, 1])
    dim = spec.sharded_dim.add(axis=0)
    dim.simple_sharding.add(dim_value=2, num_shards=2)
    dim.simple_sharding.add(dim_param="N", num_shards=2)
    nodes.append(plain)
    everything = helper.make_node("Everything", ["h", "", "typed_FLOAT"], ["k", "", "other"], domain="org.example")
    everything.attribute.extend(attributes())
    nodes.append(everything)
    nodes.append(helper.make_node(
        "If", ["condition"], ["y"], then_branch=branch("then"), else_branch=branch("else")))
    inputs = [value_info("x"), value_info("condition", TensorProto.BOOL, [])]
    inputs += [helper.make_value_info(f"input_{name}", type_) for name, type_ in types().items()]
    inputs.append(value_info("default", TensorProto.FLOAT, [1]))
    inputs[0].doc_string = "documentation of a value"
    entries(inputs[0].metadata_props, of="value")
    default = numpy_helper.from_array(np.array([1.0], np.float32), "default")
    like = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "raw_FLOAT_like")
    like.doc_string = "documentation of a tensor"
    entries(like.metadata_props, of="tensor")
    graph = helper.make_graph(
        nodes, "main", inputs, [value_info("y"), value_info("k")], [*tensors(), default, like],
        "documentation of a graph", [value_info("h"), value_info("other", TensorProto.INT8)],
        [sparse("sparse_constant")],
    )
    annotation = graph.quantization_annotation.add(tensor_name="h")
    entries(annotation.quant_parameter_tensor_names, SCALE_TENSOR="typed_FLOAT", ZERO_POINT_TENSOR="typed_INT8")
    entries(graph.metadata_props, of="graph")
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("org.example", 1)],
        functions=[function()], ir_version=14, producer_name="fixtures", producer_version="1",
        domain="org.example", model_version=3, doc_string="documentation of a model",
    )
    entries(model.metadata_props, of="model")
    step = helper.make_graph([helper.make_node("Identity", ["h"], ["g"])], "step", [], [value_info("g")])
    training = model.training_info.add(initialization=step, algorithm=step)
    entries(training.initialization_binding, a="b")
    entries(training.update_binding, c="d")
    model.configuration.add(name="pair", num_devices=2, device=["one", "two"])
    return model


def tied():
    weights = np.arange(6, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["k"]),
        helper.make_node("Add", ["k", "c"], ["y"]),
    ]
    shapes = {"a": ([2, 2], 0), "b": ([2, 2], 0), "c": ([2], 16)}
    initializers = []
    for name, (shape, offset) in shapes.items():
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        length = 4 * int(np.prod(shape))
        entries(tensor.external_data, location="tied.onnx.data", offset=str(offset), length=str(length))
        initializers.append(tensor)
    graph = helper.make_graph(nodes, "tied", [value_info("x")], [value_info("y")], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, weights.tobytes()


def used(message, seen):
    for field, value in message.ListFields():
        seen.add(f"{message.DESCRIPTOR.full_name.removeprefix('onnx.')}.{field.name}")
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else [value]:
                used(item, seen)
    return seen


def known(descriptor):
    name = descriptor.full_name.removeprefix("onnx.")
    found = {f"{name}.{field.name}" for field in descriptor.fields}
    return found.union(*(known(nested) for nested in descriptor.nested_types))


def main():
    folder = pathlib.Path(sys.argv[1])
    model = every_field()
    everything = set().union(*map(known, onnx.ModelProto.DESCRIPTOR.file.message_types_by_name.values()))
    missing = everything - used(model, set()) - ABSENT - EXTERNAL
    assert not missing, missing
    (folder / "every-field.onnx").write_bytes(model.SerializeToString(deterministic=True))
    model, data = tied()
    (folder / "tied.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / "tied.onnx.data").write_bytes(data)


if __name__ == "__main__":
    main()
