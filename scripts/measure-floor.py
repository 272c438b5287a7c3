#!/usr/bin/env python3
"""How far the search of sequential MSE is from the floor: operations over the rate of a plain product.

    python3 scripts/measure-floor.py MARQUETRY [--depth N] [--outputs N] [--rows N] [--rounds N]

A layer of DEPTH inputs and OUTPUTS outputs that reads ROWS rows, one thread. The pass `SeqMse` is run with
few and with many candidates: the difference is what candidates take. The rest is the Gram matrix and reading
the samples, which is measured with a layer that reads 16 columns of the same samples. What is
counted is what is needed: G is symmetric, so that the matrix takes ROWS·DEPTH² operations and a candidate
OUTPUTS·DEPTH², each half of a whole product's. A plain product is numpy's, of one thread, of the same
shapes: the best of the rounds, as the rate that this core reaches.

All of it is done with ROWS rows and with ten times as many, with the peak of the resident set of the whole
command: what candidates take, and memory, should not grow. Of the Gram matrix the last line tells what the
rows that were added took: the others hold what is done once for a layer too, whatever it reads.

Needs numpy and onnx.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from peak import run as peak_of

FEW, MANY = 20, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("--depth", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    depth, outputs = args.depth, args.outputs
    draw = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        weight = draw.standard_normal((depth, outputs)).astype(np.float32)
        # Not the same matrix twice, of which numpy would compute one half.
        block, other = draw.standard_normal((2, 1024, depth)).astype(np.float32)
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
        def ours(model, candidates):
            command = [args.marquetry, "--threads", "1", "quantize", folder / model, "--calib", folder / "x.npz"]
            command += ["--batch", "1024", "-o", folder / "o.onnx", "--weights", "int4", "--activations", "uint16"]
            command += ["--rounding", "nearest", "--no-equalize", f"--seq-mse={candidates}"]
            command += ["--report", folder / "o.json", "--quiet"]
            _, peak = peak_of(command)
            passes = json.loads((folder / "o.json").read_text())["passes"]
            return next(one["seconds"] for one in passes if one["pass"] == "SeqMse"), peak

        def plain(a, b):
            start = time.perf_counter()
            a @ b
            return 2.0 * a.shape[0] * a.shape[1] * b.shape[1] / (time.perf_counter() - start)

        print("| rows | Gram matrix | | of a plain product | candidates | | of a plain product | peak |")
        print("|---|---|---|---|---|---|---|---|")
        grams = []
        for rows in (args.rows, 10 * args.rows):
            np.savez(folder / "x.npz", x=draw.standard_normal((rows, depth)).astype(np.float32))
            rounds = [
                (
                    *ours("whole.onnx", FEW),
                    ours("whole.onnx", MANY)[0],
                    ours("part.onnx", FEW)[0],
                    plain(block.T, other),
                    plain(block, weight),
                )
                for _ in range(args.rounds)
            ]
            few, peak, many, reading = (min(one[at] for one in rounds) for at in range(4))
            rates = [max(one[at] for one in rounds) / 1e9 for at in (4, 5)]
            candidate = (many - few) / (MANY - FEW)
            gram = few - FEW * candidate - reading
            grams.append(gram)
            cells = [str(rows)]
            for seconds, count, rate in (
                (gram, rows * depth * depth, rates[0]),
                (FEW * candidate, FEW * outputs * depth * depth, rates[1]),
            ):
                reached = count / seconds / 1e9
                cells += [f"{seconds:.3f} s", f"{reached:.0f} GFLOP/s", f"{100 * reached / rate:.0f} %"]
            print(f"| {' | '.join(cells)} | {peak:.0f} MiB |", flush=True)
        more, seconds = 9 * args.rows, grams[1] - grams[0]
        reached = more * depth * depth / seconds / 1e9
        share = 100 * reached / rates[0]
        print(f"| {more} more | {seconds:.3f} s | {reached:.0f} GFLOP/s | {share:.0f} % | | | | |")


if __name__ == "__main__":
    main()
