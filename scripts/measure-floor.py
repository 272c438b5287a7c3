#!/usr/bin/env python3
"""How far the search of sequential MSE is from the floor: operations over the rate of a plain product.

    python3 scripts/measure-floor.py MARQUETRY [--depth N] [--outputs N] [--rows N] [--rounds N]

A layer of DEPTH inputs and OUTPUTS outputs that reads ROWS rows, one thread. The pass `SeqMse` is run with
few and with many candidates: the difference is what candidates take. The rest is the Gram matrix and reading
the samples, which is measured with a layer that reads 16 columns of the same samples. What is
counted is what is needed: G is symmetric, so that the matrix takes ROWS·DEPTH² operations and a candidate
OUTPUTS·DEPTH², each half of a whole product's. A plain product is numpy's, of one thread, of the same
shapes: the best of the rounds, as the rate that this core reaches.

Needs numpy and onnx.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEW, MANY = 20, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("--depth", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    depth, outputs, rows = args.depth, args.outputs, args.rows
    draw = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        weight = draw.standard_normal((depth, outputs)).astype(np.float32)
        x = draw.standard_normal((rows, depth)).astype(np.float32)
        def save(path, nodes, weights):
            graph = helper.make_graph(
                nodes,
                "layer",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", depth])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])],
                [numpy_helper.from_array(array, name) for name, array in weights.items()],
            )
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)

        save(folder / "whole.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")], {"w": weight})
        ends = {name: np.array([value], np.int64) for name, value in (("from", 0), ("to", 16), ("axis", 1))}
        save(
            folder / "part.onnx",
            [
                helper.make_node("Slice", ["x", *ends], ["few"], name="part"),
                helper.make_node("MatMul", ["few", "w"], ["y"], name="layer"),
            ],
            {"w": weight[:16], **ends},
        )
        np.savez(folder / "x.npz", x=x)

        def ours(model, candidates):
            command = [args.marquetry, "--threads", "1", "quantize", folder / model, "--calib", folder / "x.npz"]
            command += ["--batch", "1024", "-o", folder / "o.onnx", "--weights", "int4", "--activations", "uint16"]
            command += ["--rounding", "nearest", "--no-equalize", f"--seq-mse={candidates}"]
            command += ["--report", folder / "o.json", "--quiet"]
            subprocess.run([str(word) for word in command], check=True, capture_output=True)
            passes = json.loads((folder / "o.json").read_text())["passes"]
            return next(one["seconds"] for one in passes if one["pass"] == "SeqMse")

        def plain(a, b):
            start = time.perf_counter()
            a @ b
            return 2.0 * a.shape[0] * a.shape[1] * b.shape[1] / (time.perf_counter() - start)

        block = x[:1024]
        rounds = [
            (
                ours("whole.onnx", FEW),
                ours("whole.onnx", MANY),
                ours("part.onnx", FEW),
                plain(block.T, block),
                plain(block, weight),
            )
            for _ in range(args.rounds)
        ]
    few, many, reading = (min(one[at] for one in rounds) for at in (0, 1, 2))
    rates = [max(one[at] for one in rounds) / 1e9 for at in (3, 4)]
    candidate = (many - few) / (MANY - FEW)
    gram = few - FEW * candidate - reading
    lines = [
        ("Gram matrix", gram, rows * depth * depth / gram / 1e9, rates[0]),
        ("candidates", candidate * FEW, outputs * depth * depth / candidate / 1e9, rates[1]),
    ]
    print("| part | seconds | GFLOP/s that are needed | of a plain product | share |\n|---|---|---|---|---|")
    for name, seconds, rate, peak in lines:
        print(f"| {name} | {seconds:.3f} | {rate:.1f} | {peak:.1f} | {100 * rate / peak:.0f} % |")


if __name__ == "__main__":
    main()
