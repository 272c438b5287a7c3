#!/usr/bin/env python3
"""Kernels that ONNX Runtime runs for quantized models: this project beside ONNX Runtime's quantizer.

    python3 scripts/count-kernels.py MARQUETRY ZOO [--only NAME,..] [--out TABLE.md]

Every trained model of the zoo (opset 17) and MiniLM are quantized to 8-bit weights and activations, per
channel, for our targets `ort-cpu` and `ort-cpu-avx2` and by the quantizer of ONNX Runtime, with defaults
otherwise and with the same calibration samples, and run once on a CPU with all optimizations. The profiler says which kernels ran. Counted are those that multiply or
add on integers, those that otherwise take or give integers (`moves`), those that multiply in float,
quantizing and dequantizing, and the rest in float.

Needs numpy, onnx and onnxruntime.
"""

import argparse
import collections
import importlib
import json
import pathlib
import tempfile

import numpy as np
import onnxruntime

import evaluate

accuracy = importlib.import_module("compare-accuracy")

PRODUCTS = {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MultiHeadAttention", "Attention"}
INTEGER = {"ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QAttention", "QGemm"}
WRITERS = [("ort-cpu", "`ort-cpu`"), ("ort-cpu-avx2", "`ort-cpu-avx2`"), (None, "ONNX Runtime")]
CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def kernels(model, feed, folder):
    """Operators with the number of nodes that ran, and those that took or gave 8-bit integers."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / model.stem)
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    seen = {}
    for event in json.loads(pathlib.Path(session.end_profiling()).read_text()):
        args = event.get("args", {})
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        types = {kind for one in args.get("input_type_shape", [])[:1] + args.get("output_type_shape", []) for kind in one}
        seen[args.get("node_index"), event["name"]] = (args["op_name"], bool(types & {"uint8", "int8"}))
    return collections.Counter(seen.values())


def kind(op, narrow):
    if op in CONVERSIONS:
        return "conversions"
    if op in INTEGER or op.startswith("QLinear"):
        return "integer"
    if op in PRODUCTS:
        return "float products"
    return "moves" if narrow else "float rest"


def table(counts):
    sums = collections.Counter()
    for (op, narrow), count in counts.items():
        sums[kind(op, narrow)] += count
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    trained = args.zoo / "open" / "trained"
    models = sorted(trained.glob("*.ts17.onnx")) + sorted((args.zoo / "minilm").glob("*.onnx"))
    kinds = ["integer", "moves", "float products", "conversions", "float rest"]
    lines = ["| model | by | " + " | ".join(kinds) + " | integer kernels |", "|---|---|" + "---|" * len(kinds) + "---|"]
    fewer = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for model in models:
            family = model.name.split(".")[0]
            if args.only and family not in args.only:
                continue
            if family == "minilm":
                calib = args.zoo / "minilm" / "calib.npz"
                arrays = {one: np.load(calib)[one] for one in ("input_ids", "attention_mask", "token_type_ids")}
            else:
                file = "data_mlp_cancer.npz" if family == "mlp_cancer" else "data_digits.npz"
                calib = folder / f"calib.{file}"
                arrays = {"x": np.load(trained / file)["calib_x"].astype(np.float32)}
                np.savez(calib, **arrays)
            feed = next(evaluate.batches(arrays, 1))
            integers = {}
            for target, by in WRITERS:
                out = folder / f"{model.stem}.onnx"
                if target:
                    accuracy.ours(args.marquetry, model, calib, 8, 8, None, out, target)
                else:
                    accuracy.runtime(model, arrays, 8, 8, out)
                counts = kernels(out, feed, folder)
                sums = table(counts)
                integers[target] = sums["integer"]
                ops = collections.Counter()
                for (op, narrow), count in counts.items():
                    if kind(op, narrow) == "integer":
                        ops[op] += count
                named = ", ".join(f"{count} {op}" for op, count in sorted(ops.items()))
                line = f"| {family} | {by} | " + " | ".join(str(sums[one]) for one in kinds) + f" | {named} |"
                print(line, flush=True)
                lines.append(line)
                float_ops = collections.Counter()
                for (op, narrow), count in counts.items():
                    if kind(op, narrow) in ("float products", "float rest", "moves"):
                        float_ops[f"{op} on integers" if narrow else op] += count
                print(f"  {by} besides: " + ", ".join(f"{count} {op}" for op, count in sorted(float_ops.items())), flush=True)
            if integers["ort-cpu"] < integers[None]:
                fewer.append(f"{family} {integers['ort-cpu']} of {integers[None]}")
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print("fewer integer kernels: " + (", ".join(fewer) or "nowhere"))


if __name__ == "__main__":
    main()
