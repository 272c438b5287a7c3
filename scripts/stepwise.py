"""Whether two engines compute the same from the same numbers, quantizer by quantizer.

Where outputs of a quantized model differ, it may be one operator that computes something else, or sums that
fall on different sides of a step, which every layer behind them spreads. This tells the two apart: what
ONNX Runtime had behind every QuantizeLinear takes its place, and what our engine computes from there up to the
next one is put beside what ONNX Runtime computed; and each QuantizeLinear of ours gets what that of ONNX Runtime got.
"""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper


def plain(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def everything(model, feeds, folder):
    """What ONNX Runtime has in every value that is a tensor of numbers."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    named = {value.name for value in shown.graph.output}
    for node in shown.graph.node:
        for name in node.output:
            if name and name not in named:
                shown.graph.output.append(onnx.ValueInfoProto(name=name))
    path = folder / "shown.onnx"
    onnx.save(shown, str(path))
    run = plain(path)
    wanted = [value.name for value in run.get_outputs() if value.type.startswith("tensor")]
    needed = {value.name for value in run.get_inputs()}
    fed = {name: array for name, array in feeds.items() if name in needed}
    return dict(zip(wanted, run.run(wanted, fed)))


def constants(model, arrays):
    """A model with the inputs of another that gives these arrays whatever it reads."""
    nodes, initializers, outputs = [], [], []
    for name, array in arrays.items():
        initializers.append(numpy_helper.from_array(array, f"recorded:{name}"))
        nodes.append(helper.make_node("Identity", [f"recorded:{name}"], [name]))
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        outputs.append(helper.make_tensor_value_info(name, element, array.shape))
    defaults = {one.name for one in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in defaults]
    made = helper.make_graph(nodes, "recorded", inputs, outputs, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def beside(binary, expected, model, sample, folder):
    """The signal to noise of each value that `expected` has, where there is noise."""
    paths = [folder / "expected.onnx", folder / "forced.onnx"]
    onnx.save(constants(model, expected), str(paths[0]))
    onnx.save(model, str(paths[1]))
    command = [str(word) for word in [binary, "compare", *paths, "--data", sample, "--json"]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[0])
    rows = {row["name"]: row for row in json.loads(done.stdout)["tensors"]}
    # What is zero on both sides is not listed.
    missing = [name for name, array in expected.items() if name not in rows and array.any()]
    if missing:
        raise RuntimeError(f"{missing[0]} was not compared")
    noise = {}
    for name in expected.keys() & rows.keys():
        row = rows[name]
        if row.get("sqnr_db") is not None:
            noise[name] = float(row["sqnr_db"])
        elif row["max_error"] > 0:
            noise[name] = 0.0  # nothing but noise
    return noise


def cut(model, known):
    """The model with recorded integers in the place of its QuantizeLinear, and the values that it then
    computes from them; and a model that has nothing but these, on recorded numbers."""
    forced, alone = onnx.ModelProto(), onnx.ModelProto()
    forced.CopyFrom(model)
    alone.CopyFrom(model)
    for one in (forced, alone):
        del one.graph.node[:]
        del one.graph.output[:]
    defaults = {one.name for one in model.graph.initializer}
    computed = {}
    for node in model.graph.node:
        usable = node.op_type == "QuantizeLinear" and {node.input[0], node.output[0]} <= known.keys()
        if not usable or not set(node.input[1:]) <= defaults:
            forced.graph.node.append(node)
            continue
        forced.graph.initializer.append(numpy_helper.from_array(known[node.output[0]], node.output[0]))
        computed[node.input[0]] = known[node.input[0]]
        if not np.isfinite(known[node.input[0]]).all():
            # Half precision has infinities where our engine, which computes in single, has large numbers.
            # What counts is the integers that both become.
            ours, shown = f"ours:{node.output[0]}", f"integers:{node.output[0]}"
            made = helper.make_node(node.op_type, list(node.input), [ours])
            made.attribute.extend(node.attribute)
            forced.graph.node.extend([made, helper.make_node("Cast", [ours], [shown], to=onnx.TensorProto.FLOAT)])
            del computed[node.input[0]]
            computed[shown] = known[node.output[0]].astype(np.float32)
        fed = f"fed:{node.output[0]}"
        alone.graph.initializer.append(numpy_helper.from_array(known[node.input[0]], fed))
        alone.graph.node.append(helper.make_node(node.op_type, [fed, *node.input[1:]], list(node.output)))
        alone.graph.node[-1].attribute.extend(node.attribute)
        back = f"back:{node.output[0]}"
        alone.graph.node.append(helper.make_node("Cast", list(node.output), [back], to=onnx.TensorProto.FLOAT))
        alone.graph.output.append(onnx.ValueInfoProto(name=back))
    for value in model.graph.output:
        if value.name in known:
            computed[value.name] = known[value.name]
    computed = {name: array for name, array in computed.items() if array.dtype.kind == "f"}
    made = {name for node in forced.graph.node for name in node.output}
    computed = {name: array for name, array in computed.items() if name in made}
    for name, array in computed.items():
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        forced.graph.output.append(helper.make_tensor_value_info(name, element, array.shape))
    return forced, alone, computed


def worst(binary, path, feeds, sample, folder):
    """How many values were looked at, and the least signal to noise of one in decibels, with its name; of
    the QuantizeLinear, how many gave other integers."""
    model = onnx.load(str(path))
    known = everything(model, feeds, folder)
    forced, alone, computed = cut(model, known)
    noise = beside(binary, computed, forced, sample, folder)
    place = min(noise, key=noise.get) if noise else ""
    onnx.save(alone, str(folder / "alone.onnx"))
    run = plain(folder / "alone.onnx")
    fed = {value.name: feeds[value.name] for value in run.get_inputs()}
    back = dict(zip([value.name for value in run.get_outputs()], run.run(None, fed)))
    other = beside(binary, back, alone, sample, folder)
    return len(computed), noise.get(place, float("inf")), place, len(other)
