"""Compares our shape inference with the official one and with shapes of a real run.

    cargo build --release -p marquetry-ir --example shapes
    python3 scripts/compare-shapes.py target/release/examples/shapes MODEL.onnx...

For each model: values that nodes compute; how many have a known rank and a fully known shape, ours and
`onnx.shape_inference` (strict off, data propagation on); and contradictions, which must be none. Beside a
model, `MODEL.npz` with arrays `in:<input>` gives the inputs of a run with ONNX Runtime, whose shapes are
the second witness. `--stripped` removes declared types of inner values first.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime as ort


def theirs(model):
    inferred = onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    out = {}
    for info in [*inferred.graph.value_info, *inferred.graph.output]:
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            continue
        shape = None
        if tensor.HasField("shape"):
            shape = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
        out[info.name] = (onnx.helper.tensor_dtype_to_string(tensor.elem_type).split(".")[-1].lower()
                          if tensor.elem_type else "?", shape)
    return out


def ours(tool, path):
    done = subprocess.run([tool, path], capture_output=True, text=True, check=True)
    out = {}
    for line in done.stdout.splitlines():
        name, dtype, shape, *conflict = line.split("\t")
        dims = None if shape == "?" else [
            int(d) if d.lstrip("-").isdigit() else d for d in shape[1:-1].split(";") if d]
        out[name] = (dtype, dims)
        if conflict:
            print(f"  conflict with the declaration of {name}")
    return out, done.stderr.strip()


def actual(model, path, names):
    npz = path.removesuffix(".onnx") + ".npz"
    # A session with many thousands of outputs takes hours.
    if not os.path.exists(npz) or len(names) > 20000:
        return {}
    data = np.load(npz)
    feeds = {k[3:]: data[k] for k in data.files if k.startswith("in:")}
    outputs = {o.name for o in model.graph.output}
    for name in names:
        if name not in outputs:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    shapes = {}
    names = [o.name for o in session.get_outputs()]
    for at in range(0, len(names), 64):
        part = names[at:at + 64]
        for name, value in zip(part, session.run(part, feeds)):
            if isinstance(value, np.ndarray):
                shapes[name] = (str(value.dtype), list(value.shape))
    return shapes


def contradicts(a, b):
    if a is None or b is None:
        return False
    return len(a) != len(b) or any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in zip(a, b))


SAME = {"float32": "float", "float64": "double"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--stripped", action="store_true")
    parser.add_argument("--missing", action="store_true", help="list values that the official inference knows better")
    options = parser.parse_args()
    total = dict(values=0, rank=0, full=0, their_rank=0, their_full=0, dtype=0, wrong=0, run=0, wrong_run=0, worse=0)
    for path in options.models:
        model = onnx.load(path, load_external_data=False)
        producer = {o: n.op_type for n in model.graph.node for o in n.output if o}
        with tempfile.TemporaryDirectory() as folder:
            read = path
            if options.stripped:
                del model.graph.value_info[:]
                read = os.path.join(folder, "model.onnx")
                onnx.save(model, read)
            mine, time = ours(options.tool, read)
        other = theirs(model)
        try:
            run = actual(model, path, [n for n in producer])
        except Exception as error:  # the second witness is optional
            run = {}
            print(f"  no run: {str(error)[:100]}")
        row = dict.fromkeys(total, 0)
        full = lambda s: s is not None and all(isinstance(d, int) for d in s)
        for name, op in producer.items():
            dtype, shape = mine.get(name, ("?", None))
            their_dtype, their_shape = other.get(name, ("?", None))
            row["values"] += 1
            row["rank"] += shape is not None
            row["full"] += full(shape)
            row["dtype"] += dtype != "?"
            row["their_rank"] += their_shape is not None
            row["their_full"] += full(their_shape)
            their_dtype = SAME.get(their_dtype, their_dtype)
            if contradicts(shape, their_shape) or ("?" not in (dtype, their_dtype) and dtype != their_dtype):
                row["wrong"] += 1
                print(f"  {op} {name}: ours {dtype}{shape}, official {their_dtype}{their_shape}")
            worse = their_shape is not None and (shape is None or any(
                isinstance(t, int) and not isinstance(o, int) for o, t in zip(shape, their_shape)))
            row["worse"] += worse
            if worse and options.missing:
                print(f"  {op} {name}: ours {shape}, official {their_shape}")
            if name in run:
                row["run"] += 1
                ran, ran_shape = run[name]
                ran = SAME.get(ran, ran)
                symbols = {}
                bad = contradicts(shape, ran_shape)
                if bad or (dtype not in ("?", ran) and ran not in ("object",)):
                    row["wrong_run"] += 1
                    print(f"  {op} {name}: ours {dtype}{shape}, run {ran}{ran_shape}")
        symbols = {}
        for name in [*mine]:
            ran = run.get(name, (None, None))[1]
            for d, r in zip(mine[name][1] or [], ran or []):
                if isinstance(d, str) and d != "?" and symbols.setdefault(d, r) != r:
                    row["wrong_run"] += 1
                    print(f"  {name}: symbol {d} is {symbols[d]} elsewhere, run {ran}")
        for key in total:
            total[key] += row[key]
        print(os.path.basename(path), " ".join(f"{k} {v}" for k, v in row.items()), time)
    print("TOTAL", " ".join(f"{k} {v}" for k, v in total.items()))
    return 1 if total["wrong_run"] else 0


if __name__ == "__main__":
    sys.exit(main())
