#!/usr/bin/env python3
"""Time of sequential MSE side by side: this project and AIMET, on the same samples, in one run.

    python3 scripts/compare-seq-mse.py MARQUETRY ZOO [--only NAME,..] [--rounds N] [--out TABLE.md]

Weights of 4 bits, 20 candidates, one thread each. What is measured is `apply_seq_mse` alone, without
importing or building the simulation, in seconds of the processor, and the pass `SeqMse` alone, as its
report says, in seconds by the clock, which are no fewer. The tools take turns; the median of the rounds is
shown. `blocks` is a stack of projections of a transformer with 512 tokens a sample and one
scale for each 32 elements.

Needs numpy, onnx, onnxruntime and aimet_onnx.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper

ALONE = ["cnn", "mbnet", "mlp", "mlp_cancer", "swiglu", "vit"]

# Run in a process of its own, so that one tool's threads and memory are not the other's.
AIMET = """
import json, sys, time
import numpy as np, onnx, torch
from aimet_onnx import QuantizationSimModel, apply_seq_mse
torch.set_num_threads(1)
model, samples, batch, block = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
count = len(next(iter(samples.values())))
feeds = [{name: samples[name][at:at + batch] for name in samples.files} for at in range(0, count, batch)]
sim = QuantizationSimModel(onnx.load(model), param_type="int4", activation_type="int16", quant_scheme="min_max",
                           config_file="default", session_options_kwargs={"intra_op_num_threads": 1})
if block:
    from aimet_onnx.quantsim import set_blockwise_quantization_for_weights
    set_blockwise_quantization_for_weights(sim, ["MatMul", "Gemm"], 4, True, block)
start = time.process_time()
apply_seq_mse(sim, feeds)
print(json.dumps(time.process_time() - start))
"""


def aimet(model, samples, batch, block):
    done = subprocess.run(
        [sys.executable, "-c", AIMET, str(model), str(samples), str(batch), str(block)],
        capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1][:200], file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(binary, model, samples, batch, block, folder):
    """Seconds of the pass alone."""
    out, report = folder / "out.onnx", folder / "out.json"
    command = [binary, "--threads", "1", "quantize", model, "--calib", samples, "--batch", batch, "-o", out]
    command += ["--weights", "int4", "--activations", "uint16", "--rounding", "nearest", "--no-equalize"]
    command += ["--granularity", f"block:{block}" if block else "channel"]

    done = subprocess.run([str(word) for word in [*command, "--seq-mse=20", "--report", report]],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[0])
    passes = json.loads(report.read_text())["passes"]
    return next(one["seconds"] for one in passes if one["pass"] == "SeqMse")


def stack(path, samples, width=384, layers=2, tokens=512, count=4):
    """Gated projections, one behind the other, as in a transformer."""
    draw = np.random.default_rng(5)
    nodes, weights, value = [], [], "x"
    for at in range(layers):
        for name, rows, columns in [("up", width, 4 * width), ("down", 4 * width, width)]:
            weight = (draw.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
            weights.append(onnx.numpy_helper.from_array(weight, f"{name}{at}"))
            nodes.append(helper.make_node("MatMul", [value, f"{name}{at}"], [f"{name}{at}_out"], name=f"{name}{at}"))
            value = f"{name}{at}_out"
            if name == "up":
                nodes.append(helper.make_node("Relu", [value], [f"relu{at}"]))
                value = f"relu{at}"
    shape = ["n", tokens, width]
    graph = helper.make_graph(nodes, "stack", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    np.savez(samples, x=draw.standard_normal((count, tokens, width)).astype(np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    lines = ["| model | samples | Marquetry | AIMET | times faster |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        trained = args.zoo / "open" / "trained"
        jobs = []
        for name in ALONE:
            data = np.load(trained / ("data_mlp_cancer.npz" if name == "mlp_cancer" else "data_digits.npz"))
            samples = folder / f"{name}.npz"
            np.savez(samples, x=data["calib_x"][:128].astype(np.float32))
            jobs.append((name, trained / f"{name}.ts17.onnx", samples, 32, 0))
        calib = np.load(args.zoo / "minilm" / "calib.npz")
        samples = folder / "minilm.npz"
        np.savez(samples, **{key: calib[key][:40] for key in ("input_ids", "attention_mask", "token_type_ids")})
        jobs.append(("minilm", args.zoo / "minilm" / "minilm.ts14.onnx", samples, 10, 0))
        stack(folder / "stack.onnx", folder / "stack.npz")
        jobs.append(("blocks", folder / "stack.onnx", folder / "stack.npz", 1, 32))
        for name, model, samples, batch, block in jobs:
            if args.only and name not in args.only:
                continue
            rounds = [(ours(args.marquetry, model, samples, batch, block, folder), aimet(model, samples, batch, block))
                      for _ in range(args.rounds)]
            mine = statistics.median(mine for mine, _ in rounds)
            theirs = [theirs for _, theirs in rounds if theirs is not None]
            count = len(next(iter(np.load(samples).values())))
            other = f"{statistics.median(theirs):.2f} s" if theirs else ""
            factor = f"{statistics.median(theirs) / max(mine, 1e-3):.0f}" if theirs else ""
            lines.append(f"| {name} | {count} | {mine:.2f} s | {other} | {factor} |")
            print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
